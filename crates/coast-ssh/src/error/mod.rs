//! Everything that can go wrong between a host name and a running helper, one variant per cause that a user would act
//! on differently. Each message says what was being done, to which host or path, and what the other side answered.

mod deploy_attempt;
mod key_attempt;

pub use self::deploy_attempt::{DeployAttempt, DeployFailure};
pub use self::key_attempt::{KeyAttempt, KeyOutcome, KeySource};

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a connection, a command or the helper could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    /// A line of an ssh configuration file cannot be used.
    #[error("{place}: {problem}")]
    Config {
        /// File and line, as `path:line`.
        place: String,
        /// What is wrong with it.
        problem: String,
    },

    /// An option given with `-o` is unknown, has no counterpart here, or has a bad value.
    #[error("option {name}: {problem}")]
    Option {
        /// The option's name as given.
        name: String,
        /// What is wrong with it.
        problem: String,
    },

    /// The host name has no address.
    #[error("cannot find the address of {host}: {source}")]
    Resolve {
        /// The name that was looked up.
        host: String,
        /// The resolver's answer.
        source: io::Error,
    },

    /// No route leads to the host or its network.
    #[error("no route to {host} ({address}): {source}")]
    NoRoute {
        /// The host's name.
        host: String,
        /// Address and port that were tried.
        address: String,
        /// The system's answer.
        source: io::Error,
    },

    /// Nothing listens on that port.
    #[error("{host} refused the connection on {address}: is an SSH server running there?")]
    Refused {
        /// The host's name.
        host: String,
        /// Address and port that were tried.
        address: String,
    },

    /// The time for connecting ran out.
    #[error("connecting to {host} timed out after {} s: {stage}", after.as_secs_f32())]
    TimedOut {
        /// The host's name, with its port.
        host: String,
        /// The time that was allowed, without the time spent in prompts.
        after: Duration,
        /// How far it had got.
        stage: Stage,
    },

    /// The TCP connection failed for another reason.
    #[error("cannot connect to {host} ({address}): {source}")]
    Tcp {
        /// The host's name.
        host: String,
        /// Address and port that were tried.
        address: String,
        /// The system's answer.
        source: io::Error,
    },

    /// Whoever answers on that port does not speak SSH 2.
    #[error("{host} does not speak SSH 2 on that port")]
    NotSsh {
        /// The host's name, with its port.
        host: String,
    },

    /// The peer ended the connection before the keys were agreed, or no common algorithm was found.
    #[error("the SSH handshake with {host} failed: {problem}")]
    Handshake {
        /// The host's name, with its port.
        host: String,
        /// What happened.
        problem: String,
    },

    /// The host's key is not the one that is on record.
    #[error("{0}")]
    HostKeyChanged(Box<HostKeyChange>),

    /// The host presents a key that is marked `@revoked`.
    #[error("the host key of {host}, {fingerprint}, is revoked ({})", place(file, *line))]
    HostKeyRevoked {
        /// The host as it stands in `known_hosts`.
        host: String,
        /// The fingerprint of the key.
        fingerprint: String,
        /// The file with the mark.
        file: PathBuf,
        /// The line of the mark, from 1.
        line: usize,
    },

    /// The host is unknown, and `StrictHostKeyChecking` or the user says no.
    #[error("the host key of {host} is not known ({algorithm} {fingerprint}), and {reason}")]
    HostKeyUnknown {
        /// The host as it stands in `known_hosts`.
        host: String,
        /// The algorithm of the key.
        algorithm: String,
        /// The fingerprint of the key.
        fingerprint: String,
        /// Why it was not accepted.
        reason: String,
    },

    /// The server accepted none of the keys.
    #[error("cannot log in to {host} as {user}: {}", list_attempts(attempts, methods))]
    NoAcceptableKey {
        /// The host's name, with its port.
        host: String,
        /// The user to log in as.
        user: String,
        /// Every key that was considered, in order, and what became of it.
        attempts: Vec<KeyAttempt>,
        /// The methods the server would still take.
        methods: Vec<String>,
    },

    /// A host on the way (`ProxyJump`) could not be passed.
    #[error("through the jump host {jump}: {source}")]
    Jump {
        /// The jump host.
        jump: String,
        /// What went wrong there.
        source: Box<SshError>,
    },

    /// The configuration asks for something this client does not do.
    #[error("{host}: {problem}")]
    Unsupported {
        /// The host as typed.
        host: String,
        /// What is asked for, and what serves instead.
        problem: String,
    },

    /// The established connection is gone.
    #[error("the connection to {host} was lost: {reason}")]
    ConnectionLost {
        /// The host's name, with its port.
        host: String,
        /// What was noticed.
        reason: String,
    },

    /// The server would not open a channel or run a command.
    #[error("{host} would not run the command: {reason}")]
    ExecRefused {
        /// The host's name, with its port.
        host: String,
        /// The server's answer.
        reason: String,
    },

    /// The local system has no means to start the connection's background thread.
    #[error("cannot start the connection's thread: {0}")]
    Runtime(io::Error),

    /// The program to upload cannot be read on this side.
    #[error("cannot read the helper {name}: {source}")]
    HelperSource {
        /// Where it was to be read.
        name: String,
        /// The system's answer.
        source: io::Error,
    },

    /// There is no helper for the remote's system and processor.
    #[error("there is no helper for {platform}; there is one for {}", available.join(", "))]
    NoHelperFor {
        /// What the remote's `uname -sm` says.
        platform: String,
        /// The platforms there are helpers for.
        available: Vec<String>,
    },

    /// The helper found no place on the remote.
    #[error("cannot put the helper on {host}{}", list_deploys(attempts))]
    Deploy {
        /// The host's name, with its port.
        host: String,
        /// Every directory that was tried, in order, and what was wrong there.
        attempts: Vec<DeployAttempt>,
    },

    /// The helper named by `--helper` cannot be started.
    #[error("{host}: {path}: {problem}")]
    HelperPath {
        /// The host's name, with its port.
        host: String,
        /// The path as given.
        path: String,
        /// What the remote shell said.
        problem: String,
    },

    /// `sudo` is to be used always, and refuses.
    #[error("{host}: {refusal}")]
    Sudo {
        /// The host's name, with its port.
        host: String,
        /// Why it refuses.
        refusal: SudoRefusal,
    },

    /// The helper speaks another version of the protocol.
    #[error(
        "cannot use the helper on {host}: it speaks protocol version {found}, this program speaks {expected}; both must \
         come from the same release"
    )]
    HelperVersion {
        /// The host's name, with its port.
        host: String,
        /// The helper's version, as it says.
        found: String,
        /// The version wanted.
        expected: u32,
    },

    /// What came back is not the helper's greeting.
    #[error("{host} answered with something else than the helper's greeting{}", quoted(start))]
    HelperGarbage {
        /// The host's name, with its port.
        host: String,
        /// The first bytes that came, at most 200.
        start: Vec<u8>,
    },

    /// The helper ended, or was never started, before it greeted.
    #[error("the helper on {host} did not start ({status}){}", said(stderr))]
    HelperFailed {
        /// The host's name, with its port.
        host: String,
        /// How the command ended.
        status: String,
        /// What it said on its standard error.
        stderr: String,
    },

    /// The helper said nothing for too long.
    #[error(
        "starting the helper on {host}: it said nothing for {} s; see whether sudo, a login script or a heavy load holds \
         it up there, and try again",
        after.as_secs()
    )]
    HelperSilent {
        /// The host's name, with its port.
        host: String,
        /// How long it was given.
        after: Duration,
    },
}

/// A host key that is not the one on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyChange {
    /// The host as it stands in `known_hosts`.
    pub host: String,
    /// The algorithm of the key it presents.
    pub algorithm: String,
    /// The fingerprint of the key it presents, `SHA256:...`.
    pub presented: String,
    /// Algorithm and fingerprint of the recorded key.
    pub recorded: String,
    /// The file with the recorded key.
    pub file: PathBuf,
    /// The line of the recorded key, from 1.
    pub line: usize,
}

impl fmt::Display for HostKeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostKeyChange { host, algorithm, presented, recorded, file, line } = self;
        write!(
            f,
            "the host key of {host} has changed: it now presents {algorithm} {presented}, but {} has {recorded}; \
             either the host was set up anew or someone is in between. If the change is right, remove that line",
            place(file, *line)
        )
    }
}

/// How far a connection had got when its time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The name was being looked up.
    Resolving,
    /// The TCP connection was not answered.
    Connecting,
    /// The host accepted the connection and said nothing.
    Greeting,
    /// The keys were being agreed.
    KeyExchange,
    /// The user was being authenticated.
    Authenticating,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Resolving => "its name was still being looked up",
            Stage::Connecting => "nothing answered",
            Stage::Greeting => "it accepted the connection and said nothing",
            Stage::KeyExchange => "the key exchange did not end",
            Stage::Authenticating => "the authentication did not end",
        })
    }
}

/// Why `sudo -n` did not start the helper.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SudoRefusal {
    /// The user may use sudo, but only with a password.
    WantsPassword,
    /// There is no `sudo` on the host.
    NotInstalled,
    /// The user may not use sudo for this.
    NotAllowed(String),
    /// It said something else.
    Other(String),
}

impl fmt::Display for SudoRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SudoRefusal::WantsPassword => {
                f.write_str("sudo wants a password (a NOPASSWD rule for the user would do without)")
            }
            SudoRefusal::NotInstalled => f.write_str("sudo is not installed"),
            SudoRefusal::NotAllowed(said) => write!(f, "sudo is not allowed: {said}"),
            SudoRefusal::Other(said) if said.is_empty() => f.write_str("sudo refused and gave no reason"),
            SudoRefusal::Other(said) => write!(f, "sudo refused: {said}"),
        }
    }
}

fn place(file: &std::path::Path, line: usize) -> String {
    format!("{}:{line}", file.display())
}

fn list_attempts(attempts: &[KeyAttempt], methods: &[String]) -> String {
    let mut text = String::new();
    if attempts.is_empty() {
        text.push_str("there was no key to try; name one (-i, or IdentityFile) or add one to the agent");
    } else {
        text.push_str(if attempts.iter().any(KeyAttempt::was_offered) {
            "the server accepts none of the keys; put the public half of one into ~/.ssh/authorized_keys there, or name \
             another one (-i, or IdentityFile). Tried:"
        } else {
            "no key could be used, so none was offered to the server; name one that can (-i, or IdentityFile), or add it \
             to the agent. Found:"
        });
        for attempt in attempts {
            text.push_str("\n  ");
            text.push_str(&attempt.to_string());
        }
    }
    if !methods.is_empty() && !methods.iter().any(|method| method == "publickey") {
        text.push_str(&format!("\n  the server takes only {}", methods.join(", ")));
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
