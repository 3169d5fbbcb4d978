//! The attributes of `chattr` that a directory hands down to new files. Linux only: elsewhere a directory has none.
//!
//! The bits are those of `FS_IOC_GETFLAGS` (`include/uapi/linux/fs.h`).

use std::io;
use std::os::fd::AsFd;

use crate::DirHandle;

/// Attributes that a new file gets from its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InheritedFlags(#[cfg(target_os = "linux")] rustix::fs::IFlags);

#[cfg(target_os = "linux")]
impl DirHandle {
    /// The attributes that new files of this directory inherit; none if there are none, also because the file system has no such
    /// attributes. One system call.
    ///
    /// # Errors
    /// The error of the system.
    pub fn inherited_flags(&self) -> io::Result<Option<InheritedFlags>> {
        use rustix::fs::IFlags;
        use rustix::io::Errno;
        /// `FS_NOCOMP_FL`, which rustix does not name.
        const NOCOMPRESS: u32 = 0x400;
        /// Those that ext4 and btrfs hand down to regular files. The quota project is not among them: the kernel refuses
        /// renames across projects instead.
        const TO_FILES: IFlags = IFlags::COMPRESSED
            .union(IFlags::from_bits_retain(NOCOMPRESS))
            .union(IFlags::SYNC)
            .union(IFlags::NODUMP)
            .union(IFlags::NOATIME)
            .union(IFlags::JOURNALING)
            .union(IFlags::NOTAIL)
            .union(IFlags::NOCOW);
        match rustix::fs::ioctl_getflags(self.as_fd()) {
            Ok(flags) => Ok(Some(flags & TO_FILES).filter(|flags| !flags.is_empty()).map(InheritedFlags)),
            // Another kind of file system, or a descriptor that is only to search.
            Err(Errno::NOTTY | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL | Errno::BADF | Errno::PERM) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl DirHandle {
    /// None: the system has no such attributes.
    ///
    /// # Errors
    /// Never.
    pub fn inherited_flags(&self) -> io::Result<Option<InheritedFlags>> {
        Ok(None)
    }
}

impl InheritedFlags {
    /// Gives a new, empty file these attributes, if this process may: some need a capability that inheriting them does not.
    ///
    /// # Errors
    /// The error of the system.
    pub fn give_to(self, file: impl AsFd) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            let has = rustix::fs::ioctl_getflags(&file)?;
            if !has.contains(self.0) {
                match rustix::fs::ioctl_setflags(&file, has | self.0) {
                    Err(rustix::io::Errno::PERM) => {}
                    set => set?,
                }
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = file;
        Ok(())
    }
}
