//! The errors between a host name and a running helper. There is one variant for each cause that a user would act on
//! differently. Each message names the action, the host or path, and the answer of the other side.

mod deploy_attempt;
mod key_attempt;

pub use self::deploy_attempt::{DeployAttempt, DeployFailure};
pub use self::key_attempt::{KeyAttempt, KeyOutcome, KeySource};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The reason why a connection, a command or the helper failed. Unless a field says otherwise, `host` is the host's name
/// with its port if that is not 22, and `source` is the system's answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named after the words of the message")]
pub enum SshError {
    /// A line of an ssh configuration file cannot be used.
    #[error("{place}: {problem}")]
    Config {
        /// `path:line`, or the path alone for a file that cannot be read.
        place: String,
        problem: String,
    },

    /// An ssh option is not supported, or its value cannot be used. `name` is the keyword.
    #[error("option {name}: {problem}")]
    Option { name: String, problem: String },

    /// The host name has no address.
    #[error("cannot find the address of {host}: {source}")]
    Resolve { host: String, source: io::Error },

    /// No route leads to the host or its network.
    #[error("no route to {host} ({address}): {source}")]
    NoRoute { host: String, address: String, source: io::Error },

    /// Nothing listens on that port.
    #[error("{host} refused the connection on {address}: is an SSH server running there?")]
    Refused { host: String, address: String },

    /// The connect timeout passed. `after` leaves out the time that questions to the user took.
    #[error("connecting to {host} timed out after {} s: {stage}", after.as_secs_f32())]
    TimedOut { host: String, after: Duration, stage: Stage },

    /// The TCP connection failed for a reason that has no variant of its own.
    #[error("cannot connect to {host} ({address}): {source}")]
    Tcp { host: String, address: String, source: io::Error },

    /// The program that answers on that port does not speak SSH 2.
    #[error("{host} does not speak SSH 2 on that port; see whether the port is right")]
    NotSsh { host: String },

    /// The server closed the connection before the keys were agreed, or no common algorithm was found.
    #[error("the SSH handshake with {host} failed: {problem}")]
    Handshake { host: String, problem: String },

    /// The host presents another key than `known_hosts` has for it.
    #[error("{0}")]
    HostKeyChanged(Box<HostKeyChange>),

    /// The host presents a key that is marked `@revoked`.
    #[error(
        "the host key of {host}, {fingerprint}, is revoked ({}); ask the administrator of the host for its new key",
        place(file, *line)
    )]
    HostKeyRevoked {
        host: String,
        fingerprint: String,
        file: PathBuf,
        /// The line's number, from 1.
        line: usize,
    },

    /// The host is not in `known_hosts`, and neither `StrictHostKeyChecking` nor the user accepts its key.
    #[error("the host key of {host} is not known ({algorithm} {fingerprint}), and {reason}")]
    HostKeyUnknown { host: String, algorithm: String, fingerprint: String, reason: String },

    /// The server accepts none of the keys. `attempts` has every key that was considered, in order; `methods` are the
    /// methods that the server would still accept.
    #[error("cannot log in to {host} as {user}: {}", list_attempts(attempts, methods))]
    NoAcceptableKey { host: String, user: String, attempts: Vec<KeyAttempt>, methods: Vec<String> },

    /// A jump host could not be connected to.
    #[error("through the jump host {jump}: {source}")]
    Jump { jump: String, source: Box<SshError> },

    /// The configuration asks for something that this client cannot do. `host` is the host as typed.
    #[error("{host}: {problem}")]
    Unsupported { host: String, problem: String },

    /// An established connection was lost.
    #[error("the connection to {host} was lost: {reason}")]
    ConnectionLost { host: String, reason: String },

    /// The server opened no channel, or refused to run the command.
    #[error("{host} refused to run the command: {reason}")]
    ExecRefused { host: String, reason: String },

    /// The connection's background thread could not be started, or ended early.
    #[error("cannot run the connection's thread: {0}")]
    Runtime(io::Error),

    /// The local file of the helper that is to be uploaded cannot be read.
    #[error("cannot read the helper {name}: {source}")]
    HelperSource { name: String, source: io::Error },

    /// There is no helper for the system and processor of the host. `platform` is the answer of `uname -sm`.
    #[error("there is no helper for {platform}; there is one for {}", available.join(", "))]
    NoHelperFor { platform: String, available: Vec<String> },

    /// None of the directories on the host can take the helper. `attempts` has all of them, in order.
    #[error("cannot put the helper on {host}{}", list_deploys(attempts))]
    Deploy { host: String, attempts: Vec<DeployAttempt> },

    /// The helper at the path that [`HelperSpec::path`](crate::HelperSpec::path) names cannot be started.
    #[error("{host}: {path}: {problem}")]
    HelperPath { host: String, path: String, problem: String },

    /// A key that is made for one purpose cannot be made or read. `name` is the file, or says which key.
    #[error("cannot use the key {name}: {problem}")]
    DedicatedKey { name: String, problem: String },

    /// `~/.ssh/authorized_keys` on the host cannot be changed.
    #[error("cannot change ~/.ssh/authorized_keys on {host}: {problem}")]
    AuthorizedKeys { host: String, problem: String },

    /// The host does not accept a key that is in `~/.ssh/authorized_keys`.
    #[error(
        "{host} does not accept the key {}, although it is in ~/.ssh/authorized_keys: {source}\nsee AuthorizedKeysFile and \
         StrictModes in sshd_config(5) there",
        key.display()
    )]
    KeyNotAccepted { host: String, key: PathBuf, source: Box<SshError> },

    /// The helper must run as root ([`Sudo::Always`](crate::Sudo::Always)), and `sudo` refuses.
    #[error("cannot start the helper as root on {host}: {refusal}")]
    Sudo { host: String, refusal: SudoRefusal },

    /// The helper speaks another version of the protocol.
    #[error(
        "cannot use the helper on {host}: it speaks protocol version {found}, this program speaks {expected}; both must \
         come from the same release"
    )]
    HelperVersion { host: String, found: String, expected: u32 },

    /// The helper's output does not begin with its greeting.
    #[error(
        "the helper on {host} did not greet; something else answered, perhaps a login script{}",
        quoted(start)
    )]
    HelperGarbage {
        host: String,
        /// The first bytes of the output, at most 200.
        start: Vec<u8>,
    },

    /// The helper ended without its greeting, or was not started at all.
    #[error("the helper on {host} did not start ({status}){}", said(stderr))]
    HelperFailed { host: String, status: String, stderr: String },

    /// The helper did not greet in time.
    #[error(
        "starting the helper on {host}: it said nothing for {} s; see whether sudo, a login script or a heavy load holds \
         it up there, and try again",
        after.as_secs()
    )]
    HelperSilent { host: String, after: Duration },
}

/// A host that presents another key than the recorded one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyChange {
    /// The host as `known_hosts` names it.
    pub host: String,
    /// The algorithm of the presented key.
    pub algorithm: String,
    /// The fingerprint of the presented key, as `SHA256:...`.
    pub presented: String,
    /// Algorithm and fingerprint of the recorded key.
    pub recorded: String,
    /// The file with the recorded key.
    pub file: PathBuf,
    /// The line of the recorded key, from 1.
    pub line: usize,
}

impl SshError {
    /// The file of an encrypted key that lacked its passphrase, if a login failed that this key may have passed.
    pub fn missing_passphrase(&self) -> Option<&Path> {
        match self {
            Self::NoAcceptableKey { attempts, .. } => {
                attempts.iter().find_map(|attempt| match (&attempt.source, &attempt.outcome) {
                    (KeySource::File(path), KeyOutcome::NoPassphrase | KeyOutcome::WrongPassphrase) => {
                        Some(path.as_path())
                    }
                    _ => None,
                })
            }
            Self::Jump { source, .. } => source.missing_passphrase(),
            _ => None,
        }
    }
}

impl fmt::Display for HostKeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostKeyChange { host, algorithm, presented, recorded, file, line } = self;
        write!(
            f,
            "the host key of {host} has changed: it now presents {algorithm} {presented}, but {} has {recorded}; \
             either the host was set up anew, or another host answers in its place. If the change is right, remove that \
             line",
            place(file, *line)
        )
    }
}

/// The stage that a connection had reached when its time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Looking up the host's address.
    Resolving,
    /// Waiting for an answer to the TCP connection.
    Connecting,
    /// Waiting for the first bytes from the server.
    Greeting,
    /// Agreeing on session keys and checking the host key.
    KeyExchange,
    /// Logging in the user.
    Authenticating,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Resolving => "the lookup of its address did not end",
            Stage::Connecting => "nothing answered",
            Stage::Greeting => "it accepted the connection and said nothing",
            Stage::KeyExchange => "the key exchange did not end",
            Stage::Authenticating => "the login did not end",
        })
    }
}

/// The reason why `sudo -n` did not start the helper.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SudoRefusal {
    /// The user may use sudo, but only with a password.
    WantsPassword,
    /// The host has no `sudo`.
    NotInstalled,
    /// The user may not run the helper with sudo. Holds sudo's message.
    NotAllowed(String),
    /// Any other message of sudo's.
    Other(String),
}

impl fmt::Display for SudoRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SudoRefusal::WantsPassword => {
                f.write_str("sudo wants a password (a NOPASSWD rule for the user removes the question)")
            }
            SudoRefusal::NotInstalled => f.write_str("sudo is not installed"),
            SudoRefusal::NotAllowed(said) => write!(f, "sudo is not allowed: {said}"),
            SudoRefusal::Other(said) if said.is_empty() => f.write_str("sudo refused and gave no reason"),
            SudoRefusal::Other(said) => write!(f, "sudo refused: {said}"),
        }
    }
}

fn place(file: &Path, line: usize) -> String {
    format!("{}:{line}", file.display())
}

fn list_attempts(attempts: &[KeyAttempt], methods: &[String]) -> String {
    let mut text = String::new();
    if attempts.is_empty() {
        text.push_str("there was no key to try; name one (-i, or IdentityFile), or add one to the agent");
    } else {
        text.push_str(if attempts.iter().any(KeyAttempt::was_offered) {
            "the server accepts none of the keys; add the public half of a key to ~/.ssh/authorized_keys there, or name \
             another key (-i, or IdentityFile). Tried:"
        } else {
            "no key could be used, so none was offered to the server; name a usable key (-i, or IdentityFile), or add one \
             to the agent. Found:"
        });
        for attempt in attempts {
            text.push_str("\n  ");
            text.push_str(&attempt.to_string());
        }
    }
    if !methods.is_empty() && !methods.iter().any(|method| method == "publickey") {
        text.push_str(&format!("\n  the server accepts only the methods {}", methods.join(", ")));
    }
    text
}

fn list_deploys(attempts: &[DeployAttempt]) -> String {
    let mut text = String::new();
    for attempt in attempts {
        text.push_str("\n  ");
        text.push_str(&attempt.to_string());
    }
    text
}

fn quoted(start: &[u8]) -> String {
    if start.is_empty() { String::new() } else { format!(": \"{}\"", start.escape_ascii()) }
}

fn said(stderr: &str) -> String {
    let stderr = stderr.trim();
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_not_blamed_for_keys_it_never_saw() {
        let attempt = |outcome| KeyAttempt { source: KeySource::File("/k".into()), key: None, outcome };
        let unusable = [attempt(KeyOutcome::Missing), attempt(KeyOutcome::NoPassphrase)];
        assert!(list_attempts(&unusable, &[]).starts_with("no key could be used"));
        let one_refused = [attempt(KeyOutcome::Missing), attempt(KeyOutcome::Refused)];
        assert!(list_attempts(&one_refused, &[]).starts_with("the server accepts none"));
    }
}
