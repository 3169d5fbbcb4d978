//! Work that waits for a worker.

use std::sync::Arc;

use coast_tree::ContentHash;

use super::part::{Part, PartEntry};

/// Work beside applying content.
pub(super) enum Work {
    /// Examine a directory.
    Examine(Arc<Part>),
    /// Compare a file with the sender's hash.
    Compare(PartEntry, ContentHash),
    /// Make a signature of a file's basis.
    Sign {
        file: PartEntry,
        /// Bytes of the signature window that it has been given.
        granted: usize,
    },
}
