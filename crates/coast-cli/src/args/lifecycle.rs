//! `coast run`, `assign`, `unassign`, `start`, `stop`, `rm`, `ls`, `status` and `flush`: the life of an instance.

use std::ffi::OsString;

use clap::{ArgAction, Args, ValueHint};
use coast_instance::Name;

use super::connection::HelperArgs;

/// The heading of the options about what is printed.
const OUTPUT: &str = "Output";

pub(super) const RUN_ABOUT: &str = "\
Makes an instance: brings a worktree of this project to a remote machine, as {service-home}/workspaces/{project}/{instance}/, \
and from then on has every edit follow.

The first is a transfer as `coast push` does it. For the second, where the Coastfile says workspace_sync = \"mutagen\", a \
shell container is made here from an image that holds mutagen and an ssh client; the worktree is mounted in it, a key and the \
host key are put into it, and a mutagen session is created. Edits that were made between the transfer and the session's first \
look are brought after and named.

When edits cannot follow (no Docker, no image, no mutagen in it, a key with a passphrase), the workspace is there all the same: \
a warning says what failed, `coast status` keeps saying it, and the exit code is 0 unless --require-continuous is given. \
A run that was killed is finished by the same `coast run` again, or undone by `coast rm`.";

pub(super) const RUN_AFTER: &str = "\
EXAMPLES
  coast remote add box dev@box.example       once: where instances live
  coast run dev-1                            the project's root, on the only remote
  coast run dev-2 --worktree feature         a git worktree, by its directory's name, its branch or its path
  coast run dev-3 --remote attic --image shop-shell:2

COASTFILE (in the project's root; all of it optional)
  [coast]
  name = \"shop\"                   default: the directory's name
  [remote]
  workspace_sync = \"mutagen\"      or \"rsync\", the default: bulk transfers only, nothing follows
  exclude = [\"*.log\", \"/dist\"]    neither sent nor deleted
  protect = [\"uploads/***\"]       never deleted on the remote
  use_default_rules = true        leave out node_modules and such, protect generated code
  shell_image = \"shop-shell\"      holds mutagen (with its agents) and ssh
  shell_network = \"bridge\"        \"bridge\", \"host\", or the name of a Docker network

HOW FAST EDITS FOLLOW
  mutagen watches what changed lately and looks at the rest every 10 s: an edit to a file not touched lately takes 4 to 9 s
  to arrive, one to a recent file 0.04 s (800 files) to 0.5 s (78,000 files). One way only: what is made on the remote never
  comes back.

EXIT CODES
  Those of `coast --help`; 3 also when the instance, worktree or remote cannot be used, 12 when edits do not follow and
  --require-continuous was given; 23 when entries could not be transferred: the instance runs all the same, and `coast status`
  names them until a later transfer has brought them. Source files that vanished meanwhile (24) are a warning.";

pub(super) const ASSIGN_ABOUT: &str = "\
Has an instance follow another worktree. The old session ends, only what differs is sent (replaced files move into place \
together at the end, so that a dev server sees one short burst), the shell container gets the new worktree, and a new session \
begins. Protected and excluded paths of the workspace stay as they are. A worktree that does not exist and an instance that is \
stopped are errors before anything is touched.";

pub(super) const ASSIGN_AFTER: &str = "\
EXAMPLES
  coast assign dev-1 --worktree feature         by the worktree's name or branch
  coast assign dev-1 --worktree ../shop-fix     by its path
  coast unassign dev-1                          back to the project's root

WHICH WORKTREE IS MEANT
  A name without a slash is a git worktree or branch of this project. Only when no worktree and no branch has the name is it
  a directory. With a slash (./docs, ../shop-fix) it is a directory first. When a name can mean two things, coast says which
  was taken. A directory that is no worktree of this project's repository is refused, since everything in the workspace that
  it lacks would be deleted; --any-directory takes it all the same.";

pub(super) const STOP_ABOUT: &str = "\
Stops an instance: the session ends, and the key is taken out of the shell container. The workspace on the remote stays as it \
is. `coast start` has edits follow again.";

pub(super) const START_ABOUT: &str = "\
Starts a stopped instance: brings what changed meanwhile, and has edits follow again. On an instance that runs it mends \
whatever does not follow: a session that halted, a container that is gone, conflicts, a command that was killed.";

pub(super) const RM_ABOUT: &str = "\
Removes an instance: its session, its shell container with the key in it, and its directory on the remote with everything in \
it, also what only exists there. Your worktree is not touched.";

pub(super) const STATUS_ABOUT: &str = "\
Tells how an instance is, in both layers: its worktree and its workspace, the last transfer, the entries that could not be \
transferred, the state of the session, the number of watched files, and each conflict and problem with its path. Changes nothing \
and does not wait for other commands.";

pub(super) const STATUS_AFTER: &str = "\
JSON
  One object: \"state\" is \"running\", \"stopped\" or \"working\" (with \"command\" and \"step\"); \"following\" is what the \
last command left, with \"is\": \"yes\", \"off\", \"bulk_only\" or \"failed\" (with \"step\" and \"said\"); \"continuous\" is what \
the session says now, with \"activity\", \"word\", \"files\", \"conflicts\" and \"problems\", or an \"error\"; \"stale\" has the \
\"count\" and the first \"paths\" of the entries that could not be transferred. With --watch one object a line, each time that \
something changed.";

/// The output of a command that changes an instance.
#[derive(Debug, Clone, Args)]
pub(crate) struct TellingArgs {
    /// Name each entry that is changed or deleted; twice: itemize what changes of it
    #[arg(short, long, action = ArgAction::Count, help_heading = OUTPUT)]
    pub(crate) verbose: u8,

    /// Print nothing but warnings and errors
    #[arg(short, long, help_heading = OUTPUT)]
    pub(crate) quiet: bool,

    /// Print one JSON object a line instead of text
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

/// The severity of edits that cannot follow.
#[derive(Debug, Clone, Args)]
pub(crate) struct InsistArg {
    /// Make it an error (exit code 12) when edits cannot follow
    #[arg(long)]
    pub(crate) require_continuous: bool,
}

/// The worktree to follow may be any directory.
#[derive(Debug, Clone, Args)]
pub(crate) struct AnyDirectoryArg {
    /// Take the directory that --worktree names even if it is no worktree of this project's repository
    #[arg(long)]
    pub(crate) any_directory: bool,
}

/// Arguments of `coast run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The instance's name: letters, digits, '-', '_' and '.'
    #[arg(value_parser = Name::new)]
    pub(crate) instance: Name,

    /// The git worktree to follow, by its directory's name, its branch or its path [default: the project's root]
    #[arg(short, long, value_name = "NAME_OR_PATH", value_hint = ValueHint::DirPath)]
    pub(crate) worktree: Option<OsString>,

    #[command(flatten)]
    pub(crate) any_directory: AnyDirectoryArg,

    /// The remote of the instance [default: the only one]
    #[arg(short, long)]
    pub(crate) remote: Option<Name>,

    /// The image of the shell container, in place of the Coastfile's shell_image
    #[arg(long)]
    pub(crate) image: Option<String>,

    /// Take over an existing directory on the remote, and delete everything in it that the worktree does not have
    #[arg(long)]
    pub(crate) adopt: bool,

    #[command(flatten)]
    pub(crate) insist: InsistArg,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}

/// Arguments of `coast assign`.
#[derive(Debug, Args)]
pub(crate) struct AssignArgs {
    /// The instance
    pub(crate) instance: Name,

    /// The git worktree to follow from now on, by its directory's name, its branch or its path
    #[arg(short, long, value_name = "NAME_OR_PATH", value_hint = ValueHint::DirPath)]
    pub(crate) worktree: OsString,

    #[command(flatten)]
    pub(crate) any_directory: AnyDirectoryArg,

    #[command(flatten)]
    pub(crate) insist: InsistArg,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}

/// Arguments of `coast unassign` and `coast start`.
#[derive(Debug, Args)]
pub(crate) struct FollowArgs {
    /// The instance
    pub(crate) instance: Name,

    #[command(flatten)]
    pub(crate) insist: InsistArg,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}

/// Arguments of `coast stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The instance
    pub(crate) instance: Name,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}

/// Arguments of `coast rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// The instance
    pub(crate) instance: Name,

    /// Leave the directory on the remote as it is
    #[arg(long)]
    pub(crate) keep_workspace: bool,

    /// Do not ask before the directory on the remote is removed
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// Forget the instance even if its shell container cannot be removed
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}

/// Arguments of `coast ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// The instances of all projects, not only of this one
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Print one JSON object instead of text
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

/// Arguments of `coast status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The instance
    pub(crate) instance: Name,

    /// Go on until interrupted, and print the status again after each change
    #[arg(long)]
    pub(crate) watch: bool,

    /// Print one JSON object instead of text
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

/// Arguments of `coast flush`.
#[derive(Debug, Args)]
pub(crate) struct FlushArgs {
    /// The instance
    pub(crate) instance: Name,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}
