//! A snapshot is everything a test may compare about a tree, taken once: kind, content, link target, mode, owner, times
//! and identity of every entry. Comparing two snapshots never reads the disk again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What kind of thing an entry is, with what makes two of a kind equal.
#[derive(Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file: the hash of its content.
    File(blake3::Hash),
    /// A directory.
    Dir,
    /// A symbolic link: its target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device: its number.
    CharDevice(u64),
    /// A block device: its number.
    BlockDevice(u64),
}

/// One entry of a [`Snapshot`].
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// Kind and content.
    pub kind: Kind,
    /// Length in bytes.
    pub size: u64,
    /// Permission bits, with set-id and sticky bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Inode number.
    pub ino: u64,
    /// Modification time: seconds since the epoch, nanoseconds.
    pub mtime: (i64, i64),
    /// Change time: seconds since the epoch, nanoseconds.
    pub ctime: (i64, i64),
    /// Space taken on the disk, in units of 512 bytes.
    pub blocks: u64,
}

/// Everything that was seen of a tree; the key is the path below the root, `.` the root itself.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) root: PathBuf,
    pub(crate) entries: BTreeMap<Vec<u8>, Seen>,
}

impl Snapshot {
    /// Takes a snapshot of the tree at `root`; nothing at all there is an empty snapshot.
    ///
    /// # Panics
    /// When something below cannot be read.
    #[must_use]
    pub fn of(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref();
        let mut snapshot = Self { root: root.into(), entries: BTreeMap::new() };
        if let Ok(metadata) = root.symlink_metadata() {
            snapshot.add(root, b".".to_vec(), &metadata);
        }
        snapshot
    }

    fn add(&mut self, path: &Path, name: Vec<u8>, metadata: &Metadata) {
        let is_dir = metadata.is_dir();
        self.entries.insert(name.clone(), Seen::of(path, metadata));
        if is_dir {
            let listing =
                fs::read_dir(path).unwrap_or_else(|error| panic!("list {}: {error}", path.display()));
            for child in listing {
                let child = child.unwrap_or_else(|error| panic!("list {}: {error}", path.display()));
                let path = child.path();
                let metadata =
                    child.metadata().unwrap_or_else(|error| panic!("stat {}: {error}", path.display()));
                let mut below = if name == b"." { Vec::new() } else { [&name[..], b"/"].concat() };
                below.extend_from_slice(child.file_name().as_bytes());
                self.add(&path, below, &metadata);
            }
        }
    }

    /// This snapshot without the entries (and all below them) whose path `unwanted` accepts.
    #[must_use]
    pub fn without(mut self, unwanted: impl Fn(&Path) -> bool) -> Self {
        self.entries.retain(|path, _| !Path::new(OsStr::from_bytes(path)).ancestors().any(&unwanted));
        self
    }

    /// This snapshot with every modification time after `seconds` (since the epoch) made the same: what two programs
    /// changed one after the other was changed "now" in both.
    #[must_use]
    pub fn with_times_alike_after(mut self, seconds: i64) -> Self {
        for seen in self.entries.values_mut().filter(|seen| seen.mtime.0 > seconds) {
            seen.mtime = (i64::MAX, 0);
        }
        self
    }

    /// This snapshot with the time of every directory that was just changed here (see
    /// [`with_times_alike_after`](Self::with_times_alike_after)) and not in `other` taken from there.
    #[must_use]
    pub fn with_directories_untouched_as_in(mut self, other: &Self) -> Self {
        for (path, seen) in &mut self.entries {
            if let Some(other) = other.entries.get(path)
                && (seen.is_dir() && other.is_dir())
                && seen.mtime == (i64::MAX, 0)
            {
                seen.mtime = other.mtime;
            }
        }
        self
    }

    /// The paths of all directories below the root.
    pub fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let directories = self.entries.iter().filter(|(_, seen)| seen.is_dir());
        directories.map(|(path, _)| PathBuf::from(OsStr::from_bytes(path)))
    }

    /// The entry at a path below the root, if there is one.
    #[must_use]
    pub fn get(&self, path: impl AsRef<Path>) -> Option<&Seen> {
        self.entries.get(path.as_ref().as_os_str().as_bytes())
    }

    /// The entry at a path below the root.
    ///
    /// # Panics
    /// When there is none, with a listing of what is there.
    #[must_use]
    pub fn entry(&self, path: impl AsRef<Path>) -> &Seen {
        let path = path.as_ref();
        self.get(path).unwrap_or_else(|| panic!("{} is missing from\n{}", path.display(), self.listing()))
    }

    /// Whether something is at this path.
    #[must_use]
    pub fn holds(&self, path: impl AsRef<Path>) -> bool {
        self.get(path).is_some()
    }

    /// Every path with its entry, in order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Seen)> {
        self.entries.iter().map(|(path, seen)| (Path::new(OsStr::from_bytes(path)), seen))
    }

    /// How many entries it has, the root among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there was nothing at all, not even the root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tree as text, an entry a line.
    #[must_use]
    pub fn listing(&self) -> String {
        let lines = self.entries.iter().map(|(path, seen)| {
            format!(
                "  {:<28} {:04o} {}:{}  {}\n",
                path.escape_ascii(),
                seen.mode,
                seen.uid,
                seen.gid,
                seen.describe()
            )
        });
        format!("{}:\n{}", self.root.display(), lines.collect::<String>())
    }
}

impl Seen {
    fn of(path: &Path, metadata: &Metadata) -> Self {
        let kind = metadata.file_type();
        let kind = if kind.is_file() {
            Kind::File(hash(path))
        } else if kind.is_dir() {
            Kind::Dir
        } else if kind.is_symlink() {
            let target =
                fs::read_link(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
            Kind::Symlink(target.as_os_str().as_bytes().to_vec())
        } else if kind.is_fifo() {
            Kind::Fifo
        } else if kind.is_socket() {
            Kind::Socket
        } else if kind.is_char_device() {
            Kind::CharDevice(metadata.rdev())
        } else {
            Kind::BlockDevice(metadata.rdev())
        };
        Self {
            kind,
            size: metadata.size(),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            ino: metadata.ino(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
            blocks: metadata.blocks(),
        }
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// Kind and content in a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::File(hash) => format!("file of {} bytes, {}", self.size, &hash.to_hex()[..8]),
            Kind::Dir => "directory".into(),
            Kind::Symlink(target) => format!("symlink to {}", target.escape_ascii()),
            Kind::Fifo => "fifo".into(),
            Kind::Socket => "socket".into(),
            Kind::CharDevice(number) => format!("character device {number:#x}"),
            Kind::BlockDevice(number) => format!("block device {number:#x}"),
        }
    }
}

fn hash(path: &Path) -> blake3::Hash {
    let file = File::open(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    hasher.finalize()
}
