//! Staged entries move into place: at once, or at the end of the run.

use std::fs::File;
use std::io;

use coast_tree::{
    ContentHash, DirHandle, FileIdentity, Kind, Name, Record, RelPath, Stat, Timestamp, file_stat,
};
use serde::{Deserialize, Serialize};

use super::directory::DestinationEntry;
use super::memory::is_same_content;
use super::staging::Staged;
use super::{Live, Target};
use crate::error::EngineError;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::spill::{Spill, StoredPath};

/// A staged entry that moves into place at the end of the run.
#[derive(Serialize, Deserialize)]
pub(super) struct Deferred {
    path: StoredPath,
    /// The directory that its staging area lies in; none for the usual area.
    area: Option<StoredPath>,
    /// Its name in the staging area.
    #[serde(with = "serde_bytes")]
    staged: Vec<u8>,
    /// Of a regular file.
    hash: Option<[u8; 32]>,
}

/// The entry that came into place.
enum Moved {
    /// The staged entry itself.
    Itself,
    /// A copy of it, because no rename reached the place.
    Copy,
}

/// A move at the end of the run.
struct LateMove {
    dir: DirHandle,
    /// The status of the entry while it was staged.
    before: Option<Stat>,
    moved: Moved,
}

impl Target<'_> {
    /// Puts an entry without content into place.
    pub(super) fn put_in_place(&self, entry: &DestinationEntry<'_>, staged: Staged) -> Result<(), Failure> {
        match self.defer(entry, staged, None)? {
            Some(staged) => self.move_now(entry, staged).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Puts a regular file into place. Answers what the cache has to remember.
    pub(super) fn put_file_in_place(
        &self,
        entry: &DestinationEntry<'_>,
        staged: Staged,
        file: &File,
        hash: ContentHash,
    ) -> Result<Option<Record>, Failure> {
        let Some(staged) = self.defer(entry, staged, Some(hash))? else { return Ok(None) };
        let before = file_stat(file).doing("cannot read its attributes")?;
        match self.move_now(entry, staged)? {
            // The rename changed its ctime; only now it has the identity that the next run will see.
            Moved::Itself => {
                let after = || file_stat(file).map(Some);
                Ok(self.record_of_changed(&entry.offered.name, hash, &before, after))
            }
            // A copy was not verified. The next run reads it.
            Moved::Copy => Ok(None),
        }
    }

    fn move_now(&self, entry: &DestinationEntry<'_>, staged: Staged) -> Result<Moved, Failure> {
        let (Some(live), Some(dir)) = (self.live(), entry.directory.handle()) else {
            return Ok(Moved::Itself);
        };
        self.move_into(live, entry.directory.path(), dir, &entry.offered.name, staged)
            .doing("cannot move it into place")
    }

    /// Moves a staged entry into a directory. Where no rename reaches that from the entry's area, a copy is made in the directory
    /// and moved.
    fn move_into(
        &self,
        live: &Live,
        path: &RelPath,
        dir: &DirHandle,
        name: &Name,
        mut staged: Staged,
    ) -> io::Result<Moved> {
        match self.change_in(path, dir, || staged.place(dir, name)) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let area = self.change_in(path, dir, || live.areas.area_beside(path, dir))?;
                let mut copy = area.copy(&staged)?;
                self.change_in(path, dir, || copy.place(dir, name))?;
                Ok(Moved::Copy)
            }
            moved => moved.map(|()| Moved::Itself),
        }
    }

    /// Keeps a staged entry for the end of the run, if it has to wait until then. Otherwise gives it back.
    fn defer(
        &self,
        entry: &DestinationEntry<'_>,
        staged: Staged,
        hash: Option<ContentHash>,
    ) -> Result<Option<Staged>, Failure> {
        let Some(live) = self.live() else { return Ok(Some(staged)) };
        let list = match entry.existing {
            // Removing a directory is a deletion, and deletions come last.
            Some(existing) if existing.kind == Kind::Directory => &live.in_the_way,
            Some(_) if self.delay_updates => &live.deferred,
            _ => return Ok(Some(staged)),
        };
        if let Some((area, staged)) = staged.leave() {
            list.push(&Deferred {
                path: StoredPath::of_entry(entry.directory.path(), &entry.offered.name),
                area: area.place().map(StoredPath::from),
                staged: staged.as_bytes().to_vec(),
                hash: hash.map(|hash| *hash.as_bytes()),
            })?;
        }
        Ok(None)
    }

    /// Moves all replaced entries that waited into place, in one short burst.
    pub(crate) fn move_deferred(&self) -> Result<(), EngineError> {
        self.live().map_or(Ok(()), |live| self.move_all(live, &live.deferred, |_, _| Ok(())))
    }

    /// Moves entries to the places of directories, which by now are deleted if they could be.
    pub(crate) fn move_where_directories_were(&self) -> Result<(), EngineError> {
        let Some(live) = self.live() else { return Ok(()) };
        self.move_all(live, &live.in_the_way, |dir, name| match dir.rmdir(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
    }

    fn move_all(
        &self,
        live: &Live,
        list: &Spill<Deferred>,
        make_way: impl Fn(&DirHandle, &Name) -> io::Result<()>,
    ) -> Result<(), EngineError> {
        for item in list.drain()? {
            let Deferred { path, area, staged, hash } = item?;
            let path = path.to_path()?;
            let area = area.map(|area| area.to_path()).transpose()?;
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let staged = live.areas.adopt(area.as_ref(), &staged).ok_or_else(|| EngineError::FileIo {
                doing: format!("finding the staged entry of {path}"),
                error: io::ErrorKind::NotFound.into(),
            })?;
            match (self.move_late(live, &parent, &name, staged, &make_way), hash) {
                (Ok(LateMove { dir, before: Some(before), moved: Moved::Itself }), Some(hash)) => {
                    self.remember_late(live, &parent, &dir, name, ContentHash::from_bytes(hash), &before);
                }
                (Ok(_), _) | (Err(Failure::Stopped | Failure::Blocked(_)), _) => {}
                (Err(Failure::Entry { doing, error }), _) => {
                    self.report.problem(path.as_bytes(), doing, &error);
                }
                (Err(Failure::Run(error)), _) => return Err(error),
            }
        }
        Ok(())
    }

    fn move_late(
        &self,
        live: &Live,
        parent: &RelPath,
        name: &Name,
        staged: Staged,
        make_way: impl Fn(&DirHandle, &Name) -> io::Result<()>,
    ) -> Result<LateMove, Failure> {
        let dir = live.root.dir(parent).doing("cannot open its directory")?;
        let before = staged.stat().doing("cannot read the staged entry")?;
        self.change_in(parent, &dir, || make_way(&dir, name)).doing("cannot make way for it")?;
        let moved = self.move_into(live, parent, &dir, name, staged).doing("cannot move it into place")?;
        Ok(LateMove { dir, before, moved })
    }

    fn remember_late(
        &self,
        live: &Live,
        parent: &RelPath,
        dir: &DirHandle,
        name: Name,
        hash: ContentHash,
        before: &Stat,
    ) {
        let observed_at = Timestamp::now();
        let Some(step) = live.clock_step else { return };
        if let Ok(Some(stat)) = dir.stat(&name)
            && is_same_content(before, &stat)
            && step.settled(&FileIdentity::from(&stat), observed_at)
        {
            live.cache.append(parent, vec![Record { name, stat: FileIdentity::from(&stat), hash }]);
        }
    }
}
