//! The settings of a Receiver.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::claim::Claim;
use super::destination::DestinationIs;

/// The user who logged in, where the receiver runs as root for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginUser {
    /// User number.
    pub uid: u32,
    /// Number of the user's group.
    pub gid: u32,
}

impl LoginUser {
    /// The user the process runs as.
    pub fn current() -> Self {
        Self { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
    }
}

/// The settings of a Receiver.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// The destination, as the user wrote it.
    pub destination: PathBuf,
    /// How the path is interpreted.
    pub destination_is: DestinationIs,
    /// The kind of directory that is expected there; another kind is refused.
    pub claim: Claim,
    /// Whether missing parents are made.
    pub make_parents: bool,
    /// Whether nothing may be written.
    pub dry_run: bool,
    /// Whether the run is restricted to some paths: then nothing of the rest is touched, neither its owner nor what the
    /// cache knows of it.
    pub some_paths: bool,
    /// Bits that new entries do not get.
    pub umask: u32,
    /// The SSH user, if the process runs as another user.
    pub login: Option<LoginUser>,
    /// Worker threads; by default as many as there are processors, from 2 to 8.
    pub threads: Option<NonZeroUsize>,
}

impl ReceiverConfig {
    /// Receives into a directory, which is made if only it is missing, with the process' umask.
    pub fn new(destination: PathBuf) -> Self {
        Self {
            destination,
            destination_is: DestinationIs::Directory,
            claim: Claim::Anything,
            make_parents: false,
            dry_run: false,
            some_paths: false,
            umask: process_umask() & 0o777,
            login: None,
            threads: None,
        }
    }
}

/// The process' umask. Only Linux tells it without changing it; elsewhere every bit is assumed to be masked, which costs a call
/// for each file.
pub(super) fn process_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o777)
}
