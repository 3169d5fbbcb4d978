//! The arguments of `coast resolve`.

use std::ffi::OsString;

use clap::{Args, ValueEnum, ValueHint};
use coast_instance::{Name, Side};

use super::lifecycle::{ProjectArg, TellingArgs};

pub(super) const ABOUT: &str = "\
Settles conflicts of an instance by taking one side. A conflict is a path at which the remote has something that neither a transfer \
nor the session put there: edits of that path do not arrive, and what is on the remote stays. `coast status` lists the conflicts. A \
conflict also ends by itself as soon as both sides have the same content. \
With workspace_sync = \"mutagen\", `coast flush` is used in place of this command.

With --take local, the entry of the worktree takes the place of the one on the remote, which moves to the trash there. With --take \
remote, the file of the remote replaces the one in the worktree, and nothing keeps what the worktree had. Without a PATH it therefore \
asks first on a terminal, unless -y is given. The output names what was settled.";

pub(super) const AFTER: &str = "\
EXAMPLES
  coast resolve dev-1 --take local
      Settle every conflict of the instance: the worktree wins.
  coast resolve dev-1 config/local.json --take remote
      Bring one file of the remote into the worktree.

EXIT CODES
  Those of `coast --help`. 3 when the instance does not exist or is stopped; 12 when edits do not follow; 23 when conflicts or problems \
are left at or below the paths that were named.";

/// Arguments of `coast resolve`.
#[derive(Debug, Args)]
#[command(override_usage = "coast resolve --take SIDE INSTANCE [PATH]...")]
pub(crate) struct ResolveArgs {
    /// The instance
    pub(crate) instance: Name,

    /// The conflicts at and below these paths of the workspace [default: every conflict]
    #[arg(value_name = "PATH", value_hint = ValueHint::Other)]
    pub(crate) paths: Vec<OsString>,

    /// The side whose entry is taken
    #[arg(long, value_name = "SIDE")]
    pub(crate) take: SideArg,

    /// Do not ask before --take remote replaces every file in conflict
    #[arg(short, long)]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) project: ProjectArg,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}

/// One of the two sides of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SideArg {
    /// The worktree on this machine
    Local,
    /// The workspace on the remote
    Remote,
}

impl From<SideArg> for Side {
    fn from(side: SideArg) -> Self {
        match side {
            SideArg::Local => Self::Local,
            SideArg::Remote => Self::Remote,
        }
    }
}
