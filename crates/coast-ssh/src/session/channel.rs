//! A remote command and its three streams, as the users of this crate see them.

use crate::error::SshError;
use crate::link::{ExitStatus, PipeReader, PipeWriter, Shared, pump};
use crate::session::relay::RelayWriter;
use crate::session::share::Share;
use russh::{ChannelWriteHalf, client};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// A command running on the remote host.
///
/// Two threads may read and write at the same time. Writing does not wait for reading: received data is kept in memory, up
/// to 64 MiB for the whole connection. The channel is closed when all three parts are dropped; a command that still runs
/// then reads the end of its standard input.
pub struct Channel {
    /// The command's standard output.
    pub reader: ChannelReader,
    /// The command's standard input.
    pub writer: ChannelWriter,
    /// The command's exit status and standard error.
    pub status: ChannelStatus,
}

impl Channel {
    /// Starts `command` on a channel of `share`.
    ///
    /// # Errors
    /// When the server opens no channel, or the connection is lost.
    pub(crate) fn exec(share: &Arc<Share>, command: &[u8]) -> Result<Channel, SshError> {
        let channel = share.open()?;
        let connection = share.connection();
        let shared = Shared::new(Arc::clone(connection.meter()), share.lost().clone());
        let (read_half, write_half) = channel.split();
        let half = Arc::new(write_half);
        let pump = connection.runtime().spawn(pump(read_half, Arc::clone(&shared)));
        let lease = Arc::new(SshLease { half: Arc::clone(&half), pump, share: Arc::clone(share) });
        // The server's answer is not waited for. A refusal closes the channel, and `ChannelStatus::wait` reports it.
        share.run(half.exec(true, command))?;
        let writer = PipeWriter::new(half, Arc::clone(&shared));
        Ok(Channel {
            reader: ChannelReader::new(PipeReader::new(Arc::clone(&shared)), Arc::clone(&lease) as Lease),
            writer: ChannelWriter::new(PipeEnd::Ssh(writer), Arc::clone(&lease) as Lease),
            status: ChannelStatus::new(shared, lease),
        })
    }

    /// Splits the command into its three parts, so that different threads can use them.
    pub fn split(self) -> (ChannelReader, ChannelWriter, ChannelStatus) {
        (self.reader, self.writer, self.status)
    }

    /// Sends the end of standard input, reads all of standard output and waits for the end of the command.
    ///
    /// # Errors
    /// When the server refuses to run the command, or the connection is lost. A command that fails is not an error; its
    /// status is in the result.
    pub fn output(self) -> Result<(Vec<u8>, ExitStatus), SshError> {
        let (mut reader, mut writer, status) = self.split();
        // This fails for a command that has ended already, whose status is read below.
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
    // Fields are dropped in order: in every part the pipe comes before the lease, so that the end of the stream is sent
    // before the channel is closed.
    pipe: PipeReader,
    _lease: Lease,
}

impl ChannelReader {
    pub(crate) fn new(pipe: PipeReader, lease: Lease) -> ChannelReader {
        ChannelReader { pipe, _lease: lease }
    }

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

/// The standard input of a remote command. Small writes are collected, and `flush` sends them. Dropping it sends the
/// collected writes and the end of the stream.
pub struct ChannelWriter {
    pipe: PipeEnd,
    _lease: Lease,
}

/// The way of standard input to the command.
pub(crate) enum PipeEnd {
    /// Over this process's own connection.
    Ssh(PipeWriter),
    /// Over the connection of another process.
    Relay(RelayWriter),
}

impl PipeEnd {
    fn stream(&mut self) -> &mut dyn Write {
        match self {
            PipeEnd::Ssh(pipe) => pipe,
            PipeEnd::Relay(pipe) => pipe,
        }
    }
}

impl ChannelWriter {
    pub(crate) fn new(pipe: PipeEnd, lease: Lease) -> ChannelWriter {
        ChannelWriter { pipe, _lease: lease }
    }

    /// Sends the collected writes and the end of the stream, as dropping does, but returns the error when that fails.
    ///
    /// # Errors
    /// When the command has ended ([`BrokenPipe`](io::ErrorKind::BrokenPipe)) or the connection is lost
    /// ([`ConnectionAborted`](io::ErrorKind::ConnectionAborted)).
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.pipe {
            PipeEnd::Ssh(pipe) => pipe.finish(),
            PipeEnd::Relay(pipe) => pipe.finish(),
        }
    }
}

impl Write for ChannelWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.pipe.stream().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.stream().flush()
    }
}

/// The exit status of a remote command, and its standard error.
pub struct ChannelStatus {
    shared: Arc<Shared>,
    _lease: Lease,
}

impl ChannelStatus {
    pub(crate) fn new(shared: Arc<Shared>, lease: Lease) -> ChannelStatus {
        ChannelStatus { shared, _lease: lease }
    }

    /// Waits for the end of the command. Meanwhile another thread must read its standard output, or the reader must have
    /// been dropped.
    ///
    /// # Errors
    /// When the server refuses to run the command, or the connection is lost before the command ends.
    pub fn wait(&self) -> Result<ExitStatus, SshError> {
        let status = self.shared.wait()?;
        if status == ExitStatus::Unknown && self.shared.refused() {
            let host = self.shared.lost().host().to_owned();
            return Err(SshError::ExecRefused { host, reason: "the server refused the request".to_owned() });
        }
        Ok(status)
    }

    /// The standard error of the command so far; at most its last 8 KiB.
    pub fn stderr(&self) -> Vec<u8> {
        self.shared.stderr()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn lost(&self) -> SshError {
        self.shared.lost().error()
    }
}

/// Keeps the connection open, and closes the channel when its last part is dropped.
pub(crate) type Lease = Arc<dyn Send + Sync>;

struct SshLease {
    half: Arc<ChannelWriteHalf<client::Msg>>,
    pump: tokio::task::JoinHandle<()>,
    share: Arc<Share>,
}

impl Drop for SshLease {
    fn drop(&mut self) {
        self.pump.abort();
        let half = Arc::clone(&self.half);
        self.share.connection().runtime().spawn(async move {
            // This fails only when the connection is lost, which closes the channel too.
            let _ = half.close().await;
        });
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("host", &self.status.shared.lost().host()).finish_non_exhaustive()
    }
}
