//! Runs in which the contents of all source files are known, so that directories are offered by their digests.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coast_engine::{
    Cancel, ContentName, Known, KnownContents, Proof, Receiver, ReceiverConfig, RunReport, SenderConfig,
    Source, VoidMonitor, send,
};
use coast_testkit::Snapshot;
use coast_tree::{ContentHash, Listed, Name, RelPath, Stat};
use coast_wire::{Delete, Options};
use fastrand::Rng;

/// Knows the content of every file, because it reads them all.
#[derive(Debug)]
struct KnowsAll(PathBuf);

impl KnownContents for KnowsAll {
    fn enter(&self, _: &RelPath, _: &[Listed]) {}

    fn look_up(&self, directory: &RelPath, name: &Name, _: &Stat) -> Known {
        let path = directory.join(name).unwrap();
        let path = self.0.join(std::str::from_utf8(path.as_bytes()).unwrap());
        Known::Content(ContentHash::of(&fs::read(path).unwrap()))
    }

    fn proof<'a>(&'a self, _: ContentName, _: u64) -> Box<dyn Proof + 'a> {
        unreachable!("no file is named")
    }

    fn save(&self) {}
}

struct Pair {
    scratch: tempfile::TempDir,
    options: Options,
}

impl Pair {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("source")).unwrap();
        let mut options = Options {
            recursive: true,
            links: true,
            specials: true,
            executability: true,
            delete: Some(Delete::default()),
            ..Options::default()
        };
        change(&mut options);
        Self { scratch, options }
    }

    fn source(&self) -> PathBuf {
        self.scratch.path().join("source")
    }

    fn destination(&self) -> PathBuf {
        self.scratch.path().join("destination")
    }

    fn sync(&self) -> RunReport {
        let mut config = SenderConfig::new(Source::Contents(self.source()));
        config.options = self.options.clone();
        config.known = Some(Arc::new(KnowsAll(self.source())));
        let mut receiver = ReceiverConfig::new(self.destination());
        receiver.umask = 0o022;
        let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        std::thread::scope(|scope| {
            let remote = scope.spawn(move || {
                Receiver::open(receiver)?.run(near.1, far.0, false, &VoidMonitor, &Cancel::new())
            });
            let sent = send(config, far.1, near.0, &VoidMonitor, &Cancel::new()).unwrap();
            remote.join().unwrap().unwrap();
            sent
        })
    }

    fn sync_and_compare(&self) -> RunReport {
        let report = self.sync();
        Snapshot::of(self.source()).assert_same_content(&Snapshot::of(self.destination()));
        report
    }
}

/// A tree of 40 directories with 25 files each.
fn build(root: &Path) {
    for number in 0..1000 {
        let path = root.join(format!("d{}/e{}/f{number}", number % 8, number % 5));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("content {number}")).unwrap();
    }
    symlink("d1/e1", root.join("d1/link")).unwrap();
}

#[test]
fn equal_directories_cost_a_digest_each() {
    let pair = Pair::new(|_| ());
    build(&pair.source());
    pair.sync_and_compare();
    let before = Snapshot::of(pair.destination());
    let report = pair.sync_and_compare();
    Snapshot::of(pair.destination()).assert_untouched_since(&before);
    assert_eq!(report.receiver.untouched, before.len() as u64 - 1, "all but the root");
    assert!(report.wire_sent_bytes < 49 * 60 + 500, "{} bytes", report.wire_sent_bytes);

    // One directory of 25 files differs.
    fs::write(pair.source().join("d3/e3/f3"), "another").unwrap();
    let report = pair.sync_and_compare();
    assert_eq!(report.receiver.transferred_files, 1);
    assert!(report.wire_sent_bytes < 49 * 60 + 25 * 70 + 500, "{} bytes", report.wire_sent_bytes);
}

#[test]
fn a_run_into_an_empty_destination_brings_everything() {
    let pair = Pair::new(|_| ());
    build(&pair.source());
    pair.sync_and_compare();
    fs::remove_dir_all(pair.destination()).unwrap();
    let report = pair.sync_and_compare();
    assert_eq!(report.receiver.transferred_files, 1000);
}

#[test]
fn what_differs_at_the_destination_alone_is_found() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 9] = [
        ("content", |dir| fs::write(dir.join("f3"), "Content 3").unwrap()),
        ("missing file", |dir| fs::remove_file(dir.join("f3")).unwrap()),
        ("extraneous file", |dir| fs::write(dir.join("made there"), "").unwrap()),
        ("extraneous directory", |dir| fs::create_dir(dir.join("made there")).unwrap()),
        ("executable file", |dir| {
            fs::set_permissions(dir.join("f3"), PermissionsExt::from_mode(0o755)).unwrap()
        }),
        ("renamed file", |dir| fs::rename(dir.join("f3"), dir.join("f4")).unwrap()),
        ("other kind", |dir| {
            fs::remove_file(dir.join("f3")).unwrap();
            fs::create_dir(dir.join("f3")).unwrap();
        }),
        ("symlink", |dir| {
            fs::remove_file(dir.join("f3")).unwrap();
            symlink("f11", dir.join("f3")).unwrap();
        }),
        ("missing directory", |dir| fs::remove_dir_all(dir).unwrap()),
    ];
    let pair = Pair::new(|_| ());
    build(&pair.source());
    pair.sync();
    for (what, change) in changes {
        change(&pair.destination().join("d3/e3"));
        pair.sync();
        let [theirs, ours] = [pair.source(), pair.destination()].map(Snapshot::of);
        theirs.assert_same_content(&ours);
        let mode = fs::metadata(pair.destination().join("d3/e3/f3")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0, "{what}");
    }
}

#[test]
fn random_changes_on_both_sides_arrive() {
    for seed in 0..8 {
        let mut random = Rng::with_seed(seed);
        let pair = Pair::new(|options| {
            options.times = random.bool();
            options.checksum = true;
            options.perms = random.bool();
            options.privacy = random.bool();
        });
        build(&pair.source());
        pair.sync();
        for _ in 0..12 {
            for _ in 0..random.u8(1..6) {
                let side = if random.bool() { pair.source() } else { pair.destination() };
                change(&mut random, &side).ok();
            }
            pair.sync_and_compare();
            let before = Snapshot::of(pair.destination());
            pair.sync();
            Snapshot::of(pair.destination()).assert_untouched_since(&before);
        }
    }
}

fn change(random: &mut Rng, root: &Path) -> io::Result<()> {
    let mut path = || {
        let number = random.u16(..1000);
        root.join(format!("d{}/e{}/f{number}", number % 8, number % 5))
    };
    let (path, other) = (path(), path());
    match random.u8(..9) {
        0 => fs::remove_file(path),
        1 => fs::remove_dir_all(path.parent().unwrap()),
        2 => fs::rename(path, other),
        3 => {
            fs::remove_file(&path)?;
            fs::create_dir_all(path.join("inside"))
        }
        4 => {
            fs::remove_file(&path)?;
            symlink(["a", "b"][usize::from(random.bool())], path)
        }
        5 => fs::set_permissions(path, PermissionsExt::from_mode(if random.bool() { 0o755 } else { 0o640 })),
        6 => fs::rename(path.parent().unwrap(), root.join("moved")),
        _ => {
            fs::create_dir_all(path.parent().unwrap())?;
            fs::write(path, format!("content {}", random.u16(100..1000)))
        }
    }
}
