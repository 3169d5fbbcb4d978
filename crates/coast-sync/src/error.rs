//! The reasons why a run did not come to its end, with rsync's exit codes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coast_engine::EngineError;
use coast_ssh::SshError;
use coast_tree::BadPath;
use coast_wire::FailureKind;

/// Why a run did not come to its end. Problems of single entries are events and counts instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of a variant explains its fields")]
pub enum SyncError {
    /// Connecting, logging in or starting the helper failed.
    #[error(transparent)]
    Ssh(Box<SshError>),
    /// The receiver of a local destination could not be started.
    #[error("cannot start the receiver {}: {error}", program.display())]
    Start { program: PathBuf, error: io::Error },
    /// The program that was started as receiver of a local destination did not greet.
    #[error(
        "starting the receiver {}: it did not answer as a helper of this version; use the helper of the same release as this \
         program{}",
        program.display(),
        said(stderr)
    )]
    NoReceiver { program: PathBuf, stderr: String },
    /// The receiver ended before the run did. Its standard error may say why.
    #[error("the receiver ended too early ({status}){}", said(stderr))]
    ReceiverDied { status: String, stderr: String },
    /// A path given to [`SyncRequest::only`](crate::SyncRequest::only) is not a relative path.
    #[error("{}: a path that restricts a run must be relative to the source: {error}", path.escape_ascii())]
    OnlyPath { path: Vec<u8>, error: BadPath },
    /// A path given to [`RestoreRequest::new`](crate::RestoreRequest::new) is not a path of the workspace.
    #[error(
        "{}: a path to restore must be relative to the workspace, without \"..\": {error}; `.` is the whole workspace",
        path.escape_ascii()
    )]
    RestorePath { path: Vec<u8>, error: BadPath },
    /// A run that is restricted to some paths has rules that include. The first match decides, so such rules would let through
    /// entries outside of the paths.
    #[error("a run that is restricted to some paths takes only rules that exclude or protect")]
    OnlyRules,
    /// The transfer itself failed.
    #[error(transparent)]
    Engine(EngineError),
    /// The connection was lost during the transfer.
    #[error("{connection} ({engine})")]
    ConnectionLost { connection: Box<SshError>, engine: EngineError },
    /// No data moved for the time that the request allows.
    #[error("no data moved for {} s, so the run was given up", .0.as_secs_f64())]
    Timeout(Duration),
    /// The run was cancelled.
    #[error("interrupted")]
    Interrupted,
}

impl SyncError {
    /// Whether another run works on the workspace. The user can wait for it or end it.
    pub fn is_busy(&self) -> bool {
        self.failure_kind() == Some(FailureKind::Busy)
    }

    /// Whether removing the directory, or using it as a workspace, was refused. The message says why.
    pub fn is_refused(&self) -> bool {
        self.failure_kind() == Some(FailureKind::Refused)
    }

    /// Whether the run was refused because it would have deleted most of what runs have put there; see
    /// [`Delete::no_mass_deletion`](crate::Delete::no_mass_deletion).
    pub fn is_mass_deletion(&self) -> bool {
        self.failure_kind() == Some(FailureKind::MassDeletion)
    }

    /// Whether the helper had to run as root, and sudo refused.
    pub fn is_not_root(&self) -> bool {
        matches!(self, Self::Ssh(error) if matches!(**error, SshError::Sudo { .. }))
    }

    /// The file of an encrypted key that lacked its passphrase, if the login failed and this key may have passed.
    pub fn missing_passphrase(&self) -> Option<&Path> {
        match self {
            Self::Ssh(error) => error.missing_passphrase(),
            _ => None,
        }
    }

    /// The kind of the receiver's failure.
    fn failure_kind(&self) -> Option<FailureKind> {
        match self {
            Self::Engine(error) => Some(error.failure_kind()),
            _ => None,
        }
    }

    /// rsync's exit code for the error.
    ///
    /// | code | cause |
    /// |---|---|
    /// | 1 | a rule, path, option or configuration line was not understood |
    /// | 2 | the two sides do not understand each other |
    /// | 3 | source or destination cannot be used |
    /// | 10 | no connection: no address, no route, refused, timed out |
    /// | 11 | reading or writing files failed as a whole, or no space is left |
    /// | 12 | the connection or the helper broke |
    /// | 20 | cancelled |
    /// | 25 | most entries would have been deleted |
    /// | 30 | no data moved for the allowed time |
    /// | 255 | SSH failed: host key, no acceptable key, sudo |
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ssh(error) => ssh_exit_code(error),
            Self::OnlyPath { .. } | Self::OnlyRules | Self::RestorePath { .. } => 1,
            Self::NoReceiver { .. } => 2,
            Self::Start { .. } | Self::ReceiverDied { .. } | Self::ConnectionLost { .. } => 12,
            Self::Engine(error) => error.exit_code(),
            Self::Timeout(_) => 30,
            Self::Interrupted => 20,
        }
    }
}

impl From<SshError> for SyncError {
    fn from(error: SshError) -> Self {
        Self::Ssh(Box::new(error))
    }
}

impl From<EngineError> for SyncError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Interrupted => Self::Interrupted,
            other => Self::Engine(other),
        }
    }
}

fn ssh_exit_code(error: &SshError) -> u8 {
    match error {
        SshError::Config { .. } | SshError::Option { .. } => 1,
        SshError::HelperVersion { .. } | SshError::HelperGarbage { .. } => 2,
        SshError::Resolve { .. }
        | SshError::NoRoute { .. }
        | SshError::Refused { .. }
        | SshError::TimedOut { .. }
        | SshError::Tcp { .. } => 10,
        SshError::HelperSource { .. }
        | SshError::NoHelperFor { .. }
        | SshError::Deploy { .. }
        | SshError::HelperPath { .. }
        | SshError::HelperFailed { .. }
        | SshError::ConnectionLost { .. } => 12,
        SshError::HelperSilent { .. } => 30,
        SshError::Jump { source, .. } => ssh_exit_code(source),
        // Host key, keys, sudo, and every other failure before the command runs.
        _ => 255,
    }
}

fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}
