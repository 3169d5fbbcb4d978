//! Whether parts are sent as digests: worth it where most of them are as the destination has them.

use std::sync::atomic::{AtomicUsize, Ordering};

use coast_tree::LockExt;
use coast_wire::{Entry, Options};

use super::offer::OfferedPart;
use crate::digest::EntryDigester;

/// Once the parts that differ outnumber the parts that do not by more than this, no digest is sent.
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

    /// Notes that a part has to be sent, because its digest did not suffice.
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

#[cfg(test)]
mod tests {
    use coast_wire::What;

    use super::*;

    #[test]
    fn digests_end_where_most_parts_differ() {
        let digests = Digests::new(&Options { recursive: true, ..Options::default() });
        let entry = || [Entry { name: b"d", what: What::Directory, mode: 0, mtime: None, owner: None }];
        for _ in 0..=MAX_EXCESS {
            assert!(digests.digest(&entry()).is_some());
            digests.note_different();
        }
        assert!(digests.digest(&entry()).is_none());
    }
}
