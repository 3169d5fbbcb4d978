//! The parts that were offered and are not settled, and the order in which they may be examined.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use coast_tree::LockExt;
use coast_wire::limits::{UNASKED_WINDOW_BYTES, WINDOW_ENTRIES};

use super::announced::AnnouncedPart;
use super::part::Part;
use crate::error::EngineError;

const AFTER_ALL: EngineError = EngineError::Protocol("it offered more after it said that this was all");
const TWICE: EngineError = EngineError::Protocol("it used a number twice");

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
    /// The parts of which only the digest has arrived.
    announced: HashMap<u32, Announced>,
    /// Parts not examined yet, with those that wait for them.
    ahead: HashMap<u32, Vec<Arrived>>,
    /// The highest number that arrived.
    last: Option<u32>,
    weight: usize,
    /// Bytes of content that came with the offers of live parts.
    content_bytes: usize,
    walk_done: bool,
    /// Settled parts of which the sender was not told yet.
    untold: usize,
}

/// A part of which only the digest has arrived.
struct Announced {
    weight: usize,
    /// Whether the sender was asked for the part itself.
    is_asked_for: bool,
}

/// What arrived of a part.
pub(super) enum Arrived {
    Whole(Arc<Part>),
    Digest(AnnouncedPart),
}

impl State {
    /// Takes the weight of what arrived into account.
    fn weigh(&mut self, weight: usize) -> Result<(), EngineError> {
        self.weight += weight;
        if self.weight > WINDOW_ENTRIES {
            return Err(EngineError::Protocol("it offered more entries than it may"));
        }
        Ok(())
    }

    /// Takes in what arrived of a new part; gives it back if it can be examined now.
    fn enter(&mut self, id: u32, parent: Option<u32>, arrived: Arrived) -> Option<Arrived> {
        self.last = self.last.max(Some(id));
        self.ahead.insert(id, Vec::new());
        match parent.and_then(|parent| self.ahead.get_mut(&parent)) {
            Some(waiting) => {
                waiting.push(arrived);
                None
            }
            None => Some(arrived),
        }
    }

    /// Whether every part was settled, and the sender was told so. What it is told after the end of a run it would take for a message of
    /// the next one.
    fn is_over(&self) -> bool {
        self.walk_done && self.live.is_empty() && self.announced.is_empty() && self.untold == 0
    }
}

impl Parts {
    /// Takes in a part; gives it back if it can be examined now.
    pub(super) fn arrive(&self, part: Part, parent: Option<u32>) -> Result<Option<Arrived>, EngineError> {
        let mut state = self.lock();
        let announced = state.announced.remove(&part.id);
        match &announced {
            None if state.walk_done => return Err(AFTER_ALL),
            None => {}
            Some(announced) if announced.is_asked_for => state.weight -= announced.weight,
            Some(_) => return Err(TWICE),
        }
        state.weigh(part.weight())?;
        state.content_bytes += part.content_bytes();
        if state.content_bytes > UNASKED_WINDOW_BYTES {
            return Err(EngineError::Protocol("it offered more content than it may"));
        }
        let part = Arc::new(part);
        if state.live.insert(part.id, part.clone()).is_some() {
            return Err(TWICE);
        }
        match announced {
            // The parts below it wait for it already, and the one above it was examined.
            Some(_) => Ok(Some(Arrived::Whole(part))),
            None => Ok(state.enter(part.id, parent, Arrived::Whole(part))),
        }
    }

    /// Takes in the digest of a part; gives it back if it can be compared now.
    pub(super) fn announce(
        &self,
        part: AnnouncedPart,
        parent: Option<u32>,
    ) -> Result<Option<Arrived>, EngineError> {
        let mut state = self.lock();
        if state.walk_done {
            return Err(AFTER_ALL);
        }
        state.weigh(part.weight())?;
        let announced = Announced { weight: part.weight(), is_asked_for: false };
        if state.live.contains_key(&part.id) || state.announced.insert(part.id, announced).is_some() {
            return Err(TWICE);
        }
        Ok(state.enter(part.id, parent, Arrived::Digest(part)))
    }

    /// The sender is asked for a part that was announced.
    pub(super) fn ask_for(&self, id: u32) {
        if let Some(announced) = self.lock().announced.get_mut(&id) {
            announced.is_asked_for = true;
        }
    }

    /// The destination has the entries of a part that was announced: it is as if it had arrived.
    pub(super) fn compared(&self, part: Part) -> Arc<Part> {
        let part = Arc::new(part);
        let mut state = self.lock();
        state.announced.remove(&part.id);
        state.live.insert(part.id, part.clone());
        part
    }

    /// A part was examined; gives those that waited for it.
    pub(super) fn examined(&self, id: u32) -> Vec<Arrived> {
        self.lock().ahead.remove(&id).unwrap_or_default()
    }

    /// Whether a part has been here and is done with.
    pub(super) fn was_settled(&self, id: u32) -> bool {
        let state = self.lock();
        Some(id) <= state.last && !state.live.contains_key(&id) && !state.announced.contains_key(&id)
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
        state.announced.clear();
        state.live.drain().map(|(_, part)| part).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.enter()
    }
}

#[cfg(test)]
mod tests {
    use coast_wire::{Part as WirePart, PartDigest, Range};

    use super::*;

    fn part(id: u32) -> Part {
        let range = Range::Names { after: None, last: true };
        Part::check(WirePart { id, parent: None, path: b"d", range, entries: Vec::new() }, None).unwrap()
    }

    fn announced(id: u32) -> AnnouncedPart {
        let (after, up_to, digest) = (None, None, [0; 16]);
        AnnouncedPart::check(&PartDigest { id, parent: None, path: b"d", after, up_to, entries: 5, digest })
            .unwrap()
    }

    #[test]
    fn a_part_that_was_announced_arrives_when_it_was_asked_for_and_not_before() {
        let parts = Parts::default();
        assert!(parts.announce(announced(0), None).unwrap().is_some());
        assert!(parts.arrive(part(0), None).is_err());

        let parts = Parts::default();
        parts.announce(announced(0), None).unwrap();
        let below = parts.announce(announced(1), Some(0)).unwrap();
        assert!(below.is_none(), "it waits for the part above it");
        parts.ask_for(0);
        assert!(!parts.walk_done(), "two parts are not settled");
        assert!(matches!(parts.arrive(part(0), None), Ok(Some(Arrived::Whole(_)))));
        assert!(parts.arrive(part(0), None).is_err());
        assert!(matches!(parts.examined(0)[..], [Arrived::Digest(_)]));
    }

    #[test]
    fn a_part_that_the_destination_has_is_settled_like_others() {
        let parts = Parts::default();
        parts.announce(announced(0), None).unwrap();
        assert!(!parts.walk_done());
        let part = parts.compared(part(0));
        parts.examined(0);
        parts.settle(&part);
        assert!(parts.told(), "it was the last one");
    }
}
