//! A remote machine of a test: an sshd, a user, a key that the user's account accepts, and a sandbox for the client.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coast_testkit::{Account, Shell, Sshd, SshdOptions, Sudo, make_key};

use crate::program::Program;
use crate::sandbox::Sandbox;

/// A server with one user. Fields end in the order of their declaration: server, user, files.
pub struct Remote {
    sshd: Sshd,
    account: Account,
    sandbox: Sandbox,
}

impl Remote {
    /// A server whose user has bash and may use sudo without a password, as most machines have.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&Shell::Bash, Sudo::WithoutPassword)
    }

    /// A server whose user has this shell and these rights.
    ///
    /// # Panics
    /// When the test does not run as root or a program is missing.
    #[must_use]
    pub fn with(shell: &Shell, sudo: Sudo) -> Self {
        Self::of(shell, sudo, &SshdOptions::new())
    }

    /// The usual server, whose configuration has this line.
    #[must_use]
    pub fn configured(line: &str) -> Self {
        Self::of(&Shell::Bash, Sudo::WithoutPassword, &SshdOptions::new().line(line))
    }

    fn of(shell: &Shell, sudo: Sudo, server: &SshdOptions) -> Self {
        let sandbox = Sandbox::new();
        // The user must be able to enter the home within.
        fs::set_permissions(sandbox.path(""), fs::Permissions::from_mode(0o755))
            .expect("the directory is ours");
        let directory = sandbox.path("server");
        fs::create_dir(&directory).expect("a new sandbox has no server");
        make_key(sandbox.path("key"), &[]);
        let account = Account::create(&directory, shell, sudo);
        account.authorize(sandbox.path("key.pub"));
        Self { sshd: server.start(), account, sandbox }
    }

    /// The user on the server.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The server.
    #[must_use]
    pub fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// The sandbox of the client.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A path below the client's sandbox. Server and client share the disk, so the server can use it too.
    #[must_use]
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.sandbox.path(below)
    }

    /// The private key that the user's account accepts.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path("key")
    }

    /// `user@127.0.0.1:path`.
    #[must_use]
    pub fn target(&self, path: impl AsRef<OsStr>) -> OsString {
        let mut target = OsString::from(format!("{}@127.0.0.1:", self.account.name()));
        target.push(path.as_ref());
        target
    }

    /// `-p PORT -i KEY`, as `coast push` takes them.
    #[must_use]
    pub fn connection(&self) -> Vec<OsString> {
        vec!["-p".into(), self.sshd.port().to_string().into(), "-i".into(), self.key().into()]
    }

    /// `ssh -p PORT -i KEY`, as `-e` of rsync and of `coast sync` takes it. No host key is checked or recorded.
    #[must_use]
    pub fn remote_shell(&self) -> OsString {
        let port = self.sshd.port();
        format!(
            "ssh -p {port} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            self.key().display()
        )
        .into()
    }

    /// `coast push ARGUMENTS LOCAL USER@HOST:REMOTE` with the right port and key.
    #[must_use]
    pub fn push<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        local: impl AsRef<OsStr>,
        remote: impl AsRef<OsStr>,
    ) -> Program {
        let program = self.sandbox.coast(["push"]).args(self.connection()).args(arguments);
        program.arg(local).arg(self.target(remote))
    }
}
