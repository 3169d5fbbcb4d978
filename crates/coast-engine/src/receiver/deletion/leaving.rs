//! Whether an entry may leave its path as a whole, because the source has renamed it. At the old path a rename is a deletion, so it
//! needs what a deletion needs, for the entry and for everything in it: a run has put it there, nobody has changed it since, and no
//! rule protects it. No rule may exclude it at the new path either: a transfer would not bring it there.

use coast_filter::{DirFilter, FilterError};
use coast_tree::{DirHandle, Kind, Listed, LockExt, MountId, Name, RelPath, Root};

use super::Deletion;
use super::filter::{DeletionFilter, Within, unreadable_rules};
use crate::error::EngineError;
use crate::receiver::target::Leaving;

/// Entries that leave with one directory. What is known of them is in memory meanwhile. A larger directory is made anew from the
/// content of the old one.
const MAX_LEAVING: usize = 32 << 10;

/// The look at everything that leaves with an entry.
struct Gathering {
    mount: MountId,
    leaving: Leaving,
    count: usize,
}

/// An entry that moves: its name, and the name that it gets.
struct Moving {
    old: Name,
    new: Name,
}

/// The rules of a directory, at its old path and at its new one.
struct BothRules {
    old: DirFilter,
    new: DirFilter,
    within: Within,
}

impl BothRules {
    /// Whether an entry must not leave its old path, or must not come to its new one.
    fn protect(&self, old: &Name, new: &Name, kind: Kind) -> bool {
        DeletionFilter::protects(&self.old, old, kind, self.within)
            || DeletionFilter::protects(&self.new, new, kind, Within::Kept)
    }

    fn enter(&self, root: &Root, old: &Name, new: &Name) -> Result<Self, FilterError> {
        Ok(Self {
            old: DeletionFilter::enter(&self.old, root, old)?,
            new: DeletionFilter::enter(&self.new, root, new)?,
            within: Within::Removed,
        })
    }
}

impl Deletion<'_> {
    /// The entry at `path`, if it is of this kind and may leave for the path `to`.
    pub(in crate::receiver) fn leaving(
        &self,
        path: &RelPath,
        to: &RelPath,
        kind: Kind,
    ) -> Result<Option<Leaving>, EngineError> {
        let (Some(rules), Some(root)) = (&self.filter, self.target.root()) else { return Ok(None) };
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let Ok(handle) = root.dir(&directory) else { return Ok(None) };
        let (Ok(Some(stat)), Ok(mount)) = (handle.stat(&name), handle.mount()) else { return Ok(None) };
        if stat.kind != kind {
            return Ok(None);
        }
        let (Some(new_directory), Some(new_name)) = (to.parent(), to.file_name()) else { return Ok(None) };
        let both = rules.directory(root, &directory).and_then(|old| {
            Ok(BothRules { old, new: rules.directory(root, &new_directory)?, within: Within::Kept })
        });
        let rules = match both {
            Ok(rules) => rules,
            Err(error) => return unreadable_rules(error).map(|_| None),
        };
        let leaving = Leaving { directory: directory.clone(), handle, name, stat, placed: Vec::new() };
        let mut gathering = Gathering { mount, leaving, count: 0 };
        let dir = gathering.leaving.handle.clone();
        let names = vec![Moving { old: gathering.leaving.name.clone(), new: new_name }];
        let is_whole = self.gather(&directory, &dir, names, &rules, &mut gathering)?;
        Ok(is_whole.then_some(gathering.leaving))
    }

    /// Gathers what is known of entries of a directory, and of all that is in them. False if something stays.
    fn gather(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        names: Vec<Moving>,
        rules: &BothRules,
        gathering: &mut Gathering,
    ) -> Result<bool, EngineError> {
        let Some(root) = self.target.root() else { return Ok(false) };
        gathering.count += names.len();
        if gathering.count > MAX_LEAVING {
            return Ok(false);
        }
        let origins = self.target.origins_in(path);
        let mut all = Vec::with_capacity(names.len());
        for Moving { old: name, new } in names {
            let Ok(Some(stat)) = dir.stat(&name) else { return Ok(false) };
            if rules.protect(&name, &new, stat.kind) {
                return Ok(false);
            }
            let Ok(Some(placed)) = self.target.still_placed(&origins, dir, &name, &stat) else {
                return Ok(false);
            };
            all.push(placed);
            if stat.kind != Kind::Directory {
                continue;
            }
            let (Ok(full), Ok(child)) = (path.join(&name), dir.child(&name)) else { return Ok(false) };
            let (Ok(listed), Ok(mount)) = (child.list(), child.mount()) else { return Ok(false) };
            if mount != gathering.mount {
                return Ok(false);
            }
            let inside = match rules.enter(root, &name, &new) {
                Ok(inside) => inside,
                Err(error) => return unreadable_rules(error).map(|_| false),
            };
            let names = listed.into_iter().map(|Listed { name, .. }| Moving { old: name.clone(), new: name });
            if !self.gather(&full, &child, names.collect(), &inside, gathering)? {
                return Ok(false);
            }
        }
        gathering.leaving.placed.push((path.clone(), all));
        Ok(true)
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
