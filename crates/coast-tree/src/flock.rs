//! Locks between processes (`flock`), and the wait for them.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// How long to wait before a lock that another process holds is tried again.
const INTERVAL: Duration = Duration::from_millis(50);

/// Says how long to wait for a lock.
pub trait Patience {
    /// Waits for `time`, and returns early with false when the wait is given up.
    fn wait(&self, time: Duration) -> bool;
}

/// The outcome of one attempt to acquire a lock.
#[derive(Debug)]
pub enum Attempt<T, H> {
    /// The lock is acquired.
    Acquired(T),
    /// Another process holds the lock. The value names that process, if it is known.
    Held(Option<H>),
}

/// Why a lock was not acquired.
#[derive(Debug)]
pub enum WaitEnded<E> {
    /// The wait was given up.
    GivenUp,
    /// An attempt failed.
    Failed(E),
}

impl<E> From<E> for WaitEnded<E> {
    fn from(error: E) -> Self {
        Self::Failed(error)
    }
}

/// Waits for locks, and tells each holder (`H`) once.
pub struct LockWait<'a, P, H, F> {
    patience: &'a P,
    told: Option<H>,
    tell: F,
}

impl<'a, P: Patience, H: PartialEq, F: FnMut(&H)> LockWait<'a, P, H, F> {
    /// Waits as long as `patience` lasts. `tell` is called for each holder that a lock is waited for.
    pub fn new(patience: &'a P, tell: F) -> Self {
        Self { patience, told: None, tell }
    }

    /// Repeats `attempt` until it acquires a lock.
    ///
    /// # Errors
    /// The first error of `attempt`, and [`WaitEnded::GivenUp`] when `patience` ended.
    pub fn until<T, E>(
        &mut self,
        mut attempt: impl FnMut() -> Result<Attempt<T, H>, E>,
    ) -> Result<T, WaitEnded<E>> {
        loop {
            match attempt()? {
                Attempt::Acquired(lock) => return Ok(lock),
                Attempt::Held(Some(holder)) if self.told.as_ref() != Some(&holder) => {
                    (self.tell)(&holder);
                    self.told = Some(holder);
                }
                Attempt::Held(_) => {}
            }
            // A blocking `flock` has no time limit, and would not notice that the wait is given up.
            if !self.patience.wait(INTERVAL) {
                return Err(WaitEnded::GivenUp);
            }
        }
    }

    /// Whether the caller no longer waits for locks.
    pub fn is_given_up(&self) -> bool {
        !self.patience.wait(Duration::ZERO)
    }
}

/// Locks an open file or directory without waiting. False if somebody else holds the lock.
///
/// # Errors
/// When the system cannot lock it.
pub fn try_flock(file: impl AsFd, operation: FlockOperation) -> Result<bool, Errno> {
    match rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}
