//! A transfer to another machine. The sender begins while the connection is made and the helper starts.

use std::io::{self, Read};
use std::sync::{OnceLock, mpsc};
use std::thread;

use coast_engine::{Cancel, CancelHook, EngineError, Monitor, RunReport, SenderConfig};
use coast_ssh::{
    ChannelReader, ChannelStatus, GreetedHelper, HelperInput, HelperSpec, InputSource, Prompt, Session,
    StartingHelper,
};

use super::announcement::Announcement;
use super::{ConnectionReport, close_on_cancel, explain, helper_spec};
use crate::SyncError;
use crate::destination::{RemoteDestination, RemoteHelper};
use crate::receiver_arguments::ReceiverArguments;
use crate::streams::{Cause, Opener, Opening, StreamCount, WideningWriter};

/// Runs a transfer to another machine.
pub(crate) fn send(
    sender: SenderConfig,
    remote: &RemoteDestination,
    receiver: &ReceiverArguments,
    count: StreamCount,
    monitor: &dyn Monitor,
    prompt: &dyn Prompt,
    cancel: &Cancel,
) -> Result<(RunReport, ConnectionReport), SyncError> {
    let spec = helper_spec(remote, receiver.to_words(), remote.sudo)?;
    let session = OnceLock::new();
    let connecting = Connecting { remote, spec: &spec, session: &session, prompt, cancel };
    let announcement = Announcement::new(monitor, prompt, &session);
    let opening = Opening::default();
    thread::scope(|scope| {
        let (causes, told_causes) = mpsc::channel();
        let (joined, joined_streams) = mpsc::channel();
        let (made, connection) = mpsc::channel();
        let (input, source) = HelperInput::new();
        scope.spawn({
            let (connecting, announcement, opening) = (&connecting, &announcement, &opening);
            let (spec, run) = (&spec, receiver.run.as_deref());
            move || {
                let connected = connecting.connect(source);
                announcement.decide(connected.is_ok());
                let opener = match (&connected, run) {
                    (Ok(Connected { session, .. }), Some(run)) => {
                        Some(Opener { session, spec, run, count, prompt })
                    }
                    _ => None,
                };
                // A run that has ended needs no connection.
                let _ = made.send(connected);
                if let Some(opener) = opener {
                    opener.run(&told_causes, &joined, opening);
                }
            }
        });
        let writer = WideningWriter::new(Box::new(input), joined_streams);
        let (writer, told) = match count {
            StreamCount::Auto => (writer.observed(causes), None),
            StreamCount::Exactly(_) => (writer, Some(causes)),
        };
        let greeting = OnceLock::new();
        let mut reader = HelperOutput {
            connection,
            begun: false,
            reader: None,
            hook: None,
            greeting: &greeting,
            told,
            prompt,
        };
        if let RemoteHelper::Installed(_) = remote.helper {
            // It may speak another version of the protocol. The name of every other helper is the hash of its content.
            reader.await_greeting();
        }
        let run = match greeting.get() {
            Some(Err(_)) => Err(EngineError::Disconnected),
            Some(Ok(_)) | None => coast_engine::send(sender, reader, writer, &announcement, cancel),
        };
        let sent = match (run, greeting.into_inner()) {
            (Ok(run), Some(Ok((report, _)))) => Ok((run, report)),
            (Err(EngineError::Interrupted), _) => Err(EngineError::Interrupted.into()),
            (_, Some(Err(error))) => Err(error),
            (Err(error), Some(Ok((_, status)))) => Err(explain(error, &status)),
            (Err(error), None) => Err(error.into()),
            (Ok(_), None) => Err(EngineError::Disconnected.into()),
        };
        if let Some(session) = session.get() {
            opening.end(&session.closer());
        }
        sent
    })
}

/// A connection that is to be made.
struct Connecting<'a> {
    remote: &'a RemoteDestination,
    spec: &'a HelperSpec,
    /// Gets the session, which lives as long as the run.
    session: &'a OnceLock<Session>,
    prompt: &'a dyn Prompt,
    cancel: &'a Cancel,
}

/// A session with a helper that was started.
struct Connected<'a> {
    session: &'a Session,
    starting: StartingHelper<'a>,
    hook: CancelHook,
}

impl<'a> Connecting<'a> {
    fn connect(&self, input: InputSource) -> Result<Connected<'a>, SyncError> {
        let RemoteDestination { connector, target, connect, .. } = self.remote;
        let session = connector.connect(target, connect, self.prompt)?;
        if self.cancel.is_cancelled() {
            return Err(SyncError::Interrupted);
        }
        let session = self.session.get_or_init(|| session);
        let hook = close_on_cancel(self.cancel, &session.closer());
        let starting = session.begin_helper(self.spec, input)?;
        Ok(Connected { session, starting, hook })
    }
}

/// How the helper was reached, and its status; or why it did not greet.
type Greeting = Result<(ConnectionReport, ChannelStatus), SyncError>;

/// The output of a helper. The first read waits for the connection and the helper's greeting.
struct HelperOutput<'s, 'a> {
    connection: mpsc::Receiver<Result<Connected<'s>, SyncError>>,
    /// Whether the greeting was waited for.
    begun: bool,
    reader: Option<ChannelReader>,
    /// Closes the session when the run is cancelled.
    hook: Option<CancelHook>,
    greeting: &'a OnceLock<Greeting>,
    /// Is told that other helpers can join this one.
    told: Option<mpsc::Sender<Cause>>,
    prompt: &'a dyn Prompt,
}

impl HelperOutput<'_, '_> {
    fn await_greeting(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        // The thread that connects always sends its result.
        let Ok(connected) = self.connection.recv() else { return };
        let greeting = connected.and_then(|Connected { session, starting, hook }| {
            self.hook = Some(hook);
            let GreetedHelper { reader, status, deployed, runs_as } =
                starting.greeting().inspect_err(|_| {
                    // The writer may wait for a helper that does not read.
                    session.closer().close();
                })?;
            let report = ConnectionReport::of(session, deployed, &runs_as);
            report.tell_refusal(self.prompt);
            self.reader = Some(reader);
            Ok((report, status))
        });
        if let (Ok(_), Some(told)) = (&greeting, self.told.take()) {
            // Nobody listens if no stream is to join.
            let _ = told.send(Cause::Greeted);
        }
        // Only this reader sets it, and only once.
        let _ = self.greeting.set(greeting);
    }
}

impl Read for HelperOutput<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.await_greeting();
        self.reader.as_mut().ok_or(io::ErrorKind::ConnectionAborted)?.read(buffer)
    }
}
