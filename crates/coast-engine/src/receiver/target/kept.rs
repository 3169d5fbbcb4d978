//! Entries that stay at the destination although they are not sent. Those of root are given to the user who logged in: a container
//! that runs as root made them, and the user could not write to them. A service that runs as a user of its own keeps its files,
//! unless all entries are asked for.

use std::io;

use coast_tree::{DirHandle, Kind, Listed, Name, RelPath, Root, Visit, walk_from};
use coast_wire::Own;

use crate::error::EngineError;
use crate::receiver::config::LoginUser;
use crate::receiver::report::Report;
use crate::receiver::spill::{Spill, StoredPath};

/// The entries that stay although the source does not have them.
pub(super) struct KeptEntries {
    list: Spill<StoredPath>,
    /// The user who gets them, and which of them; none where they keep their owners.
    owner: Option<(LoginUser, Own)>,
}

impl KeptEntries {
    /// An empty list. `scratch` is a private directory of the run.
    pub(super) fn new(scratch: &DirHandle, owner: Option<(LoginUser, Own)>) -> Self {
        Self { list: Spill::new(Some(scratch), "kept"), owner }
    }

    /// Notes an entry.
    pub(super) fn note(&self, path: &RelPath) -> Result<(), EngineError> {
        self.owner.map_or(Ok(()), |_| self.list.push(&StoredPath::from(path)))
    }

    /// Gives the noted entries, and all entries below them, to their new owner.
    pub(super) fn give_away(&self, root: &Root, report: &Report<'_>) -> Result<(), EngineError> {
        let Some((owner, own)) = self.owner else { return Ok(()) };
        let giver = Giver { report, owner, own };
        for path in self.list.drain()? {
            let path = path?.to_path()?;
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            match root.dir(&parent).and_then(|dir| giver.give(&dir, &name)) {
                Ok(Some(Kind::Directory)) => walk_from(root, &path, 1, &giver, ()),
                Ok(_) => {}
                Err(error) => giver.failed(&path, (), error),
            }
        }
        Ok(())
    }
}

/// Gives entries to an owner.
struct Giver<'a> {
    report: &'a Report<'a>,
    owner: LoginUser,
    own: Own,
}

impl Giver<'_> {
    /// Gives one entry; answers its kind, or none if it is gone.
    fn give(&self, dir: &DirHandle, name: &Name) -> io::Result<Option<Kind>> {
        let Some(stat) = dir.stat(name)? else { return Ok(None) };
        let LoginUser { uid, gid } = self.owner;
        let given = match self.own {
            Own::All => (stat.uid, stat.gid) != (uid, gid),
            Own::Root => stat.uid == 0 && uid != 0,
            Own::None => false,
        };
        if given {
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
            self.report.problem(path.as_bytes(), "cannot give it to the user who logged in", &error);
        }
    }

    fn stop(&self) -> bool {
        self.report.is_stopped()
    }
}
