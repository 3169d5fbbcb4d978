//! An entry of the destination moves to another path, with everything in it, as the source has renamed it.
//!
//! Invariant: everything that moves is as runs have put it there. What is known of it moves with it: before the rename the journal
//! says what is at the new paths, and afterwards that nothing of it is at the old ones. A process that is killed in between leaves
//! notes of paths at which nothing is. They do no harm: what somebody makes there later has another content than the notes say.

use std::collections::HashSet;
use std::io;

use coast_tree::{DirHandle, Name, RelPath, Replace, Stat};

use super::Target;
use super::ledger::Origins;
use super::live::Live;
use super::safety::Placed;

/// An entry that may leave its path.
pub(crate) struct Leaving {
    /// The directory that it is in.
    pub(crate) directory: RelPath,
    pub(crate) handle: DirHandle,
    pub(crate) name: Name,
    pub(crate) stat: Stat,
    /// What is known of the entry, and of all that is in it, by directory. The entry itself comes last.
    pub(crate) placed: Vec<(RelPath, Vec<Placed>)>,
}

impl Target<'_> {
    /// Moves an entry to the free name `name` of the directory `dir` at `directory`. Answers whether it is there. If not, it is
    /// where it was.
    pub(crate) fn rename(
        &self,
        leaving: &Leaving,
        (directory, dir, name): (&RelPath, &DirHandle, &Name),
    ) -> bool {
        let Some(live) = self.live() else { return false };
        let (Ok(from), Ok(to)) = (leaving.directory.join(&leaving.name), directory.join(name)) else {
            return false;
        };
        let Some(((_, [top]), below)) =
            leaving.placed.split_last().map(|((path, placed), below)| ((path, placed.as_slice()), below))
        else {
            return false;
        };
        for (old, placed) in below {
            let Some(new) = relocated(old, &from, &to) else { return false };
            live.note(&new, placed);
        }
        match top {
            Placed::Content(record) => live.ledger.intended(directory, name, record.hash),
            Placed::Directory(_) => live.ledger.directory_placed(directory, name),
        }
        live.ledger.finish();
        let holds_only_placed =
            || below.iter().all(|(old, placed)| live.holds_only(old, placed, (&from, &to)));
        if !live.move_entry(leaving, (directory, dir, name), holds_only_placed) {
            return false;
        }
        if let Placed::Content(record) = top {
            let now = || dir.stat(name);
            let record = live.memory.record_of_changed(name, record.hash, &leaving.stat, now);
            live.ledger.contents_placed(directory, &[record], &Origins::default());
        }
        for (directory, placed) in &leaving.placed {
            placed.iter().for_each(|placed| live.ledger.gone(directory, placed.name()));
        }
        for placed in leaving.placed.iter().flat_map(|(_, placed)| placed) {
            if let Placed::Content(record) = placed
                && record.stat.size != u64::MAX
            {
                self.report.cloned(record.stat.size);
            }
        }
        true
    }
}

impl Live {
    fn note(&self, directory: &RelPath, placed: &[Placed]) {
        for placed in placed {
            match placed {
                Placed::Directory(name) => self.ledger.directory_placed(directory, name),
                Placed::Content(record) => {
                    let record = std::slice::from_ref(record);
                    self.ledger.contents_placed(directory, record, &Origins::default());
                }
            }
        }
    }

    /// Answers whether the entry that was looked at is at its new place, and `is_whole` then says that nothing else came with it.
    fn move_entry(
        &self,
        leaving: &Leaving,
        (directory, dir, name): (&RelPath, &DirHandle, &Name),
        is_whole: impl FnOnce() -> bool,
    ) -> bool {
        let (from, old) = (&leaving.handle, &leaving.name);
        let moved = self.late_directories.change_in(&leaving.directory, from, || {
            self.late_directories.change_in(directory, dir, || from.rename_to(old, dir, name, Replace::Never))
        });
        if moved.is_err() {
            return false;
        }
        let is_the_same = |stat: &Stat| (stat.ino, stat.kind) == (leaving.stat.ino, leaving.stat.kind);
        if dir.stat(name).ok().flatten().is_some_and(|stat| is_the_same(&stat)) && is_whole() {
            return true;
        }
        // Somebody put another entry at the old path just before, or into the directory: it goes back. If the old path is taken again, it
        // stays at the new one.
        let _ = self.late_directories.change_in(&leaving.directory, from, || {
            self.late_directories.change_in(directory, dir, || dir.rename_to(name, from, old, Replace::Never))
        });
        false
    }

    /// Whether a directory has no entries but those that runs have `placed`. It was at `old` before the entry `from` moved to `to`.
    /// After the rename nobody finds it at its old path any more, so nothing comes to it by that path.
    fn holds_only(&self, old: &RelPath, placed: &[Placed], (from, to): (&RelPath, &RelPath)) -> bool {
        let Some(new) = relocated(old, from, to) else { return false };
        let placed: HashSet<&Name> = placed.iter().map(Placed::name).collect();
        match self.root.dir(&new).and_then(|dir| dir.list()) {
            Ok(listed) => listed.iter().all(|listed| placed.contains(&listed.name)),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

impl Placed {
    fn name(&self) -> &Name {
        match self {
            Self::Directory(name) => name,
            Self::Content(record) => &record.name,
        }
    }
}

/// The path of an entry after a directory above it, or the entry itself, moved. None if it is too long.
fn relocated(path: &RelPath, from: &RelPath, to: &RelPath) -> Option<RelPath> {
    let rest = path.as_bytes().strip_prefix(from.as_bytes())?;
    RelPath::new(&[to.as_bytes(), rest].concat()).ok()
}
