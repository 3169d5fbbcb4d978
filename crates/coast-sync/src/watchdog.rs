//! Ends a run in which no data moves any more: `--timeout`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use coast_engine::{Cancel, Monitor, Progress};
use coast_wire::{Event, Ready};

/// A monitor that passes every call on and keeps the counters for the watchdog.
pub(crate) struct Watched<'a> {
    inner: &'a dyn Monitor,
    progress: OnceLock<Arc<Progress>>,
    ready: AtomicBool,
    expired: AtomicBool,
}

impl Monitor for Watched<'_> {
    fn event(&self, event: &Event<'_>) {
        self.inner.event(event);
    }

    fn started(&self, progress: &Arc<Progress>) {
        // Each run has a monitor of its own, so there is no second call.
        let _ = self.progress.set(Arc::clone(progress));
        self.inner.started(progress);
    }

    fn ready(&self, ready: &Ready) {
        self.ready.store(true, Ordering::Release);
        self.inner.ready(ready);
    }
}

impl<'a> Watched<'a> {
    pub(crate) fn new(inner: &'a dyn Monitor) -> Self {
        Self {
            inner,
            progress: OnceLock::new(),
            ready: AtomicBool::new(false),
            expired: AtomicBool::new(false),
        }
    }

    /// Whether [`Watched::watch`] ended the run.
    pub(crate) fn expired(&self) -> bool {
        self.expired.load(Ordering::Acquire)
    }

    /// Returns when `done` is closed. Cancels the run when its counters have not changed for as long as `limit`.
    pub(crate) fn watch(&self, limit: Duration, done: &Receiver<()>, cancel: &Cancel) {
        // A step of a tenth makes the watchdog late by a tenth at most.
        let step = (limit / 10).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut last = (Moved::Nothing, Instant::now());
        while done.recv_timeout(step) == Err(RecvTimeoutError::Timeout) {
            let moved = self.moved();
            if moved != last.0 {
                last = (moved, Instant::now());
            } else if last.1.elapsed() >= limit {
                self.expired.store(true, Ordering::Release);
                cancel.cancel();
                return;
            }
        }
    }

    fn moved(&self) -> Moved {
        let Some(progress) = self.progress.get() else { return Moved::Nothing };
        if !self.ready.load(Ordering::Acquire) {
            return Moved::Connected;
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Moved::Bytes(read(&progress.wire_sent_bytes).wrapping_add(read(&progress.wire_received_bytes)))
    }
}

/// The progress of a run, as the watchdog compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Nothing,
    /// The receiver is not ready. It may wait for another run into the same workspace; the signs of life that it sends meanwhile
    /// are not progress.
    Connected,
    /// The bytes of the stream in both directions. A living peer sends signs of life even without other messages.
    Bytes(u64),
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use coast_engine::VoidMonitor;

    use super::*;

    #[test]
    fn a_run_in_which_nothing_moves_is_cancelled() {
        let watched = Watched::new(&VoidMonitor);
        watched.started(&Arc::default());
        let cancel = Cancel::new();
        let (_running, done) = mpsc::channel();
        watched.watch(Duration::from_millis(30), &done, &cancel);
        assert!(watched.expired() && cancel.is_cancelled());
    }

    #[test]
    fn a_receiver_that_waits_for_another_run_is_given_up_although_it_is_alive() {
        let watched = Watched::new(&VoidMonitor);
        let progress: Arc<Progress> = Arc::default();
        watched.started(&progress);
        let cancel = Cancel::new();
        let (running, done) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let (watched, cancel) = (&watched, &cancel);
            let watching = scope.spawn(move || watched.watch(Duration::from_millis(30), &done, cancel));
            while !watching.is_finished() {
                progress.wire_received_bytes.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        drop(running);
        assert!(watched.expired());
    }

    #[test]
    fn a_run_that_ends_in_time_is_left_alone() {
        let watched = Watched::new(&VoidMonitor);
        let cancel = Cancel::new();
        let (running, done) = mpsc::channel();
        drop(running);
        watched.watch(Duration::from_secs(3600), &done, &cancel);
        assert!(!watched.expired() && !cancel.is_cancelled());
    }

    #[test]
    fn a_run_whose_counters_move_outlives_its_limit() {
        let watched = Watched::new(&VoidMonitor);
        let progress: Arc<Progress> = Arc::default();
        watched.started(&progress);
        watched.ready(&Ready { uid: 0, confined: false });
        let cancel = Cancel::new();
        let (running, done) = mpsc::channel::<()>();
        let limit = Duration::from_millis(200);
        std::thread::scope(|scope| {
            let (watched, cancel) = (&watched, &cancel);
            let watching = scope.spawn(move || watched.watch(limit, &done, cancel));
            let begin = Instant::now();
            while begin.elapsed() < 2 * limit {
                progress.wire_received_bytes.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
            }
            drop(running);
            watching.join().unwrap();
        });
        assert!(!watched.expired());
    }
}
