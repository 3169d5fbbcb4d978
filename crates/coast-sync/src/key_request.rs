//! Letting a key that was made for one purpose log in to an account on another machine, and taking that right away.

use std::path::Path;

use coast_engine::Cancel;
use coast_ssh::{AuthorizedKeys, DedicatedKey, IdentityUsed, Prompt, Session, SshError};

use crate::SyncError;
use crate::destination::RemoteDestination;

/// A change to the keys that may log in to the account of a remote.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    remote: RemoteDestination,
}

impl KeyRequest {
    /// A change at this remote. The path of the destination does not matter.
    pub fn new(remote: RemoteDestination) -> Self {
        Self { remote }
    }

    /// Lets the key in `file` log in, restricted to running commands, and logs in with it. When that login fails, the right is
    /// taken away again if it was new.
    ///
    /// # Errors
    /// When the key cannot be read, the remote cannot be reached, its `authorized_keys` cannot be changed, or it does not accept
    /// the key.
    pub fn authorize(
        &self,
        file: &Path,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<AuthorizedKeys, SyncError> {
        let key = DedicatedKey::read(file)?;
        self.on_session(prompt, cancel, |session| {
            let authorized = session.authorize(&key)?;
            if let Err(source) = self.log_in_with(file, prompt) {
                if authorized == AuthorizedKeys::Changed {
                    session.revoke(&key)?;
                }
                let (host, key) = (session.host().to_owned(), file.to_owned());
                return Err(SshError::KeyNotAccepted { host, key, source: Box::new(source) });
            }
            Ok(authorized)
        })
    }

    /// Takes the right to log in away from the key in `file`.
    ///
    /// # Errors
    /// When the key cannot be read, the remote cannot be reached, or its `authorized_keys` cannot be changed.
    pub fn revoke(
        &self,
        file: &Path,
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<AuthorizedKeys, SyncError> {
        let key = DedicatedKey::read(file)?;
        self.on_session(prompt, cancel, |session| session.revoke(&key))
    }

    /// Connects, and runs `work`. `cancel` closes the connection.
    fn on_session<T>(
        &self,
        prompt: &dyn Prompt,
        cancel: &Cancel,
        work: impl FnOnce(&Session) -> Result<T, SshError>,
    ) -> Result<T, SyncError> {
        let done = Session::connect(&self.remote.target, &self.remote.connect, prompt).and_then(|session| {
            let _hook = cancel.on_cancel({
                let closer = session.closer();
                move || closer.close()
            });
            work(&session)
        });
        match done {
            _ if cancel.is_cancelled() => Err(SyncError::Interrupted),
            done => Ok(done?),
        }
    }

    /// Logs in with the key in `file` alone, and runs a command.
    fn log_in_with(&self, file: &Path, prompt: &dyn Prompt) -> Result<(), SshError> {
        let mut connect = self.remote.connect.clone();
        connect.identities = vec![file.to_owned()];
        let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        connect.overrides.extend([option("IdentitiesOnly", "yes"), option("IdentityAgent", "none")]);
        let session = Session::connect(&self.remote.target, &connect, prompt)?;
        let used = &session.peer().identity;
        if !matches!(used, IdentityUsed::File { path, .. } if path == file) {
            let problem = format!("it was refused, and {used} was accepted instead");
            return Err(SshError::DedicatedKey { name: file.display().to_string(), problem });
        }
        let (_, status) = session.exec(b"true")?.output()?;
        if !status.success() {
            let reason = format!("a command ended with {status}");
            return Err(SshError::ExecRefused { host: session.host().to_owned(), reason });
        }
        Ok(())
    }
}
