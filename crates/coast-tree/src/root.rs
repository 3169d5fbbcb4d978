//! The top of a confined tree. Every directory below it is reached by a relative path along which no symlink is
//! followed, so that one planted by someone who can write in the tree leads nowhere.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, openat};
#[cfg(target_os = "linux")]
use rustix::{fs::ResolveFlags, io::Errno};

use crate::dir::DIRECTORY_FLAGS;
use crate::{DirHandle, RelPath};

/// The top of a confined tree; a clone refers to the same open directory.
#[derive(Debug, Clone)]
pub struct Root {
    top: DirHandle,
}

/// Longest path handed to one system call, in bytes: Linux' `PATH_MAX` less its closing NUL.
#[cfg(target_os = "linux")]
const CALL_PATH_BYTES: usize = 4095;

/// Cleared for good once the kernel, or a container's system call filter, turned `openat2` down.
#[cfg(target_os = "linux")]
static OPENAT2: AtomicBool = AtomicBool::new(true);

impl Root {
    /// Opens a directory as the top of a tree. The path is the user's own: symlinks in it are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = DIRECTORY_FLAGS.difference(OFlags::NOFOLLOW);
        Ok(Self { top: DirHandle::from_fd(openat(CWD, path, flags, Mode::empty())?) })
    }

    /// Makes an open directory the top of a tree.
    pub fn from_dir(dir: DirHandle) -> Self {
        Self { top: dir }
    }

    /// The top itself.
    pub fn handle(&self) -> DirHandle {
        self.top.clone()
    }

    /// Opens a directory of the tree.
    ///
    /// Fails when any component is a symlink (`ELOOP` or `ENOTDIR`), is no directory, or is missing.
    pub fn dir(&self, path: &RelPath) -> io::Result<DirHandle> {
        if path.is_root() {
            return Ok(self.handle());
        }
        #[cfg(target_os = "linux")]
        if OPENAT2.load(Ordering::Relaxed) {
            match self.dir_by_openat2(path) {
                // Opening a directory for reading is never answered EPERM by a file system, only by a filter.
                Err(Errno::NOSYS | Errno::PERM) => OPENAT2.store(false, Ordering::Relaxed),
                // The kernel could not rule out a race with a rename elsewhere.
                Err(Errno::AGAIN) => {}
                result => return Ok(DirHandle::from_fd(result?)),
            }
        }
        self.dir_by_components(path)
    }

    /// One call, or one for every 4 KiB of path. Each call starts at a directory that was reached from the top
    /// without a symlink and stays beneath it.
    #[cfg(target_os = "linux")]
    fn dir_by_openat2(&self, path: &RelPath) -> Result<OwnedFd, Errno> {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mut rest = path.as_bytes();
        let mut reached: Option<OwnedFd> = None;
        loop {
            let (piece, remaining) = split_piece(rest);
            let flags = if remaining.is_empty() { DIRECTORY_FLAGS } else { SEARCH_FLAGS };
            let from = reached.as_ref().map_or(self.top.as_fd(), AsFd::as_fd);
            let next = rustix::fs::openat2(from, piece, flags, Mode::empty(), beneath)?;
            if remaining.is_empty() {
                return Ok(next);
            }
            reached = Some(next);
            rest = remaining;
        }
    }

    fn dir_by_components(&self, path: &RelPath) -> io::Result<DirHandle> {
        let mut components = path.components().peekable();
        let mut reached: Option<OwnedFd> = None;
        while let Some(component) = components.next() {
            let flags = if components.peek().is_none() { DIRECTORY_FLAGS } else { SEARCH_FLAGS };
            let from = reached.as_ref().map_or(self.top.as_fd(), AsFd::as_fd);
            reached = Some(openat(from, component, flags, Mode::empty())?);
        }
        Ok(reached.map_or_else(|| self.handle(), DirHandle::from_fd))
    }
}

/// How a directory on the way is opened: to be searched only, since its owner may not allow reading it.
#[cfg(target_os = "linux")]
const SEARCH_FLAGS: OFlags = DIRECTORY_FLAGS.union(OFlags::PATH);
#[cfg(not(target_os = "linux"))]
const SEARCH_FLAGS: OFlags = DIRECTORY_FLAGS;

/// Splits a path into a head of whole components that fits one system call, and what follows it.
#[cfg(target_os = "linux")]
fn split_piece(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() <= CALL_PATH_BYTES {
        return (path, b"");
    }
    // Components are at most 255 bytes, so there is a slash within the limit.
    let slash = path[..=CALL_PATH_BYTES].iter().rposition(|&byte| byte == b'/').unwrap_or(CALL_PATH_BYTES);
    (&path[..slash], &path[slash + 1..])
}
