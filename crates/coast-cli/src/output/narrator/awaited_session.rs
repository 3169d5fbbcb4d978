//! The progress of a session that a command waits for, in words.

use std::time::{Duration, Instant};

use coast_instance::ContinuousStatus;

use crate::output::figures::{Grouped, Size};
use crate::output::progress::{Rate, left_words, rate_words};

/// A session that is waited for.
pub(super) struct AwaitedSession {
    since: Instant,
    /// The rate at which its files arrive.
    rate: Rate,
}

impl Default for AwaitedSession {
    fn default() -> Self {
        Self { since: Instant::now(), rate: Rate::default() }
    }
}

impl AwaitedSession {
    /// The state of the session now.
    pub(super) fn words(&mut self, status: &ContinuousStatus) -> String {
        self.words_at(self.since.elapsed(), status)
    }

    fn words_at(&mut self, now: Duration, status: &ContinuousStatus) -> String {
        let Some(staging) = &status.staging else { return status.word.clone() };
        let rate = self.rate.of(now, staging.arrived_bytes);
        // The sizes of the files after the one under way are not known.
        let is_last = staging.arrived_files + 1 >= staging.files;
        let left = is_last.then_some(staging.file_bytes_left);
        format!(
            "{} of {} files, {}{}{}",
            Grouped(staging.arrived_files),
            Grouped(staging.files),
            Size(staging.arrived_bytes),
            rate_words(rate),
            left_words(left, rate)
        )
    }
}

#[cfg(test)]
mod tests {
    use coast_instance::Staging;

    use super::*;

    #[test]
    fn the_files_that_arrive_are_told_with_their_rate() {
        let status = |word: &str, staging| ContinuousStatus {
            word: word.to_owned(),
            staging,
            ..ContinuousStatus::default()
        };
        let mut awaited = AwaitedSession::default();
        let mut words = |second, arrived_files, files, arrived_bytes, file_bytes_left| {
            let staging = Staging { arrived_files, files, arrived_bytes, file_bytes_left };
            awaited.words_at(Duration::from_secs(second), &status("staging-beta", Some(staging)))
        };
        assert_eq!(words(0, 0, 1200, 0, 10), "0 of 1,200 files, 0 B");
        assert_eq!(words(2, 1198, 1200, 4_000_000, 100), "1,198 of 1,200 files, 4.0 MB, 2.0 MB/s");
        assert_eq!(
            words(4, 1199, 1200, 8_000_000, 20_000_000),
            "1,199 of 1,200 files, 8.0 MB, 2.0 MB/s, 0:10 left"
        );
        assert_eq!(AwaitedSession::default().words(&status("scanning", None)), "scanning");
    }
}
