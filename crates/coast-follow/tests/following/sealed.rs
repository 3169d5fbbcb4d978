//! Files of which it can be told whether they are whole, and which save they are.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use coast_testkit::noise;
use fastrand::Rng;

/// The lengths of the files, in bytes: one that goes with its offer, those that are asked for, one of several pieces, and one that
/// is sent apart from the batches.
const LENGTHS: [usize; 6] = [100, 9_000, 80_000, 300_000, 1_500_000, 9 << 20];
/// How far the stamps of a save lie from each other, in bytes.
const STAMPED: usize = 1024;
/// The directory of the files.
pub(crate) const SEALED: &str = "sealed";

/// Saves files in one step each.
pub(crate) struct SealedFiles {
    dir: PathBuf,
    prepared: PathBuf,
    /// The number of the last save.
    last: AtomicU64,
    ended: AtomicBool,
}

impl SealedFiles {
    /// Files of a worktree that are prepared beside it.
    pub(crate) fn new(worktree: &Path, prepared: &Path) -> Self {
        let dir = worktree.join(SEALED);
        fs::create_dir(&dir).unwrap();
        let prepared = prepared.join("sealed");
        Self { dir, prepared, last: AtomicU64::new(0), ended: AtomicBool::new(false) }
    }

    /// Saves one of the files.
    pub(crate) fn save(&self, rng: &mut Rng) {
        // Large files seldom.
        let file = (0..3).map(|_| rng.usize(..LENGTHS.len())).min().unwrap_or(0);
        let save = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        fs::write(&self.prepared, content(file, save)).unwrap();
        fs::rename(&self.prepared, self.dir.join(file.to_string())).unwrap();
    }

    /// Ends [`Self::watch`].
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Reads the files of the copy again and again, until [`Self::end`]: each has the content of one save, and no save comes after a
    /// later one. Returns how many different ones it has seen.
    pub(crate) fn watch(&self, copy: &Path) -> usize {
        let (mut seen, mut identities, mut count) = (BTreeMap::new(), BTreeMap::new(), 0);
        while !self.ended.load(Ordering::SeqCst) {
            std::thread::yield_now();
            for (file, length) in LENGTHS.iter().enumerate() {
                let path = copy.join(SEALED).join(file.to_string());
                // Every write changes one of these.
                let identity = path
                    .metadata()
                    .map(|found| (found.ino(), found.len(), found.ctime(), found.ctime_nsec()));
                if identities.get(&file) == identity.as_ref().ok() {
                    continue;
                }
                let Ok(found) = fs::read(path) else { continue };
                identities.extend(identity.ok().map(|identity| (file, identity)));
                let stamp = found.first_chunk().map_or(0, |stamp| u64::from_le_bytes(*stamp));
                let last = self.last.load(Ordering::SeqCst);
                let before = *seen.get(&file).unwrap_or(&0);
                assert!((1..=last).contains(&stamp), "file {file} of {} bytes was never saved", found.len());
                assert!(before <= stamp, "file {file} is save {stamp} after save {before}");
                if before < stamp {
                    assert!(
                        found == content(file, stamp),
                        "file {file} of {length} bytes is not save {stamp}"
                    );
                    count += 1;
                    seen.insert(file, stamp);
                }
            }
        }
        count
    }
}

/// The content of a save of a file. The saves of a file differ in some bytes here and there.
fn content(file: usize, save: u64) -> Vec<u8> {
    let mut content = noise(file as u64, LENGTHS[file]);
    for piece in content.chunks_mut(STAMPED) {
        if let Some(stamp) = piece.first_chunk_mut() {
            *stamp = save.to_le_bytes();
        }
    }
    content
}
