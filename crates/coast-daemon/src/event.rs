//! What the daemon tells those who listen to its events.

use serde::{Deserialize, Serialize};

/// Something that happened in the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the comment of each variant explains its fields")]
pub enum DaemonEvent {
    /// The first event: these events come from the daemon with this process id.
    Listening { pid: u32 },
    /// Whoever listens was too slow, and this number of events is lost.
    Missed { events: u64 },
    /// The daemon ends, and this is its last event.
    Stopping,
}
