//! The client of the daemon. Its calls block.

mod followers;
mod lines;

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coast_ssh::{RelayStream, Route, Zeroizing};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use crate::api::{CHANNEL_PROTOCOL, Found, KeptPassphrase, Refusal};
use crate::directory::check_private;
use crate::exchange::{Request, RequestBody, Response, send};
use crate::lock::{Lock, LockState, Running};
use crate::release::Release;
use crate::{DaemonEvent, DaemonPlaces, DaemonStatus};

pub use followers::{FollowersOfDaemon, PreparedAtDaemon};
use lines::JsonLines;

/// How long the daemon may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the daemon may take to find a connection. It asks the server for a sign of life.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a daemon that has its lock may take to say where it listens. On a full disk it cannot say it.
const STARTING_TIMEOUT: Duration = Duration::from_secs(3);
/// The interval between two attempts to connect to such a daemon.
const STARTING_LOOK: Duration = Duration::from_millis(20);
/// How long a daemon that was killed may take to end.
const ENDING_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the daemon may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);
/// The most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// Why the daemon did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of a variant explains its fields")]
pub enum ClientError {
    /// No daemon runs.
    #[error("coastd does not run; `coast daemon start` starts it")]
    NotRunning,
    /// The daemon runs on another machine.
    #[error("coastd runs on {machine}, as process {pid}; see to it there")]
    Elsewhere { machine: String, pid: u32 },
    /// A daemon runs, and its socket cannot be used.
    #[error("{}", unreachable(*.pid, socket, error))]
    Unreachable {
        /// `None` if it has not written its process id, as on a full disk.
        pid: Option<u32>,
        socket: PathBuf,
        error: io::Error,
    },
    /// The exchange with the daemon failed.
    #[error("asking coastd: {0}")]
    Exchange(#[from] io::Error),
    /// The daemon refused the request.
    #[error("{error}")]
    Refused { error: String, exit_code: u8 },
    /// The daemon does not end.
    #[error("{}", still_runs(*.pid))]
    StillRuns {
        /// `None` if it has not written its process id, as on a full disk.
        pid: Option<u32>,
    },
}

/// What to do about a daemon whose process id is not known.
const FIND_IT: &str = "see which process it is with: pgrep -af coast";

fn unreachable(pid: Option<u32>, socket: &Path, error: &io::Error) -> String {
    let socket = socket.display();
    match pid {
        Some(pid) => format!(
            "coastd runs as process {pid}, and its socket {socket} cannot be used: {error}; `coast daemon restart` helps"
        ),
        None => format!(
            "coastd runs and could not write its process id, and its socket {socket} cannot be used: {error}; {FIND_IT}"
        ),
    }
}

fn still_runs(pid: Option<u32>) -> String {
    let seconds = STOP_TIMEOUT.as_secs();
    match pid {
        Some(pid) => {
            format!("coastd, process {pid}, has not ended within {seconds} s; `kill -9 {pid}` ends it")
        }
        None => {
            format!("coastd has not ended within {seconds} s, and could not write its process id; {FIND_IT}")
        }
    }
}

impl ClientError {
    /// The exit code of a command that fails with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotRunning | Self::Elsewhere { .. } => 3,
            Self::Refused { exit_code, .. } => *exit_code,
            Self::Unreachable { .. } | Self::Exchange(_) | Self::StillRuns { .. } => 12,
        }
    }
}

/// Talks to the daemon of a user.
#[derive(Debug, Clone)]
pub struct Client {
    places: DaemonPlaces,
}

impl Client {
    /// A client of the daemon with its files in `places`.
    pub fn new(places: DaemonPlaces) -> Self {
        Self { places }
    }

    /// The state of the daemon.
    ///
    /// # Errors
    /// When no daemon answers.
    pub fn status(&self) -> Result<DaemonStatus, ClientError> {
        self.read_status()
    }

    /// The release of the daemon. Every version of the daemon can be asked for it.
    ///
    /// # Errors
    /// When no daemon answers.
    pub(crate) fn release(&self) -> Result<Release, ClientError> {
        self.read_status()
    }

    /// Those fields of the daemon's status that `T` has.
    fn read_status<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        read_json(self.ask("GET", "/v1/status")?)
    }

    /// The events of the daemon from now on.
    ///
    /// # Errors
    /// When no daemon answers.
    pub fn events(&self) -> Result<EventLines, ClientError> {
        let response = self.ask("GET", "/v1/events")?;
        Ok(EventLines(JsonLines::of(response.body)?))
    }

    /// Tells the daemon to end, and waits until it has ended. Returns false if no daemon ran.
    ///
    /// # Errors
    /// When it does not end in time, or runs on another machine.
    pub fn shut_down(&self) -> Result<bool, ClientError> {
        let pid = match self.ask("POST", "/v1/shutdown") {
            Ok(_) => Lock::state(&self.places.lock()).holder().map(|running| running.pid),
            Err(ClientError::NotRunning) => return Ok(false),
            // Its socket may have been removed together with the runtime directory of a login.
            Err(ClientError::Unreachable { pid: Some(pid), .. }) => {
                terminate(pid)?;
                Some(pid)
            }
            Err(error) => return Err(error),
        };
        match Lock::wait(&self.places.lock(), STOP_TIMEOUT)? {
            Some(_) => Ok(true),
            None => Err(ClientError::StillRuns { pid }),
        }
    }

    /// The open connection for `route`. `None` if the daemon has none that can be used.
    pub(crate) fn find_connection(&self, route: &Route) -> Result<Option<Found>, ClientError> {
        let body = serde_json::to_vec(route).map_err(io::Error::from)?;
        match self.post("/v1/connections", &body) {
            Ok(response) => Ok(Some(read_json(response)?)),
            Err(ClientError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the daemon make a connection for `route`. Does not wait for it.
    pub(crate) fn warm_up(&self, route: &Route) -> Result<(), ClientError> {
        let body = serde_json::to_vec(route).map_err(io::Error::from)?;
        self.post("/v1/connections/warm", &body).map(drop)
    }

    /// Has the daemon keep the passphrase of a key file in its memory, for its connections.
    ///
    /// # Errors
    /// When no daemon answers, or it keeps too many already.
    pub fn keep_passphrase(&self, key: &Path, passphrase: &Zeroizing<String>) -> Result<(), ClientError> {
        let kept = KeptPassphrase { key: key.to_owned(), passphrase: passphrase.clone() };
        let body = Zeroizing::new(serde_json::to_vec(&kept).map_err(io::Error::from)?);
        self.post("/v1/passphrases", &body).map(drop)
    }

    /// Has the daemon run `command` on the connection with this number.
    pub(crate) fn exec(&self, connection: u64, command: &[u8]) -> Result<RelayStream, ClientError> {
        let path = format!("/v1/connections/{connection}/exec");
        let body = Some(RequestBody { media_type: "application/octet-stream", content: command });
        let request = Request { method: "POST", path: &path, body, upgrade: Some(CHANNEL_PROTOCOL) };
        let upgraded = self.exchange(self.open()?, &request)?.body.into_upgraded();
        upgraded.stream.set_read_timeout(None)?;
        upgraded.stream.set_write_timeout(None)?;
        Ok(upgraded)
    }

    fn post(&self, path: &str, body: &[u8]) -> Result<Response, ClientError> {
        let stream = self.open()?;
        stream.set_read_timeout(Some(CONNECTION_TIMEOUT))?;
        let body = Some(RequestBody::json(body));
        self.exchange(stream, &Request { method: "POST", path, body, upgrade: None })
    }

    fn ask(&self, method: &str, path: &str) -> Result<Response, ClientError> {
        self.send(method, path, None)
    }

    /// Sends a request, whose body is JSON if there is one.
    fn send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Response, ClientError> {
        let stream = self.open()?;
        let body = body.map(RequestBody::json);
        self.exchange(stream, &Request { method, path, body, upgrade: None })
    }

    /// Sends a request and takes the answer. A daemon that was killed and has not ended wholly still takes connections.
    fn exchange(&self, stream: UnixStream, request: &Request<'_>) -> Result<Response, ClientError> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match send(stream, request) {
            Ok(response) => Self::answered(response),
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) => {
                match Lock::wait(&self.places.lock(), ENDING_TIMEOUT) {
                    Ok(Some(_)) => Err(ClientError::NotRunning),
                    _ => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The answer, if it is not a refusal.
    fn answered(response: Response) -> Result<Response, ClientError> {
        if (100..300).contains(&response.status) {
            return Ok(response);
        }
        let Refusal { error, exit_code } = read_json(response)?;
        Err(ClientError::Refused { error, exit_code })
    }

    /// Connects to the daemon. A daemon that is starting is waited for.
    fn open(&self) -> Result<UnixStream, ClientError> {
        let until = Instant::now() + STARTING_TIMEOUT;
        loop {
            match self.connect() {
                // It has its lock, and has not said yet where it listens.
                Err(ClientError::Unreachable { pid: None, .. }) if Instant::now() < until => {
                    std::thread::sleep(STARTING_LOOK);
                }
                connected => return connected,
            }
        }
    }

    fn connect(&self) -> Result<UnixStream, ClientError> {
        // The text is read without the lock: a client that took it, for a moment even, could keep a daemon from starting.
        let running = Lock::text(&self.places.lock());
        let named = running.filter(Running::is_here).map(|running| running.socket.to_path_buf());
        // On a full disk the daemon could not write where it listens.
        let usual = self.places.socket_directories().map(DaemonPlaces::socket_in);
        let mut problem = None;
        for socket in named.into_iter().chain(usual) {
            match connect(&socket) {
                Ok(stream) => return Ok(stream),
                Err(error) => problem = problem.or(Some((socket, error))),
            }
        }
        let unknown = || (PathBuf::new(), io::ErrorKind::NotFound.into());
        match Lock::state(&self.places.lock()) {
            LockState::Free => Err(ClientError::NotRunning),
            LockState::Held(Some(running)) if !running.is_here() => {
                Err(ClientError::Elsewhere { machine: running.machine, pid: running.pid })
            }
            LockState::Held(running) => {
                let (socket, error) = problem.unwrap_or_else(unknown);
                Err(ClientError::Unreachable { pid: running.map(|running| running.pid), socket, error })
            }
        }
    }
}

/// Reads the JSON of an answer.
fn read_json<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let mut text = Vec::new();
    response.body.take(MAX_ANSWER_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).map_err(io::Error::from)?)
}

/// Connects to the socket, if only this user could have made it.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    check_private(socket.parent().unwrap_or(Path::new("/")))?;
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

fn terminate(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "its process is not known"))?;
    Ok(kill_process(pid, Signal::TERM)?)
}

/// The events of the daemon, one after the other. It ends with the daemon.
pub struct EventLines(JsonLines);

impl EventLines {
    /// The connection that the events arrive on.
    pub(crate) fn stream(&self) -> &UnixStream {
        self.0.stream()
    }
}

impl Iterator for EventLines {
    type Item = io::Result<DaemonEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coast_tree::Attempt;

    #[test]
    fn a_daemon_that_could_not_write_its_process_id_gets_no_signal() {
        let scratch = tempfile::tempdir().unwrap();
        let places = DaemonPlaces::below(scratch.path());
        std::fs::create_dir_all(places.state()).unwrap();
        let Attempt::Acquired(_held) = Lock::attempt(&places.lock()).unwrap() else { panic!("it was free") };
        let Err(error) = Client::new(places).shut_down() else { panic!("there is no socket") };
        assert!(matches!(error, ClientError::Unreachable { pid: None, .. }), "{error}");
        for text in [error.to_string(), ClientError::StillRuns { pid: None }.to_string()] {
            assert!(!text.contains("kill") && !text.contains("process 0"), "{text}");
        }
    }
}
