//! Channels that one process passes on to another. Here both are this process, with a socket between them.
#![allow(clippy::unwrap_used)]

mod support;

use coast_ssh::{ConnectOptions, ExitStatus, NoPrompt, Relay, RelayStream, Route, Session, SshError};
use coast_testkit::{EmbeddedOptions, EmbeddedServer, noise};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};
use support::{options, target};
use tempfile::TempDir;

struct Fixture {
    home: TempDir,
    server: EmbeddedServer,
    /// The connection that is shared.
    session: Arc<Session>,
    /// The channels that are being passed on.
    passing: Arc<AtomicUsize>,
}

/// The process with the connection.
struct Holder {
    session: Arc<Session>,
    passing: Arc<AtomicUsize>,
}

impl Relay for Holder {
    fn exec(&self, command: &[u8]) -> io::Result<RelayStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let channel = self.session.share().unwrap().exec(command).map_err(io::Error::other)?;
        let passing = Arc::clone(&self.passing);
        passing.fetch_add(1, Ordering::SeqCst);
        thread::spawn(move || {
            let _ = channel.pass_on(RelayStream { stream: ours, read_ahead: Vec::new() });
            passing.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(RelayStream { stream: theirs, read_ahead: Vec::new() })
    }
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut EmbeddedOptions)) -> Fixture {
        let home = tempfile::tempdir().unwrap();
        let mut embedded = EmbeddedOptions::new(home.path());
        change(&mut embedded);
        let server = EmbeddedServer::start(embedded).unwrap();
        let connect = options(home.path(), server.client_key(), &[]);
        let session = Session::connect(&target(server.addr().port()), &connect, &NoPrompt).unwrap();
        Fixture { home, server, session: Arc::new(session), passing: Arc::default() }
    }

    fn options(&self) -> ConnectOptions {
        options(self.home.path(), self.server.client_key(), &[])
    }

    /// A session over the shared connection.
    fn relayed(&self) -> Session {
        let holder = Holder { session: Arc::clone(&self.session), passing: Arc::clone(&self.passing) };
        Session::relayed(self.session.host(), self.session.peer().clone(), Box::new(holder))
    }

    /// Waits until no channel is passed on any more.
    fn wait_until_none_is_passed_on(&self) {
        while self.passing.load(Ordering::SeqCst) > 0 || self.session.other_users() > 0 {
            thread::yield_now();
        }
    }
}

#[test]
fn a_command_has_its_output_its_errors_and_its_status() {
    let fixture = Fixture::new();
    let session = fixture.relayed();
    let (mut reader, mut writer, status) = session.exec(b"cat; echo problem >&2; exit 7").unwrap().split();
    writer.write_all(b"input").unwrap();
    writer.finish().unwrap();
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    assert_eq!(output, "input");
    assert_eq!(status.wait().unwrap(), ExitStatus::Code(7));
    assert_eq!(status.stderr(), b"problem\n");
    assert_eq!((session.host(), session.peer()), (fixture.session.host(), fixture.session.peer()));
    let (_, killed) = session.exec(b"kill -9 $$").unwrap().output().unwrap();
    assert!(matches!(killed, ExitStatus::Signal(_)), "{killed:?}");
    fixture.wait_until_none_is_passed_on();
}

#[test]
fn much_data_goes_both_ways_on_several_channels_at_once() {
    let fixture = Fixture::new();
    let session = fixture.relayed();
    thread::scope(|scope| {
        for number in 0..3 {
            let session = &session;
            scope.spawn(move || {
                let data = noise(number, 20 << 20);
                let (mut reader, mut writer, status) = session.exec(b"cat").unwrap().split();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        writer.write_all(&data).unwrap();
                        writer.finish().unwrap();
                    });
                    let mut back = Vec::new();
                    reader.read_to_end(&mut back).unwrap();
                    assert!(back == data);
                });
                assert!(status.wait().unwrap().success());
            });
        }
    });
    fixture.wait_until_none_is_passed_on();
}

#[test]
fn a_command_that_nobody_reads_from_holds_up_no_other() {
    let fixture = Fixture::new();
    let session = fixture.relayed();
    // More than fits into the socket, and less than shuts the gate of the connection.
    let silent = session.exec(b"head -c 4000000 /dev/zero; cat").unwrap();
    let (output, status) = session.exec(b"echo through").unwrap().output().unwrap();
    assert_eq!((output.as_slice(), status.success()), (b"through\n".as_slice(), true));
    let (mut reader, mut writer, _status) = silent.split();
    writer.finish().unwrap();
    assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), 4_000_000);
}

#[test]
fn a_refused_command_and_a_lost_connection_are_told_as_such() {
    let fixture = Fixture::with(|options| options.shell = vec!["/no/such/shell".to_owned()]);
    let error = fixture.relayed().exec(b"true").unwrap().output().unwrap_err();
    assert!(matches!(error, SshError::ExecRefused { .. }), "{error:?}");

    let fixture = Fixture::new();
    let (mut reader, _writer, status) = fixture.relayed().exec(b"echo on; sleep 600").unwrap().split();
    let mut on = [0; 3];
    reader.read_exact(&mut on).unwrap();
    fixture.session.closer().close();
    assert_eq!(reader.read(&mut on).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    let error = status.wait().unwrap_err().to_string();
    assert!(error.contains("closed from this side"), "{error}");
}

#[test]
fn closing_a_session_ends_its_commands_and_not_the_connection() {
    let fixture = Fixture::new();
    let closed = fixture.relayed();
    let (mut reader, mut writer, _status) = closed.exec(b"echo on; sleep 600").unwrap().split();
    let mut on = [0; 3];
    reader.read_exact(&mut on).unwrap();
    closed.closer().close();
    assert!(reader.read(&mut on).is_err());
    assert!(writer.write_all(&[0; 100_000]).is_err());
    assert!(closed.exec(b"true").is_err());
    drop((reader, writer, _status));
    fixture.wait_until_none_is_passed_on();

    // The same for two sessions of the process with the connection.
    let (one, other) = (fixture.session.share().unwrap(), fixture.session.share().unwrap());
    let (mut reader, _writer, _status) = one.exec(b"echo on; sleep 600").unwrap().split();
    reader.read_exact(&mut on).unwrap();
    one.closer().close();
    assert_eq!(reader.read(&mut on).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert!(one.lost().is_some() && other.lost().is_none());
    assert_eq!(other.exec(b"echo on").unwrap().output().unwrap().0, b"on\n");
}

#[test]
fn a_command_whose_client_is_killed_ends() {
    let fixture = Fixture::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let channel = fixture.session.share().unwrap().exec(b"echo $$; exec cat").unwrap();
    let passed = thread::spawn(move || channel.pass_on(RelayStream { stream: ours, read_ahead: Vec::new() }));
    // One frame: its kind, its length, and a line with the process of the command.
    let mut head = [0; 5];
    (&theirs).read_exact(&mut head).unwrap();
    assert_eq!(&head[..4], b"o\0\0\0");
    let mut line = vec![0; head[4].into()];
    (&theirs).read_exact(&mut line).unwrap();
    let process = Path::new("/proc").join(std::str::from_utf8(&line).unwrap().trim());
    assert!(process.exists());
    drop(theirs);
    let _ = passed.join().unwrap();
    fixture.wait_until_none_is_passed_on();
    while process.exists() {
        thread::yield_now();
    }
}

#[test]
fn a_channel_that_is_open_already_is_used_for_the_next_command() {
    let fixture = Fixture::new();
    fixture.session.open_ahead(Duration::from_secs(20)).unwrap();
    assert_eq!(fixture.session.other_users(), 0);
    let share = fixture.session.share().unwrap();
    assert_eq!(share.exec(b"echo on").unwrap().output().unwrap().0, b"on\n");
    drop(share);
    fixture.wait_until_none_is_passed_on();
}

#[test]
fn a_host_key_that_was_taken_off_the_record_is_noticed() {
    let fixture = Fixture::new();
    assert!(fixture.session.is_on_record());
    let known = fixture.home.path().join(".ssh/known_hosts");
    let line = fs::read_to_string(&known).unwrap();
    fs::write(&known, "").unwrap();
    assert!(!fixture.session.is_on_record());
    fs::write(&known, format!("@revoked {line}")).unwrap();
    assert!(!fixture.session.is_on_record());
    fs::write(&known, line).unwrap();
    assert!(fixture.session.is_on_record());
}

#[test]
fn routes_may_share_a_connection_only_with_the_same_settings() {
    let fixture = Fixture::new();
    let target = target(fixture.server.addr().port());
    let route = |options: &ConnectOptions| Route::of(&target, options).unwrap().shared();
    let plain = route(&fixture.options());
    assert_eq!(plain, route(&fixture.options()));
    let mut asks = fixture.options();
    asks.overrides.push(("StrictHostKeyChecking".to_owned(), "ask".to_owned()));
    asks.connect_timeout = Some(Duration::from_secs(1));
    assert_eq!(plain, route(&asks), "a shared connection asks nothing anyway");
    for (name, value) in [
        ("User", "other"),
        ("IdentityAgent", "/run/agent"),
        ("IdentitiesOnly", "yes"),
        ("UserKnownHostsFile", "/dev/null"),
        ("HostKeyAlias", "other"),
        ("BindAddress", "127.0.0.1"),
        ("ProxyJump", "jump"),
    ] {
        let mut other = fixture.options();
        other.overrides.push((name.to_owned(), value.to_owned()));
        assert_ne!(plain, route(&other), "{name}");
    }
    let mut other = fixture.options();
    other.identities.push("/other/key".into());
    assert_ne!(plain, route(&other));

    let text = serde_json::to_string(&plain).unwrap();
    assert_eq!(serde_json::from_str::<Route>(&text).unwrap(), plain);
}

#[test]
fn a_shared_route_accepts_no_new_host_key() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.home.path().join(".ssh/known_hosts")).unwrap();
    let route = Route::of(&target(fixture.server.addr().port()), &fixture.options()).unwrap();
    let error = Session::connect_by(&route.clone().shared(), &NoPrompt).unwrap_err();
    assert!(matches!(error, SshError::HostKeyUnknown { .. }), "{error:?}");
    Session::connect_by(&route, &NoPrompt).unwrap();
    Session::connect_by(&route.shared(), &NoPrompt).unwrap();
}
