//! The result of a run and its exit code.

use coast_wire::{Ready, ReceiverStats, SenderStats};

/// The result of a run that came to its end.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// Counts of the side that has the files.
    pub sender: SenderStats,
    /// Counts of the side that gets the files.
    pub receiver: ReceiverStats,
    /// The user that the receiver ran as, and whether it was confined.
    pub ready: Ready,
    /// Bytes written to the stream.
    pub wire_sent_bytes: u64,
    /// Bytes read from the stream.
    pub wire_received_bytes: u64,
}

impl RunReport {
    /// The report of a run that had nothing to do.
    pub fn nothing() -> Self {
        let ready = Ready { uid: rustix::process::geteuid().as_raw(), confined: false };
        Self {
            sender: SenderStats::default(),
            receiver: ReceiverStats::default(),
            ready,
            wire_sent_bytes: 0,
            wire_received_bytes: 0,
        }
    }

    /// The exit code that rsync gives: 23 when an entry was not transferred for whatever reason, 25 when `--max-delete`
    /// stopped deletions, 24 when source files vanished, else 0.
    pub fn exit_code(&self) -> u8 {
        let ReceiverStats { failed, changed_meanwhile, .. } = self.receiver;
        if self.sender.unreadable > 0 || failed > 0 || changed_meanwhile > 0 {
            23
        } else if self.receiver.over_max_delete > 0 {
            25
        } else if self.sender.vanished > 0 {
            24
        } else {
            0
        }
    }

    /// The exit code for a destination that is in use, where entries come, change and go during a run: like
    /// [`RunReport::exit_code`], but only entries that could not be written at the destination are a failure. What else was
    /// not transferred is for the caller to tell as a warning.
    pub fn exit_code_for_live_destination(&self) -> u8 {
        if self.receiver.failed > 0 {
            23
        } else if self.receiver.over_max_delete > 0 {
            25
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(sender: SenderStats, receiver: ReceiverStats) -> (u8, u8) {
        let report = RunReport { sender, receiver, ..RunReport::nothing() };
        (report.exit_code(), report.exit_code_for_live_destination())
    }

    #[test]
    fn only_failed_writes_and_kept_deletions_are_failures_in_a_live_destination() {
        let (sender, receiver) = (SenderStats::default(), ReceiverStats::default());
        assert_eq!(codes(sender, receiver), (0, 0));
        assert_eq!(codes(SenderStats { vanished: 1, ..sender }, receiver), (24, 0));
        assert_eq!(codes(SenderStats { unreadable: 1, ..sender }, receiver), (23, 0));
        assert_eq!(codes(sender, ReceiverStats { changed_meanwhile: 1, ..receiver }), (23, 0));
        let over = ReceiverStats { over_max_delete: 1, ..receiver };
        assert_eq!(codes(sender, over), (25, 25));
        assert_eq!(codes(sender, ReceiverStats { changed_meanwhile: 1, ..over }), (23, 25));
        assert_eq!(codes(sender, ReceiverStats { failed: 1, changed_meanwhile: 1, ..over }), (23, 23));
    }
}
