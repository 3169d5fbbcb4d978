//! Puts staged entries into place: at once, or at the end of the run.

use std::fs::File;
use std::io;

use coast_tree::{
    ContentHash, DirHandle, FileIdentity, Kind, Name, Record, RelPath, Stat, Timestamp, file_stat,
};
use serde::{Deserialize, Serialize};

use super::Run;
use super::file::is_same_content;
use super::site::{Failure, Site};
use super::spill::{Spill, spill_failed};
use super::staging::Staged;
use crate::error::EngineError;

/// A staged entry whose place is taken at the end of the run.
#[derive(Serialize, Deserialize)]
pub(super) struct Deferred {
    /// The entry, relative to the transfer root.
    #[serde(with = "serde_bytes")]
    path: Vec<u8>,
    /// Its name in the staging area.
    #[serde(with = "serde_bytes")]
    staged: Vec<u8>,
    /// Of a regular file.
    hash: Option<[u8; 32]>,
}

impl Run<'_> {
    /// Puts an entry without content into place.
    pub(super) fn place(&self, site: &Site<'_>, dir: &DirHandle, staged: Staged) -> Result<(), Failure> {
        match self.defer(site, staged, None)? {
            Some(staged) => self.place_now(site, dir, staged),
            None => Ok(()),
        }
    }

    /// Puts a regular file into place and remembers what it holds.
    pub(super) fn place_file(
        &self,
        site: &Site<'_>,
        dir: &DirHandle,
        staged: Staged,
        hash: ContentHash,
        file: &File,
    ) -> Result<(), Failure> {
        let Some(staged) = self.defer(site, staged, Some(hash))? else { return Ok(()) };
        let before = file_stat(file).map_err(|error| Failure::Entry("cannot read its attributes", error))?;
        self.place_now(site, dir, staged)?;
        // The rename changed its ctime; only now it has the identity that the next run will see.
        self.remember_changed(site, hash, &before, || file_stat(file).map(Some));
        Ok(())
    }

    fn place_now(&self, site: &Site<'_>, dir: &DirHandle, mut staged: Staged) -> Result<(), Failure> {
        self.change_in(&site.part.path, dir, || staged.place(dir, &site.entry.name))
            .map_err(|error| Failure::Entry("cannot move it into place", error))
    }

    /// Keeps a staged entry for the end of the run, if that is when its turn is.
    fn defer(
        &self,
        site: &Site<'_>,
        staged: Staged,
        hash: Option<ContentHash>,
    ) -> Result<Option<Staged>, Failure> {
        let list = match site.existing {
            // Removing a directory is a deletion, and deletions come last.
            Some(existing) if existing.kind == Kind::Directory => &self.lists.in_the_way,
            Some(_) if self.options.delay_updates => &self.lists.deferred,
            _ => return Ok(Some(staged)),
        };
        if let Some(staged) = staged.defer() {
            let item = Deferred {
                path: site.path(),
                staged: staged.as_bytes().to_vec(),
                hash: hash.map(|hash| *hash.as_bytes()),
            };
            list.push(&item).map_err(|error| Failure::Run(spill_failed(error)))?;
        }
        Ok(None)
    }

    /// Puts all replaced entries into place, in one short burst.
    pub(super) fn place_deferred(&self) -> Result<(), EngineError> {
        self.place_all(&self.lists.deferred, |_, _| Ok(()))
    }

    /// Puts entries where directories were, which by now are deleted, if they could be.
    pub(super) fn place_where_directories_were(&self) -> Result<(), EngineError> {
        self.place_all(&self.lists.in_the_way, |dir, name| match dir.rmdir(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
    }

    fn place_all(
        &self,
        list: &Spill<Deferred>,
        make_way: impl Fn(&DirHandle, &Name) -> io::Result<()>,
    ) -> Result<(), EngineError> {
        let (Some(root), Some(staging)) = (&self.root, &self.staging) else { return Ok(()) };
        for item in list.drain().map_err(spill_failed)? {
            let item = item.map_err(spill_failed)?;
            let own = |bytes: &[u8]| Name::new(bytes).map_err(|error| spill_failed(io::Error::other(error)));
            let path = RelPath::new(&item.path).map_err(|error| spill_failed(io::Error::other(error)))?;
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let mut staged = staging.adopt(own(&item.staged)?);
            let placed = (|| {
                let dir = root.dir(&parent).map_err(|error| ("cannot open its directory", error))?;
                let before = staged.stat().map_err(|error| ("cannot read what was received of it", error))?;
                self.change_in(&parent, &dir, || make_way(&dir, &name))
                    .map_err(|error| ("cannot make way for it", error))?;
                self.change_in(&parent, &dir, || staged.place(&dir, &name))
                    .map_err(|error| ("cannot move it into place", error))?;
                Ok((dir, before))
            })();
            match (placed, item.hash) {
                (Ok((dir, Some(before))), Some(hash)) => {
                    self.remember_late(&parent, &dir, name, ContentHash::from_bytes(hash), &before);
                }
                (Ok(_), _) => {}
                (Err((doing, error)), _) => self.problem(&item.path, doing, &error),
            }
        }
        Ok(())
    }

    fn remember_late(&self, parent: &RelPath, dir: &DirHandle, name: Name, hash: ContentHash, before: &Stat) {
        let observed_at = Timestamp::now();
        let Some(step) = self.clock_step else { return };
        if let Ok(Some(stat)) = dir.stat(&name)
            && is_same_content(before, &stat)
            && step.settled(&FileIdentity::from(&stat), observed_at)
        {
            self.cache.append(parent, vec![Record { name, stat: FileIdentity::from(&stat), hash }]);
        }
    }
}
