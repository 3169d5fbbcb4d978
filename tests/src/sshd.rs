//! An OpenSSH server of the test's own: its own configuration, host key and port on 127.0.0.1, ended by its process id.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::binaries::{require, require_root};

/// A running server, ended when dropped.
pub struct Sshd {
    child: Child,
    directory: PathBuf,
    port: u16,
}

impl Sshd {
    /// Starts a server that keeps its files in `directory`.
    ///
    /// # Panics
    /// When the test does not run as root, openssh-server is missing, or the server does not start.
    #[must_use]
    pub fn start(directory: &Path) -> Self {
        require_root();
        let program = require("sshd", "openssh-server");
        fs::create_dir_all("/run/sshd").expect("root makes the server's empty directory");
        make_key(&directory.join("host_key"));
        let port = free_port();
        let config = directory.join("sshd_config");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host_key\nPidFile {0}/sshd.pid\n\
             AuthorizedKeysFile .ssh/authorized_keys\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             UsePAM no\nStrictModes no\nPrintMotd no\nLogLevel VERBOSE\nMaxStartups 100\nSubsystem sftp internal-sftp\n",
            directory.display()
        );
        fs::write(&config, text).expect("the test's directory can be written");
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("sshd starts");
        let mut log = BufReader::new(child.stderr.take().expect("stderr is piped"));
        wait_until_listening(&mut log);
        // The rest of the log must be read, or the server would block on a full pipe.
        thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Self { child, directory: directory.into(), port }
    }

    /// The port it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its public host key, as a line of `known_hosts` has it: algorithm and key.
    ///
    /// # Panics
    /// When the key is gone.
    #[must_use]
    pub fn host_key(&self) -> String {
        let line =
            fs::read_to_string(self.directory.join("host_key.pub")).expect("the server's key is there");
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // The listener ends here; a session still open ends with its client.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes an ed25519 key without a passphrase at `path`, and `path.pub`.
///
/// # Panics
/// When ssh-keygen is missing or fails.
pub(crate) fn make_key(path: &Path) {
    let mut keygen = Command::new(require("ssh-keygen", "openssh-client"));
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "coast-e2e", "-f"]).arg(path);
    let output = keygen.output().expect("ssh-keygen starts");
    assert!(output.status.success(), "{keygen:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A port on which nothing listens.
pub(crate) fn free_port() -> u16 {
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
