//! Requests about connections: finding one, having one made, and running a command on it.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coast_ssh::{Peer, RelayStream, Route, Zeroizing};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::{ApiError, MAX_BODY_BYTES, NO_CONNECTION, NOT_UNDERSTOOD, blocking, read_json};
use crate::server::Daemon;

/// The protocol of a channel, as the headers of an upgrade name it.
pub(crate) const CHANNEL_PROTOCOL: &str = "coast-channel";

/// A connection that can be used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Its number, for [`exec`].
    pub(crate) id: u64,
    /// The name of the host.
    pub(crate) host: String,
    /// The host at the other end, and the user and key that logged in.
    pub(crate) peer: Peer,
}

/// The passphrase of a key file.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeptPassphrase {
    pub(crate) key: PathBuf,
    #[serde(with = "secret")]
    pub(crate) passphrase: Zeroizing<String>,
}

/// Texts that are overwritten when they are dropped.
mod secret {
    use coast_ssh::Zeroizing;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(from).map(Zeroizing::new)
    }
}

/// `POST /v1/connections`: the open connection for a route.
pub(super) async fn find(State(daemon): State<Arc<Daemon>>, body: Bytes) -> Result<Json<Found>, ApiError> {
    let route = read_json::<Route>(&body)?.shared();
    let warm = blocking(move || daemon.pool().find(&route)).await?;
    let warm = warm.ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "coastd has no such connection", NO_CONNECTION)
    })?;
    let session = warm.session();
    Ok(Json(Found { id: warm.id(), host: session.host().to_owned(), peer: session.peer().clone() }))
}

/// `POST /v1/connections/warm`: has a connection made for a route. Does not wait for it.
pub(super) async fn warm_up(State(daemon): State<Arc<Daemon>>, body: Bytes) -> Result<StatusCode, ApiError> {
    let route = read_json::<Route>(&body)?.shared();
    tokio::task::spawn_blocking(move || daemon.pool().warm_up(&route));
    Ok(StatusCode::ACCEPTED)
}

/// `POST /v1/passphrases`: keeps a passphrase in memory.
pub(super) async fn keep_passphrase(
    State(daemon): State<Arc<Daemon>>,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let KeptPassphrase { key, passphrase } = read_json(&body)?;
    if daemon.keep_passphrase(key, passphrase) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let text = "coastd keeps too many passphrases already; `coast daemon restart` forgets them";
    Err(ApiError::new(StatusCode::INSUFFICIENT_STORAGE, text, NO_CONNECTION))
}

/// `POST /v1/connections/ID/exec`: runs the command in the body, and becomes its channel.
pub(super) async fn exec(
    State(daemon): State<Arc<Daemon>>,
    Path(id): Path<u64>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let wanted = request.headers().get(header::UPGRADE).is_some_and(|protocol| protocol == CHANNEL_PROTOCOL);
    if !wanted {
        let text =
            format!("a command needs the headers `Connection: upgrade` and `Upgrade: {CHANNEL_PROTOCOL}`");
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, text, NOT_UNDERSTOOD));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let command = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|_| {
        let text = format!("a command may have {MAX_BODY_BYTES} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text, NOT_UNDERSTOOD)
    })?;
    let permit = daemon.channel_permit().ok_or_else(|| {
        let text = "coastd passes on too many channels already, or is about to end";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text, NO_CONNECTION)
    })?;
    let channel = blocking(move || daemon.pool().share(id).map(|session| session.exec(&command))).await?;
    let channel = channel.ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "coastd no longer has that connection", NO_CONNECTION)
    })?;
    let channel =
        channel.map_err(|error| ApiError::new(StatusCode::BAD_GATEWAY, error.to_string(), NO_CONNECTION))?;
    tokio::spawn(async move {
        // A client that went away has no use for the channel.
        let Some(stream) = upgrade.await.ok().and_then(taken_back) else { return };
        tokio::task::spawn_blocking(move || {
            if let Err(error) = channel.pass_on(stream) {
                tracing::debug!("a channel ended early: {error}");
            }
            drop(permit);
        });
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static(CHANNEL_PROTOCOL)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// The socket below a connection that is no longer HTTP. Plain threads read and write it.
fn taken_back(upgraded: Upgraded) -> Option<RelayStream> {
    let parts = upgraded.downcast::<TokioIo<UnixStream>>().ok()?;
    let stream = parts.io.into_inner().into_std().ok()?;
    stream.set_nonblocking(false).ok()?;
    Some(RelayStream { stream, read_ahead: parts.read_buf.to_vec() })
}
