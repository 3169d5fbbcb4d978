//! How many entries may be offered and not yet settled.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use coast_wire::limits::WINDOW_ENTRIES;

use crate::stop::{Stop, Stopped};

/// Holds the walk back when the receiver has enough to do, so that memory is bounded on both sides.
pub(super) struct Window {
    used: Mutex<usize>,
    released: Condvar,
    stop: Stop,
}

impl Window {
    pub(super) fn new(stop: Stop) -> Self {
        Self { used: Mutex::new(0), released: Condvar::new(), stop }
    }

    /// Waits until `weight` more entries may be offered.
    pub(super) fn acquire(&self, weight: usize) -> Result<(), Stopped> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used + weight > WINDOW_ENTRIES {
            // The end of the run disconnects a channel, which a condition variable does not notice.
            let waited = self.released.wait_timeout(used, Duration::from_millis(200));
            used = waited.unwrap_or_else(PoisonError::into_inner).0;
            if self.stop.is_stopped() {
                return Err(Stopped);
            }
        }
        *used += weight;
        Ok(())
    }

    pub(super) fn release(&self, weight: usize) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(weight);
        self.released.notify_all();
    }
}
