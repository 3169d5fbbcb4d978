//! Frames of a push: packing and sealing small files, plain and compressed, and unpacking them again.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::num::NonZeroUsize;

use coast_wire::{
    Class, Compressor, FileId, FrameReader, LevelControl, Pack, ToReceiver, WholeError, messages,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// The number of files in a frame of about 1 MiB, at the mean size of a source file.
const FILES: u32 = 64;
const FILE_BYTES: usize = 16 << 10;

/// Text like that of a source file: words that repeat, and numbers that do not.
fn source_file(number: u32) -> Vec<u8> {
    const WORDS: [&str; 8] =
        ["static ", "struct ", "return ", "\n\t", "if (", "->next;", "0x", "unsigned long "];
    let mut text = Vec::with_capacity(FILE_BYTES + 32);
    let mut state = number.wrapping_mul(2_654_435_761) | 1;
    while text.len() < FILE_BYTES {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        text.extend_from_slice(WORDS[(state % 8) as usize].as_bytes());
        if state.is_multiple_of(5) {
            text.extend_from_slice(state.to_string().as_bytes());
        }
    }
    text.truncate(FILE_BYTES);
    text
}

fn packed(files: &[Vec<u8>]) -> Pack {
    let mut pack = Pack::new(Class::Data);
    for (index, content) in (0..).zip(files) {
        let file = FileId { part: 0, index };
        let packed = pack.whole(file, content.len(), |buffer| -> Result<_, WholeError<()>> {
            buffer.extend_from_slice(content);
            Ok(([7; 32], None))
        });
        assert!(packed.is_ok());
    }
    pack
}

fn frames(c: &mut Criterion) {
    let files: Vec<_> = (0..FILES).map(source_file).collect();
    let mut group = c.benchmark_group("frames");
    group.throughput(Throughput::Bytes(u64::from(FILES) * FILE_BYTES as u64));
    group.bench_function("pack", |b| b.iter(|| packed(black_box(&files)).len()));

    let mut compressor = Compressor::new(LevelControl::new(NonZeroUsize::MIN)).unwrap();
    group.bench_function(BenchmarkId::new("seal", "plain"), |b| {
        b.iter_batched(|| packed(&files), |pack| pack.seal(None).unwrap(), criterion::BatchSize::LargeInput)
    });
    group.bench_function(BenchmarkId::new("seal", "compressed"), |b| {
        b.iter_batched(
            || packed(&files),
            |pack| pack.seal(Some(&mut compressor)).unwrap(),
            criterion::BatchSize::LargeInput,
        )
    });

    let sealed = [
        ("plain", packed(&files).seal(None).unwrap()),
        ("compressed", packed(&files).seal(Some(&mut compressor)).unwrap()),
    ];
    for (name, bytes) in sealed {
        group.bench_function(BenchmarkId::new("take_apart", name), |b| {
            b.iter(|| {
                let frame = FrameReader::new(black_box(&bytes[..])).next_frame().unwrap().unwrap();
                let payload = frame.decode().unwrap();
                let all_well = messages::<ToReceiver<'_>>(&payload).all(|message| message.is_ok());
                assert!(all_well);
            })
        });
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
