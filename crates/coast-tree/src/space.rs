//! The room on a directory's file system, and whether the directory can be written to at all.

use std::io;
use std::os::fd::AsFd;

use crate::DirHandle;

/// The size of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total_bytes: u64,
    /// Bytes that a user without privileges may still write.
    pub free_bytes: u64,
    /// How many files and directories the file system can have. 0 where it has no limit.
    pub total_inodes: u64,
    /// How many more of them a user without privileges may make.
    pub free_inodes: u64,
}

impl DirHandle {
    /// The size of the file system this directory is on.
    pub fn space(&self) -> io::Result<Space> {
        let status = rustix::fs::fstatvfs(self.as_fd())?;
        let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
        Ok(Space {
            total_bytes: bytes(status.f_blocks),
            free_bytes: bytes(status.f_bavail),
            total_inodes: status.f_files,
            free_inodes: status.f_favail,
        })
    }

    /// Whether an entry can be made here, as an error if not. Leaves no trace, and no watcher sees it.
    ///
    /// On Linux a file without a name is made; where the file system has none of those, and elsewhere, the permissions
    /// are looked at, which a network's server may see otherwise.
    pub fn check_writable(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Mode, OFlags, openat};
            use rustix::io::Errno;
            let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            match openat(self.as_fd(), c".", flags, Mode::RUSR | Mode::WUSR) {
                Ok(_) => return Ok(()),
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOSYS | Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        use rustix::fs::{Access, AtFlags, accessat};
        Ok(accessat(self.as_fd(), c".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::scratch::Scratch;

    #[test]
    fn a_file_system_has_no_more_free_than_in_all() {
        let space = Scratch::new().root().handle().space().unwrap();
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes, "{space:?}");
        assert!(space.free_inodes <= space.total_inodes, "{space:?}");
    }

    #[test]
    fn asking_whether_a_directory_can_be_written_changes_nothing() {
        let scratch = Scratch::new();
        let modified = || fs::metadata(scratch.path("")).unwrap().modified().unwrap();
        let before = modified();
        scratch.root().handle().check_writable().unwrap();
        assert_eq!(modified(), before);
        assert_eq!(fs::read_dir(scratch.path("")).unwrap().count(), 0);
    }
}
