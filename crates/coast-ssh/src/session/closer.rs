//! Closing a connection from a thread that neither reads nor writes on it.

use crate::link::Lost;
use crate::session::relay::Sockets;

/// Closes a session at once: threads that wait for it get an error, and the server closes its channels. May be used from any thread,
/// more than once.
#[derive(Debug, Clone)]
pub struct Closer {
    lost: Lost,
    sockets: Sockets,
}

impl Closer {
    pub(crate) fn of(lost: &Lost, sockets: &Sockets) -> Closer {
        Closer { lost: lost.clone(), sockets: sockets.clone() }
    }

    /// Closes the session. Does not wait for the server.
    pub fn close(&self) {
        self.lost.set("it was closed from this side");
        self.sockets.shut_down();
    }
}
