//! Answers of one JSON object per line: those that take long, with the same objects as `--json` prints, and the events.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use coast_instance::{ContinuousError, ContinuousStatus, Failure};
use coast_sync::Cancel;
use futures_util::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// The media type of an answer in lines.
const NDJSON: &str = "application/x-ndjson";

/// The lines that may wait for the client. A state that finds no room is left out: the next one is newer.
const QUEUED_LINES: usize = 16;

/// A line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line {
    /// Edits are noted from now on, for as long as this answer is read.
    Prepared { lease: u64 },
    /// The state of the follower that is waited for.
    Session { continuous: ContinuousStatus },
    /// The last line of an answer that came to its end.
    Done { continuous: ContinuousStatus },
    /// The last line of an answer that did not.
    Failed { failure: Failure },
}

impl Line {
    /// The last line of an answer. `None` if nobody waits for it any more.
    fn last(result: Result<ContinuousStatus, ContinuousError>) -> Option<Self> {
        match result {
            Ok(continuous) => Some(Self::Done { continuous }),
            Err(ContinuousError::Interrupted) => None,
            Err(error) => Some(Self::failed(error)),
        }
    }

    /// The line of an error.
    pub(super) fn failed(error: ContinuousError) -> Self {
        let failure = match error {
            ContinuousError::Failed(failure) | ContinuousError::NotRemoved { failure, .. } => failure,
            error => Failure::new("coastd", "asking coastd", error),
        };
        Self::Failed { failure }
    }
}

/// Takes the lines of an answer.
#[derive(Clone)]
pub(crate) struct Lines(mpsc::Sender<Bytes>);

impl Lines {
    /// Adds the state of a follower, if there is room.
    pub(crate) fn session(&self, status: &ContinuousStatus) {
        let _ = self.0.try_send(json_line(&Line::Session { continuous: status.clone() }));
    }
}

/// The line of an object.
fn json_line(object: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(object).expect("it has no maps, so it can be written");
    line.push(b'\n');
    line.into()
}

/// Answers with the objects of a stream.
pub(super) fn stream_lines<T: Serialize>(objects: impl Stream<Item = T> + Send + 'static) -> Response {
    lines_of(objects.map(|object| json_line(&object)))
}

fn lines_of(lines: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines.map(Ok::<_, Infallible>))).into_response()
}

/// Answers with the lines of `work`, which runs on a thread of its own. The work is cancelled when the client has gone.
pub(crate) fn answer(
    work: impl FnOnce(&Lines, &Cancel) -> Result<ContinuousStatus, ContinuousError> + Send + 'static,
) -> Response {
    let (sender, receiver) = mpsc::channel(QUEUED_LINES);
    let cancel = Cancel::new();
    tokio::task::spawn_blocking({
        let cancel = cancel.clone();
        move || {
            let lines = Lines(sender);
            if let Some(line) = Line::last(work(&lines, &cancel)) {
                // Fails if the client has gone.
                let _ = lines.0.blocking_send(json_line(&line));
            }
        }
    });
    response(receiver, CancelWhenDropped(cancel))
}

/// Answers with one line.
pub(crate) fn one_line(line: &Line) -> Response {
    ([(header::CONTENT_TYPE, NDJSON)], json_line(line)).into_response()
}

/// Answers with one line, and then keeps the answer open: `kept` is dropped when the client goes away.
pub(crate) fn keep_open(line: &Line, kept: impl Send + 'static) -> Response {
    let (sender, receiver) = mpsc::channel(1);
    let _ = sender.try_send(json_line(line));
    response(receiver, (kept, sender))
}

fn response(receiver: mpsc::Receiver<Bytes>, kept: impl Send + 'static) -> Response {
    let lines = stream::unfold((receiver, kept), |(mut receiver, kept)| async move {
        let line = receiver.recv().await?;
        Some((line, (receiver, kept)))
    });
    lines_of(lines)
}

/// Cancels the work for a client that has gone, and work that has ended already.
struct CancelWhenDropped(Cancel);

impl Drop for CancelWhenDropped {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
