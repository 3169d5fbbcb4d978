//! Removes a workspace: its directory, and the private state directory beside it.
//!
//! This runs as root in a tree that others can write, and the user names the workspace by its path. So:
//! - The path is opened one component at a time ([`ResolvedParent`]). A directory near the top of the file system, a home
//!   directory and a mount point are refused.
//! - Only a workspace that a run has worked on is removed: the state directory beside it is the proof. Without a state directory
//!   only an empty directory is removed.
//! - The lock of the state directory and the lock on the workspace are held until the end. A run takes them in the other order
//!   and waits. A removal never waits: a lock that another run holds makes it fail at once.
//! - [`Eraser`] removes the tree by open directories.
//!
//! The state directory goes last, and only when everything else is gone. After an interruption the next removal finishes, or
//! the next transfer repairs the workspace.
//!
//! The directory keeps its name until it is empty. Moving it aside first would free the name at once, and has three faults:
//! services that have the directory bind-mounted would go on writing in it; a mount in it would stay at a hidden path where
//! nobody looks; and no transfer would know the directory that an interrupted removal leaves.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use coast_engine::{Cancel, EngineError, LoginUser};
use coast_tree::state::{LOCK, hidden_name, name};
use coast_tree::{
    DirHandle, EraseError, Erased, Eraser, Homes, Kind, Name, PathError, ResolvedParent, Stays,
};
use coast_wire::limits::MAX_KEPT_NAMED;
use coast_wire::{Event, ProblemKind, Removal, bounded_text};

use crate::state::{Look, MAX_LOOKS, Opening, Place, Purpose, State};

/// How many directories deep a workspace lies at least. Directories nearer to the top belong to the system.
const MIN_COMPONENTS: usize = 2;

/// How often the count of removed entries is told.
const TELL_COUNT: Duration = Duration::from_millis(250);

/// A workspace that is open and ready to be removed, its lock held.
#[derive(Debug)]
pub struct DoomedWorkspace {
    resolved: ResolvedParent,
    /// None when only the state directory is left.
    directory: Option<DirHandle>,
    state: Option<State>,
    /// The directory that holds `resolved.parent`, and its name there, if it goes with its last workspace.
    above: Option<(DirHandle, Name)>,
}

/// What a removal tells meanwhile.
#[derive(Debug)]
pub enum RemovalNews<'a> {
    /// An entry stays. Its path is relative to the workspace, and empty for the workspace itself.
    Stays(Event<'a>),
    /// So many entries have been removed.
    Removed(u64),
}

/// The directories that a removal works in.
#[derive(Debug)]
pub struct RemovalReach {
    /// Directories in which everything may be removed.
    pub directories: Vec<DirHandle>,
    /// The directory that holds the workspace, or the one above that. Only empty directories are removed from it.
    pub parent: DirHandle,
}

impl DoomedWorkspace {
    /// Opens the workspace at `path` and takes its locks. None when there is nothing to remove. From here on nothing outside of
    /// [`DoomedWorkspace::reach`] is opened. `login` is the SSH user for whom this process is root.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for what is never removed, [`EngineError::Busy`] when another run works on it, and
    /// [`EngineError::Destination`].
    pub fn open(path: &Path, login: Option<LoginUser>) -> Result<Option<Self>, EngineError> {
        for _ in 0..MAX_LOOKS {
            let Some(resolved) = resolve(path)? else { return Ok(None) };
            match Self::look(resolved, login)? {
                Look::Found(found) => return Ok(Some(found)),
                Look::Nothing => return Ok(None),
                Look::TakenAway => {}
            }
        }
        Err(EngineError::Busy { path: path.to_owned() })
    }

    fn look(resolved: ResolvedParent, login: Option<LoginUser>) -> Result<Look<Self>, EngineError> {
        let opening = Opening { path: &resolved.path, purpose: Purpose::Removal, login };
        let refused = |reason: String| Purpose::Removal.refused(&resolved.path, reason);
        if let Some(reason) = Homes::load().objection(&resolved.path) {
            return Err(refused(reason));
        }
        // The lock comes first, so that no other removal takes away the directory that is opened after it.
        let mut state = opening.state_beside(&resolved.parent, &resolved.name)?;
        let directory = open_directory(&resolved)?;
        if let Some(directory) = &directory {
            opening.lock_workspace(directory)?;
        }
        if let (Look::Nothing, Some(directory)) = (&state, &directory) {
            state = opening.state_inside(directory)?;
        }
        let state = match state {
            Look::Found(state) => Some(state),
            Look::TakenAway => return Ok(Look::TakenAway),
            Look::Nothing => None,
        };
        match (&directory, &state) {
            (None, None) => return Ok(Look::Nothing),
            (Some(directory), None)
                if !directory.list().map_err(|error| failed(&resolved.path, error))?.is_empty() =>
            {
                return Err(refused(format!(
                    "there is no {} beside it, so no run of coast has made it; if it is a workspace all the same, \
                     remove it by hand",
                    String::from_utf8_lossy(hidden_name(&resolved.name).as_bytes())
                )));
            }
            _ => {}
        }
        Ok(Look::Found(Self { resolved, directory, state, above: None }))
    }

    /// Removes the directory that holds the workspace as well, if that is empty then.
    ///
    /// # Errors
    /// [`EngineError::Destination`] when the directories above the workspace cannot be opened.
    pub fn with_empty_parent(mut self) -> Result<Self, EngineError> {
        let unusable = |error| failed(&self.resolved.path, error);
        let path = self.resolved.path.parent().unwrap_or(&self.resolved.path);
        let above = ResolvedParent::of(path).map_err(|error| unusable(error.into()))?;
        let own = self.resolved.parent.stat_self().map_err(unusable)?;
        self.above = match above {
            Some(ResolvedParent { parent, name, .. }) => {
                let stat = parent.stat(&name).map_err(unusable)?;
                stat.is_some_and(|stat| (stat.dev, stat.ino) == (own.dev, own.ino)).then_some((parent, name))
            }
            None => None,
        };
        Ok(self)
    }

    /// The directories that [`DoomedWorkspace::remove`] works in, to which the process can be confined.
    pub fn reach(&self) -> RemovalReach {
        let state = self.state.as_ref().map(|state| state.dir.clone());
        RemovalReach {
            directories: self.directory.iter().cloned().chain(state).collect(),
            parent: self.above.as_ref().map_or(&self.resolved.parent, |(above, _)| above).clone(),
        }
    }

    /// Removes the workspace. Calls `tell` for each entry that stays, and now and then with the count of removed entries. The
    /// answer repeats `confined`.
    ///
    /// # Errors
    /// When the removal ended early. The next removal continues it.
    pub fn remove(
        self,
        confined: bool,
        cancel: &Cancel,
        tell: &mut dyn FnMut(RemovalNews<'_>),
    ) -> Result<Removal, EngineError> {
        let Self { resolved, directory, state, above } = self;
        if state.is_none() {
            return remove_empty(&resolved, confined);
        }
        let tell = RefCell::new(tell);
        let told = Cell::new(Instant::now());
        let cancelled = |removed_entries| {
            if told.get().elapsed() >= TELL_COUNT {
                told.set(Instant::now());
                (tell.borrow_mut())(RemovalNews::Removed(removed_entries));
            }
            cancel.is_cancelled()
        };
        let mut named = 0;
        let mut kept = |path: &[u8], stays: &Stays| {
            if named < MAX_KEPT_NAMED {
                named += 1;
                let kind = match stays {
                    Stays::Mount | Stays::FillsUp => ProblemKind::Kept,
                    Stays::Failed(..) => ProblemKind::Destination,
                };
                let text = bounded_text(&stays.to_string());
                (tell.borrow_mut())(RemovalNews::Stays(Event::Problem { path, kind, text: &text }));
            }
        };
        let mut eraser = Eraser::new(&cancelled, &mut kept);
        let mut erased = Erased::Everything;
        if let Some(directory) = directory {
            let inside = state.as_ref().filter(|state| state.place == Place::Inside);
            let last = inside.map(|state| &state.name);
            erased = eraser.erase(&resolved.parent, &resolved.name, directory, last).map_err(erase_failed)?;
        }
        let (removed_entries, kept_entries) = (eraser.removed_entries(), eraser.kept_entries());
        if let Some(state) =
            state.filter(|state| erased == Erased::Everything && state.place == Place::Beside)
        {
            remove_state(state, &resolved, cancel)?;
            if let Some((above, name)) = above {
                // It holds other workspaces if this fails. Otherwise an empty directory does no harm.
                let _ = above.rmdir(&name);
            }
        }
        Ok(Removal { existed: true, removed_entries, kept_entries, confined })
    }
}

/// The open directory that holds the workspace at `path`; none when it does not exist.
fn resolve(path: &Path) -> Result<Option<ResolvedParent>, EngineError> {
    let refused = |reason: String| EngineError::Refused { path: path.to_owned(), reason };
    let too_near_the_top = || refused(format!("a workspace lies at least {MIN_COMPONENTS} directories deep"));
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(refused("its path holds \"..\"; give the path without".to_owned()));
    }
    let resolved = match ResolvedParent::of(path) {
        Ok(Some(resolved)) => resolved,
        Ok(None) => return Ok(None),
        Err(PathError::NoName) => return Err(too_near_the_top()),
        Err(PathError::Io(error)) => {
            let doing = "opening the directories above it";
            return Err(EngineError::Destination { path: path.to_owned(), doing, error });
        }
        Err(error) => return Err(refused(error.to_string())),
    };
    let depth =
        resolved.path.components().filter(|component| matches!(component, Component::Normal(_))).count();
    if depth < MIN_COMPONENTS { Err(too_near_the_top()) } else { Ok(Some(resolved)) }
}

fn erase_failed(error: EraseError) -> EngineError {
    match error {
        EraseError::Cancelled => EngineError::Interrupted,
        EraseError::Unreadable { doing, error } => EngineError::FileIo { doing, error },
    }
}

/// Removes a directory that was empty. No lock keeps a run from making something in it meanwhile; then it stays.
fn remove_empty(resolved: &ResolvedParent, confined: bool) -> Result<Removal, EngineError> {
    match resolved.parent.rmdir(&resolved.name) {
        Ok(()) => Ok(Removal { existed: true, removed_entries: 1, kept_entries: 0, confined }),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            let reason = "something was made in it meanwhile".to_owned();
            Err(Purpose::Removal.refused(&resolved.path, reason))
        }
        Err(error) => Err(failed(&resolved.path, error)),
    }
}

/// Removes the state directory beside a workspace, its lock last.
fn remove_state(state: State, resolved: &ResolvedParent, cancel: &Cancel) -> Result<(), EngineError> {
    let failed = |error| EngineError::Destination {
        path: state.path.clone(),
        doing: "removing the private state directory",
        error,
    };
    let mut problem = None;
    let mut tell = |_: &[u8], stays: &Stays| {
        problem.get_or_insert_with(|| io::Error::other(stays.to_string()));
    };
    let cancelled = |_| cancel.is_cancelled();
    Eraser::new(&cancelled, &mut tell).empty(&state.dir, &name(LOCK)).map_err(erase_failed)?;
    if let Some(problem) = problem {
        return Err(failed(problem));
    }
    state.dir.unlink(&name(LOCK)).map_err(failed)?;
    match resolved.parent.rmdir(&state.name) {
        // Without the lock another run may begin, and its entries stay.
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
            Ok(())
        }
        removed => removed.map_err(failed),
    }
}

/// Opens the workspace's own directory; none when it does not exist.
fn open_directory(resolved: &ResolvedParent) -> Result<Option<DirHandle>, EngineError> {
    let refused = |reason| Err(Purpose::Removal.refused(&resolved.path, reason));
    let unusable = |error| failed(&resolved.path, error);
    match resolved.parent.stat(&resolved.name).map_err(unusable)? {
        None => return Ok(None),
        Some(stat) if stat.kind != Kind::Directory => {
            return refused(format!("it is a {}, not a directory", stat.kind));
        }
        Some(_) => {}
    }
    match resolved.parent.child_within(&resolved.name, resolved.parent.mount().map_err(unusable)?) {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            refused("something is mounted there; unmount it first".to_owned())
        }
        Err(error) => Err(unusable(error)),
    }
}

fn failed(path: &Path, error: io::Error) -> EngineError {
    Purpose::Removal.failed(path, error)
}
