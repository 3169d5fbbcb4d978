//! Lists the workspaces below a directory: those that runs have worked on, with their size, their last use and their trash. Nothing
//! is changed.
//!
//! A workspace is recognized by the private state directory beside it, in a directory `project/instance`. Its state directory alone
//! is listed too: an interrupted removal leaves it. So is an empty directory `project`, as a workspace without an instance.

use std::io;
use std::path::{Path, PathBuf};

use coast_engine::{Cancel, EngineError, LoginUser};
use coast_tree::state::{LOCK, Trash, TriedLock, name, open_existing, state_owner, try_lock_existing};
use coast_tree::{DirHandle, Kind, MountId, Name, PathEnd, PathError, TrustedPath};
use coast_wire::limits::MAX_SURVEYED;
use coast_wire::{Answer, SurveyTotals, Surveyed};

/// How deep a workspace is measured. Directories further down count as empty.
const MAX_DEPTH: usize = 64;

/// The directory of all workspaces, open.
#[derive(Debug)]
pub struct WorkspacesDirectory {
    path: PathBuf,
    handle: DirHandle,
    login: Option<LoginUser>,
}

impl WorkspacesDirectory {
    /// Opens the directory at `path`. None if it does not exist. `login` is the SSH user for whom this process is root.
    ///
    /// # Errors
    /// [`EngineError::Destination`] when the path does not lead to a directory, or when it has a symlink that another user could
    /// have put there.
    pub fn open(path: &Path, login: Option<LoginUser>) -> Result<Option<Self>, EngineError> {
        let failed = |error: PathError| failed(path, error.into());
        let resolved = TrustedPath::resolve(path).map_err(failed)?;
        match resolved.end() {
            PathEnd::Missing(_) => Ok(None),
            PathEnd::Other { kind, .. } => {
                Err(failed(PathError::NotADirectory { path: resolved.path(), kind: *kind }))
            }
            PathEnd::Directory => {
                let handle = resolved.directory().reopen().map_err(|error| self::failed(path, error))?;
                Ok(Some(Self { path: path.to_owned(), handle, login }))
            }
        }
    }

    /// The open directory, to which the process can be confined.
    pub fn handle(&self) -> DirHandle {
        self.handle.clone()
    }

    /// Hands each workspace to `tell`. The answer repeats `confined`. Projects that cannot be looked into are left out.
    ///
    /// # Errors
    /// When the directory itself cannot be read, when `cancel` was cancelled, and the errors of `tell`.
    pub fn survey(
        &self,
        confined: bool,
        cancel: &Cancel,
        tell: &mut dyn FnMut(&Answer<'_>) -> Result<(), EngineError>,
    ) -> Result<SurveyTotals, EngineError> {
        let mut totals = SurveyTotals { confined, ..SurveyTotals::default() };
        let mount = self.handle.mount().map_err(|error| failed(&self.path, error))?;
        for project in self.directories(&self.handle)? {
            let Ok(directory) = self.handle.child_within(&project, mount) else { continue };
            let Ok(entries) = directory.list() else { continue };
            if entries.is_empty() {
                take(&mut totals, tell, &Surveyed { project: &text(&project), ..Surveyed::default() })?;
            }
            for entry in entries {
                let Some(instance) = state_owner(&entry.name) else { continue };
                let Ok(Some(state)) =
                    open_existing(&directory, &entry.name, self.login.map(|login| login.uid))
                else {
                    continue;
                };
                if cancel.is_cancelled() {
                    return Err(EngineError::Interrupted);
                }
                // They fail for entries of a kind that no run makes.
                let (used_at, trash_bytes, is_busy) = (last_use(&state), trash(&state), is_busy(&state));
                if used_at.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                    // The state directory was removed meanwhile.
                    continue;
                }
                let is_state_readable = used_at.is_ok() && trash_bytes.is_ok() && is_busy.is_ok();
                let stat = directory.stat(&instance);
                let exists = !matches!(stat, Ok(None));
                let size = directory
                    .child_within(&instance, mount)
                    .and_then(|workspace| measure(&workspace, mount, cancel));
                take(
                    &mut totals,
                    tell,
                    &Surveyed {
                        project: &text(&project),
                        instance: &text(&instance),
                        exists,
                        unreadable: (exists && size.is_err()) || !is_state_readable,
                        entries: size.as_ref().map_or(0, |size| size.entries),
                        bytes: size.as_ref().map_or(0, |size| size.bytes),
                        used_at: used_at.unwrap_or(0),
                        trash_bytes: trash_bytes.unwrap_or(None),
                        is_busy: is_busy.unwrap_or(false),
                    },
                )?;
            }
        }
        Ok(totals)
    }

    fn directories(&self, directory: &DirHandle) -> Result<Vec<Name>, EngineError> {
        let entries = directory.list().map_err(|error| failed(&self.path, error))?;
        Ok(entries
            .into_iter()
            .filter(|entry| entry.kind == Kind::Directory)
            .map(|entry| entry.name)
            .collect())
    }
}

/// Tells a workspace, and counts it.
fn take(
    totals: &mut SurveyTotals,
    tell: &mut dyn FnMut(&Answer<'_>) -> Result<(), EngineError>,
    surveyed: &Surveyed<'_>,
) -> Result<(), EngineError> {
    totals.workspaces += 1;
    if totals.workspaces > MAX_SURVEYED { Ok(()) } else { tell(&Answer::Surveyed(surveyed.clone())) }
}

/// The size of a tree.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    entries: u64,
    bytes: u64,
}

/// Counts the entries below `directory`, without entering other mounts.
fn measure(directory: &DirHandle, mount: MountId, cancel: &Cancel) -> io::Result<Size> {
    let mut size = Size::default();
    let mut levels = vec![(directory.clone(), directory.list()?)];
    while let Some((directory, entries)) = levels.last_mut() {
        let Some(entry) = entries.pop() else {
            levels.pop();
            continue;
        };
        if cancel.is_cancelled() {
            break;
        }
        size.entries += 1;
        match entry.kind {
            Kind::Directory => {
                let below = directory.child_within(&entry.name, mount).and_then(|below| {
                    let entries = below.list()?;
                    Ok((below, entries))
                });
                // A directory that is gone, or that cannot be read, has nothing that counts.
                levels.extend(below.ok().filter(|_| levels.len() < MAX_DEPTH));
            }
            Kind::File => size.bytes += directory.stat(&entry.name)?.map_or(0, |stat| stat.size),
            _ => {}
        }
    }
    Ok(size)
}

/// When a run last worked on the workspace, in seconds since the epoch: each run changes the files of the state directory.
fn last_use(state: &DirHandle) -> io::Result<u64> {
    let mut latest = state.stat_self()?.mtime.secs();
    for entry in state.list()? {
        if let Some(stat) = state.stat(&entry.name)? {
            latest = latest.max(stat.mtime.secs());
        }
    }
    Ok(u64::try_from(latest).unwrap_or(0))
}

/// The size of what is in the trash; none if that is empty.
fn trash(state: &DirHandle) -> io::Result<Option<u64>> {
    let Some(trash) = Trash::open(state)? else { return Ok(None) };
    let batches = trash.batches()?;
    Ok((!batches.is_empty()).then(|| batches.iter().filter_map(|batch| batch.bytes).sum()))
}

/// Whether a run holds the lock of the state directory.
fn is_busy(state: &DirHandle) -> io::Result<bool> {
    // Trying to lock would make the file.
    if state.stat(&name(LOCK))?.is_none() {
        return Ok(false);
    }
    Ok(matches!(try_lock_existing(state)?, TriedLock::Held))
}

fn text(name: &Name) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

fn failed(path: &Path, error: io::Error) -> EngineError {
    EngineError::Destination { path: path.to_owned(), doing: "listing the workspaces in it", error }
}
