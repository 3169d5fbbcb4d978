//! Staged entries move into place: at once, or at the end of the run.

use std::io;

use coast_tree::{
    ContentHash, DirHandle, FileIdentity, Kind, Name, Record, RelPath, Stat, Timestamp, file_stat,
};
use serde::{Deserialize, Serialize};

use super::create::StagedFile;
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
    /// Its name in the staging area.
    #[serde(with = "serde_bytes")]
    staged: Vec<u8>,
    /// Of a regular file.
    hash: Option<[u8; 32]>,
}

impl Target<'_> {
    /// Puts an entry without content into place.
    pub(super) fn put_in_place(&self, entry: &DestinationEntry<'_>, staged: Staged) -> Result<(), Failure> {
        match self.defer(entry, staged, None)? {
            Some(staged) => self.move_now(entry, staged),
            None => Ok(()),
        }
    }

    /// Puts a regular file into place. Answers what the cache has to remember.
    pub(super) fn put_file_in_place(
        &self,
        entry: &DestinationEntry<'_>,
        StagedFile { staged, file }: StagedFile,
        hash: ContentHash,
    ) -> Result<Option<Record>, Failure> {
        let Some(staged) = self.defer(entry, staged, Some(hash))? else { return Ok(None) };
        let before = file_stat(&file).doing("cannot read its attributes")?;
        self.move_now(entry, staged)?;
        // The rename changed its ctime; only now it has the identity that the next run will see.
        Ok(self.record_of_changed(&entry.offered.name, hash, &before, || file_stat(&file).map(Some)))
    }

    fn move_now(&self, entry: &DestinationEntry<'_>, mut staged: Staged) -> Result<(), Failure> {
        let Some(dir) = entry.directory.handle() else { return Ok(()) };
        self.change_in(entry.directory.path(), dir, || staged.place(dir, &entry.offered.name))
            .doing("cannot move it into place")
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
        if let Some(staged) = staged.defer() {
            let path = StoredPath::of_entry(entry.directory.path(), &entry.offered.name);
            let staged = staged.as_bytes().to_vec();
            list.push(&Deferred { path, staged, hash: hash.map(|hash| *hash.as_bytes()) })?;
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
            let Deferred { path, staged, hash } = item?;
            let path = path.to_path()?;
            let staged = Name::new(&staged).map_err(|error| EngineError::FileIo {
                doing: "reading the list of staged entries".to_owned(),
                error: io::Error::other(error),
            })?;
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let staged = live.staging.adopt(staged);
            match (self.move_late(live, &parent, &name, staged, &make_way), hash) {
                (Ok((dir, Some(before))), Some(hash)) => {
                    self.remember_late(live, &parent, &dir, name, ContentHash::from_bytes(hash), &before);
                }
                (Ok(_), _) | (Err(Failure::Stopped), _) => {}
                (Err(Failure::Entry { doing, error }), _) => {
                    self.report.problem(path.as_bytes(), doing, &error);
                }
                (Err(Failure::Run(error)), _) => return Err(error),
            }
        }
        Ok(())
    }

    /// Moves one entry; answers its directory, and its status from before.
    fn move_late(
        &self,
        live: &Live,
        parent: &RelPath,
        name: &Name,
        mut staged: Staged,
        make_way: impl Fn(&DirHandle, &Name) -> io::Result<()>,
    ) -> Result<(DirHandle, Option<Stat>), Failure> {
        let dir = live.root.dir(parent).doing("cannot open its directory")?;
        let before = staged.stat().doing("cannot read what was received of it")?;
        self.change_in(parent, &dir, || make_way(&dir, name)).doing("cannot make way for it")?;
        self.change_in(parent, &dir, || staged.place(&dir, name)).doing("cannot move it into place")?;
        Ok((dir, before))
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
