//! `status`: what the record says, and what the continuous layer says at this moment.

use crate::Name;
use crate::continuous::{ContinuousError, ContinuousStatus};
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::lock::{FileLock, Holder};
use crate::record::{Following, Record};

/// An instance at one moment.
#[derive(Debug)]
pub struct InstanceStatus {
    /// What is remembered of it.
    pub record: Record,
    /// Who works on it.
    pub holder: Option<Holder>,
    /// What the continuous layer says, or why it does not. None where it has nothing to say: bulk only, stopped, or failed when it was
    /// begun, which the record tells.
    pub continuous: Option<Result<ContinuousStatus, String>>,
}

impl Lifecycle<'_> {
    /// How an instance is. Changes nothing and waits for nobody.
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
