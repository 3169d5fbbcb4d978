//! Large files: each goes alone, over a session of its own, so that no batch waits for it.
//!
//! Its content is staged at the destination first, without the lock of the workspace. Then a run like that of a batch puts it into
//! place. That run looks at the file only when it has the lock: a deletion that a batch has brought before is not undone.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use coast_sync::{
    BatchPath, BatchReport, Cancel, Event, FollowBatch, FollowRequest, FollowSession, Monitor, Progress,
    Prompt, RelPath, SyncError,
};

use super::guard::Guard;
use super::notices::Notices;
use super::plan::local_path;
use super::shared::Shared;
use super::trouble::Left;
use crate::batch::Ticket;
use crate::watcher::Watcher;

/// How long ago a file must have been written before it is read. Then a later write is told by its stamps, and the content is not read
/// again while the workspace is locked.
const SETTLED: Duration = Duration::from_millis(100);

/// The large files that wait for their turn, and the barriers that wait for them.
#[derive(Debug, Default)]
pub(super) struct LargeFiles {
    waiting: VecDeque<LargeFile>,
    /// Whether the file that was taken last is under way.
    is_under_way: bool,
    /// How many left the queue, and are not under way.
    sent: u64,
    /// Barriers, with the number of files that must have left the queue before.
    barriers: VecDeque<(Ticket, u64)>,
}

/// A large file that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LargeFile {
    pub(super) path: RelPath,
    /// When it was saved.
    pub(super) saved: Instant,
}

impl LargeFiles {
    /// How many files wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.is_under_way)
    }

    /// Adds files at the end of the queue. One that waits already keeps its place, and one that is under way is sent again.
    pub(super) fn add(&mut self, paths: Vec<RelPath>, saved: Instant) {
        for path in paths {
            if self.waiting.iter().all(|waiting| waiting.path != path) {
                self.waiting.push_back(LargeFile { path, saved });
            }
        }
    }

    /// A barrier is passed when the files that wait or are under way now are sent. Returns it if there are none.
    pub(super) fn pass(&mut self, ticket: Ticket) -> Option<Ticket> {
        if self.len() == 0 {
            return Some(ticket);
        }
        self.barriers.push_back((ticket, self.sent + self.len() as u64));
        None
    }

    /// Takes the next file. None while one is under way.
    pub(super) fn take(&mut self) -> Option<LargeFile> {
        let file = if self.is_under_way { None } else { self.waiting.pop_front() };
        self.is_under_way |= file.is_some();
        file
    }

    /// The file that was taken could not be sent yet.
    pub(super) fn put_back(&mut self, file: LargeFile) {
        self.is_under_way = false;
        self.waiting.push_front(file);
    }

    /// The file that was taken is sent. Returns the barrier that is passed by that.
    pub(super) fn sent(&mut self) -> Option<Ticket> {
        self.is_under_way = false;
        self.sent += 1;
        let mut passed = None;
        while self.barriers.front().is_some_and(|(_, after)| *after <= self.sent) {
            passed = passed.max(self.barriers.pop_front().map(|(ticket, _)| ticket));
        }
        passed
    }

    /// Empties the queue. Returns the files, and the last barrier that waits for them.
    pub(super) fn give_up(&mut self) -> (Vec<LargeFile>, Option<Ticket>) {
        let ticket = self.barriers.drain(..).map(|(ticket, _)| ticket).max();
        (std::mem::take(&mut self.waiting).into(), ticket)
    }
}

/// A large file on its way, on a thread of its own.
pub(super) struct LargeTransfer {
    pub(super) file: LargeFile,
    cancel: Cancel,
    ended: mpsc::Receiver<LargeEnded>,
    thread: thread::JoinHandle<()>,
}

/// How the transfer of a large file has ended.
pub(super) struct LargeEnded {
    /// The session, for the next file. None if it cannot be used any more.
    pub(super) session: Option<FollowSession>,
    pub(super) sent: Result<(BatchReport, Vec<Left>), SyncError>,
}

/// What the transfer of a large file needs.
pub(super) struct LargeContext {
    pub(super) request: FollowRequest,
    pub(super) prompt: Arc<dyn Prompt>,
    pub(super) shared: Arc<Shared>,
    pub(super) guard: Guard,
    /// Woken when the transfer has ended.
    pub(super) watcher: Arc<Watcher>,
    /// Paths that the caller wants as they are here.
    pub(super) take_source: Vec<RelPath>,
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
            let _ = tell.send(LargeEnded { session, sent });
            context.watcher.interrupt();
        };
        let thread = thread::Builder::new().name("coast-large".to_owned()).spawn(transfer)?;
        Ok(Self { file, cancel, ended, thread })
    }

    /// How the transfer has ended, if it has.
    pub(super) fn ended(&self) -> Option<LargeEnded> {
        match self.ended.try_recv() {
            Ok(ended) => Some(ended),
            Err(mpsc::TryRecvError::Empty) => None,
            // Its thread has panicked.
            Err(mpsc::TryRecvError::Disconnected) => {
                Some(LargeEnded { session: None, sent: Err(SyncError::Interrupted) })
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
        wait_until_settled(&local_path(guard.path(), &path));
        // The carrier finds out what is wrong with the worktree.
        let mut open = || guard.open().map_err(|_| SyncError::Interrupted);
        let batch = FollowBatch::paths([BatchPath { path, deep: false }]);
        let notices = LargeNotices { notices: Notices::new(&self.shared), shared: &self.shared };
        match session.send_opened(&batch.clone().stage_only(), open()?, &notices, cancel) {
            // What cannot be staged comes with the next run.
            Err(_) if session.is_usable() => {}
            staged => {
                let staged = staged?;
                // A file that is still written to is not sent while the workspace is locked. It comes again with its next change.
                if staged.failures.count > 0 {
                    return Ok((staged, notices.notices.left()));
                }
            }
        }
        let notices = LargeNotices { notices: Notices::new(&self.shared), shared: &self.shared };
        let report =
            session.send_opened(&batch.take_source(self.take_source.clone()), open()?, &notices, cancel)?;
        Ok((report, notices.notices.left()))
    }
}

fn wait_until_settled(file: &Path) {
    let age = file.symlink_metadata().and_then(|found| found.modified()).ok();
    // The clock may have been stepped.
    let age = age.and_then(|modified| modified.elapsed().ok());
    if let Some(left) = age.and_then(|age| SETTLED.checked_sub(age)) {
        thread::sleep(left);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_barrier_waits_for_the_large_files_before_it_only() {
        let now = Instant::now();
        let mut large = LargeFiles::default();
        assert_eq!(large.pass(Ticket(1)), Some(Ticket(1)));
        large.add(vec![rel("a"), rel("b")], now);
        assert_eq!(large.pass(Ticket(2)), None);
        large.add(vec![rel("b"), rel("c")], now);
        assert_eq!(large.len(), 3);
        assert_eq!(large.take().unwrap().path, rel("a"));
        assert!(large.take().is_none() && large.len() == 3);
        assert_eq!(large.pass(Ticket(2)), None, "one of them is under way");
        assert_eq!(large.sent(), None);
        assert_eq!((large.take().unwrap().path, large.sent()), (rel("b"), Some(Ticket(2))));
        assert_eq!(large.pass(Ticket(3)), None);
        let (left, ticket) = large.give_up();
        assert_eq!((left[0].path.clone(), left.len(), ticket), (rel("c"), 1, Some(Ticket(3))));
    }
}
