//! The bytes of one direction that have been sent and have not arrived yet, in their order, and bounded.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bytes that arrive together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// When they arrive.
    pub(crate) due: Instant,
    /// The round trips that had to be made before they could be sent (see `traffic`).
    pub(crate) depth: u64,
}

/// A queue with one thread at each end.
pub(crate) struct Queue {
    capacity_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    held_bytes: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        Self { capacity_bytes, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds a piece as soon as there is room for it. A piece that is larger than the queue waits until the queue is empty. Returns
    /// whether the queue still takes pieces.
    pub(crate) fn push(&self, piece: Piece) -> bool {
        let mut state = self.locked();
        while !state.closed
            && state.held_bytes > 0
            && state.held_bytes + piece.bytes.len() > self.capacity_bytes
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        state.held_bytes += piece.bytes.len();
        state.pieces.push_back(piece);
        self.changed.notify_all();
        true
    }

    /// Waits for the next piece. `None`: the queue is closed, and all pieces have been taken.
    pub(crate) fn pop(&self) -> Option<Piece> {
        let mut state = self.locked();
        loop {
            if let Some(piece) = state.pieces.pop_front() {
                state.held_bytes -= piece.bytes.len();
                self.changed.notify_all();
                return Some(piece);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more pieces. Those that are in the queue can still be taken out.
    pub(crate) fn close(&self) {
        self.locked().closed = true;
        self.changed.notify_all();
    }

    /// No panic can leave the state half changed.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn piece(bytes: &[u8]) -> Piece {
        Piece { bytes: bytes.to_vec(), due: Instant::now(), depth: 0 }
    }

    #[test]
    fn pieces_come_out_in_their_order_and_the_last_ones_after_the_end() {
        let queue = Queue::new(10);
        assert!(queue.push(piece(b"one")));
        assert!(queue.push(piece(b"two")));
        queue.close();
        assert!(!queue.push(piece(b"three")));
        assert_eq!(queue.pop().unwrap().bytes, b"one");
        assert_eq!(queue.pop().unwrap().bytes, b"two");
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn queue_never_holds_more_than_its_capacity() {
        let queue = Queue::new(8);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert!(queue.push(piece(b"three")));
                }
                queue.close();
            });
            let mut taken = 0;
            loop {
                assert!(queue.locked().held_bytes <= 8);
                if queue.pop().is_none() {
                    break;
                }
                taken += 1;
            }
            assert_eq!(taken, 100);
        });
    }

    #[test]
    fn piece_that_is_larger_than_the_queue_still_gets_through() {
        let queue = Queue::new(2);
        assert!(queue.push(piece(b"large")));
        assert_eq!(queue.pop().unwrap().bytes, b"large");
    }
}
