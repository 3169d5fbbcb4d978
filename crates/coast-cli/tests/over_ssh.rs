//! The program over SSH, to the embedded server: no sshd, no sudo, no root. The same flow over a real OpenSSH is in the
//! end-to-end tests.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use coast_testkit::{EmbeddedOptions, EmbeddedServer};

/// A server with a home, a client with another, and a workspace.
struct Place {
    scratch: tempfile::TempDir,
    server: EmbeddedServer,
}

impl Place {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["remote", "client", "ws/generated", "ws/node_modules/x", "ws/src"] {
            fs::create_dir_all(scratch.path().join(name)).unwrap();
        }
        let server = EmbeddedServer::start(EmbeddedOptions::new(scratch.path().join("remote"))).unwrap();
        let place = Self { scratch, server };
        place.write("ws/src/main.rs", "fn main() {}");
        place.write("ws/src/large.txt", &"a line of some text\n".repeat(20_000));
        place.write("ws/generated/schema.json", "{}");
        place.write("ws/node_modules/x/index.js", "x");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn coast(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coast"));
        command.current_dir(self.scratch.path()).env("HOME", self.path("client")).stdin(Stdio::null());
        command.env_remove("XDG_CACHE_HOME").env_remove("SSH_AUTH_SOCK").env_remove("RSYNC_RSH");
        command
    }

    fn push(&self, arguments: &[&str]) -> Output {
        let port = self.server.addr().port().to_string();
        let mut command = self.coast();
        command.args(["push", "-p", &port, "--sudo=never", "-i"]).arg(self.server.client_key());
        command.args(arguments).args(["ws", "dev@127.0.0.1:data/p/i"]).output().unwrap()
    }

    fn remote(&self, name: &str) -> PathBuf {
        self.path("remote/data/p/i").join(name)
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Inode and times of everything in a tree.
fn identities(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                directories.push(entry.path());
            }
            let times = (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
            found.insert(entry.path(), (metadata.ino(), times.0, times.1, times.2, times.3));
        }
    }
    found
}

#[test]
fn a_workspace_is_pushed_switched_and_then_left_alone() {
    let place = Place::new();
    let output = place.push(&[]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(fs::read_to_string(place.remote("src/main.rs")).unwrap(), "fn main() {}");
    assert!(!place.remote("node_modules").exists());

    // Made on the remote, where the default rules protect it; and something that is in nobody's way but extraneous.
    fs::write(place.remote("generated/made-there.ts"), "").unwrap();
    fs::write(place.remote("left-over"), "").unwrap();
    let mut large = fs::read_to_string(place.path("ws/src/large.txt")).unwrap();
    large.insert_str(1000, "an insertion");
    place.write("ws/src/large.txt", &large);
    let output = place.push(&["--json"]);
    assert!(output.status.success(), "{}", told(&output));
    let last = String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned();
    let done: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(done["receiver"]["transferred_files"], 1);
    assert_eq!(done["receiver"]["deleted"], 1);
    assert!(done["wire_sent_bytes"].as_u64().unwrap() < 50_000, "the whole file was sent: {done}");
    assert_eq!(fs::read_to_string(place.remote("src/large.txt")).unwrap(), large);
    assert!(place.remote("generated/made-there.ts").exists() && !place.remote("left-over").exists());

    let before = identities(&place.path("remote/data/p/i"));
    assert!(place.push(&[]).status.success());
    assert_eq!(identities(&place.path("remote/data/p/i")), before);
}

#[test]
fn rsyncs_spelling_reaches_the_same_place() {
    let place = Place::new();
    let shell = format!(
        "ssh -p {} -i '{}' -o StrictHostKeyChecking=accept-new",
        place.server.addr().port(),
        place.server.client_key().display()
    );
    let arguments = ["sync", "-rlDzP", "--delete-after", "-i", "-e", &shell, "ws/", "dev@127.0.0.1:mirror/"];
    let output = place.coast().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("<f+++++++++ src/main.rs"), "{}", told(&output));
    assert_eq!(fs::read_to_string(place.path("remote/mirror/node_modules/x/index.js")).unwrap(), "x");

    let address = format!("ssh://dev@127.0.0.1:{}/~/other", place.server.addr().port());
    let shell = format!("ssh -i {}", place.server.client_key().display());
    let output = place.coast().args(["sync", "-r", "-e", &shell, "ws", &address]).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert!(place.path("remote/other/ws/src/main.rs").exists());
}

#[test]
fn a_key_that_is_not_accepted_ends_with_255_and_says_which() {
    let place = Place::new();
    let other = EmbeddedServer::start(EmbeddedOptions::new(place.path("client"))).unwrap();
    let port = place.server.addr().port().to_string();
    let mut command = place.coast();
    let output = command
        .args(["push", "-p", &port, "-o", "IdentitiesOnly=yes", "-i"])
        .arg(other.client_key())
        .args(["ws", "dev@127.0.0.1:x"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(255), "{}", told(&output));
    assert!(told(&output).contains(&*other.client_key().to_string_lossy()), "{}", told(&output));
}

#[test]
fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let place = Place::new();
    assert!(place.push(&[]).status.success());
    let known_hosts = place.path("client/.ssh/known_hosts");
    let recorded = fs::read_to_string(&known_hosts).unwrap();
    let other = EmbeddedServer::start(EmbeddedOptions::new(place.path("client"))).unwrap();
    let host = recorded.split_whitespace().next().unwrap();
    fs::write(&known_hosts, format!("{host} {}\n", other.host_keys()[0])).unwrap();
    let output = place.push(&[]);
    assert_eq!(output.status.code(), Some(255), "{}", told(&output));
    assert_eq!(told(&output).matches("SHA256:").count(), 2, "{}", told(&output));
}

#[test]
fn a_host_that_accepts_and_says_nothing_times_out() {
    let place = Place::new();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let mut command = place.coast();
    let arguments = ["push", "-p", &port, "-o", "ConnectTimeout=1", "ws", "dev@127.0.0.1:x"];
    let output = command.args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", told(&output));
    assert!(told(&output).contains("said nothing"), "{}", told(&output));
}
