//! From a content to the files that had it, for finding moved files. Two sorted arrays, built in one pass over the
//! cache file.

use std::io;

use super::ContentHash;
use super::block::Block;
use super::footer::Entry;

/// Where the records of each content are, and which sizes there are.
#[derive(Debug)]
pub(super) struct ContentLookup {
    /// Sorted, so that it can be searched.
    places: Vec<Place>,
    /// Sorted, each size once, so that it can be searched.
    sizes: Vec<u64>,
}

/// 16 bytes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    hash_prefix: u64,
    /// Position of the block in the index.
    block: u32,
    /// Position of the record in the block.
    record: u32,
}

impl ContentLookup {
    /// Reads every block once, in the order of the file. Damaged ones are left out.
    pub(super) fn build(
        index: &[Entry],
        read: impl Fn(&Entry) -> io::Result<Option<Block>>,
    ) -> io::Result<Self> {
        // Both numbers fit 32 bits: an index has at most 4 Mi entries, a block at most 16 Ki records.
        let mut order: Vec<u32> = (0..u32::try_from(index.len()).unwrap_or(u32::MAX)).collect();
        order.sort_unstable_by_key(|&position| index[position as usize].offset);
        let mut places = Vec::new();
        let mut sizes = Vec::new();
        for position in order {
            let Some(block) = read(&index[position as usize])? else { continue };
            for (number, record) in (0..).zip(block.records()) {
                places.push(Place { hash_prefix: record.hash.prefix(), block: position, record: number });
                sizes.push(record.stat.size);
            }
        }
        places.sort_unstable();
        sizes.sort_unstable();
        sizes.dedup();
        places.shrink_to_fit();
        sizes.shrink_to_fit();
        Ok(Self { places, sizes })
    }

    /// Positions of block and record of all files that may have this content.
    pub(super) fn places(&self, hash: &ContentHash) -> impl Iterator<Item = (usize, usize)> {
        let prefix = hash.prefix();
        let first = self.places.partition_point(|place| place.hash_prefix < prefix);
        self.places[first..]
            .iter()
            .take_while(move |place| place.hash_prefix == prefix)
            .map(|place| (place.block as usize, place.record as usize))
    }

    pub(super) fn has_size(&self, size: u64) -> bool {
        self.sizes.binary_search(&size).is_ok()
    }
}
