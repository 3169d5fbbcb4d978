//! The verdict on a destination: a comparison of snapshots of both trees, in which the push takes no part.

use std::path::{Path, PathBuf};

use coast_sync::profile;
use coast_testkit::{Aspects, Seen, Snapshot};

/// Kind, content, link target, and for files whether the owner may execute them.
const COMPARED: Aspects = Aspects::CONTENT.with_mode_bits(0o100);

/// Whether the default rules exclude a path: it is neither sent nor deleted.
pub(super) fn is_excluded(path: &Path) -> bool {
    path.components().any(|part| profile::EXCLUDED.iter().any(|name| part.as_os_str() == *name))
}

/// Whether the default rules protect a path from deletion.
pub(super) fn is_protected(path: &Path) -> bool {
    let names = profile::PROTECTED.map(|pattern| pattern.trim_end_matches("/***"));
    path.ancestors().any(|above| names.iter().any(|name| above.ends_with(name)))
}

/// The entries below the root of a tree.
pub(super) fn entries(tree: &Snapshot) -> impl Iterator<Item = (&Path, &Seen)> {
    tree.iter().filter(|(path, _)| *path != Path::new("."))
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
    /// Entries that only the destination has, and that the default rules keep.
    pub(super) kept: Vec<PathBuf>,
}

impl Verdict {
    /// Compares the entries that a push must make equal.
    pub(super) fn on(source: &Snapshot, destination: &Snapshot) -> Self {
        let mut verdict = Self::default();
        for (path, seen) in entries(source) {
            if is_excluded(path) {
                verdict.not_sent += 1;
            } else if destination.get(path).is_some_and(|there| there.is_like(seen, COMPARED)) {
                verdict.equal += 1;
            } else {
                verdict.wrong.push(path.to_owned());
            }
        }
        for (path, _) in entries(destination).filter(|(path, _)| !source.holds(path)) {
            if is_excluded(path) || is_protected(path) {
                verdict.kept.push(path.to_owned());
            } else {
                verdict.extraneous.push(path.to_owned());
            }
        }
        verdict
    }

    /// Whether the destination is as a push must leave it.
    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_empty() && self.extraneous.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use coast_testkit::Tree;
    use tempfile::TempDir;

    use super::*;

    fn snapshots(source: &Tree, destination: &Tree) -> (Snapshot, Snapshot) {
        let scratch = TempDir::new().unwrap();
        let [source_at, destination_at] = ["s", "d"].map(|name| scratch.path().join(name));
        source.build(&source_at);
        destination.build(&destination_at);
        (Snapshot::of(source_at), Snapshot::of(destination_at))
    }

    #[test]
    fn a_destination_is_right_when_only_excluded_and_protected_entries_differ() {
        let both = Tree::new().dir("app").file("app/main.ts", "same");
        let source = both.clone().file("node_modules/x/index.js", "not sent");
        let destination = both.file("generated/api.ts", "made there");
        let (before, after) = snapshots(&source, &destination);
        let verdict = Verdict::on(&before, &after);
        assert!(verdict.is_right(), "{verdict:?}");
        assert_eq!((verdict.equal, verdict.not_sent, verdict.kept.len()), (2, 3, 2));

        let (before, after) =
            snapshots(&source, &destination.file("web/app/generated/deep.ts", "made there"));
        let verdict = Verdict::on(&before, &after);
        assert_eq!(verdict.extraneous, [PathBuf::from("web"), PathBuf::from("web/app")]);
    }

    #[test]
    fn differences_of_content_and_executability_and_extraneous_entries_are_seen() {
        let source = Tree::new().file("a", "new").file("b", "same").mode(0o755).file("c", "same").mode(0o600);
        let destination =
            Tree::new().file("a", "old").file("b", "same").file("c", "same").file("d", "left over");
        let (before, after) = snapshots(&source, &destination);
        let verdict = Verdict::on(&before, &after);
        assert_eq!(verdict.wrong, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(verdict.extraneous, [PathBuf::from("d")]);
    }

    #[test]
    fn a_file_that_is_replaced_by_an_equal_file_was_touched() {
        let scratch = TempDir::new().unwrap();
        Tree::new().file("a", "same").build(scratch.path());
        let before = Snapshot::of(scratch.path());
        assert_eq!(
            Snapshot::of(scratch.path()).differences(&before, Aspects::UNTOUCHED),
            Vec::<String>::new()
        );
        fs::write(scratch.path().join("new"), "same").unwrap();
        fs::rename(scratch.path().join("new"), scratch.path().join("a")).unwrap();
        assert_ne!(
            Snapshot::of(scratch.path()).differences(&before, Aspects::UNTOUCHED),
            Vec::<String>::new()
        );
    }
}
