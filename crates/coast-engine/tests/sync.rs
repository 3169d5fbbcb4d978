//! Both ends of a run in one process, over socket pairs: what a user relies on, tree by tree.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coast_engine::{
    Cancel, EngineError, Monitor, NothingSent, Receiver, ReceiverConfig, RunReport, SenderConfig, Source,
    VoidMonitor, send,
};
use coast_filter::NoMergeFiles;
use coast_testkit::{Snapshot, noise};
use coast_wire::{Delete, Event, Options};

/// A source and a destination in a directory of their own.
struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        Self { dir }
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn destination(&self) -> PathBuf {
        self.dir.path().join("destination")
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn config(&self) -> SenderConfig {
        let mut config = SenderConfig::new(Source::Contents(self.source()));
        config.options = Options {
            recursive: true,
            links: true,
            specials: true,
            delete: Some(Delete::default()),
            ..Options::default()
        };
        config.cache = Some(self.dir.path().join("sender-cache"));
        config.compress = true;
        config
    }

    fn run(&self, config: SenderConfig, monitor: &dyn Monitor) -> Result<RunReport, EngineError> {
        let mut receiver = ReceiverConfig::new(self.destination());
        receiver.dry_run = config.options.dry_run;
        receiver.umask = 0o022;
        let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        std::thread::scope(|scope| {
            let remote = scope.spawn(move || {
                Receiver::open(receiver)?.run(near.1, far.0, false, &VoidMonitor, &Cancel::new())
            });
            let sent = send(config, far.1, near.0, monitor, &Cancel::new());
            let received = remote.join().unwrap();
            assert_eq!(sent.is_ok(), received.is_ok(), "one side failed alone: {sent:?} {received:?}");
            sent
        })
    }

    fn sync(&self) -> RunReport {
        self.run(self.config(), &VoidMonitor).unwrap()
    }

    /// Syncs and compares both trees.
    fn sync_and_compare(&self) -> RunReport {
        let report = self.sync();
        Snapshot::of(self.source()).assert_same_content(&Snapshot::of(self.destination()));
        report
    }
}

/// The paths of everything below a directory.
fn paths(root: &Path) -> Vec<String> {
    let snapshot = Snapshot::of(root);
    let paths = snapshot.iter().map(|(path, _)| path.display().to_string());
    paths.filter(|path| path != ".").collect()
}

/// Keeps what it is told.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Monitor for Recorder {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

fn sample() -> Pair {
    let pair = Pair::new();
    for number in 0..300u32 {
        pair.write(
            &format!("source/d{}/e{}/f{number}", number % 7, number % 3),
            noise(number.into(), number as usize * 40),
        );
    }
    pair.write("source/empty", "");
    pair.write("source/large", noise(7, 5_000_000));
    symlink("d1/e1", pair.source().join("link")).unwrap();
    symlink("nowhere", pair.source().join("dangling")).unwrap();
    fs::create_dir_all(pair.source().join("hollow/inner")).unwrap();
    pair
}

#[test]
fn first_run_makes_the_trees_equal() {
    let pair = sample();
    let report = pair.sync_and_compare();
    assert_eq!(report.receiver.transferred_files, 302);
    assert_eq!(report.exit_code(), 0);
    let left: Vec<_> = fs::read_dir(pair.dir.path().join(".destination.coast"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(left.iter().all(|name| name == "cache" || name == "ledger" || name == "lock"), "{left:?}");
}

#[test]
fn second_run_touches_nothing_and_reads_no_content() {
    let pair = sample();
    pair.sync();
    let before = Snapshot::of(pair.destination());
    let report = pair.sync();
    Snapshot::of(pair.destination()).assert_untouched_since(&before);
    assert_eq!(report.receiver.transferred_files, 0);
}

#[test]
fn second_run_without_caches_touches_nothing_either() {
    let pair = sample();
    pair.sync();
    let before = Snapshot::of(pair.destination());
    fs::remove_file(pair.dir.path().join("sender-cache")).unwrap();
    fs::remove_file(pair.dir.path().join(".destination.coast/cache")).unwrap();
    let report = pair.sync();
    Snapshot::of(pair.destination()).assert_untouched_since(&before);
    assert_eq!(report.receiver.transferred_files, 0);
    assert_eq!(report.sender.hashed_files, 302);
}

#[test]
fn edits_moves_and_removals_arrive() {
    let pair = sample();
    pair.sync();
    let source = pair.source();
    fs::rename(source.join("large"), source.join("moved")).unwrap();
    fs::remove_dir_all(source.join("d3")).unwrap();
    pair.write("source/d1/e1/new", "new");
    pair.write("source/d2/e0/f9", "other content");
    let report = pair.sync_and_compare();
    assert_eq!(report.receiver.cloned_files, 1, "a moved file costs no transfer");
    assert_eq!(report.receiver.transferred_files, 2);
    assert!(report.receiver.deleted > 40);
}

#[test]
fn large_file_comes_as_a_delta() {
    let pair = Pair::new();
    let old = noise(3, 9_000_000);
    pair.write("destination/large", &old);
    let mut new = b"an insertion at the front".to_vec();
    new.extend(&old);
    new[5_000_000..5_000_100].fill(b'x');
    pair.write("source/large", &new);
    let report = pair.sync_and_compare();
    assert!(report.receiver.matched_bytes > 8_900_000, "{report:?}");
    assert!(report.wire_sent_bytes < 100_000, "{report:?}");
}

#[test]
fn every_kind_replaces_every_other() {
    let kinds = ["file", "directory", "full", "symlink", "fifo"];
    let make = |path: &Path, kind: &str| match kind {
        "file" => fs::write(path, "content").unwrap(),
        "directory" => fs::create_dir(path).unwrap(),
        "full" => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("inside"), "inside").unwrap();
        }
        "symlink" => symlink("target", path).unwrap(),
        _ => drop(std::process::Command::new("mkfifo").arg(path).status().unwrap()),
    };
    let pair = Pair::new();
    fs::create_dir(pair.destination()).unwrap();
    for from in kinds {
        for to in kinds {
            make(&pair.destination().join(format!("{from}-{to}")), from);
            make(&pair.source().join(format!("{from}-{to}")), to);
        }
    }
    let report = pair.sync_and_compare();
    assert_eq!(report.exit_code(), 0);
}

#[test]
fn full_directory_in_the_way_stays_without_delete() {
    let pair = Pair::new();
    pair.write("source/name", "file");
    pair.write("destination/name/inside", "precious");
    let mut config = pair.config();
    config.options.delete = None;
    let report = pair.run(config, &VoidMonitor).unwrap();
    assert_eq!(report.exit_code(), 23);
    assert_eq!(fs::read(pair.destination().join("name/inside")).unwrap(), b"precious");
}

#[test]
fn protected_directory_survives_delete() {
    let pair = Pair::new();
    pair.write("source/a", "a");
    for path in ["generated/deep/file", "stale/generated/keep", "stale/gone", "node_modules/x"] {
        pair.write(&format!("destination/{path}"), path);
    }
    let mut config = pair.config();
    config.rules.protect(b"generated/***").unwrap();
    config.rules.exclude(b"node_modules").unwrap();
    let report = pair.run(config, &VoidMonitor).unwrap();
    let left = paths(&pair.destination());
    let expected = [
        "a",
        "generated",
        "generated/deep",
        "generated/deep/file",
        "node_modules",
        "node_modules/x",
        "stale",
        "stale/generated",
        "stale/generated/keep",
    ];
    assert_eq!(left, expected);
    assert_eq!(report.receiver.deleted, 1);
}

#[test]
fn dry_run_changes_nothing_and_tells_all() {
    let pair = sample();
    pair.write("destination/extraneous/file", "x");
    let before = Snapshot::of(pair.destination());
    let mut config = pair.config();
    config.options.dry_run = true;
    let recorder = Recorder::default();
    let report = pair.run(config, &recorder).unwrap();
    Snapshot::of(pair.destination()).assert_untouched_since(&before);
    assert_eq!(report.receiver.transferred_files, 302);
    assert_eq!(report.receiver.deleted, 2);
    let mut left: Vec<_> =
        fs::read_dir(pair.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["destination", "source"], "neither state nor cache is made");
}

#[test]
fn a_run_that_fails_leaves_the_cache_as_it_was() {
    let pair = sample();
    pair.sync();
    let cached = fs::read(pair.dir.path().join("sender-cache")).unwrap();
    pair.write("source/new", "new");
    // The other side hangs up at once.
    let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    drop((near.1, far.0));
    send(pair.config(), far.1, near.0, &VoidMonitor, &Cancel::new()).unwrap_err();
    let names = fs::read_dir(pair.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let of_the_cache: Vec<_> =
        names.filter(|name| name.to_string_lossy().starts_with("sender-cache")).collect();
    assert_eq!(of_the_cache, ["sender-cache"]);
    assert_eq!(fs::read(pair.dir.path().join("sender-cache")).unwrap(), cached);
}

#[test]
fn dry_run_into_nowhere_makes_nothing() {
    let pair = sample();
    let mut config = pair.config();
    config.options.dry_run = true;
    let report = pair.run(config, &VoidMonitor).unwrap();
    assert_eq!(report.receiver.transferred_files, 302);
    assert!(!pair.destination().exists());
}

#[test]
fn delayed_updates_arrive_all_the_same() {
    let pair = sample();
    pair.sync();
    for number in 0..20 {
        pair.write(&format!("source/d{}/e{}/f{number}", number % 7, number % 3), "changed");
    }
    let mut config = pair.config();
    config.options.delay_updates = true;
    let report = pair.run(config, &VoidMonitor).unwrap();
    assert_eq!(report.receiver.transferred_files, 20);
    Snapshot::of(pair.source()).assert_same_content(&Snapshot::of(pair.destination()));
    let before = Snapshot::of(pair.destination());
    pair.sync();
    Snapshot::of(pair.destination()).assert_untouched_since(&before);
}

#[test]
fn symlink_planted_in_the_destination_is_not_followed() {
    let pair = Pair::new();
    pair.write("source/sub/file", "from the source");
    pair.write("outside/file", "outside");
    fs::create_dir(pair.destination()).unwrap();
    symlink("../outside", pair.destination().join("sub")).unwrap();
    pair.sync_and_compare();
    assert_eq!(fs::read(pair.dir.path().join("outside/file")).unwrap(), b"outside");
}

#[test]
fn executability_follows_the_source_and_nothing_else_does() {
    let pair = Pair::new();
    pair.write("source/script", "one");
    pair.write("destination/script", "other");
    set_mode(&pair.source().join("script"), 0o777);
    set_mode(&pair.destination().join("script"), 0o640);
    let mut config = pair.config();
    config.options.executability = true;
    pair.run(config, &VoidMonitor).unwrap();
    let meta = fs::metadata(pair.destination().join("script")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o750);
}

#[test]
fn with_privacy_nobody_gets_what_the_source_keeps_from_them() {
    for (content, source, before, after) in [
        ("same", 0o600, 0o644, 0o600),
        ("new", 0o600, 0o666, 0o600),
        ("same", 0o640, 0o664, 0o660),
        ("new", 0o604, 0o644, 0o604),
        ("same", 0o644, 0o600, 0o600),
        ("new", 0o644, 0o666, 0o666),
        ("same", 0o700, 0o755, 0o700),
    ] {
        let pair = Pair::new();
        pair.write("source/file", content);
        pair.write("destination/file", "same");
        set_mode(&pair.source().join("file"), source);
        set_mode(&pair.destination().join("file"), before);
        let mut config = pair.config();
        config.options.privacy = true;
        pair.run(config, &VoidMonitor).unwrap();
        let meta = fs::metadata(pair.destination().join("file")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, after, "{content} {source:o} over {before:o}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn directory_of_many_entries_comes_in_parts() {
    let pair = Pair::new();
    for number in 0..20_000 {
        pair.write(&format!("source/many/{number:05}"), "");
    }
    pair.write("destination/many/00000-extraneous", "");
    pair.write("destination/many/zzz", "");
    let report = pair.sync_and_compare();
    assert_eq!(report.receiver.deleted, 2);
    let before = Snapshot::of(pair.destination());
    pair.sync();
    Snapshot::of(pair.destination()).assert_untouched_since(&before);
}

#[test]
fn two_runs_into_one_workspace_do_not_interleave() {
    let pair = sample();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut config = pair.config();
                config.cache = None;
                pair.run(config, &VoidMonitor).unwrap()
            });
        }
    });
    Snapshot::of(pair.source()).assert_same_content(&Snapshot::of(pair.destination()));
}

#[test]
fn rule_files_of_the_destination_protect_as_they_are_after_the_transfer() {
    let pair = Pair::new();
    pair.write("source/d/a", "a");
    pair.write("source/d/.rules", "P keep\n");
    for path in ["d/keep", "d/drop", "stale/.rules", "stale/own", "stale/gone"] {
        pair.write(&format!("destination/{path}"), path);
    }
    pair.write("destination/stale/.rules", "P own\nP .rules\n");
    let mut config = pair.config();
    config.rules.filter(b": .rules", &NoMergeFiles).unwrap();
    pair.run(config, &VoidMonitor).unwrap();
    let left = paths(&pair.destination());
    assert_eq!(left, ["d", "d/.rules", "d/a", "d/keep", "stale", "stale/.rules", "stale/own"]);
}

#[test]
fn what_makes_way_does_not_count_for_max_delete() {
    let pair = Pair::new();
    pair.write("source/a", "a");
    fs::create_dir_all(pair.destination().join("a")).unwrap();
    pair.write("destination/x", "x");
    let mut config = pair.config();
    config.options.delete = Some(Delete { max: Some(1), ..Delete::default() });
    let report = pair.run(config, &VoidMonitor).unwrap();
    assert_eq!(report.exit_code(), 0);
    Snapshot::of(pair.source()).assert_same_content(&Snapshot::of(pair.destination()));
}

#[test]
fn made_destination_gets_the_sources_bits_less_the_umask() {
    let pair = Pair::new();
    pair.write("source/a", "a");
    fs::set_permissions(pair.source(), fs::Permissions::from_mode(0o775)).unwrap();
    pair.sync();
    assert_eq!(fs::metadata(pair.destination()).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn nothing_to_send_is_known_before_anything_is_made() {
    let pair = Pair::new();
    pair.write("source/dir/a", "a");
    let entry = || Source::Entry { parent: pair.source(), name: coast_tree::Name::new(b"dir").unwrap() };
    let mut config = pair.config();
    assert_eq!(config.sends_nothing().unwrap(), None);
    config.source = entry();
    assert_eq!(config.sends_nothing().unwrap(), None);
    config.options.recursive = false;
    assert_eq!(config.sends_nothing().unwrap(), Some(NothingSent::NotRecursive));
    config.rules.exclude(b"dir").unwrap();
    assert_eq!(config.sends_nothing().unwrap(), Some(NothingSent::Excluded));
    let mut config = pair.config();
    config.options.recursive = false;
    assert_eq!(config.sends_nothing().unwrap(), Some(NothingSent::NotRecursive));
}

#[test]
fn file_of_many_chunks_arrives_whatever_worker_is_slow() {
    let pair = Pair::new();
    let path = pair.source().join("large");
    let file = fs::File::create(&path).unwrap();
    // Written, not left out: a hole would be no content.
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 400 << 20), &mut &file).unwrap();
    for compress in [false, true] {
        let _ = fs::remove_dir_all(pair.destination());
        let mut config = pair.config();
        config.compress = compress;
        config.threads = std::num::NonZeroUsize::new(8);
        let report = pair.run(config, &VoidMonitor).unwrap();
        assert_eq!(report.receiver.literal_bytes, 400 << 20);
        assert_eq!(fs::metadata(pair.destination().join("large")).unwrap().len(), 400 << 20);
    }
    // Many small differences: more commands than fit into one chunk.
    for place in 0..4000u64 {
        std::os::unix::fs::FileExt::write_all_at(&file, &noise(place, 600), place * 100_000).unwrap();
    }
    let report = pair.sync_and_compare();
    assert!(report.receiver.matched_bytes > 100 << 20, "{report:?}");
}

#[test]
fn a_rule_file_behind_a_symlink_is_followed_at_the_source_and_deletes_nothing_at_the_destination() {
    let pair = Pair::new();
    pair.write("source/rules", "P keep\n- *.o\n");
    pair.write("source/a/x.o", "left out");
    symlink("../rules", pair.source().join("a/.filter")).unwrap();
    pair.write("destination/a/keep", "protected");
    pair.write("destination/a/x.o", "left out");
    let mut config = pair.config();
    config.rules.filter(b": .filter", &NoMergeFiles).unwrap();
    let report = pair.run(config, &VoidMonitor).unwrap();
    assert_eq!((report.receiver.deleted, report.exit_code()), (0, 23));
    assert_eq!(fs::read(pair.destination().join("a/keep")).unwrap(), b"protected");
    assert_eq!(fs::read(pair.destination().join("a/x.o")).unwrap(), b"left out");
    assert!(pair.destination().join("rules").exists());
}

#[test]
fn rule_file_that_names_impossible_rule_files_does_not_stop_its_directory() {
    let pair = Pair::new();
    let long = "x".repeat(300);
    let rules = format!("dir-merge {long}\n\n: {}\n# {long}\n- left\\xff\n- left\n", "y".repeat(4000));
    pair.write("source/sub/.rules", rules);
    pair.write("source/sub/left", "");
    pair.write("source/sub/deeper/sent", "");
    let mut config = pair.config();
    config.rules.filter(b"dir-merge .rules", &NoMergeFiles).unwrap();
    let report = pair.run(config, &VoidMonitor).unwrap();
    assert_eq!(report.exit_code(), 0);
    assert_eq!(paths(&pair.destination()), ["sub", "sub/.rules", "sub/deeper", "sub/deeper/sent"]);
}
