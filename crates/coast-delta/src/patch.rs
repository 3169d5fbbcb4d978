//! Builds the new file from its basis and a delta. The delta comes from a peer: every command is held against the
//! basis' length and the bytes still allowed before anything is read or written for it.

use std::io::{self, Write};

use crate::command::{Command, CommandError, Commands};
use crate::read_at::ReadAt;

/// How much of the new file is gathered before it is written.
const BUFFER_BYTES: usize = 256 << 10;

/// Applies one piece of a delta; see [`Patcher::patch`], which reuses its buffer and suits a file that comes in many.
///
/// # Errors
/// [`PatchError`]; part of the piece may have been written to `out` by then.
pub fn patch(
    delta: &[u8],
    basis: &(impl ReadAt + ?Sized),
    basis_len: u64,
    max_output: u64,
    out: &mut impl Write,
) -> Result<PatchStats, PatchError> {
    Patcher::new().patch(delta, basis, basis_len, max_output, out)
}

/// Applies deltas piece by piece, with one buffer for all of them.
#[derive(Debug, Default)]
pub struct Patcher {
    /// At most [`BUFFER_BYTES`] of the new file, not written yet. Empty between pieces.
    buffer: Vec<u8>,
}

impl Patcher {
    /// A patcher without a buffer yet; it grows to 256 KiB when needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one complete piece, as one call of [`Differ::push`](crate::Differ::push) or
    /// [`Differ::finish`](crate::Differ::finish) appended it, or several in their order, and writes the content to `out`
    /// from front to back.
    ///
    /// `basis_len` is the length of the basis when its signature was taken, `max_output` the most this piece may still
    /// add to the new file; all in bytes. Small commands are gathered, so `out` needs no buffer of its own.
    ///
    /// # Errors
    /// [`PatchError`]; part of the piece may have been written to `out` by then, never more than `max_output`.
    pub fn patch(
        &mut self,
        delta: &[u8],
        basis: &(impl ReadAt + ?Sized),
        basis_len: u64,
        max_output: u64,
        out: &mut impl Write,
    ) -> Result<PatchStats, PatchError> {
        self.buffer.clear();
        let mut stats = PatchStats::default();
        let mut ranges = Ranges::default();
        for command in Commands::new(delta) {
            let command = command?;
            let wanted_bytes = match command {
                Command::Literal(bytes) => bytes.len() as u64,
                Command::Copy { offset, len } if offset + len > basis_len => {
                    return Err(PatchError::OutsideBasis { offset, len, basis_len });
                }
                Command::Copy { len, .. } => len,
            };
            let left_bytes = max_output - stats.output_bytes();
            if wanted_bytes > left_bytes {
                return Err(PatchError::TooLong { wanted_bytes, left_bytes });
            }
            match command {
                Command::Literal(bytes) => {
                    stats.literal_bytes += wanted_bytes;
                    if let Some((offset, len)) = ranges.take() {
                        self.copy(offset, len, basis, out)?;
                    }
                    self.literal(bytes, out)?;
                }
                Command::Copy { offset, len } => {
                    stats.copied_bytes += wanted_bytes;
                    if let Some((offset, len)) = ranges.extend(offset, len) {
                        self.copy(offset, len, basis, out)?;
                    }
                }
            }
        }
        if let Some((offset, len)) = ranges.take() {
            self.copy(offset, len, basis, out)?;
        }
        self.write_buffer(out)?;
        Ok(stats)
    }

    fn literal(&mut self, bytes: &[u8], out: &mut impl Write) -> Result<(), PatchError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.write_buffer(out)?;
        }
        if bytes.len() >= BUFFER_BYTES {
            return out.write_all(bytes).map_err(PatchError::Write);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn copy(
        &mut self,
        mut offset: u64,
        len: u64,
        basis: &(impl ReadAt + ?Sized),
        out: &mut impl Write,
    ) -> Result<(), PatchError> {
        let end = offset + len;
        while offset < end {
            if self.buffer.len() == BUFFER_BYTES {
                self.write_buffer(out)?;
            }
            let filled = self.buffer.len();
            let room = BUFFER_BYTES - filled;
            let wanted = usize::try_from(end - offset).unwrap_or(room).min(room);
            self.buffer.resize(filled + wanted, 0);
            let read = basis.read_at(&mut self.buffer[filled..], offset);
            let read = match read {
                Ok(0) => return Err(PatchError::BasisEnded { offset, left_bytes: end - offset }),
                // A source that claims to have read more than it was asked for must not make us write what was never there.
                Ok(read) => read.min(wanted),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(source) => return Err(PatchError::ReadBasis { offset, source }),
            };
            self.buffer.truncate(filled + read);
            offset += read as u64;
        }
        Ok(())
    }

    fn write_buffer(&mut self, out: &mut impl Write) -> Result<(), PatchError> {
        out.write_all(&self.buffer).map_err(PatchError::Write)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Joins copies of adjacent ranges into one, whatever the delta's author did.
#[derive(Debug, Default)]
struct Ranges {
    /// Offset and length of the range not copied yet.
    pending: Option<(u64, u64)>,
}

impl Ranges {
    /// Adds a range; gives back the one before when the two do not touch.
    fn extend(&mut self, offset: u64, len: u64) -> Option<(u64, u64)> {
        match &mut self.pending {
            Some((start, pending_len)) if *start + *pending_len == offset => {
                *pending_len += len;
                None
            }
            pending => pending.replace((offset, len)),
        }
    }

    fn take(&mut self) -> Option<(u64, u64)> {
        self.pending.take()
    }
}

/// How many bytes a delta, or a piece of it, copied from the basis, and how many it carried itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PatchStats {
    /// Bytes of the new file that came from the basis.
    pub copied_bytes: u64,
    /// Bytes of the new file that the delta carried.
    pub literal_bytes: u64,
}

impl PatchStats {
    /// Bytes of the new file in all.
    #[must_use]
    pub fn output_bytes(self) -> u64 {
        self.copied_bytes + self.literal_bytes
    }
}

impl std::ops::AddAssign for PatchStats {
    fn add_assign(&mut self, piece: Self) {
        self.copied_bytes += piece.copied_bytes;
        self.literal_bytes += piece.literal_bytes;
    }
}

/// Why a delta could not be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The delta is not made of commands.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The delta refers to a range that the basis does not have.
    #[error("the delta copies {len} bytes from {offset} of a basis of {basis_len} bytes")]
    OutsideBasis {
        /// Offset in the basis, in bytes.
        offset: u64,
        len: u64,
        /// Length of the basis, in bytes.
        basis_len: u64,
    },
    /// The delta makes the new file longer than it was said to be.
    #[error("the delta adds {wanted_bytes} bytes where {left_bytes} are left of the new file")]
    TooLong {
        /// Bytes the next command stands for.
        wanted_bytes: u64,
        /// Bytes that the piece could still have added.
        left_bytes: u64,
    },
    /// The basis is shorter than it was when its signature was taken.
    #[error(
        "the basis ends at byte {offset}, {left_bytes} bytes before what the delta copies (was it truncated?)"
    )]
    BasisEnded {
        /// Where the basis ends, in bytes.
        offset: u64,
        /// Bytes of the copy still missing.
        left_bytes: u64,
    },
    /// The basis could not be read.
    #[error("reading the basis at byte {offset}")]
    ReadBasis {
        /// Offset in the basis, in bytes.
        offset: u64,
        source: io::Error,
    },
    /// The new file could not be written.
    #[error("writing the new file")]
    Write(#[source] io::Error),
}
