//! The requests about the followers of instances.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use coast_instance::{ContinuousError, FirstBatch, FollowSpec, Followers, InstanceId, Prepared, Side};
use coast_sync::Cancel;
use serde::{Deserialize, Serialize};

use super::lines::{Line, answer, keep_open, one_line};
use super::{ApiError, FAILED, blocking, read_json};
use crate::DaemonEvent;
use crate::server::Daemon;

/// The body of a request that has a prepared follower begin.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// The number of the answer that prepared it.
    pub(crate) lease: u64,
    pub(crate) first: FirstBatch,
}

/// The body of a request that settles conflicts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Resolve {
    /// Relative paths, in hexadecimal digits because they need not be UTF-8. None means every conflict.
    pub(crate) paths: Vec<String>,
    pub(crate) take: Side,
}

/// The instance that the path of a request names.
struct NamedInstance(InstanceId);

impl<S: Send + Sync> FromRequestParts<S> for NamedInstance {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(rejection) => Err(not_named(&rejection)),
        }
    }
}

fn not_named(rejection: &PathRejection) -> ApiError {
    ApiError::new(rejection.status(), rejection.body_text(), super::NOT_UNDERSTOOD)
}

pub(super) fn routes() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/v1/instances/{project}/{instance}", get(status))
        .route("/v1/instances/{project}/{instance}/prepare", post(prepare))
        .route("/v1/instances/{project}/{instance}/begin", post(begin))
        .route("/v1/instances/{project}/{instance}/end", post(end))
        .route("/v1/instances/{project}/{instance}/pause", post(pause))
        .route("/v1/instances/{project}/{instance}/await", post(await_follower))
        .route("/v1/instances/{project}/{instance}/flush", post(flush))
        .route("/v1/instances/{project}/{instance}/resolve", post(resolve))
        .route("/v1/changed", post(changed))
}

impl From<ContinuousError> for ApiError {
    fn from(error: ContinuousError) -> Self {
        Self::new(StatusCode::CONFLICT, error.to_string(), FAILED)
    }
}

async fn status(
    State(daemon): State<Arc<Daemon>>,
    NamedInstance(id): NamedInstance,
) -> Result<Response, ApiError> {
    let status = blocking(move || daemon.reconciler.status(&id, &Cancel::new())).await?;
    Ok(Json(status?).into_response())
}

async fn prepare(
    State(daemon): State<Arc<Daemon>>,
    NamedInstance(id): NamedInstance,
    body: Bytes,
) -> Result<Response, ApiError> {
    let spec: FollowSpec = read_json(&body)?;
    if spec.id != id {
        let text = format!("the request is about {id}, and its parameters about {}", spec.id);
        return Err(ApiError::new(StatusCode::BAD_REQUEST, text, super::NOT_UNDERSTOOD));
    }
    let host = daemon.host.clone();
    // The line of a failure says which part failed. An error of the request would not.
    let lease = match blocking(move || host.prepare(&spec, &Cancel::new())).await? {
        Ok(prepared) => daemon.leases.add(prepared),
        Err(error) => return Ok(one_line(&Line::failed(error))),
    };
    Ok(keep_open(&Line::Prepared { lease: lease.number() }, lease))
}

async fn begin(
    State(daemon): State<Arc<Daemon>>,
    NamedInstance(id): NamedInstance,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Begin { lease, first } = read_json(&body)?;
    let prepared = daemon.leases.take(lease, &id).ok_or_else(|| {
        let text = format!("nothing is prepared for {id} under the number {lease}");
        ApiError::new(StatusCode::NOT_FOUND, text, super::NOT_UNDERSTOOD)
    })?;
    Ok(answer(move |lines, cancel| prepared.begin(first, &|status| lines.session(status), cancel)))
}

async fn end(
    State(daemon): State<Arc<Daemon>>,
    NamedInstance(id): NamedInstance,
) -> Result<StatusCode, ApiError> {
    blocking(move || daemon.host.end(&id, &Cancel::new())).await??;
    Ok(StatusCode::NO_CONTENT)
}

async fn pause(
    State(daemon): State<Arc<Daemon>>,
    NamedInstance(id): NamedInstance,
) -> Result<StatusCode, ApiError> {
    tracing::warn!(
        "{id}: edits do not follow: a command has paused them, because the worktree is gone or replaced"
    );
    blocking(move || daemon.host.pause(&id, &Cancel::new())).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Waits until an instance follows that the daemon is about to restore.
async fn await_follower(State(daemon): State<Arc<Daemon>>, NamedInstance(id): NamedInstance) -> Response {
    answer(move |_, cancel| {
        daemon.await_follower(&id, cancel)?;
        daemon.host.status(&id, cancel)
    })
}

async fn flush(State(daemon): State<Arc<Daemon>>, NamedInstance(id): NamedInstance) -> Response {
    answer(move |lines, cancel| daemon.host.flush(&id, &|status| lines.session(status), cancel))
}

async fn resolve(
    State(daemon): State<Arc<Daemon>>,
    NamedInstance(id): NamedInstance,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Resolve { paths, take } = read_json(&body)?;
    let paths = paths.iter().map(|path| data_encoding::HEXLOWER.decode(path.as_bytes()));
    let paths = paths.collect::<Result<Vec<_>, _>>().map_err(|error| {
        let text = format!("a path must be an even number of hexadecimal digits: {error}");
        ApiError::new(StatusCode::BAD_REQUEST, text, super::NOT_UNDERSTOOD)
    })?;
    Ok(answer(move |_, cancel| daemon.host.resolve(&id, &paths, take, cancel)))
}

/// A command has changed a record: what should follow may be another thing now.
async fn changed(State(daemon): State<Arc<Daemon>>) -> StatusCode {
    daemon.reconciler.reread_records();
    daemon.tell(DaemonEvent::Records);
    StatusCode::NO_CONTENT
}
