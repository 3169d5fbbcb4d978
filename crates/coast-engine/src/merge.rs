//! Per-directory filter files, read from a confined tree.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use coast_filter::{MAX_MERGE_FILE_BYTES, MergeFiles};
use coast_tree::{BadPath, DirHandle, Kind, Name, PathEnd, PathError, RelPath, Root, TrustedPath};

/// Reads merge files of the tree below a root.
#[derive(Debug)]
pub struct TreeMergeFiles {
    root: Root,
    whose: Whose,
}

/// Whose tree the rules are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The user's own, with the root's absolute path. Rules may name files above the root, and a rule file may be a symlink
    /// if the symlink can be trusted ([`TrustedPath`]).
    Sender(PathBuf),
    /// One that others can write, read by someone who may be root: a symlink is not followed, and there is nothing above.
    Receiver,
}

impl TreeMergeFiles {
    /// Reads the files of the tree below `root`.
    pub fn new(root: Root, whose: Whose) -> Self {
        Self { root, whose }
    }

    /// The content of a rule file that is no regular file. Where it cannot be read that is an error: it may protect anything.
    fn read_other(
        &self,
        dir: &[u8],
        parent: DirHandle,
        name: &Name,
        kind: Kind,
    ) -> io::Result<Option<Vec<u8>>> {
        match (kind, &self.whose) {
            // rsync finds no rules in a directory either.
            (Kind::Directory, _) => Ok(None),
            (Kind::Symlink, Whose::Sender(root)) => {
                let parent_path = root.join(OsStr::from_bytes(dir));
                read_resolved(TrustedPath::resolve_from(parent, &parent_path, name.as_bytes()))
            }
            (Kind::Symlink, Whose::Receiver) => {
                Err(not_read("it is a symlink, which is not followed at the destination"))
            }
            (kind, _) => Err(not_read(&format!("it is a {kind}"))),
        }
    }
}

/// The content of the file that a path leads to; none if it leads to nothing or to a directory.
fn read_resolved(resolved: Result<TrustedPath, PathError>) -> io::Result<Option<Vec<u8>>> {
    let resolved = match resolved {
        Err(PathError::Dangling { .. }) => return Ok(None),
        // A name that no file can have.
        Err(PathError::Io(error)) if cannot_exist(&error) => return Ok(None),
        resolved => resolved?,
    };
    match resolved.end() {
        PathEnd::Directory | PathEnd::Missing(_) => Ok(None),
        PathEnd::Other { kind: Kind::File, .. } => content(resolved.open_file()),
        PathEnd::Other { kind, .. } => {
            Err(not_read(&format!("it leads to a {kind}, which is no regular file")))
        }
    }
}

fn not_read(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the rule file is not read: {why}"))
}

impl MergeFiles for TreeMergeFiles {
    fn read(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let full = if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() };
        let path = match RelPath::new(&full) {
            Ok(path) => path,
            // No file can be there.
            Err(BadPath::LongName | BadPath::LongPath | BadPath::Deep) => return Ok(None),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let parent = match self.root.dir(&parent) {
            Err(error) if cannot_exist(&error) => return Ok(None),
            parent => parent?,
        };
        match parent.open_file(&name) {
            Ok((file, _)) => content(Ok(file)),
            // A file system may allow less than 255 bytes.
            Err(error) if cannot_exist(&error) => Ok(None),
            Err(error) => match parent.stat(&name)? {
                None => Ok(None),
                Some(stat) if stat.kind == Kind::File => Err(error),
                Some(stat) => self.read_other(dir, parent, &name, stat.kind),
            },
        }
    }

    fn read_above(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if self.whose == Whose::Receiver {
            return Ok(None);
        }
        let path = PathBuf::from(OsString::from_vec([dir, b"/", name].concat()));
        match TrustedPath::resolve(&path) {
            Ok(resolved) if matches!(resolved.end(), PathEnd::Other { kind, .. } if *kind != Kind::File) => {
                Ok(None)
            }
            resolved => read_resolved(resolved),
        }
    }
}

/// Whether the system says that there is no such file, or that no file can have this name.
fn cannot_exist(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename)
        || error.get_ref().is_some_and(|inner| inner.is::<BadPath>())
}

/// All of a merge file; none if there is no regular file of that name.
fn content(opened: io::Result<File>) -> io::Result<Option<Vec<u8>>> {
    let file = match opened {
        Err(error) if cannot_exist(&error) => return Ok(None),
        opened => opened?,
    };
    let mut content = Vec::new();
    file.take(MAX_MERGE_FILE_BYTES as u64 + 1).read_to_end(&mut content)?;
    if content.len() > MAX_MERGE_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is too large for a file of filter rules",
        ));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_file_with_a_name_that_no_file_can_have_does_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let long = vec![b'x'; 300];
        std::os::unix::fs::symlink(OsStr::from_bytes(&long), dir.path().join("sub/link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        for whose in [Whose::Sender(dir.path().to_owned()), Whose::Receiver] {
            let files = TreeMergeFiles::new(root.clone(), whose.clone());
            for name in [&long[..], &[b'x'; 5000], b"missing"] {
                assert_eq!(files.read(b"sub", name).unwrap(), None);
                assert_eq!(files.read(b"", name).unwrap(), None);
                assert_eq!(files.read_above(dir.path().as_os_str().as_bytes(), name).unwrap(), None);
            }
            let link = files.read(b"sub", b"link");
            assert_eq!(
                link.is_ok(),
                whose != Whose::Receiver,
                "a symlink at the destination is not followed"
            );
            assert!(files.read(b"sub", b"..").is_err());
        }
    }
}
