//! The blobs of a repository whose contents were read: from git's name of a content to its hash. One file for each repository in the
//! user's cache directory, sorted by names, which all its checkouts share.
//!
//! A record says that a content with this SHA-1 name has this size and this hash. That was seen, so it stays true.
//!
//! The file is the line [`MAGIC`], the records, and the blake3 hash of all that. A record is the name (20 bytes), the size (8), the
//! hash (32) and a day since the epoch (4), numbers in little endian. The day is that of the last run that used the record and also
//! learned new ones; a run that learns nothing leaves the file as it is.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use coast_engine::ContentName;
use coast_tree::{ContentHash, regular_file};

const MAGIC: &[u8; 16] = b"coast blobs  1\n\0";
const RECORD_BYTES: usize = 64;
const HASH_BYTES: usize = 32;

/// The number of records that are kept: 32 MiB. The records whose last use is longest ago go first.
pub(crate) const MAX_RECORDS: usize = 512 << 10;

/// A content that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blob {
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) hash: ContentHash,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Blobs {
    /// The records, one after the other.
    records: Vec<u8>,
}

impl Blobs {
    /// Reads a file. Without one, or if it is damaged, no blob is known.
    pub(crate) fn read(path: &Path) -> Self {
        Self { records: read_records(path).unwrap_or_default() }
    }

    pub(crate) fn get(&self, name: &ContentName) -> Option<Blob> {
        let (records, _) = self.records.as_chunks::<RECORD_BYTES>();
        let found = records.binary_search_by(|record| record[..20].cmp(&name.0)).ok()?;
        Some(decode(&records[found]).1)
    }
}

/// Adds blobs to a file, and notes that the blobs in `used` were used.
///
/// # Errors
/// When the file cannot be written. It is as it was, then.
pub(crate) fn add(
    path: &Path,
    new: &BTreeMap<ContentName, Blob>,
    is_used: impl Fn(&ContentName) -> bool,
) -> io::Result<()> {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    let today = u32::try_from(today).unwrap_or(u32::MAX);
    // What another run has added meanwhile is kept.
    let known = Blobs::read(path);
    let mut records: BTreeMap<ContentName, (Blob, u32)> = BTreeMap::new();
    for record in known.records.as_chunks::<RECORD_BYTES>().0 {
        let (name, blob, day) = decode(record);
        records.insert(name, (blob, if is_used(&name) { today } else { day }));
    }
    records.extend(new.iter().map(|(name, blob)| (*name, (*blob, today))));
    if records.len() > MAX_RECORDS {
        let mut days: Vec<u32> = records.values().map(|(_, day)| *day).collect();
        days.sort_unstable_by(|a, b| b.cmp(a));
        let oldest = days[MAX_RECORDS - 1];
        // Of the last day that is kept, some records.
        let mut of_oldest = MAX_RECORDS - days.partition_point(|day| *day > oldest);
        records.retain(|_, (_, day)| {
            let is_kept = *day > oldest || (*day == oldest && of_oldest > 0);
            of_oldest -= usize::from(is_kept && *day == oldest);
            is_kept
        });
    }
    let mut content = Vec::with_capacity(MAGIC.len() + records.len() * RECORD_BYTES + HASH_BYTES);
    content.extend_from_slice(MAGIC);
    for (name, (Blob { size, hash }, day)) in &records {
        content.extend_from_slice(&name.0);
        content.extend_from_slice(&size.to_le_bytes());
        content.extend_from_slice(hash.as_bytes());
        content.extend_from_slice(&day.to_le_bytes());
    }
    let hash = blake3::hash(&content);
    content.extend_from_slice(hash.as_bytes());
    replace(path, &content)
}

fn decode(record: &[u8; RECORD_BYTES]) -> (ContentName, Blob, u32) {
    let part = |from: usize| &record[from..];
    let fixed = "a record has this many bytes";
    let name = ContentName(*part(0).first_chunk().expect(fixed));
    let size = u64::from_le_bytes(*part(20).first_chunk().expect(fixed));
    let hash = ContentHash::from_bytes(*part(28).first_chunk().expect(fixed));
    (name, Blob { size, hash }, u32::from_le_bytes(*part(60).first_chunk().expect(fixed)))
}

/// The records of a file that is as it was written.
fn read_records(path: &Path) -> Option<Vec<u8>> {
    let limit = MAGIC.len() + MAX_RECORDS * RECORD_BYTES + HASH_BYTES;
    let mut content = regular_file::read_opened(regular_file::open(path).ok()?, limit as u64).ok()?;
    let (before, hash) = content.split_last_chunk::<HASH_BYTES>()?;
    if blake3::hash(before) != *hash {
        return None;
    }
    let records = before.strip_prefix(MAGIC)?.len();
    content.drain(..MAGIC.len());
    content.truncate(records);
    records.is_multiple_of(RECORD_BYTES).then_some(content)
}

/// Puts a new file in the place of `path`. If another run is just doing so, it wins.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary: PathBuf = path.with_extension("new");
    let mut file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&temporary)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The run that had the lock before may have moved the file to its place.
    let is_current = fs::metadata(&temporary).is_ok_and(|there| {
        file.metadata().is_ok_and(|ours| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
    });
    if !is_current {
        return Ok(());
    }
    file.set_len(0)?;
    file.write_all(content)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(number: u32) -> (ContentName, Blob) {
        let mut name = [0; 20];
        name[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        (ContentName(name), Blob { size: u64::from(number), hash: ContentHash::of(&number.to_le_bytes()) })
    }

    fn blobs(numbers: impl Iterator<Item = u32>) -> BTreeMap<ContentName, Blob> {
        numbers.map(blob).collect()
    }

    #[test]
    fn what_was_added_is_found() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("blobs");
        assert_eq!(Blobs::read(&path).get(&blob(1).0), None);
        add(&path, &blobs(0..1000), |_| false).unwrap();
        add(&path, &blobs(1000..1500), |_| false).unwrap();
        let known = Blobs::read(&path);
        for number in 0..1500 {
            let (name, expected) = blob(number);
            assert_eq!(known.get(&name), Some(expected));
        }
        assert_eq!(known.get(&blob(1500).0), None);
    }

    #[test]
    fn a_damaged_file_is_ignored() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("blobs");
        add(&path, &blobs(0..10), |_| false).unwrap();
        let content = fs::read(&path).unwrap();
        for at in 0..content.len() {
            let mut damaged = content.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(Blobs::read(&path).get(&blob(3).0), None, "byte {at}");
            fs::write(&path, &content[..at]).unwrap();
            assert_eq!(Blobs::read(&path).get(&blob(3).0), None, "length {at}");
        }
    }

    #[test]
    fn the_records_that_were_not_used_go_first() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("blobs");
        let most = u32::try_from(MAX_RECORDS).unwrap();
        add(&path, &blobs(0..most), |_| false).unwrap();
        // All of the same day: as many as there is room for stay, and the new ones are among them or not.
        add(&path, &blobs(most..most + 100), |_| false).unwrap();
        assert_eq!(Blobs::read(&path).records.len(), MAX_RECORDS * RECORD_BYTES);
        // Of another day.
        let old: Vec<u8> = fs::read(&path).unwrap();
        let mut content = old[..old.len() - HASH_BYTES].to_vec();
        for record in content[MAGIC.len()..].as_chunks_mut::<RECORD_BYTES>().0 {
            record[60..].copy_from_slice(&1_u32.to_le_bytes());
        }
        let hash = blake3::hash(&content);
        content.extend_from_slice(hash.as_bytes());
        fs::write(&path, content).unwrap();
        let used = blob(7).0;
        add(&path, &blobs(most + 1000..most + 2000), |name| *name == used).unwrap();
        let known = Blobs::read(&path);
        assert_eq!(known.records.len(), MAX_RECORDS * RECORD_BYTES);
        assert!((most + 1000..most + 2000).all(|number| known.get(&blob(number).0).is_some()));
        assert!(known.get(&used).is_some());
    }
}
