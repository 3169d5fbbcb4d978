//! Ends a connection from another thread than those that read and write on it.

use crate::link::Lost;

/// Ends a connection at once: whoever waits for it gets an error, and the other side sees all its channels close. May be
/// called from any thread, more than once.
#[derive(Debug, Clone)]
pub struct Closer(Lost);

impl Closer {
    pub(crate) fn of(lost: &Lost) -> Closer {
        Closer(lost.clone())
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.0.set("it was closed from this side");
    }
}
