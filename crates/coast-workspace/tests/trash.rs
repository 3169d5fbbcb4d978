//! Workspaces whose trash is listed and from which entries are restored; some tests need to be root, to give entries to other users.

#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use coast_engine::{Cancel, EngineError};
use coast_tree::RelPath;
use coast_wire::limits::{MAX_KEPT_NAMED, MAX_TRASHED_NAMED};
use coast_wire::{Answer, EntryKind, Event, Restoration, TrashTotals};
use coast_workspace::TrashedWorkspace;
use tempfile::TempDir;

/// A workspace with a state directory, and beside it something precious.
struct Place {
    _scratch: TempDir,
    top: PathBuf,
}

/// Paths and reasons.
type Told = Vec<(String, String)>;

impl Place {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        let place = Self { _scratch: scratch, top };
        fs::create_dir_all(place.path("w")).unwrap();
        fs::create_dir_all(place.path("precious")).unwrap();
        fs::write(place.path("precious/file"), "precious").unwrap();
        fs::create_dir_all(place.trash("")).unwrap();
        fs::set_permissions(place.path(".w.coast"), fs::Permissions::from_mode(0o700)).unwrap();
        place
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.top.join(below)
    }

    fn workspace(&self, below: &str) -> PathBuf {
        self.path("w").join(below)
    }

    fn trash(&self, below: &str) -> PathBuf {
        self.path(".w.coast/trash").join(below)
    }

    /// Puts a file into the workspace or, where the path begins with the name of a batch, into the trash. Its content is its path.
    fn put(&self, path: &str) -> &Self {
        let file = if path.starts_with(|first: char| first.is_ascii_digit()) {
            self.trash(path)
        } else {
            self.workspace(path)
        };
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, path).unwrap();
        self
    }

    fn open(&self) -> Result<TrashedWorkspace, EngineError> {
        TrashedWorkspace::open(&self.path("w"), None)
    }

    /// The entries in the trash, as in `5 dir/file`, and the totals.
    fn list(&self) -> (Vec<String>, TrashTotals) {
        let mut listed = Vec::new();
        let totals = self.open().unwrap().list(true, &Cancel::new(), &mut |answer| {
            let Answer::Trashed(entry) = answer else { panic!("{answer:?}") };
            let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
            listed.push(format!("{} {}{slash}", entry.at, String::from_utf8_lossy(entry.path)));
            Ok(())
        });
        (listed, totals.unwrap())
    }

    fn restore(&self, paths: &[&str]) -> (Restoration, Told) {
        let paths: Vec<RelPath> = paths.iter().map(|path| RelPath::new(path.as_bytes()).unwrap()).collect();
        self.restore_paths(&paths)
    }

    fn restore_paths(&self, paths: &[RelPath]) -> (Restoration, Told) {
        let mut told = Vec::new();
        let restored = self.open().unwrap().restore(paths, false, &Cancel::new(), &mut |answer| {
            match answer {
                Answer::Event(Event::Problem { path, text, .. }) => {
                    told.push((String::from_utf8_lossy(path).into_owned(), text.to_owned()));
                }
                Answer::Event(Event::Notice { text }) => told.push(("notice".to_owned(), text.to_owned())),
                answer => panic!("{answer:?}"),
            }
            Ok(())
        });
        (restored.unwrap(), told)
    }

    /// Restores paths of which all are restored.
    fn restore_all(&self, paths: &[&str]) -> Restoration {
        let (restored, told) = self.restore(paths);
        assert_eq!((restored.left_entries, told), (0, vec![]));
        restored
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.workspace(path)).unwrap()
    }

    fn assert_precious(&self) {
        assert_eq!(fs::read_to_string(self.path("precious/file")).unwrap(), "precious");
        assert_eq!(names(&self.path("precious")), ["file"]);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The only problem, of this path.
fn reason(told: &Told, path: &str) -> String {
    let [(about, text)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(about, path);
    text.clone()
}

#[test]
fn the_trash_is_listed_with_the_latest_run_first() {
    let place = Place::new();
    assert_eq!(place.list(), (vec![], TrashTotals { confined: true, ..TrashTotals::default() }));
    place.put("100.10/.env").put("100.10/up/a").put("100.10/up/deep/b").put("200/killed");
    fs::create_dir_all(place.trash("100.10/empty")).unwrap();
    symlink("anywhere", place.trash("200/link")).unwrap();
    // Not the name of a batch.
    fs::create_dir_all(place.trash("making/left")).unwrap();
    let (listed, totals) = place.list();
    assert_eq!(listed, ["200 killed", "200 link", "100 .env", "100 empty/", "100 up/a", "100 up/deep/b"]);
    assert_eq!((totals.entries, totals.bytes, totals.unreadable), (6, 10 + 11 + 11 + 16, 0));
}

#[test]
fn a_long_list_names_the_first_entries_and_counts_all() {
    let place = Place::new();
    fs::create_dir_all(place.trash("5.0/d")).unwrap();
    for number in 0..MAX_TRASHED_NAMED + 10 {
        fs::write(place.trash(&format!("5.0/d/{number}")), "").unwrap();
    }
    let (listed, totals) = place.list();
    assert_eq!((listed.len(), totals.entries), (MAX_TRASHED_NAMED, MAX_TRASHED_NAMED as u64 + 10));
}

#[test]
fn a_file_comes_back_as_it_was() {
    let place = Place::new();
    place.put("5.9/dir/made");
    let file = place.trash("5.9/dir/made");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    chown(&file, Some(1234), Some(2345)).unwrap();
    let before = fs::metadata(&file).unwrap();
    fs::set_permissions(place.trash("5.9/dir"), fs::Permissions::from_mode(0o2750)).unwrap();
    chown(place.trash("5.9/dir"), Some(999), Some(998)).unwrap();
    let restored = place.restore_all(&["dir/made"]);
    assert_eq!((restored.restored_entries, restored.restored_bytes), (1, 12));
    assert_eq!(place.read("dir/made"), "5.9/dir/made");
    let after = fs::metadata(place.workspace("dir/made")).unwrap();
    assert_eq!(
        (after.ino(), after.mode(), after.uid(), after.gid(), after.mtime_nsec()),
        (before.ino(), before.mode(), before.uid(), before.gid(), before.mtime_nsec())
    );
    let dir = fs::metadata(place.workspace("dir")).unwrap();
    assert_eq!((dir.mode() & 0o7777, dir.uid(), dir.gid()), (0o2750, 999, 998));
    assert_eq!(names(&place.trash("")), [""; 0], "emptied directories and batches go");
}

#[test]
fn a_directory_comes_back_with_everything_below_it() {
    let place = Place::new();
    place.put("5.100/up/a").put("5.100/up/deep/b").put("5.100/other").put("up/kept");
    let restored = place.restore_all(&["up"]);
    assert_eq!(restored.restored_entries, 2);
    assert_eq!(
        (place.read("up/a"), place.read("up/deep/b")),
        ("5.100/up/a".into(), "5.100/up/deep/b".into())
    );
    assert_eq!(place.read("up/kept"), "up/kept");
    assert_eq!(names(&place.trash("")), ["5.75"], "the sizes of the two files are taken off");
    assert_eq!(names(&place.trash("5.75")), ["other"]);
    place.restore_all(&[""]);
    assert_eq!(place.read("other"), "5.100/other");
    assert_eq!(names(&place.trash("")), [""; 0]);
}

#[test]
fn the_latest_run_that_deleted_it_wins() {
    let place = Place::new();
    place.put("100.9/file").put("200.9/file").put("300.9/other").put("100.9/d/old").put("200.9/d/new");
    place.restore_all(&["file"]);
    assert_eq!(place.read("file"), "200.9/file");
    let (restored, told) = place.restore(&["d"]);
    assert_eq!((restored.restored_entries, restored.left_entries), (1, 0));
    assert!(reason(&told, "notice").contains("d: an earlier run"), "{told:?}");
    place.restore_all(&["d"]);
    assert_eq!((place.read("d/new"), place.read("d/old")), ("200.9/d/new".into(), "100.9/d/old".into()));
    assert_eq!(place.list().0, ["300 other", "100 file"]);
}

#[test]
fn an_entry_of_a_killed_run_comes_back() {
    let place = Place::new();
    place.put("100/a").put("100/b");
    place.restore_all(&["a"]);
    assert_eq!(place.list().0, ["100 b"]);
}

#[test]
fn an_existing_entry_is_never_replaced() {
    let place = Place::new();
    place
        .put("5.50/file")
        .put("5.50/d/in-the-way")
        .put("5.50/d/free")
        .put("5.50/was-dir/x")
        .put("5.50/was-file");
    place.put("file").put("d/in-the-way").put("was-dir").put("was-file/x");
    let (restored, told) = place.restore(&["file", "d", "was-dir", "was-file"]);
    assert_eq!((restored.restored_entries, restored.left_entries), (1, 4));
    let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["file", "d/in-the-way", "was-dir", "was-file"]);
    assert!(told.iter().all(|(_, reason)| reason.contains("it exists in the workspace")), "{told:?}");
    assert_eq!((place.read("file"), place.read("d/in-the-way")), ("file".into(), "d/in-the-way".into()));
    assert_eq!((place.read("was-dir"), place.read("was-file/x")), ("was-dir".into(), "was-file/x".into()));
    assert_eq!(place.list().0, ["5 file", "5 was-file", "5 d/in-the-way", "5 was-dir/x"]);
    let (_, told) = place.restore(&["was-dir/x"]);
    assert!(reason(&told, "was-dir/x").contains("the directory was-dir in the workspace"), "{told:?}");
}

#[test]
fn a_path_that_is_not_in_the_trash_is_told() {
    let place = Place::new();
    place.put("5.9/file");
    let (restored, told) = place.restore(&["nothing", "file/below", "file"]);
    assert_eq!((restored.restored_entries, restored.left_entries), (1, 2));
    assert!(told.iter().all(|(_, reason)| reason.contains("not in the trash")), "{told:?}");
    // The batch is empty now, or gone. Another one was left empty by a killed run.
    fs::create_dir(place.trash("6.0")).unwrap();
    for remove_all in [false, true] {
        if remove_all {
            fs::remove_dir_all(place.trash("")).unwrap();
        }
        let (restored, told) = place.restore(&["", "file"]);
        assert_eq!((restored.restored_entries, restored.left_entries), (0, 2));
        assert!(told.iter().all(|(_, reason)| reason == "the trash is empty"), "{told:?}");
    }
}

#[test]
fn many_problems_are_counted_and_the_first_ones_told() {
    let place = Place::new();
    for number in 0..MAX_KEPT_NAMED + 5 {
        place.put(&format!("5.0/d/{number}")).put(&format!("d/{number}"));
    }
    let (restored, told) = place.restore(&["d"]);
    assert_eq!((told.len(), restored.left_entries), (MAX_KEPT_NAMED, MAX_KEPT_NAMED as u64 + 5));
}

#[test]
fn entries_of_every_kind_and_name_come_back() {
    let place = Place::new();
    fs::create_dir_all(place.trash("5.0/d")).unwrap();
    let odd = [&b"new\nline"[..], b"-rf", b"*", b"...", b"\xff\xfe", &[b'n'; 255]];
    for name in odd {
        fs::write(place.trash("5.0/d").join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let _socket = UnixListener::bind(place.trash("5.0/d/socket")).unwrap();
    symlink(place.path("precious"), place.trash("5.0/d/link")).unwrap();
    fs::create_dir(place.trash("5.0/d/empty")).unwrap();
    let (one, rest) = (RelPath::new(b"d/\xff\xfe").unwrap(), RelPath::new(b"d").unwrap());
    let (restored, told) = place.restore_paths(&[one, rest]);
    assert_eq!((restored.restored_entries, told), (9, vec![]));
    assert!(odd.iter().all(|name| place.workspace("d").join(OsStr::from_bytes(name)).is_file()));
    assert!(place.workspace("d/link").is_symlink() && place.workspace("d/empty").is_dir());
}

#[test]
fn no_symlink_in_the_workspace_is_followed() {
    let place = Place::new();
    place.put("5.50/a/b/file").put("5.50/file");
    symlink(place.path("precious"), place.workspace("a")).unwrap();
    symlink(place.path("precious/file"), place.workspace("file")).unwrap();
    for (path, about) in [("a/b/file", "a/b/file"), ("a/b", "a/b"), ("a", "a"), ("file", "file"), ("", "")] {
        let (restored, told) = place.restore(&[path]);
        assert_eq!(restored.restored_entries, 0, "{path}");
        assert!(told.iter().any(|(told, _)| path.is_empty() || told == about), "{path}: {told:?}");
    }
    place.assert_precious();
    assert_eq!(place.list().0, ["5 file", "5 a/b/file"]);
}

#[test]
fn no_symlink_in_the_trash_is_followed() {
    let place = Place::new();
    fs::create_dir_all(place.trash("5.0/d")).unwrap();
    symlink(place.path("precious"), place.trash("5.0/d/link")).unwrap();
    // A batch that is a symlink is none.
    symlink(place.path("precious"), place.trash("9.0")).unwrap();
    let (restored, told) = place.restore(&["d/link/file", "file"]);
    assert_eq!((restored.restored_entries, restored.left_entries), (0, 2), "{told:?}");
    assert_eq!(place.list().0, ["5 d/link"]);
    place.assert_precious();
    // The whole trash is one.
    fs::rename(place.trash(""), place.path("aside")).unwrap();
    symlink(place.path("precious"), place.path(".w.coast/trash")).unwrap();
    let error = place.open().unwrap().list(false, &Cancel::new(), &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    place.assert_precious();
}

#[test]
fn a_directory_that_is_made_is_never_one_that_others_put_there() {
    let place = Place::new();
    place.put("5.9/d/file").put("5.9/d/stays");
    chown(place.trash("5.9/d"), Some(999), Some(999)).unwrap();
    // Left by a killed process, with something in it.
    fs::create_dir_all(place.trash("making/left")).unwrap();
    place.restore_all(&["d/file"]);
    assert_eq!(names(&place.workspace("d")), ["file"]);
    assert_eq!(fs::metadata(place.workspace("d")).unwrap().uid(), 999);
    assert!(!place.trash("making").exists());
}

#[test]
fn a_state_directory_that_others_may_write_is_refused_in_words_of_its_own() {
    let place = Place::new();
    place.put("5.9/file");
    fs::set_permissions(place.path(".w.coast"), fs::Permissions::from_mode(0o770)).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, EngineError::NoWorkspace { .. }) && error.exit_code() == 3, "{error}");
    assert!(!error.to_string().contains("removed:") && error.to_string().contains("0700"), "{error}");
}

#[test]
fn a_state_directory_in_the_workspace_works_too() {
    let place = Place::new();
    place.put("5.9/file");
    fs::rename(place.path(".w.coast"), place.workspace(".coast-state")).unwrap();
    place.restore_all(&["file"]);
    assert_eq!(place.read("file"), "5.9/file");
}

#[test]
fn a_workspace_may_be_named_by_a_symlink_of_this_user() {
    let place = Place::new();
    place.put("5.9/file");
    symlink("w", place.path("link")).unwrap();
    let workspace = TrashedWorkspace::open(&place.path("link"), None).unwrap();
    let file = RelPath::new(b"file").unwrap();
    workspace.restore(&[file], false, &Cancel::new(), &mut |answer| panic!("{answer:?}")).unwrap();
    assert_eq!(place.read("file"), "5.9/file");
}

#[test]
fn a_workspace_that_another_run_works_on_is_busy() {
    let place = Place::new();
    place.put("5.9/file");
    let holder = place.open().unwrap();
    for error in [place.open().unwrap_err(), TrashedWorkspace::open(&place.path("w/."), None).unwrap_err()] {
        assert!(matches!(error, EngineError::Busy { .. }), "{error}");
    }
    drop(holder);
    // A run of another user locks only the directory that both can open.
    let theirs = fs::File::open(place.path("w")).unwrap();
    rustix::fs::flock(&theirs, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(matches!(place.open().unwrap_err(), EngineError::Busy { .. }));
    drop(theirs);
    place.restore_all(&["file"]);
}

#[test]
fn what_is_no_workspace_is_named() {
    let place = Place::new();
    for (path, words) in [("nothing", "no such directory"), ("precious/file", "not a directory")] {
        let error = TrashedWorkspace::open(&place.path(path), None).unwrap_err();
        assert!(error.exit_code() == 3 && error.to_string().contains(words), "{error}");
    }
    let no_run = TrashedWorkspace::open(&place.path("precious"), None).unwrap();
    let totals = no_run.list(false, &Cancel::new(), &mut |answer| panic!("{answer:?}")).unwrap();
    assert_eq!(totals, TrashTotals::default());
    let mut told = 0;
    let path = [RelPath::new(b"file").unwrap()];
    let count = |_: Answer<'_>| {
        told += 1;
        Ok(())
    };
    let restored = no_run.restore(&path, false, &Cancel::new(), &mut { count }).unwrap();
    assert_eq!((restored.left_entries, told), (1, 1));
}

#[test]
fn a_cancelled_restoration_loses_nothing() {
    let place = Place::new();
    place.put("5.9/d/a").put("5.9/d/b").put("d/kept");
    let cancel = Cancel::new();
    cancel.cancel();
    let workspace = place.open().unwrap();
    let path = [RelPath::new(b"d").unwrap()];
    let ended = workspace.restore(&path, false, &cancel, &mut |answer| panic!("{answer:?}"));
    assert!(matches!(ended, Err(EngineError::Interrupted)), "{ended:?}");
    let ended = workspace.list(false, &cancel, &mut |answer| panic!("{answer:?}"));
    assert!(matches!(ended, Err(EngineError::Interrupted)), "{ended:?}");
    drop(workspace);
    assert_eq!(place.list().0, ["5 d/a", "5 d/b"]);
}

#[test]
fn the_reader_of_a_list_may_go_away() {
    let place = Place::new();
    place.put("5.9/a");
    let broken = || EngineError::Wire(coast_wire::WireError::Io(io::ErrorKind::BrokenPipe.into()));
    let ended = place.open().unwrap().list(false, &Cancel::new(), &mut |_| Err(broken()));
    assert_eq!(ended.unwrap_err().exit_code(), 12);
}
