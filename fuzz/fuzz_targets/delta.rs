//! Deltas: what honest sides make comes back whole, and what a peer forges does no more than fail.

#![no_main]

use std::io::{self, Write};
use std::num::NonZeroUsize;

use coast_delta::{Differ, MIN_BLOCK_BYTES, PatchError, Signature, patch};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Case {
    /// Two honest sides.
    RoundTrip { basis: Vec<Chunk>, new: Vec<Part>, window: u16, holes: Vec<Option<u16>> },
    /// A delta made of any bytes.
    ForgedDelta { basis_len: u16, announced_len: u16, max_output: u16, delta: Vec<u8> },
    /// A signature of any entries, or of any bytes at all, against a file that has blocks of its basis.
    ForgedSignature { header: Header, entries: Vec<u8>, taken: Vec<u8>, basis: Vec<Chunk>, new: Vec<Part> },
}

#[derive(Debug, Arbitrary)]
enum Header {
    Honest { steps: u8 },
    Forged([u8; 12]),
}

/// A stretch of file of one kind, from few kinds so that equal blocks are common.
#[derive(Debug, Arbitrary)]
struct Chunk {
    kind: u8,
    len: u16,
}

#[derive(Debug, Arbitrary)]
enum Part {
    FromBasis { from: u16, len: u16 },
    Other(Chunk),
    Bytes(Vec<u8>),
}

/// Enough for a run of blocks, small enough for thousands of runs a second.
const MAX_FILE: usize = 1 << 16;

impl Chunk {
    fn append(&self, file: &mut Vec<u8>) {
        let len = usize::from(self.len) % (8 * MIN_BLOCK_BYTES as usize);
        let kind = u32::from(self.kind % 8);
        file.extend(
            (0..).take(len).map(|i: u32| (i.wrapping_mul(2_654_435_761).wrapping_mul(kind) >> 24) as u8),
        );
    }
}

fn basis_of(chunks: &[Chunk]) -> Vec<u8> {
    let mut basis = Vec::new();
    chunks.iter().for_each(|chunk| chunk.append(&mut basis));
    basis.truncate(MAX_FILE);
    basis
}

fn new_of(basis: &[u8], parts: &[Part]) -> Vec<u8> {
    let mut new = Vec::new();
    for part in parts {
        match part {
            Part::FromBasis { from, len } => {
                let from = usize::from(*from) % (basis.len() + 1);
                new.extend_from_slice(&basis[from..basis.len().min(from + usize::from(*len))]);
            }
            Part::Other(chunk) => chunk.append(&mut new),
            Part::Bytes(bytes) => new.extend_from_slice(bytes),
        }
    }
    new.truncate(MAX_FILE);
    new
}

/// The delta of a file that has these holes, if any, behind its windows. They are not part of the delta.
fn delta_of(signature: &Signature, new: &[u8], window: usize, holes: &[Option<u16>]) -> Vec<u8> {
    let mut differ = Differ::new(signature);
    let mut delta = Vec::new();
    let mut holes = holes.iter();
    for window in new.chunks(window) {
        differ.push(window, &mut delta).expect("memory");
        if let Some(&Some(hole)) = holes.next() {
            differ.skip(hole.into(), &mut delta).expect("memory");
        }
    }
    let stats = differ.finish(&mut delta).expect("memory");
    assert_eq!(stats.copied_bytes + stats.literal_bytes, new.len() as u64);
    delta
}

/// Output that must not get longer than this.
struct Limited(u64);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len() as u64).expect("more output than allowed");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|case: Case| {
    match case {
        Case::RoundTrip { basis, new, window, holes } => {
            let basis = basis_of(&basis);
            let new = new_of(&basis, &new);
            let signature =
                Signature::of(basis.as_slice(), basis.len() as u64, NonZeroUsize::MIN).expect("a slice can be read");
            let signature = Signature::from_bytes(signature.into_bytes()).expect("an honest signature");
            let delta = delta_of(&signature, &new, usize::from(window) + 1, &holes);
            let mut rebuilt = Vec::new();
            let stats = patch(&delta, &basis[..], basis.len() as u64, new.len() as u64, &mut rebuilt);
            assert_eq!(stats.expect("an honest delta").output_bytes(), new.len() as u64);
            assert!(rebuilt == new);
        }
        Case::ForgedDelta { basis_len, announced_len, max_output, delta } => {
            let basis = vec![7; basis_len.into()];
            let mut out = Limited(max_output.into());
            if let Ok(stats) = patch(&delta, &basis[..], announced_len.into(), max_output.into(), &mut out) {
                assert_eq!(stats.output_bytes() + out.0, u64::from(max_output));
            }
        }
        Case::ForgedSignature { header, entries, taken, basis, new } => {
            let basis = basis_of(&basis);
            let honest =
                Signature::of(basis.as_slice(), basis.len() as u64, NonZeroUsize::MIN).expect("a slice can be read");
            let mut bytes = match header {
                Header::Honest { steps } => {
                    let mut header = honest.as_bytes()[..12].to_vec();
                    header[4..8]
                        .copy_from_slice(&(MIN_BLOCK_BYTES + 64 * u32::from(steps % 4)).to_be_bytes());
                    header
                }
                Header::Forged(bytes) => bytes.to_vec(),
            };
            let blocks: Vec<&[u8]> = honest.as_bytes()[12..].chunks(12).collect();
            for block in taken {
                bytes.extend(blocks.get(usize::from(block)).into_iter().copied().flatten());
            }
            bytes.extend(entries);
            let Ok(signature) = Signature::from_bytes(bytes) else { return };
            let new = new_of(&basis, &new);
            let delta = delta_of(&signature, &new, 4096, &[]);
            let (basis_len, new_len) = (basis.len() as u64, new.len() as u64);
            match patch(&delta, &basis[..], basis_len, new_len, &mut Limited(new_len)) {
                Ok(stats) => assert_eq!(stats.output_bytes(), new_len),
                Err(error) => assert!(matches!(error, PatchError::OutsideBasis { .. }), "{error}"),
            }
        }
    }
});
