//! Confined directory handles, a parallel tree walk and the content cache.
//!
//! - [`Name`] and [`RelPath`] are paths that cannot leave a tree; [`Root`] and [`DirHandle`] are the only way to it.
//!   Nothing here ever follows a symlink below a root.
//! - [`walk`] visits every directory of a tree, on several threads, parents before children.
//! - [`CacheWriter`] and [`CacheReader`] remember the [`ContentHash`] of files whose [`FileIdentity`] has not changed;
//!   [`ClockStep`] tells when an identity can be relied on.
//!
//! ```
//! use std::io;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use coast_tree::{DirHandle, Kind, Listed, Name, RelPath, Root, Visit, walk};
//!
//! #[derive(Default)]
//! struct Bytes(AtomicU64);
//!
//! impl Visit for Bytes {
//!     type Context = ();
//!     fn directory(&self, _: &RelPath, dir: &DirHandle, _: (), listed: Vec<Listed>) -> Vec<(Name, ())> {
//!         for entry in &listed {
//!             if let Ok(Some(stat)) = dir.stat(&entry.name) && stat.kind == Kind::File {
//!                 self.0.fetch_add(stat.size, Ordering::Relaxed);
//!             }
//!         }
//!         listed.into_iter().filter(|entry| entry.kind == Kind::Directory).map(|entry| (entry.name, ())).collect()
//!     }
//!     fn failed(&self, path: &RelPath, _: (), error: io::Error) {
//!         panic!("{path}: {error}");
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let scratch = tempfile::tempdir()?;
//! let root = Root::open(scratch.path())?;
//! root.handle().mkdir(&Name::new(b"sub")?, 0o755)?;
//! let sub = root.dir(&RelPath::new(b"sub")?)?;
//! io::Write::write_all(&mut sub.create_file(&Name::new(b"file")?, 0o644)?, b"hello")?;
//!
//! let bytes = Bytes::default();
//! walk(&root, 2, &bytes, ());
//! assert_eq!(bytes.0.into_inner(), 5);
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod acl;
mod cache;
mod contents;
mod dir;
mod eraser;
mod file_flags;
mod flock;
mod homes;
mod journal;
mod kind;
mod ledger;
mod limits;
mod listing;
mod lock;
#[cfg(target_os = "linux")]
mod mode;
mod mount;
mod path;
pub mod regular_file;
mod root;
#[cfg(test)]
mod scratch;
mod space;
mod sparse;
mod stat;
pub mod state;
mod trusted_path;
mod walk;

pub use accounts::{OwnerNames, User, parse_users, users};
pub use acl::Acl;
pub use cache::{
    CacheError, CacheReader, CacheStats, CacheWriter, ClockStep, ContentHash, ContentHasher, DirRecords,
    FileIdentity, Record, hash_file,
};
pub use contents::clone_contents;
pub use dir::{DirHandle, Replace};
pub use eraser::{EraseError, Erased, Eraser, Stays, remove_entry};
pub use file_flags::InheritedFlags;
pub use flock::{Attempt, LockWait, Patience, WaitEnded, try_flock};
pub use homes::Homes;
pub use journal::{Journal, JournalEntry, JournaledDirectory, Placements};
pub use kind::Kind;
pub use ledger::{LedgerReader, LedgerWriter};
pub use limits::raise_descriptor_limit;
pub use listing::Listed;
pub use lock::{LockExt, LockResultExt};
pub use mount::MountId;
pub use path::{BadPath, MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, Name, RelPath};
pub use root::Root;
pub use space::Space;
pub use sparse::{Segment, SparseWriter, Zeros, segment_at};
pub use stat::{Stat, Timestamp, file_stat};
pub use trusted_path::{PathEnd, PathError, ResolvedParent, TrustedPath, open_trusted_file};
pub use walk::{Visit, walk, walk_from};
