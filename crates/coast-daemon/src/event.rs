//! What the daemon tells those who listen to its events.

use coast_instance::{ContinuousStatus, InstanceId};
use serde::{Deserialize, Serialize};

/// Something that happened in the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the comment of each variant explains its fields")]
pub enum DaemonEvent {
    /// The first event: these events come from the daemon with this process id.
    Listening { pid: u32 },
    /// Whoever listens was too slow, and this number of events is lost.
    Missed { events: u64 },
    /// The follower of this instance, or the next attempt to restore it, has this state now. Changes that follow each other quickly are
    /// told once.
    Instance {
        #[serde(flatten)]
        id: InstanceId,
        continuous: Box<ContinuousStatus>,
    },
    /// A command has changed the records.
    Records,
    /// The daemon ends, and this is its last event.
    Stopping,
    /// An event that only newer versions know.
    #[serde(other)]
    Unknown,
}
