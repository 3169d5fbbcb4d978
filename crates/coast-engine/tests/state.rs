//! The receiver's state directory and its locks: whoever's run it is, no two interleave, and nobody's files go with it.
//! Some tests need to be root.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use coast_engine::{
    Cancel, DestinationIs, EngineError, LoginUser, Monitor, Receiver, ReceiverConfig, RunReport,
    SenderConfig, Source, VoidMonitor, send,
};
use coast_tree::{Name, Root};
use coast_wire::{Delete, Event};

/// More than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// Whoever logged in where a test's run is root for them.
const LOGIN: LoginUser = LoginUser { uid: 12_345, gid: 12_345 };

/// A place for sources, destinations and what lies beside them.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        place.write("source/file", "content");
        place
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn write(&self, path: &str, content: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
    }

    fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// All of `source` to `destination`, deleting.
    fn sync(&self) -> RunReport {
        self.sync_with(|_| {}, |_| {}, &VoidMonitor).unwrap()
    }

    fn sync_with(
        &self,
        change: impl FnOnce(&mut SenderConfig),
        change_receiver: impl FnOnce(&mut ReceiverConfig),
        monitor: &dyn Monitor,
    ) -> Result<RunReport, EngineError> {
        let mut sender = SenderConfig::new(Source::Contents(self.path("source")));
        sender.options.recursive = true;
        sender.options.delete = Some(Delete::default());
        change(&mut sender);
        let mut receiver = ReceiverConfig::new(self.path("destination"));
        receiver.dry_run = sender.options.dry_run;
        change_receiver(&mut receiver);
        run(sender, receiver, monitor)
    }

    /// The file `source/file` to a new name in the destination.
    fn sync_file(&self, to: &str) -> Result<RunReport, EngineError> {
        let name = Name::new(b"file").unwrap();
        let sender = SenderConfig::new(Source::Entry { parent: self.path("source"), name });
        let mut receiver = ReceiverConfig::new(self.path("destination").join(to));
        receiver.destination_is = DestinationIs::FileOrDirectory;
        run(sender, receiver, &VoidMonitor)
    }

    /// Makes `destination` and its state directory as the login user's runs leave them.
    fn leave_state_of_login(&self) -> PathBuf {
        assert!(rustix::process::geteuid().is_root(), "needs root, to give a directory to another user");
        self.sync();
        let state = self.path(".destination.coast");
        lchown(&state, Some(LOGIN.uid), Some(LOGIN.gid)).unwrap();
        state
    }

    fn sync_for_login(&self) -> Result<RunReport, EngineError> {
        self.sync_with(|_| {}, |receiver| receiver.login = Some(LOGIN), &VoidMonitor)
    }
}

fn run(
    sender: SenderConfig,
    receiver: ReceiverConfig,
    monitor: &dyn Monitor,
) -> Result<RunReport, EngineError> {
    let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    std::thread::scope(|scope| {
        let remote = scope.spawn(move || match Receiver::open(receiver) {
            Ok(receiver) => receiver.run(near.1, far.0, false, &VoidMonitor, &Cancel::new()).map(drop),
            Err(error) => {
                coast_engine::refuse(&error, &far.0).unwrap();
                Err(error)
            }
        });
        let sent = send(sender, far.1, near.0, monitor, &Cancel::new());
        assert_eq!(sent.is_ok(), remote.join().unwrap().is_ok(), "{sent:?}");
        sent
    })
}

/// Sends on what a run is told.
struct Listener(mpsc::Sender<String>);

impl Monitor for Listener {
    fn event(&self, event: &Event<'_>) {
        let _ = self.0.send(format!("{event:?}"));
    }
}

#[test]
fn a_run_waits_for_one_with_another_state_directory() {
    let place = Place::new();
    place.write("destination/extraneous", "");
    // A run with another state directory holds this lock.
    let other = fs::File::open(place.path("destination")).unwrap();
    other.lock().unwrap();
    let (told, events) = mpsc::channel();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| place.sync_with(|_| {}, |_| {}, &Listener(told)));
        let event = events.recv_timeout(LONG).unwrap();
        assert!(event.contains("another run works on this workspace"), "{event}");
        assert!(place.exists("destination/extraneous") && !place.exists("destination/file"));
        drop(other);
        assert_eq!(running.join().unwrap().unwrap().exit_code(), 0);
    });
    assert!(place.exists("destination/file") && !place.exists("destination/extraneous"));
}

#[test]
fn the_state_directory_of_another_users_run_is_neither_deleted_nor_sent() {
    for dry_run in [true, false] {
        let place = Place::new();
        place.write("destination/.coast-state/lock", "theirs");
        place.write("destination/deeper/.coast-state/lock", "not at the root");
        place.write("source/.coast-state/cache", "of the source");
        let report =
            place.sync_with(|sender| sender.options.dry_run = dry_run, |_| {}, &VoidMonitor).unwrap();
        assert_eq!((report.exit_code(), report.receiver.deleted), (0, 3));
        assert!(place.exists("destination/.coast-state/lock"));
        assert!(!place.exists("destination/.coast-state/cache"));
        assert_eq!(place.exists("destination/deeper"), dry_run);
    }
}

#[test]
fn the_trash_of_a_state_directory_inside_moves_to_the_one_beside() {
    let place = Place::new();
    place.sync();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    // Both have a batch of that time: from a run that could not write beside the destination, and from one that could.
    place.write(&format!("destination/.coast-state/trash/{now}.6/inside"), "inside");
    place.write(&format!(".destination.coast/trash/{now}.6/beside"), "beside");
    let state = fs::Permissions::from_mode(0o700);
    fs::set_permissions(place.path("destination/.coast-state"), state).unwrap();
    place.sync();
    assert!(place.exists(&format!(".destination.coast/trash/{now}.6/beside")));
    assert!(place.exists(&format!(".destination.coast/trash/{}.6/inside", now + 1)));
}

#[test]
fn runs_of_one_single_file_succeed_one_after_another() {
    for _ in 0..30 {
        let place = Place::new();
        fs::create_dir(place.path("destination")).unwrap();
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| place.sync_file("f1"))).collect();
            for run in runs {
                assert_eq!(run.join().unwrap().unwrap().exit_code(), 0);
            }
        });
        let left: Vec<_> = fs::read_dir(place.path("destination"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["f1"]);
    }
}

#[test]
fn a_single_file_may_have_the_longest_name_there_is() {
    let place = Place::new();
    fs::create_dir(place.path("destination")).unwrap();
    let name = |last: &str| "n".repeat(254) + last;
    for name in [name("a"), name("b")] {
        assert_eq!(place.sync_file(&name).unwrap().exit_code(), 0);
        assert!(place.exists(&format!("destination/{name}")));
    }
    assert_eq!(fs::read_dir(place.path("destination")).unwrap().count(), 2);
}

#[test]
fn a_single_files_state_directory_goes_without_what_is_not_its_own() {
    let place = Place::new();
    place.write("destination/.f.coast/thesis/chapter", "precious");
    place.write("destination/.f.coast/notes", "precious");
    fs::set_permissions(place.path("destination/.f.coast"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(place.sync_file("f").unwrap().exit_code(), 0);
    assert!(place.exists("destination/f"));
    let mut left: Vec<_> = fs::read_dir(place.path("destination/.f.coast"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["notes", "thesis"]);
    assert!(place.exists("destination/.f.coast/thesis/chapter"));
}

#[test]
fn the_state_directory_of_a_nested_workspace_stays_as_long_as_that_does() {
    for late in [false, true] {
        let place = Place::new();
        place.write("source/sent/file", "");
        for dir in ["sent", "excluded", "going", "gone", "stale/protected", "stale/going"] {
            let (above, name) = dir
                .rsplit_once('/')
                .map_or((String::new(), dir), |(above, name)| (format!("{above}/"), name));
            if name != "gone" {
                place.write(&format!("destination/{dir}/file"), "");
            }
            place.write(&format!("destination/{above}.{name}.coast/lock"), "");
        }
        let rules = |sender: &mut SenderConfig| {
            sender.rules.exclude(b"excluded").unwrap();
            sender.rules.protect(b"protected").unwrap();
            if late {
                sender.rules.filter(b": .rules", &coast_filter::NoMergeFiles).unwrap();
            }
        };
        place.sync_with(rules, |_| {}, &VoidMonitor).unwrap();
        if late {
            // A workspace that went with the first run is not there any more.
            place.sync_with(rules, |_| {}, &VoidMonitor).unwrap();
        }
        for stays in [".sent", ".excluded", "stale/.protected"] {
            assert!(place.exists(&format!("destination/{stays}.coast/lock")), "{stays}, late: {late}");
        }
        for goes in [".going.coast", ".gone.coast", "stale/.going.coast", "stale/going", "going"] {
            assert!(!place.exists(&format!("destination/{goes}")), "{goes}, late: {late}");
        }
    }
}

#[test]
fn however_deep_the_login_users_state_directory_is_it_is_taken_over_empty() {
    let place = Place::new();
    let state = place.leave_state_of_login();
    let name = Name::new(b"partial").unwrap();
    let mut dir = Root::open(&state).unwrap().handle();
    for _ in 0..25_000 {
        dir.mkdir(&name, 0o755).unwrap();
        dir = dir.child(&name).unwrap();
    }
    fs::write(state.join("cache"), "planted").unwrap();
    assert_eq!(place.sync_for_login().unwrap().exit_code(), 0);
    let meta = fs::metadata(&state).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o700));
    assert!(!state.join("partial").exists());
    assert_ne!(fs::read(state.join("cache")).unwrap(), b"planted");
}

#[test]
fn what_no_run_has_put_into_the_login_users_state_directory_is_not_removed() {
    let place = Place::new();
    let state = place.leave_state_of_login();
    fs::write(state.join("thesis"), "precious").unwrap();
    for _ in 0..2 {
        let error = place.sync_for_login().unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("thesis"), "{error}");
        assert_eq!(fs::metadata(&state).unwrap().uid(), LOGIN.uid, "it is not ours before it is empty");
    }
    assert!(state.join("thesis").exists() && state.join("cache").exists());
}

/// A file system mounted until this is dropped.
struct Mount(PathBuf);

impl Mount {
    /// None where nothing may be mounted.
    fn over(path: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(path).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

#[test]
fn what_could_not_be_emptied_is_not_trusted_by_the_next_run_either() {
    let place = Place::new();
    let state = place.leave_state_of_login();
    let partial = state.join("partial");
    fs::create_dir(&partial).unwrap();
    // A mount keeps it from being emptied.
    if let Some(_mount) = Mount::over(&partial) {
        for _ in 0..2 {
            let error = place.sync_for_login().unwrap_err();
            assert_eq!(error.exit_code(), 3, "{error}");
        }
    } else {
        // Containers may not mount; then it is as if a run had been ended in the middle.
        lchown(&state, Some(0), Some(0)).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o1700)).unwrap();
    }
    fs::write(state.join("cache"), "planted").unwrap();
    fs::write(partial.join("planted"), "planted").unwrap();
    assert_eq!(place.sync_for_login().unwrap().exit_code(), 0);
    assert!(!partial.exists());
    assert_ne!(fs::read(state.join("cache")).unwrap(), b"planted");
}

#[test]
fn a_state_directory_that_others_can_change_is_refused_where_the_file_system_keeps_modes() {
    let place = Place::new();
    place.sync();
    let state = place.path(".destination.coast");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o770)).unwrap();
    let error = place.sync_with(|_| {}, |_| {}, &VoidMonitor).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("others may write or read it"), "{error}");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    lchown(&state, Some(LOGIN.uid), None).unwrap();
    let error = place.sync_with(|_| {}, |_| {}, &VoidMonitor).unwrap_err();
    assert!(error.to_string().contains("it belongs to user"), "{error}");
    let left: Vec<_> =
        fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "what is made to find out about the file system is removed: {left:?}");
}
