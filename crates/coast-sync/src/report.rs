//! What a run did.

use std::time::Duration;

use coast_engine::RunReport;

use crate::remote::ConnectionReport;

/// What a run that came to its end did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SyncReport {
    /// What both sides counted.
    pub run: RunReport,
    /// How the other machine was reached; none for a local destination.
    pub connection: Option<ConnectionReport>,
    /// From the start of the connection to the end of the run.
    pub elapsed: Duration,
}

impl SyncReport {
    /// The exit code that rsync's users know: 23 when something could not be transferred, 25 when a limit on deletions was
    /// reached, 24 when source files vanished, else 0.
    pub fn exit_code(&self) -> u8 {
        self.run.exit_code()
    }
}
