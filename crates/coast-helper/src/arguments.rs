//! The helper's command line: what it must know before it may listen to its peer.

use std::ffi::OsString;
use std::path::PathBuf;

use coast_engine::{DestinationIs, ReceiverConfig};

/// What the helper is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    Version,
    Receive(Box<ReceiverConfig>),
}

const USAGE: &str = "usage: coast-helper receive [--make-parents] [--dry-run] [--some-paths] \
                     [--destination-is=directory|file-or-directory|directory-or-new-name] --root PATH, or coast-helper --version";

/// Reads the command line. The error is one line for people.
pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    match words.next().as_ref().and_then(|word| word.to_str()) {
        Some("--version") => return Ok(Command::Version),
        Some("receive") => {}
        Some(other) => return Err(format!("there is no command {other:?}; {USAGE}")),
        None => return Err(USAGE.to_owned()),
    }
    let mut root = None;
    let mut config = ReceiverConfig::new(PathBuf::new());
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--make-parents") => config.make_parents = true,
            Some("--dry-run") => config.dry_run = true,
            Some("--some-paths") => config.some_paths = true,
            Some("--destination-is=directory") => config.destination_is = DestinationIs::Directory,
            Some("--destination-is=directory-or-new-name") => {
                config.destination_is = DestinationIs::DirectoryOrNewName;
            }
            Some("--destination-is=file-or-directory") => {
                config.destination_is = DestinationIs::FileOrDirectory
            }
            Some("--root") => {
                root = Some(words.next().ok_or_else(|| format!("--root needs a path; {USAGE}"))?)
            }
            _ => return Err(format!("there is no option {word:?}; {USAGE}")),
        }
    }
    config.destination = PathBuf::from(root.ok_or_else(|| format!("--root is missing; {USAGE}"))?);
    Ok(Command::Receive(Box::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Command, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn receive_needs_a_root_and_knows_its_options() {
        let words =
            ["receive", "--make-parents", "--destination-is=file-or-directory", "--root", "/data/x y"];
        let Ok(Command::Receive(config)) = parse_words(&words) else { panic!("not parsed") };
        assert_eq!(config.destination, PathBuf::from("/data/x y"));
        assert!(config.make_parents && !config.dry_run && !config.some_paths);
        assert_eq!(config.destination_is, DestinationIs::FileOrDirectory);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, named) in [
            (&["receive"][..], "--root is missing"),
            (&["receive", "--root"], "--root needs a path"),
            (&["receive", "--rot", "/"], "--rot"),
            (&["send"], "send"),
            (&[], "usage"),
        ] {
            let error = parse_words(words).unwrap_err();
            assert!(error.contains(named), "{error:?} does not name {named:?}");
        }
    }
}
