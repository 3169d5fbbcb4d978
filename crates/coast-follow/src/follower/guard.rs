//! Checks before each batch that the worktree is the one that was watched first.

use std::fs;
use std::path::{Path, PathBuf};

use coast_tree::Root;

use crate::identity::{Identity, LostRoot};

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Guard {
    path: PathBuf,
    identity: Identity,
    had_entries: bool,
}

impl Guard {
    pub(super) fn new(path: PathBuf, identity: Identity) -> Self {
        let had_entries = is_empty(&path).is_ok_and(|is_empty| !is_empty);
        Self { path, identity, had_entries }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if a batch could delete what the worktree still has somewhere else.
    pub(super) fn check(&mut self) -> Result<(), LostRoot> {
        self.open().map(drop)
    }

    /// Opens the worktree. Fails as [`Guard::check`] does.
    pub(super) fn open(&mut self) -> Result<Root, LostRoot> {
        let root = self.identity.open(&self.path)?;
        match is_empty(&self.path) {
            Ok(false) => self.had_entries = true,
            Ok(true) if self.had_entries => {
                return Err(LostRoot::Emptied { path: self.path.clone() });
            }
            Ok(true) => {}
            Err(error) => {
                return Err(LostRoot::of(&self.path, &error));
            }
        }
        Ok(root)
    }
}

fn is_empty(path: &Path) -> std::io::Result<bool> {
    Ok(fs::read_dir(path)?.next().transpose()?.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worktree_is_lost_when_it_becomes_empty_not_when_it_always_was() {
        let scratch = tempfile::tempdir().unwrap();
        let mut guard = Guard::new(scratch.path().to_owned(), Identity::of(scratch.path()).unwrap());
        guard.check().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        guard.check().unwrap();
        fs::remove_file(&file).unwrap();
        assert!(matches!(guard.check(), Err(LostRoot::Emptied { .. })));
    }
}
