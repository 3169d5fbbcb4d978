//! The layer in front of mutagen, with a real Docker engine, a real sshd and mutagen (`coast_tests::Mutagen` says which
//! one).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coast_mutagen::{
    Docker, DockerEnvironment, Ensured, RemoteAccess, SessionSpec, SessionState, Shell, ShellSpec, Status,
    Step,
};
use coast_tests::{DockerEngine, Remote, ShellImage, Snapshot, Sudo, Tree, Watch};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

/// A worktree, a remote, and the layer that connects them.
struct Place {
    docker: Docker,
    engine: &'static DockerEngine,
    remote: Remote,
    project: String,
    image: String,
    network: &'static str,
}

impl Place {
    fn new(image: ShellImage) -> Self {
        Self::on(DockerEngine::shared(), image)
    }

    fn on(engine: &'static DockerEngine, image: ShellImage) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let image = image.build(engine);
        let remote = Remote::with(&coast_tests::Shell::Bash, Sudo::Never);
        Tree::new().file("src/main.rs", "1").file("README", "read").build(remote.path("worktree"));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let project = format!("layer{}x{number}", std::process::id());
        let docker =
            Docker::connect(&DockerEnvironment::isolated(engine.host())).expect("the engine answers");
        fs::create_dir(remote.path("workspace")).expect("a new sandbox is empty");
        remote.account().own(remote.path("workspace"));
        Self { docker, engine, remote, project, image, network: "host" }
    }

    fn spec(&self) -> ShellSpec {
        ShellSpec::new(&self.project, "dev-1", &self.image, self.remote.path("worktree"), self.network)
    }

    fn shell(&self) -> Shell {
        self.docker.ensure_shell(&self.spec()).expect("a container can be made").0
    }

    fn access(&self) -> RemoteAccess {
        RemoteAccess {
            user: self.remote.account().name().to_owned(),
            host: "127.0.0.1".to_owned(),
            port: self.remote.sshd().port(),
            private_key: fs::read(self.remote.key()).expect("the key was made").into(),
            host_key: self.remote.sshd().host_key(),
        }
    }

    fn session(&self, shell: &Shell) -> Result<SessionState, coast_mutagen::MutagenError> {
        let endpoint = shell.install_access(&self.access())?;
        let mut remote_path = self.workspace().display().to_string();
        remote_path.push('/');
        let ignores = vec!["node_modules".to_owned(), "a,b".to_owned(), ".git".to_owned()];
        let (project, instance) = (self.project.clone(), "dev-1".to_owned());
        let private = vec!["private*".to_owned()];
        let spec =
            SessionSpec { project, instance, endpoint, remote_path, ignores, private, file_mode: 0o644 };
        shell.create_session(&spec)
    }

    fn workspace(&self) -> PathBuf {
        self.remote.path("workspace")
    }

    fn flush(&self, shell: &Shell) {
        shell.flush(&self.project, "dev-1", PATIENCE).expect("it can be flushed");
    }

    /// The processes of mutagen's agents, by the user they run as.
    fn agents(&self) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").expect("there are processes").flatten();
        let own = processes.filter(|process| {
            process.metadata().is_ok_and(|metadata| metadata.uid() == self.remote.account().uid())
        });
        let agents = own.filter(|process| {
            fs::read(process.path().join("cmdline")).is_ok_and(|line| line.starts_with(b".mutagen/agents/"))
        });
        let pids =
            agents.filter_map(|process| process.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
        let pids: Vec<Pid> = pids.collect();
        assert!(!pids.is_empty(), "there is no agent");
        pids
    }

    #[track_caller]
    fn fails_at(&self, step: Step, said: &str) {
        let failed = self.docker.ensure_shell(&self.spec()).and_then(|(shell, _)| self.session(&shell));
        let error = failed.expect_err("something is missing");
        assert_eq!(error.step(), step, "{error}");
        assert!(error.to_string().contains(said), "{said:?} is missing from {error}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A failure here must not hide the failure of the test.
        let _ = self.docker.remove_shell(&self.spec().name, &self.spec().labels);
    }
}

#[test]
fn a_session_follows_until_it_is_ended() {
    let place = Place::new(ShellImage::Whole);
    let shell = place.shell();
    place.session(&shell).expect("a session can be created");
    place.flush(&shell);
    let (worktree, workspace) = (place.remote.path("worktree"), place.workspace());
    Snapshot::of(&worktree).assert_same_content(&Snapshot::of(&workspace));

    let tree = Tree::new().file("node_modules/x", "1").file("a,b/x", "1").file(".git", "gitdir");
    tree.file("private*", "1").file("private-not", "1").build(&worktree);
    fs::write(worktree.join("src/main.rs"), "2").expect("it is ours");
    let watch = Watch::below(&workspace).within(Duration::from_secs(10));
    watch.until("the edit", || fs::read(workspace.join("src/main.rs")).is_ok_and(|found| found == b"2"));
    place.flush(&shell);
    for ignored in ["node_modules", "a,b", ".git", "private*"] {
        assert!(!workspace.join(ignored).exists(), "{ignored} does not travel");
    }
    assert!(workspace.join("private-not").exists(), "another name than that of a private file travels");
    let states = shell.sessions(&place.project, "dev-1").expect("it can be listed");
    assert!(states.len() == 1 && states[0].status == Status::Watching, "{states:?}");
    assert!(states[0].last_error.is_none() && states[0].conflicts().next().is_none(), "{states:?}");

    // The second session replaces the first.
    place.session(&shell).expect("a session can be created");
    let again = shell.sessions(&place.project, "dev-1").expect("it can be listed");
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].identifier, states[0].identifier);

    shell.terminate(&place.project, "dev-1").expect("it can be ended");
    shell.terminate(&place.project, "dev-1").expect("nothing there is fine");
    assert!(shell.sessions(&place.project, "dev-1").expect("it can be listed").is_empty());
}

#[test]
fn access_leaves_nothing_behind() {
    for image in [ShellImage::Whole, ShellImage::OfAUser] {
        let place = Place::new(image);
        let shell = place.shell();
        let files = || {
            let places = ["/root", "/home", "/etc", "/tmp"];
            let find = [&["find"][..], &places, &["-type", "f", "-not", "-path", "*/.mutagen/*"]].concat();
            let output = place.engine.exec(shell.name(), &find);
            String::from_utf8(output.stdout).expect("names are text")
        };
        let before = files();
        shell.install_access(&place.access()).expect("access can be given");
        assert_ne!(files(), before);
        shell.install_access(&place.access()).expect("and given again");
        shell.remove_access().expect("and taken");
        shell.remove_access().expect("nothing there is fine");
        assert_eq!(files(), before);
    }
}

#[test]
fn a_container_is_reused_while_it_is_right() {
    let place = Place::new(ShellImage::Whole);
    let ensure = |spec: &ShellSpec| place.docker.ensure_shell(spec).expect("a container can be made").1;
    assert_eq!(ensure(&place.spec()), Ensured::Created);
    assert_eq!(ensure(&place.spec()), Ensured::Reused);
    place.engine.run(["stop", "--time=0", &place.spec().name]);
    assert_eq!(ensure(&place.spec()), Ensured::Reused);
    // Another worktree takes the path of the mounted worktree, so the mount shows a removed directory.
    fs::rename(place.remote.path("worktree"), place.remote.path("away")).expect("it is ours");
    Tree::new().file("other", "1").build(place.remote.path("worktree"));
    assert_eq!(ensure(&place.spec()), Ensured::Recreated);
    let listed = place.engine.exec(&place.spec().name, &["ls", "/workspace"]);
    assert_eq!(listed.stdout, b"other\n");
    let elsewhere = ShellSpec { worktree: place.remote.path("away"), ..place.spec() };
    assert_eq!(ensure(&elsewhere), Ensured::Recreated);
    assert!(place.docker.remove_shell(&elsewhere.name, &elsewhere.labels).expect("it can be removed"));
    assert!(!place.docker.remove_shell(&elsewhere.name, &elsewhere.labels).expect("nothing there is fine"));
}

#[test]
fn sessions_outlive_their_container_stopping() {
    let place = Place::new(ShellImage::Whole);
    let shell = place.shell();
    place.session(&shell).expect("a session can be created");
    place.flush(&shell);
    place.engine.run(["restart", "--time=0", shell.name()]);
    fs::write(place.remote.path("worktree/src/main.rs"), "2").expect("it is ours");
    let workspace = place.workspace();
    let watch = Watch::below(&workspace).within(Duration::from_secs(15));
    watch.until("the edit", || fs::read(workspace.join("src/main.rs")).is_ok_and(|found| found == b"2"));
    assert_eq!(shell.sessions(&place.project, "dev-1").expect("it can be listed").len(), 1);
}

#[test]
fn a_daemon_that_was_killed_comes_back_with_its_session() {
    let place = Place::new(ShellImage::Whole);
    let shell = place.shell();
    place.session(&shell).expect("a session can be created");
    place.flush(&shell);
    let init = place.engine.run(["inspect", "--format", "{{.State.Pid}}", shell.name()]);
    let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).expect("it is running");
    let daemon = children.split_whitespace().next().expect("the daemon is the init's first child");
    let daemon = Pid::from_raw(daemon.parse().expect("the kernel writes numbers")).expect("no process is 0");
    kill_process(daemon, Signal::KILL).expect("it is running");
    fs::write(place.remote.path("worktree/src/main.rs"), "2").expect("it is ours");
    let workspace = place.workspace();
    let watch = Watch::below(&workspace).within(Duration::from_secs(15));
    watch.until("the edit", || fs::read(workspace.join("src/main.rs")).is_ok_and(|found| found == b"2"));
    assert_eq!(shell.sessions(&place.project, "dev-1").expect("it can be listed").len(), 1);
}

#[test]
fn docker_brings_a_session_back_and_leaves_a_stopped_container_stopped() {
    let engine = DockerEngine::of_its_own();
    let place = Place::on(engine, ShellImage::Whole);
    let shell = place.shell();
    place.session(&shell).expect("a session can be created");
    place.flush(&shell);
    engine.restart();
    fs::write(place.remote.path("worktree/src/main.rs"), "2").expect("it is ours");
    let workspace = place.workspace();
    let watch = Watch::below(&workspace).within(Duration::from_secs(15));
    watch.until("the edit", || fs::read(workspace.join("src/main.rs")).is_ok_and(|found| found == b"2"));

    let ShellSpec { name, labels, .. } = place.spec();
    place.docker.stop_shell(&name, &labels).expect("it can be stopped");
    engine.restart();
    let stopped = place.docker.find_shell(&name, &labels).expect("it can be looked for");
    assert!(!stopped.expect("it is there").is_running());
    place.shell();
    assert_eq!(shell.sessions(&place.project, "dev-1").expect("it can be listed").len(), 1);
}

#[test]
fn a_program_in_the_container_reads_the_worktree_and_can_change_nothing_in_it() {
    let place = Place::new(ShellImage::Whole);
    let private = place.remote.path("worktree/private");
    fs::write(&private, "mine").expect("it is ours");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).expect("it is ours");
    place.remote.account().own(&private);
    let shell = place.shell();
    let exec = |words: &[&str]| place.engine.exec(shell.name(), words);
    assert_eq!(exec(&["cat", "/workspace/private"]).stdout, b"mine");
    let written = exec(&["touch", "/workspace/README"]);
    let said = String::from_utf8_lossy(&written.stderr);
    assert!(!written.status.success() && said.contains("Read-only file system"), "{said}");
    let status = String::from_utf8(exec(&["cat", "/proc/self/status"]).stdout).expect("it is text");
    // CAP_DAC_OVERRIDE is the capability with the number 1.
    for line in ["CapEff:\t0000000000000002", "CapBnd:\t0000000000000002", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} is missing from {status}");
    }
}

#[test]
fn a_lost_connection_is_made_again() {
    let place = Place::new(ShellImage::Whole);
    let shell = place.shell();
    place.session(&shell).expect("a session can be created");
    place.flush(&shell);
    for agent in place.agents() {
        kill_process(agent, Signal::KILL).expect("it is running");
    }
    fs::write(place.remote.path("worktree/src/main.rs"), "2").expect("it is ours");
    let workspace = place.workspace();
    let watch = Watch::below(&workspace).within(Duration::from_secs(15));
    watch.until("the edit", || fs::read(workspace.join("src/main.rs")).is_ok_and(|found| found == b"2"));
}

#[test]
fn a_user_who_is_not_root_follows_too() {
    let place = Place::new(ShellImage::OfAUser);
    let shell = place.shell();
    place.session(&shell).expect("a session can be created");
    place.flush(&shell);
    Snapshot::of(place.remote.path("worktree")).assert_same_content(&Snapshot::of(place.workspace()));
}

#[test]
fn what_is_missing_is_told_by_its_step() {
    Place::new(ShellImage::WithoutSsh).fails_at(Step::Ssh, "ssh");
    Place::new(ShellImage::WithoutMutagen).fails_at(Step::Mutagen, "mutagen");
    Place::new(ShellImage::WithoutAgents).fails_at(Step::Agent, "unable to locate agent bundle");
    let mut place = Place::new(ShellImage::Whole);
    place.network = "none";
    place.fails_at(Step::Ssh, "host.docker.internal");
    let mut place = Place::new(ShellImage::Whole);
    place.image = "coast-tests-no-such-image:1".to_owned();
    place.fails_at(Step::Image, "coast image build --mutagen ARCHIVE --tag coast-tests-no-such-image:1");
    let place = Place::new(ShellImage::Whole);
    fs::remove_file(place.remote.account().home().join(".ssh/authorized_keys")).expect("it was authorized");
    place.fails_at(Step::Ssh, "Permission denied");
}

#[test]
fn another_host_key_than_the_one_verified_is_refused() {
    let place = Place::new(ShellImage::Whole);
    let shell = place.shell();
    let mut access = place.access();
    access.host_key = fs::read_to_string(place.remote.path("key.pub")).expect("the key was made");
    let endpoint = shell.install_access(&access).expect("access can be given");
    let created = shell.create_session(&SessionSpec {
        project: place.project.clone(),
        instance: "dev-1".to_owned(),
        endpoint,
        remote_path: place.workspace().display().to_string(),
        ignores: Vec::new(),
        private: Vec::new(),
        file_mode: 0o644,
    });
    let error = created.expect_err("that is another host");
    assert_eq!(error.step(), Step::Ssh, "{error}");
    assert!(error.to_string().contains("REMOTE HOST IDENTIFICATION"), "{error}");
}
