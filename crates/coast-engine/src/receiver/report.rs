//! Everything that a run tells: messages and events to the sender, events to the monitor, and the counts.

use std::io;
use std::sync::Mutex;

use coast_tree::LockExt;
use coast_wire::{
    Change, ConflictKind, Event, Itemize, Options, Origin, ProblemKind, ReceiverStats, ToSender, bounded_text,
};

use crate::monitor::Monitor;
use crate::outbox::Outbox;
use crate::stop::{Stop, Stopped};

/// The reporting side of a run. Every owner of the receiver borrows it, and it borrows none of them.
pub(super) struct Report<'a> {
    outbox: &'a Outbox,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
    itemize: Itemize,
    verbose: bool,
    /// Guards the counts alone. Held for one update, and no other lock is taken meanwhile.
    stats: Mutex<ReceiverStats>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        outbox: &'a Outbox,
        monitor: &'a dyn Monitor,
        stop: &'a Stop,
        options: &Options,
    ) -> Self {
        let Options { itemize, verbose, .. } = *options;
        Self { outbox, monitor, stop, itemize, verbose, stats: Mutex::default() }
    }

    /// Sends a message to the sender.
    pub(super) fn tell(&self, message: &ToSender<'_>) -> Result<(), Stopped> {
        self.stop.check_sent(self.outbox.push(message))
    }

    /// Tells both sides of something that happened.
    pub(super) fn event(&self, event: Event<'_>) {
        self.monitor.event(&event);
        // A stopped run needs no events.
        let _ = self.outbox.push(&ToSender::Event(event));
    }

    /// Tells both sides something about the run.
    pub(super) fn notice(&self, text: &str) {
        self.event(Event::Notice { text });
    }

    fn count(&self, update: impl FnOnce(&mut ReceiverStats)) {
        update(&mut self.stats.enter());
    }

    /// Counts a file whose content came, or would come in a dry run. All in bytes.
    pub(super) fn transferred(&self, size: u64, literal: u64, matched: u64) {
        self.count(|stats| {
            stats.transferred_files += 1;
            stats.transferred_bytes += size;
            stats.literal_bytes += literal;
            stats.matched_bytes += matched;
        });
    }

    /// Counts a file of `size` bytes that was made from another one of the destination.
    pub(super) fn cloned(&self, size: u64) {
        self.count(|stats| {
            stats.cloned_files += 1;
            stats.cloned_bytes += size;
        });
    }

    /// Counts an entry that did not exist.
    pub(super) fn created(&self) {
        self.count(|stats| stats.created += 1);
    }

    /// Counts an entry that was right.
    pub(super) fn untouched(&self) {
        self.count(|stats| stats.untouched += 1);
    }

    /// Counts an entry of which only attributes changed.
    pub(super) fn attributes_changed(&self) {
        self.count(|stats| stats.attributes += 1);
    }

    /// Counts an entry that was given to another user or group.
    pub(super) fn owner_changed(&self) {
        self.count(|stats| stats.chowned += 1);
    }

    /// Counts an extraneous entry that a rule protects.
    pub(super) fn protected(&self) {
        self.count(|stats| stats.protected += 1);
    }

    /// Counts entries that were deleted.
    pub(super) fn deleted(&self, entries: u64) {
        self.count(|stats| stats.deleted += entries);
    }

    /// Tells of an entry that is gone, and counts it as far as its origin and the trash go.
    pub(super) fn gone(&self, path: &[u8], directory: bool, origin: Origin, trashed: bool) {
        self.count(|stats| {
            stats.deleted_made_there += u64::from(origin == Origin::Destination);
            stats.trashed += u64::from(trashed);
        });
        self.event(Event::Deleted { path, directory, origin });
    }

    /// Tells of a file that is replaced and kept in the trash, and counts it.
    pub(super) fn replaced(&self, path: &[u8]) {
        self.count(|stats| stats.replaced_trashed += 1);
        self.event(Event::Replaced { path });
    }

    /// Counts an extraneous entry that stays because no run had put it there, or because that is not certain and there is no trash.
    pub(super) fn left_made_there(&self) {
        self.count(|stats| stats.left_made_there += 1);
    }

    /// Tells and counts an entry that is left as it is in a run that is safe in one direction.
    pub(super) fn conflict(&self, path: &[u8], kind: ConflictKind) {
        self.count(|stats| stats.conflicts += 1);
        self.event(Event::Conflict { path, kind });
    }

    /// Tells of a file that is left for another run.
    pub(super) fn deferred(&self, path: &[u8]) {
        self.event(Event::Deferred { path });
    }

    /// Counts an extraneous entry that stays because of `--max-delete`.
    pub(super) fn over_max_delete(&self) {
        self.count(|stats| stats.over_max_delete += 1);
    }

    /// Notes that the run deletes nothing.
    pub(super) fn deletion_skipped(&self) {
        self.count(|stats| stats.deletion_skipped = true);
    }

    /// The counts so far.
    pub(super) fn stats(&self) -> ReceiverStats {
        *self.stats.enter()
    }

    /// Counts and tells that something could not be done to an entry of the destination.
    pub(super) fn problem(&self, path: &[u8], doing: &str, error: &io::Error) {
        let text = bounded_text(&format!("{doing}: {error}"));
        if shows_change(error) { self.overtaken(path, &text) } else { self.failed(path, &text) }
    }

    /// [`Report::problem`] for an entry that could not be written.
    pub(super) fn failed(&self, path: &[u8], text: &str) {
        self.count(|stats| stats.failed += 1);
        self.event(Event::Problem { path, kind: ProblemKind::Destination, text });
    }

    /// [`Report::problem`] for an entry that was left as it is, because it changed during the run or something protected is in
    /// its way.
    pub(super) fn overtaken(&self, path: &[u8], text: &str) {
        self.count(|stats| stats.changed_meanwhile += 1);
        self.event(Event::Problem { path, kind: ProblemKind::DestinationChanged, text });
    }

    /// Tells that an extraneous entry stays.
    pub(super) fn kept(&self, path: &[u8], text: &str) {
        self.event(Event::Problem { path, kind: ProblemKind::Kept, text });
    }

    /// Tells that an entry is not transferred under the options of the run.
    pub(super) fn skipped(&self, path: &[u8], text: &str) {
        if self.verbose {
            self.event(Event::Problem { path, kind: ProblemKind::Skipped, text });
        }
    }

    /// Tells of a changed entry, where the user wants changes itemized. Otherwise `path` is not called.
    pub(super) fn changed(&self, path: impl FnOnce() -> Vec<u8>, change: Change) {
        if self.itemize == Itemize::Changes {
            self.event(Event::Changed { path: &path(), change });
        }
    }

    /// Whether the run is over, so that long work can end early.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_stopped()
    }
}

/// Whether the system's answer means that the entry is no longer the one that was seen: it vanished, or another one took its
/// name. None of these answers can come from an entry that stayed as it was.
fn shows_change(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::StaleNetworkFileHandle
    ) || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
