//! Reading a cache file. Only the index is kept in memory; each directory's records are read when they are asked for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, OnceLock};

use thiserror::Error;

use super::block::{Block, RawRecord};
use super::footer::{ENTRY_BYTES, Entry, FOOTER_BYTES, Footer, MAX_ENTRIES, VERSION, path_hash};
use super::lookup::ContentLookup;
use super::{CacheWriter, ContentHash, FileIdentity, Record};
use crate::{LedgerWriter, LockExt, Name, RelPath};

/// Why a file cannot be used as a cache. None of these is a reason to stop: go on with [`CacheReader::empty`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The file could not be read.
    #[error("cannot read the content cache")]
    Io(#[from] io::Error),
    /// The file is something else, or was never finished.
    #[error("this is not a finished content cache")]
    NotACache,
    /// The file was written by another version of this program.
    #[error("the content cache has version {found}, this program reads {VERSION}")]
    OtherVersion {
        /// The version of the file.
        found: u32,
    },
    /// The index does not fit its checksum, or does not fit the file.
    #[error("the content cache is damaged")]
    Damaged,
}

/// A content cache, open for questions from several threads.
///
/// A block that turns out to be damaged counts as not there. Errors are the system's, from reading the file.
#[derive(Debug)]
pub struct CacheReader {
    /// None for the empty cache.
    file: Option<File>,
    /// Sorted by path hash, then by offset.
    index: Vec<Entry>,
    files: u64,
    lookup: OnceLock<ContentLookup>,
    /// Held while the lookup is built, so that it is built once.
    building: Mutex<()>,
    /// The block in which a content was found last, with its place in the index: a copied directory asks for one content of it after the
    /// other. No other lock is taken while it is held.
    last_found: Mutex<Option<(usize, Arc<Block>)>>,
}

impl CacheReader {
    /// Opens a cache file: reads and checks its index.
    pub fn open(file: File) -> Result<Self, CacheError> {
        let length = file.metadata()?.len();
        let blocks_and_index = length.checked_sub(FOOTER_BYTES as u64).ok_or(CacheError::NotACache)?;
        let mut footer = [0; FOOTER_BYTES];
        read_exact(&file, &mut footer, blocks_and_index)?.ok_or(CacheError::NotACache)?;
        let footer = Footer::from_bytes(&footer).ok_or(CacheError::NotACache)?;
        if footer.version != VERSION {
            return Err(CacheError::OtherVersion { found: footer.version });
        }
        let entries =
            usize::try_from(footer.entries).ok().filter(|&n| n <= MAX_ENTRIES).ok_or(CacheError::Damaged)?;
        let index_bytes = entries * ENTRY_BYTES;
        let blocks = blocks_and_index.checked_sub(index_bytes as u64).ok_or(CacheError::Damaged)?;
        let mut index = vec![0; index_bytes];
        read_exact(&file, &mut index, blocks)?.ok_or(CacheError::Damaged)?;
        if !footer.fits(&index) {
            return Err(CacheError::Damaged);
        }
        let (entries, _) = index.as_chunks::<ENTRY_BYTES>();
        let index: Vec<Entry> = entries.iter().map(Entry::from_bytes).collect();
        let records: u64 = index.iter().map(|entry| u64::from(entry.records)).sum();
        let block_bytes: u64 = index.iter().map(|entry| u64::from(entry.length)).sum();
        let sound = index.is_sorted()
            && index.iter().all(|entry| entry.is_sound(blocks))
            && records == footer.records
            // So no block counts twice, and what all of them take is bounded by the file.
            && block_bytes == blocks;
        if !sound {
            return Err(CacheError::Damaged);
        }
        Ok(Self {
            file: Some(file),
            index,
            files: records,
            lookup: OnceLock::new(),
            building: Mutex::new(()),
            last_found: Mutex::default(),
        })
    }

    /// A cache that knows nothing.
    pub fn empty() -> Self {
        Self {
            file: None,
            index: Vec::new(),
            files: 0,
            lookup: OnceLock::new(),
            building: Mutex::new(()),
            last_found: Mutex::default(),
        }
    }

    /// How many blocks there are: one for every directory with files, more for very large ones.
    pub fn directories(&self) -> u64 {
        self.index.len() as u64
    }

    /// How many files are remembered.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// The records of the files directly in a directory; none when the directory is not known.
    pub fn directory(&self, dir: &RelPath) -> io::Result<DirRecords> {
        let mut blocks = Vec::new();
        let hash = path_hash(dir.as_bytes());
        let first = self.index.partition_point(|entry| entry.path_hash < hash);
        for entry in self.index[first..].iter().take_while(|entry| entry.path_hash == hash) {
            if let Some(block) = self.block(entry)?
                && block.path() == dir.as_bytes()
            {
                blocks.push(block);
            }
        }
        Ok(DirRecords { blocks })
    }

    /// Where files with this content were, four of them at most. What is there now has to be looked at.
    ///
    /// The first call reads the whole cache file once and keeps 16 bytes a file, and 8 for every size there is.
    pub fn find_content(&self, hash: &ContentHash) -> io::Result<Vec<RelPath>> {
        /// More copies than this are as good as these.
        const MAX_CANDIDATES: usize = 4;

        let mut found = Vec::new();
        for (position, record) in self.lookup()?.places(hash) {
            let Some(block) = self.block_at(position)? else { continue };
            let Some(record) = block.record(record) else { continue };
            if record.hash == *hash
                && let (Ok(dir), Ok(name)) = (RelPath::new(block.path()), Name::new(record.name))
                && let Ok(path) = dir.join(&name)
            {
                found.push(path);
                if found.len() == MAX_CANDIDATES {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Whether any remembered file had this size, in bytes. Costs what [`find_content`](Self::find_content) does.
    pub fn has_size(&self, size: u64) -> io::Result<bool> {
        Ok(self.lookup()?.has_size(size))
    }

    /// Copies the records of the directories that no names were added of to `ledger`, and that are wanted, to `writer`.
    ///
    /// # Errors
    /// When the cache cannot be read, or the other one cannot be written.
    pub fn carry_over(
        &self,
        writer: &CacheWriter,
        ledger: &LedgerWriter,
        wanted: impl Fn(&RelPath) -> bool,
    ) -> io::Result<()> {
        for entry in self.index.iter().filter(|entry| !ledger.speaks_of_hash(entry.path_hash)) {
            let Some(block) = self.block(entry)? else { continue };
            if let Ok(dir) = RelPath::new(block.path())
                && wanted(&dir)
            {
                let records: Vec<Record> = block.records().filter_map(RawRecord::to_record).collect();
                writer.append(&dir, &records)?;
            }
        }
        Ok(())
    }

    /// The lookup by content, built by whoever comes first.
    fn lookup(&self) -> io::Result<&ContentLookup> {
        if let Some(lookup) = self.lookup.get() {
            return Ok(lookup);
        }
        let _building = self.building.enter();
        if let Some(lookup) = self.lookup.get() {
            return Ok(lookup);
        }
        let built = ContentLookup::build(&self.index, |entry| self.block(entry))?;
        Ok(self.lookup.get_or_init(|| built))
    }

    /// The block at a place of the index, which is read unless it was the last one.
    fn block_at(&self, position: usize) -> io::Result<Option<Arc<Block>>> {
        let last = self.last_found.enter().clone();
        if let Some((_, block)) = last.filter(|(last, _)| *last == position) {
            return Ok(Some(block));
        }
        let Some(entry) = self.index.get(position) else { return Ok(None) };
        let block = self.block(entry)?.map(Arc::new);
        if let Some(block) = &block {
            *self.last_found.enter() = Some((position, Arc::clone(block)));
        }
        Ok(block)
    }

    /// Reads and checks one block. None when it is damaged or no longer there.
    fn block(&self, entry: &Entry) -> io::Result<Option<Block>> {
        let Some(file) = &self.file else { return Ok(None) };
        // The length was held against the limit of a block when the file was opened.
        let mut bytes = vec![0; entry.length as usize];
        if read_exact(file, &mut bytes, entry.offset)?.is_none() {
            return Ok(None);
        }
        Ok(Block::parse(bytes).filter(|block| block.len() == entry.records as usize))
    }
}

/// Reads exactly so many bytes. None when the file ends before.
fn read_exact(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<Option<()>> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The records of the files directly in one directory.
#[derive(Debug, Clone, Default)]
pub struct DirRecords {
    blocks: Vec<Block>,
}

impl DirRecords {
    /// The hash of a file's content, if the file still has the identity it had when it was read.
    pub fn get(&self, name: &Name, stat: &FileIdentity) -> Option<ContentHash> {
        self.blocks
            .iter()
            .filter_map(|block| block.find(name))
            .find(|record| record.stat == *stat)
            .map(|record| record.hash)
    }

    /// The contents that a file had, whatever became of it since.
    pub fn contents_of(&self, name: &Name) -> impl Iterator<Item = ContentHash> {
        self.blocks.iter().filter_map(|block| block.find(name)).map(|record| record.hash)
    }

    /// The sizes of the contents that a file had, in bytes.
    pub fn sizes_of(&self, name: &Name) -> impl Iterator<Item = u64> {
        self.blocks.iter().filter_map(|block| block.find(name)).map(|record| record.stat.size)
    }

    /// All records, sorted by name within each part that was appended.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.blocks.iter().flat_map(Block::records).filter_map(|record| record.to_record())
    }

    /// Whether nothing is known of the directory.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

#[cfg(test)]
mod tests;
