//! The lock that git holds while it changes the worktree: `index.lock` in the worktree's own git directory.

use std::path::{Path, PathBuf};

use coast_git::git_dir_at;
use coast_tree::{Name, Root};

use super::event::WatchNumber;
use super::queue::Queue;

/// The name of the entry of a worktree that is its git directory, or a file that tells where it is.
pub(super) const GIT: &[u8] = b".git";
const INDEX_LOCK: &str = "index.lock";

/// The git directory, with a watch on it. Nothing below it is watched.
#[derive(Debug, Default)]
pub(super) struct GitLock {
    directory: Option<(PathBuf, WatchNumber)>,
}

impl GitLock {
    /// Looks for the git directory of a worktree. Without one, or if it cannot be watched, the lock counts as never held.
    pub(super) fn find(queue: &Queue, worktree: &Path) -> Self {
        let directory = git_dir_at(worktree).ok().flatten().and_then(|path| {
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
