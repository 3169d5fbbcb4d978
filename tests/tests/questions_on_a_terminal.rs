//! What a user at a terminal is asked: about an unknown host, and for a passphrase.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use coast_tests::{InTerminal, Program, Remote, Shell, Sudo, Tree, make_key, require};
use rustix::process::Signal;

/// The exit code of an interrupted run.
const INTERRUPTED: i32 = 20;

fn remote() -> Remote {
    let remote = Remote::with(&Shell::Bash, Sudo::Never);
    Tree::new().file("hello", "hello").build(remote.path("src"));
    remote
}

fn arrived(remote: &Remote) -> bool {
    remote.account().home().join("space/hello").exists()
}

/// The fingerprint of a key, as `ssh-keygen` shows it.
fn fingerprint(key: PathBuf) -> String {
    let shown = Command::new(require("ssh-keygen", "openssh-client")).arg("-lf").arg(key).output().unwrap();
    String::from_utf8(shown.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

fn asking(remote: &Remote) -> InTerminal {
    let arguments = ["-o", "StrictHostKeyChecking=ask"];
    let mut terminal = InTerminal::start(&remote.push(arguments, remote.path("src"), "space"));
    terminal.wait_for("Are you sure you want to continue connecting (yes/no/[fingerprint])? ");
    terminal
}

#[test]
fn an_unknown_host_is_asked_about_until_the_answer_is_understood() {
    let remote = remote();
    let mut terminal = asking(&remote);
    assert!(terminal.echoes());
    terminal.type_in("y\n");
    terminal.wait_for("Please type 'yes', 'no' or the fingerprint: ");
    terminal.type_in("yes\n");
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
    let expected = format!("ED25519 key fingerprint is {}.", fingerprint(remote.sshd().host_key_file()));
    assert!(shown.contains(&expected), "{shown}");
    let host =
        format!("The authenticity of host '[127.0.0.1]:{}' can't be established.", remote.sshd().port());
    assert!(shown.contains(&host), "{shown}");
    assert!(arrived(&remote));
}

#[test]
fn the_fingerprint_is_an_answer() {
    let remote = remote();
    let mut terminal = asking(&remote);
    terminal.type_in(&format!("{}\n", fingerprint(remote.sshd().host_key_file())));
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
    assert!(arrived(&remote));
}

#[test]
fn no_and_an_empty_answer_refuse_the_host() {
    for answer in ["no\n", "\n"] {
        let remote = remote();
        let mut terminal = asking(&remote);
        terminal.type_in(answer);
        let (code, shown) = terminal.wait();
        assert_eq!(code, 255, "{shown}");
        assert!(shown.contains("did not confirm it") && !arrived(&remote), "{shown}");
        assert!(!remote.path("home/.ssh/known_hosts").exists());
    }
}

#[test]
fn a_signal_ends_the_question_about_a_host() {
    let remote = remote();
    let terminal = asking(&remote);
    terminal.signal(Signal::TERM);
    let (code, shown) = terminal.wait();
    assert_eq!(code, INTERRUPTED, "{shown}");
    assert!(!arrived(&remote));
}

#[test]
fn without_a_terminal_an_unknown_host_is_an_error_that_names_the_fingerprint() {
    let remote = remote();
    let arguments = ["-o", "StrictHostKeyChecking=ask"];
    let outcome = remote.push(arguments, remote.path("src"), "space").by(["setsid", "--wait"]).run();
    outcome.assert_code(255).assert_says(&fingerprint(remote.sshd().host_key_file()));
    outcome.assert_says("there is no terminal to ask on").assert_says("StrictHostKeyChecking=accept-new");
    assert!(!arrived(&remote));
}

#[test]
fn a_signal_ends_the_question_for_a_passphrase_and_the_terminal_shows_input_again() {
    for signal in [Signal::TERM, Signal::HUP] {
        let terminal = asked_for_a_passphrase(&remote());
        terminal.signal(signal);
        assert_interrupted(terminal);
    }
    let mut terminal = asked_for_a_passphrase(&remote());
    // The terminal makes this a SIGINT.
    terminal.type_in("\u{3}");
    assert_interrupted(terminal);
}

fn asked_for_a_passphrase(remote: &Remote) -> InTerminal {
    make_key(remote.path("locked"), &["-N", "a passphrase"]);
    remote.account().authorize(remote.path("locked.pub"));
    let port = remote.sshd().port().to_string();
    let program = remote.sandbox().coast(["push", "-p", &port, "-i"]).arg(remote.path("locked"));
    let mut terminal = InTerminal::start(&program.arg(remote.path("src")).arg(remote.target("space")));
    terminal.wait_for("Passphrase for ");
    assert!(!terminal.echoes());
    terminal
}

fn assert_interrupted(terminal: InTerminal) {
    let settings = terminal.settings();
    let (code, shown) = terminal.wait();
    assert_eq!(code, INTERRUPTED, "{shown}");
    assert!(settings.echo(), "{shown}");
}

#[test]
fn a_passphrase_is_typed_unseen() {
    let remote = remote();
    let mut terminal = asked_for_a_passphrase(&remote);
    terminal.type_in("a passphrase\n");
    let settings = terminal.settings();
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("a passphrase") && settings.echo() && arrived(&remote), "{shown}");
}

#[test]
fn a_new_host_key_is_told_once_also_with_q() {
    let remote = remote();
    let expected = fingerprint(remote.sshd().host_key_file());
    let outcome = remote.push(["-q"], remote.path("src"), "space").run();
    outcome.assert_code(0).assert_says("accepted the new host key").assert_says(&expected);
    assert!(outcome.stdout.is_empty(), "{outcome}");
    remote.push(["-q"], remote.path("src"), "space").run().assert_code(0).assert_does_not_say("SHA256:");
}

#[test]
fn the_test_of_a_remote_tells_which_host_key_is_new() {
    let remote = remote();
    let address = format!("{}@127.0.0.1:{}", remote.account().name(), remote.sshd().port());
    let key = remote.key();
    let key = key.to_str().unwrap();
    let home = remote.account().home();
    let home = home.to_str().unwrap();
    let add = ["remote", "add", "box", &address, "--key", key, "--service-home", home];
    remote.sandbox().coast(add).run().assert_code(0);
    let expected = fingerprint(remote.sshd().host_key_file());
    let first = remote.sandbox().coast(["remote", "test"]).run();
    first.assert_code(0).assert_says(&expected).assert_says("host key     ok       new: accepted");
    let second = remote.sandbox().coast(["remote", "test"]).run();
    second
        .assert_code(0)
        .assert_says(&format!("{expected}, known before"))
        .assert_does_not_say("new: accepted");
}

#[test]
fn the_test_of_a_remote_tells_of_a_new_key_even_if_the_login_fails_then() {
    let remote = remote();
    make_key(remote.path("wrong"), &[]);
    let address = format!("{}@127.0.0.1:{}", remote.account().name(), remote.sshd().port());
    let wrong = remote.path("wrong");
    let add = ["remote", "add", "box", &address, "--key", wrong.to_str().unwrap()];
    remote.sandbox().coast(add).run().assert_code(0);
    let outcome = remote.sandbox().coast(["remote", "test"]).run();
    outcome.assert_code(255).assert_says("host key     ok       new: accepted");
    assert!(fs::read_to_string(remote.path("home/.ssh/known_hosts")).is_ok());
}

#[test]
fn messages_are_coloured_on_a_terminal_and_nowhere_else() {
    const RED: &str = "\u{1b}[31m";
    let remote = remote();
    let failing = remote.sandbox().coast(["push", "src", "nowhere.invalid:x"]);
    let shown = |program: &Program| InTerminal::start(program).wait().1;
    assert!(shown(&failing).contains(RED));
    assert!(!shown(&failing.clone().env("NO_COLOR", "1")).contains(RED));
    assert!(!shown(&failing.clone().arg("--color=never")).contains(RED));
    failing.run().assert_does_not_say(RED);
    failing.clone().arg("--color=always").run().assert_says(RED);
    failing.args(["--color=always", "--json"]).run().assert_does_not_say("\u{1b}");
}

#[test]
fn a_transfer_shows_its_rate_on_a_terminal_and_nothing_in_a_pipe() {
    let remote = remote();
    fs::write(remote.path("src/large"), coast_tests::noise(1, 48 << 20)).unwrap();
    let push = remote.push(["--bwlimit=8m"], remote.path("src"), "space");
    let (code, shown) = InTerminal::start(&push).wait();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("/s, 0:0") && shown.contains(" left"), "{shown}");
    fs::write(remote.path("src/large"), coast_tests::noise(2, 1 << 20)).unwrap();
    push.run().assert_code(0).assert_does_not_say(" left");
}
