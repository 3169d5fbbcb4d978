//! Content that no compression shrinks and no delta finds by chance.

/// `length` bytes of a fixed sequence: the same for the same seed, unlike for any other.
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut output = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut output);
    output
}
