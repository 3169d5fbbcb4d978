//! The failures of a continuous layer.

use serde::{Deserialize, Serialize};

use crate::continuous::Retry;
use crate::records::RecordError;
use crate::{Addressed, Layer};

/// Why a session could not be started, stopped, flushed or asked for its status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named by the variant's doc")]
pub enum ContinuousError {
    /// A part of the work failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A part could not be removed. `session` tells whether the session may still run, `access` whether a key may still be in the
    /// runner.
    #[error("{failure}")]
    NotRemoved { failure: Failure, session: bool, access: bool },
    /// A step could not be recorded, and was not begun.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The call was cancelled.
    #[error("interrupted")]
    Interrupted,
}

/// The part of the work that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}{said}", if doing.is_empty() { String::new() } else { format!("{doing}: ") })]
pub struct Failure {
    /// The part, as one word for programs.
    #[serde(rename = "step")]
    pub part: String,
    /// A participle phrase for messages, such as "starting mutagen". Empty if nothing was being done: `said` is then a sentence.
    pub doing: String,
    /// The output of the tool, or the answer of the system.
    pub said: String,
}

impl Failure {
    /// The [`part`](Self::part): a worktree that is gone or was replaced.
    pub const WORKTREE: &'static str = "worktree";
    /// The [`part`](Self::part): a worktree whose files are all gone.
    pub const EMPTIED: &'static str = "emptied";
    /// The [`part`](Self::part): a transfer that failed. Only another transfer can mend that.
    pub const TRANSFER: &'static str = "transfer";
    /// The [`part`](Self::part): a session, which is made anew each time.
    pub const SESSION: &'static str = "session";
    /// The [`part`](Self::part): a session that would have deleted most of what was put on the remote.
    pub const MASS_DELETION: &'static str = "mass_deletion";
    /// The [`part`](Self::part): the connection, which coastd makes again by itself.
    pub const CONNECTION: &'static str = "connection";
    /// The [`part`](Self::part): a connection that lacks the passphrase of its key.
    pub const PASSPHRASE: &'static str = "passphrase";
    /// The [`part`](Self::part): coastd, which does not run.
    pub const NOT_RUNNING: &'static str = "not_running";
    /// The [`part`](Self::part): a workspace that was removed or replaced on the remote.
    pub const WORKSPACE: &'static str = "workspace";

    /// The failure of a part. The fields of a failure explain the other parameters.
    pub fn new(part: &str, doing: &str, said: impl ToString) -> Self {
        Self { part: part.to_owned(), doing: doing.to_owned(), said: said.to_string() }
    }

    /// A state in which edits are not carried, as a sentence.
    pub fn of_state(part: &str, said: impl ToString) -> Self {
        Self::new(part, "", said)
    }

    /// coastd, whose followers carry the edits, does not run.
    pub fn not_running() -> Self {
        Self::of_state(Self::NOT_RUNNING, "coastd does not run")
    }

    /// The connection is lost, and coastd makes it again.
    pub fn reconnecting(retry: &Retry) -> Self {
        match &retry.missing_passphrase {
            Some(key) => Self::of_state(
                Self::PASSPHRASE,
                format!("coastd waits for the passphrase of {}", key.display()),
            ),
            None => Self::of_state(Self::CONNECTION, format!("reconnecting, {}", retry.words())),
        }
    }

    /// Whether only the user can mend this part: the worktree is lost or empty. coastd does not try again.
    pub fn is_lost_worktree(part: &str) -> bool {
        matches!(part, Self::WORKTREE | Self::EMPTIED)
    }

    /// What to do about it in an instance of `layer`, for a sentence about the instance: the thing to mend first, if anything, and the
    /// command after that.
    pub fn remedy(&self, layer: Layer, instance: &Addressed) -> String {
        layer.remedy(&self.part, instance)
    }
}

/// What to do about a part that every layer has.
pub(crate) fn remedy(part: &str, instance: &Addressed) -> String {
    match part {
        // A session is made anew each time.
        Failure::SESSION => format!("try again with: coast start {instance}"),
        Failure::WORKTREE => format!(
            "bring the worktree back and then: coast start {instance}, or follow another one with: coast assign {instance} --worktree NAME_OR_PATH"
        ),
        Failure::EMPTIED => format!("bring its files back and then: coast start {instance}"),
        Failure::MASS_DELETION => format!(
            "they go on by themselves when the worktree has its files again; if the worktree is as it should be, delete the other \
             files on the remote with: coast start {instance} --allow-mass-deletion"
        ),
        Failure::CONNECTION => "coastd goes on by itself as soon as it reaches the remote".to_owned(),
        Failure::PASSPHRASE => format!("this command asks for it: coast start {instance}"),
        Failure::NOT_RUNNING => format!("begin with: coast start {instance}"),
        Failure::WORKSPACE => format!("go on with: coast start {instance}"),
        _ => format!("mend that first, and then: coast start {instance}"),
    }
}
