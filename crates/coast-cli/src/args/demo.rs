//! The arguments of `coast demo`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

pub(super) const ABOUT: &str = "\
Shows what a push does, on this machine alone and without changing any of your files. The demo starts an SSH server of its own \
on a free port of 127.0.0.1, with temporary keys. It pushes a workspace through the real client, channel and helper into a \
temporary directory. Then it edits, adds, moves and deletes a few files in a copy of the workspace; the second push transfers \
only these changes. At the end it compares both trees entry by entry, and removes everything temporary. It needs no sshd, no \
sudo and no Docker.";

/// Arguments of `coast demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The workspace to push; the demo changes only a copy of it [default: a small sample]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<PathBuf>,
}
