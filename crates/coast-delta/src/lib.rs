//! Signature, delta and patch for one file of any size.
//!
//! The side that has an old version of a file (the *basis*) sends a [`Signature`] of it: two checksums per block. The
//! side that has the new version feeds it to a [`Differ`], window by window, and gets a *delta*: the parts of the new
//! file that are not in the basis, and references to the parts that are. [`patch`] puts the new file together from the
//! basis and the delta. All three stream; none holds a file in memory.
//!
//! ```
//! use coast_delta::{Differ, Signature, patch};
//!
//! let basis: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
//! let mut new = b"an insertion at the front".to_vec();
//! new.extend_from_slice(&basis);
//!
//! // Receiver: describe the basis.
//! let signature = Signature::of(&mut basis.as_slice(), basis.len() as u64)?;
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
//! cryptographic hash of the whole result. What bytes from a peer cannot do is cause a panic, make [`patch`] write more
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
//! `fast_rsync` computes all checksums (MD4 of eight blocks at a time where the processor can). Its `diff` is not used:
//! it wants the whole file in one slice, hashes blocks one at a time, forgets at each call which checksums it had given
//! up on (measured: a forged signature slows each call by 1024 block hashes), and holds an index that borrows the
//! signature. [`Differ`] keeps its format and replaces its search.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod block;
mod command;
mod differ;
mod index;
mod patch;
mod read_at;
mod signature;
mod weak;

pub use block::{MAX_BLOCK_BYTES, MIN_BASIS, MIN_BLOCK_BYTES, block_size};
pub use differ::{DiffError, DiffStats, Differ};
pub use patch::{PatchError, PatchStats, Patcher, patch};
pub use read_at::ReadAt;
pub use signature::{MAX_SIGNATURE_BYTES, Signature, SignatureError};
