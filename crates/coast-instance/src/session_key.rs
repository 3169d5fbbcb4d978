//! The session key of a remote: a key that is made only for the sessions of instances, so that no personal key is copied into a
//! container. The remote's account accepts it for commands only.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coast_sync::{
    AuthorizedKeys, Cancel, DedicatedKey, KeyRequest, Prompt, RemoteHelper, SshError, SyncError,
};

use crate::file_error::Doing;
use crate::remotes::{RemotesEditor, RemotesError};
use crate::{LifecycleError, Name, Places, Remote, durable};

/// The session key of a remote after a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKey {
    /// The private key file.
    pub file: PathBuf,
    /// The fingerprint, as `SHA256:...`.
    pub fingerprint: String,
}

/// The effect of removing a session key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRemoved {
    /// The remote does not accept the key any more, and its file is gone.
    Everywhere(PathBuf),
    /// The file is gone. The remote could not be asked, and may still accept the key.
    HereOnly(PathBuf, String),
    /// The remote had no session key.
    Nothing,
}

impl SessionKey {
    /// Reads the session key that is recorded with a remote.
    ///
    /// # Errors
    /// When the file cannot be read or holds no usable key.
    pub fn of(remote: &Remote) -> Result<Option<Self>, SyncError> {
        remote.session_key.as_deref().map(Self::read).transpose()
    }

    fn read(file: &Path) -> Result<Self, SyncError> {
        let key = DedicatedKey::read(file)?;
        Ok(Self { file: file.to_owned(), fingerprint: key.fingerprint() })
    }

    /// Makes a session key for a remote, lets it log in there, and records it. An existing key file is used and never overwritten, so
    /// that a killed command can be repeated. A key file that this call has made is removed again if the call fails before the key is
    /// recorded.
    ///
    /// # Errors
    /// When the remote does not exist or cannot be reached, does not accept the key, or a file cannot be written.
    pub fn create(
        places: &Places,
        name: &Name,
        helper: RemoteHelper,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<(Self, AuthorizedKeys), LifecycleError> {
        let mut editor = RemotesEditor::open(places)?;
        let mut remote = editor.remotes().get(name)?.clone();
        let file = remote.session_key.clone().unwrap_or_else(|| places.session_key(name));
        let made = make(&file, name)?;
        let request = KeyRequest::new(remote.destination(&remote.service_home, helper));
        let doing = || format!("letting the key {} log in at {name}", file.display());
        let recorded = || -> Result<_, LifecycleError> {
            let authorized =
                request.authorize(&file, prompt, cancel).map_err(|error| failed(doing(), error))?;
            let key = Self::read(&file).map_err(|error| failed(doing(), error))?;
            remote.session_key = Some(file.clone());
            editor.set(name.clone(), remote)?;
            Ok((key, authorized))
        };
        let recorded = recorded();
        if recorded.is_err() && made == KeyFile::Made {
            // If that fails, too, the first error matters more, and the next call uses the file.
            let _ = durable::remove(&file);
        }
        recorded
    }

    /// Takes the right to log in away from a remote's session key, and removes its record and its file. With `force` also where the
    /// remote cannot be reached.
    ///
    /// # Errors
    /// When the remote does not exist, cannot be reached, or a file cannot be written. Then nothing is removed here.
    pub fn remove(
        places: &Places,
        name: &Name,
        force: bool,
        helper: RemoteHelper,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<KeyRemoved, LifecycleError> {
        let mut editor = RemotesEditor::open(places)?;
        let mut remote = editor.remotes().get(name)?.clone();
        let Some(file) = remote.session_key.take() else { return Ok(KeyRemoved::Nothing) };
        let request = KeyRequest::new(remote.destination(&remote.service_home, helper));
        let left = match request.revoke(&file, prompt, cancel) {
            Ok(_) => None,
            Err(error) if force && !matches!(error, SyncError::Interrupted) => Some(error.to_string()),
            Err(error) => {
                let doing = format!(
                    "removing the key {} at {name} (--force removes it here all the same)",
                    file.display()
                );
                return Err(failed(doing, error));
            }
        };
        // The record goes first: a record without its file would stop every session.
        editor.set(name.clone(), remote)?;
        durable::remove(&file).doing("remove", &file).map_err(RemotesError::from)?;
        Ok(match left {
            None => KeyRemoved::Everywhere(file),
            Some(error) => KeyRemoved::HereOnly(file, error),
        })
    }
}

fn failed(doing: String, error: SyncError) -> LifecycleError {
    match error {
        SyncError::Interrupted => LifecycleError::Interrupted { at: None },
        error => LifecycleError::Bulk { doing, error, advice: String::new() },
    }
}

/// Where the file of a session key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyFile {
    /// It was made by this call.
    Made,
    /// It existed before.
    Found,
}

/// Makes the key file with mode 0600, unless it exists.
fn make(file: &Path, name: &Name) -> Result<KeyFile, LifecycleError> {
    if file.exists() {
        return Ok(KeyFile::Found);
    }
    let unmade = |error: SshError| failed(format!("making the key {}", file.display()), error.into());
    let key = DedicatedKey::generate(&format!("coast remote key {name}")).map_err(unmade)?;
    let text = key.private_text().map_err(unmade)?;
    let written = || -> io::Result<()> {
        let directory = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
        durable::make_directory(directory)?;
        let mut staged = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
        staged.write_all(text.as_bytes())?;
        staged.as_file().sync_all()?;
        staged.persist_noclobber(file).map_err(|error| error.error)?;
        fs::File::open(directory)?.sync_all()
    };
    written().doing("write", file).map_err(RemotesError::from)?;
    Ok(KeyFile::Made)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("keys/box");
        let name: Name = "box".parse().unwrap();
        assert_eq!(make(&file, &name).unwrap(), KeyFile::Made);
        let first = fs::read(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(make(&file, &name).unwrap(), KeyFile::Found);
        assert_eq!(fs::read(&file).unwrap(), first);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
