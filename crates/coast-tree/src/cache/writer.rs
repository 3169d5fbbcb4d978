//! Writing a cache file, from several threads and in any order of directories. What is kept in memory is the index and
//! one buffer.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::sync::Mutex;

use super::Record;
use super::block::{self, MAX_BLOCK_RECORDS};
use super::footer::{Entry, Footer, MAX_ENTRIES, path_hash};
use crate::{LockExt, LockResultExt, RelPath};

const BUFFER_BYTES: usize = 256 * 1024;

/// A cache file that is being written. Until [`finish`](Self::finish) returns, the file reads as no cache at all.
#[derive(Debug)]
pub struct CacheWriter {
    output: Mutex<Output>,
}

#[derive(Debug)]
struct Output {
    writer: BufWriter<File>,
    /// Bytes written so far.
    offset: u64,
    index: Vec<Entry>,
    files: u64,
    /// After an error it is not known what reached the file, so nothing may follow.
    broken: bool,
}

/// Counts of a finished cache file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Blocks: one for every directory with files, more for very large ones or ones that came in parts.
    pub directories: u64,
    pub files: u64,
    /// Length of the file.
    pub bytes: u64,
}

impl CacheWriter {
    /// Begins a cache in a file that is open for writing. What it held is gone.
    pub fn create(mut file: File) -> io::Result<Self> {
        file.set_len(0)?;
        file.rewind()?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        let output = Output { writer, offset: 0, index: Vec::new(), files: 0, broken: false };
        Ok(Self { output: Mutex::new(output) })
    }

    /// Adds records of files directly in `dir`, in any order. A directory may come in several parts. Where one part
    /// names a file twice, the later record counts; across parts, either may be found.
    pub fn append(&self, dir: &RelPath, records: &[Record]) -> io::Result<()> {
        let mut sorted: Vec<&Record> = records.iter().collect();
        if !sorted.is_sorted_by(|a, b| a.name < b.name) {
            // Stable, from last to first, so that of equal names the later record is the one kept.
            sorted.reverse();
            sorted.sort_by(|a, b| a.name.cmp(&b.name));
            sorted.dedup_by(|a, b| a.name == b.name);
        }
        let mut buffer = Vec::new();
        for part in sorted.chunks(MAX_BLOCK_RECORDS) {
            buffer.clear();
            block::encode(dir, part, &mut buffer);
            self.write_block(path_hash(dir.as_bytes()), part.len(), &buffer)?;
        }
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation)] // A block and its records are within limits far below 32 bits.
    fn write_block(&self, path_hash: u64, records: usize, block: &[u8]) -> io::Result<()> {
        let mut output = self.output.enter();
        output.check()?;
        if output.index.len() == MAX_ENTRIES {
            // Not remembered is only slower.
            return Ok(());
        }
        output.broken = true;
        output.writer.write_all(block)?;
        output.broken = false;
        let entry =
            Entry { path_hash, offset: output.offset, length: block.len() as u32, records: records as u32 };
        output.index.push(entry);
        output.offset += block.len() as u64;
        output.files += records as u64;
        Ok(())
    }

    /// Writes the index. Nothing is synced to the disk: what a crash leaves is noticed by whoever reads it.
    pub fn finish(self) -> io::Result<CacheStats> {
        let mut output = self.output.into_inner().even_poisoned();
        output.check()?;
        output.index.sort_unstable();
        let index: Vec<u8> = output.index.iter().flat_map(|entry| entry.to_bytes()).collect();
        let footer = Footer::of(&index, output.files).to_bytes();
        output.writer.write_all(&index)?;
        output.writer.write_all(&footer)?;
        output.writer.flush()?;
        Ok(CacheStats {
            directories: output.index.len() as u64,
            files: output.files,
            bytes: output.offset + (index.len() + footer.len()) as u64,
        })
    }
}

impl Output {
    fn check(&self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write to the content cache failed"));
        }
        Ok(())
    }
}
