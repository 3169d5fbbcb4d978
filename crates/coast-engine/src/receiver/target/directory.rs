//! A directory of the destination, opened.

use std::io;
use std::sync::OnceLock;

use coast_tree::{DirHandle, Name, RelPath, Stat, Timestamp};

use super::Target;
use super::late_directories::LateDirectory;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::offered::OfferedEntry;
use crate::receiver::spill::path_in;

/// An opened directory of the destination.
pub(crate) struct DestinationDirectory {
    path: RelPath,
    /// None only in a dry run that would have made the directory.
    handle: Option<DirHandle>,
    inherited_group: OnceLock<Option<u32>>,
}

/// An entry of a directory: as the source has it, and as the destination has it now.
pub(crate) struct DestinationEntry<'a> {
    pub(crate) directory: &'a DestinationDirectory,
    pub(crate) offered: &'a OfferedEntry,
    pub(crate) existing: Option<Stat>,
    /// The system's time from before `existing` was read.
    pub(crate) observed_at: Timestamp,
}

impl DestinationDirectory {
    pub(super) fn new(path: RelPath, handle: Option<DirHandle>) -> Self {
        Self { path, handle, inherited_group: OnceLock::new() }
    }

    /// Relative to the transfer root.
    pub(crate) fn path(&self) -> &RelPath {
        &self.path
    }

    /// None only in a dry run that would have made the directory.
    pub(crate) fn handle(&self) -> Option<&DirHandle> {
        self.handle.as_ref()
    }

    /// The group that new entries get here whoever makes them: that of a directory with the set-group bit.
    pub(super) fn inherited_group(&self) -> io::Result<Option<u32>> {
        if let Some(known) = self.inherited_group.get() {
            return Ok(*known);
        }
        let Some(handle) = &self.handle else { return Ok(None) };
        let stat = handle.stat_self()?;
        let group = Some(stat.gid).filter(|_| stat.mode & 0o2000 != 0);
        Ok(*self.inherited_group.get_or_init(|| group))
    }

    /// Looks at an entry. `listed` tells whether the directory's listing has its name.
    pub(crate) fn entry<'a>(
        &'a self,
        offered: &'a OfferedEntry,
        listed: bool,
    ) -> Result<DestinationEntry<'a>, Failure> {
        let observed_at = Timestamp::now();
        let existing = match self.handle.as_ref().filter(|_| listed) {
            Some(handle) => handle.stat(&offered.name).doing("cannot read its attributes")?,
            None => None,
        };
        Ok(DestinationEntry { directory: self, offered, existing, observed_at })
    }

    /// The path of an entry, relative to the transfer root.
    pub(crate) fn path_of(&self, name: &Name) -> Vec<u8> {
        path_in(&self.path, name)
    }
}

impl<'a> DestinationEntry<'a> {
    /// An entry as it was when its content was asked for.
    pub(crate) fn as_decided(
        directory: &'a DestinationDirectory,
        offered: &'a OfferedEntry,
        existing: Option<Stat>,
    ) -> Self {
        Self { directory, offered, existing, observed_at: Timestamp::now() }
    }

    /// Relative to the transfer root.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.directory.path_of(&self.offered.name)
    }
}

impl Target<'_> {
    /// Opens a directory of the destination.
    pub(crate) fn directory(&self, path: &RelPath) -> io::Result<DestinationDirectory> {
        let handle = match self.root().map(|root| root.dir(path)) {
            Some(Err(error)) if self.is_dry_run() && would_be_made(&error) => None,
            opened => opened.transpose()?,
        };
        Ok(DestinationDirectory::new(path.clone(), handle))
    }

    /// Changes something in the directory `path`. As in rsync, a receiver that is not root and may not write there gives
    /// itself the right, and takes it back at the end of the run.
    pub(crate) fn change_in<T>(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        mut change: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        match change() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if self.make_writable(path, dir)? { change() } else { Err(error) }
            }
            changed => changed,
        }
    }

    /// Whether the directory can be written now and could not be before.
    fn make_writable(&self, path: &RelPath, dir: &DirHandle) -> io::Result<bool> {
        let Some(live) = self.live() else { return Ok(false) };
        let stat = dir.stat_self()?;
        if stat.uid != rustix::process::geteuid().as_raw() {
            return Ok(false);
        }
        if stat.mode & 0o200 != 0 {
            // Another worker may have made it writable in the meantime.
            return Ok(true);
        }
        dir.chmod_self(stat.mode | 0o200)?;
        let late = LateDirectory::mode_again(path, stat.mode);
        live.late_directories.push(&late).map_err(io::Error::other)?;
        Ok(true)
    }
}

/// In a dry run a directory is missing, or something else has its name, until it would have been made.
fn would_be_made(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
