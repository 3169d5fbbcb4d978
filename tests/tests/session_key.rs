//! `coast remote key`: a key for the sessions of a remote, which the real OpenSSH accepts for commands only.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use coast_testkit::SshdOptions;
use coast_tests::{Outcome, Program, Project, Remote, Shell, Sudo, Tree, public_key};

fn remote(shell: &Shell) -> Remote {
    let remote = Remote::with(shell, Sudo::Never);
    add(&remote, "box", remote.sshd().port()).run().assert_code(0);
    remote
}

fn add(remote: &Remote, name: &str, port: u16) -> Program {
    let address = format!("{}@127.0.0.1:{port}", remote.account().name());
    let program = remote.sandbox().coast(["remote", "add", name, &address, "--key"]).arg(remote.key());
    program.arg("--service-home").arg(remote.account().home())
}

fn key(remote: &Remote, arguments: &[&str]) -> Outcome {
    remote.sandbox().coast(["remote", "key", "box"]).args(arguments).run()
}

fn key_file(remote: &Remote) -> PathBuf {
    remote.path("home/.local/share/coast/keys/box")
}

fn authorized_keys(remote: &Remote) -> PathBuf {
    remote.account().home().join(".ssh/authorized_keys")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// `ssh` with the session key.
fn ssh(remote: &Remote, options: &[&str], command: &[&str]) -> Outcome {
    let port = remote.sshd().port().to_string();
    let program =
        remote.sandbox().program("ssh").args(["-F", "none", "-p", &port, "-i"]).arg(key_file(remote));
    let fixed = ["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];
    let target = format!("{}@127.0.0.1", remote.account().name());
    program
        .args(fixed)
        .args(["-o", "UserKnownHostsFile=/dev/null"])
        .args(options)
        .arg(target)
        .args(command)
        .run()
}

#[test]
fn a_key_is_made_installed_once_used_and_removed_on_both_sides() {
    for shell in [Shell::Bash, Shell::Dash] {
        let remote = remote(&shell);
        let file = authorized_keys(&remote);
        // A last line without its end must not swallow the new line.
        let before = format!("# mine\n{} my own key", public_key(remote.key()));
        fs::write(&file, &before).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();

        key(&remote, &[]).assert_code(0).assert_says("the key that logs in").assert_says("--create");
        key(&remote, &["--create"]).assert_code(0).assert_says("now accepts").assert_says("SHA256:");
        assert_eq!(mode(&key_file(&remote)), 0o600);
        assert_eq!(mode(key_file(&remote).parent().unwrap()), 0o700);
        let made = fs::read(key_file(&remote)).unwrap();
        let installed = fs::read_to_string(&file).unwrap();
        let line = installed.strip_prefix(&format!("{before}\n")).expect("the other lines stay");
        assert!(line.starts_with("restrict ssh-ed25519 AAAA"), "{line}");
        assert!(line.ends_with(" coast remote key box\n"), "{line}");

        key(&remote, &["--create"]).assert_code(0).assert_says("box accepts the key");
        assert_eq!(fs::read(key_file(&remote)).unwrap(), made, "a key is never overwritten");
        assert_eq!(fs::read_to_string(&file).unwrap(), installed, "one line");
        assert_eq!(mode(&file), 0o640);
        key(&remote, &[]).assert_code(0).assert_says(&key_file(&remote).to_string_lossy());

        key(&remote, &["--remove"]).assert_code(0).assert_says("is removed");
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{before}\n"));
        assert_eq!((mode(&file), fs::metadata(&file).unwrap().uid()), (0o640, remote.account().uid()));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
        assert!(!key_file(&remote).exists());
        key(&remote, &["--remove"]).assert_code(0).assert_says("has no session key");
        key(&remote, &[]).assert_code(0).assert_says("the key that logs in");
    }
}

#[test]
fn openssh_runs_commands_for_the_key_and_neither_gives_a_terminal_nor_forwards() {
    let remote = remote(&Shell::Bash);
    key(&remote, &["--create"]).assert_code(0);
    ssh(&remote, &[], &["echo", "ran"]).assert_code(0).assert_says("ran");
    ssh(&remote, &["-tt"], &["tty"]).assert_says("PTY allocation request failed");
    let port = remote.sshd().port();
    let forward = format!("127.0.0.1:{port}");
    ssh(&remote, &["-W", &forward], &[]).assert_says("administratively prohibited");
}

#[test]
fn a_link_to_the_list_of_keys_stays_a_link() {
    let remote = remote(&Shell::Bash);
    let file = authorized_keys(&remote);
    let behind = remote.account().home().join("keys");
    fs::rename(&file, &behind).unwrap();
    std::os::unix::fs::symlink(&behind, &file).unwrap();
    let before = fs::read(&behind).unwrap();
    key(&remote, &["--create"]).assert_code(0);
    key(&remote, &["--remove"]).assert_code(0);
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
    assert_eq!(fs::read(&behind).unwrap(), before);
}

#[test]
fn a_server_that_reads_other_lists_of_keys_is_told_and_nothing_is_left_there() {
    let remote = remote(&Shell::Bash);
    let elsewhere = SshdOptions::new().authorize([public_key(remote.key())]).start();
    add(&remote, "other", elsewhere.port()).run().assert_code(0);
    let before = fs::read(authorized_keys(&remote)).unwrap();
    let outcome = remote.sandbox().coast(["remote", "key", "other", "--create"]).run();
    outcome.assert_code(255).assert_says("AuthorizedKeysFile").assert_says("does not accept the key");
    assert_eq!(fs::read(authorized_keys(&remote)).unwrap(), before);
    let outcome = remote.sandbox().coast(["remote", "key", "other"]).run();
    outcome.assert_code(0).assert_says("the key that logs in");
}

#[test]
fn a_list_of_keys_that_cannot_be_written_is_an_error() {
    let remote = remote(&Shell::Bash);
    let ssh = authorized_keys(&remote).parent().unwrap().to_owned();
    fs::set_permissions(authorized_keys(&remote), fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o500)).unwrap();
    let outcome = key(&remote, &["--create"]);
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("cannot change ~/.ssh/authorized_keys on").assert_says("Permission denied");
}

#[test]
fn a_remote_that_is_gone_keeps_its_key_unless_forced() {
    let remote = remote(&Shell::Bash);
    key(&remote, &["--create"]).assert_code(0);
    fs::write(authorized_keys(&remote), "").unwrap();
    key(&remote, &["--remove"]).assert_code(255).assert_says("--force");
    assert!(key_file(&remote).exists());
    let outcome = remote.sandbox().coast(["remote", "rm", "box"]).run();
    outcome.assert_code(3).assert_says("coast remote key box --remove");
    key(&remote, &["--remove", "--force"]).assert_code(0).assert_says("may still accept the key");
    assert!(!key_file(&remote).exists());
    remote.sandbox().coast(["remote", "rm", "box"]).run().assert_code(0);
}

#[test]
fn the_container_of_an_instance_gets_the_session_key_and_never_the_own_key() {
    let project = Project::of(&Tree::new().file("src/main.rs", "1"));
    project.coast(["remote", "key", "box", "--create"]).run().assert_code(0);
    project.coast(["run", "dev-1"]).run().assert_code(0).assert_says("edits follow");
    let held = project.exec("dev-1", &["cat", "/root/.ssh/coast/key"]).stdout;
    assert_eq!(held, fs::read(key_file(project.remote())).unwrap());
    fs::write(project.root().join("src/main.rs"), "2").unwrap();
    project.follows_with("dev-1", "src/main.rs", b"2");
    project.coast(["remote", "test"]).run().assert_code(0).assert_says("; sessions use ");
}
