//! Users of this machine that exist for the time of a test, with a home, a login shell and a rule for sudo.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::programs::{require, require_root, run};

/// Whether an account may become root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sudo {
    /// `sudo -n` works.
    WithoutPassword,
    /// sudo asks for a password.
    WithPassword,
    /// No rule of sudo names the account.
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
    /// A shell script with this text.
    Script(String),
}

/// A user named `coast-e2e-…`, removed when dropped.
#[derive(Debug)]
pub struct Account {
    name: String,
    home: PathBuf,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Makes a user whose home is `directory/home-…`. Every user must be able to enter `directory`.
    ///
    /// # Panics
    /// When the process does not run as root or a program is missing.
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
        let account = Self { name, home, uid: owner.uid(), gid: owner.gid() };
        account.remove_fallbacks();
        match sudo {
            Sudo::WithoutPassword => {
                account.set_sudoers(&format!("{} ALL=(ALL) NOPASSWD: ALL\n", account.name))
            }
            Sudo::WithPassword => account.set_sudoers(&format!("{} ALL=(ALL) ALL\n", account.name)),
            Sudo::Never => {}
        }
        account
    }

    /// Replaces the rules of sudo for this account. They are removed with the account.
    ///
    /// # Panics
    /// When the process does not run as root.
    pub fn set_sudoers(&self, rules: &str) {
        let path = self.sudoers();
        // The sudo of another test may read the directory at the same time and must not find half a file. It skips files
        // with a dot in their name.
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, rules).expect("root writes sudoers");
        fs::set_permissions(&unfinished, Permissions::from_mode(0o440)).expect("root changes modes");
        fs::rename(&unfinished, &path).expect("root writes sudoers");
    }

    fn sudoers(&self) -> PathBuf {
        Path::new("/etc/sudoers.d").join(&self.name)
    }

    /// The login name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The numeric user id.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The numeric id of the user's group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Makes the account the owner of a file or directory. Entries below a directory keep their owners.
    ///
    /// # Panics
    /// When there is no such path.
    pub fn own(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        lchown(path, Some(self.uid), Some(self.gid))
            .unwrap_or_else(|error| panic!("own {}: {error}", path.display()));
    }

    /// Makes the public key in the file `public` the only key that the account accepts.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn authorize(&self, public: impl AsRef<Path>) {
        let directory = self.home.join(".ssh");
        fs::create_dir_all(&directory).expect("root writes homes");
        fs::copy(public, directory.join("authorized_keys")).expect("the public key is there");
        fs::set_permissions(&directory, Permissions::from_mode(0o700)).expect("root changes modes");
        self.own(&directory);
        self.own(directory.join("authorized_keys"));
    }
}

impl Account {
    /// Removes helper programs outside of the home. The next account with this user id would find them.
    fn remove_fallbacks(&self) {
        for directory in ["/var/tmp", "/tmp", "/dev/shm"] {
            let _ = fs::remove_dir_all(format!("{directory}/coast-{}", self.uid));
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _turn = turn();
        let _ = fs::remove_file(self.sudoers());
        self.remove_fallbacks();
        // The home is removed with the caller's directory. A failure here must not hide the failure of a test.
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

/// Waits for the lock that lets one process at a time change users: a second `useradd` does not wait, it fails.
fn turn() -> File {
    let lock =
        File::create(std::env::temp_dir().join("coast-e2e-accounts.lock")).expect("root writes anywhere");
    lock.lock().expect("a file can be locked");
    lock
}
