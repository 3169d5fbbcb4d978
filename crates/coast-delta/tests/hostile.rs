//! A forged signature or delta, or a basis that changes meanwhile, makes an error or a wrong file, in
//! bounded time and memory. Never a panic, never more output than allowed.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{self, Write};

use coast_delta::{PatchError, ReadAt, Signature, patch};
use proptest::prelude::*;
use support::{delta, noise, patched, signature};

/// A signature with these entries after an honest header.
fn forged_signature(block_size: u32, entries: &[[u8; 12]]) -> Signature {
    let header: Vec<u8> =
        [0x7273_0136, block_size, 8].iter().flat_map(|field: &u32| field.to_be_bytes()).collect();
    Signature::from_bytes([header, entries.concat()].concat()).unwrap()
}

/// Counts what is written, and fails a test that lets more through than allowed.
struct Limited {
    written: u64,
    limit: u64,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        assert!(self.written <= self.limit, "{} bytes written of {} allowed", self.written, self.limit);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that are mostly commands: lengths and offsets are small enough to be reached.
fn nearly_a_delta() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![3 => 0..3000u16, 1 => any::<u16>()];
    let command = prop_oneof![
        (1..=64u8, any::<u8>()).prop_map(|(len, byte)| [vec![len], vec![byte; len.into()]].concat()),
        (number.clone(), number)
            .prop_map(|(offset, len)| { [&[0x4a][..], &offset.to_be_bytes(), &len.to_be_bytes()].concat() }),
        prop::collection::vec(any::<u8>(), 0..20),
        (0x41..=0x54u8, prop::collection::vec(any::<u8>(), 0..17))
            .prop_map(|(op, bytes)| [vec![op], bytes].concat()),
    ];
    prop::collection::vec(command, 0..12).prop_map(|commands| commands.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn forged_delta_writes_no_more_than_allowed(delta in nearly_a_delta(), limit in 0..5000u64) {
        let basis = noise(1, 3000);
        let mut out = Limited { written: 0, limit };
        if let Ok(stats) = patch(&delta, basis.as_slice(), 3000, limit, &mut out) {
            prop_assert_eq!(stats.output_bytes(), out.written);
        }
    }

    #[test]
    fn forged_signature_is_refused_or_harmless(
        header in prop_oneof![
            Just([0x7273_0136u32, 704, 8]),
            (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(a, b, c)| [a, b, c]),
            prop::sample::select(vec![704u32, 768, 1 << 24]).prop_map(|block| [0x7273_0136, block, 8]),
        ],
        entries in prop::collection::vec(any::<u8>(), 0..240),
    ) {
        let bytes = [header.iter().flat_map(|field| field.to_be_bytes()).collect(), entries].concat();
        if let Ok(signature) = Signature::from_bytes(bytes) {
            let new = noise(2, 5000);
            let delta = delta(&signature, &new);
            prop_assert!(delta.len() <= new.len() + 17);
        }
    }

    #[test]
    fn mixed_up_entries_give_some_file_of_the_right_length(
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let basis = noise(3, 14_000);
        let honest = signature(&basis);
        let entries: Vec<[u8; 12]> = honest.as_bytes()[12..].chunks(12).map(|e| e.try_into().unwrap()).collect();
        let forged: Vec<[u8; 12]> = picks.iter().map(|pick| *pick.get(&entries)).collect();
        let delta = delta(&forged_signature(704, &forged), &basis);
        let mut out = Limited { written: 0, limit: 14_000 };
        // Copies may lie outside the basis: the signature had more blocks than that.
        match patch(&delta, basis.as_slice(), 14_000, 14_000, &mut out) {
            Ok(stats) => prop_assert_eq!(stats.output_bytes(), 14_000),
            Err(error) => prop_assert!(matches!(error, PatchError::OutsideBasis { .. }), "{}", error),
        }
    }
}

#[test]
fn copies_outside_the_basis_are_refused() {
    let copy = |offset: u8, len: u8| [0x45, offset, len];
    let basis = [7u8; 100];
    assert_eq!(patched(&basis, &copy(0, 100), 100), basis);
    for (offset, len) in [(0, 101), (1, 100), (100, 1), (255, 1)] {
        let error = patch(&copy(offset, len), &basis[..], 100, 1000, &mut io::sink()).unwrap_err();
        assert!(matches!(error, PatchError::OutsideBasis { basis_len: 100, .. }), "{error}");
    }
}

#[test]
fn output_beyond_the_limit_is_refused_before_it_is_written() {
    let basis = [7u8; 200];
    for delta in [&[0x45, 0, 200][..], &[3, 1, 2, 3], &[0x45, 0, 1, 0x45, 1, 1, 0x45, 2, 1]] {
        let mut out = Vec::new();
        let error = patch(delta, &basis[..], 200, 2, &mut out).unwrap_err();
        assert!(matches!(error, PatchError::TooLong { .. }), "{error}");
        assert_eq!(out, [], "{delta:?}");
    }
}

#[test]
fn huge_copy_of_a_small_file_is_refused_without_reading_it() {
    struct Untouchable;
    impl ReadAt for Untouchable {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            panic!("the basis was read");
        }
    }
    let delta = [&[0x54][..], &0u64.to_be_bytes(), &u64::MAX.to_be_bytes()].concat();
    assert!(patch(&delta, &Untouchable, u64::MAX, 1000, &mut io::sink()).is_err());
}

#[test]
fn basis_truncated_meanwhile_is_an_error() {
    let basis = noise(4, 500_000);
    let delta = delta(&signature(&basis), &basis);
    for left in [0, 1, 250_000, 499_999] {
        let error = patch(&delta, &basis[..left], 500_000, 500_000, &mut io::sink()).unwrap_err();
        assert!(matches!(error, PatchError::BasisEnded { offset, .. } if offset == left as u64), "{error}");
    }
}

/// Reads at most seven bytes at a time, is interrupted now and then, and fails at a given offset.
struct Flaky {
    basis: Vec<u8>,
    calls: std::cell::Cell<u32>,
    broken_at: u64,
}

impl ReadAt for Flaky {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get().is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if offset >= self.broken_at {
            return Err(io::Error::other("bad sector"));
        }
        let len = buf.len().min(7);
        self.basis.read_at(&mut buf[..len], offset)
    }
}

#[test]
fn short_and_interrupted_reads_are_continued_and_others_reported() {
    let basis = noise(5, 20_000);
    let delta = delta(&signature(&basis), &basis);
    let flaky = |broken_at| Flaky { basis: basis.clone(), calls: 0.into(), broken_at };
    let mut out = Vec::new();
    patch(&delta, &flaky(u64::MAX), 20_000, 20_000, &mut out).unwrap();
    assert_eq!(out, basis);
    let error = patch(&delta, &flaky(10_000), 20_000, 20_000, &mut io::sink()).unwrap_err();
    assert!(
        matches!(&error, PatchError::ReadBasis { offset: 10_000.., source } if source.to_string() == "bad sector")
    );
}

#[test]
fn output_that_fails_is_reported() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = patch(&[1, 9], &[][..], 0, 1, &mut Full).unwrap_err();
    assert!(matches!(error, PatchError::Write(source) if source.kind() == io::ErrorKind::StorageFull));
}

/// The weak checksum of a block of zeros.
fn weak_of_zeros(block_size: u32) -> [u8; 4] {
    let options = fast_rsync::SignatureOptions { block_size, crypto_hash_size: 0 };
    let zeros = vec![0; block_size as usize];
    let bytes = fast_rsync::Signature::calculate(&zeros, options).into_serialized();
    *bytes.last_chunk().unwrap()
}

/// Entries that all have the same weak checksum and different strong ones.
fn colliding_entries(weak: [u8; 4], count: u64) -> Vec<[u8; 12]> {
    (0..count).map(|i| [&weak[..], &i.to_be_bytes()].concat().try_into().unwrap()).collect()
}

/// Would hash a terabyte, a quarter of an hour, if every candidate were hashed.
#[test]
fn weak_checksum_that_matches_everywhere_does_not_hash_a_block_per_byte() {
    let forged = forged_signature(1 << 16, &colliding_entries(weak_of_zeros(1 << 16), 1));
    let new = vec![0; 16 << 20];
    assert_eq!(patched(&[], &delta(&forged, &new), 16 << 20), new);
}

/// Would compare with 349,524 entries at each of a million positions if colliding entries were a list.
#[test]
fn signature_of_nothing_but_collisions_is_searched_fast() {
    let forged = forged_signature(704, &colliding_entries(weak_of_zeros(704), 349_524));
    let new = vec![0; 1 << 20];
    assert_eq!(patched(&[], &delta(&forged, &new), 1 << 20), new);
}

#[test]
fn largest_blocks_work_in_windows_of_any_size() {
    let block = 16 << 20;
    let new = noise(8, 3 * block + 5);
    let options = fast_rsync::SignatureOptions { block_size: 16 << 20, crypto_hash_size: 8 };
    let bytes = fast_rsync::Signature::calculate(&new, options).into_serialized();
    let signature = Signature::from_bytes(bytes).unwrap();
    for window in [1 << 20, 20 << 20] {
        let delta = support::pieces(&signature, &new[1..], window).concat();
        assert_eq!(patched(&new, &delta, new.len() as u64 - 1), new[1..]);
        assert!(delta.len() < block + 1000);
    }
}
