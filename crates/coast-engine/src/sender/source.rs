//! The source of a run: the content of a directory, or one entry by name.

use std::path::{Path, PathBuf};

use coast_tree::{Name, Root};

use crate::error::{EngineError, SourceContext};

/// A source as the user named it.
#[derive(Debug, Clone)]
pub enum Source {
    /// The content of a directory (`dir/`); its entries become those of the destination.
    Contents(PathBuf),
    /// One entry (`dir`, `file`): it becomes an entry of the destination.
    Entry {
        /// The directory that holds it.
        parent: PathBuf,
        name: Name,
    },
}

/// A source that was found and opened.
pub(super) struct Located {
    pub(super) root: Root,
    /// The root's absolute path, which some rules match against.
    pub(super) absolute: PathBuf,
    pub(super) selection: Selection,
}

/// Which entries of the root are sent.
pub(super) enum Selection {
    All,
    Only(Name),
}

impl Source {
    /// Opens the directory to walk, unless it is `opened`, and makes sure that what is named exists.
    pub(super) fn locate(&self, opened: Option<&Root>) -> Result<Located, EngineError> {
        let path = match self {
            Self::Contents(path) => path.clone(),
            Self::Entry { parent, name } => {
                use std::os::unix::ffi::OsStrExt;
                parent.join(std::ffi::OsStr::from_bytes(name.as_bytes()))
            }
        };
        match self {
            Self::Contents(directory) => {
                let root = match opened {
                    Some(root) => root.clone(),
                    None => Root::open(directory).reading(&path)?,
                };
                Ok(Located { root, absolute: absolute(directory), selection: Selection::All })
            }
            Self::Entry { parent, name } => {
                // The user may be allowed to name an entry of a directory, and not to list it.
                let root = Root::open_to_search(parent).reading(&path)?;
                match root.handle().stat(name).reading(&path)? {
                    Some(_) => {
                        let selection = Selection::Only(name.clone());
                        Ok(Located { root, absolute: absolute(parent), selection })
                    }
                    None => Err(std::io::ErrorKind::NotFound.into()).reading(&path),
                }
            }
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
