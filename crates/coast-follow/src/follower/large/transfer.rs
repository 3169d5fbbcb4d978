//! The transfer of one large file, on a thread of its own.
//!
//! The content is staged at the destination first, without the lock of the workspace. Then a run like that of a batch puts it into
//! place. That run looks at the file only when it has the lock: a deletion that a batch has brought before is not undone.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;

use coast_sync::{
    BatchPath, BatchReport, Cancel, Event, FollowBatch, FollowRequest, FollowSession, Monitor, Progress,
    Prompt, RelPath, SyncError,
};

use super::LARGE;
use super::queue::LargeFile;
use crate::follower::guard::Guard;
use crate::follower::notices::Notices;
use crate::follower::shared::Shared;
use crate::follower::trouble::Left;
use crate::watcher::Watcher;

/// A large file on its way.
pub(super) struct LargeTransfer {
    file: LargeFile,
    cancel: Cancel,
    ended: mpsc::Receiver<TransferEnded>,
    thread: thread::JoinHandle<()>,
}

/// How the transfer of a large file has ended.
pub(super) struct TransferEnded {
    /// The session, for the next file. None if it cannot be used any more.
    pub(super) session: Option<FollowSession>,
    pub(super) sent: Result<(BatchReport, Vec<Left>), SyncError>,
}

/// What the transfer of a large file needs.
pub(in crate::follower) struct LargeContext {
    pub(in crate::follower) request: FollowRequest,
    pub(in crate::follower) prompt: Arc<dyn Prompt>,
    pub(in crate::follower) shared: Arc<Shared>,
    pub(in crate::follower) guard: Guard,
    /// Woken when the transfer has ended.
    pub(in crate::follower) watcher: Arc<Watcher>,
    /// Paths that the caller wants as they are here.
    pub(in crate::follower) take_source: Vec<RelPath>,
}

impl LargeTransfer {
    /// Begins to send a file, over `session` or else a new one.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn begin(
        file: LargeFile,
        session: Option<FollowSession>,
        context: LargeContext,
    ) -> io::Result<Self> {
        let cancel = Cancel::new();
        let (tell, ended) = mpsc::channel();
        let (path, own_cancel) = (file.path.clone(), cancel.clone());
        let transfer = move || {
            let mut session = session;
            let sent = context.send(&mut session, path, &own_cancel);
            let session = session.and_then(|mut session| session.is_usable().then_some(session));
            // The receiver is gone if the transfer was given up.
            let _ = tell.send(TransferEnded { session, sent });
            context.watcher.interrupt();
        };
        let thread = thread::Builder::new().name("coast-large".to_owned()).spawn(transfer)?;
        Ok(Self { file, cancel, ended, thread })
    }

    /// How the transfer has ended, if it has.
    pub(super) fn ended(&self) -> Option<TransferEnded> {
        match self.ended.try_recv() {
            Ok(ended) => Some(ended),
            Err(mpsc::TryRecvError::Empty) => None,
            // Its thread has panicked.
            Err(mpsc::TryRecvError::Disconnected) => {
                Some(TransferEnded { session: None, sent: Err(SyncError::Interrupted) })
            }
        }
    }

    /// Gives the transfer up, and waits until nothing is changed at the destination any more.
    pub(super) fn give_up(self) -> LargeFile {
        self.cancel.cancel();
        // A panic of the thread has been reported by it.
        let _ = self.thread.join();
        self.file
    }
}

impl LargeContext {
    fn send(
        &self,
        session: &mut Option<FollowSession>,
        path: RelPath,
        cancel: &Cancel,
    ) -> Result<(BatchReport, Vec<Left>), SyncError> {
        let session = match session {
            Some(session) => session,
            None => session.insert(self.request.connect(&*self.prompt, cancel)?),
        };
        let mut guard = self.guard.clone();
        let batch = FollowBatch::paths([BatchPath { path, deep: false }]);
        let mut send = |session: &mut FollowSession, batch: &FollowBatch| {
            // The carrier finds out what is wrong with the worktree.
            let worktree = guard.open().map_err(|_| SyncError::Interrupted)?;
            let notices = LargeNotices { notices: Notices::new(&self.shared), shared: &self.shared };
            let report = session.send_opened(batch, worktree, &notices, cancel)?;
            Ok::<_, SyncError>((report, notices.notices.left()))
        };
        let place = batch.clone().take_source(self.take_source.clone());
        match send(session, &batch.stage_only()) {
            // It cannot be staged.
            Err(_) if session.is_usable() => {}
            Err(error) => return Err(error),
            // It is written to all the time. It comes again with its next change.
            Ok(staged) if staged.0.failures.count > 0 => return Ok(staged),
            Ok(_) => {
                let placed = send(session, &place.clone().defer_above(LARGE))?;
                if placed.0.deferred.count == 0 {
                    return Ok(placed);
                }
            }
        }
        // What was staged could not be moved into place: another file system is mounted there. The lock of the workspace is held while the
        // content is sent.
        send(session, &place)
    }
}

/// Watches the runs of a large file, whose progress is told beside that of the batches.
struct LargeNotices<'a> {
    notices: Notices<'a>,
    shared: &'a Shared,
}

impl Monitor for LargeNotices<'_> {
    fn event(&self, event: &Event<'_>) {
        self.notices.event(event);
    }

    fn started(&self, progress: &Arc<Progress>) {
        self.shared.tell(|told| told.large_progress = Some(Arc::clone(progress)));
    }
}
