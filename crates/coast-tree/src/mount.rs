//! The mount that a directory belongs to. Work that goes down a tree can stop where another file system is mounted. A bind
//! mount has the device number of the file system that it shows, so only the number of the mount tells them apart.

use std::io;
use std::os::fd::AsFd;

use crate::{DirHandle, Name};

/// The mount that a directory belongs to. Two are equal when they are the same mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MountId {
    /// The number that the kernel gives the mount. Linux 6.8 and later never give the same number twice, older ones give it
    /// again after an unmount.
    Mount(u64),
    /// The file system's device number, where the kernel does not tell mounts apart: before Linux 5.8 and on other systems.
    Device(u64),
}

impl DirHandle {
    /// The mount that this directory belongs to.
    pub fn mount(&self) -> io::Result<MountId> {
        match mount_number(self)? {
            Some(number) => Ok(MountId::Mount(number)),
            None => Ok(MountId::Device(self.stat_self()?.dev)),
        }
    }

    /// Opens a subdirectory like [`DirHandle::child`], unless something is mounted there: then it is an error of kind
    /// [`io::ErrorKind::CrossesDevices`]. `mount` is this directory's own.
    pub fn child_within(&self, name: &Name, mount: MountId) -> io::Result<Self> {
        let child = self.child(name)?;
        // Looked at by its descriptor: what is mounted over the name from now on is not what was opened.
        if child.mount()? != mount {
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, "something is mounted there"));
        }
        Ok(child)
    }
}

#[cfg(target_os = "linux")]
fn mount_number(dir: &DirHandle) -> io::Result<Option<u64>> {
    use rustix::fs::{AtFlags, StatxFlags};
    /// `STATX_MNT_ID_UNIQUE`, which rustix does not name. The kernel answers with it instead of `STATX_MNT_ID` when asked for
    /// both; a kernel that does not know it ignores it.
    const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let either = StatxFlags::MNT_ID.union(MNT_ID_UNIQUE);
    match rustix::fs::statx(dir.as_fd(), c"", AtFlags::EMPTY_PATH, either) {
        Ok(status) => Ok((status.stx_mask & either.bits() != 0).then_some(status.stx_mnt_id)),
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
        assert_eq!(dir.child_within(&name("sub"), mount).unwrap().mount().unwrap(), mount);
        assert!(dir.child_within(&name("link"), mount).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn other_file_systems_are_told_apart_and_not_entered() {
        let (dir, proc) = (Scratch::new(), crate::Root::open("/proc".as_ref()).unwrap().handle());
        assert_ne!(dir.root().handle().mount().unwrap(), proc.mount().unwrap());
        let top = crate::Root::open("/".as_ref()).unwrap().handle();
        let error = top.child_within(&name("proc"), top.mount().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::CrossesDevices);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn number_of_the_mount_is_known_for_a_directory_that_is_only_searched() {
        let scratch = Scratch::new().dir("sub");
        let dir = scratch.root().handle();
        let sub = dir.child_to_search(&name("sub")).unwrap();
        assert!(matches!(sub.mount().unwrap(), MountId::Mount(_)));
        assert_eq!(sub.mount().unwrap(), dir.mount().unwrap());
    }
}
