//! What is known about one host before connecting to it: plain values, all that the rest of this crate sees of the
//! configuration.

use crate::config::options::Target;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What to do about host keys (`StrictHostKeyChecking`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostKeyPolicy {
    /// `yes`: only known hosts.
    Strict,
    /// `ask`: the user decides about unknown hosts.
    Ask,
    /// `accept-new`: unknown hosts are accepted and recorded, changed keys refused.
    AcceptNew,
    /// `no` and `off`: as before, and even a changed key is only told.
    Lax,
}

/// Which addresses of a host to use (`AddressFamily`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressFamily {
    Any,
    V4,
    V6,
}

/// All that is known about one host before connecting to it.
#[derive(Debug, Clone)]
pub(crate) struct HostSettings {
    /// The name or address to connect to.
    pub(crate) host_name: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// The name host keys are recorded under, if not the host's own.
    pub(crate) host_key_alias: Option<String>,
    /// Private key files in the order to try them.
    pub(crate) identity_files: Vec<IdentityFile>,
    /// Whether the agent may offer keys that are not among `identity_files`.
    pub(crate) identities_only: bool,
    pub(crate) agent: Option<PathBuf>,
    /// The hosts to go through, first one first.
    pub(crate) jumps: Vec<Target>,
    pub(crate) user_known_hosts: Vec<PathBuf>,
    pub(crate) global_known_hosts: Vec<PathBuf>,
    pub(crate) policy: HostKeyPolicy,
    pub(crate) hash_known_hosts: bool,
    pub(crate) connect_timeout: Duration,
    /// `None`: the server is never asked whether it is alive.
    pub(crate) alive_interval: Option<Duration>,
    pub(crate) alive_count: u32,
    /// Whether nobody is there to be asked.
    pub(crate) batch: bool,
    pub(crate) bind_address: Option<IpAddr>,
    pub(crate) address_family: AddressFamily,
    /// What the user should be told about the configuration.
    pub(crate) notices: Vec<String>,
}

/// A private key file to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdentityFile {
    pub(crate) path: PathBuf,
    /// Whether the user named it. A default file that is missing is not worth a word.
    pub(crate) named: bool,
}

/// Whether a host is where the user wants to go or only on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Destination,
    /// As with OpenSSH, `-i` and `-o` do not apply to it; the configuration files do.
    Jump,
}
