//! A tree as a test describes it: entries in a few lines, then [`Tree::build`] puts them on the disk. The same
//! description builds any number of equal copies and prints itself as a shell script, so that a failure can be repeated
//! by hand.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

/// What an entry of a [`Tree`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file with this content.
    File(Vec<u8>),
    /// A regular file of `size` bytes, zero but for the pieces given as (offset, bytes).
    Sparse {
        /// Length of the file in bytes.
        size: u64,
        /// What is written where.
        pieces: Vec<(u64, Vec<u8>)>,
    },
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

/// A description of a tree. `mode`, `mtime` and `owner` speak about the entry added last.
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

    /// The sample workspace of `fixtures/`, as a web project would have it.
    #[must_use]
    pub fn sample() -> Self {
        Self::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/workspace")))
    }

    /// The files, directories and symlinks below a directory, with their modes.
    ///
    /// # Panics
    /// When something cannot be read or is of another kind.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let mut tree = Self::new();
        let mut waiting = vec![PathBuf::new()];
        while let Some(below) = waiting.pop() {
            let directory = root.join(&below);
            for child in check(fs::read_dir(&directory), "list", &directory) {
                let child = check(child, "list", &directory);
                let (path, metadata) = (child.path(), check(child.metadata(), "stat", &child.path()));
                let node = if metadata.is_dir() {
                    Node::Dir
                } else if metadata.is_symlink() {
                    Node::Symlink(check(fs::read_link(&path), "read", &path).into())
                } else {
                    assert!(metadata.is_file(), "{} is of a kind that is not read", path.display());
                    Node::File(check(fs::read(&path), "read", &path))
                };
                let below = below.join(child.file_name());
                if node == Node::Dir {
                    waiting.push(below.clone());
                }
                tree = tree.entry(below, node).mode(metadata.permissions().mode() & 0o7777);
            }
        }
        tree
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

    /// Adds a regular file of `size` bytes that is zero but for `pieces`, given as (offset, bytes).
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

    /// Adds a block device (needs root).
    #[must_use]
    pub fn block_device(self, path: impl AsRef<OsStr>, major: u32, minor: u32) -> Self {
        self.entry(path, Node::BlockDevice(major, minor))
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

    /// Whether it has an entry at exactly this path.
    #[must_use]
    pub fn holds(&self, path: impl AsRef<OsStr>) -> bool {
        self.entries.iter().any(|entry| entry.path == Path::new(&path))
    }

    /// What is at exactly this path.
    #[must_use]
    pub fn node(&self, path: impl AsRef<OsStr>) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.path == Path::new(&path)).map(|entry| &entry.node)
    }

    fn last(&mut self) -> &mut Entry {
        self.entries.last_mut().expect("an entry was added before its attributes")
    }

    /// Makes the tree in the directory `at`, which is made too when it is missing. Entries already there stay, so a
    /// second tree can be laid over a first. Directories get their modes and times last, when nothing below changes.
    ///
    /// # Panics
    /// When the file system refuses anything.
    pub fn build(&self, at: impl AsRef<Path>) {
        let at = at.as_ref();
        check(fs::create_dir_all(at), "create directory", at);
        for entry in &self.entries {
            let path = at.join(&entry.path);
            if let Some(parent) = path.parent() {
                check(fs::create_dir_all(parent), "create directory", parent);
            }
            entry.node.make(&path);
            if entry.node != Node::Dir {
                entry.dress(&path);
            }
        }
        for entry in self.entries.iter().rev().filter(|entry| entry.node == Node::Dir) {
            entry.dress(&at.join(&entry.path));
        }
    }

    /// Shell commands (bash) that build this tree at `at`.
    #[must_use]
    pub fn script(&self, at: &str) -> String {
        let mut script = format!("mkdir -p {at}\n");
        for entry in &self.entries {
            let path = quote(Path::new(at).join(&entry.path).as_os_str().as_bytes());
            if let Some(parent) =
                entry.path.parent().filter(|parent| !self.holds(parent) && *parent != Path::new(""))
            {
                let parent = quote(Path::new(at).join(parent).as_os_str().as_bytes());
                script.push_str(&format!("mkdir -p -- {parent}; "));
            }
            script.push_str(&format!("{}{}\n", entry.node.command(&path), entry.attributes(&path)));
        }
        // Directories last, when nothing below changes; the innermost first.
        let directories =
            self.entries.iter().rev().filter(|entry| entry.node == Node::Dir && entry.mtime.is_some());
        for entry in directories {
            let path = quote(Path::new(at).join(&entry.path).as_os_str().as_bytes());
            script.push_str(&format!("{}\n", entry.touch(&path)));
        }
        script
    }
}

impl Entry {
    /// Commands that follow the one which makes the entry, for what is not as usual.
    fn attributes(&self, path: &str) -> String {
        let usual = if self.node == Node::Dir { 0o755 } else { 0o644 };
        let mut commands = String::new();
        if let Some((uid, gid)) = self.owner.filter(|owner| *owner != (0, 0)) {
            commands.push_str(&format!("; chown -h {uid}:{gid} -- {path}"));
        }
        if let Some(mode) = self.mode.filter(|mode| *mode != usual && !matches!(self.node, Node::Symlink(_)))
        {
            commands.push_str(&format!("; chmod {mode:o} -- {path}"));
        }
        if self.mtime.is_some() && self.node != Node::Dir {
            commands.push_str(&format!("; {}", self.touch(path)));
        }
        commands
    }

    fn touch(&self, path: &str) -> String {
        let (seconds, nanoseconds) = self.mtime.unwrap_or_default();
        let fraction = if nanoseconds == 0 { String::new() } else { format!(".{nanoseconds:09}") };
        format!("touch -h -d @{seconds}{fraction} -- {path}")
    }

    fn dress(&self, path: &Path) {
        if let Some((uid, gid)) = self.owner {
            check(lchown(path, Some(uid), Some(gid)), "change the owner of", path);
        }
        let mode = self.mode.unwrap_or(if self.node == Node::Dir { 0o755 } else { 0o644 });
        if !matches!(self.node, Node::Symlink(_)) {
            check(fs::set_permissions(path, Permissions::from_mode(mode)), "change the mode of", path);
        }
        if let Some((seconds, nanoseconds)) = self.mtime {
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let times = Timestamps { last_access: time, last_modification: time };
            let set = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
            check(set.map_err(io::Error::from), "set the time of", path);
        }
    }
}

impl Node {
    fn make(&self, path: &Path) {
        let special = |kind: FileType, device: u64| {
            let made = rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device);
            check(made.map_err(io::Error::from), "make the special file", path);
        };
        match self {
            Self::File(content) => check(fs::write(path, content), "write", path),
            Self::Sparse { size, pieces } => {
                let file = check(File::create(path), "create", path);
                check(file.set_len(*size), "extend", path);
                for (offset, bytes) in pieces {
                    check(file.write_all_at(bytes, *offset), "write", path);
                }
            }
            Self::Dir => check(fs::create_dir_all(path), "create directory", path),
            Self::Symlink(target) => check(symlink(target, path), "link", path),
            Self::Fifo => special(FileType::Fifo, 0),
            Self::Socket => special(FileType::Socket, 0),
            Self::CharDevice(major, minor) => {
                special(FileType::CharacterDevice, rustix::fs::makedev(*major, *minor));
            }
            Self::BlockDevice(major, minor) => {
                special(FileType::BlockDevice, rustix::fs::makedev(*major, *minor));
            }
        }
    }

    fn command(&self, path: &str) -> String {
        match self {
            Self::File(content) if content.len() <= 400 => format!("printf %s {} > {path}", quote(content)),
            Self::File(content) => format!(
                "head -c {} /dev/zero | tr '\\0' {} > {path}   # content differs in the test",
                content.len(),
                quote(&content[..1])
            ),
            Self::Sparse { size, pieces } => {
                let mut command = format!("truncate -s {size} {path}");
                for (offset, bytes) in pieces {
                    let _ = write!(command, "; # {} bytes at {offset}", bytes.len());
                }
                command
            }
            Self::Dir => format!("mkdir -p -- {path}"),
            Self::Symlink(target) => format!("ln -s -- {} {path}", quote(target.as_bytes())),
            Self::Fifo => format!("mkfifo -- {path}"),
            Self::Socket => {
                format!("python3 -c 'import sys,os,stat; os.mknod(sys.argv[1], stat.S_IFSOCK|0o644)' {path}")
            }
            Self::CharDevice(major, minor) => format!("mknod -- {path} c {major} {minor}"),
            Self::BlockDevice(major, minor) => format!("mknod -- {path} b {major} {minor}"),
        }
    }
}

/// `bytes` as one word of a bash command line.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=,:@".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'\'') {
        return format!("'{}'", String::from_utf8_lossy(bytes));
    }
    format!("$'{}'", bytes.escape_ascii().to_string().replace("\\\"", "\""))
}

#[track_caller]
fn check<T>(result: io::Result<T>, doing: &str, path: &Path) -> T {
    result.unwrap_or_else(|error| panic!("{doing} {}: {error}", path.display()))
}
