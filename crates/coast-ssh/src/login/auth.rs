//! Public-key authentication. The keys are offered to the server one after the other; a key signs only after the server
//! has said that it accepts the key, so the user is asked for a passphrase only when the key will log in.

use crate::config::HostSettings;
use crate::error::{KeyAttempt, KeyOutcome, KeySource, SshError};
use crate::link::Lost;
use crate::login::handshake::{Client, rsa_hashes};
use crate::login::identity::{IdentityUsed, KeyFile, Secret, unlock};
use crate::login::known_hosts::fingerprint;
use crate::login::prompt::Prompts;
use russh::MethodSet;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::{self, private::KeypairData};
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// How often the user is asked for the passphrase of one key.
const PASSPHRASE_TRIES: usize = 3;
/// How long the agent may take to list its keys.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

type Agent = AgentClient<UnixStream>;

/// Logs in on `handle`. Returns the key that logged in.
///
/// # Errors
/// When the server accepts none of the keys, or the connection is lost.
pub(crate) async fn authenticate(
    handle: &mut Handle<Client>,
    host: &str,
    settings: &HostSettings,
    prompts: &Prompts,
    lost: &Lost,
) -> Result<IdentityUsed, SshError> {
    let mut login = Login {
        handle,
        settings,
        prompts,
        agent: None,
        attempts: Vec::new(),
        methods: Vec::new(),
        hashes: None,
    };
    if let Some(identity) = login.run().await? {
        return Ok(identity);
    }
    // A server that disconnects after too many keys has refused each of them. A server that is gone without having
    // refused a key is a lost connection.
    let (attempts, methods) = (login.attempts, login.methods);
    let refused = attempts.iter().any(|attempt| attempt.outcome == KeyOutcome::Refused);
    if handle.is_closed() && !refused && lost.reason().is_some() {
        return Err(lost.error());
    }
    Err(SshError::NoAcceptableKey { host: host.to_owned(), user: settings.user.clone(), attempts, methods })
}

/// One login: the keys tried so far, and the answers of the server.
struct Login<'a> {
    handle: &'a mut Handle<Client>,
    settings: &'a HostSettings,
    prompts: &'a Prompts,
    agent: Option<Agent>,
    attempts: Vec<KeyAttempt>,
    /// The methods that the server named in its last refusal.
    methods: Vec<String>,
    /// The hashes for RSA signatures, once the server has been asked.
    hashes: Option<Vec<HashAlg>>,
}

/// A key to offer.
struct Candidate {
    source: KeySource,
    public: PublicKey,
    signing: Signing,
    /// Reported when the key logs in.
    identity: IdentityUsed,
}

/// A key that the agent holds.
struct AgentKey {
    public: PublicKey,
    comment: String,
}

/// The agent's keys could not be listed.
#[derive(Debug, thiserror::Error)]
enum AgentError {
    #[error("{0}")]
    Library(#[from] russh::keys::Error),
    #[error("it did not answer within {} s", AGENT_TIMEOUT.as_secs())]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// Where the signature comes from.
enum Signing {
    Key(Box<PrivateKey>),
    Locked { path: PathBuf, text: zeroize::Zeroizing<String> },
    Agent,
}

impl Login<'_> {
    /// Offers the files that the user named, then the other keys of the agent, then the default files, as OpenSSH does.
    /// Returns `None` when the server accepts none of them.
    async fn run(&mut self) -> Result<Option<IdentityUsed>, SshError> {
        let mut in_agent = self.agent_keys().await;
        let settings = self.settings;
        let (named, default): (Vec<_>, Vec<_>) = settings.identity_files.iter().partition(|file| file.named);
        for file in named {
            let used = self.offer_file(&file.path, true, &mut in_agent).await?;
            if used.is_some() {
                return Ok(used);
            }
        }
        if !settings.identities_only {
            for AgentKey { public, comment } in std::mem::take(&mut in_agent) {
                let identity =
                    self.file_of(&public).unwrap_or(IdentityUsed::Agent { comment: comment.clone() });
                let source = KeySource::Agent(comment);
                let used =
                    self.offer(Candidate { source, public, signing: Signing::Agent, identity }).await?;
                if used.is_some() {
                    return Ok(used);
                }
            }
        }
        for file in default {
            let used = self.offer_file(&file.path, false, &mut in_agent).await?;
            if used.is_some() {
                return Ok(used);
            }
        }
        Ok(None)
    }

    /// Finds the private key file of an agent's key among the files to be tried: adding a key to the agent leaves its
    /// file where it was.
    fn file_of(&self, public: &PublicKey) -> Option<IdentityUsed> {
        self.settings.identity_files.iter().find_map(|file| {
            let key = KeyFile::read(&file.path).ok()?;
            let same = key.public.as_ref().is_some_and(|held| held.key_data() == public.key_data());
            key.identity().filter(|_| same)
        })
    }

    /// Lists the agent's keys. An agent that cannot be asked is reported to the user and holds no keys.
    async fn agent_keys(&mut self) -> Vec<AgentKey> {
        let Some(socket) = &self.settings.agent else { return Vec::new() };
        match self.ask_agent(socket).await {
            Ok(keys) => keys,
            Err(error) => {
                self.prompts.notice(format!("the agent at {} is not used: {error}", socket.display()));
                Vec::new()
            }
        }
    }

    /// Connects to the agent, keeps the connection for signing, and lists the keys. Certificates are left out.
    async fn ask_agent(&mut self, socket: &Path) -> Result<Vec<AgentKey>, AgentError> {
        let listing = async {
            let mut agent = Agent::connect_uds(socket).await?;
            if let Some(binding) = self.handle.agent_session_binding() {
                // Only keys that are restricted to certain hosts need it. Agents other than OpenSSH's refuse it.
                let _ = agent.bind_session(binding, false).await;
            }
            let identities = agent.request_identities().await?;
            self.agent = Some(agent);
            Ok::<_, AgentError>(identities)
        };
        let identities = tokio::time::timeout(AGENT_TIMEOUT, listing).await??;
        let plain = |identity| match identity {
            AgentIdentity::PublicKey { key, comment } => Some(AgentKey { public: key, comment }),
            AgentIdentity::Certificate { .. } => None,
        };
        Ok(identities.into_iter().filter_map(plain).collect())
    }

    /// Offers the key of a file. The agent signs if it holds that key. Returns `None` when the key does not log in.
    async fn offer_file(
        &mut self,
        path: &Path,
        named: bool,
        in_agent: &mut Vec<AgentKey>,
    ) -> Result<Option<IdentityUsed>, SshError> {
        let source = KeySource::File(path.to_owned());
        let mut file = match KeyFile::read(path) {
            Ok(file) => file,
            Err(KeyOutcome::Missing) if !named => return Ok(None),
            Err(outcome) => {
                self.attempts.push(KeyAttempt { source, key: None, outcome });
                return Ok(None);
            }
        };
        if file.is_exposed() {
            self.prompts.notice(format!(
                "others can read the private key {path}; chmod 600 {path} keeps them out",
                path = path.display()
            ));
        }
        let in_file = file.identity();
        if file.public.is_none()
            && let Secret::Locked(text) = &file.secret
        {
            // A key is offered by its public half, which is encrypted too in this file.
            match self.unlock(path, text).await {
                Ok(key) => {
                    file.public = Some(key.public_key().clone());
                    file.secret = Secret::Open(key);
                }
                Err(outcome) => {
                    self.attempts.push(KeyAttempt { source, key: None, outcome });
                    return Ok(None);
                }
            }
        }
        let Some(public) = file.public else { return Ok(None) };
        let held = in_agent.iter().position(|key| key.public.key_data() == public.key_data());
        let held = held.map(|at| in_agent.remove(at).comment);
        let signing = match (&held, file.secret) {
            (Some(_), _) => Signing::Agent,
            (None, Secret::Open(key)) => Signing::Key(key),
            (None, Secret::Locked(text)) => Signing::Locked { path: path.to_owned(), text },
            (None, Secret::Elsewhere) => {
                let outcome = KeyOutcome::CannotSign(
                    "the file holds only the public key, and the agent lacks it".to_owned(),
                );
                self.attempts.push(KeyAttempt { source, key: Some(describe(&public)), outcome });
                return Ok(None);
            }
        };
        let identity = in_file.unwrap_or_else(|| IdentityUsed::Agent { comment: held.unwrap_or_default() });
        self.offer(Candidate { source, public, signing, identity }).await
    }

    /// Offers one key. Returns `None` when the key does not log in; the reason is in `attempts`.
    async fn offer(&mut self, candidate: Candidate) -> Result<Option<IdentityUsed>, SshError> {
        let Candidate { source, public, mut signing, identity } = candidate;
        let key = Some(describe(&public));
        let mut attempt = KeyAttempt { source, key, outcome: KeyOutcome::NotTried };
        if self.handle.is_closed() {
            self.attempts.push(attempt);
            return Ok(None);
        }
        let hashes: Vec<Option<HashAlg>> = match public.algorithm() {
            ssh_key::Algorithm::Rsa { .. } => self.rsa_hashes().await.into_iter().map(Some).collect(),
            _ => vec![None],
        };
        attempt.outcome = KeyOutcome::UnsafeSignature;
        for hash in hashes {
            let mut signer = LazySigner {
                signing: &mut signing,
                agent: self.agent.as_mut(),
                prompts: self.prompts,
                batch: self.settings.batch,
            };
            let user = self.settings.user.clone();
            let result =
                self.handle.authenticate_publickey_with(user, public.clone(), hash, &mut signer).await;
            match result {
                Ok(AuthResult::Success) => return Ok(Some(identity)),
                Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                    self.methods = method_names(&remaining_methods);
                    attempt.outcome = if partial_success {
                        KeyOutcome::NotEnough(self.methods.clone())
                    } else {
                        KeyOutcome::Refused
                    };
                }
                Err(SignError::Key(outcome)) => {
                    attempt.outcome = outcome;
                    break;
                }
                Err(SignError::ConnectionLost) => {
                    attempt.outcome = KeyOutcome::NotTried;
                    break;
                }
            }
        }
        self.attempts.push(attempt);
        Ok(None)
    }

    /// The hashes to sign with for RSA keys. The server is asked once.
    async fn rsa_hashes(&mut self) -> Vec<HashAlg> {
        if self.hashes.is_none() {
            let supported = self.handle.best_supported_rsa_hash().await.unwrap_or(None);
            self.hashes = Some(rsa_hashes(supported));
        }
        self.hashes.clone().unwrap_or_default()
    }

    async fn unlock(&self, path: &Path, text: &str) -> Result<Box<PrivateKey>, KeyOutcome> {
        ask_and_unlock(path, text, self.prompts, self.settings.batch).await
    }
}

/// Asks the user for the passphrase of an encrypted key until it opens the key.
///
/// # Errors
/// `NoPassphrase` when the user gives none or must not be asked, `WrongPassphrase` after the last try.
async fn ask_and_unlock(
    path: &Path,
    text: &str,
    prompts: &Prompts,
    batch: bool,
) -> Result<Box<PrivateKey>, KeyOutcome> {
    let mut outcome = KeyOutcome::NoPassphrase;
    if batch {
        return Err(outcome);
    }
    for _ in 0..PASSPHRASE_TRIES {
        let Some(passphrase) = prompts.passphrase(path).await else { break };
        match unlock(text, &passphrase) {
            Some(key) => return Ok(Box::new(key)),
            None => outcome = KeyOutcome::WrongPassphrase,
        }
    }
    Err(outcome)
}

/// Opens the private key, or asks the agent, only when the server has accepted the public key.
struct LazySigner<'a> {
    signing: &'a mut Signing,
    agent: Option<&'a mut Agent>,
    prompts: &'a Prompts,
    batch: bool,
}

enum SignError {
    Key(KeyOutcome),
    ConnectionLost,
}

impl SignError {
    fn cannot_sign(problem: impl ToString) -> SignError {
        SignError::Key(KeyOutcome::CannotSign(problem.to_string()))
    }
}

impl From<KeyOutcome> for SignError {
    fn from(outcome: KeyOutcome) -> SignError {
        SignError::Key(outcome)
    }
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> SignError {
        SignError::ConnectionLost
    }
}

impl russh::Signer for LazySigner<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        if let Signing::Locked { path, text } = self.signing {
            let key = ask_and_unlock(path, text, self.prompts, self.batch).await?;
            *self.signing = Signing::Key(key);
        }
        match (&*self.signing, &mut self.agent) {
            (Signing::Key(key), _) => sign(key, hash, to_sign).map_err(SignError::cannot_sign),
            (Signing::Agent, Some(agent)) => {
                // The agent may ask the user in its own window, or wait for a touch of a security key.
                let _paused = self.prompts.clock().pause();
                let signed = agent.sign_request(identity, hash, to_sign).await;
                signed.map_err(|error| SignError::cannot_sign(format!("the agent says: {error}")))
            }
            _ => Err(SignError::cannot_sign("there is no agent")),
        }
    }
}

/// Returns `to_sign` with the signature appended as one string of the SSH protocol, as `russh::Signer` demands.
fn sign(key: &PrivateKey, hash: Option<HashAlg>, mut to_sign: Vec<u8>) -> Result<Vec<u8>, ssh_key::Error> {
    let signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(&to_sign)?,
        other => other.try_sign(&to_sign)?,
    };
    signature.encode_prefixed(&mut to_sign)?;
    Ok(to_sign)
}

/// The key's algorithm and fingerprint, for messages.
fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), fingerprint(key))
}

fn method_names(methods: &MethodSet) -> Vec<String> {
    methods.iter().map(String::from).collect()
}
