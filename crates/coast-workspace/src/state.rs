//! The private state directory of a workspace, opened and locked by an operation that is no run.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coast_engine::{EngineError, LoginUser};
use coast_tree::state::{
    STATE_INSIDE, TriedLock, hidden_name, name, open_existing, try_lock_directory, try_lock_existing,
};
use coast_tree::{DirHandle, Name};
use rustix::fs::FlockOperation;

/// Why a workspace is opened. The words of the errors depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be removed.
    Removal,
    /// To list its trash or to restore from it.
    Restoration,
}

/// How often a workspace is looked for again when a removal took it away in the meantime.
pub(crate) const MAX_LOOKS: u32 = 8;

impl Purpose {
    /// The error for a directory that this operation never touches.
    pub(crate) fn refused(self, path: &Path, reason: String) -> EngineError {
        let path = path.to_owned();
        match self {
            Self::Removal => EngineError::Refused { path, reason },
            Self::Restoration => EngineError::NoWorkspace { path, reason },
        }
    }

    /// The error for a directory that cannot be opened or locked.
    pub(crate) fn failed(self, path: &Path, error: io::Error) -> EngineError {
        let doing = match self {
            Self::Removal => "opening it to be removed",
            Self::Restoration => "opening it to look into its trash",
        };
        EngineError::Destination { path: path.to_owned(), doing, error }
    }
}

/// Where a state directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Beside,
    Inside,
}

/// The result of looking for a directory.
pub(crate) enum Look<T> {
    Found(T),
    Nothing,
    /// A removal took it away while it was being locked.
    TakenAway,
}

/// The state directory of a workspace. It stays locked while the value exists.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) dir: DirHandle,
    pub(crate) name: Name,
    pub(crate) place: Place,
    /// Its absolute path.
    pub(crate) path: PathBuf,
    _lock: File,
}

/// Opens and locks the state directory and the directory of one workspace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    /// The absolute path of the workspace.
    pub(crate) path: &'a Path,
    pub(crate) purpose: Purpose,
    /// The SSH user for whom this process is root.
    pub(crate) login: Option<LoginUser>,
}

impl Opening<'_> {
    /// Opens the state directory beside the workspace, which is `name` in `parent`, and locks it without waiting.
    pub(crate) fn state_beside(self, parent: &DirHandle, name: &Name) -> Result<Look<State>, EngineError> {
        self.state(parent, hidden_name(name), Place::Beside)
    }

    /// Opens the state directory in the workspace `directory`, and locks it without waiting.
    pub(crate) fn state_inside(self, directory: &DirHandle) -> Result<Look<State>, EngineError> {
        self.state(directory, name(STATE_INSIDE), Place::Inside)
    }

    fn state(self, parent: &DirHandle, name: Name, place: Place) -> Result<Look<State>, EngineError> {
        let text = std::ffi::OsStr::from_bytes(name.as_bytes());
        let path = match place {
            Place::Beside => self.path.with_file_name(text),
            Place::Inside => self.path.join(text),
        };
        let unusable = |error| self.purpose.failed(&path, error);
        let dir = match open_existing(parent, &name, self.login.map(|login| login.uid)) {
            Ok(Some(dir)) => dir,
            Ok(None) => return Ok(Look::Nothing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(self.purpose.refused(&path, error.to_string()));
            }
            Err(error) => return Err(unusable(error)),
        };
        match try_lock_existing(&dir).map_err(unusable)? {
            TriedLock::Locked(lock) => Ok(Look::Found(State { dir, name, place, path, _lock: lock })),
            TriedLock::Held => Err(self.busy()),
            TriedLock::Removed => Ok(Look::TakenAway),
        }
    }

    /// Locks the workspace's own directory without waiting. A run by another user has another state directory, and has locked
    /// the workspace itself.
    pub(crate) fn lock_workspace(self, directory: &DirHandle) -> Result<(), EngineError> {
        let locked = try_lock_directory(directory, FlockOperation::NonBlockingLockExclusive);
        if locked.map_err(|error| self.purpose.failed(self.path, error))? { Ok(()) } else { Err(self.busy()) }
    }

    fn busy(self) -> EngineError {
        EngineError::Busy { path: self.path.to_owned() }
    }
}
