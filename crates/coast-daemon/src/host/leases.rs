//! Prepared followers of commands that have not begun them yet. A command that goes away takes its follower with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use coast_instance::InstanceId;
use coast_tree::LockExt;

use super::PreparedFollower;

/// The prepared followers, by number.
///
/// The lock guards the number of the last lease and the followers. No other lock is taken while it is held, and no follower is ended.
#[derive(Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: u64,
    prepared: HashMap<u64, PreparedFollower>,
}

/// Keeps a prepared follower until this is dropped or the follower has begun.
pub(crate) struct Lease {
    leases: Leases,
    number: u64,
}

impl Leases {
    pub(crate) fn add(&self, prepared: PreparedFollower) -> Lease {
        let mut state = self.0.enter();
        state.last += 1;
        let number = state.last;
        state.prepared.insert(number, prepared);
        Lease { leases: self.clone(), number }
    }

    /// Takes the follower with this number out, if it is one of this instance.
    pub(crate) fn take(&self, number: u64, id: &InstanceId) -> Option<PreparedFollower> {
        let mut state = self.0.enter();
        state.prepared.get(&number).filter(|prepared| prepared.id() == id)?;
        state.prepared.remove(&number)
    }
}

impl Lease {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Ending a follower joins its threads, which is not done under the lock.
        let prepared = self.leases.0.enter().prepared.remove(&self.number);
        drop(prepared);
    }
}
