//! `stop`: the session ends, and the runner loses its access to the remote. The workspace stays.

use crate::Name;
use crate::bulk;
use crate::continuous::Extent;
use crate::event::LifecycleEvent;
use crate::lifecycle::work::{Ending, Work};
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::record::{Command, Following, Record, State, Step};

impl Lifecycle<'_> {
    /// Ends the session and removes the key from the runner.
    ///
    /// # Errors
    /// When there is no such instance, or when a session or a key may be left. In the second case the instance is stopped, and the
    /// next `stop` tries again to remove them.
    pub fn stop(&self, instance: &Name) -> Result<Record, LifecycleError> {
        let mut work = self.open(instance, Command::Stop)?;
        if work.record.state == State::Stopped && !work.record.is_half_stopped() {
            self.observer.lifecycle_event(&LifecycleEvent::Already { what: "stopped" });
            return Ok(work.into_parts().0);
        }
        work.tell_taking_over();
        if let Ending::Incomplete(failure) = work.stop()? {
            let hint = format!(
                "; it is not stopped yet: {}; finish that with: coast stop {}",
                work.record.left_words().unwrap_or_default(),
                self.addressed(instance)
            );
            return Err(LifecycleError::Continuous { failure, hint });
        }
        Ok(work.into_parts().0)
    }
}

impl Work<'_> {
    /// Stops the instance, even if a part of the continuous layer is left. The record names that part.
    pub(super) fn stop(&mut self) -> Result<Ending, LifecycleError> {
        if self.record.runner.is_some() {
            self.begin(Step::EndSession)?;
        }
        // Without the settings it is not known which files the session carries.
        if let Ok(project) = self.lifecycle.project.project() {
            self.note_carried(&bulk::rules(&project.coastfile)?);
        }
        let ended = self.end_following(Extent::Access)?;
        self.record.following = match self.record.following {
            Following::BulkOnly => Following::BulkOnly,
            _ => Following::Off,
        };
        self.finish(State::Stopped)?;
        // A runner that does not answer does not matter if neither a session nor a key can be left in it.
        Ok(if self.record.is_half_stopped() { ended } else { Ending::Complete })
    }
}
