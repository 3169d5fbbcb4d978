//! Files in the making: written in a staging area, and moved into place whole.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coast_tree::{Acl, DirHandle, Kind, Name, RelPath, Replace, Stat, clone_contents};
use rustix::fs::{Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};

use super::attributes::DesiredAttributes;

/// A private directory in which entries are made.
pub(super) struct StagingArea {
    dir: DirHandle,
    /// The directory of the workspace that it lies in; none for the area in the private state directory.
    place: Option<RelPath>,
    next: AtomicU64,
    /// The mode bits that the system takes from entries that are made here.
    process_umask: u32,
}

/// An entry in the making. Dropping an entry before it was placed removes it.
pub(super) struct Staged {
    area: Arc<StagingArea>,
    name: Option<Name>,
}

impl StagingArea {
    pub(super) fn new(dir: DirHandle, place: Option<RelPath>, process_umask: u32) -> Arc<Self> {
        Arc::new(Self { dir, place, next: AtomicU64::default(), process_umask })
    }

    pub(super) fn dir(&self) -> &DirHandle {
        &self.dir
    }

    /// The directory of the workspace that it lies in; none for the area in the private state directory.
    pub(super) fn place(&self) -> Option<&RelPath> {
        self.place.as_ref()
    }

    /// Makes an empty file with these mode bits.
    pub(super) fn file(self: &Arc<Self>, mode: u32) -> io::Result<(Staged, File)> {
        let name = self.next_name();
        let file = self.dir.create_file(&name, mode)?;
        let staged = self.adopt(name);
        if mode & self.process_umask != 0 {
            chmod_file(&file, mode)?;
        }
        Ok((staged, file))
    }

    /// Makes an entry by `make`, which gets the directory and a free name.
    pub(super) fn entry(
        self: &Arc<Self>,
        make: impl FnOnce(&DirHandle, &Name) -> io::Result<()>,
    ) -> io::Result<Staged> {
        let name = self.next_name();
        make(&self.dir, &name)?;
        Ok(self.adopt(name))
    }

    /// An entry that was made here, or was left here until the end of the run.
    pub(super) fn adopt(self: &Arc<Self>, name: Name) -> Staged {
        Staged { area: self.clone(), name: Some(name) }
    }

    /// Moves an entry of another private directory here.
    pub(super) fn take_in(self: &Arc<Self>, dir: &DirHandle, name: &Name) -> io::Result<Staged> {
        self.entry(|area, staged| dir.rename_to(name, area, staged, Replace::Any))
    }

    /// Makes a copy of an entry of another area, with its content and attributes.
    pub(super) fn copy(self: &Arc<Self>, staged: &Staged) -> io::Result<Staged> {
        let (Some(name), Some(stat)) = (&staged.name, staged.stat()?) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let from = &staged.area.dir;
        let desired = DesiredAttributes::exactly(&stat);
        match stat.kind {
            Kind::File => {
                let (from, _) = from.open_file(name)?;
                let (copy, to) = self.file(0o600)?;
                if clone_contents(&from, &to, stat.size)? != stat.size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                chmod_file(&to, stat.mode)?;
                set_file(&to, &desired, Acl::access_of(&from)?.as_ref())?;
                Ok(copy)
            }
            Kind::Symlink => {
                let link_target = from.read_link(name)?;
                let copy = self.entry(|dir, name| dir.symlink(&link_target, name))?;
                copy.set(&DesiredAttributes { mode: None, ..desired }, None)?;
                Ok(copy)
            }
            kind => {
                let copy = self.entry(|dir, name| dir.mknod(name, kind, stat.mode, stat.rdev))?;
                copy.set(&desired, None)?;
                Ok(copy)
            }
        }
    }

    fn next_name(&self) -> Name {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Name::new(number.to_string().as_bytes()).expect("digits are a name")
    }
}

impl Staged {
    /// Moves the entry into place.
    pub(super) fn move_into_place(
        &mut self,
        dir: &DirHandle,
        name: &Name,
        replace: Replace,
    ) -> io::Result<()> {
        let Some(staged) = &self.name else { return Ok(()) };
        self.area.dir.rename_to(staged, dir, name, replace)?;
        self.name = None;
        Ok(())
    }

    /// Moves the entry to a private directory. Dropping `self` afterwards removes nothing, because the staged name no longer exists.
    pub(super) fn move_to(&self, dir: &DirHandle, name: &Name) -> io::Result<()> {
        self.name.as_ref().map_or(Ok(()), |staged| self.area.dir.rename_to(staged, dir, name, Replace::Any))
    }

    /// Leaves the entry in its area, and answers the area and the name that it has there.
    pub(super) fn leave(mut self) -> Option<(Arc<StagingArea>, Name)> {
        self.name.take().map(|name| (self.area.clone(), name))
    }

    /// The status of the entry while it is staged.
    pub(super) fn stat(&self) -> io::Result<Option<Stat>> {
        self.name.as_ref().map_or(Ok(None), |name| self.area.dir.stat(name))
    }

    /// Opens the staged file for reading.
    pub(super) fn open(&self) -> io::Result<File> {
        let name = self.name.as_ref().ok_or(io::ErrorKind::NotFound)?;
        self.area.dir.open_file(name).map(|(file, _)| file)
    }

    /// Gives an entry that is no regular file its attributes. `acl` is the access list that it gets.
    pub(super) fn set(&self, desired: &DesiredAttributes, acl: Option<&Acl>) -> io::Result<()> {
        let Some(name) = &self.name else { return Ok(()) };
        let dir = &self.area.dir;
        if desired.uid.is_some() || desired.gid.is_some() {
            dir.chown(name, desired.uid, desired.gid)?;
        }
        if let Some(mode) = desired.mode {
            dir.chmod(name, mode)?;
        }
        if let Some(acl) = acl {
            dir.set_access_acl(name, acl)?;
        }
        if let Some(mtime) = desired.mtime {
            dir.set_mtime(name, mtime)?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // The whole staging area goes at the end of the run anyway.
            let _ = self.area.dir.unlink(name);
        }
    }
}

/// Gives a staged file its attributes. Its mode was set when it was made. `acl` is the access list that it gets.
pub(super) fn set_file(file: &File, desired: &DesiredAttributes, acl: Option<&Acl>) -> io::Result<()> {
    if desired.uid.is_some() || desired.gid.is_some() {
        let (uid, gid) = (desired.uid.map(Uid::from_raw), desired.gid.map(Gid::from_raw));
        rustix::fs::fchown(file, uid, gid)?;
    }
    if let Some(acl) = acl {
        acl.set_access(file)?;
    }
    // Writing to the file, a change of owner and an access list take the set-id bits away.
    if let Some(mode) = desired.mode.filter(|mode| mode & 0o6000 != 0) {
        chmod_file(file, mode)?;
    }
    if let Some(mtime) = desired.mtime {
        let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ };
        let mtime = Timespec { tv_sec: mtime.secs(), tv_nsec: mtime.nanos().into() };
        rustix::fs::futimens(file, &Timestamps { last_access: omit, last_modification: mtime })?;
    }
    Ok(())
}

pub(super) fn chmod_file(file: &File, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode as _))?)
}
