//! Signature, delta and patch for one file of any size.
//!
//! The side that has an old version of a file (the *basis*) sends a [`Signature`] of it: two checksums per block. The
//! side that has the new version feeds it to a [`Differ`], window by window, and gets a *delta*: the parts of the new
//! file that are not in the basis, and references to the parts that are. [`patch()`] puts the new file together from the
//! basis and the delta. All three stream; none holds a file in memory.
//!
//! ```
//! use std::num::NonZeroUsize;
//! use coast_delta::{Differ, Signature, patch};
//!
//! let basis: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
//! let mut new = b"an insertion at the front".to_vec();
//! new.extend_from_slice(&basis);
//!
//! // Receiver: describe the basis.
//! let signature = Signature::of(basis.as_slice(), basis.len() as u64, NonZeroUsize::MIN)?;
//!
//! // Sender: check the bytes that came in, then describe the new file in terms of the basis.
//! let signature = Signature::from_bytes(signature.as_bytes().to_vec())?;
//! let mut differ = Differ::new(&signature);
//! let mut delta = Vec::new();
//! for window in new.chunks(1 << 16) {
//!     differ.push(window, &mut delta)?;
//! }
//! differ.finish(&mut delta)?;
//! assert!(delta.len() < 1000);
//!
//! // Receiver: build the new file.
//! let mut rebuilt = Vec::new();
//! patch(&delta, basis.as_slice(), basis.len() as u64, new.len() as u64, &mut rebuilt)?;
//! assert_eq!(rebuilt, new);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is not promised
//! Blocks are recognised by 12 bytes of checksum, 8 of them MD4, which is broken. A basis made for the purpose, a basis
//! that changed since its signature was taken, or a peer that lies, lead to a *wrong file*; the caller has to compare a
//! cryptographic hash of the whole result. What bytes from a peer cannot do is cause a panic, make [`patch()`] write more
//! than it was allowed to, or make memory or time grow beyond a fixed multiple of the file being read.
//!
//! # Formats
//! A signature is librsync's (`rdiff signature --rollsum=rollsum --hash=md4`): all numbers big-endian, magic
//! `0x72730136`, block size (`u32`), length of a strong checksum (`u32`, here always 8), then per block the weak checksum
//! (`u32`) and the first 8 bytes of its MD4.
//!
//! A delta is a sequence of librsync's *literal* and *copy* commands, without its magic in front and its end command
//! behind: whatever carries the pieces already says what they are and how long. Any split between two commands gives
//! two valid pieces, so each [`Differ::push`] yields a piece that can be sent and applied at once. Keeping librsync's
//! commands costs a few bytes per copy over a format made for this crate, all but lost after compression; in return
//! there are independent implementations to test against.
//!
//! # What comes from `fast_rsync`, and what does not
//! `fast_rsync` computes all checksums, the MD4 of eight blocks at a time where the processor can. Its `diff` is not used:
//! it wants the whole file in one slice and an index that borrows the signature, and it hashes blocks one at a time.
//! [`Differ`] keeps its formats and replaces its search. Measured on a 256 MiB file in windows of 4 MiB, against one
//! call of `fast_rsync::diff` for the whole file, in MB/s of one core with AVX2:
//!
//! | new file | [`Differ`] | `fast_rsync::diff` |
//! |---|---|---|
//! | unchanged | 3000 | 1030 |
//! | insertion at the front, 200 scattered edits | 2800 | 930 |
//! | every second block edited | 1850 | 210 |
//! | unrelated | 460 | 115 |
//! | zeros, against a forged signature of blocks of 64 KiB (1 MiB) | 120 (105) | 50 (4), per window |
//!
//! The last line is why the search bounds what it hashes in vain: `fast_rsync` gives up on a checksum after 1024 blocks, and
//! forgets that with every call.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod block;
mod command;
mod differ;
mod index;
mod layout;
mod patch;
mod read_at;
mod signature;
mod weak;

pub use block::{MAX_BLOCK_BYTES, MIN_BASIS, MIN_BLOCK_BYTES, block_size};
pub use command::{CommandError, CommandKind};
pub use differ::{DiffError, DiffStats, Differ};
pub use layout::MAX_SIGNATURE_BYTES;
pub use patch::{PatchError, PatchStats, Patcher, patch};
pub use read_at::ReadAt;
pub use signature::{Signature, SignatureError};
