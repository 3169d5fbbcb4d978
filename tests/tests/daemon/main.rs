//! coastd: its process and its socket, connections that stay warm, and instances that follow.

mod connections;
mod kills;
mod mending;
mod passphrases;
mod process;
mod restoring;
mod upgrade;
mod watching;

use std::fs;
use std::path::{Path, PathBuf};

use coast_tests::{Outcome, Program, Sandbox, require};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The daemon of a sandbox. It is killed when dropped.
struct Daemon<'a> {
    sandbox: &'a Sandbox,
    runtime: Option<PathBuf>,
}

impl<'a> Daemon<'a> {
    /// A daemon that is not started yet, without a runtime directory.
    fn of(sandbox: &'a Sandbox) -> Self {
        Self { sandbox, runtime: None }
    }

    /// `coast daemon` with these arguments.
    fn coast(&self, arguments: &[&str]) -> Program {
        let program = self.sandbox.coast(["daemon"]).args(arguments);
        match &self.runtime {
            Some(runtime) => program.env("XDG_RUNTIME_DIR", runtime),
            None => program,
        }
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.coast(arguments).run()
    }

    fn start(self) -> Self {
        self.run(&["start"]).assert_code(0);
        self
    }

    fn status(&self) -> Value {
        let outcome = self.run(&["status", "--json"]);
        outcome.assert_code(0);
        serde_json::from_slice(&outcome.stdout).expect("it prints JSON")
    }

    fn pid(&self) -> u64 {
        self.status()["pid"].as_u64().expect("a daemon has a process")
    }

    fn socket(&self) -> PathBuf {
        self.status()["socket"].as_str().expect("the path is text").into()
    }

    /// The directory of its lock and its log.
    fn files(&self) -> PathBuf {
        self.sandbox.path("home/.local/state/coast/.daemon")
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let running = fs::read(self.files().join("lock")).ok();
        let running: Option<Value> = running.and_then(|text| serde_json::from_slice(&text).ok());
        let pid = running.and_then(|running| running["pid"].as_i64());
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            // The number may be that of a process that ended.
            let program = fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()));
            if program.is_ok_and(|program| program.ends_with("coast")) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Kills the daemon as a crash would.
fn kill(pid: u64) {
    let raw = i32::try_from(pid).expect("it is the number of a process");
    kill_process(Pid::from_raw(raw).expect("it is not 0"), Signal::KILL).expect("it runs");
    // Nobody may have waited for the process yet. Its files are closed when the last of its other threads has ended.
    let has_ended = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|_| ") Z".to_owned());
        let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        threads < 2 && stat.rsplit(") ").next().is_some_and(|state| state.starts_with('Z'))
    };
    while !has_ended() {
        std::thread::yield_now();
    }
}

/// `curl --unix-socket SOCKET` with these arguments.
fn curl(sandbox: &Sandbox, socket: &Path, arguments: &[&str]) -> Program {
    let program = sandbox.program(require("curl", "curl")).args(["-sS", "--max-time", "20", "--unix-socket"]);
    program.arg(socket).args(arguments)
}
