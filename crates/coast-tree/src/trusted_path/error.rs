//! The reasons not to open a path.

use std::io;
use std::path::PathBuf;

use crate::Kind;

/// Why a path is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum PathError {
    /// The path is `/`, or ends in `..`.
    #[error("the path does not end in a name")]
    NoName,
    /// Following the path's symlinks does not end.
    #[error("there are too many symlinks in the path; {} is one of them", link.display())]
    TooManyLinks { link: PathBuf },
    /// A symlink of the path leads to nothing.
    #[error("the symlink {} leads to something that does not exist", link.display())]
    Dangling { link: PathBuf },
    /// Another user made the symlink.
    #[error(
        "the symlink {} belongs to user {owner}, who can make it lead anywhere, so it is not followed; \
         give the path without that symlink",
        link.display()
    )]
    OtherUsersLink { link: PathBuf, owner: u32 },
    /// Another user could have put the symlink there, or could replace it.
    #[error(
        "the symlink {} lies in a directory in which other users can replace it, so root does not follow it; \
         give the path without that symlink",
        link.display()
    )]
    ReplaceableLink { link: PathBuf },
    /// Something else than a directory lies on the way.
    #[error("{} is a {kind}, not a directory", path.display())]
    NotADirectory { path: PathBuf, kind: Kind },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<PathError> for io::Error {
    fn from(error: PathError) -> Self {
        let kind = match &error {
            PathError::Io(_) => io::ErrorKind::Other,
            PathError::Dangling { .. } => io::ErrorKind::NotFound,
            PathError::NotADirectory { .. } => io::ErrorKind::NotADirectory,
            PathError::NoName => io::ErrorKind::InvalidInput,
            PathError::TooManyLinks { .. }
            | PathError::OtherUsersLink { .. }
            | PathError::ReplaceableLink { .. } => io::ErrorKind::PermissionDenied,
        };
        match error {
            PathError::Io(error) => error,
            error => Self::new(kind, error),
        }
    }
}
