//! What was wrong with a directory that the helper was to be put into.

use std::fmt;

/// A directory that the helper could not be put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployAttempt {
    /// The directory; relative to the user's home if it is not absolute.
    pub directory: String,
    /// What was wrong with it.
    pub failure: DeployFailure,
}

impl fmt::Display for DeployAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.directory, self.failure)
    }
}

/// What can be wrong with a directory for the helper.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeployFailure {
    /// Its file system is full, or the user's share of it.
    NoSpace,
    /// Its file system does not allow programs to be started from it.
    NoExec,
    /// Its file system is read-only.
    ReadOnly,
    /// The user may not write there.
    NotWritable(String),
    /// It is not the user's alone.
    Unsafe(String),
    /// Something else, in the words of the remote.
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
            DeployFailure::Other(said) if said.is_empty() => f.write_str("it did not work"),
            DeployFailure::Other(said) => f.write_str(said),
        }
    }
}
