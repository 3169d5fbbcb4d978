//! Whether an entry may leave its path as a whole, because the source has renamed it. At the old path a rename is a deletion, so it needs
//! what a deletion needs, for the entry and for everything in it: a run has put it there, nobody has changed it since, and no rule protects
//! it.

use coast_filter::DirFilter;
use coast_tree::{DirHandle, Kind, LockExt, MountId, Name, RelPath};

use super::Deletion;
use super::filter::{DeletionFilter, Within, unreadable_rules};
use crate::error::EngineError;
use crate::receiver::target::Leaving;

/// Entries that leave with one directory. What is known of them is in memory meanwhile. A larger directory is made anew from the content of
/// the old one.
const MAX_LEAVING: usize = 32 << 10;

/// The look at everything that leaves with an entry.
struct Gathering {
    mount: MountId,
    leaving: Leaving,
    count: usize,
}

impl Deletion<'_> {
    /// The entry at `path`, if it is of this kind and may leave.
    pub(in crate::receiver) fn leaving(
        &self,
        path: &RelPath,
        kind: Kind,
    ) -> Result<Option<Leaving>, EngineError> {
        let (Some(rules), Some(root)) = (&self.filter, self.target.root()) else { return Ok(None) };
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let Ok(handle) = root.dir(&directory) else { return Ok(None) };
        let (Ok(Some(stat)), Ok(mount)) = (handle.stat(&name), handle.mount()) else { return Ok(None) };
        if stat.kind != kind {
            return Ok(None);
        }
        let filter = match rules.directory(root, &directory) {
            Ok(filter) => filter,
            Err(error) => return unreadable_rules(error).map(|_| None),
        };
        let leaving = Leaving { directory: directory.clone(), handle, name, stat, placed: Vec::new() };
        let mut gathering = Gathering { mount, leaving, count: 0 };
        let (dir, names) = (gathering.leaving.handle.clone(), vec![gathering.leaving.name.clone()]);
        let is_whole =
            self.gather(&directory, &dir, names, (&filter, Within::Kept), &mut gathering)?.is_some();
        Ok(is_whole.then_some(gathering.leaving))
    }

    /// Gathers what is known of entries of a directory, and of all that is in them. None if something stays.
    fn gather(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        names: Vec<Name>,
        (filter, within): (&DirFilter, Within),
        gathering: &mut Gathering,
    ) -> Result<Option<()>, EngineError> {
        let Some(root) = self.target.root() else { return Ok(None) };
        gathering.count += names.len();
        if gathering.count > MAX_LEAVING {
            return Ok(None);
        }
        let origins = self.target.origins_in(path);
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let Ok(Some(stat)) = dir.stat(&name) else { return Ok(None) };
            if DeletionFilter::protects(filter, &name, stat.kind, within) {
                return Ok(None);
            }
            let Ok(Some(placed)) = self.target.still_placed(&origins, dir, &name, &stat) else {
                return Ok(None);
            };
            all.push(placed);
            if stat.kind != Kind::Directory {
                continue;
            }
            let (Ok(full), Ok(child)) = (path.join(&name), dir.child(&name)) else { return Ok(None) };
            let (Ok(listed), Ok(mount)) = (child.list(), child.mount()) else { return Ok(None) };
            if mount != gathering.mount {
                return Ok(None);
            }
            let inside = match DeletionFilter::enter(filter, root, &name) {
                Ok(inside) => inside,
                Err(error) => return unreadable_rules(error).map(|_| None),
            };
            let names = listed.into_iter().map(|listed| listed.name).collect();
            if self.gather(&full, &child, names, (&inside, Within::Removed), gathering)?.is_none() {
                return Ok(None);
            }
        }
        gathering.leaving.placed.push((path.clone(), all));
        Ok(Some(()))
    }

    /// Notes that an entry has left its path. If it was noted as extraneous before, it is not deleted and not counted.
    pub(in crate::receiver) fn has_left(&self, path: RelPath) {
        self.left.enter().push(path);
    }

    /// Whether an entry has left its path.
    pub(super) fn is_away(&self, path: &RelPath) -> bool {
        self.left.enter().iter().any(|left| path.starts_with(left))
    }
}
