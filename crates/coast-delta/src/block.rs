//! How large a block of the basis is, and the two checksums that stand for it. Every other part of the crate speaks of
//! a basis only in these terms.

use fast_rsync::SignatureOptions;

use crate::layout::{ENTRY_BYTES, MAX_BLOCKS, STRONG_BYTES};

/// The smallest basis, in bytes, for which a delta can pay.
///
/// A signature of 16 KiB is 300 bytes, and one edit makes one or two blocks of 704 bytes literal; the file itself
/// compresses to perhaps 4 KiB. Below that the few kilobytes saved are less than what reading the basis and hashing both
/// sides cost on any link this is used on.
pub const MIN_BASIS: u64 = 16 * 1024;

/// The smallest block, in bytes. rsync uses 700; this is the next multiple of 64.
///
/// It bounds what a forged signature can do to a delta: every copy command (17 bytes at most) stands for at least this much.
pub const MIN_BLOCK_BYTES: u32 = 704;

/// The largest block, in bytes. A [`Differ`](crate::Differ) holds at least two of them.
pub const MAX_BLOCK_BYTES: u32 = 16 << 20;

/// Block sizes are multiples of this, the input block of MD4, so that hashing never works on a padded rest.
pub(crate) const BLOCK_STEP: u32 = 64;

/// How many blocks are hashed in one go at most: the widest MD4 of `fast_rsync` (AVX2) takes eight.
pub(crate) const LANES: usize = 8;

/// The block size in bytes for a basis of `basis_len` bytes.
///
/// About the square root, which balances the size of the signature against the literal bytes each edit costs; larger
/// where [`MAX_SIGNATURE_BYTES`](crate::MAX_SIGNATURE_BYTES) demands it (from 114 GiB on). Always a multiple of 64
/// between [`MIN_BLOCK_BYTES`] and [`MAX_BLOCK_BYTES`]. At the maximum a signature describes the first 5.3 TiB; what
/// follows is never matched.
#[must_use]
pub fn block_size(basis_len: u64) -> u32 {
    let wanted = basis_len.isqrt().max(basis_len.div_ceil(MAX_BLOCKS as u64));
    let wanted = wanted.clamp(MIN_BLOCK_BYTES.into(), MAX_BLOCK_BYTES.into());
    // Cannot fail: `wanted` is at most MAX_BLOCK_BYTES, itself a multiple of BLOCK_STEP.
    u32::try_from(wanted).unwrap_or(MAX_BLOCK_BYTES).next_multiple_of(BLOCK_STEP)
}

/// The checksums of one block. Ordered by weak, then strong checksum, as the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Checksums {
    /// The rolling checksum of librsync over the block.
    pub(crate) weak: u32,
    /// The first eight bytes of the MD4.
    pub(crate) strong: u64,
}

impl Checksums {
    /// Reads one entry of a signature.
    fn from_entry(entry: &[u8; ENTRY_BYTES]) -> Self {
        let [w0, w1, w2, w3, s0, s1, s2, s3, s4, s5, s6, s7] = *entry;
        Self {
            weak: u32::from_be_bytes([w0, w1, w2, w3]),
            strong: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        }
    }
}

/// The entries of a serialized signature without its header.
pub(crate) fn entries(entries: &[u8]) -> impl ExactSizeIterator<Item = Checksums> + '_ {
    entries.as_chunks().0.iter().map(Checksums::from_entry)
}

/// Computes the serialized entries of all blocks of `data`, whose last block may be short, behind a signature header.
pub(crate) fn hash_blocks(data: &[u8], block_size: u32) -> Vec<u8> {
    let options = SignatureOptions { block_size, crypto_hash_size: STRONG_BYTES };
    fast_rsync::Signature::calculate(data, options).into_serialized()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_size_is_about_the_square_root() {
        assert_eq!(block_size(0), MIN_BLOCK_BYTES);
        assert_eq!(block_size(MIN_BASIS), MIN_BLOCK_BYTES);
        assert_eq!(block_size(1 << 30), 32 * 1024);
        assert_eq!(block_size(3 << 30), 56_768);
    }

    #[test]
    fn block_size_keeps_every_signature_under_its_limit() {
        for shift in 0..43 {
            for len in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1, 5 << (shift - 1).max(0)] {
                let size = block_size(len);
                assert!((MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&size), "{len}: {size}");
                assert_eq!(size % BLOCK_STEP, 0, "{len}");
                let blocks = len.min(5 << 40).div_ceil(size.into());
                assert!(blocks <= MAX_BLOCKS as u64, "{len}: {blocks} blocks");
            }
        }
        assert_eq!(block_size(u64::MAX), MAX_BLOCK_BYTES);
    }
}
