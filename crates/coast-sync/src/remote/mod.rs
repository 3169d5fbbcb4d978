//! A destination on another machine: connects, starts the helper, and runs a transfer or a question over the helper's streams.

use std::ffi::OsString;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use coast_engine::{
    Cancel, CancelHook, EngineError, FollowSender, Monitor, Progress, RunReport, SenderConfig,
};
use coast_ssh::{
    ChannelReader, ChannelStatus, ChannelWriter, Closer, ExitStatus, GreetedHelper, HelperSpec, Peer, Prompt,
    RunsAs, Session, SshError, StartingHelper, Sudo,
};

use coast_wire::{Answer, Event, Ready};
use coast_workspace::take_answer;

use crate::SyncError;
use crate::destination::{RemoteDestination, RemoteHelper};
use crate::follow::Sender;
use crate::receiver_arguments::ReceiverArguments;
use crate::streams::{Cause, Opener, Opening, StreamCount, WideningWriter};

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
    let session = remote.connector.connect(&remote.target, &remote.connect, prompt)?;
    if cancel.is_cancelled() {
        return Err(SyncError::Interrupted);
    }
    let starting = session.begin_helper(&spec)?;
    let _hook = close_on_cancel(cancel, &session.closer());
    let opening = Opening::default();
    thread::scope(|scope| {
        let (causes, told_causes) = mpsc::channel();
        let (joined, joined_streams) = mpsc::channel();
        if let Some(run) = receiver.run.as_deref() {
            let opener = Opener { session: &session, spec: &spec, run, count, prompt };
            let opening = &opening;
            scope.spawn(move || opener.run(&told_causes, &joined, opening));
        }
        let writer = WideningWriter::new(Box::new(starting.input()), joined_streams);
        let (writer, told) = match count {
            StreamCount::Auto => (writer.observed(causes), None),
            StreamCount::Exactly(_) => (writer, Some(causes)),
        };
        let greeting = OnceLock::new();
        let mut reader = HelperOutput {
            starting: Some(starting),
            reader: None,
            greeting: &greeting,
            told,
            session: &session,
            prompt,
        };
        if let RemoteHelper::Installed(_) = remote.helper {
            // It may speak another version of the protocol. The name of every other helper is the hash of its content.
            reader.await_greeting();
        }
        let monitor = WallWatch { inner: monitor, prompt, host: session.host() };
        let run = match greeting.get() {
            Some(Err(_)) => Err(EngineError::Disconnected),
            Some(Ok(_)) | None => coast_engine::send(sender, reader, writer, &monitor, cancel),
        };
        let sent = match (run, greeting.into_inner()) {
            (Ok(run), Some(Ok((report, _)))) => Ok((run, report)),
            (Err(EngineError::Interrupted), _) => Err(EngineError::Interrupted.into()),
            (_, Some(Err(error))) => Err(error.into()),
            (Err(error), Some(Ok((_, status)))) => Err(explain(error, &status)),
            (Err(error), None) => Err(error.into()),
            (Ok(_), None) => Err(EngineError::Disconnected.into()),
        };
        opening.end(&session.closer());
        sent
    })
}

/// How the helper was reached, and its status; or why it did not greet.
type Greeting = Result<(ConnectionReport, ChannelStatus), SshError>;

/// The output of a helper. The first read waits for its greeting.
struct HelperOutput<'a> {
    starting: Option<StartingHelper<'a>>,
    reader: Option<ChannelReader>,
    greeting: &'a OnceLock<Greeting>,
    /// Is told that other helpers can join this one.
    told: Option<mpsc::Sender<Cause>>,
    session: &'a Session,
    prompt: &'a dyn Prompt,
}

impl HelperOutput<'_> {
    fn await_greeting(&mut self) {
        let Some(starting) = self.starting.take() else { return };
        let greeting = starting.greeting().map(|greeted| {
            let GreetedHelper { reader, status, deployed, runs_as } = greeted;
            let report = ConnectionReport::of(self.session, deployed, &runs_as);
            report.tell_refusal(self.prompt);
            self.reader = Some(reader);
            (report, status)
        });
        match (&greeting, self.told.take()) {
            // Nobody listens if no stream is to join.
            (Ok(_), Some(told)) => drop(told.send(Cause::Greeted)),
            (Ok(_), None) => {}
            // The writer may wait for a helper that does not read.
            (Err(_), _) => self.session.closer().close(),
        }
        // Only this reader sets it, and only once.
        let _ = self.greeting.set(greeting);
    }
}

impl Read for HelperOutput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.await_greeting();
        self.reader.as_mut().ok_or(io::ErrorKind::ConnectionAborted)?.read(buffer)
    }
}

/// A monitor that passes every call on. It warns if the helper runs as root and is not confined, before the helper changes
/// anything.
struct WallWatch<'a> {
    inner: &'a dyn Monitor,
    prompt: &'a dyn Prompt,
    host: &'a str,
}

impl Monitor for WallWatch<'_> {
    fn event(&self, event: &Event<'_>) {
        self.inner.event(event);
    }

    fn started(&self, progress: &Arc<Progress>) {
        self.inner.started(progress);
    }

    fn ready(&self, ready: &Ready) {
        // The system restricts every other user to the files of that user.
        if ready.uid == 0 && !ready.confined {
            self.prompt.notice(&format!(
                "{}: the kernel has no landlock (Linux has it since 5.19, if it is turned on); the helper runs as root, and only \
                 its own checks keep it inside the workspace",
                self.host
            ));
        }
        self.inner.ready(ready);
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
