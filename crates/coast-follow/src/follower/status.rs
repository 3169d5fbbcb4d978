//! What a follower tells of itself.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use coast_sync::{Conflict, RelPath};

use crate::identity::LostRoot;
use crate::watcher::WatchStatus;

/// The state of a follower at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FollowerStatus {
    /// What it does.
    pub state: FollowerState,
    /// How the worktree is watched, and how many paths wait to be sent.
    pub watch: WatchStatus,
    /// How many large files wait for their turn or are under way, besides the paths that [`WatchStatus`] counts.
    pub waiting_files: usize,
    /// The run under way.
    pub under_way: Option<UnderWay>,
    /// The last batch that changed something at the destination.
    pub last_batch: Option<LastBatch>,
    /// The size of the worktree when it was compared as a whole for the last time.
    pub size: Option<TreeSize>,
    /// The paths that could not be brought up to date, at most [`MAX_LISTED`]. They are tried again.
    pub problems: Vec<Problem>,
    /// How many there are beyond those listed.
    pub more_problems: u64,
    /// The paths that are left as they are at the destination, because something there made or changed them. At most [`MAX_LISTED`].
    pub conflicts: Vec<Conflict>,
    /// How many there are beyond those listed.
    pub more_conflicts: u64,
    /// What the run under way has told last: that it waits for another run in the workspace.
    pub notice: Option<String>,
}

/// How many problems, and how many conflicts, are listed at most.
pub const MAX_LISTED: usize = 1000;

/// What a follower does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowerState {
    /// It notes changes, and waits until it is told to send them.
    Holding,
    /// It connects, or waits for the next attempt.
    Connecting(Connecting),
    /// A batch is under way.
    Sending,
    /// Everything that changed was sent. It waits for the next change.
    Watching,
    /// It notes changes and sends none, because it was told so.
    Paused,
    /// It has stopped: see the reason.
    Halted(Halt),
}

/// An attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connecting {
    /// Its number, from 1. After a connection was lost it begins with 1 again.
    pub attempt: u32,
    /// When it begins. `None` if it is under way.
    pub begins: Option<Instant>,
    /// The reason why the connection was lost, or why the attempt before failed.
    pub error: Option<String>,
    /// The key file that lacked its passphrase in the attempt before.
    pub missing_passphrase: Option<PathBuf>,
}

/// Why a follower has stopped. It changes nothing at the destination any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Halt {
    /// The worktree is not where it was.
    #[error(transparent)]
    Root(#[from] LostRoot),
    /// Most of what was put there would have been deleted.
    #[error("{0}; changes are sent again when the worktree has its files again")]
    MassDeletion(String),
    /// The workspace at the destination was removed or replaced, or is not taken for one.
    #[error("{0}")]
    Workspace(String),
    /// The follower was stopped.
    #[error("edits are no longer followed")]
    Stopped,
    /// The follower was paused.
    #[error("following is paused; go on with: coast start")]
    Paused,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// The entries that the run has found so far.
    pub entries: u64,
    /// Those of them that are right at the destination, or that could not be brought there.
    pub settled_entries: u64,
    /// The size of the files among the entries, in bytes.
    pub bytes: u64,
    /// The size of those that are settled.
    pub settled_bytes: u64,
}

/// A batch that changed something at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastBatch {
    /// Files whose content was sent or taken from another file there.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// The time from the first of these edits until the destination had acknowledged them all.
    pub elapsed: Duration,
    /// When that was.
    pub at: SystemTime,
}

/// The size of a worktree, without what the rules exclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeSize {
    pub files: u64,
    pub directories: u64,
}

/// A path that could not be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Relative to the worktree. The root means the batch as a whole.
    pub path: RelPath,
    /// The side where the reason is.
    pub side: Side,
    /// What failed, and what the system answered.
    pub text: String,
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The worktree on this machine.
    Local,
    /// The destination.
    Remote,
}
