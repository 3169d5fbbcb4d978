//! The public view of a connection: a session, and the commands that run on it.

mod channel;
mod closer;
mod connection;

pub use self::channel::{Channel, ChannelReader, ChannelStatus, ChannelWriter};
pub use self::closer::Closer;

use crate::config::{ConnectOptions, Target};
use crate::error::SshError;
use crate::login::{Peer, Prompt, establish};
use crate::session::connection::Connection;
use std::sync::Arc;

/// An authenticated connection to a host. Several commands can run on it at the same time. The connection is closed when
/// the session and all commands started on it have been dropped.
pub struct Session {
    connection: Arc<Connection>,
}

impl Session {
    /// Connects to `target`, checks its host key, and logs in. Blocks until that is done or has failed. Calls `prompt` on
    /// this thread.
    ///
    /// # Errors
    /// When the configuration cannot be used, the host cannot be connected to in time, its host key is not accepted, or it
    /// accepts none of the user's keys. Each of these at a jump host is an [`SshError::Jump`].
    pub fn connect(
        target: &Target,
        options: &ConnectOptions,
        prompt: &dyn Prompt,
    ) -> Result<Session, SshError> {
        let (target, options) = (target.clone(), options.clone());
        let connection = Connection::start(move |prompts| establish(target, options, prompts), prompt)?;
        Ok(Session { connection: Arc::new(connection) })
    }

    /// The host's name, with its port if that is not 22.
    pub fn host(&self) -> &str {
        self.connection.host()
    }

    /// The host at the other end, and the user and key that logged in.
    pub fn peer(&self) -> &Peer {
        self.connection.peer()
    }

    /// Has the user's login shell run `command`. The caller must [`quote`](crate::quote) the arguments in it.
    ///
    /// # Errors
    /// When the server opens no channel, or the connection is lost. A server that refuses to run the command is reported
    /// by [`ChannelStatus::wait`].
    pub fn exec(&self, command: &[u8]) -> Result<Channel, SshError> {
        Channel::exec(&self.connection, command)
    }

    /// Returns a handle that closes this connection from another thread.
    pub fn closer(&self) -> Closer {
        Closer::of(self.connection.lost())
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("host", &self.host()).finish_non_exhaustive()
    }
}
