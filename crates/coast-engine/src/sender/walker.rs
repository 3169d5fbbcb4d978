//! Walks the source and offers it, directory by directory.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use coast_filter::{DirFilter, Filter, FilterError, NoMergeFiles};
use coast_tree::state::{STAGING_INSIDE, STATE_INSIDE};
use coast_tree::{
    ContentHash, DirHandle, FileIdentity, Kind, Listed, LockExt, Name, OwnerNames, RelPath, Stat, Timestamp,
    Visit, walk, walk_from,
};
use coast_wire::limits::MAX_PART_ENTRIES;
use coast_wire::{
    Class, Entry, Event, OwnerName, Pack, Part, PartDigest, ProblemKind, Range, ToReceiver, What,
};

use super::Run;
use super::answer::has_vanished;
use super::batch::Batch;
use super::offer::{OfferedEntry, OfferedFile, OfferedPart};
use super::source::Selection;
use super::unasked::{self, Unasked};
use crate::known_contents::Known;
use crate::merge::{TreeMergeFiles, Whose};
use crate::monitor::add;
use crate::stop::{SendError, Stopped};
use crate::{filter_kind, wire_time};

/// Bytes of names and targets at which a part is closed, far below what a frame may hold.
const PART_BYTES: usize = 1 << 20;

/// Said of a directory that a run without recursion does not enter.
const NOT_RECURSIVE: &str = "skipping the directory; add -r to send it with everything in it";

/// What of the source is walked.
pub(super) struct Walk {
    pub(super) selection: Selection,
    /// Some paths of the selection; none for all of it.
    pub(super) batch: Option<Batch>,
}

pub(super) struct Walker<'a> {
    pub(super) run: &'a Run<'a>,
    filter: Filter,
    selection: Selection,
    /// The paths that are offered; none for all of the selection.
    batch: Option<Batch>,
    /// New paths of renamed entries. The receiver may have their contents.
    renamed: Vec<RelPath>,
    pub(super) files: TreeMergeFiles,
    names: Option<OwnerNames>,
    /// The owners whose names were sent. The lock is held while a name is sent, so that no other thread sends an entry of the
    /// owner before the name.
    told_owners: Mutex<HashSet<(OwnerKind, u32)>>,
}

#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum OwnerKind {
    User,
    Group,
}

/// Handed down by a directory to its children: its filter, and the part that offered each of them.
pub(super) struct Above {
    pub(super) filter: DirFilter,
    pub(super) part: Option<u32>,
}

/// An entry with all that is sent of it.
pub(super) struct Found {
    name: Name,
    stat: Stat,
    target: Vec<u8>,
    hash: Option<ContentHash>,
    /// What is known of it besides the cache, and when it was looked at.
    known: Option<(Known, Timestamp)>,
    /// The content, if it goes with the offer.
    content: Option<Unasked>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(run: &'a Run<'a>, filter: Filter, Walk { selection, batch }: Walk) -> Self {
        let files = TreeMergeFiles::new(run.root.clone(), Whose::Sender(run.absolute.clone()));
        let names = (run.options.owner || run.options.group).then(OwnerNames::load);
        let renamed = run.options.follow.iter().flat_map(|follow| &follow.renamed);
        let renamed = renamed.filter_map(|renamed| RelPath::new(&renamed.to).ok()).collect();
        Self { run, filter, selection, batch, renamed, files, names, told_owners: Mutex::default() }
    }

    /// Offers everything, then says that this was all. Ends early when the run stops.
    pub(super) fn walk(&self, threads: usize) {
        let _: Result<(), Stopped> = self.try_walk(threads);
    }

    fn try_walk(&self, threads: usize) -> Result<(), Stopped> {
        self.start()?;
        if self.run.await_ready {
            crossbeam_channel::select! {
                recv(self.run.ready.receiver) -> _ => {}
                recv(self.run.stop.stopped()) -> _ => return Err(Stopped),
            }
        }
        if matches!(self.selection, Selection::All) && !self.run.options.recursive {
            self.skipped(b".", NOT_RECURSIVE);
        } else {
            self.offer_root()?;
            // The directory around a single named entry is no part of the transfer, and its rule files do not count.
            let root = match &self.selection {
                Selection::All => self.filter.root(&self.files),
                Selection::Only(_) => self.filter.root(&NoMergeFiles),
            };
            match (root, &self.selection) {
                (Ok(filter), Selection::All) => {
                    let above = Above { filter, part: None };
                    match self.batch.as_ref().filter(|batch| !batch.is_everything()) {
                        Some(batch) => self.walk_batch(batch, threads, above)?,
                        None => walk(&self.run.root, threads, self, above),
                    }
                }
                (Ok(filter), Selection::Only(name)) => {
                    self.walk_entry(name, threads, Above { filter, part: None });
                }
                (Err(error), _) => self.rules_failed(b".", error)?,
            }
        }
        if self.run.stop.is_stopped() {
            return Err(Stopped);
        }
        self.run.progress.walk_done.store(1, Ordering::Release);
        self.run.tell(&ToReceiver::WalkDone { source_errors: self.run.source_errors.load(Ordering::Acquire) })
    }

    /// Offers one entry of the root and all that is below it. The root itself is not listed: it may be large, or unreadable.
    fn walk_entry(&self, name: &Name, threads: usize, above: Above) {
        let dir = self.run.root.handle();
        let listed = match dir.stat(name) {
            Ok(stat) => stat.map(|stat| Listed { name: name.clone(), kind: stat.kind, ino: stat.ino }),
            Err(error) => return self.directory_failed(&name.clone().into(), &error),
        };
        if listed.is_none() {
            self.run.problem(name.as_bytes(), ProblemKind::Vanished, "it vanished before it was read");
        }
        for (name, above) in self.directory(&RelPath::root(), &dir, above, listed.into_iter().collect()) {
            walk_from(&self.run.root, &name.into(), threads, self, above);
        }
    }

    /// Sends the options, in a frame of their own: the receiver makes itself ready before it reads on.
    fn start(&self) -> Result<(), Stopped> {
        match super::sealed(&ToReceiver::Start(self.run.options.clone())) {
            Ok(frame) => self.run.outbox.send(frame),
            Err(error) => self.run.stop.check_sent(Err(error.into())),
        }
    }

    /// The root's own attributes, when the root is part of what is sent.
    fn offer_root(&self) -> Result<(), Stopped> {
        if !matches!(self.selection, Selection::All) {
            return Ok(());
        }
        match self.run.root.handle().stat_self() {
            Ok(stat) => {
                self.tell_owner(&stat)?;
                self.run.tell(&ToReceiver::Root(self.entry(b"", &stat, What::Directory)))
            }
            Err(error) => {
                self.run.problem(
                    b"",
                    ProblemKind::SourceRead,
                    &format!("cannot read its attributes: {error}"),
                );
                Ok(())
            }
        }
    }

    fn entry<'e>(&self, name: &'e [u8], stat: &Stat, what: What<'e>) -> Entry<'e> {
        let options = &self.run.options;
        Entry {
            name,
            what,
            mode: u16::try_from(stat.mode & 0o7777).expect("masked to twelve bits"),
            mtime: options.times.then(|| wire_time(stat.mtime)),
            owner: (options.owner || options.group).then_some((stat.uid, stat.gid)),
        }
    }

    /// Sends the names of an entry's owners before the first entry that has them.
    fn tell_owner(&self, stat: &Stat) -> Result<(), Stopped> {
        let Some(names) = &self.names else { return Ok(()) };
        for (kind, id, name) in [
            (OwnerKind::User, stat.uid, names.user(stat.uid)),
            (OwnerKind::Group, stat.gid, names.group(stat.gid)),
        ] {
            let mut told = self.told_owners.enter();
            if told.insert((kind, id))
                && let Some(name) = name
            {
                let name = vec![OwnerName { id, name }];
                self.run.tell(&match kind {
                    OwnerKind::User => ToReceiver::Owners { users: name, groups: Vec::new() },
                    OwnerKind::Group => ToReceiver::Owners { users: Vec::new(), groups: name },
                })?;
            }
        }
        Ok(())
    }

    /// Rules that are wrong end the run: they may hide or protect anything. A file of them that cannot be read is
    /// like any other that cannot.
    pub(super) fn rules_failed(&self, path: &[u8], error: FilterError) -> Result<(), Stopped> {
        match error {
            FilterError::Read { .. } => {
                self.run.problem(path, ProblemKind::SourceRead, &error.to_string());
                Ok(())
            }
            error => {
                self.run.stop.fail(error.into());
                Err(Stopped)
            }
        }
    }

    fn skipped(&self, path: &[u8], text: &str) {
        self.run.monitor.event(&Event::Problem { path, kind: ProblemKind::Skipped, text });
    }

    /// The entries of a directory that take part, with all that is sent of them.
    pub(super) fn find(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        filter: &DirFilter,
        listed: Vec<Listed>,
    ) -> Vec<Found> {
        let records = self.run.cache.directory(path);
        if let Some(known) = &self.run.known {
            known.enter(path, &listed);
        }
        let mut found = Vec::with_capacity(listed.len());
        let cached = |name: &Name, identity: &FileIdentity| {
            records.as_ref().and_then(|records| records.get(name, identity))
        };
        for Listed { name, kind, .. } in listed {
            if name.as_bytes() == STAGING_INSIDE.as_bytes() {
                let full = path.join(&name).unwrap_or_else(|_| path.clone());
                self.skipped(
                    full.as_bytes(),
                    "skipping it: the name is reserved for this program's staging directories",
                );
                continue;
            }
            // The state directory of a receiver, if the source is the destination of other runs.
            let is_state = path.is_root() && name.as_bytes() == STATE_INSIDE.as_bytes();
            if is_state && matches!(self.selection, Selection::All) {
                continue;
            }
            if filter.excludes(name.as_bytes(), filter_kind(kind)) {
                continue;
            }
            if kind == Kind::Directory && !self.run.options.recursive {
                self.skipped(name.as_bytes(), NOT_RECURSIVE);
                continue;
            }
            match self.look((path, dir), name.clone(), cached, self.may_send_unasked(path, &name)) {
                Ok(Some(mut entry)) => {
                    self.offer_as_staged(path, &mut entry);
                    found.push(entry);
                }
                Ok(None) => {
                    self.entry_problem(path, &name, ProblemKind::Vanished, "it vanished before it was read")
                }
                Err(error) => {
                    self.entry_problem(
                        path,
                        &name,
                        ProblemKind::SourceRead,
                        &format!("cannot read its attributes: {error}"),
                    );
                }
            }
        }
        found
    }

    /// Offers a large file as the run before has staged it, whatever was written to it since: the next change of it brings that. A file
    /// that has become small is offered as it is, because other runs do not leave it for this one, and may have brought it.
    fn offer_as_staged(&self, directory: &RelPath, entry: &mut Found) {
        let may_be_staged = !self.run.staged_before.is_empty()
            && entry.stat.kind == Kind::File
            && entry.stat.size > self.run.defer_above();
        let path = may_be_staged.then(|| directory.join(&entry.name).ok()).flatten();
        if let Some(staged) = path.and_then(|path| self.run.staged_before.get(&path)) {
            (entry.stat.size, entry.stat.mtime, entry.hash) = (staged.size, staged.mtime, Some(staged.hash));
        }
    }

    /// Whether the receiver will probably ask for the content of a file.
    fn may_send_unasked(&self, directory: &RelPath, name: &Name) -> bool {
        let is_renamed = |to: &RelPath| {
            directory.starts_with(to)
                || (to.file_name().as_ref() == Some(name) && to.parent().as_ref() == Some(directory))
        };
        self.batch.is_some() && !self.renamed.iter().any(is_renamed)
    }

    fn look(
        &self,
        (path, dir): (&RelPath, &DirHandle),
        name: Name,
        cached: impl Fn(&Name, &FileIdentity) -> Option<ContentHash>,
        may_send_unasked: bool,
    ) -> io::Result<Option<Found>> {
        let observed_at = Timestamp::now();
        let Some(mut stat) = dir.stat(&name)? else { return Ok(None) };
        let target = if stat.kind == Kind::Symlink && self.run.options.links {
            match dir.read_link(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                target => target?,
            }
        } else {
            Vec::new()
        };
        let hash = (stat.kind == Kind::File).then(|| cached(&name, &FileIdentity::from(&stat))).flatten();
        let known = match &self.run.known {
            Some(known) if stat.kind == Kind::File && hash.is_none() => {
                Some((known.look_up(path, &name, &stat), observed_at))
            }
            _ => None,
        };
        let hash = match known {
            Some((Known::Content(hash), _)) => Some(hash),
            _ => hash,
        };
        let content = match hash {
            // What the cache knows was probably sent by an earlier run.
            None if may_send_unasked => unasked::read(&self.run.window, dir, &name, &mut stat)?,
            _ => None,
        };
        let hash = content.as_ref().map_or(hash, |content| Some(content.hash));
        Ok(Some(Found { name, stat, target, hash, known, content }))
    }

    pub(super) fn entry_problem(&self, path: &RelPath, name: &Name, kind: ProblemKind, text: &str) {
        let full = path.join(name).map_or_else(|_| path.as_bytes().to_vec(), |full| full.as_bytes().to_vec());
        self.run.problem(&full, kind, text);
    }

    /// Offers one directory in as many parts as it needs; returns its subdirectories.
    fn offer(
        &self,
        path: &RelPath,
        parent: Option<u32>,
        found: &[Found],
        complete: bool,
    ) -> Result<Vec<(Name, u32)>, Stopped> {
        let mut children = Vec::new();
        let mut after = None;
        let mut rest = found;
        loop {
            let (entries, others) = rest.split_at(part_len(rest));
            rest = others;
            let last = rest.is_empty();
            let range = if complete { Range::Names { after, last } } else { Range::Listed };
            children.extend(self.offer_entries(path, parent, range, entries)?);
            if last {
                return Ok(children);
            }
            after = entries.last().map(|entry| serde_bytes::Bytes::new(entry.name.as_bytes()));
        }
    }

    /// Offers entries of a directory as one part; returns the subdirectories among them.
    pub(super) fn offer_entries<'f>(
        &self,
        path: &RelPath,
        parent: Option<u32>,
        range: Range<'_>,
        entries: &'f [Found],
    ) -> Result<impl Iterator<Item = (Name, u32)> + use<'f>, Stopped> {
        let id = self.run.offers.new_id();
        self.offer_part(id, path, parent, range, entries)?;
        let directories = entries.iter().filter(|entry| entry.stat.kind == Kind::Directory);
        Ok(directories.map(move |entry| (entry.name.clone(), id)))
    }

    fn offer_part(
        &self,
        id: u32,
        path: &RelPath,
        parent: Option<u32>,
        range: Range<'_>,
        found: &[Found],
    ) -> Result<(), Stopped> {
        let lacking = if let Range::Lacks(names) = &range { names.len() } else { 0 };
        self.run.window.acquire(found.len() + lacking + 1)?;
        for entry in found {
            self.tell_owner(&entry.stat)?;
        }
        self.count(found);
        let entries: Vec<_> =
            found.iter().map(|entry| self.entry(entry.name.as_bytes(), &entry.stat, what(entry))).collect();
        let digest = match range {
            Range::Names { after, last } => self.run.digests.digest(&entries).map(|digest| PartDigest {
                id,
                parent,
                path: path.as_bytes(),
                after,
                up_to: found
                    .last()
                    .filter(|_| !last)
                    .map(|last| serde_bytes::Bytes::new(last.name.as_bytes())),
                entries: u32::try_from(found.len()).expect("a part has at most MAX_PART_ENTRIES"),
                digest,
            }),
            Range::Listed | Range::Lacks(_) => None,
        };
        let whole = ToReceiver::Part(Part { id, parent, path: path.as_bytes(), range, entries });
        let mut unsent = None;
        if digest.is_some() {
            let mut pack = Pack::new(Class::Control);
            self.run.stop.check_sent(pack.push(&whole).map_err(SendError::from))?;
            // What waits for an answer takes memory.
            unsent = Some(pack).filter(|pack| pack.len() <= found.len() * MAX_UNSENT_ENTRY_BYTES);
        }
        let digest = digest.filter(|_| unsent.is_some());
        self.run.offers.insert(OfferedPart {
            id,
            path: path.clone(),
            lacking,
            unasked_bytes: found.iter().map(Found::content_bytes).sum(),
            entries: found.iter().map(Found::to_offer).collect(),
            unsent: Mutex::new(unsent),
        });
        match digest {
            Some(digest) => self.run.tell(&ToReceiver::Digest(digest)),
            None => self.run.tell(&whole),
        }
    }

    /// Tells of a directory that cannot be read.
    pub(super) fn directory_failed(&self, path: &RelPath, error: &io::Error) {
        match error {
            error if has_vanished(error) => {
                self.run.problem(path.as_bytes(), ProblemKind::Vanished, "it vanished before it was read");
            }
            _ => {
                let text = format!("cannot read the directory: {error}");
                self.run.problem(path.as_bytes(), ProblemKind::SourceRead, &text);
            }
        }
    }

    fn count(&self, found: &[Found]) {
        let of = |kind| found.iter().filter(move |entry| entry.stat.kind == kind);
        let files = of(Kind::File).count() as u64;
        let directories = of(Kind::Directory).count() as u64;
        let bytes = of(Kind::File).map(|entry| entry.stat.size).sum();
        self.run.count(|stats| {
            stats.files += files;
            stats.directories += directories;
            stats.others += found.len() as u64 - files - directories;
            stats.total_bytes += bytes;
        });
        add(&self.run.progress.offered_entries, found.len() as u64);
        add(&self.run.progress.offered_bytes, bytes);
        add(&self.run.progress.sent_bytes, found.iter().map(|entry| entry.content_bytes() as u64).sum());
    }
}

impl Visit for Walker<'_> {
    type Context = Above;

    fn directory(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        above: Above,
        listed: Vec<Listed>,
    ) -> Vec<(Name, Above)> {
        let mut complete = !(path.is_root() && matches!(self.selection, Selection::Only(_)));
        let filter = match path.file_name().map(|name| above.filter.enter(name.as_bytes(), &self.files)) {
            None => above.filter,
            Some(Ok(filter)) => filter,
            Some(Err(error)) => {
                if let Err(Stopped) = self.rules_failed(path.as_bytes(), error) {
                    return Vec::new();
                }
                complete = false;
                above.filter
            }
        };
        let found = self.find(path, dir, &filter, listed);
        match self.offer(path, above.part, &found, complete) {
            Ok(children) => children
                .into_iter()
                .map(|(name, part)| (name, Above { filter: filter.clone(), part: Some(part) }))
                .collect(),
            Err(Stopped) => Vec::new(),
        }
    }

    fn failed(&self, path: &RelPath, _: Above, error: io::Error) {
        self.directory_failed(path, &error);
    }

    fn stop(&self) -> bool {
        self.run.stop.is_stopped()
    }
}

/// A part whose entries take more bytes than this, on average, is not sent as a digest.
const MAX_UNSENT_ENTRY_BYTES: usize = 256;

/// How many of the entries go into the next part.
pub(super) fn part_len(entries: &[Found]) -> usize {
    let mut bytes = 0;
    let full = |entry: &Found| {
        bytes += entry.name.as_bytes().len() + entry.target.len() + entry.content_bytes() + 64;
        bytes > PART_BYTES
    };
    entries.iter().take(MAX_PART_ENTRIES).position(full).unwrap_or(entries.len().min(MAX_PART_ENTRIES))
}

impl Found {
    /// Bytes of content that go with the offer.
    fn content_bytes(&self) -> usize {
        self.content.as_ref().map_or(0, |content| content.bytes.len())
    }

    /// Whether its hash may be remembered for later runs. A hash from the cache always may.
    fn is_settled(&self, identity: &FileIdentity) -> bool {
        self.known.is_none_or(|(_, observed_at)| OfferedFile::is_settled(identity, observed_at))
    }

    /// What is remembered of it until it is settled.
    fn to_offer(&self) -> OfferedEntry {
        let file = (self.stat.kind == Kind::File).then(|| {
            let identity = FileIdentity::from(&self.stat);
            let file = OfferedFile {
                identity,
                known_hash: self.hash.filter(|_| self.content.is_none() && self.is_settled(&identity)),
                content_name: match self.known {
                    Some((Known::Named(name), _)) => Some(name),
                    _ => None,
                },
                found_hash: OnceLock::new(),
                told: Mutex::default(),
                asked: AtomicBool::new(false),
                attempts: AtomicU32::new(0),
            };
            if let Some(content) = &self.content {
                file.found(identity, content.hash, content.observed_at);
            }
            file
        });
        OfferedEntry { name: self.name.clone(), file }
    }
}

fn what(entry: &Found) -> What<'_> {
    match entry.stat.kind {
        Kind::File => What::File {
            size: entry.stat.size,
            hash: entry.hash.map(|hash| *hash.as_bytes()),
            content: entry.content.as_ref().map(|content| serde_bytes::Bytes::new(&content.bytes)),
        },
        Kind::Directory => What::Directory,
        Kind::Symlink => What::Symlink(&entry.target),
        Kind::Fifo => What::Fifo,
        Kind::Socket => What::Socket,
        Kind::CharDevice => What::CharDevice(entry.stat.rdev),
        Kind::BlockDevice => What::BlockDevice(entry.stat.rdev),
    }
}
