//! The helper's command line. It holds everything that the helper must know before it listens to its peer.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use coast_engine::{Claim, DestinationIs, ReceiverConfig};
use coast_tree::{BadPath, RelPath};
use coast_wire::limits::MAX_STREAMS;
use coast_workspace::LeftoverPath;

use crate::input::PATIENCE;

/// The task of the helper.
#[derive(Debug)]
pub(crate) enum Command {
    Version,
    /// Receive a tree.
    Receive(Reception),
    /// Receive many trees, one after the other. The limit on the peer's silence holds during a run.
    Follow(Reception),
    /// Hand standard input over to the helper that carries out this run, as the stream of this number.
    Join(RunName, u8),
    /// Look at the place where a workspace is or will be.
    Probe(PathBuf),
    /// Remove a workspace, and with it the directory that holds it, if that is empty then.
    Remove {
        root: PathBuf,
        with_empty_parent: bool,
    },
    /// List the trash of a workspace.
    Trash(PathBuf),
    /// Restore these paths from the trash of a workspace.
    Restore(PathBuf, Vec<RelPath>),
    /// List the workspaces in a directory.
    Survey(PathBuf),
    /// List what coast and mutagen have left in the account with this home directory.
    Leftovers(PathBuf),
    /// Remove these leftovers.
    Sweep(PathBuf, Vec<LeftoverPath>),
}

/// How a tree is received.
#[derive(Debug)]
pub(crate) struct Reception {
    pub(crate) config: Box<ReceiverConfig>,
    /// How long the peer may be silent.
    pub(crate) patience: Duration,
    /// The name under which other streams can join the run.
    pub(crate) run: Option<RunName>,
}

/// The random name of a run, in 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunName(String);

impl RunName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether these words call the helper, in a program that contains the helper. People may type the words as commands of that program,
/// but not `receive`, `follow` and `join`, and the others without `--root` after them.
pub(crate) fn is_call(words: &[OsString]) -> bool {
    let Some((word, _)) = words.first().and_then(command) else { return false };
    matches!(word, "receive" | "follow" | "join")
        || words
            .get(1)
            .is_some_and(|next| next == "--root" || (word == "remove" && next == WITH_EMPTY_PARENT))
}

/// The option of `remove` that also removes the directory around the workspace.
const WITH_EMPTY_PARENT: &str = "--with-empty-parent";

const USAGE: &str = "usage: coast-helper receive [--make-parents] [--dry-run] [--some-paths] [--claim=workspace|new-workspace|existing-workspace] [--timeout=SECONDS] [--streams=RUN] \
                     [--destination-is=directory|file-or-directory|directory-or-new-name] --root PATH, \
                     coast-helper follow --root PATH [--make-parents] [--claim=workspace|new-workspace|existing-workspace] [--timeout=SECONDS], coast-helper join --streams=RUN --number=N, coast-helper probe --root PATH, coast-helper remove [--with-empty-parent] --root PATH, \
                     coast-helper trash --root PATH, coast-helper restore --root PATH -- PATH..., coast-helper survey --root PATH, coast-helper leftovers --root PATH, \
                     coast-helper sweep --root PATH -- NAME..., or coast-helper --version";

/// The words after the name of a command.
type Words<'w> = &'w mut dyn Iterator<Item = OsString>;

/// Reads the words after the name of a command.
type Parse = fn(Words<'_>) -> Result<Command, String>;

/// The commands that have a word, each with the function that reads the words after it.
const COMMANDS: [(&str, Parse); 10] = [
    ("receive", |words| receive(words).map(Command::Receive)),
    ("follow", |words| follow(words)),
    ("join", |words| join(words)),
    ("probe", |words| root_only(words).map(Command::Probe)),
    ("remove", |words| removal(words)),
    ("survey", |words| root_only(words).map(Command::Survey)),
    ("leftovers", |words| root_only(words).map(Command::Leftovers)),
    ("sweep", |words| swept_paths(words).map(|(root, paths)| Command::Sweep(root, paths))),
    ("trash", |words| root_only(words).map(Command::Trash)),
    ("restore", |words| restored_paths(words).map(|(root, paths)| Command::Restore(root, paths))),
];

fn command(word: &OsString) -> Option<(&'static str, Parse)> {
    COMMANDS.into_iter().find(|(name, _)| word == name)
}

/// Reads the command line. The error is a line of text for the user.
pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    match words.next() {
        Some(word) if word == "--version" => Ok(Command::Version),
        Some(word) => match command(&word) {
            Some((_, read)) => read(&mut words),
            None => Err(format!("there is no command {word:?}; {USAGE}")),
        },
        None => Err(USAGE.to_owned()),
    }
}

fn follow(words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let reception = receive(words)?;
    let Reception { config, run, .. } = &reception;
    let only_receives = config.dry_run
        || config.some_paths
        || config.destination_is != DestinationIs::Directory
        || run.is_some();
    if only_receives {
        return Err(format!("follow is always about a directory and what its runs say; {USAGE}"));
    }
    Ok(Command::Follow(reception))
}

fn receive(mut words: impl Iterator<Item = OsString>) -> Result<Reception, String> {
    let mut root = None;
    let mut patience = PATIENCE;
    let mut run = None;
    let mut config = ReceiverConfig::new(PathBuf::new());
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--make-parents") => config.make_parents = true,
            Some("--dry-run") => config.dry_run = true,
            Some("--some-paths") => config.some_paths = true,
            Some("--claim=workspace") => config.claim = Claim::Workspace,
            Some("--claim=new-workspace") => config.claim = Claim::NewWorkspace,
            Some("--claim=existing-workspace") => config.claim = Claim::ExistingWorkspace,
            Some("--destination-is=directory") => config.destination_is = DestinationIs::Directory,
            Some("--destination-is=directory-or-new-name") => {
                config.destination_is = DestinationIs::DirectoryOrNewName;
            }
            Some("--destination-is=file-or-directory") => {
                config.destination_is = DestinationIs::FileOrDirectory
            }
            Some("--root") => root = Some(path(&mut words)?),
            Some(other) => {
                let seconds = other.strip_prefix("--timeout=").and_then(|seconds| seconds.parse().ok());
                match (seconds, other.strip_prefix("--streams=").and_then(RunName::parse)) {
                    (Some(seconds @ 1..), _) => patience = Duration::from_secs(seconds),
                    (_, Some(name)) => run = Some(name),
                    _ => return Err(no_option(&word)),
                }
            }
            None => return Err(no_option(&word)),
        }
    }
    config.destination = root.ok_or_else(no_root)?;
    Ok(Reception { config: Box::new(config), patience, run })
}

fn join(words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let (mut run, mut number) = (None, None);
    for word in words {
        let text = word.to_str().unwrap_or_default();
        let given = text.strip_prefix("--number=").and_then(|number| number.parse().ok());
        match (text.strip_prefix("--streams=").and_then(RunName::parse), given) {
            (Some(name), _) => run = Some(name),
            (_, Some(given)) if (1..MAX_STREAMS).contains(&given) => number = Some(given),
            _ => return Err(no_option(&word)),
        }
    }
    match (run, number) {
        (Some(run), Some(number)) => Ok(Command::Join(run, number)),
        _ => Err(format!("join needs the name of a run and a number; {USAGE}")),
    }
}

fn root_only(mut words: impl Iterator<Item = OsString>) -> Result<PathBuf, String> {
    let mut root = None;
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--root") => root = Some(path(&mut words)?),
            _ => return Err(no_option(&word)),
        }
    }
    root.ok_or_else(no_root)
}

fn removal(words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut words = words.peekable();
    let with_empty_parent = words.next_if(|word| word == WITH_EMPTY_PARENT).is_some();
    root_only(words).map(|root| Command::Remove { root, with_empty_parent })
}

/// The home directory and the leftovers in it.
fn swept_paths(mut words: impl Iterator<Item = OsString>) -> Result<(PathBuf, Vec<LeftoverPath>), String> {
    let root = root_only(words.by_ref().take_while(|word| word != "--"))?;
    let paths = words.map(|word| {
        LeftoverPath::parse(&word).ok_or_else(|| format!("{word:?} is nothing that coast leaves; {USAGE}"))
    });
    Ok((root, paths.collect::<Result<_, _>>()?))
}

/// The workspace and the paths to restore. The path `.` is the whole workspace.
fn restored_paths(mut words: impl Iterator<Item = OsString>) -> Result<(PathBuf, Vec<RelPath>), String> {
    let root = root_only(words.by_ref().take_while(|word| word != "--"))?;
    let paths = words.map(|word| {
        let path = match word.as_bytes() {
            b"." => Ok(RelPath::root()),
            b"" => Err(BadPath::Empty),
            bytes => RelPath::new(bytes),
        };
        path.map_err(|error| format!("{word:?} is no path in a workspace: {error}; {USAGE}"))
    });
    let paths = paths.collect::<Result<Vec<_>, _>>()?;
    if paths.is_empty() { Err(format!("there is no path to restore; {USAGE}")) } else { Ok((root, paths)) }
}

fn path(words: &mut impl Iterator<Item = OsString>) -> Result<PathBuf, String> {
    words.next().map(PathBuf::from).ok_or_else(|| format!("--root needs a path; {USAGE}"))
}

fn no_option(word: &OsString) -> String {
    format!("there is no option {word:?}; {USAGE}")
}

fn no_root() -> String {
    format!("--root is missing; {USAGE}")
}

#[cfg(test)]
mod tests {
    use coast_wire::WORKSPACE_COMMANDS;

    use super::*;

    fn parse_words(words: &[&str]) -> Result<Command, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn receive_needs_a_root_and_knows_its_options() {
        let words = [
            "receive",
            "--make-parents",
            "--claim=workspace",
            "--destination-is=file-or-directory",
            "--root",
            "/data/x y",
        ];
        let Ok(Command::Receive(Reception { config, patience: PATIENCE, run: None })) = parse_words(&words)
        else {
            panic!("not parsed")
        };
        assert_eq!(config.destination, PathBuf::from("/data/x y"));
        assert_eq!(config.claim, Claim::Workspace);
        assert!(config.make_parents && !config.dry_run && !config.some_paths);
        assert_eq!(config.destination_is, DestinationIs::FileOrDirectory);
        let followed = parse_words(&["follow", "--root", "/data", "--claim=workspace"]);
        assert!(
            matches!(followed, Ok(Command::Follow(reception)) if reception.config.claim == Claim::Workspace)
        );
        let impatient = parse_words(&["receive", "--timeout=7", "--root", "/"]);
        assert!(matches!(impatient, Ok(Command::Receive(reception)) if reception.patience.as_secs() == 7));
    }

    #[test]
    fn a_run_that_streams_can_join_has_a_name_and_each_stream_a_number() {
        const RUN: &str = "0123456789abcdef0123456789abcdef";
        let streams = format!("--streams={RUN}");
        let received = parse_words(&["receive", &streams, "--root", "/data"]);
        assert!(matches!(received, Ok(Command::Receive(Reception { run: Some(run), .. })) if run.0 == RUN));
        let joined = parse_words(&["join", &streams, "--number=7"]);
        assert!(matches!(joined, Ok(Command::Join(run, 7)) if run.0 == RUN));
        for words in [
            &["join", &streams][..],
            &["join", "--number=1"],
            &["join", &streams, "--number=0"],
            &["join", &streams, "--number=8"],
            &["join", &streams[..streams.len() - 1], "--number=1"],
            &["join", "--streams=0123456789ABCDEF0123456789abcdef", "--number=1"],
            &["receive", "--streams=", "--root", "/data"],
            &["follow", &streams, "--root", "/data"],
        ] {
            assert!(parse_words(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn the_paths_to_restore_are_checked() {
        let words = ["restore", "--root", "/data/w", "--", "--root", "a/b", "."];
        let Ok(Command::Restore(root, paths)) = parse_words(&words) else { panic!("not parsed") };
        assert_eq!(root, PathBuf::from("/data/w"));
        let shown: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["--root", "a/b", "."]);
        let odd = [OsString::from("restore"), "--root".into(), "/".into(), "--".into()]
            .into_iter()
            .chain([std::os::unix::ffi::OsStringExt::from_vec(b"\xff".to_vec())]);
        let Ok(Command::Restore(_, paths)) = parse(odd) else { panic!("not parsed") };
        assert_eq!(paths[0].as_bytes(), b"\xff");
        for path in ["../x", "a/../b", "/etc", "a//b", "a/", "", "..", "./a"] {
            let error = parse_words(&["restore", "--root", "/data/w", "--", path]).unwrap_err();
            assert!(error.contains("no path in a workspace"), "{path}: {error}");
        }
    }

    #[test]
    fn the_commands_about_a_workspace_are_those_that_a_rule_of_sudoers_grants() {
        let others = ["join", "restore", "leftovers", "sweep"];
        let known: Vec<&str> = COMMANDS.iter().map(|(word, _)| *word).collect();
        for word in &known {
            assert!(WORKSPACE_COMMANDS.contains(word) != others.contains(word), "{word}");
        }
        assert!(WORKSPACE_COMMANDS.iter().all(|word| known.contains(word)));
    }

    #[test]
    fn a_call_is_told_from_what_people_type() {
        let is_call = |words: &[&str]| is_call(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for (word, _) in COMMANDS {
            assert!(is_call(&[word, "--root", "/data"]), "{word}");
        }
        assert!(is_call(&["follow", "--claim=existing-workspace", "--root", "/data"]));
        assert!(
            is_call(&["probe", "--root", "/data"]) && is_call(&["receive", "--dry-run", "--root", "/data"])
        );
        assert!(is_call(&["trash", "--root", "/"]) && is_call(&["restore", "--root", "/", "--", "x"]));
        assert!(
            is_call(&["remove", WITH_EMPTY_PARENT, "--root", "/"]) && is_call(&["survey", "--root", "/"])
        );
        assert!(!is_call(&["restore", "dev-1", "--", "--root"]), "a file may have that name");
        assert!(!is_call(&["probe", "dev-1"]) && !is_call(&["push", "--root"]) && !is_call(&[]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, named) in [
            (&["receive"][..], "--root is missing"),
            (&["receive", "--root"], "--root needs a path"),
            (&["receive", "--rot", "/"], "--rot"),
            (&["receive", "--timeout=0", "--root", "/"], "--timeout=0"),
            (&["follow", "--root", "/", "--dry-run"], "follow is always"),
            (&["probe", "--dry-run", "--root", "/data"], "--dry-run"),
            (&["probe"], "--root is missing"),
            (&["remove", "--root"], "--root needs a path"),
            (&["trash"], "--root is missing"),
            (&["restore", "--", "x"], "--root is missing"),
            (&["restore", "--root", "/"], "no path to restore"),
            (&["restore", "--root", "/", "x"], "\"x\""),
            (&["remove", "--root", "/x", "--with-empty-parent"], "--with-empty-parent"),
            (&["sweep", "--root", ".", "--", ".ssh/authorized_keys"], ".ssh/authorized_keys"),
            (&["send"], "send"),
            (&[], "usage"),
        ] {
            let error = parse_words(words).unwrap_err();
            assert!(error.contains(named), "{error:?} does not name {named:?}");
        }
    }
}
