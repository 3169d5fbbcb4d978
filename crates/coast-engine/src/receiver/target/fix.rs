//! The attributes of entries that exist: told to the user, and set.

use std::io;

use coast_tree::{ContentHash, DirHandle, Kind, LockExt, Record, RelPath, Stat, Timestamp};
use coast_wire::{Change, EntryKind, Origin, TimeChange, Update};

use super::attributes::{DesiredAttributes, same_time, with_inherited_group_bit};
use super::directory::DestinationEntry;
use super::placement::BEYOND_TRASH;
use super::{ItemizedOwner, Target};
use crate::error::EngineError;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::offered::{Offered, OfferedEntry};
use crate::receiver::spill::StoredPath;

impl Target<'_> {
    /// Counts and tells an entry that was made or replaced as a whole, or would be in a dry run.
    pub(crate) fn report_created(&self, entry: &DestinationEntry<'_>, kind: EntryKind, update: Update) {
        let existing = entry.existing.as_ref().filter(|existing| entry_kind(existing.kind) == kind);
        match &entry.existing {
            None => self.report.created(),
            Some(existing) if self.is_dry_run() => self.foretell_discard(entry, existing),
            Some(_) => {}
        }
        let desired = self.attributes.desired(entry.offered, entry.existing.as_ref(), None);
        let change = match existing {
            None => Change { update, kind, new: true, ..Change::none(kind) },
            Some(existing) => {
                let size = matches!(entry.offered.what, Offered::File { size, .. } if size != existing.size);
                let time = match desired.mtime {
                    Some(mtime) => (!same_time(mtime, existing.mtime)).then_some(TimeChange::Kept),
                    None => Some(TimeChange::Now),
                };
                Change { update, content: true, size, time, ..differences(existing, &desired, kind) }
            }
        };
        self.report.changed(|| entry.path(), change);
    }

    /// In a dry run, tells of an entry that would move to the trash for one of another kind.
    fn foretell_discard(&self, entry: &DestinationEntry<'_>, existing: &Stat) {
        let other_kind = existing.kind != entry.offered.kind() && existing.kind != Kind::Directory;
        if !other_kind || !self.has_trash() {
            return;
        }
        let origin = self.origins_in(entry.directory.path()).of(&entry.offered.name, existing);
        if origin == Origin::Run {
            return;
        }
        if entry.directory.handle().is_some_and(|dir| self.is_beyond_trash(dir)) {
            let text = format!("cannot remove what is in the way: {BEYOND_TRASH}");
            self.report.failed(&entry.path(), &text);
        } else {
            self.report.deleted(1);
            self.report.gone(&entry.path(), false, origin, false);
        }
    }

    /// Whether a file of another user lacks attributes, which this user may not give it.
    pub(crate) fn may_not_fix(&self, entry: &DestinationEntry<'_>, existing: &Stat) -> bool {
        if self.attributes.may_change(existing) {
            return false;
        }
        let desired = self.attributes.desired(entry.offered, Some(existing), None);
        let mut change = differences(existing, &desired, EntryKind::File);
        change.time = kept_time(&desired, existing);
        is_change(&change)
    }

    /// Gives a file of the right content its attributes. Answers what the cache has to remember.
    pub(crate) fn keep_content(
        &self,
        entry: &DestinationEntry<'_>,
        existing: &Stat,
        hash: Option<ContentHash>,
    ) -> Result<Option<Record>, Failure> {
        let desired = self.attributes.desired(entry.offered, Some(existing), None);
        let fixed = self.fix(entry, existing, &desired)?;
        let (Some(hash), Some(live), Some(dir)) = (hash, self.live(), entry.directory.handle()) else {
            return Ok(None);
        };
        let name = &entry.offered.name;
        Ok(Some(match fixed {
            Fixed::Nothing => live.memory.record_of(name, hash, existing, entry.observed_at),
            // The new attributes made it another identity.
            Fixed::Something => live.memory.record_of_changed(name, hash, existing, || dir.stat(name)),
        }))
    }

    /// Gives an existing entry the attributes it lacks.
    pub(super) fn fix(
        &self,
        entry: &DestinationEntry<'_>,
        existing: &Stat,
        desired: &DesiredAttributes,
    ) -> Result<Fixed, Failure> {
        self.fix_partly(entry, existing, desired, desired)
    }

    /// [`Target::fix`] for an entry of which only `now` is set, because the rest has to wait. All of `desired` is told.
    fn fix_partly(
        &self,
        entry: &DestinationEntry<'_>,
        existing: &Stat,
        now: &DesiredAttributes,
        desired: &DesiredAttributes,
    ) -> Result<Fixed, Failure> {
        let mut change = differences(existing, desired, entry_kind(existing.kind));
        change.time = kept_time(desired, existing);
        if !is_change(&change) {
            self.report.untouched();
            return Ok(Fixed::Nothing);
        }
        if let Some(dir) = self.live_handle(entry) {
            set_attributes(dir, entry, existing, now).doing("cannot set its attributes")?;
        }
        self.report.attributes_changed();
        if change.owner || change.group {
            self.report.owner_changed();
        }
        let told = self.asked_for(change);
        if is_change(&told) {
            self.report.changed(|| entry.path(), told);
        }
        Ok(Fixed::Something)
    }

    /// Gives an existing directory its attributes, those that have to wait at the end of the run.
    pub(super) fn fix_directory(
        &self,
        entry: &DestinationEntry<'_>,
        existing: &Stat,
        desired: &DesiredAttributes,
    ) -> Result<(), Failure> {
        // The time changes with the directory's entries, and comes at the end. The mode comes now, so that the directory is never
        // more open than it will be; rights that its owner needs meanwhile are taken away at the end.
        let mode = desired.mode.filter(|&mode| mode != existing.mode).map(|mode| mode | 0o700);
        let now = DesiredAttributes { mtime: None, mode, ..*desired };
        self.fix_partly(entry, existing, &now, desired)?;
        let path = StoredPath::of_entry(entry.directory.path(), &entry.offered.name);
        Ok(self.set_late(path, desired.late_mode(), desired.mtime)?)
    }

    /// Notes the attributes of a directory for the end of the run.
    pub(super) fn set_late(
        &self,
        path: StoredPath,
        mode: Option<u32>,
        mtime: Option<Timestamp>,
    ) -> Result<(), EngineError> {
        self.live().map_or(Ok(()), |live| live.late_directories.note(path, mode, mtime))
    }

    /// Gives the transfer root its attributes.
    pub(crate) fn fix_root(&self, offered: &OfferedEntry) -> Result<(), EngineError> {
        let Some(root) = self.root() else {
            self.tell_root(Change::none(EntryKind::Directory));
            return Ok(());
        };
        match self.set_root(&root.handle(), offered) {
            Ok(later) => self.set_late(StoredPath::from(&RelPath::root()), later.late_mode(), later.mtime),
            Err(error) => {
                self.report.problem(b"", "cannot set the attributes of the directory", &error);
                Ok(())
            }
        }
    }

    /// Gives the transfer root its owner and its mode, which come before the entries that inherit from it. Answers the attributes
    /// that have to wait.
    fn set_root(&self, root: &DirHandle, offered: &OfferedEntry) -> io::Result<DesiredAttributes> {
        let mut existing = root.stat_self()?;
        let present_mode = existing.mode;
        if let Some(former) = self.former_mode.enter().take() {
            existing.mode = former;
        }
        // If this run made the directory, its mode comes from its default ACL, and not from the umask.
        let default_acl = if self.created { root.default_acl()? } else { None };
        let desired =
            self.attributes.desired(offered, (!self.created).then_some(&existing), default_acl.as_ref());
        let mut change = differences(&existing, &desired, EntryKind::Directory);
        let exact = self.attributes.keeps_modes();
        let mode = desired.mode.map(|mode| with_inherited_group_bit(mode, existing.mode, exact));
        if !self.is_dry_run() {
            if change.owner || change.group {
                root.chown_self(desired.uid, desired.gid)?;
                self.report.owner_changed();
            }
            // The owner needs all rights while entries are brought.
            let new = mode.filter(|&mode| mode != existing.mode).map(|mode| mode | 0o700);
            if let Some(mode) = new.filter(|&mode| mode != present_mode) {
                root.chmod_self(mode)?;
            }
        }
        change.time = kept_time(&desired, &existing);
        self.tell_root(change);
        Ok(DesiredAttributes { mode, ..desired })
    }

    fn tell_root(&self, change: Change) {
        let change = match self.created {
            true => Change { update: Update::Local, new: true, ..change },
            false => self.asked_for(change),
        };
        if change.new || is_change(&change) {
            self.report.changed(|| b".".to_vec(), change);
        }
    }

    /// The owner of the workspace is not what `--itemize-changes` is about, unless `-o` or `-g` asked for it.
    fn asked_for(&self, change: Change) -> Change {
        let ItemizedOwner { user, group } = self.itemized_owner;
        Change { owner: change.owner && user, group: change.group && group, ..change }
    }
}

/// Sets the attributes that differ.
fn set_attributes(
    dir: &DirHandle,
    entry: &DestinationEntry<'_>,
    existing: &Stat,
    now: &DesiredAttributes,
) -> io::Result<()> {
    let name = &entry.offered.name;
    let differs = |desired: Option<u32>, is: u32| desired.is_some_and(|desired| desired != is);
    let gets_owner = differs(now.uid, existing.uid) || differs(now.gid, existing.gid);
    if gets_owner {
        dir.chown(name, now.uid, now.gid)?;
    }
    let resets_mode = gets_owner && existing.mode & 0o6000 != 0;
    if let Some(mode) = now.mode.filter(|&mode| mode != existing.mode || resets_mode) {
        dir.chmod(name, mode)?;
    }
    match now.mtime.filter(|&mtime| !same_time(mtime, existing.mtime)) {
        Some(mtime) => dir.set_mtime(name, mtime),
        None => Ok(()),
    }
}

fn kept_time(desired: &DesiredAttributes, existing: &Stat) -> Option<TimeChange> {
    desired.mtime.filter(|&mtime| !same_time(mtime, existing.mtime)).map(|_| TimeChange::Kept)
}

fn is_change(change: &Change) -> bool {
    change.perms || change.owner || change.group || change.time.is_some()
}

/// Whether [`Target::fix`] had to change something.
#[derive(PartialEq, Eq)]
pub(super) enum Fixed {
    Nothing,
    Something,
}

fn differences(existing: &Stat, desired: &DesiredAttributes, kind: EntryKind) -> Change {
    Change {
        perms: desired.mode.is_some_and(|mode| mode != existing.mode),
        owner: desired.uid.is_some_and(|uid| uid != existing.uid),
        group: desired.gid.is_some_and(|gid| gid != existing.gid),
        ..Change::none(kind)
    }
}

fn entry_kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::File => EntryKind::File,
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::CharDevice | Kind::BlockDevice => EntryKind::Device,
        Kind::Fifo | Kind::Socket => EntryKind::Special,
    }
}
