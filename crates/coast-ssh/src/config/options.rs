//! What to connect to and how, before any configuration file has been read. The process environment is read in one
//! place, [`Environment::from_process`], so that a test or an embedding program can put another in its stead.

use nix::unistd::{Uid, User};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Where to connect, as the user typed it: the host may be an alias of the ssh configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The user to log in as, if given.
    pub user: Option<String>,
    /// Host name, alias or address (IPv6 without brackets).
    pub host: String,
    /// The TCP port, if given.
    pub port: Option<u16>,
}

impl Target {
    /// A target with neither user nor port, which the configuration then says.
    pub fn host(host: impl Into<String>) -> Target {
        Target { user: None, host: host.into(), port: None }
    }

    /// Reads `[user@]host[:port]`, `[user@][address]:port` or `ssh://[user@]host[:port]`, the forms of `ProxyJump`.
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

/// How to connect. The default is what the `ssh` program would do, with `StrictHostKeyChecking accept-new`.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// Private key files to try before all others (`-i`), in order.
    pub identities: Vec<PathBuf>,
    /// The configuration file to read instead of `~/.ssh/config` and `/etc/ssh/ssh_config` (`-F`).
    pub config_file: Option<PathBuf>,
    /// Options that win over the configuration files (`-o`), as name and value. An unknown name is an error.
    pub overrides: Vec<(String, String)>,
    /// The time for connecting, from the first packet to the accepted key, per host on the way. Wins over
    /// `ConnectTimeout`; without either it is 10 s.
    pub connect_timeout: Option<Duration>,
    /// What the process's surroundings say.
    pub environment: Environment,
}

/// The parts of a process's surroundings that decide about a connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Environment {
    /// The user's home directory, which `~` stands for.
    pub home: Option<PathBuf>,
    /// The name of the local user, the default for the remote one.
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
    /// What this process finds around it.
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

    /// Surroundings in which there is nothing but a home directory and a user: what a test wants.
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
    // An error means that the name stays unknown; a missing user is reported when a host is resolved.
    User::from_uid(Uid::current()).ok().flatten().map(|user| user.name)
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
    fn what_is_no_target_is_refused() {
        for text in
            ["", "@host", "host:", "host:0", "host:70000", "host:ssh", "[::1", "[::1]22", "-oProxyCommand=x"]
        {
            assert_eq!(parts(text), None, "{text:?}");
        }
    }
}
