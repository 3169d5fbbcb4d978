//! Attributes of directories that wait for the end of the run: a directory's time changes with its entries, and its new mode
//! may forbid changing them.

use std::io;

use coast_tree::{DirHandle, Kind, Name, RelPath, Root, Stat, Timestamp};
use serde::{Deserialize, Serialize};

use super::attributes::{same_time, with_inherited_group_bit};
use crate::error::EngineError;
use crate::receiver::report::Report;
use crate::receiver::spill::{Spill, StoredPath};

/// The directories whose attributes are set at the end.
pub(super) struct LateDirectories {
    /// Read backwards. So a directory comes after the directories in it. Where one directory is listed twice, its former mode is
    /// set first, and last the mode that the source asks for, which was noted earlier. A mode is noted before it is changed.
    list: Spill<LateDirectory>,
    /// Whether the source's modes are kept (`-p`).
    exact_modes: bool,
}

/// A directory whose attributes are set at the end.
#[derive(Serialize, Deserialize)]
struct LateDirectory {
    path: StoredPath,
    mode: Option<u32>,
    /// Seconds and nanoseconds since the epoch.
    mtime: Option<(i64, u32)>,
    /// Whether the directory may have been deleted since.
    may_be_gone: bool,
}

impl LateDirectories {
    /// An empty list. `scratch` is a private directory of the run.
    pub(super) fn new(scratch: &DirHandle, exact_modes: bool) -> Self {
        Self { list: Spill::new(Some(scratch), "directories"), exact_modes }
    }

    /// Notes the attributes of a directory that the source has.
    pub(super) fn note(
        &self,
        path: StoredPath,
        mode: Option<u32>,
        mtime: Option<Timestamp>,
    ) -> Result<(), EngineError> {
        if mode.is_none() && mtime.is_none() {
            return Ok(());
        }
        let mtime = mtime.map(|mtime| (mtime.secs(), mtime.nanos()));
        self.list.push(&LateDirectory { path, mode, mtime, may_be_gone: false })
    }

    /// Notes the mode that a directory gets back.
    fn note_former_mode(&self, path: &RelPath, mode: u32) -> io::Result<()> {
        let path = StoredPath::from(path);
        let late = LateDirectory { path, mode: Some(mode), mtime: None, may_be_gone: true };
        self.list.push(&late).map_err(io::Error::other)
    }

    /// Opens a directory that could not be opened, with all rights for its owner until the end of the run. None if its owner is
    /// another user.
    pub(super) fn open_up(
        &self,
        path: &RelPath,
        parent: &DirHandle,
        name: &Name,
    ) -> io::Result<Option<DirHandle>> {
        match parent.stat(name)? {
            Some(stat) if stat.kind == Kind::Directory && is_ours(&stat) => {
                self.note_former_mode(path, stat.mode)?;
                parent.chmod(name, stat.mode | 0o700)?;
                parent.child(name).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Gives the owner of a directory, if that is this process' user and not root, the rights `bits` until the end of the run.
    /// False if another user owns it.
    pub(super) fn allow(&self, path: &RelPath, dir: &DirHandle, bits: u32) -> io::Result<bool> {
        if rustix::process::geteuid().is_root() {
            return Ok(false);
        }
        let stat = dir.stat_self()?;
        if !is_ours(&stat) {
            return Ok(false);
        }
        // Otherwise another worker may have done it in the meantime.
        if stat.mode & bits != bits {
            self.note_former_mode(path, stat.mode)?;
            dir.chmod_self(stat.mode | bits)?;
        }
        Ok(true)
    }

    /// Changes something in the directory `path`. As in rsync, a receiver that is not root and may not write there gives
    /// itself the right, and takes it back at the end of the run.
    pub(super) fn change_in<T>(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        mut change: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        match change() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if self.allow(path, dir, 0o200)? { change() } else { Err(error) }
            }
            changed => changed,
        }
    }

    /// Sets the attributes that waited, from the last directory to the first, since a directory's new mode may forbid
    /// entering it. A directory whose attributes cannot be set is reported.
    pub(super) fn set(&self, root: &Root, report: &Report<'_>) -> Result<(), EngineError> {
        for late in self.list.drain_back()? {
            let LateDirectory { path, mode, mtime, may_be_gone } = late?;
            let path = path.to_path()?;
            if let Err(error) = set_directory(root, &path, mode, mtime, self.exact_modes)
                && !(may_be_gone && is_gone(&error))
            {
                report.problem(path.as_bytes(), "cannot set the attributes of the directory", &error);
            }
        }
        Ok(())
    }
}

/// Whether a directory was deleted, or made way for an entry of another kind.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

fn is_ours(stat: &Stat) -> bool {
    stat.uid == rustix::process::geteuid().as_raw()
}

fn set_directory(
    root: &Root,
    path: &RelPath,
    mode: Option<u32>,
    mtime: Option<(i64, u32)>,
    exact_mode: bool,
) -> io::Result<()> {
    let mtime = mtime.map(|(secs, nanos)| Timestamp::new(secs, nanos));
    match root.dir(path) {
        // Its new mode, set already, forbids its owner to open it: set the rest through the parent.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            let parent = root.dir(&parent)?;
            let stat = parent.stat(&name)?.ok_or(io::ErrorKind::NotFound)?;
            if stat.kind != Kind::Directory {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let late = Late::of(&stat, mode, mtime, exact_mode);
            late.mtime.map_or(Ok(()), |mtime| parent.set_mtime(&name, mtime))?;
            late.mode.map_or(Ok(()), |mode| parent.chmod(&name, mode))
        }
        dir => {
            let dir = dir?;
            let late = Late::of(&dir.stat_self()?, mode, mtime, exact_mode);
            late.mtime.map_or(Ok(()), |mtime| dir.set_mtime_self(mtime))?;
            late.mode.map_or(Ok(()), |mode| dir.chmod_self(mode))
        }
    }
}

/// The attributes of a directory that differ.
struct Late {
    mode: Option<u32>,
    mtime: Option<Timestamp>,
}

impl Late {
    fn of(stat: &Stat, mode: Option<u32>, mtime: Option<Timestamp>, exact_mode: bool) -> Self {
        Self {
            mode: mode
                .map(|mode| with_inherited_group_bit(mode, stat.mode, exact_mode))
                .filter(|&mode| mode != stat.mode),
            mtime: mtime.filter(|&mtime| !same_time(mtime, stat.mtime)),
        }
    }
}
