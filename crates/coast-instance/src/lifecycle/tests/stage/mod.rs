//! The surroundings of a lifecycle test: a project with two worktrees, a local directory in the remote's place, and a second
//! implementation of [`Continuous`](crate::continuous::Continuous).

mod bulk;
mod followers;
mod layer;
mod observer;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coast_sync::{Cancel, RemoteHelper};
use coast_tree::LockExt;

use crate::lifecycle::Lifecycle;
use crate::record::{Record, Step};
use crate::records::Records;
use crate::remotes::RemotesEditor;
use crate::{Layers, Name, NativeLayer, Places, Project, Remote, Scope};
pub(super) use bulk::TransferFails;
use layer::Fake;

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

    /// A stage whose project uses a continuous layer, so that its edits are carried.
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
