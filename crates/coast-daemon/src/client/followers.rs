//! The followers of coastd, as a command reaches them over its socket.

use std::io;
use std::net::Shutdown;
use std::path::PathBuf;

use coast_instance::{
    ContinuousError, ContinuousStatus, Failure, FirstBatch, FollowSpec, Followers, InstanceId, Layer,
    Prepared, Retry, RunnerState, Side, WatchSession,
};
use coast_sync::{Cancel, CancelHook};
use serde::Serialize;

use super::lines::JsonLines;
use super::{Client, ClientError, read_json};
use crate::DaemonEvent;
use crate::api::{Begin, Line, Resolve};
use crate::exchange::Response;
use crate::{start, take_over};

/// Has coastd follow worktrees. Starts coastd where a follower is to be prepared.
#[derive(Debug, Clone)]
pub struct FollowersOfDaemon {
    client: Client,
    program: PathBuf,
}

/// A follower of coastd that notes edits and does not carry them yet. coastd ends it when this is dropped.
pub struct PreparedAtDaemon {
    client: Client,
    id: InstanceId,
    lease: u64,
    /// Open as long as the lease holds.
    _answer: Answer,
}

/// The lines of an answer that takes long.
struct Answer {
    lines: JsonLines,
    _hook: CancelHook,
}

impl FollowersOfDaemon {
    /// The followers of the daemon that `client` talks to. `program` is the `coast` that starts it.
    pub fn new(client: Client, program: PathBuf) -> Self {
        Self { client, program }
    }

    /// Tells the daemon that a record was changed, if it runs.
    pub fn tell_changed(&self) {
        // Without a daemon nobody has to be told.
        let _ = self.client.ask("POST", "/v1/changed");
    }

    /// Calls `changed` whenever the daemon tells a change of this instance or of a record, until the daemon ends or `cancel` is
    /// cancelled. Returns at once where no daemon runs.
    pub fn watch(&self, id: &InstanceId, cancel: &Cancel, changed: &dyn Fn()) {
        let Ok(events) = self.client.events() else { return };
        let Ok(stream) = events.stream().try_clone() else { return };
        let _hook = cancel.on_cancel(move || drop(stream.shutdown(Shutdown::Both)));
        for event in events {
            match event {
                Ok(DaemonEvent::Instance { id: of, .. }) if of != *id => {}
                Ok(_) => changed(),
                Err(_) => return,
            }
        }
    }

    /// The next attempt of the daemon to mend an instance; `None` if there is nothing to mend, or no daemon.
    pub fn mending(&self, id: &InstanceId) -> Option<Retry> {
        let instances = self.client.status().ok()?.instances;
        instances.into_iter().find(|instance| instance.id == *id)?.mending
    }

    /// The answer to a request, or `absent` where no daemon runs.
    fn ask<T>(
        &self,
        id: &InstanceId,
        what: &str,
        absent: impl FnOnce() -> T,
        read: impl FnOnce(Response) -> Result<T, ClientError>,
    ) -> Result<T, ContinuousError> {
        let method = if what.is_empty() { "GET" } else { "POST" };
        match self.client.ask(method, &path(id, what)) {
            Ok(response) => read(response).map_err(failed),
            Err(ClientError::NotRunning) => Ok(absent()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn path(id: &InstanceId, what: &str) -> String {
    // Names consist of letters, digits, dots, dashes and underscores.
    let path = format!("/v1/instances/{}/{}", id.project, id.instance);
    if what.is_empty() { path } else { format!("{path}/{what}") }
}

fn failed(error: ClientError) -> ContinuousError {
    match error {
        ClientError::NotRunning => Failure::not_running().into(),
        error => Failure::new("coastd", "asking coastd", error).into(),
    }
}

impl Answer {
    /// Sends a request whose answer takes long. `cancel` ends the answer.
    fn begin(
        client: &Client,
        id: &InstanceId,
        what: &str,
        body: &impl Serialize,
        cancel: &Cancel,
    ) -> Result<Self, ContinuousError> {
        let body = serde_json::to_vec(body).map_err(|error| failed(io::Error::from(error).into()))?;
        let response = client.send("POST", &path(id, what), Some(&body)).map_err(failed)?;
        let lines = JsonLines::of(response.body).map_err(|error| failed(error.into()))?;
        let stream = lines.stream().try_clone().map_err(|error| failed(error.into()))?;
        let hook = cancel.on_cancel(move || drop(stream.shutdown(Shutdown::Both)));
        Ok(Self { lines, _hook: hook })
    }

    fn next(&mut self) -> io::Result<Line> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "coastd ended before its answer did");
        self.lines.next()?.ok_or_else(ended)
    }

    /// Reads to the last line.
    fn end(mut self, watch: &WatchSession<'_>, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        loop {
            match self.next() {
                Ok(Line::Session { continuous }) => watch(&continuous),
                Ok(Line::Done { continuous }) => return Ok(continuous),
                Ok(Line::Failed { failure }) => return Err(failure.into()),
                Ok(Line::Prepared { .. }) => {}
                Err(_) if cancel.is_cancelled() => return Err(ContinuousError::Interrupted),
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}

impl Prepared for PreparedAtDaemon {
    fn begin(
        self,
        first: FirstBatch,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        let body = Begin { lease: self.lease, first };
        Answer::begin(&self.client, &self.id, "begin", &body, cancel)?.end(watch, cancel)
    }
}

impl Followers for FollowersOfDaemon {
    type Prepared = PreparedAtDaemon;

    fn prepare(&self, spec: &FollowSpec, cancel: &Cancel) -> Result<PreparedAtDaemon, ContinuousError> {
        start(&self.client.places, &self.program)
            .map_err(|error| Failure::new("coastd", "starting coastd", error))?;
        let mut answer = Answer::begin(&self.client, &spec.id, "prepare", spec, cancel)?;
        match answer.next() {
            Ok(Line::Prepared { lease }) => Ok(PreparedAtDaemon {
                client: self.client.clone(),
                id: spec.id.clone(),
                lease,
                _answer: answer,
            }),
            Ok(Line::Failed { failure }) => Err(failure.into()),
            Ok(_) => Err(Failure::new("coastd", "asking coastd", "it did not prepare the follower").into()),
            Err(_) if cancel.is_cancelled() => Err(ContinuousError::Interrupted),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// A daemon that is older than this program is replaced first.
    fn await_start(
        &self,
        id: &InstanceId,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<(), ContinuousError> {
        take_over(&self.client.places, &self.program)
            .map_err(|error| Failure::new("coastd", "asking coastd", error))?;
        Answer::begin(&self.client, id, "await", &(), cancel)?.end(watch, cancel).map(drop)
    }

    fn end(&self, id: &InstanceId, _: &Cancel) -> Result<(), ContinuousError> {
        self.ask(id, "end", || (), |_| Ok(()))
    }

    fn pause(&self, id: &InstanceId, _: &Cancel) -> Result<(), ContinuousError> {
        self.ask(id, "pause", || (), |_| Ok(()))
    }

    fn flush(
        &self,
        id: &InstanceId,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        Answer::begin(&self.client, id, "flush", &(), cancel)?.end(watch, cancel)
    }

    fn status(&self, id: &InstanceId, _: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        let absent = || ContinuousStatus {
            layer: Layer::Native,
            runner: RunnerState::Stopped,
            word: Failure::not_running().said,
            ..ContinuousStatus::default()
        };
        self.ask(id, "", absent, read_json)
    }

    fn resolve(
        &self,
        id: &InstanceId,
        paths: &[Vec<u8>],
        take: Side,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        let paths = paths.iter().map(|path| data_encoding::HEXLOWER.encode(path)).collect();
        Answer::begin(&self.client, id, "resolve", &Resolve { paths, take }, cancel)?.end(&|_| {}, cancel)
    }
}
