//! Connections that fail, each with a message of its own, and the options that choose host, port, user and key.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coast_tests::{
    Account, Aspects, Outcome, Program, Remote, Shell, Snapshot, Sshd, Sudo, Tree, make_key, noise,
    public_key, require,
};

fn remote() -> Remote {
    let remote = Remote::with(&Shell::Bash, Sudo::Never);
    Tree::new().file("hello", "hello").build(remote.path("src"));
    remote
}

/// `coast push` without options for port and key.
fn push(remote: &Remote, arguments: &[&str], target: &str) -> Program {
    remote.sandbox().coast(["push"]).args(arguments).arg(remote.path("src")).arg(target)
}

fn arrived(remote: &Remote) -> bool {
    remote.account().home().join("space/hello").exists()
}

/// Writes a file in the client's `.ssh`.
fn configure(remote: &Remote, name: &str, content: &str) {
    let directory = remote.path("home/.ssh");
    fs::create_dir_all(&directory).expect("the home is ours");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("the home is ours");
    fs::write(directory.join(name), content).expect("the home is ours");
    fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o600)).expect("the home is ours");
}

#[test]
fn an_unknown_host_is_accepted_said_and_recorded() {
    let remote = remote();
    let first = remote.push([""; 0], remote.path("src"), "space").run();
    first.assert_code(0).assert_says("SHA256:");
    let known = fs::read_to_string(remote.path("home/.ssh/known_hosts")).expect("the host was recorded");
    // The system's configuration may hash the name of the host.
    assert!(known.contains(&remote.sshd().host_key()), "{known}");
    remote.push([""; 0], remote.path("src"), "space").run().assert_code(0).assert_does_not_say("SHA256:");
}

#[test]
fn an_unknown_host_is_refused_where_checking_is_strict() {
    let remote = remote();
    configure(&remote, "config", "Host *\n  StrictHostKeyChecking yes\n");
    let outcome = remote.push([""; 0], remote.path("src"), "space").run();
    outcome.assert_code(255).assert_says("SHA256:").assert_says("StrictHostKeyChecking");
    assert!(!arrived(&remote));
}

#[test]
fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let remote = remote();
    make_key(remote.path("other"), &[]);
    let other = public_key(remote.path("other"));
    configure(&remote, "known_hosts", &format!("[127.0.0.1]:{} {other}\n", remote.sshd().port()));
    let outcome = remote.push([""; 0], remote.path("src"), "space").run();
    outcome.assert_code(255).assert_says("changed").assert_says("known_hosts");
    let fingerprint = |key: &Path| {
        let output = Command::new(require("ssh-keygen", "openssh-client")).arg("-lf").arg(key).output();
        let line =
            String::from_utf8(output.expect("ssh-keygen starts").stdout).expect("fingerprints are text");
        line.split(' ').nth(1).expect("bits, fingerprint, comment").to_owned()
    };
    outcome.assert_says(&fingerprint(&remote.path("other.pub")));
    outcome.assert_says(&fingerprint(&remote.sshd().host_key_file()));
    assert!(!arrived(&remote));
}

#[test]
fn a_key_that_is_not_accepted_is_named() {
    let remote = remote();
    make_key(remote.path("wrong"), &[]);
    let target = format!("{}@127.0.0.1:space", remote.account().name());
    let port = remote.sshd().port().to_string();
    let wrong = remote.path("wrong");
    let wrong = wrong.to_str().expect("paths of tests are text");
    push(&remote, &["-p", &port, "-i", wrong], &target).run().assert_code(255).assert_says(wrong);
    assert!(!arrived(&remote));
}

#[test]
fn no_key_at_all_says_so() {
    let remote = remote();
    let target = format!("{}@127.0.0.1:space", remote.account().name());
    let port = remote.sshd().port().to_string();
    push(&remote, &["-p", &port], &target).run().assert_code(255).assert_says("key");
}

#[test]
fn a_missing_key_file_is_named() {
    let remote = remote();
    let target = format!("{}@127.0.0.1:space", remote.account().name());
    let port = remote.sshd().port().to_string();
    let outcome = push(&remote, &["-p", &port, "-i", "/nonexistent/key"], &target).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("/nonexistent/key");
}

#[test]
fn an_encrypted_key_without_a_terminal_is_named() {
    let remote = remote();
    make_key(remote.path("locked"), &["-N", "a passphrase"]);
    remote.account().authorize(remote.path("locked.pub"));
    let target = format!("{}@127.0.0.1:space", remote.account().name());
    let port = remote.sshd().port().to_string();
    let locked = remote.path("locked");
    let outcome = push(&remote, &["-p", &port, "-i", locked.to_str().expect("text")], &target).run();
    outcome.assert_code(255).assert_says("passphrase");
    assert!(!arrived(&remote));
}

/// The exit code for a host that cannot be reached. It is rsync's code for errors of sockets.
const NO_CONNECTION: i32 = 10;

#[test]
fn a_port_on_which_nothing_listens_refuses() {
    let remote = remote();
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port is free")
        .port();
    let outcome = push(&remote, &["-p", &port.to_string()], "nobody@127.0.0.1:space").run();
    outcome.assert_code(NO_CONNECTION);
    outcome.assert_says("refused").assert_says(&port.to_string());
}

#[test]
fn a_host_that_says_nothing_is_given_up_after_ten_seconds() {
    let remote = remote();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = silent.local_addr().expect("it is bound").port().to_string();
    let outcome =
        push(&remote, &["-p", &port], "nobody@127.0.0.1:space").limit(Duration::from_secs(40)).run();
    outcome.assert_code(NO_CONNECTION);
    outcome.assert_says("timed out");
    assert!((8..16).contains(&outcome.elapsed.as_secs()), "{outcome}");
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    let remote = remote();
    let outcome = push(&remote, &[], "nobody@host.invalid:space").run();
    outcome.assert_code(NO_CONNECTION);
    outcome.assert_says("host.invalid");
}

#[test]
fn a_server_of_another_kind_is_no_ssh_server() {
    let remote = remote();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let web = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        // The client may disconnect before everything is written.
        let _ =
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    });
    let outcome = push(&remote, &["-p", &port], "nobody@127.0.0.1:space").run();
    assert!([NO_CONNECTION, 12, 255].contains(&outcome.code()), "{outcome}");
    web.join().expect("the server does not panic");
}

#[test]
fn a_host_of_the_configuration_is_found_by_its_alias() {
    let remote = remote();
    let config = format!(
        "Host devbox\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n",
        remote.sshd().port(),
        remote.account().name(),
        remote.key().display()
    );
    configure(&remote, "config", &config);
    push(&remote, &[], "devbox:space").run().assert_code(0);
    assert!(arrived(&remote));
}

#[test]
fn a_host_behind_another_is_reached_through_it() {
    let remote = remote();
    let directory = remote.path("jump");
    fs::create_dir(&directory).expect("the sandbox is ours");
    let gate = Account::create(&directory, &Shell::Bash, Sudo::Never);
    gate.authorize(remote.path("key.pub"));
    let jump = Sshd::start();
    let config = format!(
        "Host gate\n  HostName 127.0.0.1\n  Port {}\n  User {}\n\
         Host devbox\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  ProxyJump gate\n\
         Host *\n  IdentityFile {}\n",
        jump.port(),
        gate.name(),
        remote.sshd().port(),
        remote.account().name(),
        remote.key().display()
    );
    configure(&remote, "config", &config);
    push(&remote, &[], "devbox:space").run().assert_code(0);
    assert!(arrived(&remote));
}

/// Pushes noise over several streams, so slowly that they have joined long before the end.
fn push_over_streams(remote: &Remote, streams: &str) -> Outcome {
    Tree::new().file("noise", noise(7, 12 << 20)).build(remote.path("noise"));
    let destination = remote.account().home().join("space");
    let options = ["--bwlimit=4m", "--streams", streams];
    let pushed = remote.push(options, remote.path("noise"), &destination).run();
    pushed.assert_code(0);
    Snapshot::of(&destination).assert_same(&Snapshot::of(remote.path("noise")), Aspects::CONTENT);
    pushed
}

#[test]
fn several_streams_carry_a_push_to_a_helper_of_root() {
    // The path of the shell is not known yet when its text is made, so the log lies beside it.
    let shell = "#!/bin/sh\necho \"$*\" >>\"$(dirname \"$0\")/log\"\nexec /bin/sh \"$@\"\n";
    let remote = Remote::with(&Shell::Script(shell.to_owned()), Sudo::WithoutPassword);
    fs::write(remote.path("server/log"), "").expect("the sandbox is ours");
    remote.account().own(remote.path("server/log"));
    push_over_streams(&remote, "4").assert_does_not_say("instead of");
    let log = fs::read_to_string(remote.path("server/log")).expect("the commands were logged");
    for number in 1..4 {
        assert!(log.contains(&format!("--number={number}")), "{log}");
    }
    assert!(!log.contains("--number=4"), "{log}");
}

#[test]
fn user_is_told_when_the_server_allows_fewer_streams_and_the_push_goes_on() {
    let remote = Remote::configured("MaxSessions 2");
    push_over_streams(&remote, "4").assert_says("the run has 2 streams instead of 4");
}

/// An ssh-agent, ended when dropped.
struct Agent {
    child: Child,
}

impl Agent {
    fn start(socket: &Path) -> Self {
        let mut agent = Command::new(require("ssh-agent", "openssh-client"));
        let mut child =
            agent.arg("-D").arg("-a").arg(socket).stdout(Stdio::piped()).spawn().expect("ssh-agent starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        // The agent prints its address once it listens.
        BufReader::new(stdout).read_line(&mut String::new()).expect("the agent speaks");
        Self { child }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_key_in_the_agent_opens_the_door() {
    let remote = remote();
    let socket = remote.path("agent");
    let _agent = Agent::start(&socket);
    let mut add = Command::new(require("ssh-add", "openssh-client"));
    let added =
        add.arg("-q").arg(remote.key()).env("SSH_AUTH_SOCK", &socket).status().expect("ssh-add starts");
    assert!(added.success());
    let target = format!("{}@127.0.0.1:space", remote.account().name());
    let port = remote.sshd().port().to_string();
    push(&remote, &["-p", &port], &target).env("SSH_AUTH_SOCK", &socket).run().assert_code(0);
    assert!(arrived(&remote));
}

#[test]
fn a_default_key_of_the_home_opens_the_door() {
    let remote = remote();
    configure(&remote, "id_ed25519", &fs::read_to_string(remote.key()).expect("the key is there"));
    let target = format!("{}@127.0.0.1:space", remote.account().name());
    let port = remote.sshd().port().to_string();
    push(&remote, &["-p", &port], &target).run().assert_code(0);
    assert!(arrived(&remote));
}

#[test]
fn keys_of_all_kinds_open_the_door() {
    let remote = remote();
    let directory = remote.account().home().join(".ssh/authorized_keys");
    let kinds: [(&str, &[&str]); 4] = [
        ("rsa", &["-t", "rsa", "-b", "3072"]),
        ("ecdsa", &["-t", "ecdsa", "-b", "256"]),
        ("pem", &["-t", "rsa", "-b", "3072", "-m", "PEM"]),
        ("pkcs8", &["-t", "ecdsa", "-b", "384", "-m", "PKCS8"]),
    ];
    for (name, arguments) in kinds {
        let key = remote.path(name);
        make_key(&key, arguments);
        fs::copy(remote.path(format!("{name}.pub")), &directory).expect("root writes homes");
        let target = format!("{}@127.0.0.1:{name}", remote.account().name());
        let port = remote.sshd().port().to_string();
        push(&remote, &["-p", &port, "-i", key.to_str().expect("text")], &target).run().assert_code(0);
        assert!(remote.account().home().join(name).join("hello").exists());
    }
}
