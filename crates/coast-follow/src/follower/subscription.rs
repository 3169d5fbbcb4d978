//! Tells when the state of a follower has changed.

use std::sync::Weak;
use std::time::Instant;

use super::shared::Shared;
use super::status::FollowerStatus;
use super::status_of;
use crate::watcher::Watcher;

/// Changes of the state of a follower. Those that follow each other quickly count once.
#[derive(Debug)]
pub struct Subscription {
    shared: Weak<Shared>,
    watcher: Weak<Watcher>,
    /// The last change that was told.
    seen: Option<u64>,
}

/// What [`Subscription::next`] waited for.
#[derive(Debug)]
pub enum Update {
    /// The state is this one now.
    Status(Box<FollowerStatus>),
    /// The time is over.
    TimedOut,
    /// The follower is gone.
    Ended,
}

impl Subscription {
    pub(super) fn new(shared: Weak<Shared>, watcher: Weak<Watcher>) -> Self {
        Self { shared, watcher, seen: None }
    }

    /// Waits until the state differs from the one that was told last. The first call does not wait.
    pub fn next(&mut self, until: Option<Instant>) -> Update {
        let Some(shared) = self.shared.upgrade() else { return Update::Ended };
        let seen = self.seen;
        let found = shared.wait(until, |state| {
            (state.ended || seen != Some(state.version)).then_some((state.version, state.ended))
        });
        match (found, self.watcher.upgrade()) {
            (None, _) => Update::TimedOut,
            (Some((_, true)), _) | (_, None) => Update::Ended,
            (Some((version, false)), Some(watcher)) => {
                self.seen = Some(version);
                Update::Status(Box::new(status_of(&shared, &watcher)))
            }
        }
    }
}
