//! Per-directory filter files, read from a confined tree.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use coast_filter::{MAX_MERGE_FILE_BYTES, MergeFiles};
use coast_tree::{RelPath, Root};
use rustix::io::Errno;

/// Reads merge files of the tree below a root; a symlink is never followed.
pub(crate) struct TreeMergeFiles {
    root: Root,
    above: Above,
}

/// Whether merge files above the root are read, which rules may name too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Above {
    /// They are the user's own files, as the tree is.
    Read,
    /// There are none for a receiver, which is confined to its root.
    Absent,
}

impl TreeMergeFiles {
    pub(crate) fn new(root: Root, above: Above) -> Self {
        Self { root, above }
    }
}

impl MergeFiles for TreeMergeFiles {
    fn read(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let full = if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() };
        let path = RelPath::new(&full).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let opened = self.root.dir(&parent).and_then(|dir| dir.open_file(&name));
        content(opened.map(|(file, _)| file))
    }

    fn read_above(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        use std::os::unix::ffi::OsStringExt;
        match self.above {
            Above::Absent => Ok(None),
            Above::Read => {
                let path = PathBuf::from(std::ffi::OsString::from_vec([dir, b"/", name].concat()));
                match std::fs::metadata(&path) {
                    Ok(found) if !found.is_file() => Ok(None),
                    found => content(found.and_then(|_| File::open(path))),
                }
            }
        }
    }
}

/// All of a merge file; none if there is no regular file of that name.
fn content(opened: io::Result<File>) -> io::Result<Option<Vec<u8>>> {
    let file = match opened {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            return Ok(None);
        }
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(None),
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
