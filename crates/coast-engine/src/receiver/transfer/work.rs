//! Work that waits for a worker.

use std::sync::Arc;

use coast_tree::ContentHash;

use super::part::Part;

/// Work beside applying content.
pub(super) enum Work {
    /// Examine a directory.
    Examine(Arc<Part>),
    /// Compare a file with the sender's hash.
    Compare(Arc<Part>, u32, ContentHash),
    /// Make a signature of a file's basis.
    Sign {
        part: Arc<Part>,
        index: u32,
        /// Bytes of the signature window that it has been given.
        granted: usize,
    },
}
