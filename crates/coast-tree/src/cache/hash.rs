//! The hash that stands for a file's content: blake3 of all its bytes. Equal hashes are taken for equal content
//! everywhere.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// Least bytes of the buffer that files are hashed through. blake3 is at its widest from 16 KiB up, and a larger
/// buffer than this no longer fits the second-level cache.
const HASH_BUFFER_BYTES: usize = 256 * 1024;

/// The blake3 hash of a whole content. Debug and display show 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of these bytes.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// A hash that was computed before.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes: enough to find the few hashes that could be equal.
    pub(crate) fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl From<[u8; 32]> for ContentHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<ContentHash> for [u8; 32] {
    fn from(hash: ContentHash) -> Self {
        hash.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a [`ContentHash`] from a content that comes in pieces.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// Begins with the empty content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds this many zeros, such as those of a hole: about a second for 2 GiB.
    pub fn update_zeros(&mut self, length: u64) {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut left = length;
        while left > 0 {
            let bytes = usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.update(&ZEROS[..bytes]);
            left -= bytes as u64;
        }
    }

    /// The hash of all bytes so far.
    pub fn finish(&self) -> ContentHash {
        ContentHash(*self.0.finalize().as_bytes())
    }
}

/// Reads a file from where it stands to its end. Returns the hash of those bytes and their number.
///
/// The buffer is grown when it is too small to be fast; pass the same one for many files.
pub fn hash_file(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<(ContentHash, u64)> {
    if buffer.len() < HASH_BUFFER_BYTES {
        buffer.resize(HASH_BUFFER_BYTES, 0);
    }
    let mut hasher = ContentHasher::new();
    let mut bytes = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok((hasher.finish(), bytes)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{Scratch, name};

    #[test]
    fn hash_is_blake3() {
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(ContentHash::of(b"").to_string(), empty);
        assert_eq!(format!("{:?}", ContentHasher::new().finish()), empty);
    }

    #[test]
    fn pieces_and_files_hash_like_the_whole() {
        let mut buffer = Vec::new();
        for length in [0, 1, HASH_BUFFER_BYTES, 2 * HASH_BUFFER_BYTES + 3] {
            let content: Vec<u8> = (0..length).map(|at| u8::try_from(at % 253).unwrap()).collect();
            let expected = ContentHash::of(&content);
            let mut hasher = ContentHasher::new();
            content.chunks(1000).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish(), expected);

            let scratch = Scratch::new().file("file", &content);
            let (mut file, _) = scratch.root().handle().open_file(&name("file")).unwrap();
            assert_eq!(hash_file(&mut file, &mut buffer).unwrap(), (expected, length as u64));
        }
    }

    #[test]
    fn zeros_hash_like_zeros() {
        for length in [0, 1, 64 << 10, (64 << 10) + 1, 300_000] {
            let mut hasher = ContentHasher::new();
            hasher.update(b"x");
            hasher.update_zeros(length as u64);
            assert_eq!(hasher.finish(), ContentHash::of(&[&b"x"[..], &vec![0; length]].concat()));
        }
    }

    #[test]
    fn bytes_of_a_hash_make_the_same_hash() {
        let hash = ContentHash::of(b"x");
        assert_eq!(ContentHash::from(<[u8; 32]>::from(hash)), hash);
        assert_eq!(hash.prefix().to_le_bytes(), hash.as_bytes()[..8]);
    }
}
