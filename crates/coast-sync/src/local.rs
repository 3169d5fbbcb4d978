//! The receiver of a local destination: a thread of this process, or a helper as a child process. Both communicate over a socket
//! pair: unlike a pipe, a socket can be shut down from another thread, which cancels the run.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use coast_engine::{
    Cancel, CancelHook, EngineError, Monitor, Receiver, RunReport, SenderConfig, VoidMonitor, refuse,
};
use coast_wire::{Answer, GREETING};
use coast_workspace::take_answer;

use crate::SyncError;
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

        let _hook = shut_down_on_cancel(cancel, &near)?;
        let talked = match read_greeting(&near) {
            Ok(true) => talk(&near),
            Ok(false) if !cancel.is_cancelled() => {
                Err(SyncError::NoReceiver { program: program.to_owned(), stderr: String::new() })
            }
            Ok(false) => Err(SyncError::Interrupted),
            Err(error) => Err(stream_error(error)),
        };
        // The child sees the end of its input in every state, and cleans up.
        let _ = near.shutdown(Shutdown::Both);
        let status = end_of(&mut child).map_err(start_error)?;
        let stderr = reading_stderr.join().unwrap_or_default();
        talked.map_err(|error| match error {
            SyncError::NoReceiver { program, .. } => SyncError::NoReceiver { program, stderr },
            SyncError::Engine(EngineError::Disconnected | EngineError::Wire(_)) => {
                SyncError::ReceiverDied { status, stderr }
            }
            other => other,
        })
    }
}

/// Waits for a child whose streams are closed, and returns its exit status in words.
fn end_of(child: &mut Child) -> io::Result<String> {
    Ok(child.wait()?.to_string())
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
