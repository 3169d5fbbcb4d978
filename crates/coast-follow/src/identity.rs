//! Which directory the worktree is. Its path may lead to another one at any time.

use std::io;
use std::path::{Path, PathBuf};

use coast_tree::Root;

/// A directory, told apart from all others of this machine until it restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// The worktree is not where it was. Nothing is sent then, so nothing is deleted at the destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LostRoot {
    /// There is no directory at its path.
    #[error("the worktree {} cannot be opened: {reason}; bring it back, or assign another one", path.display())]
    Missing {
        path: PathBuf,
        /// What the system answered.
        reason: String,
    },
    /// It cannot be looked at for the moment: permissions, too many open files, a file server that does not answer.
    #[error("the worktree {} cannot be opened: {reason}", path.display())]
    Unreadable {
        path: PathBuf,
        /// What the system answered.
        reason: String,
    },
    /// There is another directory at its path.
    #[error(
        "{} is another directory than when edits began to follow; start again if it is the right one",
        path.display()
    )]
    Replaced { path: PathBuf },
    /// Everything in it is gone.
    #[error("the worktree {} is empty now; start again if that is right", path.display())]
    Emptied { path: PathBuf },
    /// The system tells no more of its changes.
    #[error("changes of {} are no longer reported: {reason}; start again", path.display())]
    Unwatched {
        path: PathBuf,
        /// What the system answered.
        reason: String,
    },
}

impl Identity {
    /// The identity of the directory at `path`.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn of(path: &Path) -> Result<Self, LostRoot> {
        Self::opened(path).map(|(identity, _)| identity)
    }

    /// Opens the directory at `path`. The handle is for one operation: a file system with an open directory cannot be unmounted.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it is another directory.
    pub fn open(self, path: &Path) -> Result<Root, LostRoot> {
        let (identity, root) = Self::opened(path)?;
        if identity == self { Ok(root) } else { Err(LostRoot::Replaced { path: path.to_owned() }) }
    }

    fn opened(path: &Path) -> Result<(Self, Root), LostRoot> {
        let opened = || -> io::Result<(Self, Root)> {
            let root = Root::open(path)?;
            let stat = root.handle().stat_self()?;
            Ok((Self { device: stat.dev, inode: stat.ino }, root))
        };
        opened().map_err(|error| LostRoot::of(path, &error))
    }
}

impl LostRoot {
    /// What an error of the system about the worktree at `path` says of it.
    pub(crate) fn of(path: &Path, error: &io::Error) -> Self {
        let (path, reason) = (path.to_owned(), error.to_string());
        let is_symlink = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing { path, reason },
            _ if is_symlink => Self::Missing { path, reason },
            _ => Self::Unreadable { path, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_directory_at_the_path_is_not_opened() {
        let scratch = tempfile::tempdir().unwrap();
        let (path, aside) = (scratch.path().join("worktree"), scratch.path().join("aside"));
        std::fs::create_dir(&path).unwrap();
        let identity = Identity::of(&path).unwrap();
        assert!(identity.open(&path).is_ok());

        std::fs::rename(&path, &aside).unwrap();
        assert!(matches!(identity.open(&path), Err(LostRoot::Missing { .. })));
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(identity.open(&path), Err(LostRoot::Replaced { .. })));
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        assert!(identity.open(&path).is_ok());
    }
}
