//! Ending a wait for Docker from another thread.

use std::sync::Arc;
use tokio::sync::watch;

/// Ends calls that wait for Docker. Cheap to clone, and safe to use from a thread that handles signals.
#[derive(Debug, Clone)]
pub struct Interrupt {
    interrupted: Arc<watch::Sender<bool>>,
}

impl Interrupt {
    /// An interrupt that has not been used.
    pub fn new() -> Interrupt {
        Interrupt { interrupted: Arc::new(watch::Sender::new(false)) }
    }

    /// Ends every call under way, and every later call.
    pub fn interrupt(&self) {
        self.interrupted.send_replace(true);
    }

    /// Returns after [`Interrupt::interrupt`] was called.
    pub(crate) async fn wait(&self) {
        let mut receiver = self.interrupted.subscribe();
        // An error would mean that the sender is gone, and `self` holds it.
        let _ = receiver.wait_for(|interrupted| *interrupted).await;
    }
}

impl Default for Interrupt {
    fn default() -> Interrupt {
        Interrupt::new()
    }
}
