//! A tree as a test describes it: entries in a few lines, which [`Tree::build`] puts on the disk. One description builds
//! any number of equal copies, and prints itself as a script for bash.

pub(crate) mod differences;
pub(crate) mod script;
pub(crate) mod snapshot;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

/// The kind of an entry of a [`Tree`], with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields of variants are told in the variant's own line")]
pub enum Node {
    /// A regular file with this content.
    File(Vec<u8>),
    /// A regular file of `size` bytes. The pieces, each an offset and bytes, are written; the rest is holes.
    Sparse { size: u64, pieces: Vec<(u64, Vec<u8>)> },
    /// A directory.
    Dir,
    /// A symbolic link with this target.
    Symlink(OsString),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    node: Node,
    mode: Option<u32>,
    mtime: Option<(i64, i64)>,
    owner: Option<(u32, u32)>,
}

/// A description of a tree. [`mode`](Tree::mode), [`mtime`](Tree::mtime) and [`owner`](Tree::owner) are about the entry added
/// last.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: Vec<Entry>,
}

impl Tree {
    /// A tree without entries: an empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The sample workspace: the directory `fixtures/workspace` of the checkout, as a web project has it.
    ///
    /// # Panics
    /// When the checkout that this crate was built from is gone.
    #[must_use]
    pub fn sample() -> Self {
        let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/workspace"));
        Self::read(directory).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The files, directories and symlinks below a directory, with their modes.
    ///
    /// # Errors
    /// When an entry cannot be read or is of another kind.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::new();
        let mut waiting = vec![PathBuf::new()];
        while let Some(below) = waiting.pop() {
            let directory = root.join(&below);
            for child in fs::read_dir(&directory).doing("list", &directory)? {
                let child = child.doing("list", &directory)?;
                let path = child.path();
                let metadata = child.metadata().doing("stat", &path)?;
                let node = if metadata.is_dir() {
                    Node::Dir
                } else if metadata.is_symlink() {
                    Node::Symlink(fs::read_link(&path).doing("read", &path)?.into())
                } else if metadata.is_file() {
                    Node::File(fs::read(&path).doing("read", &path)?)
                } else {
                    return Err(io::ErrorKind::Unsupported.into()).doing("read the special file", &path);
                };
                let below = below.join(child.file_name());
                if node == Node::Dir {
                    waiting.push(below.clone());
                }
                tree = tree.entry(below, node).mode(metadata.permissions().mode() & 0o7777);
            }
        }
        Ok(tree)
    }

    /// This tree without the entries at or below a path.
    #[must_use]
    pub fn without(mut self, path: impl AsRef<Path>) -> Self {
        self.entries.retain(|entry| !entry.path.starts_with(&path));
        self
    }

    /// Adds an entry; missing parents become directories when the tree is built.
    #[must_use]
    pub fn entry(mut self, path: impl AsRef<OsStr>, node: Node) -> Self {
        self.entries.push(Entry { path: path.as_ref().into(), node, mode: None, mtime: None, owner: None });
        self
    }

    /// Adds a regular file, mode 644.
    #[must_use]
    pub fn file(self, path: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> Self {
        self.entry(path, Node::File(content.as_ref().to_vec()))
    }

    /// Adds a regular file of `size` bytes. `pieces`, each an offset and bytes, are written; the rest is holes.
    #[must_use]
    pub fn sparse(self, path: impl AsRef<OsStr>, size: u64, pieces: Vec<(u64, Vec<u8>)>) -> Self {
        self.entry(path, Node::Sparse { size, pieces })
    }

    /// Adds a directory, mode 755.
    #[must_use]
    pub fn dir(self, path: impl AsRef<OsStr>) -> Self {
        self.entry(path, Node::Dir)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: impl AsRef<OsStr>, target: impl AsRef<OsStr>) -> Self {
        self.entry(path, Node::Symlink(target.as_ref().into()))
    }

    /// Adds a named pipe.
    #[must_use]
    pub fn fifo(self, path: impl AsRef<OsStr>) -> Self {
        self.entry(path, Node::Fifo)
    }

    /// Adds a socket.
    #[must_use]
    pub fn socket(self, path: impl AsRef<OsStr>) -> Self {
        self.entry(path, Node::Socket)
    }

    /// Adds a character device (needs root).
    #[must_use]
    pub fn char_device(self, path: impl AsRef<OsStr>, major: u32, minor: u32) -> Self {
        self.entry(path, Node::CharDevice(major, minor))
    }

    /// Sets the permission bits of the entry added last, whatever the umask.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.last().mode = Some(mode);
        self
    }

    /// Sets the modification time of the entry added last, in seconds since the epoch.
    #[must_use]
    pub fn mtime(self, seconds: i64) -> Self {
        self.mtime_ns(seconds, 0)
    }

    /// Sets the modification time of the entry added last, in seconds since the epoch and nanoseconds.
    #[must_use]
    pub fn mtime_ns(mut self, seconds: i64, nanoseconds: i64) -> Self {
        self.last().mtime = Some((seconds, nanoseconds));
        self
    }

    /// Sets the numeric owner and group of the entry added last (needs root).
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.last().owner = Some((uid, gid));
        self
    }

    /// This tree with this time, in seconds since the epoch, for every entry that has none.
    #[must_use]
    pub fn with_default_mtime(mut self, seconds: i64) -> Self {
        for entry in &mut self.entries {
            entry.mtime = entry.mtime.or(Some((seconds, 0)));
        }
        self
    }

    /// This tree, and every entry of `other` after its own.
    #[must_use]
    pub fn and(mut self, other: &Tree) -> Self {
        self.entries.extend(other.entries.iter().cloned());
        self
    }

    /// Whether the tree has an entry at exactly this path.
    #[must_use]
    pub fn holds(&self, path: impl AsRef<OsStr>) -> bool {
        self.entries.iter().any(|entry| entry.path == Path::new(&path))
    }

    /// The kind and content of the entry at exactly this path.
    #[must_use]
    pub fn node(&self, path: impl AsRef<OsStr>) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.path == Path::new(&path)).map(|entry| &entry.node)
    }

    /// The paths of the directories that were added as entries.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter(|entry| entry.node == Node::Dir).map(|entry| entry.path.as_path())
    }

    fn last(&mut self) -> &mut Entry {
        self.entries.last_mut().expect("an entry was added before its attributes")
    }

    /// Makes the tree in the directory `at`, which is made too when it is missing. Entries already there stay, so a
    /// second tree can be laid over a first. Directories get their modes and times last, when nothing below them changes
    /// any more.
    ///
    /// # Errors
    /// When the file system refuses a step. The error names the step and the path.
    pub fn write(&self, at: impl AsRef<Path>) -> io::Result<()> {
        let at = at.as_ref();
        fs::create_dir_all(at).doing("create directory", at)?;
        for entry in &self.entries {
            let path = at.join(&entry.path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).doing("create directory", parent)?;
            }
            entry.node.make(&path)?;
            if entry.node != Node::Dir {
                entry.set_attributes(&path)?;
            }
        }
        for entry in self.entries.iter().rev().filter(|entry| entry.node == Node::Dir) {
            entry.set_attributes(&at.join(&entry.path))?;
        }
        Ok(())
    }

    /// Makes the tree as [`write`](Self::write) does.
    ///
    /// # Panics
    /// When the file system refuses a step.
    #[track_caller]
    pub fn build(&self, at: impl AsRef<Path>) {
        self.write(at).unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Entry {
    fn set_attributes(&self, path: &Path) -> io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            lchown(path, Some(uid), Some(gid)).doing("change the owner of", path)?;
        }
        let mode = self.mode.unwrap_or(if self.node == Node::Dir { 0o755 } else { 0o644 });
        if !matches!(self.node, Node::Symlink(_)) {
            fs::set_permissions(path, Permissions::from_mode(mode)).doing("change the mode of", path)?;
        }
        if let Some((seconds, nanoseconds)) = self.mtime {
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let times = Timestamps { last_access: time, last_modification: time };
            let set = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
            set.map_err(io::Error::from).doing("set the time of", path)?;
        }
        Ok(())
    }
}

impl Node {
    fn make(&self, path: &Path) -> io::Result<()> {
        let special = |kind: FileType, device: u64| {
            let made = rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device);
            made.map_err(io::Error::from).doing("make the special file", path)
        };
        match self {
            Self::File(content) => fs::write(path, content).doing("write", path),
            Self::Sparse { size, pieces } => {
                let file = File::create(path).doing("create", path)?;
                file.set_len(*size).doing("extend", path)?;
                pieces
                    .iter()
                    .try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset).doing("write", path))
            }
            Self::Dir => fs::create_dir_all(path).doing("create directory", path),
            Self::Symlink(target) => symlink(target, path).doing("make the symlink", path),
            Self::Fifo => special(FileType::Fifo, 0),
            Self::Socket => special(FileType::Socket, 0),
            Self::CharDevice(major, minor) => {
                special(FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))
            }
            Self::BlockDevice(major, minor) => {
                special(FileType::BlockDevice, rustix::fs::makedev(*major, *minor))
            }
        }
    }
}

/// Adds to an error of the system the step that failed and its path.
pub(crate) trait Doing<T> {
    fn doing(self, step: &str, path: &Path) -> io::Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, step: &str, path: &Path) -> io::Result<T> {
        self.map_err(|error| io::Error::new(error.kind(), format!("{step} {}: {error}", path.display())))
    }
}
