//! Which entries of a worktree take no part in a transfer.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use coast_engine::{TreeMergeFiles, Whose};
use coast_filter::{DirFilter, EntryKind, Filter, FilterError, RuleError, RuleList, Side};
use coast_tree::state::{STAGING_INSIDE, STATE_INSIDE};
use coast_tree::{Name, RelPath, Root};

/// Whether an entry takes no part in a transfer: by the rules, or because the name is one of this program's own.
pub(crate) fn excludes(filter: &DirFilter, name: &Name, kind: EntryKind) -> bool {
    let name = name.as_bytes();
    name == STAGING_INSIDE.as_bytes()
        || (filter.path().is_empty() && name == STATE_INSIDE.as_bytes())
        || filter.excludes(name, kind)
}

/// The rules of a worktree, for single paths.
#[derive(Debug)]
pub(crate) struct Exclusions {
    worktree: PathBuf,
    filter: Filter,
}

impl Exclusions {
    pub(crate) fn new(worktree: PathBuf, rules: &RuleList) -> Result<Self, RuleError> {
        let filter = Filter::compile_at(rules, Side::Sender, worktree.as_os_str().as_bytes())?;
        Ok(Self { worktree, filter })
    }

    /// Whether the entry at a path, which is no directory, or a directory above it takes no part. Rule files of the worktree count.
    pub(crate) fn has(&self, root: &Root, path: &RelPath) -> Result<bool, FilterError> {
        let files = TreeMergeFiles::new(root.clone(), Whose::Sender(self.worktree.clone()));
        let mut filter = self.filter.root(&files)?;
        let mut names = path.components().filter_map(|name| Name::new(name).ok()).peekable();
        while let Some(name) = names.next() {
            let kind = if names.peek().is_some() { EntryKind::Directory } else { EntryKind::Other };
            if excludes(&filter, &name, kind) {
                return Ok(true);
            }
            if names.peek().is_some() {
                filter = filter.enter(name.as_bytes(), &files)?;
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use coast_filter::NoMergeFiles;

    use super::*;

    #[test]
    fn a_path_is_excluded_with_a_directory_above_it() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("d")).unwrap();
        fs::write(scratch.path().join("d/.ignore"), "secret\n").unwrap();
        let mut rules = RuleList::new();
        rules.exclude(b".git").unwrap();
        rules.filter(b"dir-merge,- .ignore", &NoMergeFiles).unwrap();
        let exclusions = Exclusions::new(scratch.path().to_owned(), &rules).unwrap();
        let root = Root::open(scratch.path()).unwrap();
        for (path, is_excluded) in [
            (".git/hooks/pre-commit", true),
            ("d/.git", true),
            ("d/secret", true),
            ("d/none/secret", true),
            ("secret", false),
            ("none/a", false),
            (".coast-state/lock", true),
            ("d/.coast-staging/a", true),
        ] {
            let path = RelPath::new(path.as_bytes()).unwrap();
            assert_eq!(exclusions.has(&root, &path).unwrap(), is_excluded, "{path}");
        }
    }
}
