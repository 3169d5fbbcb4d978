//! A measured run of a program, or of a pipeline of programs, and of its processes on the server: time, processor, memory, bytes.
//! Memory is sampled from outside. The other figures are counters, read before and after.

use super::contender::Remote;
use super::interrupt::Interrupt;
use super::pipeline::Pipeline;
use super::process::{self, Process};
use anyhow::{Context, Result, bail};
use coast_benches::Traffic;
use rustix::process::Signal;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Short enough to see every process of a run near its peak. A sample of 10 processes costs 0.2 ms.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);
/// Far longer than a run takes. A run that takes longer is stuck; it is killed and reported.
const RUN_LIMIT: Duration = Duration::from_secs(900);
/// The time within which the server must notice that a client has left.
const SESSION_END_LIMIT: Duration = Duration::from_secs(30);
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures of a run.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Run {
    /// From the start of the client to its end.
    pub(crate) wall_seconds: f64,
    /// User and system time of the client and all it started.
    pub(crate) client_cpu_seconds: f64,
    /// The same of the SSH server's descendants. It is sampled, so up to 20 ms of each process are missed: the kernel's counter
    /// of ended children misses those that sshd does not wait for.
    pub(crate) remote_cpu_seconds: f64,
    /// What the client sent, without the headers of TCP.
    pub(crate) up_bytes: u64,
    /// What the server sent.
    pub(crate) down_bytes: u64,
    /// Changes of direction, as `coast-benches` defines them.
    pub(crate) round_trips: u64,
    /// In the order in which they were seen first.
    pub(crate) processes: Vec<Peak>,
}

/// The most memory that one process had resident.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peak {
    pub(crate) side: Side,
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) peak_bytes: u64,
}

/// The end of the connection that a process belongs to.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Client,
    Remote,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Remote => "remote",
        }
    }
}

/// Runs `client` to its end while watching it and the server. An exit code other than 0 is an error that carries what the
/// programs wrote to standard error.
pub(crate) fn run(client: Pipeline, remote: &Remote<'_>, interrupt: &Interrupt) -> Result<Run> {
    run_with(client, None, remote, interrupt)
}

/// The same. `keeper` is a process that the client did not start and that has its connection.
pub(crate) fn run_with(
    client: Pipeline,
    keeper: Option<Process>,
    remote: &Remote<'_>,
    interrupt: &Interrupt,
) -> Result<Run> {
    interrupt.check()?;
    let own = Process(std::process::id());
    let listener = remote.server.process();
    let sessions = Sessions { listener, before: process::descendants(listener) };
    let ticks_of = |process: Process| {
        process.ended_children_ticks().with_context(|| format!("reading /proc/{}/stat", process.0))
    };
    let keeper_ticks = || keeper.and_then(Process::own_ticks).unwrap_or_default();
    let (own_before, keeper_before) = (ticks_of(own)?, keeper_ticks());
    let remote_before = sessions.before_ticks();
    let traffic_before = remote.proxy.traffic();

    let started = Instant::now();
    let client = client.start()?;
    let watched = Watch { clients: client.processes(), keeper, listener };
    let (stop, stopped) = mpsc::channel();
    let watcher = thread::spawn({
        let interrupt = interrupt.clone();
        move || watch(&watched, &stopped, &interrupt)
    });
    let ended = client.wait();
    let wall_seconds = started.elapsed().as_secs_f64();
    drop(stop);
    let Watched { processes, remote_ticks } = watcher.join().expect("the watcher does not panic");

    interrupt.check()?;
    let ended = if wall_seconds < RUN_LIMIT.as_secs_f64() {
        ended
    } else {
        ended.with_context(|| format!("ended because it was not done after {} s", RUN_LIMIT.as_secs()))
    };
    ended?;
    sessions.wait_until_ended()?;
    if sessions.before.is_empty() {
        remote.proxy.wait_until_closed();
    }
    let client_ticks =
        ticks_of(own)?.saturating_sub(own_before) + keeper_ticks().saturating_sub(keeper_before);
    let Traffic { up_bytes, down_bytes, round_trips, .. } = remote.proxy.traffic() - traffic_before;
    Ok(Run {
        wall_seconds,
        client_cpu_seconds: ticks(client_ticks) / TICKS_PER_SECOND,
        remote_cpu_seconds: ticks(remote_ticks.saturating_sub(remote_before)) / TICKS_PER_SECOND,
        up_bytes,
        down_bytes,
        round_trips,
        processes,
    })
}

/// Exact: a run lasts far fewer than 2^32 ticks.
fn ticks(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The samples of a run.
struct Watched {
    processes: Vec<Peak>,
    remote_ticks: u64,
}

/// The processes that are watched, with their descendants.
struct Watch {
    clients: Vec<Process>,
    keeper: Option<Process>,
    listener: Process,
}

/// Samples memory and the remote's processor time until the sender of `stopped` is dropped. Kills the clients on a signal to the
/// bench, or after [`RUN_LIMIT`].
fn watch(watch: &Watch, stopped: &mpsc::Receiver<()>, interrupt: &Interrupt) -> Watched {
    let Watch { clients, keeper, listener } = watch;
    let started = Instant::now();
    let mut peaks: Vec<Peak> = Vec::new();
    let mut remote: BTreeMap<Process, u64> = BTreeMap::new();
    loop {
        let started_by_clients = clients.iter().flat_map(|client| process::descendants(*client));
        let near = clients.iter().copied().chain(*keeper).chain(started_by_clients);
        let far = process::descendants(*listener);
        let all =
            near.map(|process| (Side::Client, process)).chain(far.into_iter().map(|p| (Side::Remote, p)));
        for (side, process) in all {
            if side == Side::Remote
                && let Some(ticks) = process.own_ticks()
            {
                remote.insert(process, ticks);
            }
            if let Some((name, bytes)) = process.memory() {
                // By name as well as by id: exec gives a process a new name and new memory.
                let known = peaks.iter_mut().find(|peak| peak.pid == process.0 && peak.name == name);
                match known {
                    Some(peak) => peak.peak_bytes = bytes.max(peak.peak_bytes),
                    None => peaks.push(Peak { side, pid: process.0, name, peak_bytes: bytes }),
                }
            }
        }
        if interrupt.is_raised() || started.elapsed() >= RUN_LIMIT {
            clients.iter().for_each(|client| client.signal(Signal::KILL));
        }
        match stopped.recv_timeout(SAMPLE_INTERVAL) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Watched { processes: peaks, remote_ticks: remote.values().sum() }
}

/// The sessions of the server.
struct Sessions {
    listener: Process,
    /// The processes of connections that stay, from before the run.
    before: Vec<Process>,
}

impl Sessions {
    /// The processor time that the processes from before the run had used.
    fn before_ticks(&self) -> u64 {
        self.before.iter().filter_map(|process| process.own_ticks()).sum()
    }

    /// Waits until the sessions of the run have ended. All their bytes are counted then.
    fn wait_until_ended(&self) -> Result<()> {
        let started = Instant::now();
        while process::descendants(self.listener).iter().any(|process| !self.before.contains(process)) {
            if started.elapsed() > SESSION_END_LIMIT {
                bail!(
                    "the server's session still runs {} s after the client ended",
                    SESSION_END_LIMIT.as_secs()
                );
            }
            thread::sleep(SAMPLE_INTERVAL);
        }
        Ok(())
    }
}
