//! The paths that the continuous layer may have put on the remote. A transfer knows which entries earlier transfers put there, and
//! knows nothing of those that a session carried since. Without them, an entry that a session carried and that was deleted here
//! while no session ran would be taken for one that was made on the remote.
//!
//! When a session starts, the paths that the transfer brought are written to a file, as hashes. When it is ended, the paths of the
//! worktree that are not among them are what the session may have carried. They are kept until the next transfer is told of them.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coast_sync::RuleList;
use coast_tree::ContentHash;

use crate::durable;
use crate::file_error::if_found;
use crate::listing::Listing;

/// The number of paths that are kept. The paths beyond them count as made on the remote.
const MAX_PATHS: usize = 16 * 1024;

/// The size of these paths together, in bytes. They travel in one message.
const MAX_BYTES: usize = 2 << 20;

const HASH_BYTES: usize = 8;

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

    /// Notes the paths of `worktree` that the session may have carried, before the session ends.
    pub(crate) fn note(&self, worktree: &Path, rules: &RuleList) -> io::Result<()> {
        let Some(hashes) = if_found(fs::read(&self.brought))? else { return Ok(()) };
        let (hashes, _) = hashes.as_chunks::<HASH_BYTES>();
        let brought: HashSet<&[u8; HASH_BYTES]> = hashes.iter().collect();
        let mut carried: BTreeSet<Vec<u8>> = self.paths()?.into_iter().collect();
        let mut bytes: usize = carried.iter().map(Vec::len).sum();
        Listing::of(worktree, rules)?.for_each(|path| {
            let fits = carried.len() < MAX_PATHS && bytes + path.len() <= MAX_BYTES;
            if fits && !brought.contains(&hash(path)) && carried.insert(path.to_vec()) {
                bytes += path.len();
            }
        })?;
        if carried.is_empty() {
            return self.forget();
        }
        let text: Vec<u8> = carried.into_iter().flat_map(|path| [path, vec![0]].concat()).collect();
        durable::replace(&self.carried, &text)
    }

    /// The paths that sessions may have carried since the last transfer.
    pub(crate) fn paths(&self) -> io::Result<Vec<Vec<u8>>> {
        let text = if_found(fs::read(&self.carried))?.unwrap_or_default();
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

/// The first 8 bytes of the path's blake3 hash. Two paths with the same hash are taken for one, so that the second counts as made
/// on the remote.
fn hash(path: &[u8]) -> [u8; HASH_BYTES] {
    let [a, b, c, d, e, f, g, h, ..] = *ContentHash::of(path).as_bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_appeared_since_the_transfer_was_carried() {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = scratch.path().join("worktree");
        fs::create_dir_all(worktree.join("src")).unwrap();
        fs::write(worktree.join("src/brought"), "").unwrap();
        let rules = coast_sync::profile::rules(&["*.log"], &["kept"], true).unwrap();
        let carried = Carried::beside(&scratch.path().join("dev.1.json"));
        carried.note(&worktree, &rules).unwrap();
        assert_eq!(carried.paths().unwrap(), Vec::<Vec<u8>>::new(), "no session has started");

        carried.begin(&Listing::of(&worktree, &rules).unwrap()).unwrap();
        fs::create_dir(worktree.join("new")).unwrap();
        for file in ["src/new", "new/a", "x.log"] {
            fs::write(worktree.join(file), "").unwrap();
        }
        carried.note(&worktree, &rules).unwrap();
        fs::remove_file(worktree.join("src/new")).unwrap();
        // A second session, without a transfer in between.
        fs::write(worktree.join("later"), "").unwrap();
        carried.note(&worktree, &rules).unwrap();
        assert_eq!(carried.paths().unwrap(), [&b"later"[..], b"new", b"new/a", b"src/new"]);

        carried.forget().unwrap();
        assert_eq!(carried.paths().unwrap(), Vec::<Vec<u8>>::new());
        carried.remove().unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "only the worktree is left");
    }
}
