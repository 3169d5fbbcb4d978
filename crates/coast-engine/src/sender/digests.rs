//! Whether parts are sent as digests: worth it where most of them are as the destination has them.

use std::sync::atomic::{AtomicUsize, Ordering};

use coast_tree::LockExt;
use coast_wire::{Entry, Options};

use super::offer::OfferedPart;
use crate::digest::EntryDigester;

/// So many more parts may differ than not before all others are sent as they are.
const MAX_EXCESS: usize = 16;

/// See the [module](self).
pub(super) struct Digests {
    digester: Option<EntryDigester>,
    /// The parts whose digest was that of the destination, and those whose was not.
    same: AtomicUsize,
    different: AtomicUsize,
}

impl Digests {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            digester: EntryDigester::of(options),
            same: AtomicUsize::new(0),
            different: AtomicUsize::new(0),
        }
    }

    /// The digest to send in the place of entries. None if they have none, or if it would probably not suffice.
    pub(super) fn digest(&self, entries: &[Entry<'_>]) -> Option<[u8; 16]> {
        let is_worth_it =
            self.different.load(Ordering::Relaxed) <= self.same.load(Ordering::Relaxed) + MAX_EXCESS;
        self.digester.as_ref().filter(|_| is_worth_it)?.digest(entries)
    }

    /// Takes note of a part that has to be sent after its digest.
    pub(super) fn note_different(&self) {
        self.different.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note of a part that is settled.
    pub(super) fn note_settled(&self, part: &OfferedPart) {
        if part.unsent.enter().is_some() {
            self.same.fetch_add(1, Ordering::Relaxed);
        }
    }
}
