//! One user of a connection that several may use. Closing a share closes the channels that it opened, and no others.

use crate::error::SshError;
use crate::link::Lost;
use crate::session::connection::Connection;
use coast_tree::LockExt;
use russh::client::Msg;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

/// One user of a connection. The connection is closed when the last of them is dropped.
pub(crate) struct Share {
    connection: Arc<Connection>,
    /// Set when this share is closed, or the connection is lost.
    lost: Lost,
    /// A channel that is open already. Guards nothing else.
    ahead: Mutex<Option<Ahead>>,
}

impl Share {
    /// The only user of a connection. Closing it closes the connection.
    pub(crate) fn whole(connection: Connection) -> Share {
        let lost = connection.lost().clone();
        Share { connection: Arc::new(connection), lost, ahead: Mutex::default() }
    }

    /// Another user of the connection. It gets the channel that this one has open already.
    pub(crate) fn another(&self) -> Share {
        let (connection, lost) = (Arc::clone(&self.connection), self.connection.lost().of_one_user());
        Share { connection, lost, ahead: Mutex::new(self.ahead.enter().take()) }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// The number of those who use the connection: shares, and the channels of shares that have been dropped.
    pub(crate) fn users(&self) -> usize {
        Arc::strong_count(&self.connection)
    }

    /// Opens the next channel now. A server that does not answer within `limit` has lost the connection.
    ///
    /// # Errors
    /// When the server opens no channel, or the connection is lost.
    pub(crate) fn open_ahead(&self, limit: Duration) -> Result<(), SshError> {
        let channel = self.connection.open_session_within(limit, &self.lost)?;
        let opened = Ahead { channel: Some(channel), runtime: self.connection.runtime().clone() };
        *self.ahead.enter() = Some(opened);
        Ok(())
    }

    /// Opens a channel for a command, or takes the one that is open already.
    ///
    /// # Errors
    /// When the server opens no channel, or the connection is lost.
    pub(crate) fn open(&self) -> Result<russh::Channel<Msg>, SshError> {
        let ahead = self.ahead.enter().take();
        match ahead.and_then(|mut ahead| ahead.channel.take()) {
            Some(channel) => Ok(channel),
            None => self.connection.open_session(&self.lost),
        }
    }

    /// See [`Connection::round_trip`].
    pub(crate) fn round_trip(&self) -> Result<Duration, SshError> {
        self.connection.round_trip(&self.lost)
    }

    /// Runs a request of the SSH library; see [`Connection::run`].
    pub(crate) fn run<T>(
        &self,
        request: impl Future<Output = Result<T, russh::Error>>,
    ) -> Result<T, SshError> {
        self.connection.run(request, &self.lost)
    }
}

/// A channel that no command runs on yet. The library does not close a channel that is dropped.
struct Ahead {
    channel: Option<russh::Channel<Msg>>,
    runtime: Handle,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            self.runtime.spawn(async move {
                // This fails only when the connection is lost, which closes the channel too.
                let _ = channel.close().await;
            });
        }
    }
}
