//! `start`: a stopped instance follows its worktree again. On a running instance it replaces whatever part does not work.

use crate::Name;
use crate::lifecycle::bring_up::Purpose;
use crate::lifecycle::hold::hold;
use crate::lifecycle::work::Work;
use crate::lifecycle::{FollowOptions, Lifecycle, LifecycleError};
use crate::record::{Command, Following, Record};
use crate::worktree::WorktreeState;

impl Lifecycle<'_> {
    /// Transfers the changes since the last command and has the edits of the worktree carried again. Entries that could not be
    /// transferred are in [`Record::stale`].
    ///
    /// # Errors
    /// When there is no such instance, its worktree is gone, or the transfer failed.
    pub fn start(
        &self,
        instance: &Name,
        options: impl Into<FollowOptions>,
    ) -> Result<Record, LifecycleError> {
        let options = options.into();
        // A project without settings is told before an instance that does not exist.
        self.project.project()?;
        self.check_trust(Some(&self.record(instance)?), &options)?;
        let mut work = self.open(instance, Command::Start)?;
        let worktree = work.record.worktree.to_path_buf();
        work.check_worktree()?;
        let remote = self.remote_of(&work.record)?;
        work.tell_taking_over();
        work.bring_up(&worktree, &remote, Purpose::Repair, options)?;
        Ok(work.into_parts().0)
    }
}

impl Work<'_> {
    /// Refuses a worktree that is lost, after its session was paused. A worktree that cannot be examined is left to the transfer.
    pub(super) fn check_worktree(&mut self) -> Result<(), LifecycleError> {
        let state = WorktreeState::of(&self.record.worktree, self.record.identity.as_ref());
        if !state.is_lost() {
            return Ok(());
        }
        let lifecycle = self.lifecycle;
        let paused = if self.record.following == Following::Yes {
            let continuous = self.continuous();
            let session = continuous.status(&self.id, lifecycle.cancel).ok();
            let record = &mut self.record;
            match hold(continuous, &lifecycle.records, record, &state, session.as_ref(), lifecycle.cancel) {
                Ok(()) => {
                    "; its session was paused, so that nothing more is deleted on the remote".to_owned()
                }
                Err(reason) => format!("; {reason}"),
            }
        } else {
            String::new()
        };
        let (instance, path) = (self.addressed(), self.record.worktree.clone());
        Err(match state {
            WorktreeState::Another => LifecycleError::OtherWorktree { instance, path, paused },
            _ => LifecycleError::WorktreeGone { instance, path, paused },
        })
    }
}
