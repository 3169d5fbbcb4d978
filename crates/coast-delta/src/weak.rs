//! librsync's rolling checksum, in the one form `fast_rsync` does not offer: moved along the data byte by byte. The
//! checksum to start from always comes from `fast_rsync`, together with the block's MD4.

/// librsync adds this to every byte, so that runs of zeros of different lengths differ.
const CHAR_OFFSET: u32 = 31;

/// The rolling checksum of one block.
///
/// For a block of bytes `b[0..n]`, with `c[i] = b[i] + 31`: `low` is the sum of all `c[i]`, `high` the sum of all
/// `(n - i) * c[i]`, both modulo 2^16. Only their low 16 bits are kept right; the rest may hold anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weak {
    low: u32,
    high: u32,
}

impl Weak {
    /// Takes up a checksum that `fast_rsync` computed.
    pub(crate) fn from_value(value: u32) -> Self {
        Self { low: value & 0xffff, high: value >> 16 }
    }

    /// The checksum as it stands in a signature.
    #[inline]
    pub(crate) fn value(self) -> u32 {
        (self.high << 16) | (self.low & 0xffff)
    }

    /// Moves the block of `block_size` bytes on by one: `leaving` was its first byte, `entering` becomes its last.
    #[inline]
    pub(crate) fn rotate(&mut self, block_size: u32, leaving: u8, entering: u8) {
        let (leaving, entering) = (u32::from(leaving), u32::from(entering));
        self.low = self.low.wrapping_add(entering).wrapping_sub(leaving);
        self.high =
            self.high.wrapping_add(self.low).wrapping_sub(block_size.wrapping_mul(leaving + CHAR_OFFSET));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::block::{entries, hash_blocks};
    use crate::layout::HEADER_BYTES;

    fn weak_of(block: &[u8]) -> u32 {
        let hashed = hash_blocks(block, u32::try_from(block.len()).unwrap());
        entries(&hashed[HEADER_BYTES..]).next().unwrap().weak
    }

    proptest! {
        #[test]
        fn rotating_gives_the_checksum_of_the_next_position(
            data in prop::collection::vec(any::<u8>(), 2..400),
            split in any::<prop::sample::Index>(),
        ) {
            let size = 1 + split.index(data.len() - 1);
            let mut weak = Weak::from_value(weak_of(&data[..size]));
            for at in 1..=data.len() - size {
                weak.rotate(u32::try_from(size).unwrap(), data[at - 1], data[at + size - 1]);
                prop_assert_eq!(weak.value(), weak_of(&data[at..at + size]));
            }
        }
    }

    #[test]
    fn rotating_holds_for_blocks_longer_than_the_modulus() {
        let data: Vec<u8> = (0..200_003u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let size = 200_000;
        let mut weak = Weak::from_value(weak_of(&data[..size]));
        for at in 1..=3 {
            weak.rotate(200_000, data[at - 1], data[at + size - 1]);
            assert_eq!(weak.value(), weak_of(&data[at..at + size]));
        }
    }
}
