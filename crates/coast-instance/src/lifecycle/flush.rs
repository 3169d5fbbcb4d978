//! `flush`: waits until every edit has arrived.

use crate::Name;
use crate::continuous::{Activity, ContinuousStatus, Failure};
use crate::lifecycle::error::failure_of;
use crate::lifecycle::{Lifecycle, LifecycleError, Unfinished};
use crate::record::{Following, State};

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
        let record = self.record(instance)?;
        if let Some(unfinished) = Unfinished::of(&record) {
            return Err(LifecycleError::Unfinished { instance: instance.clone(), unfinished });
        }
        if record.state == State::Stopped {
            return Err(LifecycleError::Stopped(instance.clone()));
        }
        let not_following = |failure| LifecycleError::NotFollowing { instance: instance.clone(), failure };
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

fn no_session() -> Failure {
    let text = |text: &str| text.to_owned();
    Failure { step: text("session"), doing: text("looking for the session"), said: text("there is none") }
}
