//! Users of this machine that a test makes for itself and that are gone when it ends: home, login shell, and whether
//! they may use sudo without a password.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::binaries::{require, require_root};

/// Whether an account may become root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sudo {
    /// `sudo -n` works.
    WithoutPassword,
    /// sudo would ask for a password.
    WithPassword,
    /// sudo knows nothing of the user.
    Never,
}

/// The login shell of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shell {
    /// `bash`.
    Bash,
    /// `dash`.
    Dash,
    /// The `ash` of busybox.
    BusyboxAsh,
    /// `fish`.
    Fish,
    /// A shell script of the test, given as its text.
    Script(String),
}

/// A user made for a test, `coast-e2e-…`, removed when dropped.
pub struct Account {
    name: String,
    home: PathBuf,
    uid: u32,
    gid: u32,
    sudoers: Option<PathBuf>,
}

impl Account {
    /// Makes a user whose home is `directory/home-…`.
    ///
    /// # Panics
    /// When the test does not run as root or a program is missing.
    #[must_use]
    pub fn create(directory: &Path, shell: &Shell, sudo: Sudo) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        require_root();
        require("sudo", "sudo");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("coast-e2e-{}-{number}", std::process::id());
        let home = directory.join(format!("home-{number}"));
        let shell = shell.install(directory, &name);
        let _turn = turn();
        // A password of "*" matches nothing typed; the default "!" would lock the account against keys as well.
        let mut useradd = Command::new(require("useradd", "passwd"));
        useradd.args(["--no-log-init", "--create-home", "--password", "*", "--user-group", "--home-dir"]);
        run(useradd.arg(&home).arg("--shell").arg(shell).arg(&name));
        let owner = fs::metadata(&home).expect("useradd made the home");
        let mut account = Self { name, home, uid: owner.uid(), gid: owner.gid(), sudoers: None };
        account.remove_fallbacks();
        match sudo {
            Sudo::WithoutPassword => account.allow_sudo("NOPASSWD: ALL"),
            Sudo::WithPassword => account.allow_sudo("ALL"),
            Sudo::Never => {}
        }
        account
    }

    fn allow_sudo(&mut self, what: &str) {
        let path = Path::new("/etc/sudoers.d").join(&self.name);
        // Another test's sudo may be reading the directory: it must find the file whole or not at all, and passes over
        // names with a dot.
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, format!("{} ALL=(ALL) {what}\n", self.name)).expect("root writes sudoers");
        fs::set_permissions(&unfinished, Permissions::from_mode(0o440)).expect("root changes modes");
        fs::rename(&unfinished, &path).expect("root writes sudoers");
        self.sudoers = Some(path);
    }

    /// Its login name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its numeric user.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its numeric group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Gives it a file or directory, without what is below.
    ///
    /// # Panics
    /// When there is no such path.
    pub fn own(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        lchown(path, Some(self.uid), Some(self.gid))
            .unwrap_or_else(|error| panic!("own {}: {error}", path.display()));
    }

    /// Lets whoever has the private key of `public` log in.
    ///
    /// # Panics
    /// When the key cannot be read.
    pub fn authorize(&self, public: &Path) {
        let directory = self.home.join(".ssh");
        fs::create_dir_all(&directory).expect("root writes homes");
        fs::copy(public, directory.join("authorized_keys")).expect("the public key is there");
        fs::set_permissions(&directory, Permissions::from_mode(0o700)).expect("root changes modes");
        self.own(&directory);
        self.own(directory.join("authorized_keys"));
    }
}

impl Account {
    /// Removes helpers outside of the home, which the next account with this number would find.
    fn remove_fallbacks(&self) {
        for directory in ["/var/tmp", "/tmp", "/dev/shm"] {
            let _ = fs::remove_dir_all(format!("{directory}/coast-{}", self.uid));
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _turn = turn();
        if let Some(sudoers) = &self.sudoers {
            let _ = fs::remove_file(sudoers);
        }
        self.remove_fallbacks();
        // The home lies in the test's own directory and goes with it. A failure here must not hide the test's own.
        let _ = Command::new(require("userdel", "passwd")).args(["--force", &self.name]).output();
    }
}

impl Shell {
    fn install(&self, directory: &Path, name: &str) -> PathBuf {
        match self {
            Self::Bash => require("bash", "bash"),
            Self::Dash => require("dash", "dash"),
            Self::Fish => require("fish", "fish"),
            Self::BusyboxAsh => {
                let busybox = require("busybox", "busybox");
                script(directory, name, &format!("#!/bin/sh\nexec {} ash \"$@\"\n", busybox.display()))
            }
            Self::Script(text) => script(directory, name, text),
        }
    }
}

fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(format!("shell-{name}"));
    fs::write(&path, text).expect("the test's directory can be written");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("root changes modes");
    path
}

/// The lock files of `/etc/passwd` make a second useradd fail instead of wait, so users are made one at a time.
fn turn() -> File {
    let lock =
        File::create(std::env::temp_dir().join("coast-e2e-accounts.lock")).expect("root writes anywhere");
    lock.lock().expect("a file can be locked");
    lock
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
