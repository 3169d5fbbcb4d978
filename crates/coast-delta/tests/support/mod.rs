//! Files to make deltas of: pseudo-random bytes that are the same on every run, and edits on them.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::num::NonZeroUsize;

use coast_delta::{Differ, Signature, patch};

/// `len` bytes that look random, different for each `seed`.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    noise_at(seed, 0, &mut bytes);
    bytes
}

/// The bytes of an endless file of noise from `offset` on: any part of it without the rest.
pub(crate) fn noise_at(seed: u64, offset: u64, bytes: &mut [u8]) {
    for (at, byte) in (offset..).zip(bytes) {
        // The finalizer of SplitMix64, over words of eight bytes.
        let mut word = (seed ^ (at / 8)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        *byte = (word ^ (word >> 31)).to_le_bytes()[(at % 8) as usize];
    }
}

pub(crate) fn signature(basis: &[u8]) -> Signature {
    Signature::of(basis, basis.len() as u64, NonZeroUsize::MIN).unwrap()
}

/// The delta of `new`, pushed in windows of `window` bytes; one piece per push, then the last.
pub(crate) fn pieces(signature: &Signature, new: &[u8], window: usize) -> Vec<Vec<u8>> {
    let mut differ = Differ::new(signature);
    let mut pieces = Vec::new();
    for window in new.chunks(window) {
        let mut piece = Vec::new();
        differ.push(window, &mut piece).unwrap();
        pieces.push(piece);
    }
    let mut piece = Vec::new();
    let stats = differ.finish(&mut piece).unwrap();
    assert_eq!(stats.copied_bytes + stats.literal_bytes, new.len() as u64);
    pieces.push(piece);
    pieces
}

pub(crate) fn delta(signature: &Signature, new: &[u8]) -> Vec<u8> {
    pieces(signature, new, usize::MAX).concat()
}

/// Applies a whole delta to a basis in memory.
pub(crate) fn patched(basis: &[u8], delta: &[u8], max_output: u64) -> Vec<u8> {
    let mut out = Vec::new();
    patch(delta, basis, basis.len() as u64, max_output, &mut out).unwrap();
    out
}

/// `basis` made new and back again through every stage, the signature as bytes on a wire too.
pub(crate) fn rebuilt(basis: &[u8], new: &[u8], window: usize) -> Vec<u8> {
    let signature = Signature::from_bytes(signature(basis).into_bytes()).unwrap();
    let delta = pieces(&signature, new, window).concat();
    patched(basis, &delta, new.len() as u64)
}
