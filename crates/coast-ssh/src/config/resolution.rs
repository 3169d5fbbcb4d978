//! From the values of the configuration to the settings of a host: the target and the options of the caller win, tokens
//! are expanded, and values that nothing sets get their defaults.

use crate::config::expansion::{self, Tokens};
use crate::config::options::{ConnectOptions, Target};
use crate::config::settings::{AddressFamily, HostKeyPolicy, HostSettings, IdentityFile, Role};
use crate::config::values::Values;
use crate::error::SshError;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_PORT: u16 = 22;
/// The connect timeout when neither the caller nor the configuration sets one.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The default of `ServerAliveInterval`. OpenSSH has none and may wait for ever for a host that is gone.
pub(crate) const DEFAULT_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The default of `ServerAliveCountMax`, as in OpenSSH.
const DEFAULT_ALIVE_COUNT: u32 = 3;
/// The files in `~/.ssh` that are tried when no `IdentityFile` is set.
const DEFAULT_IDENTITIES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
/// The files in `~/.ssh` that `UserKnownHostsFile` names by default.
const DEFAULT_KNOWN_HOSTS: [&str; 2] = ["known_hosts", "known_hosts2"];

/// Everything that decides about the settings of one host.
pub(crate) struct Resolution<'a> {
    pub(crate) values: Values,
    pub(crate) target: &'a Target,
    pub(crate) options: &'a ConnectOptions,
    pub(crate) role: Role,
}

impl Resolution<'_> {
    /// # Errors
    /// When no user is known, a token cannot be expanded, or the host is reached by a `ProxyCommand`.
    pub(crate) fn into_settings(self, notices: Vec<String>) -> Result<HostSettings, SshError> {
        let user = self.user()?;
        let host_name = self.host_name()?;
        let port = self.target.port.or(self.values.port).unwrap_or(DEFAULT_PORT);
        let tokens = Tokens {
            environment: &self.options.environment,
            original_host: &self.target.host,
            host_name: &host_name,
            host_key_alias: self.values.host_key_alias.as_deref(),
            port,
            user: &user,
        };
        Ok(HostSettings {
            identity_files: self.identity_files(&tokens)?,
            identities_only: self.values.identities_only.unwrap_or(false),
            agent: self.agent(&tokens)?,
            jumps: self.jumps(&tokens)?,
            user_known_hosts: self.user_known_hosts(&tokens)?,
            global_known_hosts: self.global_known_hosts(&tokens)?,
            policy: self.values.strict_host_key_checking.unwrap_or(HostKeyPolicy::AcceptNew),
            hash_known_hosts: self.values.hash_known_hosts.unwrap_or(false),
            connect_timeout: self.connect_timeout(),
            alive_interval: self.alive_interval(),
            alive_count: self.values.server_alive_count_max.unwrap_or(DEFAULT_ALIVE_COUNT),
            batch: self.values.batch_mode.unwrap_or(false),
            bind_address: self.values.bind_address,
            address_family: self.values.address_family.unwrap_or(AddressFamily::Any),
            host_key_alias: self.values.host_key_alias.clone(),
            host_name,
            port,
            user,
            notices,
        })
    }

    fn user(&self) -> Result<String, SshError> {
        let user = self.target.user.as_ref().or(self.values.user.as_ref());
        user.or(self.options.environment.user.as_ref()).cloned().ok_or_else(|| SshError::Unsupported {
            host: self.target.host.clone(),
            problem: "no user to log in as is known; name one as USER@HOST, with User in the ssh configuration, or in \
                      the environment variable USER"
                .to_owned(),
        })
    }

    fn host_name(&self) -> Result<String, SshError> {
        let typed = &self.target.host;
        match &self.values.host_name {
            Some(name) => expansion::host_name(name, typed).map_err(|problem| unusable("HostName", problem)),
            None => Ok(typed.clone()),
        }
    }

    /// The files that the user named, or the default ones. `none` names no file.
    fn identity_files(&self, tokens: &Tokens<'_>) -> Result<Vec<IdentityFile>, SshError> {
        let named = &self.values.identity_files;
        if named.is_empty() {
            let ssh = self.options.environment.home.iter().map(|home| home.join(".ssh"));
            let default = ssh.flat_map(|ssh| DEFAULT_IDENTITIES.map(|name| ssh.join(name)));
            return Ok(default.map(|path| IdentityFile { path, named: false }).collect());
        }
        let named = named.iter().filter(|path| !path.as_os_str().eq_ignore_ascii_case("none"));
        named
            .map(|path| {
                let path = match path.to_str() {
                    Some(text) => expanded_path("IdentityFile", text, tokens)?,
                    None => path.clone(),
                };
                Ok(IdentityFile { path, named: true })
            })
            .collect()
    }

    fn agent(&self, tokens: &Tokens<'_>) -> Result<Option<PathBuf>, SshError> {
        let environment = &self.options.environment;
        let text = match self.values.identity_agent.as_deref() {
            None | Some("SSH_AUTH_SOCK") => return Ok(environment.agent.clone()),
            Some(text) if text.eq_ignore_ascii_case("none") => return Ok(None),
            Some(text) => text,
        };
        match text.strip_prefix('$') {
            Some(name) if !name.starts_with('{') => {
                Ok(environment.variables.get(OsStr::new(name)).map(PathBuf::from))
            }
            _ => expanded_path("IdentityAgent", text, tokens).map(Some),
        }
    }

    fn jumps(&self, tokens: &Tokens<'_>) -> Result<Vec<Target>, SshError> {
        let command = self.values.proxy_command.as_ref();
        if command.is_some_and(|command| !command.eq_ignore_ascii_case("none")) {
            return Err(SshError::Unsupported {
                host: self.target.host.clone(),
                problem:
                    "the ssh configuration sets a ProxyCommand, and this program starts no other program to \
                          connect; set ProxyJump instead"
                        .to_owned(),
            });
        }
        let jump = |host: &String| {
            let host = tokens.text(host)?;
            Target::parse(&host).ok_or_else(|| format!("expected [user@]host[:port], found \"{host}\""))
        };
        let jumps = self.values.proxy_jump.iter().flatten().map(jump).collect::<Result<_, _>>();
        jumps.map_err(|problem| unusable("ProxyJump", problem))
    }

    fn user_known_hosts(&self, tokens: &Tokens<'_>) -> Result<Vec<PathBuf>, SshError> {
        match &self.values.user_known_hosts_files {
            Some(files) => known_hosts("UserKnownHostsFile", files, tokens),
            None => {
                let ssh = self.options.environment.home.iter().map(|home| home.join(".ssh"));
                Ok(ssh.flat_map(|ssh| DEFAULT_KNOWN_HOSTS.map(|name| ssh.join(name))).collect())
            }
        }
    }

    fn global_known_hosts(&self, tokens: &Tokens<'_>) -> Result<Vec<PathBuf>, SshError> {
        match &self.values.global_known_hosts_files {
            Some(files) => known_hosts("GlobalKnownHostsFile", files, tokens),
            None => Ok(self.options.environment.system_known_hosts.clone()),
        }
    }

    /// The caller's timeout is meant for the destination, so at a jump host the configuration wins over it.
    fn connect_timeout(&self) -> Duration {
        let configured = self.values.connect_timeout.filter(|timeout| !timeout.is_zero());
        let timeout = match self.role {
            Role::Destination => self.options.connect_timeout.or(configured),
            Role::Jump => configured.or(self.options.connect_timeout),
        };
        timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT)
    }

    fn alive_interval(&self) -> Option<Duration> {
        let interval = self.values.server_alive_interval.unwrap_or(DEFAULT_ALIVE_INTERVAL);
        Some(interval).filter(|interval| !interval.is_zero())
    }
}

/// Expands the paths of one keyword. `none` alone names no file.
fn known_hosts(keyword: &str, files: &[String], tokens: &Tokens<'_>) -> Result<Vec<PathBuf>, SshError> {
    match files {
        [file] if file.eq_ignore_ascii_case("none") => Ok(Vec::new()),
        files => files.iter().map(|file| expanded_path(keyword, file, tokens)).collect(),
    }
}

fn expanded_path(keyword: &str, text: &str, tokens: &Tokens<'_>) -> Result<PathBuf, SshError> {
    tokens.path(text).map_err(|problem| unusable(keyword, problem))
}

fn unusable(keyword: &str, problem: String) -> SshError {
    SshError::Option { name: keyword.to_owned(), problem }
}
