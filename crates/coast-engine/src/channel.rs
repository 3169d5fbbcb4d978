//! Queues between the threads of one side, whose both ends live as long as the run.

use crossbeam_channel::{Receiver, Sender};

/// Both ends of a queue.
pub(crate) struct Channel<T> {
    pub(crate) sender: Sender<T>,
    pub(crate) receiver: Receiver<T>,
}

impl<T> Channel<T> {
    /// A queue that holds at most `capacity` items.
    pub(crate) fn bounded(capacity: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        Self { sender, receiver }
    }

    /// A queue that something else bounds.
    pub(crate) fn unbounded() -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Self { sender, receiver }
    }
}
