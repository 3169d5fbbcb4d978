//! Connections that stay warm for other commands.

use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coast_tests::{InTerminal, Program, Remote, Shell, Sudo, Tree};
use rustix::process::Signal;
use serde_json::Value;

use super::{Daemon, curl, kill};

/// A way to a server that counts the connections made through it.
struct Counter {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Counter {
    fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let client = client.expect("a connection was made");
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                for (mut from, mut to) in [(&client, &server), (&server, &client)]
                    .map(|(from, to)| (from.try_clone().expect("room"), to.try_clone().expect("room")))
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { port, connections }
    }

    fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A remote behind a counter, with a tree to push.
struct Counted {
    remote: Remote,
    counter: Counter,
}

impl Counted {
    fn new() -> Self {
        let remote = Remote::with(&Shell::Bash, Sudo::Never);
        Tree::new().file("hello", "hello").build(remote.path("src"));
        let counter = Counter::before(remote.sshd().port());
        Self { remote, counter }
    }

    fn push(&self, arguments: &[&str]) -> Program {
        let push = self.remote.sandbox().coast(["push", "-p"]).arg(self.counter.port.to_string());
        let push = push.arg("-i").arg(self.remote.key()).args(arguments);
        push.arg(self.remote.path("src")).arg(self.remote.target("space"))
    }

    /// Pushes, and returns the number of connections that this made.
    #[track_caller]
    fn pushed_with(&self, push: &Program) -> usize {
        let before = self.counter.count();
        push.run().assert_code(0).assert_says("0 files sent").assert_does_not_say("coastd");
        self.counter.count() - before
    }

    /// Pushes once, and waits until the daemon has a connection of its own.
    fn warmed_up(&self) -> Daemon<'_> {
        let daemon = Daemon::of(self.remote.sandbox()).start();
        self.push(&[]).run().assert_code(0);
        wait_until_connected(&daemon);
        assert_eq!(self.counter.count(), 2);
        daemon
    }

    fn known_hosts(&self) -> PathBuf {
        self.remote.path("home/.ssh/known_hosts")
    }
}

/// The state of the daemon's connection to the only remote.
fn connection(daemon: &Daemon<'_>) -> Value {
    daemon.status()["remotes"][0].clone()
}

fn wait_until_connected(daemon: &Daemon<'_>) {
    while connection(daemon)["state"] != "connected" {}
}

#[test]
fn a_push_uses_the_connection_of_the_daemon() {
    let counted = Counted::new();
    let daemon = counted.warmed_up();
    assert_eq!(counted.pushed_with(&counted.push(&[])), 0);
    let own = counted.remote.account().name();
    daemon.run(&["status"]).assert_says(&format!("{own}@127.0.0.1:{}: connected", counted.counter.port));

    // Much data, a helper that has to be uploaded, deletions, and entries that cannot be read.
    let noise = coast_tests::noise(1, 30 << 20);
    Tree::new().file("large", noise.clone()).file("deep/er/file", "x").build(counted.remote.path("src"));
    let home = counted.remote.account().home().to_owned();
    fs::remove_dir_all(home.join(".cache/coast")).expect("the helper was there");
    let before = counted.counter.count();
    counted.push(&[]).run().assert_code(0);
    assert!(fs::read(home.join("space/large")).expect("it arrived") == noise);
    fs::remove_file(counted.remote.path("src/large")).expect("the sandbox is ours");
    counted.push(&[]).run().assert_code(0);
    assert!(!home.join("space/large").exists() && home.join("space/deep/er/file").exists());
    counted.push(&["--sudo=always"]).run().assert_code(255).assert_says("sudo");
    assert_eq!(counted.counter.count(), before);

    // A command that goes alone.
    assert_eq!(counted.pushed_with(&counted.push(&["--no-daemon"])), 1);
    assert_eq!(counted.pushed_with(&counted.push(&[]).env("COAST_NO_DAEMON", "1")), 1);
    assert_eq!(counted.pushed_with(&counted.push(&[]).env("COAST_NO_DAEMON", "0")), 0);
    daemon.run(&["stop"]).assert_code(0);
    assert_eq!(counted.pushed_with(&counted.push(&[])), 1);
    daemon.run(&["status"]).assert_code(3);
}

#[test]
fn several_commands_use_one_connection_at_once() {
    let counted = Counted::new();
    let daemon = counted.warmed_up();
    let running: Vec<_> = (0..4)
        .map(|number| {
            let push = counted.remote.sandbox().coast(["push", "-p"]).arg(counted.counter.port.to_string());
            let push = push.arg("-i").arg(counted.remote.key()).arg(counted.remote.path("src"));
            push.arg(counted.remote.target(format!("space-{number}"))).start()
        })
        .collect();
    running.into_iter().for_each(|push| {
        push.wait().assert_code(0);
    });
    assert_eq!(counted.counter.count(), 2);
    wait_until_connected(&daemon);
}

#[test]
fn a_changed_configuration_and_a_forgotten_host_key_go_past_the_connection() {
    let counted = Counted::new();
    let daemon = counted.warmed_up();
    // Other settings are another connection.
    assert_eq!(counted.pushed_with(&counted.push(&["-o", "IdentitiesOnly=yes", "--no-daemon"])), 1);
    let before = counted.counter.count();
    fs::write(counted.remote.path("home/.ssh/config"), "Host *\n  IdentitiesOnly yes\n").expect("it is ours");
    counted.push(&[]).run().assert_code(0);
    while counted.counter.count() < before + 2 {}
    fs::remove_file(counted.remote.path("home/.ssh/config")).expect("it is ours");
    assert_eq!(counted.pushed_with(&counted.push(&[])), 0);

    // A host that is no longer known is met anew, with the usual message.
    fs::remove_file(counted.known_hosts()).expect("it is ours");
    let before = counted.counter.count();
    counted.push(&[]).run().assert_code(0).assert_says("SHA256:");
    assert!(counted.counter.count() > before);
    daemon.run(&["logs"]).assert_says("no longer on record");

    // A host whose key has changed is refused, although there is a connection to the old one.
    wait_until_connected(&daemon);
    while connection(&daemon)["state"] != "connected" {}
    coast_tests::make_key(counted.remote.path("other"), &[]);
    let other = coast_tests::public_key(counted.remote.path("other"));
    fs::write(counted.known_hosts(), format!("[127.0.0.1]:{} {other}\n", counted.counter.port))
        .expect("it is ours");
    counted.push(&[]).run().assert_code(255).assert_says("changed");
}

#[test]
fn a_host_that_is_not_recorded_gets_no_connection() {
    let counted = Counted::new();
    let daemon = Daemon::of(counted.remote.sandbox()).start();
    let unrecorded = counted.push(&["-o", "UserKnownHostsFile=/dev/null"]);
    unrecorded.run().assert_code(0).assert_says("SHA256:");
    while connection(&daemon)["state"] != "failed" {}
    unrecorded.run().assert_code(0).assert_says("SHA256:");
    daemon.run(&["status"]).assert_says("no connection").assert_says("is not known");
}

#[test]
fn the_end_of_the_daemon_or_of_its_connection_stops_no_command() {
    let counted = Counted::new();
    let daemon = counted.warmed_up();
    // The command under way is waited for.
    Tree::new().file("large", coast_tests::noise(1, 4 << 20)).build(counted.remote.path("src"));
    let push = counted.push(&["--bwlimit=1500k", "--no-delete"]).start();
    while connection(&daemon)["users"] != 1 {}
    daemon.run(&["stop"]).assert_code(0);
    push.wait().assert_code(0);
    assert_eq!(counted.counter.count(), 2);

    // A daemon that is killed breaks the command that used it, and no other.
    daemon.run(&["start"]).assert_code(0);
    counted.push(&[]).run().assert_code(0);
    wait_until_connected(&daemon);
    fs::write(counted.remote.path("src/large"), coast_tests::noise(2, 8 << 20)).expect("the sandbox is ours");
    let push = counted.push(&["--bwlimit=1500k"]).start();
    while connection(&daemon)["users"] != 1 {}
    kill(daemon.pid());
    push.wait().assert_code(12).assert_says("coastd, which had it, ended");
    counted.push(&[]).run().assert_code(0);
}

#[test]
fn a_connection_that_nobody_uses_is_closed() {
    let counted = Counted::new();
    let daemon = Daemon::of(counted.remote.sandbox());
    let running = daemon.coast(&["run", "--keep-connections", "1"]).start();
    while daemon.run(&["status"]).code() == 3 {}
    counted.push(&[]).run().assert_code(0);
    // It may be closed before the status shows it.
    while !daemon.run(&["logs"]).text().contains("it was idle for 1 s") {}
    assert_eq!(connection(&daemon), Value::Null);
    running.signal(Signal::TERM);
    running.wait().assert_code(0).assert_says("connected to 127.0.0.1");
}

#[test]
fn a_passphrase_is_kept_in_memory_for_the_connections_of_the_daemon() {
    let counted = Counted::new();
    let (key, phrase) = (counted.remote.path("locked"), "mellon-7");
    coast_tests::make_key(&key, &["-N", phrase]);
    counted.remote.account().authorize(counted.remote.path("locked.pub"));
    let push = counted.remote.sandbox().coast(["push", "-p"]).arg(counted.counter.port.to_string());
    let push = push.arg("-i").arg(&key).arg(counted.remote.path("src")).arg(counted.remote.target("space"));
    let daemon = Daemon::of(counted.remote.sandbox()).start();
    let typed = || {
        let mut terminal = InTerminal::start(&push);
        terminal.wait_for("Passphrase for");
        terminal.type_in(&format!("{phrase}\n"));
        let (code, shown) = terminal.wait();
        assert_eq!(code, 0, "{shown}");
    };
    typed();
    while connection(&daemon)["state"] != "failed" {}
    daemon.run(&["status"]).assert_says("passphrase");

    // After a restart, since a route that failed is not tried again at once.
    daemon.run(&["restart"]).assert_code(0);
    let body =
        serde_json::json!({ "key": key.to_str().expect("it is text"), "passphrase": phrase }).to_string();
    let keep =
        curl(counted.remote.sandbox(), &daemon.socket(), &["--fail", "http://coastd/v1/passphrases", "-d"]);
    keep.arg(body).run().assert_code(0);
    typed();
    wait_until_connected(&daemon);
    push.run().assert_code(0);
    daemon.run(&["logs"]).assert_does_not_say(phrase);
}
