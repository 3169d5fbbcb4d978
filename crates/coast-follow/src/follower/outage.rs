//! When to connect again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The first wait.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// The wait where only the user can mend the reason.
const RARELY: Duration = Duration::from_secs(300);
/// The part of the time since the connection was lost that a wait takes while the network is at fault. After a minute the waits are
/// 1 s, so a server that was away for a minute is in use again a second after it answers. After half an hour they are 30 s.
const PART_OF_OUTAGE: u32 = 60;

/// A time without a connection.
#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    attempts: u32,
    wait: Duration,
    error: Option<String>,
    missing_passphrase: Option<PathBuf>,
}

/// Where an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailedAt {
    /// There was no connection to the server, or it broke.
    Network,
    /// The server was there and did not let us in, or could not start the helper. Servers count such attempts, so the waits double.
    Login,
}

impl Outage {
    /// Begins now, with the reason why the connection was lost.
    pub(super) fn new(now: Instant, error: Option<String>) -> Self {
        Self { since: now, attempts: 0, wait: Duration::ZERO, error, missing_passphrase: None }
    }

    /// The number of the next attempt, from 1.
    pub(super) fn attempt(&self) -> u32 {
        self.attempts + 1
    }

    /// Why there is no connection, as far as known.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The key file that lacked its passphrase in the last attempt.
    pub(super) fn missing_passphrase(&self) -> Option<&Path> {
        self.missing_passphrase.as_deref()
    }

    /// Notes that the last attempt failed because this key file lacked its passphrase. The next attempt is
    /// made at once when somebody has typed it.
    pub(super) fn lacks_passphrase(&mut self, key: &Path) {
        self.missing_passphrase = Some(key.to_owned());
        self.wait = RARELY;
    }

    /// How long to wait before the next attempt. `chance` is from 0 to 1: many programs lose a server at the same moment, and must not
    /// come back at the same moment.
    pub(super) fn wait(&self, chance: f64) -> Duration {
        self.wait.mul_f64(1.0 - chance / 5.0)
    }

    /// Notes that an attempt failed.
    pub(super) fn failed(&mut self, now: Instant, at: FailedAt, error: String) {
        self.attempts = self.attempts.saturating_add(1);
        self.error = Some(error);
        self.missing_passphrase = None;
        let longer = match at {
            FailedAt::Network => (now - self.since) / PART_OF_OUTAGE,
            FailedAt::Login => 2 * self.wait,
        };
        self.wait = longer.clamp(FIRST, LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_made_at_once() {
        assert_eq!(Outage::new(Instant::now(), None).wait(0.0), Duration::ZERO);
    }

    #[test]
    fn a_server_that_was_away_for_a_minute_is_tried_each_second() {
        let start = Instant::now();
        let mut outage = Outage::new(start, None);
        let mut now = start;
        while now < start + Duration::from_secs(60) {
            outage.failed(now, FailedAt::Network, "refused".to_owned());
            assert!(outage.wait(0.0) <= Duration::from_secs(1));
            now += outage.wait(0.0);
        }
        assert!((60..250).contains(&outage.attempt()), "{}", outage.attempt());
        outage.failed(start + Duration::from_secs(3600), FailedAt::Network, "refused".to_owned());
        assert_eq!(outage.wait(0.0), LONGEST);
        assert_eq!(outage.wait(1.0), LONGEST * 4 / 5);
    }

    #[test]
    fn waits_double_while_the_server_refuses_the_login() {
        let start = Instant::now();
        let mut outage = Outage::new(start, None);
        let waits: Vec<u128> = (0..9)
            .map(|_| {
                outage.failed(start, FailedAt::Login, "no key".to_owned());
                outage.wait(0.0).as_millis()
            })
            .collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    }
}
