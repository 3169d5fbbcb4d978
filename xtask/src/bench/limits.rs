//! What the machine itself needs for the work of a scenario: each stage of a push alone, on one core, without any protocol.
//! A push that compresses and sends whole files needs at least all stages together, shared among the cores.

use super::contender::EXCLUDED;
use anyhow::{Context, Result, ensure};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;
use zrip::encode::context::CompressContext;

/// Each stage takes the least of so many passes: other programs on the machine only make it slower.
const PASSES: usize = 3;
/// The cheapest level that compresses. Over a link that is faster than this level coast sends content plain, and does less work than
/// the limit counts.
const LEVEL: i32 = -3;
/// The content that is compressed at once, as coast does, in bytes.
const PACK_BYTES: usize = 1 << 20;
/// The content of a packet of SSH, in bytes.
const PACKET_BYTES: usize = 32 << 10;

/// The work of a scenario, and the seconds that each stage of it takes on one core.
#[derive(Serialize, Debug)]
pub(crate) struct Limits {
    /// Files whose content is not at the destination.
    pub(crate) files: usize,
    pub(crate) content_bytes: u64,
    pub(crate) stages: Stages,
}

/// Seconds of each stage.
#[derive(Serialize, Clone, Copy, Debug, Default)]
pub(crate) struct Stages {
    /// Listing all directories and asking for the status of all entries, on both sides.
    pub(crate) walk: f64,
    pub(crate) read: f64,
    /// BLAKE3.
    pub(crate) hash: f64,
    /// zstd at the cheapest level.
    pub(crate) compress: f64,
    /// AES-128-GCM of what was compressed: encrypting and decrypting.
    pub(crate) cipher: f64,
    /// Creating files where the destination is, writing to them and renaming them.
    pub(crate) make: f64,
}

impl Limits {
    /// Measures a push of `source` to a destination that has what `before` has, but for the files in or at `changed`. The
    /// destination is in the file system of `directory`.
    pub(crate) fn measure(
        before: Option<&Path>,
        source: &Path,
        changed: Option<&Path>,
        directory: &Path,
    ) -> Result<Self> {
        let mut work = Work { walked: vec![source.to_owned()], sent: Vec::new() };
        work.walked.extend(before.map(Path::to_owned));
        let mut content_bytes = 0;
        for file in walk(source)? {
            let below = file.path.strip_prefix(source).expect("the walk began there");
            let is_changed = changed.is_some_and(|changed| file.path.starts_with(changed));
            if is_changed || before.is_none_or(|before| !is_equal(&file, &before.join(below))) {
                content_bytes += file.bytes;
                work.sent.push(file.path);
            }
        }
        let mut stages = work.pass(directory)?;
        for _ in 1..PASSES {
            stages = stages.least(work.pass(directory)?);
        }
        Ok(Self { files: work.sent.len(), content_bytes, stages })
    }
}

impl Stages {
    pub(crate) fn sum(self) -> f64 {
        self.walk + self.read + self.hash + self.compress + self.cipher + self.make
    }

    fn least(self, other: Self) -> Self {
        Self {
            walk: self.walk.min(other.walk),
            read: self.read.min(other.read),
            hash: self.hash.min(other.hash),
            compress: self.compress.min(other.compress),
            cipher: self.cipher.min(other.cipher),
            make: self.make.min(other.make),
        }
    }
}

/// What both sides of a push have to do.
struct Work {
    /// Trees that are walked.
    walked: Vec<PathBuf>,
    /// Files that are sent.
    sent: Vec<PathBuf>,
}

impl Work {
    /// Does all work once. Made files are removed again, one by one, so that a large tree needs no room.
    fn pass(&self, directory: &Path) -> Result<Stages> {
        let mut stages = Stages::default();
        for tree in &self.walked {
            timed(&mut stages.walk, || walk(tree))?;
        }
        let scratch = TempDir::with_prefix_in("limits-", directory).context("making a directory")?;
        let [staged, made] = ["staged", "made"].map(|name| scratch.path().join(name));
        let mut channel = Channel::new()?;
        let mut piece = vec![0; PACK_BYTES];
        for path in &self.sent {
            let reading = || format!("reading {}", path.display());
            let making = || format!("making {}", made.display());
            let mut from = timed(&mut stages.read, || File::open(path)).with_context(reading)?;
            let mut to = timed(&mut stages.make, || File::create(&staged)).with_context(making)?;
            let mut hasher = blake3::Hasher::new();
            loop {
                let length = timed(&mut stages.read, || from.read(&mut piece)).with_context(reading)?;
                if length == 0 {
                    break;
                }
                let piece = &piece[..length];
                timed(&mut stages.hash, || {
                    hasher.update(piece);
                });
                timed(&mut stages.make, || to.write_all(piece)).with_context(making)?;
                channel.send(piece, &mut stages)?;
            }
            timed(&mut stages.hash, || hasher.finalize());
            timed(&mut stages.make, || {
                drop(to);
                fs::rename(&staged, &made)
            })
            .with_context(making)?;
            fs::remove_file(&made).with_context(|| format!("removing {}", made.display()))?;
        }
        channel.finish(&mut stages)?;
        Ok(stages)
    }
}

/// Compression and cipher.
struct Channel {
    compressor: CompressContext,
    key: LessSafeKey,
    pack: Vec<u8>,
    packed: Vec<u8>,
}

impl Channel {
    fn new() -> Result<Self> {
        let mut compressor = CompressContext::new(LEVEL).context("making a compressor")?;
        compressor.set_content_checksum(false);
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("the key has the length of the algorithm");
        let packed = vec![0; zrip::compress_bound(PACK_BYTES)];
        Ok(Self { compressor, key: LessSafeKey::new(key), pack: Vec::with_capacity(PACK_BYTES), packed })
    }

    /// Takes content of files, at most a pack.
    fn send(&mut self, piece: &[u8], stages: &mut Stages) -> Result<()> {
        if self.pack.len() + piece.len() > PACK_BYTES {
            self.finish(stages)?;
        }
        self.pack.extend(piece);
        Ok(())
    }

    /// Compresses what was taken so far, encrypts and decrypts it.
    fn finish(&mut self, stages: &mut Stages) -> Result<()> {
        if self.pack.is_empty() {
            return Ok(());
        }
        let (pack, packed) = (&self.pack, &mut self.packed);
        let length = timed(&mut stages.compress, || self.compressor.compress_into(pack, packed))
            .context("compressing a pack")?;
        for packet in self.packed[..length].chunks_mut(PACKET_BYTES) {
            // Nobody else sees the packets, so all may have the same nonce.
            let nonce = || Nonce::assume_unique_for_key([0; 12]);
            let opened = timed(&mut stages.cipher, || {
                let tag = self.key.seal_in_place_separate_tag(nonce(), Aad::empty(), packet)?;
                self.key.open_in_place_separate_tag(nonce(), Aad::empty(), tag, packet, 0..).map(drop)
            });
            ensure!(opened.is_ok(), "a packet could not be decrypted");
        }
        self.pack.clear();
        Ok(())
    }
}

/// A regular file of a tree.
struct Seen {
    path: PathBuf,
    bytes: u64,
}

/// The regular files of a tree, without those that no push sends.
fn walk(tree: &Path) -> Result<Vec<Seen>> {
    let (mut files, mut directories) = (Vec::new(), vec![tree.to_owned()]);
    while let Some(directory) = directories.pop() {
        let listing = || format!("listing {}", directory.display());
        for entry in fs::read_dir(&directory).with_context(listing)? {
            let entry = entry.with_context(listing)?;
            let status = entry.metadata().with_context(listing)?;
            if EXCLUDED.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if status.is_dir() {
                directories.push(entry.path());
            } else if status.is_file() {
                files.push(Seen { path: entry.path(), bytes: status.len() });
            }
        }
    }
    Ok(files)
}

/// Whether `other` is a regular file of the same content.
fn is_equal(file: &Seen, other: &Path) -> bool {
    if file.path == other {
        return true;
    }
    let status = fs::symlink_metadata(other);
    status.is_ok_and(|status| status.is_file() && status.len() == file.bytes)
        && fs::read(other).ok().is_some_and(|content| fs::read(&file.path).is_ok_and(|own| own == content))
}

/// Does some work, and adds the seconds that it took.
fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    *seconds += started.elapsed().as_secs_f64();
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use coast_testkit::Tree;

    fn built(tree: &Tree) -> TempDir {
        let directory = TempDir::new().unwrap();
        tree.build(directory.path());
        directory
    }

    #[test]
    fn files_that_the_destination_lacks_or_has_otherwise_are_sent() {
        let source =
            built(&Tree::new().dir("d").file("d/same", "1").file("changed", "new").file("added", "22"));
        let before =
            built(&Tree::new().dir("d").file("d/same", "1").file("changed", "old").file("gone", "4"));
        let scratch = TempDir::new().unwrap();
        let limits = Limits::measure(Some(before.path()), source.path(), None, scratch.path()).unwrap();
        assert_eq!((limits.files, limits.content_bytes), (2, 5));
        let Stages { walk, read, hash, compress, cipher, make } = limits.stages;
        assert!([walk, read, hash, compress, cipher, make].into_iter().all(|seconds| seconds > 0.0));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn excluded_files_are_no_work() {
        let source = built(&Tree::new().file("kept", "1").dir("target").file("target/built", "2"));
        let limits = Limits::measure(None, source.path(), None, source.path()).unwrap();
        assert_eq!(limits.files, 1);
    }

    #[test]
    fn unchanged_tree_is_only_walked() {
        let tree = built(&Tree::new().file("file", "content"));
        let limits = Limits::measure(Some(tree.path()), tree.path(), None, tree.path()).unwrap();
        assert_eq!((limits.files, limits.stages.sum()), (0, limits.stages.walk));
    }

    #[test]
    fn what_a_user_has_changed_in_place_is_sent() {
        let tree =
            built(&Tree::new().dir("moved").file("moved/one", "1").file("moved/two", "2").file("file", "3"));
        let changed = tree.path().join("moved");
        let limits = Limits::measure(Some(tree.path()), tree.path(), Some(&changed), tree.path()).unwrap();
        assert_eq!(limits.files, 2);
    }
}
