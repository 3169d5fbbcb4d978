//! What the destination has and the source has not: remembered while directories are looked at, deleted last.
//!
//! Only what was seen when its directory was looked at is ever deleted, and only if it is still the same entry then:
//! what appears while the run goes on stays.

use std::io;

use coast_filter::{DirFilter, EntryKind as FilterKind};
use coast_tree::{DirHandle, Kind, Listed, Name, RelPath, Stat};
use coast_wire::{Event, ProblemKind};
use serde::{Deserialize, Serialize};

use super::Run;
use super::decide::{Failure, Site, spill_failed};
use crate::error::EngineError;
use crate::merge::TreeMergeFiles;

/// An entry to be deleted. A directory comes after all that is in it.
#[derive(Serialize, Deserialize)]
pub(super) struct Extraneous {
    /// Relative to the transfer root.
    #[serde(with = "serde_bytes")]
    path: Vec<u8>,
    directory: bool,
    seen: Seen,
}

/// What tells an entry apart from one that took its name later: inode numbers are given out again, but not with the
/// time of the last change of content. Not the ctime: deleting one of a file's names changes that of the others.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Seen {
    ino: u64,
    /// Seconds and nanoseconds; none for a directory, which changes with each deletion in it.
    mtime: Option<(i64, u32)>,
}

impl Seen {
    fn from(stat: &Stat) -> Self {
        let mtime = (stat.kind != Kind::Directory).then(|| (stat.mtime.secs(), stat.mtime.nanos()));
        Self { ino: stat.ino, mtime }
    }
}

/// What became of an extraneous entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Deleted,
    Kept,
}

impl Run<'_> {
    /// Remembers the entries of a directory that the source does not have.
    pub(super) fn look_at_extraneous(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        extraneous: Vec<Listed>,
    ) -> Result<(), Failure> {
        if extraneous.is_empty() {
            return Ok(());
        }
        let Some(filter) = self.filter_of(path)? else {
            for entry in extraneous {
                self.keep(path, &entry.name)?;
            }
            return Ok(());
        };
        for entry in extraneous {
            if filter.excludes(entry.name.as_bytes(), filter_kind(entry.kind)) {
                self.count(|stats| stats.protected += 1);
                self.keep(path, &entry.name)?;
            } else {
                self.remember_extraneous(path, dir, &entry, &filter)?;
            }
        }
        Ok(())
    }

    /// A directory where the source has something else goes with what is extraneous, unless it holds something
    /// protected; what is staged for its place comes after that. Without deletion only an empty one gives way.
    pub(super) fn remember_in_the_way(&self, site: &Site<'_>) -> Result<(), Failure> {
        let (Some(dir), Some(existing)) =
            (site.dir, site.existing.filter(|stat| stat.kind == Kind::Directory))
        else {
            return Ok(());
        };
        let Some(filter) = self.filter_of(&site.part.path)? else { return Ok(()) };
        let Ok(full) = site.part.path.join(&site.entry.name) else { return Ok(()) };
        if self.remember_below(&full, dir, &site.entry.name, &filter)? == Fate::Deleted {
            self.push_extraneous(&full, &existing)?;
        }
        Ok(())
    }

    fn push_extraneous(&self, path: &RelPath, stat: &Stat) -> Result<(), Failure> {
        let directory = stat.kind == Kind::Directory;
        let item = Extraneous { path: path.as_bytes().to_vec(), directory, seen: Seen::from(stat) };
        self.extraneous.push(&item).map_err(|error| Failure::Run(spill_failed(error)))
    }

    /// The filter of a directory; none when nothing is deleted. Made from the root anew: only directories with
    /// something extraneous need it, and without per-directory rules it costs nothing.
    fn filter_of(&self, path: &RelPath) -> Result<Option<DirFilter>, Failure> {
        let (Some(filter), Some(root)) = (&self.filter, &self.root) else { return Ok(None) };
        let files = TreeMergeFiles::new(root.clone());
        let of_root = filter.root(&files);
        let entered = of_root
            .and_then(|filter| path.components().try_fold(filter, |filter, name| filter.enter(name, &files)));
        match entered {
            Ok(filter) => Ok(Some(filter)),
            Err(error) => {
                // Rules that cannot be read may protect anything.
                self.problem(path.as_bytes(), "cannot read its filter rules", &io::Error::other(error));
                Ok(None)
            }
        }
    }

    /// Remembers an entry and all below it, children first; a directory that holds something protected stays.
    fn remember_extraneous(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        entry: &Listed,
        filter: &DirFilter,
    ) -> Result<Fate, Failure> {
        let Ok(full) = path.join(&entry.name) else { return Ok(Fate::Kept) };
        let stat = match dir.stat(&entry.name) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(Fate::Deleted),
            Err(error) => {
                self.problem(full.as_bytes(), "cannot read its attributes", &error);
                return Ok(Fate::Kept);
            }
        };
        if stat.kind == Kind::Directory && self.remember_below(&full, dir, &entry.name, filter)? == Fate::Kept
        {
            self.keep(path, &entry.name)?;
            return Ok(Fate::Kept);
        }
        self.push_extraneous(&full, &stat)?;
        Ok(Fate::Deleted)
    }

    fn remember_below(
        &self,
        path: &RelPath,
        parent: &DirHandle,
        name: &Name,
        filter: &DirFilter,
    ) -> Result<Fate, Failure> {
        let Some(root) = &self.root else { return Ok(Fate::Kept) };
        let entered = parent.child(name).and_then(|dir| {
            let mut listed = dir.list()?;
            listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            let files = TreeMergeFiles::new(root.clone());
            let filter = filter.enter(name.as_bytes(), &files).map_err(io::Error::other)?;
            Ok((dir, listed, filter))
        });
        let (dir, listed, filter) = match entered {
            Ok(entered) => entered,
            Err(error) => {
                self.problem(path.as_bytes(), "cannot read the directory", &error);
                return Ok(Fate::Kept);
            }
        };
        let mut fate = Fate::Deleted;
        for entry in listed {
            if filter.excludes_in_removed_dir(entry.name.as_bytes(), filter_kind(entry.kind)) {
                self.count(|stats| stats.protected += 1);
                fate = Fate::Kept;
            } else if self.remember_extraneous(path, &dir, &entry, &filter)? == Fate::Kept {
                fate = Fate::Kept;
            }
        }
        Ok(fate)
    }

    /// Remembers an entry that stays, if whole workspaces are given to someone.
    fn keep(&self, path: &RelPath, name: &Name) -> Result<(), Failure> {
        if self.attributes.whole_workspace_owner(&self.options).is_none() || self.options.dry_run {
            return Ok(());
        }
        let Ok(full) = path.join(name) else { return Ok(()) };
        self.kept.push(&full.as_bytes().to_vec()).map_err(|error| Failure::Run(spill_failed(error)))
    }

    /// Deletes what was remembered. Not called when the source could not be read without errors.
    pub(super) fn delete_extraneous(&self) -> Result<(), EngineError> {
        let limit = self.options.delete.as_ref().and_then(|delete| delete.max).unwrap_or(u64::MAX);
        let mut deleted = 0;
        for item in self.extraneous.drain().map_err(spill_failed)? {
            let Extraneous { path, directory, seen } = item.map_err(spill_failed)?;
            if self.stop.is_stopped() {
                return Ok(());
            }
            if deleted >= limit {
                self.count(|stats| stats.over_max_delete += 1);
                continue;
            }
            match self.delete(&path, directory, &seen) {
                Ok(Fate::Deleted) => {
                    deleted += 1;
                    self.event(Event::Deleted { path: &path, directory });
                }
                Ok(Fate::Kept) => {
                    let text = "it was not deleted: it appeared or was replaced while the run went on";
                    self.event(Event::Problem { path: &path, kind: ProblemKind::Kept, text });
                }
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    let text = "the directory was not deleted: something in it stays";
                    self.event(Event::Problem { path: &path, kind: ProblemKind::Kept, text });
                }
                Err(error) => self.problem(&path, "cannot delete it", &error),
            }
        }
        self.count(|stats| stats.deleted = deleted);
        Ok(())
    }

    fn delete(&self, path: &[u8], directory: bool, seen: &Seen) -> io::Result<Fate> {
        let path = RelPath::new(path).map_err(io::Error::other)?;
        let (Some(root), Some(parent), Some(name)) = (&self.root, path.parent(), path.file_name()) else {
            return Ok(Fate::Kept);
        };
        let dir = match root.dir(&parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fate::Deleted),
            dir => dir?,
        };
        match dir.stat(&name)? {
            None => return Ok(Fate::Deleted),
            Some(stat) if Seen::from(&stat) != *seen => return Ok(Fate::Kept),
            Some(_) => {}
        }
        if self.options.dry_run {
            return Ok(Fate::Deleted);
        }
        if directory {
            dir.rmdir(&name)?
        } else {
            dir.unlink(&name)?
        }
        Ok(Fate::Deleted)
    }
}

fn filter_kind(kind: Kind) -> FilterKind {
    if kind == Kind::Directory { FilterKind::Directory } else { FilterKind::Other }
}
