//! The values that the lines of the configuration and the `-o` options come to: the first value of an option stays, its
//! tokens are expanded, what nobody sets gets its default.

use crate::config::options::{ConnectOptions, Target};
use crate::config::settings::{AddressFamily, HostKeyPolicy, HostSettings, IdentityFile, Role};
use crate::config::tokens::{Tokens, bad_value, seconds, unquoted};
use crate::error::SshError;
use ssh2_config::{DefaultAlgorithms, HostParams, ParseRule, SshConfig};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time for connecting when neither the caller nor the configuration says.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time without a sign of life after which the server is asked for one.
const DEFAULT_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How many such questions may stay without an answer.
const DEFAULT_ALIVE_COUNT: u32 = 3;
/// The private keys tried when none is configured, in `~/.ssh`.
const DEFAULT_IDENTITIES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// The options this client acts on, in lower case.
const HONOURED: [&str; 19] = [
    "addressfamily",
    "batchmode",
    "bindaddress",
    "connecttimeout",
    "globalknownhostsfile",
    "hashknownhosts",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "port",
    "proxycommand",
    "proxyjump",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
];

/// Options that ask for nothing this client would do differently, so that a command line that has them still works.
const WITHOUT_EFFECT: [&str; 30] = [
    "addkeystoagent",
    "challengeresponseauthentication",
    "checkhostip",
    "clearallforwardings",
    "compression",
    "connectionattempts",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forwardagent",
    "forwardx11",
    "forwardx11trusted",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "ipqos",
    "kbdinteractiveauthentication",
    "loglevel",
    "numberofpasswordprompts",
    "passwordauthentication",
    "permitlocalcommand",
    "preferredauthentications",
    "pubkeyauthentication",
    "requesttty",
    "sendenv",
    "tcpkeepalive",
    "updatehostkeys",
    "visualhostkey",
];

/// One `Keyword value` line that applies to the host in question.
pub(crate) struct Assignment<'a> {
    /// In lower case.
    pub(crate) keyword: String,
    /// The rest of the line, its quotes still on.
    pub(crate) value: &'a str,
    pub(super) file: &'a Path,
    pub(super) line: usize,
}

impl Assignment<'_> {
    /// `path:line`, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// The values found so far. The first value of an option stays, except that identity files add up.
pub(crate) struct Merged<'a> {
    pub(super) params: HostParams,
    pub(super) home: Option<&'a Path>,
}

impl Merged<'_> {
    /// The real host name as far as it has been read, for `Match host`.
    pub(crate) fn host_name(&self) -> Option<&str> {
        self.params.host_name.as_deref()
    }

    /// The remote user as far as it has been read, for `Match user`.
    pub(crate) fn user(&self) -> Option<&str> {
        self.params.user.as_deref()
    }

    /// Takes over one line of a configuration file. Options that are not acted on are skipped unread, so that a value
    /// that only OpenSSH understands cannot spoil the rest.
    pub(crate) fn apply(&mut self, assignment: &Assignment<'_>) -> Result<(), SshError> {
        if !HONOURED.contains(&assignment.keyword.as_str()) {
            return Ok(());
        }
        self.merge(&assignment.keyword, assignment.value)
            .map_err(|problem| SshError::Config { place: assignment.place(), problem })
    }

    pub(super) fn apply_override(&mut self, name: &str, value: &str) -> Result<(), SshError> {
        let keyword = name.to_ascii_lowercase();
        let error = |problem: String| SshError::Option { name: name.to_owned(), problem };
        if HONOURED.contains(&keyword.as_str()) {
            self.merge(&keyword, value).map_err(error)
        } else if WITHOUT_EFFECT.contains(&keyword.as_str()) {
            Ok(())
        } else {
            Err(error("this ssh option is not supported".to_owned()))
        }
    }

    /// Has one option's value read by `ssh2-config`, which knows the quoting and the types, and keeps it if it is the
    /// first. Line by line rather than a file at once, because that crate knows neither `Match` nor times like `1m`,
    /// would let the last value of a block win, and names no line in its errors.
    fn merge(&mut self, keyword: &str, value: &str) -> Result<(), String> {
        let value = match keyword {
            "connecttimeout" | "serveraliveinterval" => match seconds(value) {
                Some(seconds) => seconds.to_string(),
                None => return Err(format!("\"{value}\" is not a time")),
            },
            _ => value.to_owned(),
        };
        let line = format!("{keyword} {value}");
        let mut reader = SshConfig::default().default_algorithms(DefaultAlgorithms::empty());
        if let Some(home) = self.home {
            reader = reader.home_dir(home);
        }
        let parsed = reader
            .parse(&mut line.as_bytes(), ParseRule::ALLOW_UNSUPPORTED_FIELDS)
            .map_err(|error| format!("{keyword} \"{value}\": {error}"))?;
        self.params.overwrite_if_none(&parsed.query("*"));
        Ok(())
    }

    /// The words of an option that `ssh2-config` hands on unread.
    fn words(&self, keyword: &str) -> Option<Vec<&str>> {
        let words = self.params.unsupported_fields.get(keyword)?;
        Some(words.iter().map(|word| unquoted(word)).collect())
    }

    fn word(&self, keyword: &str) -> Option<&str> {
        self.words(keyword)?.first().copied()
    }

    fn flag(&self, keyword: &str) -> Result<Option<bool>, SshError> {
        match self.word(keyword).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("yes" | "true") => Ok(Some(true)),
            Some("no" | "false") => Ok(Some(false)),
            Some(other) => Err(bad_value(keyword, other, "expected yes or no")),
        }
    }

    pub(super) fn into_settings(
        self,
        target: &Target,
        options: &ConnectOptions,
        role: Role,
        notices: Vec<String>,
    ) -> Result<HostSettings, SshError> {
        let environment = &options.environment;
        let user = target
            .user
            .clone()
            .or_else(|| self.params.user.clone())
            .or_else(|| environment.user.clone())
            .ok_or_else(|| SshError::Unsupported {
                host: target.host.clone(),
                problem: "which user to log in as? Neither the target, the configuration nor USER says"
                    .to_owned(),
            })?;
        let port = target.port.or(self.params.port).unwrap_or(22);
        let host_name = match &self.params.host_name {
            Some(name) => name.replace("%%", "\0").replace("%h", &target.host).replace('\0', "%"),
            None => target.host.clone(),
        };
        let tokens = Tokens { environment, alias: &target.host, host_name: &host_name, port, user: &user };

        let identities_only = self.flag("identitiesonly")?.unwrap_or(false);
        let agent = match self.word("identityagent") {
            None | Some("SSH_AUTH_SOCK") => environment.agent.clone(),
            Some("none") => None,
            Some(path) => match path.strip_prefix('$') {
                Some(name) if !name.starts_with('{') => {
                    environment.variables.get(OsStr::new(name)).map(PathBuf::from)
                }
                _ => Some(tokens.path(path)?),
            },
        };
        let mut identity_files = Vec::new();
        for path in self.params.identity_file.iter().flatten() {
            if path.as_os_str() == "none" {
                continue;
            }
            let path = match path.to_str() {
                Some(text) => tokens.path(text)?,
                None => path.clone(),
            };
            let file = IdentityFile { path, named: true };
            if !identity_files.contains(&file) {
                identity_files.push(file);
            }
        }
        if self.params.identity_file.is_none()
            && let Some(home) = &environment.home
        {
            let file = |name: &&str| IdentityFile { path: home.join(".ssh").join(name), named: false };
            identity_files.extend(DEFAULT_IDENTITIES.iter().map(file));
        }

        let jumps = self.jumps(target)?;
        if jumps.is_empty()
            && let Some(command) = self.word("proxycommand")
            && command != "none"
        {
            return Err(SshError::Unsupported {
                host: target.host.clone(),
                problem: "the configuration has a ProxyCommand, and no program is started to connect; \
                          ProxyJump serves instead"
                    .to_owned(),
            });
        }

        let known_hosts = |keyword: &str, default: Vec<PathBuf>| match self.words(keyword) {
            None => Ok(default),
            Some(words) if words == ["none"] => Ok(Vec::new()),
            Some(words) => words.into_iter().map(|word| tokens.path(word)).collect::<Result<Vec<_>, _>>(),
        };
        let own = environment.home.iter().map(|home| home.join(".ssh"));
        let own = own.flat_map(|ssh| [ssh.join("known_hosts"), ssh.join("known_hosts2")]).collect();
        let user_known_hosts = known_hosts("userknownhostsfile", own)?;
        let global_known_hosts = known_hosts("globalknownhostsfile", environment.system_known_hosts.clone())?;

        let policy = match self.word("stricthostkeychecking").map(str::to_ascii_lowercase).as_deref() {
            None | Some("accept-new") => HostKeyPolicy::AcceptNew,
            Some("yes" | "true") => HostKeyPolicy::Strict,
            Some("ask") => HostKeyPolicy::Ask,
            Some("no" | "off" | "false") => HostKeyPolicy::Lax,
            Some(other) => {
                return Err(bad_value("StrictHostKeyChecking", other, "expected yes, ask, accept-new or no"));
            }
        };
        let configured_timeout = self.params.connect_timeout.filter(|timeout| !timeout.is_zero());
        let connect_timeout = match role {
            Role::Destination => options.connect_timeout.or(configured_timeout),
            Role::Jump => configured_timeout.or(options.connect_timeout),
        };
        let alive_count = match self.word("serveralivecountmax") {
            None => DEFAULT_ALIVE_COUNT,
            Some(text) => {
                text.parse().map_err(|_| bad_value("ServerAliveCountMax", text, "expected a number"))?
            }
        };
        let alive_interval = self.params.server_alive_interval.unwrap_or(DEFAULT_ALIVE_INTERVAL);
        let bind_address = match &self.params.bind_address {
            None => None,
            Some(text) => {
                Some(text.parse().map_err(|_| bad_value("BindAddress", text, "expected an address"))?)
            }
        };
        let address_family = match self.word("addressfamily") {
            None | Some("any") => AddressFamily::Any,
            Some("inet") => AddressFamily::V4,
            Some("inet6") => AddressFamily::V6,
            Some(other) => return Err(bad_value("AddressFamily", other, "expected any, inet or inet6")),
        };
        let host_key_alias = self.word("hostkeyalias").map(str::to_owned);
        let hash_known_hosts = self.flag("hashknownhosts")?.unwrap_or(false);
        let batch = self.flag("batchmode")?.unwrap_or(false);

        Ok(HostSettings {
            host_name,
            port,
            user,
            host_key_alias,
            identity_files,
            identities_only,
            agent,
            jumps,
            user_known_hosts,
            global_known_hosts,
            policy,
            hash_known_hosts,
            connect_timeout: connect_timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            alive_interval: Some(alive_interval).filter(|interval| !interval.is_zero()),
            alive_count,
            batch,
            bind_address,
            address_family,
            notices,
        })
    }

    fn jumps(&self, target: &Target) -> Result<Vec<Target>, SshError> {
        let Some(jumps) = &self.params.proxy_jump else { return Ok(Vec::new()) };
        if jumps.len() == 1 && jumps[0].eq_ignore_ascii_case("none") {
            return Ok(Vec::new());
        }
        let jump = |text: &String| {
            let text = unquoted(text).replace("%h", &target.host);
            Target::parse(text.trim())
                .ok_or_else(|| bad_value("ProxyJump", &text, "expected [user@]host[:port]"))
        };
        jumps.iter().map(jump).collect()
    }
}
