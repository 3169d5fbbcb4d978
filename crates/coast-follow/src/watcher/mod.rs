//! Watches a worktree, and gives its changes in batches.

mod barrier;
mod event;
mod file_system;
mod git_lock;
mod links;
#[cfg(not(target_os = "linux"))]
#[path = "queue_elsewhere.rs"]
mod queue;
#[cfg(target_os = "linux")]
mod queue;
mod reader;
mod snapshot;
mod status;
mod tree;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use coast_filter::{RuleError, RuleList};
use coast_tree::{LockExt, LockResultExt, RelPath};

use self::barrier::Barriers;
pub use self::barrier::remove_abandoned_barriers;
use self::queue::{Queue, Waker};
use self::reader::Reader;
use self::tree::Tree;
use crate::batch::{Batch, Depth, Ticket};
use crate::identity::{Identity, LostRoot};
use crate::pending::Pending;

pub use self::status::WatchStatus;

/// What is watched, and by which rules.
#[derive(Debug, Clone)]
pub struct WatcherSettings {
    /// The worktree: a directory.
    pub root: PathBuf,
    /// The rules of the transfer. Directories that they exclude are not watched.
    pub rules: RuleList,
    /// A directory of this user for private files, outside of the worktree and on a local file system.
    pub private: PathBuf,
    /// How many directories are watched at most. The others are scanned.
    pub max_watches: usize,
}

impl WatcherSettings {
    /// Watches `root` by `rules`, with private files in the system's directory for temporary files.
    pub fn new(root: impl Into<PathBuf>, rules: RuleList) -> Self {
        Self { root: root.into(), rules, private: std::env::temp_dir(), max_watches: usize::MAX }
    }
}

/// Why a worktree cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The worktree cannot be opened.
    #[error(transparent)]
    Root(#[from] LostRoot),
    /// The rules cannot be used.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// The system gives no queue of events.
    #[error(
        "cannot watch files: {0}; if too many programs watch files, raise the limit with \
         `sudo sysctl fs.inotify.max_user_instances=512`"
    )]
    Queue(io::Error),
    /// The private directory cannot be made or watched.
    #[error("cannot make a private directory in {}: {error}", place.display())]
    Private { place: PathBuf, error: io::Error },
    /// The thread that reads the events cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What [`Watcher::next`] waited for.
#[derive(Debug)]
pub enum Next {
    /// These changes are due. Until [`Watcher::finished`] or [`Watcher::give_back`] is called, no other batch comes.
    Batch(Batch),
    /// The worktree is not where it was. Nothing comes any more.
    Lost(LostRoot),
    /// [`Watcher::interrupt`] was called.
    Interrupted,
    /// The time is over.
    TimedOut,
}

/// A thread that watches a worktree. It ends when this is dropped.
///
/// ```
/// use coast_filter::RuleList;
/// use coast_follow::{Next, Watcher, WatcherSettings};
/// use coast_tree::RelPath;
///
/// let worktree = tempfile::tempdir()?;
/// let mut rules = RuleList::new();
/// rules.exclude(b"node_modules")?;
/// let watcher = Watcher::start(WatcherSettings::new(worktree.path(), rules))?;
///
/// std::fs::create_dir(worktree.path().join("node_modules"))?;
/// std::fs::write(worktree.path().join("main.py"), "print()")?;
/// // The batch with this ticket holds every change up to here.
/// let ticket = watcher.barrier()?;
/// let Next::Batch(batch) = watcher.next(None) else { panic!("the worktree is there") };
/// assert_eq!(batch.ticket, Some(ticket));
/// assert!(batch.extent.covers(&RelPath::new(b"main.py")?));
/// assert!(!batch.extent.covers(&RelPath::new(b"node_modules")?));
/// watcher.finished();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    waker: Waker,
    identity: Identity,
    entries: u64,
    thread: Option<JoinHandle<()>>,
}

/// Shared by the thread that reads events and those that take batches.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Notified when `state` changed.
    changed: Condvar,
    /// Taken alone, or before `state`.
    barriers: Mutex<Barriers>,
}

#[derive(Debug, Default)]
struct State {
    pending: Pending,
    lost: Option<LostRoot>,
    interrupted: bool,
    stopping: bool,
    /// Set by a test: events are to be lost.
    overflow: bool,
    status: WatchStatus,
}

impl Watcher {
    /// Watches the worktree. When this returns, every directory is watched that the rules do not exclude.
    ///
    /// # Errors
    /// When the worktree cannot be opened, the rules cannot be used, or the system cannot watch at all. Too few watches are no error:
    /// see [`WatchStatus`].
    pub fn start(settings: WatcherSettings) -> Result<Self, WatchError> {
        let identity = Identity::of(&settings.root)?;
        let root = std::path::absolute(&settings.root).unwrap_or(settings.root);
        let mut tree = Tree::new(root, identity, &settings.rules, settings.max_watches)?;
        let queue = Queue::open().map_err(WatchError::Queue)?;
        let barriers = Barriers::new(&queue, &settings.private)
            .map_err(|error| WatchError::Private { place: settings.private, error })?;
        tree.enter_all(&queue)?;
        let entries = tree.surveyed();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            barriers: Mutex::new(barriers),
        });
        let waker = queue.waker();
        let reader = Reader::new(queue, tree, Arc::clone(&shared));
        let thread = thread::Builder::new().name("coast-watch".to_owned());
        let thread = thread.spawn(move || reader.run()).map_err(WatchError::Thread)?;
        Ok(Self { shared, waker, identity, entries, thread: Some(thread) })
    }

    /// How many entries the worktree had when watching began, those that are excluded left out.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Waits for changes that are due. Only one thread may wait.
    pub fn next(&self, until: Option<Instant>) -> Next {
        let mut state = self.shared.state.enter();
        loop {
            if std::mem::take(&mut state.interrupted) {
                return Next::Interrupted;
            }
            if let Some(lost) = &state.lost {
                return Next::Lost(lost.clone());
            }
            let now = Instant::now();
            if let Some(batch) = state.pending.take(now) {
                return Next::Batch(batch);
            }
            if until.is_some_and(|until| until <= now) {
                return Next::TimedOut;
            }
            let wake = state.pending.due().into_iter().chain(until).min();
            state = match wake {
                None => self.shared.changed.wait(state).even_poisoned(),
                Some(wake) => {
                    let time = wake.saturating_duration_since(now);
                    self.shared.changed.wait_timeout(state, time).even_poisoned().0
                }
            };
        }
    }

    /// Ends the call of [`Watcher::next`] that waits, or else the coming one.
    pub fn interrupt(&self) {
        self.shared.state.enter().interrupted = true;
        self.shared.changed.notify_all();
    }

    /// The batch that was taken is at the destination.
    pub fn finished(&self) {
        self.shared.state.enter().pending.finished();
    }

    /// The batch that was taken is not at the destination, or only in part. Its changes come again.
    pub fn give_back(&self, batch: Batch) {
        self.shared.state.enter().pending.give_back(batch, Instant::now());
        self.shared.changed.notify_all();
    }

    /// Has the next batch look at everything.
    pub fn compare_everything(&self) {
        self.shared.state.enter().pending.everything(Instant::now());
        self.shared.changed.notify_all();
    }

    /// Has the next batch look at a path that a batch did not settle.
    pub fn again(&self, path: RelPath, depth: Depth) {
        self.shared.state.enter().pending.again(path, depth, Instant::now());
        self.shared.changed.notify_all();
    }

    /// Has the next batch pass the barriers of one that was taken: some of its paths come [again](Self::again).
    pub fn keep(&self, ticket: Ticket) {
        self.shared.state.enter().pending.reached(ticket, Instant::now());
        self.shared.changed.notify_all();
    }

    /// Asks for a barrier. The batch that has the ticket, or a higher one, holds every change that was made before this call, together
    /// with the batches before it.
    ///
    /// # Errors
    /// When no file can be made in the private directory. If someone has removed it, a new one is made soon.
    pub fn barrier(&self) -> io::Result<Ticket> {
        self.shared.barriers.enter().issue()
    }

    /// Which directory the worktree was when watching began.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// How the worktree is watched.
    pub fn status(&self) -> WatchStatus {
        let state = self.shared.state.enter();
        let mut status = state.status.clone();
        status.limit = status::limit();
        status.pending_paths = state.pending.count();
        status
    }

    /// Loses the events that were not read yet, as the kernel does when its queue is full, and returns when that was noticed. For
    /// tests.
    #[doc(hidden)]
    pub fn overflow(&self) {
        let mut state = self.shared.state.enter();
        state.overflow = true;
        self.waker.wake();
        let before = state.status.overflows;
        while state.status.overflows == before && state.lost.is_none() {
            state = self.shared.changed.wait(state).even_poisoned();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.state.enter().stopping = true;
        self.shared.changed.notify_all();
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by it.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
