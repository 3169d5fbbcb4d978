//! The files that a batch left for another one, because they are large.

use coast_tree::RelPath;

/// Files that are larger than [`FileContents::DeferAbove`](crate::FileContents::DeferAbove) has it, and were left as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deferred {
    /// How many there were.
    pub count: u64,
    /// The first of them, at most [`Deferred::MAX_FIRST`], in the order in which they were told.
    pub first: Vec<RelPath>,
}

impl Deferred {
    /// How many files [`Deferred::first`] holds at most.
    pub const MAX_FIRST: usize = 1000;

    /// Whether there are files beyond [`Deferred::first`].
    pub fn has_more(&self) -> bool {
        self.count > self.first.len() as u64
    }

    pub(crate) fn add(&mut self, path: &[u8]) {
        // No run can be asked for a path that is not valid.
        let Ok(path) = RelPath::new(path) else { return };
        self.count += 1;
        if self.first.len() < Self::MAX_FIRST {
            self.first.push(path);
        }
    }
}
