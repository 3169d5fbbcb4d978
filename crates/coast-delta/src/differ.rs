//! Describes a new file in terms of a basis that is known by its signature only. The file comes in windows of any size;
//! what is kept between them is less than a few blocks, so where the windows end makes no difference to what is found.

use std::collections::TryReserveError;

use crate::block::{Checksums, LANES, entries, hash_blocks};
use crate::command::{Command, MAX_COMMAND_BYTES};
use crate::index::BlockIndex;
use crate::layout::HEADER_BYTES;
use crate::signature::Signature;
use crate::weak::Weak;

/// How much is searched at a time, unless blocks are so large that this is less than a run of them. Small enough to stay in the
/// processor's cache.
const BUFFER_BYTES: usize = 1 << 20;

/// The most bytes hashed at a time because they may continue a run of matches.
const MAX_RUN_BYTES: usize = 8 << 20;

/// How many bytes may be hashed in vain per byte searched.
///
/// A weak checksum that matches by chance costs the MD4 of a block. In honest data this costs 0.75 bytes per byte
/// searched at a basis of 3 GiB and grows with it; a forged signature could ask for a block at every byte. Beyond the
/// allowance blocks are not looked at, which costs bytes on the wire, not time.
const VAIN_BYTES_PER_BYTE: u64 = 4;

/// The allowance to start with, in blocks.
const VAIN_BLOCKS: u64 = 64;

/// Takes a new file in windows and gives a delta that turns the basis into it.
///
/// Owns all it needs, so it can be kept next to the file it reads. Memory: about 32 bytes per block of the basis (12 MiB for
/// the longest signature, 2 MiB for a basis of 3 GiB), and a buffer of at most 1 MiB or nine blocks, whichever is more;
/// of blocks above 1 MiB as many as fit in 8 MiB and one more.
#[derive(Debug)]
pub struct Differ {
    index: BlockIndex,
    block_size: u32,
    /// The end of the new file so far, from the first byte that no command stands for.
    buffer: Vec<u8>,
    /// Bytes of the new file so far, those that were skipped among them.
    taken: u64,
    search: Search,
    /// The block of the basis that follows the last one matched.
    expected: u32,
    /// Bytes that may still be hashed in vain.
    allowance: u64,
    stats: DiffStats,
}

/// How the search goes on at the start of the buffer.
#[derive(Debug, Clone, Copy)]
enum Search {
    /// The bytes before are a match, or the file starts here: the next block probably matches too.
    Following,
    /// The block at the start, whose weak checksum this is, matches nothing. Never with less than a block in the buffer.
    Rolling(Weak),
}

/// Whether the new file goes on after what is in the buffer.
#[derive(Debug, Clone, Copy)]
enum Input {
    Continues,
    Ended,
}

impl Differ {
    /// Prepares the search for blocks of the basis that `signature` describes.
    #[must_use]
    pub fn new(signature: &Signature) -> Self {
        let block_size = signature.block_size();
        Self {
            index: BlockIndex::new(signature),
            block_size,
            buffer: Vec::new(),
            taken: 0,
            search: Search::Following,
            expected: 0,
            allowance: VAIN_BLOCKS * u64::from(block_size),
            stats: DiffStats::default(),
        }
    }

    /// Takes the next window of the new file and appends a piece of delta to `out`.
    ///
    /// The piece stands for all bytes so far but the last few (less than nine blocks, at most 32 MiB), which the next
    /// call decides; it may be empty. Windows of 1 MiB and more are best; any size is allowed and gives nearly the
    /// same delta. `out` grows by no more than the bytes that became decided, and a few for each command.
    ///
    /// # Errors
    /// [`DiffError`] if memory is short. The delta is then incomplete and the differ of no further use.
    pub fn push(&mut self, mut window: &[u8], out: &mut Vec<u8>) -> Result<(), DiffError> {
        let capacity = self.buffer_bytes();
        while !window.is_empty() {
            // The search leaves at most `run_blocks` blocks in the buffer, so there is always room for at least one more.
            let room = capacity - self.buffer.len();
            let (part, rest) = window.split_at(room.min(window.len()));
            reserve(&mut self.buffer, part.len())?;
            self.buffer.extend_from_slice(part);
            self.taken += part.len() as u64;
            self.search(Input::Continues, out)?;
            window = rest;
        }
        Ok(())
    }

    /// Leaves out the next `length` bytes of the new file: a hole, for which the caller has another way. Appends to `out` the
    /// end of the piece that stands for all bytes before them; it may be empty. What is appended after that stands for the
    /// bytes that follow the hole.
    ///
    /// # Errors
    /// [`DiffError`] if memory is short. The delta is then incomplete and the differ of no further use.
    pub fn skip(&mut self, length: u64, out: &mut Vec<u8>) -> Result<(), DiffError> {
        self.search(Input::Ended, out)?;
        self.taken = self.taken.saturating_add(length);
        // Where both files have the same holes, the block at this place is the next that matches.
        self.expected = u32::try_from(self.taken / u64::from(self.block_size)).unwrap_or(u32::MAX);
        self.search = Search::Following;
        Ok(())
    }

    /// Ends the new file: appends the last piece of delta to `out`, which may be empty.
    ///
    /// # Errors
    /// [`DiffError`] if memory is short.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<DiffStats, DiffError> {
        self.search(Input::Ended, out)?;
        Ok(self.stats)
    }

    /// How many blocks are hashed in one go when following a run.
    fn run_blocks(&self) -> usize {
        (MAX_RUN_BYTES / self.block_size as usize).clamp(1, LANES)
    }

    /// The most the buffer holds: what the search may leave (a run, or one block), and at least a block more.
    fn buffer_bytes(&self) -> usize {
        BUFFER_BYTES.max((self.run_blocks() + 1) * self.block_size as usize)
    }

    /// Searches the buffer from its start and takes from it all that is decided.
    fn search(&mut self, input: Input, out: &mut Vec<u8>) -> Result<(), DiffError> {
        // Hashing eight blocks takes little longer than hashing one, so a run waits for as many while more may come.
        let min_run = match input {
            Input::Continues => self.run_blocks(),
            Input::Ended => 1,
        };
        let buffer = std::mem::take(&mut self.buffer);
        let mut scan = Scan { buffer: &buffer, at: 0, written: 0, piece: Piece::new(out) };
        loop {
            let goes_on = match self.search {
                Search::Following => self.follow(&mut scan, min_run)?,
                Search::Rolling(weak) => self.roll(&mut scan, weak)?,
            };
            if !goes_on {
                break;
            }
        }
        if let Input::Ended = input {
            self.end(&mut scan)?;
        }
        let decided = scan.at;
        self.stats += scan.finish()?;
        self.buffer = buffer;
        self.buffer.drain(..decided);
        Ok(())
    }

    /// Matches the blocks that follow, as many as are hashed in one go. Answers whether the search goes on: not with less
    /// than `min_run` blocks left.
    fn follow(&mut self, scan: &mut Scan<'_>, min_run: usize) -> Result<bool, DiffError> {
        let block = self.block_size as usize;
        let run = ((scan.buffer.len() - scan.at) / block).min(LANES);
        if run < min_run {
            return Ok(false);
        }
        let run = block_checksums(&scan.buffer[scan.at..scan.at + run * block], self.block_size);
        for (position, &checksums) in run.iter().enumerate() {
            if let Some(found) = self.index.find(checksums, self.expected) {
                scan.matched(self.offset_of(found), block)?;
                self.expected = found + 1;
            } else if run
                .get(position + 1)
                .is_some_and(|&next| self.index.is(self.expected.saturating_add(1), next))
            {
                // Overwritten in place: the next block is where it should be. Rolling through this one could at best find
                // a match that overlaps the next, and takes ten times as long.
                scan.at += block;
                self.expected = self.expected.saturating_add(1);
            } else {
                self.search = Search::Rolling(Weak::from_value(checksums.weak));
                break;
            }
        }
        Ok(true)
    }

    /// Moves on byte by byte to the next block that may match, and hashes it. Answers whether the search goes on: not
    /// when the buffer ends before.
    fn roll(&mut self, scan: &mut Scan<'_>, mut weak: Weak) -> Result<bool, DiffError> {
        let block = self.block_size as usize;
        let (steps, candidate) =
            next_candidate(&self.index, &mut weak, self.block_size, &scan.buffer[scan.at..]);
        scan.at += steps;
        self.search = Search::Rolling(weak);
        self.allowance = self.allowance.saturating_add(VAIN_BYTES_PER_BYTE * steps as u64);
        if candidate && self.allowance >= u64::from(self.block_size) && self.index.has(weak.value()) {
            let hashed = block_checksums(&scan.buffer[scan.at..scan.at + block], self.block_size);
            match hashed.first().and_then(|&checksums| self.index.find(checksums, self.expected)) {
                Some(found) => {
                    scan.matched(self.offset_of(found), block)?;
                    self.expected = found + 1;
                    self.search = Search::Following;
                }
                None => self.allowance -= u64::from(self.block_size),
            }
        }
        Ok(candidate)
    }

    /// Decides on what the search left at the end of the file.
    ///
    /// The last block of the basis is usually short, and no search finds it: its length is not in the signature. But an
    /// unchanged end of file is exactly what follows the last match.
    fn end(&mut self, scan: &mut Scan<'_>) -> Result<(), DiffError> {
        let rest = &scan.buffer[scan.at..];
        if let Search::Following = self.search
            && let Some((block, checksums)) = self.index.last()
            && block_checksums(rest, self.block_size).first() == Some(&checksums)
        {
            scan.matched(self.offset_of(block), rest.len())?;
        }
        scan.at = scan.buffer.len();
        Ok(())
    }

    /// Where a block of the basis starts, in bytes.
    fn offset_of(&self, block: u32) -> u64 {
        u64::from(block) * u64::from(self.block_size)
    }
}

/// One pass over the buffer. All before `at` is decided; of that, all before `written` is in the piece, and what is
/// between them is literal.
struct Scan<'a> {
    buffer: &'a [u8],
    at: usize,
    written: usize,
    piece: Piece<'a>,
}

impl Scan<'_> {
    /// The next `len` bytes are those of the basis at `offset`.
    fn matched(&mut self, offset: u64, len: usize) -> Result<(), DiffError> {
        self.piece.literal(&self.buffer[self.written..self.at])?;
        self.piece.copy(offset, len)?;
        self.at += len;
        self.written = self.at;
        Ok(())
    }

    /// Writes all that is decided.
    fn finish(mut self) -> Result<DiffStats, DiffError> {
        self.piece.literal(&self.buffer[self.written..self.at])?;
        self.piece.end_copy()?;
        Ok(self.piece.stats)
    }
}

/// Moves the block at the start of `data` on until its weak checksum, kept in `weak`, may be one of the basis. Answers how
/// far it went, and whether it found one; else it went as far as `data` allows.
fn next_candidate(index: &BlockIndex, weak: &mut Weak, block_size: u32, data: &[u8]) -> (usize, bool) {
    let entering = &data[block_size as usize..];
    let mut rolling = *weak;
    for (at, (&leaving, &entering)) in data.iter().zip(entering).enumerate() {
        rolling.rotate(block_size, leaving, entering);
        if index.may_have(rolling.value()) {
            *weak = rolling;
            return (at + 1, true);
        }
    }
    *weak = rolling;
    (entering.len(), false)
}

/// The checksums of all blocks of `data`.
fn block_checksums(data: &[u8], block_size: u32) -> Vec<Checksums> {
    entries(&hash_blocks(data, block_size)[HEADER_BYTES..]).collect()
}

fn reserve(vec: &mut Vec<u8>, additional: usize) -> Result<(), DiffError> {
    vec.try_reserve(additional).map_err(|source| DiffError { wanted_bytes: additional, source })
}

/// Appends commands to a delta, adjacent copies as one.
struct Piece<'a> {
    out: &'a mut Vec<u8>,
    stats: DiffStats,
    /// Offset and length of the copy that may still grow; it comes after everything in `out`.
    pending: Option<(u64, u64)>,
}

impl<'a> Piece<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, stats: DiffStats::default(), pending: None }
    }

    fn literal(&mut self, bytes: &[u8]) -> Result<(), DiffError> {
        if !bytes.is_empty() {
            self.end_copy()?;
            self.stats.literal_bytes += bytes.len() as u64;
            reserve(self.out, bytes.len() + MAX_COMMAND_BYTES)?;
            Command::Literal(bytes).write(self.out);
        }
        Ok(())
    }

    fn copy(&mut self, offset: u64, len: usize) -> Result<(), DiffError> {
        let len = len as u64;
        self.stats.copied_bytes += len;
        match &mut self.pending {
            Some((start, pending_len)) if *start + *pending_len == offset => *pending_len += len,
            _ => {
                self.end_copy()?;
                self.pending = Some((offset, len));
            }
        }
        Ok(())
    }

    /// Writes the copy that was still open.
    fn end_copy(&mut self) -> Result<(), DiffError> {
        if let Some((offset, len)) = self.pending.take() {
            reserve(self.out, MAX_COMMAND_BYTES)?;
            Command::Copy { offset, len }.write(self.out);
        }
        Ok(())
    }
}

/// How many bytes of a new file were found in the basis, and how many were not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DiffStats {
    /// Bytes of the new file that the basis has.
    pub copied_bytes: u64,
    /// Bytes of the new file that the delta carries.
    pub literal_bytes: u64,
}

impl std::ops::AddAssign for DiffStats {
    fn add_assign(&mut self, piece: Self) {
        self.copied_bytes += piece.copied_bytes;
        self.literal_bytes += piece.literal_bytes;
    }
}

/// There was not enough memory to describe the next part of a file.
#[derive(Debug, thiserror::Error)]
#[error("no memory for {wanted_bytes} more bytes of delta")]
pub struct DiffError {
    wanted_bytes: usize,
    source: TryReserveError,
}
