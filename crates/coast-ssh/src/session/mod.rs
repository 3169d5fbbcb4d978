//! The public view of a connection: a session, and the commands that run on it.

mod channel;
mod closer;
mod connection;
mod relay;
mod share;

pub use self::channel::{Channel, ChannelReader, ChannelStatus, ChannelWriter};
pub use self::closer::Closer;
pub use self::relay::{Relay, RelayStream};

use crate::config::{ConnectOptions, Target};
use crate::error::SshError;
use crate::login::{Peer, Prompt, Route, establish};
use crate::session::connection::Connection;
use crate::session::relay::{Relayed, Sockets};
use crate::session::share::Share;
use std::sync::Arc;
use std::time::Duration;

/// An authenticated connection to a host. Several commands can run on it at the same time. The connection is closed when
/// the session and all commands started on it have been dropped.
pub struct Session {
    holder: Holder,
}

/// The process that has the connection.
enum Holder {
    /// This process.
    Here(Arc<Share>),
    /// Another process on this machine.
    Elsewhere(Box<Relayed>),
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
        Self::connect_by(&Route::of(target, options)?, prompt)
    }

    /// Like [`Session::connect`], with a configuration that has been read already.
    ///
    /// # Errors
    /// As [`Session::connect`].
    pub fn connect_by(route: &Route, prompt: &dyn Prompt) -> Result<Session, SshError> {
        let route = route.clone();
        let connection = Connection::start(move |prompts| establish(route, prompts), prompt)?;
        Ok(Session { holder: Holder::Here(Arc::new(Share::whole(connection))) })
    }

    /// A session over the connection of another process, which runs [`Channel::pass_on`] for each command. `host` and `peer` are those
    /// of that process's session.
    pub fn relayed(host: &str, peer: Peer, relay: Box<dyn Relay>) -> Session {
        Session { holder: Holder::Elsewhere(Box::new(Relayed::new(host, peer, relay))) }
    }

    /// Another session on the same connection. Each can be closed without the other. It has the channel that
    /// [`Session::open_ahead`] opened. `None` if another process has the connection.
    pub fn share(&self) -> Option<Session> {
        match &self.holder {
            Holder::Here(share) => Some(Session { holder: Holder::Here(Arc::new(share.another())) }),
            Holder::Elsewhere(_) => None,
        }
    }

    /// The number of other sessions on the same connection. A session whose commands still run counts after it was dropped.
    pub fn other_users(&self) -> usize {
        match &self.holder {
            Holder::Here(share) => share.users() - 1,
            Holder::Elsewhere(_) => 0,
        }
    }

    /// Opens the channel of the next command now, and so finds out whether the server is still there. A server that does not answer
    /// within `limit` has lost the connection.
    ///
    /// # Errors
    /// When the server opens no channel, or the connection is lost.
    pub fn open_ahead(&self, limit: Duration) -> Result<(), SshError> {
        match &self.holder {
            Holder::Here(share) => share.open_ahead(limit),
            Holder::Elsewhere(_) => Ok(()),
        }
    }

    /// Whether the host, and each jump host on the way, still has its key in the files of known hosts. Reads the files again.
    pub fn is_on_record(&self) -> bool {
        match &self.holder {
            Holder::Here(share) => share.connection().is_on_record(),
            // The process that has the connection sees to it before it passes a channel on.
            Holder::Elsewhere(_) => true,
        }
    }

    /// The reason why the connection was lost; `None` while it is not known to be lost.
    pub fn lost(&self) -> Option<String> {
        let lost = match &self.holder {
            Holder::Here(share) => share.lost(),
            Holder::Elsewhere(relayed) => relayed.lost(),
        };
        lost.reason().map(|reason| reason.to_string())
    }

    /// The host's name, with its port if that is not 22.
    pub fn host(&self) -> &str {
        match &self.holder {
            Holder::Here(share) => share.connection().host(),
            Holder::Elsewhere(relayed) => relayed.lost().host(),
        }
    }

    /// The host at the other end, and the user and key that logged in.
    pub fn peer(&self) -> &Peer {
        match &self.holder {
            Holder::Here(share) => share.connection().peer(),
            Holder::Elsewhere(relayed) => relayed.peer(),
        }
    }

    /// Has the user's login shell run `command`. The caller must [`quote`](crate::quote) the arguments in it.
    ///
    /// # Errors
    /// When the server opens no channel, or the connection is lost. A server that refuses to run the command is reported
    /// by [`ChannelStatus::wait`].
    pub fn exec(&self, command: &[u8]) -> Result<Channel, SshError> {
        match &self.holder {
            Holder::Here(share) => Channel::exec(share, command),
            Holder::Elsewhere(relayed) => relayed.exec(command),
        }
    }

    /// Measures the time of a round trip to the server. `None` if another process has the connection, or it is lost.
    pub fn round_trip(&self) -> Option<Duration> {
        match &self.holder {
            Holder::Here(share) => share.round_trip().ok(),
            Holder::Elsewhere(_) => None,
        }
    }

    /// Whether another process has the connection, and only passes on what this session runs.
    pub fn is_relayed(&self) -> bool {
        matches!(self.holder, Holder::Elsewhere(_))
    }

    /// Returns a handle that closes this session from another thread: the connection, or only the channels of this session if it
    /// shares the connection with others.
    pub fn closer(&self) -> Closer {
        match &self.holder {
            Holder::Here(share) => Closer::of(share.lost(), &Sockets::default()),
            Holder::Elsewhere(relayed) => Closer::of(relayed.lost(), relayed.sockets()),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("host", &self.host()).finish_non_exhaustive()
    }
}
