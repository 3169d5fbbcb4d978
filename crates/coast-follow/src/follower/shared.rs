//! What the thread of a follower and its callers share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use coast_sync::{Cancel, Conflict, FollowSession, Progress, SyncError};
use coast_tree::{LockExt, LockResultExt};

use super::First;
use super::resolution::Resolution;
use super::status::{FollowerState, LastBatch, Problem, TreeSize};
use crate::batch::Ticket;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Guarded by one lock. No other lock is taken while it is held.
#[derive(Debug)]
pub(super) struct State {
    pub(super) wish: Wish,
    /// Set by a call to skip the wait for the next attempt to connect.
    pub(super) retry_now: bool,
    /// The attempt to connect of the moment, or the session that came from it.
    pub(super) connection: Connection,
    /// The barriers up to this one are passed.
    pub(super) passed: Option<Ticket>,
    /// The last barrier of the runs that were refused because they would delete most of the workspace.
    pub(super) refused: Option<Ticket>,
    pub(super) resolution: Resolution,
    pub(super) told: Told,
    /// Counts the changes of `told`.
    pub(super) version: u64,
    /// Whether the thread has ended.
    pub(super) ended: bool,
}

/// An attempt to connect, and the session that comes from it.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Tells attempts apart: one that was given up may end late.
    pub(super) number: u64,
    /// Ends the attempt or the session.
    pub(super) cancel: Cancel,
    /// The result of the attempt, until it is taken.
    pub(super) attempted: Option<Result<FollowSession, SyncError>>,
    /// Whether the session was ended by its other end.
    pub(super) ended: bool,
}

/// What the callers want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Hold,
    /// To send changes, and these first unless they were begun.
    Follow(Option<First>),
    Pause,
    Stop,
}

/// What the thread tells.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) state: FollowerState,
    pub(super) progress: Option<Arc<Progress>>,
    /// Of the large file that is under way.
    pub(super) large_progress: Option<Arc<Progress>>,
    pub(super) last_batch: Option<LastBatch>,
    pub(super) size: Option<TreeSize>,
    pub(super) waiting_files: usize,
    pub(super) problems: (Vec<Problem>, u64),
    pub(super) conflicts: (Vec<Conflict>, u64),
    pub(super) notice: Option<String>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let told = Told {
            state: FollowerState::Holding,
            progress: None,
            large_progress: None,
            last_batch: None,
            size: None,
            waiting_files: 0,
            problems: (Vec::new(), 0),
            conflicts: (Vec::new(), 0),
            notice: None,
        };
        let state = State {
            wish: Wish::Hold,
            retry_now: false,
            connection: Connection::default(),
            passed: None,
            refused: None,
            resolution: Resolution::default(),
            told,
            version: 0,
            ended: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Reads the state.
    pub(super) fn enter(&self) -> MutexGuard<'_, State> {
        self.state.enter()
    }

    /// Changes the state, and wakes everybody who waits for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.enter());
        self.changed.notify_all();
        changed
    }

    /// Changes what is told.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Told)) {
        self.change(|state| {
            change(&mut state.told);
            state.version += 1;
        });
    }

    /// Waits until `find` finds something, or until the time has come.
    pub(super) fn wait<T>(
        &self,
        until: Option<Instant>,
        mut find: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.state.enter();
        loop {
            if let Some(found) = find(&mut state) {
                return Some(found);
            }
            state = match until {
                None => self.changed.wait(state).even_poisoned(),
                Some(until) => {
                    let now = Instant::now();
                    if now >= until {
                        return None;
                    }
                    self.changed.wait_timeout(state, until - now).even_poisoned().0
                }
            };
        }
    }

    /// Wakes everybody who waits, so that they look at something else than the state.
    pub(super) fn wake(&self) {
        drop(self.state.enter());
        self.changed.notify_all();
    }
}

impl State {
    /// Whether the thread is to send changes.
    pub(super) fn follows(&self) -> bool {
        matches!(self.wish, Wish::Follow(_))
    }
}
