//! `resolve`: conflicts of a session are settled by taking one side.

use crate::Name;
use crate::continuous::{ContinuousStatus, Side};
use crate::lifecycle::error::failure_of;
use crate::lifecycle::{Lifecycle, LifecycleError};

impl Lifecycle<'_> {
    /// Takes the entries of one side where the session has conflicts: at and below `paths`, or everywhere if there are no paths. What is
    /// replaced on the remote moves to the trash there. Returns the status after that.
    ///
    /// # Errors
    /// When there is no such instance, its edits are not carried, or the conflicts cannot be settled.
    pub fn resolve(
        &self,
        instance: &Name,
        paths: &[Vec<u8>],
        take: Side,
    ) -> Result<ContinuousStatus, LifecycleError> {
        let (record, lock) = self.follows(instance, "resolve")?;
        let resolved = self.layers.get(record.layer).resolve(&self.id(instance), paths, take, self.cancel);
        drop(lock);
        resolved.map_err(|error| match failure_of(error, None) {
            Ok(failure) => LifecycleError::Continuous { failure, hint: String::new() },
            Err(error) => error,
        })
    }
}
