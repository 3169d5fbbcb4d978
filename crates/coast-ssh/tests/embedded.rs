//! Sessions, channels and host keys over the embedded server.
#![allow(clippy::unwrap_used)]

mod support;

use coast_ssh::{
    AcceptedKey, ConnectOptions, ExitStatus, HostAnswer, HostKeyChange, IdentityUsed, KeyOutcome, NoPrompt,
    Session, SshError, Stage, Target, quote,
};
use coast_testkit::{EmbeddedOptions, EmbeddedServer, HostKeyKind, noise};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};
use support::{Script, options, target};
use tempfile::TempDir;

struct Fixture {
    home: TempDir,
    server: EmbeddedServer,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut EmbeddedOptions)) -> Fixture {
        let home = tempfile::tempdir().unwrap();
        let mut options = EmbeddedOptions::new(home.path());
        change(&mut options);
        Fixture { server: EmbeddedServer::start(options).unwrap(), home }
    }

    fn target(&self) -> Target {
        target(self.server.addr().port())
    }

    fn options(&self, overrides: &[(&str, &str)]) -> ConnectOptions {
        options(self.home.path(), self.server.client_key(), overrides)
    }

    fn connect(&self) -> Session {
        Session::connect(&self.target(), &self.options(&[]), &NoPrompt).unwrap()
    }

    fn known_hosts(&self) -> String {
        fs::read_to_string(self.home.path().join(".ssh/known_hosts")).unwrap_or_default()
    }
}

fn connect_error(target: &Target, options: &ConnectOptions, prompt: &Script) -> SshError {
    match Session::connect(target, options, prompt) {
        Ok(_) => panic!("it should not have connected"),
        Err(error) => error,
    }
}

#[test]
fn a_command_runs_with_its_output_its_errors_and_its_status() {
    let fixture = Fixture::new();
    let session = fixture.connect();
    let channel = session.exec(b"cat; echo problem >&2; exit 7").unwrap();
    let (mut reader, mut writer, status) = channel.split();
    writer.write_all(b"input").unwrap();
    writer.finish().unwrap();
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    assert_eq!(output, "input");
    assert_eq!(status.wait().unwrap(), ExitStatus::Code(7));
    assert_eq!(status.stderr(), b"problem\n");
}

#[test]
fn a_session_tells_which_key_the_host_proved_to_have_and_which_of_ours_it_took() {
    let fixture = Fixture::with(|options| options.host_keys = vec![HostKeyKind::EcdsaP256]);
    let session = fixture.connect();
    let peer = session.peer();
    assert_eq!(peer.host_key.openssh, fixture.server.host_keys()[0]);
    assert_eq!(peer.host_key.algorithm, "ecdsa-sha2-nistp256");
    assert!(fixture.known_hosts().contains(&peer.host_key.openssh));
    let key = IdentityUsed::File { path: fixture.server.client_key().to_owned(), encrypted: false };
    assert_eq!(peer.identity, key);
    assert_eq!((peer.user.as_str(), peer.host_name.as_str()), ("me", "127.0.0.1"));
    assert_eq!(peer.address, Some(fixture.server.addr()));
}

#[test]
fn a_killed_command_says_by_what() {
    let session = Fixture::new();
    let session = session.connect();
    let (_, status) = session.exec(b"kill -9 $$").unwrap().output().unwrap();
    assert!(matches!(status, ExitStatus::Signal(_)), "{status:?}");
}

#[test]
fn a_command_that_the_server_will_not_run_is_refused() {
    let fixture = Fixture::with(|options| options.shell = vec!["/no/such/shell".to_owned()]);
    let session = fixture.connect();
    let error = session.exec(b"true").unwrap().output().unwrap_err();
    assert!(matches!(error, SshError::ExecRefused { .. }), "{error:?}");
}

#[test]
fn only_the_end_of_standard_error_is_kept() {
    let session = Fixture::new();
    let session = session.connect();
    let (reader, writer, status) =
        session.exec(b"head -c 100000 /dev/zero >&2; echo end >&2").unwrap().split();
    drop((reader, writer));
    status.wait().unwrap();
    let stderr = status.stderr();
    assert_eq!(stderr.len(), 8 << 10);
    assert!(stderr.ends_with(b"\0end\n"));
}

#[test]
fn many_commands_run_at_once() {
    let fixture = Fixture::new();
    let session = fixture.connect();
    thread::scope(|scope| {
        for number in 0..8 {
            let session = &session;
            scope.spawn(move || {
                let command = format!("cat; echo {number}");
                let (output, status) = session.exec(command.as_bytes()).unwrap().output().unwrap();
                assert_eq!((output, status.success()), (format!("{number}\n").into_bytes(), true));
            });
        }
    });
}

#[test]
fn bytes_arrive_unchanged_both_ways() {
    let fixture = Fixture::new();
    let session = fixture.connect();
    let (mut reader, mut writer, status) = session.exec(b"cat").unwrap().split();
    let sent = noise(1, 48 << 20);
    let received = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).unwrap();
            received
        });
        // Pieces of every size, so that small writes, large writes and their borders all occur.
        let mut rest = sent.as_slice();
        for len in (1..).map(|n| n * n * 7 % 300_000 + 1) {
            let (piece, after) = rest.split_at(rest.len().min(len));
            writer.write_all(piece).unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        writer.finish().unwrap();
        reading.join().unwrap()
    });
    assert!(received == sent);
    assert!(status.wait().unwrap().success());
}

#[test]
fn writing_does_not_wait_for_reading() {
    let fixture = Fixture::new();
    let session = fixture.connect();
    // 24 MiB come in while 40 MiB go out, and nothing is read before all is written.
    let command = b"head -c 25165824 /dev/zero & wc -c >&2; wait";
    let (mut reader, mut writer, status) = session.exec(command).unwrap().split();
    writer.write_all(&vec![0; 40 << 20]).unwrap();
    writer.finish().unwrap();
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), 24 << 20);
    status.wait().unwrap();
    assert_eq!(String::from_utf8(status.stderr()).unwrap().trim(), (40 << 20).to_string());
}

#[test]
fn an_unread_channel_does_not_hold_up_another_once_its_reader_is_dropped() {
    let fixture = Fixture::new();
    let session = fixture.connect();
    let (reader, _writer, _status) = session.exec(b"cat /dev/zero").unwrap().split();
    drop(reader);
    let (output, _) = session.exec(b"head -c 67108864 /dev/zero").unwrap().output().unwrap();
    assert_eq!(output.len(), 64 << 20);
}

#[test]
fn dropping_the_channel_ends_the_commands_input() {
    let fixture = Fixture::new();
    let session = fixture.connect();
    let mut channel = session.exec(b"cat > got; mv got done").unwrap();
    channel.writer.write_all(b"last words").unwrap();
    drop(channel);
    let wait = b"while [ ! -e done ]; do :; done; cat done";
    let (output, _) = session.exec(wait).unwrap().output().unwrap();
    assert_eq!(output, b"last words");
}

#[test]
fn writing_to_a_command_that_has_ended_is_a_broken_pipe() {
    let fixture = Fixture::new();
    let session = fixture.connect();
    let (_reader, mut writer, status) = session.exec(b"exit 3").unwrap().split();
    assert_eq!(status.wait().unwrap(), ExitStatus::Code(3));
    let error = writer.write_all(&[0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_server_that_goes_away_is_noticed_by_reader_writer_and_waiter() {
    let Fixture { home, server } = Fixture::new();
    let options = options(home.path(), server.client_key(), &[]);
    let session = Session::connect(&target(server.addr().port()), &options, &NoPrompt).unwrap();
    let (mut reader, mut writer, status) = session.exec(b"echo ready; cat >/dev/null").unwrap().split();
    let mut ready = [0; 6];
    reader.read_exact(&mut ready).unwrap();
    drop(server);
    let error = reader.read(&mut ready).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    let carried = error.get_ref().and_then(|error| error.downcast_ref::<SshError>());
    assert!(matches!(carried, Some(SshError::ConnectionLost { .. })), "{error:?}");
    let error = writer.write_all(&[0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert!(matches!(status.wait(), Err(SshError::ConnectionLost { .. })));
    assert!(matches!(session.exec(b"true"), Err(SshError::ConnectionLost { .. })));
}

#[test]
fn a_closer_ends_the_connection_at_both_ends() {
    let fixture = Fixture::new();
    let session = fixture.connect();
    let (mut reader, _writer, status) = session.exec(b"echo ready; cat; echo > ended").unwrap().split();
    reader.read_exact(&mut [0; 6]).unwrap();
    let closer = session.closer();
    thread::scope(|scope| {
        let reading = scope.spawn(|| reader.read(&mut [0; 1]).unwrap_err());
        closer.close();
        assert_eq!(reading.join().unwrap().kind(), ErrorKind::ConnectionAborted);
    });
    assert!(matches!(status.wait(), Err(SshError::ConnectionLost { .. })));
    let other = fixture.connect();
    let (_, status) = other.exec(b"while [ ! -e ended ]; do :; done").unwrap().output().unwrap();
    assert!(status.success());
}

#[test]
fn a_new_host_key_is_accepted_said_recorded_and_known_from_then_on() {
    let fixture = Fixture::new();
    let prompt = Script::default();
    Session::connect(&fixture.target(), &fixture.options(&[]), &prompt).unwrap();
    let port = fixture.server.addr().port();
    let accepted = prompt.accepted.lock().unwrap().clone();
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    let AcceptedKey { presented, recorded, .. } = &accepted[0];
    assert_eq!(presented.host, format!("[127.0.0.1]:{port}"));
    assert!(presented.fingerprint.starts_with("SHA256:"), "{presented:?}");
    let known_hosts = fixture.home.path().join(".ssh/known_hosts");
    assert_eq!(recorded, &Some((known_hosts.clone(), Ok(()))));
    assert_eq!(
        accepted[0].to_string(),
        format!(
            "accepted the new host key of [127.0.0.1]:{port}, ssh-ed25519 {}, and recorded it in {}",
            presented.fingerprint,
            known_hosts.display()
        )
    );
    let line = format!("[127.0.0.1]:{port} {}\n", fixture.server.host_keys()[0].trim());
    assert_eq!(fixture.known_hosts(), line);

    let prompt = Script::default();
    let strict = fixture.options(&[("StrictHostKeyChecking", "yes")]);
    Session::connect(&fixture.target(), &strict, &prompt).unwrap();
    assert_eq!(*prompt.accepted.lock().unwrap(), []);
}

#[test]
fn a_recorded_name_is_hashed_when_the_configuration_says_so() {
    let fixture = Fixture::new();
    let hashed = [("HashKnownHosts", "yes")];
    Session::connect(&fixture.target(), &fixture.options(&hashed), &NoPrompt).unwrap();
    assert!(fixture.known_hosts().starts_with("|1|"), "{}", fixture.known_hosts());
    let strict = fixture.options(&[("StrictHostKeyChecking", "yes")]);
    Session::connect(&fixture.target(), &strict, &NoPrompt).unwrap();
}

#[test]
fn a_key_recorded_without_the_port_is_known() {
    let fixture =
        Fixture::with(|options| options.host_keys = vec![HostKeyKind::Ed25519, HostKeyKind::EcdsaP256]);
    let record = fixture.home.path().join("known");
    fs::write(&record, format!("127.0.0.1 {}\n", fixture.server.host_keys()[1])).unwrap();
    let known = ("UserKnownHostsFile", record.to_str().unwrap());
    let options = fixture.options(&[known, ("StrictHostKeyChecking", "yes")]);
    Session::connect(&fixture.target(), &options, &NoPrompt).unwrap();
}

#[test]
fn an_unknown_host_is_refused_or_asked_about_when_the_configuration_says_so() {
    let fixture = Fixture::new();
    let with = |policy| fixture.options(&[("StrictHostKeyChecking", policy)]);
    let prompt = Script::default();
    let error = connect_error(&fixture.target(), &with("yes"), &prompt);
    assert!(matches!(error, SshError::HostKeyUnknown { .. }), "{error:?}");
    let error = connect_error(&fixture.target(), &with("ask"), &prompt);
    let SshError::HostKeyUnknown { fingerprint, reason, .. } = &error else { panic!("{error:?}") };
    assert!(fingerprint.starts_with("SHA256:") && reason.contains("no terminal to ask on"), "{error}");
    let refusing = Script { answer: HostAnswer::Refuse, ..Script::default() };
    let error = connect_error(&fixture.target(), &with("ask"), &refusing);
    assert!(error.to_string().ends_with("and the user did not confirm it"), "{error}");
    assert_eq!(prompt.asked_about.lock().unwrap().len(), 1);
    assert_eq!(fixture.known_hosts(), "");

    let prompt = Script { answer: HostAnswer::Trust, ..Script::default() };
    Session::connect(&fixture.target(), &with("ask"), &prompt).unwrap();
    assert!(fixture.known_hosts().contains("ssh-ed25519"));
}

#[test]
fn a_changed_host_key_is_refused_with_both_fingerprints_and_the_line() {
    let before = Fixture::new();
    let now = Fixture::new();
    let alias = ("HostKeyAlias", "box");
    Session::connect(&before.target(), &before.options(&[alias]), &NoPrompt).unwrap();
    let record = before.home.path().join(".ssh/known_hosts");
    let file = ("UserKnownHostsFile", record.to_str().unwrap());

    let prompt = Script::default();
    let error = connect_error(&now.target(), &now.options(&[alias, file]), &prompt);
    let text = error.to_string();
    let SshError::HostKeyChanged(change) = error else { panic!("{text}") };
    let HostKeyChange { host, presented, recorded, line, file: found, .. } = *change;
    assert_eq!((host.as_str(), line, found), ("box", 1, record.clone()));
    assert!(
        presented.starts_with("SHA256:") && recorded.contains("SHA256:") && !recorded.contains(&presented)
    );
    assert!(text.contains(&format!("{}:1", record.display())), "{text}");
    assert_eq!(fs::read_to_string(&record).unwrap().lines().count(), 1);

    let lax = now.options(&[alias, file, ("StrictHostKeyChecking", "no")]);
    Session::connect(&now.target(), &lax, &prompt).unwrap();
    assert!(prompt.notices().iter().any(|notice| notice.contains("has changed")), "{:?}", prompt.notices());
}

#[test]
fn a_revoked_host_key_is_refused() {
    let fixture = Fixture::new();
    let record = fixture.home.path().join("known");
    fs::write(&record, format!("@revoked * {}\n", fixture.server.host_keys()[0])).unwrap();
    let options =
        fixture.options(&[("UserKnownHostsFile", record.to_str().unwrap()), ("StrictHostKeyChecking", "no")]);
    let error = connect_error(&fixture.target(), &options, &Script::default());
    assert!(matches!(error, SshError::HostKeyRevoked { line: 1, .. }), "{error:?}");
}

#[test]
fn a_host_with_several_keys_is_known_by_the_one_on_record() {
    for recorded in 0..2 {
        let fixture =
            Fixture::with(|options| options.host_keys = vec![HostKeyKind::Ed25519, HostKeyKind::EcdsaP256]);
        let record = fixture.home.path().join("known");
        fs::write(&record, format!("* {}\n", fixture.server.host_keys()[recorded])).unwrap();
        let options = fixture.options(&[("UserKnownHostsFile", record.to_str().unwrap())]);
        let prompt = Script::default();
        Session::connect(&fixture.target(), &options, &prompt).unwrap();
        assert_eq!(prompt.notices(), Vec::<String>::new());
    }
}

#[test]
fn a_wrong_key_is_named_with_what_became_of_it() {
    let fixture = Fixture::new();
    let other = Fixture::new();
    let mut options = fixture.options(&[]);
    options.identities = vec!["/absent".into(), other.server.client_key().to_owned(), "/dev/null".into()];
    let error = connect_error(&fixture.target(), &options, &Script::default());
    let text = error.to_string();
    let SshError::NoAcceptableKey { user, attempts, .. } = error else { panic!("{text}") };
    assert_eq!(user, "me");
    let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome.clone()).collect();
    assert!(
        matches!(outcomes.as_slice(), [KeyOutcome::Missing, KeyOutcome::Refused, KeyOutcome::Malformed(_)]),
        "{outcomes:?}"
    );
    assert!(text.contains("/absent: no such file") && text.contains("SHA256:"), "{text}");
    assert!(text.contains("as me: the server accepts none") && text.contains("authorized_keys"), "{text}");
}

#[test]
fn without_any_key_the_error_says_so() {
    let fixture = Fixture::new();
    let mut options = fixture.options(&[]);
    options.identities.clear();
    let error = connect_error(&fixture.target(), &options, &Script::default());
    assert!(error.to_string().contains("as me: there was no key to try; name one"), "{error}");
}

#[test]
fn a_dead_port_refuses() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = connect_error(&target(port), &options(home.path(), Path::new("k"), &[]), &Script::default());
    assert!(matches!(error, SshError::Refused { .. }), "{error:?}");
}

#[test]
fn an_unknown_name_is_not_found() {
    let home = tempfile::tempdir().unwrap();
    let target = Target::host("no-such-host.invalid");
    let error = connect_error(&target, &options(home.path(), Path::new("k"), &[]), &Script::default());
    assert!(matches!(error, SshError::Resolve { .. }), "{error:?}");
}

#[test]
fn a_host_that_accepts_and_says_nothing_times_out() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = options(home.path(), Path::new("k"), &[]);
    options.connect_timeout = Some(Duration::from_millis(300));
    let started = Instant::now();
    let error = connect_error(&target(port), &options, &Script::default());
    assert!(matches!(error, SshError::TimedOut { stage: Stage::Greeting, .. }), "{error:?}");
    assert!(error.to_string().contains("said nothing"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_host_that_stops_after_its_banner_times_out_in_the_key_exchange() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"SSH-2.0-stuck\r\n").unwrap();
        // Until the client has gone.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut options = options(home.path(), Path::new("k"), &[]);
    options.connect_timeout = Some(Duration::from_millis(500));
    let error = connect_error(&target(port), &options, &Script::default());
    assert!(matches!(error, SshError::TimedOut { stage: Stage::KeyExchange, .. }), "{error:?}");
    server.join().unwrap();
}

/// The error of a connection to a host that answers with `answer` and closes.
fn answered_with(answer: &'static [u8]) -> SshError {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Read first: closing with unread data would reset the connection.
        let mut hello = [0; 8];
        stream.read_exact(&mut hello).unwrap();
        stream.write_all(answer).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let error = connect_error(&target(port), &options(home.path(), Path::new("k"), &[]), &Script::default());
    server.join().unwrap();
    error
}

#[test]
fn a_server_of_another_kind_does_not_speak_ssh() {
    let page = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n\
        <html><head><title>400 Bad Request</title></head><body>A line long enough to be no greeting of any SSH \
        server, which may say at most 255 bytes in one line before it must come to the point, and this one does \
        not come to it at all, since it is a page for people to read.</body></html>";
    let error = answered_with(page);
    assert!(matches!(error, SshError::NotSsh { .. }), "{error:?}");
}

#[test]
fn a_host_that_closes_at_once_is_told() {
    let error = answered_with(b"");
    assert!(error.to_string().contains("before it said anything"), "{error}");
}

#[test]
fn a_dead_server_is_noticed_by_its_silence() {
    let fixture = Fixture::new();
    // A relay that can stop passing bytes on while its connections stay open.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = fixture.server.addr();
    let (frozen, freeze) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let upstream = TcpStream::connect(server).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut from, mut to) = (upstream, client);
        let mut buffer = [0; 4096];
        while freeze.try_recv().is_err() {
            let len = from.read(&mut buffer).unwrap();
            to.write_all(&buffer[..len]).unwrap();
        }
        // Hold the connection, and say nothing more.
        let _ = freeze.recv();
    });
    let options = fixture.options(&[("ServerAliveInterval", "1"), ("ServerAliveCountMax", "1")]);
    let session = Session::connect(&target(port), &options, &NoPrompt).unwrap();
    let (mut reader, _writer, _status) = session.exec(b"echo ready; cat").unwrap().split();
    reader.read_exact(&mut [0; 6]).unwrap();
    frozen.send(()).unwrap();
    let error = reader.read(&mut [0; 1]).unwrap_err();
    assert!(error.to_string().contains("no sign of life"), "{error}");
}

#[test]
fn the_way_leads_through_jump_hosts() {
    let gate = Fixture::with(|options| options.forwarding = true);
    let inner = Fixture::new();
    let (gate_port, inner_port) = (gate.server.addr().port(), inner.server.addr().port());
    let config = format!(
        "Host gate\n HostName 127.0.0.1\n Port {gate_port}\n IdentityFile {}\n\
         Host inner\n HostName 127.0.0.1\n Port {inner_port}\n IdentityFile {}\n ProxyJump gate\n\
         Host nowhere\n HostName 127.0.0.1\n Port 1\n ProxyJump gate\n\
         Host beyond\n HostName 127.0.0.1\n Port {inner_port}\n ProxyJump inner\n",
        gate.server.client_key().display(),
        inner.server.client_key().display(),
    );
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".ssh")).unwrap();
    fs::write(home.path().join(".ssh/config"), config).unwrap();
    let mut options = options(home.path(), Path::new("unused"), &[]);
    options.identities.clear();

    let prompt = Script::default();
    let session = Session::connect(&Target::host("inner"), &options, &prompt).unwrap();
    let accepted =
        prompt.accepted.lock().unwrap().iter().map(|key| key.presented.host.clone()).collect::<Vec<_>>();
    assert_eq!(
        accepted,
        [gate_port, inner_port].map(|port| format!("[127.0.0.1]:{port}")),
        "both keys are new"
    );
    let sent = noise(1, 8 << 20);
    let (mut reader, mut writer, _status) = session.exec(b"cat").unwrap().split();
    let received = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).unwrap();
            received
        });
        writer.write_all(&sent).unwrap();
        writer.finish().unwrap();
        reading.join().unwrap()
    });
    assert!(received == sent);

    let error = connect_error(&Target::host("nowhere"), &options, &prompt);
    assert!(error.to_string().contains("cannot connect there"), "{error}");
    // The inner host does not connect further.
    let error = connect_error(&Target::host("beyond"), &options, &prompt);
    assert!(error.to_string().contains("rohibited"), "{error}");
    drop(gate);
    let error = connect_error(&Target::host("inner"), &options, &prompt);
    assert!(matches!(error, SshError::Jump { .. }), "{error:?}");
}

#[test]
fn quoted_arguments_arrive_as_they_are() {
    let fixture = Fixture::new();
    let session = fixture.connect();
    let mut command = b"printf %s ".to_vec();
    command.extend(quote(b"it's \\ a \xff\n test"));
    let (output, _) = session.exec(&command).unwrap().output().unwrap();
    assert_eq!(output, b"it's \\ a \xff\n test");
}
