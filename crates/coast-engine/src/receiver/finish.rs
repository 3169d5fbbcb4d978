//! What is done when everything has arrived, in this order: replaced files move into place, extraneous entries are
//! deleted, entries take the place of deleted directories, the workspace gets its owner, directories get their times.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use coast_tree::{DirHandle, Kind, Listed, Name, RelPath, Timestamp, Visit, walk_from};
use coast_wire::{Event, ReceiverStats};
use serde::{Deserialize, Serialize};

use super::Run;
use super::change::same_time;
use super::spill::spill_failed;
use crate::error::EngineError;

/// Attributes of a directory that have to wait until nothing changes in it any more.
#[derive(Serialize, Deserialize)]
pub(super) struct LateDirectory {
    /// Relative to the transfer root.
    #[serde(with = "serde_bytes")]
    pub(super) path: Vec<u8>,
    pub(super) mode: Option<u32>,
    /// Seconds and nanoseconds since the epoch.
    pub(super) mtime: Option<(i64, u32)>,
    /// Whether it may have been deleted since.
    pub(super) may_be_gone: bool,
}

impl Run<'_> {
    /// Ends a run whose transfer is complete.
    pub(super) fn finish(&self) -> Result<ReceiverStats, EngineError> {
        self.check_still_there()?;
        self.place_deferred()?;
        if self.source_errors.load(Ordering::Acquire) {
            self.skip_deletion();
        } else {
            self.delete_extraneous()?;
        }
        self.place_where_directories_were()?;
        self.give_away()?;
        self.set_late_directories()?;
        self.cache.save();
        let stats = *self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        if stats.failed == 0 && !self.source_errors.load(Ordering::Acquire) {
            self.forget_partials();
        }
        self.clean_up();
        Ok(stats)
    }

    /// When in doubt nothing is deleted: what could not be read at the source looks extraneous here.
    fn skip_deletion(&self) {
        if self.options.delete.is_some() {
            self.count(|stats| stats.deletion_skipped = true);
            self.event(Event::Notice {
                text: "nothing is deleted, because the source was not read without errors",
            });
        }
    }

    /// Gives what the source does not have, and what stays all the same, to the workspace's owner too.
    fn give_away(&self) -> Result<(), EngineError> {
        let (Some(owner), Some(root)) = (self.attributes.whole_workspace_owner(&self.options), &self.root)
        else {
            return Ok(());
        };
        let giver = Giver { run: self, owner };
        for path in self.lists.kept.drain().map_err(spill_failed)? {
            let path = RelPath::new(&path.map_err(spill_failed)?)
                .map_err(|error| spill_failed(io::Error::other(error)))?;
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let given = root.dir(&parent).and_then(|dir| giver.give(&dir, &name));
            match given {
                Ok(Some(Kind::Directory)) => walk_from(root, &path, 1, &giver, ()),
                Ok(_) => {}
                Err(error) => giver.failed(&path, (), error),
            }
        }
        Ok(())
    }

    /// From the last to the first, since a directory's new mode may forbid entering it.
    fn set_late_directories(&self) -> Result<(), EngineError> {
        let Some(root) = &self.root else { return Ok(()) };
        for item in self.lists.late_directories.drain_back().map_err(spill_failed)? {
            let LateDirectory { path, mode, mtime, may_be_gone } = item.map_err(spill_failed)?;
            let set = || -> io::Result<()> {
                let dir = root.dir(&RelPath::new(&path).map_err(io::Error::other)?)?;
                set_directory(&dir, mode, mtime, self.options.perms)
            };
            if let Err(error) = set()
                && !(may_be_gone && error.kind() == io::ErrorKind::NotFound)
            {
                self.problem(&path, "cannot set the attributes of the directory", &error);
            }
        }
        Ok(())
    }
}

fn set_directory(
    dir: &DirHandle,
    mode: Option<u32>,
    mtime: Option<(i64, u32)>,
    exact_mode: bool,
) -> io::Result<()> {
    let stat = dir.stat_self()?;
    // Without `-p` a directory keeps the set-group bit that it got from the one it is in.
    let inherited = if exact_mode { 0 } else { stat.mode & 0o2000 };
    let mode = mode.map(|mode| mode | inherited);
    if let Some((secs, nanos)) = mtime {
        let mtime = Timestamp::new(secs, nanos);
        if !same_time(mtime, stat.mtime) {
            dir.set_mtime_self(mtime)?;
        }
    }
    match mode.filter(|&mode| mode != stat.mode) {
        Some(mode) => dir.chmod_self(mode),
        None => Ok(()),
    }
}

/// Gives entries to the workspace's owner, touching only those that belong to someone else.
struct Giver<'a> {
    run: &'a Run<'a>,
    owner: (u32, u32),
}

impl Giver<'_> {
    fn give(&self, dir: &DirHandle, name: &Name) -> io::Result<Option<Kind>> {
        let Some(stat) = dir.stat(name)? else { return Ok(None) };
        let (uid, gid) = self.owner;
        if (stat.uid, stat.gid) != self.owner {
            dir.chown(name, Some(uid), Some(gid))?;
            self.run.count(|stats| stats.chowned += 1);
        }
        Ok(Some(stat.kind))
    }
}

impl Visit for Giver<'_> {
    type Context = ();

    fn directory(&self, path: &RelPath, dir: &DirHandle, (): (), listed: Vec<Listed>) -> Vec<(Name, ())> {
        let mut children = Vec::new();
        for Listed { name, kind, .. } in listed {
            match self.give(dir, &name) {
                Ok(_) if kind == Kind::Directory => children.push((name, ())),
                Ok(_) => {}
                Err(error) => {
                    let full = path.join(&name).unwrap_or_else(|_| path.clone());
                    self.failed(&full, (), error);
                }
            }
        }
        children
    }

    fn failed(&self, path: &RelPath, (): (), error: io::Error) {
        // What vanishes while it is given away belongs to nobody.
        if error.kind() != io::ErrorKind::NotFound {
            self.run.problem(path.as_bytes(), "cannot give it to the workspace's owner", &error);
        }
    }

    fn stop(&self) -> bool {
        self.run.stop.is_stopped()
    }
}
