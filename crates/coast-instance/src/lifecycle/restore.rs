//! `restore`: lists what transfers moved to the trash of a workspace, and brings it back.

use coast_sync::{RestoreReport, SyncError, TrashReport};

use crate::Name;
use crate::lifecycle::{Lifecycle, LifecycleError, Unfinished};
use crate::record::Record;

impl Lifecycle<'_> {
    /// Lists the trash of an instance's workspace. The instance may be stopped.
    ///
    /// # Errors
    /// When there is no such instance, or its trash cannot be read.
    pub fn trash(&self, instance: &Name) -> Result<TrashReport, LifecycleError> {
        let record = self.claimed_record(instance)?;
        let remote = self.remote_of(&record)?;
        let listed = self.bulk.trash(&remote, &record.remote_path, self.observer, self.cancel);
        listed.map_err(|error| trash_error("list the trash of", &record, error))
    }

    /// Restores `entries`, paths of an instance's workspace, from its trash. Waits first for a command that holds the lock. The
    /// instance may be stopped.
    ///
    /// # Errors
    /// When there is no such instance, when a path is invalid, or when the restoration ended early. Entries that stay in the trash
    /// are counted in the report.
    pub fn restore(&self, instance: &Name, entries: &[Vec<u8>]) -> Result<RestoreReport, LifecycleError> {
        // Locking would create a lock file, even for an instance that does not exist.
        self.record(instance)?;
        let _lock = self.lock(instance, "restore")?;
        let record = self.claimed_record(instance)?;
        let remote = self.remote_of(&record)?;
        let restored = self.bulk.restore(&remote, &record.remote_path, entries, self.observer, self.cancel);
        restored.map_err(|error| trash_error("restore from the trash of", &record, error))
    }

    /// The record of an instance that has a workspace of its own. Until `run` has claimed it, the directory is somebody else's.
    fn claimed_record(&self, instance: &Name) -> Result<Record, LifecycleError> {
        let record = self.record(instance)?;
        match Unfinished::of(&record, &self.addressed(instance)) {
            Some(unfinished) if !record.claimed => {
                Err(LifecycleError::Unfinished { instance: self.addressed(instance), unfinished })
            }
            _ => Ok(record),
        }
    }
}

fn trash_error(doing: &str, record: &Record, error: SyncError) -> LifecycleError {
    match error {
        SyncError::Interrupted => LifecycleError::Interrupted { at: None },
        error => LifecycleError::Bulk {
            doing: format!("cannot {doing} {}:{}", record.remote, record.remote_path),
            error,
            advice: String::new(),
        },
    }
}
