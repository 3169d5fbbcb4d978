//! `coast demo`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

pub(super) const ABOUT: &str = "\
Shows a push on this machine alone. None of your files is changed. The program starts an SSH server on a free port of \
127.0.0.1, with new keys, and pushes a workspace through the real client, channel and helper into a temporary directory. It \
edits, adds, moves and deletes a few files in a copy, and a second push sends only these differences. At the end it compares \
both trees, entry by entry, and removes everything temporary. It needs no sshd, no sudo and no docker.";

/// Arguments of `coast demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The workspace to push; the demonstration works on a copy of it [default: a small sample]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<PathBuf>,
}
