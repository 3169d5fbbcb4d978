//! The Docker engine of tests and of the bench: an engine that answers already, or an engine that is started for this process
//! and ends with it.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::programs::{require, require_root, target_directory};

/// The time within which an engine must start, or end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The address of an engine that the system started.
const USUAL_SOCKET: &str = "unix:///var/run/docker.sock";

/// An engine that answers.
pub struct DockerEngine {
    host: String,
    /// The directory of the engine's data; `None` if the system started the engine.
    directory: Option<PathBuf>,
    /// Held while the process runs an engine, so that no other process starts an engine with the same data.
    _turn: Option<File>,
}

impl DockerEngine {
    /// The engine of this process.
    ///
    /// # Panics
    /// When no engine answers and none can be started.
    #[must_use]
    pub fn shared() -> &'static Self {
        static ENGINE: OnceLock<DockerEngine> = OnceLock::new();
        ENGINE.get_or_init(|| {
            let host = env::var("DOCKER_HOST").unwrap_or_else(|_| USUAL_SOCKET.into());
            let usual = Self { host, directory: None, _turn: None };
            if usual.answers() { usual } else { Self::start(target_directory().join("docker")) }
        })
    }

    /// An engine that no other test uses, so that it may be restarted. It runs until this process ends.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn of_its_own() -> &'static Self {
        Box::leak(Box::new(Self::start(target_directory().join("docker/restarted"))))
    }

    /// The address of the engine, as `DOCKER_HOST` takes it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The `docker` program, as a client of this engine.
    #[must_use]
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut docker = Command::new(require("docker", "docker.io"));
        docker
            .env("DOCKER_HOST", &self.host)
            .env_remove("DOCKER_CONTEXT")
            .args(arguments)
            .stdin(Stdio::null());
        docker
    }

    /// Runs `docker` and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let mut docker = self.command(arguments);
        let output = docker.output().expect("docker starts");
        assert!(output.status.success(), "{docker:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a program in a container.
    ///
    /// # Panics
    /// When docker cannot be started.
    #[must_use]
    pub fn exec(&self, container: &str, words: &[&str]) -> Output {
        self.command([&["exec", container], words].concat()).output().expect("docker starts")
    }

    /// The names of all containers, running or not, with this label.
    #[must_use]
    pub fn containers(&self, label: &str) -> Vec<String> {
        let filter = format!("label={label}");
        let listed = self.run(["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]);
        listed.lines().map(str::to_owned).collect()
    }

    fn answers(&self) -> bool {
        let output = self.command(["version", "--format", "{{.Server.Version}}"]).output();
        output.expect("docker starts").status.success()
    }

    /// Starts an engine with its data in a directory.
    fn start(directory: PathBuf) -> Self {
        require_root();
        fs::create_dir_all(&directory).expect("the target directory can be written");
        let turn = File::create(directory.join("lock")).expect("the target directory can be written");
        turn.lock().expect("a file can be locked");
        let run = run_directory(&directory);
        fs::create_dir_all(&run).expect("the temporary directory can be written");
        wait_for_the_last(&directory.join("pid"));
        let host = format!("unix://{}/docker.sock", run.display());
        let engine = Self { host, directory: Some(directory), _turn: Some(turn) };
        engine.launch();
        // Containers of a killed test would still hold their names.
        engine.run(["container", "prune", "--force"]);
        engine
    }

    /// Ends the engine and starts it again.
    ///
    /// # Panics
    /// When the engine was not started by this process, or does not end or start.
    pub fn restart(&self) {
        let directory = self.directory.as_ref().expect("only an engine of one's own may be restarted");
        let pid = directory.join("pid");
        let text = fs::read_to_string(&pid).expect("the engine runs");
        let process =
            Pid::from_raw(text.trim().parse().expect("a pid is a number")).expect("no process is 0");
        kill_process(process, Signal::TERM).expect("the engine runs");
        wait_for_the_last(&pid);
        self.launch();
    }

    /// Starts the engine's process. It needs neither bridges nor packet filters, since every container of a test is on the
    /// host's network.
    fn launch(&self) {
        let directory = self.directory.as_ref().expect("the engine has its data somewhere");
        let log = directory.join("log");
        // The engine ends with this process, even when the process is killed: it gets a SIGTERM when the thread that started
        // it ends.
        let mut command = Command::new(require("setpriv", "util-linux"));
        command.args(["--pdeathsig", "TERM", "--"]).arg(require("dockerd", "docker.io"));
        command.args(["--bridge=none", "--iptables=false", "--host-gateway-ip=127.0.0.1"]);
        command.arg("--data-root").arg(directory.join("data"));
        command.arg("--exec-root").arg(run_directory(directory).join("exec"));
        command.arg("--pidfile").arg(directory.join("pid")).args(["--host", &self.host]).stdin(Stdio::null());
        let file = File::create(&log).expect("the target directory can be written");
        command.stdout(file.try_clone().expect("a file can be shared")).stderr(file);
        thread::spawn(move || {
            let mut engine = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            // The thread that waits for an answer reports an engine that has ended, with its log.
            let _ = engine.wait();
            loop {
                thread::park();
            }
        });
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(Instant::now() < until, "dockerd does not answer:\n{}", last_lines(&log));
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The directory of the engine's sockets. Its path must be short: the kernel limits paths of sockets to 107 bytes.
fn run_directory(directory: &Path) -> PathBuf {
    let hash = blake3::hash(directory.as_os_str().as_encoded_bytes()).to_hex();
    env::temp_dir().join(format!("coast-docker-{}", &hash[..8]))
}

/// Waits until the engine of an earlier process has ended.
fn wait_for_the_last(pid: &Path) {
    let Ok(text) = fs::read_to_string(pid) else { return };
    let process = Path::new("/proc").join(text.trim());
    let ours = || fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim() == "dockerd");
    let until = Instant::now() + PATIENCE;
    while ours() {
        assert!(Instant::now() < until, "dockerd {} does not end", text.trim());
        thread::sleep(Duration::from_millis(50));
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
