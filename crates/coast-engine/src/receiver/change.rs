//! What changes of an entry that is there: told to the user, and set.

use std::io;

use coast_tree::{Kind, Stat, Timestamp};
use coast_wire::{Change, EntryKind, TimeChange, Update};

use super::Run;
use super::parts::WantedWhat;
use super::site::{Failure, Site};
use super::wanted::Wanted;

/// Telling and setting attributes.
impl Run<'_> {
    /// Counts and tells an entry that was made or replaced as a whole.
    pub(super) fn created(&self, site: &Site<'_>, kind: EntryKind, update: Update) {
        let existing = site.existing.as_ref().filter(|existing| entry_kind(existing.kind) == kind);
        self.count(|stats| stats.created += u64::from(site.existing.is_none()));
        let wanted = self.attributes.wanted(site.entry, site.existing.as_ref());
        let change = match existing {
            None => Change { update, kind, new: true, ..unchanged(kind) },
            Some(existing) => {
                let size = matches!(site.entry.what, WantedWhat::File { size, .. } if size != existing.size);
                let time = match wanted.mtime {
                    Some(mtime) => (!same_time(mtime, existing.mtime)).then_some(TimeChange::Kept),
                    None => Some(TimeChange::Now),
                };
                Change { update, content: true, size, time, ..differences(existing, &wanted, kind) }
            }
        };
        self.changed(|| site.path(), change);
    }

    /// Gives an existing entry the attributes it lacks: `now` at once; `wanted` is what is told.
    pub(super) fn fix(
        &self,
        site: &Site<'_>,
        existing: &Stat,
        now: &Wanted,
        wanted: &Wanted,
    ) -> Result<Fixed, Failure> {
        let kind = entry_kind(existing.kind);
        let mut change = differences(existing, wanted, kind);
        change.time =
            wanted.mtime.filter(|&mtime| !same_time(mtime, existing.mtime)).map(|_| TimeChange::Kept);
        let fixed = change.perms || change.owner || change.group || change.time.is_some();
        if !fixed {
            self.count(|stats| stats.untouched += 1);
            return Ok(Fixed::Nothing);
        }
        if let (Some(dir), false) = (site.dir, self.options.dry_run) {
            let name = &site.entry.name;
            let set = || -> io::Result<()> {
                if change.owner || change.group {
                    dir.chown(name, now.uid, now.gid)?;
                }
                let resets_mode = (change.owner || change.group) && existing.mode & 0o6000 != 0;
                if let Some(mode) = now.mode.filter(|&mode| mode != existing.mode || resets_mode) {
                    dir.chmod(name, mode)?;
                }
                match now.mtime.filter(|&mtime| !same_time(mtime, existing.mtime)) {
                    Some(mtime) => dir.set_mtime(name, mtime),
                    None => Ok(()),
                }
            };
            set().map_err(|error| Failure::Entry("cannot set its attributes", error))?;
        }
        self.count(|stats| {
            stats.chowned += u64::from(change.owner || change.group);
            stats.attributes += 1;
        });
        // Who the workspace belongs to is not what `--itemize-changes` is about, unless it was asked for.
        let told = Change {
            owner: change.owner && self.options.owner,
            group: change.group && self.options.group,
            ..change
        };
        if told.perms || told.owner || told.group || told.time.is_some() {
            self.changed(|| site.path(), told);
        }
        Ok(Fixed::Something)
    }
}

/// Whether rsync calls two times the same: it compares whole seconds, which every file system keeps.
pub(super) fn same_time(one: Timestamp, other: Timestamp) -> bool {
    one.secs() == other.secs()
}

/// Whether [`Run::fix`] had to do something.
#[derive(PartialEq, Eq)]
pub(super) enum Fixed {
    Nothing,
    Something,
}

pub(super) fn unchanged(kind: EntryKind) -> Change {
    Change {
        update: Update::Attributes,
        kind,
        new: false,
        content: false,
        size: false,
        time: None,
        perms: false,
        owner: false,
        group: false,
    }
}

pub(super) fn differences(existing: &Stat, wanted: &Wanted, kind: EntryKind) -> Change {
    Change {
        perms: wanted.mode.is_some_and(|mode| mode != existing.mode),
        owner: wanted.uid.is_some_and(|uid| uid != existing.uid),
        group: wanted.gid.is_some_and(|gid| gid != existing.gid),
        ..unchanged(kind)
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
