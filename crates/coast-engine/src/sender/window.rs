//! How many entries may be offered and not yet settled.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use coast_tree::{LockExt, LockResultExt};
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
        let mut used = self.used.enter();
        while *used + weight > WINDOW_ENTRIES {
            // The end of the run disconnects a channel, which a condition variable does not notice.
            let waited = self.released.wait_timeout(used, Duration::from_millis(200));
            used = waited.even_poisoned().0;
            if self.stop.is_stopped() {
                return Err(Stopped);
            }
        }
        *used += weight;
        Ok(())
    }

    pub(super) fn release(&self, weight: usize) {
        let mut used = self.used.enter();
        *used = used.saturating_sub(weight);
        self.released.notify_all();
    }
}
