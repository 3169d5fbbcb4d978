//! Why a run ended before it was done.

use std::io;
use std::path::{Path, PathBuf};

use coast_filter::FilterError;
use coast_tree::RelPath;
use coast_tree::state::StateError;
use coast_wire::{FailureKind, WireError};

/// Why a run ended before it was done. What happens to single entries is told as events instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The source cannot be used.
    #[error("cannot read the source {}: {error}", path.display())]
    Source { path: PathBuf, error: io::Error },
    /// The destination cannot be used.
    #[error("cannot use the destination {}: {doing}: {error}", path.display())]
    Destination { path: PathBuf, doing: &'static str, error: io::Error },
    /// Another run works on the workspace.
    #[error("another run works on {}; let it end, or end it, and try again", path.display())]
    Busy { path: PathBuf },
    /// This is never removed.
    #[error("{} is not removed: {reason}", path.display())]
    Refused { path: PathBuf, reason: String },
    /// Most of what runs have put there would be deleted.
    #[error(
        "{going} of the {placed} entries that were put there would be deleted, such as {}, and the source has only {offered}; {updates}, \
         and this run has deleted nothing",
        first.iter().map(|path| path.escape_ascii().to_string()).collect::<Vec<_>>().join(", ")
    )]
    MassDeletion {
        /// How many entries would be deleted.
        going: u64,
        /// How many entries that earlier runs put there are there.
        placed: u64,
        /// How many entries the source has.
        offered: u64,
        /// The paths of the first files that would be deleted.
        first: Vec<Vec<u8>>,
        updates: Updates,
    },
    /// This is no workspace, and what is in it would be lost.
    #[error("{} is not taken for a workspace: {reason}", path.display())]
    NoWorkspace {
        path: PathBuf,
        /// Says why not, and what the user can do.
        reason: String,
    },
    /// Writing at the destination failed in a way that would fail for every file.
    #[error("writing at the destination failed: {doing}: {error}")]
    FileIo { doing: String, error: io::Error },
    /// The workspace is no longer the one that was opened.
    #[error("the workspace {} was removed, or another one is in its place; start following anew", path.display())]
    Removed { path: PathBuf },
    /// An entry of the destination cannot be taken over.
    #[error("cannot fetch {path} from the destination: {reason}")]
    Fetch { path: RelPath, reason: String },
    /// A filter rule cannot be used.
    #[error("{0}")]
    Rule(String),
    /// A file of filter rules cannot be read.
    #[error("{0}")]
    RuleFile(String),
    /// The entries are to be given to a user or group that the destination's system does not know.
    #[error(
        "cannot give the destination to the {what} {name}: there is none of that name there; name one that exists, or its number"
    )]
    UnknownOwner {
        what: &'static str,
        /// The name as given, escaped.
        name: String,
    },
    /// The stream failed or holds what it must not.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The other side broke the protocol.
    #[error("the other side broke the protocol: {0}")]
    Protocol(&'static str),
    /// The stream ended before the run did.
    #[error("the connection ended before the transfer was done")]
    Disconnected,
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The other side gave up and said why.
    #[error("the receiving side gave up: {text}")]
    Remote { kind: FailureKind, text: String },
}

/// What became of the entries that the source has, in a run that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updates {
    /// They are in place.
    InPlace,
    /// New ones are in place. Those that were to replace others at the end of the run are dropped.
    Dropped,
}

impl std::fmt::Display for Updates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InPlace => "what the source has was transferred",
            Self::Dropped => "new entries were transferred, no existing file was replaced",
        })
    }
}

/// Says which source could not be read.
pub(crate) trait SourceContext<T> {
    fn reading(self, source: &Path) -> Result<T, EngineError>;
}

impl<T> SourceContext<T> for io::Result<T> {
    fn reading(self, source: &Path) -> Result<T, EngineError> {
        self.map_err(|error| EngineError::Source { path: source.to_owned(), error })
    }
}

impl EngineError {
    /// The exit code that rsync's users know.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Source { .. } => 3,
            Self::Destination { .. }
            | Self::Busy { .. }
            | Self::Refused { .. }
            | Self::NoWorkspace { .. } => 3,
            Self::Remote {
                kind: FailureKind::Destination | FailureKind::Busy | FailureKind::Refused,
                ..
            } => 3,
            Self::MassDeletion { .. } | Self::Remote { kind: FailureKind::MassDeletion, .. } => 25,
            Self::FileIo { .. }
            | Self::Fetch { .. }
            | Self::Removed { .. }
            | Self::RuleFile(_)
            | Self::Remote { kind: FailureKind::FileIo | FailureKind::Removed, .. } => 11,
            Self::Rule(_) | Self::UnknownOwner { .. } | Self::Remote { kind: FailureKind::Usage, .. } => 1,
            Self::Wire(WireError::Io(_) | WireError::Truncated)
            | Self::Disconnected
            | Self::Remote { kind: FailureKind::Stream, .. } => 12,
            Self::Wire(_) | Self::Protocol(_) | Self::Remote { kind: FailureKind::Protocol, .. } => 2,
            Self::Interrupted | Self::Remote { kind: FailureKind::Interrupted, .. } => 20,
        }
    }

    /// How the other side is told.
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            Self::Rule(_) | Self::UnknownOwner { .. } => FailureKind::Usage,
            Self::Source { .. } | Self::Destination { .. } => FailureKind::Destination,
            Self::Busy { .. } => FailureKind::Busy,
            Self::Refused { .. } | Self::NoWorkspace { .. } => FailureKind::Refused,
            Self::MassDeletion { .. } => FailureKind::MassDeletion,
            Self::FileIo { .. } | Self::Fetch { .. } | Self::RuleFile(_) => FailureKind::FileIo,
            Self::Removed { .. } => FailureKind::Removed,
            Self::Wire(WireError::Io(_) | WireError::Truncated) | Self::Disconnected => FailureKind::Stream,
            Self::Wire(_) | Self::Protocol(_) => FailureKind::Protocol,
            Self::Interrupted => FailureKind::Interrupted,
            Self::Remote { kind, .. } => *kind,
        }
    }
}

impl From<FilterError> for EngineError {
    fn from(error: FilterError) -> Self {
        match error {
            FilterError::Read { .. } => Self::RuleFile(error.to_string()),
            error => Self::Rule(error.to_string()),
        }
    }
}

/// Adds to a refusal by the system for which user that was, and what to do.
pub(crate) fn naming_user(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error;
    }
    let uid = rustix::process::geteuid().as_raw();
    let users = coast_tree::users();
    let name = users.iter().find(|user| user.uid == uid).map(|user| user.name.escape_ascii().to_string());
    let user = name.map_or_else(|| format!("user {uid}"), |name| format!("user {name} ({uid})"));
    let text = format!("{error} (as {user}); let that user write there, or run coast as another user");
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

impl From<StateError> for EngineError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Unusable { path, doing, error } => {
                Self::Destination { path, doing, error: naming_user(error) }
            }
            StateError::Stopped => Self::Interrupted,
        }
    }
}
