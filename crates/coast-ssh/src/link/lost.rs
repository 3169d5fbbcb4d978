//! The loss of a connection, with its reason, announced to all tasks and threads that use the connection.

use crate::error::SshError;
use std::sync::Arc;
use tokio::sync::watch;

/// Records that a connection is lost, and why. The first reason stays. Clones share one record.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    host: Arc<str>,
    reason: watch::Sender<Option<Arc<str>>>,
    /// The record of the whole connection, if this one is that of one of its users.
    whole: Option<Arc<Lost>>,
}

impl Lost {
    pub(crate) fn new(host: &str) -> Lost {
        Lost { host: host.into(), reason: watch::Sender::new(None), whole: None }
    }

    /// The record of one user of the connection, who has lost it also when it is closed to that user alone.
    pub(crate) fn of_one_user(&self) -> Lost {
        Lost { whole: Some(Arc::new(self.clone())), ..Lost::new(&self.host) }
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
        let own = self.reason.borrow().clone();
        own.or_else(|| self.whole.as_ref()?.reason.borrow().clone())
    }

    pub(crate) fn error(&self) -> SshError {
        let reason = self.reason().unwrap_or_else(|| "it was closed".into());
        SshError::ConnectionLost { host: self.host.to_string(), reason: reason.to_string() }
    }

    /// Completes when the connection is lost.
    pub(crate) async fn wait(&self) {
        // Waiting fails only when the sender is gone, and `self` holds the senders.
        let mut own = self.reason.subscribe();
        match &self.whole {
            None => {
                let _ = own.wait_for(Option::is_some).await;
            }
            Some(whole) => {
                let mut whole = whole.reason.subscribe();
                tokio::select! {
                    _ = own.wait_for(Option::is_some) => {}
                    _ = whole.wait_for(Option::is_some) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_user_loses_the_connection_with_all_and_alone() {
        let whole = Lost::new("host");
        let (one, other) = (whole.of_one_user(), whole.of_one_user());
        one.set("one");
        one.wait().await;
        assert_eq!((one.reason().as_deref(), other.reason(), whole.reason()), (Some("one"), None, None));
        whole.set("all");
        other.wait().await;
        assert_eq!((one.reason().as_deref(), other.reason().as_deref()), (Some("one"), Some("all")));
    }
}
