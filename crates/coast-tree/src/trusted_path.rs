//! A path from a user's command line, opened one component at a time. Another user who can write in a directory of the path
//! could put a symlink there and so choose where a privileged process works. So a symlink is followed only where it can be
//! trusted:
//!
//! - The symlink belongs to root or to this process' user.
//! - Where this process is root, nobody else may be able to put it there or to replace it either: its directory belongs to
//!   root, and others may not write in it, unless the sticky bit keeps them from replacing what is not theirs.
//!
//! Each component is opened once and its descriptor is kept, so nothing is checked that is not also used.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::dir::DIRECTORY_FLAGS;
use crate::root::SEARCH_FLAGS;
use crate::{DirHandle, Kind, Name};

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

/// Why a path is not opened.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum PathError {
    /// The path is `/`, or ends in `..`.
    #[error("the path does not end in a name")]
    NoName,
    /// Following the path's symlinks does not end.
    #[error("there are too many symlinks in the path; {} is one of them", link.display())]
    TooManyLinks { link: PathBuf },
    /// A symlink of the path leads to nothing.
    #[error("the symlink {} leads to something that does not exist", link.display())]
    Dangling { link: PathBuf },
    /// Another user made the symlink.
    #[error(
        "the symlink {} belongs to user {owner}, who can make it lead anywhere, so it is not followed; \
         give the path without that symlink",
        link.display()
    )]
    OtherUsersLink { link: PathBuf, owner: u32 },
    /// Another user could have put the symlink there, or could replace it.
    #[error(
        "the symlink {} lies in a directory in which other users can replace it, so root does not follow it; \
         give the path without that symlink",
        link.display()
    )]
    ReplaceableLink { link: PathBuf },
    /// Something else than a directory lies on the way.
    #[error("{} is a {kind}, not a directory", path.display())]
    NotADirectory { path: PathBuf, kind: Kind },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<PathError> for io::Error {
    fn from(error: PathError) -> Self {
        let kind = match &error {
            PathError::Io(_) => io::ErrorKind::Other,
            PathError::Dangling { .. } => io::ErrorKind::NotFound,
            PathError::NotADirectory { .. } => io::ErrorKind::NotADirectory,
            PathError::NoName => io::ErrorKind::InvalidInput,
            PathError::TooManyLinks { .. }
            | PathError::OtherUsersLink { .. }
            | PathError::ReplaceableLink { .. } => io::ErrorKind::PermissionDenied,
        };
        match error {
            PathError::Io(error) => error,
            error => Self::new(kind, error),
        }
    }
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

    /// Makes the missing directories, with `mode` as far as the umask allows it.
    ///
    /// # Errors
    /// When one of them cannot be made, or is no directory but was made by somebody else in the meantime.
    pub fn create_missing(&mut self, mode: u32) -> io::Result<()> {
        let PathEnd::Missing(names) = std::mem::replace(&mut self.end, PathEnd::Directory) else {
            return Ok(());
        };
        for name in names {
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

impl DirHandle {
    /// Whether the symlink `name` leads to a directory; none when it leads to nothing. Nothing is opened, and the answer may
    /// be another one at the next moment.
    pub fn leads_to_directory(&self, name: &Name) -> io::Result<Option<bool>> {
        match rustix::fs::statat(self.as_fd(), name.as_bytes(), AtFlags::empty()) {
            Ok(status) => Ok(Some(FileType::from_raw_mode(status.st_mode) == FileType::Directory)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens this directory again, so that it can be listed too.
    pub fn reopen(&self) -> io::Result<Self> {
        Ok(Self::from_fd(openat(self.as_fd(), c".", DIRECTORY_FLAGS, Mode::empty())?))
    }

    /// [`DirHandle::reopen`] for an owner who may not read or search the directory and who is not root: gives the owner these
    /// rights. Answers the mode that the directory had, if it was changed.
    pub fn reopen_as_owner(&self) -> io::Result<(Self, Option<u32>)> {
        let me = rustix::process::geteuid();
        let stat = self.stat_self()?;
        if me.is_root() || stat.uid != me.as_raw() || stat.mode & 0o500 == 0o500 {
            return self.reopen().map(|opened| (opened, None));
        }
        self.chmod_searched(stat.mode | 0o700)?;
        self.reopen().map(|opened| (opened, Some(stat.mode)))
    }

    #[cfg(target_os = "linux")]
    fn chmod_searched(&self, mode: u32) -> io::Result<()> {
        crate::mode::chmod_searched(self.as_fd(), crate::dir::mode_bits(mode))
    }

    #[cfg(not(target_os = "linux"))]
    fn chmod_searched(&self, mode: u32) -> io::Result<()> {
        self.chmod_self(mode)
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

/// The entry at a component of a path.
enum Component {
    Missing,
    Directory(DirHandle),
    Symlink { owner: u32, target: Vec<u8> },
    Other(Kind),
}

/// Opens a component of a path, and follows no symlink.
fn open_component(dir: &DirHandle, name: &Name) -> io::Result<Component> {
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
fn follow_in_proc(dir: &DirHandle, name: &Name) -> io::Result<Option<Component>> {
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
fn follow_in_proc(_: &DirHandle, _: &Name) -> io::Result<Option<Component>> {
    Ok(None)
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
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};

    use super::*;

    const OTHER: u32 = 12_345;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().canonicalize().unwrap();
        fs::create_dir_all(path.join("data/p/i")).unwrap();
        (scratch, path)
    }

    fn is_at(resolved: &TrustedPath, path: &Path) {
        assert_eq!(resolved.path(), path);
        let stat = resolved.directory().stat_self().unwrap();
        assert_eq!(stat.ino, fs::metadata(resolved.directory_path()).unwrap().ino());
    }

    fn refusal(path: &Path) -> String {
        match TrustedPath::resolve(path) {
            Err(error) if !matches!(error, PathError::Io(_)) => error.to_string(),
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    #[test]
    fn the_parent_is_found_whether_or_not_the_entry_exists() {
        let (_scratch, path) = scratch();
        for end in ["i", "other"] {
            let found = ResolvedParent::of(&path.join("data/./p//").join(end)).unwrap().unwrap();
            assert_eq!(found.path, path.join("data/p").join(end));
            assert_eq!(found.name.as_bytes(), end.as_bytes());
            let i = found.parent.stat(&Name::new(b"i").unwrap()).unwrap().unwrap();
            assert_eq!(i.kind, Kind::Directory);
        }
        assert!(ResolvedParent::of(&path.join("data/q/i")).unwrap().is_none());
        for path in ["/", "//", "/.", "/.."] {
            assert!(matches!(ResolvedParent::of(Path::new(path)), Err(PathError::NoName)), "{path}");
        }
    }

    #[test]
    fn own_symlinks_are_followed_however_they_are_written() {
        let (_scratch, path) = scratch();
        let data = path.join("data");
        fs::create_dir(path.join("links")).unwrap();
        symlink(&data, path.join("links/abs")).unwrap();
        for target in [data.clone(), "../data".into(), "../links/../data/.".into(), "abs".into()] {
            let link = path.join("links/to");
            symlink(&target, &link).unwrap();
            is_at(&TrustedPath::resolve(&link.join("p/i")).unwrap(), &data.join("p/i"));
            is_at(&TrustedPath::resolve(&link).unwrap(), &data);
            is_at(&TrustedPath::resolve(&link.join("p/../../links/abs/p")).unwrap(), &data.join("p"));
            fs::remove_file(link).unwrap();
        }
        symlink("/", path.join("links/top")).unwrap();
        is_at(
            &TrustedPath::resolve(&path.join("links/top/usr")).unwrap(),
            &fs::canonicalize("/usr").unwrap(),
        );
        symlink("circle", path.join("links/circle")).unwrap();
        assert!(refusal(&path.join("links/circle/p/i")).contains("too many symlinks"));
    }

    #[test]
    fn a_relative_path_starts_at_its_base_and_climbs_above_it() {
        let (_scratch, path) = scratch();
        symlink("../..", path.join("data/p/up")).unwrap();
        let from = |relative: &str| {
            let base = crate::Root::open(&path.join("data/p")).unwrap().handle();
            TrustedPath::resolve_from(base, &path.join("data/p"), relative.as_bytes()).unwrap()
        };
        is_at(&from(""), &path.join("data/p"));
        is_at(&from("i"), &path.join("data/p/i"));
        is_at(&from(".."), &path.join("data"));
        is_at(&from("../../data/./p/i"), &path.join("data/p/i"));
        is_at(&from("up/data"), &path.join("data"));
        let (parent, name) = from("").into_parent().unwrap().unwrap();
        is_at(&parent, &path.join("data"));
        assert_eq!(name.as_bytes(), b"p");
        is_at(&TrustedPath::resolve(Path::new("")).unwrap(), &std::env::current_dir().unwrap());
    }

    #[test]
    fn missing_directories_are_named_and_made() {
        let (_scratch, path) = scratch();
        let mut resolved = TrustedPath::resolve(&path.join("data/new/newer")).unwrap();
        let names = [&b"new"[..], b"newer"].map(|name| Name::new(name).unwrap()).to_vec();
        assert_eq!(resolved.end(), &PathEnd::Missing(names));
        assert_eq!(resolved.directory_path(), path.join("data"));
        assert!(!path.join("data/new").exists());
        resolved.create_missing(0o700).unwrap();
        is_at(&resolved, &path.join("data/new/newer"));
        assert_eq!(resolved.end(), &PathEnd::Directory);
        assert!(TrustedPath::resolve(&path.join("data/missing/../p")).is_err());

        // A symlink put in the place of a missing directory since is not followed.
        let mut resolved = TrustedPath::resolve(&path.join("data/late/x")).unwrap();
        symlink(path.join("data/p"), path.join("data/late")).unwrap();
        resolved.create_missing(0o700).unwrap_err();
        assert!(!path.join("data/p/x").exists());
    }

    #[test]
    fn the_end_is_told_from_what_is_in_the_way() {
        let (_scratch, path) = scratch();
        fs::write(path.join("data/file"), "content").unwrap();
        symlink("file", path.join("data/to-file")).unwrap();
        symlink("nothing", path.join("data/dangling")).unwrap();
        let end = |resolved: Result<TrustedPath, PathError>| match resolved.unwrap().end() {
            PathEnd::Other { name, kind } => (name.to_string(), *kind),
            other => panic!("{other:?}"),
        };
        let at = |name: &str| path.join("data").join(name);
        assert_eq!(end(TrustedPath::resolve(&at("to-file"))), ("file".to_owned(), Kind::File));
        for link in ["to-file", "dangling"] {
            assert_eq!(end(TrustedPath::resolve_entry(&at(link))), (link.to_owned(), Kind::Symlink));
        }
        assert!(matches!(TrustedPath::resolve(&at("dangling")), Err(PathError::Dangling { .. })));
        assert!(matches!(TrustedPath::resolve(&at("dangling/x")), Err(PathError::Dangling { .. })));
        let error = TrustedPath::resolve(&at("file/x")).unwrap_err().to_string();
        assert!(error.contains("data/file is a file"), "{error}");
        let mut content = String::new();
        open_trusted_file(&at("to-file")).unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn open_files_are_reached_by_their_symlinks_in_proc() {
        use std::os::fd::AsRawFd;
        let (_scratch, path) = scratch();
        fs::write(path.join("file"), "content").unwrap();
        let (file, dir) = (File::open(path.join("file")).unwrap(), File::open(path.join("data")).unwrap());
        fs::remove_file(path.join("file")).unwrap();
        let by_number = |file: &File| PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
        let mut content = String::new();
        open_trusted_file(&by_number(&file)).unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        let resolved = TrustedPath::resolve(&by_number(&dir).join("p/i")).unwrap();
        assert_eq!(
            resolved.directory().stat_self().unwrap().ino,
            fs::metadata(path.join("data/p/i")).unwrap().ino()
        );
    }

    #[test]
    fn root_follows_no_symlink_that_another_user_could_have_put_there() {
        assert!(rustix::process::geteuid().is_root(), "needs root, to give a symlink to another user");
        let (_scratch, path) = scratch();
        let link = path.join("link");
        symlink("data", &link).unwrap();
        lchown(&link, Some(OTHER), None).unwrap();
        for below in ["", "p/i", "../link", "missing/dir"] {
            assert!(refusal(&link.join(below)).contains("12345"), "{below}");
        }
        // Neither a chain of symlinks nor a detour hides it.
        fs::create_dir(path.join("mine")).unwrap();
        symlink("../link/p", path.join("mine/chain")).unwrap();
        symlink("chain/../p", path.join("mine/longer")).unwrap();
        for above in ["mine/chain/i", "mine/longer/i", "data/../link/p/i"] {
            assert!(refusal(&path.join(above)).contains("12345"), "{above}");
        }
        lchown(&link, Some(0), None).unwrap();
        is_at(&TrustedPath::resolve(&path.join("mine/longer/i")).unwrap(), &path.join("data/p/i"));

        for (mode, owner, trusted) in [
            (0o777, 0, false),
            (0o775, 0, false),
            (0o1777, 0, true),
            (0o1777, OTHER, false),
            (0o755, OTHER, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            lchown(&path, Some(owner), None).unwrap();
            let resolved = TrustedPath::resolve(&link.join("p/i"));
            assert_eq!(resolved.is_ok(), trusted, "{mode:o} of {owner}: {resolved:?}");
            is_at(&TrustedPath::resolve(&path.join("data/p/i")).unwrap(), &path.join("data/p/i"));
        }
    }
}
