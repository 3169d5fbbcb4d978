//! The content cache: what the destination's files were known to hold, and what this run learns of them.
//!
//! A hash is remembered only together with an identity (size, times, inode) that tells this state of the file apart from
//! every later one.

use std::io;

use coast_tree::{
    ContentHash, DirHandle, DirRecords, FileIdentity, Name, Record, RelPath, Stat, Timestamp, hash_file,
};

use super::Target;
use super::directory::DestinationEntry;
use super::fix::Fixed;
use crate::receiver::failure::Failure;

/// Whether a file that was looked at twice was not written to between; its attributes may have changed.
pub(super) fn is_same_content(before: &Stat, after: &Stat) -> bool {
    (before.ino, before.size, before.mtime) == (after.ino, after.size, after.mtime)
}

impl Target<'_> {
    /// The records that earlier runs kept of a directory's files.
    pub(crate) fn known_in(&self, directory: &RelPath) -> Option<DirRecords> {
        self.live().and_then(|live| live.cache.directory(directory))
    }

    /// Whether earlier runs knew a file of this size, which may have moved.
    pub(crate) fn may_have_content_of(&self, size: u64) -> bool {
        self.live().is_some_and(|live| live.cache.has_size(size))
    }

    /// Remembers files of a directory for the next run.
    pub(crate) fn remember(&self, directory: &RelPath, records: Vec<Record>) {
        if let Some(live) = self.live() {
            live.cache.append(directory, records);
        }
    }

    /// Puts the new cache in the place of the old one.
    pub(crate) fn save_cache(&self) {
        if let Some(live) = self.live() {
            live.cache.save();
        }
    }

    /// The hash of a file that exists; none when it changed meanwhile.
    pub(crate) fn hash_existing(
        &self,
        entry: &DestinationEntry<'_>,
        dir: &DirHandle,
        stat: &Stat,
    ) -> io::Result<Option<ContentHash>> {
        let (mut file, opened) = dir.open_file(&entry.offered.name)?;
        let (hash, _) = hash_file(&mut file, &mut Vec::new())?;
        let unchanged = FileIdentity::from(&opened) == FileIdentity::from(stat)
            && FileIdentity::from(&coast_tree::file_stat(&file)?) == FileIdentity::from(stat);
        Ok(unchanged.then_some(hash))
    }

    /// Gives a file of the right content its attributes. Answers what the cache has to remember.
    pub(crate) fn keep_content(
        &self,
        entry: &DestinationEntry<'_>,
        existing: &Stat,
        hash: Option<ContentHash>,
    ) -> Result<Option<Record>, Failure> {
        let desired = self.attributes.desired(entry.offered, Some(existing), None);
        let fixed = self.fix(entry, existing, &desired)?;
        let (Some(hash), Some(dir)) = (hash, entry.directory.handle()) else { return Ok(None) };
        let name = &entry.offered.name;
        Ok(match fixed {
            Fixed::Nothing => self.record_of(name, hash, existing, entry.observed_at),
            // The new attributes made it another identity.
            Fixed::Something => self.record_of_changed(name, hash, existing, || dir.stat(name)),
        })
    }

    /// A record of a file, if its identity will tell this state apart from later ones.
    fn record_of(
        &self,
        name: &Name,
        hash: ContentHash,
        stat: &Stat,
        observed_at: Timestamp,
    ) -> Option<Record> {
        let identity = FileIdentity::from(stat);
        let step = self.live()?.clock_step?;
        step.settled(&identity, observed_at).then(|| Record { name: name.clone(), stat: identity, hash })
    }

    /// A record of a file to which the run itself gave a new ctime. `before` is from when the content was known: if size and
    /// mtime are still those, nobody else has written to the file since.
    pub(super) fn record_of_changed(
        &self,
        name: &Name,
        hash: ContentHash,
        before: &Stat,
        stat: impl FnOnce() -> io::Result<Option<Stat>>,
    ) -> Option<Record> {
        let observed_at = Timestamp::now();
        let after = stat().ok()??;
        if is_same_content(before, &after) { self.record_of(name, hash, &after, observed_at) } else { None }
    }
}
