//! Directories that their owner may not write: as in rsync, a receiver that is not root gives itself the right when
//! something in one has to change, and takes it back at the end.

use std::io;

use coast_tree::{DirHandle, RelPath};

use super::Run;
use super::finish::LateDirectory;

impl Run<'_> {
    /// Changes something in the directory `path`.
    pub(super) fn change_in<T>(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        mut change: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        match change() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if self.make_writable(path, dir)? { change() } else { Err(error) }
            }
            changed => changed,
        }
    }

    /// Whether the directory can be written now and could not be before.
    fn make_writable(&self, path: &RelPath, dir: &DirHandle) -> io::Result<bool> {
        let stat = dir.stat_self()?;
        if stat.uid != rustix::process::geteuid().as_raw() {
            return Ok(false);
        }
        if stat.mode & 0o200 != 0 {
            // Another worker may have made it so in the meantime.
            return Ok(true);
        }
        dir.chmod_self(stat.mode | 0o200)?;
        let late = LateDirectory {
            path: path.as_bytes().to_vec(),
            mode: Some(stat.mode),
            mtime: None,
            may_be_gone: true,
        };
        self.lists.late_directories.push(&late)?;
        Ok(true)
    }
}
