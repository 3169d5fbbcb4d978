//! Setting an entry's mode on Linux without ever following a symlink. Older kernels have no call for that, so the entry
//! is pinned by a descriptor first and changed through it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, chmodat, fchmod, openat};
use rustix::io::Errno;

use crate::stat::stat_fd;
use crate::{Kind, Name};

/// Sets the mode of an entry of `dir`.
///
/// The descriptor opened first names one inode for good: whatever takes the entry's name later, that inode is what is
/// looked at and changed. `O_PATH` opens any kind without side effects, even one whose mode denies everything, but
/// `fchmod` refuses such a descriptor; its name under `/proc/self/fd` stands for the inode itself.
/// (`fchmodat2` does it in one call since Linux 6.6, but is not to be had without unsafe code.)
pub(crate) fn chmod_entry(dir: BorrowedFd<'_>, name: &Name, mode: Mode) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = openat(dir, name.as_bytes(), flags, Mode::empty())?;
    let stat = stat_fd(entry.as_fd())?;
    if stat.kind == Kind::Symlink {
        return Err(Errno::LOOP.into());
    }
    match chmodat(CWD, proc_path(&entry), mode, AtFlags::empty()) {
        // No /proc here, as in some minimal containers.
        Err(Errno::NOENT) => chmod_opened(dir, name, mode, (stat.kind, stat.dev, stat.ino)),
        result => Ok(result?),
    }
}

/// Sets the mode of an open directory, which may be open to be searched only. Needs `/proc`.
pub(crate) fn chmod_searched(dir: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
    Ok(chmodat(CWD, format!("/proc/self/fd/{}", dir.as_raw_fd()), mode, AtFlags::empty())?)
}

/// Changes the entry through a descriptor opened for reading, if it still is the one that was looked at. Only files
/// and directories: to open a device or a FIFO may do something.
fn chmod_opened(dir: BorrowedFd<'_>, name: &Name, mode: Mode, seen: (Kind, u64, u64)) -> io::Result<()> {
    let flags = match seen.0 {
        Kind::File => OFlags::empty(),
        Kind::Directory => OFlags::DIRECTORY,
        kind => {
            let message = format!("to set the mode of a {kind} needs /proc");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    };
    let flags =
        flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = openat(dir, name.as_bytes(), flags, Mode::empty())?;
    let stat = stat_fd(opened.as_fd())?;
    if (stat.kind, stat.dev, stat.ino) != seen {
        return Err(Errno::AGAIN.into());
    }
    Ok(fchmod(&opened, mode)?)
}

fn proc_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::scratch::{Scratch, name};

    #[test]
    fn symlink_that_keeps_taking_the_files_place_is_never_followed() {
        let scratch = Scratch::new().file("entry", "");
        let key = scratch.outside().join("key");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        symlink(&key, scratch.path("link")).unwrap();
        let dir = scratch.root().handle();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (entry, link, aside) =
                    (scratch.path("entry"), scratch.path("link"), scratch.path("aside"));
                while !done.load(Ordering::Relaxed) {
                    fs::rename(&entry, &aside).unwrap();
                    fs::rename(&link, &entry).unwrap();
                    fs::rename(&entry, &link).unwrap();
                    fs::rename(&aside, &entry).unwrap();
                }
            });
            for _ in 0..3000 {
                // Whether it is the file or the symlink that is met, is chance; that it is no other file, is not.
                let _ = dir.chmod(&name("entry"), 0o777);
            }
            done.store(true, Ordering::Relaxed);
        });
        dir.chmod(&name("entry"), 0o755).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn without_proc_the_entry_is_opened_and_must_be_the_one_seen() {
        let scratch = Scratch::new().file("file", "").file("other", "").dir("dir").link("link", "file");
        let dir = scratch.root().handle();
        let seen = |entry: &str| {
            let stat = dir.stat(&name(entry)).unwrap().unwrap();
            (stat.kind, stat.dev, stat.ino)
        };
        for entry in ["file", "dir"] {
            let mode = Mode::from_raw_mode(0o741);
            chmod_opened(dir.as_fd(), &name(entry), mode, seen(entry)).unwrap();
            assert_eq!(dir.stat(&name(entry)).unwrap().unwrap().mode, 0o741);
        }
        let before = dir.stat(&name("file")).unwrap();
        assert!(chmod_opened(dir.as_fd(), &name("file"), Mode::RWXU, seen("other")).is_err());
        assert!(chmod_opened(dir.as_fd(), &name("link"), Mode::RWXU, seen("file")).is_err());
        assert!(chmod_opened(dir.as_fd(), &name("link"), Mode::RWXU, seen("link")).is_err());
        assert_eq!(dir.stat(&name("file")).unwrap(), before);
    }
}
