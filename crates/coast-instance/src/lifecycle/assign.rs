//! `assign` and `unassign`: an instance follows another worktree.

use std::path::Path;

use crate::Name;
use crate::lifecycle::bring_up::Purpose;
use crate::lifecycle::{FollowOptions, Lifecycle, LifecycleError};
use crate::record::{Command, Record, State};

impl Lifecycle<'_> {
    /// Makes the workspace equal to `worktree` and has its edits carried. Replaced files move into place together at the end of the
    /// transfer. Entries that could not be transferred are in [`Record::stale`].
    ///
    /// # Errors
    /// When there is no such instance, it is stopped, its old session cannot be ended, or the transfer failed. In the first three
    /// cases, and when the remote could not be reached, nothing was changed.
    pub fn assign(
        &self,
        instance: &Name,
        worktree: &Path,
        options: impl Into<FollowOptions>,
    ) -> Result<Record, LifecycleError> {
        self.follow(instance, worktree, Command::Assign, options.into())
    }

    /// Like [`Lifecycle::assign`] with the project's root.
    ///
    /// # Errors
    /// As [`Lifecycle::assign`].
    pub fn unassign(
        &self,
        instance: &Name,
        options: impl Into<FollowOptions>,
    ) -> Result<Record, LifecycleError> {
        let root = self.project.project()?.root_worktree()?;
        self.follow(instance, &root, Command::Unassign, options.into())
    }

    fn follow(
        &self,
        instance: &Name,
        worktree: &Path,
        command: Command,
        options: FollowOptions,
    ) -> Result<Record, LifecycleError> {
        self.check_trust(Some(&self.record(instance)?), &options)?;
        let mut work = self.open(instance, command)?;
        if work.record.state == State::Stopped {
            return Err(LifecycleError::stopped(&work.record, self.addressed(instance)));
        }
        let remote = self.remote_of(&work.record)?;
        work.go_to(worktree);
        work.tell_taking_over();
        work.bring_up(worktree, &remote, Purpose::Switch, options)?;
        Ok(work.into_parts().0)
    }
}
