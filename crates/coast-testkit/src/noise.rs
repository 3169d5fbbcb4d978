//! Bytes that look random and are the same in every run. No compression shrinks them, and no block of them repeats.
//! Source: SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.

/// The constant that the generator adds to its state for each word.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A generator of noise. Equal seeds give equal noise.
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// A generator that starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Fills `buffer` with noise.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.draw().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// `length` bytes of the noise that starts from `seed`.
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Noise::new(seed).fill(&mut bytes);
    bytes
}

/// Fills `buffer` with the bytes from `offset` on of the endless noise that starts from `seed`.
pub fn noise_at(seed: u64, offset: u64, buffer: &mut [u8]) {
    // The generator adds a constant to its state for each word, so it can begin at any of them.
    let words = offset / 8;
    let mut noise = Noise::new(seed.wrapping_add(words.wrapping_mul(STEP)));
    let skipped = (offset % 8) as usize;
    let (first, rest) = buffer.split_at_mut(buffer.len().min((8 - skipped) % 8));
    if !first.is_empty() {
        let word = noise.draw().to_le_bytes();
        first.copy_from_slice(&word[skipped..skipped + first.len()]);
    }
    noise.fill(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_that_of_the_published_generator() {
        // The first values for seed 1234567, as in the reference implementation's test vectors.
        let mut noise = Noise::new(1_234_567);
        assert_eq!(noise.draw(), 6_457_827_717_110_365_317);
        assert_eq!(noise.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn buffers_of_any_length_are_filled() {
        let (mut short, mut long) = ([0; 5], [0; 13]);
        Noise::new(7).fill(&mut short);
        Noise::new(7).fill(&mut long);
        assert_eq!(short, long[..5]);
        assert_ne!(long[8..], [0; 5]);
    }

    #[test]
    fn noise_can_begin_anywhere() {
        let whole = noise(7, 40);
        for from in 0..24 {
            for length in 0..16 {
                let mut part = vec![0; length];
                noise_at(7, from as u64, &mut part);
                assert_eq!(part, whole[from..from + length], "{from} {length}");
            }
        }
    }
}
