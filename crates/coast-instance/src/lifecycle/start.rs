//! `start`: a stopped instance follows its worktree again. On a running instance it replaces whatever part does not work.

use crate::Name;
use crate::lifecycle::bring_up::Updates;
use crate::lifecycle::{FollowOptions, Lifecycle, LifecycleError};
use crate::record::{Command, Record};

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
        self.project.project()?;
        let mut work = self.open(instance, Command::Start)?;
        let worktree = work.record.worktree.to_path_buf();
        if !worktree.is_dir() {
            return Err(LifecycleError::WorktreeGone {
                instance: instance.clone(),
                path: work.record.worktree,
            });
        }
        let remote = self.remote_of(&work.record)?;
        work.tell_taking_over();
        work.bring_up(&worktree, &remote, Updates::Together, options.into())?;
        Ok(work.into_parts().0)
    }
}
