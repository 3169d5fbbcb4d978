//! An open directory, and all that is ever done to its entries. Each operation names its entry relative to the
//! descriptor and follows no symlink, so the entry worked on is always one of this very directory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, openat, statat,
};
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

/// Whether a rename may replace an entry that has the new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Replace what is there, as `rename` does.
    Any,
    /// The rename fails with [`io::ErrorKind::AlreadyExists`].
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

    /// Whether this process may read an entry that was seen to be no symlink. Nothing is opened.
    pub fn may_read(&self, name: &Name) -> bool {
        use rustix::fs::{Access, accessat};
        accessat(self.as_fd(), name.as_bytes(), Access::READ_OK, AtFlags::EACCESS).is_ok()
    }

    /// Whether this process may add entries to the directory and remove them.
    pub fn may_change(&self) -> bool {
        use rustix::fs::{Access, accessat};
        accessat(self.as_fd(), c".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
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

    /// Gives an entry that is no directory a second name, possibly in another directory of the same file system. A symlink is not
    /// followed, and a name that is taken is never replaced.
    pub fn link_to(&self, from: &Name, to_dir: &Self, to: &Name) -> io::Result<()> {
        let (source, target) = (self.as_fd(), to_dir.as_fd());
        Ok(rustix::fs::linkat(source, from.as_bytes(), target, to.as_bytes(), AtFlags::empty())?)
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
            self.link_to(from, to_dir, to)?;
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

    /// Whether the symlink `name` leads to a directory; none when it leads to nothing. Nothing is opened, and the answer may
    /// be another one at the next moment.
    pub fn leads_to_directory(&self, name: &Name) -> io::Result<Option<bool>> {
        match statat(self.as_fd(), name.as_bytes(), AtFlags::empty()) {
            Ok(status) => Ok(Some(FileType::from_raw_mode(status.st_mode) == FileType::Directory)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a path leads to this very directory. Symlinks are followed.
    pub fn is_at(&self, path: &Path) -> bool {
        let here = rustix::fs::fstat(self.as_fd());
        let there = rustix::fs::stat(path);
        matches!((here, there), (Ok(here), Ok(there)) if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
    }

    /// Opens this directory again, so that it can be listed too.
    pub fn reopen(&self) -> io::Result<Self> {
        Ok(Self::from_fd(openat(self.as_fd(), c".", DIRECTORY_FLAGS, Mode::empty())?))
    }

    /// [`DirHandle::reopen`] for an owner who may not read, write or search the directory and who is not root: gives the owner
    /// these rights. Answers the mode that the directory had, if it was changed.
    pub fn reopen_as_owner(&self) -> io::Result<(Self, Option<u32>)> {
        let me = rustix::process::geteuid();
        let stat = self.stat_self()?;
        if me.is_root() || stat.uid != me.as_raw() || stat.mode & 0o700 == 0o700 {
            return self.reopen().map(|opened| (opened, None));
        }
        self.chmod_searched(stat.mode | 0o700)?;
        self.reopen().map(|opened| (opened, Some(stat.mode)))
    }

    #[cfg(target_os = "linux")]
    fn chmod_searched(&self, mode: u32) -> io::Result<()> {
        crate::mode::chmod_searched(self.as_fd(), mode_bits(mode))
    }

    #[cfg(not(target_os = "linux"))]
    fn chmod_searched(&self, mode: u32) -> io::Result<()> {
        self.chmod_self(mode)
    }
}

impl AsFd for DirHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.fd.as_fd()
    }
}

#[allow(clippy::cast_possible_truncation)] // 12 bits fit the 16 that macOS has.
pub(crate) fn mode_bits(mode: u32) -> Mode {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::file_stat;
    use crate::scratch::{Scratch, name};

    /// A tree with a symlink to the file outside and one to the directory outside.
    fn tempting() -> Scratch {
        let scratch = Scratch::new().file("file", "inside").dir("sub");
        symlink(scratch.outside().join("key"), scratch.path("to-file")).unwrap();
        symlink(scratch.outside(), scratch.path("to-dir")).unwrap();
        scratch
    }

    /// Everything that could change about the directory outside and its file.
    fn outside_state(scratch: &Scratch) -> Vec<(u64, u32, u32, i64, i64, i64, i64)> {
        [scratch.outside(), scratch.outside().join("key")]
            .map(|path| fs::metadata(path).unwrap())
            .map(|m| (m.size(), m.mode(), m.uid(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()))
            .to_vec()
    }

    #[test]
    fn no_operation_follows_a_symlink() {
        let scratch = tempting();
        let before = outside_state(&scratch);
        let dir = scratch.root().handle();
        let me = rustix::process::geteuid().as_raw();
        let (other_uid, stamp) = (if me == 0 { 12_345 } else { me }, Timestamp::new(1_000_000_000, 7));
        for link in ["to-file", "to-dir"] {
            let link = name(link);
            assert!(dir.open_file(&link).is_err());
            assert!(dir.child(&link).is_err());
            assert!(dir.create_file(&link, 0o644).is_err());
            assert!(dir.mkdir(&link, 0o755).is_err());
            assert!(dir.chmod(&link, 0o777).is_err());
            dir.chown(&link, Some(other_uid), None).unwrap();
            dir.set_mtime(&link, stamp).unwrap();
            let stat = dir.stat(&link).unwrap().unwrap();
            assert_eq!((stat.kind, stat.uid, stat.mtime), (Kind::Symlink, other_uid, stamp));
            assert!(dir.rmdir(&link).is_err());
            dir.rename_to(&link, &dir, &name("renamed"), Replace::Any).unwrap();
            dir.unlink(&name("renamed")).unwrap();
        }
        assert_eq!(outside_state(&scratch), before);
    }

    #[test]
    fn rename_onto_a_symlink_replaces_the_symlink() {
        let scratch = tempting();
        let before = outside_state(&scratch);
        let dir = scratch.root().handle();
        dir.rename_to(&name("file"), &dir, &name("to-file"), Replace::Any).unwrap();
        assert_eq!(dir.stat(&name("to-file")).unwrap().unwrap().kind, Kind::File);
        assert!(dir.rename_to(&name("sub"), &dir, &name("to-dir"), Replace::Any).is_err());
        assert_eq!(outside_state(&scratch), before);
    }

    #[test]
    fn stat_is_none_for_a_missing_entry_only() {
        let scratch = Scratch::new().file("file", "12345");
        let dir = scratch.root().handle();
        assert_eq!(dir.stat(&name("missing")).unwrap(), None);
        let stat = dir.stat(&name("file")).unwrap().unwrap();
        let meta = fs::metadata(scratch.path("file")).unwrap();
        assert_eq!((stat.kind, stat.size, stat.mode), (Kind::File, 5, meta.mode() & 0o7777));
        assert_eq!((stat.ino, stat.dev, stat.nlink), (meta.ino(), meta.dev(), 1));
        assert_eq!((stat.uid, stat.gid), (meta.uid(), meta.gid()));
        assert_eq!((stat.mtime.secs(), i64::from(stat.mtime.nanos())), (meta.mtime(), meta.mtime_nsec()));
        assert_eq!((stat.ctime.secs(), i64::from(stat.ctime.nanos())), (meta.ctime(), meta.ctime_nsec()));
        assert_eq!(dir.stat_self().unwrap().ino, fs::metadata(scratch.path("")).unwrap().ino());
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let scratch = Scratch::new().file("file", "content").dir("sub").link("link", "file");
        let _socket = UnixListener::bind(scratch.path("socket")).unwrap();
        let dir = scratch.root().handle();
        #[cfg(not(target_vendor = "apple"))]
        {
            dir.mknod(&name("fifo"), Kind::Fifo, 0o600, 0).unwrap();
            assert_eq!(dir.open_file(&name("fifo")).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        for other in ["sub", "link", "socket", "missing"] {
            assert!(dir.open_file(&name(other)).is_err(), "{other}");
        }
        let (mut file, stat) = dir.open_file(&name("file")).unwrap();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!((content.as_str(), stat.size), ("content", 7));
        assert_eq!(file_stat(&file).unwrap(), stat);
    }

    #[test]
    fn new_file_never_takes_over_an_existing_name() {
        let scratch = Scratch::new().file("file", "old").link("dangling", "nowhere");
        let dir = scratch.root().handle();
        dir.create_file(&name("new"), 0o640).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(scratch.path("new")).unwrap(), b"new");
        for taken in ["file", "dangling", "new"] {
            assert_eq!(dir.create_file(&name(taken), 0o644).unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
        assert!(!scratch.path("nowhere").exists());
        assert_eq!(fs::read(scratch.path("file")).unwrap(), b"old");
    }

    #[test]
    fn modes_are_set_on_every_kind_but_symlinks() {
        let scratch = Scratch::new().file("file", "").dir("sub").link("link", "file");
        let _socket = UnixListener::bind(scratch.path("socket")).unwrap();
        let dir = scratch.root().handle();
        for (entry, mode) in [("file", 0), ("file", 0o4755), ("sub", 0), ("sub", 0o1777), ("socket", 0o600)] {
            dir.chmod(&name(entry), mode).unwrap();
            assert_eq!(dir.stat(&name(entry)).unwrap().unwrap().mode, mode, "{entry}");
        }
        assert!(dir.chmod(&name("link"), 0o600).is_err());
        assert_eq!(dir.chmod(&name("missing"), 0o600).unwrap_err().kind(), ErrorKind::NotFound);
        dir.chmod_self(0o2711).unwrap();
        assert_eq!(dir.stat_self().unwrap().mode, 0o2711);
    }

    #[test]
    fn mtime_is_set_to_the_nanosecond_and_atime_stays() {
        let scratch = Scratch::new().file("file", "");
        let dir = scratch.root().handle();
        let atime = |path: &str| fs::metadata(scratch.path(path)).unwrap().atime_nsec();
        let (file_atime, dir_atime) = (atime("file"), atime(""));
        for stamp in [Timestamp::new(1_234_567_890, 123_456_789), Timestamp::new(-1, 999_999_999)] {
            dir.set_mtime(&name("file"), stamp).unwrap();
            dir.set_mtime_self(stamp).unwrap();
            assert_eq!(dir.stat(&name("file")).unwrap().unwrap().mtime, stamp);
            assert_eq!(dir.stat_self().unwrap().mtime, stamp);
        }
        assert_eq!((atime("file"), atime("")), (file_atime, dir_atime));
    }

    #[test]
    fn owner_left_out_stays_and_no_owner_is_an_error() {
        let scratch = Scratch::new().file("file", "");
        let dir = scratch.root().handle();
        let before = dir.stat(&name("file")).unwrap().unwrap();
        dir.chown(&name("file"), None, None).unwrap();
        dir.chown_self(None, Some(before.gid)).unwrap();
        assert!(dir.chown(&name("file"), Some(u32::MAX), None).is_err());
        assert!(dir.chown_self(None, Some(u32::MAX)).is_err());
        let after = dir.stat(&name("file")).unwrap().unwrap();
        assert_eq!((after.uid, after.gid), (before.uid, before.gid));
    }

    #[test]
    fn symlink_keeps_any_target() {
        let scratch = Scratch::new();
        let dir = scratch.root().handle();
        for target in [&b"../../etc/passwd"[..], b"a\nb", b"-x", &[b't'; 4000]] {
            dir.symlink(target, &name("link")).unwrap();
            assert_eq!(dir.read_link(&name("link")).unwrap(), target);
            dir.unlink(&name("link")).unwrap();
        }
        assert!(dir.symlink(b"a\0b", &name("link")).is_err());
    }

    #[cfg(not(target_vendor = "apple"))]
    #[test]
    fn nodes_are_made_as_their_kind() {
        let scratch = Scratch::new();
        let dir = scratch.root().handle();
        for (entry, kind) in [("fifo", Kind::Fifo), ("socket", Kind::Socket)] {
            dir.mknod(&name(entry), kind, 0o600, 0).unwrap();
            let stat = dir.stat(&name(entry)).unwrap().unwrap();
            assert_eq!((stat.kind, stat.mode, stat.rdev), (kind, 0o600, 0));
        }
        for kind in [Kind::File, Kind::Directory, Kind::Symlink] {
            assert_eq!(dir.mknod(&name("x"), kind, 0o600, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        let null = fs::metadata("/dev/null").unwrap().rdev();
        match dir.mknod(&name("null"), Kind::CharDevice, 0o600, null) {
            Ok(()) => {
                let stat = dir.stat(&name("null")).unwrap().unwrap();
                assert_eq!((stat.kind, stat.rdev), (Kind::CharDevice, null));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        }
    }

    #[test]
    fn rename_replaces_only_when_it_may() {
        type Rename = fn(&DirHandle, &Name, &DirHandle, &Name) -> io::Result<()>;
        let ways: [Rename; 2] = [
            |from_dir, from, to_dir, to| from_dir.rename_to(from, to_dir, to, Replace::Never),
            |from_dir, from, to_dir, to| from_dir.rename_by_reserving(from, to_dir, to),
        ];
        for rename in ways {
            let scratch = Scratch::new()
                .file("file", "f")
                .file("dir/inner", "i")
                .file("to/taken", "t")
                .link("link", "x");
            let scratch = scratch.link("to/dangling", "nowhere").dir("to/empty");
            let dir = scratch.root().handle();
            let to_dir = dir.child(&name("to")).unwrap();
            for entry in ["file", "dir", "link"] {
                let ino = dir.stat(&name(entry)).unwrap().unwrap().ino;
                for taken in ["taken", "dangling", "empty"] {
                    let before = to_dir.stat(&name(taken)).unwrap().unwrap();
                    let refused = rename(&dir, &name(entry), &to_dir, &name(taken)).unwrap_err();
                    assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{entry} to {taken}");
                    assert_eq!(to_dir.stat(&name(taken)).unwrap().unwrap().ino, before.ino);
                }
                rename(&dir, &name(entry), &to_dir, &name(entry)).unwrap();
                assert_eq!(dir.stat(&name(entry)).unwrap(), None);
                assert_eq!(to_dir.stat(&name(entry)).unwrap().unwrap().ino, ino);
            }
            assert_eq!(fs::read(scratch.path("to/dir/inner")).unwrap(), b"i");
            let missing = rename(&dir, &name("missing"), &to_dir, &name("new")).unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::NotFound);

            to_dir.rename_to(&name("file"), &to_dir, &name("taken"), Replace::Any).unwrap();
            assert_eq!(fs::read(scratch.path("to/taken")).unwrap(), b"f");
        }
    }

    #[test]
    fn handle_outlives_the_directorys_name() {
        let scratch = Scratch::new().file("sub/file", "x");
        let dir = scratch.root().handle().child(&name("sub")).unwrap();
        fs::rename(scratch.path("sub"), scratch.path("moved")).unwrap();
        fs::create_dir(scratch.path("sub")).unwrap();
        dir.unlink(&name("file")).unwrap();
        assert!(!scratch.path("moved/file").exists());
        fs::remove_dir(scratch.path("moved")).unwrap();
        assert_eq!(dir.create_file(&name("late"), 0o644).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
