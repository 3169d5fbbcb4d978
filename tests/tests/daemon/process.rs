//! The daemon's process: one for each user, on a socket that nobody else can use.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use coast_tests::{Account, Mount, Sandbox, Shell, Sudo};
use rustix::process::Signal;
use serde_json::Value;

use super::{Daemon, curl, kill};

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

#[test]
fn two_users_have_a_daemon_each() {
    let sandbox = Sandbox::new().open_to_all();
    let runtime = sandbox.path("run");
    fs::create_dir(&runtime).expect("the sandbox is ours");
    fs::set_permissions(&runtime, Permissions::from_mode(0o1777)).expect("it is ours");
    let accounts: [Account; 2] =
        std::array::from_fn(|_| Account::create(&sandbox.path(""), &Shell::Bash, Sudo::Never));
    // A shell that another user has begun may keep that user's runtime directory in the variable.
    let coast = |account: &Account, arguments: &[&str]| {
        let coast = sandbox.coast(["daemon"]).args(arguments).env("XDG_RUNTIME_DIR", &runtime);
        coast.as_account(account).run()
    };
    let status = |account: &Account| -> Value {
        let status = coast(account, &["status", "--json"]);
        status.assert_code(0);
        serde_json::from_slice(&status.stdout).expect("it prints JSON")
    };
    let [first, second] = &accounts;
    coast(first, &["start"]).assert_code(0);
    coast(second, &["status"]).assert_code(3);
    coast(second, &["start"]).assert_code(0);
    let (one, other) = (status(first), status(second));
    assert_ne!(one["pid"], other["pid"]);
    assert_eq!(one["socket"], runtime.join("coast/coastd.sock").to_str().expect("it is text"));
    let own = second.home().join(".local/state/coast/.daemon/coastd.sock");
    assert_eq!(other["socket"], own.to_str().expect("it is text"));
    for (account, status) in [(first, &one), (second, &other)] {
        let owner = fs::metadata(format!("/proc/{}", status["pid"])).expect("it runs").uid();
        assert_eq!(owner, account.uid());
    }
    coast(first, &["stop"]).assert_code(0).assert_says("has ended");
    assert_eq!(status(second)["pid"], other["pid"]);
    coast(second, &["stop"]).assert_code(0).assert_says("has ended");
}
