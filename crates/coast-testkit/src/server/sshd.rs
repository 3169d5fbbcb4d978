//! OpenSSH's server with a configuration, a host key and a port on 127.0.0.1 of its own. It is ended by its process id.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::key::{make_key, public_key};
use crate::programs::{require, require_root};

/// How to start an [`Sshd`]. By default each account logs in with the keys of its own `.ssh/authorized_keys`.
#[derive(Debug, Clone, Default)]
pub struct SshdOptions {
    lines: Vec<String>,
    authorized: Option<Vec<String>>,
}

impl SshdOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line to the server's configuration. It wins over the default line of that keyword.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Lets every account, root too, log in with these public keys (lines of `authorized_keys`) and with no others.
    #[must_use]
    pub fn authorize(mut self, keys: impl IntoIterator<Item = String>) -> Self {
        self.authorized.get_or_insert_default().extend(keys);
        self
    }

    /// Starts the server and returns when it listens.
    ///
    /// # Panics
    /// When the process does not run as root, a program is missing, or the server does not start.
    #[must_use]
    pub fn start(&self) -> Sshd {
        require_root();
        let program = require("sshd", "openssh-server");
        fs::create_dir_all("/run/sshd").expect("root makes the directory that sshd changes its root to");
        let directory =
            tempfile::Builder::new().prefix("coast-sshd-").tempdir().expect("a directory can be made");
        // The server reads the list of keys as the user who logs in.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .expect("the directory is ours");
        make_key(directory.path().join("host_key"), &[]);
        let port = free_port();
        let config = directory.path().join("sshd_config");
        fs::write(&config, self.config(directory.path(), port)).expect("the directory is ours");

        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut log = BufReader::new(child.stderr.take().expect("stderr is piped"));
        wait_until_listening(&mut log);
        // The rest of the log must be read, or the server would block on a full pipe.
        thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Sshd { child, directory, port }
    }

    /// For each keyword sshd takes the first line, so the caller's lines come first.
    fn config(&self, directory: &Path, port: u16) -> String {
        let mut config: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        let keys = match &self.authorized {
            None => PathBuf::from(".ssh/authorized_keys"),
            Some(keys) => {
                let path = directory.join("authorized_keys");
                fs::write(&path, keys.join("\n")).expect("the directory is ours");
                path
            }
        };
        write!(
            config,
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}/host_key\nAuthorizedKeysFile {}\nPidFile none\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n\
             # The files lie below a directory that everybody may write to.\nStrictModes no\n\
             PrintMotd no\nLogLevel VERBOSE\nMaxStartups 100\nSubsystem sftp internal-sftp\n",
            directory.display(),
            keys.display()
        )
        .expect("a string can be written to");
        config
    }
}

/// A running server, killed when dropped. A session that is still open then ends with its client.
#[derive(Debug)]
pub struct Sshd {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl Sshd {
    /// Starts a server with the default [`SshdOptions`].
    ///
    /// # Panics
    /// As [`SshdOptions::start`].
    #[must_use]
    pub fn start() -> Self {
        SshdOptions::new().start()
    }

    /// The port that the server listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the process that accepts connections. The processes of sessions are its children.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Cuts every connection off, as a broken network would. The server goes on.
    pub fn cut_connections(&self) {
        let mut processes = children(self.pid());
        while let Some(process) = processes.pop() {
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            // A command of a session is no child of the test's, and notices the end by itself.
            if name.starts_with("sshd") {
                processes.extend(children(process));
                let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("it is a process");
                // Fails for a process that has ended meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }

    /// The file of the server's public host key.
    #[must_use]
    pub fn host_key_file(&self) -> PathBuf {
        self.directory.path().join("host_key.pub")
    }

    /// The public host key as `known_hosts` has it: algorithm and key, without a comment.
    ///
    /// # Panics
    /// When the file of the key is gone.
    #[must_use]
    pub fn host_key(&self) -> String {
        let line = public_key(self.directory.path().join("host_key"));
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Both fail only for a server that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that a process has started.
fn children(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// A port on which nothing listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    listener.local_addr().expect("it is bound").port()
}

fn wait_until_listening(log: &mut impl BufRead) {
    let mut said = String::new();
    while !said.contains("Server listening on") {
        let read = log.read_line(&mut said).expect("sshd logs text");
        assert!(read > 0, "sshd ended instead of listening:\n{said}");
    }
}
