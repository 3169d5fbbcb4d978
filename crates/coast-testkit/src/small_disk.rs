//! A small file system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::require_root;

/// A tmpfs of 1 MiB, mounted until this is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at a path, where a directory is made if there is none.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn mount(at: impl Into<PathBuf>) -> Self {
        let at = at.into();
        require_root();
        fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&at).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mounting a tmpfs at {}", at.display());
        Self(at)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}
