//! One measured run of a program and of what it causes on the server: time, processor, memory, bytes, exit code.
//! Memory is sampled from outside; the rest are counters read before and after.

use super::interrupt::Interrupt;
use super::process::{self, Process};
use super::server::Server;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Often enough to see every process of a run near its peak; 10 processes cost 0.2 ms each time.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);
/// Far longer than any run should take; one that does is stuck, and is ended so that it can be reported.
const RUN_LIMIT: Duration = Duration::from_secs(300);
/// How long the server may take to notice that a client has left.
const SESSION_END_LIMIT: Duration = Duration::from_secs(30);
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run took.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Run {
    /// From the start of the client to its end.
    pub(crate) wall_seconds: f64,
    /// User and system time of the client and all it started.
    pub(crate) client_cpu_seconds: f64,
    /// The same of the SSH server's side, sampled: of each process up to 20 ms are missed. What its ended children
    /// took is no help, since sshd does not wait for all of them.
    pub(crate) remote_cpu_seconds: f64,
    /// Both directions, with all headers and acknowledgements.
    pub(crate) wire_bytes: u64,
    pub(crate) exit_code: i32,
    pub(crate) processes: Vec<Peak>,
}

/// The most memory that one process had resident.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peak {
    pub(crate) side: Side,
    pub(crate) name: String,
    pub(crate) peak_bytes: u64,
}

/// Which end of the connection a process belongs to.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Client,
    Remote,
}

/// Runs `command` to its end while watching it and the server. An exit code other than 0 is an error that
/// carries what the program wrote to standard error.
pub(crate) fn run(command: &mut Command, server: &Server<'_>, interrupt: &Interrupt) -> Result<Run> {
    interrupt.check()?;
    let own = Process(std::process::id());
    let listener = server.process();
    let ticks_of = |process: Process| {
        process.ended_children_ticks().with_context(|| format!("reading /proc/{}/stat", process.0))
    };
    let own_before = ticks_of(own)?;
    let bytes_before = server.network.bytes()?;

    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {}", crate::program::line(command)))?;
    let client = Process(child.id());
    let (stop, stopped) = mpsc::channel();
    let watcher = thread::spawn({
        let interrupt = interrupt.clone();
        move || watch(client, listener, &stopped, &interrupt)
    });
    let mut said = Vec::new();
    let mut log = child.stderr.take().expect("standard error is a pipe");
    let read = log.read_to_end(&mut said);
    let status = child.wait().context("waiting for the client")?;
    let wall_seconds = started.elapsed().as_secs_f64();
    drop(stop);
    let Watched { processes, remote_ticks } = watcher.join().expect("the watcher does not panic");

    interrupt.check()?;
    ensure!(
        started.elapsed() < RUN_LIMIT,
        "{} was ended: not done after {} s",
        crate::program::line(command),
        RUN_LIMIT.as_secs()
    );
    read.context("reading the client's standard error")?;
    if !status.success() {
        let said = String::from_utf8_lossy(&said);
        bail!("{} ended with {status}: {}", crate::program::line(command), said.trim());
    }
    wait_for_sessions(listener)?;
    let client_ticks = ticks_of(own)?.saturating_sub(own_before);
    Ok(Run {
        wall_seconds,
        client_cpu_seconds: ticks(client_ticks) / TICKS_PER_SECOND,
        remote_cpu_seconds: ticks(remote_ticks) / TICKS_PER_SECOND,
        wire_bytes: server.network.bytes()? - bytes_before,
        exit_code: status.code().unwrap_or_default(),
        processes,
    })
}

/// Exact: a run lasts far fewer than 2^32 ticks.
fn ticks(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// What was seen of a run from outside.
struct Watched {
    processes: Vec<Peak>,
    remote_ticks: u64,
}

/// Samples memory and the remote's processor time until told to stop; kills the client when the user wants to leave or it takes too long.
fn watch(client: Process, listener: Process, stopped: &mpsc::Receiver<()>, interrupt: &Interrupt) -> Watched {
    let started = Instant::now();
    // By name as well as by id: exec gives a process a new name and new memory.
    let mut peaks: BTreeMap<(Side, Process, String), u64> = BTreeMap::new();
    let mut remote: BTreeMap<Process, u64> = BTreeMap::new();
    loop {
        let near = std::iter::once(client).chain(process::descendants(client));
        let far = process::descendants(listener);
        let all =
            near.map(|process| (Side::Client, process)).chain(far.into_iter().map(|p| (Side::Remote, p)));
        for (side, process) in all {
            if side == Side::Remote
                && let Some(ticks) = process.own_ticks()
            {
                remote.insert(process, ticks);
            }
            if let Some((name, bytes)) = process.memory() {
                let peak = peaks.entry((side, process, name)).or_default();
                *peak = bytes.max(*peak);
            }
        }
        if interrupt.is_raised() || started.elapsed() >= RUN_LIMIT {
            client.signal(Signal::KILL);
        }
        match stopped.recv_timeout(SAMPLE_INTERVAL) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let peak = |((side, _, name), peak_bytes)| Peak { side, name, peak_bytes };
    Watched { processes: peaks.into_iter().map(peak).collect(), remote_ticks: remote.values().sum() }
}

/// Waits until the server has seen the last of its sessions end, which is when their processor time counts.
fn wait_for_sessions(listener: Process) -> Result<()> {
    let started = Instant::now();
    while !listener.children().is_empty() {
        if started.elapsed() > SESSION_END_LIMIT {
            bail!("the server's session still runs {} s after the client ended", SESSION_END_LIMIT.as_secs());
        }
        thread::sleep(SAMPLE_INTERVAL);
    }
    Ok(())
}
