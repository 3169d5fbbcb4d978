//! Questions to another machine, and runs that are restricted to some paths, over the embedded server, with `coast` itself
//! as the helper.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use coast_sync::{
    CachePlace, Cancel, ConnectOptions, Environment, HelperStore, IdentityUsed, NoPrompt, Platform,
    ProbeReport, ProbeRequest, RemoteDestination, RemoteHelper, RemoveReport, RemoveRequest, RunsAs, Sudo,
    SyncError, SyncRequest, Target, VoidMonitor,
};
use coast_testkit::{EmbeddedOptions, EmbeddedServer};

/// A server whose machine is this one, below a directory of its own.
struct Machine {
    scratch: tempfile::TempDir,
    server: EmbeddedServer,
}

impl Machine {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["remote", "client"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        let server = EmbeddedServer::start(EmbeddedOptions::new(scratch.path().join("remote"))).unwrap();
        Self { scratch, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join("remote").join(name)
    }

    fn destination(&self, path: impl AsRef<Path>) -> RemoteDestination {
        let mut helpers = HelperStore::empty();
        helpers.add_file(Platform::of_this_program().unwrap(), env!("CARGO_BIN_EXE_coast"));
        let target =
            Target { user: None, host: "127.0.0.1".to_owned(), port: Some(self.server.addr().port()) };
        RemoteDestination::new(target, path.as_ref())
            .connect(ConnectOptions {
                identities: vec![self.server.client_key().to_owned()],
                environment: Environment::isolated(self.scratch.path().join("client"), "dev"),
                ..ConnectOptions::default()
            })
            .sudo(Sudo::Never)
            .helper(RemoteHelper::Deployed(helpers))
    }

    /// Brings a small workspace to `path`, and gives what is there then.
    fn push(&self, path: impl AsRef<Path>) -> PathBuf {
        let source = self.scratch.path().join("source");
        fs::create_dir_all(source.join("src")).unwrap();
        fs::write(source.join("src/main.rs"), "fn main() {}").unwrap();
        let request = SyncRequest::push(&source, self.destination(&path)).unwrap().cache(CachePlace::Nowhere);
        request.run(&VoidMonitor, &NoPrompt, &Cancel::new()).unwrap();
        self.path("").join(path)
    }

    fn remove(&self, path: impl AsRef<Path>) -> Result<RemoveReport, SyncError> {
        RemoveRequest::new(self.destination(path)).run(&NoPrompt, &|_| {}, &Cancel::new())
    }

    fn probe(&self, path: impl AsRef<Path>) -> Result<ProbeReport, SyncError> {
        ProbeRequest::new(self.destination(path)).run(&NoPrompt, &Cancel::new())
    }
}

#[test]
fn a_probe_tells_how_the_machine_was_reached_and_what_there_is() {
    let machine = Machine::new();
    let report = machine.probe(machine.path("data/workspaces/p/i")).unwrap();
    assert!(report.connection.uploaded_helper);
    assert_eq!(report.connection.runs_as, RunsAs::User);
    assert_eq!(report.connection.peer.user, "dev");
    assert_eq!(
        (report.connection.peer.host_name.as_str(), report.connection.peer.port),
        ("127.0.0.1", machine.server.addr().port())
    );
    assert_eq!(report.connection.peer.host_key.openssh, machine.server.host_keys()[0]);
    let key = IdentityUsed::File { path: machine.server.client_key().to_owned(), encrypted: false };
    assert_eq!(report.connection.peer.identity, key);
    assert_eq!((report.os.as_str(), report.arch.as_str()), ("linux", std::env::consts::ARCH));
    assert_eq!(report.helper_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (report.directory.as_path(), report.exists),
        (machine.path("").parent().unwrap().join("remote").as_path(), false)
    );
    assert!(report.free_bytes > 0 && report.free_bytes <= report.total_bytes);
    assert!(report.writable && report.unwritable_because.is_none());

    // Nothing was made but for the helper, which is there now.
    let names: Vec<_> =
        fs::read_dir(machine.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "data"), "{names:?}");
    let again = machine.probe("").unwrap();
    assert!(!again.connection.uploaded_helper && again.exists);
    assert_eq!(again.directory, machine.path("").canonicalize().unwrap());
}

#[test]
fn a_probe_of_what_is_no_directory_says_so() {
    let machine = Machine::new();
    fs::write(machine.path("file"), "").unwrap();
    let error = machine.probe(machine.path("file/p/i")).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_cancelled_probe_is_interrupted() {
    let machine = Machine::new();
    let cancel = Cancel::new();
    cancel.cancel();
    let error = ProbeRequest::new(machine.destination("x")).run(&NoPrompt, &cancel).unwrap_err();
    assert!(matches!(error, SyncError::Interrupted), "{error}");
}

#[test]
fn a_workspace_is_removed_and_nothing_else() {
    let machine = Machine::new();
    let (workspace, sibling) = (machine.push("data/w/p/i"), machine.push("data/w/p/other"));
    let report = machine.remove("data/w/p/i").unwrap();
    assert_eq!((report.existed, report.removed_entries, report.is_complete()), (true, 3, true));
    assert!(!report.connection.uploaded_helper);
    let left: Vec<_> =
        fs::read_dir(workspace.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() == 2 && sibling.join("src/main.rs").exists(), "the other one and its state: {left:?}");

    let again = machine.remove("data/w/p/i").unwrap();
    assert_eq!((again.existed, again.removed_entries), (false, 0));
    machine.push("data/w/p/i");
    assert!(workspace.join("src/main.rs").exists());
}

#[test]
fn what_is_never_removed_is_refused_with_a_reason() {
    let machine = Machine::new();
    machine.push("data/w/p/i");
    fs::create_dir_all(machine.path("else/where")).unwrap();
    for (path, reason) in [
        ("/".to_owned(), "deep"),
        ("/data".to_owned(), "deep"),
        (machine.path("").display().to_string(), "home"),
        (machine.path("").parent().unwrap().display().to_string(), "home"),
        ("data/w/p/../../w".to_owned(), ".."),
        ("data/w".to_owned(), ".w.coast"),
        ("else".to_owned(), ".else.coast"),
    ] {
        let error = machine.remove(&path).unwrap_err();
        assert!(error.is_refused() && error.to_string().contains(reason), "{path}: {error}");
    }
    assert!(machine.path("data/w/p/i/src/main.rs").exists() && machine.path("else/where").exists());
}

#[test]
fn a_workspace_under_a_run_is_busy() {
    let machine = Machine::new();
    let workspace = machine.push("data/w/p/i");
    let lock = fs::File::open(workspace.with_file_name(".i.coast").join("lock")).unwrap();
    lock.lock().unwrap();
    let error = machine.remove("data/w/p/i").unwrap_err();
    assert!(error.is_busy() && error.to_string().contains("another run works on"), "{error}");
    drop(lock);
    assert!(machine.remove("data/w/p/i").unwrap().is_complete());
}

#[test]
fn a_removal_stops_when_nobody_waits_for_it_and_is_finished_by_the_next() {
    let machine = Machine::new();
    let workspace = machine.push("data/w/p/i");
    for number in 0..30_000 {
        fs::write(workspace.join(format!("src/{number}")), "").unwrap();
    }
    let left = || fs::read_dir(workspace.join("src")).map_or(0, Iterator::count);
    let before = left();
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let request = RemoveRequest::new(machine.destination("data/w/p/i"));
        let removing = scope.spawn(|| request.run(&NoPrompt, &|_| {}, &cancel));
        while left() == before && !removing.is_finished() {
            std::thread::yield_now();
        }
        cancel.cancel();
        assert!(matches!(removing.join().unwrap(), Err(SyncError::Interrupted)));
    });
    // The helper may still be on its way out, and holds the lock until then.
    let report = loop {
        match machine.remove("data/w/p/i") {
            Err(error) if error.is_busy() => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    assert!(report.is_complete() && report.existed);
    assert!(!workspace.exists() && !workspace.with_file_name(".i.coast").exists());
}

#[test]
fn a_run_that_is_restricted_to_some_paths_leaves_all_else_and_what_is_known_of_it() {
    let machine = Machine::new();
    let workspace = machine.push("data/w/p/i");
    let source = machine.scratch.path().join("source");
    let cache = fs::read(workspace.with_file_name(".i.coast").join("cache")).unwrap();
    for name in ["a[1]", "a1", "src/main.rs"] {
        fs::write(source.join(name), "new").unwrap();
    }
    for name in ["gone", "extra"] {
        fs::write(workspace.join(name), "there").unwrap();
    }
    let request = SyncRequest::push(&source, machine.destination("data/w/p/i")).unwrap();
    let request = request.cache(CachePlace::Nowhere).only(["a[1]", "gone"]).unwrap();
    let report = request.run(&VoidMonitor, &NoPrompt, &Cancel::new()).unwrap();
    assert_eq!((report.run.receiver.transferred_files, report.run.receiver.deleted), (1, 1));
    assert!(workspace.join("a[1]").exists() && !workspace.join("gone").exists());
    assert!(workspace.join("extra").exists() && !workspace.join("a1").exists());
    assert_eq!(fs::read_to_string(workspace.join("src/main.rs")).unwrap(), "fn main() {}");
    assert!(fs::read(workspace.with_file_name(".i.coast").join("cache")).unwrap() == cache);
}
