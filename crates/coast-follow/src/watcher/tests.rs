use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use coast_filter::NoMergeFiles;
use tempfile::TempDir;

use super::*;
use crate::Extent;

/// A worktree that is watched.
struct Watched {
    scratch: TempDir,
    watcher: Watcher,
}

fn rel(path: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(path.as_ref()).unwrap()
}

impl Watched {
    /// Watches a worktree with these directories. `node_modules` is excluded.
    fn new(directories: &[&str]) -> Self {
        Self::with(directories, |_| ())
    }

    fn with(directories: &[&str], change: impl FnOnce(&mut WatcherSettings)) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = scratch.path().join("worktree");
        for name in ["worktree", "outside", "private"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        for directory in directories {
            fs::create_dir_all(worktree.join(directory)).unwrap();
        }
        let mut rules = RuleList::new();
        rules.exclude(b"node_modules").unwrap();
        let mut settings = WatcherSettings::new(worktree, rules);
        settings.private = scratch.path().join("private");
        change(&mut settings);
        Self { watcher: Watcher::start(settings).unwrap(), scratch }
    }

    fn path(&self, path: impl AsRef<OsStr>) -> PathBuf {
        self.scratch.path().join("worktree").join(path.as_ref())
    }

    fn outside(&self, path: &str) -> PathBuf {
        self.scratch.path().join("outside").join(path)
    }

    fn write(&self, path: impl AsRef<OsStr>) {
        fs::write(self.path(path), "content").unwrap();
    }

    fn batch(&self) -> Batch {
        match self.watcher.next(None) {
            Next::Batch(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    /// Everything that changed up to now. Later changes of the same paths count once.
    fn settle(&self) -> Settled {
        let ticket = self.watcher.barrier().unwrap();
        while self.watcher.shared.barriers.enter().reached() < ticket {
            thread::yield_now();
        }
        let mut settled = Settled::default();
        loop {
            let batch = self.batch();
            self.watcher.finished();
            settled.moved.extend(batch.moved.iter().map(|(from, to)| (from.to_string(), to.to_string())));
            match batch.extent {
                Extent::Everything => settled.everything = true,
                Extent::Paths(paths) => {
                    settled.paths.extend(paths.into_iter().map(|(path, depth)| (path.to_string(), depth)));
                }
            }
            if batch.ticket >= Some(ticket) {
                return settled;
            }
        }
    }

    fn watches(&self) -> usize {
        self.watcher.status().watched_directories
    }
}

#[derive(Debug, Default, PartialEq)]
struct Settled {
    everything: bool,
    paths: BTreeMap<String, Depth>,
    moved: Vec<(String, String)>,
}

impl Settled {
    fn of(paths: &[(&str, Depth)]) -> Self {
        let paths = paths.iter().map(|(path, depth)| ((*path).to_owned(), *depth)).collect();
        Self { paths, ..Self::default() }
    }

    fn names(&self) -> BTreeSet<&str> {
        self.paths.keys().map(String::as_str).collect()
    }
}

const NOTHING: [(&str, Depth); 0] = [];

#[test]
fn a_save_comes_without_being_asked_for() {
    let watched = Watched::new(&["src"]);
    watched.write("src/main.rs");
    let batch = watched.batch();
    assert_eq!(batch.extent, Extent::Paths(BTreeMap::from([(rel("src/main.rs"), Depth::Entry)])));
    assert_eq!(batch.ticket, None);
}

#[test]
fn excluded_directories_are_not_watched() {
    let watched = Watched::new(&["src", "node_modules/left-pad/lib", "src/node_modules"]);
    assert_eq!(watched.watches(), 2);
    watched.write("node_modules/left-pad/index.js");
    watched.write("src/node_modules/a");
    fs::create_dir_all(watched.path("lib/node_modules/b")).unwrap();
    assert_eq!(watched.settle(), Settled::of(&[("lib", Depth::Tree)]));
    watched.write("lib/node_modules/b/c");
    assert_eq!(watched.settle(), Settled::of(&NOTHING));
    assert_eq!(watched.watches(), 3);
}

#[test]
fn a_new_directory_is_watched_and_comes_with_everything_in_it() {
    let watched = Watched::new(&[]);
    fs::create_dir_all(watched.path("a/b/c")).unwrap();
    watched.write("a/b/c/first");
    assert_eq!(watched.settle(), Settled::of(&[("a", Depth::Tree)]));
    assert_eq!(watched.watches(), 4);
    watched.write("a/b/c/second");
    assert_eq!(watched.settle(), Settled::of(&[("a/b/c/second", Depth::Entry)]));
}

#[test]
fn a_moved_directory_is_watched_at_its_new_place() {
    let watched = Watched::new(&["a/b", "c"]);
    fs::rename(watched.path("a"), watched.path("c/d")).unwrap();
    let settled = watched.settle();
    assert_eq!(settled.moved, [("a".to_owned(), "c/d".to_owned())]);
    assert_eq!(settled.paths, Settled::of(&[("a", Depth::Tree), ("c/d", Depth::Tree)]).paths);
    watched.write("c/d/b/file");
    assert_eq!(watched.settle(), Settled::of(&[("c/d/b/file", Depth::Entry)]));
    assert_eq!(watched.watches(), 4);

    fs::rename(watched.path("c/d"), watched.outside("d")).unwrap();
    fs::write(watched.outside("d/b/file"), "").unwrap();
    assert_eq!(watched.settle(), Settled::of(&[("c/d", Depth::Tree)]));
    assert_eq!(watched.watches(), 2);

    fs::rename(watched.outside("d"), watched.path("e")).unwrap();
    assert_eq!(watched.settle(), Settled::of(&[("e", Depth::Tree)]));
    watched.write("e/b/file");
    assert_eq!(watched.settle(), Settled::of(&[("e/b/file", Depth::Entry)]));
}

#[test]
fn a_directory_that_becomes_excluded_by_its_name_is_gone() {
    let watched = Watched::new(&["modules/a"]);
    fs::rename(watched.path("modules"), watched.path("node_modules")).unwrap();
    assert_eq!(watched.settle(), Settled::of(&[("modules", Depth::Tree)]));
    assert_eq!(watched.watches(), 1);
    fs::rename(watched.path("node_modules"), watched.path("modules")).unwrap();
    assert_eq!(watched.settle(), Settled::of(&[("modules", Depth::Tree)]));
    assert_eq!(watched.watches(), 3);
}

#[test]
fn directories_that_change_places_all_the_time_stay_watched() {
    let watched = Watched::new(&["a/x", "b/y"]);
    for _ in 0..200 {
        fs::rename(watched.path("a"), watched.path("c")).unwrap();
        fs::rename(watched.path("b"), watched.path("a")).unwrap();
        fs::rename(watched.path("c"), watched.path("b")).unwrap();
        fs::create_dir(watched.path("new")).unwrap();
        fs::rename(watched.path("new"), watched.path("newer")).unwrap();
        fs::remove_dir(watched.path("newer")).unwrap();
    }
    watched.settle();
    assert_eq!(watched.watches(), 5);
    for path in ["a/x/file", "b/y/file"] {
        watched.write(path);
        assert_eq!(watched.settle(), Settled::of(&[(path, Depth::Entry)]));
    }
}

#[test]
fn every_kind_of_change_comes() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let watched = Watched::new(&["d"]);
    for name in ["deleted", "chmod", "old", "d/kept", "replaced"] {
        watched.write(name);
    }
    watched.settle();
    fs::remove_file(watched.path("deleted")).unwrap();
    fs::set_permissions(watched.path("chmod"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(watched.path("d"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(watched.path("old"), watched.path("new")).unwrap();
    symlink("nowhere", watched.path("link")).unwrap();
    fs::remove_file(watched.path("replaced")).unwrap();
    fs::create_dir(watched.path("replaced")).unwrap();
    let name = OsStr::from_bytes(b"\xff odd\nname");
    watched.write(name);
    let settled = watched.settle();
    let odd = rel(name.as_bytes()).to_string();
    let expected = ["deleted", "chmod", "d", "old", "new", "link", "replaced", odd.as_str()];
    assert_eq!(settled.names(), BTreeSet::from(expected));
    assert_eq!(settled.moved, [("old".to_owned(), "new".to_owned())]);
    assert_eq!((settled.paths["d"], settled.paths["replaced"]), (Depth::Entry, Depth::Tree));
}

#[test]
fn a_barrier_comes_after_all_saves_before_it() {
    let watched = Watched::new(&["0", "1", "2", "3"]);
    for round in 0..20 {
        thread::scope(|scope| {
            for directory in 0..4 {
                let watched = &watched;
                scope.spawn(move || {
                    for file in 0..50 {
                        watched.write(format!("{directory}/{round}-{file}"));
                    }
                });
            }
        });
        let settled = watched.settle();
        let of_round = settled.paths.keys().filter(|path| path[2..].starts_with(&format!("{round}-")));
        assert_eq!(of_round.count(), 200);
    }
}

#[test]
fn a_file_that_stays_open_is_in_the_batch_of_a_barrier() {
    use std::io::Write;
    let watched = Watched::new(&[]);
    let mut file = fs::File::create(watched.path("log")).unwrap();
    file.write_all(b"line").unwrap();
    assert_eq!(watched.settle().names(), BTreeSet::from(["log"]));
    file.write_all(b"line").unwrap();
    assert_eq!(watched.settle().names(), BTreeSet::from(["log"]));
}

#[test]
fn after_an_overflow_everything_is_compared_and_new_directories_are_watched() {
    let watched = Watched::new(&["old/below"]);
    fs::create_dir_all(watched.path("new/below")).unwrap();
    fs::rename(watched.path("old"), watched.path("moved")).unwrap();
    watched.watcher.overflow();
    assert!(watched.settle().everything);
    watched.settle();
    for path in ["new/below/file", "moved/below/file"] {
        watched.write(path);
        assert_eq!(watched.settle(), Settled::of(&[(path, Depth::Entry)]));
    }
    assert_eq!((watched.watches(), watched.watcher.status().overflows), (5, 1));
}

#[test]
fn a_full_queue_is_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let watched = Watched::new(&[]);
    // The reader cannot handle a save while this is held.
    let held = watched.watcher.shared.state.enter();
    let limit: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    for name in ["one", "two"] {
        watched.write(name);
    }
    // Equal events in a row would count once.
    for number in 0..limit + 1000 {
        let mode = fs::Permissions::from_mode(0o600 + u32::from(number / 2 % 2 == 0));
        fs::set_permissions(watched.path(["one", "two"][number % 2]), mode).unwrap();
    }
    drop(held);
    assert!(watched.settle().everything);
    assert!(watched.watcher.status().overflows > 0);
}

#[test]
fn directories_without_a_watch_are_scanned() {
    use std::os::unix::fs::PermissionsExt;
    let watched = Watched::with(&["a/b", "c"], |settings| settings.max_watches = 1);
    let status = watched.watcher.status();
    assert_eq!((status.watched_directories, status.scanned_directories), (1, 3));
    assert!(status.advice().unwrap().contains("sysctl fs.inotify.max_user_watches="));

    watched.write("a/b/file");
    fs::create_dir(watched.path("c/new")).unwrap();
    watched.write("c/new/file");
    assert_eq!(watched.settle(), Settled::of(&[("a/b/file", Depth::Entry), ("c/new", Depth::Tree)]));
    fs::set_permissions(watched.path("a/b/file"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_dir_all(watched.path("c/new")).unwrap();
    assert_eq!(watched.settle(), Settled::of(&[("a/b/file", Depth::Entry), ("c/new", Depth::Tree)]));
    assert_eq!(watched.settle(), Settled::of(&NOTHING));

    // Without a barrier the scan comes by itself.
    watched.write("a/b/file");
    assert!(watched.batch().extent.covers(&rel("a/b/file")));
}

#[test]
fn other_names_of_a_file_that_changed_come_too() {
    let watched = Watched::new(&["a", "b"]);
    watched.write("a/one");
    fs::hard_link(watched.path("a/one"), watched.path("b/two")).unwrap();
    watched.settle();
    watched.write("a/one");
    assert_eq!(watched.settle().names(), BTreeSet::from(["a/one", "b/two"]));
}

#[test]
fn other_names_come_when_the_name_that_was_used_is_gone_or_another_file() {
    for gone in ["removed", "renamed", "renamed with its directory", "replaced", "made anew"] {
        let watched = Watched::new(&["a", "b"]);
        watched.write("a/one");
        fs::hard_link(watched.path("a/one"), watched.path("b/two")).unwrap();
        watched.write("a/other");
        watched.settle();
        // The reader cannot handle the change while this is held.
        let held = watched.watcher.shared.state.enter();
        watched.write("a/one");
        let one = watched.path("a/one");
        match gone {
            "removed" => fs::remove_file(one).unwrap(),
            "renamed" => fs::rename(one, watched.outside("one")).unwrap(),
            "renamed with its directory" => fs::rename(watched.path("a"), watched.path("c")).unwrap(),
            "replaced" => fs::rename(watched.path("a/other"), one).unwrap(),
            _ => {
                fs::remove_file(one).unwrap();
                watched.write("a/one");
            }
        }
        drop(held);
        let settled = watched.settle();
        assert!(settled.names().contains("b/two"), "{gone}: {settled:?}");
    }
}

#[test]
fn a_save_by_a_temporary_file_does_not_bring_files_with_links() {
    let watched = Watched::new(&[]);
    watched.write("one");
    watched.write("saved");
    fs::hard_link(watched.path("one"), watched.path("two")).unwrap();
    watched.settle();
    let held = watched.watcher.shared.state.enter();
    watched.write("saved.tmp");
    fs::rename(watched.path("saved.tmp"), watched.path("saved")).unwrap();
    drop(held);
    assert_eq!(watched.settle(), Settled::of(&[("saved", Depth::Entry), ("saved.tmp", Depth::Entry)]));
}

#[test]
fn while_git_works_nothing_comes_and_then_all_of_it() {
    for linked in [false, true] {
        let watched = Watched::with(&[], |settings| {
            settings.rules.exclude(b".git").unwrap();
            let git = if linked { settings.root.join("../outside") } else { settings.root.join(".git") };
            fs::create_dir_all(&git).unwrap();
            if linked {
                fs::write(settings.root.join(".git"), "gitdir: ../outside\n").unwrap();
            }
        });
        let lock = if linked { watched.outside("index.lock") } else { watched.path(".git/index.lock") };
        fs::write(&lock, "").unwrap();
        watched.write("first");
        while watched.watcher.status().pending_paths != Some(1) {
            thread::yield_now();
        }
        assert!(matches!(watched.watcher.next(Some(Instant::now())), Next::TimedOut));
        watched.write("second");
        fs::rename(&lock, lock.with_file_name("index")).unwrap();
        assert_eq!(watched.settle().names(), BTreeSet::from(["first", "second"]));
        assert_eq!(watched.watches(), 1, "the git directory is none of the worktree's");
    }
}

#[test]
fn a_lost_worktree_ends_the_watch() {
    let watched = Watched::new(&["a"]);
    fs::rename(watched.path(""), watched.outside("moved")).unwrap();
    let lost = watched.watcher.next(None);
    assert!(matches!(&lost, Next::Lost(LostRoot::Missing { .. })), "{lost:?}");

    let watched = Watched::new(&["a"]);
    fs::remove_dir_all(watched.path("")).unwrap();
    let lost = loop {
        match watched.watcher.next(None) {
            Next::Batch(_) => watched.watcher.finished(),
            other => break other,
        }
    };
    assert!(matches!(&lost, Next::Lost(LostRoot::Missing { .. })), "{lost:?}");
}

#[test]
fn rules_in_the_tree_are_read_again_when_they_change() {
    let watched = Watched::with(&["a/b"], |settings| {
        settings.rules.filter(b"dir-merge,- .ignore", &NoMergeFiles).unwrap();
    });
    fs::write(watched.path("a/.ignore"), "b\n").unwrap();
    assert_eq!(watched.settle(), Settled::of(&[("a", Depth::Tree)]));
    assert_eq!(watched.watches(), 2);
    watched.write("a/b/file");
    assert_eq!(watched.settle(), Settled::of(&NOTHING));
    fs::remove_file(watched.path("a/.ignore")).unwrap();
    assert_eq!(watched.settle(), Settled::of(&[("a", Depth::Tree)]));
    watched.write("a/b/file");
    assert_eq!(watched.settle(), Settled::of(&[("a/b/file", Depth::Entry)]));
}

#[test]
fn a_private_directory_that_was_removed_is_made_again() {
    let watched = Watched::new(&[]);
    let private = fs::read_dir(watched.scratch.path().join("private")).unwrap().next().unwrap().unwrap();
    fs::remove_dir_all(private.path()).unwrap();
    while watched.watcher.barrier().is_err() {
        thread::yield_now();
    }
    watched.write("file");
    assert!(watched.settle().everything, "a barrier may have been lost");
    watched.write("file");
    assert_eq!(watched.settle().names(), BTreeSet::from(["file"]));
}

#[test]
fn an_interruption_ends_the_wait() {
    let watched = Watched::new(&[]);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| watched.watcher.next(None));
        watched.watcher.interrupt();
        assert!(matches!(waiting.join().unwrap(), Next::Interrupted));
    });
}

#[test]
fn a_worktree_that_is_missing_cannot_be_watched() {
    let scratch = tempfile::tempdir().unwrap();
    let settings = WatcherSettings::new(scratch.path().join("nothing"), RuleList::new());
    let error = Watcher::start(settings).unwrap_err();
    assert!(matches!(&error, WatchError::Root(LostRoot::Missing { .. })), "{error}");
}
