//! `coast run`, `assign`, `unassign`, `start`, `stop`, `rm`, `ls`, `status` and `flush`: the life of an instance.

use std::ffi::OsString;

use clap::{ArgAction, Args, ValueHint};
use coast_instance::{CoastfileChoice, Name};

use super::cache::CacheArgs;
use super::connection::HelperArgs;
use super::which::WhichArgs;

/// The heading of the options about what is printed.
const OUTPUT: &str = "Output";

pub(super) const RUN_ABOUT: &str = "\
Makes an instance: transfers a worktree of this project to {service-home}/workspaces/{project}/{instance}/ on a remote machine, \
and then makes every edit follow.

The transfer is that of `coast push`. Edits follow where the Coastfile says so. With workspace_sync = \"native\", coastd watches the \
worktree and carries each edit within milliseconds; the command starts coastd if it does not run (see `coast daemon --help`). With workspace_sync = \"mutagen\", a shell container is \
made on this machine, from an image that holds mutagen and an ssh client; the worktree is mounted in it, a key and the host key \
are put into it, and a mutagen session is created. Edits made during the transfer arrive after it.

When edits cannot follow (with mutagen: no Docker, no image, no mutagen in it, a key with a passphrase), the workspace is transferred all the \
same. A warning says which step failed, `coast status` repeats it, and the exit code is 0 unless --require-continuous is given. \
A `coast run` that was killed is finished by the same command, or undone by `coast rm`.

Settings of the Coastfile that could do harm, such as shell_image, are shown first, and used only if you trust them: see \
`coast trust --help`.";

pub(super) const RUN_AFTER: &str = "\
EXAMPLES
  coast remote add box dev@box.example
      Once: remember a machine that instances can live on.
  coast run dev-1
      Follow the project's root, on the only remote.
  coast run dev-2 --worktree feature
      Follow a git worktree, by its directory's name, its branch or its path.
  coast run dev-3 --remote attic --image shop-shell:2
      Choose the remote and the image of the shell container.

COASTFILE (in the project's root; every setting is optional)
  [coast]
  # default: the name of the directory
  name = \"shop\"
  # where worktrees lie; or a list; `*` stands for any letters
  worktree_dir = \"../worktrees\"
  [remote]
  # or \"mutagen\"; by default \"rsync\": nothing follows
  workspace_sync = \"native\"
  # neither sent nor deleted
  exclude = [\"*.log\", \"/dist\"]
  # never deleted on the remote
  protect = [\"uploads/***\"]
  # leave out node_modules and the like, protect generated code
  use_default_rules = true
  # of the entries that are not sent, the user who logs in gets
  # those of root; or \"all\", \"none\"
  own = \"root\"
  # for mutagen: its image; see `coast image`
  shell_image = \"coast-shell\"
  # or \"host\", or the name of a Docker network
  shell_network = \"bridge\"

SEVERAL COASTFILES
  `--type light` uses the file Coastfile.remote.light (or Coastfile.remote.light.toml) in place of the others. Nothing is taken from \
them unless it says so, such as with extends = \"Coastfile\". The instance remembers the type: `start`, `assign` and the other commands \
use the same file, until --type names another one. `--type default` means the Coastfile without a type. Each type is trusted on its \
own.

HOW FAST EDITS FOLLOW
  With \"native\" every directory that is not excluded is watched, and an edit leaves when its writer closes the file.

  mutagen watches the recently changed files, and looks at the other files every 10 s. An edit to a file that was not touched \
recently takes 4 to 9 s to arrive, an edit to a recently changed file 0.04 s (800 files) to 0.5 s (78,000 files). Edits go one \
way only: a file that is made on the remote is never copied back.

EXIT CODES
  Those of `coast --help`. 3 also when the instance, worktree or remote cannot be used, or the settings are not trusted; 12 when edits do not follow and \
--require-continuous was given, also in a project that is bulk only; 23 when entries could not be transferred: the instance runs all the same, and `coast status` \
names them until a later transfer has brought them up to date. Source files that vanished during the transfer (24) are a warning.";

pub(super) const ASSIGN_ABOUT: &str = "\
Makes an instance follow another worktree. The old session ends, only the differences are sent, and a new session begins: with \
native, coastd watches the new worktree; with mutagen, the shell container gets it. Replaced files move into place together at the \
end, so that a dev server sees one short burst. Protected and excluded paths of the workspace stay as they are. Every other entry \
that the worktree does not have is deleted; what was made or changed on the remote moves to the trash there (`coast restore`). A \
worktree that does not exist, an instance that is stopped, a remote that cannot be reached, and an old session that cannot be \
ended are errors before anything is changed.";

/// The part of the help texts about `--all`.
macro_rules! all_instances {
    () => {
        "\
ALL INSTANCES
  With --all the command works on one instance of the project after the other. If it fails for one of them, it goes on with the \
next. The last line counts the instances and names those with errors, and the exit code is that of the first error. With --json, \
an object with \"event\": \"instance\" comes before the events of each instance, and one with \"event\": \"all\" comes last."
    };
}

pub(super) const STOP_AFTER: &str = all_instances!();

pub(super) const RM_AFTER: &str =
    concat!(all_instances!(), " One question names all instances; where nobody can be asked, -y is needed.");

pub(super) const START_AFTER: &str = concat!(all_instances!(), "\n\n", "\
WHAT IS DELETED
  Only entries that a transfer or a session has put on the remote and that the worktree does not have any more. If these are more \
than 100, and more than half of what was put there and is there, and the worktree has not half as many entries, nothing is deleted \
and the exit code is 25; --allow-mass-deletion allows it.

EXIT CODES
  Those of `coast run --help`, and 25 as above.");

pub(super) const FLUSH_ABOUT: &str = "\
Waits until every edit that was made before the call has arrived on the remote. So `coast flush dev-1 && remote-test` tests what is in \
the worktree.

With workspace_sync = \"native\" a path in conflict is told, and left as it is on the remote: see `coast resolve`.

With workspace_sync = \"mutagen\" conflicts are mended: paths that the session does \
not carry, because something else than the session wrote there, are transferred again, which replaces what is there. Entries that \
were made on the remote and are deleted for this move to the trash there. Files that others may not read, which no session of mutagen carries, are transferred. \
Without the settings of the project, or if they are not trusted, neither is done.";

pub(super) const FLUSH_AFTER: &str = "\
EXIT CODES
  Those of `coast --help`. 3 when the instance does not exist, is stopped or is unfinished; 12 when edits do not follow, also in a \
project that is bulk only; 23 when a conflict, a problem or a private file is left; 30 when --timeout is over.";

pub(super) const ASSIGN_AFTER: &str = "\
EXAMPLES
  coast assign dev-1 --worktree feature
      By the worktree's name or branch.
  coast assign dev-1 --worktree ../shop-fix
      By its path.
  coast assign dev-1 --worktree feature --explain
      Show what that would do, without doing it.
  coast unassign dev-1
      The project's root again.

WHAT --EXPLAIN SHOWS
  The number, size and first names of the files that would be sent, among them those that only moved, which a real transfer makes from \
the copy on the remote; the entries that would be deleted, those first that were made or \
changed on the remote and would move to the trash; the number of entries that stay because a rule excludes or protects them; and \
whether the session would be ended and a new one made. It compares both sides as the transfer does, so it connects to the remote, and \
uploads the helper if that is missing there; nothing else changes. With --json it prints one object with \"event\": \"explained\".

WHICH WORKTREE IS MEANT
  A name without a slash is a git worktree or branch of this project. With [coast] worktree_dir = \"../worktrees\" in the Coastfile, a \
worktree there can be named by its path below that directory, such as team/fix; this meaning comes before the others. Only when no worktree and no branch has the name is it a \
directory. A name with a slash (./docs, ../shop-fix) is a directory first. When a name can mean two things, coast says which of \
them was taken. A directory that is no worktree of this project's repository is refused, because everything in the workspace \
that it lacks would be deleted; with --any-directory it is taken all the same.";

pub(super) const STOP_ABOUT: &str = "\
Stops an instance: the session ends. With native, coastd watches the worktree no more; with mutagen, the key is removed from the \
shell container, which is stopped. The workspace on the remote stays as it is. `coast start` makes edits follow again.";

pub(super) const START_ABOUT: &str = "\
Starts a stopped instance: transfers the changes made meanwhile, and makes edits follow again. On an instance that runs it repairs \
every reason why edits do not follow: a halted session, a killed command; with native, a coastd that does not run; with mutagen, a \
missing container and conflicts. The old session is ended only once the remote has answered; if it cannot be ended, nothing is \
changed, unless --force is given.";

pub(super) const RM_ABOUT: &str = "\
Removes an instance: its session, with mutagen its shell container with the key in it, and its directory on the remote with \
everything in it, including files that exist only there. The directory of the project there goes if it is empty then, and so do \
the files of the instance's sessions of mutagen in ~/.mutagen there, and the helper with the last instance on that remote. Your \
worktree is not touched.";

pub(super) const STATUS_ABOUT: &str = "\
Shows the state of an instance as it is at this moment: whether its worktree is there, whether its session carries edits (with \
native its follower in coastd; with mutagen the session in its shell container), the last transfer, the entries that could not be \
transferred, and each conflict and problem with its path. It says that edits follow only if an edit that is made now would arrive. \
With --check it also connects to the remote and looks for the workspace.

It does not wait for other commands, starts nothing, and changes nothing, with one exception: if the worktree is gone, or another \
directory stands at its path, the session is paused, because it would carry that as deletions. `coast ls`, `flush` and `start` do \
the same.";

pub(super) const STATUS_AFTER: &str = "\
EXIT CODES
  0   edits follow; or they need not, because the project is bulk only or the instance is stopped; or --watch was ended
  3   there is no such instance
  12  edits should follow and do not, or nobody can tell; also where the Coastfile asks for that only since the last command, and \
with --check where the remote cannot be reached or has no workspace

JSON
  One object. \"edits\" is \"follow\", \"need_not_follow\" or \"do_not_follow\". \"worktree_is\" is \"there\", \"gone\", \
\"another\" or \"unknown\". \"state\" is \"running\", \"stopped\" or \"working\" (with \"command\" and \"step\"). \"following\" is \
the result of the last command: \"is\" is \"yes\", \"off\", \"bulk_only\" or \"failed\" (with \"part\", \"step\" and \"said\"). \
\"continuous\" is the session's present state, with \"runner\" (\"running\", \"stopped\" or \"absent\"), \"activity\", \"word\", \
\"files\", \"conflicts\", \"problems\" and \"private\", or an \"error\". With native it may have \"retry\", the next attempt: \
\"attempt\", \"in_milliseconds\", \"error\", and \"missing_passphrase\", the key file whose passphrase coastd lacks; `coast start` \
asks for it. \"check\" has the \"login\" and whether the \"workspace\" is there, or an \"error\". \"begins_to_follow\" is true if \
the Coastfile asks for edits to follow and did not at the last command. \"wanted\" is the worktree of an assign that did not \
finish before its transfer. \"stale\" has the \"count\" and the first \"paths\" of the entries that could not be transferred. With \
--watch one object per line is printed after each change, also without --json unless the output is a terminal.";

pub(super) const LS_ABOUT: &str = "\
Lists the instances of this project, or of all projects. All of them are asked at once for what is true at this moment, for 2 s at \
most: whether the worktree is there, and whether edits follow. A `?` marks what could not be asked, and a line below the table says \
why. With --check each remote is connected to as well, which may take 10 s.";

/// The output of a command that changes an instance.
#[derive(Debug, Clone, Args)]
pub(crate) struct TellingArgs {
    /// Name each changed or deleted entry; given twice, itemize the changes
    #[arg(short, long, action = ArgAction::Count, help_heading = OUTPUT)]
    pub(crate) verbose: u8,

    /// Print nothing but warnings and errors
    #[arg(short, long, help_heading = OUTPUT)]
    pub(crate) quiet: bool,

    /// Print one JSON object per line instead of text
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

/// The project of the instance.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProjectArg {
    /// The project of the instance, by its name in `coast ls --all` [default: that of the current directory]
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<Name>,
}

/// The severity of edits that cannot follow.
#[derive(Debug, Clone, Args)]
pub(crate) struct InsistArg {
    /// Make it an error (exit code 12) when edits cannot follow
    #[arg(long)]
    pub(crate) require_continuous: bool,
}

/// An old session that cannot be ended.
#[derive(Debug, Clone, Args)]
pub(crate) struct ForceArg {
    /// Go on even if the old session may still run and cannot be ended; it may then bring files of its worktree back
    #[arg(long)]
    pub(crate) force: bool,
}

/// What becomes of deleted entries that were made on the remote.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrashArg {
    /// Keep nothing in the trash of what was made or changed on the remote and is deleted or replaced
    #[arg(long)]
    pub(crate) no_trash: bool,
}

/// The image of an instance.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImageArg {
    /// The image of the shell container, in place of the Coastfile's shell_image
    #[arg(long)]
    pub(crate) image: Option<String>,
}

/// The settings of the Coastfile are trusted.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustArg {
    /// Trust the settings of the Coastfile that could do harm, without a question; see `coast trust --help`
    #[arg(long)]
    pub(crate) trust: bool,
}

/// The Coastfile of the project.
#[derive(Debug, Clone, Args)]
pub(crate) struct TypeArg {
    /// Use the Coastfile.remote.TYPE of the project, also in later commands; `default` for the Coastfile without a type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<CoastfileChoice>,
}

impl TypeArg {
    /// The choice of the user; by default that of the last command.
    pub(crate) fn choice(&self) -> CoastfileChoice {
        self.kind.clone().unwrap_or_default()
    }
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
    #[arg(short, long, value_name = "TREE", value_hint = ValueHint::DirPath)]
    pub(crate) worktree: Option<OsString>,

    #[command(flatten)]
    pub(crate) any_directory: AnyDirectoryArg,

    /// The remote of the instance [default: the only one]
    #[arg(short, long)]
    pub(crate) remote: Option<Name>,

    #[command(flatten)]
    pub(crate) image: ImageArg,

    /// Take over an existing directory on the remote, and delete everything in it that the worktree does not have
    #[arg(long)]
    pub(crate) adopt: bool,

    #[command(flatten)]
    pub(crate) insist: InsistArg,

    #[command(flatten)]
    pub(crate) force: ForceArg,

    #[command(flatten)]
    pub(crate) trash: TrashArg,

    #[command(flatten)]
    pub(crate) kind: TypeArg,

    #[command(flatten)]
    pub(crate) trust: TrustArg,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

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

    #[command(flatten)]
    pub(crate) project: ProjectArg,

    /// Do nothing, and show what would be sent, deleted and kept, and what would become of the session
    #[arg(long)]
    pub(crate) explain: bool,

    /// The git worktree to follow from now on, by its directory's name, its branch or its path
    #[arg(short, long, value_name = "TREE", value_hint = ValueHint::DirPath)]
    pub(crate) worktree: OsString,

    #[command(flatten)]
    pub(crate) any_directory: AnyDirectoryArg,

    #[command(flatten)]
    pub(crate) image: ImageArg,

    #[command(flatten)]
    pub(crate) insist: InsistArg,

    #[command(flatten)]
    pub(crate) force: ForceArg,

    #[command(flatten)]
    pub(crate) trash: TrashArg,

    #[command(flatten)]
    pub(crate) kind: TypeArg,

    #[command(flatten)]
    pub(crate) trust: TrustArg,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}

/// Arguments of `coast start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,

    #[command(flatten)]
    pub(crate) follow: FollowArgs,

    /// Delete on the remote even if that is most of what earlier transfers have put there
    #[arg(long)]
    pub(crate) allow_mass_deletion: bool,
}

/// Arguments of `coast unassign`.
#[derive(Debug, Args)]
pub(crate) struct UnassignArgs {
    /// The instance
    pub(crate) instance: Name,

    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// The common arguments of `coast start` and `coast unassign`.
#[derive(Debug, Args)]
pub(crate) struct FollowArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArg,

    #[command(flatten)]
    pub(crate) image: ImageArg,

    #[command(flatten)]
    pub(crate) insist: InsistArg,

    #[command(flatten)]
    pub(crate) force: ForceArg,

    #[command(flatten)]
    pub(crate) trash: TrashArg,

    #[command(flatten)]
    pub(crate) kind: TypeArg,

    #[command(flatten)]
    pub(crate) trust: TrustArg,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) helper: HelperArgs,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}

/// Arguments of `coast stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,

    #[command(flatten)]
    pub(crate) project: ProjectArg,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}

/// Arguments of `coast rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,

    #[command(flatten)]
    pub(crate) project: ProjectArg,

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

    /// The instances of the project with this name [default: the project of the current directory]
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub(crate) project: Option<Name>,

    /// Connect to the remotes as well, and look for the workspaces
    #[arg(long)]
    pub(crate) check: bool,

    /// Print one JSON object instead of text
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

/// Arguments of `coast status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The instance
    pub(crate) instance: Name,

    #[command(flatten)]
    pub(crate) project: ProjectArg,

    /// Connect to the remote as well, and look for the workspace
    #[arg(long)]
    pub(crate) check: bool,

    /// Mend conflicts first, as `coast flush` does
    #[arg(long, conflicts_with = "watch")]
    pub(crate) mend: bool,

    /// Go on until interrupted, and show each change: a live view on a terminal, and one JSON object per line otherwise
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

    /// Give up after this many seconds, with exit code 30
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,

    #[command(flatten)]
    pub(crate) project: ProjectArg,

    #[command(flatten)]
    pub(crate) telling: TellingArgs,
}
