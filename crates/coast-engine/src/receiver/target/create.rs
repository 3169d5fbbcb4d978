//! New entries: directories, symlinks, devices, and regular files whose content has come.

use std::fs::File;
use std::io;
use std::sync::Arc;

use coast_tree::{
    ContentHash, DirHandle, Kind, Name, Record, RelPath, SparseWriter, Stat, Timestamp, clone_contents,
    hash_file,
};
use coast_wire::{EntryKind, Update};

use super::attributes::DesiredAttributes;
use super::directory::DestinationEntry;
use super::inheritance::Inheritance;
use super::staging::{Staged, StagingArea, set_file};
use super::{Live, Target};
use crate::error::EngineError;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::spill::StoredPath;

/// A regular file in a staging area, being written.
pub(crate) struct StagedFile {
    pub(super) staged: Staged,
    pub(crate) output: SparseWriter,
}

impl DestinationEntry<'_> {
    pub(super) fn inheritance(&self) -> Result<&Inheritance, Failure> {
        self.directory.inheritance().doing("cannot read its directory's attributes")
    }
}

/// What became of an entry without content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Brought {
    /// It was there already; at most its attributes were changed.
    Kept,
    /// It is new, or will be: it may wait for its place until the end of the run.
    Made,
}

/// Whether a file could be made from another file of the destination.
pub(crate) enum Cloned {
    /// It is in place. The record is what the cache has to remember, if anything.
    Placed(Option<Record>),
    /// No other file has its content.
    NotFound,
}

impl Target<'_> {
    /// Brings a directory: makes it, or gives the existing one its attributes.
    pub(crate) fn bring_directory(&self, entry: &DestinationEntry<'_>) -> Result<Brought, Failure> {
        if let Some(existing) = entry.existing.filter(|existing| existing.kind == Kind::Directory) {
            let desired = self.attributes.desired(entry.offered, Some(&existing), None);
            self.fix_directory(entry, &existing, &desired)?;
            return Ok(Brought::Kept);
        }
        if let Some(dir) = self.live_handle(entry) {
            let inheritance = entry.inheritance()?;
            let existing = entry.existing.as_ref();
            let desired = self.attributes.desired(entry.offered, existing, inheritance.default_acl.as_ref());
            self.make_directory(entry, dir, &desired)?;
        }
        self.report_created(entry, EntryKind::Directory, Update::Local);
        Ok(Brought::Made)
    }

    fn make_directory(
        &self,
        entry: &DestinationEntry<'_>,
        dir: &DirHandle,
        desired: &DesiredAttributes,
    ) -> Result<(), Failure> {
        let (path, name) = (entry.directory.path(), &entry.offered.name);
        if let Some(existing) = &entry.existing {
            if let Some(live) = self.live() {
                live.safety.check_place(path, dir, name, Some(existing))?;
            }
            self.remove_in_the_way(path, dir, name).doing("cannot remove what is in the way")?;
        }
        let mode = desired.mode.unwrap_or(0o755);
        if let Some(live) = self.live() {
            live.ledger.directory_intended(path, name);
        }
        // The owner needs all rights while entries are brought.
        let made = self.change_in(path, dir, || dir.mkdir(name, mode | 0o700));
        if made.is_err() {
            self.note_gone(path, name);
        }
        made.doing("cannot make the directory")?;
        self.note_directory_placed(path, name);
        self.set_new_directory(dir, name, desired).doing("cannot set its attributes")?;
        let path = StoredPath::of_entry(path, name);
        Ok(self.set_late(path, desired.late_mode(), desired.mtime)?)
    }

    /// Removes an entry that a directory replaces: to the trash, or for good.
    fn remove_in_the_way(&self, path: &RelPath, dir: &DirHandle, name: &Name) -> io::Result<()> {
        if let Some(live) = self.live()
            && !live.safety.guards(path, name)
        {
            live.discard_in_the_way(path, dir, name, self.report)?;
        }
        match self.change_in(path, dir, || dir.unlink(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn set_new_directory(&self, dir: &DirHandle, name: &Name, desired: &DesiredAttributes) -> io::Result<()> {
        if desired.uid.is_some() || desired.gid.is_some() {
            dir.chown(name, desired.uid, desired.gid)?;
        }
        let masked = self.live().is_some_and(|live| live.areas.masks(desired.mode.unwrap_or(0) | 0o700));
        // The system ignores set-id bits when it makes a directory, or adds the parent's; with `-p` neither may be.
        match desired.mode {
            Some(mode) if masked || self.attributes.keeps_modes() || mode & 0o7000 != 0 => {
                dir.chmod(name, mode | 0o700)
            }
            _ => Ok(()),
        }
    }

    /// Brings a symlink: makes it, replaces another entry by it, or gives the right one its attributes.
    pub(crate) fn bring_symlink(
        &self,
        entry: &DestinationEntry<'_>,
        link_target: &[u8],
        make_way: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Brought, Failure> {
        let existing = entry.existing.filter(|stat| stat.kind == Kind::Symlink);
        if let (Some(existing), Some(dir)) = (existing, entry.directory.handle()) {
            let present_target = dir.read_link(&entry.offered.name).doing("cannot read the symlink")?;
            if present_target == link_target {
                let desired = self.attributes.desired(entry.offered, Some(&existing), None);
                self.fix(entry, &existing, &desired)?;
                return Ok(Brought::Kept);
            }
        }
        make_way()?;
        self.replace(entry, EntryKind::Symlink, |dir, name, _| dir.symlink(link_target, name))
    }

    /// Brings a device, FIFO or socket as [`Target::bring_symlink`] brings a symlink.
    pub(crate) fn bring_special(
        &self,
        entry: &DestinationEntry<'_>,
        kind: Kind,
        rdev: u64,
        make_way: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Brought, Failure> {
        let same = |stat: &Stat| stat.kind == kind && (!kind.is_device() || stat.rdev == rdev);
        if let Some(existing) = entry.existing.filter(same) {
            let desired = self.attributes.desired(entry.offered, Some(&existing), None);
            self.fix(entry, &existing, &desired)?;
            return Ok(Brought::Kept);
        }
        make_way()?;
        let named = if kind.is_device() { EntryKind::Device } else { EntryKind::Special };
        self.replace(entry, named, |dir, name, mode| dir.mknod(name, kind, mode, rdev))
    }

    /// Makes an entry without content and puts it into place. `make` gets the staging directory, a name and a mode.
    fn replace(
        &self,
        entry: &DestinationEntry<'_>,
        kind: EntryKind,
        make: impl FnOnce(&DirHandle, &Name, u32) -> io::Result<()>,
    ) -> Result<Brought, Failure> {
        if let (Some(live), Some(dir)) = (self.live(), entry.directory.handle()) {
            let desired = self.desired_here(entry)?;
            let mode = desired.mode.unwrap_or(0o600);
            let acl = desired.mode.and_then(|mode| entry.inheritance().ok()?.access_acl(mode));
            let area = self.area_for(entry)?;
            let staged = area.entry(|dir, name| make(dir, name, mode));
            let staged = staged
                .and_then(|staged| staged.set(&desired, acl.as_ref()).map(|()| staged))
                .doing("cannot make it")?;
            live.put_in_place(entry, dir, staged, self.report)?;
        }
        self.report_created(entry, kind, Update::Local);
        Ok(Brought::Made)
    }

    /// Makes an empty staged file for an entry.
    pub(crate) fn stage_file(&self, entry: &DestinationEntry<'_>) -> Result<StagedFile, Failure> {
        let (staged, file) = self.make_file(entry)?;
        Ok(StagedFile { staged, output: SparseWriter::new(file, self.zeros) })
    }

    fn make_file(&self, entry: &DestinationEntry<'_>) -> Result<(Staged, File), Failure> {
        let desired = self.desired_here(entry)?;
        let made = self.area_for(entry)?.file(desired.mode.unwrap_or(0o600)).doing("cannot create it")?;
        entry.inheritance()?.give_flags(&made.1).doing("cannot set the attributes it inherits")?;
        Ok(made)
    }

    /// The staging area from which a rename reaches the place of an entry.
    pub(super) fn area_for(&self, entry: &DestinationEntry<'_>) -> Result<Arc<StagingArea>, Failure> {
        let (live, dir) = self.live_place(entry)?;
        let mount = entry.directory.mount(dir).doing("cannot read the mount of its directory")?;
        let path = entry.directory.path();
        self.change_in(path, dir, || live.areas.area_for(&live.root, path, dir, mount))
            .doing("cannot make a staging directory on its mount")
    }

    /// Gives a staged file, whose content has come and was verified, its attributes, and puts it into place. `mtime` is the
    /// time of the content that came, if that is known better than from the offer. Answers what the cache has to remember.
    pub(crate) fn finish_file(
        &self,
        entry: &DestinationEntry<'_>,
        StagedFile { staged, output }: StagedFile,
        hash: ContentHash,
        mtime: Option<Timestamp>,
    ) -> Result<Option<Record>, Failure> {
        let file = output.finish().doing("cannot write it")?;
        self.finish(entry, (staged, file), hash, mtime)
    }

    pub(super) fn finish(
        &self,
        entry: &DestinationEntry<'_>,
        (staged, file): (Staged, File),
        hash: ContentHash,
        mtime: Option<Timestamp>,
    ) -> Result<Option<Record>, Failure> {
        let mut desired = self.desired_here(entry)?;
        desired.mtime = desired.mtime.map(|listed| mtime.unwrap_or(listed));
        let acl = desired.mode.and_then(|mode| entry.inheritance().ok()?.access_acl(mode));
        set_file(&file, &desired, acl.as_ref()).doing("cannot set its attributes")?;
        let (live, dir) = self.live_place(entry)?;
        let record = live.put_file_in_place(entry, dir, (staged, &file), hash, self.report)?;
        self.note_ahead(entry, hash);
        Ok(record)
    }

    /// The tree and the directory for an entry. A dry run asks for no content, so content that comes then breaks the protocol.
    fn live_place<'e>(&self, entry: &DestinationEntry<'e>) -> Result<(&Live, &'e DirHandle), Failure> {
        match (self.live(), entry.directory.handle()) {
            (Some(live), Some(dir)) => Ok((live, dir)),
            _ => Err(EngineError::Protocol("it sent content in a dry run").into()),
        }
    }

    /// Makes a missing file from another one of the same content that the destination had in the last run.
    pub(crate) fn clone_from_elsewhere(
        &self,
        entry: &DestinationEntry<'_>,
        size: u64,
        hash: ContentHash,
    ) -> Result<Cloned, Failure> {
        let Some(live) = self.live() else { return Ok(Cloned::NotFound) };
        for path in live.memory.find_content(&hash) {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let opened = live.root.dir(&parent).and_then(|dir| dir.open_file(&name));
            let Ok((source, stat)) = opened else { continue };
            if stat.size != size {
                continue;
            }
            let (staged, mut file) = self.make_file(entry)?;
            let copied = clone_contents(&source, &file, size)
                .and_then(|_| io::Seek::rewind(&mut file))
                .and_then(|()| hash_file(&mut file, &mut Vec::new()));
            match copied {
                Ok((copied, length)) if copied == hash && length == size => {
                    let record = self.finish(entry, (staged, file), hash, None)?;
                    self.report.cloned(size);
                    self.report_created(entry, EntryKind::File, Update::Local);
                    return Ok(Cloned::Placed(record));
                }
                Ok(_) => {}
                Err(error) if is_full(&error) => return Err(error).doing("cannot write it"),
                Err(_) => {}
            }
        }
        Ok(Cloned::NotFound)
    }

    /// The attributes that a staged entry gets, with those that it inherits from its directory. As in rsync, an entry that replaces
    /// another one is a new one in this: it inherits, and takes over no mode of a file that cannot be read.
    pub(super) fn desired_here(&self, entry: &DestinationEntry<'_>) -> Result<DesiredAttributes, Failure> {
        let inheritance = entry.inheritance()?;
        let existing = entry.existing.as_ref().filter(|_| !entry.is_unreadable_file());
        let mut desired = self.attributes.desired(entry.offered, existing, inheritance.default_acl.as_ref());
        desired.gid = desired.gid.or(inheritance.group);
        Ok(desired)
    }

    /// Whether the error ends the run. A full disk or quota would fail every further file too. A run that follows others goes on all the
    /// same: its files are few, and those that need no space arrive.
    pub(crate) fn is_fatal(&self, error: &io::Error) -> bool {
        is_full(error) && !self.follows
    }
}

/// Whether the disk or the quota is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
