//! A program that a test runs, with a home of its own, captured output, and a time limit. A program that exceeds its limit
//! is killed, and the test fails with the output until then.

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

use coast_testkit::{Account, quote};

/// The default time limit.
const LIMIT: Duration = Duration::from_secs(120);

/// A program with its arguments, ready to run.
#[derive(Clone)]
pub struct Program {
    words: Vec<OsString>,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
    umask: Option<u32>,
    limit: Duration,
}

impl Program {
    /// A program that runs in `directory`, with `home` as its home. Of the environment it gets only `PATH`.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>, directory: &Path, home: &Path) -> Self {
        let program = Self {
            words: vec![program.as_ref().into()],
            directory: directory.into(),
            environment: Vec::new(),
            umask: None,
            limit: LIMIT,
        };
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        program.env("PATH", path).env("LC_ALL", "C.UTF-8").home(home)
    }

    /// Sets the home, and every directory that programs derive from it.
    #[must_use]
    pub fn home(self, home: &Path) -> Self {
        self.env("HOME", home)
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_STATE_HOME", home.join(".local/state"))
            .env("XDG_DATA_HOME", home.join(".local/share"))
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

    /// Adds the words of another program, which runs this program, before the words of this program.
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

    /// Sets the directory that the program runs in.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = directory.into();
        self
    }

    /// Sets the umask.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = Some(umask);
        self
    }

    /// Runs the program as this account instead of root.
    #[must_use]
    pub fn as_account(self, account: &Account) -> Self {
        self.as_user(account.uid(), account.gid()).home(account.home())
    }

    /// Runs the program as this user and group, and in no other group, instead of as root.
    #[must_use]
    pub fn as_user(self, uid: u32, gid: u32) -> Self {
        let (user, group) = (format!("--reuid={uid}"), format!("--regid={gid}"));
        self.by(["setpriv", &user, &group, "--clear-groups", "--"])
    }

    /// Sets the time after which the program is killed and the test fails.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command line, quoted for bash.
    #[must_use]
    pub fn command_line(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| quote(word.as_encoded_bytes())).collect();
        words.join(" ")
    }

    pub(crate) fn command(&self) -> Command {
        let mut words: Vec<OsString> = Vec::new();
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
        command
    }

    /// Starts the program.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn start(&self) -> Running {
        let started = Instant::now();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.command_line()));
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

    /// Runs the program to its end.
    ///
    /// # Panics
    /// When the program cannot be started or exceeds its time limit.
    #[must_use]
    #[track_caller]
    pub fn run(&self) -> Outcome {
        self.start().wait()
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // The output before an error of the pipe still counts.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// A running program. It is killed when dropped before its end.
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
    /// Sends a signal to the program, and not to programs that it started.
    ///
    /// # Panics
    /// When the program has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("it is still running");
    }

    /// Waits for the end of the program.
    ///
    /// # Panics
    /// When the program exceeds its time limit. The program and the programs that it started are killed then.
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
        // Fails when the program has ended meanwhile.
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

/// The end of a program, and its output.
pub struct Outcome {
    line: String,
    status: ExitStatus,
    /// The bytes of standard output.
    pub stdout: Vec<u8>,
    /// The bytes of standard error.
    pub stderr: Vec<u8>,
    /// The time from start to end.
    pub elapsed: Duration,
}

impl Outcome {
    /// The exit code. For a signal it is 128 and the signal's number, as in a shell.
    ///
    /// # Panics
    /// Never: a process ends with a code or by a signal.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().expect("ended by code or signal"))
    }

    /// Standard output, then standard error.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr))
    }

    /// The lines of standard output.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.stdout).lines().map(str::to_owned).collect()
    }

    /// Fails unless the program ended with this exit code.
    ///
    /// # Panics
    /// When the exit code is another.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code(), code, "exit code (left: got, right: wanted) of\n{self}");
        self
    }

    /// Fails unless the output holds `wanted`, in upper or lower case.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_says(&self, wanted: &str) -> &Self {
        assert!(
            self.text().to_lowercase().contains(&wanted.to_lowercase()),
            "{wanted:?} is missing from\n{self}"
        );
        self
    }

    /// Fails if the output holds `unwanted`, in upper or lower case.
    ///
    /// # Panics
    /// When it does.
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
