//! Removes a tree while others may be writing in it. Each entry is removed by its name in an open directory. Each directory was
//! opened as an entry of the directory above it, without following a symlink and without entering another mount. So only
//! entries of the tree are removed, wherever others move them meanwhile and whatever they put in their places.

use std::io;

use crate::{DirHandle, Kind, Listed, MountId, Name, Replace};

/// How many directories are held open, one below the other. A deeper directory is moved to the top of the tree first, so that
/// trees of any depth can be removed.
const MAX_OPEN: usize = 64;

/// How often a directory is emptied again when others have put new entries into it. The number is low, because a process that
/// makes entries twice as fast as they are removed leaves twice as many at each round.
const MAX_ROUNDS: u32 = 4;

/// How many names are tried for a directory that is moved to the top.
const MAX_NAMES: u32 = 1000;

/// Removes trees, and counts the entries that go and stay.
pub struct Eraser<'a> {
    cancelled: &'a dyn Fn(u64) -> bool,
    tell: &'a mut dyn FnMut(&[u8], &Stays),
    /// The user of this process, unless that is root, who needs no permission.
    user: Option<u32>,
    removed_entries: u64,
    kept_entries: u64,
}

impl std::fmt::Debug for Eraser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eraser")
            .field("removed_entries", &self.removed_entries)
            .field("kept_entries", &self.kept_entries)
            .finish_non_exhaustive()
    }
}

/// The result of removing a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// The tree is gone.
    Everything,
    /// An entry of the tree stays, and with it every directory around that entry.
    NotEverything,
}

/// Why a removal ended early.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum EraseError {
    /// The caller cancelled it.
    #[error("cancelled")]
    Cancelled,
    /// The top directory cannot be read.
    #[error("{doing}: {error}")]
    Unreadable { doing: String, error: io::Error },
}

/// A directory that is being emptied.
struct Level {
    /// Its name in the level above.
    name: Name,
    dir: DirHandle,
    /// The entries that are still to be removed, the next one last.
    entries: Vec<Listed>,
    /// Whether something in it could not be removed.
    keeps: bool,
    rounds: u32,
}

/// Why an entry stays.
#[derive(Debug, thiserror::Error)]
pub enum Stays {
    /// A file system is mounted there, which is never emptied.
    #[error("something is mounted there; unmount it first")]
    Mount,
    /// Other processes add entries to the directory as fast as they are removed.
    #[error("it fills up again as often as it is emptied; stop the program that writes there")]
    FillsUp,
    /// The system refused.
    #[error("{0}: {1}")]
    Failed(&'static str, io::Error),
}

/// The result of removing a directory that had been emptied.
enum Left {
    Gone,
    /// New entries appeared in the directory.
    Again,
    /// An entry of the directory stays, and the caller has been told.
    Keeps,
    Stays(Stays),
}

impl<'a> Eraser<'a> {
    /// An eraser that asks `cancelled` before each entry whether it has to end, and calls `tell` for each entry that stays,
    /// with the path relative to the tree (empty for the tree's own directory). `cancelled` is given the number of entries that
    /// were removed until then.
    pub fn new(cancelled: &'a dyn Fn(u64) -> bool, tell: &'a mut dyn FnMut(&[u8], &Stays)) -> Self {
        let user = rustix::process::geteuid();
        let user = (!user.is_root()).then(|| user.as_raw());
        Self { cancelled, tell, user, removed_entries: 0, kept_entries: 0 }
    }

    /// How many entries were removed, directories included.
    pub fn removed_entries(&self) -> u64 {
        self.removed_entries
    }

    /// How many entries could not be removed, without the directories around them.
    pub fn kept_entries(&self) -> u64 {
        self.kept_entries
    }

    /// Removes the directory `dir`, which is `name` in `parent`, with all that is in it. An entry called `last` goes last, and
    /// stays if anything else does.
    ///
    /// # Errors
    /// When it was cancelled, or `dir` itself cannot be read.
    pub fn erase(
        &mut self,
        parent: &DirHandle,
        name: &Name,
        dir: DirHandle,
        last: Option<&Name>,
    ) -> Result<Erased, EraseError> {
        let unreadable =
            |error| EraseError::Unreadable { doing: format!("reading the directory {name}"), error };
        let mount = dir.mount().map_err(unreadable)?;
        let mut levels = vec![self.enter(name.clone(), dir).map_err(unreadable)?];
        put_last(&mut levels, last);
        while let Some(level) = levels.last_mut() {
            if (self.cancelled)(self.removed_entries) {
                return Err(EraseError::Cancelled);
            }
            match level.entries.pop() {
                // It stays because other entries stay, which the caller has been told.
                Some(entry) if level.keeps && levels.len() == 1 && Some(&entry.name) == last => {}
                Some(entry) => self.remove(&mut levels, entry, mount),
                None => match self.leave(&mut levels, parent) {
                    Left::Gone => drop(levels.pop()),
                    Left::Again => put_last(&mut levels, last),
                    Left::Keeps => {
                        levels.pop();
                        match levels.last_mut() {
                            Some(level) => level.keeps = true,
                            None => return Ok(Erased::NotEverything),
                        }
                    }
                    Left::Stays(stays) => {
                        let name = levels.pop().map(|level| level.name);
                        // Paths are relative to the top, so the top has no name.
                        let name = name.filter(|_| !levels.is_empty());
                        self.keep(&mut levels, name.as_ref(), &stays);
                        if levels.is_empty() {
                            return Ok(Erased::NotEverything);
                        }
                    }
                },
            }
        }
        Ok(Erased::Everything)
    }

    /// Removes all that is in `dir` but the entry called `keep`.
    ///
    /// # Errors
    /// When it was cancelled, or a directory cannot be read.
    pub fn empty(&mut self, dir: &DirHandle, keep: &Name) -> Result<(), EraseError> {
        let unreadable =
            |error| EraseError::Unreadable { doing: "reading a directory to be emptied".to_owned(), error };
        let mount = dir.mount().map_err(unreadable)?;
        for entry in dir.list().map_err(unreadable)? {
            if entry.name != *keep {
                self.erase_entry(dir, &entry, mount)?;
            }
        }
        Ok(())
    }

    /// Removes an entry of `dir` with all that is in it.
    fn erase_entry(&mut self, dir: &DirHandle, entry: &Listed, mount: MountId) -> Result<(), EraseError> {
        let removed = match self.open_if_directory(dir, entry, mount) {
            Ok(Some(child)) => self.erase(dir, &entry.name, child, None).map(|_| Ok(()))?,
            Ok(None) => self.unlink(dir, &entry.name),
            Err(stays) => Err(stays),
        };
        if let Err(stays) = removed {
            self.keep(&mut [], Some(&entry.name), &stays);
        }
        Ok(())
    }

    /// Removes an entry of the last level. A directory becomes the next level.
    fn remove(&mut self, levels: &mut Vec<Level>, entry: Listed, mount: MountId) {
        let Some(level) = levels.last() else { return };
        let removed = match self.open_if_directory(&level.dir, &entry, mount) {
            Ok(Some(dir)) => self.go_down(levels, &entry.name, dir),
            Ok(None) => self.unlink(&level.dir, &entry.name),
            Err(stays) => Err(stays),
        };
        if let Err(stays) = removed {
            self.keep(levels, Some(&entry.name), &stays);
        }
    }

    fn open_if_directory(
        &self,
        dir: &DirHandle,
        entry: &Listed,
        mount: MountId,
    ) -> Result<Option<DirHandle>, Stays> {
        match entry.kind {
            Kind::Directory => self.open(dir, &entry.name, mount),
            _ => Ok(None),
        }
    }

    /// Opens a directory to empty it. None when it is no directory any more.
    fn open(&self, dir: &DirHandle, name: &Name, mount: MountId) -> Result<Option<DirHandle>, Stays> {
        let failed = |error| Stays::Failed("cannot open the directory", error);
        let opened = match dir.child_within(name, mount) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.owns(dir, name) => {
                // The directory belongs to this user, who may change its mode.
                dir.chmod(name, 0o700).map_err(failed)?;
                dir.child_within(name, mount)
            }
            opened => opened,
        };
        match opened {
            Ok(child) => Ok(Some(child)),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Err(Stays::Mount),
            Err(error) => match dir.stat(name) {
                Ok(Some(stat)) if stat.kind == Kind::Directory => Err(failed(error)),
                // The directory is gone or was replaced: removing the name is enough.
                _ => Ok(None),
            },
        }
    }

    fn owns(&self, dir: &DirHandle, name: &Name) -> bool {
        let stat = dir.stat(name).ok().flatten();
        stat.is_some_and(|stat| stat.kind == Kind::Directory && self.user == Some(stat.uid))
    }

    fn unlink(&mut self, dir: &DirHandle, name: &Name) -> Result<(), Stays> {
        match dir.unlink(name) {
            Ok(()) => self.removed_entries += 1,
            // An entry that has become a directory is found again, because the directory around it is not empty.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Err(Stays::Mount),
            Err(error) => return Err(Stays::Failed("cannot delete it", error)),
        }
        Ok(())
    }

    fn go_down(&mut self, levels: &mut Vec<Level>, name: &Name, dir: DirHandle) -> Result<(), Stays> {
        if levels.len() >= MAX_OPEN {
            return self.move_up(levels, name);
        }
        let level = self.enter(name.clone(), dir);
        levels.push(level.map_err(|error| Stays::Failed("cannot read the directory", error))?);
        Ok(())
    }

    /// Moves a directory of the last level to the first level, which removes it later.
    fn move_up(&mut self, levels: &mut [Level], name: &Name) -> Result<(), Stays> {
        let failed = |error| Stays::Failed("cannot move the directory up, so as to empty it", error);
        let [top, .., last] = levels else { return Ok(()) };
        for number in 0..MAX_NAMES {
            let free = format!(".coast-removed-{}-{number}", std::process::id());
            let free = Name::new(free.as_bytes()).map_err(|error| failed(io::Error::other(error)))?;
            match last.dir.rename_to(name, &top.dir, &free, Replace::Never) {
                Ok(()) => {
                    // Nothing reads the inode number.
                    top.entries.push(Listed { name: free, kind: Kind::Directory, ino: 0 });
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    fn enter(&self, name: Name, dir: DirHandle) -> io::Result<Level> {
        if let Some(user) = self.user {
            // Some programs make read-only directories against changes by mistake, as Go does for its module cache.
            let stat = dir.stat_self()?;
            if stat.uid == user && stat.mode & 0o700 != 0o700 {
                dir.chmod_self(stat.mode | 0o700)?;
            }
        }
        let entries = dir.list()?;
        Ok(Level { name, dir, entries, keeps: false, rounds: 0 })
    }

    /// Removes the last level's directory, which was emptied. `parent` holds the first level's.
    fn leave(&mut self, levels: &mut [Level], parent: &DirHandle) -> Left {
        let Some((level, above)) = levels.split_last_mut() else { return Left::Gone };
        if level.keeps {
            return Left::Keeps;
        }
        match above.last().map_or(parent, |above| &above.dir).rmdir(&level.name) {
            Ok(()) => {
                self.removed_entries += 1;
                Left::Gone
            }
            // Somebody removed it, or moved it elsewhere in the tree, where it is found again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Left::Gone,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Left::Stays(Stays::Mount),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                if level.rounds >= MAX_ROUNDS {
                    return Left::Stays(Stays::FillsUp);
                }
                level.rounds += 1;
                match level.dir.list() {
                    Ok(entries) => {
                        level.entries = entries;
                        Left::Again
                    }
                    Err(error) => Left::Stays(Stays::Failed("cannot read the directory", error)),
                }
            }
            Err(error) => Left::Stays(Stays::Failed("cannot remove the directory", error)),
        }
    }

    /// Counts an entry of the last level that stays, and tells the caller.
    fn keep(&mut self, levels: &mut [Level], name: Option<&Name>, stays: &Stays) {
        self.kept_entries += 1;
        let path = path_of(levels, name);
        if let Some(level) = levels.last_mut() {
            level.keeps = true;
        }
        (self.tell)(&path, stays);
    }
}

/// Removes an entry of a private directory with everything in it. A missing entry is no error.
///
/// # Errors
/// When anything of it stays.
pub fn remove_entry(parent: &DirHandle, name: &Name) -> io::Result<()> {
    let Some(stat) = parent.stat(name)? else { return Ok(()) };
    let entry = Listed { name: name.clone(), kind: stat.kind, ino: stat.ino };
    let mut first = None;
    let mut tell = |_: &[u8], stays: &Stays| {
        first.get_or_insert_with(|| io::Error::other(format!("{name} stays: {stays}")));
    };
    Eraser::new(&|_| false, &mut tell)
        .erase_entry(parent, &entry, parent.mount()?)
        .map_err(io::Error::other)?;
    first.map_or(Ok(()), Err)
}

/// Makes the entry called `last` the last one that the first level removes.
fn put_last(levels: &mut [Level], last: Option<&Name>) {
    let [top] = levels else { return };
    if let Some(at) = top.entries.iter().position(|entry| Some(&entry.name) == last) {
        top.entries.swap(0, at);
    }
}

/// The path of an entry of the last level, relative to the first; empty for the first itself.
fn path_of(levels: &[Level], name: Option<&Name>) -> Vec<u8> {
    let names = levels.iter().skip(1).map(|level| &level.name).chain(name);
    names.map(Name::as_bytes).collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Root;

    #[test]
    fn a_directory_that_fills_up_is_left_after_some_rounds() {
        let scratch = tempfile::tempdir().unwrap();
        let parent = Root::open(scratch.path()).unwrap().handle();
        let name = Name::new(b"filling").unwrap();
        parent.mkdir(&name, 0o755).unwrap();
        let mut tell = |_: &[u8], stays: &Stays| panic!("{stays}");
        let mut eraser = Eraser::new(&|_| false, &mut tell);
        let mut levels = vec![eraser.enter(name.clone(), parent.child(&name).unwrap()).unwrap()];
        for round in 0..MAX_ROUNDS {
            fs::write(scratch.path().join(format!("filling/{round}")), "").unwrap();
            assert!(matches!(eraser.leave(&mut levels, &parent), Left::Again), "round {round}");
            let entry = levels[0].entries.pop().unwrap();
            assert!(levels[0].entries.is_empty());
            let mount = levels[0].dir.mount().unwrap();
            eraser.remove(&mut levels, entry, mount);
        }
        fs::write(scratch.path().join("filling/once too often"), "").unwrap();
        assert!(matches!(eraser.leave(&mut levels, &parent), Left::Stays(Stays::FillsUp)));
        assert_eq!(eraser.removed_entries, u64::from(MAX_ROUNDS));
    }
}
