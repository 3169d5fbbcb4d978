//! The state of the daemon, as it is asked for over the socket.

use coast_instance::{ContinuousStatus, InstanceId, Layer, Retry, StoredPath};
use serde::{Deserialize, Serialize};

use crate::ProgramFile;
use crate::release::{Release, Standing};

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
    /// The file of the program when the daemon started; absent where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub program: Option<ProgramFile>,
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
    /// The remotes that the daemon has a connection to, or wanted one to.
    pub remotes: Vec<RemoteStatus>,
    /// The instances that should follow their worktrees.
    #[serde(default)]
    pub instances: Vec<InstanceSummary>,
}

impl DaemonStatus {
    /// Whether this program would take the place of the daemon.
    pub fn is_outdated(&self) -> bool {
        let release =
            Release { version: self.version.clone(), protocol: self.protocol, program: self.program.clone() };
        Release::of_this_process().judge(&release) == Standing::Older
    }
}

/// A remote, and the daemon's connection to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RemoteStatus {
    /// The host's name, with its port if that is not 22.
    pub host: String,
    /// The user who logs in.
    pub user: String,
    /// The connection.
    #[serde(flatten)]
    pub state: RemoteState,
}

/// The state of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the comment of each variant explains its fields")]
pub enum RemoteState {
    /// It is open. `users` is the number of commands on it; `idle_seconds` is how long there has been none.
    Connected { users: usize, idle_seconds: u64 },
    /// It is being made.
    Connecting,
    /// It could not be made without asking anybody.
    Failed { problem: String, seconds_ago: u64 },
}

/// An instance that should follow its worktree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceSummary {
    /// Its name and that of its project.
    #[serde(flatten)]
    pub id: InstanceId,
    /// The layer that carries its edits.
    pub layer: Layer,
    /// The state of its follower. Absent for the mutagen layer, which Docker has to be asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub continuous: Option<ContinuousStatus>,
    /// The next attempt to mend it, if it does not follow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mending: Option<Retry>,
}
