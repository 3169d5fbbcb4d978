//! Deletes the noted entries.

use std::io;

use coast_tree::{LockExt, RelPath};
use coast_wire::Event;

use super::extraneous::{EntryIdentity, Extraneous, Fate};
use super::{Deletion, list_for};
use crate::error::EngineError;
use crate::receiver::spill::Spill;

impl Deletion<'_> {
    /// Deletes the noted entries, those that make way first. Not called when the source could not be read without errors.
    pub(in crate::receiver) fn delete(&self) -> Result<(), EngineError> {
        let mut deleted = 0;
        match self.filter.as_ref().filter(|filter| filter.is_late()) {
            Some(rules) => {
                let making_way = list_for(self.target, "judged-making-way");
                let extraneous = list_for(self.target, "judged");
                self.judge(rules, &self.making_way, &making_way)?;
                self.judge(rules, &self.extraneous, &extraneous)?;
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
            if self.report.is_stopped() {
                return Ok(());
            }
            let path = item.path.to_path()?;
            let counts = item.counts(&path);
            if counts && *deleted >= self.limit {
                self.report.over_max_delete();
                self.note_stays(&path);
                continue;
            }
            if item.only_counted {
                continue;
            }
            if item.unreadable {
                let error = io::ErrorKind::PermissionDenied.into();
                self.report.problem(path.as_bytes(), "cannot read the directory", &error);
            }
            match self.delete_one(&item, &path) {
                Ok(Fate::Deleted | Fate::Unreadable) => {
                    *deleted += u64::from(counts);
                    self.report.event(Event::Deleted { path: path.as_bytes(), directory: item.directory });
                }
                Ok(Fate::Kept) => {
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
    fn delete_one(&self, item: &Extraneous, path: &RelPath) -> io::Result<Fate> {
        let (Some(root), Some(parent), Some(name)) = (self.target.root(), path.parent(), path.file_name())
        else {
            return Ok(Fate::Kept);
        };
        let dir = match root.dir(&parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fate::Deleted),
            dir => dir?,
        };
        match dir.stat(&name)? {
            None => return Ok(Fate::Deleted),
            Some(stat) if EntryIdentity::from(&stat) != item.seen => return Ok(Fate::Kept),
            Some(_) => {}
        }
        if self.target.is_dry_run() {
            let occupied = item.directory && self.occupied.enter().contains(path);
            return if occupied { Err(io::ErrorKind::DirectoryNotEmpty.into()) } else { Ok(Fate::Deleted) };
        }
        let delete = || if item.directory { dir.rmdir(&name) } else { dir.unlink(&name) };
        self.target.change_in(&parent, &dir, delete)?;
        Ok(Fate::Deleted)
    }
}
