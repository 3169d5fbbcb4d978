//! Options about the remote helper that several subcommands share.

use clap::{Args, ValueEnum};
use coast_sync::Own;

/// Whether the helper runs as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SudoArg {
    /// As root if `sudo -n` works, otherwise, with a notice, as the user who logged in
    Auto,
    /// As root; fail if `sudo -n` does not work
    Always,
    /// As the user who logged in
    Never,
}

/// Which entries are given to the user who logs in, of those that are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OwnArg {
    /// Every entry of the destination
    All,
    /// Those that belong to root
    Root,
    /// None: only entries that are sent are given to the user
    None,
}

impl From<OwnArg> for Own {
    fn from(own: OwnArg) -> Self {
        match own {
            OwnArg::All => Self::All,
            OwnArg::Root => Self::Root,
            OwnArg::None => Self::None,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct HelperArgs {
    /// Use the helper that is installed at this path of the remote, and upload none
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    pub(crate) helper: Option<std::path::PathBuf>,
}
