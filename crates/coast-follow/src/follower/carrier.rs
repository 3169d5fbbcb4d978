//! The thread of a follower: it connects, takes batches from the watcher, and sends them one after the other.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coast_sync::{BatchReport, FollowRequest, FollowSession, Prompt, RelPath, SyncError};
use coast_tree::Root;

use super::First;
use super::connection::{attempt, failed_at, notice_end};
use super::guard::Guard;
use super::large::{GivenUp, LARGE, LargeContext, LargeDone, LargeEnded, LargeFile, LargeFiles};
use super::notices::{Notices, last_batch};
use super::outage::{FailedAt, Outage};
use super::plan::{Deletions, Plan, follow_batch, local_path};
use super::shared::{Shared, Wish};
use super::status::{Connecting, FollowerState, Halt, TreeSize};
use super::takeover::NotTaken;
use super::trouble::{Again, Ended, Left, Trouble};
use crate::batch::{Batch, Depth, Extent, Ticket};
use crate::identity::LostRoot;
use crate::watcher::{Next, Watcher};

/// How long a session must last so that the next attempt to connect is a first one.
const LASTING: Duration = Duration::from_secs(10);

/// How long a follower waits after a run that was refused like the one before, however much changes.
const REFUSED_AGAIN: Duration = Duration::from_secs(5);

/// See the [module](self).
pub(super) struct Carrier {
    watcher: Arc<Watcher>,
    request: FollowRequest,
    prompt: Arc<dyn Prompt>,
    shared: Arc<Shared>,
    guard: Guard,
    deletions: Deletions,
    large: LargeFiles,
    trouble: Trouble,
    /// How many runs in a row were refused because they would delete most of the workspace.
    refused: u32,
}

/// Why no more batches are sent over a session.
pub(super) enum Break {
    /// The callers want something else.
    Wish,
    /// It is not safe or not possible to go on.
    Halt(Halt),
    /// A run was refused because it would delete most of the workspace.
    Refused {
        text: String,
        /// The barrier that waits for the run.
        ticket: Option<Ticket>,
    },
    /// The session was lost.
    Lost(String),
}

/// What a run does with the large files of its extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LargeAre {
    Sent,
    /// Left for a run of their own.
    Deferred,
}

impl From<LostRoot> for Break {
    fn from(lost: LostRoot) -> Self {
        match lost {
            // It is tried again, as a connection is.
            LostRoot::Unreadable { .. } => Self::Lost(lost.to_string()),
            lost => Self::Halt(Halt::Root(lost)),
        }
    }
}

impl From<Halt> for Break {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// What to do after a run that failed.
enum Failed {
    Break(Break),
    /// It would delete most of the workspace.
    Refused(String),
    /// The reason lies in what was sent.
    Told(String),
}

impl Carrier {
    pub(super) fn new(
        watcher: Arc<Watcher>,
        guard: Guard,
        request: FollowRequest,
        prompt: Arc<dyn Prompt>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            watcher,
            request,
            prompt,
            shared,
            guard,
            deletions: Deletions::default(),
            large: LargeFiles::default(),
            trouble: Trouble::default(),
            refused: 0,
        }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        while self.await_wish().is_continue() {
            match self.follow() {
                Break::Wish | Break::Lost(_) => self.put_back(),
                Break::Halt(halt) => {
                    self.put_back();
                    // In one step: a caller who sees the halt may want to go on at once.
                    self.shared.change(|state| {
                        state.told.state = FollowerState::Halted(halt);
                        state.version += 1;
                        if state.follows() {
                            state.wish = Wish::Hold;
                        }
                    });
                }
                Break::Refused { text, ticket } => {
                    let ticket = self.give_up_large().ticket.max(ticket);
                    self.shared.change(|state| {
                        state.told.state = FollowerState::Halted(Halt::MassDeletion(text));
                        state.version += 1;
                        state.refused = state.refused.max(ticket);
                    });
                    self.await_change(ticket);
                }
            }
        }
    }

    /// Waits for the next change of the worktree, which may bring back what was lost there, and has everything compared then. `ticket` is
    /// that of the barrier which waits for that. Ends early when the callers want something else.
    fn await_change(&mut self, mut ticket: Option<Ticket>) {
        self.refused += 1;
        // A program that writes all the time must not cause one attempt after the other.
        let mut until = (self.refused > 1).then(|| Instant::now() + REFUSED_AGAIN);
        let mut has_changed = false;
        while matches!(self.shared.enter().wish, Wish::Follow(None)) && !(has_changed && until.is_none()) {
            match self.watcher.next(until) {
                Next::Batch(batch) => {
                    // Somebody waits for the outcome of another attempt.
                    until = until.filter(|_| batch.ticket.is_none());
                    ticket = ticket.max(batch.ticket);
                    self.watcher.finished();
                    has_changed = true;
                }
                Next::TimedOut => until = None,
                Next::Interrupted => {}
                Next::Lost(_) => break,
            }
        }
        self.watcher.compare_everything();
        ticket.into_iter().for_each(|ticket| self.watcher.keep(ticket));
    }

    /// Waits until changes are to be sent. Breaks when the thread is to end.
    fn await_wish(&self) -> ControlFlow<()> {
        loop {
            let wish = self.shared.wait(None, |state| match (state.wish, &state.told.state) {
                (Wish::Hold, _) | (Wish::Pause, FollowerState::Paused | FollowerState::Halted(_)) => None,
                (wish, _) => Some(wish),
            });
            match wish {
                Some(Wish::Follow(_)) => return ControlFlow::Continue(()),
                Some(Wish::Pause) => self.shared.tell(|told| told.state = FollowerState::Paused),
                Some(Wish::Hold | Wish::Stop) | None => return ControlFlow::Break(()),
            }
        }
    }

    /// Sends changes over one session after the other.
    fn follow(&mut self) -> Break {
        let mut outage = Outage::new(Instant::now(), None);
        loop {
            let mut session = match self.connect(&mut outage) {
                Ok(session) => session,
                Err(reason) => return reason,
            };
            let began = Instant::now();
            let mut served = self.serve(&mut session);
            // What was sent last may have arrived or not.
            if let Break::Lost(error) = &mut served {
                let error = std::mem::take(error);
                self.put_back();
                self.watcher.compare_everything();
                if began.elapsed() > LASTING {
                    outage = Outage::new(Instant::now(), Some(error));
                } else {
                    outage.failed(Instant::now(), FailedAt::Network, error);
                }
                continue;
            }
            return served;
        }
    }

    /// Connects, however long it takes.
    fn connect(&mut self, outage: &mut Outage) -> Result<FollowSession, Break> {
        loop {
            self.await_attempt(outage)?;
            if let Err(error) = attempt(&self.request, &self.prompt, &self.shared) {
                outage.failed(Instant::now(), FailedAt::Login, format!("cannot start a thread: {error}"));
                continue;
            }
            let attempted = self.shared.wait(None, |state| match state.connection.attempted.take() {
                None if state.follows() => None,
                attempted => Some(attempted),
            });
            match attempted.flatten() {
                None => {
                    let cancel = self.shared.enter().connection.cancel.clone();
                    cancel.cancel();
                    return Err(Break::Wish);
                }
                Some(Ok(session)) => return Ok(session),
                Some(Err(error)) if error.is_workspace_removed() || error.is_refused() => {
                    return Err(Halt::Workspace(error.to_string()).into());
                }
                Some(Err(error)) => {
                    outage.failed(Instant::now(), failed_at(&error), error.to_string());
                    if let Some(key) = error.missing_passphrase() {
                        outage.lacks_passphrase(key);
                    }
                }
            }
        }
    }

    fn await_attempt(&self, outage: &Outage) -> Result<(), Break> {
        let wait = outage.wait(fastrand::f64());
        let begins = Instant::now() + wait;
        let connecting = |begins| {
            let error = outage.error().map(str::to_owned);
            let missing_passphrase = outage.missing_passphrase().map(Path::to_owned);
            FollowerState::Connecting(Connecting {
                attempt: outage.attempt(),
                begins,
                error,
                missing_passphrase,
            })
        };
        if !wait.is_zero() {
            self.shared.tell(|told| told.state = connecting(Some(begins)));
        }
        let wished = self.shared.wait(Some(begins), |state| match state.follows() {
            true => std::mem::take(&mut state.retry_now).then_some(true),
            false => Some(false),
        });
        if wished == Some(false) {
            return Err(Break::Wish);
        }
        self.shared.tell(|told| told.state = connecting(None));
        Ok(())
    }

    /// Sends batches over a session until something ends that.
    fn serve(&mut self, session: &mut FollowSession) -> Break {
        if let Err(error) = notice_end(session, &self.shared, &self.watcher) {
            return Break::Lost(format!("cannot start a thread: {error}"));
        }
        loop {
            if let Err(reason) = self.step(session) {
                return reason;
            }
        }
    }

    /// Sends a batch if there is one, and begins to send a large file if there is one.
    fn step(&mut self, session: &mut FollowSession) -> Result<(), Break> {
        self.look_at_wish(session)?;
        self.take_over(session)?;
        self.end_large(session)?;
        let next = match self.watcher.next(Some(Instant::now())) {
            Next::TimedOut if !self.large.can_begin() => {
                self.rest();
                // The end of a large file interrupts this.
                self.watcher.next(self.trouble.due())
            }
            next => next,
        };
        match next {
            Next::Batch(batch) => self.carry(session, batch)?,
            Next::Lost(lost) => return Err(lost.into()),
            Next::Interrupted => return Ok(()),
            Next::TimedOut => {}
        }
        self.begin_large(session)?;
        let due = self.trouble.take_due(Instant::now());
        self.send_again(due);
        Ok(())
    }

    fn look_at_wish(&mut self, session: &mut FollowSession) -> Result<(), Break> {
        let (first, has_ended) = {
            let mut state = self.shared.enter();
            let Wish::Follow(first) = &mut state.wish else { return Err(Break::Wish) };
            (first.take(), state.connection.ended)
        };
        match first {
            Some(First::Everything) => self.watcher.compare_everything(),
            Some(First::Collected) => self.deletions.transferred(self.watcher.entries()),
            None => {}
        }
        if has_ended {
            let nothing = coast_sync::FollowBatch::paths([]);
            let cancel = self.shared.enter().connection.cancel.clone();
            let reason = match session.send(&nothing, &coast_sync::VoidMonitor, &cancel) {
                Err(error) => error.to_string(),
                Ok(_) => "the connection was closed".to_owned(),
            };
            return Err(Break::Lost(reason));
        }
        Ok(())
    }

    /// Takes over the entries of the destination that a caller wants here.
    fn take_over(&mut self, session: &mut FollowSession) -> Result<(), Break> {
        let first = |shared: &Shared| shared.enter().resolution.take_remote.front().cloned();
        while let Some(wanted) = first(&self.shared) {
            let root = self.guard.open()?;
            let cancel = self.shared.enter().connection.cancel.clone();
            let taken = wanted.take_over(&root, |into| {
                let fetched = session.fetch(wanted.path(), into, &cancel)?;
                let is_wanted = first(&self.shared).as_ref() == Some(&wanted);
                if is_wanted { Ok(fetched) } else { Err(SyncError::Interrupted) }
            });
            let failure = match taken {
                Ok(()) => None,
                Err(NotTaken::Here(reason)) => {
                    Some(format!("cannot take {} from the destination: {reason}", wanted.path()))
                }
                Err(NotTaken::There(error)) => match self.judge(session, &error) {
                    Failed::Break(reason) => return Err(reason),
                    Failed::Told(text) | Failed::Refused(text) => Some(text),
                },
            };
            self.shared.change(|state| state.resolution.done(&wanted, failure));
        }
        Ok(())
    }

    fn rest(&self) {
        let rests = if self.large.len() == 0 { FollowerState::Watching } else { FollowerState::Sending };
        if self.shared.enter().told.state != rests {
            self.shared.tell(|told| told.state = rests);
        }
    }

    fn carry(&mut self, session: &mut FollowSession, batch: Batch) -> Result<(), Break> {
        let worktree = match self.guard.open() {
            Ok(worktree) => worktree,
            Err(lost) => {
                self.watcher.give_back(batch);
                return Err(lost.into());
            }
        };
        let plan = Plan::new(&batch, self.guard.path(), &mut self.deletions, Instant::now());
        let mut is_settled = true;
        if !plan.extent.is_empty() {
            match self.send(session, worktree, &plan.extent, plan.renamed, LargeAre::Deferred) {
                Ok((report, left)) => {
                    self.refused = 0;
                    self.large.add(report.deferred.first.clone(), report.deferred.has_more(), batch.saved);
                    is_settled = self.settle(&plan.extent, &plan.gone, (report, left), batch.saved);
                }
                Err(error) => match self.judge(session, &error) {
                    Failed::Break(reason) => {
                        self.watcher.give_back(batch);
                        return Err(reason);
                    }
                    Failed::Refused(text) => {
                        self.watcher.finished();
                        return Err(Break::Refused { text, ticket: batch.ticket });
                    }
                    Failed::Told(text) => self.fail(&plan.extent, &text),
                },
            }
        }
        self.tell_waiting();
        self.watcher.finished();
        if let Some(ticket) = batch.ticket {
            if !is_settled {
                self.watcher.keep(ticket);
            } else if let Some(ticket) = self.large.pass(ticket) {
                self.pass(ticket);
            }
        }
        Ok(())
    }

    /// Begins to send the next large file, if there is one and none is under way.
    fn begin_large(&mut self, session: &mut FollowSession) -> Result<(), Break> {
        let Some(file) = self.large.take() else { return Ok(()) };
        let worktree = match self.guard.open() {
            Ok(worktree) => worktree,
            Err(lost) => {
                self.large.put_back(file);
                return Err(lost.into());
            }
        };
        if self.large.go_with_batches() {
            return self.carry_large(session, worktree, file);
        }
        let context = LargeContext {
            request: self.request.clone(),
            prompt: Arc::clone(&self.prompt),
            shared: Arc::clone(&self.shared),
            guard: self.guard.clone(),
            watcher: Arc::clone(&self.watcher),
            take_source: self.shared.enter().resolution.take_local.clone(),
        };
        let extent = Extent::Paths([(file.path.clone(), Depth::Entry)].into());
        if let Err(error) = self.large.begin(file, context) {
            self.fail(&extent, &format!("cannot start a thread: {error}"));
            self.large_done(true);
        }
        Ok(())
    }

    /// Notes how the transfer of a large file has ended, if it has.
    fn end_large(&mut self, session: &mut FollowSession) -> Result<(), Break> {
        let Some(LargeEnded { file, has_session, sent }) = self.large.ended() else { return Ok(()) };
        self.shared.tell(|told| told.large_progress = None);
        let extent = Extent::Paths([(file.path.clone(), Depth::Entry)].into());
        let mut is_settled = true;
        match sent {
            Ok(sent) => is_settled = self.settle(&extent, &[], sent, file.saved),
            Err(error) => match self.judge(session, &error) {
                Failed::Break(reason) => {
                    self.large.put_back(file);
                    return Err(reason);
                }
                // The server allows only one session, or the second one was lost.
                Failed::Told(_) if !has_session => {
                    self.large.put_back_for_batches(file);
                    return Ok(());
                }
                Failed::Told(text) | Failed::Refused(text) => self.fail(&extent, &text),
            },
        }
        self.large_done(is_settled);
        Ok(())
    }

    /// Sends a large file as a batch of its own.
    fn carry_large(
        &mut self,
        session: &mut FollowSession,
        worktree: Root,
        file: LargeFile,
    ) -> Result<(), Break> {
        let extent = Extent::Paths([(file.path.clone(), Depth::Entry)].into());
        let mut is_settled = true;
        match self.send(session, worktree, &extent, Vec::new(), LargeAre::Sent) {
            Ok(sent) => is_settled = self.settle(&extent, &[], sent, file.saved),
            Err(error) => match self.judge(session, &error) {
                Failed::Break(reason) => {
                    self.large.put_back(file);
                    return Err(reason);
                }
                Failed::Told(text) | Failed::Refused(text) => self.fail(&extent, &text),
            },
        }
        self.large_done(is_settled);
        Ok(())
    }

    /// A large file is at the destination, or could not be brought there. If it is not settled, it comes again.
    fn large_done(&mut self, is_settled: bool) {
        let LargeDone { passed, unpassed, more } = self.large.done(is_settled);
        self.tell_waiting();
        passed.into_iter().for_each(|ticket| self.pass(ticket));
        unpassed.into_iter().for_each(|ticket| self.watcher.keep(ticket));
        if let Some(ticket) = more {
            self.watcher.compare_everything();
            ticket.into_iter().for_each(|ticket| self.watcher.keep(ticket));
        }
    }

    fn tell_waiting(&self) {
        let waiting_files = self.large.len();
        if self.shared.enter().told.waiting_files != waiting_files {
            self.shared.tell(|told| told.waiting_files = waiting_files);
        }
    }

    fn send(
        &mut self,
        session: &mut FollowSession,
        worktree: Root,
        extent: &Extent,
        renamed: Vec<(RelPath, RelPath)>,
        large: LargeAre,
    ) -> Result<(BatchReport, Vec<Left>), SyncError> {
        let notices = Notices::new(&self.shared);
        let (cancel, take_source) = {
            let state = self.shared.enter();
            (state.connection.cancel.clone(), state.resolution.take_local.clone())
        };
        let mut batch = follow_batch(extent)
            .take_source(take_source)
            .renamed(renamed)
            .there_before(self.deletions.there_before())
            .whole(self.deletions.whole());
        if large == LargeAre::Deferred {
            batch = batch.defer_above(LARGE);
        }
        let report = session.send_opened(&batch, worktree, &notices, &cancel)?;
        Ok((report, notices.left()))
    }

    /// Notes how a run ended. Returns whether nothing of it is sent again at once.
    fn settle(
        &mut self,
        extent: &Extent,
        gone: &[RelPath],
        (report, left): (BatchReport, Vec<Left>),
        saved: Instant,
    ) -> bool {
        let now = Instant::now();
        let was_empty = self.trouble.is_empty();
        self.deletions.carried(extent, &report.run, now);
        let looked_at = (!was_empty).then(|| self.looked_at(extent));
        let is_skipped = report.run.receiver.deletion_skipped;
        let not_deleted = if is_skipped { may_be_left(extent, gone) } else { Vec::new() };
        let ended = Ended {
            extent: looked_at.as_ref().unwrap_or(extent),
            failures: &report.failures,
            conflicts: &report.conflicts,
            left,
            not_deleted: is_skipped.then_some(&not_deleted),
        };
        let mut again = self.trouble.settle(ended, now, report.elapsed);
        if let Extent::Paths(paths) = extent {
            // Only the directory itself was sent.
            again.conflicts.retain(|path| paths.get(path) == Some(&Depth::Entry) && self.is_directory(path));
            again.failed.append(&mut again.conflicts);
        }
        again.conflicts.clear();
        let is_settled = again.is_empty();
        self.send_again(again);

        let size = (*extent == Extent::Everything).then_some(TreeSize {
            files: report.run.sender.files,
            directories: report.run.sender.directories,
        });
        let last_batch = last_batch(&report, now - saved);
        let trouble = (!was_empty || !self.trouble.is_empty())
            .then(|| (self.trouble.problems(), self.trouble.conflicts()));
        self.shared.tell(|told| {
            told.progress = None;
            told.notice = None;
            told.size = size.or(told.size);
            told.last_batch = last_batch.or(told.last_batch);
            if let Some((problems, conflicts)) = trouble {
                (told.problems, told.conflicts) = (problems, conflicts);
            }
        });
        is_settled
    }

    /// Notes that a run failed as a whole.
    fn fail(&mut self, extent: &Extent, text: &str) {
        self.trouble.failed(extent, text, Instant::now());
        let problems = self.trouble.problems();
        self.shared.tell(|told| {
            told.progress = None;
            told.notice = None;
            told.problems = problems;
        });
    }

    /// Decides what to do after a run that failed.
    fn judge(&mut self, session: &mut FollowSession, error: &SyncError) -> Failed {
        let text = error.to_string();
        self.shared.tell(|told| told.progress = None);
        if !self.shared.enter().follows() {
            Failed::Break(Break::Wish)
        } else if error.is_mass_deletion() {
            Failed::Refused(text)
        } else if error.is_workspace_removed() || error.is_refused() {
            Failed::Break(Halt::Workspace(text).into())
        } else if let Err(lost) = self.guard.check() {
            Failed::Break(lost.into())
        } else if !session.is_usable() {
            Failed::Break(Break::Lost(text))
        } else {
            Failed::Told(text)
        }
    }

    /// Has the next batch look at paths that were not settled.
    fn send_again(&self, again: Again) {
        if again.everything {
            self.watcher.compare_everything();
        }
        for path in again.failed {
            let depth = if self.is_directory(&path) { Depth::Tree } else { Depth::Entry };
            self.watcher.again(path, depth);
        }
        for path in again.conflicts {
            self.watcher.again(path, Depth::Entry);
        }
    }

    /// The part of the worktree that a run over an extent has settled. Below an entry that is no directory nothing is left to send, so
    /// the run has settled that, too: conflicts are noted there if a directory was at that path before.
    fn looked_at(&self, extent: &Extent) -> Extent {
        let Extent::Paths(paths) = extent else { return Extent::Everything };
        let depth = |path: &RelPath| if self.is_directory(path) { Depth::Entry } else { Depth::Tree };
        let paths = paths.iter().map(|(path, own)| (path.clone(), (*own).max(depth(path))));
        Extent::Paths(paths.collect())
    }

    fn is_directory(&self, path: &RelPath) -> bool {
        local_path(self.guard.path(), path).symlink_metadata().is_ok_and(|found| found.is_dir())
    }

    /// Has the watcher keep what waits here, with the barriers that wait for it.
    fn put_back(&mut self) {
        let GivenUp { files, ticket, has_more } = self.give_up_large();
        for file in files {
            self.watcher.again(file.path, Depth::Entry);
        }
        if has_more {
            self.watcher.compare_everything();
        }
        if let Some(ticket) = ticket {
            self.watcher.keep(ticket);
        }
    }

    /// Gives the large files up, with the barrier that waits for them.
    fn give_up_large(&mut self) -> GivenUp {
        let given_up = self.large.give_up();
        self.shared.tell(|told| {
            (told.waiting_files, told.notice) = (0, None);
            (told.progress, told.large_progress) = (None, None);
        });
        given_up
    }

    /// Everything up to a barrier has been sent and acknowledged.
    fn pass(&self, ticket: Ticket) {
        self.shared.change(|state| state.passed = state.passed.max(Some(ticket)));
    }
}

/// The paths at and below which deletions are left if a run has deleted nothing: those that are gone, and the directories that were
/// sent with everything in them.
fn may_be_left(extent: &Extent, gone: &[RelPath]) -> Vec<RelPath> {
    let Extent::Paths(paths) = extent else { return gone.to_vec() };
    let all_gone: HashSet<&RelPath> = gone.iter().collect();
    let is_gone = |path: &RelPath| all_gone.contains(path);
    let whole = paths.iter().filter(|(path, depth)| **depth == Depth::Tree && !is_gone(path));
    gone.iter().chain(whole.map(|(path, _)| path)).cloned().collect()
}
