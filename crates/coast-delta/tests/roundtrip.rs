//! A basis, patched with the delta of a new file, is the new file: for any two files, any windows, any splitting of the
//! delta, and with librsync's format understood by an independent implementation.

#![allow(clippy::unwrap_used)]

mod support;

use coast_delta::{Differ, MIN_BLOCK_BYTES, PatchStats, Patcher, Signature};
use fast_rsync::SignatureOptions;
use proptest::prelude::*;
use support::{delta, noise, patched, pieces, rebuilt, signature};

const BLOCK: usize = MIN_BLOCK_BYTES as usize;

#[derive(Debug, Clone)]
enum Edit {
    Insert { at: usize, seed: u64, len: usize },
    Delete { at: usize, len: usize },
    Overwrite { at: usize, seed: u64, len: usize },
    Move { from: usize, len: usize, to: usize },
    Zero { at: usize, len: usize },
}

impl Edit {
    fn apply(&self, file: &mut Vec<u8>) {
        let end = file.len();
        let clip = |at: usize, len: usize| (at % (end + 1), (at % (end + 1) + len).min(end));
        match *self {
            Edit::Insert { at, seed, len } => {
                let (at, _) = clip(at, 0);
                file.splice(at..at, noise(seed, len));
            }
            Edit::Delete { at, len } => {
                let (from, to) = clip(at, len);
                file.drain(from..to);
            }
            Edit::Overwrite { at, seed, len } => {
                let (from, to) = clip(at, len);
                file.splice(from..to, noise(seed, to - from));
            }
            Edit::Move { from, len, to } => {
                let (from, end) = clip(from, len);
                let moved: Vec<u8> = file.drain(from..end).collect();
                let to = to % (file.len() + 1);
                file.splice(to..to, moved);
            }
            Edit::Zero { at, len } => {
                let (from, to) = clip(at, len);
                file[from..to].fill(0);
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let (at, len) = (any::<usize>(), 0..3 * BLOCK);
    prop_oneof![
        (at, any::<u64>(), len.clone()).prop_map(|(at, seed, len)| Edit::Insert { at, seed, len }),
        (at, len.clone()).prop_map(|(at, len)| Edit::Delete { at, len }),
        (at, any::<u64>(), 0..40usize).prop_map(|(at, seed, len)| Edit::Overwrite { at, seed, len }),
        (at, len.clone(), at).prop_map(|(from, len, to)| Edit::Move { from, len, to }),
        (at, len).prop_map(|(at, len)| Edit::Zero { at, len }),
    ]
}

/// A basis of blocks drawn from few kinds, so that blocks repeat, with a rest that is no whole block.
fn basis() -> impl Strategy<Value = Vec<u8>> {
    let blocks = prop::collection::vec(0..40u64, 0..40);
    (blocks, 0..2 * BLOCK).prop_map(|(kinds, rest)| {
        let mut basis: Vec<u8> = kinds
            .iter()
            .flat_map(|&kind| if kind < 8 { vec![0; BLOCK] } else { noise(kind, BLOCK) })
            .collect();
        basis.extend(noise(99, rest));
        basis
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn patched_basis_is_the_new_file(
        basis in basis(),
        edits in prop::collection::vec(edit(), 0..6),
        window in prop_oneof![1..8usize, 1..BLOCK, 1..20 * BLOCK],
    ) {
        let mut new = basis.clone();
        edits.iter().for_each(|edit| edit.apply(&mut new));
        prop_assert_eq!(rebuilt(&basis, &new, window), new);
    }

    #[test]
    fn windows_cost_next_to_nothing(
        basis in basis(),
        edits in prop::collection::vec(edit(), 0..6),
        window in BLOCK..20 * BLOCK,
    ) {
        let mut new = basis.clone();
        edits.iter().for_each(|edit| edit.apply(&mut new));
        let signature = signature(&basis);
        let whole = delta(&signature, &new).len();
        let windowed = pieces(&signature, &new, window).concat().len();
        let windows = new.len().div_ceil(window);
        prop_assert!(windowed <= whole + 17 * (windows + 1), "{} against {} in {} windows", windowed, whole, windows);
    }

    #[test]
    fn unrelated_files_make_a_delta_of_the_new_file_alone(seed in any::<u64>(), len in 0..60_000usize) {
        let (basis, new) = (noise(seed, 50_000), noise(!seed, len));
        let delta = delta(&signature(&basis), &new);
        prop_assert!(delta.len() <= new.len() + 17);
        prop_assert_eq!(patched(&basis, &delta, new.len() as u64), new);
    }

    #[test]
    fn delta_is_librsyncs_and_about_as_small_as_fast_rsyncs(
        basis in basis(),
        edits in prop::collection::vec(edit(), 0..6),
    ) {
        let mut new = basis.clone();
        edits.iter().for_each(|edit| edit.apply(&mut new));
        let ours = librsync_delta(&delta(&signature(&basis), &new));
        let mut applied = Vec::new();
        fast_rsync::apply(&basis, &ours, &mut applied).unwrap();
        prop_assert_eq!(&applied, &new);

        let theirs = fast_rsync_delta(&basis, &new);
        // We do not look for a match that begins inside a block overwritten in place.
        let limit = theirs.len() + 17 + edits.len() * 2 * BLOCK;
        prop_assert!(ours.len() <= limit, "{} against {}", ours.len(), theirs.len());
        let commands = &theirs[4..theirs.len() - 1];
        prop_assert_eq!(patched(&basis, commands, new.len() as u64), new);
    }
}

/// Our commands with librsync's magic in front and its end command behind.
fn librsync_delta(commands: &[u8]) -> Vec<u8> {
    [&0x7273_0236u32.to_be_bytes(), commands, &[0]].concat()
}

fn fast_rsync_delta(basis: &[u8], new: &[u8]) -> Vec<u8> {
    let options = SignatureOptions { block_size: MIN_BLOCK_BYTES, crypto_hash_size: 8 };
    let signature = fast_rsync::Signature::calculate(basis, options);
    let mut delta = Vec::new();
    fast_rsync::diff(&signature.index(), new, &mut delta).unwrap();
    delta
}

#[test]
fn every_length_around_whole_blocks_comes_back() {
    let file = noise(1, 10 * BLOCK + 1);
    for blocks in [0, 1, 2, 7, 8, 9] {
        for len in [(blocks * BLOCK).saturating_sub(1), blocks * BLOCK, blocks * BLOCK + 1] {
            let basis = &file[..len];
            for new in [&file[..], basis, &file[..len / 2], &file[len / 2..len], &[]] {
                assert_eq!(rebuilt(basis, new, 1000), new, "{len} -> {}", new.len());
            }
        }
    }
}

#[test]
fn unchanged_file_is_one_copy_even_with_a_short_last_block() {
    for len in [1, 703, 704, 705, 100_001] {
        let file = noise(2, len);
        let delta = delta(&signature(&file), &file);
        assert!(delta.len() <= 17, "{len} bytes: delta of {}", delta.len());
        assert_eq!(patched(&file, &delta, len as u64), file);
    }
}

#[test]
fn insertion_at_the_front_costs_the_insertion() {
    let basis = noise(3, 3_000_000);
    let new = [&b"prologue"[..], &basis].concat();
    assert!(delta(&signature(&basis), &new).len() < 50);
    assert!(pieces(&signature(&basis), &new, 1 << 16).concat().len() < 50 + 17 * 46);
}

#[test]
fn zeros_are_copied_as_one_range() {
    let basis = vec![0; 5_000_000];
    let delta = delta(&signature(&basis), &basis);
    // One command for each MiB the differ works on at most.
    assert!(delta.len() <= 17 * 6, "{}", delta.len());
    assert_eq!(patched(&basis, &delta, 5_000_000), basis);
}

#[test]
fn pieces_apply_one_by_one_and_report_what_they_held() {
    let basis = noise(4, 400_000);
    let mut new = basis.clone();
    new[200_000] ^= 1;
    new.splice(50_000..50_000, *b"inserted");
    let mut patcher = Patcher::new();
    let (mut out, mut stats) = (Vec::new(), PatchStats::default());
    for piece in pieces(&signature(&basis), &new, 10_000) {
        let left = new.len() as u64 - stats.output_bytes();
        stats += patcher.patch(&piece, basis.as_slice(), 400_000, left, &mut out).unwrap();
        assert_eq!(stats.output_bytes(), out.len() as u64);
    }
    assert_eq!(out, new);
    assert!(stats.literal_bytes < 3 * u64::from(MIN_BLOCK_BYTES), "{stats:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_skipped_is_left_out_of_the_delta(
        basis in basis(),
        edits in prop::collection::vec(edit(), 0..4),
        window in 1..3 * BLOCK,
        holes in prop::collection::vec(prop::option::of(0..3 * BLOCK as u64), 0..60),
    ) {
        let mut new = basis.clone();
        edits.iter().for_each(|edit| edit.apply(&mut new));
        let signature = signature(&basis);
        let mut differ = Differ::new(&signature);
        let (mut delta, mut out) = (Vec::new(), Vec::new());
        for (at, part) in new.chunks(window).enumerate() {
            differ.push(part, &mut delta).unwrap();
            if let Some(Some(length)) = holes.get(at) {
                differ.skip(*length, &mut delta).unwrap();
                let written = new.len().min((at + 1) * window);
                out.extend(patched(&basis, &std::mem::take(&mut delta), new.len() as u64));
                prop_assert_eq!(out.len(), written, "a piece ends where the hole begins");
            }
        }
        differ.finish(&mut delta).unwrap();
        out.extend(patched(&basis, &delta, new.len() as u64));
        prop_assert!(out == new);
    }
}

#[test]
fn blocks_around_a_hole_are_found() {
    let (before, behind) = (noise(7, 10 * BLOCK + 5), noise(8, 1_000_000));
    // As long as a hole of a file system may be, with nothing of it in a whole block.
    let hole = 64 << 10;
    let basis = [&before[..], &vec![0; hole], &behind].concat();
    let signature = signature(&basis);
    let mut differ = Differ::new(&signature);
    let mut delta = Vec::new();
    differ.push(&before, &mut delta).unwrap();
    differ.skip(hole as u64, &mut delta).unwrap();
    differ.push(&behind, &mut delta).unwrap();
    let stats = differ.finish(&mut delta).unwrap();
    let block = u64::from(signature.block_size());
    assert!(stats.literal_bytes < 3 * block, "{stats:?} with blocks of {block}");
    assert_eq!(patched(&basis, &delta, u64::MAX), [before, behind].concat());
}

#[test]
fn signature_of_one_basis_serves_another() {
    let (basis, other) = (noise(5, 100_000), noise(6, 100_000));
    let delta = delta(&signature(&basis), &basis);
    let out = patched(&other, &delta, 100_000);
    assert_eq!(out, other, "a basis that changed since its signature makes a wrong file, and nothing worse");
}

#[test]
fn signature_equals_librsyncs() {
    let basis = noise(7, 20_000);
    let options = SignatureOptions { block_size: MIN_BLOCK_BYTES, crypto_hash_size: 8 };
    let theirs = fast_rsync::Signature::calculate(&basis, options).into_serialized();
    assert_eq!(signature(&basis).as_bytes(), theirs);
    assert!(Signature::from_bytes(theirs).is_ok());
}
