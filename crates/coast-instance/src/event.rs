//! What a command tells while it works, as a trait, so that this crate never prints.

use coast_sync::{Monitor, Prompt, SyncReport};

use crate::continuous::{Conflict, ContainerChange, ContinuousStatus, Failure};
use crate::lock::Holder;
use crate::record::{Command, Record, Step, Unended};

/// Hears what happens during a command, its transfers included, and answers what only a person can.
pub trait Observer: Monitor + Prompt {
    /// Something happened.
    fn happened(&self, happening: &Happening<'_>) {
        let _ = happening;
    }
}

/// What happens during a command.
#[derive(Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// Another command is at work on the instance; this one comes after it.
    Waiting {
        /// Who.
        holder: &'a Holder,
    },
    /// A command before this one did not come to its end; this one takes over from there.
    TakingOver {
        /// The command.
        command: Command,
        /// The step that it had begun.
        step: Step,
    },
    /// A step begins. The record says so already.
    Step {
        /// The step.
        step: Step,
    },
    /// The transfer of the whole worktree came to its end.
    Transferred {
        /// What it did.
        report: &'a SyncReport,
    },
    /// There is a shell container.
    Container {
        /// Its name.
        name: &'a str,
        /// What became of it.
        change: ContainerChange,
    },
    /// Edits follow from now on.
    Following {
        /// The state after the first look.
        status: &'a ContinuousStatus,
    },
    /// Edits fell into the gap between the transfer and the continuous layer's first look, and are brought after.
    Gap {
        /// What changed.
        changed: &'a [Vec<u8>],
        /// What was deleted.
        vanished: &'a [Vec<u8>],
    },
    /// The gap is closed: the remote has what is here.
    GapClosed {
        /// How many paths were brought after.
        paths: usize,
    },
    /// The gap could not be closed.
    GapOpen {
        /// The paths at which the remote still has something else.
        conflicts: &'a [Conflict],
        /// What kept it open, if that is known.
        reason: Option<String>,
    },
    /// Edits do not follow, and why; they would with the next `assign` or `start`.
    NotFollowing {
        /// Why.
        failure: &'a Failure,
    },
    /// The session of before could not be ended, and may still run.
    Unended {
        /// The instance, as it follows now.
        record: &'a Record,
        /// The session.
        unended: &'a Unended,
    },
    /// What was there for the continuous layer could not be cleaned up.
    LeftBehind {
        /// The shell container it is in.
        container: &'a str,
        /// Why.
        failure: &'a Failure,
    },
    /// There is a container under the name of the shell container that is not this instance's. It was left as it is.
    Foreign {
        /// Its name.
        container: &'a str,
        /// How it was recognized.
        said: &'a str,
    },
    /// The directory on the remote is gone.
    WorkspaceRemoved {
        /// Entries that were removed.
        entries: u64,
        /// Whether there was one.
        existed: bool,
    },
    /// The instance was as wanted already.
    Already {
        /// In words that follow "it is".
        what: &'a str,
    },
}
