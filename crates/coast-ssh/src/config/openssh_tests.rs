//! The same configurations read by this crate and by `ssh -G`, the oracle. Needs OpenSSH's `ssh` installed.

use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The values of some keywords as `ssh -G` prints them. A keyword may stand on several lines.
type Printed = BTreeMap<&'static str, Vec<String>>;

/// The keywords that are compared.
const COMPARED: [&str; 19] = [
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

/// A configuration, and the targets to resolve with it. `text` becomes the file `config` in a directory of its own, beside
/// `files`. `@DIR@` in a text stands for that directory.
struct Case {
    text: &'static str,
    files: &'static [(&'static str, &'static str)],
    targets: &'static [&'static str],
    options: &'static [(&'static str, &'static str)],
}

const fn case(text: &'static str, targets: &'static [&'static str]) -> Case {
    Case { text, files: &[], targets, options: &[] }
}

/// One [`Case`] on disk.
struct Trial {
    dir: tempfile::TempDir,
    options: ConnectOptions,
}

impl Trial {
    fn new(case: &Case) -> Trial {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let text = text.replace("@DIR@", dir.path().to_str().unwrap());
            fs::write(dir.path().join(name), text).unwrap();
        };
        write("config", case.text);
        for (name, text) in case.files {
            write(name, text);
        }
        let process = Environment::from_process();
        let local = Command::new("id").arg("-un").output().unwrap().stdout;
        let mut environment = Environment::isolated(dir.path(), String::from_utf8(local).unwrap().trim());
        environment.variables = process.variables;
        let overrides =
            case.options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config_file = Some(dir.path().join("config"));
        Trial { options: ConnectOptions { config_file, overrides, environment, ..Default::default() }, dir }
    }

    fn ssh(&self, target: &Target) -> Result<Printed, String> {
        let mut command = Command::new("ssh");
        command.arg("-G").arg("-F").arg(self.dir.path().join("config"));
        // Before the options, since `ssh` keeps the first value here too.
        if let Some(user) = &target.user {
            command.arg("-l").arg(user);
        }
        if let Some(port) = target.port {
            command.arg("-p").arg(port.to_string());
        }
        for (name, value) in &self.options.overrides {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        let output = command
            .arg("--")
            .arg(&target.host)
            .stdin(Stdio::null())
            .output()
            .expect("ssh must be installed for this test");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let mut printed = Printed::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
            if let Some(keyword) = COMPARED.iter().find(|name| **name == keyword) {
                printed.entry(keyword).or_default().push(value.to_owned());
            }
        }
        Ok(printed)
    }

    /// The values this crate reads, printed as `ssh -G` would; `default` has the lines of keywords that nothing sets.
    fn ours(&self, target: &Target, default: &Printed) -> Result<Printed, String> {
        let (values, _) =
            read(target, &self.options, Role::Destination).map_err(|error| error.to_string())?;
        let host_name = match &values.host_name {
            Some(name) => expansion::host_name(name, &target.host)?,
            None => target.host.clone(),
        };
        let mut printed = default.clone();
        let mut set = |keyword, value: Option<String>| {
            if let Some(value) = value {
                printed.insert(keyword, vec![value]);
            }
        };
        let flag = |value: bool| if value { "yes" } else { "no" }.to_owned();
        let seconds = |time: Duration| time.as_secs().to_string();
        set("hostname", Some(host_name.to_lowercase()));
        set("user", target.user.clone().or(values.user));
        set("port", target.port.or(values.port).map(|port| port.to_string()));
        set(
            "addressfamily",
            values.address_family.map(|family| match family {
                AddressFamily::Any => "any".to_owned(),
                AddressFamily::V4 => "inet".to_owned(),
                AddressFamily::V6 => "inet6".to_owned(),
            }),
        );
        set("batchmode", values.batch_mode.map(flag));
        set("bindaddress", values.bind_address.map(|address| address.to_string()));
        set("connecttimeout", values.connect_timeout.map(seconds));
        set("globalknownhostsfile", values.global_known_hosts_files.map(|files| files.join(" ")));
        set("userknownhostsfile", values.user_known_hosts_files.map(|files| files.join(" ")));
        set("hashknownhosts", values.hash_known_hosts.map(flag));
        set("hostkeyalias", values.host_key_alias);
        set("identitiesonly", values.identities_only.map(flag));
        set("identityagent", values.identity_agent);
        set("serveralivecountmax", values.server_alive_count_max.map(|count| count.to_string()));
        set("serveraliveinterval", values.server_alive_interval.map(seconds));
        set(
            "stricthostkeychecking",
            values.strict_host_key_checking.map(|policy| match policy {
                HostKeyPolicy::Strict => "true".to_owned(),
                HostKeyPolicy::Ask => "ask".to_owned(),
                HostKeyPolicy::AcceptNew => "accept-new".to_owned(),
                HostKeyPolicy::Lax => "false".to_owned(),
            }),
        );
        set("proxycommand", values.proxy_command.filter(|command| command != "none"));
        set("proxyjump", values.proxy_jump.filter(|hosts| !hosts.is_empty()).map(|hosts| hosts.join(",")));
        if !values.identity_files.is_empty() {
            let files = values.identity_files.iter().map(|path| path.to_str().unwrap().to_owned());
            printed.insert("identityfile", files.collect());
        }
        Ok(printed)
    }
}

/// The lines of `ssh -G` for a configuration that sets nothing.
fn default_lines() -> Printed {
    Trial::new(&case("", &[])).ssh(&Target::host("host")).unwrap()
}

const CASES: &[Case] = &[
    case("", &["host", "me@host:2200", "Host"]),
    case("User one\nUser two\nPort 2200\nPort 2201\n", &["host", "me@host", "host:1"]),
    case(
        "Host a b\n User ab\nHost b c\n User bc\n Port 3\nHost *\n User any\n Port 4\n",
        &["a", "b", "c", "d"],
    ),
    case("Host *.example !secret.example web?\n User m\n", &["a.example", "secret.example", "web1", "web12"]),
    case("Host *.Example\n User m\n", &["a.Example", "a.example"]),
    case("Host !a\n User m\nHost !a *\n Port 3\n", &["a", "b"]),
    case("Host \"a b\" 'c'\n User m\n", &["c", "a"]),
    case("hOsT a\n\tuSeR m\n", &["a"]),
    case("User=m\nPort = 3\nHostName  =real.example\n", &["host"]),
    case("User m # comment\nPort 3 #4\n#Port 5\n   # Port 6\n\n\t\n", &["host"]),
    case("User \"quoted user\"\nHostKeyAlias 'single quoted'\n", &["host"]),
    case("User a\"b c\"d\nHostKeyAlias \"it's\"\n", &["host"]),
    case("User a\\ b\nHostKeyAlias \"a\\\"b\\\\c\\d\"\n", &["host"]),
    case("User \"a#b\"\nHostKeyAlias a#b\n", &["host"]),
    case("HostName %h.example\n", &["host", "Host"]),
    case("HostName 100%%.example\n", &["host"]),
    case(
        "Host short\n HostName long.example\nMatch host long.example\n User m\n",
        &["short", "long.example", "x"],
    ),
    case("HostName %h.example\nMatch host host.example\n User m\n", &["host", "other"]),
    case("Match originalhost a,b\n User m\nMatch host=c\n Port 3\n", &["a", "b", "c"]),
    case("Match host A.EXAMPLE\n User m\n", &["a.example", "A.Example"]),
    case(
        "Match user deploy\n Port 3\nMatch !user deploy\n Port 4\n",
        &["deploy@host", "host", "Deploy@host"],
    ),
    case("User deploy\nMatch user deploy\n Port 3\n", &["host", "me@host"]),
    case("Match localuser nobody-here\n Port 3\nMatch !localuser nobody-here\n Port 4\n", &["host"]),
    case("Match host a user me\n Port 3\nMatch host a\n Port 4\n", &["me@a", "you@a", "me@b"]),
    case("Match host *.example,!secret.example\n Port 3\n", &["a.example", "secret.example"]),
    case("Match host \"a\" originalhost = b\n Port 3\nMatch all # comment\n User m\n", &["a", "b"]),
    case("Host a\n Port 3\nMatch all\n Port 4\n", &["a", "b"]),
    case("Match canonical\n Port 3\nMatch !canonical host a\n Port 4\n", &["a", "b"]),
    case("IdentityFile ~/one\nIdentityFile /two\nIdentityFile ~/one\n", &["host"]),
    case("Host a\n IdentityFile %d/%r@%h\nHost *\n IdentityFile \"with space\"\n", &["a", "b"]),
    case("IdentityFile none\nIdentitiesOnly yes\n", &["host"]),
    case("IdentityAgent none\n", &["host"]),
    case("IdentityAgent SSH_AUTH_SOCK\nIdentityAgent /later\n", &["host"]),
    case("IdentityAgent /run/agent\nIdentitiesOnly TRUE\nBatchMode No\n", &["host"]),
    case("ConnectTimeout 5\nServerAliveInterval 1m30s\nServerAliveCountMax 9\n", &["host"]),
    case("ConnectTimeout 1h\nServerAliveInterval 0\nServerAliveInterval 7\n", &["host"]),
    case("StrictHostKeyChecking yes\n", &["host"]),
    case("StrictHostKeyChecking ASK\n", &["host"]),
    case("StrictHostKeyChecking accept-new\n", &["host"]),
    case("StrictHostKeyChecking off\nHashKnownHosts yes\n", &["host"]),
    case("GlobalKnownHostsFile /a \"/b c\"\nGlobalKnownHostsFile /d\n", &["host"]),
    case("UserKnownHostsFile /a '/b c' # comment\nUserKnownHostsFile /d\n", &["host"]),
    case("AddressFamily INET6\nBindAddress 127.0.0.2\n", &["host"]),
    case("ProxyJump me@one:2200,two\n", &["host"]),
    case("ProxyJump one # comment\nProxyCommand nc %h %p\n", &["host"]),
    case("ProxyCommand nc %h %p # all of it\nProxyJump one\n", &["host"]),
    case("ProxyJump none\nProxyJump one\n", &["host"]),
    case("ProxyCommand none\nProxyJump one\n", &["host"]),
    case("ProxyCommand=ssh -W \"[%h]:%p\" gate\n", &["host"]),
    case(
        "ForwardAgent yes\nCiphers aes128-ctr\nIgnoreUnknown Nonsense\nNonsense really\nUser m\n",
        &["host"],
    ),
    Case {
        text: "Host a\n Include @DIR@/*.conf\n Port 1\nHost *\n Include @DIR@/absent\n User late\n",
        files: &[
            ("a.conf", "User early\nHost b\n Port 7\n"),
            ("b.conf", "HashKnownHosts yes\nHost a\n HostKeyAlias included\n"),
            (".hidden.conf", "HostKeyAlias hidden\n"),
        ],
        targets: &["a", "b"],
        options: &[],
    },
    Case {
        text: "Match host a\nInclude \"@DIR@/two words\" @DIR@/b\nPort 3\n",
        files: &[("two words", "Match host nothing\n"), ("b", "User m\n")],
        targets: &["a", "b"],
        options: &[],
    },
    Case {
        text: "Port 1\nUser file\nIdentityFile /file\nStrictHostKeyChecking yes\n",
        files: &[],
        targets: &["host", "me@host:2"],
        options: &[
            ("port", "4"),
            ("User", "\"quoted user\""),
            ("IdentityFile", "/option"),
            ("StrictHostKeyChecking", "no"),
        ],
    },
];

/// Configurations that OpenSSH refuses.
const REFUSED: &[&str] = &[
    "Port many\n",
    "Port 0\n",
    "Port 65536\n",
    "Port\n",
    "Port 22 23\n",
    "Port 3#4\n",
    "Port 22\nPort many\n",
    "User \"\"\n",
    "User \"open\n",
    "User it's\n",
    "User a b\n",
    "Host\n",
    "Match\n",
    "Match host\n",
    "Match user \"\"\n",
    "BatchMode maybe\n",
    "ConnectTimeout 1x\n",
    "ConnectTimeout -1\n",
    "ServerAliveCountMax few\n",
    "StrictHostKeyChecking sometimes\n",
    "AddressFamily ipx\n",
    "ProxyJump one:ssh:x,\n",
    "ProxyJump @one\n",
    "ProxyCommand it's\n",
    "IdentityFile a b\n",
    "HostName %x\n",
    "Include\n",
];

#[test]
fn every_configuration_means_the_same_to_ssh() {
    let default = default_lines();
    let mut different = Vec::new();
    for case in CASES {
        let trial = Trial::new(case);
        for text in case.targets {
            let target = Target::parse(text).unwrap();
            let (ours, ssh) = (trial.ours(&target, &default), trial.ssh(&target));
            if ssh.is_err() || ours != ssh {
                different.push(format!("{}for {text}\n  ours {ours:?}\n  ssh  {ssh:?}", case.text));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

#[test]
fn every_configuration_that_ssh_refuses_is_refused() {
    let default = default_lines();
    for text in REFUSED {
        let trial = Trial::new(&case(text, &[]));
        let target = Target::host("host");
        assert!(trial.ssh(&target).is_err(), "ssh takes:\n{text}");
        assert!(trial.ours(&target, &default).is_err(), "taken here, refused by ssh:\n{text}");
    }
}
