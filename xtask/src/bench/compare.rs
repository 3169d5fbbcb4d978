//! The comparison of pushed trees, by snapshots of the test kit. It shares no code with the engine that is measured.

use anyhow::{Context, Result, ensure};
use coast_testkit::{Aspects, Kind, Seen, Snapshot};
use std::path::Path;

/// Execute bits are left out: the documented profile takes them from the source, which the rsync command line does not.
const MODE_BITS: u32 = 0o666;
/// The differences that an error names.
const SHOWN: usize = 5;

/// The size of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) files: usize,
    /// The root among them.
    pub(crate) directories: usize,
    pub(crate) content_bytes: u64,
}

impl Size {
    pub(crate) fn of(tree: &Snapshot) -> Self {
        let files = || tree.iter().filter(|(_, seen)| is_file(seen));
        Self {
            files: files().count(),
            directories: tree.directories().count(),
            content_bytes: files().map(|(_, seen)| seen.size).sum(),
        }
    }
}

/// Reads a tree for a comparison.
pub(crate) fn read(tree: &Path) -> Result<Snapshot> {
    Snapshot::read(tree).with_context(|| format!("reading {} to compare it", tree.display()))
}

/// Fails unless the trees at two paths are equal.
pub(crate) fn ensure_equal(left: &Path, right: &Path) -> Result<()> {
    ensure_same(&read(left)?, &read(right)?)
        .with_context(|| format!("{} and {}", left.display(), right.display()))
}

/// Fails unless two trees are equal in names, kinds, permissions, link targets and contents.
pub(crate) fn ensure_same(left: &Snapshot, right: &Snapshot) -> Result<()> {
    let differences = left.differences(right, Aspects::CONTENT.with_mode_bits(MODE_BITS));
    ensure!(
        differences.is_empty(),
        "they differ in {} places: {}",
        differences.len(),
        differences[..differences.len().min(SHOWN)].join("; ")
    );
    Ok(())
}

/// The number of regular files that only one of the trees has, or that have other content in the other: the size of a switch.
pub(crate) fn changed_files(old: &Snapshot, new: &Snapshot) -> usize {
    let changed = new
        .iter()
        .filter(|(path, seen)| is_file(seen) && old.get(path).is_none_or(|before| before.kind != seen.kind));
    let removed = old.iter().filter(|(path, seen)| is_file(seen) && !new.holds(path));
    changed.count() + removed.count()
}

/// The number of regular files of a destination that the source does not have, or has with other content.
pub(crate) fn stale_files(source: &Snapshot, destination: &Snapshot) -> usize {
    destination
        .iter()
        .filter(|(path, seen)| is_file(seen) && source.get(path).is_none_or(|right| right.kind != seen.kind))
        .count()
}

fn is_file(seen: &Seen) -> bool {
    matches!(seen.kind, Kind::File(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coast_testkit::Tree;
    use tempfile::TempDir;

    fn built(tree: &Tree) -> TempDir {
        let directory = TempDir::new().unwrap();
        tree.build(directory.path());
        directory
    }

    fn tree(content: &str) -> Tree {
        Tree::new().dir("folder").file("folder/file", content).symlink("link", "folder/file")
    }

    #[test]
    fn entries_and_bytes_are_counted() {
        let size = Size::of(&read(built(&tree("text")).path()).unwrap());
        assert_eq!(size, Size { files: 1, directories: 2, content_bytes: 4 });
    }

    #[test]
    fn difference_is_named() {
        let left = built(&tree("text"));
        ensure_equal(left.path(), built(&tree("text")).path()).unwrap();
        let reason =
            |other: &Tree| format!("{:#}", ensure_equal(left.path(), built(other).path()).unwrap_err());
        assert!(reason(&tree("test")).contains("folder/file: content"));
        assert!(
            reason(&tree("text").symlink("other", "folder")).contains("other: symlink to folder, only in")
        );
        let link = tree("text").without("link").symlink("link", "elsewhere");
        assert!(reason(&link).contains("link: content symlink to folder/file != symlink to elsewhere"));
        let unreadable = tree("text").without("folder/file").file("folder/file", "text").mode(0o600);
        assert!(reason(&unreadable).contains("folder/file: mode 0644 != 0600"));
        // Execute bits do not count.
        let executable = tree("text").without("folder/file").file("folder/file", "text").mode(0o755);
        ensure_equal(left.path(), built(&executable).path()).unwrap();
    }

    #[test]
    fn changed_added_and_removed_files_are_counted() {
        let old =
            Tree::new().file("same", "x").file("changed", "old").file("gone/a", "a").file("gone/b", "b");
        let new = Tree::new().file("same", "x").file("changed", "new").file("added/c", "c");
        let (old, new) = (built(&old), built(&new));
        let count = changed_files(&read(old.path()).unwrap(), &read(new.path()).unwrap());
        assert_eq!(count, 4);
    }
}
