//! A path from a user's command line, opened one component at a time. Another user who can write in a directory of the path
//! could put a symlink there and so choose where a privileged process works. So a symlink is followed only where it can be
//! trusted:
//!
//! - The symlink belongs to root or to this process' user.
//! - Where this process is root, nobody else may be able to put it there or to replace it either: its directory belongs to
//!   root, and others may not write in it, unless the sticky bit keeps them from replacing what is not theirs.
//!
//! Each component is opened once and its descriptor is kept, so nothing is checked that is not also used.

mod component;
mod error;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::root::SEARCH_FLAGS;
use crate::{DirHandle, Kind, Name};

pub use error::PathError;

use component::{Component, follow_in_proc, open_component};

/// The most symlinks in one path, as in Linux.
const MAX_LINKS: usize = 40;

/// A path whose directories are open.
#[derive(Debug)]
pub struct TrustedPath {
    base: DirHandle,
    /// The absolute path of `base`, without symlinks.
    base_path: PathBuf,
    /// The directories below `base`, each in the one before.
    below: Vec<(Name, DirHandle)>,
    end: PathEnd,
}

/// The end of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathEnd {
    /// A directory: [`TrustedPath::directory`].
    Directory,
    /// An entry of [`TrustedPath::directory`] that is no directory.
    Other {
        /// The entry's name.
        name: Name,
        /// The entry's kind; a symlink only for [`TrustedPath::resolve_entry`].
        kind: Kind,
    },
    /// Nothing yet: these names, one below the other, are missing in [`TrustedPath::directory`]. There is at least one.
    Missing(Vec<Name>),
}

/// The open directory that holds the entry which a path names.
#[derive(Debug)]
pub struct ResolvedParent {
    /// The directory.
    pub parent: DirHandle,
    /// The entry's name in it.
    pub name: Name,
    /// The entry's absolute path, without symlinks.
    pub path: PathBuf,
}

/// Whether a symlink at the end of a path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastLink {
    Followed,
    Kept,
}

impl TrustedPath {
    /// Opens `path`, following a symlink at its end. A relative path starts at the process' current directory, an empty one
    /// is that directory.
    ///
    /// # Errors
    /// [`PathError`]; missing components are no error, unless a symlink leads to them or `..` follows them.
    pub fn resolve(path: &Path) -> Result<Self, PathError> {
        Self::walk(Self::start(path)?, path.as_os_str().as_bytes(), LastLink::Followed)
    }

    /// Opens `path` like [`TrustedPath::resolve`], but a symlink at its end is the entry that it leads to.
    ///
    /// # Errors
    /// As for [`TrustedPath::resolve`].
    pub fn resolve_entry(path: &Path) -> Result<Self, PathError> {
        Self::walk(Self::start(path)?, path.as_os_str().as_bytes(), LastLink::Kept)
    }

    /// Opens `path` like [`TrustedPath::resolve`], but a relative one starts at `base`, whose absolute path is `base_path`.
    ///
    /// # Errors
    /// As for [`TrustedPath::resolve`].
    pub fn resolve_from(base: DirHandle, base_path: &Path, path: &[u8]) -> Result<Self, PathError> {
        let start =
            Self { base, base_path: base_path.to_owned(), below: Vec::new(), end: PathEnd::Directory };
        Self::walk(start, path, LastLink::Followed)
    }

    /// The deepest directory of the path that exists. It can be searched, but not listed: see [`DirHandle::reopen`].
    pub fn directory(&self) -> &DirHandle {
        self.below.last().map_or(&self.base, |(_, dir)| dir)
    }

    /// The end of the path.
    pub fn end(&self) -> &PathEnd {
        &self.end
    }

    /// The absolute path of [`TrustedPath::directory`], without symlinks.
    pub fn directory_path(&self) -> PathBuf {
        let mut path = self.base_path.clone();
        path.extend(self.below.iter().map(|(name, _)| component(name)));
        path
    }

    /// The absolute path of the end, without symlinks but for one at the end that was not followed.
    pub fn path(&self) -> PathBuf {
        let mut path = self.directory_path();
        match &self.end {
            PathEnd::Directory => {}
            PathEnd::Other { name, .. } => path.push(component(name)),
            PathEnd::Missing(names) => path.extend(names.iter().map(component)),
        }
        path
    }

    /// The directory that holds the end, and the end's name there. None for `/`.
    ///
    /// # Errors
    /// When that directory cannot be opened.
    pub fn into_parent(mut self) -> io::Result<Option<(Self, Name)>> {
        let name = match std::mem::replace(&mut self.end, PathEnd::Directory) {
            PathEnd::Other { name, .. } => Some(name),
            PathEnd::Missing(mut names) => {
                let last = names.pop();
                if !names.is_empty() {
                    self.end = PathEnd::Missing(names);
                }
                last
            }
            PathEnd::Directory => match self.below.pop() {
                Some((name, _)) => Some(name),
                None => {
                    let name = self.base_path.file_name().map(|name| Name::new(name.as_bytes()));
                    let name = name.transpose().map_err(io::Error::other)?;
                    if name.is_some() {
                        self.go_up()?;
                    }
                    name
                }
            },
        };
        Ok(name.map(|name| (self, name)))
    }

    /// Makes the missing directories, with `mode` as far as the umask allows it. In a directory with a default ACL that list
    /// takes the place of the umask.
    ///
    /// # Errors
    /// When one of them cannot be made, or is no directory but was made by somebody else in the meantime.
    pub fn create_missing(&mut self, mode: u32) -> io::Result<()> {
        let PathEnd::Missing(names) = std::mem::replace(&mut self.end, PathEnd::Directory) else {
            return Ok(());
        };
        for name in names {
            let mode = if self.directory().default_acl()?.is_some() { 0o777 } else { mode };
            match self.directory().mkdir(&name, mode) {
                // Another run made it since.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            let made = self.directory().child_to_search(&name)?;
            self.below.push((name, made));
        }
        Ok(())
    }

    /// The directory where `path` starts. The current directory of a process need not be one that it can open.
    fn start(path: &Path) -> Result<Self, PathError> {
        let (base_path, start) = match path.is_absolute() {
            true => (PathBuf::from("/"), c"/"),
            false => (std::env::current_dir()?, c"."),
        };
        let base = openat(CWD, start, SEARCH_FLAGS, Mode::empty()).map_err(io::Error::from)?;
        Ok(Self { base: DirHandle::from_fd(base), base_path, below: Vec::new(), end: PathEnd::Directory })
    }

    fn walk(mut self, path: &[u8], last: LastLink) -> Result<Self, PathError> {
        let mut steps = steps(path)?;
        let mut links: Vec<PathBuf> = Vec::new();
        // How many of the next steps come from symlinks.
        let mut linked = 0;
        while let Some(step) = steps.pop_front() {
            let is_linked = linked > 0;
            linked -= usize::from(is_linked);
            let name = match step {
                Step::Top => {
                    self.go_to_top()?;
                    continue;
                }
                Step::Up => {
                    if self.below.pop().is_none() {
                        self.go_up()?;
                    }
                    continue;
                }
                Step::Down(name) => name,
            };
            match open_component(self.directory(), &name)? {
                Component::Directory(dir) => self.below.push((name, dir)),
                Component::Missing => {
                    return match links.pop().filter(|_| is_linked) {
                        Some(link) => Err(PathError::Dangling { link }),
                        None => self.missing(name, steps),
                    };
                }
                Component::Other(kind) if steps.is_empty() => {
                    self.end = PathEnd::Other { name, kind };
                    return Ok(self);
                }
                Component::Other(kind) => {
                    let path = self.directory_path().join(component(&name));
                    return Err(PathError::NotADirectory { path, kind });
                }
                Component::Symlink { .. } if steps.is_empty() && last == LastLink::Kept => {
                    self.end = PathEnd::Other { name, kind: Kind::Symlink };
                    return Ok(self);
                }
                Component::Symlink { owner, target } => {
                    let link = self.directory_path().join(component(&name));
                    if links.len() >= MAX_LINKS {
                        return Err(PathError::TooManyLinks { link });
                    }
                    check_trust(self.directory(), &link, owner)?;
                    links.push(link);
                    match follow_in_proc(self.directory(), &name)? {
                        None => {
                            let target = self::steps(&target)?;
                            linked += target.len();
                            for step in target.into_iter().rev() {
                                steps.push_front(step);
                            }
                        }
                        Some(Component::Directory(dir)) => {
                            self.base_path = self.directory_path().join(component(&name));
                            self.base = dir;
                            self.below.clear();
                        }
                        Some(_) if steps.is_empty() => {
                            self.end = PathEnd::Other { name, kind: Kind::Symlink };
                            return Ok(self);
                        }
                        Some(_) => return Err(io::Error::from(io::ErrorKind::NotADirectory).into()),
                    }
                }
            }
        }
        Ok(self)
    }

    /// The path ends in `first` and `rest`, of which nothing exists.
    fn missing(mut self, first: Name, rest: VecDeque<Step>) -> Result<Self, PathError> {
        let mut names = vec![first];
        for step in rest {
            match step {
                Step::Down(name) => names.push(name),
                // The system does not go up from a missing directory either.
                Step::Up | Step::Top => return Err(io::Error::from(io::ErrorKind::NotFound).into()),
            }
        }
        self.end = PathEnd::Missing(names);
        Ok(self)
    }

    fn go_to_top(&mut self) -> io::Result<()> {
        self.base = DirHandle::from_fd(openat(CWD, c"/", SEARCH_FLAGS, Mode::empty())?);
        self.base_path = PathBuf::from("/");
        self.below.clear();
        Ok(())
    }

    /// Goes to the directory above the base. That of `/` is `/`.
    fn go_up(&mut self) -> io::Result<()> {
        self.base = DirHandle::from_fd(openat(self.base.as_fd(), c"..", SEARCH_FLAGS, Mode::empty())?);
        self.base_path.pop();
        Ok(())
    }
}

impl ResolvedParent {
    /// Opens the directory that holds the entry `path`. A symlink at the end of the path is not followed. None when a
    /// directory on the way does not exist. A relative path starts at the process' current directory.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn of(path: &Path) -> Result<Option<Self>, PathError> {
        let resolved = TrustedPath::resolve_entry(path)?;
        let path = resolved.path();
        let (parent, name) = resolved.into_parent()?.ok_or(PathError::NoName)?;
        match parent.end {
            PathEnd::Directory => Ok(Some(Self { parent: parent.directory().clone(), name, path })),
            _ => Ok(None),
        }
    }
}

/// Opens the file `path` for reading, whatever its kind. A relative path starts at the process' current directory.
///
/// # Errors
/// When a symlink of the path cannot be trusted, and what the system answers.
pub fn open_trusted_file(path: &Path) -> io::Result<File> {
    TrustedPath::resolve(path)?.open_file()
}

impl TrustedPath {
    /// Opens the end for reading, whatever its kind.
    ///
    /// # Errors
    /// When it is missing or is a directory, and what the system answers.
    pub fn open_file(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let (name, flags) = match &self.end {
            PathEnd::Directory => return Err(io::ErrorKind::IsADirectory.into()),
            PathEnd::Missing(_) => return Err(io::ErrorKind::NotFound.into()),
            // Only the system can follow a symlink of /proc.
            PathEnd::Other { name, kind: Kind::Symlink } => (name, flags),
            PathEnd::Other { name, .. } => (name, flags | OFlags::NOFOLLOW),
        };
        Ok(openat(self.directory().as_fd(), name.as_bytes(), flags, Mode::empty())?.into())
    }
}

/// A component of a path.
enum Step {
    Top,
    Up,
    Down(Name),
}

/// The steps of a path or of a symlink's target.
fn steps(path: &[u8]) -> io::Result<VecDeque<Step>> {
    let mut steps = VecDeque::new();
    if path.first() == Some(&b'/') {
        steps.push_back(Step::Top);
    }
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => steps.push_back(Step::Up),
            name => steps.push_back(Step::Down(Name::new(name).map_err(io::Error::other)?)),
        }
    }
    Ok(steps)
}

/// Refuses a symlink of `owner` in `dir` that another user may have put there.
fn check_trust(dir: &DirHandle, link: &Path, owner: u32) -> Result<(), PathError> {
    let me = rustix::process::geteuid();
    if owner != 0 && owner != me.as_raw() {
        return Err(PathError::OtherUsersLink { link: link.to_owned(), owner });
    }
    if me.is_root() {
        let stat = dir.stat_self()?;
        // In a directory with the sticky bit, only its owner can remove or rename the entries of another user.
        let kept = stat.mode & 0o022 == 0 || stat.mode & 0o1000 != 0;
        if stat.uid != 0 || !kept {
            return Err(PathError::ReplaceableLink { link: link.to_owned() });
        }
    }
    Ok(())
}

fn component(name: &Name) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(name.as_bytes())
}

#[cfg(test)]
mod tests;
