//! The settings of one host, as the rest of this crate uses them.

use crate::config::options::Target;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How to treat the key that a host presents (`StrictHostKeyChecking`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum HostKeyPolicy {
    /// `yes`: only known hosts are connected to.
    Strict,
    /// `ask`: the user decides about unknown hosts.
    Ask,
    /// `accept-new`: unknown hosts are accepted and recorded, changed keys refused.
    AcceptNew,
    /// `no` and `off`: as `accept-new`, and a changed key is accepted with a warning.
    Lax,
}

/// The family of the host's addresses to use (`AddressFamily`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum AddressFamily {
    Any,
    V4,
    V6,
}

/// The settings of one host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct HostSettings {
    /// The name or address to connect to.
    pub(crate) host_name: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// The name that host keys are recorded under, if it is not the host's own.
    pub(crate) host_key_alias: Option<String>,
    /// Private key files in the order to try them.
    pub(crate) identity_files: Vec<IdentityFile>,
    /// Whether the agent may offer keys that are not among `identity_files`.
    pub(crate) identities_only: bool,
    pub(crate) agent: Option<PathBuf>,
    /// The jump hosts, the first one first.
    pub(crate) jumps: Vec<Target>,
    pub(crate) user_known_hosts: Vec<PathBuf>,
    pub(crate) global_known_hosts: Vec<PathBuf>,
    pub(crate) policy: HostKeyPolicy,
    pub(crate) hash_known_hosts: bool,
    pub(crate) connect_timeout: Duration,
    /// The silence after which the server is asked for a sign of life; `None` for never.
    pub(crate) alive_interval: Option<Duration>,
    /// How many such requests in a row may stay without an answer.
    pub(crate) alive_count: u32,
    /// Whether the user must not be asked anything (`BatchMode`).
    pub(crate) batch: bool,
    pub(crate) bind_address: Option<IpAddr>,
    pub(crate) address_family: AddressFamily,
    /// One sentence for everything the user should be told about the configuration.
    pub(crate) notices: Vec<String>,
}

impl HostSettings {
    /// The host with its port, as it is named in messages.
    pub(crate) fn label(&self) -> String {
        match (self.port, self.host_name.contains(':')) {
            (22, _) => self.host_name.clone(),
            (port, true) => format!("[{}]:{port}", self.host_name),
            (port, false) => format!("{}:{port}", self.host_name),
        }
    }
}

/// A private key file to try.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct IdentityFile {
    pub(crate) path: PathBuf,
    /// Whether the user named the file. A default file may be missing without a message.
    pub(crate) named: bool,
}

/// The place of a host on the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Destination,
    /// As with OpenSSH, the configuration files apply to a jump host, and `-i` and `-o` do not.
    Jump,
}
