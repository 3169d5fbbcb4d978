//! Logging in: every key that may be the right one is offered in turn, its private part touched only after the server
//! has said that it would accept it. So a passphrase is asked for only where it decides.

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

/// How often a wrong passphrase may be corrected.
const PASSPHRASE_TRIES: usize = 3;
/// How long the agent may take to say what it holds.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);

type Agent = AgentClient<UnixStream>;

/// Logs in on `handle` and tells by which key, or which keys were tried.
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
    // A server that lets go after too many keys has still refused each of them; one that is gone for another reason
    // has refused none.
    let (attempts, methods) = (login.attempts, login.methods);
    let tried = attempts.iter().any(|attempt| attempt.outcome == KeyOutcome::Refused);
    if handle.is_closed() && !tried && lost.reason().is_some() {
        return Err(lost.error());
    }
    Err(SshError::NoAcceptableKey { host: host.to_owned(), user: settings.user.clone(), attempts, methods })
}

struct Login<'a> {
    handle: &'a mut Handle<Client>,
    settings: &'a HostSettings,
    prompts: &'a Prompts,
    agent: Option<Agent>,
    attempts: Vec<KeyAttempt>,
    methods: Vec<String>,
    hashes: Option<Vec<HashAlg>>,
}

/// A key to offer.
struct Candidate {
    source: KeySource,
    public: PublicKey,
    signing: Signing,
    /// What it is called once it has let us in.
    identity: IdentityUsed,
}

/// What makes the signature.
enum Signing {
    Key(Box<PrivateKey>),
    Locked { path: PathBuf, text: zeroize::Zeroizing<String> },
    Agent,
}

impl Login<'_> {
    /// Offers the files that the user named, then the rest of the agent's keys, then the default files, as OpenSSH does.
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
            for (public, comment) in std::mem::take(&mut in_agent) {
                let identity =
                    self.kept_in_file(&public).unwrap_or(IdentityUsed::Agent { comment: comment.clone() });
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

    /// The file among those to be tried that holds the private part of an agent's key. Whoever adds a key to the agent
    /// mostly still has it where it was.
    fn kept_in_file(&self, public: &PublicKey) -> Option<IdentityUsed> {
        self.settings.identity_files.iter().find_map(|file| {
            let key = KeyFile::read(&file.path).ok()?;
            let same = key.public.as_ref().is_some_and(|held| held.key_data() == public.key_data());
            key.identity().filter(|_| same)
        })
    }

    /// What the agent holds, with the comments. A missing agent is none; one that does not answer is told.
    async fn agent_keys(&mut self) -> Vec<(PublicKey, String)> {
        let Some(socket) = &self.settings.agent else { return Vec::new() };
        let listing = async {
            let mut agent = Agent::connect_uds(socket).await?;
            if let Some(binding) = self.handle.agent_session_binding() {
                // Wanted only by keys that are restricted to certain hosts; other agents than OpenSSH's refuse it.
                let _ = agent.bind_session(binding, false).await;
            }
            let identities = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, identities))
        };
        let problem = match tokio::time::timeout(AGENT_PATIENCE, listing).await {
            Ok(Ok((agent, identities))) => {
                self.agent = Some(agent);
                let plain = |identity| match identity {
                    AgentIdentity::PublicKey { key, comment } => Some((key, comment)),
                    AgentIdentity::Certificate { .. } => None,
                };
                return identities.into_iter().filter_map(plain).collect();
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        self.prompts.notice(format!("the agent at {} is not used: {problem}", socket.display()));
        Vec::new()
    }

    /// Offers the key of a file, signing with the agent if it holds that key. `None`: go on with the next key.
    async fn offer_file(
        &mut self,
        path: &Path,
        named: bool,
        in_agent: &mut Vec<(PublicKey, String)>,
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
            self.prompts.notice(format!("others can read the private key {}", path.display()));
        }
        let in_file = file.identity();
        if file.public.is_none()
            && let Secret::Locked(text) = &file.secret
        {
            // Without its public half the key cannot be offered, so here the passphrase comes first.
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
        let held = in_agent.iter().position(|(key, _)| key.key_data() == public.key_data());
        let held = held.map(|at| in_agent.remove(at).1);
        let signing = match (&held, file.secret) {
            (Some(_), _) => Signing::Agent,
            (None, Secret::Open(key)) => Signing::Key(key),
            (None, Secret::Locked(text)) => Signing::Locked { path: path.to_owned(), text },
            (None, Secret::Elsewhere) => {
                let outcome =
                    KeyOutcome::CannotSign("the private key is neither there nor in the agent".to_owned());
                self.attempts.push(KeyAttempt { source, key: Some(describe(&public)), outcome });
                return Ok(None);
            }
        };
        let identity = in_file.unwrap_or_else(|| IdentityUsed::Agent { comment: held.unwrap_or_default() });
        self.offer(Candidate { source, public, signing, identity }).await
    }

    /// Offers one key. `None`: go on with the next one.
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
                Err(SignError::Gone) => {
                    attempt.outcome = KeyOutcome::NotTried;
                    break;
                }
            }
        }
        self.attempts.push(attempt);
        Ok(None)
    }

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

/// Signs when, and only when, the server has said that it would accept the key.
struct LazySigner<'a> {
    signing: &'a mut Signing,
    agent: Option<&'a mut Agent>,
    prompts: &'a Prompts,
    batch: bool,
}

enum SignError {
    Key(KeyOutcome),
    Gone,
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> SignError {
        SignError::Gone
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
            let key = ask_and_unlock(path, text, self.prompts, self.batch).await.map_err(SignError::Key)?;
            *self.signing = Signing::Key(key);
        }
        let problem = |error: String| SignError::Key(KeyOutcome::CannotSign(error));
        match (&*self.signing, &mut self.agent) {
            (Signing::Key(key), _) => sign(key, hash, to_sign).map_err(|error| problem(error.to_string())),
            (Signing::Agent, Some(agent)) => {
                // The agent may ask the user in its own window, or wait for a touch.
                let _paused = self.prompts.clock().pause();
                let signed = agent.sign_request(identity, hash, to_sign).await;
                signed.map_err(|error| problem(format!("the agent says: {error}")))
            }
            _ => Err(problem("there is no agent".to_owned())),
        }
    }
}

/// Appends the signature to what it signs, as one string of the SSH protocol, which is what the library expects back.
fn sign(key: &PrivateKey, hash: Option<HashAlg>, mut to_sign: Vec<u8>) -> Result<Vec<u8>, ssh_key::Error> {
    let signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(&to_sign)?,
        other => other.try_sign(&to_sign)?,
    };
    signature.encode_prefixed(&mut to_sign)?;
    Ok(to_sign)
}

fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), fingerprint(key))
}

fn method_names(methods: &MethodSet) -> Vec<String> {
    methods.iter().map(String::from).collect()
}
