//! Large files: batches leave them, and each goes alone over a session of its own, so that no batch waits for it.

mod queue;
mod transfer;

use std::io;
use std::time::Instant;

use coast_sync::{BatchReport, FollowSession, RelPath, SyncError};

use super::trouble::Left;
use crate::batch::Ticket;
use queue::LargeQueue;
pub(super) use queue::{GivenUp, LargeFile};
pub(super) use transfer::LargeContext;
use transfer::{LargeTransfer, TransferEnded};

/// Files of more bytes than this are sent alone, beside the batches.
pub(super) const LARGE: u64 = 8 << 20;

/// The large files that wait, the one that is under way, and the session that they go over.
#[derive(Default)]
pub(super) struct LargeFiles {
    queue: LargeQueue,
    under_way: Option<LargeTransfer>,
    /// The session of the last file, for the next one.
    session: Option<FollowSession>,
    /// Whether they go over the session of the batches, because there is no other one. Until none waits.
    with_batches: bool,
}

/// A large file whose transfer has ended.
pub(super) struct LargeEnded {
    pub(super) file: LargeFile,
    /// Whether the session for large files can be used again.
    pub(super) has_session: bool,
    pub(super) sent: Result<(BatchReport, Vec<Left>), SyncError>,
}

/// What is left to do after a large file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LargeDone {
    /// The barrier that is passed by it.
    pub(super) passed: Option<Ticket>,
    /// The last barrier that waits for the file, if the file has to be sent again: it must go on waiting.
    pub(super) unpassed: Option<Ticket>,
    /// Whether there are large files that were not told, with the barrier that waits for them.
    pub(super) more: Option<Option<Ticket>>,
}

impl LargeFiles {
    /// How many files wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether a file waits and none is under way.
    pub(super) fn can_begin(&self) -> bool {
        self.queue.len() > 0 && self.under_way.is_none()
    }

    /// Adds files at the end of the queue. `has_more` if there are more of them than `paths`.
    pub(super) fn add(&mut self, paths: Vec<RelPath>, has_more: bool, saved: Instant) {
        self.queue.add(paths, saved);
        if has_more {
            self.queue.note_more();
        }
    }

    /// A barrier is passed when the files that wait or are under way now are sent. Returns it if there are none.
    pub(super) fn pass(&mut self, ticket: Ticket) -> Option<Ticket> {
        self.queue.pass(ticket)
    }

    /// Takes the next file to send it. None while one is under way.
    pub(super) fn take(&mut self) -> Option<LargeFile> {
        self.queue.take()
    }

    /// The file that was taken is sent later.
    pub(super) fn put_back(&mut self, file: LargeFile) {
        self.queue.put_back(file);
    }

    /// Whether the files go over the session of the batches.
    pub(super) fn go_with_batches(&self) -> bool {
        self.with_batches
    }

    /// There is no second session: the file that was taken, and the others that wait, go over the session of the batches.
    pub(super) fn put_back_for_batches(&mut self, file: LargeFile) {
        self.with_batches = true;
        self.put_back(file);
    }

    /// Begins to send the file that was taken, over the session for large files.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn begin(&mut self, file: LargeFile, context: LargeContext) -> io::Result<()> {
        self.under_way = Some(LargeTransfer::begin(file, self.session.take(), context)?);
        Ok(())
    }

    /// How the file that was under way has ended, if it has. It counts as taken until it is [done](Self::done) or put back.
    pub(super) fn ended(&mut self) -> Option<LargeEnded> {
        let TransferEnded { session, sent } = self.under_way.as_ref()?.ended()?;
        let file = self.under_way.take()?.give_up();
        let has_session = session.is_some();
        self.session = session;
        Some(LargeEnded { file, has_session, sent })
    }

    /// The file that was taken is at the destination, or could not be brought there. If it is not settled, it comes again, and so do the
    /// barriers that wait.
    pub(super) fn done(&mut self, is_settled: bool) -> LargeDone {
        let unpassed = if is_settled { None } else { self.queue.take_barriers() };
        let passed = self.queue.sent();
        if self.queue.len() == 0 {
            // The receiver ends with its session.
            self.session = None;
            self.with_batches = false;
        }
        LargeDone { passed, unpassed, more: self.queue.take_more() }
    }

    /// Gives up what is under way, and empties the queue.
    pub(super) fn give_up(&mut self) -> GivenUp {
        if let Some(transfer) = self.under_way.take() {
            self.queue.put_back(transfer.give_up());
        }
        self.session = None;
        self.with_batches = false;
        self.queue.give_up()
    }
}
