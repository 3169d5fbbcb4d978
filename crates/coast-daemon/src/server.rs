//! The daemon's process: its lock, its socket, and the connections on it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use coast_instance::{ContinuousError, InstanceId, Places, StoredPath};
use coast_sync::{Cancel, Connector, RemoteHelper, Zeroizing};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::task::JoinSet;

use crate::directory::{Parents, make_private};
use crate::host::{Host, Leases, Remotes};
use crate::lock::{Lock, Running};
use crate::log::{self, Echo};
use crate::memory::Memory;
use crate::pool::{Pool, PoolConnector};
use crate::reconciler::Reconciler;
use crate::release::Release;
use crate::socket::{BindError, Socket};
use crate::{DaemonEvent, DaemonPlaces, DaemonStatus, api, wake_up};

/// How long a starting daemon waits for its lock. A client that looks whether a daemon runs holds it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);
/// The connections that are served at once. Others wait in the socket's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// The channels that are passed on to clients at once.
const MAX_CHANNELS: u32 = 128;
/// How long channels of clients may take to end when the daemon ends. A push under way comes to its end in most cases.
const CHANNEL_GRACE: Duration = Duration::from_secs(20);
/// How long requests under way may take to end when the daemon ends.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait when the system accepts no connection, for lack of descriptors for example.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(600);
/// The events that wait for each of those who listen to them.
const EVENT_QUEUE: usize = 1024;

/// How a daemon runs.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    places: DaemonPlaces,
    records: Places,
    helper: RemoteHelper,
    echo: Echo,
    idle: Duration,
    release: Release,
}

impl DaemonOptions {
    /// A daemon with its files in `places`, for the instances of `records`. Remotes get `helper`.
    pub fn new(places: DaemonPlaces, records: Places, helper: RemoteHelper) -> Self {
        let release = Release::of_this_process();
        Self { places, records, helper, echo: Echo::Nowhere, idle: IDLE, release }
    }

    /// Sets how long a connection is kept that nobody uses. The default is 10 minutes.
    #[must_use]
    pub fn keep_connections(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Has the daemon say that it is of another release.
    #[cfg(test)]
    pub(crate) fn release(self, release: Release) -> Self {
        Self { release, ..self }
    }

    /// Has log lines go to standard error as well.
    #[must_use]
    pub fn log_to_stderr(mut self) -> Self {
        self.echo = Echo::Stderr;
        self
    }
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of a variant explains its fields")]
pub enum DaemonError {
    /// Another daemon serves this user.
    #[error("{}", already_runs(.0.as_ref()))]
    Runs(Option<Running>),
    /// A file or directory of the daemon cannot be used.
    #[error("cannot use {}: {error}", path.display())]
    Place { path: PathBuf, error: io::Error },
    /// No socket can be made.
    #[error("cannot listen on {}: {error}", path.display())]
    Socket { path: PathBuf, error: io::Error },
    /// A thread or a signal handler cannot be set up.
    #[error("cannot set up the daemon's process: {0}")]
    Process(io::Error),
}

fn already_runs(running: Option<&Running>) -> String {
    match running {
        Some(running) if running.is_here() => {
            format!("coastd runs already, as process {}; `coast daemon stop` ends it", running.pid)
        }
        Some(Running { pid, machine, .. }) => format!(
            "coastd runs already on {machine}, as process {pid}, and this machine shares the state directory with {machine}; end it \
             there, or set XDG_STATE_HOME to another directory here"
        ),
        None => "coastd is starting already".to_owned(),
    }
}

/// Runs the daemon until it is told to end, by a signal or by a request. `ready` is called once it listens.
///
/// # Errors
/// When another daemon runs, or the daemon's files cannot be used.
pub fn run(options: &DaemonOptions, ready: impl FnOnce()) -> Result<(), DaemonError> {
    let places = &options.places;
    let unusable = |path: &Path, error| DaemonError::Place { path: path.to_owned(), error };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DaemonError::Process)?;
    // Whoever sees the lock of this daemon may tell it to end.
    let signals = runtime.block_on(async { Signals::open() }).map_err(DaemonError::Process)?;
    make_private(places.state(), Parents::Made).map_err(|error| unusable(places.state(), error))?;
    let lock = places.lock();
    let held = Lock::wait(&lock, LOCK_PATIENCE).map_err(|error| unusable(&lock, error))?;
    let mut held = held.ok_or_else(|| DaemonError::Runs(Lock::state(&lock).holder()))?;
    log::begin(places, options.echo);
    // Nobody else has a follower, because this process has the lock.
    if let Err(error) = coast_follow::remove_abandoned_barriers(places.state()) {
        tracing::warn!(
            "cannot remove what a killed coastd has left in {}: {error}",
            places.state().display()
        );
    }

    let ended = runtime.block_on(async {
        let socket =
            Socket::bind(places).map_err(|BindError { path, error }| DaemonError::Socket { path, error })?;
        let daemon = Arc::new(Daemon::new(options, socket.path()));
        daemon.follow()?;
        daemon.stop_on(signals);
        if let Err(error) = held.announce(&Running::this_process(socket.path())) {
            // The disk may be full. Clients then look for the socket at the usual places.
            tracing::warn!("cannot write {}: {error}", lock.display());
        }
        tracing::info!("listening on {}, as process {}", socket.path().display(), std::process::id());
        ready();
        serve(socket, &daemon).await;
        daemon.end_following();
        tracing::info!("ended");
        Ok(())
    });
    // A channel that was cut off may still wait for its client.
    runtime.shutdown_background();
    ended
}

/// The state that all requests share.
pub(crate) struct Daemon {
    started: SystemTime,
    running_since: Instant,
    socket: StoredPath,
    release: Release,
    events: broadcast::Sender<DaemonEvent>,
    pool: Arc<Pool>,
    /// Has a permit for each channel that may be passed on to a client.
    channels: Arc<Semaphore>,
    /// True once the daemon is to end.
    stop: watch::Sender<bool>,
    pub(crate) host: Host,
    pub(crate) leases: Leases,
    pub(crate) reconciler: Reconciler,
}

impl Daemon {
    /// Needs a runtime.
    fn new(options: &DaemonOptions, socket: &Path) -> Self {
        let pool = Arc::new(Pool::new(options.idle, tokio::runtime::Handle::current()));
        let connector: Arc<dyn Connector> = Arc::new(PoolConnector(Arc::clone(&pool)));
        let remotes = Remotes { helper: options.helper.clone(), connector };
        let events = broadcast::Sender::new(EVENT_QUEUE);
        let host = Host::new(remotes.clone(), options.places.state().to_owned(), events.clone());
        let reconciler = Reconciler::new(options.records.clone(), host.clone(), remotes, events.clone());
        Self {
            host,
            leases: Leases::default(),
            reconciler,
            started: SystemTime::now(),
            running_since: Instant::now(),
            socket: StoredPath::from(socket),
            release: options.release.clone(),
            events,
            pool,
            channels: Arc::new(Semaphore::new(MAX_CHANNELS as usize)),
            stop: watch::Sender::new(false),
        }
    }

    /// Has every running instance follow, now and whenever something breaks.
    fn follow(&self) -> Result<(), DaemonError> {
        self.reconciler.start().map_err(DaemonError::Process)?;
        let (host, reconciler) = (self.host.clone(), self.reconciler.clone());
        let woken = move || {
            tracing::info!("the machine woke up, or its network changed");
            host.retry_now();
            reconciler.retry_now();
        };
        if let Err(error) = wake_up::watch(Arc::new(woken)) {
            tracing::warn!("cannot notice wake-ups and changes of the network: {error}");
        }
        Ok(())
    }

    /// Waits until an instance that should follow does, if that is about to happen.
    pub(crate) fn await_follower(&self, id: &InstanceId, cancel: &Cancel) -> Result<(), ContinuousError> {
        if self.host.has(id) {
            return Ok(());
        }
        self.reconciler.await_attempt(id, cancel)
    }

    /// Ends the followers. Each brings the batch under way to its end.
    fn end_following(&self) {
        self.reconciler.end();
        self.host.end_all();
    }

    /// Has the daemon end when requests under way are answered.
    pub(crate) fn stop(&self) {
        if !self.stop.send_replace(true) {
            self.tell(DaemonEvent::Stopping);
        }
    }

    /// Completes when the daemon is to end.
    pub(crate) async fn stopped(&self) {
        // Waiting fails only when the sender is gone, and `self` holds the sender.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// The connections to remotes.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Keeps the passphrase of the key file `key`, and tries again at once what waits for it. False if too many are kept already.
    pub(crate) fn keep_passphrase(&self, key: PathBuf, passphrase: Zeroizing<String>) -> bool {
        let is_kept = self.pool.keep_passphrase(key, passphrase);
        if is_kept {
            self.host.retry_now();
            self.reconciler.retry_now();
        }
        is_kept
    }

    /// The right to pass on one channel. `None` if there are too many, or the daemon is about to end.
    pub(crate) fn channel_permit(&self) -> Option<OwnedSemaphorePermit> {
        let may = !*self.stop.borrow();
        Arc::clone(&self.channels).try_acquire_owned().ok().filter(|_| may)
    }

    /// Waits until no channel is passed on any more, and closes all connections.
    async fn close_connections(self: &Arc<Self>) {
        if tokio::time::timeout(CHANNEL_GRACE, self.channels.acquire_many(MAX_CHANNELS)).await.is_err() {
            tracing::warn!("commands that use a connection were cut off");
        }
        let pool = Arc::clone(&self.pool);
        // Fails only if closing panics, which the log has.
        let _ = tokio::task::spawn_blocking(move || pool.close_all()).await;
    }

    /// Tells an event to all who listen.
    pub(crate) fn tell(&self, event: DaemonEvent) {
        // Fails when nobody listens.
        let _ = self.events.send(event);
    }

    /// The events from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<DaemonEvent> {
        self.events.subscribe()
    }

    /// The state as it is now.
    pub(crate) fn status(&self) -> DaemonStatus {
        let release = self.release.clone();
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let memory = Memory::of_this_process();
        DaemonStatus {
            pid: std::process::id(),
            version: release.version,
            protocol: release.protocol,
            program: release.program,
            started: started.as_secs(),
            uptime_seconds: self.running_since.elapsed().as_secs(),
            memory_bytes: memory.resident,
            peak_memory_bytes: memory.peak,
            socket: self.socket.clone(),
            remotes: self.pool.status(),
            instances: self.reconciler.summaries(),
        }
    }

    /// Has these signals end the daemon. Needs a runtime.
    fn stop_on(self: &Arc<Self>, signals: Signals) {
        for mut signal in signals.0 {
            let daemon = Arc::clone(self);
            tokio::spawn(async move {
                if signal.recv().await.is_some() {
                    tracing::info!("ending on a signal");
                    daemon.stop();
                }
            });
        }
    }
}

/// SIGTERM and SIGINT, from the moment on at which this was opened.
struct Signals([Signal; 2]);

impl Signals {
    /// Needs a runtime.
    fn open() -> io::Result<Self> {
        Ok(Self([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]))
    }
}

/// Serves connections until the daemon is to end.
async fn serve(socket: Socket, daemon: &Arc<Daemon>) {
    let router = api::router(Arc::clone(daemon));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = next_connection(&socket, &places) => {
                let (stream, place) = accepted;
                connections.spawn(serve_connection(stream, router.clone(), place));
            }
            Some(_) = connections.join_next() => {}
            () = daemon.stopped() => break,
        }
    }
    drop(socket);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("requests under way were cut off");
    }
    daemon.close_connections().await;
}

async fn next_connection(socket: &Socket, places: &Arc<Semaphore>) -> (UnixStream, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match socket.accept().await {
            Ok(stream) => return (stream, place),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Serves one request.
async fn serve_connection(stream: UnixStream, router: Router, _place: OwnedSemaphorePermit) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    http.keep_alive(false);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.with_upgrades().await {
        // A client that went away, or something that does not speak HTTP.
        tracing::debug!("a connection ended early: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Request, send};
    use crate::{Client, ClientError};
    use std::io::Read;
    use std::os::unix::net::UnixStream as Stream;
    use std::sync::mpsc;
    use std::thread::JoinHandle;

    struct Running {
        places: DaemonPlaces,
        thread: JoinHandle<Result<(), DaemonError>>,
        scratch: tempfile::TempDir,
    }

    fn options(places: &DaemonPlaces, directory: &Path) -> DaemonOptions {
        let helper = RemoteHelper::Installed("/nonexistent".into());
        DaemonOptions::new(places.clone(), Places::below(directory), helper)
    }

    /// Starts a daemon on a thread of this process.
    fn daemon() -> Running {
        let scratch = tempfile::tempdir().unwrap();
        let places = DaemonPlaces::below(scratch.path());
        let (ready, is_ready) = mpsc::channel();
        let options = options(&places, scratch.path());
        let thread = std::thread::spawn(move || run(&options, || ready.send(()).unwrap()));
        is_ready.recv().unwrap();
        Running { places, thread, scratch }
    }

    impl Running {
        fn client(&self) -> Client {
            Client::new(self.places.clone())
        }

        fn answer(&self, method: &str, path: &str) -> (u16, String) {
            let stream = Stream::connect(DaemonPlaces::socket_in(self.places.state())).unwrap();
            let mut response = send(stream, &Request { method, path, body: None, upgrade: None }).unwrap();
            let mut body = String::new();
            response.body.read_to_string(&mut body).unwrap();
            (response.status, body)
        }

        fn end(self) {
            let client = self.client();
            assert!(client.shut_down().unwrap());
            self.thread.join().unwrap().unwrap();
            assert!(!client.shut_down().unwrap());
        }
    }

    #[test]
    fn requests_that_do_not_exist_are_refused_in_json() {
        let daemon = daemon();
        let (status, text) = daemon.answer("GET", "/v1/nothing");
        assert_eq!(status, 404);
        assert_eq!(
            text,
            r#"{"error":"coastd has no /v1/nothing; see whether it is of this version","exit_code":2}"#
        );
        assert_eq!(daemon.answer("GET", "/v1/shutdown").0, 405);
        for what in ["prepare", "begin", "resolve"] {
            let (status, text) = daemon.answer("POST", &format!("/v1/instances/shop/dev-1/{what}"));
            assert_eq!(status, 400, "{text}");
            assert!(text.starts_with(r#"{"error":"coastd does not understand the request"#), "{text}");
        }
        let (status, text) = daemon.answer("GET", "/v1/instances/shop/..%2F");
        assert_eq!(status, 400, "{text}");
        assert!(text.starts_with(r#"{"error":"#), "{text}");
        assert_eq!(daemon.answer("POST", "/v1/status").0, 405);
        daemon.end();
    }

    #[test]
    fn events_come_until_the_daemon_ends() {
        let daemon = daemon();
        let mut events = daemon.client().events().unwrap();
        assert_eq!(events.next().unwrap().unwrap(), DaemonEvent::Listening { pid: std::process::id() });
        daemon.end();
        assert_eq!(events.next().unwrap().unwrap(), DaemonEvent::Stopping);
        assert!(events.next().is_none());
    }

    #[test]
    fn a_second_daemon_does_not_run() {
        let daemon = daemon();
        let second = run(&options(&daemon.places, daemon.scratch.path()), || panic!("it must not listen"));
        let Err(DaemonError::Runs(Some(first))) = second else { panic!("{second:?}") };
        assert_eq!((first.pid, first.is_here()), (std::process::id(), true));
        let places = daemon.places.clone();
        daemon.end();
        assert!(matches!(Client::new(places).status(), Err(ClientError::NotRunning)));
    }

    #[test]
    fn barriers_of_a_killed_daemon_are_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let places = DaemonPlaces::below(scratch.path());
        make_private(places.state(), Parents::Made).unwrap();
        let abandoned = places.state().join("coast-barrier-abc");
        std::fs::create_dir(&abandoned).unwrap();
        let options = options(&places, scratch.path());
        run(&options, || {
            assert!(!abandoned.exists());
            let client = Client::new(places.clone());
            std::thread::spawn(move || client.shut_down());
        })
        .unwrap();
    }
}
