//! What a directory tree holds, read the simplest way there is: this is the witness that says whether a push was right,
//! so it shares no code with what it judges.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use coast_sync::profile;

/// All entries of a tree by their path relative to it.
pub(super) type Tree = BTreeMap<PathBuf, Found>;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) what: What,
    pub(super) identity: Identity,
}

/// What of an entry must be equal on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Directory,
    File { content: Vec<u8>, executable: bool },
    Symlink(PathBuf),
    Other,
}

/// What of an entry changes when anybody touches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Reads a whole tree.
pub(super) fn read(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let path = directory.join(entry.file_name());
            let what = if metadata.is_dir() {
                directories.push(path.clone());
                What::Directory
            } else if metadata.is_file() {
                What::File {
                    content: fs::read(entry.path())?,
                    executable: metadata.permissions().mode() & 0o100 != 0,
                }
            } else if metadata.is_symlink() {
                What::Symlink(fs::read_link(entry.path())?)
            } else {
                What::Other
            };
            let identity = Identity {
                inode: metadata.ino(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            };
            tree.insert(path, Found { what, identity });
        }
    }
    Ok(tree)
}

/// Whether the default rules neither send nor delete it.
pub(super) fn is_excluded(path: &Path) -> bool {
    path.components().any(|part| profile::EXCLUDED.iter().any(|name| part.as_os_str() == *name))
}

/// Whether the default rules protect it from deletion.
pub(super) fn is_protected(path: &Path) -> bool {
    let names = profile::PROTECTED.map(|pattern| pattern.trim_end_matches("/***"));
    path.ancestors().any(|above| names.iter().any(|name| above.ends_with(name)))
}

/// The verdict on a destination.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Entries that are equal on both sides.
    pub(super) equal: usize,
    /// Entries of the source that are missing or different at the destination.
    pub(super) wrong: Vec<PathBuf>,
    /// Entries of the destination that should have been deleted.
    pub(super) extraneous: Vec<PathBuf>,
    /// Entries of the source that are excluded, and so were not sent.
    pub(super) not_sent: usize,
    /// Entries that only the destination has, and may keep.
    pub(super) kept: Vec<PathBuf>,
}

impl Verdict {
    /// Compares what a push must make equal.
    pub(super) fn on(source: &Tree, destination: &Tree) -> Self {
        let mut verdict = Self::default();
        for (path, found) in source {
            if is_excluded(path) {
                verdict.not_sent += 1;
            } else if destination.get(path).is_some_and(|there| there.what == found.what) {
                verdict.equal += 1;
            } else {
                verdict.wrong.push(path.clone());
            }
        }
        for path in destination.keys().filter(|path| !source.contains_key(*path)) {
            if is_excluded(path) || is_protected(path) {
                verdict.kept.push(path.clone());
            } else {
                verdict.extraneous.push(path.clone());
            }
        }
        verdict
    }

    /// Whether everything is as it should be.
    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_empty() && self.extraneous.is_empty()
    }
}

/// The paths whose inode, times or being there differ.
pub(super) fn touched(before: &Tree, after: &Tree) -> Vec<PathBuf> {
    let all: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let identity = |tree: &Tree, path: &Path| tree.get(path).map(|found| found.identity);
    all.into_iter().filter(|path| identity(before, path) != identity(after, path)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn a_destination_is_right_when_only_excluded_and_protected_entries_differ() {
        let scratch = tempfile::tempdir().unwrap();
        let (source, destination) = (scratch.path().join("s"), scratch.path().join("d"));
        for root in [&source, &destination] {
            write(root, "app/main.ts", "same");
        }
        write(&source, "node_modules/x/index.js", "not sent");
        write(&destination, "generated/api.ts", "made there");
        write(&destination, "web/app/generated/deep.ts", "made there");
        let verdict = Verdict::on(&read(&source).unwrap(), &read(&destination).unwrap());
        assert!(!verdict.is_right(), "web itself is extraneous: {verdict:?}");
        fs::remove_dir_all(destination.join("web")).unwrap();
        let verdict = Verdict::on(&read(&source).unwrap(), &read(&destination).unwrap());
        assert!(verdict.is_right(), "{verdict:?}");
        assert_eq!((verdict.equal, verdict.not_sent, verdict.kept.len()), (2, 3, 2));
    }

    #[test]
    fn a_difference_of_content_and_an_extraneous_entry_are_seen() {
        let scratch = tempfile::tempdir().unwrap();
        let (source, destination) = (scratch.path().join("s"), scratch.path().join("d"));
        write(&source, "a", "new");
        write(&destination, "a", "old");
        write(&destination, "b", "left over");
        let verdict = Verdict::on(&read(&source).unwrap(), &read(&destination).unwrap());
        assert_eq!((verdict.wrong, verdict.extraneous), (vec![PathBuf::from("a")], vec![PathBuf::from("b")]));
    }

    #[test]
    fn a_file_that_is_replaced_by_an_equal_one_is_touched() {
        let scratch = tempfile::tempdir().unwrap();
        write(scratch.path(), "a", "same");
        let before = read(scratch.path()).unwrap();
        assert_eq!(touched(&before, &read(scratch.path()).unwrap()), Vec::<PathBuf>::new());
        write(scratch.path(), "new", "same");
        fs::rename(scratch.path().join("new"), scratch.path().join("a")).unwrap();
        assert_eq!(touched(&before, &read(scratch.path()).unwrap()), [PathBuf::from("a")]);
    }
}
