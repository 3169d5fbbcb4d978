//! The reasons why the helper cannot be stored in a directory of the host.

use std::fmt;

/// A directory that could not take the helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployAttempt {
    /// The directory: absolute, or relative to the user's home directory.
    pub directory: String,
    /// The reason why it could not.
    pub failure: DeployFailure,
}

impl fmt::Display for DeployAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.directory, self.failure)
    }
}

/// The reason why a directory cannot take the helper.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeployFailure {
    /// The file system is full, or the user's quota used up.
    NoSpace,
    /// The file system is mounted so that no program can be started from it.
    NoExec,
    /// The file system is read-only.
    ReadOnly,
    /// The user may not write to the directory. Holds the host's message.
    NotWritable(String),
    /// Other users may write to the directory, or own it. Holds the details.
    Unsafe(String),
    /// Any other message of the host's.
    Other(String),
}

impl fmt::Display for DeployFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeployFailure::NoSpace => f.write_str("no space left"),
            DeployFailure::NoExec => f.write_str("programs cannot be started from it (noexec)"),
            DeployFailure::ReadOnly => f.write_str("read-only file system"),
            DeployFailure::NotWritable(said) => write!(f, "not writable: {said}"),
            DeployFailure::Unsafe(why) => write!(f, "not safe: {why}"),
            DeployFailure::Other(said) if said.is_empty() => f.write_str("failed without a message"),
            DeployFailure::Other(said) => f.write_str(said),
        }
    }
}
