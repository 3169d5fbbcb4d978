//! The end of the cache file: the index of all blocks and the footer that leads to it. Written last, so a file that
//! was not finished has none and reads as no cache at all.
//!
//! All numbers are little-endian. The file is: blocks, index entries sorted by hash and offset, footer.
//!
//! | bytes of an index entry | what |
//! |---|---|
//! | 8 | the first 8 bytes of the blake3 hash of the directory's path |
//! | 8 | offset of the block in the file |
//! | 4, 4 | bytes of the block, number of its records |
//!
//! | bytes of the footer | what |
//! |---|---|
//! | 8, 8 | number of index entries, number of records |
//! | 32 | blake3 hash of the index, the two numbers and the version |
//! | 4 | version |
//! | 12 | magic |

use super::block::{MAX_BLOCK_BYTES, MAX_BLOCK_RECORDS, MIN_BLOCK_BYTES};

/// Last in the file.
pub(super) const MAGIC: &[u8; 12] = b"coast-cache\n";

/// Changes with any change to the meaning of the file.
pub(super) const VERSION: u32 = 1;

pub(super) const FOOTER_BYTES: usize = 8 + 8 + 32 + 4 + 12;
pub(super) const ENTRY_BYTES: usize = 24;

/// Most index entries of a file: 96 MiB of them. A writer leaves out what goes beyond, a reader refuses it.
pub(super) const MAX_ENTRIES: usize = 4 << 20;

/// Where one block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) path_hash: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) records: u32,
}

impl Entry {
    pub(super) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.path_hash.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..].copy_from_slice(&self.records.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let [a, b, c] = [0, 8, 16].map(|at| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        });
        #[allow(clippy::cast_possible_truncation)] // Two numbers of 32 bits in one of 64.
        let (length, records) = (c as u32, (c >> 32) as u32);
        Self { path_hash: a, offset: b, length, records }
    }

    /// Whether the block lies before `end` and within the limits of a block.
    pub(super) fn is_sound(&self, end: u64) -> bool {
        let length = self.length as usize;
        (MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&length)
            && self.records as usize <= MAX_BLOCK_RECORDS
            && self.offset.checked_add(u64::from(self.length)).is_some_and(|block_end| block_end <= end)
    }
}

/// The key under which a directory is found, here and in a ledger.
pub(crate) fn path_hash(path: &[u8]) -> u64 {
    super::ContentHash::of(path).prefix()
}

/// The content of the footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) entries: u64,
    pub(super) records: u64,
    pub(super) checksum: [u8; 32],
    pub(super) version: u32,
}

impl Footer {
    /// The footer of an index, given as its bytes.
    pub(super) fn of(index: &[u8], records: u64) -> Self {
        let entries = (index.len() / ENTRY_BYTES) as u64;
        Self { entries, records, checksum: checksum(index, entries, records), version: VERSION }
    }

    pub(super) fn to_bytes(self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[..8].copy_from_slice(&self.entries.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.records.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.checksum);
        bytes[48..52].copy_from_slice(&self.version.to_le_bytes());
        bytes[52..].copy_from_slice(MAGIC);
        bytes
    }

    /// None when these are not the last bytes of a cache file, of whatever version.
    pub(super) fn from_bytes(bytes: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let (entries, rest) = bytes.split_first_chunk()?;
        let (records, rest) = rest.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        let (version, magic) = rest.split_first_chunk()?;
        (magic == MAGIC).then(|| Self {
            entries: u64::from_le_bytes(*entries),
            records: u64::from_le_bytes(*records),
            checksum: *checksum,
            version: u32::from_le_bytes(*version),
        })
    }

    /// Whether this is the footer of the index, given as its bytes.
    pub(super) fn fits(&self, index: &[u8]) -> bool {
        self.checksum == checksum(index, self.entries, self.records)
    }
}

fn checksum(index: &[u8], entries: u64, records: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(index);
    hasher.update(&entries.to_le_bytes()).update(&records.to_le_bytes()).update(&VERSION.to_le_bytes());
    *hasher.finalize().as_bytes()
}
