//! A snapshot holds everything that a test may compare about a tree: kind, content, link target, mode, owner, ACLs, times
//! and identity of every entry. Comparing two snapshots does not read the disk again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::Doing;

/// The kind of an entry. Two entries with equal kinds have the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, by the hash of its content.
    File(blake3::Hash),
    /// A directory.
    Dir,
    /// A symbolic link, by its target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device, by its number.
    CharDevice(u64),
    /// A block device, by its number.
    BlockDevice(u64),
}

/// An entry of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The access ACL and the default ACL, as the kernel stores them; empty where there is none.
    pub acls: [Vec<u8>; 2],
}

/// The state of a tree at one moment. Paths are relative to its root, and `.` is the root itself.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) root: PathBuf,
    pub(crate) entries: BTreeMap<Vec<u8>, Seen>,
}

impl Snapshot {
    /// Takes a snapshot of the tree at `root`. Where nothing is, the snapshot is empty.
    ///
    /// # Errors
    /// When an entry cannot be read. The error names it.
    pub fn read(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = root.as_ref();
        let mut snapshot = Self { root: root.into(), entries: BTreeMap::new() };
        if let Ok(metadata) = root.symlink_metadata() {
            snapshot.add(root, b".".to_vec(), &metadata)?;
        }
        Ok(snapshot)
    }

    /// Takes a snapshot as [`read`](Self::read) does.
    ///
    /// # Panics
    /// When an entry cannot be read.
    #[must_use]
    #[track_caller]
    pub fn of(root: impl AsRef<Path>) -> Self {
        Self::read(root).unwrap_or_else(|error| panic!("{error}"))
    }

    fn add(&mut self, path: &Path, name: Vec<u8>, metadata: &Metadata) -> io::Result<()> {
        let is_dir = metadata.is_dir();
        self.entries.insert(name.clone(), Seen::read(path, metadata)?);
        if is_dir {
            for child in fs::read_dir(path).doing("list", path)? {
                let child = child.doing("list", path)?;
                let path = child.path();
                let metadata = child.metadata().doing("stat", &path)?;
                let mut below = if name == b"." { Vec::new() } else { [&name[..], b"/"].concat() };
                below.extend_from_slice(child.file_name().as_bytes());
                self.add(&path, below, &metadata)?;
            }
        }
        Ok(())
    }

    /// This snapshot without the entries (and all below them) whose path `unwanted` accepts.
    #[must_use]
    pub fn without(mut self, unwanted: impl Fn(&Path) -> bool) -> Self {
        self.entries.retain(|path, _| !Path::new(OsStr::from_bytes(path)).ancestors().any(&unwanted));
        self
    }

    /// This snapshot with every modification time after `seconds` (since the epoch) made the same. Two programs that ran
    /// one after the other both set "now", which differs.
    #[must_use]
    pub fn with_times_alike_after(mut self, seconds: i64) -> Self {
        for seen in self.entries.values_mut().filter(|seen| seen.mtime.0 > seconds) {
            seen.mtime = (i64::MAX, 0);
        }
        self
    }

    /// This snapshot, where a directory that was changed (see [`with_times_alike_after`](Self::with_times_alike_after)) has
    /// the time that it has in `other`.
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

    /// This snapshot, where a file that has the content it had in `before` has the group and the ACLs of `before`, as far as it has
    /// them in `other`: in `other` the file was kept, while here it may have been written again.
    #[must_use]
    pub fn with_files_kept_as_in(mut self, other: &Self, before: &Self) -> Self {
        for (path, seen) in &mut self.entries {
            if let (Some(other), Some(before)) = (other.entries.get(path), before.entries.get(path))
                && matches!(seen.kind, Kind::File(_))
                && (seen.kind == other.kind && other.kind == before.kind)
            {
                if other.gid == before.gid {
                    seen.gid = before.gid;
                }
                if other.acls == before.acls {
                    seen.acls.clone_from(&before.acls);
                }
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
    /// When there is none. The message lists the whole tree.
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

    /// The number of entries, the root among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the tree had no root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tree as text: a line for each entry.
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
    fn read(path: &Path, metadata: &Metadata) -> io::Result<Self> {
        let kind = metadata.file_type();
        let kind = if kind.is_file() {
            Kind::File(hash(path)?)
        } else if kind.is_dir() {
            Kind::Dir
        } else if kind.is_symlink() {
            let target = fs::read_link(path).doing("read", path)?;
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
        Ok(Self {
            kind,
            size: metadata.size(),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            ino: metadata.ino(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
            blocks: metadata.blocks(),
            acls: [acl(path, "system.posix_acl_access"), acl(path, "system.posix_acl_default")],
        })
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// Kind and content in a few words, for messages.
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

fn hash(path: &Path) -> io::Result<blake3::Hash> {
    let file = File::open(path).doing("open", path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).doing("read", path)?;
    Ok(hasher.finalize())
}

/// Symlinks have no ACL, and neither has any entry of a file system without ACLs.
fn acl(path: &Path, name: &str) -> Vec<u8> {
    // The kernel's limit for the value of an extended attribute is 64 KiB; an ACL of a test has a few entries.
    let mut value = [0_u8; 4096];
    let read = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap_or_default();
    value[..read].to_vec()
}
