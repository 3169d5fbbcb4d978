//! The content cache: which content a file had when it was last read, by what the system tells of it without reading.
//! Derived data, kept in one file: whatever is wrong with that file, the answer is "not known", never a wrong hash.

mod block;
mod clock;
mod footer;
mod hash;
mod lookup;
mod reader;
mod record;
mod writer;

pub(crate) use footer::path_hash;

pub use clock::ClockStep;
pub use hash::{ContentHash, ContentHasher, hash_file};
pub use reader::{CacheError, CacheReader, DirRecords};
pub use record::{FileIdentity, Record};
pub use writer::{CacheStats, CacheWriter};
