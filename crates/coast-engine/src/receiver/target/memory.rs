//! The content cache: what the destination's files were known to hold, and what this run learns of them.
//!
//! A hash is remembered only together with an identity (size, times, inode) that tells this state of the file apart from
//! every later one.

use std::io;

use coast_tree::state::{CACHE, CLOCK, NEW_CACHE, StateDirectory, name};
use coast_tree::{
    ClockStep, ContentHash, DirHandle, DirRecords, FileIdentity, Name, Record, RelPath, Stat, Timestamp,
};

use crate::cache::{Cache, Remember};

/// The hashes of the destination's files.
pub(super) struct Memory {
    cache: Cache,
    /// None where the clock of the file system could not be measured: then nothing is remembered.
    clock_step: Option<ClockStep>,
}

impl Memory {
    /// Opens the cache of earlier runs. `on_target` is a private directory on the workspace's file system.
    pub(super) fn open(state: &StateDirectory, on_target: &DirHandle, remember: Remember) -> Self {
        let cache = match state.is_private() {
            true => Cache::open_in(&state.dir, &name(CACHE), &name(NEW_CACHE), remember),
            false => Cache::none(),
        };
        Self { cache, clock_step: ClockStep::measure(on_target, &name(CLOCK)).ok() }
    }

    /// The records that earlier runs kept of a directory's files.
    pub(super) fn known_in(&self, directory: &RelPath) -> Option<DirRecords> {
        self.cache.directory(directory)
    }

    /// Whether earlier runs knew a file of this size.
    pub(super) fn has_size(&self, size: u64) -> bool {
        self.cache.has_size(size)
    }

    /// Where earlier runs saw this content.
    pub(super) fn find_content(&self, hash: &ContentHash) -> Vec<RelPath> {
        self.cache.find_content(hash)
    }

    /// Remembers files of a directory for the next run.
    pub(super) fn remember(&self, directory: &RelPath, records: Vec<Record>) {
        self.cache.append(directory, records);
    }

    /// Puts the new cache in the place of the old one.
    pub(super) fn save(&self) {
        self.cache.save();
    }

    /// A record of a file, if its identity will tell this state apart from later ones.
    pub(super) fn record_of(
        &self,
        name: &Name,
        hash: ContentHash,
        stat: &Stat,
        observed_at: Timestamp,
    ) -> Option<Record> {
        let identity = FileIdentity::from(stat);
        let settled = self.clock_step?.settled(&identity, observed_at);
        settled.then(|| Record { name: name.clone(), stat: identity, hash })
    }

    /// A record of a file to which the run itself gave a new ctime. `before` is from when the content was known: if size and
    /// mtime are still those, nobody else has written to the file since. `stat` reads the present status; it is called after the
    /// time was noted, as [`ClockStep::settled`] requires.
    pub(super) fn record_of_changed(
        &self,
        name: &Name,
        hash: ContentHash,
        before: &Stat,
        stat: impl FnOnce() -> io::Result<Option<Stat>>,
    ) -> Option<Record> {
        let observed_at = Timestamp::now();
        let after = stat().ok()??;
        let same_content = |stat: &Stat| (stat.ino, stat.size, stat.mtime);
        if same_content(before) == same_content(&after) {
            self.record_of(name, hash, &after, observed_at)
        } else {
            None
        }
    }
}
