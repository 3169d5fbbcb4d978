//! Attributes of directories that wait for the end of the run: a directory's time changes with its entries, and its new mode
//! may forbid changing them.

use std::io;

use coast_tree::{Kind, LockExt, RelPath, Root, Stat, Timestamp};
use serde::{Deserialize, Serialize};

use super::Target;
use super::attributes::same_time;
use crate::error::EngineError;
use crate::receiver::spill::StoredPath;

/// A directory whose attributes are set at the end.
#[derive(Serialize, Deserialize)]
pub(super) struct LateDirectory {
    path: StoredPath,
    mode: Option<u32>,
    /// Seconds and nanoseconds since the epoch.
    mtime: Option<(i64, u32)>,
    /// Whether the directory may have been deleted since.
    may_be_gone: bool,
}

impl LateDirectory {
    /// A directory that the source has.
    pub(super) fn offered(path: StoredPath, mode: Option<u32>, mtime: Option<Timestamp>) -> Option<Self> {
        let mtime = mtime.map(|mtime| (mtime.secs(), mtime.nanos()));
        (mode.is_some() || mtime.is_some()).then_some(Self { path, mode, mtime, may_be_gone: false })
    }

    /// A directory that gets back the mode it had.
    pub(super) fn mode_again(path: &RelPath, mode: u32) -> Self {
        Self { path: StoredPath::from(path), mode: Some(mode), mtime: None, may_be_gone: true }
    }
}

impl Target<'_> {
    /// Sets the attributes that waited, from the last directory to the first, since a directory's new mode may forbid
    /// entering it.
    pub(crate) fn set_late_directories(&self) -> Result<(), EngineError> {
        let Some(live) = self.live() else { return Ok(()) };
        for late in live.late_directories.drain_back()? {
            let LateDirectory { path, mode, mtime, may_be_gone } = late?;
            let path = path.to_path()?;
            let set = set_directory(&live.root, &path, mode, mtime, self.attributes.keeps_modes());
            if let Err(error) = set
                && !(may_be_gone && error.kind() == io::ErrorKind::NotFound)
            {
                self.report.problem(path.as_bytes(), "cannot set the attributes of the directory", &error);
            }
        }
        if let Err(error) = self.former_mode.enter().restore() {
            self.report.problem(b"", "cannot give the directory its mode back", &error);
        }
        Ok(())
    }
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
        // Without `-p` a directory keeps the set-group bit that it got from the one it is in.
        let inherited = if exact_mode { 0 } else { stat.mode & 0o2000 };
        Self {
            mode: mode.map(|mode| mode | inherited).filter(|&mode| mode != stat.mode),
            mtime: mtime.filter(|&mtime| !same_time(mtime, stat.mtime)),
        }
    }
}
