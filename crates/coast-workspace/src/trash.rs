//! Lists the trash of a workspace, and restores entries from it.
//!
//! This runs as root. Other users may own the entries in the trash and may write in the workspace at the same time. So:
//! - Every directory is opened from the top of the workspace or of a batch, and no symlink is followed ([`Root`]).
//! - An entry is restored by a rename that never replaces another entry. At every moment it is either in the trash or in the
//!   workspace, so an interruption loses nothing.
//! - A directory that is missing in the workspace and of which only a part is restored is made in the private trash, with its owner
//!   and its mode, and then moved ([`Trash::put_like`]).
//! - The locks of the workspace are held until the end. They are never waited for.

use std::io;
use std::path::Path;

use coast_engine::{Cancel, EngineError, LoginUser};
use coast_tree::state::{BatchEntry, Trash};
use coast_tree::{
    DirHandle, Kind, Listed, Name, PathEnd, PathError, RelPath, Replace, Root, Stat, TrustedPath,
};
use coast_wire::limits::{MAX_KEPT_NAMED, MAX_TRASHED_NAMED, MAX_TRASHED_PATH_BYTES};
use coast_wire::{Answer, EntryKind, Event, ProblemKind, Restoration, TrashTotals, Trashed, bounded_text};
use rustix::io::Errno;

use crate::state::{Look, MAX_LOOKS, Opening, Purpose, State};

/// A workspace whose trash is looked at, with its locks held.
#[derive(Debug)]
pub struct TrashedWorkspace {
    directory: DirHandle,
    /// None when no run has worked on the directory.
    state: Option<State>,
}

/// Gets each message of an answer but the last one.
type Tell<'a> = dyn FnMut(Answer<'_>) -> Result<(), EngineError> + 'a;

/// Gets the path of an entry, and its kind and size or the reason why the directory cannot be read.
type Visit<'a> = dyn FnMut(&RelPath, io::Result<(EntryKind, u64)>) -> Result<(), EngineError> + 'a;

impl TrashedWorkspace {
    /// Opens the workspace at `path` and takes its locks. `login` is the SSH user for whom this process is root. A path to a
    /// directory may have symlinks where a run would follow them.
    ///
    /// # Errors
    /// [`EngineError::NoWorkspace`] when there is no directory, [`EngineError::Busy`] when a run works on it, and
    /// [`EngineError::Destination`].
    pub fn open(path: &Path, login: Option<LoginUser>) -> Result<Self, EngineError> {
        for _ in 0..MAX_LOOKS {
            if let Some(found) = Self::look(path, login)? {
                return Ok(found);
            }
        }
        Err(EngineError::Busy { path: path.to_owned() })
    }

    /// None when a removal took the state directory away in the meantime.
    fn look(path: &Path, login: Option<LoginUser>) -> Result<Option<Self>, EngineError> {
        let purpose = Purpose::Restoration;
        let failed = |error: io::Error| purpose.failed(path, error);
        let resolved = TrustedPath::resolve(path).map_err(|error| failed(error.into()))?;
        let path = resolved.path();
        match *resolved.end() {
            PathEnd::Directory => {}
            PathEnd::Other { kind, .. } => {
                return Err(failed(PathError::NotADirectory { path, kind }.into()));
            }
            PathEnd::Missing(_) => {
                return Err(purpose.refused(&path, "there is no such directory".to_owned()));
            }
        }
        let opening = Opening { path: &path, purpose, login };
        let directory = resolved.directory().reopen().map_err(failed)?;
        let beside = match resolved.into_parent().map_err(failed)? {
            Some((parent, name)) => opening.state_beside(parent.directory(), &name)?,
            None => Look::Nothing,
        };
        opening.lock_workspace(&directory)?;
        let state = match beside {
            Look::Nothing => opening.state_inside(&directory)?,
            beside => beside,
        };
        Ok(match state {
            Look::Found(state) => Some(Self { directory, state: Some(state) }),
            Look::Nothing => Some(Self { directory, state: None }),
            Look::TakenAway => None,
        })
    }

    /// The directories that are worked in, to which the process can be confined.
    pub fn reach(&self) -> Vec<DirHandle> {
        let state = self.state.as_ref().map(|state| state.dir.clone());
        std::iter::once(self.directory.clone()).chain(state).collect()
    }

    /// Tells the entries in the trash, those of the latest run first. When they are many, only the first are told, and all are
    /// counted. The answer repeats `confined`.
    ///
    /// # Errors
    /// When the trash cannot be read, when it was cancelled, and the errors of `tell`.
    pub fn list(
        &self,
        confined: bool,
        cancel: &Cancel,
        tell: &mut Tell<'_>,
    ) -> Result<TrashTotals, EngineError> {
        let mut totals = TrashTotals { confined, ..TrashTotals::default() };
        let Some(trash) = self.trash()? else { return Ok(totals) };
        let mut path_bytes = 0;
        for batch in trash.batches().map_err(unreadable)? {
            let top = Root::from_dir(trash.directory(&batch).map_err(unreadable)?);
            visit_leaves(&top, RelPath::root(), cancel, &mut |path, found| match found {
                Ok((kind, size)) => {
                    totals.entries += 1;
                    totals.bytes = totals.bytes.saturating_add(size);
                    path_bytes += path.as_bytes().len();
                    let named = usize::try_from(totals.entries).unwrap_or(usize::MAX);
                    if named > MAX_TRASHED_NAMED || path_bytes > MAX_TRASHED_PATH_BYTES {
                        return Ok(());
                    }
                    tell(Answer::Trashed(Trashed { at: batch.at, path: path.as_bytes(), kind, size }))
                }
                Err(error) => {
                    totals.unreadable += 1;
                    if totals.unreadable > MAX_KEPT_NAMED as u64 {
                        return Ok(());
                    }
                    tell_problem(tell, path, &format!("cannot read the directory in the trash: {error}"))
                }
            })?;
        }
        Ok(totals)
    }

    /// Moves the entries at `paths` back into the workspace, each with everything below it, from the latest run that deleted
    /// something there. An entry that exists in the workspace is never replaced. Calls `tell` for each entry that stays in the
    /// trash, and for each path that is not there. The answer repeats `confined`.
    ///
    /// # Errors
    /// When the trash cannot be read, when it was cancelled, and the errors of `tell`. What was restored until then stays
    /// restored.
    pub fn restore(
        &self,
        paths: &[RelPath],
        confined: bool,
        cancel: &Cancel,
        tell: &mut Tell<'_>,
    ) -> Result<Restoration, EngineError> {
        let mut restorer = Restorer {
            workspace: Root::from_dir(self.directory.clone()),
            trash: self.trash()?,
            cancel,
            tell,
            counts: Restoration { confined, ..Restoration::default() },
        };
        paths.iter().try_for_each(|path| restorer.restore(path))?;
        Ok(restorer.counts)
    }

    fn trash(&self) -> Result<Option<Trash>, EngineError> {
        let Some(state) = &self.state else { return Ok(None) };
        Trash::open(&state.dir).map_err(|error| Purpose::Restoration.failed(&state.path, error))
    }
}

/// Restores entries, and counts them.
struct Restorer<'a, 'b> {
    workspace: Root,
    trash: Option<Trash>,
    cancel: &'a Cancel,
    tell: &'a mut Tell<'b>,
    counts: Restoration,
}

/// The reason why a path is not restored from an empty trash.
const EMPTY: &str = "the trash is empty";

/// The reason why a path is not restored that no batch has.
const NOT_THERE: &str = "it is not in the trash; list what is there by leaving out the paths";

/// The result of moving one entry back.
enum Moved {
    /// It is in the workspace, or it stays and the caller has been told.
    Done,
    /// It is a directory in the trash and in the workspace, so its entries have to be moved one by one.
    EntryByEntry,
}

impl Restorer<'_, '_> {
    /// Restores `path` from the latest batch that has it.
    fn restore(&mut self, path: &RelPath) -> Result<(), EngineError> {
        let Some(trash) = self.trash.take() else { return self.stays(path, EMPTY) };
        let restored = self.restore_from(&trash, path);
        self.trash = Some(trash);
        restored
    }

    fn restore_from(&mut self, trash: &Trash, path: &RelPath) -> Result<(), EngineError> {
        let mut found: Option<(BatchEntry, Root, Kind)> = None;
        let mut earlier = false;
        for batch in trash.batches().map_err(unreadable)? {
            let top = Root::from_dir(trash.directory(&batch).map_err(unreadable)?);
            let Some(kind) = kind_of(&top, path).map_err(unreadable)? else { continue };
            match &found {
                None => found = Some((batch, top, kind)),
                Some((_, _, latest)) => earlier |= (*latest, kind) == (Kind::Directory, Kind::Directory),
            }
        }
        let Some((batch, top, _)) = found else {
            let reason = if is_empty(trash) { EMPTY } else { NOT_THERE };
            return self.stays(path, reason);
        };
        let bytes_before = self.counts.restored_bytes;
        let restored = self.restore_below(trash, &top, path);
        clear_directories_above(&top, path);
        // Where that fails, the batch counts as larger than it is.
        let _ = trash.shrink(&batch, self.counts.restored_bytes - bytes_before);
        restored?;
        if earlier {
            let text = format!(
                "{path}: an earlier run deleted something there too; restore it again to get that back"
            );
            (self.tell)(Answer::Event(Event::Notice { text: &bounded_text(&text) }))?;
        }
        Ok(())
    }

    /// Moves `path` with everything below it from the batch `top`.
    fn restore_below(&mut self, trash: &Trash, top: &Root, path: &RelPath) -> Result<(), EngineError> {
        let mut pending = vec![path.clone()];
        let mut by_entry = Vec::new();
        while let Some(path) = pending.pop() {
            if self.cancel.is_cancelled() {
                return Err(EngineError::Interrupted);
            }
            if let Moved::Done = self.restore_one(trash, top, &path)? {
                continue;
            }
            match top.dir(&path).and_then(|dir| sorted(&dir)) {
                Ok(entries) => {
                    for entry in entries.iter().rev() {
                        match path.join(&entry.name) {
                            Ok(below) => pending.push(below),
                            Err(error) => {
                                self.stays(&path, &format!("{} cannot be named: {error}", entry.name))?
                            }
                        }
                    }
                    by_entry.push(path);
                }
                Err(error) => {
                    self.stays(&path, &format!("cannot read the directory in the trash: {error}"))?
                }
            }
        }
        // Those that are not empty stay.
        by_entry.iter().rev().for_each(|path| remove_directory(top, path));
        Ok(())
    }

    fn restore_one(&mut self, trash: &Trash, top: &Root, path: &RelPath) -> Result<Moved, EngineError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Moved::EntryByEntry);
        };
        let moving = |error: io::Error| {
            match error.kind() {
            io::ErrorKind::CrossesDevices => {
                "something else is mounted there in the workspace, so it cannot be moved back; copy it out of the trash by hand"
                    .to_owned()
            }
            _ => format!("cannot move it back: {error}"),
        }
        };
        let from = match top.dir(&parent) {
            Ok(from) => from,
            Err(error) => return self.left(path, &moving(error)),
        };
        let to = match self.directory_for(trash, top, &parent) {
            Ok(to) => to,
            Err(error) => return self.left(path, &error),
        };
        let stat = match from.stat(&name) {
            Ok(Some(stat)) => stat,
            Ok(None) => return self.left(path, "it has disappeared from the trash"),
            Err(error) => return self.left(path, &moving(error)),
        };
        let exists =
            "it exists in the workspace and was not replaced; move or delete it there, and try again";
        match to.stat(&name) {
            Ok(None) => {}
            Ok(Some(there)) if (there.kind, stat.kind) == (Kind::Directory, Kind::Directory) => {
                return Ok(Moved::EntryByEntry);
            }
            Ok(Some(_)) => return self.left(path, exists),
            Err(error) => return self.left(path, &moving(error)),
        }
        // Counted in the trash, where nobody changes it meanwhile.
        let (mut entries, mut bytes) = (0_u64, 0_u64);
        if stat.kind == Kind::Directory {
            visit_leaves(top, path.clone(), self.cancel, &mut |_, found| {
                entries += 1;
                bytes = bytes.saturating_add(found.map_or(0, |(_, size)| size));
                Ok(())
            })?;
        } else {
            (entries, bytes) = (1, size_of(&stat));
        }
        match from.rename_to(&name, &to, &name, Replace::Never) {
            Ok(()) => {
                self.counts.restored_entries += entries;
                self.counts.restored_bytes = self.counts.restored_bytes.saturating_add(bytes);
                Ok(Moved::Done)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.left(path, exists),
            Err(error) => self.left(path, &moving(error)),
        }
    }

    /// The directory `path` of the workspace. Missing directories are made like those in the batch `top`. The error is text for
    /// the user.
    fn directory_for(&self, trash: &Trash, top: &Root, path: &RelPath) -> Result<DirHandle, String> {
        if let Ok(there) = self.workspace.dir(path) {
            return Ok(there);
        }
        let (mut model, mut there, mut here) = (top.handle(), self.workspace.handle(), RelPath::root());
        for component in path.components() {
            let opened = Name::new(component).map_err(io::Error::other).and_then(|name| {
                here = here.join(&name).map_err(io::Error::other)?;
                model = model.child(&name)?;
                match there.child(&name) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        trash.put_like(&model, &there, &name)?;
                        there.child(&name)
                    }
                    opened => opened,
                }
            });
            there = opened.map_err(|error| {
                format!("cannot open or make the directory {here} in the workspace: {error}")
            })?;
        }
        Ok(there)
    }

    fn left(&mut self, path: &RelPath, reason: &str) -> Result<Moved, EngineError> {
        self.stays(path, reason).map(|()| Moved::Done)
    }

    /// Counts an entry that was not restored, and tells the caller.
    fn stays(&mut self, path: &RelPath, reason: &str) -> Result<(), EngineError> {
        self.counts.left_entries += 1;
        if self.counts.left_entries > MAX_KEPT_NAMED as u64 {
            return Ok(());
        }
        tell_problem(self.tell, path, reason)
    }
}

/// Whether nothing is in the trash. A killed run leaves an empty batch.
fn is_empty(trash: &Trash) -> bool {
    let is_empty = |batch: &BatchEntry| {
        trash.directory(batch).and_then(|top| top.list()).is_ok_and(|entries| entries.is_empty())
    };
    trash.batches().is_ok_and(|batches| batches.iter().all(is_empty))
}

/// Tells why one entry could not be handled.
fn tell_problem(tell: &mut Tell<'_>, path: &RelPath, reason: &str) -> Result<(), EngineError> {
    let (path, text) = (path.as_bytes(), &bounded_text(reason));
    tell(Answer::Event(Event::Problem { path, kind: ProblemKind::Destination, text }))
}

fn unreadable(error: io::Error) -> EngineError {
    EngineError::FileIo { doing: "reading the trash".to_owned(), error }
}

/// The kind of the entry at `path` in a batch; none when there is none.
fn kind_of(top: &Root, path: &RelPath) -> io::Result<Option<Kind>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        // A killed run leaves an empty batch.
        return Ok((!top.handle().list()?.is_empty()).then_some(Kind::Directory));
    };
    match top.dir(&parent) {
        Ok(dir) => Ok(dir.stat(&name)?.map(|stat| stat.kind)),
        Err(error) => match Errno::from_io_error(&error) {
            // A file or a symlink on the way: in this batch, nothing has the path.
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Removes the directories of a batch around `path` that are empty.
fn clear_directories_above(top: &Root, path: &RelPath) {
    let mut above = path.parent();
    while let Some(directory) = above.filter(|above| !above.is_root()) {
        remove_directory(top, &directory);
        above = directory.parent();
    }
}

/// Removes a directory of a batch if it is empty.
fn remove_directory(top: &Root, path: &RelPath) {
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        // A directory that is not empty stays.
        let _ = top.dir(&parent).and_then(|dir| dir.rmdir(&name));
    }
}

/// The entries of a directory, by name.
fn sorted(dir: &DirHandle) -> io::Result<Vec<Listed>> {
    let mut entries = dir.list()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Calls `visit` with each entry below `from` that is no directory, with each empty directory, and with each directory that cannot
/// be read. `from` itself counts unless it is the top.
fn visit_leaves(
    top: &Root,
    from: RelPath,
    cancel: &Cancel,
    visit: &mut Visit<'_>,
) -> Result<(), EngineError> {
    let mut pending = vec![from];
    while let Some(path) = pending.pop() {
        if cancel.is_cancelled() {
            return Err(EngineError::Interrupted);
        }
        let listed = top.dir(&path).and_then(|dir| sorted(&dir).map(|entries| (dir, entries)));
        let (dir, entries) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                visit(&path, Err(error))?;
                continue;
            }
        };
        if entries.is_empty() && !path.is_root() {
            visit(&path, Ok((EntryKind::Directory, 0)))?;
        }
        let mut directories = Vec::new();
        for entry in entries {
            let below = match path.join(&entry.name) {
                Ok(below) => below,
                Err(error) => {
                    visit(&path, Err(io::Error::other(error)))?;
                    continue;
                }
            };
            match dir.stat(&entry.name) {
                Ok(Some(stat)) if stat.kind == Kind::Directory => directories.push(below),
                Ok(Some(stat)) => visit(&below, Ok((entry_kind(stat.kind), size_of(&stat))))?,
                Ok(None) => {}
                Err(error) => visit(&below, Err(error))?,
            }
        }
        pending.extend(directories.into_iter().rev());
    }
    Ok(())
}

/// The size of a file, in bytes; 0 for other entries.
fn size_of(stat: &Stat) -> u64 {
    if stat.kind == Kind::File { stat.size } else { 0 }
}

fn entry_kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::File => EntryKind::File,
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::CharDevice | Kind::BlockDevice => EntryKind::Device,
        Kind::Fifo | Kind::Socket => EntryKind::Special,
    }
}
