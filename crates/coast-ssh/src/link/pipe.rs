//! The two directions of an SSH channel as blocking byte streams. A task on the
//! connection's thread takes every message as it comes; readers and writers are plain threads.

use crate::error::SshError;
use crate::link::lost::Lost;
use crate::link::park::block_on;
use crate::link::transport::Meter;
use bytes::{Buf, Bytes, BytesMut};
use coast_tree::{LockExt, LockResultExt};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Small writes are collected until there are this many bytes.
const SMALL_WRITES_BYTES: usize = 64 << 10;
/// The most bytes that one `write` takes. That is enough for several packets at once, and little to copy.
const LARGE_WRITE_BYTES: usize = 256 << 10;
/// The most data in one packet, in bytes. OpenSSH accepts no larger packet.
const PACKET_BYTES: usize = 32 << 10;
/// How many bytes of a command's standard error are kept: the last ones.
const STDERR_BYTES: usize = 8 << 10;

/// How a remote command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// The command exited with this code.
    Code(u32),
    /// The command was killed by this signal, named without `SIG`.
    Signal(String),
    /// The server closed the channel without sending a status.
    Unknown,
}

impl ExitStatus {
    /// Whether the command exited with code 0.
    pub fn success(&self) -> bool {
        *self == ExitStatus::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit code {code}"),
            ExitStatus::Signal(signal) => write!(f, "killed by SIG{signal}"),
            ExitStatus::Unknown => f.write_str("ended without a status"),
        }
    }
}

/// The state of one channel, shared by the task that receives its messages and the threads that read and write.
pub(crate) struct Shared {
    /// Guards all that has been received. No other lock is taken while it is held.
    state: Mutex<State>,
    changed: Condvar,
    /// True once the channel is closed or the connection lost. Nothing can be sent then.
    closed: watch::Sender<bool>,
    meter: Arc<Meter>,
    lost: Lost,
}

/// A message about a command.
pub(crate) enum Arrived {
    Stdout(Bytes),
    Stderr(Bytes),
    /// The end of standard output.
    Eof,
    Exit(ExitStatus),
    /// The server does not run the command.
    Refused,
}

/// The output of a command that has not been passed on yet.
pub(crate) enum Output {
    Stdout(VecDeque<Bytes>),
    Stderr(Vec<u8>),
    /// The end of standard output.
    Eof,
    /// The channel is closed, or the connection lost.
    Closed,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    /// The bytes in `queue`.
    queued: usize,
    eof: bool,
    closed: bool,
    refused: bool,
    nobody_reads: bool,
    exit: Option<ExitStatus>,
    stderr: VecDeque<u8>,
    /// How many bytes of standard error have arrived so far.
    stderr_arrived: u64,
}

impl Shared {
    pub(crate) fn new(meter: Arc<Meter>, lost: Lost) -> Arc<Shared> {
        Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            closed: watch::Sender::new(false),
            meter,
            lost,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.enter()
    }

    /// Marks the channel as closed when the returned guard is dropped.
    pub(crate) fn close_at_end(self: Arc<Self>) -> ClosedAtEnd {
        ClosedAtEnd(self)
    }

    /// Marks the channel as closed: nothing more arrives, and nothing can be sent.
    pub(crate) fn close(&self) {
        self.update(|state| state.closed = true);
        self.closed.send_replace(true);
    }

    /// Takes a message about the command.
    pub(crate) fn arrived(&self, message: Arrived) {
        match message {
            Arrived::Stdout(data) => {
                let len = data.len();
                self.meter.queued(len);
                let mut unread = false;
                self.update(|state| {
                    unread = state.nobody_reads;
                    if !unread {
                        state.queued += len;
                        state.queue.push_back(data);
                    }
                });
                if unread {
                    self.meter.taken(len);
                }
            }
            Arrived::Stderr(data) => self.update(|state| {
                state.stderr_arrived += data.len() as u64;
                state.stderr.extend(&data);
                let excess = state.stderr.len().saturating_sub(STDERR_BYTES);
                state.stderr.drain(..excess);
            }),
            Arrived::Eof => self.update(|state| state.eof = true),
            Arrived::Exit(status) => self.update(|state| state.exit = Some(status)),
            Arrived::Refused => self.update(|state| state.refused = true),
        }
    }

    /// Waits until fewer than `bytes` of standard output wait for their reader, or nobody reads them.
    pub(crate) fn wait_for_room(&self, bytes: usize) {
        self.wait_until(None, |state| {
            (state.queued < bytes || state.nobody_reads || state.closed).then_some(())
        });
    }

    /// Waits for output to pass on. `stderr_seen` is how many bytes of standard error have been passed on, and `eof_seen` whether the
    /// end of standard output has.
    pub(crate) fn next_output(&self, stderr_seen: &mut u64, eof_seen: &mut bool) -> Output {
        let output = self.wait_until(None, |state| {
            if state.stderr_arrived > *stderr_seen {
                let new = usize::try_from(state.stderr_arrived - *stderr_seen).unwrap_or(STDERR_BYTES);
                *stderr_seen = state.stderr_arrived;
                return Some(Output::Stderr(
                    state.stderr.iter().skip(state.stderr.len().saturating_sub(new)).copied().collect(),
                ));
            }
            if !state.queue.is_empty() {
                state.queued = 0;
                return Some(Output::Stdout(std::mem::take(&mut state.queue)));
            }
            match (state.eof && !*eof_seen, state.closed) {
                (true, _) => {
                    *eof_seen = true;
                    Some(Output::Eof)
                }
                (false, true) => Some(Output::Closed),
                (false, false) => None,
            }
        });
        output.expect("a wait without a deadline ends with a value")
    }

    /// Notes that `len` bytes of standard output have been passed on.
    pub(crate) fn taken(&self, len: usize) {
        self.meter.taken(len);
    }

    /// Whether so much received data waits for its readers that the connection receives nothing more.
    pub(crate) fn is_shut(&self) -> bool {
        self.meter.is_shut()
    }

    /// Whether nothing more can be sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn lost(&self) -> &Lost {
        &self.lost
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `done` returns a value. Returns `None` when `deadline` passes first.
    fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        mut done: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(result) = done(&mut state) {
                return Some(result);
            }
            state = match deadline {
                None => self.changed.wait(state).even_poisoned(),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    let (state, _timed_out) = self.changed.wait_timeout(state, left).even_poisoned();
                    state
                }
            };
        }
    }

    /// Whether the server refused the command.
    pub(crate) fn refused(&self) -> bool {
        self.lock().refused
    }

    /// Waits for the end of the command.
    ///
    /// # Errors
    /// When the connection is lost before the command's status has arrived.
    pub(crate) fn wait(&self) -> Result<ExitStatus, SshError> {
        let end = self.wait_until(None, |state| state.closed.then(|| state.exit.clone()));
        match end.flatten() {
            Some(status) => Ok(status),
            None if self.lost.reason().is_some() => Err(self.lost.error()),
            None => Ok(ExitStatus::Unknown),
        }
    }

    pub(crate) fn stderr(&self) -> Vec<u8> {
        self.lock().stderr.iter().copied().collect()
    }

    /// Waits until standard error has a whole line, the channel is closed, or `timeout` has passed.
    pub(crate) fn wait_for_stderr(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        self.wait_until(Some(deadline), |state| {
            (state.closed || state.stderr.contains(&b'\n')).then_some(())
        });
    }
}

/// Receives the messages of a channel until the channel is closed or the connection lost.
pub(crate) async fn pump(mut half: ChannelReadHalf, shared: Arc<Shared>) {
    let closed_at_end = shared.close_at_end();
    let shared = &closed_at_end.0;
    loop {
        let message = tokio::select! {
            message = half.wait() => message,
            () = shared.lost.wait() => None,
        };
        match message {
            Some(ChannelMsg::Data { data }) => shared.arrived(Arrived::Stdout(data)),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => shared.arrived(Arrived::Stderr(data)),
            Some(ChannelMsg::Eof) => shared.arrived(Arrived::Eof),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                shared.arrived(Arrived::Exit(ExitStatus::Code(exit_status)));
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                let signal = match signal_name {
                    russh::Sig::Custom(name) => name,
                    named => format!("{named:?}"),
                };
                shared.arrived(Arrived::Exit(ExitStatus::Signal(signal)));
            }
            Some(ChannelMsg::Failure) => {
                // The server leaves the channel open, but no command will run on it.
                shared.arrived(Arrived::Refused);
                break;
            }
            Some(ChannelMsg::Close) | None => break,
            Some(_) => {}
        }
    }
}

/// Marks the channel as closed when the task ends, also when the task is dropped together with its runtime.
pub(crate) struct ClosedAtEnd(Arc<Shared>);

impl Drop for ClosedAtEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The event that a reader was waiting for.
enum Arrival {
    Data,
    /// The peer has sent the end of the stream.
    EndOfStream,
    /// The channel is closed, or the connection lost, without the end of the stream.
    Closed,
}

/// The receiving direction of a channel, as a blocking reader.
pub(crate) struct PipeReader {
    shared: Arc<Shared>,
    /// Packets moved here from the shared queue, all at once, so that the lock is taken once for many packets.
    taken: VecDeque<Bytes>,
}

impl PipeReader {
    pub(crate) fn new(shared: Arc<Shared>) -> PipeReader {
        PipeReader { shared, taken: VecDeque::new() }
    }

    /// Returns the next bytes without consuming them: no bytes at the end of the stream, `None` when `deadline` passes
    /// first.
    ///
    /// # Errors
    /// When the connection is lost before the end of the stream.
    pub(crate) fn peek(&mut self, deadline: Option<Instant>) -> io::Result<Option<&[u8]>> {
        while self.taken.front().is_none_or(Bytes::is_empty) {
            if self.taken.pop_front().is_some() {
                continue;
            }
            let arrival = self.shared.wait_until(deadline, |state| {
                if !state.queue.is_empty() {
                    std::mem::swap(&mut state.queue, &mut self.taken);
                    state.queued = 0;
                    self.shared.changed.notify_all();
                    return Some(Arrival::Data);
                }
                match (state.eof, state.closed) {
                    (true, _) => Some(Arrival::EndOfStream),
                    (false, true) => Some(Arrival::Closed),
                    (false, false) => None,
                }
            });
            match arrival {
                None => return Ok(None),
                Some(Arrival::Data) => {}
                Some(Arrival::Closed) if self.shared.lost.reason().is_some() => {
                    return Err(lost_error(&self.shared.lost));
                }
                Some(Arrival::EndOfStream | Arrival::Closed) => return Ok(Some(&[])),
            }
        }
        Ok(self.taken.front().map(|bytes| bytes.as_ref()))
    }

    /// Consumes `len` of the bytes that `peek` showed.
    pub(crate) fn consume(&mut self, len: usize) {
        if let Some(bytes) = self.taken.front_mut() {
            let len = len.min(bytes.len());
            bytes.advance(len);
            self.shared.meter.taken(len);
        }
    }
}

impl Read for PipeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let bytes = self.peek(None)?.unwrap_or_default();
        let len = bytes.len().min(out.len());
        out[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        // Packets that nobody will read must not keep the connection from receiving.
        let mut left: usize = self.taken.iter().map(Bytes::len).sum();
        self.shared.update(|state| {
            state.nobody_reads = true;
            state.queued = 0;
            left += state.queue.drain(..).map(|bytes| bytes.len()).sum::<usize>();
        });
        self.shared.meter.taken(left);
    }
}

/// The sending direction. Dropping it sends what was written and the end of the stream.
pub(crate) struct PipeWriter {
    shared: Arc<Shared>,
    half: Arc<ChannelWriteHalf<Msg>>,
    buffer: BytesMut,
    finished: bool,
}

impl PipeWriter {
    pub(crate) fn new(half: Arc<ChannelWriteHalf<Msg>>, shared: Arc<Shared>) -> PipeWriter {
        PipeWriter { shared, half, buffer: BytesMut::new(), finished: false }
    }

    /// Sends what was written and the end of the stream.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.finished {
            return Ok(());
        }
        self.flush()?;
        self.finished = true;
        self.unless_closed(async { self.half.eof().await })
    }

    fn send(&self, data: Bytes) -> io::Result<()> {
        self.unless_closed(self.send_packets(data))
    }

    async fn send_packets(&self, mut data: Bytes) -> Result<(), russh::Error> {
        while !data.is_empty() {
            let packet = data.split_to(data.len().min(PACKET_BYTES));
            let starving = self.half.writable_packet_size().await < packet.len();
            let starving = starving.then(|| self.shared.meter.starve());
            self.half.data_bytes(packet).await?;
            drop(starving);
        }
        Ok(())
    }

    fn unless_closed(&self, sending: impl Future<Output = Result<(), russh::Error>>) -> io::Result<()> {
        let mut closed = self.shared.closed.subscribe();
        let sent = block_on(async {
            tokio::select! {
                // The closed channel is checked first, so that data for it never counts as sent.
                biased;
                _ = closed.wait_for(|closed| *closed) => false,
                sent = sending => sent.is_ok(),
            }
        });
        if sent {
            return Ok(());
        }
        match self.shared.lost.reason() {
            Some(_) => Err(lost_error(&self.shared.lost)),
            None => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the remote command has ended")),
        }
    }
}

impl Write for PipeWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.is_empty() && data.len() >= SMALL_WRITES_BYTES {
            let data = &data[..data.len().min(LARGE_WRITE_BYTES)];
            self.send(Bytes::copy_from_slice(data))?;
            return Ok(data.len());
        }
        let data = &data[..data.len().min(SMALL_WRITES_BYTES - self.buffer.len())];
        self.buffer.extend_from_slice(data);
        if self.buffer.len() == SMALL_WRITES_BYTES {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let data = self.buffer.split().freeze();
        self.send(data)
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        // A failure means that the channel is gone, and then there is nobody to send the end to.
        let _ = self.finish();
    }
}

pub(crate) fn lost_error(lost: &Lost) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, lost.error())
}
