//! Keys with a passphrase: coastd asks nobody, and has what the user typed at a command.

use std::fs;

use coast_tests::{InTerminal, Layer, Program, Project, Tree, make_key};
use serde_json::Value;

use super::Daemon;

const PHRASE: &str = "mellon-7";

/// A project with an instance on a remote whose key has a passphrase.
struct Locked {
    project: Project,
}

impl Locked {
    fn new() -> Self {
        let project = Project::on(Layer::Native, &Tree::new().file("src/main.rs", "1"));
        let remote = project.remote();
        let key = remote.path("locked");
        make_key(&key, &["-N", PHRASE]);
        remote.account().authorize(remote.path("locked.pub"));
        let address = format!("{}@127.0.0.1:{}", remote.account().name(), remote.sshd().port());
        let add = project.coast(["remote", "add", "vault", &address, "--key"]).arg(key);
        add.arg("--service-home").arg(remote.path("service")).run().assert_code(0);
        Self { project }
    }

    fn daemon(&self) -> Daemon<'_> {
        Daemon::of(self.project.remote().sandbox())
    }

    /// Runs a command that asks for the passphrase, and types it.
    #[track_caller]
    fn typed(&self, command: &Program) -> String {
        let mut terminal = InTerminal::start(command);
        terminal.wait_for("Passphrase for");
        terminal.type_in(&format!("{PHRASE}\n"));
        let (code, shown) = terminal.wait();
        assert_eq!(code, 0, "{shown}");
        shown
    }

    fn coast(&self, arguments: &[&str]) -> Program {
        self.project.coast(arguments)
    }

    /// Checks that an edit follows.
    #[track_caller]
    fn follows(&self, content: &str) {
        fs::write(self.project.root().join("src/main.rs"), content).expect("the repository is ours");
        self.project.follows_with("dev-1", "src/main.rs", content.as_bytes());
    }
}

#[test]
fn a_typed_passphrase_serves_coastd_until_it_ends_and_start_asks_for_it_again() {
    let locked = Locked::new();
    let daemon = locked.daemon();
    locked.typed(&locked.coast(&["run", "dev-1", "--remote", "vault"]));
    locked.follows("2");
    // It is used for other connections, too, and a command that finds one asks nothing.
    locked.coast(&["start", "dev-1"]).run().assert_code(0);
    locked.follows("3");

    daemon.run(&["restart"]).assert_code(0);
    locked.project.coast_says(&["status", "dev-1"], "waits for the passphrase of");
    locked
        .coast(&["status", "dev-1"])
        .run()
        .assert_code(12)
        .assert_says("/locked; this command asks for it: coast start dev-1");
    locked.coast(&["ls"]).run().assert_code(0).assert_says("wait for passphrase");
    daemon.run(&["status"]).assert_says("waits for the passphrase of");
    let status = locked.coast(&["status", "dev-1", "--json"]).run();
    let status: Value = serde_json::from_slice(&status.stdout).expect("it prints JSON");
    let key = locked.project.remote().path("locked");
    assert_eq!(status["continuous"]["retry"]["missing_passphrase"], key.to_str().expect("it is text"));

    fs::write(locked.project.root().join("meanwhile"), "kept").expect("the repository is ours");
    locked.typed(&locked.coast(&["start", "dev-1"]));
    locked.project.follows_with("dev-1", "meanwhile", b"kept");
    locked.follows("4");
    locked.coast(&["status", "dev-1"]).run().assert_code(0);

    daemon.run(&["logs"]).assert_says("no passphrase was given").assert_does_not_say(PHRASE);
    for file in fs::read_dir(daemon.files()).expect("they are ours") {
        let text = fs::read(file.expect("it can be listed").path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(PHRASE));
    }
}

#[test]
fn instances_that_wait_for_the_same_passphrase_follow_when_it_is_typed_once() {
    let locked = Locked::new();
    let daemon = locked.daemon();
    locked.typed(&locked.coast(&["run", "dev-1", "--remote", "vault"]));
    locked.coast(&["run", "dev-2", "--remote", "vault"]).run().assert_code(0);
    daemon.run(&["restart"]).assert_code(0);
    locked.project.coast_says(&["status", "dev-2"], "waits for the passphrase of");
    locked.typed(&locked.coast(&["start", "dev-1"]));
    locked.follows("2");
    locked.project.follows_with("dev-2", "src/main.rs", b"2");
}

#[test]
fn a_passphrase_that_has_become_wrong_is_forgotten() {
    let locked = Locked::new();
    let daemon = locked.daemon();
    locked.typed(&locked.coast(&["run", "dev-1", "--remote", "vault"]));
    let key = locked.project.remote().path("locked");
    let rekey = locked.project.remote().sandbox().program("ssh-keygen");
    let rekey = rekey.args(["-p", "-q", "-P", PHRASE, "-N", "other-words", "-f"]).arg(&key);
    rekey.run().assert_code(0);
    locked.project.remote().sshd().cut_connections();
    locked.project.coast_says(&["status", "dev-1"], "waits for the passphrase of");
    let mut terminal = InTerminal::start(&locked.coast(&["start", "dev-1"]));
    terminal.wait_for("Passphrase for");
    terminal.type_in("other-words\n");
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
    locked.follows("2");
    daemon.run(&["logs"]).assert_does_not_say(PHRASE);
}
