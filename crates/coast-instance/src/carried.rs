//! The paths that the continuous layer may have put on the remote. A transfer knows which entries earlier transfers put there, and
//! knows nothing of those that a session carried since. Without them, an entry that a session carried and that was deleted here
//! while no session ran would be taken for one that was made on the remote.
//!
//! When a session starts, the paths that the transfer brought are written to a file, as hashes. When it is ended, the paths of the
//! worktree that are not among them are what the session may have carried. They are kept until the next transfer is told of them.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use coast_sync::RuleList;
use coast_tree::ContentHash;

use crate::file_error::if_found;
use crate::listing::Listing;
use crate::{durable, project_file};

/// The number of paths that are kept. The paths beyond them count as made on the remote.
const MAX_PATHS: usize = 16 * 1024;

/// The size of these paths together, in bytes. They travel in one message.
const MAX_BYTES: usize = 2 << 20;

const HASH_BYTES: usize = 8;

/// How many of the paths that a session may have carried were noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Each of them.
    All,
    /// As many as are kept.
    Some,
}

/// The files of one instance.
#[derive(Debug)]
pub(crate) struct Carried {
    /// The hashes of the paths that the last transfer brought, 8 bytes each.
    brought: PathBuf,
    /// The paths that sessions may have carried since. Each ends in a NUL, which no path has.
    carried: PathBuf,
}

impl Carried {
    /// The files beside the record `record`.
    pub(crate) fn beside(record: &Path) -> Self {
        Self { brought: record.with_extension("brought"), carried: record.with_extension("carried") }
    }

    /// Records what the transfer brought, when a session starts.
    pub(crate) fn begin(&self, brought: &Listing) -> io::Result<()> {
        let mut hashes = Vec::new();
        brought.for_each(|path| hashes.extend_from_slice(&hash(path)))?;
        durable::replace(&self.brought, &hashes)
    }

    /// Notes the paths of `worktree` that the session may have carried, before the session ends. `in_conflict` is asked only if there
    /// are any: for the paths that the session did not carry because of what is there on the remote. Nothing at or below them is noted.
    pub(crate) fn note(
        &self,
        worktree: &Path,
        rules: &RuleList,
        in_conflict: impl FnOnce() -> io::Result<Vec<Vec<u8>>>,
    ) -> io::Result<Noted> {
        let (mut news, noted) = self.news(worktree, rules, in_conflict)?;
        if !news.is_empty() {
            news.extend(self.paths()?);
            let text: Vec<u8> = news.into_iter().flat_map(|path| [path, vec![0]].concat()).collect();
            durable::replace(&self.carried, &text)?;
        }
        Ok(noted)
    }

    /// The paths that would be noted after [`Carried::note`] with these arguments.
    pub(crate) fn paths_with(
        &self,
        worktree: &Path,
        rules: &RuleList,
        in_conflict: impl FnOnce() -> io::Result<Vec<Vec<u8>>>,
    ) -> io::Result<Vec<Vec<u8>>> {
        let (mut news, _) = self.news(worktree, rules, in_conflict)?;
        news.extend(self.paths()?);
        Ok(news.into_iter().collect())
    }

    /// The paths that [`Carried::note`] adds.
    fn news(
        &self,
        worktree: &Path,
        rules: &RuleList,
        in_conflict: impl FnOnce() -> io::Result<Vec<Vec<u8>>>,
    ) -> io::Result<(BTreeSet<Vec<u8>>, Noted)> {
        let mut news: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut noted = Noted::All;
        // The file has 8 bytes for each path of the worktree, so that its size has no limit.
        let Some(mut opened) = if_found(project_file::open(&self.brought))? else { return Ok((news, noted)) };
        let mut hashes = Vec::new();
        opened.read_to_end(&mut hashes)?;
        let (hashes, _) = hashes.as_chunks::<HASH_BYTES>();
        let brought: HashSet<&[u8; HASH_BYTES]> = hashes.iter().collect();
        let earlier: BTreeSet<Vec<u8>> = self.paths()?.into_iter().collect();
        let mut bytes: usize = earlier.iter().map(Vec::len).sum();
        Listing::of(worktree, rules)?.for_each(|path| {
            if brought.contains(&hash(path)) || earlier.contains(path) || news.contains(path) {
                return;
            }
            if earlier.len() + news.len() < MAX_PATHS && bytes + path.len() <= MAX_BYTES {
                bytes += path.len();
                news.insert(path.to_vec());
            } else {
                noted = Noted::Some;
            }
        })?;
        if !news.is_empty() {
            let in_conflict: BTreeSet<Vec<u8>> = in_conflict()?.into_iter().collect();
            news.retain(|path| !is_within(&in_conflict, path));
        }
        Ok((news, noted))
    }

    /// The paths that sessions may have carried since the last transfer.
    pub(crate) fn paths(&self) -> io::Result<Vec<Vec<u8>>> {
        let text = if_found(project_file::read_kept(&self.carried))?.unwrap_or_default();
        let paths = text.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        Ok(paths.take(MAX_PATHS).map(<[u8]>::to_vec).collect())
    }

    /// Forgets the paths, after a transfer that was told of them.
    pub(crate) fn forget(&self) -> io::Result<()> {
        durable::remove(&self.carried)
    }

    /// Removes both files.
    pub(crate) fn remove(&self) -> io::Result<()> {
        durable::remove(&self.brought)?;
        durable::remove(&self.carried)
    }
}

/// Whether `paths` has the path or a directory above it. The empty path is above every other one.
fn is_within(paths: &BTreeSet<Vec<u8>>, path: &[u8]) -> bool {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    [0, path.len()].into_iter().chain(slashes).any(|end| paths.contains(&path[..end]))
}

/// The first 8 bytes of the path's blake3 hash. Two paths with the same hash are taken for one, so that the second counts as made
/// on the remote.
fn hash(path: &[u8]) -> [u8; HASH_BYTES] {
    let [a, b, c, d, e, f, g, h, ..] = *ContentHash::of(path).as_bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// No path is in conflict.
    fn none() -> io::Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    #[test]
    fn what_appeared_since_the_transfer_was_carried() {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = scratch.path().join("worktree");
        fs::create_dir_all(worktree.join("src")).unwrap();
        fs::write(worktree.join("src/brought"), "").unwrap();
        let rules = coast_sync::profile::rules(&["*.log"], &["kept"], true).unwrap();
        let carried = Carried::beside(&scratch.path().join("dev.1.json"));
        carried.note(&worktree, &rules, none).unwrap();
        assert_eq!(carried.paths().unwrap(), Vec::<Vec<u8>>::new(), "no session has started");

        carried.begin(&Listing::of(&worktree, &rules).unwrap()).unwrap();
        let unasked = || panic!("nothing was carried");
        assert_eq!(carried.note(&worktree, &rules, unasked).unwrap(), Noted::All);
        fs::create_dir(worktree.join("new")).unwrap();
        for file in ["src/new", "new/a", "x.log"] {
            fs::write(worktree.join(file), "").unwrap();
        }
        carried.note(&worktree, &rules, none).unwrap();
        fs::remove_file(worktree.join("src/new")).unwrap();
        // A second session, without a transfer in between.
        fs::write(worktree.join("later"), "").unwrap();
        carried.note(&worktree, &rules, none).unwrap();
        assert_eq!(carried.paths().unwrap(), [&b"later"[..], b"new", b"new/a", b"src/new"]);

        carried.forget().unwrap();
        assert_eq!(carried.paths().unwrap(), Vec::<Vec<u8>>::new());
        carried.remove().unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "only the worktree is left");
    }

    #[test]
    fn what_is_in_conflict_was_not_carried() {
        let noted = |in_conflict: &[&str]| {
            let scratch = tempfile::tempdir().unwrap();
            let worktree = scratch.path().join("worktree");
            fs::create_dir(&worktree).unwrap();
            let rules = RuleList::new();
            let carried = Carried::beside(&scratch.path().join("dev.1.json"));
            carried.begin(&Listing::of(&worktree, &rules).unwrap()).unwrap();
            fs::create_dir_all(worktree.join("dir/deep")).unwrap();
            for file in ["a", "ab", "dir/deep/x", "dir/y"] {
                fs::write(worktree.join(file), "").unwrap();
            }
            let paths = in_conflict.iter().map(|path| path.as_bytes().to_vec()).collect();
            carried.note(&worktree, &rules, || Ok(paths)).unwrap();
            let paths = carried.paths().unwrap().into_iter().map(|path| String::from_utf8(path).unwrap());
            paths.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(noted(&[]), "a ab dir dir/deep dir/deep/x dir/y");
        assert_eq!(noted(&["a", "dir/deep"]), "ab dir dir/y");
        assert_eq!(noted(&["ab", "dir"]), "a");
        assert_eq!(noted(&[""]), "");
    }

    #[test]
    fn paths_beyond_the_limit_are_told() {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = scratch.path().join("worktree");
        fs::create_dir(&worktree).unwrap();
        let rules = RuleList::new();
        let carried = Carried::beside(&scratch.path().join("dev.1.json"));
        carried.begin(&Listing::of(&worktree, &rules).unwrap()).unwrap();
        for file in 0..=MAX_PATHS {
            fs::write(worktree.join(file.to_string()), "").unwrap();
        }
        assert_eq!(carried.note(&worktree, &rules, none).unwrap(), Noted::Some);
        assert_eq!(carried.paths().unwrap().len(), MAX_PATHS);
    }
}
