//! The socket that the daemon listens on.

use std::fs;
use std::io;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::DaemonPlaces;
use crate::directory::{Parents, make_private};

/// How many connections of other users are told at once why they are refused. The others are closed.
const MAX_REFUSALS: usize = 8;
/// How long such a connection may take to read the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The daemon's socket. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Has a permit for each connection of another user that is told why it is refused.
    refusals: Arc<Semaphore>,
}

/// A socket that cannot be made at `path`.
#[derive(Debug)]
pub(crate) struct BindError {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

impl Socket {
    /// Listens in the best of the directories that this user can use. The caller holds the daemon's lock, so a socket that is there
    /// has been left behind and is replaced. Needs a runtime.
    ///
    /// # Errors
    /// When none of the directories can be used: the error of the best one.
    pub(crate) fn bind(places: &DaemonPlaces) -> Result<Self, BindError> {
        let mut first_error: Option<BindError> = None;
        for directory in places.socket_directories() {
            let parents = if directory == places.state() { Parents::Made } else { Parents::Needed };
            let path = DaemonPlaces::socket_in(directory);
            match make_private(directory, parents).and_then(|()| Self::bind_at(&path)) {
                Ok(listener) => {
                    if let Some(BindError { path, error }) = first_error {
                        tracing::warn!("cannot listen on {}: {error}", path.display());
                    }
                    return Ok(Self { listener, path, refusals: Arc::new(Semaphore::new(MAX_REFUSALS)) });
                }
                Err(error) => first_error = first_error.or(Some(BindError { path, error })),
            }
        }
        Err(first_error.unwrap_or_else(|| BindError {
            path: places.state().to_owned(),
            error: io::ErrorKind::NotFound.into(),
        }))
    }

    fn bind_at(path: &Path) -> io::Result<UnixListener> {
        if SocketAddr::from_pathname(path).is_err() {
            let text =
                "the path is too long for a socket; set XDG_RUNTIME_DIR to a shorter directory of yours";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        UnixListener::bind(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next connection of this user. A connection of another user is closed.
    ///
    /// # Errors
    /// When the system accepts none, for lack of descriptors for example.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == rustix::process::geteuid().as_raw() => return Ok(stream),
                Ok(peer) => {
                    tracing::warn!("refused a connection of user {}", peer.uid());
                    if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
                        tokio::spawn(refuse(stream, place));
                    }
                }
                Err(error) => tracing::warn!("refused a connection of an unknown user: {error}"),
            }
        }
    }
}

/// Answers, and then takes what the stranger sends: a connection that is closed while something is unread loses its answer.
async fn refuse(stream: UnixStream, _place: OwnedSemaphorePermit) {
    let body = r#"{"error":"this daemon serves another user","exit_code":1}"#;
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // In one piece, which a new connection always takes. The stranger is refused, whether or not it learns why.
    let _ = stream.try_write(answer.as_bytes());
    let taken = async {
        let mut buffer = [0; 4096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, taken).await;
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The daemon still holds its lock, so the socket at this path is this one. If it stays, the next daemon replaces it.
        let _ = fs::remove_file(&self.path);
    }
}
