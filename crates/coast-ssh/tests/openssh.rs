//! Sessions with OpenSSH's keys, agent and server, and with real sudo. Needs root, and sshd, ssh-keygen, ssh-agent, sudo,
//! dash and fish installed.
#![allow(clippy::unwrap_used)]

mod support;

use coast_ssh::{
    ConnectOptions, HelperSpec, IdentityUsed, KeyOutcome, KeySource, NoPrompt, RunsAs, Session, SshError,
    Sudo, SudoRefusal,
};
use coast_testkit::{Account, Shell, Sshd, SshdOptions, Sudo as Sudoer, make_key, noise, public_key};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use support::{Script, echo_helper, greeting_then, helper_script, options, target};
use tempfile::TempDir;

/// A client's home directory.
fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn as_root(home: &Path, key: &Path, overrides: &[(&str, &str)]) -> ConnectOptions {
    as_user("root", home, key, overrides)
}

fn as_user(user: &str, home: &Path, key: &Path, overrides: &[(&str, &str)]) -> ConnectOptions {
    let mut options = options(home, key, overrides);
    options.overrides.push(("User".to_owned(), user.to_owned()));
    options
}

/// A key pair `name` in `directory`.
fn keygen(directory: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let path = directory.join(name);
    make_key(&path, arguments);
    path
}

/// A server that these keys open for every account.
fn sshd_for(keys: &[&Path]) -> Sshd {
    SshdOptions::new().authorize(keys.iter().map(public_key)).start()
}

/// A server that these keys open for every account, with a line of configuration.
fn sshd_with(keys: &[&Path], line: &str) -> Sshd {
    SshdOptions::new().authorize(keys.iter().map(public_key)).line(line).start()
}

/// A directory for the homes of accounts, which every user can enter.
fn homes() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn logs_in(sshd: &Sshd, options: &ConnectOptions, prompt: &Script) -> Result<(), SshError> {
    let session = Session::connect(&target(sshd.port()), options, prompt)?;
    let (output, status) = session.exec(b"echo in").unwrap().output().unwrap();
    assert_eq!((output.as_slice(), status.success()), (b"in\n".as_slice(), true));
    Ok(())
}

#[test]
fn keys_of_every_kind_and_format_log_in() {
    let home = home();
    let kinds: [(&str, &[&str]); 9] = [
        ("ed25519", &["-t", "ed25519"]),
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa-pkcs1", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa-pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
        ("ecdsa-sec1", &["-t", "ecdsa", "-b", "256", "-m", "PEM"]),
        ("ecdsa-pkcs8", &["-t", "ecdsa", "-b", "256", "-m", "PKCS8"]),
    ];
    let keys: Vec<PathBuf> = kinds.iter().map(|(name, args)| keygen(home.path(), name, args)).collect();
    let sshd = sshd_for(&keys.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    for key in &keys {
        let prompt = Script::default();
        logs_in(&sshd, &as_root(home.path(), key, &[]), &prompt)
            .unwrap_or_else(|error| panic!("{}: {error}", key.display()));
    }
}

#[test]
fn rsa_signs_with_sha_2_and_never_with_sha_1() {
    let home = home();
    let key = keygen(home.path(), "rsa", &["-t", "rsa", "-b", "2048"]);
    let options = as_root(home.path(), &key, &[]);
    let modern = sshd_with(&[&key], "PubkeyAcceptedAlgorithms rsa-sha2-512");
    logs_in(&modern, &options, &Script::default()).unwrap();
    let ancient = sshd_with(&[&key], "PubkeyAcceptedAlgorithms ssh-rsa");
    let error = logs_in(&ancient, &options, &Script::default()).unwrap_err();
    assert!(matches!(error, SshError::NoAcceptableKey { .. }), "{error:?}");
}

#[test]
fn an_encrypted_key_asks_for_its_passphrase_and_only_when_the_server_would_take_it() {
    let home = home();
    let formats: [(&str, &[&str]); 3] = [
        ("openssh", &["-t", "ed25519", "-N", "secret"]),
        ("pkcs1", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "secret"]),
        ("pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "secret"]),
    ];
    for (name, args) in formats {
        let key = keygen(home.path(), name, args);
        let sshd = sshd_for(&[&key]);
        let options = as_root(home.path(), &key, &[]);
        let prompt = Script::with_passphrases(&["wrong", "secret"]);
        logs_in(&sshd, &options, &prompt).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(*prompt.asked_for.lock().unwrap(), [key.clone(), key.clone()]);

        let outcome = |prompt: &Script, options: &ConnectOptions| match logs_in(&sshd, options, prompt) {
            Err(SshError::NoAcceptableKey { attempts, .. }) => attempts[0].outcome.clone(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(outcome(&Script::default(), &options), KeyOutcome::NoPassphrase);
        let wrong = Script::with_passphrases(&["a", "b", "c", "secret"]);
        assert_eq!(outcome(&wrong, &options), KeyOutcome::WrongPassphrase);
        let batch = as_root(home.path(), &key, &[("BatchMode", "yes")]);
        assert_eq!(outcome(&Script::with_passphrases(&["secret"]), &batch), KeyOutcome::NoPassphrase);

        let stranger = sshd_for(&[]);
        let prompt = Script::with_passphrases(&["secret"]);
        logs_in(&stranger, &options, &prompt).unwrap_err();
        assert_eq!(prompt.asked_for.lock().unwrap().len(), 0, "{name}");
    }
}

#[test]
fn a_key_that_others_can_read_is_used_with_a_notice() {
    let home = home();
    let key = keygen(home.path(), "open", &["-t", "ed25519"]);
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let sshd = sshd_for(&[&key]);
    let prompt = Script::default();
    logs_in(&sshd, &as_root(home.path(), &key, &[]), &prompt).unwrap();
    assert!(
        prompt.notices().iter().any(|notice| notice.contains("others can read")),
        "{:?}",
        prompt.notices()
    );
}

/// An ssh-agent of the test's own.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn with(dir: &Path, keys: &[&Path]) -> Agent {
        let socket = dir.join("agent");
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh-agent must be installed for these tests");
        // It says where it listens once it does.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        for key in keys {
            let add =
                Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket).status().unwrap();
            assert!(add.success());
        }
        Agent { child, socket }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn the_agents_keys_log_in() {
    let home = home();
    let wrong = keygen(home.path(), "wrong", &["-t", "ed25519"]);
    for (name, args) in [("ed", &["-t", "ed25519"][..]), ("rsa", &["-t", "rsa", "-b", "2048"])] {
        let dir = tempfile::tempdir().unwrap();
        let right = keygen(dir.path(), name, args);
        let agent = Agent::with(dir.path(), &[&wrong, &right]);
        let sshd = sshd_for(&[&right]);
        let mut options = as_root(home.path(), &right, &[]);
        options.identities.clear();
        options.environment.agent = Some(agent.socket.clone());
        logs_in(&sshd, &options, &Script::default()).unwrap_or_else(|error| panic!("{name}: {error}"));

        options.overrides.push(("IdentitiesOnly".to_owned(), "yes".to_owned()));
        let error = logs_in(&sshd, &options, &Script::default()).unwrap_err();
        assert!(
            matches!(error, SshError::NoAcceptableKey { ref attempts, .. } if attempts.is_empty()),
            "{error:?}"
        );

        // Named by its public half alone, and the private one is in the agent.
        fs::remove_file(&right).unwrap();
        options.identities.push(right.with_extension("pub"));
        logs_in(&sshd, &options, &Script::default()).unwrap();
    }
}

#[test]
fn the_agent_saves_the_passphrase_of_a_key_it_holds() {
    let home = home();
    let key = keygen(home.path(), "locked", &["-t", "ed25519"]);
    let agent = Agent::with(home.path(), &[&key]);
    run("ssh-keygen", &["-q", "-p", "-N", "secret", "-f", key.to_str().unwrap()]);
    let sshd = sshd_for(&[&key]);
    let mut options = as_root(home.path(), &key, &[]);
    options.environment.agent = Some(agent.socket.clone());
    let prompt = Script::default();
    logs_in(&sshd, &options, &prompt).unwrap();
    assert_eq!(prompt.asked_for.lock().unwrap().len(), 0);
}

/// The key that let us in.
fn identity_used(sshd: &Sshd, options: &ConnectOptions) -> IdentityUsed {
    let prompt = Script::with_passphrases(&["secret"]);
    Session::connect(&target(sshd.port()), options, &prompt).unwrap().peer().identity.clone()
}

#[test]
fn the_key_that_let_us_in_is_told_by_where_its_private_part_is() {
    let (home, elsewhere) = (home(), tempfile::tempdir().unwrap());
    let open = keygen(home.path(), "open", &["-t", "ed25519"]);
    let locked = keygen(home.path(), "locked", &["-t", "ed25519", "-N", "secret"]);
    let held = keygen(elsewhere.path(), "held", &["-t", "ed25519"]);
    let stranger = keygen(elsewhere.path(), "stranger", &["-t", "ed25519"]);
    let agent = Agent::with(elsewhere.path(), &[&stranger, &held, &open]);
    fs::create_dir(home.path().join(".ssh")).unwrap();
    let file = |path: &Path, encrypted| IdentityUsed::File { path: path.to_owned(), encrypted };

    for (key, expected) in [(&open, file(&open, false)), (&locked, file(&locked, true))] {
        let sshd = sshd_for(&[key]);
        assert_eq!(identity_used(&sshd, &as_root(home.path(), key, &[])), expected);
    }

    let with_agent = |identities: &[&Path]| {
        let mut options = as_root(home.path(), &open, &[]);
        options.identities = identities.iter().map(|key| key.to_path_buf()).collect();
        options.environment.agent = Some(agent.socket.clone());
        options
    };
    let held_only = sshd_for(&[&held]);
    let in_agent = IdentityUsed::Agent { comment: "held".to_owned() };
    assert_eq!(identity_used(&held_only, &with_agent(&[])), in_agent);
    // Named by its public half, which is no private key to hand on.
    let half = home.path().join("half.pub");
    fs::copy(held.with_extension("pub"), &half).unwrap();
    assert_eq!(identity_used(&held_only, &with_agent(&[&half])), in_agent);

    // The agent signs, and the file is there all the same: named, or under a usual name.
    let open_only = sshd_for(&[&open]);
    assert_eq!(identity_used(&open_only, &with_agent(&[&open])), file(&open, false));
    let usual = home.path().join(".ssh/id_ed25519");
    fs::rename(&open, &usual).unwrap();
    assert_eq!(identity_used(&open_only, &with_agent(&[])), file(&usual, false));
}

#[test]
fn the_host_is_told_as_the_configuration_resolved_it() {
    let home = home();
    let key = keygen(home.path(), "key", &["-t", "ed25519"]);
    let sshd = sshd_for(&[&key]);
    let file = home.path().join("config");
    fs::write(&file, format!("Host box\n HostName localhost\n Port {}\n User root\n", sshd.port())).unwrap();
    let mut options = options(home.path(), &key, &[("AddressFamily", "inet")]);
    options.config_file = Some(file);
    let session = Session::connect(&coast_ssh::Target::host("box"), &options, &NoPrompt).unwrap();
    let peer = session.peer();
    assert_eq!((peer.user.as_str(), peer.host_name.as_str(), peer.port), ("root", "localhost", sshd.port()));
    assert_eq!(peer.address, Some(([127, 0, 0, 1], sshd.port()).into()));
    assert!(peer.jumps.is_empty());
    assert_eq!(peer.host_key.openssh, sshd.host_key());
    let shown = run("ssh-keygen", &["-lf", sshd.host_key_file().to_str().unwrap()]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains(&peer.host_key.fingerprint));
}

#[test]
fn a_stale_agent_socket_is_told_and_does_no_harm() {
    let home = home();
    let key = keygen(home.path(), "key", &["-t", "ed25519"]);
    let sshd = sshd_for(&[&key]);
    let mut options = as_root(home.path(), &key, &[]);
    options.environment.agent = Some(home.path().join("nobody-listens"));
    let prompt = Script::default();
    logs_in(&sshd, &options, &prompt).unwrap();
    assert!(prompt.notices().iter().any(|notice| notice.contains("agent")), "{:?}", prompt.notices());
}

#[test]
fn every_key_that_was_refused_is_listed() {
    let home = home();
    let keys: Vec<PathBuf> =
        ["a", "b"].iter().map(|name| keygen(home.path(), name, &["-t", "ed25519"])).collect();
    let sshd = sshd_for(&[]);
    let mut options = as_root(home.path(), &keys[0], &[]);
    options.identities = keys.clone();
    match logs_in(&sshd, &options, &Script::default()).unwrap_err() {
        SshError::NoAcceptableKey { attempts, .. } => {
            let listed: Vec<_> =
                attempts.iter().map(|attempt| (attempt.source.clone(), attempt.outcome.clone())).collect();
            let expected: Vec<_> =
                keys.into_iter().map(|key| (KeySource::File(key), KeyOutcome::Refused)).collect();
            assert_eq!(listed, expected);
        }
        error => panic!("{error:?}"),
    }
}

#[test]
fn more_keys_than_the_server_has_patience_for_are_told_apart() {
    let home = home();
    let keys: Vec<PathBuf> =
        (0..4).map(|number| keygen(home.path(), &format!("k{number}"), &["-t", "ed25519"])).collect();
    let sshd = sshd_with(&[], "MaxAuthTries 2");
    let mut options = as_root(home.path(), &keys[0], &[]);
    options.identities = keys;
    match logs_in(&sshd, &options, &Script::default()).unwrap_err() {
        SshError::NoAcceptableKey { attempts, .. } => {
            assert_eq!(attempts.first().unwrap().outcome, KeyOutcome::Refused);
            assert_eq!(attempts.last().unwrap().outcome, KeyOutcome::NotTried);
        }
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_host_key_that_openssh_recorded_is_known() {
    let home = home();
    let key = keygen(home.path(), "key", &["-t", "ed25519"]);
    let sshd = sshd_for(&[&key]);
    let record = home.path().join("known");
    let known = format!("UserKnownHostsFile={}", record.display());
    let (port, path) = (sshd.port().to_string(), key.to_str().unwrap().to_owned());
    run(
        "ssh",
        &[
            "-F",
            "none",
            "-p",
            &port,
            "-i",
            &path,
            "-o",
            &known,
            "-o",
            "StrictHostKeyChecking=accept-new",
            "-o",
            "HashKnownHosts=yes",
            "root@127.0.0.1",
            "true",
        ],
    );
    let overrides = [("UserKnownHostsFile", record.to_str().unwrap()), ("StrictHostKeyChecking", "yes")];
    let prompt = Script::default();
    logs_in(&sshd, &as_root(home.path(), &key, &overrides), &prompt).unwrap();
    assert_eq!(prompt.notices(), Vec::<String>::new());
}

#[test]
fn a_host_key_that_is_recorded_here_is_known_to_openssh() {
    let home = home();
    let key = keygen(home.path(), "key", &["-t", "ed25519"]);
    let sshd = sshd_for(&[&key]);
    for hashed in ["yes", "no"] {
        let record = home.path().join(hashed);
        let overrides = [("UserKnownHostsFile", record.to_str().unwrap()), ("HashKnownHosts", hashed)];
        logs_in(&sshd, &as_root(home.path(), &key, &overrides), &Script::default()).unwrap();
        let known = format!("UserKnownHostsFile={}", record.display());
        let (port, path) = (sshd.port().to_string(), key.to_str().unwrap().to_owned());
        run(
            "ssh",
            &[
                "-F",
                "none",
                "-p",
                &port,
                "-i",
                &path,
                "-o",
                &known,
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                "BatchMode=yes",
                "root@127.0.0.1",
                "true",
            ],
        );
    }
}

#[test]
fn streams_of_more_than_two_gibibytes_survive_the_key_exchanges() {
    const LEN: u64 = (2 << 30) + (200 << 20);
    let home = home();
    let key = keygen(home.path(), "key", &["-t", "ed25519"]);
    // The server asks for new keys every 512 MiB, this client every GiB.
    let sshd = sshd_with(&[&key], "RekeyLimit 512M");
    let session =
        Session::connect(&target(sshd.port()), &as_root(home.path(), &key, &[]), &NoPrompt).unwrap();
    let block = noise(1, 1 << 20);

    let (mut reader, mut writer, status) = session.exec(b"wc -c").unwrap().split();
    for _ in 0..LEN >> 20 {
        writer.write_all(&block).unwrap();
    }
    writer.finish().unwrap();
    let mut counted = String::new();
    reader.read_to_string(&mut counted).unwrap();
    assert_eq!(counted.trim(), LEN.to_string());
    assert!(status.wait().unwrap().success());

    let command = format!("head -c {LEN} /dev/zero");
    let (mut reader, _writer, status) = session.exec(command.as_bytes()).unwrap().split();
    let received = std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    assert_eq!(received, LEN);
    assert!(status.wait().unwrap().success());
}

#[test]
fn bytes_arrive_unchanged_both_ways_at_once() {
    let home = home();
    let key = keygen(home.path(), "key", &["-t", "ed25519"]);
    let sshd = sshd_with(&[&key], "RekeyLimit 16M");
    let session =
        Session::connect(&target(sshd.port()), &as_root(home.path(), &key, &[]), &NoPrompt).unwrap();
    let (mut reader, mut writer, _status) = session.exec(b"cat").unwrap().split();
    let sent = noise(1, 64 << 20);
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
}

#[test]
fn a_killed_command_names_its_signal() {
    let home = home();
    let key = keygen(home.path(), "key", &["-t", "ed25519"]);
    let sshd = sshd_for(&[&key]);
    let session =
        Session::connect(&target(sshd.port()), &as_root(home.path(), &key, &[]), &NoPrompt).unwrap();
    let (_, status) = session.exec(b"kill -TERM $$").unwrap().output().unwrap();
    assert_eq!(status.to_string(), "killed by SIGTERM");
}

#[test]
fn a_way_through_a_real_jump_host_works() {
    let home = home();
    let key = keygen(home.path(), "key", &["-t", "ed25519"]);
    let (gate, inner) = (sshd_for(&[&key]), sshd_for(&[&key]));
    let config = format!(
        "Host *\n HostName 127.0.0.1\n User root\n IdentityFile {}\nHost gate\n Port {}\nHost inner\n Port {}\n \
         ProxyJump gate\n",
        key.display(),
        gate.port(),
        inner.port()
    );
    let file = home.path().join("config");
    fs::write(&file, config).unwrap();
    let mut options = options(home.path(), &key, &[]);
    options.config_file = Some(file);
    let session = Session::connect(&coast_ssh::Target::host("inner"), &options, &NoPrompt).unwrap();
    let (output, _) = session.exec(b"echo $SSH_CONNECTION").unwrap().output().unwrap();
    assert!(String::from_utf8(output).unwrap().trim().ends_with(&inner.port().to_string()));
    let peer = session.peer();
    assert_eq!(
        (peer.port, peer.address, &peer.jumps),
        (inner.port(), None, &vec![format!("127.0.0.1:{}", gate.port())])
    );
    assert_eq!(peer.host_key.openssh, inner.host_key());
}

/// Starts the helper as `user` and gives the user it runs as, by the name `id` has for it.
fn helper_runs_as(sshd: &Sshd, user: &Account, key: &Path, sudo: Sudo) -> Result<(RunsAs, String), SshError> {
    let home = home();
    let options = as_user(user.name(), home.path(), key, &[]);
    let session = Session::connect(&target(sshd.port()), &options, &NoPrompt).unwrap();
    let mut spec = helper_script("whoami", &greeting_then("id -un; exec cat"));
    spec.sudo = sudo;
    let helper = session.start_helper(&spec)?;
    let runs_as = helper.runs_as().clone();
    let (mut reader, mut writer, _) = helper.split();
    writer.write_all(b"whole").unwrap();
    drop(writer);
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    let (name, rest) = output.split_once('\n').unwrap();
    assert_eq!(rest, "whole");
    Ok((runs_as, name.to_owned()))
}

#[test]
fn sudo_is_used_where_it_works_and_told_about_where_it_does_not() {
    let dir = home();
    let open = homes();
    let key = keygen(dir.path(), "key", &["-t", "ed25519"]);
    let sshd = sshd_for(&[&key]);

    let free = Account::create(open.path(), &Shell::Bash, Sudoer::WithoutPassword);
    let root = (RunsAs::Root, "root".to_owned());
    assert_eq!(helper_runs_as(&sshd, &free, &key, Sudo::Auto).unwrap(), root);
    assert_eq!(helper_runs_as(&sshd, &free, &key, Sudo::Always).unwrap(), root);
    assert_eq!(
        helper_runs_as(&sshd, &free, &key, Sudo::Never).unwrap(),
        (RunsAs::User, free.name().to_owned())
    );

    let asked = Account::create(open.path(), &Shell::Dash, Sudoer::WithPassword);
    let after = RunsAs::UserAfter(SudoRefusal::WantsPassword);
    assert_eq!(helper_runs_as(&sshd, &asked, &key, Sudo::Auto).unwrap(), (after, asked.name().to_owned()));
    let error = helper_runs_as(&sshd, &asked, &key, Sudo::Always).unwrap_err();
    assert!(matches!(error, SshError::Sudo { refusal: SudoRefusal::WantsPassword, .. }), "{error:?}");

    let none = Account::create(open.path(), &Shell::Dash, Sudoer::Never);
    let (runs_as, name) = helper_runs_as(&sshd, &none, &key, Sudo::Auto).unwrap();
    assert!(matches!(runs_as, RunsAs::UserAfter(_)), "{runs_as:?}");
    assert_eq!(name, none.name());
}

#[test]
fn an_unprivileged_user_gets_the_helper_in_every_login_shell() {
    let dir = home();
    let open = homes();
    let key = keygen(dir.path(), "key", &["-t", "ed25519"]);
    let sshd = sshd_for(&[&key]);
    for shell in [Shell::Bash, Shell::Dash, Shell::Fish] {
        let user = Account::create(open.path(), &shell, Sudoer::WithoutPassword);
        let options = as_user(user.name(), dir.path(), &key, &[("UserKnownHostsFile", "/dev/null")]);
        let session = Session::connect(&target(sshd.port()), &options, &NoPrompt).unwrap();
        for deployed in [true, false] {
            let helper = session
                .start_helper(&echo_helper("abc"))
                .unwrap_or_else(|error| panic!("{shell:?}: {error}"));
            assert_eq!((helper.deployed(), helper.runs_as()), (deployed, &RunsAs::Root), "{shell:?}");
        }
    }
}

#[test]
fn a_home_that_cannot_be_written_falls_back_to_a_directory_of_the_users_own() {
    use std::os::unix::fs::MetadataExt;
    let dir = home();
    let open = homes();
    let key = keygen(dir.path(), "key", &["-t", "ed25519"]);
    let sshd = sshd_for(&[&key]);
    let user = Account::create(open.path(), &Shell::Bash, Sudoer::Never);
    let uid = fs::metadata(user.home()).unwrap().uid();
    run("chown", &["root:root", user.home().to_str().unwrap()]);
    run("chmod", &["755", user.home().to_str().unwrap()]);
    let options = as_user(user.name(), dir.path(), &key, &[]);
    let session = Session::connect(&target(sshd.port()), &options, &NoPrompt).unwrap();
    let mut spec = HelperSpec::new(echo_helper("abc").programs);
    assert!(session.start_helper(&spec).unwrap().deployed());
    let fallback = PathBuf::from(format!("/var/tmp/coast-{uid}"));
    let metadata = fs::metadata(&fallback).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (uid, 0o700));
    assert!(!session.start_helper(&spec).unwrap().deployed());

    // Another user's directory is not used, though it can be written.
    fs::remove_dir_all(&fallback).unwrap();
    fs::create_dir(&fallback).unwrap();
    run("chmod", &["777", fallback.to_str().unwrap()]);
    spec.directories.truncate(2);
    let error = session.start_helper(&spec).map(|_| ()).unwrap_err();
    fs::remove_dir_all(&fallback).unwrap();
    let text = error.to_string();
    assert!(text.contains("belongs to another user") && text.contains("not writable"), "{text}");
}
