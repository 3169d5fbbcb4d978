//! The entries of a directory as the system lists them: name, kind and inode number. Kinds that the file system does
//! not tell in a listing are asked for one by one, so that they are always there.

use std::io;
use std::os::fd::BorrowedFd;
#[cfg(target_os = "linux")]
use std::sync::Mutex;

use rustix::fs::FileType;

use crate::stat::stat_at;
use crate::{Kind, Name};

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: Name,
    /// The kind that the file system tells, or that a status tells where it does not.
    pub kind: Kind,
    /// Its inode number; for the top of another file system mounted here, that of the directory underneath.
    pub ino: u64,
}

/// Where the reading of a directory's descriptor stands. The position belongs to the descriptor, so whoever lists
/// holds this for the whole listing.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Cursor(Mutex<Position>);

#[cfg(target_os = "linux")]
#[derive(Debug, PartialEq)]
enum Position {
    Start,
    Moved,
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Cursor;

#[cfg(target_os = "linux")]
impl Cursor {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Position::Start))
    }
}

#[cfg(not(target_os = "linux"))]
impl Cursor {
    pub(crate) fn new() -> Self {
        Self
    }
}

/// Bytes asked of one `getdents64`; an entry takes 24 and its name.
#[cfg(target_os = "linux")]
const BUFFER_BYTES: usize = 64 * 1024;

/// Reads the descriptor itself, rewound when it was read before: `readdir` on a fresh descriptor costs two more calls
/// for every directory.
#[cfg(target_os = "linux")]
pub(crate) fn list(dir: BorrowedFd<'_>, cursor: &Cursor) -> io::Result<Vec<Listed>> {
    use crate::LockExt;
    use std::cell::RefCell;

    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(BUFFER_BYTES));
    }
    let mut listed = Vec::new();
    BUFFER.with_borrow_mut(|buffer| -> io::Result<()> {
        let mut position = cursor.0.enter();
        if *position == Position::Moved {
            rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
        }
        *position = Position::Moved;
        let mut entries = rustix::fs::RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            push_entry(dir, entry.file_name().to_bytes(), entry.file_type(), entry.ino(), &mut listed)?;
        }
        Ok(())
    })?;
    Ok(listed)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn list(dir: BorrowedFd<'_>, _cursor: &Cursor) -> io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    // Opens the directory once more, so that the position of this descriptor does not matter.
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        push_entry(dir, entry.file_name().to_bytes(), entry.file_type(), entry.ino(), &mut listed)?;
    }
    Ok(listed)
}

fn push_entry(
    dir: BorrowedFd<'_>,
    name: &[u8],
    file_type: FileType,
    ino: u64,
    listed: &mut Vec<Listed>,
) -> io::Result<()> {
    // `.` and `..`, and what no sane file system returns.
    let Ok(name) = Name::new(name) else { return Ok(()) };
    let kind = match Kind::from_file_type(file_type) {
        Some(kind) => kind,
        None => match stat_at(dir, &name)? {
            Some(stat) => stat.kind,
            // Removed since it was listed.
            None => return Ok(()),
        },
    };
    listed.push(Listed { name, kind, ino });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use crate::DirHandle;
    use crate::scratch::{Scratch, name};

    fn names(dir: &DirHandle) -> BTreeSet<Vec<u8>> {
        let listed = dir.list().unwrap();
        let names: BTreeSet<Vec<u8>> = listed.iter().map(|entry| entry.name.as_bytes().to_vec()).collect();
        assert_eq!(names.len(), listed.len(), "no name comes twice");
        names
    }

    #[test]
    fn large_directory_is_listed_whole_by_many_threads_on_one_handle() {
        let scratch = Scratch::new();
        let dir = scratch.root().handle();
        let expected: BTreeSet<Vec<u8>> =
            (0..4_000).map(|number| format!("a-rather-long-name-{number}").into_bytes()).collect();
        for entry in &expected {
            dir.create_file(&name(entry), 0o644).unwrap();
        }
        thread::scope(|scope| {
            let listings: Vec<_> = (0..4).map(|_| scope.spawn(|| names(&dir))).collect();
            for listing in listings {
                assert!(listing.join().unwrap() == expected);
            }
        });
        dir.unlink(&name("a-rather-long-name-7")).unwrap();
        assert_eq!(names(&dir).len(), 3_999, "a handle lists what is there now");
    }

    #[test]
    fn every_kind_is_told_and_symlinks_are_themselves() {
        let scratch = Scratch::new().file("file", "x").dir("directory").link("symlink", "directory");
        let _socket = UnixListener::bind(scratch.path("socket")).unwrap();
        let dir = scratch.root().handle();
        #[cfg(not(target_vendor = "apple"))]
        dir.mknod(&name("fifo"), crate::Kind::Fifo, 0o600, 0).unwrap();
        let mut listed = dir.list().unwrap();
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for entry in &listed {
            let stat = dir.stat(&entry.name).unwrap().unwrap();
            assert_eq!((entry.kind, entry.ino), (stat.kind, stat.ino));
        }
        let kinds: Vec<String> = listed.iter().map(|entry| entry.kind.to_string()).collect();
        let names: Vec<String> = listed.iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(kinds, names);
    }

    #[test]
    fn names_are_bytes() {
        let scratch = Scratch::new();
        let dir = scratch.root().handle();
        let odd: BTreeSet<Vec<u8>> =
            [&b"new\nline"[..], b"-rf", b"*", b"...", b"..a", &[b'n'; 255]].map(<[u8]>::to_vec).into();
        for entry in &odd {
            dir.create_file(&name(entry), 0o644).unwrap();
        }
        assert_eq!(names(&dir), odd);
    }

    #[cfg(target_os = "linux")] // macOS takes UTF-8 only.
    #[test]
    fn name_that_is_no_utf8_is_listed() {
        let scratch = Scratch::new();
        let dir = scratch.root().handle();
        dir.create_file(&name(b"\xff\x80"), 0o644).unwrap();
        assert_eq!(names(&dir), [b"\xff\x80".to_vec()].into());
    }

    #[test]
    fn removed_directory_lists_as_empty() {
        let scratch = Scratch::new().dir("gone");
        let dir = scratch.root().handle().child(&name("gone")).unwrap();
        fs::remove_dir(scratch.path("gone")).unwrap();
        assert!(dir.list().map_or(true, |listed| listed.is_empty()));
    }
}
