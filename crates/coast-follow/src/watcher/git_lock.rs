//! The lock that git holds while it changes the worktree: `index.lock` in the worktree's own git directory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use coast_tree::{Name, Root};

use super::event::WatchNumber;
use super::queue::Queue;

/// The name of the entry of a worktree that is its git directory, or a file that tells where it is.
pub(super) const GIT: &[u8] = b".git";
const INDEX_LOCK: &str = "index.lock";
/// Bytes of a file that tells where the git directory is. It holds one path.
const MAX_POINTER_BYTES: u64 = 8192;

/// The git directory, with a watch on it. Nothing below it is watched.
#[derive(Debug, Default)]
pub(super) struct GitLock {
    directory: Option<(PathBuf, WatchNumber)>,
}

impl GitLock {
    /// Looks for the git directory of a worktree. Without one, or if it cannot be watched, the lock counts as never held.
    pub(super) fn find(queue: &Queue, worktree: &Path) -> Self {
        let directory = git_directory(worktree).and_then(|path| {
            let watch = queue.watch(&Root::open(&path).ok()?.handle(), &path).ok()?;
            Some((path, watch))
        });
        Self { directory }
    }

    /// Whether an event of this watch and name is about the lock.
    pub(super) fn is_meant(&self, watch: WatchNumber, name: &Name) -> bool {
        name.as_bytes() == INDEX_LOCK.as_bytes()
            && self.directory.as_ref().is_some_and(|(_, watched)| *watched == watch)
    }

    /// Whether the lock is held now.
    pub(super) fn is_held(&self) -> bool {
        let Some((directory, _)) = &self.directory else { return false };
        directory.join(INDEX_LOCK).symlink_metadata().is_ok()
    }
}

/// The git directory of a worktree. A linked worktree has a file `.git` with a line `gitdir: PATH`.
fn git_directory(worktree: &Path) -> Option<PathBuf> {
    let entry = worktree.join(".git");
    let kind = fs::symlink_metadata(&entry).ok()?;
    if !kind.is_file() {
        // A symlink to a git directory, too.
        return entry.is_dir().then_some(entry);
    }
    let mut content = Vec::new();
    File::open(&entry).ok()?.take(MAX_POINTER_BYTES).read_to_end(&mut content).ok()?;
    let path = content.strip_prefix(b"gitdir: ")?;
    let path = path.split(|&byte| byte == b'\n').next()?;
    Some(worktree.join(OsString::from_vec(path.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_directory_of_a_linked_worktree_is_found() {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = scratch.path();
        assert_eq!(git_directory(worktree), None);
        fs::write(worktree.join(".git"), "gitdir: ../main/.git/worktrees/one\n").unwrap();
        assert_eq!(git_directory(worktree), Some(worktree.join("../main/.git/worktrees/one")));
        fs::write(worktree.join(".git"), "something else").unwrap();
        assert_eq!(git_directory(worktree), None);
        fs::remove_file(worktree.join(".git")).unwrap();
        fs::create_dir(worktree.join(".git")).unwrap();
        assert_eq!(git_directory(worktree), Some(worktree.join(".git")));
    }
}
