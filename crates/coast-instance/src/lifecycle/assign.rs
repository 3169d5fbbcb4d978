//! `assign` and `unassign`: the instance follows another worktree.

use std::path::Path;

use crate::Name;
use crate::lifecycle::bring_up::Updates;
use crate::lifecycle::{Insist, Lifecycle, LifecycleError};
use crate::record::{Command, Record, State};

impl Lifecycle<'_> {
    /// Has the instance follow `worktree` from now on: only what differs is sent, and moves into place together.
    ///
    /// # Errors
    /// Before anything is touched, when there is no such instance or it is stopped; later, when the transfer failed.
    pub fn assign(&self, instance: &Name, worktree: &Path, insist: Insist) -> Result<Record, LifecycleError> {
        self.follow(instance, worktree, Command::Assign, insist)
    }

    /// Has the instance follow the project's root again.
    ///
    /// # Errors
    /// As [`Lifecycle::assign`].
    pub fn unassign(&self, instance: &Name, insist: Insist) -> Result<Record, LifecycleError> {
        let root = self.project.root_worktree()?;
        self.follow(instance, &root, Command::Unassign, insist)
    }

    fn follow(
        &self,
        instance: &Name,
        worktree: &Path,
        command: Command,
        insist: Insist,
    ) -> Result<Record, LifecycleError> {
        let mut work = self.open(instance, command)?;
        if work.record.state == State::Stopped {
            return Err(LifecycleError::Stopped(instance.clone()));
        }
        let remote = self.remote_of(&work.record)?;
        work.take_over();
        work.bring_up(worktree, &remote, Updates::Together, insist)?;
        Ok(work.into_parts().0)
    }
}
