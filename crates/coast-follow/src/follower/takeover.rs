//! Puts a file or a symlink of the destination in the place of an entry of the worktree.
//!
//! The content is written to a directory of the name [`STAGING_INSIDE`], which no run sends, beside the entry. It gets the entry's
//! name only when it is whole, and only if the entry is the one that was there when the caller decided: an edit made meanwhile is
//! kept.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;

use coast_sync::{FetchedEntry, SyncError};
use coast_tree::state::{STAGING_INSIDE, name};
use coast_tree::{DirHandle, FileIdentity, Kind, Name, RelPath, Replace, Root};

/// A path whose entry is to come from the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    path: RelPath,
    /// What the worktree had there when the caller decided. `None` if it had nothing.
    replaced: Option<(Kind, FileIdentity)>,
}

/// Why an entry did not come.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// The destination did not give it.
    There(SyncError),
    /// It cannot be put here. The text says why.
    Here(String),
}

impl From<SyncError> for NotTaken {
    fn from(error: SyncError) -> Self {
        Self::There(error)
    }
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> Self {
        Self::Here(error.to_string())
    }
}

impl Wanted {
    /// Notes what the worktree has at `path` now.
    pub(super) fn new(root: &Root, path: RelPath) -> io::Result<Self> {
        let replaced = entry_at(root, &path)?;
        Ok(Self { path, replaced })
    }

    pub(super) fn path(&self) -> &RelPath {
        &self.path
    }

    /// Puts the entry that `fetch` gives in the place of the one here.
    pub(super) fn take_over(
        &self,
        root: &Root,
        fetch: impl FnOnce(&mut dyn Write) -> Result<FetchedEntry, SyncError>,
    ) -> Result<(), NotTaken> {
        let is_directory = matches!(self.replaced, Some((Kind::Directory, _)));
        let (false, Some(parent), Some(name)) = (is_directory, self.path.parent(), self.path.file_name())
        else {
            let advice = "it is a directory here, and is not replaced; move it away, and try again";
            return Err(NotTaken::Here(advice.to_owned()));
        };
        let staging = Staging::new(nearest(root, &parent)?)?;
        match staging.create(|file| fetch(file))? {
            (file, FetchedEntry::File { mode, .. }) => {
                // A program of the destination must not get the rights of this user by a set-id bit.
                file.set_permissions(Permissions::from_mode(u32::from(mode) & 0o777))?;
                file.sync_all()?;
            }
            (_, FetchedEntry::Symlink(link_target)) => staging.become_symlink(&link_target)?,
        }
        if entry_at(root, &self.path)? != self.replaced {
            return Err(NotTaken::Here("it was changed here meanwhile; try again".to_owned()));
        }
        let dir = make_directories(root, &parent)?;
        let replace = if self.replaced.is_some() { Replace::Any } else { Replace::Never };
        Ok(staging.place(&dir, &name, replace)?)
    }
}

/// What a path of the worktree has, as far as that changes with every change of the entry.
fn entry_at(root: &Root, path: &RelPath) -> io::Result<Option<(Kind, FileIdentity)>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        let stat = root.handle().stat_self()?;
        return Ok(Some((stat.kind, FileIdentity::from(&stat))));
    };
    let stat = match root.dir(&parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        dir => dir?.stat(&name)?,
    };
    Ok(stat.map(|stat| (stat.kind, FileIdentity::from(&stat))))
}

/// The innermost directory that exists at or above a path.
fn nearest(root: &Root, path: &RelPath) -> io::Result<DirHandle> {
    match (root.dir(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => nearest(root, &parent),
        (dir, _) => dir,
    }
}

/// Opens a directory. Makes it and those above it if they are missing.
fn make_directories(root: &Root, path: &RelPath) -> io::Result<DirHandle> {
    match (root.dir(path), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            let parent = make_directories(root, &parent)?;
            parent.mkdir(&name, 0o777)?;
            parent.child(&name)
        }
        (dir, _, _) => dir,
    }
}

/// A new entry that has no name of the worktree yet. It is removed when this is dropped, unless it was placed.
struct Staging {
    above: DirHandle,
    dir: DirHandle,
    name: Name,
}

impl Staging {
    fn new(above: DirHandle) -> io::Result<Self> {
        let staging = name(STAGING_INSIDE);
        match above.mkdir(&staging, 0o700) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let dir = above.child(&staging)?;
        Ok(Self { above, dir, name: name(&format!("fetched-{:016x}", fastrand::u64(..))) })
    }

    /// Makes the entry as a file, which `write` fills.
    fn create<T>(
        &self,
        write: impl FnOnce(&mut std::fs::File) -> Result<T, SyncError>,
    ) -> Result<(std::fs::File, T), NotTaken> {
        let mut file = self.dir.create_file(&self.name, 0o600)?;
        let written = write(&mut file)?;
        Ok((file, written))
    }

    fn become_symlink(&self, link_target: &[u8]) -> io::Result<()> {
        self.dir.unlink(&self.name)?;
        self.dir.symlink(link_target, &self.name)
    }

    fn place(&self, dir: &DirHandle, name: &Name, replace: Replace) -> io::Result<()> {
        self.dir.rename_to(&self.name, dir, name, replace)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The entry was placed, or the directory is another's too: no run sends what stays.
        let _ = self.dir.unlink(&self.name);
        let _ = self.above.rmdir(&name(STAGING_INSIDE));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn wanted(worktree: &Path, path: &str) -> (Root, Wanted) {
        let root = Root::open(worktree).unwrap();
        let wanted = Wanted::new(&root, rel(path)).unwrap();
        (root, wanted)
    }

    fn file(into: &mut dyn Write) -> Result<FetchedEntry, SyncError> {
        into.write_all(b"there").unwrap();
        Ok(FetchedEntry::File { size: 5, mode: 0o4755 })
    }

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_comes_with_its_permissions_and_the_directories_above_it() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("a"), "here").unwrap();
        for path in ["a", "d/e/b"] {
            let (root, wanted) = wanted(scratch.path(), path);
            wanted.take_over(&root, file).unwrap();
            let path = scratch.path().join(path);
            assert_eq!(fs::read_to_string(&path).unwrap(), "there");
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
        }
        assert_eq!(names(scratch.path()), ["a", "d"]);
    }

    #[test]
    fn a_symlink_comes_and_nothing_is_written_through_one() {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = scratch.path().join("worktree");
        fs::create_dir(&worktree).unwrap();
        let link = |_: &mut dyn Write| Ok(FetchedEntry::Symlink(b"..".to_vec()));
        let (root, link_wanted) = wanted(&worktree, "link");
        link_wanted.take_over(&root, link).unwrap();
        assert_eq!(fs::read_link(worktree.join("link")).unwrap(), Path::new(".."));

        assert!(Wanted::new(&root, rel("link/file")).is_err());
        let later = Wanted { path: rel("link/file"), replaced: None };
        assert!(matches!(later.take_over(&root, file), Err(NotTaken::Here(_))));
        assert_eq!(names(scratch.path()), ["worktree"]);
    }

    #[test]
    fn an_edit_made_meanwhile_and_a_directory_stay() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("directory")).unwrap();
        fs::write(scratch.path().join("edited"), "here").unwrap();
        for path in ["edited", "made", "directory", ""] {
            let (root, wanted) = wanted(scratch.path(), path);
            let edit = |into: &mut dyn Write| {
                fs::write(scratch.path().join(path), "edit").unwrap();
                file(into)
            };
            let Err(NotTaken::Here(text)) = wanted.take_over(&root, edit) else { panic!("{path}") };
            assert!(text.contains("try again"), "{text}");
        }
        for path in ["edited", "made"] {
            assert_eq!(fs::read_to_string(scratch.path().join(path)).unwrap(), "edit");
        }
        assert_eq!(names(scratch.path()), ["directory", "edited", "made"]);
    }

    #[test]
    fn what_fails_on_the_way_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, wanted) = wanted(scratch.path(), "d/file");
        let broken = |into: &mut dyn Write| {
            into.write_all(b"half").unwrap();
            Err(SyncError::Interrupted)
        };
        assert!(matches!(wanted.take_over(&root, broken), Err(NotTaken::There(SyncError::Interrupted))));
        assert_eq!(names(scratch.path()), [""; 0]);
    }
}
