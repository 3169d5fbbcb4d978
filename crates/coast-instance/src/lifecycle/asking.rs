//! The questions of `status` and `ls`: is the worktree there, does its session run, and, if that is wanted, can the remote be
//! reached? All instances are asked at once, and none waits longer than the limit: a Docker socket or a network disk that hangs must
//! not hang `ls`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use coast_sync::{Cancel, Prompt};
use coast_tree::{LockExt, LockResultExt};

use crate::bulk::{Bulk, Checked};
use crate::continuous::{Activity, ContinuousError, ContinuousStatus, Retry};
use crate::lifecycle::hold::hold;
use crate::lock::{FileLock, Holder};
use crate::record::{Following, Record, State};
use crate::records::Records;
use crate::worktree::{WorktreeIdentity, WorktreeState};
use crate::{Layers, Places, Remotes};

/// The number of questions that are under way at once.
const MAX_AT_ONCE: usize = 32;

/// The questions to the layers, and how long they may take.
pub struct Questions<'a> {
    /// The layers that are asked for sessions.
    pub layers: Layers<'a>,
    /// The layer that connects to the remotes; `None` if they are not asked.
    pub remotes: Option<&'a dyn Bulk>,
    /// Answers the questions of a connection.
    pub prompt: &'a dyn Prompt,
    /// The time for all questions together. A connection that is being made may take some seconds more.
    pub limit: Duration,
    /// Ends the questions early.
    pub cancel: &'a Cancel,
}

/// An instance at one moment.
#[derive(Debug)]
pub struct InstanceStatus {
    /// The record.
    pub record: Record,
    /// The command that holds the lock.
    pub holder: Option<Holder>,
    /// The directory of the worktree.
    pub worktree: WorktreeState,
    /// The status of the session, or the reason why it cannot be told. `None` if the record says that no session runs.
    pub continuous: Option<Result<ContinuousStatus, String>>,
    /// The reason why the session could not be paused although the worktree is lost. A session that was paused is in the record.
    pub not_held: Option<String>,
    /// The answer of the remote, or the reason why there is none. `None` if it was not asked.
    pub remote: Option<Result<Checked, String>>,
    /// Whether the Coastfile asks for edits to be carried, and did not at the last command. Only [`Lifecycle::status`] looks for that.
    ///
    /// [`Lifecycle::status`]: crate::Lifecycle::status
    pub begins_to_follow: bool,
    /// The next attempt of coastd to mend a session of the mutagen layer. Only a caller that knows coastd sets it.
    pub mending: Option<Retry>,
}

/// Whether an edit that is made now would arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edits {
    /// It would.
    Follow,
    /// It need not: the project is bulk only, or the instance is stopped.
    NeedNotFollow,
    /// It should, and it would not, or nobody can tell.
    DoNotFollow,
}

impl InstanceStatus {
    /// Whether an edit that is made now would arrive. Paths with conflicts or problems are not considered. A remote that was asked and
    /// has no workspace takes no edits.
    pub fn edits(&self) -> Edits {
        let remote_fails = match &self.remote {
            Some(Ok(checked)) => !checked.workspace,
            Some(Err(_)) => true,
            None => false,
        };
        if remote_fails {
            return Edits::DoNotFollow;
        }
        match (self.record.state, &self.record.following, &self.continuous) {
            (State::Stopped, ..) => Edits::NeedNotFollow,
            (_, Following::BulkOnly, _) if !self.begins_to_follow => Edits::NeedNotFollow,
            (_, Following::Yes, Some(Ok(session)))
                if self.worktree == WorktreeState::There
                    && matches!(session.activity, Activity::Watching | Activity::Carrying) =>
            {
                Edits::Follow
            }
            _ => Edits::DoNotFollow,
        }
    }

    /// The exit code of `status`: 12 if edits should follow and do not, or else 0.
    pub fn exit_code(&self) -> u8 {
        match self.edits() {
            Edits::Follow | Edits::NeedNotFollow => 0,
            Edits::DoNotFollow => 12,
        }
    }
}

/// A question that has to wait for another program.
enum Question {
    Session,
    Remote,
}

impl Questions<'_> {
    /// Asks about these instances of `places`. A session whose worktree is lost is paused, unless a command works on the instance.
    pub(super) fn ask(
        &self,
        places: &Places,
        instances: Vec<(Record, Option<Holder>)>,
    ) -> Vec<InstanceStatus> {
        let until = Instant::now() + self.limit;
        // The end of the time must not cancel other uses of the caller's token.
        let cancel = Cancel::new();
        let _hook = self.cancel.on_cancel({
            let cancel = cancel.clone();
            move || cancel.cancel()
        });
        let worktrees: Vec<Receiver<WorktreeState>> =
            instances.iter().map(|(record, _)| look(record)).collect();
        let asking = Asking {
            questions: self,
            records: Records::new(places.clone()),
            remotes: self
                .remotes
                .map(|bulk| (bulk, Remotes::load(places).map_err(|error| error.to_string()))),
            cancel,
            until,
        };
        let instances: Vec<_> = instances
            .into_iter()
            .zip(worktrees)
            .map(|((record, holder), worktree)| Asked {
                record: Mutex::new(record),
                holder,
                worktree: Mutex::new(worktree),
                state: OnceLock::new(),
                session: OnceLock::new(),
                not_held: OnceLock::new(),
                remote: OnceLock::new(),
            })
            .collect();
        asking.ask(&instances);
        instances.into_iter().map(|asked| asked.status(&asking)).collect()
    }
}

/// Looks at a worktree. The thread may outlive the question, because a system call on a network disk can hang.
fn look(record: &Record) -> Receiver<WorktreeState> {
    let (tell, told) = mpsc::channel();
    let (path, identity): (_, Option<WorktreeIdentity>) =
        (record.worktree.to_path_buf(), record.identity.clone());
    thread::spawn(move || {
        // Nobody may wait for the answer any more.
        let _ = tell.send(WorktreeState::of(&path, identity.as_ref()));
    });
    told
}

/// An instance that is asked about.
struct Asked {
    /// Guards the record, which changes if the session is paused. Held while the record's file is locked and read, and while the session
    /// is paused. It is never held together with the lock of `worktree`.
    record: Mutex<Record>,
    holder: Option<Holder>,
    /// Guards the receiver of the worktree's state.
    worktree: Mutex<Receiver<WorktreeState>>,
    state: OnceLock<WorktreeState>,
    session: OnceLock<Result<ContinuousStatus, String>>,
    not_held: OnceLock<String>,
    remote: OnceLock<Result<Checked, String>>,
}

/// The questions under way.
struct Asking<'a> {
    questions: &'a Questions<'a>,
    records: Records,
    /// The layer that connects to remotes, and the remotes.
    remotes: Option<(&'a dyn Bulk, Result<Remotes, String>)>,
    /// Ends the questions.
    cancel: Cancel,
    /// The end of the time.
    until: Instant,
}

impl Asking<'_> {
    fn ask(&self, instances: &[Asked]) {
        let mut questions = Vec::new();
        for asked in instances {
            if asked.record.enter().following == Following::Yes {
                questions.push((asked, Question::Session));
            }
            if self.remotes.is_some() {
                questions.push((asked, Question::Remote));
            }
        }
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (asking, ended) = mpsc::channel::<()>();
            scope.spawn(move || {
                let left = self.until.saturating_duration_since(Instant::now());
                if ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                    self.cancel.cancel();
                }
            });
            let workers: Vec<_> = (0..questions.len().min(MAX_AT_ONCE))
                .map(|_| {
                    scope.spawn(|| {
                        while let Some((asked, question)) =
                            questions.get(next.fetch_add(1, Ordering::Relaxed))
                        {
                            match question {
                                Question::Session => self.ask_session(asked),
                                Question::Remote => self.ask_remote(asked),
                            }
                        }
                    })
                })
                .collect();
            for worker in workers {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
            drop(asking);
        });
    }

    fn ask_session(&self, asked: &Asked) {
        let (id, layer) = {
            let record = asked.record.enter();
            (record.id(), record.layer)
        };
        let continuous = self.questions.layers.get(layer);
        let session = match continuous.status(&id, &self.cancel) {
            Ok(mut status) => {
                let record = asked.record.enter();
                status.conflicts.retain(|conflict| !record.mended.contains(&conflict.stored_path()));
                Ok(status)
            }
            Err(ContinuousError::Interrupted) => Err(self.no_answer()),
            Err(error) => Err(error.to_string()),
        };
        let state = asked.state(self).clone();
        // The record of a command at work belongs to that command.
        if state.is_lost()
            && let Some(lock) = self.lock(asked)
        {
            let session = session.as_ref().ok();
            let mut record = asked.record.enter();
            if let Err(reason) = hold(continuous, &self.records, &mut record, &state, session, &self.cancel) {
                let _ = asked.not_held.set(reason);
            }
            drop(lock);
        }
        // Each question is asked once.
        let _ = asked.session.set(session);
    }

    /// Locks an instance, if no command works on it and its record is still the one that is asked about.
    fn lock(&self, asked: &Asked) -> Option<FileLock> {
        let record = asked.record.enter();
        let lock = FileLock::at_once(&self.records.lock_file(&record.project, &record.instance), "status")?;
        match self.records.load(&record.project, &record.instance) {
            Ok(Some(now)) if now == *record => Some(lock),
            Ok(None) => {
                // Locking has created the lock file of an instance that was removed meanwhile.
                lock.remove();
                None
            }
            Ok(Some(_)) | Err(_) => None,
        }
    }

    fn ask_remote(&self, asked: &Asked) {
        let Some((bulk, remotes)) = &self.remotes else { return };
        let record = asked.record.enter().clone();
        let found = remotes.as_ref().map_err(Clone::clone);
        let found = found.and_then(|remotes| remotes.get(&record.remote).map_err(|error| error.to_string()));
        let checked = found.map(|remote| record.as_used(remote)).and_then(|remote| {
            if self.cancel.is_cancelled() {
                return Err(self.no_answer());
            }
            bulk.check(&remote, &record.remote_path, self.questions.prompt, &self.cancel).map_err(|error| {
                match error {
                    coast_sync::SyncError::Interrupted => self.no_answer(),
                    error => error.to_string(),
                }
            })
        });
        let _ = asked.remote.set(checked);
    }

    fn no_answer(&self) -> String {
        format!("no answer within {} s", self.questions.limit.as_secs())
    }
}

impl Asked {
    /// The state of the worktree.
    fn state(&self, asking: &Asking<'_>) -> &WorktreeState {
        self.state.get_or_init(|| {
            let left = asking.until.saturating_duration_since(Instant::now());
            let told = self.worktree.enter().recv_timeout(left);
            told.unwrap_or_else(|_| WorktreeState::Unknown(asking.no_answer()))
        })
    }

    fn status(self, asking: &Asking<'_>) -> InstanceStatus {
        let worktree = self.state(asking).clone();
        InstanceStatus {
            record: self.record.into_inner().even_poisoned(),
            holder: self.holder,
            worktree,
            continuous: self.session.into_inner(),
            not_held: self.not_held.into_inner(),
            remote: self.remote.into_inner(),
            begins_to_follow: false,
            mending: None,
        }
    }
}
