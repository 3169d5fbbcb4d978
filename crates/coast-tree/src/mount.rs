//! Which mounted file system a directory belongs to, so that what works its way down a tree can stop where another one is
//! mounted. A bind mount of the same file system has the same device number: only the number of the mount tells.

use std::io;
use std::os::fd::AsFd;

use crate::{DirHandle, Name};

/// A mounted file system, as far as the system tells mounts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountId {
    /// None before Linux 5.8 and on other systems.
    mount: Option<u64>,
    /// The file system's number. Not compared where the mount is known: a btrfs subvolume has a number of its own.
    dev: u64,
}

impl MountId {
    /// Whether both are the same mount.
    pub fn is_same(self, other: Self) -> bool {
        match (self.mount, other.mount) {
            (Some(mount), Some(other)) => mount == other,
            _ => self.dev == other.dev,
        }
    }
}

impl DirHandle {
    /// The mount that this directory belongs to.
    pub fn mount(&self) -> io::Result<MountId> {
        Ok(MountId { mount: mount_number(self)?, dev: self.stat_self()?.dev })
    }

    /// Opens a subdirectory like [`DirHandle::child`], unless something is mounted there: then it is an error of kind
    /// [`io::ErrorKind::CrossesDevices`]. `mount` is this directory's own.
    pub fn child_within(&self, name: &Name, mount: MountId) -> io::Result<Self> {
        let child = self.child(name)?;
        // Looked at by its descriptor: what is mounted over the name from now on is not what was opened.
        if !child.mount()?.is_same(mount) {
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, "something is mounted there"));
        }
        Ok(child)
    }
}

#[cfg(target_os = "linux")]
fn mount_number(dir: &DirHandle) -> io::Result<Option<u64>> {
    use rustix::fs::{AtFlags, StatxFlags};
    match rustix::fs::statx(dir.as_fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
        Ok(status) => Ok((status.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(status.stx_mnt_id)),
        // Older than 4.11, or a container's system call filter.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn mount_number(_: &DirHandle) -> io::Result<Option<u64>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{Scratch, name};

    #[test]
    fn subdirectory_of_the_same_mount_is_opened_and_a_symlink_never_is() {
        let scratch = Scratch::new().dir("sub").link("link", "sub");
        let dir = scratch.root().handle();
        let mount = dir.mount().unwrap();
        assert!(dir.child_within(&name("sub"), mount).unwrap().mount().unwrap().is_same(mount));
        assert!(dir.child_within(&name("link"), mount).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn other_file_systems_are_told_apart_with_and_without_numbers_of_mounts() {
        let (dir, proc) = (Scratch::new(), crate::Root::open("/proc".as_ref()).unwrap().handle());
        let (here, there) = (dir.root().handle().mount().unwrap(), proc.mount().unwrap());
        assert!(!here.is_same(there));
        let unnumbered = |id: MountId| MountId { mount: None, ..id };
        assert!(!unnumbered(here).is_same(unnumbered(there)) && unnumbered(here).is_same(here));
        let top = crate::Root::open("/".as_ref()).unwrap().handle();
        let error = top.child_within(&name("proc"), top.mount().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::CrossesDevices);
    }
}
