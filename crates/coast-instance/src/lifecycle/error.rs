//! Why a command of the lifecycle did not do what was asked, with the exit code that it ends with.

use std::path::PathBuf;

use coast_sync::{KeptEntry, RuleError, SyncError};

use crate::continuous::{ContinuousError, Failure};
use crate::record::{Command, Step};
use crate::words::did_you_mean;
use crate::{LockError, Name, ProjectError, RecordError, RemotesError, StoredPath};

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// There is no such instance.
    #[error("there is no instance {instance:?} of the project {project:?}{}{}", known_instances(known), did_you_mean(instance.as_str(), known.iter().map(Name::as_str)))]
    NoInstance {
        /// The project.
        project: Name,
        /// The instance asked for.
        instance: Name,
        /// Those there are.
        known: Vec<Name>,
    },
    /// There is one already.
    #[error("there is an instance {instance:?} already{}; use another name, or remove it first with: coast rm {instance}", unfinished_hint(instance, *unfinished))]
    Exists {
        /// The instance.
        instance: Name,
        /// What was begun with it and not ended.
        unfinished: Option<(Command, Step)>,
    },
    /// Something else is where its workspace would be.
    #[error(
        "no instance known here has made what is at {place}: {error}; use another name, or take it over, which deletes what the worktree does not have: coast run --adopt {instance}"
    )]
    Occupied {
        /// The instance.
        instance: Name,
        /// The workspace, as `remote:path`.
        place: String,
        /// What the remote said.
        error: SyncError,
    },
    /// It is stopped.
    #[error("the instance {0:?} is stopped; start it first with: coast start {0}")]
    Stopped(Name),
    /// A command on it did not come to its end.
    #[error("the instance {instance:?} is unfinished: {} did not come to its end (step {}); {}", command.as_str(), step.as_str(), command.ways_on(instance))]
    Unfinished {
        /// The instance.
        instance: Name,
        /// The command.
        command: Command,
        /// The step that it had begun.
        step: Step,
    },
    /// It is bulk only, so there is nothing to wait for, or to insist on.
    #[error(
        "nothing follows edits here: the project's Coastfile does not say [remote] workspace_sync = \"mutagen\""
    )]
    BulkOnly,
    /// It should follow and does not.
    #[error("edits do not follow: {}; try again with: coast start {instance}", failure)]
    NotFollowing {
        /// The instance.
        instance: Name,
        /// Why.
        failure: Failure,
    },
    /// A `run` that was begun on one remote is to be finished on another.
    #[error(
        "run {instance} was begun on the remote {begun:?} and did not come to its end; finish it there, or remove it first with: coast rm {instance}"
    )]
    OtherRemote {
        /// The instance.
        instance: Name,
        /// The remote of before.
        begun: Name,
    },
    /// The instance belongs to another directory that has a project of the same name.
    #[error("the instance {instance:?} belongs to the project at {}, this one is at {}; give one of them another name with [coast] name in its Coastfile", theirs.display(), ours.display())]
    OtherProject {
        /// The instance.
        instance: Name,
        /// The root of its project.
        theirs: PathBuf,
        /// The root of this project.
        ours: PathBuf,
    },
    /// There is nothing in the worktree, and there was something when it was brought last.
    #[error("the worktree {} is empty: everything in the workspace would be deleted (is something not mounted?); if that is meant, use: coast rm {instance}", path.display())]
    EmptyWorktree {
        /// The instance.
        instance: Name,
        /// Where it is.
        path: PathBuf,
    },
    /// What it followed is not there any more.
    #[error("the worktree {} is gone; assign another one with: coast assign {instance} --worktree PATH_OR_NAME", path.display())]
    WorktreeGone {
        /// The instance.
        instance: Name,
        /// Where it was.
        path: StoredPath,
    },
    /// The project or the worktree cannot be used.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The remote cannot be used.
    #[error(transparent)]
    Remotes(#[from] RemotesError),
    /// The record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The lock cannot be had.
    #[error(transparent)]
    Lock(LockError),
    /// The rules are too many.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// The transfer, or the removal of the workspace, failed.
    #[error("{doing}: {error}")]
    Bulk {
        /// What was being done.
        doing: String,
        /// Why it failed.
        error: SyncError,
    },
    /// The transfer failed when what followed before had ended.
    #[error("{error}\nedits do not follow now; when that is mended, bring and follow {} with: coast start {instance}", worktree.display())]
    Unfollowed {
        /// The instance.
        instance: Name,
        /// The directory that was to be brought.
        worktree: StoredPath,
        /// Why it was not brought.
        error: Box<LifecycleError>,
    },
    /// Some of the workspace could not be removed.
    #[error("{count} entries of {place} could not be removed{}; see to them and try again, or leave them with: coast rm --keep-workspace {instance}", named(kept, *count))]
    Kept {
        /// The instance.
        instance: Name,
        /// The workspace, as `remote:path`.
        place: String,
        /// How many there are.
        count: u64,
        /// The first of them.
        kept: Vec<KeptEntry>,
    },
    /// The continuous layer failed where that is no mere warning.
    #[error("{failure}{hint}")]
    Continuous {
        /// Why.
        failure: Failure,
        /// What to do.
        hint: String,
    },
    /// It was cancelled.
    #[error("interrupted{}", at.map(|step| format!(" at the step {}; the next command on this instance goes on from there", step.as_str())).unwrap_or_default())]
    Interrupted {
        /// The step that had begun.
        at: Option<Step>,
    },
}

/// How many entries that stayed are named in a message.
const NAMED: usize = 5;

fn named(kept: &[KeptEntry], count: u64) -> String {
    let mut text = String::new();
    for KeptEntry { path, reason, .. } in kept.iter().take(NAMED) {
        text.push_str(&format!("\n  {}: {reason}", String::from_utf8_lossy(path)));
    }
    if count > NAMED as u64 {
        text.push_str("\n  and more");
    }
    text
}

fn known_instances(known: &[Name]) -> String {
    let known: Vec<&str> = known.iter().map(Name::as_str).collect();
    if known.is_empty() {
        "; it has none (coast run makes one)".to_owned()
    } else {
        format!("; it has {}", known.join(", "))
    }
}

fn unfinished_hint(instance: &Name, unfinished: Option<(Command, Step)>) -> String {
    unfinished
        .map(|(command, _)| {
            format!(" ({} of it did not come to its end: {})", command.as_str(), command.ways_on(instance))
        })
        .unwrap_or_default()
}

impl LifecycleError {
    /// The exit code: rsync's, with meanings for what rsync does not have.
    ///
    /// | code | cause |
    /// |---|---|
    /// | 1 | the Coastfile or the file of remotes is wrong |
    /// | 3 | instance, worktree or remote cannot be used: there is none, there is one already, it is stopped |
    /// | 11 | a record, a lock or another file of our own cannot be read or written |
    /// | 12 | edits do not follow where that was insisted on; what the continuous layer left cannot be removed |
    /// | 20 | cancelled |
    /// | 23 | some of a workspace could not be removed |
    ///
    /// A failed transfer keeps the code of [`SyncError::exit_code`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Project(ProjectError::Coastfile(_) | ProjectError::Name { .. })
            | Self::Remotes(
                RemotesError::Content { .. } | RemotesError::Address(_) | RemotesError::ServiceHome(_),
            )
            | Self::Rules(_) => 1,
            Self::Remotes(RemotesError::File { .. } | RemotesError::Lock(_)) | Self::Record(_) => 11,
            Self::Project(ProjectError::Look { .. }) => 11,
            Self::Lock(LockError::Interrupted) | Self::Interrupted { .. } => 20,
            Self::Lock(_) => 11,
            Self::Bulk { error, .. } => error.exit_code(),
            Self::Unfollowed { error, .. } => error.exit_code(),
            Self::Continuous { .. } | Self::NotFollowing { .. } => 12,
            Self::Kept { .. } => 23,
            _ => 3,
        }
    }
}

impl From<LockError> for LifecycleError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Interrupted => Self::Interrupted { at: None },
            error => Self::Lock(error),
        }
    }
}

/// The errors of the continuous layer that are none of its own.
pub(super) fn failure_of(error: ContinuousError, at: Option<Step>) -> Result<Failure, LifecycleError> {
    match error {
        ContinuousError::Failed(failure) | ContinuousError::Left { failure, .. } => Ok(failure),
        ContinuousError::Record(error) => Err(error.into()),
        ContinuousError::Interrupted => Err(LifecycleError::Interrupted { at }),
    }
}
