//! A project of a coast user: a git repository with a Coastfile, a remote machine, a Docker engine, and an image for shell
//! containers.

use std::ffi::OsStr;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use coast_testkit::{DockerEngine, Tree, require};

use crate::program::Program;
use crate::remote::Remote;
use crate::shell_image::ShellImage;
use crate::watch::Watch;

/// The time within which an edit must arrive. The real mutagen scans files that were not edited lately every 10 seconds.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(10);

/// The name of the remote in `coast remote`.
const REMOTE: &str = "box";

/// The continuous layer of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// A follower in coastd.
    Native,
    /// mutagen in a shell container.
    Mutagen,
}

/// Makes tests of functions that take a [`Layer`]: one for each layer.
#[macro_export]
macro_rules! on_both_layers {
    ($($test:ident),+ $(,)?) => {
        mod native {
            $(#[test] fn $test() { super::$test($crate::Layer::Native) })+
        }
        mod mutagen {
            $(#[test] fn $test() { super::$test($crate::Layer::Mutagen) })+
        }
    };
}

/// A project. Its containers are removed when it is dropped, and its coastd is stopped.
pub struct Project {
    /// The engine of the shell containers. A project with the native layer needs none.
    engine: Option<&'static DockerEngine>,
    name: String,
    coastfile: Vec<String>,
    remote: Remote,
}

impl Project {
    /// A project with these files. Its image has everything that coast needs.
    #[must_use]
    pub fn of(tree: &Tree) -> Self {
        Self::with_image(tree, ShellImage::Whole)
    }

    /// A project with these files, whose edits this layer carries.
    #[must_use]
    pub fn on(layer: Layer, tree: &Tree) -> Self {
        match layer {
            Layer::Native => Self::new(tree, None, vec!["workspace_sync = \"native\"".into()]),
            Layer::Mutagen => Self::of(tree),
        }
    }

    /// A project with these files and this image.
    ///
    /// # Panics
    /// When a part of it cannot be made.
    #[must_use]
    pub fn with_image(tree: &Tree, image: ShellImage) -> Self {
        let engine = DockerEngine::shared();
        let image = image.build(engine);
        let coastfile = vec![
            format!("shell_image = \"{image}\""),
            "workspace_sync = \"mutagen\"".into(),
            "shell_network = \"host\"".into(),
        ];
        Self::new(tree, Some(engine), coastfile)
    }

    fn new(tree: &Tree, engine: Option<&'static DockerEngine>, coastfile: Vec<String>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let remote = Remote::start();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e{}x{number}", std::process::id());
        fs::create_dir(remote.path("service")).expect("a new sandbox is empty");
        let project = Self { engine, name, coastfile, remote };
        tree.build(project.root());
        project.write_coastfile();
        project.git(&project.root(), ["init", "--quiet", "--initial-branch=main"]);
        project.commit(&project.root());
        project.add_remote(REMOTE).run().assert_code(0);
        project
    }

    /// The name of the project.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine of the project's instances.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The engine of the project's shell containers.
    ///
    /// # Panics
    /// When the project has the native layer.
    #[must_use]
    pub fn engine(&self) -> &'static DockerEngine {
        self.engine.expect("the project's layer has containers")
    }

    /// The directory of the repository.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.remote.path("shop")
    }

    /// Sets a line of the section `[remote]` of the Coastfile. It replaces the line with the same key.
    pub fn set(&mut self, name: &str, value: &str) {
        self.coastfile.retain(|line| !line.starts_with(&format!("{name} =")));
        self.coastfile.push(format!("{name} = {value}"));
        self.write_coastfile();
    }

    /// Renames the project, which must not have instances yet.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        self.write_coastfile();
    }

    fn write_coastfile(&self) {
        let text = format!("[coast]\nname = \"{}\"\n\n[remote]\n{}\n", self.name, self.coastfile.join("\n"));
        fs::write(self.root().join("Coastfile"), text).expect("the repository is ours");
        // The user trusts these settings. A wrong Coastfile cannot be trusted, and the command under test says why.
        let _ = self.coast(["trust"]).run();
    }

    /// `coast remote add NAME`, for the machine of this project.
    #[must_use]
    pub fn add_remote(&self, name: &str) -> Program {
        let account = self.remote.account().name();
        let address = format!("{account}@127.0.0.1:{}", self.remote.sshd().port());
        let program = self.coast(["remote", "add", name, &address]).arg("--key").arg(self.remote.key());
        program.arg("--service-home").arg(self.remote.path("service"))
    }

    /// `coast` with these arguments, in the repository.
    #[must_use]
    pub fn coast<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Program {
        let program = self.remote.sandbox().coast(arguments);
        // Without an engine every use of Docker fails.
        let host = self.engine.map_or("unix:///nonexistent/docker.sock", DockerEngine::host);
        program.directory(&self.root()).env("DOCKER_HOST", host)
    }

    /// Runs `git` in a worktree.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn git<A: AsRef<OsStr>>(&self, worktree: &Path, arguments: impl IntoIterator<Item = A>) {
        let mut git = Command::new(require("git", "git"));
        git.current_dir(worktree).args(["-c", "user.name=A Tester", "-c", "user.email=tester@example.org"]);
        let output = git.args(arguments).env("HOME", self.remote.path("home")).output().expect("git starts");
        assert!(output.status.success(), "{git:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Commits everything in a worktree.
    pub fn commit(&self, worktree: &Path) {
        self.git(worktree, ["add", "--all"]);
        self.git(worktree, ["commit", "--quiet", "--allow-empty", "--message=State"]);
    }

    /// Makes a worktree and a branch of the same name.
    #[must_use]
    pub fn worktree(&self, name: &str) -> PathBuf {
        let path = self.remote.path(name);
        self.git(
            &self.root(),
            ["worktree", "add", "--quiet", "-b", name, path.to_str().expect("paths of tests are text")],
        );
        path
    }

    /// The path of an instance's workspace. The remote shares the disk with the test.
    #[must_use]
    pub fn workspace(&self, instance: &str) -> PathBuf {
        self.remote.path("service/workspaces").join(&self.name).join(instance)
    }

    /// The name of an instance's shell container.
    #[must_use]
    pub fn container(&self, instance: &str) -> String {
        format!("{}-coasts-{instance}-shell", self.name)
    }

    /// Runs a program in an instance's shell container.
    #[must_use]
    pub fn exec(&self, instance: &str, words: &[&str]) -> Output {
        self.engine().exec(&self.container(instance), words)
    }

    /// All containers of this project.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        self.engine().containers(&format!("coast.project={}", self.name))
    }

    /// Whether an instance's shell container runs.
    #[must_use]
    pub fn runs(&self, instance: &str) -> bool {
        let inspect = ["inspect", "--format", "{{.State.Running}}", &self.container(instance)];
        self.engine().command(inspect).output().expect("docker starts").stdout == b"true\n"
    }

    /// The mutagen sessions in an instance's shell container. Without a container that runs the list is empty.
    ///
    /// # Panics
    /// When mutagen prints anything but JSON.
    #[must_use]
    #[track_caller]
    pub fn sessions(&self, instance: &str) -> Vec<Value> {
        if !self.runs(instance) {
            return Vec::new();
        }
        let output = self.exec(instance, &["mutagen", "sync", "list", "--template", "{{json .}}"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "{error}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// Whether an instance's shell container holds the private key of the remote.
    ///
    /// # Panics
    /// When the container cannot be searched.
    #[must_use]
    pub fn holds_key(&self, instance: &str) -> bool {
        let key = fs::read_to_string(self.remote.key()).expect("the key was made");
        let line = key.lines().nth(2).expect("a key has lines");
        let places = ["/root", "/home", "/tmp", "/run", "/etc", "/var", "/dev/shm", "/opt", "/srv"];
        let search =
            ["grep", "--recursive", "--files-with-matches", "--devices=skip", "--fixed-strings", "--", line];
        if !self.runs(instance) {
            let mut export = self.engine().command(["export", &self.container(instance)]);
            let output = export.output().expect("docker starts");
            assert!(output.status.success() && !output.stdout.is_empty(), "{export:?} failed");
            return output.stdout.windows(line.len()).any(|window| window == line.as_bytes());
        }
        let there = self.exec(instance, &["cat", "/etc/passwd"]);
        assert!(there.status.success(), "nothing can be looked for in the container of {instance}");
        let output = self.exec(instance, &[&search[..], &places].concat());
        !output.stdout.is_empty()
    }

    /// The record of an instance.
    #[must_use]
    pub fn record(&self, instance: &str) -> PathBuf {
        self.states().join(format!("{instance}.json"))
    }

    /// The directory of the records of this project's instances.
    #[must_use]
    pub fn states(&self) -> PathBuf {
        self.remote.path("home/.local/state/coast").join(&self.name)
    }

    /// Waits for a change in an instance's workspace, for as long as an edit may take.
    #[track_caller]
    pub fn follows(&self, instance: &str, what: &str, happened: impl Fn(&Path) -> bool) {
        let workspace = self.workspace(instance);
        Watch::below(&workspace).within(FOLLOWS_WITHIN).until(what, || happened(&workspace));
    }

    /// Waits until a file of an instance's workspace has this content, for as long as an edit may take.
    #[track_caller]
    pub fn follows_with(&self, instance: &str, path: &str, content: &[u8]) {
        let is_there = |workspace: &Path| fs::read(workspace.join(path)).is_ok_and(|found| found == content);
        self.follows(instance, path, is_there);
    }

    /// Runs `coast` again and again until its output is as wanted.
    ///
    /// # Panics
    /// When the output is not as wanted after half a minute.
    #[track_caller]
    pub fn coast_says<A: AsRef<OsStr> + Clone>(&self, arguments: &[A], wanted: &str) {
        let started = Instant::now();
        loop {
            let outcome = self.coast(arguments).run();
            if outcome.text().to_lowercase().contains(&wanted.to_lowercase()) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{wanted:?} is never said:\n{outcome}");
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // A failure here must not hide the failure of the test.
        let Some(engine) = self.engine else {
            let stop = self.coast(["daemon", "stop"]);
            let _ = catch_unwind(AssertUnwindSafe(|| stop.run()));
            return;
        };
        let containers = self.containers();
        if !containers.is_empty() {
            let remove = ["rm", "--force"].into_iter().chain(containers.iter().map(String::as_str));
            let _ = engine.command(remove).output();
        }
    }
}
