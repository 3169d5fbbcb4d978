//! The two directions of an SSH channel as blocking byte streams. A task on the
//! connection's thread takes every message as it comes; readers and writers are plain threads.

use crate::error::SshError;
use crate::link::lost::Lost;
use crate::link::park::block_on;
use crate::link::transport::Meter;
use bytes::{Buf, Bytes, BytesMut};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Small writes are collected up to this many bytes.
const SMALL_WRITES_BYTES: usize = 64 << 10;
/// The most that one `write` takes: large enough to hand several packets over at once, small enough to be copied into a
/// buffer of its own without weight.
const LARGE_WRITE_BYTES: usize = 256 << 10;
/// The most that is handed over as one packet, in bytes: what OpenSSH takes at most.
const PACKET_BYTES: usize = 32 << 10;
/// How much of a command's standard error is kept, the end of it.
const STDERR_BYTES: usize = 8 << 10;

/// How a remote command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u32),
    /// It was killed by this signal, named without `SIG`.
    Signal(String),
    /// The server closed the channel without saying.
    Unknown,
}

impl ExitStatus {
    /// Whether it exited with code 0.
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

/// What the task and the threads of one channel share.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// True when the channel is closed or the connection lost: nothing can be sent any more.
    closed: watch::Sender<bool>,
    meter: Arc<Meter>,
    lost: Lost,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    eof: bool,
    closed: bool,
    refused: bool,
    nobody_reads: bool,
    exit: Option<ExitStatus>,
    stderr: VecDeque<u8>,
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `done` gives something, or until `deadline`.
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
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Whether the server refused the command.
    pub(crate) fn refused(&self) -> bool {
        self.lock().refused
    }

    /// Waits for the end of the command.
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

    /// Waits for a whole line on standard error, but not longer than `patience` and not past the channel's end.
    pub(crate) fn wait_for_stderr(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.wait_until(Some(deadline), |state| {
            (state.closed || state.stderr.contains(&b'\n')).then_some(())
        });
    }
}

/// Takes every message of a channel until it is closed or the connection is lost.
pub(crate) async fn pump(mut half: ChannelReadHalf, shared: Arc<Shared>) {
    let shared = ClosedAtEnd(shared);
    let shared = &shared.0;
    loop {
        let message = tokio::select! {
            message = half.wait() => message,
            () = shared.lost.wait() => None,
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                let len = data.len();
                shared.meter.queued(len);
                let mut unread = false;
                shared.update(|state| {
                    unread = state.nobody_reads;
                    if !unread {
                        state.queue.push_back(data);
                    }
                });
                if unread {
                    shared.meter.taken(len);
                }
            }
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => shared.update(|state| {
                state.stderr.extend(&data);
                let excess = state.stderr.len().saturating_sub(STDERR_BYTES);
                state.stderr.drain(..excess);
            }),
            Some(ChannelMsg::Eof) => shared.update(|state| state.eof = true),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                shared.update(|state| state.exit = Some(ExitStatus::Code(exit_status)));
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                let signal = match signal_name {
                    russh::Sig::Custom(name) => name,
                    named => format!("{named:?}"),
                };
                shared.update(|state| state.exit = Some(ExitStatus::Signal(signal)));
            }
            Some(ChannelMsg::Failure) => {
                // The server leaves the channel open, but nothing will ever run on it.
                shared.update(|state| state.refused = true);
                break;
            }
            Some(ChannelMsg::Close) | None => break,
            Some(_) => {}
        }
    }
}

/// Tells readers and writers that the channel is over, even when its task is dropped with its runtime.
struct ClosedAtEnd(Arc<Shared>);

impl Drop for ClosedAtEnd {
    fn drop(&mut self) {
        self.0.update(|state| state.closed = true);
        self.0.closed.send_replace(true);
    }
}

/// The receiving direction.
pub(crate) struct PipeReader {
    shared: Arc<Shared>,
    /// Taken out of the shared queue in one go, so that the lock is taken once for many packets.
    taken: VecDeque<Bytes>,
}

impl PipeReader {
    pub(crate) fn new(shared: Arc<Shared>) -> PipeReader {
        PipeReader { shared, taken: VecDeque::new() }
    }

    /// The next bytes, without consuming them; empty at the end of the stream. `None` when `deadline` passed first.
    pub(crate) fn peek(&mut self, deadline: Option<Instant>) -> io::Result<Option<&[u8]>> {
        while self.taken.front().is_none_or(Bytes::is_empty) {
            if self.taken.pop_front().is_some() {
                continue;
            }
            let end = self.shared.wait_until(deadline, |state| {
                if !state.queue.is_empty() {
                    std::mem::swap(&mut state.queue, &mut self.taken);
                    return Some(None);
                }
                (state.eof || state.closed).then_some(Some(state.eof))
            });
            match end {
                None => return Ok(None),
                Some(None) => {}
                Some(Some(eof)) => {
                    return match self.shared.lost.reason() {
                        Some(_) if !eof => Err(lost_error(&self.shared.lost)),
                        _ => Ok(Some(&[])),
                    };
                }
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
        // What nobody will read must not keep the gate shut.
        let mut left: usize = self.taken.iter().map(Bytes::len).sum();
        self.shared.update(|state| {
            state.nobody_reads = true;
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
                // In this order, so that data for a closed channel is never mistaken for sent.
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

fn lost_error(lost: &Lost) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, lost.error())
}
