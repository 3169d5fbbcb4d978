//! Carries the changes of a worktree to a destination, for as long as it lives.

mod carrier;
mod connection;
mod guard;
mod large;
mod notices;
mod outage;
mod plan;
mod resolution;
mod shared;
mod status;
mod subscription;
mod takeover;
mod trouble;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use coast_filter::RuleList;
use coast_sync::{Cancel, Conflict, FollowRequest, Prompt, RelPath};

use self::carrier::Carrier;
use self::guard::Guard;
use self::shared::{Shared, Wish};
use crate::batch::Depth;
use crate::exclusions::Exclusions;
use crate::watcher::{WatchError, Watcher, WatcherSettings};

pub use self::resolution::ResolveError;
pub use self::status::{
    Connecting, FollowerState, FollowerStatus, Halt, LastBatch, MAX_LISTED, Problem, Side, TreeSize, UnderWay,
};
pub use self::subscription::{Subscription, Update};

/// How long a pause waits for the batch under way before it ends the session.
const GRACE: Duration = Duration::from_secs(1);

/// What is carried, and where to.
#[derive(Clone)]
pub struct FollowerSettings {
    /// The worktree: a directory. The source of `request`.
    pub root: PathBuf,
    /// The destination, and how it is brought up to date.
    pub request: FollowRequest,
    /// The rules of `request`. Directories that they exclude are not watched.
    pub rules: RuleList,
    /// A directory of this user for private files, outside of the worktree and on a local file system.
    pub private: PathBuf,
    /// Answers the questions of a connection. Nobody may be there.
    pub prompt: Arc<dyn Prompt>,
}

/// What a follower carries first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The changes since it began to watch: something else has brought the rest.
    Collected,
    /// Everything in which the destination differs.
    Everything,
}

/// The result of [`Follower::flush`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlushOutcome {
    /// Everything that was saved before the call is at the destination.
    Arrived,
    /// Everything is, except for these paths: the lists of [`FollowerStatus`].
    Left { problems: Vec<Problem>, more_problems: u64, conflicts: Vec<Conflict>, more_conflicts: u64 },
    /// The time was over before.
    TimedOut,
    /// The call was cancelled.
    Cancelled,
    /// Nothing arrives any more.
    Halted(Halt),
}

/// Watches a worktree and carries its changes. It ends when this is dropped.
///
/// ```
/// use std::sync::Arc;
/// use coast_follow::{First, FlushOutcome, Follower, FollowerSettings};
/// use coast_sync::{CachePlace, Cancel, Destination, FollowRequest, NoPrompt, RuleList, profile};
///
/// let scratch = tempfile::tempdir()?;
/// let (worktree, copy) = (scratch.path().join("worktree"), scratch.path().join("copy"));
/// std::fs::create_dir(&worktree)?;
/// std::fs::write(worktree.join("main.py"), "print(1)")?;
///
/// let request = FollowRequest::push(&worktree, Destination::local(&copy))?.cache(CachePlace::Nowhere);
/// let mut rules = RuleList::new();
/// profile::add_default_rules(&mut rules)?;
/// let settings = FollowerSettings::new(&worktree, request, rules, Arc::new(NoPrompt));
/// let follower = Follower::start(settings)?;
/// follower.follow(First::Everything);
///
/// std::fs::write(worktree.join("main.py"), "print(2)")?;
/// assert_eq!(follower.flush(None, &Cancel::new())?, FlushOutcome::Arrived);
/// assert_eq!(std::fs::read_to_string(copy.join("main.py"))?, "print(2)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Follower {
    root: PathBuf,
    exclusions: Exclusions,
    watcher: Arc<Watcher>,
    shared: Arc<Shared>,
    /// Held by the call that settles conflicts. Taken before any other lock.
    resolving: Mutex<()>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl FollowerSettings {
    /// Follows `root`, with private files in the system's directory for temporary files.
    pub fn new(
        root: impl Into<PathBuf>,
        request: FollowRequest,
        rules: RuleList,
        prompt: Arc<dyn Prompt>,
    ) -> Self {
        Self { root: root.into(), request, rules, private: std::env::temp_dir(), prompt }
    }
}

impl Follower {
    /// Begins to watch. When this returns, every change is noted. None is carried before [`Follower::follow`].
    ///
    /// # Errors
    /// When the worktree cannot be watched.
    pub fn start(settings: FollowerSettings) -> Result<Self, WatchError> {
        let FollowerSettings { root, request, rules, private, prompt } = settings;
        let root = std::path::absolute(&root).unwrap_or(root);
        let exclusions = Exclusions::new(root.clone(), &rules)?;
        let watched = WatcherSettings { private, ..WatcherSettings::new(&root, rules) };
        let watcher = Arc::new(Watcher::start(watched)?);
        let guard = Guard::new(root.clone(), watcher.identity());
        let shared = Arc::new(Shared::new());
        let carrier = Carrier::new(Arc::clone(&watcher), guard, request, prompt, Arc::clone(&shared));
        let ending = Ending(Arc::clone(&shared));
        let thread = thread::Builder::new().name("coast-follow".to_owned());
        let thread = thread.spawn(move || {
            let _ending = ending;
            carrier.run();
        });
        let thread = Some(thread.map_err(WatchError::Thread)?);
        Ok(Self { root, exclusions, watcher, shared, resolving: Mutex::default(), thread })
    }

    /// Begins to carry changes, or goes on after a pause or a halt. Returns at once; [`Follower::flush`] waits until they have arrived.
    pub fn follow(&self, first: First) {
        self.shared.change(|state| {
            if state.wish == Wish::Stop {
                return;
            }
            state.wish = Wish::Follow(Some(first));
            if matches!(state.told.state, FollowerState::Paused | FollowerState::Halted(_)) {
                state.told.state = FollowerState::Holding;
                state.version += 1;
            }
        });
        self.watcher.interrupt();
    }

    /// Waits until every change that was made before the call is at the destination and acknowledged. Before [`Follower::follow`]
    /// and while there is no connection it waits, too. After a refused deletion it makes another attempt. Problems and conflicts that are
    /// left then are looked at once more before they are told, as far as the time lasts.
    ///
    /// # Errors
    /// When no file can be made in the private directory, which orders the changes.
    pub fn flush(&self, timeout: Option<Duration>, cancel: &Cancel) -> io::Result<FlushOutcome> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let outcome = self.await_barrier(until, cancel)?;
        if !matches!(outcome, FlushOutcome::Left { .. }) {
            return Ok(outcome);
        }
        // What was in the way may be gone, with the changes that have just arrived or without.
        self.try_again();
        Ok(match self.await_barrier(until, cancel)? {
            // Everything else has arrived.
            FlushOutcome::TimedOut => outcome,
            again => again,
        })
    }

    /// Waits until every change that was made before the call has been sent and acknowledged.
    fn await_barrier(&self, until: Option<Instant>, cancel: &Cancel) -> io::Result<FlushOutcome> {
        let ticket = self.watcher.barrier()?;
        let shared = Arc::clone(&self.shared);
        let _hook = cancel.on_cancel(move || shared.wake());
        let outcome = self.shared.wait(until, |state| {
            if state.passed >= Some(ticket) {
                let (problems, more_problems) = state.told.problems.clone();
                let (conflicts, more_conflicts) = state.told.conflicts.clone();
                return Some(match (problems.is_empty(), conflicts.is_empty()) {
                    (true, true) => FlushOutcome::Arrived,
                    _ => FlushOutcome::Left { problems, more_problems, conflicts, more_conflicts },
                });
            }
            // The run that was refused may have begun before the call.
            let is_refused = matches!(state.told.state, FollowerState::Halted(Halt::MassDeletion(_)));
            if is_refused && state.follows() && !state.ended && state.refused < Some(ticket) {
                return cancel.is_cancelled().then_some(FlushOutcome::Cancelled);
            }
            stopped(state, cancel)
        });
        Ok(outcome.unwrap_or(FlushOutcome::TimedOut))
    }

    /// Has the next batch look at the paths that were not settled: what was in the way may be gone.
    fn try_again(&self) {
        let (problems, conflicts) = {
            let state = self.shared.enter();
            (state.told.problems.clone(), state.told.conflicts.clone())
        };
        if problems.1 > 0 || problems.0.iter().any(|problem| problem.path.is_root()) {
            self.watcher.compare_everything();
        }
        for problem in problems.0 {
            let path = plan::local_path(&self.root, &problem.path);
            let is_directory = path.symlink_metadata().is_ok_and(|found| found.is_dir());
            self.watcher.again(problem.path, if is_directory { Depth::Tree } else { Depth::Entry });
        }
        for conflict in conflicts.0 {
            if let Ok(path) = RelPath::new(&conflict.path) {
                self.watcher.again(path, Depth::Entry);
            }
        }
    }

    /// Carries nothing more until [`Follower::follow`]. When this returns, the destination is left alone. A batch that takes long is cut
    /// off, and comes again later.
    pub fn pause(&self) {
        self.shared.change(|state| {
            if state.wish != Wish::Stop {
                state.wish = Wish::Pause;
            }
        });
        self.watcher.interrupt();
        let is_quiet = |state: &mut shared::State| {
            let is_busy = matches!(
                state.told.state,
                FollowerState::Connecting(_) | FollowerState::Sending | FollowerState::Watching
            );
            (state.ended || state.wish != Wish::Pause || !is_busy).then_some(())
        };
        if self.shared.wait(Some(Instant::now() + GRACE), is_quiet).is_none() {
            let cancel = self.shared.enter().connection.cancel.clone();
            cancel.cancel();
            self.shared.wait(None, is_quiet);
        }
    }

    /// Connects now if it waits for the next attempt: the machine woke up, or the network changed.
    pub fn retry_now(&self) {
        self.shared.change(|state| state.retry_now = true);
    }

    /// The state at this moment.
    pub fn status(&self) -> FollowerStatus {
        status_of(&self.shared, &self.watcher)
    }

    /// A subscription to changes of the state.
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(Arc::downgrade(&self.shared), Arc::downgrade(&self.watcher))
    }

    /// Loses events; see [`Watcher::overflow`]. For tests.
    #[doc(hidden)]
    pub fn overflow(&self) {
        self.watcher.overflow();
    }

    /// Ends the session at once, and waits for the end of the thread. Changes that have not arrived are not carried any more.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let cancel = self.shared.change(|state| {
            state.wish = Wish::Stop;
            state.connection.cancel.clone()
        });
        cancel.cancel();
        self.watcher.interrupt();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by it.
            let _ = thread.join();
        }
    }
}

/// Tells that the thread of a follower has ended, also by a panic.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.ended = true;
            if !matches!(state.told.state, FollowerState::Halted(_)) {
                state.told.state = FollowerState::Halted(Halt::Stopped);
            }
            state.version += 1;
        });
    }
}

/// Why a call does not wait any longer for what has not happened yet.
fn stopped(state: &shared::State, cancel: &Cancel) -> Option<FlushOutcome> {
    match &state.told.state {
        _ if state.ended => Some(FlushOutcome::Halted(Halt::Stopped)),
        FollowerState::Halted(halt) => Some(FlushOutcome::Halted(halt.clone())),
        FollowerState::Paused => Some(FlushOutcome::Halted(Halt::Paused)),
        _ if cancel.is_cancelled() => Some(FlushOutcome::Cancelled),
        _ => None,
    }
}

fn status_of(shared: &Shared, watcher: &Watcher) -> FollowerStatus {
    let watch = watcher.status();
    let state = shared.enter();
    let told = &state.told;
    let under_way = told.progress.as_ref().or(told.large_progress.as_ref()).map(|progress| UnderWay {
        entries: progress.offered_entries.load(Ordering::Relaxed),
        settled_entries: progress.settled_entries.load(Ordering::Relaxed),
        bytes: progress.offered_bytes.load(Ordering::Relaxed),
        settled_bytes: progress.settled_bytes.load(Ordering::Relaxed),
    });
    let ((problems, more_problems), (conflicts, more_conflicts)) =
        (told.problems.clone(), told.conflicts.clone());
    FollowerStatus {
        state: told.state.clone(),
        watch,
        waiting_files: told.waiting_files,
        under_way,
        last_batch: told.last_batch,
        size: told.size,
        problems,
        more_problems,
        conflicts,
        more_conflicts,
        notice: told.notice.clone(),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
