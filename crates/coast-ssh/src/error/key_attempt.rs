//! The keys that were considered for a login that failed.

use std::fmt;
use std::path::PathBuf;

/// A key that was considered for a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttempt {
    /// The place that the key comes from.
    pub source: KeySource,
    /// Algorithm and fingerprint, or `None` where the public key could not be read.
    pub key: Option<String>,
    /// The reason why the key did not log in.
    pub outcome: KeyOutcome,
}

impl KeyAttempt {
    /// Whether the key could be offered to the server.
    pub fn was_offered(&self) -> bool {
        !matches!(
            self.outcome,
            KeyOutcome::Missing
                | KeyOutcome::Unreadable(_)
                | KeyOutcome::Malformed(_)
                | KeyOutcome::NoPassphrase
                | KeyOutcome::WrongPassphrase
        )
    }
}

impl fmt::Display for KeyAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{} ({key}): {}", self.source, self.outcome),
            None => write!(f, "{}: {}", self.source, self.outcome),
        }
    }
}

/// The place that a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A private key file, at this path.
    File(PathBuf),
    /// The agent. Holds the agent's comment for the key.
    Agent(String),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::File(path) => write!(f, "{}", path.display()),
            KeySource::Agent(comment) if comment.is_empty() => f.write_str("agent"),
            KeySource::Agent(comment) => write!(f, "agent key {comment}"),
        }
    }
}

/// The reason why a key did not log in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOutcome {
    /// The server does not accept the key.
    Refused,
    /// The server accepts the key and demands another method besides. Holds the methods it accepts.
    NotEnough(Vec<String>),
    /// The file does not exist.
    Missing,
    /// The file cannot be read. Holds the system's answer.
    Unreadable(String),
    /// The file is not a private key in a supported format. Holds the details.
    Malformed(String),
    /// The key is encrypted, and no passphrase was given.
    NoPassphrase,
    /// The key is encrypted, and all given passphrases were wrong.
    WrongPassphrase,
    /// Signing failed, or the agent refused to sign. Holds the details.
    CannotSign(String),
    /// The server accepts this RSA key only with SHA-1 signatures, which are broken.
    UnsafeSignature,
    /// The server closed the connection before the key was offered.
    NotTried,
}

impl fmt::Display for KeyOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyOutcome::Refused => f.write_str("not accepted by the server"),
            KeyOutcome::NotEnough(methods) => {
                write!(f, "accepted, but the server demands {} besides", methods.join(" or "))
            }
            KeyOutcome::Missing => f.write_str("no such file"),
            KeyOutcome::Unreadable(error) => f.write_str(error),
            KeyOutcome::Malformed(error) => write!(f, "not a usable private key: {error}"),
            KeyOutcome::NoPassphrase => f.write_str("encrypted, and no passphrase was given"),
            KeyOutcome::WrongPassphrase => f.write_str("encrypted, and the passphrase is wrong"),
            KeyOutcome::CannotSign(error) => write!(f, "cannot sign: {error}"),
            KeyOutcome::UnsafeSignature => f.write_str("the server accepts it only with a SHA-1 signature"),
            KeyOutcome::NotTried => f.write_str("not tried, because the server closed the connection"),
        }
    }
}
