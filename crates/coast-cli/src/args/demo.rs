//! `coast demo`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

pub(super) const ABOUT: &str = "\
Shows what a push does, on this machine alone and without changing anything of yours. An SSH server of its own \
starts on a free port of 127.0.0.1, with keys made for the moment; a workspace is pushed through the real client, \
channel and helper into a temporary directory; a few files are edited, added, moved and deleted in a copy; a second \
push brings only that. At the end both trees are compared, entry by entry, and everything temporary is removed. \
Needs no sshd, no sudo, no docker.";

/// Arguments of `coast demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The workspace to show it with, which is copied first and never changed [default: a small sample]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<PathBuf>,
}
