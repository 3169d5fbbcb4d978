//! A program run by a test: a home of its own, captured output, and a time limit after which it is killed and the test
//! fails with what it had said until then.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::account::Account;
use crate::tree::quote;

/// How long a program may run unless the test says otherwise. Far more than any needs, far less than forever.
const LIMIT: Duration = Duration::from_secs(120);

/// A program with its arguments, ready to run.
#[derive(Clone)]
pub struct Program {
    words: Vec<OsString>,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
    umask: Option<u32>,
    user: Option<(u32, u32)>,
    limit: Duration,
}

impl Program {
    /// A program to be run in `directory` with `home` as its home, and nothing else of the environment but `PATH`.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>, directory: &Path, home: &Path) -> Self {
        let program = Self {
            words: vec![program.as_ref().into()],
            directory: directory.into(),
            environment: Vec::new(),
            umask: None,
            user: None,
            limit: LIMIT,
        };
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        program.env("PATH", path).env("LC_ALL", "C.UTF-8").home(home)
    }

    /// Its home, and with it every directory that programs derive from it.
    #[must_use]
    pub fn home(self, home: &Path) -> Self {
        self.env("HOME", home)
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_STATE_HOME", home.join(".local/state"))
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.words.push(argument.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.words.extend(arguments.into_iter().map(|argument| argument.as_ref().into()));
        self
    }

    /// Has it run by another program, whose words come before its own.
    #[must_use]
    pub fn by<A: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = A>) -> Self {
        self.words.splice(0..0, words.into_iter().map(|word| word.as_ref().into()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.as_ref().into()));
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = directory.into();
        self
    }

    /// The umask it runs with.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = Some(umask);
        self
    }

    /// Runs it as this user instead of root.
    #[must_use]
    pub fn as_account(mut self, account: &Account) -> Self {
        self.user = Some((account.uid(), account.gid()));
        self.home(account.home())
    }

    /// How long it may run before it is killed and the test fails.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The words of the command line as one would type them.
    #[must_use]
    pub fn command_line(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| quote(word.as_encoded_bytes())).collect();
        words.join(" ")
    }

    fn command(&self) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some((uid, gid)) = self.user {
            words.extend([
                "setpriv".into(),
                format!("--reuid={uid}").into(),
                format!("--regid={gid}").into(),
            ]);
            words.extend(["--clear-groups".into(), "--".into()]);
        }
        if let Some(umask) = self.umask {
            words.extend([
                "sh".into(),
                "-c".into(),
                format!("umask {umask:04o} && exec \"$@\"").into(),
                "sh".into(),
            ]);
        }
        words.extend(self.words.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&self.directory).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self) -> Running {
        let started = Instant::now();
        let mut child =
            self.command().spawn().unwrap_or_else(|error| panic!("{}: {error}", self.command_line()));
        let pid = Pid::from_child(&child);
        let stdout = read_all(child.stdout.take().expect("stdout is piped"));
        let stderr = read_all(child.stderr.take().expect("stderr is piped"));
        let (ended, end) = channel();
        thread::spawn(move || ended.send(child.wait().expect("a child can be waited for")));
        Running {
            line: self.command_line(),
            limit: self.limit,
            started,
            pid,
            end,
            stdout,
            stderr,
            over: false,
        }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    #[must_use]
    #[track_caller]
    pub fn run(&self) -> Outcome {
        self.start().wait()
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends what there is to read; what was said until then still counts.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// A program under way. Dropped before its end, it is killed.
pub struct Running {
    line: String,
    limit: Duration,
    started: Instant,
    pid: Pid,
    end: Receiver<ExitStatus>,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
    over: bool,
}

impl Running {
    /// Sends it, and it alone, a signal.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("it is still running");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When the end does not come in time; the program and all it started are killed then.
    #[must_use]
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        let left = self.limit.saturating_sub(self.started.elapsed());
        let end = self.end.recv_timeout(left);
        let elapsed = self.started.elapsed();
        if end.is_err() {
            self.kill();
        }
        self.over = true;
        let stdout = std::mem::replace(&mut self.stdout, thread::spawn(Vec::new));
        let stderr = std::mem::replace(&mut self.stderr, thread::spawn(Vec::new));
        let outcome = Outcome {
            line: self.line.clone(),
            status: end.unwrap_or_default(),
            stdout: stdout.join().expect("reading does not panic"),
            stderr: stderr.join().expect("reading does not panic"),
            elapsed,
        };
        match end {
            Ok(_) => outcome,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                panic!("still running after {:?}, killed:\n{outcome}", self.limit)
            }
        }
    }

    fn kill(&self) {
        // The group is gone when the program ended in this very moment.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over && self.end.try_recv().is_err() {
            self.kill();
        }
    }
}

/// How a program ended and what it said.
pub struct Outcome {
    line: String,
    status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// From start to end.
    pub elapsed: Duration,
}

impl Outcome {
    /// Its exit code; 128 and the signal's number when a signal ended it, as a shell has it.
    ///
    /// # Panics
    /// Never: a process ends with a code or by a signal.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().expect("ended by code or signal"))
    }

    /// All it said, standard output first.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr))
    }

    /// Standard output as lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.stdout).lines().map(str::to_owned).collect()
    }

    /// Fails unless it ended with this exit code.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code(), code, "exit code (left: got, right: wanted) of\n{self}");
        self
    }

    /// Fails unless it said `wanted`, in upper or lower case.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn assert_says(&self, wanted: &str) -> &Self {
        assert!(
            self.text().to_lowercase().contains(&wanted.to_lowercase()),
            "{wanted:?} is missing from\n{self}"
        );
        self
    }

    /// Fails if it said `unwanted`.
    ///
    /// # Panics
    /// When it did.
    #[track_caller]
    pub fn assert_does_not_say(&self, unwanted: &str) -> &Self {
        assert!(
            !self.text().to_lowercase().contains(&unwanted.to_lowercase()),
            "{unwanted:?} was said by\n{self}"
        );
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "$ {}", self.line)?;
        writeln!(out, "exit code {}, after {:.1?}", self.code(), self.elapsed)?;
        for (name, said) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for line in String::from_utf8_lossy(said).lines() {
                writeln!(out, "{name}: {line}")?;
            }
        }
        Ok(())
    }
}
