//! A destination on another machine: connects, starts the helper, and runs a transfer or a question over the helper's streams.

mod held_monitor;
mod transfer;

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use coast_engine::{Cancel, CancelHook, EngineError, FollowSender};
use coast_ssh::{
    ChannelReader, ChannelStatus, ChannelWriter, Closer, ExitStatus, HelperSpec, Peer, Prompt, RunsAs,
    Session, SshError, Sudo,
};

use coast_wire::Answer;
use coast_workspace::take_answer;

use crate::SyncError;
use crate::destination::{RemoteDestination, RemoteHelper};
use crate::follow::Sender;

pub(crate) use transfer::send;

/// How the other machine was reached.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionReport {
    /// The host's name, with its port if that is not 22.
    pub host: String,
    /// The address of the host, and the user who logged in.
    pub peer: Peer,
    /// Whether the helper had to be uploaded.
    pub uploaded_helper: bool,
    /// The user that the helper ran as.
    pub runs_as: RunsAs,
}

impl ConnectionReport {
    fn of(session: &Session, uploaded_helper: bool, runs_as: &RunsAs) -> Self {
        Self {
            host: session.host().to_owned(),
            peer: session.peer().clone(),
            uploaded_helper,
            runs_as: runs_as.clone(),
        }
    }

    /// Tells the user if the helper does not run as root because sudo refused.
    fn tell_refusal(&self, prompt: &dyn Prompt) {
        if let RunsAs::UserAfter(refusal) = &self.runs_as {
            prompt
                .notice(&format!("{}: writing as the user who logged in, not as root: {refusal}", self.host));
        }
    }
}

/// A helper on another machine that was started and has greeted.
pub(crate) struct Reached {
    pub(crate) report: ConnectionReport,
    pub(crate) reader: ChannelReader,
    pub(crate) writer: ChannelWriter,
    status: ChannelStatus,
    hook: CancelHook,
    closer: Closer,
}

/// Connects, and starts the helper with the arguments `words`. While the returned hook lives, `cancel` closes the connection.
pub(crate) fn reach(
    remote: &RemoteDestination,
    words: Vec<OsString>,
    prompt: &dyn Prompt,
    cancel: &Cancel,
) -> Result<Reached, SyncError> {
    let spec = helper_spec(remote, words, remote.sudo)?;
    let session = remote.connector.connect(&remote.target, &remote.connect, prompt)?;
    if cancel.is_cancelled() {
        return Err(SyncError::Interrupted);
    }
    let helper = session.start_helper(&spec)?;
    let report = ConnectionReport::of(&session, helper.deployed(), helper.runs_as());
    report.tell_refusal(prompt);
    let (reader, writer, status) = helper.split();
    let closer = session.closer();
    let hook = close_on_cancel(cancel, &closer);
    Ok(Reached { report, reader, writer, status, hook, closer })
}

fn close_on_cancel(cancel: &Cancel, closer: &Closer) -> CancelHook {
    let closer = closer.clone();
    cancel.on_cancel(move || closer.close())
}

/// A helper on another machine that stays, and the stream to it.
pub(crate) struct FollowedRemote {
    report: ConnectionReport,
    sender: Sender,
    status: Arc<ChannelStatus>,
    closer: Closer,
}

impl FollowedRemote {
    /// See [`reach`].
    pub(crate) fn reach(
        remote: &RemoteDestination,
        words: Vec<OsString>,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<Self, SyncError> {
        let Reached { report, reader, writer, status, hook: _hook, closer } =
            reach(remote, words, prompt, cancel)?;
        let sender = FollowSender::new(Box::new(reader) as _, Box::new(writer) as _);
        Ok(Self { report, sender, status: Arc::new(status), closer })
    }

    pub(crate) fn report(&self) -> &ConnectionReport {
        &self.report
    }

    pub(crate) fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Has `talk` use the stream. `cancel` closes the connection.
    pub(crate) fn talk<T>(
        &mut self,
        cancel: &Cancel,
        talk: impl FnOnce(&mut Sender) -> Result<T, EngineError>,
    ) -> Result<T, SyncError> {
        let _hook = close_on_cancel(cancel, &self.closer);
        talk(&mut self.sender).map_err(|error| explain(error, &self.status))
    }

    /// Waits for the end of the helper or of the connection.
    pub(crate) fn end(&self) -> Arc<dyn Fn() + Send + Sync> {
        let status = Arc::clone(&self.status);
        Arc::new(move || {
            // The next batch tells how it ended.
            let _ = status.wait();
        })
    }
}

/// Asks a helper on another machine the question `words`. `take` gets the messages of the answer until it breaks with a result.
pub(crate) fn ask<T>(
    remote: &RemoteDestination,
    words: Vec<OsString>,
    prompt: &dyn Prompt,
    cancel: &Cancel,
    mut take: impl FnMut(Answer<'_>, &ConnectionReport) -> Result<ControlFlow<T>, EngineError>,
) -> Result<T, SyncError> {
    // The writer stays open until the answer has arrived: its end would tell the helper that nobody waits for the answer.
    let answered = reach(remote, words, prompt, cancel).and_then(|reached| {
        let Reached { report, reader, writer, status, hook: _hook, .. } = reached;
        let taken = take_answer(reader, |answer| take(answer, &report));
        drop(writer);
        taken.map_err(|error| explain(error, &status))
    });
    match answered {
        // Closing the connection causes various errors, but the reason is the cancellation.
        Err(_) if cancel.is_cancelled() => Err(SyncError::Interrupted),
        answered => answered,
    }
}

/// The helper to start with the arguments `words`.
pub(crate) fn helper_spec(
    remote: &RemoteDestination,
    words: Vec<OsString>,
    sudo: Sudo,
) -> Result<HelperSpec, SyncError> {
    let mut spec = match &remote.helper {
        RemoteHelper::Deployed(store) => {
            let programs = store.programs().map_err(|(path, source)| SshError::HelperSource {
                name: path.display().to_string(),
                source,
            })?;
            HelperSpec::new(programs)
        }
        RemoteHelper::Installed(path) => {
            let mut spec = HelperSpec::new(Vec::new());
            spec.path = Some(path.clone().into_os_string().into_vec());
            spec
        }
    };
    spec.args = words.into_iter().map(OsStringExt::into_vec).collect();
    spec.sudo = sudo;
    Ok(spec)
}

/// Replaces an error about the end of the stream by the reason that the connection or the helper gives for it.
fn explain(error: EngineError, status: &ChannelStatus) -> SyncError {
    if !matches!(error, EngineError::Disconnected | EngineError::Wire(_)) {
        return error.into();
    }
    match status.wait() {
        Err(connection) => SyncError::ConnectionLost { connection: Box::new(connection), engine: error },
        // The helper ended as it should, so the fault is in the stream itself.
        Ok(ExitStatus::Code(0)) => error.into(),
        Ok(exit) => SyncError::ReceiverDied {
            status: exit.to_string(),
            stderr: String::from_utf8_lossy(&status.stderr()).into_owned(),
        },
    }
}
