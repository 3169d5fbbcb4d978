//! The client's part in the handshake: the algorithms to offer, and the check of the host key against `known_hosts`,
//! which the SSH library asks for once the host has proved that it holds the key.

use crate::config::{HostKeyPolicy, HostSettings};
use crate::error::{HostKeyChange, SshError};
use crate::link::Lost;
use crate::login::known_hosts::{self, HostName, KnownKeys, Verdict, fingerprint};
use crate::login::peer::HostKey;
use crate::login::prompt::{AcceptedKey, HostAnswer, PresentedKey, Prompts};
use russh::client::{self, DisconnectReason};
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, cipher, compression};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// The ciphers to offer, the fastest first. AES-128-GCM moved 650 MiB/s; ChaCha20, the library's default, moved 420. The
/// CTR ciphers are for servers that have neither. All come from `ring`: `aws-lc-rs` took 0.61 s instead of 0.70 s of
/// processor time for a GiB, but was no faster on the wire, and made the program 0.7 MB larger.
const CIPHERS: [cipher::Name; 6] = [
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
];

/// The algorithms to offer to a host. Those of the keys on record come first, so that a host with several keys presents
/// a key that is on record.
pub(crate) fn preferred(on_record: &[Algorithm]) -> Preferred {
    let is_known = |offered: &Algorithm| {
        on_record.iter().any(|known| match (known, offered) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (known, offered) => known == offered,
        })
    };
    // RSA with SHA-1 is broken; OpenSSH refuses it since version 8.8.
    let all = Preferred::DEFAULT.key.iter().filter(|key| **key != Algorithm::Rsa { hash: None }).cloned();
    let (mut key, others): (Vec<_>, Vec<_>) = all.partition(is_known);
    key.extend(others);
    Preferred {
        key: Cow::Owned(key),
        cipher: Cow::Borrowed(&CIPHERS),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}

/// Whether the files of known hosts have `key` for the host of `settings` at this moment.
pub(crate) fn is_on_record(settings: &HostSettings, key: &PublicKey) -> bool {
    let name = recorded_name(settings);
    let files = known_hosts_files(settings);
    let check = |name: &HostName| KnownKeys::load(&files, name, |_| {});
    match check(&name).check(key) {
        Verdict::Known => true,
        Verdict::New => {
            name.without_port().is_some_and(|name| matches!(check(&name).check(key), Verdict::Known))
        }
        Verdict::Changed(_) | Verdict::Revoked(_) => false,
    }
}

/// The name that the keys of the host are recorded under.
fn recorded_name(settings: &HostSettings) -> HostName {
    match &settings.host_key_alias {
        Some(alias) => HostName::alias(alias),
        None => HostName::new(&settings.host_name, settings.port),
    }
}

fn known_hosts_files(settings: &HostSettings) -> Vec<PathBuf> {
    [settings.user_known_hosts.as_slice(), settings.global_known_hosts.as_slice()].concat()
}

/// Decides whether to trust the key that a host presents.
pub(crate) struct HostVerifier {
    name: HostName,
    known: KnownKeys,
    /// The keys on record for the host without its port. As with OpenSSH, one of these keys is accepted on any port, and
    /// another key is not reported as changed, since another server may listen there.
    any_port: KnownKeys,
    policy: HostKeyPolicy,
    /// The file to record a new key in.
    record: Option<PathBuf>,
    hashed: bool,
    batch: bool,
    prompts: Prompts,
}

impl HostVerifier {
    /// Reads the keys on record for the host of `settings`.
    pub(crate) fn new(settings: &HostSettings, prompts: &Prompts) -> HostVerifier {
        let name = recorded_name(settings);
        let files = known_hosts_files(settings);
        let any_port = name.without_port().map(|name| KnownKeys::load(&files, &name, |_| {}));
        HostVerifier {
            known: KnownKeys::load(&files, &name, |notice| prompts.notice(notice)),
            any_port: any_port.unwrap_or_default(),
            name,
            policy: settings.policy,
            record: settings.user_known_hosts.first().cloned(),
            hashed: settings.hash_known_hosts,
            batch: settings.batch,
            prompts: prompts.clone(),
        }
    }

    /// The algorithms of the keys on record.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        match self.known.algorithms() {
            none if none.is_empty() => self.any_port.algorithms(),
            known => known,
        }
    }

    /// # Errors
    /// When the key is revoked, has changed, or is unknown and not accepted.
    async fn verify(&self, key: &PublicKey) -> Result<(), SshError> {
        let host = self.name.as_str();
        let (algorithm, presented) = (key.algorithm().to_string(), fingerprint(key));
        match self.known.check(key) {
            Verdict::Known => Ok(()),
            Verdict::Revoked(entry) => Err(SshError::HostKeyRevoked {
                host: host.to_owned(),
                fingerprint: presented,
                file: entry.file.clone(),
                line: entry.line,
            }),
            Verdict::Changed(entry) => {
                let change = HostKeyChange {
                    host: host.to_owned(),
                    algorithm,
                    presented,
                    recorded: format!("{} {}", entry.key.algorithm(), fingerprint(&entry.key)),
                    file: entry.file.clone(),
                    line: entry.line,
                };
                if self.policy != HostKeyPolicy::Lax {
                    return Err(SshError::HostKeyChanged(Box::new(change)));
                }
                self.prompts.notice(format!(
                    "warning: {change}. The connection goes on, because StrictHostKeyChecking is off"
                ));
                Ok(())
            }
            Verdict::New if matches!(self.any_port.check(key), Verdict::Known) => Ok(()),
            Verdict::New => {
                let presented = PresentedKey { host: host.to_owned(), algorithm, fingerprint: presented };
                self.decide(&presented).await?;
                self.accept(key, presented);
                Ok(())
            }
        }
    }

    /// Decides about the key of a host that has none on record.
    ///
    /// # Errors
    /// When neither the configuration nor the user accepts the key.
    async fn decide(&self, presented: &PresentedKey) -> Result<(), SshError> {
        let reason = match self.policy {
            HostKeyPolicy::AcceptNew | HostKeyPolicy::Lax => return Ok(()),
            HostKeyPolicy::Strict => {
                "StrictHostKeyChecking is yes; add the key to known_hosts, or set accept-new"
            }
            HostKeyPolicy::Ask if self.batch => {
                "BatchMode forbids asking; connect once without it, or set StrictHostKeyChecking=accept-new"
            }
            HostKeyPolicy::Ask => match self.prompts.confirm_host(presented).await {
                HostAnswer::Trust => return Ok(()),
                HostAnswer::Refuse => "the user did not confirm it",
                HostAnswer::NobodyToAsk => {
                    "StrictHostKeyChecking is ask, but there is no terminal to ask on; connect once in a terminal, or \
                     compare the fingerprint with that of the host and set StrictHostKeyChecking=accept-new"
                }
            },
        };
        let PresentedKey { host, algorithm, fingerprint } = presented.clone();
        Err(SshError::HostKeyUnknown { host, algorithm, fingerprint, reason: reason.to_owned() })
    }

    /// Records a new key and tells the user. A key that cannot be recorded is still accepted: only the next connection
    /// to the host finds it unknown again.
    fn accept(&self, key: &PublicKey, presented: PresentedKey) {
        let recorded = self.record.clone().map(|file| {
            let recorded = known_hosts::record(&file, &self.name, key, self.hashed);
            (file, recorded.map_err(|error| error.to_string()))
        });
        self.prompts.host_key_accepted(AcceptedKey { presented, recorded });
    }
}

/// Receives the events of one connection from the SSH library.
pub(crate) struct Client {
    verifier: HostVerifier,
    lost: Lost,
    accepted: Arc<OnceLock<HostKey>>,
}

impl Client {
    /// `accepted` gets the host's key once it has been verified.
    pub(crate) fn new(verifier: HostVerifier, lost: Lost, accepted: Arc<OnceLock<HostKey>>) -> Client {
        Client { verifier, lost, accepted }
    }
}

/// The reason why a connection ended: an error of the SSH library, or an error of this crate that the library hands on.
#[derive(Debug)]
pub(crate) enum ClientError {
    Library(russh::Error),
    Ours(Box<SshError>),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> ClientError {
        ClientError::Library(error)
    }
}

impl From<SshError> for ClientError {
    fn from(error: SshError) -> ClientError {
        ClientError::Ours(Box::new(error))
    }
}

impl From<russh::keys::ssh_key::Error> for ClientError {
    fn from(error: russh::keys::ssh_key::Error) -> ClientError {
        ClientError::Library(russh::Error::Keys(error.into()))
    }
}

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, ClientError> {
        let key = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key,
            // This client offers no algorithm for certificates, so a server must not send one.
            PublicKeyOrCertificate::Certificate(_) => return Ok(false),
        };
        self.verifier.verify(key).await?;
        let key = HostKey::of(key)?;
        // The library asks again at every key exchange. It ends the connection if the host presents another key then.
        self.accepted.get_or_init(|| key);
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<ClientError>) -> Result<(), ClientError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) if info.message.is_empty() => {
                self.lost.set("the server closed it");
            }
            DisconnectReason::ReceivedDisconnect(info) => {
                self.lost.set(&format!("the server closed it: {}", info.message.escape_debug()));
            }
            DisconnectReason::Error(ClientError::Library(error)) => self.lost.set(&described(&error)),
            DisconnectReason::Error(ClientError::Ours(error)) => self.lost.set(&error.to_string()),
        }
        Ok(())
    }
}

impl Drop for Client {
    /// The library drops its handler when the connection ends, for whatever reason.
    fn drop(&mut self) {
        self.lost.set("it was closed");
    }
}

/// The text of a library's error for the user. It names the event, where the library names its own function.
pub(crate) fn described(error: &russh::Error) -> String {
    match error {
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the server closed it".to_owned()
        }
        russh::Error::IO(error) => error.to_string(),
        russh::Error::Disconnect | russh::Error::HUP => "the server closed it".to_owned(),
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            format!(
                "no common {} algorithm; the server has {}",
                format!("{kind:?}").to_lowercase(),
                theirs.join(", ")
            )
        }
        error => error.to_string(),
    }
}

/// The hashes to sign with for RSA keys. `best` is the best hash that the server accepts: `None` if the server does not
/// say, `Some(None)` if it accepts only SHA-1.
pub(crate) fn rsa_hashes(best: Option<Option<HashAlg>>) -> Vec<HashAlg> {
    match best {
        Some(Some(hash)) => vec![hash],
        Some(None) => Vec::new(),
        None => vec![HashAlg::Sha512, HashAlg::Sha256],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn rsa_is_never_signed_with_sha_1() {
        assert_eq!(rsa_hashes(Some(Some(HashAlg::Sha256))), [HashAlg::Sha256]);
        assert_eq!(rsa_hashes(None), [HashAlg::Sha512, HashAlg::Sha256]);
        assert_eq!(rsa_hashes(Some(None)), []);
    }

    #[test]
    fn the_algorithms_of_the_keys_on_record_are_offered_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known");
        let rsa = "AAAAB3NzaC1yc2EAAAADAQABAAAAQQC5K9D2bvrOFEHibQFQo9/XuXBxyPspDVC2x7rcA6o/9Vgi2oQfy6evE+iBc0GCtwISb9xwtlmz\
                   ITeqCncNFCSR";
        std::fs::write(&file, format!("host ssh-rsa {rsa}\n")).unwrap();
        let known = KnownKeys::load(&[file, PathBuf::from("/absent")], &HostName::new("host", 22), |_| {});
        let names = |known: &KnownKeys| {
            preferred(&known.algorithms()).key.iter().map(Algorithm::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(&known)[..3], ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
        assert_eq!(names(&KnownKeys::default())[0], "ssh-ed25519");
        assert!(!names(&known).contains(&"ssh-rsa".to_owned()));
    }
}
