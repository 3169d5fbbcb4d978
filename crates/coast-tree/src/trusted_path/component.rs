//! The components of a path, each opened by its name in the directory before it.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::{DirHandle, Kind, Name};

/// The entry at a component of a path.
pub(super) enum Component {
    Missing,
    Directory(DirHandle),
    Symlink { owner: u32, target: Vec<u8> },
    Other(Kind),
}

/// Opens a component of a path, and follows no symlink.
pub(super) fn open_component(dir: &DirHandle, name: &Name) -> io::Result<Component> {
    // Opening the entry as a directory comes first, because that makes the system mount an automount point.
    match dir.child_to_search(name) {
        Ok(child) => return Ok(Component::Directory(child)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Component::Missing),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    open_other(dir, name)
}

#[cfg(target_os = "linux")]
fn open_other(dir: &DirHandle, name: &Name) -> io::Result<Component> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(dir.as_fd(), name.as_bytes(), flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Component::Missing),
        opened => opened?,
    };
    let stat = crate::stat::stat_fd(fd.as_fd())?;
    Ok(match stat.kind {
        Kind::Directory => Component::Directory(DirHandle::from_fd(fd)),
        Kind::Symlink => Component::Symlink {
            owner: stat.uid,
            // By the descriptor, so that the target is that of the symlink whose owner was looked at.
            target: rustix::fs::readlinkat(&fd, c"", Vec::new())?.into_bytes(),
        },
        kind => Component::Other(kind),
    })
}

#[cfg(not(target_os = "linux"))]
fn open_other(dir: &DirHandle, name: &Name) -> io::Result<Component> {
    Ok(match dir.stat(name)? {
        None => Component::Missing,
        Some(stat) if stat.kind == Kind::Symlink => {
            Component::Symlink { owner: stat.uid, target: dir.read_link(name)? }
        }
        Some(stat) if stat.kind == Kind::Directory => Component::Directory(dir.child_to_search(name)?),
        Some(stat) => Component::Other(stat.kind),
    })
}

/// Follows a symlink of `/proc`, such as that to a process' open file or root directory. Only the system can follow such a
/// symlink: its text is not always a path. None for a symlink elsewhere.
#[cfg(target_os = "linux")]
pub(super) fn follow_in_proc(dir: &DirHandle, name: &Name) -> io::Result<Option<Component>> {
    if rustix::fs::fstatfs(dir.as_fd())?.f_type != rustix::fs::PROC_SUPER_MAGIC {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = openat(dir.as_fd(), name.as_bytes(), flags, Mode::empty())?;
    Ok(Some(match crate::stat::stat_fd(fd.as_fd())?.kind {
        Kind::Directory => Component::Directory(DirHandle::from_fd(fd)),
        kind => Component::Other(kind),
    }))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn follow_in_proc(_: &DirHandle, _: &Name) -> io::Result<Option<Component>> {
    Ok(None)
}
