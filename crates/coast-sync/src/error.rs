//! Why a run did not come to its end, with the exit code that rsync's users know.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use coast_engine::EngineError;
use coast_ssh::SshError;
use coast_tree::BadPath;
use coast_wire::FailureKind;

/// Why a run did not come to its end. What happens to single entries is told as events and counted instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// Connecting, logging in or starting the helper failed.
    #[error(transparent)]
    Ssh(Box<SshError>),
    /// The receiver of a local destination could not be started.
    #[error("cannot start the receiver {}: {error}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// What was started as receiver of a local destination is none.
    #[error(
        "starting the receiver {}: it did not greet as one of this version; it must come from the same release as this \
         program{}",
        program.display(),
        said(stderr)
    )]
    NoReceiver {
        /// The program.
        program: PathBuf,
        /// What it said on its standard error.
        stderr: String,
    },
    /// The receiver ended before the run did and said why only on its standard error, or not at all.
    #[error("the receiver ended too early ({status}){}", said(stderr))]
    ReceiverDied {
        /// How it ended.
        status: String,
        /// What it said on its standard error.
        stderr: String,
    },
    /// A path that a run is restricted to is none of the source's.
    #[error("{}: a path to be sent alone must be relative to the source: {error}", path.escape_ascii())]
    OnlyPath {
        /// The path as given.
        path: Vec<u8>,
        /// What is wrong with it.
        error: BadPath,
    },
    /// A run that is restricted to some paths has rules that include something: the first match decides, so they would
    /// let through what the restriction shall hold back.
    #[error("a run that is restricted to some paths takes only rules that exclude or protect")]
    OnlyRules,
    /// The transfer itself failed.
    #[error(transparent)]
    Engine(EngineError),
    /// The connection was lost in the middle of the transfer.
    #[error("{connection} ({engine})")]
    ConnectionLost {
        /// What the connection says.
        connection: Box<SshError>,
        /// What the transfer noticed of it.
        engine: EngineError,
    },
    /// Nothing moved for as long as the request allows.
    #[error("nothing moved for {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The run was cancelled.
    #[error("interrupted")]
    Interrupted,
}

impl SyncError {
    /// Whether another run works on the workspace: it is for the user to let it end, or to end it.
    pub fn is_busy(&self) -> bool {
        self.failure_kind() == Some(FailureKind::Busy)
    }

    /// Whether the other machine refuses to remove this, or to take it for a workspace; the message says why.
    pub fn is_refused(&self) -> bool {
        self.failure_kind() == Some(FailureKind::Refused)
    }

    /// How the other machine called it, if it did.
    fn failure_kind(&self) -> Option<FailureKind> {
        match self {
            Self::Engine(EngineError::Remote { kind, .. }) => Some(*kind),
            _ => None,
        }
    }

    /// The exit code that rsync's users know.
    ///
    /// | code | cause |
    /// |---|---|
    /// | 1 | a rule, path, option or configuration line was not understood |
    /// | 2 | the two sides do not understand each other |
    /// | 3 | source or destination cannot be used |
    /// | 10 | no connection: no address, no route, refused, timed out |
    /// | 11 | reading or writing files failed as a whole |
    /// | 12 | the connection or the helper broke |
    /// | 20 | cancelled |
    /// | 30 | nothing moved for as long as allowed |
    /// | 255 | SSH failed: host key, no acceptable key, sudo |
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ssh(error) => ssh_exit_code(error),
            Self::OnlyPath { .. } | Self::OnlyRules => 1,
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
        // Host key, keys, sudo, and whatever else comes up between here and a running command.
        _ => 255,
    }
}

fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}
