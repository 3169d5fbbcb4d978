//! Files with holes: the holes do not travel and are made again.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use coast_engine::{Cancel, Receiver, ReceiverConfig, RunReport, SenderConfig, Source, VoidMonitor, send};
use coast_tree::{Segment, segment_at};
use coast_wire::Options;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn noise(seed: u64, length: u64) -> Vec<u8> {
    coast_testkit::noise(seed, usize::try_from(length).unwrap())
}

struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        Self { dir }
    }

    fn source(&self, name: &str) -> PathBuf {
        self.dir.path().join("source").join(name)
    }

    fn destination(&self, name: &str) -> PathBuf {
        self.dir.path().join("destination").join(name)
    }

    /// A file of the source with this content at these offsets, and a hole everywhere else.
    fn write(&self, name: &str, length: u64, content: &[(u64, &[u8])]) {
        let file = File::options().create(true).truncate(false).write(true).open(self.source(name)).unwrap();
        file.set_len(length).unwrap();
        content.iter().for_each(|(offset, bytes)| file.write_all_at(bytes, *offset).unwrap());
    }

    fn sync(&self, sparse: bool) -> RunReport {
        let receiver = ReceiverConfig::new(self.dir.path().join("destination"));
        let mut config = SenderConfig::new(Source::Contents(self.dir.path().join("source")));
        config.options = Options { recursive: true, sparse, ..Options::default() };
        config.cache = Some(self.dir.path().join("sender-cache"));
        config.compress = true;
        let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        std::thread::scope(|scope| {
            let remote = scope.spawn(move || {
                Receiver::open(receiver)?.run(near.1, far.0, false, &VoidMonitor, &Cancel::new())
            });
            let report = send(config, far.1, near.0, &VoidMonitor, &Cancel::new()).unwrap();
            remote.join().unwrap().unwrap();
            assert_eq!(report.exit_code(), 0);
            report
        })
    }

    /// The destination has the content of the source and is data and holes in the same places.
    fn assert_same(&self, name: &str) {
        assert_eq!(segments(&self.destination(name)), segments(&self.source(name)), "{name}");
        let [here, there] = [self.source(name), self.destination(name)].map(|path| File::open(path).unwrap());
        let mut offset = 0;
        for segment in segments(&self.source(name)) {
            let (Segment::Data(length) | Segment::Hole(length)) = segment;
            if let Segment::Data(_) = segment {
                let [mut one, mut other] = [0; 2].map(|_| vec![0; usize::try_from(length).unwrap()]);
                here.read_exact_at(&mut one, offset).unwrap();
                there.read_exact_at(&mut other, offset).unwrap();
                assert!(one == other, "{name} at {offset}");
            }
            offset += length;
        }
    }
}

fn segments(path: &PathBuf) -> Vec<Segment> {
    let file = File::open(path).unwrap();
    let end = file.metadata().unwrap().len();
    let (mut all, mut offset) = (Vec::new(), 0);
    while offset < end {
        let segment = segment_at(&file, offset, end).unwrap();
        let (Segment::Data(length) | Segment::Hole(length)) = segment;
        offset += length;
        all.push(segment);
    }
    all
}

#[test]
fn three_gigabytes_of_holes_move_kilobytes_and_take_no_room() {
    let pair = Pair::new();
    pair.write("disk", 3 * GIB, &[(0, b"start"), (GIB + 5, &noise(1, 64 * KIB)), (3 * GIB - 3, b"end")]);
    pair.write("empty", 300 * MIB, &[]);
    let report = pair.sync(false);
    assert!(report.wire_sent_bytes < 200 * KIB, "{} bytes", report.wire_sent_bytes);
    assert_eq!(report.receiver.transferred_bytes, 3 * GIB + 300 * MIB);
    for name in ["disk", "empty"] {
        pair.assert_same(name);
        assert!(fs::metadata(pair.destination(name)).unwrap().blocks() * 512 < MIB);
    }
}

#[test]
fn sparse_file_that_changed_stays_sparse_and_moves_what_changed() {
    let pair = Pair::new();
    let start = noise(1, 2 * MIB);
    pair.write("disk", 400 * MIB, &[(0, &start), (200 * MIB, &noise(2, MIB)), (399 * MIB, &noise(3, MIB))]);
    pair.sync(false);
    // One byte in content, a new piece of content in a hole, a longer hole at the end.
    pair.write("disk", 700 * MIB, &[(MIB, b"!"), (300 * MIB, &noise(4, 100 * KIB))]);
    let report = pair.sync(false);
    assert!(report.wire_sent_bytes < MIB, "{} bytes", report.wire_sent_bytes);
    assert!(report.receiver.matched_bytes > 3 * MIB, "{:?}", report.receiver);
    pair.assert_same("disk");
}

#[test]
fn content_in_many_pieces_keeps_all_its_holes() {
    let pair = Pair::new();
    let piece = noise(7, 64 * KIB);
    let pieces: Vec<(u64, &[u8])> = (0..400).map(|at| (at * 128 * KIB, &piece[..])).collect();
    pair.write("disk", 400 * 128 * KIB, &pieces);
    pair.sync(false);
    pair.assert_same("disk");
}

#[test]
fn sparse_file_that_was_renamed_stays_sparse() {
    let pair = Pair::new();
    pair.write("old", 300 * MIB, &[(50 * MIB, &noise(1, MIB))]);
    pair.sync(false);
    fs::rename(pair.source("old"), pair.source("new")).unwrap();
    let report = pair.sync(false);
    assert_eq!(report.receiver.cloned_files, 1);
    pair.assert_same("new");
}

#[test]
fn written_zeros_become_holes_only_where_that_is_asked_for() {
    for (sparse, most) in [(false, u64::MAX), (true, 200 * KIB)] {
        let pair = Pair::new();
        let small = [&noise(1, 40 * KIB)[..], &vec![0; 400_000], b"end"].concat();
        let large = [&noise(1, 40 * KIB)[..], &vec![0; 5_000_000], b"end"].concat();
        fs::write(pair.source("small"), &small).unwrap();
        fs::write(pair.source("large"), &large).unwrap();
        pair.sync(sparse);
        for (name, content) in [("small", small), ("large", large)] {
            assert!(fs::read(pair.destination(name)).unwrap() == content);
            let bytes = fs::metadata(pair.destination(name)).unwrap().blocks() * 512;
            assert_eq!(bytes < content.len() as u64 / 2, sparse, "{name}: {bytes} bytes");
            assert!(bytes < most, "{name}: {bytes} bytes");
        }
    }
}
