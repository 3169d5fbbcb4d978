//! What ends a wait for Docker from outside.

use std::sync::Arc;
use tokio::sync::watch;

/// Ends what is under way: cheap to clone, safe to use from a signal-handling thread.
#[derive(Debug, Clone)]
pub struct Interrupt {
    interrupted: Arc<watch::Sender<bool>>,
}

impl Interrupt {
    /// One that has not been used yet.
    pub fn new() -> Interrupt {
        Interrupt { interrupted: Arc::new(watch::Sender::new(false)) }
    }

    /// Ends every call that is under way and each that is made later.
    pub fn interrupt(&self) {
        self.interrupted.send_replace(true);
    }

    /// Whether [`Interrupt::interrupt`] was called.
    pub fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }

    /// Waits for the interruption.
    pub(crate) async fn wait(&self) {
        let mut receiver = self.interrupted.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = receiver.wait_for(|interrupted| *interrupted).await;
    }
}

impl Default for Interrupt {
    fn default() -> Interrupt {
        Interrupt::new()
    }
}
