//! The result of a run.

use std::time::Duration;

use coast_engine::RunReport;

use crate::remote::ConnectionReport;
use crate::{Deletions, Failures};

/// The result of a run that came to its end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SyncReport {
    /// The counts of both sides.
    pub run: RunReport,
    /// How the other machine was reached. `None` for a local destination.
    pub connection: Option<ConnectionReport>,
    /// The time from the start of the connection to the end of the run.
    pub elapsed: Duration,
    /// The entries that could not be brought up to date.
    pub failures: Failures,
    /// The entries that were deleted.
    pub deletions: Deletions,
}

impl SyncReport {
    /// rsync's exit code: 23 when an entry was not transferred for whatever reason, 25 when a limit on deletions was reached, 24
    /// when source files vanished, else 0.
    pub fn exit_code(&self) -> u8 {
        self.run.exit_code()
    }

    /// The exit code of a command that brings a workspace up to date (`coast push`, `run`, `assign`, `start`): 23 when there are
    /// [failures](Self::failures), 25 when a limit on deletions was reached, else 0. Benign problems, for which
    /// [`SyncReport::exit_code`] is 23 or 24, leave it at 0.
    pub fn workspace_exit_code(&self) -> u8 {
        self.run.exit_code_for_live_destination()
    }
}
