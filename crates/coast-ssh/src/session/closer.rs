//! Closing a connection from a thread that neither reads nor writes on it.

use crate::link::Lost;

/// Closes a connection at once: threads that wait for it get an error, and the server closes all its channels. May be used
/// from any thread, more than once.
#[derive(Debug, Clone)]
pub struct Closer(Lost);

impl Closer {
    pub(crate) fn of(lost: &Lost) -> Closer {
        Closer(lost.clone())
    }

    /// Closes the connection. Does not wait for the server.
    pub fn close(&self) {
        self.0.set("it was closed from this side");
    }
}
