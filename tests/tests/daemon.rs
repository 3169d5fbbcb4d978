//! coastd: one for each user, on a socket that nobody else can use, and connections that stay warm.

use std::fs::{self, Permissions};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coast_tests::{
    Account, InTerminal, Mount, Outcome, Program, Remote, Sandbox, Shell, Sudo, Tree, require,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The daemon of a sandbox. It is killed when dropped.
struct Daemon<'a> {
    sandbox: &'a Sandbox,
    runtime: Option<PathBuf>,
}

impl<'a> Daemon<'a> {
    /// A daemon that is not started yet, without a runtime directory.
    fn of(sandbox: &'a Sandbox) -> Self {
        Self { sandbox, runtime: None }
    }

    /// `coast daemon` with these arguments.
    fn coast(&self, arguments: &[&str]) -> Program {
        let program = self.sandbox.coast(["daemon"]).args(arguments);
        match &self.runtime {
            Some(runtime) => program.env("XDG_RUNTIME_DIR", runtime),
            None => program,
        }
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.coast(arguments).run()
    }

    fn start(self) -> Self {
        self.run(&["start"]).assert_code(0);
        self
    }

    fn status(&self) -> Value {
        let outcome = self.run(&["status", "--json"]);
        outcome.assert_code(0);
        serde_json::from_slice(&outcome.stdout).expect("it prints JSON")
    }

    fn pid(&self) -> u64 {
        self.status()["pid"].as_u64().expect("a daemon has a process")
    }

    fn socket(&self) -> PathBuf {
        self.status()["socket"].as_str().expect("the path is text").into()
    }

    /// The directory of its lock and its log.
    fn files(&self) -> PathBuf {
        self.sandbox.path("home/.local/state/coast/.daemon")
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let running = fs::read(self.files().join("lock")).ok();
        let running: Option<Value> = running.and_then(|text| serde_json::from_slice(&text).ok());
        let pid = running.and_then(|running| running["pid"].as_i64());
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            // The number may be that of a process that ended.
            let program = fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()));
            if program.is_ok_and(|program| program.ends_with("coast")) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Kills the daemon as a crash would.
fn kill(pid: u64) {
    let raw = i32::try_from(pid).expect("it is the number of a process");
    kill_process(Pid::from_raw(raw).expect("it is not 0"), Signal::KILL).expect("it runs");
    // `coast daemon start` waits for no process, so the test waits for the end of this one.
    let proc = PathBuf::from(format!("/proc/{pid}/exe"));
    while fs::read_link(&proc).is_ok() {
        std::thread::yield_now();
    }
}

/// `curl --unix-socket SOCKET` with these arguments.
fn curl(sandbox: &Sandbox, socket: &Path, arguments: &[&str]) -> Program {
    let program = sandbox.program(require("curl", "curl")).args(["-sS", "--max-time", "20", "--unix-socket"]);
    program.arg(socket).args(arguments)
}

#[test]
fn a_daemon_is_started_once_and_ends() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::of(&sandbox);
    daemon.run(&["status"]).assert_code(3).assert_says("does not run");
    daemon.run(&["logs"]).assert_code(3).assert_says("no log");
    daemon.run(&["stop"]).assert_code(0).assert_says("did not run");
    let daemon = daemon.start();
    let pid = daemon.pid();
    daemon.run(&["start"]).assert_code(0).assert_says(&format!("already, as process {pid}"));
    daemon.run(&["run"]).assert_code(3).assert_says(&format!("already, as process {pid}"));
    daemon.run(&["status"]).assert_code(0).assert_says("runs").assert_says("memory");
    daemon.run(&["logs"]).assert_code(0).assert_says("listening on");
    daemon.run(&["restart"]).assert_code(0);
    assert_ne!(daemon.pid(), pid);
    let socket = daemon.socket();
    daemon.run(&["stop"]).assert_code(0).assert_says("has ended");
    assert!(!socket.exists());
    daemon.run(&["status", "--json"]).assert_code(3).assert_says("\"exit_code\":3");
}

#[test]
fn a_started_daemon_keeps_nothing_of_the_command_that_started_it() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::of(&sandbox);
    // A script that holds a lock: a daemon that kept descriptor 9 would hold the lock, too.
    let script = format!("exec 9>held && {}", daemon.coast(&["start"]).command_line());
    sandbox.program("sh").args(["-c", &script]).run().assert_code(0);
    let proc = PathBuf::from(format!("/proc/{}", daemon.pid()));
    let open: Vec<PathBuf> = fs::read_dir(proc.join("fd"))
        .expect("it runs")
        .filter_map(|entry| fs::read_link(entry.expect("it can be listed").path()).ok())
        .collect();
    assert!(!open.contains(&sandbox.path("held")), "{open:?}");
    assert_eq!(open.iter().filter(|path| path.ends_with("dev/null")).count(), 3, "{open:?}");
    assert_eq!(fs::read_link(proc.join("cwd")).expect("it runs"), Path::new("/"));
    let stat = fs::read_to_string(proc.join("stat")).expect("it runs");
    let session = stat.rsplit(") ").next().expect("the name is in brackets").split(' ').nth(3);
    assert_eq!(session, Some(daemon.pid().to_string().as_str()));
}

#[test]
fn a_killed_daemon_is_replaced_with_its_socket() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::of(&sandbox).start();
    let (pid, socket) = (daemon.pid(), daemon.socket());
    kill(pid);
    assert!(socket.exists(), "a killed daemon leaves its socket behind");
    daemon.run(&["status"]).assert_code(3);
    daemon.run(&["start"]).assert_code(0);
    assert_ne!(daemon.pid(), pid);
    assert_eq!(daemon.socket(), socket);
}

#[test]
fn the_socket_is_in_the_runtime_directory_and_clients_without_one_find_it() {
    let sandbox = Sandbox::new();
    let runtime = sandbox.path("run");
    fs::create_dir(&runtime).expect("the sandbox is ours");
    let daemon = Daemon { sandbox: &sandbox, runtime: Some(runtime.clone()) }.start();
    assert_eq!(daemon.socket(), runtime.join("coast/coastd.sock"));
    let mode = |path: PathBuf| fs::metadata(path).expect("it was made").permissions().mode() & 0o777;
    assert_eq!(mode(runtime.join("coast")), 0o700);
    let elsewhere = Daemon::of(&sandbox);
    assert_eq!(elsewhere.pid(), daemon.pid());
    elsewhere.run(&["start"]).assert_says("already");
    // The end of a login removes its runtime directory.
    fs::remove_dir_all(runtime.join("coast")).expect("the sandbox is ours");
    daemon.run(&["status"]).assert_code(12).assert_says("cannot be used").assert_says("restart");
    daemon.run(&["restart"]).assert_code(0);
    assert_eq!(daemon.socket(), runtime.join("coast/coastd.sock"));
}

#[test]
fn a_runtime_directory_that_others_can_use_is_not_used() {
    let sandbox = Sandbox::new();
    let runtime = sandbox.path("run");
    fs::create_dir_all(runtime.join("coast")).expect("the sandbox is ours");
    fs::set_permissions(runtime.join("coast"), Permissions::from_mode(0o755)).expect("it is ours");
    let daemon = Daemon { sandbox: &sandbox, runtime: Some(runtime) }.start();
    assert_eq!(daemon.socket(), daemon.files().join("coastd.sock"));
    daemon.run(&["logs"]).assert_says("chmod 700");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_said() {
    let sandbox = Sandbox::new();
    let state = sandbox.path("s".repeat(120));
    let start = sandbox.coast(["daemon", "start"]).env("XDG_STATE_HOME", &state).run();
    start.assert_code(11).assert_says("too long for a socket").assert_says("XDG_RUNTIME_DIR");
}

#[test]
fn another_user_is_refused_even_where_the_socket_is_open_to_all() {
    let sandbox = Sandbox::new().open_to_all();
    let runtime = sandbox.path("run");
    fs::create_dir(&runtime).expect("the sandbox is ours");
    let stranger = Account::create(&sandbox.path(""), &Shell::Bash, Sudo::Never);
    let daemon = Daemon { sandbox: &sandbox, runtime: Some(runtime.clone()) }.start();
    let socket = daemon.socket();
    let ask = curl(&sandbox, &socket, &["-w", "%{http_code}", "http://coastd/v1/status"]);
    ask.run().assert_code(0).assert_says("200").assert_says("\"pid\"");
    let as_stranger = ask.as_account(&stranger);
    // The directory keeps other users out.
    as_stranger.run().assert_code(7);
    for directory in [runtime.clone(), runtime.join("coast")] {
        fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("it is ours");
    }
    fs::set_permissions(&socket, Permissions::from_mode(0o777)).expect("it is ours");
    as_stranger
        .run()
        .assert_code(0)
        .assert_says("403")
        .assert_says("serves another user")
        .assert_does_not_say("pid");
    daemon.run(&["logs"]).assert_says(&format!("refused a connection of user {}", stranger.uid()));
    // Neither does a client send anything to a socket that somebody else may have made.
    daemon.run(&["status"]).assert_code(12).assert_says("others can use it");
    fs::set_permissions(runtime.join("coast"), Permissions::from_mode(0o700)).expect("it is ours");
}

#[test]
fn a_full_disk_stops_no_daemon() {
    let sandbox = Sandbox::new();
    let (runtime, state) = (sandbox.path("run"), sandbox.path("home/.local/state/coast"));
    fs::create_dir(&runtime).expect("the sandbox is ours");
    fs::create_dir_all(&state).expect("the sandbox is ours");
    let _small = Mount::tmpfs(&state, "size=64k");
    let daemon = Daemon { sandbox: &sandbox, runtime: Some(runtime) }.start();
    let fill = || {
        let full = fs::write(state.join("filler"), vec![b'x'; 128 << 10]);
        assert_eq!(full.map_err(|error| error.kind()), Err(std::io::ErrorKind::StorageFull));
    };
    fill();
    let pid = daemon.pid();
    daemon.run(&["restart"]).assert_code(0);
    assert_ne!(daemon.pid(), pid);
    daemon.run(&["stop"]).assert_code(0);
    // A daemon starts on a full disk, too, and cannot even write where it listens.
    fs::remove_file(daemon.files().join("coastd.log")).expect("it was written");
    fill();
    daemon.run(&["start"]).assert_code(0);
    daemon.pid();
    daemon.run(&["stop"]).assert_code(0);
}

#[test]
fn a_link_named_coastd_is_the_daemon() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::of(&sandbox);
    symlink(coast_tests::coast(), sandbox.path("coastd")).expect("the sandbox is ours");
    let running = sandbox.program(sandbox.path("coastd")).start();
    while daemon.run(&["status"]).code() == 3 {}
    running.signal(Signal::TERM);
    let outcome = running.wait();
    outcome.assert_code(0).assert_says("listening on").assert_says("ending on a signal");
    daemon.run(&["status"]).assert_code(3);
}

#[test]
fn install_writes_a_unit_and_uninstall_removes_it() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::of(&sandbox);
    let unit = sandbox.path("home/.config/systemd/user/coastd.service");
    daemon
        .run(&["install"])
        .assert_code(0)
        .assert_says("wrote")
        .assert_says("systemctl --user enable --now coastd");
    let text = fs::read_to_string(&unit).expect("it was written");
    assert!(text.contains("/coast\" daemon run\n"), "{text}");
    let state = sandbox.path("home/.local/state");
    assert!(text.contains(&format!("Environment=\"XDG_STATE_HOME={}\"\n", state.display())), "{text}");
    daemon.run(&["uninstall"]).assert_code(0).assert_says("systemctl --user disable --now coastd");
    assert!(!unit.exists());
    daemon.run(&["uninstall"]).assert_code(0).assert_says("there is no");
}

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
