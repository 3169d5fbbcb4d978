//! Staged entries move into place: at once, or at the end of the run.

use std::fs::File;
use std::io;

use coast_tree::{ContentHash, DirHandle, Kind, Name, Record, RelPath, Replace, Stat, file_stat};
use coast_wire::{ConflictKind, Origin};
use serde::{Deserialize, Serialize};

use super::Live;
use super::directory::DestinationEntry;
use super::ledger::Origins;
use super::safety::{record_of_stand_in, stand_in_record};
use super::staging::Staged;
use crate::error::EngineError;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::report::Report;
use crate::receiver::spill::{Spill, StoredPath, path_in};

/// Why an entry in the way of one of another kind stays.
pub(super) const BEYOND_TRASH: &str = "no run has put it there as it is, and it is on another file system than the trash; move it away, and run it again";

/// Staged entries that move into place at the end of the run.
pub(super) struct DelayedMoves {
    /// Whether replaced entries wait (`--delay-updates`).
    delay_updates: bool,
    /// Replaced entries, which move into place together.
    updates: Spill<DelayedMove>,
    /// Entries whose place a directory still has. They move when that directory is deleted.
    blocked: Spill<DelayedMove>,
}

/// A staged entry that moves into place at the end of the run.
#[derive(Serialize, Deserialize)]
struct DelayedMove {
    path: StoredPath,
    /// The directory that its staging area lies in; none for the usual area.
    area: Option<StoredPath>,
    /// Its name in the staging area.
    #[serde(with = "serde_bytes")]
    staged: Vec<u8>,
    /// Of the content, or of what stands for it.
    hash: Option<[u8; 32]>,
    /// Whether it replaces an entry of another kind.
    other_kind: bool,
}

/// The entry that came into place.
enum Moved {
    /// The staged entry itself.
    Itself,
    /// A copy of it, because no rename reached the place.
    Copy,
}

impl DelayedMoves {
    /// Empty lists. `scratch` is a private directory of the run.
    pub(super) fn new(scratch: &DirHandle, delay_updates: bool) -> Self {
        let list = |name| Spill::new(Some(scratch), name);
        Self { delay_updates, updates: list("deferred"), blocked: list("in-the-way") }
    }

    /// Takes a staged entry, if it has to wait until the end of the run. Otherwise gives it back.
    fn take(
        &self,
        entry: &DestinationEntry<'_>,
        staged: Staged,
        hash: Option<ContentHash>,
    ) -> Result<Option<Staged>, Failure> {
        let list = match entry.existing {
            // Removing a directory is a deletion, and deletions come last.
            Some(existing) if existing.kind == Kind::Directory => &self.blocked,
            Some(_) if self.delay_updates => &self.updates,
            _ => return Ok(Some(staged)),
        };
        if let Some((area, staged)) = staged.leave() {
            list.push(&DelayedMove {
                path: StoredPath::of_entry(entry.directory.path(), &entry.offered.name),
                area: area.place().map(StoredPath::from),
                staged: staged.as_bytes().to_vec(),
                hash: hash.map(|hash| *hash.as_bytes()),
                other_kind: replaces_other_kind(entry),
            })?;
        }
        Ok(None)
    }
}

/// Whether an entry that is no directory gives way to one of another kind. A directory in the way is deleted before.
fn replaces_other_kind(entry: &DestinationEntry<'_>) -> bool {
    let kind = entry.offered.kind();
    entry.existing.is_some_and(|existing| existing.kind != kind && existing.kind != Kind::Directory)
}

impl Live {
    /// Moves an entry that one of another kind replaces to the trash, if there is one, unless a run has put the entry there and
    /// nobody has changed it since.
    pub(super) fn discard_in_the_way(
        &self,
        parent: &RelPath,
        dir: &DirHandle,
        name: &Name,
        report: &Report<'_>,
    ) -> io::Result<()> {
        let Some(discards) = &self.discards else { return Ok(()) };
        // A directory that appeared meanwhile makes the move into place fail.
        let Some(existing) = dir.stat(name)?.filter(|existing| existing.kind != Kind::Directory) else {
            return Ok(());
        };
        let origin = self.ledger.origins_in(parent).of(name, &existing);
        if origin == Origin::Run {
            return Ok(());
        }
        let discarded =
            self.late_directories.change_in(parent, dir, || discards.put(parent, dir, name, &existing));
        discarded.map_err(|error| match error.kind() {
            io::ErrorKind::CrossesDevices => io::Error::new(error.kind(), BEYOND_TRASH),
            _ => error,
        })?;
        report.deleted(1);
        report.gone(&path_in(parent, name), false, origin, true);
        Ok(())
    }

    /// Puts an entry without content into place: into the directory `dir` of the entry.
    pub(super) fn put_in_place(
        &self,
        entry: &DestinationEntry<'_>,
        dir: &DirHandle,
        staged: Staged,
        report: &Report<'_>,
    ) -> Result<(), Failure> {
        let content = stand_in_record(entry.offered).map(|record| record.hash);
        match self.delayed_moves.take(entry, staged, content)? {
            Some(staged) => self.move_now(entry, dir, staged, content, report).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Puts a regular file into place. Answers what the cache has to remember.
    pub(super) fn put_file_in_place(
        &self,
        entry: &DestinationEntry<'_>,
        dir: &DirHandle,
        (staged, file): (Staged, &File),
        hash: ContentHash,
        report: &Report<'_>,
    ) -> Result<Option<Record>, Failure> {
        let Some(staged) = self.delayed_moves.take(entry, staged, Some(hash))? else { return Ok(None) };
        let before = file_stat(file).doing("cannot read its attributes")?;
        let name = &entry.offered.name;
        Ok(Some(match self.move_now(entry, dir, staged, Some(hash), report)? {
            // The rename changed its ctime; only now it has the identity that the next run will see.
            Moved::Itself => self.memory.record_of_changed(name, hash, &before, || file_stat(file).map(Some)),
            // A copy was not verified. The next run reads it.
            Moved::Copy => self.memory.record_of(name, hash, &before, None),
        }))
    }

    fn move_now(
        &self,
        entry: &DestinationEntry<'_>,
        dir: &DirHandle,
        staged: Staged,
        content: Option<ContentHash>,
        report: &Report<'_>,
    ) -> Result<Moved, Failure> {
        let (path, name) = (entry.directory.path(), &entry.offered.name);
        if replaces_other_kind(entry) && !self.safety.guards(path, name) {
            self.discard_in_the_way(path, dir, name, report).doing("cannot remove what is in the way")?;
        }
        self.move_into((path, dir, name), entry.existing.as_ref(), staged, content)
    }

    /// Moves a staged entry with this content to its place, which held `examined` before. Where no rename reaches that from the entry's
    /// area, a copy is made in the directory and moved.
    fn move_into(
        &self,
        (path, dir, name): (&RelPath, &DirHandle, &Name),
        examined: Option<&Stat>,
        mut staged: Staged,
        content: Option<ContentHash>,
    ) -> Result<Moved, Failure> {
        if let Some(content) = content {
            self.ledger.intended(path, name, content);
        }
        // Last of all, so that nothing but the rename comes after it. An exchange of the two names would leave no time at all, but shows
        // programs that watch the directory a file that vanishes.
        let replace = self.safety.check_place(path, dir, name, examined)?;
        let change_in =
            |change: &mut dyn FnMut() -> io::Result<()>| self.late_directories.change_in(path, dir, change);
        let moved = match change_in(&mut || staged.move_into_place(dir, name, replace)) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let area = self.late_directories.change_in(path, dir, || self.areas.area_beside(path, dir));
                let copied = area.and_then(|area| area.copy(&staged));
                let mut copy = copied.doing("cannot move it into place")?;
                change_in(&mut || copy.move_into_place(dir, name, replace)).map(|()| Moved::Copy)
            }
            moved => moved.map(|()| Moved::Itself),
        };
        match moved {
            Err(error) if replace == Replace::Never && error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::Conflict(ConflictKind::Made))
            }
            moved => {
                let moved = moved.doing("cannot move it into place")?;
                self.ledger.placed(path, name);
                Ok(moved)
            }
        }
    }

    /// Moves all replaced entries that waited into place, in one short burst.
    pub(super) fn move_updates(&self, report: &Report<'_>) -> Result<(), EngineError> {
        self.move_all(&self.delayed_moves.updates, report, |_, _| Ok(()))
    }

    /// Moves entries to the places of directories, which by now are deleted if they could be.
    pub(super) fn move_where_directories_were(&self, report: &Report<'_>) -> Result<(), EngineError> {
        self.move_all(&self.delayed_moves.blocked, report, |dir, name| match dir.rmdir(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
    }

    fn move_all(
        &self,
        list: &Spill<DelayedMove>,
        report: &Report<'_>,
        make_way: impl Fn(&DirHandle, &Name) -> io::Result<()>,
    ) -> Result<(), EngineError> {
        for item in list.drain()? {
            let item = item?;
            match self.move_delayed(&item, &make_way, report) {
                Ok(()) | Err(Failure::Stopped | Failure::Blocked(_)) => {}
                Err(Failure::Conflict(kind)) => report.conflict(item.path.as_bytes(), kind),
                Err(Failure::Entry { doing, error }) => report.problem(item.path.as_bytes(), doing, &error),
                Err(Failure::Run(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn move_delayed(
        &self,
        item: &DelayedMove,
        make_way: impl Fn(&DirHandle, &Name) -> io::Result<()>,
        report: &Report<'_>,
    ) -> Result<(), Failure> {
        let path = item.path.to_path()?;
        let area = item.area.as_ref().map(StoredPath::to_path).transpose()?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let staged = self.areas.adopt(area.as_ref(), &item.staged).ok_or_else(|| EngineError::FileIo {
            doing: format!("finding the staged entry of {path}"),
            error: io::ErrorKind::NotFound.into(),
        })?;
        let dir = self.root.dir(&parent).doing("cannot open its directory")?;
        let before = staged.stat().doing("cannot read the staged entry")?;
        self.late_directories
            .change_in(&parent, &dir, || make_way(&dir, &name))
            .doing("cannot make way for it")?;
        if item.other_kind {
            self.discard_in_the_way(&parent, &dir, &name, report)
                .doing("cannot remove what is in the way")?;
        }
        let hash = item.hash.map(ContentHash::from_bytes);
        let moved = self.move_into((&parent, &dir, &name), None, staged, hash)?;
        if let (Some(before), Some(hash), Moved::Itself) = (before, hash, moved) {
            self.remember_moved(&parent, &dir, &name, hash, &before);
        }
        Ok(())
    }

    fn remember_moved(
        &self,
        parent: &RelPath,
        dir: &DirHandle,
        name: &Name,
        hash: ContentHash,
        before: &Stat,
    ) {
        let records = vec![match before.kind {
            Kind::File => self.memory.record_of_changed(name, hash, before, || dir.stat(name)),
            _ => record_of_stand_in(name, hash),
        }];
        self.ledger.contents_placed(parent, &records, &Origins::default());
        self.memory.remember(parent, records);
    }
}
