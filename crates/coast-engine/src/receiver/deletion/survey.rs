//! Notes the entries that are to be deleted, while directories are examined.

use std::io;

use coast_filter::DirFilter;
use coast_tree::state::STAGING_INSIDE;
use coast_tree::{DirHandle, Kind, Listed, Name, RelPath, Stat};
use coast_wire::{ConflictKind, Origin};

use super::extraneous::{Extraneous, ExtraneousRoot, Fate};
use super::filter::{DeletionFilter, Within, unreadable_rules};
use super::workspaces::{Workspaces, states_last};
use super::{Deletion, Rules};
use crate::error::EngineError;
use crate::receiver::failure::{Blocked, Failure};
use crate::receiver::target::{DestinationEntry, Origins};

impl Deletion<'_> {
    /// Notes the entries of a directory that the source does not have.
    pub(in crate::receiver) fn note_extraneous(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        extraneous: Vec<Listed>,
    ) -> Result<(), Failure> {
        if extraneous.is_empty() {
            return Ok(());
        }
        let top = ExtraneousRoot { depth: path.depth(), makes_way: false };
        match self.rules_of(path)? {
            Rules::Ask(filter) => {
                self.note_all(path, dir, extraneous, Some(&filter), Within::Kept, top)?;
            }
            Rules::Later => {
                self.note_all(path, dir, extraneous, None, Within::Kept, top)?;
            }
            Rules::NoDeletion => {
                let origins = self.target.origins_in(path);
                let placed = || extraneous.iter().map(|entry| &entry.name).filter(|name| origins.has(name));
                self.count_placed(placed().count());
                self.target.note_placed(path, placed());
                self.target.remember_contents(path, placed(), &origins);
                for entry in extraneous {
                    self.note_kept(path, &entry.name)?;
                }
            }
        }
        Ok(())
    }

    /// Notes those of a directory's entries that may be deleted. Without `filter` that is decided at the end. Answers whether the
    /// directory will be empty.
    fn note_all(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        entries: Vec<Listed>,
        filter: Option<&DirFilter>,
        within: Within,
        top: ExtraneousRoot,
    ) -> Result<Fate, Failure> {
        let mut fate = Fate::Deleted;
        let origins = self.target.origins_in(path);
        let mut staying = Vec::new();
        let mut workspaces = Workspaces::of(&entries);
        let placed = || entries.iter().map(|entry| &entry.name).filter(|name| origins.has(name));
        self.count_placed(placed().count());
        // Also of those that go: they stay if the deletion fails, or is skipped.
        self.target.remember_contents(path, placed(), &origins);
        for entry in states_last(entries) {
            let protected = filter
                .is_some_and(|filter| DeletionFilter::protects(filter, &entry.name, entry.kind, within));
            if protected || (filter.is_some() && workspaces.is_state_in_use(dir, &entry)) {
                self.report.protected();
                // A directory that stays for something in it is noted as a whole.
                if protected && within == Within::Kept {
                    self.note_kept(path, &entry.name)?;
                }
                fate = Fate::Kept;
                staying.push(entry.name);
                continue;
            }
            let one = self.note(path, dir, &entry, filter, &origins, top)?;
            workspaces.learn(&entry.name, one);
            match one {
                Fate::Kept => staying.push(entry.name),
                // The entries in it changed, but the directory is the same.
                Fate::Appeared if entry.kind == Kind::Directory => staying.push(entry.name),
                // What is there now was made there.
                Fate::Appeared => {}
                Fate::Deleted | Fate::Unreadable => continue,
            }
            fate = Fate::Kept;
        }
        // The ledger keeps what stays, and lacks what goes.
        self.target.note_placed(path, staying.iter().filter(|name| origins.has(name)));
        Ok(fate)
    }

    /// Notes a directory where the source has something else. It goes with the extraneous entries; the entry that is staged for
    /// its place comes after that. Fails where the directory will stay: it holds something protected, or nothing is deleted and
    /// it is not empty.
    pub(in crate::receiver) fn note_in_the_way(&self, entry: &DestinationEntry<'_>) -> Result<(), Failure> {
        let existing = entry.existing.filter(|stat| stat.kind == Kind::Directory);
        let (Some(dir), Some(existing)) = (entry.directory.handle(), existing) else { return Ok(()) };
        let (path, name) = (entry.directory.path(), &entry.offered.name);
        let Ok(full) = path.join(name) else { return Ok(()) };
        let top = ExtraneousRoot { depth: path.depth(), makes_way: true };
        let below = match self.rules_of(path)? {
            Rules::Ask(filter) => self.note_below(&full, dir, name, Some(&filter), top)?,
            Rules::Later => self.note_below(&full, dir, name, None, top)?,
            Rules::NoDeletion => {
                match dir.child(name).and_then(|dir| dir.list()) {
                    Ok(listed) if !listed.is_empty() => return Err(Failure::Blocked(Blocked::NoDeletion)),
                    // As in rsync, which tells and tries to remove the directory.
                    Err(error) => {
                        self.report.problem(full.as_bytes(), "cannot read the directory in its way", &error)
                    }
                    Ok(_) => {
                        let origin = self.target.origins_in(path).of(name, &existing);
                        if origin != Origin::Run && self.target.has_trash() {
                            self.push(Extraneous::new(&full, &existing, origin, top))?;
                        }
                    }
                }
                return Ok(());
            }
        };
        match below {
            Fate::Deleted | Fate::Unreadable => {
                let unreadable = below == Fate::Unreadable;
                let origin = self.target.origins_in(path).of(name, &existing);
                let item = Extraneous { unreadable, ..Extraneous::new(&full, &existing, origin, top) };
                Ok(self.push(item)?)
            }
            Fate::Kept | Fate::Appeared => Err(Failure::Blocked(Blocked::Stays)),
        }
    }

    fn note_kept(&self, directory: &RelPath, name: &Name) -> Result<(), EngineError> {
        // No system call reaches a path that is too long, so nothing can be done to that entry.
        directory.join(name).map_or(Ok(()), |path| self.target.note_kept(&path))
    }

    fn push(&self, item: Extraneous) -> Result<(), EngineError> {
        if !self.filter.as_ref().is_some_and(DeletionFilter::is_late) {
            self.count_going(&item);
        }
        let list = if item.top.makes_way { &self.making_way } else { &self.extraneous };
        list.push(&item)
    }

    /// Notes an entry and everything below it, children first. A directory that holds something protected stays.
    fn note(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        entry: &Listed,
        filter: Option<&DirFilter>,
        origins: &Origins,
        top: ExtraneousRoot,
    ) -> Result<Fate, Failure> {
        let Ok(full) = path.join(&entry.name) else { return Ok(Fate::Kept) };
        if entry.name.as_bytes() == STAGING_INSIDE.as_bytes() {
            return Ok(self.sweep(path, &full, dir));
        }
        let stat = match dir.stat(&entry.name) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(Fate::Deleted),
            Err(error) => {
                self.report.problem(full.as_bytes(), "cannot read its attributes", &error);
                return Ok(Fate::Kept);
            }
        };
        let origin = match self.target.origin_to_delete(origins, path, dir, &entry.name, &stat) {
            Ok(origin) => origin,
            Err(error) => {
                self.report.problem(full.as_bytes(), "cannot read it to compare it", &error);
                return Ok(Fate::Kept);
            }
        };
        let guarded = self.target.guards(path, &entry.name);
        if guarded && origin == Origin::Changed {
            self.report.conflict(full.as_bytes(), ConflictKind::Changed);
            return Ok(Fate::Kept);
        }
        let claimed = if guarded {
            origin == Origin::Run
        } else if self.target.follows() && origin == Origin::Destination && !top.makes_way {
            // An entry that only the destination has is no conflict, so it stays even where the source wins.
            false
        } else {
            !self.only_placed || self.may_claim(origin)
        };
        if !claimed {
            self.report.left_made_there();
            self.target.note_kept(&full)?;
            return Ok(Fate::Kept);
        }
        let below = match stat.kind {
            Kind::Directory => self.note_below(&full, dir, &entry.name, filter, top)?,
            _ => Fate::Deleted,
        };
        if below == Fate::Kept {
            self.target.note_kept(&full)?;
            if path.depth() > top.depth {
                self.push(Extraneous { only_counted: true, ..Extraneous::new(&full, &stat, origin, top) })?;
            }
            return Ok(Fate::Kept);
        }
        // A guarded entry is one that a run has put there as it is, whatever its ctime says: that of a directory changes with its entries,
        // and all of them lie in the future for a while after the clock was set back.
        if !guarded && self.appeared(&stat) {
            let text = "it was not deleted: it appeared or was changed while the run went on";
            self.report.kept(full.as_bytes(), text);
            self.target.note_kept(&full)?;
            return Ok(Fate::Appeared);
        }
        let unreadable = below == Fate::Unreadable;
        self.push(Extraneous { unreadable, ..Extraneous::new(&full, &stat, origin, top) })?;
        Ok(Fate::Deleted)
    }

    /// Whether a run that deletes only what runs have put there may delete an entry. One that cannot be told from an entry that
    /// was changed, or made anew under the name of a deleted one, goes only where it can be brought back.
    fn may_claim(&self, origin: Origin) -> bool {
        match origin {
            Origin::Run => true,
            Origin::Changed => self.target.has_trash(),
            Origin::Destination => false,
        }
    }

    /// Removes the staging directory that an interrupted run left, which no rule is asked for.
    fn sweep(&self, path: &RelPath, full: &RelPath, dir: &DirHandle) -> Fate {
        if self.target.sweep(path, dir) {
            return Fate::Deleted;
        }
        let text = "it was not deleted: it has the name of this program's staging directories, and is in use or holds something else";
        self.report.kept(full.as_bytes(), text);
        Fate::Kept
    }

    /// Whether something of an entry changed since the run began, by the file system's own clock. Its directory may be examined
    /// long after that. A file one of whose other names was replaced looks so too, and stays until the next run.
    fn appeared(&self, stat: &Stat) -> bool {
        self.began.is_some_and(|began| stat.ctime > began)
    }

    fn note_below(
        &self,
        path: &RelPath,
        parent: &DirHandle,
        name: &Name,
        filter: Option<&DirFilter>,
        top: ExtraneousRoot,
    ) -> Result<Fate, Failure> {
        let Some(root) = self.target.root() else { return Ok(Fate::Kept) };
        let listed = parent.child(name).and_then(|dir| Ok((dir.list()?, dir)));
        let (mut listed, dir) = match listed {
            Ok(listed) => listed,
            // As in rsync, its removal is tried.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Fate::Unreadable),
            Err(error) => {
                self.report.problem(path.as_bytes(), "cannot read the directory", &error);
                return Ok(Fate::Kept);
            }
        };
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let filter = match filter.map(|filter| DeletionFilter::enter(filter, root, name)).transpose() {
            Ok(filter) => filter,
            Err(error) => {
                let error = unreadable_rules(error)?;
                self.report.problem(path.as_bytes(), "cannot read its filter rules", &error);
                return Ok(Fate::Kept);
            }
        };
        self.note_all(path, &dir, listed, filter.as_ref(), Within::Removed, top)
    }
}
