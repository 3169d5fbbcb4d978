//! From the arguments of `coast restore` to the workspace that they name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, bail};
use coast_instance::Name;
use coast_sync::{Destination, Sudo};

use super::{ConnectionOptions, local_destination};
use crate::args::restore::RestoreArgs;
use crate::endpoint::Endpoint;

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

/// The operand of `coast restore` for a destination of `coast push`: it needs a slash where it would be taken for an instance.
pub(super) fn operand(destination: &OsStr) -> String {
    let typed = destination.to_string_lossy();
    if is_instance(destination) { format!("./{typed}") } else { typed.into_owned() }
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
        assert_eq!(operand(OsStr::new("copy")), "./copy");
        assert_eq!(operand(OsStr::new("host:copy")), "host:copy");
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
