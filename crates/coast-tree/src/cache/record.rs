//! The cache's record of one file: its name, the state of it that was hashed, and the hash.

use super::ContentHash;
use crate::{Name, Stat, Timestamp};

/// The part of a file's status that cannot stay the same when its content changes, but for the limits that
/// [`ClockStep`](crate::ClockStep) explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    pub ino: u64,
    pub size: u64,
    /// When the content last changed, or what someone set it to.
    pub mtime: Timestamp,
    /// When anything about the file last changed. Nobody can set it.
    pub ctime: Timestamp,
}

impl FileIdentity {
    /// The identity of no file: it goes with a content that was put at a path and that no identity stands for.
    pub const fn unsettled(size: u64) -> Self {
        let never = Timestamp::new(i64::MIN, 0);
        Self { ino: 0, size, mtime: never, ctime: never }
    }
}

impl From<&Stat> for FileIdentity {
    fn from(stat: &Stat) -> Self {
        Self { ino: stat.ino, size: stat.size, mtime: stat.mtime, ctime: stat.ctime }
    }
}

/// One file of a directory, as the cache remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The file's name in its directory.
    pub name: Name,
    /// The file's identity when its content was read.
    pub stat: FileIdentity,
    /// The hash of that content.
    pub hash: ContentHash,
}
