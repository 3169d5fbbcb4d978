//! Signature, diff and patch of a large file, in bytes of the file per second.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::io;
use std::num::NonZeroUsize;

use coast_delta::{Differ, Patcher, Signature};
use coast_testkit::noise;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const FILE_BYTES: usize = 64 << 20;
const WINDOW_BYTES: usize = 4 << 20;

/// New versions of `basis`, from the easiest to the hardest.
fn versions(basis: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    let edited = |every: usize| {
        let mut new = basis.to_vec();
        new.iter_mut().skip(100).step_by(every).for_each(|byte| *byte ^= 1);
        new
    };
    let mut shifted = edited(1 << 20);
    shifted.splice(..0, *b"an insertion at the front");
    [
        ("unchanged", basis.to_vec()),
        ("insertion_and_64_edits", shifted),
        ("every_second_block_edited", edited(16 << 10)),
        ("zeros", vec![0; FILE_BYTES]),
        ("unrelated", noise(!0, FILE_BYTES)),
    ]
}

fn delta(c: &mut Criterion) {
    let basis = noise(1, FILE_BYTES);
    let basis_len = basis.len() as u64;
    let signature =
        Signature::of(basis.as_slice(), basis_len, NonZeroUsize::MIN).expect("a slice can be read");

    let mut group = c.benchmark_group("delta");
    group.throughput(Throughput::Bytes(basis_len)).sample_size(10);
    group.bench_function("signature", |b| {
        b.iter(|| Signature::of(black_box(basis.as_slice()), basis_len, NonZeroUsize::MIN))
    });

    for (name, new) in versions(&basis) {
        let mut delta = Vec::new();
        group.bench_function(BenchmarkId::new("diff", name), |b| {
            b.iter(|| {
                delta.clear();
                let mut differ = Differ::new(&signature);
                for window in new.chunks(WINDOW_BYTES) {
                    differ.push(black_box(window), &mut delta).expect("enough memory");
                }
                differ.finish(&mut delta).expect("enough memory")
            });
        });
        let mut patcher = Patcher::new();
        group.bench_function(BenchmarkId::new("patch", name), |b| {
            b.iter(|| {
                patcher.patch(
                    black_box(&delta),
                    basis.as_slice(),
                    basis_len,
                    new.len() as u64,
                    &mut io::sink(),
                )
            });
        });
    }
    group.finish();
}

criterion_group!(benches, delta);
criterion_main!(benches);
