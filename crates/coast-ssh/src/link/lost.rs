//! The loss of a connection, with its reason, announced to all tasks and threads that use the connection.

use crate::error::SshError;
use std::sync::Arc;
use tokio::sync::watch;

/// Records that a connection is lost, and why. The first reason stays. Clones share one record.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    host: Arc<str>,
    reason: watch::Sender<Option<Arc<str>>>,
}

impl Lost {
    pub(crate) fn new(host: &str) -> Lost {
        Lost { host: host.into(), reason: watch::Sender::new(None) }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn set(&self, reason: &str) {
        self.reason.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason.into());
            }
            first
        });
    }

    pub(crate) fn reason(&self) -> Option<Arc<str>> {
        self.reason.borrow().clone()
    }

    pub(crate) fn error(&self) -> SshError {
        let reason = self.reason().unwrap_or_else(|| "it was closed".into());
        SshError::ConnectionLost { host: self.host.to_string(), reason: reason.to_string() }
    }

    /// Completes when the connection is lost.
    pub(crate) async fn wait(&self) {
        // Waiting fails only when the sender is gone, and `self` holds the sender.
        let _ = self.reason.subscribe().wait_for(Option::is_some).await;
    }
}
