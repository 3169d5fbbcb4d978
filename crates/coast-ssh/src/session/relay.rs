//! A channel that one process passes on to another over a Unix socket. The process with the connection runs [`Channel::pass_on`];
//! the other one has a [`Session`](crate::Session) over a [`Relay`].

use crate::error::SshError;
use crate::link::{
    Arrived, ExitStatus, Frame, FrameReader, Lost, MAX_PAYLOAD_BYTES, Output, PipeReader, Shared, lost_error,
    write_frame,
};
use crate::login::Peer;
use crate::session::channel::{Channel, ChannelReader, ChannelStatus, ChannelWriter, PipeEnd};
use bytes::Bytes;
use coast_tree::LockExt;
use rustix::event::{PollFd, PollFlags, poll};
use std::fmt;
use std::io::{self, Cursor, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

/// The bytes of a command's output that may wait for their reader. Then nothing more is read from the socket, whose own buffer fills.
const WAITING_BYTES: usize = 16 << 20;
/// Small writes are collected until there are this many bytes.
const SMALL_WRITES_BYTES: usize = 64 << 10;
/// How long a process that takes no output may hold up the other users of a connection.
const STALL_PATIENCE: Duration = Duration::from_secs(30);

/// A process that has a connection and passes channels on.
pub trait Relay: Send + Sync {
    /// Has the process run `command` on its connection.
    ///
    /// # Errors
    /// When the process does not answer, or no longer has the connection.
    fn exec(&self, command: &[u8]) -> io::Result<RelayStream>;
}

/// The socket of a channel that another process passes on.
#[derive(Debug)]
pub struct RelayStream {
    /// The socket.
    pub stream: UnixStream,
    /// Bytes of the channel that have been read from the socket already.
    pub read_ahead: Vec<u8>,
}

/// The connection of another process, as a session uses it.
pub(crate) struct Relayed {
    relay: Box<dyn Relay>,
    peer: Peer,
    lost: Lost,
    sockets: Sockets,
}

/// The open sockets of a session, so that it can be closed.
#[derive(Clone, Default)]
pub(crate) struct Sockets(Arc<Mutex<Vec<Weak<UnixStream>>>>);

impl Sockets {
    fn add(&self, socket: &Arc<UnixStream>) {
        let mut sockets = self.0.enter();
        sockets.retain(|socket| socket.strong_count() > 0);
        sockets.push(Arc::downgrade(socket));
    }

    pub(crate) fn shut_down(&self) {
        for socket in self.0.enter().iter().filter_map(Weak::upgrade) {
            // Fails only for a socket that is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").finish_non_exhaustive()
    }
}

impl Relayed {
    pub(crate) fn new(host: &str, peer: Peer, relay: Box<dyn Relay>) -> Relayed {
        Relayed { relay, peer, lost: Lost::new(host), sockets: Sockets::default() }
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) fn lost(&self) -> &Lost {
        &self.lost
    }

    pub(crate) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Starts `command`.
    ///
    /// # Errors
    /// When the other process does not answer, or no longer has the connection.
    pub(crate) fn exec(&self, command: &[u8]) -> Result<Channel, SshError> {
        let failed = |error: io::Error| {
            self.lost.set(&format!("coastd does not run the command: {error}"));
            self.lost.error()
        };
        if self.lost.reason().is_some() {
            return Err(self.lost.error());
        }
        let RelayStream { stream, read_ahead } = self.relay.exec(command).map_err(failed)?;
        let incoming = stream.try_clone().map_err(failed)?;
        let outgoing = stream.try_clone().map_err(failed)?;
        let socket = Arc::new(stream);
        self.sockets.add(&socket);
        let shared = Shared::new(Arc::default(), self.lost.clone());
        thread::Builder::new()
            .name("coast-relay".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || take_in(Cursor::new(read_ahead).chain(incoming), &shared)
            })
            .map_err(SshError::Runtime)?;
        let lease = Arc::new(Lease(socket));
        let writer = RelayWriter {
            stream: outgoing,
            shared: Arc::clone(&shared),
            buffer: Vec::new(),
            finished: false,
        };
        Ok(Channel {
            reader: ChannelReader::new(PipeReader::new(Arc::clone(&shared)), Arc::clone(&lease) as _),
            writer: ChannelWriter::new(PipeEnd::Relay(writer), Arc::clone(&lease) as _),
            status: ChannelStatus::new(shared, lease),
        })
    }
}

/// Takes the frames of the process with the connection until the last one.
fn take_in(from: impl Read, shared: &Arc<Shared>) {
    let _closed_at_end = Arc::clone(shared).close_at_end();
    let mut frames = FrameReader::new(from);
    loop {
        shared.wait_for_room(WAITING_BYTES);
        match frames.read() {
            Ok(Some(Frame::Stdout(data))) => shared.arrived(Arrived::Stdout(Bytes::from(data))),
            Ok(Some(Frame::StdoutEnd)) => shared.arrived(Arrived::Eof),
            Ok(Some(Frame::Stderr(data))) => shared.arrived(Arrived::Stderr(Bytes::from(data))),
            Ok(Some(Frame::Exit(status))) => return shared.arrived(Arrived::Exit(status)),
            Ok(Some(Frame::Refused)) => return shared.arrived(Arrived::Refused),
            Ok(Some(Frame::Lost(reason))) => return shared.lost().set(&reason),
            Ok(Some(Frame::Stdin(_) | Frame::StdinEnd)) => {
                return shared.lost().set("coastd sent what it should not");
            }
            Ok(None) => return shared.lost().set("coastd, which had it, ended"),
            // So the system tells the end of a process that had not read everything.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return shared.lost().set("coastd, which had it, ended");
            }
            Err(error) => return shared.lost().set(&format!("coastd, which had it, failed: {error}")),
        }
    }
}

/// Closes the socket when the last part of a channel is dropped. What was sent before still arrives.
struct Lease(Arc<UnixStream>);

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// The standard input of a command. Dropping it sends what was written and the end of the stream.
pub(crate) struct RelayWriter {
    stream: UnixStream,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    finished: bool,
}

impl RelayWriter {
    /// Sends what was written and the end of the stream.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.finished {
            return Ok(());
        }
        self.flush()?;
        self.finished = true;
        self.send(&Frame::StdinEnd)
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        if self.shared.is_closed() {
            return Err(self.ended());
        }
        write_frame(&mut self.stream, frame).map_err(|_| self.ended())
    }

    fn ended(&self) -> io::Error {
        match self.shared.lost().reason() {
            Some(_) => lost_error(self.shared.lost()),
            None => io::Error::new(io::ErrorKind::BrokenPipe, "the remote command has ended"),
        }
    }
}

impl Write for RelayWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.is_empty() && data.len() >= SMALL_WRITES_BYTES {
            let data = &data[..data.len().min(MAX_PAYLOAD_BYTES)];
            self.send(&Frame::Stdin(data.to_vec()))?;
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
        let data = std::mem::take(&mut self.buffer);
        self.send(&Frame::Stdin(data))
    }
}

impl Drop for RelayWriter {
    fn drop(&mut self) {
        // A failure means that the channel is gone, and then there is nobody to send the end to.
        let _ = self.finish();
    }
}

impl Channel {
    /// Passes this channel on to the process at the other end of `stream`, until the command ends or that process closes the stream.
    /// Blocks. The frames are those of [`Session::relayed`](crate::Session::relayed).
    ///
    /// # Errors
    /// When a thread cannot be started, or the stream cannot be used.
    pub fn pass_on(self, stream: RelayStream) -> io::Result<()> {
        let RelayStream { stream, read_ahead } = stream;
        let (reader, writer, status) = self.split();
        // `next_output` takes the output in the reader's place.
        let (shared, incoming) = (Arc::clone(status.shared()), stream.try_clone()?);
        stream.set_write_timeout(Some(STALL_PATIENCE))?;
        thread::scope(|scope| {
            let hung_up = thread::Builder::new().name("coast-hang-up".to_owned()).spawn_scoped(scope, || {
                wait_for_hang_up(&stream);
                shared.close();
            });
            let input = thread::Builder::new()
                .name("coast-input".to_owned())
                .spawn_scoped(scope, || pass_input(Cursor::new(read_ahead).chain(incoming), writer, &shared));
            let passed = match (&hung_up, &input) {
                (Ok(_), Ok(_)) => pass_output(&shared, &stream),
                (Err(error), _) | (_, Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            // Ends both threads. What has been written still arrives.
            let _ = stream.shutdown(Shutdown::Both);
            shared.close();
            drop((reader, status));
            passed
        })
    }
}

/// Passes the output of a command on until its end.
fn pass_output(shared: &Shared, stream: &UnixStream) -> io::Result<()> {
    let (mut stderr_seen, mut eof_seen) = (0, false);
    let mut out = Patient { stream, shared };
    loop {
        match shared.next_output(&mut stderr_seen, &mut eof_seen) {
            Output::Stdout(chunks) => {
                let mut passed = Ok(());
                for chunk in chunks {
                    if passed.is_ok() {
                        let mut pieces = chunk.chunks(MAX_PAYLOAD_BYTES);
                        passed = pieces
                            .try_for_each(|piece| write_frame(&mut out, &Frame::Stdout(piece.to_vec())));
                    }
                    // Data that nobody will read must not keep the connection from receiving.
                    shared.taken(chunk.len());
                }
                passed?;
            }
            Output::Stderr(data) => write_frame(&mut out, &Frame::Stderr(data))?,
            Output::Eof => write_frame(&mut out, &Frame::StdoutEnd)?,
            Output::Closed => {
                let last = match (shared.wait(), shared.refused()) {
                    (Err(_), _) => Frame::Lost(shared.lost().reason().unwrap_or_default().to_string()),
                    (Ok(ExitStatus::Unknown), true) => Frame::Refused,
                    (Ok(status), _) => Frame::Exit(status),
                };
                return write_frame(&mut out, &last);
            }
        }
    }
}

/// Passes standard input on until the other process closes the stream.
fn pass_input(from: impl Read, mut writer: ChannelWriter, shared: &Shared) {
    let mut frames = FrameReader::new(from);
    while let Ok(Some(frame)) = frames.read() {
        let written = match frame {
            Frame::Stdin(data) => writer.write_all(&data).and_then(|()| writer.flush()),
            Frame::StdinEnd => writer.finish(),
            _ => break,
        };
        // The command takes no more input. The other process learns it from the end of the command.
        if written.is_err() && shared.is_closed() {
            return;
        }
    }
    // The other process has closed the stream, or sends what it should not.
    shared.close();
}

/// Waits until the stream is closed by one of its ends.
fn wait_for_hang_up(stream: &UnixStream) {
    loop {
        // A hang-up is reported whatever is waited for.
        let mut waiting = [PollFd::new(stream, PollFlags::empty())];
        match poll(&mut waiting, None) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Writes to a process that may be stopped for a while. It waits as long as nobody else suffers from it.
struct Patient<'a> {
    stream: &'a UnixStream,
    shared: &'a Shared,
}

impl Write for Patient<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        loop {
            match (&mut &*self.stream).write(data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.shared.is_shut() => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
