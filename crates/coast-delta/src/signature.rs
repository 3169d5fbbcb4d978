//! The signature of a basis: what one side tells the other about the version it already has. It is kept in its
//! serialized form, checked once, so that every later reader can rely on its shape.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::block::{
    BLOCK_STEP, Checksums, LANES, MAX_BLOCK_BYTES, MIN_BLOCK_BYTES, block_size, entries, hash_blocks,
};
use crate::layout::{ENTRY_BYTES, HEADER_BYTES, MAX_BLOCKS, MAX_SIGNATURE_BYTES, STRONG_BYTES};
use crate::read_at::ReadAt;

/// `RS_MD4_SIG_MAGIC` of librsync.
const MAGIC: u32 = 0x7273_0136;

/// About how much of the basis is read and hashed at a time.
const CHUNK_BYTES: usize = 512 << 10;

/// A thread is started only for so much of the basis: 16 MiB take 6 ms to read and hash, a hundred times what a thread costs.
const MIN_BYTES_PER_THREAD: u64 = 16 << 20;

/// Describes a basis to a side that does not have it: the block size, and two checksums per block.
///
/// Invariant: `bytes` holds a header with our magic, a block size as [`block_size`] gives, strong checksums of eight
/// bytes, and a whole number of entries, no more than [`MAX_SIGNATURE_BYTES`] in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    bytes: Vec<u8>,
    block_size: u32,
}

impl Signature {
    /// Reads a basis to its end and takes its signature.
    ///
    /// `basis_len` (bytes) only chooses the block size: a basis that turns out shorter or longer has a signature all the
    /// same, of what was read, as far as [`MAX_SIGNATURE_BYTES`] reaches. A large basis is read and hashed by up to
    /// `threads` threads at once: nothing else can be done for a file before its signature is whole, so on a quiet
    /// machine this time is saved in full. Memory is the signature, and per thread one chunk of about half a MiB (at
    /// least one block).
    ///
    /// # Errors
    /// Whatever reading answered; an interrupted read is repeated.
    pub fn of(
        basis: &(impl ReadAt + Sync + ?Sized),
        basis_len: u64,
        threads: NonZeroUsize,
    ) -> io::Result<Self> {
        let block_size = block_size(basis_len);
        let signing = Signing::new(basis, block_size);
        let useful = usize::try_from(basis_len / MIN_BYTES_PER_THREAD).unwrap_or(usize::MAX).max(1);
        let mut chunks = thread::scope(|scope| {
            let others: Vec<_> =
                (1..threads.get().min(useful)).map(|_| scope.spawn(|| signing.sign())).collect();
            let mut chunks = signing.sign()?;
            for other in others {
                chunks.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            io::Result::Ok(chunks)
        })?;
        chunks.sort_unstable_by_key(|chunk| chunk.index);

        let mut bytes = Vec::with_capacity(Self::byte_len(basis_len));
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(&block_size.to_be_bytes());
        bytes.extend_from_slice(&STRONG_BYTES.to_be_bytes());
        for chunk in chunks {
            bytes.extend_from_slice(&chunk.signature[HEADER_BYTES..]);
            if chunk.is_last {
                break;
            }
        }
        Ok(Self { bytes, block_size })
    }

    /// How many bytes the signature of a basis of `basis_len` bytes has.
    #[must_use]
    pub fn byte_len(basis_len: u64) -> usize {
        let blocks = basis_len.div_ceil(block_size(basis_len).into());
        HEADER_BYTES + usize::try_from(blocks).unwrap_or(MAX_BLOCKS).min(MAX_BLOCKS) * ENTRY_BYTES
    }

    /// The serialized form, to be sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes ownership of the serialized form.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Checks bytes that a peer sent as a signature.
    ///
    /// # Errors
    /// [`SignatureError`] for anything that [`Signature::of`] would not have made.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SignatureError> {
        let found_bytes = bytes.len();
        if found_bytes > MAX_SIGNATURE_BYTES {
            return Err(SignatureError::TooLong { found_bytes });
        }
        let Some((header, entries)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(SignatureError::Header { found_bytes });
        };
        let [magic, block_size, strong_bytes] = header_fields(header);
        if magic != MAGIC {
            return Err(SignatureError::Magic { found: magic });
        }
        if !(MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&block_size) || block_size % BLOCK_STEP != 0 {
            return Err(SignatureError::BlockSize { found_bytes: block_size });
        }
        if strong_bytes != STRONG_BYTES {
            return Err(SignatureError::StrongLength { found_bytes: strong_bytes });
        }
        if entries.len() % ENTRY_BYTES != 0 {
            return Err(SignatureError::Entries { found_bytes: entries.len() });
        }
        Ok(Self { bytes, block_size })
    }

    /// Bytes per block; only the last block of a basis may be shorter.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// The number of blocks described, a short last one included.
    #[must_use]
    pub fn block_count(&self) -> usize {
        (self.bytes.len() - HEADER_BYTES) / ENTRY_BYTES
    }

    /// The checksums of all blocks, in the order of the basis.
    pub(crate) fn blocks(&self) -> impl ExactSizeIterator<Item = Checksums> + '_ {
        entries(&self.bytes[HEADER_BYTES..])
    }
}

/// The three numbers of a header.
fn header_fields(header: &[u8; HEADER_BYTES]) -> [u32; 3] {
    let [m0, m1, m2, m3, b0, b1, b2, b3, s0, s1, s2, s3] = *header;
    [[m0, m1, m2, m3], [b0, b1, b2, b3], [s0, s1, s2, s3]].map(u32::from_be_bytes)
}

/// A basis whose chunks are claimed by any number of threads, each chunk by one.
struct Signing<'a, B: ?Sized> {
    basis: &'a B,
    block_size: u32,
    /// Blocks that one thread hashes at a time.
    blocks: usize,
    /// The first chunk that nobody has claimed.
    next: AtomicUsize,
    /// The basis ended, or could not be read: what is not claimed yet is of no use.
    ended: AtomicBool,
}

/// Some blocks that follow each other.
struct Chunk {
    index: usize,
    /// With a header in front, as `hash_blocks` makes it.
    signature: Vec<u8>,
    /// The basis ended in it.
    is_last: bool,
}

impl<'a, B: ReadAt + ?Sized> Signing<'a, B> {
    fn new(basis: &'a B, block_size: u32) -> Self {
        let blocks = blocks_per_chunk(block_size);
        Self { basis, block_size, blocks, next: AtomicUsize::new(0), ended: AtomicBool::new(false) }
    }

    /// Signs chunks as long as there are any.
    fn sign(&self) -> io::Result<Vec<Chunk>> {
        let mut signed = Vec::new();
        let mut buffer = Vec::new();
        while !self.ended.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let blocks = self.blocks.min(MAX_BLOCKS.saturating_sub(index * self.blocks));
            if blocks == 0 {
                break;
            }
            buffer.resize(blocks * self.block_size as usize, 0);
            let offset = (index * self.blocks) as u64 * u64::from(self.block_size);
            let filled = fill(self.basis, &mut buffer, offset).inspect_err(|_| self.end())?;
            let is_last = filled < buffer.len();
            if is_last {
                self.end();
            }
            let signature = hash_blocks(&buffer[..filled], self.block_size);
            signed.push(Chunk { index, signature, is_last });
        }
        Ok(signed)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Reads until `buffer` is full or the basis ends; answers how much came.
fn fill(basis: &(impl ReadAt + ?Sized), buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match basis.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// How many blocks fill a chunk: a multiple of [`LANES`] unless blocks are so large that one is enough.
fn blocks_per_chunk(block_size: u32) -> usize {
    let block_size = block_size as usize;
    if block_size * LANES <= 8 * CHUNK_BYTES {
        (CHUNK_BYTES / block_size).next_multiple_of(LANES).max(LANES)
    } else {
        (8 * CHUNK_BYTES / block_size).max(1)
    }
}

/// Why bytes are not a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Longer than any signature.
    #[error("a signature of {found_bytes} bytes exceeds the limit of {MAX_SIGNATURE_BYTES}")]
    TooLong { found_bytes: usize },
    /// Too short to hold a header.
    #[error("a signature of {found_bytes} bytes is shorter than its header of {HEADER_BYTES}")]
    Header { found_bytes: usize },
    /// Not a signature with MD4 checksums.
    #[error("the signature starts with {found:#010x} where {MAGIC:#010x} was expected")]
    Magic {
        /// The first four bytes, big-endian.
        found: u32,
    },
    /// A block size that [`block_size`] never gives.
    #[error(
        "the signature's block size of {found_bytes} bytes is not a multiple of {BLOCK_STEP} \
         between {MIN_BLOCK_BYTES} and {MAX_BLOCK_BYTES}"
    )]
    BlockSize { found_bytes: u32 },
    /// Strong checksums of another length than ours.
    #[error("the signature's strong checksums have {found_bytes} bytes where {STRONG_BYTES} were expected")]
    StrongLength { found_bytes: u32 },
    /// The entries are not a whole number of entries.
    #[error("the signature's {found_bytes} bytes of checksums are not a multiple of {ENTRY_BYTES}")]
    Entries {
        /// Length of all entries received.
        found_bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use coast_testkit::noise;

    use super::*;

    const ALONE: NonZeroUsize = NonZeroUsize::MIN;
    const FOUR: NonZeroUsize = NonZeroUsize::new(4).unwrap();

    #[test]
    fn chunked_signature_equals_the_one_of_the_whole_slice() {
        for len in [0, 1, 703, 704, 705, 704 * 8, 100_000, 600_000, 3_000_000] {
            let basis = noise(1, len);
            let signature = Signature::of(basis.as_slice(), len as u64, ALONE).unwrap();
            assert_eq!(signature.as_bytes(), hash_blocks(&basis, block_size(len as u64)), "{len} bytes");
            assert_eq!(Signature::from_bytes(signature.as_bytes().to_vec()).unwrap(), signature);
            assert_eq!(signature.block_count(), len.div_ceil(signature.block_size() as usize));
            assert_eq!(signature.as_bytes().len(), Signature::byte_len(len as u64));
        }
    }

    #[test]
    fn basis_of_another_length_than_announced_is_signed_as_read() {
        let basis = noise(1, 50_000);
        for announced in [0, 49_999, 50_001, 1 << 40] {
            let signature = Signature::of(basis.as_slice(), announced, FOUR).unwrap();
            assert_eq!(signature.as_bytes(), hash_blocks(&basis, block_size(announced)));
        }
    }

    #[test]
    fn many_threads_make_the_signature_that_one_makes() {
        let basis = noise(1, 70 << 20);
        for len in [64 << 20, (64 << 20) + 1, basis.len()] {
            let basis = &basis[..len];
            let by_one = Signature::of(basis, len as u64, ALONE).unwrap();
            assert_eq!(Signature::of(basis, len as u64, FOUR).unwrap(), by_one, "{len} bytes");
        }
    }

    #[test]
    fn signature_of_a_basis_that_outgrew_its_block_size_stops_at_the_limit() {
        struct Endless;
        impl ReadAt for Endless {
            fn read_at(&self, buf: &mut [u8], _: u64) -> io::Result<usize> {
                buf.fill(7);
                Ok(buf.len())
            }
        }
        let signature = Signature::of(&Endless, 0, ALONE).unwrap();
        assert_eq!(signature.block_count(), MAX_BLOCKS);
        assert!(signature.as_bytes().len() <= MAX_SIGNATURE_BYTES);
        assert!(Signature::from_bytes(signature.into_bytes()).is_ok());
    }

    #[test]
    fn reading_errors_are_reported() {
        struct Broken;
        impl ReadAt for Broken {
            fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
                Err(io::Error::other("bad sector"))
            }
        }
        for len in [9, 1 << 30] {
            assert_eq!(Signature::of(&Broken, len, FOUR).unwrap_err().to_string(), "bad sector");
        }
    }

    fn header(magic: u32, block_size: u32, strong_bytes: u32) -> Vec<u8> {
        [magic, block_size, strong_bytes].iter().flat_map(|field| field.to_be_bytes()).collect()
    }

    #[test]
    fn forged_headers_are_refused() {
        let refused = |bytes| Signature::from_bytes(bytes).unwrap_err();
        assert_eq!(refused(vec![]), SignatureError::Header { found_bytes: 0 });
        assert_eq!(refused(vec![0; 11]), SignatureError::Header { found_bytes: 11 });
        assert_eq!(refused(header(0x7273_0137, 704, 8)), SignatureError::Magic { found: 0x7273_0137 });
        for size in [0, 1, 640, 705, MAX_BLOCK_BYTES + 64, u32::MAX] {
            assert_eq!(refused(header(MAGIC, size, 8)), SignatureError::BlockSize { found_bytes: size });
        }
        for strong in [0, 7, 9, 16, u32::MAX] {
            assert_eq!(
                refused(header(MAGIC, 704, strong)),
                SignatureError::StrongLength { found_bytes: strong }
            );
        }
        let mut odd = header(MAGIC, 704, 8);
        odd.extend([0; 13]);
        assert_eq!(refused(odd), SignatureError::Entries { found_bytes: 13 });
        let mut long = header(MAGIC, 704, 8);
        long.resize(MAX_SIGNATURE_BYTES + 1, 0);
        assert_eq!(refused(long), SignatureError::TooLong { found_bytes: MAX_SIGNATURE_BYTES + 1 });
    }
}
