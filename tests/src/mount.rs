//! Mounts: a small file system in memory, which can be full or refuse programs, and a directory or file that is shown at
//! another path.

use std::path::{Path, PathBuf};
use std::process::Command;

use coast_testkit::{require, require_root};

/// A mount, unmounted when dropped.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts a tmpfs with these options, such as `size=1m` or `noexec`, over an existing directory.
    ///
    /// # Panics
    /// When the test does not run as root or the kernel refuses.
    #[must_use]
    pub fn tmpfs(at: impl AsRef<Path>, options: &str) -> Self {
        Self::by(at.as_ref(), |mount| {
            mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
        })
    }

    /// Shows a file or directory at another path too, over the entry there, as containers do.
    ///
    /// # Panics
    /// When the test does not run as root or the kernel refuses.
    #[must_use]
    pub fn bind(what: impl AsRef<Path>, at: impl AsRef<Path>) -> Self {
        Self::by(at.as_ref(), |mount| {
            mount.arg("--bind").arg(what.as_ref());
        })
    }

    fn by(at: &Path, say_what: impl FnOnce(&mut Command)) -> Self {
        require_root();
        let at = at.to_path_buf();
        let mut mount = Command::new(require("mount", "mount"));
        say_what(&mut mount);
        let output = mount.arg(&at).output().expect("mount starts");
        assert!(output.status.success(), "{mount:?}: {}", String::from_utf8_lossy(&output.stderr));
        Self { at }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, because a process that a failed test left behind must not keep the directory from being removed.
        let _ = Command::new(require("umount", "mount")).arg("--lazy").arg(&self.at).output();
    }
}
