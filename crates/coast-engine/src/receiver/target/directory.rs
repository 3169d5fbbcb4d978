//! A directory of the destination, opened.

use std::io;
use std::sync::OnceLock;

use coast_tree::{
    ContentHash, DirHandle, FileIdentity, Kind, Listed, MountId, Name, RelPath, Stat, Timestamp, file_stat,
};

use super::Target;
use super::inheritance::Inheritance;
use super::reading::hash_of_size;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::offered::OfferedEntry;
use crate::receiver::report::Report;
use crate::receiver::spill::path_in;

/// An opened directory of the destination.
pub(crate) struct DestinationDirectory {
    path: RelPath,
    /// None only in a dry run that would have made the directory.
    handle: Option<DirHandle>,
    mount: OnceLock<MountId>,
    inheritance: OnceLock<Inheritance>,
}

/// An entry of a directory: as the source has it, and as the destination has it now.
pub(crate) struct DestinationEntry<'a> {
    pub(crate) directory: &'a DestinationDirectory,
    pub(crate) offered: &'a OfferedEntry,
    pub(crate) existing: Option<Stat>,
    /// The system's time from before `existing` was read. None for an entry as it was decided some time ago: its hash must not be
    /// remembered together with `existing`.
    pub(super) observed_at: Option<Timestamp>,
}

impl DestinationDirectory {
    pub(super) fn new(path: RelPath, handle: Option<DirHandle>) -> Self {
        Self { path, handle, mount: OnceLock::new(), inheritance: OnceLock::new() }
    }

    /// Relative to the transfer root.
    pub(crate) fn path(&self) -> &RelPath {
        &self.path
    }

    /// None only in a dry run that would have made the directory.
    pub(crate) fn handle(&self) -> Option<&DirHandle> {
        self.handle.as_ref()
    }

    /// The attributes that new entries get here. Read when the first one is made.
    pub(super) fn inheritance(&self) -> io::Result<&Inheritance> {
        if let Some(known) = self.inheritance.get() {
            return Ok(known);
        }
        let read = self.handle.as_ref().map(Inheritance::of).transpose()?.unwrap_or_default();
        Ok(self.inheritance.get_or_init(|| read))
    }

    /// The mount that the directory belongs to. Read when the first entry is made.
    pub(super) fn mount(&self, handle: &DirHandle) -> io::Result<MountId> {
        if let Some(known) = self.mount.get() {
            return Ok(*known);
        }
        let read = handle.mount()?;
        Ok(*self.mount.get_or_init(|| read))
    }

    /// Lists the entries, sorted by name. None in a dry run on a directory that this user may not read.
    pub(crate) fn list(&self) -> io::Result<Option<Vec<Listed>>> {
        let Some(handle) = &self.handle else { return Ok(Some(Vec::new())) };
        match handle.list() {
            // The descriptor is only to search.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error()) => Ok(None),
            listed => {
                let mut listed = listed?;
                listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                Ok(Some(listed))
            }
        }
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
        Ok(DestinationEntry { directory: self, offered, existing, observed_at: Some(observed_at) })
    }

    /// An entry that was looked at after `observed_at`.
    pub(crate) fn seen<'a>(
        &'a self,
        offered: &'a OfferedEntry,
        stat: Stat,
        observed_at: Timestamp,
    ) -> DestinationEntry<'a> {
        DestinationEntry { directory: self, offered, existing: Some(stat), observed_at: Some(observed_at) }
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
        Self { directory, offered, existing, observed_at: None }
    }

    /// Relative to the transfer root.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.directory.path_of(&self.offered.name)
    }

    /// The hash of the file that exists; none when it changed meanwhile, or the run is over.
    pub(crate) fn hash_existing(
        &self,
        dir: &DirHandle,
        stat: &Stat,
        report: &Report<'_>,
    ) -> io::Result<Option<ContentHash>> {
        let (file, opened) = dir.open_file(&self.offered.name)?;
        let hash = hash_of_size(&file, stat.size, report)?;
        let unchanged = FileIdentity::from(&opened) == FileIdentity::from(stat)
            && FileIdentity::from(&file_stat(&file)?) == FileIdentity::from(stat);
        Ok(hash.filter(|_| unchanged))
    }

    /// Whether a file exists for a file that is offered, and this process may not read it. Root may read every file, which is
    /// not asked.
    pub(super) fn is_unreadable_file(&self) -> bool {
        let is_file = |kind: Kind| kind == Kind::File;
        is_file(self.offered.kind())
            && self.existing.is_some_and(|existing| is_file(existing.kind))
            && !rustix::process::geteuid().is_root()
            && self.directory.handle().is_some_and(|dir| !dir.may_read(&self.offered.name))
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

    /// Opens a directory to examine it. A receiver that is not root and owns a directory that it may not read or search gives
    /// itself the right, and takes it back at the end of the run.
    pub(crate) fn enter(&self, path: &RelPath) -> io::Result<DestinationDirectory> {
        match self.directory(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let handle = self.open_up(path)?.ok_or(error)?;
                Ok(DestinationDirectory::new(path.clone(), Some(handle)))
            }
            Ok(directory) => {
                if let (Some(live), Some(handle)) = (self.live(), directory.handle()) {
                    live.late_directories.allow(path, handle, 0o500)?;
                }
                Ok(directory)
            }
            failed => failed,
        }
    }

    /// Opens a directory that could not be opened; none if its owner is another user. A dry run changes nothing, and opens the
    /// directory to search it only.
    fn open_up(&self, path: &RelPath) -> io::Result<Option<DirHandle>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let parent = self.directory(&parent)?;
        let Some(parent) = parent.handle() else { return Ok(None) };
        match self.live() {
            Some(live) => live.late_directories.open_up(path, parent, &name),
            None => parent.child_to_search(&name).map(Some),
        }
    }
}

/// In a dry run a directory is missing, or something else has its name, until it would have been made.
fn would_be_made(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
