//! Files to make deltas of: pseudo-random bytes that are the same on every run, and edits on them.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

use std::num::NonZeroUsize;

use coast_delta::{Differ, Signature, patch};
pub(crate) use coast_testkit::{noise, noise_at};

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
