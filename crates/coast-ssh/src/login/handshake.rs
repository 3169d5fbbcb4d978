//! The client's side of the handshake: whether the host is the one it should be, asked by the SSH library once the host
//! has proved that it holds its key.

use crate::config::{HostKeyPolicy, HostSettings};
use crate::error::{HostKeyChange, SshError};
use crate::link::Lost;
use crate::login::known_hosts::{self, HostName, KnownKeys, Verdict, fingerprint};
use crate::login::peer::HostKey;
use crate::login::prompt::Prompts;
use russh::client::{self, DisconnectReason};
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, cipher, compression};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Ciphers in the order of their speed here. AES-128-GCM moved 650 MiB/s where the library's default, ChaCha20, moved
/// 420; the rest is for servers that have neither. They come from `ring`: with `aws-lc-rs` a GiB took 0.61 s of
/// processor time instead of 0.70 s, which did not show in the throughput, and the program grew by 0.7 MB.
const CIPHERS: [cipher::Name; 6] = [
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
];

/// The algorithms to offer to a host: those of the keys on record come first, so that a host with several keys presents
/// one that is known.
pub(crate) fn preferred(on_record: &[Algorithm]) -> Preferred {
    let is_known = |offered: &Algorithm| {
        on_record.iter().any(|known| match (known, offered) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (known, offered) => known == offered,
        })
    };
    // RSA with SHA-1 is broken, and OpenSSH has not taken it since 8.8.
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

/// Decides whether to trust a host's key.
pub(crate) struct HostVerifier {
    name: HostName,
    known: KnownKeys,
    /// The keys on record for the same host whatever its port. One of these is as good, though none is a reason for
    /// alarm: as with OpenSSH, another server may listen on another port.
    any_port: KnownKeys,
    policy: HostKeyPolicy,
    /// Where to record a new key.
    record: Option<PathBuf>,
    hashed: bool,
    batch: bool,
    prompts: Prompts,
}

impl HostVerifier {
    /// Reads the record for the host of `settings`.
    pub(crate) fn new(settings: &HostSettings, prompts: &Prompts) -> HostVerifier {
        let name = match &settings.host_key_alias {
            Some(alias) => HostName::alias(alias),
            None => HostName::new(&settings.host_name, settings.port),
        };
        let files = [settings.user_known_hosts.as_slice(), settings.global_known_hosts.as_slice()].concat();
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

    /// The kinds of key on record, which to ask for first.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        match self.known.algorithms() {
            none if none.is_empty() => self.any_port.algorithms(),
            known => known,
        }
    }

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
                self.prompts
                    .notice(format!("warning: {change}. StrictHostKeyChecking is off, so it goes on"));
                Ok(())
            }
            Verdict::New if matches!(self.any_port.check(key), Verdict::Known) => Ok(()),
            Verdict::New => {
                let unknown = |reason: &str| {
                    Err(SshError::HostKeyUnknown {
                        host: host.to_owned(),
                        algorithm: algorithm.clone(),
                        fingerprint: presented.clone(),
                        reason: reason.to_owned(),
                    })
                };
                match self.policy {
                    HostKeyPolicy::Strict => return unknown("StrictHostKeyChecking allows only known hosts"),
                    HostKeyPolicy::Ask if self.batch => {
                        return unknown("BatchMode allows no question about it");
                    }
                    HostKeyPolicy::Ask => {
                        if !self.prompts.confirm_host(host, &format!("{algorithm} {presented}")).await {
                            return unknown("it was not confirmed");
                        }
                    }
                    HostKeyPolicy::AcceptNew | HostKeyPolicy::Lax => {}
                }
                self.record(key, &algorithm, &presented);
                Ok(())
            }
        }
    }

    /// Records a new key and says so. That it could not be recorded is told and no reason to stop: the host is as
    /// trusted now as it would have been.
    fn record(&self, key: &PublicKey, algorithm: &str, fingerprint: &str) {
        let host = self.name.as_str();
        let accepted = format!("accepted the new host key of {host}, {algorithm} {fingerprint}");
        self.prompts.notice(match &self.record {
            None => accepted,
            Some(file) => match known_hosts::record(file, &self.name, key, self.hashed) {
                Ok(()) => format!("{accepted}, and recorded it in {}", file.display()),
                Err(error) => format!("{accepted}; it could not be recorded in {}: {error}", file.display()),
            },
        });
    }
}

/// Receives what the SSH library has to say about one connection.
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

/// What ends a connection: an error of the SSH library, or one of ours passed through it.
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

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, ClientError> {
        let key = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key,
            // Never asked for, so a server that sends one is out of line.
            PublicKeyOrCertificate::Certificate(_) => return Ok(false),
        };
        self.verifier.verify(key).await.map_err(|error| ClientError::Ours(Box::new(error)))?;
        let key = HostKey::of(key).map_err(|error| ClientError::Library(russh::Error::Keys(error.into())))?;
        // Asked again with every new exchange of keys, in which a server that presents another key fails.
        self.accepted.get_or_init(|| key);
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<ClientError>) -> Result<(), ClientError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) if info.message.is_empty() => {
                self.lost.set("the server ended it");
            }
            DisconnectReason::ReceivedDisconnect(info) => {
                self.lost.set(&format!("the server ended it: {}", info.message.escape_debug()));
            }
            DisconnectReason::Error(ClientError::Library(error)) => self.lost.set(&described(&error)),
            DisconnectReason::Error(ClientError::Ours(error)) => self.lost.set(&error.to_string()),
        }
        Ok(())
    }
}

impl Drop for Client {
    /// The library drops its handler when the connection is over, however it ended.
    fn drop(&mut self) {
        self.lost.set("it was closed");
    }
}

/// The library's error in words that say what happened rather than where.
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

/// The hashes to sign with for RSA keys, given the best one that the server says it takes: `None` if it does not say,
/// `Some(None)` if it takes SHA-1 only.
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
    fn the_kinds_of_key_on_record_are_asked_for_first() {
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
