//! The transfer: what was offered, what was asked for, and what is being put together.
//!
//! One reader takes frames from the stream ([`reader`]). Workers ([`worker`]) examine directories ([`examine`]), compare files
//! ([`compare`]), sign bases ([`signing`]) and apply content ([`content`]). Work that comes of directories is bounded by the
//! sender's window, so the reader never waits for it. Content waits in a short queue, which workers always drain, since they
//! can always send.

mod announced;
mod compare;
mod content;
mod examine;
mod file_transfer;
mod need_batch;
mod part;
mod parts;
mod reader;
mod renames;
mod signature_window;
mod signing;
mod work;
mod worker;

use std::collections::HashSet;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use coast_tree::{Kind, LockExt, Name, RelPath};
use coast_wire::{ConflictKind, Extent, Follow, Frame, Options, ToSender};

use super::deletion::Deletion;
use super::failure::{Blocked, Doing, Failure};
use super::report::Report;
use super::target::{DestinationEntry, Target};
use crate::channel::Channel;
use crate::digest::EntryDigester;
use crate::error::EngineError;
use crate::stop::{Stop, Stopped};
use part::{FileState, Part, PartEntry};
use parts::Parts;
use renames::Renames;
use signature_window::SignatureWindow;
use work::Work;

/// Frames of content that may wait for a worker, for each worker.
const QUEUED_FRAMES: usize = 3;

/// Less than this of an interrupted file, in bytes, is not worth keeping.
const MIN_PARTIAL_BYTES: u64 = 1 << 20;

/// The transfer of a run.
pub(super) struct Transfer<'a> {
    target: &'a Target<'a>,
    deletion: &'a Deletion<'a>,
    report: &'a Report<'a>,
    stop: &'a Stop,
    /// The new name of the one entry that is sent.
    rename: Option<Name>,
    taken: TakenKinds,
    /// Whether a file of equal size and time is taken for right (`-t` without `-c`).
    quick_check: bool,
    /// Larger files, in bytes, are left for another run.
    defer_above: u64,
    /// Whether the run is about some paths.
    some_paths: bool,
    /// Computes the digests of the destination's entries. None in a run whose digests say nothing of them.
    digester: Option<EntryDigester>,
    workers: NonZeroUsize,
    renames: Renames,
    parts: Parts,
    work: Channel<Work>,
    content: Channel<Frame>,
    settled: Channel<()>,
    /// Files of fewer bytes are asked for whole, because the link is fast.
    whole_below: AtomicU64,
    signatures: SignatureWindow<PartEntry>,
    source_errors: AtomicBool,
    /// Whether a directory could not be made: then missing directories below it are no surprise.
    missing_directories: AtomicBool,
    /// Directories of the source in whose place an entry of the destination is left as it is. No other lock is taken while it is held.
    conflicts: Mutex<HashSet<RelPath>>,
}

/// The kinds of entries, beside files and directories, that the options transfer.
struct TakenKinds {
    links: bool,
    devices: bool,
    specials: bool,
}

impl TakenKinds {
    fn takes_special(&self, kind: Kind) -> bool {
        if kind.is_device() { self.devices } else { self.specials }
    }
}

impl<'a> Transfer<'a> {
    pub(super) fn new(
        target: &'a Target<'a>,
        deletion: &'a Deletion<'a>,
        report: &'a Report<'a>,
        rename: Option<Name>,
        options: &Options,
        workers: NonZeroUsize,
        stop: &'a Stop,
    ) -> Result<Self, EngineError> {
        // Only root makes devices.
        let devices = options.devices && rustix::process::geteuid().is_root();
        let digester = EntryDigester::of(options).filter(|_| rename.is_none());
        Ok(Self {
            target,
            deletion,
            report,
            stop,
            rename,
            taken: TakenKinds { links: options.links, devices, specials: options.specials },
            // A program that edits files may keep their sizes and set their times back, and the event of the edit comes once.
            quick_check: options.times && !options.checksum && options.follow.is_none(),
            defer_above: options.follow.as_ref().map_or(u64::MAX, Follow::defer_above),
            some_paths: options.follow.as_ref().is_some_and(|follow| follow.extent == Extent::Paths),
            digester,
            workers,
            renames: Renames::of(options)?,
            parts: Parts::default(),
            work: Channel::unbounded(),
            content: Channel::bounded(workers.get() * QUEUED_FRAMES),
            settled: Channel::bounded(1),
            whole_below: AtomicU64::new(0),
            signatures: SignatureWindow::new(),
            source_errors: AtomicBool::new(false),
            missing_directories: AtomicBool::new(false),
            conflicts: Mutex::default(),
        })
    }

    /// Waits until every offered entry is settled, or the run is stopped.
    pub(super) fn wait_until_settled(&self) {
        crossbeam_channel::select! {
            recv(self.settled.receiver) -> _ => {}
            recv(self.stop.stopped()) -> _ => {}
        }
    }

    /// Whether something of the source could not be read. Then it looks extraneous at the destination, and is not.
    pub(super) fn has_source_errors(&self) -> bool {
        self.source_errors.load(Ordering::Acquire)
    }

    fn note_source_errors(&self) {
        self.source_errors.store(true, Ordering::Release);
    }

    /// Keeps what arrived of large files when a run ends early. Every worker must have ended.
    pub(super) fn abandon(&self) {
        let Some(partials) = self.target.partials() else { return };
        for file in self.parts.abandon().iter().flat_map(Part::all_entries) {
            if let FileState::Transfer(transfer) = &*file.state()
                && let Some(assembly) = transfer.close()
                && assembly.written() >= MIN_PARTIAL_BYTES
                && let Some(staged) = assembly.output
            {
                partials.keep(&file.path(), staged);
            }
        }
    }

    fn enqueue(&self, work: Work) {
        // The queue's other end lives as long as the run.
        let _ = self.work.sender.send(work);
    }

    /// Wakes the thread that waits for the end of the transfer.
    fn all_settled(&self) {
        let _ = self.settled.sender.try_send(());
    }

    /// One entry of a part is settled; the part is forgotten with its last one.
    fn settle(&self, part: &Part) -> Result<(), Stopped> {
        if !part.settle_one() {
            return Ok(());
        }
        let records = part.take_records();
        let origins = part.origins(self.target);
        // Entries that could not be brought are still what earlier runs have put there.
        let known: HashSet<&Name> = records.iter().map(|record| &record.name).collect();
        let others = part.entries.iter().map(|entry| &entry.name).filter(|name| !known.contains(name));
        self.target.remember_contents(&part.path, others, origins);
        drop(known);
        if !records.is_empty() {
            self.target.remember(&part.path, records, origins);
        }
        // Counted out before the sender is told that it has room again, and told before the run can end.
        self.parts.settle(part);
        self.report.tell(&ToSender::Settled { part: part.id })?;
        if self.parts.told() {
            self.all_settled();
        }
        Ok(())
    }

    /// Looks again at the entry of a file, for work that was put off.
    fn revisit<T>(
        &self,
        file: &PartEntry,
        work: impl FnOnce(&DestinationEntry<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let directory = self.target.directory(&file.part.path).doing("cannot open its directory")?;
        work(&directory.entry(file.offered(), true)?)
    }

    /// Settles an entry that failed, unless the same would fail every entry.
    fn settle_failed(&self, entry: &PartEntry, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Err(Failure::Entry { doing, error }) => {
                self.report_failed(entry, doing, error)?;
                Ok(self.settle(&entry.part)?)
            }
            Err(Failure::Conflict(kind)) => {
                self.report_conflict(entry, kind);
                Ok(self.settle(&entry.part)?)
            }
            Err(Failure::Blocked(Blocked::Stays))
                if self.target.guards(&entry.part.path, &entry.offered().name) =>
            {
                let was_placed = entry.part.origins(self.target).has(&entry.offered().name);
                let kind = if was_placed { ConflictKind::Changed } else { ConflictKind::Made };
                self.report_conflict(entry, kind);
                Ok(self.settle(&entry.part)?)
            }
            Err(Failure::Blocked(why)) => {
                match why {
                    Blocked::NoDeletion => self.report.failed(&entry.path(), why.text()),
                    Blocked::Stays => self.report.overtaken(&entry.path(), why.text()),
                }
                Ok(self.settle(&entry.part)?)
            }
            done => done,
        }
    }

    /// Tells of an entry of the destination that is left as it is.
    fn report_conflict(&self, entry: &PartEntry, kind: ConflictKind) {
        if entry.offered().kind() == Kind::Directory
            && let Ok(path) = entry.part.path.join(&entry.offered().name)
        {
            self.conflicts.enter().insert(path);
        }
        self.report.conflict(&entry.path(), kind);
    }

    /// Whether a directory cannot be there, because an entry in its place or above is left as it is.
    fn is_in_conflict(&self, path: &RelPath) -> bool {
        let conflicts = self.conflicts.enter();
        !conflicts.is_empty() && conflicts.iter().any(|conflict| path.starts_with(conflict))
    }

    /// Tells of a directory that could not be opened or listed, so that its entries cannot be brought.
    fn report_directory_failed(&self, part: &Part, error: &io::Error) {
        if self.is_in_conflict(&part.path) {
            return;
        }
        let doing = "cannot read the directory";
        if self.missing_directories.load(Ordering::Acquire) {
            self.report.failed(part.path.as_bytes(), &format!("{doing}: {error}"));
        } else {
            self.report.problem(part.path.as_bytes(), doing, error);
        }
    }

    /// Tells of an entry that failed. Ends the run when the same would fail every entry to come.
    fn report_failed(&self, entry: &PartEntry, doing: &'static str, error: io::Error) -> Result<(), Failure> {
        if error.kind() == io::ErrorKind::NotFound {
            self.target.check_still_there()?;
        }
        let path = entry.path();
        if entry.offered().kind() == Kind::Directory {
            self.missing_directories.store(true, Ordering::Release);
        }
        if self.target.is_fatal(&error) {
            let doing = format!("{}: {doing}", path.escape_ascii());
            return Err(EngineError::FileIo { doing, error }.into());
        }
        self.report.problem(&path, doing, &error);
        Ok(())
    }
}
