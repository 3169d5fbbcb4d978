//! The continuous layer of a stage. It copies files one way, as mutagen's mode one-way-safe does, and can be told to fail.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coast_sync::Cancel;
use coast_tree::LockExt;

use super::{Stage, files};
use crate::continuous::{
    Activity, AfterTransfer, BeginStep, Conflict, Continuous, ContinuousError, ContinuousStart,
    ContinuousStatus, Extent, Failure, InstanceId, PrivateFile, Remains, RunnerChange, RunnerState, Side,
    Started, WatchSession,
};
use crate::record::Step;

/// The state of the continuous layer, and the failures that it shall have.
#[derive(Default)]
pub(crate) struct Fake {
    pub(super) state: Mutex<FakeState>,
    /// Fails after this step was begun.
    pub(crate) fail_at: Mutex<Option<Step>>,
    /// Cannot be reached.
    pub(crate) unreachable: Mutex<bool>,
    /// The files that the session leaves to transfers.
    pub(crate) private: Mutex<Vec<PrivateFile>>,
    /// What the session says of itself, in place of watching.
    pub(crate) activity: Mutex<Option<Activity>>,
    /// Carries nothing, until a new session starts.
    pub(crate) frozen: Mutex<bool>,
    /// Does not answer before it is cancelled.
    pub(crate) hangs: Mutex<bool>,
    /// Fails to end anything.
    pub(crate) stop_fails: Mutex<bool>,
    /// Another owner's runner has the name.
    pub(crate) foreign: Mutex<bool>,
    /// Done once, between the transfer and the first look.
    pub(crate) in_the_gap: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// A directory that was deleted here, which the session leaves on the remote because of what is in it there.
    pub(crate) left: Mutex<Option<Conflict>>,
    /// Done before every look.
    pub(crate) before_each_look: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

#[derive(Default)]
pub(super) struct FakeState {
    /// The worktree that the runner was made for.
    pub(super) runner: Option<PathBuf>,
    /// The container was stopped by somebody else.
    stopped: bool,
    pub(super) access: bool,
    pub(super) session: Option<Session>,
}

pub(super) struct Session {
    pub(super) worktree: PathBuf,
    pub(super) workspace: PathBuf,
    /// The paths that were equal on both sides at a scan, or that the session copied.
    pub(super) known: BTreeSet<PathBuf>,
    pub(super) paused: bool,
}

impl Fake {
    /// One cycle of one-way-safe: what is new or known here goes there; what is there and not known stays.
    pub(crate) fn look(&self) -> ContinuousStatus {
        if let Some(before) = &mut *self.before_each_look.enter() {
            before();
        }
        let mut state = self.state.enter();
        let runner = match (&state.runner, state.stopped) {
            (None, _) => RunnerState::Absent,
            (Some(_), true) => RunnerState::Stopped,
            (Some(_), false) => RunnerState::Running,
        };
        let session = state.session.as_mut().filter(|_| runner == RunnerState::Running);
        let Some(session) = session else {
            return ContinuousStatus { runner, ..ContinuousStatus::default() };
        };
        if session.paused {
            return ContinuousStatus { runner, activity: Activity::Halted, ..ContinuousStatus::default() };
        }
        let activity = self.activity.enter().unwrap_or(Activity::Watching);
        if *self.frozen.enter() {
            let private = self.private.enter().clone();
            let is_private =
                |path: &Path| private.iter().any(|file| path.as_os_str().as_bytes() == file.path);
            let there = files(&session.workspace);
            let remote_files = Some(there.keys().filter(|path| !is_private(path)).count() as u64);
            return ContinuousStatus {
                runner,
                activity,
                remote_files,
                private,
                ..ContinuousStatus::default()
            };
        }
        let (here, there) = (files(&session.worktree), files(&session.workspace));
        let mut conflicts = Vec::new();
        let left = self.left.enter().clone();
        let private = self.private.enter().clone();
        for (path, content) in &here {
            if private.iter().any(|file| path.as_os_str().as_bytes() == file.path) {
                continue;
            }
            let equal = there.get(path).map(|there| there == content);
            if equal == Some(false) && !session.known.contains(path) {
                let path = path.to_str().unwrap().as_bytes().to_vec();
                conflicts.push(Conflict { path, made_there: Vec::new(), kept_by_ignored: false });
                continue;
            }
            if equal != Some(true) {
                let target = session.workspace.join(path);
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::write(target, content).unwrap();
            }
            session.known.insert(path.clone());
        }
        for path in session.known.clone() {
            let is_left = |left: &Conflict| path.starts_with(OsStr::from_bytes(&left.path));
            if !here.contains_key(&path) && !left.as_ref().is_some_and(is_left) {
                fs::remove_file(session.workspace.join(&path)).unwrap_or_default();
                session.known.remove(&path);
            }
        }
        let remote_files = Some(files(&session.workspace).len() as u64);
        conflicts.extend(left);
        let files = here.len() as u64;
        ContinuousStatus {
            runner,
            activity,
            files,
            remote_files,
            conflicts,
            private,
            ..ContinuousStatus::default()
        }
    }

    /// Stops the runner with everything in it.
    pub(crate) fn stop_runner(&self) {
        self.state.enter().stopped = true;
    }

    /// Removes the session and leaves the runner.
    pub(crate) fn lose_session(&self) {
        self.state.enter().session = None;
    }

    pub(super) fn check(&self, step: Step) -> Result<(), Failure> {
        if *self.fail_at.enter() == Some(step) { Err(failure(step)) } else { Ok(()) }
    }
}

pub(super) fn failure(step: Step) -> Failure {
    Failure::new(step.as_str(), &format!("doing {}", step.as_str()), "no")
}

pub(super) fn unreachable() -> ContinuousError {
    Failure::new("layer", "reaching the layer", "it does not answer").into()
}

impl Continuous for Stage {
    fn runner(&self, id: &InstanceId) -> String {
        format!("runner of {id}")
    }

    fn reach(&self, _: &Cancel) -> Result<(), ContinuousError> {
        if *self.fake.unreachable.enter() { Err(unreachable()) } else { Ok(()) }
    }

    fn start(
        &self,
        start: &ContinuousStart<'_>,
        _: &AfterTransfer<'_>,
        begin: &mut BeginStep<'_>,
        watch: &WatchSession<'_>,
        _: &Cancel,
    ) -> Result<Started, ContinuousError> {
        begin(Step::Runner)?;
        self.fake.check(Step::Runner)?;
        if *self.fake.foreign.enter() {
            return Err(failure(Step::Runner).into());
        }
        let before = self.fake.state.enter().runner.replace(start.worktree.to_owned());
        self.fake.state.enter().stopped = false;
        *self.fake.frozen.enter() = false;
        let runner = match before {
            None => RunnerChange::Created,
            Some(worktree) if worktree == start.worktree => RunnerChange::Reused,
            Some(_) => {
                // The session ends with its runner.
                self.fake.state.enter().session = None;
                RunnerChange::Recreated
            }
        };
        begin(Step::Access)?;
        self.fake.check(Step::Access)?;
        self.fake.state.enter().access = true;
        begin(Step::Session)?;
        self.fake.check(Step::Session)?;
        if let Some(edit) = self.fake.in_the_gap.enter().take() {
            edit();
        }
        self.fake.state.enter().session = Some(Session {
            worktree: start.worktree.to_owned(),
            workspace: self.on_remote(start.remote_path),
            known: BTreeSet::new(),
            paused: false,
        });
        watch(&ContinuousStatus { activity: Activity::Carrying, ..ContinuousStatus::default() });
        Ok(Started { runner, status: self.fake.look(), traces: vec!["traces/of/a/session".to_owned()] })
    }

    fn stop(
        &self,
        _: &InstanceId,
        extent: Extent,
        begin: &mut BeginStep<'_>,
        _: &Cancel,
    ) -> Result<Remains, ContinuousError> {
        self.note(format!("end {extent:?}"));
        if *self.fake.unreachable.enter() {
            return Err(unreachable());
        }
        if *self.fake.stop_fails.enter() {
            return Err(failure(Step::EndSession).into());
        }
        if *self.fake.foreign.enter() {
            return Ok(Remains::Foreign { said: "not ours".to_owned() });
        }
        if self.fake.state.enter().runner.is_none() {
            return Ok(Remains::Nothing);
        }
        begin(Step::EndSession)?;
        self.fake.state.enter().session = None;
        if extent >= Extent::Access {
            begin(Step::RemoveAccess)?;
            self.fake.state.enter().access = false;
        }
        if extent == Extent::Everything {
            begin(Step::RemoveRunner)?;
            self.fake.state.enter().runner = None;
            return Ok(Remains::Nothing);
        }
        Ok(Remains::Runner)
    }

    fn flush(
        &self,
        _: &InstanceId,
        watch: &WatchSession<'_>,
        _: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        self.note("flush");
        watch(&ContinuousStatus { activity: Activity::Carrying, ..ContinuousStatus::default() });
        self.fake.check(Step::Gap).map_err(ContinuousError::Failed)?;
        Ok(self.fake.look())
    }

    fn pause(&self, _: &InstanceId, _: &Cancel) -> Result<(), ContinuousError> {
        self.note("pause");
        if *self.fake.stop_fails.enter() {
            return Err(failure(Step::EndSession).into());
        }
        if let Some(session) = &mut self.fake.state.enter().session {
            session.paused = true;
        }
        Ok(())
    }

    fn status(&self, _: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        if *self.fake.hangs.enter() {
            let (hangs_up, hung_up) = std::sync::mpsc::channel();
            let _hook = cancel.on_cancel(move || {
                let _ = hangs_up.send(());
            });
            hung_up.recv().unwrap();
            return Err(ContinuousError::Interrupted);
        }
        if *self.fake.unreachable.enter() {
            return Err(unreachable());
        }
        Ok(self.fake.look())
    }

    fn resolve(
        &self,
        _: &InstanceId,
        paths: &[Vec<u8>],
        take: Side,
        _: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        let paths: Vec<_> = paths.iter().map(|path| String::from_utf8_lossy(path)).collect();
        self.note(format!("resolve {take:?} {}", paths.join(" ")));
        Ok(self.fake.look())
    }
}
