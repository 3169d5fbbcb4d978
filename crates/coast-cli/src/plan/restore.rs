//! From the arguments of `coast restore` to the workspace that they name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use coast_instance::{Name, shell_word};
use coast_sync::{Destination, Sudo};

use super::{ConnectionOptions, local_destination};
use crate::args::connection::SudoArg;
use crate::args::restore::RestoreArgs;
use crate::endpoint::Endpoint;
use crate::remote_shell::SshOption;

/// The workspace that `coast restore` works on.
#[derive(Debug)]
pub(crate) enum Restorable {
    /// That of an instance.
    Instance(Name),
    /// A destination of `coast push`.
    Destination(Box<Destination>),
}

/// Returns the workspace that the arguments name.
pub(crate) fn restorable(args: &RestoreArgs) -> anyhow::Result<Restorable> {
    let word = args.workspace.to_string_lossy();
    if is_instance(&args.workspace) {
        if let Some(option) = args.connection_option() {
            bail!(
                "{option} applies only to HOST:PATH, and {word:?} is an instance: its remote says how to connect"
            );
        }
        let name = Name::new(&word)
            .with_context(|| format!("{word:?} has no colon and no slash, so it is taken for an instance"))?;
        return Ok(Restorable::Instance(name));
    }
    if args.project.project.is_some() {
        bail!("--project applies only to an instance, and {word:?} is a destination of `coast push`");
    }
    let destination = match Endpoint::parse(&args.workspace)? {
        Endpoint::Local(path) => {
            if let Some(option) = args.connection_option() {
                bail!(
                    "{option} applies only to HOST:PATH, and {word:?} is a directory on this machine; write HOST:PATH"
                );
            }
            local_destination(path)?
        }
        Endpoint::Remote(endpoint) => {
            let connection = ConnectionOptions {
                port: args.port,
                user: None,
                identities: args.identity.clone(),
                options: args.ssh_option.clone(),
                installed_helper: args.helper.helper.clone(),
            };
            connection.destination(endpoint, args.sudo.map_or(Sudo::Auto, Sudo::from))?
        }
    };
    Ok(Restorable::Destination(Box::new(destination)))
}

/// The options of a connection to a destination, as they were typed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TypedConnection<'a> {
    pub(crate) port: Option<u16>,
    pub(crate) identities: &'a [PathBuf],
    pub(crate) options: &'a [SshOption],
    pub(crate) sudo: SudoArg,
}

/// The words after `coast restore` for a destination of `coast push`: the options of the connection, and the destination, which needs
/// a slash where it would be taken for an instance.
pub(crate) fn restore_words(destination: &OsStr, connection: &TypedConnection<'_>) -> String {
    let TypedConnection { port, identities, options, sudo } = connection;
    let mut words: Vec<String> = Vec::new();
    words.extend(port.map(|port| format!("-p {port}")));
    words.extend(identities.iter().map(|key| format!("-i {}", shell_word(key))));
    words.extend(options.iter().map(|option| {
        let option = format!("{}={}", option.name, option.value);
        format!("-o {}", shell_word(Path::new(&option)))
    }));
    if let (true, Some(sudo)) = (*sudo != SudoArg::Auto, sudo.to_possible_value()) {
        words.push(format!("--sudo={}", sudo.get_name()));
    }
    let slash = if is_instance(destination) { Path::new("./") } else { Path::new("") };
    words.push(shell_word(&slash.join(destination)));
    words.join(" ")
}

/// Whether `coast restore` takes the word for an instance.
fn is_instance(word: &OsStr) -> bool {
    let bytes = word.as_bytes();
    !bytes.is_empty()
        && !matches!(bytes, b"." | b"..")
        && !bytes.iter().any(|byte| matches!(byte, b':' | b'/'))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn named(words: &[&str]) -> anyhow::Result<Restorable> {
        let cli = Cli::try_parse_from(["coast", "restore"].iter().chain(words)).unwrap();
        let Command::Restore(args) = cli.command else { panic!("not parsed") };
        restorable(&args)
    }

    #[test]
    fn a_colon_or_a_slash_makes_it_a_destination() {
        for word in ["dev-1", "a.b"] {
            assert!(matches!(named(&[word]).unwrap(), Restorable::Instance(_)), "{word}");
        }
        for (word, remote) in [
            ("host:w", true),
            ("ssh://host/w", true),
            ("./w", false),
            ("w/", false),
            ("/w", false),
            (".", false),
        ] {
            let Restorable::Destination(destination) = named(&[word]).unwrap() else { panic!("{word}") };
            assert_eq!(destination.is_remote(), remote, "{word}");
        }
    }

    #[test]
    fn a_suggested_restore_connects_as_the_push_did_and_is_quoted_for_a_shell() {
        let plain = TypedConnection { port: None, identities: &[], options: &[], sudo: SudoArg::Auto };
        for (destination, words) in [
            ("copy", "./copy"),
            ("host:copy", "host:copy"),
            ("dev@host:/srv/a b", "'dev@host:/srv/a b'"),
            ("/it's", "'/it'\\''s'"),
        ] {
            assert_eq!(restore_words(OsStr::new(destination), &plain), words);
        }
        let whole = TypedConnection {
            port: Some(2222),
            identities: &["/my keys/k".into()],
            options: &[SshOption { name: "ProxyJump".to_owned(), value: "a,b".to_owned() }],
            sudo: SudoArg::Never,
        };
        let words = restore_words(OsStr::new("h:w"), &whole);
        assert_eq!(words, "-p 2222 -i '/my keys/k' -o 'ProxyJump=a,b' --sudo=never h:w");
        // They mean the same.
        assert!(matches!(
            named(&["-p", "2222", "-o", "ProxyJump=a,b", "h:w"]),
            Ok(Restorable::Destination(_))
        ));
    }

    #[test]
    fn options_that_do_not_apply_are_named() {
        for (words, named_words) in [
            (&["-p", "22", "dev-1"][..], "--port"),
            (&["--sudo=never", "./w"], "--sudo"),
            (&["--project", "shop", "host:w"], "--project"),
            (&["dev@host"], "taken for an instance"),
        ] {
            let error = format!("{:#}", named(words).unwrap_err());
            assert!(error.contains(named_words), "{words:?}: {error}");
        }
    }
}
