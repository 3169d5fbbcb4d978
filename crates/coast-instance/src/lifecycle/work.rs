//! An instance while one command works on it: locked, and its record always one step ahead of what is done.

use crate::continuous::{ContinuousError, Extent, Failure, InstanceId, Remains, container_name};
use crate::event::Happening;
use crate::lifecycle::error::failure_of;
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::lock::FileLock;
use crate::record::{Command, Record, RecordError, State, Step, Unended, now};

/// An instance that a command works on.
pub(super) struct Work<'l> {
    pub(super) lifecycle: &'l Lifecycle<'l>,
    pub(super) id: InstanceId,
    pub(super) record: Record,
    command: Command,
    lock: FileLock,
    /// Whether what is there already, and nobody's, is taken over.
    pub(super) adopts: bool,
    /// The step that the observer was told last.
    told: Option<Step>,
    /// Whether there may be a session. The record tells only that there may be a key, without which there is no session.
    may_have_session: bool,
}

impl<'l> Work<'l> {
    pub(super) fn new(
        lifecycle: &'l Lifecycle<'l>,
        record: Record,
        lock: FileLock,
        command: Command,
    ) -> Self {
        let id = lifecycle.id(&record.instance);
        let may_have_session = record.access || record.unended.is_some();
        Self { lifecycle, id, record, command, lock, adopts: false, told: None, may_have_session }
    }

    pub(super) fn into_lock(self) -> FileLock {
        self.lock
    }

    pub(super) fn into_parts(self) -> (Record, FileLock) {
        (self.record, self.lock)
    }

    /// Says what a command before this one left, if it is this one that takes over.
    pub(super) fn take_over(&self) {
        if let Some((command, step)) = self.record.unfinished() {
            self.tell(&Happening::TakingOver { command, step });
        }
    }

    /// Records that a step is begun. When this returns it is on the disk.
    pub(super) fn begin(&mut self, step: Step) -> Result<(), LifecycleError> {
        if self.lifecycle.cancel.is_cancelled() {
            return Err(LifecycleError::Interrupted { at: self.step() });
        }
        self.record_step(step)?;
        Ok(())
    }

    pub(super) fn record_step(&mut self, step: Step) -> Result<(), RecordError> {
        self.record.state = State::Working { command: self.command, step };
        if step == Step::Container {
            self.record.container = Some(container_name(&self.id));
        }
        if step == Step::Access {
            self.record.access = true;
        }
        self.may_have_session |= step == Step::Session;
        self.lifecycle.records.save(&self.record)?;
        // The continuous layer begins with the step that was begun for it.
        if self.told.replace(step) != Some(step) {
            self.tell(&Happening::Step { step });
        }
        Ok(())
    }

    /// Records that the command is done.
    pub(super) fn rest(&mut self, state: State) -> Result<(), LifecycleError> {
        self.record.state = state;
        Ok(self.lifecycle.records.save(&self.record)?)
    }

    /// Whether nothing of it but its workspace can be there yet.
    pub(super) fn is_new(&self) -> bool {
        self.command == Command::Run && self.record.container.is_none()
    }

    pub(super) fn keeps_workspace(&self) -> bool {
        self.command == Command::RmKeepingWorkspace
    }

    /// The step that was begun last.
    pub(super) fn step(&self) -> Option<Step> {
        self.record.unfinished().map(|(_, step)| step)
    }

    pub(super) fn tell(&self, happening: &Happening<'_>) {
        self.lifecycle.observer.happened(happening);
    }

    /// Ends what the continuous layer has there for this instance, as far as `extent` says. Without a container there is nothing.
    pub(super) fn end_following(&mut self, extent: Extent) -> Result<Result<(), Failure>, LifecycleError> {
        if self.record.container.is_none() {
            return Ok(Ok(()));
        }
        let (continuous, cancel, id) = (self.lifecycle.continuous, self.lifecycle.cancel, self.id.clone());
        let stopped = continuous.stop(&id, extent, &mut |step| self.record_step(step), cancel);
        match stopped {
            Ok(remains) => {
                self.has_ended();
                if extent >= Extent::Access {
                    self.record.access = false;
                }
                if let Remains::Foreign { said } = &remains {
                    let container = container_name(&self.id);
                    self.tell(&Happening::Foreign { container: &container, said });
                }
                if remains != Remains::Container {
                    self.record.access = false;
                    self.record.container = None;
                }
                Ok(Ok(()))
            }
            Err(error) => {
                if let ContinuousError::Left { session, access, .. } = error {
                    self.may_have_session = session;
                    self.record.access = access;
                }
                let failure = failure_of(error, self.step())?;
                self.has_not_ended(&failure);
                Ok(Err(failure))
            }
        }
    }

    /// Remembers that no session of before is left.
    fn has_ended(&mut self) {
        self.may_have_session = false;
        self.record.unended = None;
    }

    /// Remembers that a session may be left, and whose: until it is known to have ended, it is the one that the record speaks of
    /// already, or else that of the worktree that is followed at this moment.
    fn has_not_ended(&mut self, failure: &Failure) {
        if !self.may_have_session {
            self.record.unended = None;
            return;
        }
        let before = self.record.unended.take();
        self.record.unended = Some(Unended {
            worktree: before.map_or_else(|| self.record.worktree.clone(), |before| before.worktree),
            container: container_name(&self.id),
            said: failure.to_string(),
            at: now(),
        });
    }

    /// Says that the container is left, if there is one.
    pub(super) fn tell_left_behind(&self, failure: &Failure) {
        if let Some(container) = &self.record.container {
            self.tell(&Happening::LeftBehind { container, failure });
        }
    }

    /// Says what may still run, if the record knows of something.
    pub(super) fn tell_unended(&self) {
        if let Some(unended) = &self.record.unended {
            self.tell(&Happening::Unended { record: &self.record, unended });
        }
    }
}
