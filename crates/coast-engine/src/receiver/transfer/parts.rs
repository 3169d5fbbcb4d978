//! The parts that were offered and are not settled, and the order in which they may be examined.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use coast_tree::LockExt;
use coast_wire::limits::{UNASKED_WINDOW_BYTES, WINDOW_ENTRIES};

use super::part::Part;
use crate::error::EngineError;

/// The parts of a run.
///
/// Invariant: a directory is examined only after the part that holds it as an entry was, since that is where it is
/// made. A part that is neither live nor waiting for its turn has been examined.
#[derive(Default)]
pub(super) struct Parts {
    /// Guards all of it. No other lock is taken while it is held.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: HashMap<u32, Arc<Part>>,
    /// Parts not examined yet, with those that wait for them.
    ahead: HashMap<u32, Vec<Arc<Part>>>,
    /// The highest number that arrived.
    last: Option<u32>,
    weight: usize,
    /// Bytes of content that came with the offers of live parts.
    content_bytes: usize,
    walk_done: bool,
    /// Settled parts of which the sender was not told yet.
    untold: usize,
}

impl State {
    /// Whether every part was settled, and the sender was told so. What it is told after the end of a run it would take for a message of
    /// the next one.
    fn is_over(&self) -> bool {
        self.walk_done && self.live.is_empty() && self.untold == 0
    }
}

impl Parts {
    /// Takes in a part; gives it back if it can be examined now.
    pub(super) fn arrive(&self, part: Part, parent: Option<u32>) -> Result<Option<Arc<Part>>, EngineError> {
        let mut state = self.lock();
        if state.walk_done {
            return Err(EngineError::Protocol("it offered more after it said that this was all"));
        }
        state.weight += part.weight();
        if state.weight > WINDOW_ENTRIES {
            return Err(EngineError::Protocol("it offered more entries than it may"));
        }
        state.content_bytes += part.content_bytes();
        if state.content_bytes > UNASKED_WINDOW_BYTES {
            return Err(EngineError::Protocol("it offered more content than it may"));
        }
        let part = Arc::new(part);
        if state.live.insert(part.id, part.clone()).is_some() {
            return Err(EngineError::Protocol("it used a number twice"));
        }
        state.last = state.last.max(Some(part.id));
        state.ahead.insert(part.id, Vec::new());
        match parent.and_then(|parent| state.ahead.get_mut(&parent)) {
            Some(waiting) => {
                waiting.push(part);
                Ok(None)
            }
            None => Ok(Some(part)),
        }
    }

    /// A part was examined; gives those that waited for it.
    pub(super) fn examined(&self, id: u32) -> Vec<Arc<Part>> {
        self.lock().ahead.remove(&id).unwrap_or_default()
    }

    /// Whether a part has been here and is done with.
    pub(super) fn was_settled(&self, id: u32) -> bool {
        let state = self.lock();
        Some(id) <= state.last && !state.live.contains_key(&id)
    }

    pub(super) fn get(&self, id: u32) -> Option<Arc<Part>> {
        self.lock().live.get(&id).cloned()
    }

    /// Forgets a part, of which the sender is told next. The transfer does not end before [`Parts::told`].
    pub(super) fn settle(&self, part: &Part) {
        let mut state = self.lock();
        if state.live.remove(&part.id).is_some() {
            state.weight -= part.weight();
            state.content_bytes -= part.content_bytes();
        }
        state.untold += 1;
    }

    /// The sender was told of a settled part; true when that was the last one.
    pub(super) fn told(&self) -> bool {
        let mut state = self.lock();
        state.untold -= 1;
        state.is_over()
    }

    /// No more parts will come; true when none is left.
    pub(super) fn walk_done(&self) -> bool {
        let mut state = self.lock();
        state.walk_done = true;
        state.is_over()
    }

    /// The parts that are left when a run ends early.
    pub(super) fn abandon(&self) -> Vec<Arc<Part>> {
        let mut state = self.lock();
        state.ahead.clear();
        state.live.drain().map(|(_, part)| part).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.enter()
    }
}
