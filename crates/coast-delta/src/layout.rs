//! How a signature is laid out, a header and an entry for each block, and how large it can be.

/// The most bytes a signature has, its header included. Blocks grow with the basis so that a signature stays below.
pub const MAX_SIGNATURE_BYTES: usize = 4 << 20;

/// Magic, block size, strong checksum length.
pub(crate) const HEADER_BYTES: usize = 12;

/// Bytes of MD4 kept per block. With the 4 bytes of weak checksum a false match in honest data is out of reach
/// (10^5 blocks against 10^10 positions: 10^15 of 2^96 pairs), and a false match is detected by the caller anyway.
pub(crate) const STRONG_BYTES: u32 = 8;

/// Bytes of one block's entry in a signature.
pub(crate) const ENTRY_BYTES: usize = 4 + STRONG_BYTES as usize;

/// The most blocks a signature describes (349,524).
pub(crate) const MAX_BLOCKS: usize = (MAX_SIGNATURE_BYTES - HEADER_BYTES) / ENTRY_BYTES;
