//! Questions to another machine over the embedded server, with `coast` itself as the helper.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use coast_ssh::embedded::{EmbeddedOptions, EmbeddedServer};
use coast_sync::{
    Cancel, ConnectOptions, Environment, HelperStore, IdentityUsed, NoPrompt, Platform, ProbeReport,
    ProbeRequest, RemoteDestination, RemoteHelper, RunsAs, Sudo, SyncError, Target,
};

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
    assert_eq!(report.connection.user, "dev");
    assert_eq!(
        (report.connection.host_name.as_str(), report.connection.port),
        ("127.0.0.1", machine.server.addr().port())
    );
    assert_eq!(report.connection.host_key.openssh, machine.server.host_keys()[0]);
    let key = IdentityUsed::File { path: machine.server.client_key().to_owned(), encrypted: false };
    assert_eq!(report.connection.identity, key);
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
