//! `stop`: nothing follows any more, and nothing that could reach the remote is left in the shell container. The workspace stays.

use crate::Name;
use crate::continuous::{Extent, Failure};
use crate::event::Happening;
use crate::lifecycle::work::Work;
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::record::{Command, Following, Record, State, Step};

impl Lifecycle<'_> {
    /// Ends the session and takes the key out of the shell container.
    ///
    /// # Errors
    /// When there is no such instance, or something may be left. It is stopped then all the same, and the next `stop` tries again.
    pub fn stop(&self, instance: &Name) -> Result<Record, LifecycleError> {
        let mut work = self.open(instance, Command::Stop)?;
        if work.record.state == State::Stopped && !work.record.is_half_stopped() {
            self.observer.happened(&Happening::Already { what: "stopped" });
            return Ok(work.into_parts().0);
        }
        work.take_over();
        if let Err(failure) = work.stop()? {
            let hint = format!(
                "; it is not stopped yet: {}; finish that with: coast stop {instance}",
                work.record.left_words().unwrap_or_default()
            );
            return Err(LifecycleError::Continuous { failure, hint });
        }
        Ok(work.into_parts().0)
    }
}

impl Work<'_> {
    /// Stops the instance, also when something is left behind: the record says so, and the next `stop` tries again.
    pub(super) fn stop(&mut self) -> Result<Result<(), Failure>, LifecycleError> {
        if self.record.container.is_some() {
            self.begin(Step::EndSession)?;
        }
        let ended = self.end_following(Extent::Access)?;
        self.record.following = match self.record.following {
            Following::BulkOnly => Following::BulkOnly,
            _ => Following::Off,
        };
        self.rest(State::Stopped)?;
        // What could not be asked about does not matter where nothing can be left.
        Ok(if self.record.is_half_stopped() { ended } else { Ok(()) })
    }
}
