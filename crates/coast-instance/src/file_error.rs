//! The error of a file that cannot be read, written or locked, and a short way to make it.

use std::io;
use std::path::{Path, PathBuf};

/// A file of coast on this machine cannot be read, written, locked or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {error}", file.display())]
pub struct FileError {
    /// The action, such as "read the record".
    pub doing: &'static str,
    /// The file or directory.
    pub file: PathBuf,
    /// The answer of the system.
    pub error: io::Error,
}

/// Adds the action and the file to an error of the system.
pub(crate) trait Doing<T> {
    /// The result, with an error that says which action on which file failed.
    fn doing(self, doing: &'static str, file: &Path) -> Result<T, FileError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, file: &Path) -> Result<T, FileError> {
        self.map_err(|error| FileError { doing, file: file.to_owned(), error })
    }
}

/// The value, or `None` if the system answered that there is no such file.
pub(crate) fn if_found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
