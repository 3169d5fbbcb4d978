//! The entries that a run left as they are because something else than a run made or changed them.

use coast_wire::ConflictKind;

/// Entries of the destination in conflict with the source. They stay as they are until both sides are equal, or until someone
/// decides which side to take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflicts {
    /// How many there were.
    pub count: u64,
    /// The first of them, at most [`Conflicts::MAX_FIRST`], in the order in which they were told.
    pub first: Vec<Conflict>,
}

/// One entry in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The path, relative to the transfer root.
    pub path: Vec<u8>,
    /// Why it is left as it is.
    pub kind: ConflictKind,
}

impl Conflicts {
    /// How many entries [`Conflicts::first`] holds at most.
    pub const MAX_FIRST: usize = 1000;

    pub(crate) fn add(&mut self, path: &[u8], kind: ConflictKind) {
        self.count += 1;
        if self.first.len() < Self::MAX_FIRST {
            self.first.push(Conflict { path: path.to_vec(), kind });
        }
    }
}
