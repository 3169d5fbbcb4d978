//! The protocol between a Sender and a Receiver, and a helper's answers to a question: messages, frames, compression,
//! and every limit on what a peer may send.
//!
//! A helper's stream begins with the line [`GREETING`], which has the version of all that follows: [`PROTOCOL_VERSION`]. From
//! there on a stream is a sequence of frames; a frame is an eight-byte header and a payload, compressed on its own, so
//! that both ends can work on several at once; a payload is a sequence of messages in postcard's encoding. A
//! frame of class [`Class::Control`] must be decoded in the order it came; one of class [`Class::Data`] may be
//! decoded by anyone at any time.
//!
//! ```
//! use coast_wire::{Class, FrameReader, Pack, ToSender, messages};
//!
//! let mut pack = Pack::new(Class::Control);
//! pack.push(&ToSender::Settled { part: 7 })?;
//! let bytes = pack.seal(None)?;
//!
//! let mut reader = FrameReader::new(&bytes[..]);
//! let frame = reader.next_frame()?.expect("one frame was written");
//! let payload = frame.decode()?;
//! let all: Result<Vec<ToSender<'_>>, _> = messages(&payload).collect();
//! assert_eq!(all?, [ToSender::Settled { part: 7 }]);
//! assert!(reader.next_frame()?.is_none());
//! # Ok::<(), coast_wire::WireError>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod compress;
mod failure;
mod fetch;
mod frame;
mod greeting;
mod level;
pub mod limits;
mod message;
mod options;
mod pack;
mod stripes;
mod text;

pub use answer::{
    Answer, Leftover, Probe, Removal, Restoration, SurveyTotals, Surveyed, TrashTotals, Trashed,
};
pub use compress::Compressor;
pub use failure::FailureKind;
pub use fetch::Fetched;
pub use frame::{Class, Frame, FrameReader, Messages, end_of_run, messages};
pub use greeting::{GREETING, GREETING_PREFIX, PROTOCOL_VERSION};
pub use level::LevelControl;
pub use message::{
    Change, ConflictKind, Entry, EntryKind, Event, FileId, Gone, HashBytes, Need, Origin, OwnerName, Part,
    PartDigest, Piece, ProblemKind, Range, Ready, ReceiverStats, SenderStats, Time, TimeChange, ToReceiver,
    ToSender, Update, Want, What,
};
pub use options::{
    Delete, Extent, FileContents, Follow, Itemize, MASS_DELETION, Options, Own, Ownership, Renamed,
};
pub use pack::{Pack, WholeError};
pub use stripes::{OutgoingStream, StreamSet, Streams, StripedReader, StripedWriter};
pub use text::bounded_text;

/// The commands of a helper that are about one workspace and have no words after `--root PATH`. Who may run the helper as root for
/// workspaces needs all of them: with some of them, root and the user who logs in would write to one workspace in turn.
pub const WORKSPACE_COMMANDS: [&str; 6] = ["receive", "follow", "probe", "remove", "trash", "survey"];

/// The fault in a stream of frames.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The stream ended within a frame.
    #[error("the connection ended in the middle of a message")]
    Truncated,
    /// A frame's header holds a value that no frame may have.
    #[error("the other side sent a frame with a bad header (byte {byte:#04x})")]
    Header {
        /// The header's first byte.
        byte: u8,
    },
    /// A frame is larger than allowed.
    #[error("the other side sent a frame of {bytes} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Its claimed size in bytes.
        bytes: usize,
        /// The limit it exceeds.
        limit: usize,
    },
    /// A frame's content cannot be decompressed to the size its header says.
    #[error("the other side sent a frame that cannot be decompressed: {0}")]
    Compression(String),
    /// A message cannot be decoded.
    #[error("the other side sent a message that cannot be decoded: {0}")]
    Message(postcard::Error),
    /// A message cannot be encoded.
    #[error("a message cannot be encoded: {0}")]
    Encode(postcard::Error),
}
