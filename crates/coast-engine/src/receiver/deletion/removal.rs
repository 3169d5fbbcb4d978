//! Deletes the noted entries.

use std::io;

use coast_tree::{DirHandle, LockExt, Name, RelPath, Stat};
use coast_wire::{ConflictKind, MASS_DELETION, Origin};

use super::extraneous::{EntryIdentity, Extraneous};
use super::{Deletion, list_for};
use crate::error::{EngineError, Updates};
use crate::receiver::spill::Spill;

/// The outcome of deleting one entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is gone.
    Deleted,
    /// It is in the trash.
    Trashed,
    /// It is not the entry that was seen, and stays.
    Replaced,
    /// It is on another file system than the trash, and stays.
    BeyondTrash,
}

impl Deletion<'_> {
    /// Fails if most of what runs have put there would be deleted, and the source has not half as much instead. Such a source has lost its
    /// entries, while one with as many others was switched to another state. Entries that a refused run has brought do not help the
    /// next run to pass. Where rules of files in the tree have a say, the amount is known only when the entries are judged.
    pub(in crate::receiver) fn check_amount(&self) -> Result<(), EngineError> {
        self.refuse_mass_deletion([&self.making_way, &self.extraneous], self.updates_before_deletion)
    }

    fn refuse_mass_deletion(
        &self,
        lists: [&Spill<Extraneous>; 2],
        updates: Updates,
    ) -> Result<(), EngineError> {
        let (going, placed, offered, first) = {
            let placed = self.placed.enter();
            let before = placed.seen.max(self.there_before);
            let going = if placed.going == 0 { 0 } else { before - placed.seen + placed.going };
            (going, before, placed.offered, placed.first.clone())
        };
        let whole = if self.whole == 0 { placed } else { placed.min(self.whole) };
        if !self.no_mass_deletion || going <= MASS_DELETION || going <= placed / 2 || offered > whole / 2 {
            return Ok(());
        }
        for list in lists {
            self.remember_all(list)?;
        }
        Err(EngineError::MassDeletion { going, placed, offered, first, updates })
    }

    /// Deletes the noted entries, those that make way first. Not called when the source could not be read without errors.
    pub(in crate::receiver) fn delete(&self) -> Result<(), EngineError> {
        let mut deleted = 0;
        match self.filter.as_ref().filter(|filter| filter.is_late()) {
            Some(rules) => {
                let making_way = list_for(self.target, "judged-making-way");
                let extraneous = list_for(self.target, "judged");
                self.judge(rules, &self.making_way, &making_way)?;
                self.judge(rules, &self.extraneous, &extraneous)?;
                self.refuse_mass_deletion([&making_way, &extraneous], Updates::InPlace)?;
                self.delete_all(&making_way, &mut deleted)?;
                self.delete_all(&extraneous, &mut deleted)?;
            }
            None => {
                self.delete_all(&self.making_way, &mut deleted)?;
                self.delete_all(&self.extraneous, &mut deleted)?;
            }
        }
        self.report.deleted(deleted);
        Ok(())
    }

    fn delete_all(&self, items: &Spill<Extraneous>, deleted: &mut u64) -> Result<(), EngineError> {
        for item in items.drain()? {
            let item = item?;
            let path = item.path.to_path()?;
            if self.report.is_stopped() {
                self.remember_placed(&item, &path);
                continue;
            }
            let counts = item.counts(&path);
            if counts && *deleted >= self.limit {
                self.report.over_max_delete();
                self.note_stays(&path);
                self.remember_placed(&item, &path);
                continue;
            }
            if item.only_counted || self.is_away(&path) {
                continue;
            }
            if item.unreadable {
                let error = io::ErrorKind::PermissionDenied.into();
                self.report.problem(path.as_bytes(), "cannot read the directory", &error);
            }
            let outcome = self.delete_one(&item, &path);
            if let Ok(gone @ (Outcome::Deleted | Outcome::Trashed)) = outcome {
                *deleted += u64::from(counts);
                if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                    self.target.note_gone(&parent, &name);
                }
                self.report.gone(path.as_bytes(), item.directory, item.origin, gone == Outcome::Trashed);
                continue;
            }
            // What took the place of the entry was made there.
            if !matches!(outcome, Ok(Outcome::Replaced)) {
                self.remember_placed(&item, &path);
            }
            match outcome {
                Ok(Outcome::BeyondTrash) => {
                    let text = "no run has put it there as it is, and it is on another file system than the trash, so it was not deleted";
                    self.report.kept(path.as_bytes(), text);
                    self.note_stays(&path);
                }
                Ok(_) if self.target.guards_path(&path) => {
                    self.report.conflict(path.as_bytes(), ConflictKind::Changed);
                }
                Ok(_) => {
                    let text = "it was not deleted: it appeared or was replaced while the run went on";
                    self.report.kept(path.as_bytes(), text);
                }
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    let text = "the directory was not deleted: something in it stays";
                    self.report.kept(path.as_bytes(), text);
                    self.target.note_kept(&path)?;
                    self.note_stays(&path);
                    if self.target.is_dry_run() && !item.counts(&path) {
                        // The run would find that when it moves the entry into place.
                        self.report.problem(path.as_bytes(), "cannot make way for it", &error);
                    }
                }
                Err(error) => self.report.problem(path.as_bytes(), "cannot delete it", &error),
            }
        }
        Ok(())
    }

    /// Deletes one entry, if it is still the one that was seen.
    fn delete_one(&self, item: &Extraneous, path: &RelPath) -> io::Result<Outcome> {
        let (Some(root), Some(parent), Some(name)) = (self.target.root(), path.parent(), path.file_name())
        else {
            return Ok(Outcome::Replaced);
        };
        let dir = match root.dir(&parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Deleted),
            dir => dir?,
        };
        let stat = match dir.stat(&name)? {
            None => return Ok(Outcome::Deleted),
            Some(stat) if EntryIdentity::from(&stat) != item.seen => return Ok(Outcome::Replaced),
            Some(stat) => stat,
        };
        if self.target.is_dry_run() {
            let occupied = item.directory && self.occupied.enter().contains(path);
            let to_trash = item.origin != Origin::Run && self.target.has_trash();
            return if occupied {
                Err(io::ErrorKind::DirectoryNotEmpty.into())
            } else if to_trash && !item.directory && self.target.is_beyond_trash(&dir) {
                Ok(Outcome::BeyondTrash)
            } else {
                Ok(Outcome::Deleted)
            };
        }
        if item.origin != Origin::Run && self.target.has_trash() {
            return self.discard(item, path, (&parent, &dir, &name), &stat);
        }
        let delete = || if item.directory { dir.rmdir(&name) } else { dir.unlink(&name) };
        self.target.change_in(&parent, &dir, delete)?;
        Ok(Outcome::Deleted)
    }

    /// Moves one entry to the trash. A directory, which is empty by now, is made again there.
    fn discard(
        &self,
        item: &Extraneous,
        path: &RelPath,
        (parent, dir, name): (&RelPath, &DirHandle, &Name),
        stat: &Stat,
    ) -> io::Result<Outcome> {
        if !item.directory {
            let discarded = self.target.discard(parent, dir, name, stat);
            return match discarded {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(Outcome::BeyondTrash),
                discarded => discarded.map(|()| Outcome::Trashed),
            };
        }
        if !dir.child(name)?.list()?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.target.discard_directory(path)?;
        self.target.change_in(parent, dir, || dir.rmdir(name))?;
        Ok(Outcome::Trashed)
    }
}
