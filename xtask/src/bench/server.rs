//! An OpenSSH server for the bench alone: own configuration, own keys, inside the bench's network.
//! Only the bench's user gets in, and only with the key made for this run.

use super::account::Account;
use super::network::Network;
use super::process::{self, Process};
use crate::program;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Free in any case: the network is new.
const PORT: u16 = 2222;
/// sshd starts itself anew for each connection and insists on an absolute path for that.
const PROGRAM: &str = "/usr/sbin/sshd";
/// The directory sshd wants for the part of it that runs without rights; absent where no sshd ever started.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running server.
pub(crate) struct Server<'a> {
    pub(crate) network: &'a Network,
    pub(crate) port: u16,
    pub(crate) user: &'static str,
    /// The client's private key.
    pub(crate) key: PathBuf,
    listener: Child,
}

impl<'a> Server<'a> {
    /// Makes keys and configuration in `directory` and waits until the server listens.
    pub(crate) fn start(network: &'a Network, account: &Account, directory: &Path) -> Result<Self> {
        let folder = directory.join("ssh");
        fs::create_dir(&folder)
            .and_then(|()| fs::create_dir_all(PRIVILEGE_SEPARATION))
            .and_then(|()| fs::set_permissions(directory, PermissionsExt::from_mode(0o755)))
            .with_context(|| format!("making {}", folder.display()))?;
        let host_key = make_key(&folder.join("host"))?;
        let key = make_key(&folder.join("client"))?;
        let configuration = folder.join("sshd_config");
        let text = format!(
            "ListenAddress 127.0.0.1\nPort {PORT}\nHostKey {}\nAuthorizedKeysFile {}.pub\nAllowUsers {}\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPidFile none\n\
             # The keys lie in a directory that everybody may write to, as those in memory are.\nStrictModes no\n",
            host_key.display(),
            key.display(),
            account.name(),
        );
        fs::write(&configuration, text).with_context(|| format!("writing {}", configuration.display()))?;

        let mut listener = network
            .command(PROGRAM)
            .args(["-D", "-e", "-f"])
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting sshd (of the package openssh-server)")?;
        let log = listener.stderr.take().expect("standard error is a pipe");
        let server = Self { network, port: PORT, user: account.name(), key, listener };
        wait_until_listening(log)?;
        Ok(server)
    }

    /// The process that accepts connections; what the remote side does is done by its descendants.
    pub(crate) fn process(&self) -> Process {
        Process(self.listener.id())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // The sessions first: once the listener is gone they are no longer its descendants.
        for process in process::descendants(self.process()) {
            process.signal(Signal::KILL);
        }
        self.process().signal(Signal::TERM);
        // It was asked to end; there is nothing left to do about an error.
        let _ = self.listener.wait();
    }
}

fn make_key(path: &Path) -> Result<PathBuf> {
    program::output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path))
        .with_context(|| format!("making the key {}", path.display()))?;
    Ok(path.to_owned())
}

/// Waits for sshd's own word for it, then keeps reading so that its log never fills the pipe.
fn wait_until_listening(log: ChildStderr) -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            // Nobody listens any more once the server runs.
            let _ = sender.send(line);
        }
    });
    let mut said = Vec::new();
    loop {
        match receiver.recv_timeout(START_LIMIT) {
            Ok(line) if line.contains("Server listening on") => return Ok(()),
            Ok(line) => said.push(line),
            Err(_) => bail!("sshd did not start to listen: {}", said.join("; ")),
        }
    }
}
