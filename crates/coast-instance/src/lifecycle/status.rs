//! `status`: the record of an instance, and what its layers answer at this moment.

use std::time::Duration;

use crate::lifecycle::asking::{InstanceStatus, Questions};
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::record::{Following, Record};
use crate::{Name, Project};

/// The time for the questions about one instance.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether the remote is asked, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Check {
    /// Only this machine is asked.
    #[default]
    No,
    /// The remote is connected to.
    Remote,
}

impl Lifecycle<'_> {
    /// The state of an instance. Does not wait for the lock. Changes nothing, with one exception: a session whose worktree is lost is
    /// paused, unless a command works on the instance.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn status(&self, instance: &Name, check: Check) -> Result<InstanceStatus, LifecycleError> {
        let record = self.record(instance)?;
        let holder = self.records.holder(&self.project.name, instance);
        let questions = Questions {
            layers: self.layers,
            remotes: (check == Check::Remote).then_some(self.bulk),
            prompt: self.observer,
            limit: LIMIT,
            cancel: self.cancel,
        };
        let status = questions.ask(self.places, vec![(record, holder)]).pop();
        if self.cancel.is_cancelled() {
            return Err(LifecycleError::Interrupted { at: None });
        }
        let mut status = status.expect("there is a status for each record");
        status.begins_to_follow = self.begins_to_follow(&status.record);
        Ok(status)
    }

    /// Whether the next `start` has edits carried because the Coastfile asks for that since the last command.
    pub(super) fn begins_to_follow(&self, record: &Record) -> bool {
        let asks = |project: &Project| project.coastfile.workspace_sync.layer().is_some();
        record.following == Following::BulkOnly && self.project.project().is_ok_and(asks)
    }
}
