//! The arguments of `coast trust`.

use clap::Args;

use super::lifecycle::TypeArg;

pub(super) const ABOUT: &str = "\
Shows the settings of this project's Coastfile that could do harm, and remembers that you trust them. A Coastfile comes with the \
code of a project, and so from a stranger if you clone a repository. `coast run`, `assign`, `unassign` and `start` therefore ask \
before they use such settings for the first time, and again when one of them changes. Without a terminal, and with --json, they \
refuse with exit code 3; `coast trust`, or their option --trust, says yes.

The answer is remembered for this directory and for exactly the settings that were shown, in $XDG_STATE_HOME/coast/.trust/ (by \
default ~/.local/state/coast/.trust/), which only you can read.";

pub(super) const AFTER: &str = "\
SETTINGS THAT NEED TRUST
  shell_image, with workspace_sync = \"mutagen\"
      Programs of the image can read the worktree, and get a key for the remote. An image that you name with --image needs no trust.
  shell_network, other than \"bridge\"
      Programs in the shell container reach services of this machine or other containers.
  use_default_rules = false
      Generated code on the remote is not protected from deletion.
  own = \"all\"
      Files that services have made in the workspace change their owner.
  extends, of a file outside of the repository
      The file may be any file of yours.
  worktree_dir, with a directory outside of the repository
      Names of worktrees can mean directories elsewhere, if they are worktrees of this repository.

EXAMPLES
  coast trust
      Show the settings of the project in this directory, and trust them.
  coast trust --type light
      The same for the settings in Coastfile.remote.light.
  coast trust --list
      Show what is trusted, for all projects.
  coast trust --revoke
      Ask again for the project in this directory.";

/// Arguments of `coast trust`.
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// Show the trusted settings of all projects, and change nothing
    #[arg(long, conflicts_with = "revoke")]
    pub(crate) list: bool,

    /// Forget the trusted settings of this project
    #[arg(long)]
    pub(crate) revoke: bool,

    #[command(flatten)]
    pub(crate) kind: TypeArg,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
