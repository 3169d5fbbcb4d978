//! Opens the destination before a run: the workspace's directory, which is made if it is missing, and its state directory.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coast_tree::state::{Peeked, StateDirectory};
use coast_tree::{DirHandle, Kind, Name, PathEnd, PathError, Root, TrustedPath};

use super::claim::Claim;
use crate::error::{EngineError, naming_user};

/// How the destination's path is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationIs {
    /// A directory for the entries that are sent.
    Directory,
    /// An existing directory, or else the new name of the single entry that is sent.
    FileOrDirectory,
    /// A directory if anything exists there, or else the new name of the single, empty directory that is sent.
    DirectoryOrNewName,
}

/// An opened destination.
pub(super) struct Destination {
    /// None only in a dry run, when it does not exist.
    pub(super) root: Option<Root>,
    /// The root's absolute path, which some rules match against.
    pub(super) absolute: PathBuf,
    /// The new name of the single entry that is sent.
    pub(super) rename: Option<Name>,
    /// Whether the root was made by this run.
    pub(super) created: bool,
    /// None only in a dry run.
    pub(super) state: Option<StateDirectory>,
    /// In a dry run, what there is of the private state directory.
    pub(super) peeked: Peeked,
    /// Gives the root its mode back, if its owner got all rights to it for the time of the run. Declared last, so dropped last:
    /// dropping the state directory removes an entry of the root, which needs the rights.
    pub(super) former_mode: FormerMode,
}

/// The mode of a transfer root whose owner got all rights to it for the time of the run. Dropped, it gives the mode back.
#[derive(Default)]
pub(super) struct FormerMode {
    root: Option<DirHandle>,
    mode: Option<u32>,
}

impl FormerMode {
    /// Answers the mode, and leaves setting it to the caller.
    pub(super) fn take(&mut self) -> Option<u32> {
        self.mode.take()
    }

    /// Gives the mode back.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        match (&self.root, self.mode.take()) {
            (Some(root), Some(mode)) => root.chmod_self(mode),
            _ => Ok(()),
        }
    }
}

impl Drop for FormerMode {
    fn drop(&mut self) {
        // The directory may be gone, or another user's by now.
        let _ = self.restore();
    }
}

/// The settings of a run that decide how its destination is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preparation {
    pub(super) is: DestinationIs,
    pub(super) claim: Claim,
    pub(super) make_parents: bool,
    pub(super) dry_run: bool,
    pub(super) umask: u32,
    pub(super) login_uid: Option<u32>,
}

/// The kind of entry at a path, with the open path.
enum Found {
    Directory(TrustedPath),
    /// An entry that is no directory. A symlink to such an entry is not followed.
    Other(TrustedPath),
    Missing(TrustedPath),
    /// A symlink that leads to nothing.
    Dangling(TrustedPath),
}

impl Destination {
    /// The same destination, for another run in it, which takes the lock anew.
    pub(super) fn for_another_run(&self) -> Self {
        Self {
            root: self.root.clone(),
            absolute: self.absolute.clone(),
            rename: self.rename.clone(),
            created: false,
            state: self.state.as_ref().map(StateDirectory::for_another_run),
            peeked: Peeked::default(),
            former_mode: FormerMode::default(),
        }
    }

    /// The place in the private state directory where contents are staged ahead.
    pub(super) fn ahead(&self) -> Result<Self, EngineError> {
        let opened = match &self.state {
            Some(state) => state.ahead(),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let (root, state) = opened.map_err(|error| EngineError::Destination {
            path: self.absolute.clone(),
            doing: "opening the private directory for contents that come ahead",
            error,
        })?;
        Ok(Self {
            absolute: state.path().to_owned(),
            root: Some(root),
            rename: None,
            created: false,
            state: Some(state),
            peeked: Peeked::default(),
            former_mode: FormerMode::default(),
        })
    }

    /// Fails when the workspace or its state directory was removed since it was opened, or another directory is in its place.
    pub(super) fn check_in_place(&self) -> Result<(), EngineError> {
        let is_there = |dir: &DirHandle| dir.stat_self().is_ok_and(|stat| stat.nlink > 0);
        let root = self.root.as_ref().map(Root::handle);
        let in_place = root.as_ref().is_none_or(|root| is_there(root) && root.is_at(&self.absolute))
            && self.state.as_ref().is_none_or(|state| is_there(&state.dir));
        if in_place { Ok(()) } else { Err(EngineError::Removed { path: self.absolute.clone() }) }
    }

    pub(super) fn prepare(path: &Path, how: Preparation) -> Result<Self, EngineError> {
        let failed = |doing| {
            move |error| EngineError::Destination { path: path.to_owned(), doing, error: naming_user(error) }
        };
        let ends_in_slash = path.as_os_str().as_bytes().ends_with(b"/");
        let as_new_name = how.is != DestinationIs::Directory && !ends_in_slash;
        let (mut directory, rename) = match look(path).map_err(failed("opening it"))? {
            Found::Directory(directory) => (directory, None),
            Found::Other(entry) if how.is == DestinationIs::FileOrDirectory && as_new_name => {
                split(entry).map_err(failed("opening the directory to put it in"))?
            }
            Found::Other(_) => {
                return Err(failed("a directory is needed here")(io::ErrorKind::NotADirectory.into()));
            }
            Found::Missing(entry) | Found::Dangling(entry) if as_new_name => {
                split(entry).map_err(failed("opening the directory to put it in"))?
            }
            Found::Missing(directory) => (directory, None),
            Found::Dangling(entry) => {
                let error = PathError::Dangling { link: entry.path() };
                return Err(failed("opening the directory")(error.into()));
            }
        };
        let missing = match directory.end() {
            PathEnd::Missing(names) => names.len(),
            _ => 0,
        };
        // As in rsync, a new name is not given in a directory that does not exist.
        if missing > 0 && rename.is_some() && !how.make_parents {
            return Err(failed("looking for the directory to put it in")(no_parent()));
        }
        let absolute = directory.path();
        if missing > 0 && how.claim == Claim::ExistingWorkspace {
            return Err(EngineError::Removed { path: absolute });
        }
        if missing > 0 && how.dry_run {
            return Ok(Self {
                root: None,
                absolute,
                rename,
                created: true,
                former_mode: FormerMode::default(),
                state: None,
                peeked: Peeked::default(),
            });
        }
        if missing > 1 && !how.make_parents {
            return Err(failed("making the directory")(no_parent()));
        }
        // The helper clears the process' own umask.
        directory.create_missing(0o777 & !how.umask).map_err(failed("making the directory"))?;
        let (root, mode) = match how.dry_run {
            true => directory.directory().reopen().map(|root| (root, None)),
            false => directory.directory().reopen_as_owner(),
        }
        .map_err(failed("opening the directory"))?;
        let former_mode = FormerMode { root: Some(root.clone()), mode };
        let root = Root::from_dir(root);
        // The check comes before the state directory is made.
        if let Some(reason) = how.claim.objection(&absolute, &root).map_err(failed("looking into it"))? {
            return Err(EngineError::NoWorkspace { path: absolute, reason });
        }
        let (state, peeked) = match how.dry_run {
            true => (None, StateDirectory::peek(directory, &root)),
            false => (
                Some(StateDirectory::open(directory, &root, rename.as_ref(), how.login_uid)?),
                Peeked::default(),
            ),
        };
        Ok(Self { root: Some(root), absolute, rename, created: missing > 0, former_mode, state, peeked })
    }
}

/// Opens the destination's path, and follows only symlinks that no other user could have put there.
fn look(path: &Path) -> Result<Found, io::Error> {
    let entry = TrustedPath::resolve_entry(path)?;
    let is_directory = match entry.end() {
        PathEnd::Directory => return Ok(Found::Directory(entry)),
        PathEnd::Missing(_) => return Ok(Found::Missing(entry)),
        PathEnd::Other { name, kind: Kind::Symlink } => entry.directory().leads_to_directory(name)?,
        PathEnd::Other { .. } => Some(false),
    };
    Ok(match is_directory {
        None => Found::Dangling(entry),
        // As in rsync, a symlink to a file is replaced, whoever made it.
        Some(false) => Found::Other(entry),
        Some(true) => {
            let followed = TrustedPath::resolve(path)?;
            match followed.end() {
                PathEnd::Directory => Found::Directory(followed),
                // Somebody replaced the directory in the meantime.
                PathEnd::Other { .. } | PathEnd::Missing(_) => Found::Other(entry),
            }
        }
    })
}

fn no_parent() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "its parent directory does not exist; make that first")
}

/// The directory around an entry, and the entry's name.
fn split(entry: TrustedPath) -> io::Result<(TrustedPath, Option<Name>)> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, PathError::NoName);
    entry.into_parent()?.map(|(parent, name)| (parent, Some(name))).ok_or_else(no_name)
}
