//! How much may be offered and not yet settled.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use coast_tree::{LockExt, LockResultExt};
use coast_wire::limits::{UNASKED_WINDOW_BYTES, WINDOW_ENTRIES};

use crate::stop::{Stop, Stopped};

/// Holds the walk back when the receiver has enough to do, so that memory is bounded on both sides.
pub(super) struct Window {
    used: Mutex<usize>,
    /// Bytes of content that nobody asked for. No other lock is taken while it is held.
    unasked: Mutex<usize>,
    released: Condvar,
    stop: Stop,
}

impl Window {
    pub(super) fn new(stop: Stop) -> Self {
        Self { used: Mutex::new(0), unasked: Mutex::new(0), released: Condvar::new(), stop }
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

    /// Takes room for content that goes with an offer. False if there is none now: then the receiver asks for it.
    pub(super) fn try_take_unasked(&self, bytes: usize) -> bool {
        let mut unasked = self.unasked.enter();
        let fits = *unasked + bytes <= UNASKED_WINDOW_BYTES;
        *unasked += if fits { bytes } else { 0 };
        fits
    }

    /// Gives back room that was taken for content.
    pub(super) fn release_unasked(&self, bytes: usize) {
        let mut unasked = self.unasked.enter();
        *unasked = unasked.saturating_sub(bytes);
    }

    pub(super) fn release(&self, weight: usize) {
        let mut used = self.used.enter();
        *used = used.saturating_sub(weight);
        self.released.notify_all();
    }
}
