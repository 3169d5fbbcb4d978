//! An open directory, and all that is ever done to its entries. Each operation names its entry relative to the
//! descriptor and follows no symlink, so the entry worked on is always one of this very directory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, openat};
use rustix::io::Errno;

use crate::listing::{self, Cursor, Listed};
use crate::stat::{stat_at, stat_fd};
use crate::{Kind, Name, Stat, Timestamp};

/// How every directory of a tree is opened.
pub(crate) const DIRECTORY_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open directory; a clone refers to the same one. Stays valid when the directory is renamed or removed.
#[derive(Debug, Clone)]
pub struct DirHandle {
    open: Arc<OpenDirectory>,
}

#[derive(Debug)]
struct OpenDirectory {
    fd: OwnedFd,
    cursor: Cursor,
}

/// What a rename does when the new name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Replace what is there, as `rename` does.
    Any,
    /// Fail with [`io::ErrorKind::AlreadyExists`].
    Never,
}

impl DirHandle {
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { open: Arc::new(OpenDirectory { fd, cursor: Cursor::new() }) }
    }

    /// All entries but `.` and `..`, in no order. Threads that share a handle may call this at the same time.
    pub fn list(&self) -> io::Result<Vec<Listed>> {
        listing::list(self.as_fd(), &self.open.cursor)
    }

    /// The status of an entry, of a symlink itself. None when there is no such entry.
    pub fn stat(&self, name: &Name) -> io::Result<Option<Stat>> {
        stat_at(self.as_fd(), name)
    }

    /// The status of this directory.
    pub fn stat_self(&self) -> io::Result<Stat> {
        stat_fd(self.as_fd())
    }

    /// Opens a regular file for reading, with its status from after the opening.
    ///
    /// Never waits for the other end of a FIFO. Anything but a regular file is an error: `ELOOP` for a symlink,
    /// [`io::ErrorKind::InvalidInput`] for others that can be opened at all.
    pub fn open_file(&self, name: &Name) -> io::Result<(File, Stat)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = openat(self.as_fd(), name.as_bytes(), flags, Mode::empty())?;
        let stat = stat_fd(file.as_fd())?;
        if stat.kind != Kind::File {
            return Err(invalid(format!("it is a {}, not a regular file", stat.kind)));
        }
        Ok((file.into(), stat))
    }

    /// Opens a subdirectory. A symlink is an error, whatever it points to.
    pub fn child(&self, name: &Name) -> io::Result<Self> {
        Ok(Self::from_fd(openat(self.as_fd(), name.as_bytes(), DIRECTORY_FLAGS, Mode::empty())?))
    }

    /// Makes a regular file, open for reading and writing. Fails when the name is taken, by a symlink too.
    ///
    /// The process' umask applies to the mode.
    pub fn create_file(&self, name: &Name, mode: u32) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(self.as_fd(), name.as_bytes(), flags, mode_bits(mode))?.into())
    }

    /// Makes a directory. The process' umask applies to the mode.
    pub fn mkdir(&self, name: &Name, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(self.as_fd(), name.as_bytes(), mode_bits(mode))?)
    }

    /// Removes an entry that is no directory.
    pub fn unlink(&self, name: &Name) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self.as_fd(), name.as_bytes(), AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, name: &Name) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self.as_fd(), name.as_bytes(), AtFlags::REMOVEDIR)?)
    }

    /// Makes a symlink. The target may be any bytes but NUL; nothing ever resolves it here.
    pub fn symlink(&self, target: &[u8], name: &Name) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, self.as_fd(), name.as_bytes())?)
    }

    /// The target of a symlink.
    pub fn read_link(&self, name: &Name) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self.as_fd(), name.as_bytes(), Vec::new())?.into_bytes())
    }

    /// Makes a FIFO, a socket or a device; `rdev` counts only for a device. The process' umask applies to the mode.
    ///
    /// Other kinds are [`io::ErrorKind::InvalidInput`]. Not supported on macOS.
    pub fn mknod(&self, name: &Name, kind: Kind, mode: u32, rdev: u64) -> io::Result<()> {
        #[cfg(not(target_vendor = "apple"))]
        {
            use rustix::fs::FileType;
            let (file_type, device) = match kind {
                Kind::Fifo => (FileType::Fifo, 0),
                Kind::Socket => (FileType::Socket, 0),
                Kind::CharDevice => (FileType::CharacterDevice, rdev),
                Kind::BlockDevice => (FileType::BlockDevice, rdev),
                Kind::File | Kind::Directory | Kind::Symlink => {
                    return Err(invalid(format!("a {kind} is not made as a device node")));
                }
            };
            Ok(rustix::fs::mknodat(self.as_fd(), name.as_bytes(), file_type, mode_bits(mode), device)?)
        }
        #[cfg(target_vendor = "apple")]
        {
            let _ = (name, mode, rdev);
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("a {kind} cannot be made on this system")))
        }
    }

    /// Gives an entry another name, possibly in another directory of the same file system.
    ///
    /// With [`Replace::Never`] a name that is taken is never replaced, whoever takes it when; where the file system
    /// lacks that operation, a non-directory has both names for a moment and a directory's new name is empty for one.
    pub fn rename_to(&self, from: &Name, to_dir: &Self, to: &Name, replace: Replace) -> io::Result<()> {
        match replace {
            Replace::Any => {
                Ok(rustix::fs::renameat(self.as_fd(), from.as_bytes(), to_dir.as_fd(), to.as_bytes())?)
            }
            Replace::Never => self.rename_to_free(from, to_dir, to),
        }
    }

    fn rename_to_free(&self, from: &Name, to_dir: &Self, to: &Name) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            let (source, target) = (self.as_fd(), to_dir.as_fd());
            match renameat_with(source, from.as_bytes(), target, to.as_bytes(), RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                result => return Ok(result?),
            }
        }
        self.rename_by_reserving(from, to_dir, to)
    }

    /// `link` and `mkdir` fail on a name that is taken, in one step, on every file system; so the new name is first
    /// taken by one of them and only then does the old one go.
    fn rename_by_reserving(&self, from: &Name, to_dir: &Self, to: &Name) -> io::Result<()> {
        let (source, target) = (self.as_fd(), to_dir.as_fd());
        let stat = self.stat(from)?.ok_or(Errno::NOENT)?;
        if stat.kind == Kind::Directory {
            rustix::fs::mkdirat(target, to.as_bytes(), Mode::RWXU)?;
            // Replaces the directory just made as long as it is empty; what others put there makes it fail.
            let renamed = rustix::fs::renameat(source, from.as_bytes(), target, to.as_bytes());
            if renamed.is_err() {
                // Fails only when it is no longer the empty directory just made, and then it is not ours to remove.
                let _ = to_dir.rmdir(to);
            }
            Ok(renamed?)
        } else {
            rustix::fs::linkat(source, from.as_bytes(), target, to.as_bytes(), AtFlags::empty())?;
            self.unlink(from)
        }
    }

    /// Sets the mode of an entry, within `0o7777`. A symlink is an error (`ELOOP`), also when it is put in place of
    /// the entry while this runs.
    pub fn chmod(&self, name: &Name, mode: u32) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return crate::mode::chmod_entry(self.as_fd(), name, mode_bits(mode));
        #[cfg(not(target_os = "linux"))]
        return Ok(rustix::fs::chmodat(
            self.as_fd(),
            name.as_bytes(),
            mode_bits(mode),
            AtFlags::SYMLINK_NOFOLLOW,
        )?);
    }

    /// Sets the mode of this directory, within `0o7777`.
    pub fn chmod_self(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(self.as_fd(), mode_bits(mode))?)
    }

    /// Sets owner and group of an entry, of a symlink itself; none leaves it. Clears set-id bits of files.
    pub fn chown(&self, name: &Name, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (owner, group) = owner_and_group(uid, gid)?;
        Ok(rustix::fs::chownat(self.as_fd(), name.as_bytes(), owner, group, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets owner and group of this directory; none leaves it.
    pub fn chown_self(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (owner, group) = owner_and_group(uid, gid)?;
        Ok(rustix::fs::fchown(self.as_fd(), owner, group)?)
    }

    /// Sets the mtime of an entry, of a symlink itself, and leaves its atime.
    pub fn set_mtime(&self, name: &Name, mtime: Timestamp) -> io::Result<()> {
        let times = times_of(mtime);
        Ok(rustix::fs::utimensat(self.as_fd(), name.as_bytes(), &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets the mtime of this directory and leaves its atime.
    pub fn set_mtime_self(&self, mtime: Timestamp) -> io::Result<()> {
        Ok(rustix::fs::futimens(self.as_fd(), &times_of(mtime))?)
    }
}

impl AsFd for DirHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.fd.as_fd()
    }
}

#[allow(clippy::cast_possible_truncation)] // 12 bits fit the 16 that macOS has.
fn mode_bits(mode: u32) -> Mode {
    Mode::from_raw_mode((mode & 0o7777) as rustix::fs::RawMode)
}

/// The number that the system reads as "leave it" is no owner.
fn owner_and_group(uid: Option<u32>, gid: Option<u32>) -> io::Result<(Option<Uid>, Option<Gid>)> {
    if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
        return Err(invalid(format!("{} is no user or group number", u32::MAX)));
    }
    Ok((uid.map(Uid::from_raw), gid.map(Gid::from_raw)))
}

fn times_of(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs(), tv_nsec: mtime.nanos().into() },
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
