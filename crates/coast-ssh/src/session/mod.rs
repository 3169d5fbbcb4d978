//! A connection to one host, as the users of this crate see it.

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

/// An authenticated connection to a host. Commands run on it side by side; it ends when it and everything that was
/// started on it has been dropped.
pub struct Session {
    connection: Arc<Connection>,
}

impl Session {
    /// Connects to `target`, makes sure that it is the right host, and logs in. Blocks until that is done or has failed;
    /// `prompt` is called on this thread meanwhile.
    ///
    /// # Errors
    /// When the configuration cannot be used, the host cannot be reached in time, is not the right one or accepts none of
    /// the keys; with [`SshError::Jump`] when that happens at a host on the way.
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

    /// Where the connection ended up, and by which key.
    pub fn peer(&self) -> &Peer {
        self.connection.peer()
    }

    /// Has the user's login shell run `command`. Arguments in it are for the caller to [`quote`](crate::quote).
    ///
    /// # Errors
    /// When the host opens no channel, or the connection is lost. That it would not run the command shows in
    /// [`ChannelStatus::wait`].
    pub fn exec(&self, command: &[u8]) -> Result<Channel, SshError> {
        Channel::exec(&self.connection, command)
    }

    /// What ends this connection from another thread.
    pub fn closer(&self) -> Closer {
        Closer::of(self.connection.lost())
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("host", &self.host()).finish_non_exhaustive()
    }
}
