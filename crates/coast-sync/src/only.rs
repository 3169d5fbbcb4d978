//! The rules of a run that is restricted to some paths. They include the paths and the directories above them, and exclude
//! everything else. The receiver never deletes an excluded entry.

use std::collections::BTreeSet;

use coast_filter::{RuleError, RuleList};
use coast_tree::RelPath;

use crate::SyncError;

/// The paths of a restricted run, relative to the transfer root.
#[derive(Debug, Clone)]
pub(crate) struct Only {
    paths: BTreeSet<RelPath>,
}

impl Only {
    pub(crate) fn new(paths: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, SyncError> {
        let check = |path: &[u8]| {
            RelPath::new(path).map_err(|error| SyncError::OnlyPath { path: path.to_owned(), error })
        };
        let paths = paths.into_iter().map(|path| check(path.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { paths })
    }

    /// Adds the restriction after `rules`, which still apply to the included entries.
    pub(crate) fn restrict(&self, rules: &mut RuleList) -> Result<(), SyncError> {
        // The first match decides, so an entry that an earlier rule includes would never reach the restriction.
        if !rules.excludes_only() {
            return Err(SyncError::OnlyRules);
        }
        self.add_rules(rules)
            .map_err(|error| SyncError::Engine(coast_engine::EngineError::Rule(error.to_string())))
    }

    fn add_rules(&self, rules: &mut RuleList) -> Result<(), RuleError> {
        if self.paths.contains(&RelPath::root()) {
            return Ok(());
        }
        let mut include = |pattern: Vec<u8>| rules.include(&[b"+ ".to_vec(), pattern].concat());
        for directory in self.directories_above() {
            // A slash at the end restricts the pattern to directories.
            include([literal(&directory), b"/".to_vec()].concat())?;
        }
        for path in &self.paths {
            include(literal(path))?;
            include([escaped(path), b"/***".to_vec()].concat())?;
        }
        rules.exclude(b"*")
    }

    fn directories_above(&self) -> BTreeSet<RelPath> {
        let mut above = BTreeSet::new();
        for path in &self.paths {
            let mut directory = path.parent();
            while let Some(path) = directory.filter(|path| !path.is_root()) {
                directory = path.parent();
                if !above.insert(path) {
                    break;
                }
            }
        }
        above
    }
}

/// Returns the anchored pattern that matches only this path.
pub(crate) fn literal(path: &RelPath) -> Vec<u8> {
    // A backslash is an escape only in a pattern with a wildcard; in other patterns it stands for itself.
    if path.as_bytes().iter().any(|byte| b"*?[".contains(byte)) {
        escaped(path)
    } else {
        [b"/", path.as_bytes()].concat()
    }
}

/// Returns the path escaped as the start of an anchored pattern with a wildcard.
pub(crate) fn escaped(path: &RelPath) -> Vec<u8> {
    let mut pattern = vec![b'/'];
    for &byte in path.as_bytes() {
        if b"*?[\\".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use coast_filter::{DirFilter, EntryKind, Filter, NoMergeFiles, Side};
    use proptest::prelude::*;

    use super::*;

    fn root(paths: &[&[u8]], side: Side) -> DirFilter {
        let mut rules = RuleList::new();
        Only::new(paths).unwrap().restrict(&mut rules).unwrap();
        Filter::compile(&rules, side).unwrap().root(&NoMergeFiles).unwrap()
    }

    /// Whether a walk reaches the path and includes it.
    fn takes(root: &DirFilter, path: &[u8], kind: EntryKind) -> bool {
        let mut filter = root.clone();
        let mut names = path.split(|&byte| byte == b'/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return !filter.excludes(name, kind);
            }
            if filter.excludes(name, EntryKind::Directory) {
                return false;
            }
            filter = filter.enter(name, &NoMergeFiles).unwrap();
        }
        false
    }

    #[test]
    fn a_path_lets_through_itself_what_is_below_and_the_way_there() {
        for side in [Side::Sender, Side::Receiver] {
            let root = root(&[b"a/b/c"], side);
            let all: [(&[u8], EntryKind, bool); 10] = [
                (b"a", EntryKind::Directory, true),
                (b"a", EntryKind::Other, false),
                (b"a/b", EntryKind::Directory, true),
                (b"a/b/c", EntryKind::Other, true),
                (b"a/b/c", EntryKind::Directory, true),
                (b"a/b/c/d/e", EntryKind::Other, true),
                (b"a/b/d", EntryKind::Other, false),
                (b"a/b/cc", EntryKind::Other, false),
                (b"c", EntryKind::Other, false),
                (b"b/a/b/c", EntryKind::Other, false),
            ];
            for (path, kind, taken) in all {
                assert_eq!(takes(&root, path, kind), taken, "{} {kind:?}", path.escape_ascii());
            }
        }
    }

    #[test]
    fn no_path_lets_nothing_through_and_the_root_everything() {
        assert!(!takes(&root(&[], Side::Sender), b"a", EntryKind::Other));
        assert!(takes(&root(&[b"", b"b"], Side::Sender), b"a/b", EntryKind::Other));
    }

    #[test]
    fn a_path_that_could_leave_the_tree_is_refused() {
        for path in [&b"/etc"[..], b"../x", b"a/../b", b"a//b", b"a/", b"a\0b"] {
            let error = Only::new([path]).unwrap_err();
            assert!(matches!(error, SyncError::OnlyPath { .. }), "{error}");
            assert_eq!(error.exit_code(), 1);
        }
    }

    #[test]
    fn rules_that_include_are_refused() {
        let only = Only::new([b"a"]).unwrap();
        for rule in [&b"+ *.rs"[..], b"S x", b"R x", b": .rules"] {
            let mut rules = RuleList::new();
            rules.filter(rule, &NoMergeFiles).unwrap();
            assert!(matches!(only.restrict(&mut rules), Err(SyncError::OnlyRules)));
        }
        let mut rules = crate::profile::rules(&["*.log"], &["kept"], true).unwrap();
        only.restrict(&mut rules).unwrap();
    }

    proptest! {
        /// Uses names with the bytes that have a meaning in patterns or look like a rule.
        #[test]
        fn any_name_stands_for_itself(
            wanted in prop::collection::vec("[ab*?!+\\-\\[\\]\\\\ \n^.]{1,3}", 1..4),
            asked in prop::collection::vec("[ab*?!+\\-\\[\\]\\\\ \n^.]{1,3}", 1..4),
        ) {
            let usable = |names: &[String]| names.iter().all(|name| name != "." && name != "..");
            prop_assume!(usable(&wanted) && usable(&asked));
            let (wanted, asked) = (wanted.join("/"), asked.join("/"));
            let below = |path: &str, top: &str| path == top || path.starts_with(&format!("{top}/"));
            let root = root(&[wanted.as_bytes()], Side::Receiver);
            prop_assert!(takes(&root, wanted.as_bytes(), EntryKind::Other));
            prop_assert_eq!(takes(&root, asked.as_bytes(), EntryKind::Other), below(&asked, &wanted));
            let directory = below(&asked, &wanted) || below(&wanted, &asked);
            prop_assert_eq!(takes(&root, asked.as_bytes(), EntryKind::Directory), directory);
        }
    }
}
