//! How many bytes of signatures wait for their deltas.
//!
//! Invariant: while a file waits for room, another file holds room. `release` therefore assigns the freed room to the
//! waiting files, in order. A file that does not use its room must call `release`; otherwise the files behind it wait for
//! ever.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use coast_tree::LockExt;
use coast_wire::limits::SIGNATURE_WINDOW_BYTES;

/// Room for signatures, and those (`T`) who wait for some.
pub(super) struct SignatureWindow<T> {
    /// Guards all of it. No other lock is taken while it is held.
    state: Mutex<State<T>>,
}

struct State<T> {
    used_bytes: usize,
    /// In the order they asked, with what they want. Bounded by the sender's window.
    waiting: VecDeque<(usize, T)>,
}

impl<T> SignatureWindow<T> {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { used_bytes: 0, waiting: VecDeque::new() }) }
    }

    /// Takes room; without enough of it, remembers who wanted it and answers false. A worker never waits here: it may
    /// be the one who makes room. One signature always has room, however large.
    pub(super) fn take(&self, bytes: usize, who: impl FnOnce() -> T) -> bool {
        let mut state = self.lock();
        let taken = state.waiting.is_empty() && state.fits(bytes);
        if taken {
            state.used_bytes += bytes;
        } else {
            state.waiting.push_back((bytes, who()));
        }
        taken
    }

    /// Gives room back. Answers who was given some of it, and how much.
    pub(super) fn release(&self, bytes: usize) -> Vec<(usize, T)> {
        let mut state = self.lock();
        state.used_bytes = state.used_bytes.saturating_sub(bytes);
        let mut given = Vec::new();
        while state.waiting.front().is_some_and(|(bytes, _)| state.fits(*bytes))
            && let Some((bytes, who)) = state.waiting.pop_front()
        {
            state.used_bytes += bytes;
            given.push((bytes, who));
        }
        given
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.enter()
    }
}

impl<T> State<T> {
    fn fits(&self, bytes: usize) -> bool {
        self.used_bytes == 0 || self.used_bytes + bytes <= SIGNATURE_WINDOW_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: usize = SIGNATURE_WINDOW_BYTES / 2;

    #[test]
    fn room_that_becomes_free_goes_to_all_who_fit_in_the_order_they_asked() {
        let window = SignatureWindow::new();
        assert!(window.take(HALF, || "a") && window.take(HALF, || "b"));
        assert!(!window.take(HALF, || "large"));
        assert!(!window.take(1, || "small"));
        assert_eq!(window.release(HALF), [(HALF, "large")]);
        assert_eq!(window.release(HALF), [(1, "small")]);
        assert_eq!(window.release(HALF), []);
    }

    #[test]
    fn one_who_gives_up_wakes_the_next() {
        let window = SignatureWindow::new();
        assert!(window.take(SIGNATURE_WINDOW_BYTES, || 0));
        for who in 1..=3 {
            assert!(!window.take(HALF + 1, || who));
        }
        let mut given = window.release(SIGNATURE_WINDOW_BYTES);
        for who in 1..=3 {
            assert_eq!(given, [(HALF + 1, who)]);
            given = window.release(HALF + 1);
        }
        assert_eq!(given, []);
    }

    #[test]
    fn a_signature_larger_than_the_window_has_its_turn_alone() {
        let window = SignatureWindow::new();
        assert!(window.take(2 * SIGNATURE_WINDOW_BYTES, || 0));
        assert!(!window.take(1, || 1));
        assert_eq!(window.release(2 * SIGNATURE_WINDOW_BYTES), [(1, 1)]);
    }
}
