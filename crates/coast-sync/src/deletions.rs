//! The entries that a run deleted, as far as a user wants to hear of them.

use coast_wire::Origin;

/// The deleted entries of a run, the first of them with their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deletions {
    /// Entries that no run had put there.
    pub made_there: DeletedEntries,
    /// Entries that were put there earlier, and that may have been changed since.
    pub changed: DeletedEntries,
    /// Entries that an earlier run had put there.
    pub placed: DeletedEntries,
    /// Files that were replaced, and that no run had put there as they were. As they were, they are in the trash, or would be.
    pub replaced: DeletedEntries,
    /// Whether entries of the first two kinds are in the trash, or would be.
    pub to_trash: bool,
}

/// A number of deleted entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedEntries {
    /// How many there are.
    pub count: u64,
    /// The paths of the first of them, at most [`Deletions::MAX_FIRST`]. Those of directories end in a slash.
    pub first: Vec<Vec<u8>>,
}

impl DeletedEntries {
    /// Adds an entry.
    pub(crate) fn add(&mut self, path: &[u8], directory: bool) {
        self.count += 1;
        if self.first.len() < Deletions::MAX_FIRST {
            let slash: &[u8] = if directory { b"/" } else { b"" };
            self.first.push([path, slash].concat());
        }
    }

    /// Adds other entries.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        let free = Deletions::MAX_FIRST.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(free));
    }
}

impl Deletions {
    /// The number of paths that are kept of each kind.
    pub const MAX_FIRST: usize = 20;

    /// Whether nothing was deleted or replaced.
    pub fn is_empty(&self) -> bool {
        self.made_there.count + self.changed.count + self.placed.count + self.replaced.count == 0
    }

    /// Adds an entry.
    pub(crate) fn add(&mut self, path: &[u8], directory: bool, origin: Origin) {
        let entries = match origin {
            Origin::Run => &mut self.placed,
            Origin::Changed => &mut self.changed,
            Origin::Destination => &mut self.made_there,
        };
        entries.add(path, directory);
    }
}
