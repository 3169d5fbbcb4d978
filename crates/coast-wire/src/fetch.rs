//! The answer to a sender that asks for one entry of the destination, between two runs of a stream.

use serde::{Deserialize, Serialize};

use crate::HashBytes;

/// A piece of the answer to [`ToReceiver::Fetch`](crate::ToReceiver::Fetch). A file is announced, and then its content follows in
/// pieces up to the end. A symlink is all in one message.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Fetched<'a> {
    /// A regular file.
    File {
        /// Bytes of its content.
        size: u64,
        /// Permission bits, set-id and sticky bits, within `0o7777`.
        mode: u16,
    },
    /// A symlink, with its target: of at most [`MAX_TARGET_BYTES`](crate::limits::MAX_TARGET_BYTES).
    Symlink(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    /// Content that follows: at most [`CHUNK_BYTES`](crate::limits::CHUNK_BYTES), and at least one byte.
    Content(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    /// The end of the content, with the hash of all of it.
    End { hash: HashBytes },
}
