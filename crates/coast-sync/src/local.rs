//! The receiver of a local destination: a thread of this process, or a helper as a child process. Both communicate over a socket
//! pair: unlike a pipe, a socket can be shut down from another thread, which cancels the run.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use coast_engine::{
    Cancel, CancelHook, EngineError, FollowSender, Monitor, Receiver, RunReport, SenderConfig, VoidMonitor,
    refuse,
};
use coast_wire::{Answer, GREETING};
use coast_workspace::take_answer;
use rustix::event::{PollFd, PollFlags, poll};

use crate::SyncError;
use crate::destination::Relay;
use crate::follow::Sender;
use crate::receiver_arguments::ReceiverArguments;

/// How many bytes of a child's standard error are kept for a message.
const MAX_STDERR_BYTES: u64 = 64 << 10;

/// Runs a transfer into a thread of this process.
pub(crate) fn in_process(
    sender: SenderConfig,
    destination: &ReceiverArguments,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<RunReport, SyncError> {
    let (near, far) = UnixStream::pair().map_err(stream_error)?;
    let _hook = shut_down_on_cancel(cancel, &near)?;
    let (near_writer, far_writer) = (WriteHalf::of(&near)?, WriteHalf::of(&far)?);
    let near_reader = near.try_clone().map_err(stream_error)?;
    thread::scope(|scope| {
        // The receiver owns its end of the socket pair, so the sender sees it close even if the receiver panics.
        let receiving = scope.spawn(move || match Receiver::open(destination.to_config()) {
            Ok(receiver) => receiver.run(far, far_writer, false, &VoidMonitor, &Cancel::new()),
            Err(error) => {
                // If the reason cannot be sent, the sender still sees the end of the stream.
                let _ = refuse(&error, far_writer);
                Err(error)
            }
        });
        let sent = coast_engine::send(sender, near_reader, near_writer, monitor, cancel);
        let _ = near.shutdown(Shutdown::Both);
        let received = receiving.join();
        match (sent, received) {
            (Ok(report), _) => Ok(report),
            // The receiver knows the reason of its own failure better than the sender.
            (Err(EngineError::Disconnected | EngineError::Wire(_)), Ok(Err(error))) => Err(error.into()),
            (Err(error), _) => Err(error.into()),
        }
    })
}

/// A helper that can be started as a child process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildProgram<'a> {
    pub(crate) program: &'a Path,
    /// They come before the helper's own words.
    pub(crate) arguments: &'a [OsString],
}

/// Runs a transfer into a helper that is started as a child process.
pub(crate) fn child(
    sender: SenderConfig,
    destination: &ReceiverArguments,
    helper: ChildProgram<'_>,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<RunReport, SyncError> {
    helper.talk(destination.to_words(), cancel, |near| {
        let reader = near.try_clone().map_err(stream_error)?;
        Ok(coast_engine::send(sender, reader, WriteHalf::of(near)?, monitor, cancel)?)
    })
}

/// Asks a helper that is started as a child process the question `words`. `take` gets the messages of the answer until it breaks
/// with a result.
pub(crate) fn ask<T>(
    helper: ChildProgram<'_>,
    words: Vec<OsString>,
    cancel: &Cancel,
    take: impl FnMut(Answer<'_>) -> Result<ControlFlow<T>, EngineError>,
) -> Result<T, SyncError> {
    match helper.talk(words, cancel, |near| Ok(take_answer(near, take)?)) {
        // Closing the stream causes various errors, but the reason is the cancellation.
        Err(_) if cancel.is_cancelled() => Err(SyncError::Interrupted),
        answered => answered,
    }
}

impl ChildProgram<'_> {
    /// Starts the helper with `words`, and has `talk` use its stream once it has greeted.
    fn talk<T>(
        self,
        words: Vec<OsString>,
        cancel: &Cancel,
        talk: impl FnOnce(&UnixStream) -> Result<T, SyncError>,
    ) -> Result<T, SyncError> {
        let running = self.start(words)?;
        let _hook = shut_down_on_cancel(cancel, &running.near)?;
        let talked = running.await_greeting(cancel).and_then(|()| talk(&running.near));
        let ended = running.end()?;
        talked.map_err(|error| ended.explain(error))
    }

    /// Starts the helper with `words`.
    fn start(self, words: Vec<OsString>) -> Result<RunningChild, SyncError> {
        let Self { program, arguments } = self;
        let start_error = |error| SyncError::Start { program: program.to_owned(), error };
        let (near, far) = UnixStream::pair().map_err(stream_error)?;
        let far_output = far.try_clone().map_err(stream_error)?;
        let mut child = Command::new(program)
            .args(arguments)
            .args(words)
            .stdin(Stdio::from(OwnedFd::from(far)))
            .stdout(Stdio::from(OwnedFd::from(far_output)))
            .stderr(Stdio::piped())
            // A signal to the group, as a terminal and `timeout` send it, must not end the receiver before it has put everything
            // back. The receiver ends with its stream.
            .process_group(0)
            .spawn()
            .map_err(start_error)?;
        let stderr = child.stderr.take();
        let reading_stderr = thread::spawn(move || stderr.map_or_else(String::new, read_text));
        Ok(RunningChild { child, near, reading_stderr, program: program.to_owned() })
    }
}

/// A helper that was started as a child process.
struct RunningChild {
    child: Child,
    near: UnixStream,
    reading_stderr: JoinHandle<String>,
    program: PathBuf,
}

/// How a child process ended.
struct EndedChild {
    /// Its exit status, in words.
    status: String,
    stderr: String,
}

impl RunningChild {
    fn await_greeting(&self, cancel: &Cancel) -> Result<(), SyncError> {
        match read_greeting(&self.near) {
            Ok(true) => Ok(()),
            Ok(false) if !cancel.is_cancelled() => {
                Err(SyncError::NoReceiver { program: self.program.clone(), stderr: String::new() })
            }
            Ok(false) => Err(SyncError::Interrupted),
            Err(error) => Err(stream_error(error)),
        }
    }

    /// Ends the stream, and waits for the child. The child sees the end of its input in every state, and cleans up.
    fn end(mut self) -> Result<EndedChild, SyncError> {
        let _ = self.near.shutdown(Shutdown::Both);
        let status =
            self.child.wait().map_err(|error| SyncError::Start { program: self.program.clone(), error })?;
        Ok(EndedChild { status: status.to_string(), stderr: self.reading_stderr.join().unwrap_or_default() })
    }
}

impl EndedChild {
    /// Replaces an error about the end of the stream by the reason that the child gives for it.
    fn explain(self, error: SyncError) -> SyncError {
        let Self { status, stderr } = self;
        match error {
            SyncError::NoReceiver { program, .. } => SyncError::NoReceiver { program, stderr },
            SyncError::Engine(EngineError::Disconnected | EngineError::Wire(_)) => {
                SyncError::ReceiverDied { status, stderr }
            }
            other => other,
        }
    }
}

/// A receiver that stays in a thread of this process, and the stream to it.
pub(crate) struct FollowedThread {
    sender: Sender,
    near: UnixStream,
    /// None once it was joined.
    receiving: Option<JoinHandle<Result<(), EngineError>>>,
}

impl FollowedThread {
    pub(crate) fn start(destination: ReceiverArguments, relay: Option<&Relay>) -> Result<Self, SyncError> {
        let (near, far) = UnixStream::pair().map_err(stream_error)?;
        let far = match relay {
            Some(relay) => relay.over(far).map_err(stream_error)?,
            None => far,
        };
        let far_writer = WriteHalf::of(&far)?;
        let sender = sender_over(&near)?;
        // The receiver owns its end of the socket pair, so the sender sees it close even if the receiver panics.
        let receiving = thread::spawn(move || match Receiver::open(destination.to_config()) {
            Ok(receiver) => {
                let mut following = receiver.follow(far, far_writer, false);
                while following.wait()? {
                    following.serve(&VoidMonitor, &Cancel::new())?;
                }
                Ok(())
            }
            Err(error) => {
                // If the reason cannot be sent, the sender still sees the end of the stream.
                let _ = refuse(&error, far_writer);
                Err(error)
            }
        });
        Ok(Self { sender, near, receiving: Some(receiving) })
    }

    pub(crate) fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Has `talk` use the stream. `cancel` ends the stream.
    pub(crate) fn talk<T>(
        &mut self,
        cancel: &Cancel,
        talk: impl FnOnce(&mut Sender) -> Result<T, EngineError>,
    ) -> Result<T, SyncError> {
        let _hook = shut_down_on_cancel(cancel, &self.near)?;
        talk(&mut self.sender).map_err(|error| {
            if !matches!(error, EngineError::Disconnected | EngineError::Wire(_)) {
                return error.into();
            }
            let _ = self.near.shutdown(Shutdown::Both);
            // The receiver knows the reason of its own failure better than the sender.
            match self.receiving.take().map(JoinHandle::join) {
                Some(Ok(Err(reason))) => reason.into(),
                _ => error.into(),
            }
        })
    }

    /// Waits for the end of the thread.
    pub(crate) fn end(&self) -> Arc<dyn Fn() + Send + Sync> {
        until_hangup(&self.near)
    }
}

impl Drop for FollowedThread {
    fn drop(&mut self) {
        let _ = self.near.shutdown(Shutdown::Both);
        let _ = self.receiving.take().map(JoinHandle::join);
    }
}

/// A helper that stays as a child process, and the stream to it.
pub(crate) struct FollowedChild {
    sender: Sender,
    near: UnixStream,
    /// None once it was waited for.
    running: Option<RunningChild>,
}

impl FollowedChild {
    pub(crate) fn start(
        helper: ChildProgram<'_>,
        words: Vec<OsString>,
        cancel: &Cancel,
    ) -> Result<Self, SyncError> {
        let running = helper.start(words)?;
        let _hook = shut_down_on_cancel(cancel, &running.near)?;
        if let Err(error) = running.await_greeting(cancel) {
            return Err(running.end()?.explain(error));
        }
        let near = running.near.try_clone().map_err(stream_error)?;
        Ok(Self { sender: sender_over(&near)?, near, running: Some(running) })
    }

    pub(crate) fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Has `talk` use the stream. `cancel` ends the stream.
    pub(crate) fn talk<T>(
        &mut self,
        cancel: &Cancel,
        talk: impl FnOnce(&mut Sender) -> Result<T, EngineError>,
    ) -> Result<T, SyncError> {
        let _hook = shut_down_on_cancel(cancel, &self.near)?;
        let talked = talk(&mut self.sender).map_err(SyncError::from);
        match (talked, self.running.take()) {
            (
                Err(error @ SyncError::Engine(EngineError::Disconnected | EngineError::Wire(_))),
                Some(running),
            ) => Err(running.end()?.explain(error)),
            (talked, running) => {
                self.running = running;
                talked
            }
        }
    }

    /// Waits for the end of the process.
    pub(crate) fn end(&self) -> Arc<dyn Fn() + Send + Sync> {
        until_hangup(&self.near)
    }
}

impl Drop for FollowedChild {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // The last batch has told all there is to tell.
            let _ = running.end();
        }
    }
}

/// A sender over a socket. Dropping it ends the stream.
fn sender_over(near: &UnixStream) -> Result<Sender, SyncError> {
    let reader = near.try_clone().map_err(stream_error)?;
    Ok(FollowSender::new(Box::new(reader), Box::new(WriteHalf::of(near)?)))
}

/// Waits until the other end of a socket is closed, or this end is shut down.
fn until_hangup(near: &UnixStream) -> Arc<dyn Fn() + Send + Sync> {
    let near = near.try_clone().ok();
    Arc::new(move || {
        let Some(near) = &near else { return };
        // No event is asked for, so only a hangup or an error ends the wait.
        let mut polled = [PollFd::new(near, PollFlags::empty())];
        let _ = rustix::io::retry_on_intr(|| poll(&mut polled, None));
    })
}

/// Returns whether the stream starts with the greeting of a helper of this version.
fn read_greeting(mut stream: &UnixStream) -> io::Result<bool> {
    let mut greeting = [0; GREETING.len()];
    match stream.read_exact(&mut greeting) {
        Ok(()) => Ok(greeting == GREETING.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads the whole stream, so that the child never blocks, and returns its first `MAX_STDERR_BYTES`.
fn read_text(stream: impl Read) -> String {
    let mut kept = Vec::new();
    let mut limited = stream.take(MAX_STDERR_BYTES);
    // A failed read ends the text; the part before it is still worth showing.
    let _ = limited.read_to_end(&mut kept);
    let _ = io::copy(&mut limited.into_inner(), &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

/// The writing half of a stream. Dropping it ends the stream for the other side, even if the socket has other owners.
struct WriteHalf(UnixStream);

impl WriteHalf {
    fn of(stream: &UnixStream) -> Result<Self, SyncError> {
        stream.try_clone().map(Self).map_err(stream_error)
    }
}

impl Write for WriteHalf {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // An error means that the other side has closed the socket already.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

fn shut_down_on_cancel(cancel: &Cancel, stream: &UnixStream) -> Result<CancelHook, SyncError> {
    let stream = stream.try_clone().map_err(stream_error)?;
    Ok(cancel.on_cancel(move || {
        // An error means that the socket is closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }))
}

fn stream_error(error: io::Error) -> SyncError {
    SyncError::Engine(EngineError::Wire(coast_wire::WireError::Io(error)))
}
