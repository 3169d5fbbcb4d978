//! Files in the making: written where no watcher of the workspace looks, and moved into place whole.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coast_tree::{DirHandle, Name, Replace, Stat};
use rustix::fs::{Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};

use super::attributes::DesiredAttributes;

/// The staging area of a run.
#[derive(Clone)]
pub(super) struct Staging {
    dir: DirHandle,
    next: Arc<AtomicU64>,
    /// The mode bits that the system takes from what is created here.
    process_umask: u32,
}

/// An entry in the making. Dropped before it was placed, it is gone.
pub(super) struct Staged {
    dir: DirHandle,
    name: Option<Name>,
}

impl Staging {
    pub(super) fn new(dir: DirHandle, process_umask: u32) -> Self {
        Self { dir, next: Arc::default(), process_umask }
    }

    pub(super) fn dir(&self) -> &DirHandle {
        &self.dir
    }

    /// Whether the system takes some of these bits from what is made.
    pub(super) fn masks(&self, mode: u32) -> bool {
        mode & self.process_umask != 0
    }

    fn name(&self) -> Name {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Name::new(number.to_string().as_bytes()).expect("digits are a name")
    }

    /// A new empty file with these bits.
    pub(super) fn file(&self, mode: u32) -> io::Result<(Staged, File)> {
        let name = self.name();
        let file = self.dir.create_file(&name, mode)?;
        let staged = Staged { dir: self.dir.clone(), name: Some(name) };
        if self.masks(mode) {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode as _))?;
        }
        Ok((staged, file))
    }

    /// A new entry that `make` creates under the name it is given.
    pub(super) fn entry(&self, make: impl FnOnce(&DirHandle, &Name) -> io::Result<()>) -> io::Result<Staged> {
        let name = self.name();
        make(&self.dir, &name)?;
        Ok(Staged { dir: self.dir.clone(), name: Some(name) })
    }

    /// What a deferred placement left here.
    pub(super) fn adopt(&self, name: Name) -> Staged {
        Staged { dir: self.dir.clone(), name: Some(name) }
    }
}

impl Staged {
    /// Moves it into place.
    pub(super) fn place(&mut self, dir: &DirHandle, name: &Name) -> io::Result<()> {
        if let Some(staged) = &self.name {
            self.dir.rename_to(staged, dir, name, Replace::Any)?;
            self.name = None;
        }
        Ok(())
    }

    /// Leaves it in the staging area under the name it has.
    pub(super) fn defer(mut self) -> Option<Name> {
        self.name.take()
    }

    /// Its status while it is here.
    pub(super) fn stat(&self) -> io::Result<Option<Stat>> {
        self.name.as_ref().map_or(Ok(None), |name| self.dir.stat(name))
    }

    /// Gives an entry that is no regular file what it shall be.
    pub(super) fn set(&self, desired: &DesiredAttributes) -> io::Result<()> {
        let Some(name) = &self.name else { return Ok(()) };
        if desired.uid.is_some() || desired.gid.is_some() {
            self.dir.chown(name, desired.uid, desired.gid)?;
        }
        if let Some(mode) = desired.mode {
            self.dir.chmod(name, mode)?;
        }
        if let Some(mtime) = desired.mtime {
            self.dir.set_mtime(name, mtime)?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // The whole staging area goes at the end of the run anyway.
            let _ = self.dir.unlink(name);
        }
    }
}

/// Gives a staged file what it shall be; its mode was set when it was made.
pub(super) fn set_file(file: &File, desired: &DesiredAttributes) -> io::Result<()> {
    if desired.uid.is_some() || desired.gid.is_some() {
        let (uid, gid) = (desired.uid.map(Uid::from_raw), desired.gid.map(Gid::from_raw));
        rustix::fs::fchown(file, uid, gid)?;
        // A change of owner takes the set-id bits away.
        if let Some(mode) = desired.mode.filter(|mode| mode & 0o6000 != 0) {
            rustix::fs::fchmod(file, Mode::from_raw_mode(mode as _))?;
        }
    }
    if let Some(mtime) = desired.mtime {
        let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ };
        let mtime = Timespec { tv_sec: mtime.secs(), tv_nsec: mtime.nanos().into() };
        rustix::fs::futimens(file, &Timestamps { last_access: omit, last_modification: mtime })?;
    }
    Ok(())
}

/// The process' umask. Only Linux tells it without changing it; elsewhere everything is assumed to be masked, which
/// costs a call for each file.
pub(crate) fn process_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o777)
}
