//! The record of an instance: its workspace, its worktree, and the last step that a command began. Each instance has a file,
//! `{state}/{project}/{instance}.json`. The file is replaced as a whole and flushed to the disk *before* each step. So after a kill
//! at any moment the next command knows every step that may have begun.

use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::continuous::{Failure, InstanceId};
use crate::stale::Stale;
use crate::stored_path::StoredPath;
use crate::words::shell_word;
use crate::worktree::WorktreeIdentity;
use crate::{Addressed, CoastfileType, Layer, Name, Remote};

/// The version of the file's format. A file of another version is refused.
pub(crate) const VERSION: u32 = 1;

/// Files of sessions on the remote that a record names: two for each of the last 100 sessions.
const MAX_TRACES: usize = 200;

/// The record of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of the file's format.
    pub version: u32,
    /// The name of the project.
    pub project: Name,
    /// The name of the instance.
    pub instance: Name,
    /// The state: running, stopped, or in the middle of a command.
    #[serde(flatten)]
    pub state: State,
    /// The root of the project.
    pub root: StoredPath,
    /// The worktree that the workspace follows, or will follow after the present command.
    pub worktree: StoredPath,
    /// The worktree that an `assign` or `unassign` goes to, from its begin until the transfer of that worktree begins.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wanted: Option<StoredPath>,
    /// The identity of that worktree. Older records lack it.
    #[serde(rename = "worktree_identity", skip_serializing_if = "Option::is_none", default)]
    pub identity: Option<WorktreeIdentity>,
    /// The name of the remote.
    pub remote: Name,
    /// The absolute path of the workspace on the remote.
    pub remote_path: String,
    /// Whether the workspace belongs to this instance: it was new when `run` came to it, or `--adopt` took it over. Before that,
    /// nothing in it is replaced or deleted.
    #[serde(default = "yes")]
    pub claimed: bool,
    /// Whether a transfer has written to the workspace as root. Then every later one has to: the user who logs in can read neither the
    /// ledger nor the trash of root, and would take the files for ones that were made there.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub as_root: bool,
    /// The image that `run --image` named. It takes precedence over the Coastfile's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<String>,
    /// The type of the Coastfile whose settings the last command used. `None` means the Coastfile without a type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub coastfile_type: Option<CoastfileType>,
    /// The layer that carries the edits, or carried them last.
    #[serde(default)]
    pub layer: Layer,
    /// Whether edits are carried.
    pub following: Following,
    /// The runner of the continuous layer, such as `container shop-coasts-dev-1-shell`: from the moment at which it may exist until it
    /// is known to be gone. Older records have only the name of the container.
    #[serde(skip_serializing_if = "Option::is_none", default, alias = "container")]
    pub runner: Option<String>,
    /// Whether a key for the remote may be in the runner.
    #[serde(default)]
    pub access: bool,
    /// A session that could not be ended, and may still carry edits of its worktree.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unended: Option<Unended>,
    /// The last bulk transfer of the whole worktree that finished.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_transfer: Option<LastTransfer>,
    /// The entries that the last transfers could not bring up to date.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stale: Option<Stale>,
    /// The directories that were deleted here and are mended: on the remote, only entries that the session ignores are left in them. The
    /// session has them in conflict until it ends.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub mended: Vec<StoredPath>,
    /// The files that sessions have left in the account on the remote: paths relative to the home directory. Those of the latest
    /// sessions come last.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub traces: Vec<String>,
    /// The start of `run`, in seconds since the epoch.
    pub created: u64,
}

/// The state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The last command was `run`, `assign`, `unassign` or `start`, and has finished.
    Running,
    /// The last command was `stop`, and has finished.
    Stopped,
    /// A command is under way, or was when it was killed.
    Working {
        /// The command.
        command: Command,
        /// The last step that was begun.
        step: Step,
    },
}

/// The commands that change an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// `coast run`
    Run,
    /// `coast assign`
    Assign,
    /// `coast unassign`
    Unassign,
    /// `coast start`
    Start,
    /// `coast stop`
    Stop,
    /// `coast rm`
    Rm,
    /// `coast rm --keep-workspace`
    RmKeepingWorkspace,
}

impl Command {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Assign => "assign",
            Self::Unassign => "unassign",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Rm | Self::RmKeepingWorkspace => "rm",
        }
    }

    /// Whether the command leaves the workspace a copy of the worktree that it was.
    pub(crate) fn repairs(self) -> bool {
        matches!(self, Self::Start | Self::Stop)
    }

    /// Whether the command removes the instance.
    pub fn removes(self) -> bool {
        matches!(self, Self::Rm | Self::RmKeepingWorkspace)
    }
}

/// The steps of commands. `run` goes from [`Step::Transfer`] to [`Step::Gap`]; other commands use some of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// End the session of the old worktree.
    EndSession,
    /// Transfer the whole worktree.
    Transfer,
    /// Create, reuse or replace the runner.
    #[serde(alias = "container")]
    Runner,
    /// Give the runner access to the remote.
    Access,
    /// Create the session, and wait for its first scan.
    Session,
    /// Transfer the paths that changed between the transfer and the session's first scan.
    Gap,
    /// Remove the access from the runner.
    RemoveAccess,
    /// Remove the runner.
    #[serde(alias = "remove_container")]
    RemoveRunner,
    /// Remove the directory on the remote.
    RemoveWorkspace,
}

impl Step {
    /// The name in records and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndSession => "end_session",
            Self::Transfer => "transfer",
            Self::Runner => "runner",
            Self::Access => "access",
            Self::Session => "session",
            Self::Gap => "gap",
            Self::RemoveAccess => "remove_access",
            Self::RemoveRunner => "remove_runner",
            Self::RemoveWorkspace => "remove_workspace",
        }
    }
}

/// Whether edits are carried, as the last command left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Following {
    /// No, because the Coastfile does not ask for it.
    BulkOnly,
    /// No, because `stop` ended the session, or no session was created yet.
    Off,
    /// Yes: a session was created and has finished its first scan.
    Yes,
    /// No, because a step failed.
    Failed {
        /// The part that failed, as one word for programs. Older records lack it.
        #[serde(default)]
        part: String,
        /// A participle phrase for the part, such as "starting mutagen".
        #[serde(rename = "step")]
        doing: String,
        /// The output of the tool, or the answer of the system.
        said: String,
        /// The time of the failure, in seconds since the epoch.
        at: u64,
    },
}

impl Following {
    /// Edits are not carried because of a failure at `at`, in seconds since the epoch.
    pub(crate) fn failed(failure: Failure, at: u64) -> Self {
        let Failure { part, doing, said } = failure;
        Self::Failed { part, doing, said, at }
    }
}

/// A session that could not be ended and may still run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unended {
    /// The directory whose edits the session carries.
    pub worktree: StoredPath,
    /// The runner of the session.
    #[serde(alias = "container")]
    pub runner: String,
    /// The error of the attempt to end it.
    pub said: String,
    /// The time of that attempt, in seconds since the epoch.
    pub at: u64,
}

/// The counts of a bulk transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTransfer {
    /// The time of its end, in seconds since the epoch.
    pub at: u64,
    /// The duration in milliseconds.
    pub milliseconds: u64,
    /// The number of regular files that were sent.
    pub sent_files: u64,
    /// The size of those files, in bytes.
    pub sent_bytes: u64,
    /// The number of entries that were deleted on the remote.
    pub deleted: u64,
    /// The number of regular files in the worktree.
    pub files: u64,
    /// rsync's exit code: 23 if entries could not be transferred, 24 if source files vanished.
    pub code: u8,
}

impl Record {
    /// Whether a session of the instance may run. Of the mutagen layer the record says only whether a key may exist; without a key no
    /// session runs. A follower of the native layer is the session.
    pub(crate) fn may_have_session(&self) -> bool {
        self.runner.is_some() && (self.access || self.unended.is_some() || self.layer == Layer::Native)
    }

    /// The worktree that the session follows, and its identity if that is known.
    pub(crate) fn followed(&self) -> (&StoredPath, Option<&WorktreeIdentity>) {
        match &self.unended {
            Some(unended) => (&unended.worktree, None),
            None => (&self.worktree, self.identity.as_ref()),
        }
    }

    /// Whether the instance was stopped and a session or a key may be left.
    pub fn is_half_stopped(&self) -> bool {
        self.state == State::Stopped && self.left_words().is_some()
    }

    /// The session and the key that may be left, in words for a message. `None` if neither can be left.
    pub fn left_words(&self) -> Option<String> {
        let session = self.unended.as_ref().map(|unended| {
            format!(
                "the session may go on in the {}, so that edits of {} may still be carried",
                unended.runner,
                unended.worktree.display()
            )
        });
        let runner = self.runner.as_deref().unwrap_or("runner of the instance");
        let key = self.access.then(|| format!("the key may still be in the {runner}"));
        let left: Vec<String> = session.into_iter().chain(key).collect();
        (!left.is_empty()).then(|| left.join(", and "))
    }

    /// The commands that finish or undo the command that did not finish, and what each of them does. `None` if every command has
    /// finished.
    pub fn ways_on(&self, instance: &Addressed) -> Option<String> {
        let (command, _) = self.unfinished()?;
        Some(match command {
            Command::Run => format!("finish it with: coast run {instance}"),
            Command::Stop => format!("finish it with: coast stop {instance}"),
            Command::Rm => {
                format!("finish it with: coast rm {instance}, or undo it with: coast start {instance}")
            }
            Command::RmKeepingWorkspace => format!(
                "finish it with: coast rm --keep-workspace {instance}, or undo it with: coast start {instance}"
            ),
            Command::Assign | Command::Unassign | Command::Start => match &self.wanted {
                Some(wanted) => format!(
                    "go on to {} with: coast assign {instance} --worktree {}, or go back to {} with: coast start {instance}",
                    wanted.display(),
                    shell_word(wanted),
                    self.worktree.display()
                ),
                None => format!("finish it with: coast start {instance}"),
            },
        })
    }

    /// The instance.
    pub fn id(&self) -> InstanceId {
        InstanceId { project: self.project.clone(), instance: self.instance.clone() }
    }

    /// Whether coastd has the edits of the instance carried. An instance whose worktree was lost waits for the user.
    pub fn should_follow(&self) -> bool {
        self.state == State::Running
            && match &self.following {
                Following::Yes => true,
                Following::Failed { part, .. } => !Failure::is_lost_worktree(part),
                Following::BulkOnly | Following::Off => false,
            }
    }

    /// What to do so that edits are carried again after a step failed. `None` if none failed.
    pub fn remedy(&self, instance: &Addressed) -> Option<String> {
        match &self.following {
            Following::Failed { part, .. } => Some(self.layer.remedy(part, instance)),
            Following::BulkOnly | Following::Off | Following::Yes => None,
        }
    }

    /// The record for a `run` that begins.
    pub fn begun(
        project: Name,
        instance: Name,
        root: &Path,
        worktree: &Path,
        remote: Name,
        remote_path: String,
    ) -> Self {
        Self {
            version: VERSION,
            project,
            instance,
            state: State::Working { command: Command::Run, step: Step::Transfer },
            root: root.into(),
            worktree: worktree.into(),
            wanted: None,
            identity: None,
            remote,
            remote_path,
            claimed: false,
            as_root: false,
            image: None,
            coastfile_type: None,
            layer: Layer::default(),
            following: Following::Off,
            runner: None,
            access: false,
            unended: None,
            last_transfer: None,
            stale: None,
            mended: Vec::new(),
            traces: Vec::new(),
            created: now(),
        }
    }

    /// Records the files that a session has in the account on the remote. Mutagen itself removes those of sessions that ended long ago,
    /// so the earliest are forgotten when they are many.
    pub(crate) fn note_traces(&mut self, traces: Vec<String>) {
        self.traces.retain(|trace| !traces.contains(trace));
        self.traces.extend(traces);
        self.traces.drain(..self.traces.len().saturating_sub(MAX_TRACES));
    }

    /// The remote as this instance uses it.
    pub(crate) fn as_used(&self, remote: &Remote) -> Remote {
        Remote { as_root: remote.as_root || self.as_root, ..remote.clone() }
    }

    /// Records a transfer of the whole worktree, after which `stale` is not up to date.
    pub(crate) fn transferred(&mut self, transfer: LastTransfer, stale: Option<Stale>) {
        self.last_transfer = Some(transfer);
        self.stale = stale;
        self.mended.clear();
    }

    /// Records a later transfer, of the paths `only` or of the whole worktree, after which `stale` is not up to date.
    pub(crate) fn transferred_again(&mut self, only: Option<&[Vec<u8>]>, stale: Option<Stale>) {
        self.stale = match only {
            Some(only) => Stale::after(self.stale.take(), only, stale),
            None => stale,
        };
    }

    /// The exit code of a command that left the instance like this: that of [`Record::stale`] if the instance runs, or else 0.
    pub fn exit_code(&self) -> u8 {
        match (&self.stale, self.state) {
            (Some(stale), State::Running) => stale.code,
            _ => 0,
        }
    }

    /// The command that was begun and has not finished, if there is one, and its step.
    pub fn unfinished(&self) -> Option<(Command, Step)> {
        match self.state {
            State::Working { command, step } => Some((command, step)),
            State::Running | State::Stopped => None,
        }
    }
}

/// The default of `claimed`: older records lack the field, and their workspaces were all claimed.
fn yes() -> bool {
    true
}

/// The time, in seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
