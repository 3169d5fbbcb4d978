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
use crate::{DirHandle, Name, RelPath};

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

    /// Opens a directory that need not be readable as the top of a tree: its entries are reached by their names, and
    /// listing them may fail. Symlinks in the path are followed.
    pub fn open_to_search(path: &Path) -> io::Result<Self> {
        let flags = SEARCH_FLAGS.difference(OFlags::NOFOLLOW);
        Ok(Self { top: DirHandle::from_fd(openat(CWD, path, flags, Mode::empty())?) })
    }

    /// Makes an open directory the top of a tree.
    pub fn from_dir(dir: DirHandle) -> Self {
        Self { top: dir }
    }

    /// A handle of the top; cheap, since both refer to the same open directory.
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

impl DirHandle {
    /// Opens a subdirectory on the way to something deeper: it can be searched, and need not be readable. A symlink is an
    /// error, whatever it points to.
    pub fn child_to_search(&self, name: &Name) -> io::Result<Self> {
        Ok(Self::from_fd(openat(self.as_fd(), name.as_bytes(), SEARCH_FLAGS, Mode::empty())?))
    }
}

/// How a directory on the way is opened: to be searched only, since its owner may not allow reading it.
#[cfg(target_os = "linux")]
pub(crate) const SEARCH_FLAGS: OFlags = DIRECTORY_FLAGS.union(OFlags::PATH);
#[cfg(not(target_os = "linux"))]
pub(crate) const SEARCH_FLAGS: OFlags = DIRECTORY_FLAGS;

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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::scratch::{Scratch, name, rel};

    /// Opens a directory in each way there is. They must agree on whether it can be.
    fn dir_every_way(root: &Root, path: &RelPath) -> Option<DirHandle> {
        let by_components = root.dir_by_components(path);
        #[cfg(target_os = "linux")]
        match root.dir_by_openat2(path) {
            Err(Errno::NOSYS | Errno::PERM) => {}
            by_openat2 => assert_eq!(by_openat2.is_ok(), by_components.is_ok(), "{path}: {by_openat2:?}"),
        }
        assert_eq!(root.dir(path).is_ok(), by_components.is_ok(), "{path}");
        by_components.ok()
    }

    #[test]
    fn directory_is_found_by_its_path() {
        let scratch = Scratch::new().dir("a/b/c");
        let top = scratch.root().dir(&RelPath::root()).unwrap();
        assert_eq!(top.stat_self().unwrap().ino, fs::metadata(scratch.path("")).unwrap().ino());
        for path in ["a", "a/b", "a/b/c"] {
            let dir = dir_every_way(&scratch.root(), &rel(path)).unwrap();
            assert_eq!(dir.stat_self().unwrap().ino, fs::metadata(scratch.path(path)).unwrap().ino());
        }
    }

    #[test]
    fn missing_directory_and_file_are_errors() {
        let scratch = Scratch::new().file("a/file", "");
        for path in ["b", "a/b", "a/file", "a/file/b"] {
            assert!(dir_every_way(&scratch.root(), &rel(path)).is_none(), "{path}");
        }
        assert_eq!(scratch.root().dir(&rel("a/b")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn symlink_at_any_component_is_an_error() {
        let scratch = Scratch::new().dir("a/b/c").dir("elsewhere/b/c");
        let inner = scratch.path("elsewhere");
        for link in ["a", "a/b", "a/b/c"] {
            for target in [
                scratch.outside().as_path(),
                Path::new("/"),
                Path::new("/proc/self/cwd"),
                Path::new(".."),
                Path::new("../.."),
                Path::new("."),
                Path::new("elsewhere"),
                Path::new("../elsewhere/b"),
                Path::new("../../elsewhere/b/c"),
                &inner,
                &inner.join("b"),
            ] {
                fs::rename(scratch.path(link), scratch.path("aside")).unwrap();
                symlink(target, scratch.path(link)).unwrap();
                for path in ["a", "a/b", "a/b/c"] {
                    let follows = rel(path).starts_with(&rel(link));
                    let opened = dir_every_way(&scratch.root(), &rel(path));
                    assert_eq!(opened.is_none(), follows, "{link} -> {target:?}, {path}");
                }
                fs::remove_file(scratch.path(link)).unwrap();
                fs::rename(scratch.path("aside"), scratch.path(link)).unwrap();
            }
        }
    }

    #[test]
    fn users_own_path_to_the_root_may_be_a_symlink() {
        let scratch = Scratch::new().dir("real/sub").link("alias", "real");
        assert!(Root::open(&scratch.path("alias")).unwrap().dir(&rel("sub")).is_ok());
        assert!(Root::open(&scratch.path("nothing")).is_err());
    }

    #[test]
    fn directory_swapped_for_a_symlink_all_the_time_never_leads_outside() {
        let scratch = Scratch::new().dir("a/b/key");
        fs::create_dir_all(scratch.outside().join("b/key")).unwrap();
        symlink(scratch.outside().join("b"), scratch.path("a/link")).unwrap();
        let inside = fs::metadata(scratch.path("a/b/key")).unwrap().ino();
        let root = scratch.root();
        let done = AtomicBool::new(false);

        thread::scope(|scope| {
            scope.spawn(|| {
                let (b, link, aside) = (scratch.path("a/b"), scratch.path("a/link"), scratch.path("a/aside"));
                while !done.load(Ordering::Relaxed) {
                    fs::rename(&b, &aside).unwrap();
                    fs::rename(&link, &b).unwrap();
                    fs::rename(&b, &link).unwrap();
                    fs::rename(&aside, &b).unwrap();
                }
            });
            let path = rel("a/b/key");
            let mut only_inside = true;
            for _ in 0..3000 {
                for dir in [root.dir(&path), root.dir_by_components(&path)].into_iter().flatten() {
                    only_inside &= dir.stat_self().unwrap().ino == inside;
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(only_inside);
        });
        assert!(dir_every_way(&root, &rel("a/b/key")).is_some(), "once left alone, it opens");
    }

    #[test]
    fn path_longer_than_one_system_call_takes_is_reached() {
        let scratch = Scratch::new();
        let component = name([b'd'; 255]);
        let mut path = RelPath::root();
        let mut dir = scratch.root().handle();
        for _ in 0..40 {
            dir.mkdir(&component, 0o755).unwrap();
            dir = dir.child(&component).unwrap();
            path = path.join(&component).unwrap();
        }
        assert!(path.as_bytes().len() > 10_000);
        let reached = dir_every_way(&scratch.root(), &path).unwrap();
        assert_eq!(reached.stat_self().unwrap().ino, dir.stat_self().unwrap().ino);

        // A symlink right where the path is cut is refused as well.
        let middle = rel([component.as_bytes(); 20].join(&b'/'));
        let holder = dir_every_way(&scratch.root(), &middle.parent().unwrap()).unwrap();
        holder.rename_to(&component, &holder, &name("aside"), crate::Replace::Never).unwrap();
        holder.symlink(b"aside", &component).unwrap();
        assert!(dir_every_way(&scratch.root(), &path).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn long_path_is_cut_between_components() {
        let path = [&[b'x'; 200][..]; 60].join(&b'/');
        let (mut pieces, mut rest) = (Vec::new(), path.as_slice());
        while !rest.is_empty() {
            let (piece, remaining) = split_piece(rest);
            assert!(piece.len() <= CALL_PATH_BYTES);
            pieces.push(piece);
            rest = remaining;
        }
        assert!(pieces.len() > 1);
        assert_eq!(pieces.join(&b'/'), path);
    }
}
