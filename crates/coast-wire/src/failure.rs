//! Why a side gives up.

use serde::{Deserialize, Serialize};

/// Why a side gave up, as far as the other side's exit code depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// A message that the protocol does not allow.
    Protocol,
    /// The destination cannot be used.
    Destination,
    /// Reading or writing files failed as a whole: no space, read-only.
    FileIo,
    /// The run was interrupted.
    Interrupted,
    /// A rule or option was not understood.
    Usage,
    /// The stream broke or ended too early.
    Stream,
    /// Another run works on the same workspace.
    Busy,
    /// It was asked to remove what it never removes.
    Refused,
    /// It would have deleted too much; see [`Delete::no_mass_deletion`](crate::Delete::no_mass_deletion).
    MassDeletion,
    /// The workspace that the runs of a stream are for was removed, or another one is in its place.
    Removed,
}
