//! The settings that configuration files and options give a host.

use super::*;
use crate::config::expansion::seconds;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A home directory with the given `~/.ssh` files.
struct Home(tempfile::TempDir);

impl Home {
    fn with(files: &[(&str, &str)]) -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = home.0.path().join(".ssh").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        home
    }

    fn options(&self) -> ConnectOptions {
        let environment = Environment::isolated(self.0.path(), "local");
        ConnectOptions { environment, ..ConnectOptions::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn resolve(&self, target: &str) -> HostSettings {
        self.resolve_with(target, self.options()).unwrap()
    }

    fn resolve_with(&self, target: &str, options: ConnectOptions) -> Result<HostSettings, SshError> {
        resolve(&Target::parse(target).unwrap(), &options, Role::Destination)
    }
}

fn config(text: &str) -> Home {
    Home::with(&[("config", text)])
}

#[test]
fn without_configuration_the_defaults_hold() {
    let home = Home::with(&[]);
    let settings = home.resolve("example");
    assert_eq!(
        (settings.host_name.as_str(), settings.port, settings.user.as_str()),
        ("example", 22, "local")
    );
    let keys: Vec<_> = settings.identity_files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(keys, [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"].map(|name| home.path(name)));
    assert!(settings.identity_files.iter().all(|file| !file.named));
    assert_eq!(settings.policy, HostKeyPolicy::AcceptNew);
    assert_eq!(settings.connect_timeout, Duration::from_secs(10));
    assert_eq!(settings.alive_interval, Some(Duration::from_secs(15)));
    assert_eq!(settings.user_known_hosts[0], home.path(".ssh/known_hosts"));
}

#[test]
fn the_first_value_wins_and_the_target_wins_over_all() {
    let home = config(
        "Host dev\n  User one\n  User two\n  Port 2200\n  HostName real.example\nHost *\n  User three\n",
    );
    let settings = home.resolve("dev");
    assert_eq!(
        (settings.host_name.as_str(), settings.port, settings.user.as_str()),
        ("real.example", 2200, "one")
    );
    assert_eq!(home.resolve("other").user, "three");
    let settings = home.resolve("me@dev:22");
    assert_eq!((settings.port, settings.user.as_str()), (22, "me"));
}

#[test]
fn patterns_match_with_wildcards_and_negation() {
    let home = config("Host *.example !secret.example web?\n  User matched\n");
    assert_eq!(home.resolve("a.example").user, "matched");
    // As with OpenSSH, the letters' case counts.
    assert_eq!(home.resolve("A.Example").user, "local");
    assert_eq!(home.resolve("secret.example").user, "local");
    assert_eq!(home.resolve("web1").user, "matched");
    assert_eq!(home.resolve("web12").user, "local");
}

#[test]
fn match_blocks_apply_only_when_their_criteria_hold() {
    let home = config(
        "Host dev\n  HostName real.example\n\
         Match host real.example user deploy\n  Port 2201\n\
         Match originalhost dev !user deploy\n  Port 2202\n\
         Match localuser local,other\n  ServerAliveCountMax 9\n\
         Match all\n  ServerAliveInterval 1m30s\n",
    );
    assert_eq!(home.resolve("deploy@dev").port, 2201);
    assert_eq!(home.resolve("dev").port, 2202);
    let settings = home.resolve("elsewhere");
    assert_eq!((settings.port, settings.alive_count), (22, 9));
    assert_eq!(settings.alive_interval, Some(Duration::from_secs(90)));
}

#[test]
fn a_match_that_would_run_a_program_is_skipped_and_told() {
    let home =
        config("User before\nMatch exec \"touch /tmp/never\"\n  Port 2222\nMatch final\n  Port 3333\n");
    let settings = home.resolve("dev");
    assert_eq!((settings.port, settings.user.as_str()), (22, "before"));
    assert_eq!(settings.notices.len(), 1, "{:?}", settings.notices);
    assert!(settings.notices[0].contains("config:2: Match exec"), "{:?}", settings.notices);
}

#[test]
fn includes_are_read_in_place_and_within_their_block() {
    let home = Home::with(&[
        (
            "config",
            "Host dev\n  Include conf.d/*.conf\n  Port 1\nHost *\n  Include absent.conf\n  User late\n",
        ),
        ("conf.d/a.conf", "User early\nHost nothing\n  Port 7\n"),
        ("conf.d/b.conf", "Host dev\n  HashKnownHosts yes\n"),
    ]);
    let settings = home.resolve("dev");
    assert_eq!((settings.user.as_str(), settings.port, settings.hash_known_hosts), ("early", 1, true));
    let settings = home.resolve("other");
    assert_eq!((settings.user.as_str(), settings.port, settings.hash_known_hosts), ("late", 22, false));
}

#[test]
fn a_file_that_includes_itself_is_an_error_with_its_place() {
    let error = config("Include config\n").resolve_with("x", config("Include config\n").options());
    assert!(
        matches!(error, Err(SshError::Config { ref place, .. }) if place.ends_with("config:1")),
        "{error:?}"
    );
}

#[test]
fn unknown_options_and_values_of_unused_ones_do_no_harm() {
    let home = config(
        "AddKeysToAgent confirm\nForwardAgent $SSH_AUTH_SOCK\nNonsense really\nCiphers ^aes\n\
         RemoteForward garbage\nProxyCommand none\nUser \"quoted user\" # comment\n",
    );
    assert_eq!(home.resolve("dev").user, "quoted user");
}

#[test]
fn a_bad_value_names_its_line() {
    let home = config("# first\nPort many\n");
    let error = home.resolve_with("dev", home.options()).unwrap_err().to_string();
    assert!(error.contains("config:2") && error.contains("many"), "{error}");
}

#[test]
fn identity_files_add_up_with_the_given_ones_first() {
    let home = config(
        "Host dev\n  IdentityFile ~/keys/%r@%h-%p\nHost *\n  IdentityFile /etc/key\n  IdentitiesOnly yes\n",
    );
    let mut options = home.options();
    options.identities.push("mine".into());
    let settings = home.resolve_with("me@dev", options).unwrap();
    let keys: Vec<_> = settings.identity_files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(keys, [PathBuf::from("mine"), home.path("keys/me@dev-22"), "/etc/key".into()]);
    assert!(settings.identities_only && settings.identity_files.iter().all(|file| file.named));
}

#[test]
fn options_win_over_files_and_unknown_ones_are_named() {
    let home = config("Port 1\nStrictHostKeyChecking yes\nUserKnownHostsFile ~/a /b\nConnectTimeout 3\n");
    let settings = home.resolve("dev");
    assert_eq!(settings.policy, HostKeyPolicy::Strict);
    assert_eq!(settings.user_known_hosts, [home.path("a"), "/b".into()]);
    assert_eq!(settings.connect_timeout, Duration::from_secs(3));

    let mut options = home.options();
    let given = [
        ("port", "2"),
        ("StrictHostKeyChecking", "no"),
        ("UserKnownHostsFile", "/dev/null"),
        ("LogLevel", "ERROR"),
    ];
    options.overrides.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
    options.connect_timeout = Some(Duration::from_millis(1500));
    let settings = home.resolve_with("dev", options.clone()).unwrap();
    assert_eq!((settings.port, settings.policy), (2, HostKeyPolicy::Lax));
    assert_eq!(settings.user_known_hosts, [PathBuf::from("/dev/null")]);
    assert_eq!(settings.connect_timeout, Duration::from_millis(1500));

    for name in ["LocalForward", "NoSuchThing"] {
        let mut options = options.clone();
        options.overrides.push((name.to_owned(), "x".to_owned()));
        let error = home.resolve_with("dev", options).unwrap_err();
        assert!(matches!(error, SshError::Option { name: ref named, .. } if named == name), "{error:?}");
    }
}

#[test]
fn jumps_are_read_and_a_proxy_command_is_refused() {
    let home =
        config("Host dev\n  ProxyJump a@one:23,two\n  ProxyCommand late\nHost direct\n  ProxyJump none\n");
    let jumps = home.resolve("dev").jumps;
    assert_eq!(jumps, [Target::parse("a@one:23").unwrap(), Target::host("two")]);
    assert!(home.resolve("direct").jumps.is_empty());
    for text in ["ProxyCommand nc %h %p\nProxyJump late\n", "ProxyJump none\nProxyCommand nc %h %p\n"] {
        let home = config(text);
        let error = home.resolve_with("odd", home.options()).unwrap_err();
        assert!(error.to_string().contains("ProxyCommand"), "{error}");
    }
}

#[test]
fn a_jump_host_ignores_what_was_given_for_the_destination() {
    let home = config("Host gate\n  Port 24\n");
    let mut options = home.options();
    options.identities.push("mine".into());
    options.overrides.push(("Port".to_owned(), "99".to_owned()));
    let settings = resolve(&Target::host("gate"), &options, Role::Jump).unwrap();
    assert_eq!(settings.port, 24);
    assert!(settings.identity_files.iter().all(|file| !file.named));
}

#[test]
fn times_have_units() {
    assert_eq!(
        ["90", "1m30s", "2h", "1d", "1w", "none"].map(seconds),
        [Some(90), Some(90), Some(7200), Some(86_400), Some(604_800), Some(0)]
    );
    assert_eq!(["", "m", "1x", "-1", "99999999999999999999"].map(seconds), [None; 5]);
}

#[test]
fn environment_variables_and_the_agent_are_expanded() {
    let home = config(
        "Host a\n  IdentityAgent ${AGENT}/sock\nHost b\n  IdentityAgent none\nHost c\n  IdentityAgent $AGENT\n",
    );
    let mut options = home.options();
    options.environment.agent = Some("/default".into());
    options.environment.variables.insert("AGENT".into(), "/run/agent".into());
    let agent = |host: &str| home.resolve_with(host, options.clone()).unwrap().agent;
    assert_eq!(agent("a"), Some("/run/agent/sock".into()));
    assert_eq!(agent("b"), None);
    assert_eq!(agent("c"), Some("/run/agent".into()));
    assert_eq!(agent("d"), Some("/default".into()));
}
