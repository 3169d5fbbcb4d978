//! The state of the daemon, as it is asked for over the socket.

use coast_instance::StoredPath;
use serde::{Deserialize, Serialize};

/// The version of the API. A program and a daemon with different numbers do not understand each other.
pub const PROTOCOL: u32 = 1;

/// The state of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DaemonStatus {
    /// The process id.
    pub pid: u32,
    /// The version of the program.
    pub version: String,
    /// The version of the API, [`PROTOCOL`].
    pub protocol: u32,
    /// When the daemon started, in seconds since the epoch.
    pub started: u64,
    /// How long the daemon runs, in seconds.
    pub uptime_seconds: u64,
    /// The memory in use, in bytes; absent where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_bytes: Option<u64>,
    /// The most memory that was in use at any time, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_memory_bytes: Option<u64>,
    /// The socket that the daemon listens on.
    pub socket: StoredPath,
}
