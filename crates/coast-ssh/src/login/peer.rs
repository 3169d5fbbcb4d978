//! Where a connection ended up: the host as the configuration resolved it, the key it proved to have, and the key of ours
//! that it let in. Whoever has to make the same connection by another program needs all of it.

use crate::login::identity::IdentityUsed;
use crate::login::known_hosts::fingerprint;
use russh::keys::PublicKey;
use std::net::SocketAddr;

/// The host at the other end of a session, and as whom it let us in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The user who logged in.
    pub user: String,
    /// The name or address that was connected to, once the configuration had its say.
    pub host_name: String,
    /// The TCP port.
    pub port: u16,
    /// The address that answered. None behind a jump host, which looks it up itself.
    pub address: Option<SocketAddr>,
    /// The hosts on the way (`ProxyJump`), first one first, each with its port if that is not 22.
    pub jumps: Vec<String>,
    /// The key that the host proved to have, and that was accepted.
    pub host_key: HostKey,
    /// The key that let us in.
    pub identity: IdentityUsed,
}

/// A host's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostKey {
    /// As in `known_hosts`: `ssh-ed25519`.
    pub algorithm: String,
    /// Algorithm and key as a line of `known_hosts` has them behind the host: `ssh-ed25519 AAAA...`.
    pub openssh: String,
    /// `SHA256:...`.
    pub fingerprint: String,
}

impl HostKey {
    pub(crate) fn of(key: &PublicKey) -> Result<HostKey, russh::keys::ssh_key::Error> {
        let line = key.to_openssh()?;
        // A comment is nothing that the host has proved.
        let openssh = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let algorithm = openssh.split(' ').next().unwrap_or_default().to_owned();
        Ok(HostKey { algorithm, openssh, fingerprint: fingerprint(key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_is_what_known_hosts_has_without_its_comment() {
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let key = HostKey::of(&PublicKey::from_openssh(&format!("{line} root@host")).unwrap()).unwrap();
        assert_eq!((key.algorithm.as_str(), key.openssh.as_str()), ("ssh-ed25519", line));
        assert!(key.fingerprint.starts_with("SHA256:"), "{}", key.fingerprint);
    }
}
