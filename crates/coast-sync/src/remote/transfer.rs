//! A transfer to another machine. The sender begins while the connection is made and the helper starts.

use std::io::{self, Read};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use coast_engine::{Cancel, CancelHook, EngineError, Monitor, RunReport, SenderConfig};
use coast_ssh::{
    ChannelReader, ChannelStatus, GreetedHelper, HelperInput, HelperSpec, InputSource, Prompt, Session,
    StartingHelper,
};

use super::held_monitor::HeldMonitor;
use super::{ConnectionReport, close_on_cancel, explain, helper_spec};
use crate::SyncError;
use crate::destination::{RemoteDestination, RemoteHelper};
use crate::receiver_arguments::ReceiverArguments;
use crate::streams::{Cause, Opener, Opening, StreamCount, WideningWriter};

/// A run begins again if the connection took longer to make. A user who is asked for a passphrase may edit files before the answer, and
/// expects them to be sent.
const MAX_HEAD_START: Duration = Duration::from_secs(3);

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
    let hook = OnceLock::new();
    let transfer = Transfer {
        remote,
        spec: &spec,
        run: receiver.run.as_deref(),
        count,
        session: &session,
        hook: &hook,
        monitor,
        prompt,
        cancel,
    };
    match transfer.run(sender.clone()) {
        Err(Failure::TooEarly) => transfer.run(sender).map_err(Failure::into_error),
        result => result.map_err(Failure::into_error),
    }
}

/// Why a transfer did not come to its end.
enum Failure {
    Sync(SyncError),
    /// It had begun so long before the connection was there that it has to begin again.
    TooEarly,
}

impl Failure {
    fn into_error(self) -> SyncError {
        match self {
            Self::Sync(error) => error,
            // A run over a connection that is there is never too early.
            Self::TooEarly => EngineError::Disconnected.into(),
        }
    }
}

impl<E: Into<SyncError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Sync(error.into())
    }
}

/// A transfer, and what lives as long as it does.
struct Transfer<'a> {
    remote: &'a RemoteDestination,
    spec: &'a HelperSpec,
    /// The name of the run, if other streams may join it.
    run: Option<&'a str>,
    count: StreamCount,
    /// Empty until there is a connection.
    session: &'a OnceLock<Session>,
    /// Closes the session when the run is cancelled. It lives until the reason of a failure is known, which a silent server may delay.
    hook: &'a OnceLock<CancelHook>,
    monitor: &'a dyn Monitor,
    prompt: &'a dyn Prompt,
    cancel: &'a Cancel,
}

/// A session with a helper that was started.
struct Connected<'a> {
    session: &'a Session,
    starting: StartingHelper<'a>,
}

impl<'a> Transfer<'a> {
    /// Sends while another thread connects, unless there is a connection, and opens more streams later.
    fn run(&self, sender: SenderConfig) -> Result<(RunReport, ConnectionReport), Failure> {
        let monitor = HeldMonitor::new(self.monitor, self.prompt, self.session);
        let opening = Opening::default();
        thread::scope(|scope| {
            let (causes, told_causes) = mpsc::channel();
            let (joined, joined_streams) = mpsc::channel();
            let (made, connection) = mpsc::channel();
            let (input, source) = HelperInput::pair();
            scope.spawn({
                let (monitor, opening) = (&monitor, &opening);
                move || {
                    let _undecided = monitor.discard_at_end();
                    let connected = self.connect(source);
                    let opener = connected.as_ref().ok().and_then(|connected| self.opener(connected.session));
                    if connected.is_ok() {
                        monitor.release();
                    }
                    // Fails if the run has ended.
                    let _ = made.send(connected);
                    if let Some(opener) = opener {
                        opener.run(&told_causes, &joined, opening);
                    }
                }
            });
            let writer = WideningWriter::new(Box::new(input), joined_streams);
            let (writer, told) = match self.count {
                StreamCount::Auto => (writer.observed(causes), None),
                StreamCount::Exactly(_) => (writer, Some(causes)),
            };
            let greeting = OnceLock::new();
            let mut reader = HelperOutput {
                connection: Some(connection),
                reader: None,
                greeting: &greeting,
                told,
                prompt: self.prompt,
            };
            if let RemoteHelper::Installed(_) = self.remote.helper {
                // It may speak another version of the protocol. The name of every other helper is the hash of its content.
                reader.await_greeting();
            }
            let run = match greeting.get() {
                Some(Err(_)) => Err(EngineError::Disconnected),
                Some(Ok(_)) | None => coast_engine::send(sender, reader, writer, &monitor, self.cancel),
            };
            let sent = outcome(run, greeting.into_inner());
            if let Some(session) = self.session.get() {
                opening.end(&session.closer());
            }
            sent
        })
    }

    /// Connects if that was not done before, and starts the helper.
    fn connect(&self, input: InputSource) -> Result<Connected<'a>, Failure> {
        let session = match self.session.get() {
            Some(session) => session,
            None => {
                let began = Instant::now();
                let RemoteDestination { connector, target, connect, .. } = self.remote;
                let session = connector.connect(target, connect, self.prompt)?;
                if self.cancel.is_cancelled() {
                    return Err(SyncError::Interrupted.into());
                }
                let session = self.session.get_or_init(|| session);
                self.hook.get_or_init(|| close_on_cancel(self.cancel, &session.closer()));
                if began.elapsed() > MAX_HEAD_START {
                    return Err(Failure::TooEarly);
                }
                session
            }
        };
        let starting = session.begin_helper(self.spec, input)?;
        Ok(Connected { session, starting })
    }

    /// Opens more streams, if others may join the run.
    fn opener(&self, session: &'a Session) -> Option<Opener<'a>> {
        let Self { spec, count, prompt, .. } = *self;
        self.run.map(|run| Opener { session, spec, run, count, prompt })
    }
}

/// How the helper was reached, and its status; or why it did not greet.
type Greeting = Result<(ConnectionReport, ChannelStatus), Failure>;

/// The result of a transfer: what the engine says, and of its failures the reason that the connection or the helper gives.
fn outcome(
    run: Result<RunReport, EngineError>,
    greeting: Option<Greeting>,
) -> Result<(RunReport, ConnectionReport), Failure> {
    match (run, greeting) {
        (Ok(run), Some(Ok((report, _)))) => Ok((run, report)),
        (Err(EngineError::Interrupted), _) => Err(EngineError::Interrupted.into()),
        (_, Some(Err(failure))) => Err(failure),
        (Err(error), Some(Ok((_, status)))) => Err(explain(error, &status).into()),
        (Err(error), None) => Err(error.into()),
        (Ok(_), None) => Err(EngineError::Disconnected.into()),
    }
}

/// The output of a helper. The first read waits for the connection and the helper's greeting.
struct HelperOutput<'s, 'a> {
    /// None once the greeting was waited for.
    connection: Option<mpsc::Receiver<Result<Connected<'s>, Failure>>>,
    reader: Option<ChannelReader>,
    greeting: &'a OnceLock<Greeting>,
    /// Is told that other helpers can join this one.
    told: Option<mpsc::Sender<Cause>>,
    prompt: &'a dyn Prompt,
}

impl HelperOutput<'_, '_> {
    fn await_greeting(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Fails only if the thread that connects has panicked.
        let Ok(connected) = connection.recv() else { return };
        let greeting = connected.and_then(|Connected { session, starting }| {
            let greeted = starting.greeting().inspect_err(|_| {
                // The writer may wait for a helper that does not read.
                session.closer().close();
            });
            let GreetedHelper { reader, status, deployed, runs_as } = greeted?;
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
