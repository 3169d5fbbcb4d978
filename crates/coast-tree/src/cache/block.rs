//! One block of the cache file: some or all records of one directory, sorted by name. A block is checked as a whole
//! before anything of it is believed, and again field by field, since a checksum only tells damage from intent.
//!
//! All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the first 8 bytes of the blake3 hash of what follows |
//! | 2, n | length of the directory's path, the path |
//! | 4 | number of records |
//! | per record: 1, n | length of the name, the name |
//! | 8, 8 | inode number, size in bytes |
//! | 8, 4, 8, 4 | mtime and ctime: seconds and nanoseconds since the epoch |
//! | 32 | content hash |

use super::{ContentHash, FileIdentity, Record};
use crate::path::{MAX_NAME_BYTES, MAX_PATH_BYTES, check_component, check_path};
use crate::{Name, RelPath, Timestamp};

/// Most records of one block; a larger directory takes several.
pub(super) const MAX_BLOCK_RECORDS: usize = 16 * 1024;

/// Bytes of a record besides its name.
const RECORD_BYTES: usize = 1 + 8 + 8 + (8 + 4) * 2 + 32;

const CHECKSUM_BYTES: usize = 8;
const HEADER_BYTES: usize = CHECKSUM_BYTES + 2 + 4;

/// The smallest block, of the root and without records.
pub(super) const MIN_BLOCK_BYTES: usize = HEADER_BYTES;

/// The largest block: what a reader allocates for one at most.
pub(super) const MAX_BLOCK_BYTES: usize =
    HEADER_BYTES + MAX_PATH_BYTES + MAX_BLOCK_RECORDS * (RECORD_BYTES + MAX_NAME_BYTES);

/// Writes a block into an empty buffer. The records are sorted by name, each name once, at most
/// [`MAX_BLOCK_RECORDS`] of them.
#[allow(clippy::cast_possible_truncation)] // Path, names and count are within limits that fit their fields.
pub(super) fn encode(dir: &RelPath, records: &[&Record], buffer: &mut Vec<u8>) {
    debug_assert!(buffer.is_empty() && records.len() <= MAX_BLOCK_RECORDS);
    buffer.extend_from_slice(&[0; CHECKSUM_BYTES]);
    buffer.extend_from_slice(&(dir.as_bytes().len() as u16).to_le_bytes());
    buffer.extend_from_slice(dir.as_bytes());
    buffer.extend_from_slice(&(records.len() as u32).to_le_bytes());
    for record in records {
        let name = record.name.as_bytes();
        buffer.push(name.len() as u8);
        buffer.extend_from_slice(name);
        buffer.extend_from_slice(&record.stat.ino.to_le_bytes());
        buffer.extend_from_slice(&record.stat.size.to_le_bytes());
        for time in [record.stat.mtime, record.stat.ctime] {
            buffer.extend_from_slice(&time.secs().to_le_bytes());
            buffer.extend_from_slice(&time.nanos().to_le_bytes());
        }
        buffer.extend_from_slice(record.hash.as_bytes());
    }
    let checksum = checksum(&buffer[CHECKSUM_BYTES..]);
    buffer[..CHECKSUM_BYTES].copy_from_slice(&checksum);
}

/// A block that was found whole and well-formed.
#[derive(Debug, Clone)]
pub(super) struct Block {
    bytes: Vec<u8>,
    path_end: usize,
    /// Where each record begins.
    starts: Vec<u32>,
}

impl Block {
    /// Checks a block's bytes. None when anything about them is not as [`encode`] writes it.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return None;
        }
        let mut rest = bytes.as_slice();
        let sum = *take::<CHECKSUM_BYTES>(&mut rest)?;
        if sum != checksum(rest) {
            return None;
        }
        let path_length = u16::from_le_bytes(*take(&mut rest)?);
        let path = take_slice(&mut rest, usize::from(path_length))?;
        check_path(path).ok()?;
        let path_end = CHECKSUM_BYTES + 2 + path.len();
        let count = usize::try_from(u32::from_le_bytes(*take(&mut rest)?)).ok()?;
        if count > MAX_BLOCK_RECORDS || count > rest.len() / RECORD_BYTES {
            return None;
        }
        let mut starts = Vec::with_capacity(count);
        let mut last: &[u8] = b"";
        for _ in 0..count {
            starts.push(u32::try_from(bytes.len() - rest.len()).ok()?);
            let record = RawRecord::take(&mut rest)?;
            check_component(record.name).ok()?;
            if record.name <= last {
                return None;
            }
            last = record.name;
        }
        let whole = rest.is_empty();
        whole.then_some(Self { bytes, path_end, starts })
    }

    /// The path of the directory, as bytes.
    pub(super) fn path(&self) -> &[u8] {
        &self.bytes[CHECKSUM_BYTES + 2..self.path_end]
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The record at an index below [`len`](Self::len).
    pub(super) fn record(&self, index: usize) -> Option<RawRecord<'_>> {
        let start = usize::try_from(*self.starts.get(index)?).ok()?;
        RawRecord::take(&mut self.bytes.get(start..)?)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = RawRecord<'_>> {
        (0..self.len()).filter_map(|index| self.record(index))
    }

    /// The record of a name.
    pub(super) fn find(&self, name: &Name) -> Option<RawRecord<'_>> {
        let index = self
            .starts
            .binary_search_by(|&start| {
                // Every start was checked by `parse`; a record that cannot be read sorts anywhere and matches nothing.
                let rest = usize::try_from(start).ok().and_then(|start| self.bytes.get(start..));
                let found = rest.and_then(|mut rest| take_name(&mut rest)).unwrap_or_default();
                found.cmp(name.as_bytes())
            })
            .ok()?;
        self.record(index)
    }
}

/// A record in the bytes of its block.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawRecord<'a> {
    pub(super) name: &'a [u8],
    pub(super) stat: FileIdentity,
    pub(super) hash: ContentHash,
}

impl<'a> RawRecord<'a> {
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let name = take_name(rest)?;
        let ino = u64::from_le_bytes(*take(rest)?);
        let size = u64::from_le_bytes(*take(rest)?);
        let mtime = take_time(rest)?;
        let ctime = take_time(rest)?;
        let hash = ContentHash::from_bytes(*take(rest)?);
        Some(Self { name, stat: FileIdentity { ino, size, mtime, ctime }, hash })
    }

    /// The record on its own.
    pub(super) fn to_record(self) -> Option<Record> {
        Some(Record { name: Name::new(self.name).ok()?, stat: self.stat, hash: self.hash })
    }
}

fn take_name<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = *take(rest)?;
    take_slice(rest, usize::from(length))
}

fn take_time(rest: &mut &[u8]) -> Option<Timestamp> {
    let secs = i64::from_le_bytes(*take(rest)?);
    let nanos = u32::from_le_bytes(*take(rest)?);
    (nanos < 1_000_000_000).then(|| Timestamp::new(secs, nanos))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, remaining) = rest.split_first_chunk()?;
    *rest = remaining;
    Some(taken)
}

fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, remaining) = rest.split_at_checked(length)?;
    *rest = remaining;
    Some(taken)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scratch::{name, rel};

    fn record(file: &[u8]) -> Record {
        let time = Timestamp::new(-5, 6);
        let stat = FileIdentity { ino: 1, size: 2, mtime: time, ctime: time };
        Record { name: name(file), stat, hash: ContentHash::of(file) }
    }

    fn encoded(dir: &[u8], files: &[&[u8]]) -> Vec<u8> {
        let records: Vec<Record> = files.iter().map(|file| record(file)).collect();
        let mut bytes = Vec::new();
        encode(&rel(dir), &records.iter().collect::<Vec<_>>(), &mut bytes);
        bytes
    }

    /// Sets the checksum right, as an attacker would.
    fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
        let sum = checksum(&bytes[CHECKSUM_BYTES..]);
        bytes[..CHECKSUM_BYTES].copy_from_slice(&sum);
        bytes
    }

    #[test]
    fn block_comes_back_as_it_was() {
        let block = Block::parse(encoded(b"a/b", &[b"\n", b"x", &[0xff; 255]])).unwrap();
        assert_eq!(block.path(), b"a/b");
        let files = [&b"\n"[..], b"x", &[0xff; 255]].map(record);
        assert!(block.records().map(|found| found.to_record().unwrap()).eq(files.iter().cloned()));
        assert!(files.iter().all(|file| block.find(&file.name).unwrap().to_record().as_ref() == Some(file)));
        assert!(block.find(&name("y")).is_none() && block.record(3).is_none());
    }

    #[test]
    fn limits_cover_the_largest_block() {
        let names: Vec<Vec<u8>> =
            (0..MAX_BLOCK_RECORDS).map(|number| format!("{number:0255}").into_bytes()).collect();
        let bytes = encoded(&[b'd'; 255], &names.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(bytes.len(), MAX_BLOCK_BYTES - MAX_PATH_BYTES + 255);
        assert_eq!(Block::parse(bytes).unwrap().len(), MAX_BLOCK_RECORDS);
        assert_eq!(encoded(b"", &[]).len(), MIN_BLOCK_BYTES);
    }

    #[test]
    fn well_signed_nonsense_is_refused() {
        let good = encoded(b"dir", &[b"aa", b"bb"]);
        assert!(Block::parse(signed(good.clone())).is_some());
        let (path, count, first) = (10, 13, 17);
        let second = first + RECORD_BYTES + 2;
        let mtime_nanos = first + 3 + 8 + 8 + 8;
        let edits: [(&str, usize, &[u8]); 9] = [
            ("a path that leads up", path, b"../"),
            ("an absolute path", path, b"/ab"),
            ("a path longer than the block", 8, &[0xff, 0xff]),
            ("more records than there are bytes", count, &[0xff; 4]),
            ("fewer records than there are", count, &[1, 0, 0, 0]),
            ("a name that leads up", first + 1, b".."),
            ("a name of no length", first, &[0]),
            ("names out of order", second + 1, b"aa"),
            ("nanoseconds of more than a second", mtime_nanos, &[0xff; 4]),
        ];
        for (what, at, edit) in edits {
            let mut bytes = good.clone();
            bytes[at..at + edit.len()].copy_from_slice(edit);
            assert!(Block::parse(signed(bytes)).is_none(), "{what}");
        }
        assert!(Block::parse(signed([&good[..], b"x"].concat())).is_none(), "bytes after the last record");
        assert!(Block::parse(good[..7].to_vec()).is_none());
    }

    proptest! {
        #[test]
        fn any_signed_bytes_are_handled(at in 8_usize..80, edit in prop::collection::vec(any::<u8>(), 1..12)) {
            let mut bytes = encoded(b"d", &[b"a", b"b"]);
            let end = (at + edit.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&edit[..end - at]);
            if let Some(block) = Block::parse(signed(bytes)) {
                prop_assert!(RelPath::new(block.path()).is_ok());
                prop_assert_eq!(block.records().filter_map(RawRecord::to_record).count(), block.len());
            }
        }
    }
}
