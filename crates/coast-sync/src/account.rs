//! Questions to the account on another machine: who it is, where the helper lies, and how many connections its server takes.

use std::path::PathBuf;

use coast_engine::Cancel;
use coast_ssh::{Prompt, ServerLimits, Session, Sudo};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::destination::RemoteDestination;
use crate::receiver_arguments::question_words;
use crate::remote::helper_spec;
use crate::{RemoteHelper, SyncError};

/// Asks about the account on another machine. Deploys the helper if it is missing, and starts it without sudo.
#[derive(Debug, Clone)]
pub struct AccountRequest {
    remote: RemoteDestination,
}

/// The account on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountReport {
    /// The login name.
    pub user: String,
    /// The number of the user.
    pub uid: u32,
    /// The home directory.
    pub home: PathBuf,
    /// The absolute path of the helper.
    pub helper: PathBuf,
    /// The SHA-256 hash of the helper's content, in hexadecimal digits. None for a helper that others have installed there.
    pub helper_sha256: Option<String>,
    /// Why a second command cannot run beside another one on the same connection.
    pub one_command_only: Option<String>,
    /// The limits of the server. None if the account may not read them.
    pub server: Option<ServerLimits>,
}

impl AccountRequest {
    /// Asks about the account of this remote. The path of the destination does not matter.
    pub fn new(remote: RemoteDestination) -> Self {
        Self { remote }
    }

    /// Asks. Blocks until the remote has answered, the request has failed, or `cancel` stopped it.
    ///
    /// # Errors
    /// When the remote cannot be reached, or the helper cannot be started there.
    pub fn run(self, prompt: &dyn Prompt, cancel: &Cancel) -> Result<AccountReport, SyncError> {
        let asked = Session::connect(&self.remote.target, &self.remote.connect, prompt)
            .map_err(SyncError::from)
            .and_then(|session| {
                let _hook = cancel.on_cancel({
                    let closer = session.closer();
                    move || closer.close()
                });
                self.ask(&session)
            });
        if cancel.is_cancelled() { Err(SyncError::Interrupted) } else { asked }
    }

    fn ask(&self, session: &Session) -> Result<AccountReport, SyncError> {
        let spec = helper_spec(&self.remote, question_words("probe", ".".as_ref()), Sudo::Never)?;
        let helper = session.start_helper(&spec)?;
        // The helper's channel is still open, so this is the second one.
        let second = session.account(&spec);
        drop(helper);
        let one_command_only = second.as_ref().err().map(ToString::to_string);
        let account = second.or_else(|_| session.account(&spec))?;
        let program = spec.programs.iter().find(|program| {
            matches!(self.remote.helper, RemoteHelper::Deployed(_))
                && program.platform.as_ref() == Some(&account.platform)
        });
        let helper_sha256 = match program {
            Some(program) => {
                let bytes = program.source.read().map_err(|source| coast_ssh::SshError::HelperSource {
                    name: program.source.to_string(),
                    source,
                })?;
                Some(HEXLOWER.encode(&Sha256::digest(&bytes)))
            }
            None => None,
        };
        Ok(AccountReport {
            user: account.user,
            uid: account.uid,
            home: account.home.into(),
            helper: account.helper.unwrap_or_default().into(),
            helper_sha256,
            one_command_only,
            server: session.server_limits()?,
        })
    }
}
