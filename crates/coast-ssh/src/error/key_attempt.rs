//! What became of a key that was to let us in.

use std::fmt;
use std::path::PathBuf;

/// A key that was considered, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttempt {
    /// Where the key comes from.
    pub source: KeySource,
    /// Algorithm and fingerprint, as far as they are known.
    pub key: Option<String>,
    /// What became of it.
    pub outcome: KeyOutcome,
}

impl KeyAttempt {
    /// Whether the server had a say in what became of it.
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

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A private key file.
    File(PathBuf),
    /// The agent, under this comment.
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

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOutcome {
    /// The server does not accept it.
    Refused,
    /// The server accepts it and wants another proof besides.
    NotEnough(Vec<String>),
    /// There is no such file.
    Missing,
    /// The file cannot be read.
    Unreadable(String),
    /// The file is no private key that is understood here.
    Malformed(String),
    /// It is encrypted, and there was no passphrase.
    NoPassphrase,
    /// It is encrypted, and the passphrases given were wrong.
    WrongPassphrase,
    /// It could not sign, or its agent would not.
    CannotSign(String),
    /// The server takes this kind of key only with a signature that is no longer safe.
    UnsafeSignature,
    /// The server ended the connection before it was tried.
    NotTried,
}

impl fmt::Display for KeyOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyOutcome::Refused => f.write_str("not accepted by the server"),
            KeyOutcome::NotEnough(methods) => {
                write!(f, "accepted, but the server wants {} besides", methods.join(" or "))
            }
            KeyOutcome::Missing => f.write_str("no such file"),
            KeyOutcome::Unreadable(error) => f.write_str(error),
            KeyOutcome::Malformed(error) => write!(f, "not a usable private key: {error}"),
            KeyOutcome::NoPassphrase => f.write_str("encrypted, and there is no passphrase"),
            KeyOutcome::WrongPassphrase => f.write_str("encrypted, and the passphrase is wrong"),
            KeyOutcome::CannotSign(error) => write!(f, "cannot sign: {error}"),
            KeyOutcome::UnsafeSignature => f.write_str("the server takes it only with a SHA-1 signature"),
            KeyOutcome::NotTried => f.write_str("not tried, the server ended the connection"),
        }
    }
}
