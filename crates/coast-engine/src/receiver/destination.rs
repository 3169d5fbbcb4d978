//! The destination before a run: the workspace's directory, made if it is missing, and its state directory.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use coast_tree::state::StateDirectory;
use coast_tree::{Name, Root};

use super::claim::Claim;
use crate::error::EngineError;

/// What the destination's path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationIs {
    /// A directory that shall hold what is sent.
    Directory,
    /// That if it exists and is one, else the new name of the one entry that is sent.
    FileOrDirectory,
    /// A directory if anything is there, else the new name of the one, empty, directory that is sent.
    DirectoryOrNewName,
}

/// An opened destination.
pub(super) struct Destination {
    /// None only in a dry run, when it does not exist.
    pub(super) root: Option<Root>,
    /// The root's absolute path, which some rules match against.
    pub(super) absolute: PathBuf,
    /// The new name of the one entry that is sent.
    pub(super) rename: Option<Name>,
    /// Whether the root was made by this run.
    pub(super) created: bool,
    /// None only in a dry run.
    pub(super) state: Option<StateDirectory>,
}

/// What of a destination's preparation depends on the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preparation {
    pub(super) is: DestinationIs,
    pub(super) claim: Claim,
    pub(super) make_parents: bool,
    pub(super) dry_run: bool,
    pub(super) umask: u32,
    pub(super) login_uid: Option<u32>,
}

impl Destination {
    pub(super) fn prepare(path: &Path, how: Preparation) -> Result<Self, EngineError> {
        let failed = |doing| move |error| EngineError::Destination { path: path.to_owned(), doing, error };
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let ends_in_slash = path.as_os_str().as_bytes().ends_with(b"/");
        let is_directory = match std::fs::metadata(path) {
            Ok(found) => Some(found.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("looking at it")(error)),
        };
        let as_directory = match (how.is, is_directory) {
            (_, Some(true)) => true,
            (DestinationIs::Directory | DestinationIs::DirectoryOrNewName, Some(false)) => {
                return Err(failed("a directory is needed here")(io::ErrorKind::NotADirectory.into()));
            }
            (DestinationIs::Directory, None) => true,
            (DestinationIs::FileOrDirectory | DestinationIs::DirectoryOrNewName, _) => ends_in_slash,
        };
        let (directory, rename) = if as_directory {
            (path.to_owned(), None)
        } else {
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let file_name = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
            let file_name = Name::new(file_name)
                .map_err(|error| failed("taking its last part as a name")(io::Error::other(error)))?;
            (parent.to_owned(), Some(file_name))
        };
        let missing =
            std::fs::metadata(&directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        // As in rsync, a new name is not given in a directory that does not exist.
        if missing && rename.is_some() && !how.make_parents {
            return Err(failed("looking for the directory to put it in")(io::ErrorKind::NotFound.into()));
        }
        if missing && how.dry_run {
            return Ok(Self { root: None, absolute: directory, rename, created: true, state: None });
        }
        if missing {
            // The process' own umask may be none.
            let mode = 0o777 & !how.umask;
            let made = DirBuilder::new().recursive(how.make_parents).mode(mode).create(&directory);
            match made {
                // Another run made it between.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(failed("making the directory"))?,
            }
        }
        let root = Root::open(&directory).map_err(failed("opening the directory"))?;
        let absolute = std::fs::canonicalize(&directory).unwrap_or_else(|_| directory.clone());
        // Before anything is put beside it.
        if let Some(reason) = how.claim.objection(&absolute, &root).map_err(failed("looking into it"))? {
            return Err(EngineError::NoWorkspace { path: absolute, reason });
        }
        let state = if how.dry_run {
            None
        } else {
            Some(StateDirectory::open(&directory, &root, rename.as_ref(), how.login_uid)?)
        };
        Ok(Self { root: Some(root), absolute, rename, created: missing, state })
    }
}
