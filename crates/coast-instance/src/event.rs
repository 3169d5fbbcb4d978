//! The events of a command. They go to a trait, so that this crate never prints.

use std::ffi::OsStr;
use std::path::Path;

use coast_sync::{
    AcceptedKey, Deletions, HostAnswer, Monitor, NoPrompt, PresentedKey, Prompt, SyncReport, Zeroizing,
};

use crate::continuous::{Conflict, ContinuousStatus, Failure, RunnerChange};
use crate::lock::Holder;
use crate::record::{Command, Record, Step, Unended};
use crate::stale::Stale;
use crate::{Addressed, Layer, TrustQuestion};

/// Receives the events of a command and of its transfers, and answers questions to the user.
pub trait Observer: Monitor + Prompt {
    /// Receives an event. By default it is ignored.
    fn lifecycle_event(&self, event: &LifecycleEvent<'_>) {
        let _ = event;
    }

    /// Asks the user whether settings of the project are to be trusted. Returns `None` if nobody can be asked; that is the default.
    fn confirm_trust(&self, question: &TrustQuestion) -> Option<bool> {
        let _ = question;
        None
    }
}

/// An observer that ignores every event and has no user to ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct VoidObserver;

impl Monitor for VoidObserver {}

impl Prompt for VoidObserver {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        NoPrompt.passphrase(key)
    }

    fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        NoPrompt.confirm_host(presented)
    }

    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        NoPrompt.host_key_accepted(accepted);
    }

    fn notice(&self, text: &str) {
        Prompt::notice(&NoPrompt, text);
    }
}

impl Observer for VoidObserver {}

/// An event of a command.
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named by the variant's doc")]
pub enum LifecycleEvent<'a> {
    /// A name can mean a worktree and something else. `taken` was taken, `other` was not.
    Ambiguous { wanted: &'a OsStr, taken: &'a Path, other: &'a Path },
    /// The settings of the project cannot be used, and this command does not need them.
    WithoutSettings { why: String },
    /// The user trusts these settings from now on, as an option of the command says.
    Trusted { question: &'a TrustQuestion },
    /// Another command holds the lock of the instance; this command waits for it.
    Waiting { holder: &'a Holder },
    /// An earlier command did not finish; this command takes over from its `step`. `given_up` is the worktree to which that command
    /// would have gone, and to which this one does not go.
    TakingOver { command: Command, step: Step, given_up: Option<&'a Path> },
    /// A step begins. The record on the disk names it already.
    Step { step: Step },
    /// The transfer of the whole worktree has finished.
    Transferred { report: &'a SyncReport },
    /// The runner exists.
    Runner { runner: &'a str, change: RunnerChange },
    /// A session that the command waits for is in this state.
    Session { status: &'a ContinuousStatus },
    /// Edits are carried from now on. `status` is that after the first scan. `stale` has the entries that the transfers could not bring
    /// up to date.
    Following { status: &'a ContinuousStatus, stale: Option<&'a Stale> },
    /// The remote differs at these paths, or still has these deleted paths: they were edited or deleted between the transfer and the
    /// first scan, or are in conflict. They are transferred now.
    Gap { changed: &'a [Vec<u8>], vanished: &'a [Vec<u8>] },
    /// A transfer of some paths has deleted these entries.
    MendDeleted { instance: &'a Addressed, deletions: &'a Deletions },
    /// The remote is up to date after the transfer of so many paths.
    GapClosed { paths: usize },
    /// The remote may still differ at the paths of `conflicts`, and at the paths `vanished`, which were deleted here and may still
    /// exist there. Both are empty where the paths are not known.
    GapOpen { conflicts: &'a [Conflict], vanished: &'a [Vec<u8>], reason: String },
    /// Edits are not carried until the next `assign` or `start` that succeeds.
    NotFollowing { instance: &'a Addressed, layer: Layer, failure: &'a Failure },
    /// A session could not be ended and may still run. `record` is that of the instance.
    Unended { instance: &'a Addressed, record: &'a Record, unended: &'a Unended },
    /// The runner could not be cleaned up.
    LeftBehind { runner: &'a str, failure: &'a Failure },
    /// Another owner's runner has the name; it was left alone. `said` tells how it was recognized.
    Foreign { runner: &'a str, said: &'a str },
    /// So many entries of the directory on the remote have been removed until now.
    RemovingWorkspace { entries: u64 },
    /// The directory on the remote was removed with so many entries, if it existed.
    WorkspaceRemoved { entries: u64, existed: bool },
    /// The instance already was in the wanted state. `what` follows "it is already".
    Already { what: &'a str },
}
