//! The requests that the daemon answers. Each has a bound on its size and on its time.

mod connections;
mod instances;
mod lines;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

pub(crate) use self::connections::{CHANNEL_PROTOCOL, Found, KeptPassphrase};
pub(crate) use instances::{Begin, Resolve};
pub(crate) use lines::Line;

use crate::server::Daemon;
use crate::{DaemonEvent, DaemonStatus};

/// The most bytes of a request's body.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How long a request may take until its answer begins. The lines of a long answer may take as long as they need.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The exit code for two sides that do not understand each other.
const NOT_UNDERSTOOD: u8 = 2;
/// The exit code for a connection that is not there.
const NO_CONNECTION: u8 = 10;
/// The exit code for edits that cannot be carried, and for a fault of the daemon.
const FAILED: u8 = 12;
/// The exit code for a request that took too long.
const TOO_SLOW: u8 = 30;

/// An error as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// What went wrong, for a person.
    pub(crate) error: String,
    /// The code that a command ends with.
    pub(crate) exit_code: u8,
}

/// A refusal with its HTTP status.
#[derive(Debug)]
struct ApiError {
    status: StatusCode,
    refusal: Refusal,
}

impl ApiError {
    fn new(status: StatusCode, error: impl Into<String>, exit_code: u8) -> Self {
        Self { status, refusal: Refusal { error: error.into(), exit_code } }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.refusal)).into_response()
    }
}

/// Reads the JSON of a request.
///
/// # Errors
/// When it is not what was expected.
fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        // The error itself may quote a value, and the request may hold a passphrase.
        let place = format!("line {}, column {}", error.line(), error.column());
        let text = format!(
            "coastd does not understand the request from {place} on; see whether it is of this version"
        );
        ApiError::new(StatusCode::BAD_REQUEST, text, NOT_UNDERSTOOD)
    })
}

/// All requests.
pub(crate) fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(events))
        .route("/v1/shutdown", post(shutdown))
        .route("/v1/connections", post(connections::find))
        .route("/v1/connections/warm", post(connections::warm_up))
        .route("/v1/connections/{id}/exec", post(connections::exec))
        .route("/v1/passphrases", post(connections::keep_passphrase))
        .merge(instances::routes())
        .fallback(async |request: Request| {
            let text = format!("coastd has no {}; see whether it is of this version", request.uri().path());
            ApiError::new(StatusCode::NOT_FOUND, text, NOT_UNDERSTOOD)
        })
        .method_not_allowed_fallback(async |request: Request| {
            let text = format!("coastd does not answer {} {}", request.method(), request.uri().path());
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text, NOT_UNDERSTOOD)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(in_time))
        .with_state(daemon)
}

/// Ends a request that takes too long, as one does whose body never arrives.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let text = format!("coastd had no answer within {} s", ANSWER_TIMEOUT.as_secs());
            ApiError::new(StatusCode::REQUEST_TIMEOUT, text, TOO_SLOW).into_response()
        }
    }
}

/// Runs work that may block, such as reading the records, on a thread of its own. The thread of the runtime serves the other requests
/// meanwhile.
///
/// # Errors
/// When the work panics.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("coastd failed: {error}"), FAILED)
    })
}

async fn status(State(daemon): State<Arc<Daemon>>) -> Result<Json<DaemonStatus>, ApiError> {
    Ok(Json(blocking(move || daemon.status()).await?))
}

async fn shutdown(State(daemon): State<Arc<Daemon>>) -> StatusCode {
    tracing::info!("ending on request");
    daemon.stop();
    StatusCode::ACCEPTED
}

async fn events(State(daemon): State<Arc<Daemon>>) -> Response {
    let listener = Listener { events: daemon.events(), daemon: Arc::clone(&daemon), over: false };
    let first = stream::iter([DaemonEvent::Listening { pid: std::process::id() }]);
    let next = stream::unfold(listener, async |mut listener| {
        let event = listener.next().await?;
        Some((event, listener))
    });
    lines::stream_lines(first.chain(next))
}

/// The events for one client.
struct Listener {
    events: broadcast::Receiver<DaemonEvent>,
    daemon: Arc<Daemon>,
    over: bool,
}

impl Listener {
    /// The next event. `None` after the last one.
    async fn next(&mut self) -> Option<DaemonEvent> {
        if self.over {
            return None;
        }
        let event = tokio::select! {
            // Events that were told before the end come first.
            biased;
            event = self.events.recv() => match event {
                Ok(event) => event,
                Err(RecvError::Lagged(events)) => DaemonEvent::Missed { events },
                Err(RecvError::Closed) => DaemonEvent::Stopping,
            },
            // It may have been stopped before this listener came.
            () = self.daemon.stopped() => DaemonEvent::Stopping,
        };
        self.over = event == DaemonEvent::Stopping;
        Some(event)
    }
}
