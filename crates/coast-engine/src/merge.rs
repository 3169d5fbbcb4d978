//! Per-directory filter files, read from a confined tree.

use std::io::{self, Read};

use coast_filter::{MAX_MERGE_FILE_BYTES, MergeFiles};
use coast_tree::{RelPath, Root};

/// Reads merge files of the tree below a root; a symlink is never followed.
pub(crate) struct TreeMergeFiles {
    root: Root,
}

impl TreeMergeFiles {
    pub(crate) fn new(root: Root) -> Self {
        Self { root }
    }
}

impl MergeFiles for TreeMergeFiles {
    fn read(&self, dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let full = if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() };
        let full = RelPath::new(&full).map_err(invalid)?;
        let (Some(parent), Some(name)) = (full.parent(), full.file_name()) else { return Ok(None) };
        let opened = self.root.dir(&parent).and_then(|dir| dir.open_file(&name));
        let (file, _) = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
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
}
