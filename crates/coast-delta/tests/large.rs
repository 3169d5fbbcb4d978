//! Files that no one should hold in memory, made up as they are read: more than 4 GiB, so that offsets need eight bytes.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use coast_delta::{Differ, Patcher, ReadAt, Signature};
use support::noise_at;

const GIB: u64 = 1 << 30;

/// A file of zeros with an island of noise at every multiple of 256 MiB. Never stored.
#[derive(Clone, Copy)]
struct Sparse {
    len: u64,
    /// Bytes in front that the other version has not.
    inserted: u64,
}

const ISLAND_EVERY: u64 = 256 << 20;
const ISLAND_LEN: u64 = 1 << 20;

impl ReadAt for Sparse {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = buf.len().min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        let buf = &mut buf[..len];
        buf.fill(0);
        let mut at = 0;
        while at < len {
            let position = offset + at as u64;
            // Each piece ends where the kind of content may change.
            let (end, inside) = if position < self.inserted {
                buf[at..]
                    .iter_mut()
                    .take(usize::try_from(self.inserted - position).unwrap())
                    .for_each(|byte| *byte = 9);
                (self.inserted, None)
            } else {
                let original = position - self.inserted;
                let into = original % ISLAND_EVERY;
                let end = if into < ISLAND_LEN { ISLAND_LEN } else { ISLAND_EVERY };
                (position + end - into, (into < ISLAND_LEN).then_some(original))
            };
            let next = len.min(usize::try_from(end - offset).unwrap());
            if let Some(original) = inside {
                noise_at(1, original, &mut buf[at..next]);
            }
            at = next;
        }
        Ok(len)
    }
}

/// Reads a file from front to back.
struct Reader {
    file: Sparse,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(buf, self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

/// Compares what is written with a file.
struct Comparing {
    file: Sparse,
    at: u64,
    expected: Vec<u8>,
}

impl Write for Comparing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.expected.resize(bytes.len(), 0);
        let len = self.file.read_at(&mut self.expected, self.at)?;
        assert!(len == bytes.len() && self.expected == bytes, "differs after byte {}", self.at);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn file_beyond_4_gib_is_rebuilt_from_a_shifted_basis_in_little_memory() {
    let basis = Sparse { len: 4 * GIB + 12_345_678, inserted: 0 };
    let new = Sparse { len: basis.len + 777, inserted: 777 };

    let signature = Signature::of(&basis, basis.len, NonZeroUsize::MIN).unwrap();
    assert_eq!(signature.block_count() as u64, basis.len.div_ceil(signature.block_size().into()));
    assert!(signature.as_bytes().len() < 1 << 20);

    let mut differ = Differ::new(&signature);
    let mut patcher = Patcher::new();
    let mut compared = Comparing { file: new, at: 0, expected: Vec::new() };
    let (mut window, mut piece, mut delta_bytes) = (vec![0; 4 << 20], Vec::new(), 0);
    let mut apply = |piece: &mut Vec<u8>, compared: &mut Comparing| {
        delta_bytes += piece.len();
        patcher.patch(piece, &basis, basis.len, new.len - compared.at, compared).unwrap();
        piece.clear();
    };
    let mut reader = Reader { file: new, at: 0 };
    loop {
        let read = reader.read(&mut window).unwrap();
        if read == 0 {
            break;
        }
        differ.push(&window[..read], &mut piece).unwrap();
        apply(&mut piece, &mut compared);
    }
    let stats = differ.finish(&mut piece).unwrap();
    apply(&mut piece, &mut compared);

    assert_eq!(compared.at, new.len);
    // The insertion, and a block around each island of noise where the zeros are out of step with the basis.
    let literal_limit = 777 + 20 * 2 * u64::from(signature.block_size());
    assert!(stats.literal_bytes < literal_limit, "{stats:?}");
    assert!((delta_bytes as u64) < literal_limit + 100_000 * 17, "{delta_bytes}");

    // Signature, differ, patcher, three windows, and the test itself.
    #[cfg(target_os = "linux")]
    assert!(peak_memory_kib() < 32 << 10, "{} KiB", peak_memory_kib());
}

/// The most memory this process has had so far.
#[cfg(target_os = "linux")]
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
