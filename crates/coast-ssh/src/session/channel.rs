//! A remote command and its three streams, as the users of this crate see them.

use crate::error::SshError;
use crate::link::{ExitStatus, PipeReader, PipeWriter, Shared, pump};
use crate::session::connection::Connection;
use russh::{ChannelWriteHalf, client};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// A command running on the remote host.
///
/// Reading and writing may go on at once from two threads, and writing does not wait for reading: what is received is
/// taken in and kept, up to 64 MiB in all. When all three parts are dropped the channel is closed, so that a command
/// that still runs sees the end of its standard input.
pub struct Channel {
    /// The command's standard output.
    pub reader: ChannelReader,
    /// The command's standard input.
    pub writer: ChannelWriter,
    /// The command's end and its standard error.
    pub status: ChannelStatus,
}

impl Channel {
    /// Starts `command` on a new channel of `connection`.
    pub(crate) fn exec(connection: &Arc<Connection>, command: &[u8]) -> Result<Channel, SshError> {
        let channel = connection.open_session()?;
        let shared = Shared::new(Arc::clone(connection.meter()), connection.lost().clone());
        let (read_half, write_half) = channel.split();
        let half = Arc::new(write_half);
        let pump = connection.runtime().spawn(pump(read_half, Arc::clone(&shared)));
        let lease = Arc::new(Lease { half: Arc::clone(&half), pump, connection: Arc::clone(connection) });
        // The answer is not waited for: a refusal ends the channel, and shows there.
        connection.run(half.exec(true, command))?;
        let writer = PipeWriter::new(half, Arc::clone(&shared));
        Ok(Channel {
            reader: ChannelReader { pipe: PipeReader::new(Arc::clone(&shared)), _lease: Arc::clone(&lease) },
            writer: ChannelWriter { pipe: writer, _lease: Arc::clone(&lease) },
            status: ChannelStatus { shared, lease },
        })
    }

    /// Takes the three parts apart, to be used by different threads.
    pub fn split(self) -> (ChannelReader, ChannelWriter, ChannelStatus) {
        (self.reader, self.writer, self.status)
    }

    /// Sends the end of standard input, reads all of standard output and waits for the end of the command.
    ///
    /// # Errors
    /// When the server would not run the command, or the connection is lost. A command that fails is no error: see the
    /// status.
    pub fn output(self) -> Result<(Vec<u8>, ExitStatus), SshError> {
        let (mut reader, mut writer, status) = self.split();
        // A command that has already ended says so by its status.
        let _ = writer.finish();
        let mut output = Vec::new();
        if reader.read_to_end(&mut output).is_err() {
            return Err(status.lost());
        }
        Ok((output, status.wait()?))
    }
}

/// The standard output of a remote command. A lost connection is an error of kind
/// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) that carries an [`SshError::ConnectionLost`].
pub struct ChannelReader {
    // The pipes come before the lease in every part: the end of the stream is sent before the channel is closed.
    pipe: PipeReader,
    _lease: Arc<Lease>,
}

impl ChannelReader {
    pub(crate) fn peek(&mut self, deadline: Option<Instant>) -> io::Result<Option<&[u8]>> {
        self.pipe.peek(deadline)
    }

    pub(crate) fn consume(&mut self, len: usize) {
        self.pipe.consume(len);
    }
}

impl Read for ChannelReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(out)
    }
}

/// The standard input of a remote command. Small writes are collected; `flush` sends them. Dropping it sends what was
/// written and the end of the stream.
pub struct ChannelWriter {
    pipe: PipeWriter,
    _lease: Arc<Lease>,
}

impl ChannelWriter {
    /// Sends what was written and the end of the stream, as dropping does, but with an error when that fails.
    ///
    /// # Errors
    /// When the command has ended ([`BrokenPipe`](io::ErrorKind::BrokenPipe)) or the connection is lost
    /// ([`ConnectionAborted`](io::ErrorKind::ConnectionAborted)).
    pub fn finish(&mut self) -> io::Result<()> {
        self.pipe.finish()
    }
}

impl Write for ChannelWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.pipe.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

/// The end of a remote command, and what it said on its standard error.
pub struct ChannelStatus {
    shared: Arc<Shared>,
    lease: Arc<Lease>,
}

impl ChannelStatus {
    /// Waits for the end of the command. Somebody must read its standard output meanwhile, or have dropped the reader.
    ///
    /// # Errors
    /// When the server would not run the command, or the connection was lost before its end.
    pub fn wait(&self) -> Result<ExitStatus, SshError> {
        let status = self.shared.wait()?;
        if status == ExitStatus::Unknown && self.shared.refused() {
            let host = self.lease.connection.host().to_owned();
            return Err(SshError::ExecRefused { host, reason: "the server refused the request".to_owned() });
        }
        Ok(status)
    }

    /// The last 8 KiB of what the command has said on its standard error so far.
    pub fn stderr(&self) -> Vec<u8> {
        self.shared.stderr()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn lost(&self) -> SshError {
        self.lease.connection.lost().error()
    }
}

/// Closes the channel when its last part is gone, and keeps the connection until then.
struct Lease {
    half: Arc<ChannelWriteHalf<client::Msg>>,
    pump: tokio::task::JoinHandle<()>,
    connection: Arc<Connection>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pump.abort();
        let half = Arc::clone(&self.half);
        self.connection.runtime().spawn(async move {
            // Fails only when the connection is gone, and the channel with it.
            let _ = half.close().await;
        });
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("host", &self.status.lease.connection.host()).finish_non_exhaustive()
    }
}
