//! The instances that should follow their worktree and do not, and when each is tried again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use coast_instance::{InstanceId, Retry, StoredPath};

use super::MUTAGEN_EVERY;
use crate::log::is_due;

/// The first wait after an attempt that failed. Each next wait is twice as long.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The wait where only the user can mend the reason: settings that are not trusted, a worktree that is gone.
const RARELY: Duration = Duration::from_secs(300);
/// How long after a check that found no session of mutagen, or one that has halted, its instance is mended. A second check comes
/// before that, and mends nothing if the session runs.
const CHECK_TWICE: Duration = Duration::from_secs(3);
/// How many checks in a row may find a session of mutagen without a connection. It connects again by itself every few seconds.
const PATIENT_CHECKS: u32 = 2;

/// The state of an instance, as a check found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Edits are carried.
    Follows,
    /// The instance has no follower of the native layer.
    NoFollower,
    /// The session of mutagen has no connection, or cannot be asked. Both may pass by themselves.
    Disconnected,
    /// The session of mutagen is gone, has halted, or its container does not run.
    SessionEnded,
    /// The instance was not checked.
    Unchecked,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    /// The error, for the user.
    pub(super) error: String,
    /// The key file that lacked its passphrase.
    pub(super) missing_passphrase: Option<PathBuf>,
    /// Whether only the user can mend the reason.
    pub(super) needs_user: bool,
}

impl FailedAttempt {
    /// An attempt that failed for a reason that may pass by itself.
    pub(super) fn passing(error: String) -> Self {
        Self { error, missing_passphrase: None, needs_user: false }
    }
}

/// The instances that should follow and do not.
#[derive(Debug, Default)]
pub(super) struct BrokenInstances(HashMap<InstanceId, Broken>);

#[derive(Debug)]
struct Broken {
    /// The number of attempts that have failed.
    failed_attempts: u32,
    /// When the next attempt begins.
    next: Instant,
    error: Option<String>,
    /// When a failed attempt was logged last.
    logged: Option<Instant>,
    /// The key file that lacked its passphrase in the last attempt.
    missing_passphrase: Option<PathBuf>,
    /// Whether an attempt is under way.
    under_way: bool,
    /// How many checks in a row found the session of mutagen without a connection.
    disconnected_checks: u32,
}

impl Broken {
    fn new(now: Instant) -> Self {
        Self {
            failed_attempts: 0,
            next: now,
            error: None,
            logged: None,
            missing_passphrase: None,
            under_way: false,
            disconnected_checks: 0,
        }
    }

    /// Plans the first attempt. Later ones are planned when an attempt fails.
    fn plan(&mut self, health: Health, now: Instant) {
        match health {
            Health::Disconnected => {
                self.disconnected_checks += 1;
                let is_patient = self.disconnected_checks < PATIENT_CHECKS;
                self.next = if is_patient { now + MUTAGEN_EVERY } else { now };
            }
            Health::SessionEnded => self.next = now + CHECK_TWICE,
            Health::NoFollower | Health::Follows | Health::Unchecked => {}
        }
    }
}

impl BrokenInstances {
    /// Notes the health of all instances that should follow. The others are forgotten, except while an attempt is under way.
    pub(super) fn update(&mut self, checked: &HashMap<InstanceId, Health>, now: Instant) {
        self.0.retain(|id, broken| {
            broken.under_way || checked.get(id).is_some_and(|health| *health != Health::Follows)
        });
        for (id, health) in checked {
            if matches!(health, Health::Follows | Health::Unchecked) {
                continue;
            }
            let broken = self.0.entry(id.clone()).or_insert_with(|| Broken::new(now));
            if broken.failed_attempts == 0 && !broken.under_way {
                broken.plan(*health, now);
            }
        }
    }

    /// Has all of them tried at `now`.
    pub(super) fn retry_at(&mut self, now: Instant) {
        for broken in self.0.values_mut() {
            broken.next = now;
        }
    }

    /// When the next attempt begins. `None` if there is nothing to try, or all attempts are under way.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        self.0.values().filter(|broken| !broken.under_way).map(|broken| broken.next).min()
    }

    /// Begins an attempt if one is due and `may_begin` allows it. Otherwise `may_begin` is asked again after [`FIRST_WAIT`].
    /// Returns whether the attempt has begun. It ends with [`Self::succeeded`] or [`Self::failed`].
    pub(super) fn begin_attempt(
        &mut self,
        id: &InstanceId,
        now: Instant,
        may_begin: impl FnOnce() -> bool,
    ) -> bool {
        let Some(broken) = self.0.get_mut(id).filter(|broken| !broken.under_way && broken.next <= now) else {
            return false;
        };
        broken.under_way = may_begin();
        if !broken.under_way {
            broken.next = now + FIRST_WAIT;
        }
        broken.under_way
    }

    /// The attempt under way has succeeded.
    pub(super) fn succeeded(&mut self, id: &InstanceId) {
        self.0.remove(id);
    }

    /// The attempt under way has failed. `chance` is from 0 to 1: many instances lose a remote at the same moment, and must not
    /// all come back at the same moment. Returns whether the failure is to be logged: the first one, and one a minute.
    pub(super) fn failed(
        &mut self,
        id: &InstanceId,
        failed: FailedAttempt,
        now: Instant,
        chance: f64,
    ) -> bool {
        let Some(broken) = self.0.get_mut(id) else { return false };
        broken.under_way = false;
        broken.failed_attempts = broken.failed_attempts.saturating_add(1);
        broken.error = Some(failed.error);
        broken.missing_passphrase = failed.missing_passphrase;
        let wait = if failed.needs_user { RARELY } else { wait_after(broken.failed_attempts) };
        broken.next = now + wait.mul_f64(1.0 - chance / 5.0);
        let is_due = is_due(broken.logged, now);
        if is_due {
            broken.logged = Some(now);
        }
        is_due
    }

    /// Whether an attempt is under way for any instance.
    pub(super) fn has_attempt_under_way(&self) -> bool {
        self.0.values().any(|broken| broken.under_way)
    }

    /// Whether an attempt for this instance is under way, or the first one is about to begin.
    pub(super) fn awaits_attempt(&self, id: &InstanceId) -> bool {
        self.0.get(id).is_some_and(|broken| broken.under_way || broken.failed_attempts == 0)
    }

    /// The error of the last attempt for this instance.
    pub(super) fn error(&self, id: &InstanceId) -> Option<&str> {
        self.0.get(id)?.error.as_deref()
    }

    /// The next attempt for this instance, or the one under way. `None` before the first attempt.
    pub(super) fn retry(&self, id: &InstanceId, now: Instant) -> Option<Retry> {
        let broken = self.0.get(id).filter(|broken| broken.under_way || broken.failed_attempts > 0)?;
        let left = match broken.under_way {
            true => Duration::ZERO,
            false => broken.next.saturating_duration_since(now),
        };
        Some(Retry {
            attempt: broken.failed_attempts + 1,
            in_milliseconds: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            error: broken.error.clone().unwrap_or_else(|| "edits do not follow".to_owned()),
            missing_passphrase: broken.missing_passphrase.as_deref().map(StoredPath::from),
        })
    }
}

/// The wait after this number of failed attempts, from 1.
fn wait_after(failed_attempts: u32) -> Duration {
    (FIRST_WAIT * 2_u32.pow((failed_attempts - 1).min(16))).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> InstanceId {
        InstanceId { project: "shop".parse().unwrap(), instance: "dev-1".parse().unwrap() }
    }

    fn checked(health: Health) -> HashMap<InstanceId, Health> {
        HashMap::from([(id(), health)])
    }

    /// The wait until the next attempt.
    fn wait(broken: &BrokenInstances, now: Instant) -> Option<Duration> {
        broken.next_attempt().map(|next| next - now)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_a_reason_for_the_user_is_tried_rarely() {
        let (now, mut broken) = (Instant::now(), BrokenInstances::default());
        broken.update(&checked(Health::NoFollower), now);
        let mut waits = Vec::new();
        for _ in 0..7 {
            broken.retry_at(now);
            assert!(broken.begin_attempt(&id(), now, || true));
            broken.failed(&id(), FailedAttempt::passing("refused".to_owned()), now, 0.0);
            waits.push(wait(&broken, now).unwrap().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);

        let untrusted = FailedAttempt { needs_user: true, ..FailedAttempt::passing("no trust".to_owned()) };
        broken.retry_at(now);
        assert!(broken.begin_attempt(&id(), now, || true));
        broken.failed(&id(), untrusted, now, 1.0);
        assert_eq!(wait(&broken, now), Some(RARELY * 4 / 5));
        let retry = broken.retry(&id(), now).unwrap();
        assert_eq!((retry.attempt, retry.in_milliseconds, &*retry.error), (9, 240_000, "no trust"));
    }

    #[test]
    fn an_attempt_that_fails_again_and_again_is_logged_once_a_minute() {
        let (began, mut broken) = (Instant::now(), BrokenInstances::default());
        broken.update(&checked(Health::NoFollower), began);
        let logged = [0, 1, 59, 60, 61, 119, 120].map(|second| {
            let now = began + Duration::from_secs(second);
            broken.retry_at(now);
            assert!(broken.begin_attempt(&id(), now, || true));
            broken.failed(&id(), FailedAttempt::passing("refused".to_owned()), now, 0.0)
        });
        assert_eq!(logged, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn a_session_without_a_connection_is_mended_when_a_second_check_finds_the_same() {
        let (now, mut broken) = (Instant::now(), BrokenInstances::default());
        broken.update(&checked(Health::Disconnected), now);
        assert_eq!(wait(&broken, now), Some(MUTAGEN_EVERY));
        broken.update(&checked(Health::Unchecked), now);
        assert_eq!(wait(&broken, now), Some(MUTAGEN_EVERY));
        broken.update(&checked(Health::Disconnected), now);
        assert_eq!(wait(&broken, now), Some(Duration::ZERO));
        broken.update(&checked(Health::Follows), now);
        assert_eq!(wait(&broken, now), None);
    }

    #[test]
    fn an_instance_is_kept_while_its_attempt_is_under_way() {
        let (now, mut broken) = (Instant::now(), BrokenInstances::default());
        broken.update(&checked(Health::NoFollower), now);
        assert!(broken.awaits_attempt(&id()) && !broken.has_attempt_under_way());
        assert!(!broken.begin_attempt(&id(), now, || false));
        assert_eq!(wait(&broken, now), Some(FIRST_WAIT));
        assert!(!broken.begin_attempt(&id(), now, || panic!("no attempt is due")));
        assert!(broken.begin_attempt(&id(), now + FIRST_WAIT, || true));
        broken.update(&HashMap::new(), now);
        assert!(broken.has_attempt_under_way());
        assert_eq!((wait(&broken, now), broken.retry(&id(), now).unwrap().attempt), (None, 1));
        broken.succeeded(&id());
        assert!(!broken.has_attempt_under_way() && broken.retry(&id(), now).is_none());
    }
}
