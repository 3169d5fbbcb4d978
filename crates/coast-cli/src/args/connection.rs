//! Options about the other machine that `coast push` and `coast sync` share.

use clap::{Args, ValueEnum};

/// Whether the helper runs as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SudoArg {
    /// As root if `sudo -n` works, as the user who logged in otherwise (and say so)
    Auto,
    /// As root, or not at all
    Always,
    /// As the user who logged in
    Never,
}

/// Options about the program at the other end.
#[derive(Debug, Clone, Args)]
pub(crate) struct HelperArgs {
    /// Use the helper at this path of the remote, which an image already contains, and upload none
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    pub(crate) helper: Option<std::path::PathBuf>,
}
