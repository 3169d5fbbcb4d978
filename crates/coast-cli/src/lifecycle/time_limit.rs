//! A limit for the time that a command may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use coast_sync::Cancel;

/// Cancels a command when its time is over. Dropping the limit ends it.
pub(super) struct TimeLimit {
    over: Arc<AtomicBool>,
    _ends_when_dropped: mpsc::Sender<()>,
}

impl TimeLimit {
    pub(super) fn new(limit: Duration, cancel: &Cancel) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (sender, dropped) = mpsc::channel::<()>();
        thread::spawn({
            let (over, cancel) = (over.clone(), cancel.clone());
            move || {
                if dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    over.store(true, Ordering::Release);
                    cancel.cancel();
                }
            }
        });
        Self { over, _ends_when_dropped: sender }
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}
