//! Work that waits for a worker.

use std::sync::Arc;

use coast_tree::ContentHash;

use super::announced::AnnouncedPart;
use super::part::{Part, PartEntry};
use super::parts::Arrived;

/// Work beside applying content.
pub(super) enum Work {
    /// Examine a directory.
    Examine(Arc<Part>),
    /// Compare a directory with the digest of a part.
    CompareDigest(AnnouncedPart),
    /// Compare a file with the sender's hash.
    Compare(PartEntry, ContentHash),
    /// Make a signature of a file's basis.
    Sign {
        file: PartEntry,
        /// Bytes of the signature window that it has been given.
        granted: usize,
    },
}

impl From<Arrived> for Work {
    fn from(arrived: Arrived) -> Self {
        match arrived {
            Arrived::Whole(part) => Self::Examine(part),
            Arrived::Digest(part) => Self::CompareDigest(part),
        }
    }
}
