//! `flush`: waits until every edit has arrived.

use crate::Name;
use crate::continuous::{Activity, ContinuousStatus, Failure};
use crate::lifecycle::error::failure_of;
use crate::lifecycle::hold::hold;
use crate::lifecycle::{Lifecycle, LifecycleError, Unfinished};
use crate::record::{Following, State};
use crate::worktree::WorktreeState;

impl Lifecycle<'_> {
    /// Waits until every edit that was made before the call has arrived. Returns the status after that. Waits first for a command that
    /// holds the lock.
    ///
    /// # Errors
    /// When there is no such instance, or its edits are not carried.
    pub fn flush(&self, instance: &Name) -> Result<ContinuousStatus, LifecycleError> {
        // Locking would create a lock file, even for an instance that does not exist.
        self.record(instance)?;
        let _lock = self.lock(instance, "flush")?;
        let mut record = self.record(instance)?;
        if let Some(unfinished) = Unfinished::of(&record) {
            return Err(LifecycleError::Unfinished { instance: instance.clone(), unfinished });
        }
        if record.state == State::Stopped {
            return Err(LifecycleError::Stopped(instance.clone()));
        }
        let not_following = |failure| LifecycleError::NotFollowing { instance: instance.clone(), failure };
        let worktree = WorktreeState::of(&record.worktree, record.identity.as_ref());
        if worktree.is_lost() {
            let session = self.continuous.status(&self.id(instance), self.cancel).ok();
            hold(self.continuous, &self.records, &mut record, &worktree, session.as_ref(), self.cancel)
                .map_err(|said| not_following(lost(said)))?;
        }
        match record.following {
            Following::Yes => {}
            Following::BulkOnly => return Err(LifecycleError::BulkOnly),
            Following::Off => return Err(not_following(no_session())),
            Following::Failed { step, said, .. } => {
                return Err(not_following(Failure { step: "session".to_owned(), doing: step, said }));
            }
        }
        match self.continuous.flush(&self.id(instance), self.cancel) {
            Ok(status) if status.activity == Activity::Absent => Err(not_following(no_session())),
            Ok(status) => Ok(status),
            Err(error) => Err(not_following(failure_of(error, None)?)),
        }
    }
}

/// The worktree is lost, and its session could not be paused.
fn lost(said: String) -> Failure {
    Failure { step: "worktree".to_owned(), doing: "the worktree is gone or replaced".to_owned(), said }
}

fn no_session() -> Failure {
    let text = |text: &str| text.to_owned();
    Failure { step: text("session"), doing: text("looking for the session"), said: text("there is none") }
}
