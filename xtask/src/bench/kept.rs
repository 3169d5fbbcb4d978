//! A connection that stays open between pushes, and the process that keeps it: coastd, or a master process of ssh.

use super::contender::{Contender, Remote, Tool, Way};
use super::process::Process;
use crate::program;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The time within which coastd must have made its own connection.
const DAEMON_LIMIT: Duration = Duration::from_secs(30);
const DAEMON_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The connection of one contender. It ends when this is dropped.
pub(crate) struct KeptConnection<'a> {
    contender: &'a Contender,
    remote: &'a Remote<'a>,
}

impl<'a> KeptConnection<'a> {
    /// Has a push of `source` open the connection.
    pub(crate) fn open(contender: &'a Contender, remote: &'a Remote<'a>, source: &Path) -> Result<Self> {
        let kept = Self { contender, remote };
        match contender.tool {
            Tool::Coast => drop(program::output(contender.command(remote).args(["daemon", "start"]))?),
            // ssh starts its master with the first connection.
            Tool::Rsync | Tool::Tar => {}
        }
        contender.push(remote, Way::Kept, source).run()?;
        Ok(kept)
    }

    /// The process that keeps it. Waits until coastd, which makes its connection after the push, has made it.
    pub(crate) fn keeper(&self) -> Result<Process> {
        match self.contender.tool {
            Tool::Coast => {
                let started = Instant::now();
                loop {
                    let mut ask = self.contender.command(self.remote);
                    let status = program::output(ask.args(["daemon", "status", "--json"]))?;
                    let status: Value =
                        serde_json::from_str(&status).context("reading the status of coastd")?;
                    let remotes = status["remotes"].as_array().map_or(&[][..], Vec::as_slice);
                    if remotes.iter().any(|remote| remote["state"] == "connected") {
                        return process(status["pid"].as_u64());
                    }
                    ensure!(started.elapsed() < DAEMON_LIMIT, "coastd has made no connection: {status}");
                    thread::sleep(DAEMON_LOOK_INTERVAL);
                }
            }
            Tool::Rsync | Tool::Tar => {
                // It says "Master running (pid=1234)" on standard error.
                let output = self.master("check").output().context("starting ssh")?;
                let said = String::from_utf8_lossy(&output.stderr);
                let numbers = said.split(|letter: char| !letter.is_ascii_digit());
                process(numbers.filter_map(|word| word.parse().ok()).next())
                    .with_context(|| format!("ssh keeps no connection: {}", said.trim()))
            }
        }
    }

    /// A command to the master process of ssh.
    fn master(&self, what: &str) -> Command {
        let mut command = Command::new("ssh");
        command.args(&self.contender.ssh(self.remote, Way::Kept)[1..]);
        command.args(["-O", what, &self.remote.login()]);
        command
    }
}

impl Drop for KeptConnection<'_> {
    fn drop(&mut self) {
        let mut end = match self.contender.tool {
            Tool::Coast => {
                let mut command = self.contender.command(self.remote);
                command.args(["daemon", "stop"]);
                command
            }
            Tool::Rsync | Tool::Tar => self.master("exit"),
        };
        // A failure means that it has ended.
        let _ = program::output(&mut end);
    }
}

fn process(pid: Option<u64>) -> Result<Process> {
    pid.and_then(|pid| u32::try_from(pid).ok()).map(Process).context("no id of a process was told")
}
