//! The owner of the whole workspace: entries that the source does not have, and that stay, are given to the user who logged
//! in, as the `chown -R` after an rsync as root did.

use std::io;

use coast_tree::{DirHandle, Kind, Listed, Name, RelPath, Visit, walk_from};

use super::Target;
use crate::error::EngineError;
use crate::receiver::report::Report;
use crate::receiver::spill::StoredPath;

impl Target<'_> {
    /// Notes an entry that stays although the source does not have it.
    pub(crate) fn note_kept(&self, directory: &RelPath, name: &Name) -> Result<(), EngineError> {
        let Some(live) = self.live().filter(|_| self.workspace_owner.is_some()) else { return Ok(()) };
        match directory.join(name) {
            Ok(full) => live.kept.push(&StoredPath::from(&full)),
            // No system call reaches a path of this length, so its owner cannot be changed either.
            Err(_) => Ok(()),
        }
    }

    /// Gives the noted entries, and all entries below them, to the workspace's owner.
    pub(crate) fn give_away(&self) -> Result<(), EngineError> {
        let (Some(owner), Some(live)) = (self.workspace_owner, self.live()) else { return Ok(()) };
        let giver = Giver { report: self.report, owner };
        for path in live.kept.drain()? {
            let path = path?.to_path()?;
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            match live.root.dir(&parent).and_then(|dir| giver.give(&dir, &name)) {
                Ok(Some(Kind::Directory)) => walk_from(&live.root, &path, 1, &giver, ()),
                Ok(_) => {}
                Err(error) => giver.failed(&path, (), error),
            }
        }
        Ok(())
    }
}

/// Gives entries to an owner, touching only those that belong to someone else.
struct Giver<'a> {
    report: &'a Report<'a>,
    /// User and group number.
    owner: (u32, u32),
}

impl Giver<'_> {
    /// Gives one entry; answers its kind, or none if it is gone.
    fn give(&self, dir: &DirHandle, name: &Name) -> io::Result<Option<Kind>> {
        let Some(stat) = dir.stat(name)? else { return Ok(None) };
        let (uid, gid) = self.owner;
        if (stat.uid, stat.gid) != self.owner {
            dir.chown(name, Some(uid), Some(gid))?;
            self.report.owner_changed();
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
        // An entry that disappears before its owner is changed is not an error.
        if error.kind() != io::ErrorKind::NotFound {
            self.report.problem(path.as_bytes(), "cannot give it to the workspace's owner", &error);
        }
    }

    fn stop(&self) -> bool {
        self.report.is_stopped()
    }
}
