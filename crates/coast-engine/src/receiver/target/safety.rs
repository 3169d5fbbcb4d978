//! The rule of a run that is safe in one direction: what something else than a run has made or changed at the destination stays.
//!
//! Invariant: an entry counts as one of ours, and may be replaced or deleted, only if
//! - it is a file with an identity that a run remembered, *settled*, with the content that it put there or found right; or
//! - its content is the content that a run has put at this very path last. So a new owner, mode or time is no conflict, and neither
//!   is a file whose identity could not be remembered because its stamps were too young; or
//! - it is a directory that a run has made. It is deleted only when it is empty.
//!
//! That is looked at when the entry is examined. Just before it is replaced or deleted, its identity must still be the one of then.

use std::io;

use coast_tree::{ContentHash, DirHandle, FileIdentity, Kind, Name, Record, RelPath, Replace, Stat};
use coast_wire::{ConflictKind, Options, Origin};

use super::Target;
use super::directory::DestinationEntry;
use super::ledger::Origins;
use super::reading::hash_of_size;
use crate::error::EngineError;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::offered::{Offered, OfferedEntry};
use crate::receiver::spill::path_in;

/// Which entries of the destination a run guards.
#[derive(Clone, Default)]
pub(super) struct Safety {
    /// Paths at and below which the source wins. None if the source wins everywhere.
    exceptions: Option<Vec<RelPath>>,
}

impl Safety {
    pub(super) fn of(options: &Options) -> Result<Self, EngineError> {
        let Some(follow) = &options.follow else { return Ok(Self::default()) };
        let paths = follow.take_source.iter().map(|path| RelPath::new(path));
        let exceptions = paths.collect::<Result<_, _>>();
        let exceptions =
            exceptions.map_err(|_| EngineError::Protocol("it sent a path that no file can have"))?;
        Ok(Self { exceptions: Some(exceptions) })
    }

    /// Whether an entry is left as it is unless a run has put it there.
    pub(super) fn guards(&self, directory: &RelPath, name: &Name) -> bool {
        let Some(exceptions) = &self.exceptions else { return false };
        exceptions.is_empty() || {
            // A path that is too long is no path of an entry.
            RelPath::new(&path_in(directory, name))
                .map_or(true, |path| !exceptions.iter().any(|exception| path.starts_with(exception)))
        }
    }

    /// How an entry may be moved to a place that held `examined` before.
    pub(super) fn check_place(
        &self,
        directory: &RelPath,
        dir: &DirHandle,
        name: &Name,
        examined: Option<&Stat>,
    ) -> Result<Replace, Failure> {
        if !self.guards(directory, name) {
            return Ok(Replace::Any);
        }
        let now = dir.stat(name).doing("cannot read its attributes")?;
        match (examined.filter(|examined| examined.kind != Kind::Directory), now) {
            (_, None) => Ok(Replace::Never),
            (Some(examined), Some(now)) if is_same(examined, &now) => Ok(Replace::Any),
            (Some(_), Some(_)) => Err(Failure::Conflict(ConflictKind::Changed)),
            (None, Some(_)) => Err(Failure::Conflict(ConflictKind::Made)),
        }
    }
}

/// What a run has put at a place.
pub(crate) enum Placed {
    /// A directory of this name.
    Directory(Name),
    /// A file, or an entry that a record stands for.
    Content(Record),
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    one.kind == other.kind && FileIdentity::from(one) == FileIdentity::from(other)
}

/// The hash that stands for the content of an entry that is no regular file and no directory: its kind, with a symlink's target or a
/// device's number.
pub(super) fn stand_in(kind: Kind, content: &[u8]) -> ContentHash {
    let kind = format!("coast {kind}\0");
    ContentHash::of(&[kind.as_bytes(), content].concat())
}

/// The record of an entry that is no regular file and no directory.
pub(crate) fn stand_in_record(offered: &OfferedEntry) -> Option<Record> {
    let hash = match &offered.what {
        Offered::File { .. } | Offered::Directory => return None,
        Offered::Symlink(link_target) => stand_in(Kind::Symlink, link_target),
        Offered::Special(kind, rdev) => stand_in(*kind, &rdev.to_le_bytes()),
    };
    Some(record_of_stand_in(&offered.name, hash))
}

/// [`stand_in_record`] of an entry for which `hash` stands.
pub(super) fn record_of_stand_in(name: &Name, hash: ContentHash) -> Record {
    // It is read each time, so no identity is needed. It has no size that a file could have.
    Record { name: name.clone(), stat: FileIdentity::unsettled(u64::MAX), hash }
}

impl Target<'_> {
    /// Whether an entry is left as it is unless a run has put it there.
    pub(crate) fn guards(&self, directory: &RelPath, name: &Name) -> bool {
        self.live().is_some_and(|live| live.safety.guards(directory, name))
    }

    /// [`Target::guards`] for a whole path.
    pub(crate) fn guards_path(&self, path: &RelPath) -> bool {
        path.parent().zip(path.file_name()).is_some_and(|(parent, name)| self.guards(&parent, &name))
    }

    /// Fails if the entry that exists may not be replaced. `hash` is its content's, if that was read just now.
    pub(crate) fn check_may_replace(
        &self,
        entry: &DestinationEntry<'_>,
        origins: &Origins,
        hash: Option<ContentHash>,
    ) -> Result<(), Failure> {
        let name = &entry.offered.name;
        let (Some(existing), Some(dir)) = (entry.existing, entry.directory.handle()) else { return Ok(()) };
        if !self.guards(entry.directory.path(), name) {
            return Ok(());
        }
        let origin = self.origin_by_content(origins, dir, name, &existing, hash);
        match origin.doing("cannot read it to compare it")? {
            Origin::Run => Ok(()),
            Origin::Changed => Err(Failure::Conflict(ConflictKind::Changed)),
            Origin::Destination => Err(Failure::Conflict(ConflictKind::Made)),
        }
    }

    /// The origin of an entry that may be deleted. Its content is read if that has to tell.
    pub(crate) fn origin_to_delete(
        &self,
        origins: &Origins,
        directory: &RelPath,
        dir: &DirHandle,
        name: &Name,
        stat: &Stat,
    ) -> io::Result<Origin> {
        match origins.of(name, stat) {
            Origin::Changed if self.guards(directory, name) => {
                self.origin_by_content(origins, dir, name, stat, None)
            }
            origin => Ok(origin),
        }
    }

    /// What a run has put at a place, if the entry there still is that: a record of the content, or none for a directory. The content is
    /// read if the identity does not tell.
    ///
    /// # Errors
    /// When the entry cannot be read.
    pub(crate) fn still_placed(
        &self,
        origins: &Origins,
        dir: &DirHandle,
        name: &Name,
        stat: &Stat,
    ) -> io::Result<Option<Placed>> {
        if !origins.has(name) {
            return Ok(None);
        }
        let identity = FileIdentity::from(stat);
        let known = origins.content_of(name, &identity).filter(|_| stat.kind == Kind::File);
        if stat.kind == Kind::Directory {
            return Ok(Some(Placed::Directory(name.clone())));
        }
        if let Some(hash) = known {
            return Ok(Some(Placed::Content(Record { name: name.clone(), stat: identity, hash })));
        }
        let content = self.placed_content(origins, dir, name, stat)?;
        let size = if stat.kind == Kind::File { stat.size } else { u64::MAX };
        let record = |hash| Record { name: name.clone(), stat: FileIdentity::unsettled(size), hash };
        Ok(content.map(|hash| Placed::Content(record(hash))))
    }

    /// Remembers for the next run which contents earlier runs have put at these names of a directory. For entries of which this run
    /// learns nothing new.
    pub(crate) fn remember_contents<'n>(
        &self,
        directory: &RelPath,
        names: impl IntoIterator<Item = &'n Name>,
        origins: &Origins,
    ) {
        let Some(live) = self.live() else { return };
        // A part of the cache has each name once.
        let mut parts: Vec<Vec<Record>> = Vec::new();
        for name in names.into_iter().filter(|name| origins.has(name)) {
            for (number, hash) in origins.contents(name).into_iter().enumerate() {
                if number == parts.len() {
                    parts.push(Vec::new());
                }
                let stat = FileIdentity::unsettled(u64::MAX);
                parts[number].push(Record { name: name.clone(), stat, hash });
            }
        }
        parts.into_iter().for_each(|records| live.memory.remember(directory, records));
    }

    /// The origin of an entry, of which the content is compared with what runs have put there if its identity does not tell. `hash` is
    /// the content's, if it was read just now.
    fn origin_by_content(
        &self,
        origins: &Origins,
        dir: &DirHandle,
        name: &Name,
        stat: &Stat,
        hash: Option<ContentHash>,
    ) -> io::Result<Origin> {
        let origin = origins.of(name, stat);
        if origin == Origin::Run || stat.kind == Kind::Directory || origins.contents(name).is_empty() {
            return Ok(origin);
        }
        let is_ours = match hash {
            None => self.placed_content(origins, dir, name, stat)?.is_some(),
            Some(hash) => origins.contents(name).contains(&hash),
        };
        Ok(if is_ours { Origin::Run } else { Origin::Changed })
    }

    /// The content of an entry, if it is one that runs have put at this name last. A file of another size than those is not read.
    fn placed_content(
        &self,
        origins: &Origins,
        dir: &DirHandle,
        name: &Name,
        stat: &Stat,
    ) -> io::Result<Option<ContentHash>> {
        if stat.kind == Kind::File && !origins.may_have_size(name, stat.size) {
            return Ok(None);
        }
        let content = self.read_content(dir, name, stat)?;
        Ok(content.filter(|content| origins.contents(name).contains(content)))
    }

    /// The content of an entry as it was when it had the status `stat`. None if it changes meanwhile, or cannot be read.
    fn read_content(&self, dir: &DirHandle, name: &Name, stat: &Stat) -> io::Result<Option<ContentHash>> {
        let content = match stat.kind {
            Kind::File => {
                dir.open_file(name).and_then(|(file, _)| hash_of_size(&file, stat.size, self.report))
            }
            Kind::Symlink => dir.read_link(name).map(|link_target| Some(stand_in(stat.kind, &link_target))),
            kind => {
                let rdev = if kind.is_device() { stat.rdev } else { 0 };
                return Ok(Some(stand_in(kind, &rdev.to_le_bytes())));
            }
        };
        let content = match content {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) =>
            {
                return Ok(None);
            }
            content => content?,
        };
        Ok(content.filter(|_| dir.stat(name).is_ok_and(|now| now.is_some_and(|now| is_same(stat, &now)))))
    }
}
