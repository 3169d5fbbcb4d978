//! `status`: the record of an instance, and the status of its session at this moment.

use crate::Name;
use crate::continuous::{ContinuousError, ContinuousStatus};
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::lock::{FileLock, Holder};
use crate::record::{Following, Record};

/// An instance at one moment.
#[derive(Debug)]
pub struct InstanceStatus {
    /// The record.
    pub record: Record,
    /// The command that holds the lock.
    pub holder: Option<Holder>,
    /// The status of the session, or the reason why it cannot be told. `None` if the record says that no session runs.
    pub continuous: Option<Result<ContinuousStatus, String>>,
}

impl Lifecycle<'_> {
    /// The state of an instance. Changes nothing and does not wait for the lock.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn status(&self, instance: &Name) -> Result<InstanceStatus, LifecycleError> {
        let record = self.record(instance)?;
        let holder = FileLock::holder(&self.records.lock_file(&self.project.name, instance));
        let continuous = match record.following {
            Following::Yes => match self.continuous.status(&self.id(instance), self.cancel) {
                Ok(status) => Some(Ok(status)),
                Err(ContinuousError::Interrupted) => return Err(LifecycleError::Interrupted { at: None }),
                Err(error) => Some(Err(error.to_string())),
            },
            Following::BulkOnly | Following::Off | Following::Failed { .. } => None,
        };
        Ok(InstanceStatus { record, holder, continuous })
    }
}
