//! Looks at a directory of the destination and decides, for each entry, what has to be done.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use coast_delta::MIN_BASIS;
use coast_tree::{
    ContentHash, DirHandle, DirRecords, FileIdentity, Kind, Listed, Name, Record, Stat, Timestamp, hash_file,
};
use coast_wire::{Change, EntryKind, Event, Need, ProblemKind, TimeChange, ToSender, Update, Want};

use super::attributes::Wanted;
use super::finish::LateDirectory;
use super::lane::Lane;
use super::parts::{FileState, LivePart, NameRange, WantedEntry, WantedWhat};
use super::staging::Staged;
use super::{Run, Stopped};
use crate::error::EngineError;

/// What workers do beside applying content.
pub(super) enum Work {
    /// Look at a directory.
    LookAt(Arc<LivePart>),
    /// Compare a file with the sender's hash.
    Compare(Arc<LivePart>, u32, ContentHash),
    /// Make a signature of a file's basis.
    Sign(Arc<LivePart>, u32),
}

/// An entry, and what is at its place now.
pub(super) struct Site<'a> {
    pub(super) part: &'a Arc<LivePart>,
    pub(super) index: u32,
    pub(super) entry: &'a WantedEntry,
    /// The directory it is in; none only in a dry run that would have made it.
    pub(super) dir: Option<&'a DirHandle>,
    pub(super) existing: Option<Stat>,
    /// The system's time from before that was looked at.
    pub(super) observed_at: Timestamp,
}

impl Site<'_> {
    pub(super) fn path(&self) -> Vec<u8> {
        full_path(self.part, &self.entry.name)
    }
}

pub(super) fn full_path(part: &LivePart, name: &Name) -> Vec<u8> {
    if part.path.is_root() {
        name.as_bytes().to_vec()
    } else {
        [part.path.as_bytes(), b"/", name.as_bytes()].concat()
    }
}

impl Run<'_> {
    pub(super) fn do_work(&self, work: Work) -> Result<(), EngineError> {
        let done = match work {
            Work::LookAt(part) => self.look_at(&part),
            Work::Compare(part, index, theirs) => {
                let compared = self.revisit(&part, index, |site| self.compare(site, theirs));
                self.or_fail(&part, index, compared)
            }
            Work::Sign(part, index) => {
                let signed = self.revisit(&part, index, |site| self.sign(site));
                self.or_fail(&part, index, signed)
            }
        };
        match done {
            Ok(()) | Err(Failure::Stopped) => Ok(()),
            Err(Failure::Run(error)) => Err(error),
            Err(Failure::Entry(doing, error)) => Err(EngineError::FileIo { doing: doing.to_owned(), error }),
        }
    }

    /// Opens an entry's directory again, for work that was put off.
    pub(super) fn revisit<T>(
        &self,
        part: &Arc<LivePart>,
        index: u32,
        work: impl FnOnce(&Site<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let observed_at = Timestamp::now();
        let entry = &part.entries[index as usize];
        let dir =
            self.directory(&part.path).map_err(|error| Failure::Entry("cannot open its directory", error))?;
        let existing = match &dir {
            Some(dir) => {
                dir.stat(&entry.name).map_err(|error| Failure::Entry("cannot read its attributes", error))?
            }
            None => None,
        };
        work(&Site { part, index, entry, dir: dir.as_ref(), existing, observed_at })
    }

    /// Settles an entry that failed, unless what failed it would fail everything.
    pub(super) fn or_fail(
        &self,
        part: &Arc<LivePart>,
        index: u32,
        done: Result<(), Failure>,
    ) -> Result<(), Failure> {
        match done {
            Err(Failure::Entry(doing, error)) => {
                self.report(part, index, doing, error)?;
                Ok(self.settle(part)?)
            }
            done => done,
        }
    }

    /// Tells of an entry that failed; ends the run when the reason would fail every entry to come.
    pub(super) fn report(
        &self,
        part: &LivePart,
        index: u32,
        doing: &'static str,
        error: io::Error,
    ) -> Result<(), Failure> {
        let path = full_path(part, &part.entries[index as usize].name);
        if Self::is_fatal(&error) {
            let doing = format!("{}: {doing}", path.escape_ascii());
            return Err(Failure::Run(EngineError::FileIo { doing, error }));
        }
        self.problem(&path, doing, &error);
        Ok(())
    }

    /// One entry is done with; forgets the part with its last one.
    pub(super) fn settle(&self, part: &Arc<LivePart>) -> Result<(), Stopped> {
        if !part.settle_one() {
            return Ok(());
        }
        let records =
            std::mem::take(&mut *part.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        self.cache.append(&part.path, records);
        // Counted out before the sender is told that it has room again, and told before the run can end.
        let last = self.parts.settle(part);
        self.tell(&ToSender::Settled { part: part.id })?;
        if last {
            self.all_settled();
        }
        Ok(())
    }

    fn look_at(&self, part: &Arc<LivePart>) -> Result<(), Failure> {
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
                dir.unlink(name)
                    .map_err(|error| Failure::Entry("cannot remove what is in the way", error))?;
            }
            let mode = wanted.mode.unwrap_or(0o755);
            let made = dir.mkdir(name, mode | 0o700);
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
        let pushed = self.late_directories.push(&LateDirectory { path, mode, mtime });
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
    fn fix(&self, site: &Site<'_>, existing: &Stat, now: &Wanted, wanted: &Wanted) -> Result<Fixed, Failure> {
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

/// Whether a file that was looked at twice was not written to between; its attributes may have changed.
pub(super) fn is_same_content(before: &Stat, after: &Stat) -> bool {
    (before.ino, before.size, before.mtime) == (after.ino, after.size, after.mtime)
}

/// Whether [`Run::fix`] had to do something.
#[derive(PartialEq, Eq)]
enum Fixed {
    Nothing,
    Something,
}

fn unchanged(kind: EntryKind) -> Change {
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

fn differences(existing: &Stat, wanted: &Wanted, kind: EntryKind) -> Change {
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

/// Why an entry's work did not end well.
pub(super) enum Failure {
    Stopped,
    /// It cannot be done for this entry: what was being done, and what the system answered.
    Entry(&'static str, io::Error),
    /// The run cannot go on.
    Run(EngineError),
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

pub(super) fn spill_failed(error: io::Error) -> EngineError {
    EngineError::FileIo { doing: "keeping a list in the private state directory".to_owned(), error }
}

/// Questions about the files of one part, sent together.
#[derive(Default)]
pub(super) struct Asks(Vec<(u32, Question)>);

/// What is asked of the sender, without a signature.
#[derive(Clone, Copy)]
enum Question {
    Hash,
    Content,
}

impl Asks {
    fn send(self, run: &Run<'_>, part: &LivePart) -> Result<(), Stopped> {
        if self.0.is_empty() {
            return Ok(());
        }
        let want = |question| match question {
            Question::Hash => Want::Hash,
            Question::Content => Want::Content,
        };
        let needs =
            self.0.into_iter().map(|(index, question)| Need { index, want: want(question) }).collect();
        run.tell(&ToSender::Needs { part: part.id, needs })
    }
}

/// Files.
impl Run<'_> {
    fn decide_file(
        &self,
        site: &Site<'_>,
        size: u64,
        theirs: Option<ContentHash>,
        cached: Option<&DirRecords>,
        asks: &mut Asks,
    ) -> Result<(), Failure> {
        let Some(existing) = site.existing.filter(|existing| existing.kind == Kind::File) else {
            return self.decide_missing(site, size, theirs, asks);
        };
        let identity = FileIdentity::from(&existing);
        let ours = cached.and_then(|cached| cached.get(&site.entry.name, &identity));
        let quick = self.options.times
            && !self.options.checksum
            && site.entry.mtime.is_some_and(|mtime| same_time(mtime, existing.mtime));
        if existing.size != size {
            return self.transfer(site, asks);
        }
        match (ours, theirs) {
            _ if quick => self.same(site, &existing, ours),
            (Some(ours), Some(theirs)) if ours == theirs => self.same(site, &existing, Some(ours)),
            (Some(_), Some(_)) => self.transfer(site, asks),
            (None, Some(theirs)) => {
                self.enqueue(Work::Compare(site.part.clone(), site.index, theirs));
                Ok(())
            }
            (_, None) => {
                *site.entry.state() = FileState::Hash;
                asks.0.push((site.index, Question::Hash));
                Ok(())
            }
        }
    }

    /// Nothing of its kind is there; but maybe the tree has its content elsewhere.
    fn decide_missing(
        &self,
        site: &Site<'_>,
        size: u64,
        theirs: Option<ContentHash>,
        asks: &mut Asks,
    ) -> Result<(), Failure> {
        self.remember_in_the_way(site)?;
        if size > 0 && !self.options.dry_run && self.cache.has_size(size) {
            match theirs {
                Some(theirs) => self.enqueue(Work::Compare(site.part.clone(), site.index, theirs)),
                None => {
                    *site.entry.state() = FileState::Hash;
                    asks.0.push((site.index, Question::Hash));
                }
            }
            return Ok(());
        }
        self.transfer(site, asks)
    }

    /// The sender's hash is known; ours is computed if there is a file to compare.
    pub(super) fn compare(&self, site: &Site<'_>, theirs: ContentHash) -> Result<(), Failure> {
        let WantedWhat::File { size, .. } = site.entry.what else { return Ok(()) };
        let mut asks = Asks::default();
        match (site.existing.filter(|existing| existing.kind == Kind::File), site.dir) {
            (Some(existing), Some(dir)) if existing.size == size => {
                let ours = self.hash_existing(dir, &site.entry.name, &existing);
                match ours.map_err(|error| Failure::Entry("cannot read it to compare it", error))? {
                    Some(ours) if ours == theirs => return self.same(site, &existing, Some(ours)),
                    _ => self.transfer(site, &mut asks)?,
                }
            }
            (None, Some(dir)) if self.clone_from_elsewhere(site, dir, size, theirs)? => return Ok(()),
            _ => self.transfer(site, &mut asks)?,
        }
        Ok(asks.send(self, site.part)?)
    }

    /// The hash of a file that is there; none when it changed meanwhile.
    fn hash_existing(&self, dir: &DirHandle, name: &Name, stat: &Stat) -> io::Result<Option<ContentHash>> {
        let (mut file, opened) = dir.open_file(name)?;
        let (hash, _) = hash_file(&mut file, &mut Vec::new())?;
        let unchanged = FileIdentity::from(&opened) == FileIdentity::from(stat)
            && FileIdentity::from(&coast_tree::file_stat(&file)?) == FileIdentity::from(stat);
        Ok(unchanged.then_some(hash))
    }

    /// The content is right: only attributes may differ.
    fn same(&self, site: &Site<'_>, existing: &Stat, ours: Option<ContentHash>) -> Result<(), Failure> {
        let wanted = self.attributes.wanted(site.entry, Some(existing));
        let fixed = self.fix(site, existing, &wanted, &wanted)?;
        if let (Some(hash), Some(dir)) = (ours, site.dir) {
            match fixed {
                Fixed::Nothing => self.remember(site, hash, existing, site.observed_at),
                // The new attributes made it another identity.
                Fixed::Something => {
                    self.remember_changed(site, hash, existing, || dir.stat(&site.entry.name))
                }
            }
        }
        Ok(self.settle(site.part)?)
    }

    /// Remembers a hash for the next run, if the file's identity will tell this state apart from later ones.
    fn remember(&self, site: &Site<'_>, hash: ContentHash, stat: &Stat, observed_at: Timestamp) {
        let identity = FileIdentity::from(stat);
        if self.clock_step.is_some_and(|step| step.settled(&identity, observed_at)) {
            site.part.remember(Record { name: site.entry.name.clone(), stat: identity, hash });
        }
    }

    /// The same after the run itself gave the file a new ctime. `before` is from when the content was known: if size
    /// and mtime are still those, nobody else has written to it between.
    pub(super) fn remember_changed(
        &self,
        site: &Site<'_>,
        hash: ContentHash,
        before: &Stat,
        stat: impl FnOnce() -> io::Result<Option<Stat>>,
    ) {
        let observed_at = Timestamp::now();
        if let Ok(Some(after)) = stat()
            && is_same_content(before, &after)
        {
            self.remember(site, hash, &after, observed_at);
        }
    }

    /// Content has to come from the sender: as a delta where there is a useful basis.
    fn transfer(&self, site: &Site<'_>, asks: &mut Asks) -> Result<(), Failure> {
        let WantedWhat::File { size, .. } = site.entry.what else { return Ok(()) };
        if self.options.dry_run {
            self.count(|stats| {
                stats.transferred_files += 1;
                stats.transferred_bytes += size;
            });
            self.created(site, EntryKind::File, Update::Transferred);
            return Ok(self.settle(site.part)?);
        }
        let useful = |basis_len: u64| basis_len >= MIN_BASIS && size >= MIN_BASIS;
        let existing = site.existing.filter(|existing| existing.kind == Kind::File);
        if existing.is_some_and(|existing| useful(existing.size)) || self.has_partial(site) {
            self.enqueue(Work::Sign(site.part.clone(), site.index));
        } else {
            *site.entry.state() = FileState::Transfer(Arc::new(Lane::new(None, 0, site.existing)));
            asks.0.push((site.index, Question::Content));
        }
        Ok(())
    }

    /// The sender could not send a file it had offered.
    pub(super) fn source_failed(
        &self,
        part: &Arc<LivePart>,
        reason: coast_wire::Gone,
    ) -> Result<(), Stopped> {
        if reason != coast_wire::Gone::Vanished {
            self.source_errors.store(true, Ordering::Release);
        }
        self.settle(part)
    }

    /// Asks for all content, after a delta did not lead to it.
    pub(super) fn ask_again(&self, site: &Site<'_>) -> Result<(), Stopped> {
        *site.entry.state() = FileState::Transfer(Arc::new(Lane::new(None, 0, site.existing)));
        let needs = vec![Need { index: site.index, want: Want::Content }];
        self.tell(&ToSender::Needs { part: site.part.id, needs })
    }
}
