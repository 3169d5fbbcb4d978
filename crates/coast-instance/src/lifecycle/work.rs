//! An instance while a command works on it. The command holds the lock, and the record names each step before the step begins.

use std::io;
use std::path::Path;

use coast_sync::{Prompt, RuleList};

use crate::carried::{Carried, Noted};
use crate::continuous::{Continuous, ContinuousError, Extent, Failure, InstanceId, Remains};
use crate::event::LifecycleEvent;
use crate::lifecycle::error::failure_of;
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::lock::FileLock;
use crate::record::{Command, Record, State, Step, Unended, now};
use crate::records::RecordError;
use crate::worktree::WorktreeState;
use crate::{Addressed, StoredPath};

/// An instance that a command works on.
pub(super) struct Work<'l> {
    pub(super) lifecycle: &'l Lifecycle<'l>,
    pub(super) id: InstanceId,
    pub(super) record: Record,
    command: Command,
    lock: FileLock,
    /// Whether the transfer may take over a directory that no instance has made.
    pub(super) adopts: bool,
    /// The step that the observer was told last.
    told: Option<Step>,
    /// The worktree to which a command that did not finish would have gone.
    given_up: Option<StoredPath>,
    /// Whether a session may run. The record says only whether a key may exist; without a key no session runs.
    may_have_session: bool,
}

/// The outcome of ending the session or removing more of the continuous layer.
#[derive(Debug)]
#[must_use]
pub(super) enum Ending {
    /// Nothing is left of the parts that were to be removed.
    Complete,
    /// A part may be left. The record says which.
    Incomplete(Failure),
}

impl<'l> Work<'l> {
    pub(super) fn new(
        lifecycle: &'l Lifecycle<'l>,
        mut record: Record,
        lock: FileLock,
        command: Command,
    ) -> Self {
        let id = lifecycle.id(&record.instance);
        let may_have_session = record.may_have_session();
        let given_up = record.wanted.take();
        Self { lifecycle, id, record, command, lock, adopts: false, told: None, given_up, may_have_session }
    }

    /// Notes that this command goes to `worktree`. The record says so from the first step on.
    pub(super) fn go_to(&mut self, worktree: &Path) {
        self.given_up = self.given_up.take().filter(|given_up| **given_up != *worktree);
        self.record.wanted = (*self.record.worktree != *worktree).then(|| worktree.into());
    }

    pub(super) fn into_lock(self) -> FileLock {
        self.lock
    }

    pub(super) fn into_parts(self) -> (Record, FileLock) {
        (self.record, self.lock)
    }

    /// Tells the observer if this command takes over from one that did not finish.
    pub(super) fn tell_taking_over(&self) {
        if let Some((command, step)) = self.record.unfinished() {
            let given_up = self.given_up.as_deref();
            self.tell(&LifecycleEvent::TakingOver { command, step, given_up });
        }
    }

    /// Records that a step begins. On return the record is on the disk.
    pub(super) fn begin(&mut self, step: Step) -> Result<(), LifecycleError> {
        if self.lifecycle.cancel.is_cancelled() {
            return Err(LifecycleError::Interrupted { at: self.step() });
        }
        self.record_step(step)?;
        Ok(())
    }

    pub(super) fn record_step(&mut self, step: Step) -> Result<(), RecordError> {
        self.record.state = State::Working { command: self.command, step };
        if step == Step::Runner {
            self.record.runner = Some(self.runner());
        }
        if step == Step::Access {
            self.record.access = true;
        }
        self.may_have_session |= step == Step::Session;
        self.lifecycle.records.save(&self.record)?;
        // The continuous layer may begin a step that the lifecycle has begun for it.
        if self.told.replace(step) != Some(step) {
            self.tell(&LifecycleEvent::Step { step });
        }
        Ok(())
    }

    /// Records that the command has finished.
    pub(super) fn finish(&mut self, state: State) -> Result<(), LifecycleError> {
        self.record.state = state;
        Ok(self.lifecycle.records.save(&self.record)?)
    }

    /// Whether a session of the instance may run.
    pub(super) fn may_have_session(&self) -> bool {
        self.may_have_session && self.record.runner.is_some()
    }

    /// Whether only the workspace of the instance can exist yet.
    pub(super) fn is_new(&self) -> bool {
        self.command == Command::Run && self.record.runner.is_none()
    }

    pub(super) fn keeps_workspace(&self) -> bool {
        self.command == Command::RmKeepingWorkspace
    }

    /// The step that was begun last.
    pub(super) fn step(&self) -> Option<Step> {
        self.record.unfinished().map(|(_, step)| step)
    }

    /// The workspace as `remote:path`, for messages.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.record.remote, self.record.remote_path)
    }

    /// The instance in the words of a command that is suggested to the user.
    pub(super) fn addressed(&self) -> Addressed {
        self.lifecycle.addressed(&self.id.instance)
    }

    pub(super) fn tell(&self, event: &LifecycleEvent<'_>) {
        self.lifecycle.observer.lifecycle_event(event);
    }

    /// The layer that carries the edits of the instance.
    pub(super) fn continuous(&self) -> &'l dyn Continuous {
        self.lifecycle.layers.get(self.record.layer)
    }

    fn runner(&self) -> String {
        self.continuous().runner(&self.id)
    }

    /// Ends the session of this instance and removes as much more as `extent` says. Without a runner there is nothing to end.
    pub(super) fn end_following(&mut self, extent: Extent) -> Result<Ending, LifecycleError> {
        if self.record.runner.is_none() {
            return Ok(Ending::Complete);
        }
        let (continuous, cancel, id) = (self.continuous(), self.lifecycle.cancel, self.id.clone());
        let stopped = continuous.stop(&id, extent, &mut |step| self.record_step(step), cancel);
        match stopped {
            Ok(remains) => {
                self.may_have_session = false;
                self.record.unended = None;
                if extent >= Extent::Access {
                    self.record.access = false;
                }
                if let Remains::Foreign { said } = &remains {
                    self.tell(&LifecycleEvent::Foreign { runner: &self.runner(), said });
                }
                if remains != Remains::Runner {
                    self.record.access = false;
                    self.record.runner = None;
                }
                Ok(Ending::Complete)
            }
            Err(error) => {
                if let ContinuousError::NotRemoved { session, access, .. } = error {
                    self.may_have_session = session;
                    self.record.access = access;
                }
                let failure = failure_of(error, self.step())?;
                self.remember_unended(&failure);
                Ok(Ending::Incomplete(failure))
            }
        }
    }

    /// Records a session that could not be ended, if one may run. Its worktree is the one that the record already names for it, or else
    /// the worktree that the instance follows at this moment.
    fn remember_unended(&mut self, failure: &Failure) {
        if !self.may_have_session {
            self.record.unended = None;
            return;
        }
        let before = self.record.unended.take();
        self.record.unended = Some(Unended {
            worktree: before.map_or_else(|| self.record.worktree.clone(), |before| before.worktree),
            runner: self.runner(),
            said: failure.to_string(),
            at: now(),
        });
    }

    /// The paths that sessions may have carried.
    pub(super) fn carried(&self) -> Carried {
        let Record { project, instance, .. } = &self.record;
        Carried::beside(&self.lifecycle.records.file(project, instance))
    }

    /// Notes what the session may have carried, before it is ended. Entries that are not noted count as made on the remote.
    pub(super) fn note_carried(&self, rules: &RuleList) {
        // What a follower places is in the ledger of the remote.
        if !self.may_have_session || !self.record.layer.needs_transfers() {
            return;
        }
        let (worktree, identity) = self.record.followed();
        // A worktree that is lost tells nothing.
        if WorktreeState::of(worktree, identity) != WorktreeState::There {
            return;
        }
        let noted =
            self.carried().note(worktree, rules, || self.lifecycle.in_conflict(&self.id, self.record.layer));
        self.tell_uncarried(match noted {
            Ok(Noted::All) => Ok(()),
            Ok(Noted::Some) => Err(io::Error::other("they are too many")),
            Err(error) => Err(error),
        });
    }

    pub(super) fn tell_uncarried(&self, noted: io::Result<()>) {
        if let Err(why) = noted {
            let text = format!(
                "cannot note all files that the session has carried, so that some count as made on the remote: {why}"
            );
            Prompt::notice(self.lifecycle.observer, &text);
        }
    }

    /// Tells the observer that the runner is left, if there is one.
    pub(super) fn tell_left_behind(&self, failure: &Failure) {
        if let Some(runner) = &self.record.runner {
            self.tell(&LifecycleEvent::LeftBehind { runner, failure });
        }
    }

    /// Tells the observer of the session that may still run, if the record names one.
    pub(super) fn tell_unended(&self) {
        if let Some(unended) = &self.record.unended {
            self.tell(&LifecycleEvent::Unended {
                instance: &self.addressed(),
                record: &self.record,
                unended,
            });
        }
    }
}
