//! The keywords that this client acts on, and the values that `-o` options and configuration files give them. The first
//! value of a keyword stays; identity files add up.

use crate::config::expansion::seconds;
use crate::config::line::Arguments;
use crate::config::options::Target;
use crate::config::settings::{AddressFamily, HostKeyPolicy};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One value for each keyword. `None` means that no line has set it.
///
/// Text values are kept as they stand in the file, since a `%` token may name a value that a later line sets.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pub(crate) address_family: Option<AddressFamily>,
    pub(crate) batch_mode: Option<bool>,
    pub(crate) bind_address: Option<IpAddr>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) global_known_hosts_files: Option<Vec<String>>,
    pub(crate) hash_known_hosts: Option<bool>,
    pub(crate) host_key_alias: Option<String>,
    pub(crate) host_name: Option<String>,
    pub(crate) identities_only: Option<bool>,
    pub(crate) identity_agent: Option<String>,
    /// In the order of the lines, each path once.
    pub(crate) identity_files: Vec<PathBuf>,
    pub(crate) port: Option<u16>,
    /// `None` also where a `ProxyJump` before it names hosts. May be `none`.
    pub(crate) proxy_command: Option<String>,
    /// `[user@]host[:port]` of every jump host, the first one first; empty for `none`. `None` also where a
    /// `ProxyCommand` stands before it.
    pub(crate) proxy_jump: Option<Vec<String>>,
    pub(crate) server_alive_count_max: Option<u32>,
    pub(crate) server_alive_interval: Option<Duration>,
    pub(crate) strict_host_key_checking: Option<HostKeyPolicy>,
    pub(crate) user: Option<String>,
    pub(crate) user_known_hosts_files: Option<Vec<String>>,
}

/// Stores the value of one keyword.
type Setter = fn(&mut Values, Arguments<'_>) -> Result<(), String>;

/// Every keyword that this client acts on, in lower case.
const KEYWORDS: [(&str, Setter); 19] = [
    ("addressfamily", |values, arguments| {
        let families =
            [("any", AddressFamily::Any), ("inet", AddressFamily::V4), ("inet6", AddressFamily::V6)];
        keep_first(&mut values.address_family, choice(arguments, &families)?)
    }),
    ("batchmode", |values, arguments| keep_first(&mut values.batch_mode, flag(arguments)?)),
    ("bindaddress", |values, arguments| {
        keep_first(&mut values.bind_address, parsed(arguments, "an IP address", |text| text.parse().ok())?)
    }),
    ("connecttimeout", |values, arguments| keep_first(&mut values.connect_timeout, time(arguments)?)),
    ("globalknownhostsfile", |values, arguments| {
        keep_first(&mut values.global_known_hosts_files, arguments.words()?)
    }),
    ("hashknownhosts", |values, arguments| keep_first(&mut values.hash_known_hosts, flag(arguments)?)),
    ("hostkeyalias", |values, arguments| keep_first(&mut values.host_key_alias, arguments.word()?)),
    ("hostname", |values, arguments| keep_first(&mut values.host_name, arguments.word()?)),
    ("identitiesonly", |values, arguments| keep_first(&mut values.identities_only, flag(arguments)?)),
    ("identityagent", |values, arguments| keep_first(&mut values.identity_agent, arguments.word()?)),
    ("identityfile", |values, arguments| {
        values.add_identity_file(arguments.word()?.into());
        Ok(())
    }),
    ("port", |values, arguments| {
        let port = |text: &str| text.parse().ok().filter(|&port| port != 0);
        keep_first(&mut values.port, parsed(arguments, "a port number", port)?)
    }),
    ("proxycommand", |values, arguments| {
        // OpenSSH refuses an open quote here too, although it takes the command as it stands.
        arguments.words()?;
        if values.proxy_jump.as_ref().is_none_or(Vec::is_empty) {
            values.proxy_command.get_or_insert_with(|| arguments.text().to_owned());
        }
        Ok(())
    }),
    ("proxyjump", |values, arguments| {
        let hosts = jump_hosts(arguments)?;
        if values.proxy_command.is_none() {
            values.proxy_jump.get_or_insert(hosts);
        }
        Ok(())
    }),
    ("serveralivecountmax", |values, arguments| {
        keep_first(
            &mut values.server_alive_count_max,
            parsed(arguments, "a number", |text| text.parse().ok())?,
        )
    }),
    ("serveraliveinterval", |values, arguments| {
        keep_first(&mut values.server_alive_interval, time(arguments)?)
    }),
    ("stricthostkeychecking", |values, arguments| {
        let policies = [
            ("yes", HostKeyPolicy::Strict),
            ("true", HostKeyPolicy::Strict),
            ("ask", HostKeyPolicy::Ask),
            ("accept-new", HostKeyPolicy::AcceptNew),
            ("no", HostKeyPolicy::Lax),
            ("false", HostKeyPolicy::Lax),
            ("off", HostKeyPolicy::Lax),
        ];
        keep_first(&mut values.strict_host_key_checking, choice(arguments, &policies)?)
    }),
    ("user", |values, arguments| keep_first(&mut values.user, arguments.word()?)),
    ("userknownhostsfile", |values, arguments| {
        keep_first(&mut values.user_known_hosts_files, arguments.words()?)
    }),
];

/// Keywords of OpenSSH that change nothing this client does. As `-o` options they are accepted, so that a command line
/// that has them still works.
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

impl Values {
    /// Takes over one line of a configuration file. Keywords that are not acted on are skipped unread, so that a value
    /// that only OpenSSH understands does not spoil the rest.
    ///
    /// # Errors
    /// When the value cannot be used, whether or not it is the first one.
    pub(crate) fn set(&mut self, keyword: &str, arguments: Arguments<'_>) -> Result<(), String> {
        match setter(keyword) {
            Some(set) => set(self, arguments).map_err(|problem| format!("{keyword}: {problem}")),
            None => Ok(()),
        }
    }

    /// Takes over one `-o` option.
    ///
    /// # Errors
    /// When the value cannot be used, or the option is neither acted on nor known to change nothing.
    pub(crate) fn set_option(&mut self, name: &str, value: &str) -> Result<(), String> {
        let keyword = name.to_ascii_lowercase();
        match setter(&keyword) {
            Some(set) => set(self, Arguments::new(value)),
            None if WITHOUT_EFFECT.contains(&keyword.as_str()) => Ok(()),
            None => Err("this ssh option is not supported".to_owned()),
        }
    }

    pub(crate) fn add_identity_file(&mut self, path: PathBuf) {
        if !self.identity_files.contains(&path) {
            self.identity_files.push(path);
        }
    }
}

fn setter(keyword: &str) -> Option<Setter> {
    KEYWORDS.iter().find(|(name, _)| *name == keyword).map(|(_, set)| *set)
}

fn keep_first<T>(slot: &mut Option<T>, value: T) -> Result<(), String> {
    slot.get_or_insert(value);
    Ok(())
}

/// Reads the only word with `parse`. `expected` says in an error which values there are.
fn parsed<T>(
    arguments: Arguments<'_>,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, String> {
    let word = arguments.word()?;
    parse(&word).ok_or_else(|| format!("expected {expected}, found \"{word}\""))
}

/// Reads the only word as one of `choices`, in upper or lower case.
fn choice<T: Copy>(arguments: Arguments<'_>, choices: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    parsed(arguments, &format!("one of {}", names.join(", ")), |word| {
        choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, value)| *value)
    })
}

fn flag(arguments: Arguments<'_>) -> Result<bool, String> {
    choice(arguments, &[("yes", true), ("no", false), ("true", true), ("false", false)])
}

fn time(arguments: Arguments<'_>) -> Result<Duration, String> {
    parsed(arguments, "a time", seconds).map(Duration::from_secs)
}

fn jump_hosts(arguments: Arguments<'_>) -> Result<Vec<String>, String> {
    arguments.words()?;
    let text = arguments.text();
    let text = text.split_once('#').map_or(text, |(before, _)| before).trim_end();
    if text.eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    let hosts: Vec<String> = text.split(',').map(str::to_owned).collect();
    match hosts.iter().find(|host| Target::parse(host).is_none()) {
        Some(host) => Err(format!("expected [user@]host[:port], found \"{host}\"")),
        None => Ok(hosts),
    }
}
