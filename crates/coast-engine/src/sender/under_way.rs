//! How far the chunks of one large file may get out of order: those that other workers compress may leave late.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use coast_tree::{LockExt, LockResultExt};
use coast_wire::limits::MAX_OVERTAKING_CHUNKS;

use crate::stop::{Stop, Stopped};

/// The packs of one file that were read and have not left yet.
#[derive(Clone)]
pub(super) struct UnderWay {
    shared: Arc<Shared>,
    stop: Stop,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    not_left: BTreeSet<u64>,
}

/// One pack's place among them; dropped when it has left.
pub(super) struct Ticket {
    shared: Arc<Shared>,
    number: u64,
}

impl UnderWay {
    pub(super) fn new(stop: Stop) -> Self {
        Self { shared: Arc::default(), stop }
    }

    /// Whether the oldest pack that has not left is too far behind for another one.
    pub(super) fn is_behind(&self) -> bool {
        self.shared.state.enter().is_behind()
    }

    /// Takes the next place, waiting while the oldest pack that has not left is too far behind. Whoever has that one
    /// waits for nothing but the writer, so this ends.
    pub(super) fn ticket(&self) -> Result<Ticket, Stopped> {
        let mut state = self.shared.state.enter();
        while state.is_behind() {
            if self.stop.is_stopped() {
                return Err(Stopped);
            }
            // The end of the run disconnects a channel, which a condition variable does not notice.
            let waited = self.shared.left.wait_timeout(state, Duration::from_millis(200));
            state = waited.even_poisoned().0;
        }
        let number = state.next;
        state.next += 1;
        state.not_left.insert(number);
        Ok(Ticket { shared: self.shared.clone(), number })
    }
}

impl State {
    fn is_behind(&self) -> bool {
        self.not_left.first().is_some_and(|oldest| self.next - oldest >= u64::from(MAX_OVERTAKING_CHUNKS))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.shared.state.enter();
        state.not_left.remove(&self.number);
        self.shared.left.notify_all();
    }
}
