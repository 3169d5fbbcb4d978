//! The errors of the commands, with their exit codes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coast_sync::{KeptEntry, RuleError, SyncError};

use crate::continuous::{ContinuousError, Failure};
use crate::lock::LockError;
use crate::record::{Command, Record, Step};
use crate::records::Records;
use crate::words::{did_you_mean, shell_word};
use crate::{Addressed, Layer, Name, ProjectError, RecordError, RemotesError, StoredPath, TrustQuestion};

/// The error of a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum LifecycleError {
    /// The instance does not exist.
    #[error("there is no instance {instance:?} of the project {project:?}{}{}{}", known_instances(known), instances_elsewhere(elsewhere), did_you_mean(instance.as_str(), known.iter().map(Name::as_str)))]
    NoInstance { project: Name, instance: Name, known: Vec<Name>, elsewhere: Vec<Name> },
    /// The user has named a project that has no instance.
    #[error("there is no project {project:?}{}{}", known_projects(known), did_you_mean(project.as_str(), known.iter().map(Name::as_str)))]
    NoProject { project: Name, known: Vec<Name> },
    /// The instance exists already.
    #[error("there is an instance {instance:?} already{}; transfer its changes and have them follow with: coast start {instance}; give it another worktree with: coast assign {instance} --worktree NAME_OR_PATH; see it with: coast status {instance}; for one more instance, use another name; to make this one anew, remove it first with: coast rm {instance}", unfinished_hint(unfinished.as_ref()))]
    Exists { instance: Addressed, unfinished: Option<Unfinished> },
    /// The remote has a directory that no known instance has made, at the path of the workspace.
    #[error(
        "no instance known here has made the directory {place}: {error}; use another name, or take the directory over, which deletes everything in it that the worktree does not have: repeat this command with --adopt"
    )]
    Occupied { instance: Name, place: String, error: SyncError },
    /// The instance is stopped.
    #[error("the instance {0:?} is stopped; start it first with: coast start {0}")]
    Stopped(Addressed),
    /// The instance was stopped, and a session or a key may be left. `left` names them.
    #[error(
        "stop of the instance {instance:?} did not finish: {left}; finish it with: coast stop {instance}, or go on with: coast start {instance}"
    )]
    HalfStopped { instance: Addressed, left: String },
    /// An earlier command on the instance did not finish.
    #[error("the instance {instance:?} is unfinished: {} did not finish (step {}); {}", unfinished.command.as_str(), unfinished.step.as_str(), unfinished.ways_on)]
    Unfinished { instance: Addressed, unfinished: Unfinished },
    /// The user does not trust the settings of the project yet, and nobody can be asked.
    #[error(
        "{}\nnothing was done; read the Coastfile, and if you trust these settings, say so in the project's directory with: {}\nor repeat this command with --trust", .0, .0.command()
    )]
    Untrusted(Box<TrustQuestion>),
    /// The user was asked, and does not trust the settings of the project.
    #[error("nothing was done, because you do not trust the settings of the Coastfile")]
    Distrusted,
    /// The project has a Coastfile already.
    #[error("the project has a Coastfile already: {}; edit it, or compare it with: coast init --print", .0.display())]
    CoastfileExists(PathBuf),
    /// The project does not use the continuous layer.
    #[error(
        "this project is bulk only: `coast start` and `coast assign` transfer edits, and edits do not follow by themselves; to change that, set in its Coastfile: [remote] workspace_sync = \"native\""
    )]
    BulkOnly,
    /// The Coastfile asks for the continuous layer, and did not when the last command began.
    #[error(
        "edits do not follow yet: the Coastfile asks for that, and did not at the last command; begin with: coast start {0}"
    )]
    NotBegun(Addressed),
    /// Edits should be carried and are not.
    #[error("edits do not follow: {failure}; {}", failure.remedy(*layer, instance))]
    NotFollowing { instance: Addressed, layer: Layer, failure: Failure },
    /// A `run` that did not finish on one remote was asked to finish on another.
    #[error(
        "run {} was begun on the remote {begun:?} and did not finish; finish it there with: coast run {instance}, or remove it first with: coast rm {instance}", instance.instance()
    )]
    OtherRemote { instance: Addressed, begun: Name },
    /// The workspace was written as root, and the helper cannot run as root any more.
    #[error(
        "{doing}: {error}. Root has written to the workspace before, and nobody else may; print the lines for sudo with: coast remote sudoers {remote}"
    )]
    NotRoot { doing: String, remote: Name, error: SyncError },
    /// The instance belongs to a project of the same name in another directory.
    #[error("the instance {instance:?} belongs to the project at {}, this one is at {}; give one of them another name with [coast] name in its Coastfile", theirs.display(), ours.display())]
    OtherProject { instance: Name, theirs: PathBuf, ours: PathBuf },
    /// A repair would delete most of what was put on the remote.
    #[error(
        "{error}; if the worktree is as it should be, delete them with: coast start {instance} --allow-mass-deletion"
    )]
    MassDeletion { instance: Addressed, error: SyncError },
    /// The worktree is empty, and the last transfer had files.
    #[error("the worktree {} is empty: everything in the workspace would be deleted; mount the disk of the worktree if it is not mounted, or remove the instance with: coast rm {instance}", path.display())]
    EmptyWorktree { instance: Addressed, path: PathBuf },
    /// The directory of the worktree does not exist any more. `paused` says what happened to the session.
    #[error("the worktree {} is gone{paused}; mount its disk if that is not mounted, or assign another worktree with: coast assign {instance} --worktree NAME_OR_PATH", path.display())]
    WorktreeGone { instance: Addressed, path: StoredPath, paused: String },
    /// Another directory stands at the path of the worktree. `paused` says what happened to the session.
    #[error("another directory than the worktree of {instance:?} stands at {}{paused}; mount the disk of the worktree if that is not mounted, or follow the directory that is there now with: coast assign {instance} --worktree {}", path.display(), shell_word(path))]
    OtherWorktree { instance: Addressed, path: StoredPath, paused: String },
    /// The project or the worktree cannot be used.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The command needs the settings of the project, and they cannot be used.
    #[error("{0}")]
    Unsettled(Arc<ProjectError>),
    /// The remote cannot be used.
    #[error(transparent)]
    Remotes(#[from] RemotesError),
    /// The record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The lock of the instance cannot be acquired.
    #[error(transparent)]
    Lock(LockError),
    /// The Coastfile has too many rules.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// The transfer, or the removal of the workspace, failed.
    #[error("{doing}: {error}{advice}")]
    Bulk { doing: String, error: SyncError, advice: String },
    /// The transfer failed after the old session had ended.
    #[error("{error}\nedits do not follow now; after mending that, transfer and follow {} with: coast start {instance}", worktree.display())]
    Unfollowed { instance: Addressed, worktree: StoredPath, error: Box<LifecycleError> },
    /// The transfer failed before anything was changed, and a session exists.
    #[error("{error}\nnothing was changed: the session of {} was not ended; if it has lost the remote, it goes on by itself as soon as it reaches the remote again", worktree.display())]
    Unchanged { worktree: StoredPath, error: Box<LifecycleError> },
    /// The old session may run and cannot be ended.
    #[error("the session of {} may still run in the {runner}, and cannot be ended: {failure}\nnothing was changed, because that session could bring files of its worktree back; mend that and repeat this command, or go on all the same with --force", worktree.display())]
    OldSession { worktree: StoredPath, runner: String, failure: Failure },
    /// Some entries of the workspace could not be removed.
    #[error("{count} entries of {place} could not be removed{}; remove what is in their way and try again, or leave them with: coast rm --keep-workspace {instance}", named(kept, *count))]
    Kept { instance: Addressed, place: String, count: u64, kept: Vec<KeptEntry> },
    /// A part of the continuous layer could not be removed.
    #[error("{failure}{hint}")]
    Continuous { failure: Failure, hint: String },
    /// The command was cancelled.
    #[error("interrupted{}", at.map(|step| format!(" at the step {}; the next command on this instance goes on from there", step.as_str())).unwrap_or_default())]
    Interrupted { at: Option<Step> },
}

/// A command that did not finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The command.
    pub command: Command,
    /// The last step that was begun.
    pub step: Step,
    /// The commands that finish or undo it, in words.
    pub ways_on: String,
}

impl Unfinished {
    /// The command that did not finish on this instance, if there is one.
    pub(super) fn of(record: &Record, instance: &Addressed) -> Option<Self> {
        let ((command, step), ways_on) = record.unfinished().zip(record.ways_on(instance))?;
        Some(Self { command, step, ways_on })
    }
}

/// The number of kept entries that a message names.
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
        "; it has none (those of all projects: coast ls --all); make one with: coast run INSTANCE".to_owned()
    } else {
        format!("; it has {}", known.join(", "))
    }
}

fn known_projects(known: &[Name]) -> String {
    let known: Vec<&str> = known.iter().map(Name::as_str).collect();
    if known.is_empty() {
        " with an instance, and no other one; make an instance in the directory of a project with: coast run INSTANCE"
            .to_owned()
    } else {
        format!(" with an instance; those that have one: {}", known.join(", "))
    }
}

/// Which other projects have an instance of that name.
fn instances_elsewhere(projects: &[Name]) -> String {
    projects
        .iter()
        .map(|project| format!("; the project {project:?} has one, reach it with: --project {project}"))
        .collect()
}

fn unfinished_hint(unfinished: Option<&Unfinished>) -> String {
    unfinished
        .map(|Unfinished { command, ways_on, .. }| {
            format!(" ({} of it did not finish: {ways_on})", command.as_str())
        })
        .unwrap_or_default()
}

fn project_code(error: &ProjectError) -> u8 {
    match error {
        ProjectError::Coastfile(_) | ProjectError::Name { .. } => 1,
        ProjectError::Look { .. } => 11,
        _ => 3,
    }
}

impl LifecycleError {
    /// The error of an instance that is stopped, maybe not wholly.
    pub(super) fn stopped(record: &Record, instance: Addressed) -> Self {
        match record.left_words() {
            Some(left) => Self::HalfStopped { instance, left },
            None => Self::Stopped(instance),
        }
    }

    /// The error of an instance that does not exist.
    pub(crate) fn no_instance(records: &Records, project: &Name, instance: &Name) -> Self {
        // The names are only for the message, so an unreadable directory counts as empty.
        let known = records.instances(project).unwrap_or_default();
        let mut elsewhere = records.projects().unwrap_or_default();
        elsewhere.retain(|other| records.exists(other, instance));
        Self::NoInstance { project: project.clone(), instance: instance.clone(), known, elsewhere }
    }

    /// The file of an encrypted key that lacked its passphrase, if the command failed for that reason.
    pub fn missing_passphrase(&self) -> Option<&Path> {
        match self {
            Self::Bulk { error, .. } | Self::Occupied { error, .. } => error.missing_passphrase(),
            Self::Unfollowed { error, .. } | Self::Unchanged { error, .. } => error.missing_passphrase(),
            _ => None,
        }
    }

    /// Whether the same command fails again until the user has changed or typed something on this machine.
    pub fn needs_user(&self) -> bool {
        self.missing_passphrase().is_some()
            || matches!(
                self,
                Self::Untrusted { .. }
                    | Self::Unsettled(_)
                    | Self::Project(_)
                    | Self::EmptyWorktree { .. }
                    | Self::MassDeletion { .. }
                    | Self::Remotes(_)
            )
    }

    /// The exit code. It is rsync's code for the failure, or the code of the most similar failure of rsync.
    ///
    /// | code | cause |
    /// |---|---|
    /// | 1 | the Coastfile or the file of remotes is wrong |
    /// | 3 | the instance, project, worktree or remote cannot be used: it does not exist, exists already, or is stopped; or the settings of the project are not trusted |
    /// | 11 | a record, a lock or another file of coast on this machine cannot be read or written |
    /// | 12 | edits are not carried and the caller insisted on that or waits for them, or a part of the continuous layer cannot be removed or ended |
    /// | 20 | cancelled |
    /// | 23 | some entries of a workspace could not be removed |
    /// | 25 | `start` would delete most of what was put on the remote |
    ///
    /// A failed transfer keeps the code of [`SyncError::exit_code`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Project(error) => project_code(error),
            Self::Unsettled(error) => project_code(error),
            Self::Remotes(
                RemotesError::Content { .. } | RemotesError::Address(_) | RemotesError::ServiceHome(_),
            )
            | Self::Rules(_) => 1,
            Self::Remotes(RemotesError::File(_) | RemotesError::Lock(_)) | Self::Record(_) => 11,
            Self::Lock(LockError::Interrupted) | Self::Interrupted { .. } => 20,
            Self::Lock(_) => 11,
            Self::Bulk { error, .. } | Self::NotRoot { error, .. } => error.exit_code(),
            Self::Unfollowed { error, .. } | Self::Unchanged { error, .. } => error.exit_code(),
            Self::OldSession { .. } | Self::Continuous { .. } | Self::NotFollowing { .. } => 12,
            Self::BulkOnly | Self::NotBegun(_) => 12,
            Self::Kept { .. } => 23,
            Self::MassDeletion { .. } => 25,
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

/// Separates failures of the continuous layer from errors that end the command.
pub(super) fn failure_of(error: ContinuousError, at: Option<Step>) -> Result<Failure, LifecycleError> {
    match error {
        ContinuousError::Failed(failure) | ContinuousError::NotRemoved { failure, .. } => Ok(failure),
        ContinuousError::Record(error) => Err(error.into()),
        ContinuousError::Interrupted => Err(LifecycleError::Interrupted { at }),
    }
}
