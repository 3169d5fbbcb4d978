//! The SSH server of the bench, and its user, who may become root by sudo without a password.
//! Server, user and keys exist only while the bench runs.

use super::process::{self, Process};
use anyhow::{Context, Result};
use coast_testkit::{Account, Shell, Sshd, SshdOptions, Sudo, make_key};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A running server with one user. Fields end in the order of their declaration: server, user, files.
pub(crate) struct Server {
    sshd: Sshd,
    account: Account,
    /// The home of the user and the keys. Not in memory: helper programs run from the home, and a file system in memory often
    /// refuses to run programs.
    directory: TempDir,
}

impl Server {
    /// Makes the user and the keys, and waits until the server listens.
    pub(crate) fn start() -> Result<Self> {
        let directory =
            TempDir::with_prefix("coast-bench-").context("making the directory of the SSH user")?;
        // The user must be able to enter the home within.
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))
            .with_context(|| format!("opening {} to the SSH user", directory.path().display()))?;
        make_key(directory.path().join("key"), &[]);
        let account = Account::create(directory.path(), &Shell::Dash, Sudo::WithoutPassword);
        account.authorize(directory.path().join("key.pub"));
        let sshd = SshdOptions::new().line(format!("AllowUsers {}", account.name())).start();
        Ok(Self { sshd, account, directory })
    }

    pub(crate) fn port(&self) -> u16 {
        self.sshd.port()
    }

    pub(crate) fn user(&self) -> &str {
        self.account.name()
    }

    /// The client's private key.
    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// The process that accepts connections. Its descendants do all the work of the remote side.
    pub(crate) fn process(&self) -> Process {
        Process(self.sshd.pid())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The sessions first: once the listener has ended they are no longer its descendants.
        for process in process::descendants(self.process()) {
            process.signal(Signal::KILL);
        }
    }
}
