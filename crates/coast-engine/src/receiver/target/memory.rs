//! The content cache: what the destination's files were known to hold, and what this run learns of them.
//!
//! A hash is remembered together with an identity (size, times, inode) that tells this state of the file apart from every later
//! one. If the identity cannot tell that, the hash is remembered without it: it is still the content that was put there last.

use std::io;
use std::sync::Arc;

use coast_tree::state::{CACHE, NEW_CACHE, StateDirectory, name};
use coast_tree::{CacheWriter, ContentHash, FileIdentity, Name, Record, RelPath, Stat, Timestamp};

use super::known::Known;
use crate::cache::{Cache, Remember};

/// The hashes of the destination's files.
pub(super) struct Memory {
    cache: Cache,
    known: Arc<Known>,
}

impl Memory {
    /// Begins with the cache of earlier runs.
    pub(super) fn open(state: &StateDirectory, known: Arc<Known>, remember: Remember) -> Self {
        let cache = match state.is_private() {
            true => Cache::open_in(&state.dir, known.cache.clone(), &name(CACHE), &name(NEW_CACHE), remember),
            false => Cache::none(),
        };
        Self { cache, known }
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

    /// Calls `write` with the new cache, if there is one.
    pub(super) fn with_writer<T>(&self, write: impl FnOnce(Option<&CacheWriter>) -> T) -> T {
        self.cache.with_writer(write)
    }

    /// Puts the new cache in the place of the old one. Answers whether the new one is in place.
    pub(super) fn save(&self) -> bool {
        self.cache.save()
    }

    /// A record of a file. Its identity is in it if that will tell this state apart from later ones.
    pub(super) fn record_of(
        &self,
        name: &Name,
        hash: ContentHash,
        stat: &Stat,
        observed_at: Option<Timestamp>,
    ) -> Record {
        let identity = FileIdentity::from(stat);
        let settled =
            self.known.clock_step.zip(observed_at).is_some_and(|(step, at)| step.settled(&identity, at));
        let stat = if settled { identity } else { FileIdentity::unsettled(stat.size) };
        Record { name: name.clone(), stat, hash }
    }

    /// A record of a file to which the run itself gave a new ctime. `before` is from when the content was known: if size and
    /// mtime are still those, nobody else has written to the file since. `stat` reads the present status; it is called after the
    /// time was noted, as [`ClockStep::settled`](coast_tree::ClockStep::settled) requires.
    pub(super) fn record_of_changed(
        &self,
        name: &Name,
        hash: ContentHash,
        before: &Stat,
        stat: impl FnOnce() -> io::Result<Option<Stat>>,
    ) -> Record {
        let observed_at = Timestamp::now();
        let same_content = |stat: &Stat| (stat.ino, stat.size, stat.mtime);
        match stat() {
            Ok(Some(after)) if same_content(before) == same_content(&after) => {
                self.record_of(name, hash, &after, Some(observed_at))
            }
            _ => Record { name: name.clone(), stat: FileIdentity::unsettled(before.size), hash },
        }
    }
}
