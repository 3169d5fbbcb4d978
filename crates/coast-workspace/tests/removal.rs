//! Workspaces that are removed, and those that are not; by whoever runs the tests, which some of them need to be root.

#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use coast_engine::{
    Cancel, EngineError, LoginUser, Receiver, ReceiverConfig, SenderConfig, Source, VoidMonitor, send,
};
use coast_wire::{Event, Removal};
use coast_workspace::{DoomedWorkspace, RemovalNews};
use tempfile::TempDir;

/// A directory for workspaces, and beside it something precious.
struct Place {
    _scratch: TempDir,
    top: PathBuf,
}

impl Place {
    /// With one workspace that a run has made and worked on.
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        let place = Self { _scratch: scratch, top };
        for dir in ["data/p", "source/src/deep", "precious"] {
            fs::create_dir_all(place.path(dir)).unwrap();
        }
        fs::write(place.path("source/src/deep/file"), "content").unwrap();
        fs::write(place.path("precious/file"), "precious").unwrap();
        place.push();
        place
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.top.join(below)
    }

    fn workspace(&self) -> PathBuf {
        self.path("data/p/i")
    }

    fn state(&self) -> PathBuf {
        self.path("data/p/.i.coast")
    }

    fn push(&self) {
        let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let config = ReceiverConfig::new(self.workspace());
        let remote = thread::spawn(move || {
            Receiver::open(config)?.run(near.1, far.0, false, &VoidMonitor, &Cancel::new())
        });
        let mut config = SenderConfig::new(Source::Contents(self.path("source")));
        config.options.recursive = true;
        send(config, far.1, near.0, &VoidMonitor, &Cancel::new()).unwrap();
        remote.join().unwrap().unwrap();
    }

    fn assert_all_gone(&self) {
        assert_eq!(names(&self.path("data/p")), [""; 0], "nothing is left beside the workspace either");
        self.assert_precious();
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

/// The report of a removal, with the paths that stay and the reasons; none when there was nothing to remove.
type Removed = Option<(Removal, Vec<(String, String)>)>;

fn remove(path: &Path) -> Result<Removed, EngineError> {
    remove_until(path, &Cancel::new())
}

fn remove_until(path: &Path, cancel: &Cancel) -> Result<Removed, EngineError> {
    let Some(workspace) = DoomedWorkspace::open(path, None)? else { return Ok(None) };
    let mut kept = Vec::new();
    let removal = workspace.remove(false, cancel, &mut |news| match news {
        RemovalNews::Stays(Event::Problem { path, text, .. }) => {
            kept.push((String::from_utf8_lossy(path).into_owned(), text.to_owned()));
        }
        RemovalNews::Removed(_) => {}
        RemovalNews::Stays(event) => panic!("{event:?}"),
    })?;
    Ok(Some((removal, kept)))
}

fn refusal(path: &Path) -> String {
    match remove(path) {
        Err(error @ EngineError::Refused { .. }) => error.to_string(),
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn a_workspace_goes_with_its_state_and_a_second_removal_finds_nothing() {
    let place = Place::new();
    assert!(place.state().join("lock").exists());
    let (removal, kept) = remove(&place.workspace()).unwrap().unwrap();
    // The directory itself, `src`, `src/deep` and the file.
    assert_eq!((removal.existed, removal.removed_entries, removal.kept_entries), (true, 4, 0));
    assert_eq!(kept, []);
    place.assert_all_gone();
    assert!(remove(&place.workspace()).unwrap().is_none());
    assert!(remove(&place.path("nowhere/p/i")).unwrap().is_none());
    place.push();
    assert!(place.workspace().join("src/deep/file").exists(), "it can be made again");
}

#[test]
fn the_directory_of_a_project_goes_with_its_last_workspace() {
    let place = Place::new();
    let remove = || {
        let workspace = DoomedWorkspace::open(&place.workspace(), None).unwrap().unwrap();
        let workspace = workspace.with_empty_parent().unwrap();
        workspace.remove(false, &Cancel::new(), &mut |news| panic!("{news:?}")).unwrap();
    };
    fs::create_dir(place.path("data/p/other")).unwrap();
    remove();
    assert_eq!(names(&place.path("data/p")), ["other"]);
    fs::remove_dir(place.path("data/p/other")).unwrap();
    place.push();
    remove();
    assert_eq!(names(&place.path("data")), [""; 0]);
    place.assert_precious();
}

#[test]
fn entries_of_every_kind_and_name_go() {
    let place = Place::new();
    let inside = |name: &[u8]| place.workspace().join(OsStr::from_bytes(name));
    for name in [&b"new\nline"[..], b"-rf", b"*", b"...", b"\xff\xfe", &[b'n'; 255]] {
        fs::write(inside(name), "").unwrap();
    }
    let _socket = UnixListener::bind(inside(b"socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        inside(b"fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    fs::hard_link(place.path("precious/file"), inside(b"hard")).unwrap();
    symlink(place.path("precious"), inside(b"to-dir")).unwrap();
    symlink(place.path("precious/file"), inside(b"to-file")).unwrap();
    symlink("/", inside(b"src/to-top")).unwrap();
    symlink(".", inside(b"src/circle")).unwrap();
    fs::DirBuilder::new().mode(0o000).create(inside(b"closed")).unwrap();
    let (removal, kept) = remove(&place.workspace()).unwrap().unwrap();
    assert_eq!((removal.removed_entries, kept), (4 + 6 + 2 + 1 + 4 + 1, vec![]));
    place.assert_all_gone();
}

#[test]
fn a_tree_deeper_than_any_path_goes() {
    let place = Place::new();
    let name = coast_tree::Name::new(&[b'd'; 200]).unwrap();
    let mut dir = coast_tree::Root::open(&place.workspace()).unwrap().handle();
    for _ in 0..3000 {
        dir.mkdir(&name, 0o755).unwrap();
        dir = dir.child(&name).unwrap();
        dir.create_file(&coast_tree::Name::new(b"f").unwrap(), 0o644).unwrap();
    }
    drop(dir);
    let (removal, kept) = remove(&place.workspace()).unwrap().unwrap();
    assert_eq!((removal.removed_entries, kept), (4 + 6000, vec![]));
    place.assert_all_gone();
}

#[test]
fn what_no_run_has_made_is_refused() {
    let place = Place::new();
    fs::remove_dir_all(place.state()).unwrap();
    assert!(refusal(&place.workspace()).contains(".i.coast"));
    assert!(place.workspace().join("src/deep/file").exists());
    for path in [place.path("precious"), place.path("source"), place.path("data")] {
        refusal(&path);
    }
    place.assert_precious();
    // A run that was ended right at its start, or a container that made its bind mount's source.
    fs::create_dir(place.path("data/p/empty")).unwrap();
    let (removal, _) = remove(&place.path("data/p/empty")).unwrap().unwrap();
    assert_eq!(removal.removed_entries, 1);
    assert!(!place.path("data/p/empty").exists());
}

#[test]
fn what_is_no_directory_is_refused() {
    let place = Place::new();
    fs::remove_dir_all(place.workspace()).unwrap();
    symlink(place.path("precious"), place.workspace()).unwrap();
    assert!(refusal(&place.workspace()).contains("symlink"));
    assert!(refusal(&place.workspace().join("")).contains("symlink"), "a slash does not help");
    fs::remove_file(place.workspace()).unwrap();
    fs::write(place.workspace(), "").unwrap();
    assert!(refusal(&place.workspace()).contains("a file"));
    place.assert_precious();
}

#[test]
fn where_people_live_is_refused() {
    // The tests start in a directory of the sources, as a helper does in a home.
    let here = std::env::current_dir().unwrap();
    assert!(refusal(&here).contains("home"));
    assert!(refusal(here.parent().unwrap()).contains(here.to_str().unwrap()));
}

#[test]
fn a_workspace_that_a_run_works_on_is_left_to_it() {
    let place = Place::new();
    let lock = fs::File::open(place.state().join("lock")).unwrap();
    lock.lock().unwrap();
    match remove(&place.workspace()).unwrap_err() {
        EngineError::Busy { path } => assert_eq!(path, place.workspace()),
        error => panic!("{error}"),
    }
    assert!(place.workspace().join("src/deep/file").exists());
    drop(lock);
    remove(&place.workspace()).unwrap().unwrap();
    place.assert_all_gone();
}

#[test]
fn a_removal_leaves_a_workspace_to_a_run_with_another_state_directory() {
    let place = Place::new();
    let other = fs::File::open(place.workspace()).unwrap();
    other.lock().unwrap();
    assert!(matches!(remove(&place.workspace()), Err(EngineError::Busy { .. })));
    assert!(place.workspace().join("src/deep/file").exists());
    drop(other);
    remove(&place.workspace()).unwrap().unwrap();
    place.assert_all_gone();
}

#[test]
fn what_is_near_the_top_and_what_climbs_is_refused() {
    for path in ["/", "//", "/.", "/data", "/data/", "/./data"] {
        assert!(refusal(Path::new(path)).contains("at least 2 directories deep"), "{path}");
    }
    for path in ["/data/w/..", "/data/../etc", "/data/w/p/../../.."] {
        assert!(refusal(Path::new(path)).contains(".."), "{path}");
    }
    let place = Place::new();
    symlink("/", place.path("top")).unwrap();
    assert!(refusal(&place.path("top/data")).contains("at least 2"), "the path without symlinks counts");
}

#[test]
fn a_run_that_waited_while_the_workspace_was_removed_says_so() {
    let place = Place::new();
    let receiver = Receiver::open(ReceiverConfig::new(place.workspace())).unwrap();
    remove(&place.workspace()).unwrap().unwrap();
    let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let running = thread::spawn(move || receiver.run(near.1, far.0, false, &VoidMonitor, &Cancel::new()));
    let sent = send(
        SenderConfig::new(Source::Contents(place.path("source"))),
        far.1,
        near.0,
        &VoidMonitor,
        &Cancel::new(),
    );
    let error = sent.unwrap_err().to_string();
    assert!(error.contains("removed meanwhile"), "{error}");
    running.join().unwrap().unwrap_err();
    place.assert_all_gone();
}

#[test]
fn an_interrupted_removal_is_finished_by_the_next_or_repaired_by_a_push() {
    for finish in [true, false] {
        let place = Place::new();
        for number in 0..20_000 {
            fs::write(place.workspace().join(format!("src/{number}")), "").unwrap();
        }
        let cancel = Cancel::new();
        let left = || fs::read_dir(place.workspace().join("src")).map_or(0, Iterator::count);
        let before = left();
        thread::scope(|scope| {
            let removing = scope.spawn(|| remove_until(&place.workspace(), &cancel));
            while left() == before && !removing.is_finished() {
                thread::yield_now();
            }
            cancel.cancel();
            assert!(matches!(removing.join().unwrap(), Err(EngineError::Interrupted)));
        });
        assert!((1..before).contains(&left()), "it was interrupted in the middle: {}", left());
        assert!(place.state().exists(), "what says that this was a workspace goes last");
        if !finish {
            place.push();
            assert!(place.workspace().join("src/deep/file").exists());
        }
        remove(&place.workspace()).unwrap().unwrap();
        place.assert_all_gone();
    }
}

#[test]
fn a_removal_that_was_interrupted_before_its_last_step_is_finished() {
    let place = Place::new();
    fs::remove_dir_all(place.workspace()).unwrap();
    let (removal, _) = remove(&place.workspace()).unwrap().unwrap();
    assert_eq!((removal.existed, removal.removed_entries), (true, 0));
    place.assert_all_gone();

    let place = Place::new();
    fs::remove_dir_all(place.workspace()).unwrap();
    fs::remove_file(place.state().join("lock")).unwrap();
    remove(&place.workspace()).unwrap().unwrap();
    place.assert_all_gone();
}

#[test]
fn a_state_directory_that_others_can_change_proves_nothing() {
    assert!(rustix::process::geteuid().is_root(), "needs root, to give a directory to another user");
    let place = Place::new();
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o770)).unwrap();
    assert!(refusal(&place.workspace()).contains("others"));
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o700)).unwrap();
    lchown(place.state(), Some(12_345), Some(12_345)).unwrap();
    assert!(refusal(&place.workspace()).contains("12345"));
    assert!(place.workspace().join("src/deep/file").exists());

    // Root for the login user accepts the state directory that their own runs left.
    let login = Some(LoginUser { uid: 12_345, gid: 12_345 });
    let workspace = DoomedWorkspace::open(&place.workspace(), login).unwrap().unwrap();
    workspace.remove(false, &Cancel::new(), &mut |event| panic!("{event:?}")).unwrap();
    place.assert_all_gone();
}

#[test]
fn a_state_directory_that_is_a_symlink_proves_nothing() {
    let place = Place::new();
    fs::remove_dir_all(place.state()).unwrap();
    fs::set_permissions(place.path("precious"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(place.path("precious"), place.state()).unwrap();
    remove(&place.workspace()).unwrap_err();
    assert!(place.workspace().join("src/deep/file").exists());
    place.assert_precious();
}

#[test]
fn links_planted_in_the_state_directory_lead_nowhere() {
    let place = Place::new();
    symlink(place.path("precious"), place.state().join("staging")).unwrap();
    symlink(place.path("precious/file"), place.state().join("cache.new")).unwrap();
    fs::create_dir(place.state().join("partial")).unwrap();
    symlink("../../../../precious", place.state().join("partial/x")).unwrap();
    remove(&place.workspace()).unwrap().unwrap();
    place.assert_all_gone();
}

/// Swaps a directory of the workspace with a symlink to what is precious, all the time, while it is removed.
#[test]
fn a_symlink_swapped_in_all_the_time_never_leads_outside() {
    for _ in 0..10 {
        let place = Place::new();
        let (dir, link, aside) =
            (place.workspace().join("dir"), place.workspace().join("link"), place.workspace().join("aside"));
        for number in 0..50 {
            fs::create_dir_all(dir.join(format!("precious-{number}/deep"))).unwrap();
            fs::write(dir.join("file"), "").unwrap();
        }
        symlink(place.path("precious"), &link).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Each fails once what it moves is gone.
                    let _ = fs::rename(&dir, &aside);
                    let _ = fs::rename(&link, &dir);
                    let _ = fs::rename(&dir, &link);
                    let _ = fs::rename(&aside, &dir);
                    let _ = symlink(place.path("precious"), &link);
                }
            });
            // Links appear again and again, so it may have to leave some.
            let removed = remove(&place.workspace());
            done.store(true, Ordering::Relaxed);
            removed.unwrap();
        });
        place.assert_precious();
        remove(&place.workspace()).unwrap();
        place.assert_all_gone();
    }
}

#[test]
fn a_directory_moved_out_of_the_tree_takes_nothing_else_along() {
    for _ in 0..20 {
        let place = Place::new();
        let inside = place.workspace().join("moved");
        for number in 0..200 {
            fs::create_dir_all(inside.join(format!("{number}/deep"))).unwrap();
        }
        let outside = place.path("precious-too");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "precious").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                // Somewhere in the middle; whether before, within or after its turn does not matter.
                let _ = fs::rename(&inside, outside.join("moved"));
            });
            let _ = remove(&place.workspace());
        });
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "precious");
        place.assert_precious();
    }
}

#[test]
fn what_appears_during_a_removal_goes_too_or_is_told() {
    let place = Place::new();
    let dir = fs::File::open(place.workspace().join("src")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            // So many and no more: each fails once the directory is gone, but as long as it is there it would grow without end.
            for number in 0..500 {
                let _ = rustix::fs::mkdirat(&dir, format!("new-{number}"), rustix::fs::Mode::RWXU);
            }
        });
        if let Some((removal, kept)) = remove(&place.workspace()).unwrap()
            && removal.kept_entries > 0
        {
            assert!(kept.iter().all(|(path, text)| path == "src" && text.contains("fills up")), "{kept:?}");
            assert!(place.state().exists());
        }
    });
    remove(&place.workspace()).unwrap();
    place.assert_all_gone();
}
