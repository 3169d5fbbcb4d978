//! Reads the files that `merge` rules and `--exclude-from` name on the command line, relative to the working directory. `-` means
//! standard input.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coast_sync::{MAX_MERGE_FILE_BYTES, MergeFiles};

/// Reads files relative to the working directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkingDirectory;

impl WorkingDirectory {
    /// Returns the content of a file, or of standard input for `-`. A symlink that another user could have put into the path of
    /// the file is not followed.
    pub(super) fn content(self, name: &OsStr) -> io::Result<Vec<u8>> {
        match name.as_bytes() {
            b"-" => read_limited(io::stdin().lock()),
            _ => read_limited(coast_tree::open_trusted_file(Path::new(name))?),
        }
    }
}

impl MergeFiles for WorkingDirectory {
    fn read(&self, _dir: &[u8], name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        // Unlike for a file in the tree, a missing file is an error.
        self.content(OsStr::from_bytes(name)).map(Some)
    }
}

fn read_limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    from.take(MAX_MERGE_FILE_BYTES as u64 + 1).read_to_end(&mut content)?;
    if content.len() > MAX_MERGE_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the file is larger than all rules of a run may be",
        ));
    }
    Ok(content)
}
