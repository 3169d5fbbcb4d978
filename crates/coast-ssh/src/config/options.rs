//! The target and the options of the caller, before any configuration file has been read. Only
//! [`Environment::from_process`] reads the environment of the process, so that a test or an embedding program can pass
//! another environment.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The host to connect to, as the user typed it. The host may be an alias of the ssh configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The user to log in as, if one was given.
    pub user: Option<String>,
    /// Host name, alias or address (IPv6 without brackets).
    pub host: String,
    /// The TCP port, if one was given.
    pub port: Option<u16>,
}

impl Target {
    /// A target without user and port. The configuration sets both.
    pub fn host(host: impl Into<String>) -> Target {
        Target { user: None, host: host.into(), port: None }
    }

    /// Reads `[user@]host[:port]`, `[user@][address]:port` or `ssh://[user@]host[:port]`, the forms of `ProxyJump`.
    /// Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Target> {
        let text = text.strip_prefix("ssh://").map_or(text, |rest| rest.trim_end_matches('/'));
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) if !user.is_empty() => (Some(user.to_owned()), rest),
            Some(_) => return None,
            None => (None, text),
        };
        let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']')?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':')?)),
            }
        } else {
            match rest.split_once(':') {
                // More than one colon without brackets is an IPv6 address.
                Some((_, port)) if port.contains(':') => (rest, None),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            }
        };
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|&port| port != 0)?),
            None => None,
        };
        if host.is_empty() || host.starts_with('-') {
            return None;
        }
        Some(Target { user, host: host.to_owned(), port })
    }
}

/// How to connect. The default connects as the `ssh` program does, with `StrictHostKeyChecking accept-new`.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// Private key files to try before all others (`-i`), in order.
    pub identities: Vec<PathBuf>,
    /// The configuration file to read instead of `~/.ssh/config` and `/etc/ssh/ssh_config` (`-F`).
    pub config_file: Option<PathBuf>,
    /// Options that win over the configuration files (`-o`), as name and value. An unknown name is an error.
    pub overrides: Vec<(String, String)>,
    /// The time for connecting to the destination, from the lookup of its address to the login. Wins over
    /// `ConnectTimeout`; without either it is 10 s. At a jump host `ConnectTimeout` wins over this.
    pub connect_timeout: Option<Duration>,
    /// The environment to connect in; by default that of the process.
    pub environment: Environment,
}

/// The parts of a process's environment that a connection depends on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Environment {
    /// The user's home directory, which `~` stands for.
    pub home: Option<PathBuf>,
    /// The name of the local user, which is the default for the remote user.
    pub user: Option<String>,
    /// The socket of the authentication agent (`SSH_AUTH_SOCK`).
    pub agent: Option<PathBuf>,
    /// The system-wide configuration file, read after the user's.
    pub system_config: Option<PathBuf>,
    /// The system-wide files of host keys.
    pub system_known_hosts: Vec<PathBuf>,
    /// Environment variables that configuration values may refer to as `${NAME}`.
    pub variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Reads the environment of this process. The user is `USER`, else `LOGNAME`, else the process's user in the
    /// system's database of users.
    pub fn from_process() -> Environment {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Environment {
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            user: text("USER").or_else(|| text("LOGNAME")).or_else(own_name),
            agent: std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from),
            system_config: Some(PathBuf::from("/etc/ssh/ssh_config")),
            system_known_hosts: vec![
                PathBuf::from("/etc/ssh/ssh_known_hosts"),
                PathBuf::from("/etc/ssh/ssh_known_hosts2"),
            ],
            variables: std::env::vars_os().collect(),
        }
    }

    /// An environment with nothing but a home directory and a user, for tests.
    pub fn isolated(home: impl Into<PathBuf>, user: impl Into<String>) -> Environment {
        Environment {
            home: Some(home.into()),
            user: Some(user.into()),
            agent: None,
            system_config: None,
            system_known_hosts: Vec::new(),
            variables: BTreeMap::new(),
        }
    }
}

/// The name of this process's user in the system's database of users: in a container `USER` is often not set.
fn own_name() -> Option<String> {
    let uid = rustix::process::getuid().as_raw();
    let user = coast_tree::users().into_iter().find(|user| user.uid == uid)?;
    String::from_utf8(user.name).ok()
}

impl Default for Environment {
    fn default() -> Environment {
        Environment::from_process()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(Option<String>, String, Option<u16>)> {
        Target::parse(text).map(|target| (target.user, target.host, target.port))
    }

    #[test]
    fn a_target_is_read_in_all_its_forms() {
        let some =
            |user: Option<&str>, host: &str, port| Some((user.map(str::to_owned), host.to_owned(), port));
        assert_eq!(parts("host"), some(None, "host", None));
        assert_eq!(parts("me@host:22"), some(Some("me"), "host", Some(22)));
        assert_eq!(parts("me@corp@host"), some(Some("me@corp"), "host", None));
        assert_eq!(parts("[::1]:2222"), some(None, "::1", Some(2222)));
        assert_eq!(parts("::1"), some(None, "::1", None));
        assert_eq!(parts("ssh://me@host:2222/"), some(Some("me"), "host", Some(2222)));
    }

    #[test]
    fn the_own_name_is_found_without_the_environment() {
        let output = std::process::Command::new("id").arg("-un").output().unwrap();
        assert_eq!(own_name().as_deref(), Some(String::from_utf8(output.stdout).unwrap().trim()));
    }

    #[test]
    fn other_text_is_no_target() {
        for text in
            ["", "@host", "host:", "host:0", "host:70000", "host:ssh", "[::1", "[::1]22", "-oProxyCommand=x"]
        {
            assert_eq!(parts(text), None, "{text:?}");
        }
    }
}
