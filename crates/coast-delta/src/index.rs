//! Finds the block of a basis that has given checksums. Built from a signature that a peer may have forged, so nothing
//! here takes longer when many entries collide: the search is a filter and two binary searches, not a hash table.

use crate::block::Checksums;
use crate::signature::Signature;

/// Bits of filter per block: with three bits set for each, one position in some 1,700 passes by
/// chance (measured; with two bits it was one in 190, and the searches that followed took a third of the time).
const FILTER_BITS_PER_BLOCK: usize = 32;

/// All blocks of one signature, by their checksums.
#[derive(Debug)]
pub(crate) struct BlockIndex {
    /// Checksums in the order of the basis.
    blocks: Vec<Checksums>,
    /// Weak checksum and position in `blocks`, sorted by both checksums, then by position; of equal blocks only the first.
    sorted: Vec<(u32, u32)>,
    /// Answers most positions of a file that match nothing, with one read of memory that fits the processor's cache
    /// (128 KiB for a basis of 1 GiB). Each word is a small Bloom filter; a weak checksum belongs to one word.
    filter: Vec<u64>,
    /// `filter.len()` is 2^(64 - this).
    filter_shift: u32,
}

impl BlockIndex {
    pub(crate) fn new(signature: &Signature) -> Self {
        let blocks: Vec<Checksums> = signature.blocks().collect();
        // A signature has fewer than 2^19 blocks.
        let mut order: Vec<u32> = (0u32..).take(blocks.len()).collect();
        order.sort_unstable_by_key(|&block| (blocks[block as usize], block));
        order.dedup_by_key(|block| blocks[*block as usize]);
        let sorted = order.into_iter().map(|block| (blocks[block as usize].weak, block)).collect();

        let words = (blocks.len() * FILTER_BITS_PER_BLOCK / 64).next_power_of_two().max(2);
        let filter_shift = 64 - words.trailing_zeros();
        let mut index = Self { blocks, sorted, filter: vec![0; words], filter_shift };
        for block in 0..index.blocks.len() {
            let (word, bits) = index.filter_place(index.blocks[block].weak);
            index.filter[word] |= bits;
        }
        index
    }

    /// The word and the three bits of it that stand for a weak checksum.
    #[inline]
    fn filter_place(&self, weak: u32) -> (usize, u64) {
        // Multiplication by 2^64 / golden ratio; the upper bits depend on every bit of the checksum.
        let mixed = u64::from(weak).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        #[expect(clippy::cast_possible_truncation, reason = "the shift leaves fewer than 20 bits")]
        let word = (mixed >> self.filter_shift) as usize;
        (word, 1 << (mixed >> 18 & 63) | 1 << (mixed >> 24 & 63) | 1 << (mixed >> 30 & 63))
    }

    /// Whether a block may have this weak checksum. Cheap; no block that has it is ever missed.
    #[inline]
    pub(crate) fn may_have(&self, weak: u32) -> bool {
        let (word, bits) = self.filter_place(weak);
        self.filter[word] & bits == bits
    }

    /// Whether a block has this weak checksum.
    pub(crate) fn has(&self, weak: u32) -> bool {
        self.sorted.binary_search_by_key(&weak, |&(weak, _)| weak).is_ok()
    }

    /// Whether `block` exists and has these checksums.
    pub(crate) fn is(&self, block: u32, checksums: Checksums) -> bool {
        self.blocks.get(block as usize) == Some(&checksums)
    }

    /// The block with these checksums: `expected` if it has them, else the first one of the basis.
    ///
    /// Preferring the block that follows the last match keeps a copy going through a basis that repeats itself (zeros,
    /// most of all), where the first equal block would start a new command each time.
    pub(crate) fn find(&self, checksums: Checksums, expected: u32) -> Option<u32> {
        if self.is(expected, checksums) {
            return Some(expected);
        }
        if !self.may_have(checksums.weak) {
            return None;
        }
        let found =
            self.sorted.binary_search_by_key(&checksums, |&(_, block)| self.blocks[block as usize]).ok()?;
        Some(self.sorted[found].1)
    }

    /// Position and checksums of the last block, the only one that may be short.
    pub(crate) fn last(&self) -> Option<(u32, Checksums)> {
        (0u32..).zip(self.blocks.iter().copied()).last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(basis: &[u8]) -> (BlockIndex, Vec<Checksums>) {
        let signature = Signature::of(basis, basis.len() as u64, std::num::NonZeroUsize::MIN).unwrap();
        let blocks = signature.blocks().collect();
        (BlockIndex::new(&signature), blocks)
    }

    #[test]
    fn every_block_is_found_under_its_checksums() {
        let basis: Vec<u8> =
            (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let (index, blocks) = index_of(&basis);
        for (position, &checksums) in blocks.iter().enumerate() {
            assert!(index.may_have(checksums.weak));
            assert!(index.has(checksums.weak));
            assert_eq!(index.find(checksums, u32::MAX).map(|block| block as usize), Some(position));
            let other = Checksums { strong: checksums.strong ^ 1, ..checksums };
            assert_eq!(index.find(other, 0), None);
        }
    }

    #[test]
    fn filter_lets_few_strangers_pass() {
        let basis: Vec<u8> =
            (0..8_000_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let (index, _) = index_of(&basis);
        let passed = (0..100_000u32).filter(|i| index.may_have(i.wrapping_mul(0x85eb_ca6b))).count();
        assert!(passed < 500, "{passed} of 100000");
    }

    #[test]
    fn among_equal_blocks_the_expected_one_is_found_first() {
        let (index, blocks) = index_of(&vec![0; 704 * 20]);
        assert_eq!(index.find(blocks[0], 7), Some(7));
        assert_eq!(index.find(blocks[0], 20), Some(0));
        assert_eq!(index.sorted.len(), 1);
    }

    #[test]
    fn signature_without_blocks_has_nothing() {
        let (index, _) = index_of(&[]);
        assert!(!index.may_have(0) && !index.has(0));
        assert_eq!(index.find(Checksums { weak: 0, strong: 0 }, 0), None);
        assert_eq!(index.last(), None);
    }
}
