//! The keys that a user logs in with: private key files and the keys of the agent.

use crate::error::{KeyOutcome, KeySource};
use russh::keys::{PrivateKey, PublicKey, decode_secret_key};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The most bytes a key file may hold.
const MAX_KEY_BYTES: u64 = 1 << 20;

/// The key that logged in, by the place of its private part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum IdentityUsed {
    /// In this file, even where the agent made the signature.
    File {
        /// The private key file.
        path: PathBuf,
        /// Whether reading it takes a passphrase.
        encrypted: bool,
    },
    /// In the agent, and in none of the files that the configuration or the caller names.
    Agent {
        /// The agent's comment for the key: often an address or the file it came from; may be empty.
        comment: String,
    },
}

impl fmt::Display for IdentityUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityUsed::File { path, encrypted: false } => write!(f, "{}", path.display()),
            IdentityUsed::File { path, encrypted: true } => write!(f, "{} (encrypted)", path.display()),
            IdentityUsed::Agent { comment } => KeySource::Agent(comment.clone()).fmt(f),
        }
    }
}

/// A private key file as far as it can be read without a passphrase.
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
    /// `None` if the file is encrypted in an old format and there is no `.pub` file beside it.
    pub(crate) public: Option<PublicKey>,
    pub(crate) secret: Secret,
}

/// The private part of a key file.
pub(crate) enum Secret {
    Open(Box<PrivateKey>),
    /// The file's text, to be decrypted.
    Locked(Zeroizing<String>),
    /// The file has only the public key. The agent may have the private one.
    Elsewhere,
}

impl KeyFile {
    /// Reads the key at `path`. The file may also be a public key whose private part the agent holds.
    ///
    /// # Errors
    /// `Missing`, `Unreadable` or `Malformed`.
    pub(crate) fn read(path: &Path) -> Result<KeyFile, KeyOutcome> {
        let beside = || {
            let mut name = path.as_os_str().to_owned();
            name.push(".pub");
            read_text(Path::new(&name)).ok().and_then(|text| PublicKey::from_openssh(text.trim()).ok())
        };
        let file = |public, secret| Ok(KeyFile { path: path.to_owned(), public, secret });
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return beside()
                    .map_or(Err(KeyOutcome::Missing), |public| file(Some(public), Secret::Elsewhere));
            }
            Err(error) => return Err(KeyOutcome::Unreadable(error.to_string())),
        };
        if let Ok(public) = PublicKey::from_openssh(text.trim()) {
            return file(Some(public), Secret::Elsewhere);
        }
        if let Ok(key) = PrivateKey::from_openssh(text.as_bytes()) {
            let public = Some(key.public_key().clone());
            let secret = if key.is_encrypted() { Secret::Locked(text) } else { Secret::Open(Box::new(key)) };
            return file(public, secret);
        }
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return file(beside(), Secret::Locked(text));
        }
        match decode_secret_key(&text, None) {
            Ok(key) => file(Some(key.public_key().clone()), Secret::Open(Box::new(key))),
            Err(error) => Err(KeyOutcome::Malformed(error.to_string())),
        }
    }

    /// The identity to report when this key logs in. `None` where the private part is not in this file.
    pub(crate) fn identity(&self) -> Option<IdentityUsed> {
        let encrypted = match self.secret {
            Secret::Open(_) => false,
            Secret::Locked(_) => true,
            Secret::Elsewhere => return None,
        };
        Some(IdentityUsed::File { path: self.path.clone(), encrypted })
    }

    /// Whether the file holds a private key and users other than its owner may access it.
    pub(crate) fn is_exposed(&self) -> bool {
        let exposed = |metadata: std::fs::Metadata| metadata.permissions().mode() & 0o077 != 0;
        !matches!(self.secret, Secret::Elsewhere) && std::fs::metadata(&self.path).is_ok_and(exposed)
    }
}

/// Decrypts the text of a private key file. Returns `None` when the passphrase is wrong.
pub(crate) fn unlock(text: &str, passphrase: &str) -> Option<PrivateKey> {
    decode_secret_key(text, Some(passphrase)).ok().filter(|key| !key.is_encrypted())
}

fn read_text(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path)?.take(MAX_KEY_BYTES).read_to_string(&mut text)?;
    if read as u64 == MAX_KEY_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too large for a key"));
    }
    Ok(text)
}
