//! The surroundings of a lifecycle test: a project with two worktrees, a local directory in the remote's place, and a second
//! implementation of [`Continuous`]. That layer copies files one way, as mutagen's mode one-way-safe does, and can be told to fail.

mod followers;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coast_sync::{
    AcceptedKey, CachePlace, Cancel, Destination, EngineError, Event, HostAnswer, IdentityUsed, Monitor,
    PresentedKey, ProblemKind, Prompt, Ready, RemoteHelper, RestoreReport, RestoreRequest, SyncError,
    TrashReport, TrashRequest, Zeroizing,
};

use crate::bulk::{Bulk, Checked, Helpers, Removed, Transfer, Transferred, request};
use crate::continuous::{
    Access, Activity, AfterTransfer, BeginStep, Conflict, Continuous, ContinuousError, ContinuousStart,
    ContinuousStatus, Extent, Failure, InstanceId, PrivateFile, Remains, RunnerChange, RunnerState, Side,
    Started, WatchSession,
};
use crate::event::{LifecycleEvent, Observer};
use crate::lifecycle::Lifecycle;
use crate::record::{Record, Step};
use crate::records::Records;
use crate::remotes::RemotesEditor;
use crate::{Layers, Name, NativeLayer, Places, Project, Remote, Scope, TrustQuestion};
use coast_tree::LockExt;

/// The calls of both layers, the steps and the other events of a command, in order.
type Log = Mutex<Vec<String>>;

/// Everything that the commands of a test work on.
pub(super) struct Stage {
    scratch: tempfile::TempDir,
    pub(super) places: Places,
    pub(super) project: Project,
    pub(super) cancel: Cancel,
    pub(super) fake: Fake,
    log: Log,
    /// The step at which the next command is killed.
    kill_at: Mutex<Option<Step>>,
    /// How the next transfers fail.
    pub(super) transfer_fails: Mutex<Option<TransferFails>>,
    /// A remote does not answer a check.
    pub(super) remote_is_down: Mutex<bool>,
    /// The answer to questions about trust; `None` if nobody can be asked.
    pub(super) trusts: Mutex<Option<bool>>,
    /// Paths that no transfer can write on the remote.
    pub(super) unwritable: Mutex<Vec<&'static str>>,
}

/// When a transfer fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransferFails {
    /// The remote does not answer.
    ToConnect,
    /// The connection breaks when the remote has just become ready.
    OnceReady,
}

/// The state of the continuous layer, and the failures that it shall have.
#[derive(Default)]
pub(super) struct Fake {
    state: Mutex<FakeState>,
    /// Fails after this step was begun.
    pub(super) fail_at: Mutex<Option<Step>>,
    /// Cannot be reached.
    pub(super) unreachable: Mutex<bool>,
    /// The files that the session leaves to transfers.
    pub(super) private: Mutex<Vec<PrivateFile>>,
    /// What the session says of itself, in place of watching.
    pub(super) activity: Mutex<Option<Activity>>,
    /// Carries nothing, until a new session starts.
    pub(super) frozen: Mutex<bool>,
    /// Does not answer before it is cancelled.
    pub(super) hangs: Mutex<bool>,
    /// Fails to end anything.
    pub(super) stop_fails: Mutex<bool>,
    /// Another owner's runner has the name.
    pub(super) foreign: Mutex<bool>,
    /// Done once, between the transfer and the first look.
    pub(super) in_the_gap: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// A directory that was deleted here, which the session leaves on the remote because of what is in it there.
    pub(super) left: Mutex<Option<Conflict>>,
    /// Done before every look.
    pub(super) before_each_look: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

#[derive(Default)]
struct FakeState {
    /// The worktree that the runner was made for.
    runner: Option<PathBuf>,
    /// The container was stopped by somebody else.
    stopped: bool,
    access: bool,
    session: Option<Session>,
}

struct Session {
    worktree: PathBuf,
    workspace: PathBuf,
    /// The paths that were equal on both sides at a scan, or that the session copied.
    known: BTreeSet<PathBuf>,
    paused: bool,
}

/// All files of a tree with their content, version control left out.
pub(super) fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.file_name().unwrap() != ".git" {
                let content = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(root).unwrap().to_owned(), content);
            }
        }
    }
    found
}

impl Stage {
    pub(super) fn new(coastfile: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        for worktree in ["shop", "feature"] {
            fs::create_dir_all(scratch.path().join(worktree).join("src/deep")).unwrap();
        }
        let write = |path: &str, content: &str| fs::write(scratch.path().join(path), content).unwrap();
        write("shop/Coastfile", coastfile);
        write("feature/Coastfile", coastfile);
        for (path, content) in [("src/a", "a of main"), ("src/deep/b", "b"), ("only-main", "x")] {
            write(&format!("shop/{path}"), content);
        }
        for (path, content) in [("src/a", "a of feature"), ("src/deep/b", "b"), ("only-feature", "y")] {
            write(&format!("feature/{path}"), content);
        }
        let places = Places::below(&scratch.path().join("home"));
        let remote = Remote::parse("dev@box.example", None, Some("/srv".to_owned())).unwrap();
        RemotesEditor::open(&places).unwrap().add("box".parse().unwrap(), remote).unwrap();
        let project = Project::find(&scratch.path().join("shop")).unwrap();
        Self {
            scratch,
            places,
            project,
            cancel: Cancel::new(),
            fake: Fake::default(),
            log: Log::default(),
            kill_at: Mutex::default(),
            transfer_fails: Mutex::default(),
            remote_is_down: Mutex::default(),
            trusts: Mutex::default(),
            unwritable: Mutex::default(),
        }
    }

    /// A project whose edits are followed.
    pub(super) fn following() -> Self {
        Self::new("[remote]\nworkspace_sync = \"mutagen\"\nprotect = [\"kept/***\"]\n")
    }

    pub(super) fn root(&self) -> PathBuf {
        self.project.root.clone()
    }

    pub(super) fn feature(&self) -> PathBuf {
        fs::canonicalize(self.scratch.path().join("feature")).unwrap()
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.on_remote("/srv/workspaces/shop/dev-1")
    }

    fn on_remote(&self, path: &str) -> PathBuf {
        self.scratch.path().join("remote").join(path.trim_start_matches('/'))
    }

    /// Reads the Coastfile again.
    pub(super) fn rewrite_coastfile(&mut self, text: &str) {
        fs::write(self.project.root.join("Coastfile"), text).unwrap();
        self.project = Project::find(&self.project.root).unwrap();
    }

    /// Carries out a command.
    pub(super) fn command<T>(&self, command: impl FnOnce(&Lifecycle<'_>) -> T) -> T {
        self.command_of(&self.project, command)
    }

    /// Carries out a command of another project.
    pub(super) fn command_of<T>(
        &self,
        project: impl Into<Scope>,
        command: impl FnOnce(&Lifecycle<'_>) -> T,
    ) -> T {
        self.log.enter().clear();
        let native = NativeLayer::new(self, RemoteHelper::Installed("/helper".into()));
        let layers = Layers { mutagen: self, native: &native };
        command(&Lifecycle::new(&self.places, project, self, layers, self, &self.cancel))
    }

    /// Carries out a command that is killed as soon as the record says that it has begun `step`.
    pub(super) fn kill_at<T>(&self, step: Step, command: impl FnOnce(&Lifecycle<'_>) -> T) {
        *self.kill_at.enter() = Some(step);
        let ended = catch_unwind(AssertUnwindSafe(|| self.command(command)));
        assert!(
            ended.is_err() && self.kill_at.enter().is_none(),
            "it ended before {step:?}: {:?}",
            self.log()
        );
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.enter().clone()
    }

    /// The steps of the last command, each as the record on the disk had it when it began.
    pub(super) fn steps(&self) -> Vec<String> {
        self.log().iter().filter_map(|line| line.strip_prefix("step ").map(str::to_owned)).collect()
    }

    fn note(&self, line: impl Into<String>) {
        self.log.enter().push(line.into());
    }

    pub(super) fn record(&self) -> Option<Record> {
        Records::new(self.places.clone()).load(&self.project.name, &dev_1()).unwrap()
    }

    /// Whether the workspace equals this worktree and follows it.
    #[track_caller]
    pub(super) fn assert_follows(&self, worktree: &Path) {
        assert_eq!(files(&self.workspace()), files(worktree), "{:?}", self.log());
        let state = self.fake.state.enter();
        assert_eq!(state.session.as_ref().map(|session| session.worktree.as_path()), Some(worktree));
        assert_eq!(state.runner.as_deref(), Some(worktree));
        drop(state);
        fs::write(worktree.join("src/a"), format!("edited {}", self.log().len())).unwrap();
        assert_eq!(self.fake.look().conflicts, []);
        assert_eq!(files(&self.workspace()), files(worktree));
    }

    /// Whether nothing follows, and no key is left.
    #[track_caller]
    pub(super) fn assert_quiet(&self) {
        let state = self.fake.state.enter();
        assert!(state.session.is_none() && !state.access, "{:?}", self.log());
    }

    #[track_caller]
    pub(super) fn assert_gone(&self) {
        self.assert_quiet();
        assert!(self.fake.state.enter().runner.is_none(), "{:?}", self.log());
        assert!(!self.workspace().exists() && self.record().is_none(), "{:?}", self.log());
        assert!(!self.places.projects().exists(), "the lock and the directories go with the last record");
    }
}

pub(super) fn dev_1() -> Name {
    "dev-1".parse().unwrap()
}

impl Bulk for Stage {
    fn transfer(
        &self,
        transfer: &Transfer<'_>,
        monitor: &dyn Monitor,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Transferred, SyncError> {
        let paths = transfer.only.map_or_else(
            || "all".to_owned(),
            |paths| {
                paths
                    .iter()
                    .map(|path| String::from_utf8_lossy(path).into_owned())
                    .collect::<Vec<_>>()
                    .join(" ")
            },
        );
        let together = if transfer.delay_updates { " together" } else { "" };
        let transfer_fails = *self.transfer_fails.enter();
        if transfer_fails == Some(TransferFails::ToConnect) {
            return Err(EngineError::Disconnected.into());
        }
        let monitor = Staged {
            stage: self,
            inner: monitor,
            transfers: format!("transfer {paths}{together}"),
            awaits_ready: transfer.only.is_none() && !transfer.dry_run,
            cancel,
            panic: Mutex::default(),
            breaks: transfer_fails.is_some(),
        };
        let destination = Destination::local(self.on_remote(transfer.remote_path));
        let ran = request(transfer, destination)?.cache(CachePlace::Nowhere).run(&monitor, prompt, cancel);
        if let Some(panic) = monitor.panic.enter().take() {
            resume_unwind(panic);
        }
        let mut report = match ran {
            Err(_) if monitor.breaks => return Err(EngineError::Disconnected.into()),
            ran => ran?,
        };
        let is_sent = |path: &str| {
            transfer.worktree.join(path).exists()
                && transfer.only.is_none_or(|only| only.iter().any(|only| only == path.as_bytes()))
        };
        for path in self.unwritable.enter().iter().filter(|path| is_sent(path)) {
            fs::remove_file(self.on_remote(transfer.remote_path).join(path)).unwrap();
            report.run.receiver.failed += 1;
            report.failures.count += 1;
            let failure =
                coast_sync::Failure::new(*path, ProblemKind::Destination, "cannot write: read-only");
            report.failures.first.push(failure);
        }
        let access = Access {
            user: "dev".to_owned(),
            host_name: transfer.remote.host.clone(),
            port: 22,
            jumps: Vec::new(),
            host_key: "ssh-ed25519 AAAA".to_owned(),
            identity: IdentityUsed::File { path: "/key".into(), encrypted: false },
        };
        Ok(Transferred { report, access })
    }

    fn check(&self, _: &Remote, path: &str, _: &dyn Prompt, _: &Cancel) -> Result<Checked, SyncError> {
        if *self.remote_is_down.enter() {
            return Err(EngineError::Disconnected.into());
        }
        Ok(Checked { login: "dev@box.example".to_owned(), workspace: self.on_remote(path).exists() })
    }

    fn trash(
        &self,
        _: &Remote,
        path: &str,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<TrashReport, SyncError> {
        TrashRequest::new(Destination::local(self.on_remote(path))).run(prompt, cancel)
    }

    fn restore(
        &self,
        _: &Remote,
        path: &str,
        entries: &[Vec<u8>],
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<RestoreReport, SyncError> {
        RestoreRequest::new(Destination::local(self.on_remote(path)), entries)?.run(prompt, cancel)
    }

    fn remove(
        &self,
        _: &Remote,
        path: &str,
        _: &dyn Prompt,
        progress: &dyn Fn(u64),
        _: &Cancel,
    ) -> Result<Removed, SyncError> {
        self.note("remove workspace");
        progress(7);
        let workspace = self.on_remote(path);
        let existed = workspace.exists();
        if existed {
            fs::remove_dir_all(workspace).unwrap();
        }
        Ok(Removed { existed, ..Removed::default() })
    }

    fn sweep(
        &self,
        _: &Remote,
        traces: &[String],
        helpers: Helpers,
        _: &dyn Prompt,
        _: &Cancel,
    ) -> Result<(), SyncError> {
        self.note(format!("sweep {} {helpers:?}", traces.join(" ")));
        Ok(())
    }
}

/// Passes every call on. A command that is killed while the remote becomes ready is killed after the run has ended, because a panic
/// would leave the threads of the run waiting for each other.
struct Staged<'a> {
    stage: &'a Stage,
    inner: &'a dyn Monitor,
    /// Noted when the remote is ready.
    transfers: String,
    /// Whether nothing is offered before.
    awaits_ready: bool,
    cancel: &'a Cancel,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether the connection breaks then.
    breaks: bool,
}

impl Monitor for Staged<'_> {
    fn event(&self, event: &Event<'_>) {
        self.inner.event(event);
    }

    fn ready(&self, ready: &Ready) {
        let workspace = self.stage.workspace();
        let before = files(&workspace);
        let returned = catch_unwind(AssertUnwindSafe(|| self.inner.ready(ready)));
        if self.awaits_ready {
            assert_eq!(files(&workspace), before, "nothing changes before it returns");
        }
        if let Err(panic) = returned {
            *self.panic.enter() = Some(panic);
            self.cancel.cancel();
        } else if !self.cancel.is_cancelled() {
            self.stage.note(self.transfers.clone());
        }
        if self.breaks {
            self.cancel.cancel();
        }
    }
}

impl Fake {
    /// One cycle of one-way-safe: what is new or known here goes there; what is there and not known stays.
    pub(super) fn look(&self) -> ContinuousStatus {
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
    pub(super) fn stop_runner(&self) {
        self.state.enter().stopped = true;
    }

    /// Removes the session and leaves the runner.
    pub(super) fn lose_session(&self) {
        self.state.enter().session = None;
    }

    fn check(&self, step: Step) -> Result<(), Failure> {
        if *self.fail_at.enter() == Some(step) { Err(failure(step)) } else { Ok(()) }
    }
}

fn failure(step: Step) -> Failure {
    Failure::new(step.as_str(), &format!("doing {}", step.as_str()), "no")
}

fn unreachable() -> ContinuousError {
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

impl Observer for Stage {
    fn confirm_trust(&self, question: &TrustQuestion) -> Option<bool> {
        self.note(format!("asked {question}"));
        *self.trusts.enter()
    }

    fn lifecycle_event(&self, event: &LifecycleEvent<'_>) {
        let LifecycleEvent::Step { step } = event else {
            return self.note(format!("told {event:?}"));
        };
        // The record on the disk names the step before the observer is told.
        let on_disk = self.record().and_then(|record| record.unfinished()).map(|(_, step)| step);
        assert_eq!(on_disk, Some(*step));
        self.note(format!("step {}", step.as_str()));
        let mut kill_at = self.kill_at.enter();
        if *kill_at == Some(*step) {
            *kill_at = None;
            drop(kill_at);
            // Ends the command where it stands: nothing of it is done after this but freeing its lock.
            resume_unwind(Box::new("killed"));
        }
    }
}

impl Monitor for Stage {
    fn event(&self, event: &Event<'_>) {
        if let Event::Problem { path, text, .. } = event {
            self.note(format!("problem {}: {text}", String::from_utf8_lossy(path)));
        }
    }
}

impl Prompt for Stage {
    fn passphrase(&self, _key: &Path) -> Option<Zeroizing<String>> {
        None
    }

    fn confirm_host(&self, _presented: &PresentedKey) -> HostAnswer {
        HostAnswer::NobodyToAsk
    }

    fn host_key_accepted(&self, _accepted: &AcceptedKey) {}

    fn notice(&self, _text: &str) {}
}
