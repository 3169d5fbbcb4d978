//! An extraneous entry, as it was when its directory was examined.

use coast_tree::{Kind, RelPath, Stat};
use coast_wire::Origin;
use serde::{Deserialize, Serialize};

use crate::receiver::spill::StoredPath;

/// An entry to be deleted. A directory comes after all that is in it.
#[derive(Serialize, Deserialize)]
pub(super) struct Extraneous {
    pub(super) path: StoredPath,
    pub(super) directory: bool,
    /// The directory is not deleted, because an entry in it stays. It is listed because rsync counts it as skipped once
    /// `--max-delete` is reached.
    pub(super) only_counted: bool,
    /// The directory could not be read. That is told when the rules let it be deleted.
    pub(super) unreadable: bool,
    pub(super) seen: EntryIdentity,
    pub(super) origin: Origin,
    pub(super) top: ExtraneousRoot,
}

/// The topmost extraneous entry above (or at) an entry.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct ExtraneousRoot {
    /// How many directories above it stay.
    pub(super) depth: usize,
    /// Whether it makes way for an entry of another kind: then it is not asked for protection, and not counted for
    /// `--max-delete`.
    pub(super) makes_way: bool,
}

/// The identity of an entry, which tells it apart from one that took its name later: inode numbers are given out again, but not with
/// the size and the time of the last change of content. The ctime is no part of it: deleting one of a file's names changes the ctime of
/// its other names.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct EntryIdentity {
    ino: u64,
    /// The size in bytes, and the time in seconds and nanoseconds; none for a directory, which changes with each deletion in it.
    content: Option<(u64, i64, u32)>,
}

/// Whether an extraneous entry goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Deleted,
    /// A directory that cannot be read. Its removal is tried, which only succeeds if it is empty.
    Unreadable,
    Kept,
    /// It appeared or was changed during the run, and stays.
    Appeared,
}

impl Extraneous {
    pub(super) fn new(path: &RelPath, stat: &Stat, origin: Origin, top: ExtraneousRoot) -> Self {
        let directory = stat.kind == Kind::Directory;
        Self {
            path: StoredPath::from(path),
            directory,
            only_counted: false,
            unreadable: false,
            seen: EntryIdentity::from(stat),
            origin,
            top,
        }
    }

    /// Whether its deletion counts for `--max-delete`. `path` is its path.
    pub(super) fn counts(&self, path: &RelPath) -> bool {
        !(self.top.makes_way && path.depth() == self.top.depth + 1)
    }
}

impl EntryIdentity {
    pub(super) fn from(stat: &Stat) -> Self {
        let content = || (stat.size, stat.mtime.secs(), stat.mtime.nanos());
        Self { ino: stat.ino, content: (stat.kind != Kind::Directory).then(content) }
    }
}
