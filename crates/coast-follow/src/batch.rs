//! What goes to the destination in one run: everything, or the paths that changed.

use std::collections::BTreeMap;
use std::time::Instant;

use coast_tree::RelPath;

/// A number that a [barrier](crate::Watcher::barrier) gave. A batch with this number or a higher one holds, together with the
/// batches before it, every change that was made before the barrier was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub(crate) u64);

/// How much of an entry changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Depth {
    /// The entry itself. If it is a directory, nothing below it.
    Entry,
    /// The entry and everything below it.
    Tree,
}

/// Which part of the worktree a batch is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All of it: events were lost, or there are too many paths.
    Everything,
    /// These paths. Those that do not exist any more were deleted. None of them is below another one whose depth is
    /// [`Depth::Tree`].
    Paths(BTreeMap<RelPath, Depth>),
}

/// The changes that are sent at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub extent: Extent,
    /// Renames, each as the old and the new path. They are hints: both paths are in the extent as well.
    pub moved: Vec<(RelPath, RelPath)>,
    /// The barriers that are passed when this batch is at the destination.
    pub ticket: Option<Ticket>,
    /// When the first of the changes was made that decided that the batch goes.
    pub saved: Instant,
    /// How many entries left their paths, those in deleted directories included, at most. Both ends of a rename do not count.
    /// [`UNKNOWN`] if a directory left with an unknown number of entries.
    pub left: u64,
}

/// A number of entries that is not known.
pub const UNKNOWN: u64 = u64::MAX;

impl Extent {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Paths(paths) if paths.is_empty())
    }

    /// Whether a run over this extent looks at `path`.
    pub fn covers(&self, path: &RelPath) -> bool {
        match self {
            Self::Everything => true,
            Self::Paths(paths) => {
                paths.contains_key(path)
                    || ancestors(path).any(|ancestor| paths.get(ancestor) == Some(&Depth::Tree))
            }
        }
    }
}

/// The directories above an entry, as bytes: the innermost first, the root last.
pub(crate) fn ancestors(path: &RelPath) -> impl Iterator<Item = &[u8]> {
    let bytes = path.as_bytes();
    let slashes = (0..bytes.len()).rev().filter(|&index| bytes[index] == b'/');
    let root = (!path.is_root()).then_some(0);
    slashes.chain(root).map(|end| &bytes[..end])
}

/// Takes everything below a directory out of a map, not the directory itself.
pub(crate) fn remove_below<V>(map: &mut BTreeMap<RelPath, V>, dir: &RelPath) -> Vec<(RelPath, V)> {
    let below: Vec<RelPath> = below(map, dir).map(|(path, _)| path.clone()).collect();
    below.into_iter().filter_map(|path| map.remove_entry(&path)).collect()
}

/// The entries of a map that are below a directory.
pub(crate) fn below<'m, V>(
    map: &'m BTreeMap<RelPath, V>,
    dir: &RelPath,
) -> impl Iterator<Item = (&'m RelPath, &'m V)> {
    use std::ops::Bound::{Excluded, Unbounded};
    let mut prefix = dir.as_bytes().to_vec();
    if !dir.is_root() {
        prefix.push(b'/');
    }
    let range = map.range::<[u8], _>((Excluded(prefix.as_slice()), Unbounded));
    range.take_while(move |(path, _)| path.as_bytes().starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_below_a_directory_is_found_among_similar_names() {
        let names = ["", "a", "a-b", "a/b", "a/b/c", "a0", "b"];
        let mut map: BTreeMap<RelPath, ()> = names.iter().map(|name| (rel(name), ())).collect();
        let listed: Vec<_> = below(&map, &rel("a")).map(|(path, ())| path.clone()).collect();
        assert_eq!(listed, [rel("a/b"), rel("a/b/c")]);
        assert_eq!(below(&map, &RelPath::root()).count(), 6);
        assert_eq!(remove_below(&mut map, &rel("a")).len(), 2);
        assert_eq!(map.len(), 5);
    }

    #[test]
    fn extent_covers_its_paths_and_what_is_below_a_tree() {
        let extent = Extent::Paths(BTreeMap::from([(rel("a/b"), Depth::Tree), (rel("c"), Depth::Entry)]));
        for (path, covered) in
            [("a", false), ("a/b", true), ("a/b/c/d", true), ("a/bc", false), ("c", true), ("c/d", false)]
        {
            assert_eq!(extent.covers(&rel(path)), covered, "{path}");
        }
        let all = Extent::Paths(BTreeMap::from([(RelPath::root(), Depth::Tree)]));
        assert!(all.covers(&rel("x")) && Extent::Everything.covers(&RelPath::root()));
    }
}
