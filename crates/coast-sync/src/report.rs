//! The result of a run.

use std::time::Duration;

use coast_engine::RunReport;

use crate::Failures;
use crate::remote::ConnectionReport;

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
        match self.exit_code() {
            _ if !self.failures.is_empty() => 23,
            23 | 24 => 0,
            code => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use coast_engine::{Monitor, VoidMonitor};
    use coast_wire::{Event, ProblemKind};

    use super::*;
    use crate::failures::Gathering;

    fn report(problems: &[ProblemKind], change: impl FnOnce(&mut RunReport)) -> SyncReport {
        let gathering = Gathering::new(&VoidMonitor);
        for kind in problems {
            gathering.event(&Event::Problem { path: b"a", kind: *kind, text: "why" });
        }
        let mut run = RunReport::nothing();
        change(&mut run);
        SyncReport { run, connection: None, elapsed: Duration::ZERO, failures: gathering.into_failures() }
    }

    #[test]
    fn only_failures_fail_a_command_on_a_workspace() {
        let codes = |report: SyncReport| (report.exit_code(), report.workspace_exit_code());
        assert_eq!(codes(report(&[], |_| {})), (0, 0));
        assert_eq!(codes(report(&[ProblemKind::Destination], |run| run.receiver.failed = 1)), (23, 23));
        assert_eq!(codes(report(&[ProblemKind::SourceRead], |run| run.sender.unreadable = 1)), (23, 23));
        assert_eq!(codes(report(&[ProblemKind::Vanished], |run| run.sender.vanished = 1)), (24, 0));
        assert_eq!(codes(report(&[ProblemKind::Kept], |run| run.receiver.failed = 1)), (23, 0));
        assert_eq!(codes(report(&[], |run| run.receiver.over_max_delete = 1)), (25, 25));
    }
}
