//! The two ends of an established connection: the host as the configuration resolved it, its host key, and the user and
//! key that logged in. A program that makes the same connection by other means needs all of it.

use crate::login::identity::IdentityUsed;
use crate::login::known_hosts::fingerprint;
use russh::keys::PublicKey;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The host at the other end of a session, and the user and key that logged in there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Peer {
    /// The user who logged in.
    pub user: String,
    /// The name or address that was connected to: the `HostName` of the configuration, or the host as typed.
    pub host_name: String,
    /// The TCP port that was connected to.
    pub port: u16,
    /// The address that answered. `None` behind a jump host, which looks up the address itself.
    pub address: Option<SocketAddr>,
    /// The jump hosts in the order of the route, each with its port if that is not 22.
    pub jumps: Vec<String>,
    /// The accepted host key. The host has proved that it holds the private part.
    pub host_key: HostKey,
    /// The key that logged in.
    pub identity: IdentityUsed,
}

/// A host's public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostKey {
    /// The algorithm as `known_hosts` names it, such as `ssh-ed25519`.
    pub algorithm: String,
    /// Algorithm and base64 as they follow the host in a line of `known_hosts`: `ssh-ed25519 AAAA...`.
    pub openssh: String,
    /// The fingerprint as `ssh-keygen -l` shows it: `SHA256:...`.
    pub fingerprint: String,
}

impl HostKey {
    pub(crate) fn of(key: &PublicKey) -> Result<HostKey, russh::keys::ssh_key::Error> {
        let line = key.to_openssh()?;
        // The host has not proved the comment.
        let openssh = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let algorithm = openssh.split(' ').next().unwrap_or_default().to_owned();
        Ok(HostKey { algorithm, openssh, fingerprint: fingerprint(key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_is_written_as_in_known_hosts_without_its_comment() {
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let key = HostKey::of(&PublicKey::from_openssh(&format!("{line} root@host")).unwrap()).unwrap();
        assert_eq!((key.algorithm.as_str(), key.openssh.as_str()), ("ssh-ed25519", line));
        assert!(key.fingerprint.starts_with("SHA256:"), "{}", key.fingerprint);
    }
}
