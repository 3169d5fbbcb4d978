//! Looks at a directory of the destination and decides, for each entry, what has to be done.

use std::io;
use std::sync::Arc;

use coast_tree::{DirHandle, DirRecords, Kind, Listed, Name, Stat, Timestamp};
use coast_wire::{Change, EntryKind, Event, ProblemKind, TimeChange, Update};

use super::Run;
use super::asks::Asks;
use super::change::{differences, same_time, unchanged};
use super::finish::LateDirectory;
use super::parts::{LivePart, NameRange, WantedEntry, WantedWhat};
use super::site::{Failure, Site};
use super::spill::spill_failed;
use super::staging::Staged;
use super::wanted::Wanted;
use super::work::Work;
use crate::error::EngineError;

impl Run<'_> {
    /// Looks at a directory and settles what can be settled at once.
    pub(super) fn look_at(&self, part: &Arc<LivePart>) -> Result<(), Failure> {
        let listing = self.directory(&part.path).and_then(|dir| {
            let listed = dir.as_ref().map(DirHandle::list).transpose()?.unwrap_or_default();
            Ok((dir, listed))
        });
        match listing {
            Ok((dir, listed)) => self.look_at_entries(part, dir.as_ref(), listed)?,
            Err(error) => {
                self.problem(part.path.as_bytes(), "cannot read the directory", &error);
                for _ in &part.entries {
                    self.settle(part)?;
                }
            }
        }
        for waiting in self.parts.looked_at(part.id) {
            self.enqueue(Work::LookAt(waiting));
        }
        Ok(self.settle(part)?)
    }

    fn look_at_entries(
        &self,
        part: &Arc<LivePart>,
        dir: Option<&DirHandle>,
        mut listed: Vec<Listed>,
    ) -> Result<(), Failure> {
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let cached = self.cache.directory(&part.path);
        let mut asks = Asks::default();
        let mut listed = listed.into_iter().peekable();
        let mut extraneous = Vec::new();
        for (index, entry) in (0..).zip(&part.entries) {
            while let Some(other) = listed.next_if(|other| other.name < entry.name) {
                extraneous.push(other);
            }
            let found = listed.next_if(|other| other.name == entry.name).is_some();
            let observed_at = Timestamp::now();
            let existing = match dir.filter(|_| found).map(|dir| dir.stat(&entry.name)).transpose() {
                Ok(existing) => existing.flatten(),
                Err(error) => {
                    self.or_fail(part, index, Err(Failure::Entry("cannot read its attributes", error)))?;
                    continue;
                }
            };
            let site = Site { part, index, entry, dir, existing, observed_at };
            let decided = self.decide(&site, cached.as_ref(), &mut asks);
            self.or_fail(part, index, decided)?;
        }
        extraneous.extend(listed);
        asks.send(self, part)?;
        if let (Some(dir), NameRange::Names { after, up_to }) = (dir, &part.range) {
            extraneous.retain(|other| {
                after.as_ref().is_none_or(|after| other.name > *after)
                    && up_to.as_ref().is_none_or(|up_to| other.name <= *up_to)
                    && !self.reserved(part.path.is_root(), &other.name)
            });
            self.look_at_extraneous(&part.path, dir, extraneous)?;
        }
        Ok(())
    }

    fn decide(&self, site: &Site<'_>, cached: Option<&DirRecords>, asks: &mut Asks) -> Result<(), Failure> {
        if self.reserved(site.part.path.is_root(), &site.entry.name) {
            let text = "it has the name of this program's state directory at the destination, and was not transferred";
            self.count(|stats| stats.failed += 1);
            self.event(Event::Problem { path: &site.path(), kind: ProblemKind::Destination, text });
            return Ok(self.settle(site.part)?);
        }
        match &site.entry.what {
            WantedWhat::File { size, hash } => return self.decide_file(site, *size, *hash, cached, asks),
            WantedWhat::Directory => self.decide_directory(site)?,
            WantedWhat::Symlink(_) if !self.options.links => {
                self.skipped(&site.path(), "skipping a symlink: -l is not given");
            }
            WantedWhat::Symlink(target) => self.decide_symlink(site, target)?,
            WantedWhat::Special(kind, rdev) => {
                let root = rustix::process::geteuid().is_root();
                let taken =
                    if kind.is_device() { self.options.devices && root } else { self.options.specials };
                if taken {
                    self.decide_special(site, *kind, *rdev)?;
                } else {
                    self.skipped(&site.path(), "skipping a non-regular file");
                }
            }
        }
        Ok(self.settle(site.part)?)
    }

    fn decide_directory(&self, site: &Site<'_>) -> Result<(), Failure> {
        let wanted = self.attributes.wanted(site.entry, site.existing.as_ref());
        let name = &site.entry.name;
        if let Some(existing) = site.existing.filter(|existing| existing.kind == Kind::Directory) {
            // Its time changes with its entries, and its bits may forbid changing them: both come at the end.
            let mode_later = wanted.mode.is_some_and(|mode| mode & 0o700 != 0o700);
            let now = Wanted { mtime: None, mode: wanted.mode.filter(|_| !mode_later), ..wanted };
            self.fix(site, &existing, &now, &wanted)?;
            self.later(site.path(), wanted.mode.filter(|_| mode_later), wanted.mtime)?;
            return Ok(());
        }
        if !self.options.dry_run
            && let Some(dir) = site.dir
        {
            if site.existing.is_some() {
                self.change_in(&site.part.path, dir, || dir.unlink(name))
                    .map_err(|error| Failure::Entry("cannot remove what is in the way", error))?;
            }
            let mode = wanted.mode.unwrap_or(0o755);
            let made = self.change_in(&site.part.path, dir, || dir.mkdir(name, mode | 0o700));
            made.map_err(|error| Failure::Entry("cannot make the directory", error))?;
            let set = self.set_new_directory(dir, name, &wanted);
            set.map_err(|error| Failure::Entry("cannot set its attributes", error))?;
            self.later(site.path(), Some(mode).filter(|mode| mode & 0o700 != 0o700), wanted.mtime)?;
        }
        self.created(site, EntryKind::Directory, Update::Local);
        Ok(())
    }

    fn set_new_directory(&self, dir: &DirHandle, name: &Name, wanted: &Wanted) -> io::Result<()> {
        if wanted.uid.is_some() || wanted.gid.is_some() {
            dir.chown(name, wanted.uid, wanted.gid)?;
        }
        let masked =
            self.staging.as_ref().is_some_and(|staging| staging.masks(wanted.mode.unwrap_or(0) | 0o700));
        // The system ignores set-id bits when it makes a directory, or adds the parent's; with `-p` neither may be.
        match wanted.mode {
            Some(mode) if masked || self.options.perms || mode & 0o7000 != 0 => dir.chmod(name, mode | 0o700),
            _ => Ok(()),
        }
    }

    fn later(&self, path: Vec<u8>, mode: Option<u32>, mtime: Option<Timestamp>) -> Result<(), Failure> {
        if (mode.is_none() && mtime.is_none()) || self.options.dry_run {
            return Ok(());
        }
        let mtime = mtime.map(|mtime| (mtime.secs(), mtime.nanos()));
        let pushed =
            self.lists.late_directories.push(&LateDirectory { path, mode, mtime, may_be_gone: false });
        pushed.map_err(|error| Failure::Run(spill_failed(error)))
    }

    /// The transfer root's own attributes.
    pub(super) fn look_at_root(&self, entry: &WantedEntry) -> Result<(), EngineError> {
        let Some(root) = &self.root else {
            self.tell_root(unchanged(EntryKind::Directory));
            return Ok(());
        };
        let handle = root.handle();
        let set = || -> io::Result<Wanted> {
            let existing = handle.stat_self()?;
            let wanted = self.attributes.wanted(entry, (!self.root_created).then_some(&existing));
            let differs = |wanted: Option<u32>, is: u32| wanted.is_some_and(|wanted| wanted != is);
            if !self.options.dry_run
                && (differs(wanted.uid, existing.uid) || differs(wanted.gid, existing.gid))
            {
                handle.chown_self(wanted.uid, wanted.gid)?;
                self.count(|stats| stats.chowned += 1);
            }
            let mut change = differences(&existing, &wanted, EntryKind::Directory);
            change.time =
                wanted.mtime.filter(|&mtime| !same_time(mtime, existing.mtime)).map(|_| TimeChange::Kept);
            self.tell_root(change);
            Ok(Wanted { mode: wanted.mode.filter(|&mode| mode != existing.mode), ..wanted })
        };
        match set() {
            Ok(wanted) => match self.later(Vec::new(), wanted.mode, wanted.mtime) {
                Err(Failure::Run(error)) => Err(error),
                _ => Ok(()),
            },
            Err(error) => {
                self.problem(b"", "cannot set the attributes of the directory", &error);
                Ok(())
            }
        }
    }

    fn tell_root(&self, change: Change) {
        let change = match self.root_created {
            true => Change { update: Update::Local, new: true, ..change },
            false => Change {
                owner: change.owner && self.options.owner,
                group: change.group && self.options.group,
                ..change
            },
        };
        if change.new || change.perms || change.owner || change.group || change.time.is_some() {
            self.changed(|| b".".to_vec(), change);
        }
    }

    fn decide_symlink(&self, site: &Site<'_>, target: &[u8]) -> Result<(), Failure> {
        let wanted = self.attributes.wanted(site.entry, site.existing.as_ref());
        if let (Some(existing), Some(dir)) =
            (site.existing.filter(|stat| stat.kind == Kind::Symlink), site.dir)
        {
            let is = dir.read_link(&site.entry.name);
            if is.map_err(|error| Failure::Entry("cannot read the symlink", error))? == target {
                self.fix(site, &existing, &wanted, &wanted)?;
                return Ok(());
            }
        }
        self.replace_with(site, EntryKind::Symlink, &wanted, |dir, name| dir.symlink(target, name))
    }

    fn decide_special(&self, site: &Site<'_>, kind: Kind, rdev: u64) -> Result<(), Failure> {
        let wanted = self.attributes.wanted(site.entry, site.existing.as_ref());
        let same = |stat: &Stat| stat.kind == kind && (!kind.is_device() || stat.rdev == rdev);
        if let Some(existing) = site.existing.filter(same) {
            self.fix(site, &existing, &wanted, &wanted)?;
            return Ok(());
        }
        let named = if kind.is_device() { EntryKind::Device } else { EntryKind::Special };
        let mode = wanted.mode.unwrap_or(0o600);
        self.replace_with(site, named, &wanted, |dir, name| dir.mknod(name, kind, mode, rdev))
    }

    /// Makes an entry without content and puts it in place.
    fn replace_with(
        &self,
        site: &Site<'_>,
        kind: EntryKind,
        wanted: &Wanted,
        make: impl FnOnce(&DirHandle, &Name) -> io::Result<()>,
    ) -> Result<(), Failure> {
        self.remember_in_the_way(site)?;
        if let (Some(staging), Some(dir)) = (&self.staging, site.dir) {
            let wanted = self.inherit_group(*wanted, dir, site.existing.as_ref())?;
            let staged = staging.entry(make).and_then(|staged: Staged| staged.set(&wanted).map(|()| staged));
            let staged = staged.map_err(|error| Failure::Entry("cannot make it", error))?;
            self.place(site, dir, staged)?;
        }
        self.created(site, kind, Update::Local);
        Ok(())
    }

    /// What is new in a directory with the set-group bit gets its group, as if it were made there.
    pub(super) fn inherit_group(
        &self,
        wanted: Wanted,
        dir: &DirHandle,
        existing: Option<&Stat>,
    ) -> Result<Wanted, Failure> {
        if wanted.gid.is_some() || existing.is_some() {
            return Ok(wanted);
        }
        let parent = dir
            .stat_self()
            .map_err(|error| Failure::Entry("cannot read its directory's attributes", error))?;
        let gid = Some(parent.gid).filter(|_| parent.mode & 0o2000 != 0);
        Ok(Wanted { gid, ..wanted })
    }
}
