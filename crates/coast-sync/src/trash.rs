//! Lists the trash of a workspace, and restores entries from it, on this or on another machine.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;

use coast_engine::{Cancel, EngineError};
use coast_ssh::Prompt;
use coast_tree::{BadPath, MAX_PATH_BYTES, RelPath};
use coast_wire::limits::{MAX_KEPT_NAMED, MAX_TEXT_BYTES, MAX_TRASHED_NAMED};
use coast_wire::{Answer, EntryKind, Event};
use coast_workspace::TrashedWorkspace;

use crate::local::{self, ChildProgram};
use crate::receiver_arguments::question_words;
use crate::remote::{self, ConnectionReport};
use crate::{Destination, KeptEntry, LocalReceiver, SyncError};

/// Bytes of paths in one command line, unless a single path is longer. A shell and an SSH server take much more, but quoting can make
/// the paths several times as long.
const MAX_COMMAND_PATH_BYTES: usize = 16 << 10;

/// The exit code when something was not restored: that of rsync for entries that could not be transferred.
const NOT_EVERYTHING: u8 = 23;

/// Lists the trash of a workspace: the entries that runs deleted there and that no run had put there.
#[derive(Debug, Clone)]
pub struct TrashRequest {
    destination: Destination,
}

/// The entries in the trash of a workspace.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrashReport {
    /// How the other machine was reached; none for a local workspace.
    pub connection: Option<ConnectionReport>,
    /// The first entries, at most 4000; those of the latest run come first.
    pub first: Vec<TrashedEntry>,
    /// The number of all entries.
    pub entries: u64,
    /// The size of all files, in bytes.
    pub bytes: u64,
    /// The first directories in the trash that could not be read.
    pub unreadable: Vec<KeptEntry>,
    /// Whether the helper confined itself to the workspace before.
    pub confined: bool,
}

/// An entry in the trash that is no directory, or an empty directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrashedEntry {
    /// When the run that deleted it began, in seconds since the epoch.
    pub at: u64,
    /// Its path in the workspace.
    pub path: Vec<u8>,
    /// Its kind.
    pub kind: EntryKind,
    /// The size of a file, in bytes; 0 for other entries.
    pub size: u64,
}

/// Restores entries from the trash of a workspace.
///
/// Each path is restored with everything below it, from the latest run that deleted something there. An entry that exists in the
/// workspace is never replaced. A restored entry has its owner, mode and times. The next run counts it as made there.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    destination: Destination,
    paths: BTreeSet<RelPath>,
}

/// The result of restoring entries.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RestoreReport {
    /// How the other machine was reached; none for a local workspace.
    pub connection: Option<ConnectionReport>,
    /// Entries that are back: those that are no directories, and empty directories.
    pub restored_entries: u64,
    /// The size of the files among them, in bytes.
    pub restored_bytes: u64,
    /// Entries that could not be restored, and paths that are not in the trash.
    pub left_entries: u64,
    /// The first of these, at most 100.
    pub left: Vec<KeptEntry>,
    /// Whether the helper confined itself to the workspace before.
    pub confined: bool,
}

impl TrashRequest {
    /// Lists the trash of the workspace at this destination.
    pub fn new(destination: impl Into<Destination>) -> Self {
        Self { destination: destination.into() }
    }

    /// Lists the trash. Blocks until the list has arrived, or `cancel` stopped it. A workspace without a trash has an empty one.
    /// Questions and notices of the connection go to `prompt`.
    ///
    /// # Errors
    /// When there is no such directory or its trash cannot be read. [`SyncError::is_busy`] is true when a run works on the
    /// workspace.
    pub fn run(self, prompt: &dyn Prompt, cancel: &Cancel) -> Result<TrashReport, SyncError> {
        let (mut first, mut unreadable) = (Vec::new(), Vec::new());
        ask(&self.destination, &Question::List, prompt, cancel, |answer, connection| match answer {
            Answer::Trashed(entry) => {
                if entry.path.len() > MAX_PATH_BYTES || first.len() >= MAX_TRASHED_NAMED {
                    return Err(too_long());
                }
                let path = entry.path.to_owned();
                first.push(TrashedEntry { at: entry.at, path, kind: entry.kind, size: entry.size });
                Ok(ControlFlow::Continue(()))
            }
            Answer::Event(Event::Problem { path, text, .. }) => note(&mut unreadable, path, text),
            Answer::Trash(totals) => Ok(ControlFlow::Break(TrashReport {
                connection: connection.cloned(),
                first: std::mem::take(&mut first),
                entries: totals.entries,
                bytes: totals.bytes,
                unreadable: std::mem::take(&mut unreadable),
                confined: totals.confined,
            })),
            _ => Err(not_asked()),
        })
    }
}

impl RestoreRequest {
    /// Restores these paths of the workspace at this destination. A path is relative to the workspace; `.` is the whole workspace.
    ///
    /// # Errors
    /// [`SyncError::RestorePath`] for a path that is empty or absolute or has `..` in it.
    pub fn new(
        destination: impl Into<Destination>,
        paths: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, SyncError> {
        let all: BTreeSet<RelPath> =
            paths.into_iter().map(|path| restored_path(path.as_ref())).collect::<Result<_, _>>()?;
        // An entry below another path comes back with that one.
        let is_below = |path: &RelPath| {
            std::iter::successors(path.parent(), RelPath::parent).any(|above| all.contains(&above))
        };
        let paths = all.iter().filter(|path| !is_below(path)).cloned().collect();
        Ok(Self { destination: destination.into(), paths })
    }

    /// Restores the entries. Blocks until that has ended, or `cancel` stopped it. Questions and notices go to `prompt`.
    ///
    /// # Errors
    /// When it ended early; what was restored until then stays restored. [`SyncError::is_busy`] is true when a run works on the
    /// workspace. Single entries that stay in the trash are no error: see [`RestoreReport::exit_code`].
    pub fn run(self, prompt: &dyn Prompt, cancel: &Cancel) -> Result<RestoreReport, SyncError> {
        let mut all = RestoreReport::default();
        for paths in command_lines(self.paths) {
            let question = Question::Restore(paths);
            let mut left = Vec::new();
            let (connection, restored) =
                ask(&self.destination, &question, prompt, cancel, |answer, connection| match answer {
                    Answer::Event(Event::Problem { path, text, .. }) => note(&mut left, path, text),
                    Answer::Event(Event::Notice { text }) if text.len() <= MAX_TEXT_BYTES => {
                        prompt.notice(text);
                        Ok(ControlFlow::Continue(()))
                    }
                    Answer::Restoration(restored) => Ok(ControlFlow::Break((connection.cloned(), restored))),
                    _ => Err(not_asked()),
                })?;
            all.connection = connection;
            all.restored_entries = all.restored_entries.saturating_add(restored.restored_entries);
            all.restored_bytes = all.restored_bytes.saturating_add(restored.restored_bytes);
            all.left_entries = all.left_entries.saturating_add(restored.left_entries);
            all.left.extend(left);
            all.left.truncate(MAX_KEPT_NAMED);
            all.confined = restored.confined;
        }
        Ok(all)
    }
}

impl RestoreReport {
    /// 0, or 23 when a path was not in the trash or an entry could not be restored.
    pub fn exit_code(&self) -> u8 {
        if self.left_entries == 0 { 0 } else { NOT_EVERYTHING }
    }
}

/// A question about the trash of a workspace.
enum Question {
    List,
    Restore(Vec<RelPath>),
}

/// Asks the question at the destination. `take` gets the messages of the answer until it breaks with a result.
fn ask<T>(
    destination: &Destination,
    question: &Question,
    prompt: &dyn Prompt,
    cancel: &Cancel,
    mut take: impl FnMut(Answer<'_>, Option<&ConnectionReport>) -> Result<ControlFlow<T>, EngineError>,
) -> Result<T, SyncError> {
    match destination {
        Destination::Remote(remote) => {
            let words = question.words(destination);
            remote::ask(remote, words, prompt, cancel, |answer, connection| take(answer, Some(connection)))
        }
        Destination::Local(local) => match local.receiver() {
            LocalReceiver::InProcess => {
                Ok(question.answer(destination, cancel, |answer| take(answer, None))?)
            }
            LocalReceiver::Program { program, arguments } => {
                let helper = ChildProgram { program, arguments };
                local::ask(helper, question.words(destination), cancel, |answer| take(answer, None))
            }
        },
    }
}

impl Question {
    /// The words that ask a helper.
    fn words(&self, destination: &Destination) -> Vec<OsString> {
        match self {
            Self::List => question_words("trash", destination.path()),
            Self::Restore(paths) => {
                let mut words = question_words("restore", destination.path());
                words.push("--".into());
                words.extend(paths.iter().map(|path| match path.is_root() {
                    true => OsString::from("."),
                    false => OsString::from_vec(path.as_bytes().to_vec()),
                }));
                words
            }
        }
    }

    /// Answers the question in this process.
    fn answer<T>(
        &self,
        destination: &Destination,
        cancel: &Cancel,
        mut take: impl FnMut(Answer<'_>) -> Result<ControlFlow<T>, EngineError>,
    ) -> Result<T, EngineError> {
        let workspace = TrashedWorkspace::open(destination.path(), None)?;
        let mut tell = |answer: Answer<'_>| take(answer).map(ControlFlow::break_value);
        let last = match self {
            Self::List => {
                workspace.list(false, cancel, &mut |answer| tell(answer).map(drop)).map(Answer::Trash)?
            }
            Self::Restore(paths) => workspace
                .restore(paths, false, cancel, &mut |answer| tell(answer).map(drop))
                .map(Answer::Restoration)?,
        };
        tell(last)?.ok_or_else(not_asked)
    }
}

/// A path to restore as the user gives it: `./` before it, and slashes at its end, mean nothing.
fn restored_path(given: &[u8]) -> Result<RelPath, SyncError> {
    let failed = |error| SyncError::RestorePath { path: given.to_owned(), error };
    if given.is_empty() || given.starts_with(b"/") {
        return Err(failed(BadPath::Empty));
    }
    let components = given.split(|byte| *byte == b'/');
    let components: Vec<&[u8]> = components.filter(|component| !matches!(component, [] | [b'.'])).collect();
    RelPath::new(&components.join(&b'/')).map_err(failed)
}

/// Divides the paths into groups that fit into a command line each.
fn command_lines(paths: impl IntoIterator<Item = RelPath>) -> Vec<Vec<RelPath>> {
    let mut groups: Vec<Vec<RelPath>> = Vec::new();
    let mut bytes = 0;
    for path in paths {
        let own = path.as_bytes().len() + 1;
        match groups.last_mut() {
            Some(group) if bytes + own <= MAX_COMMAND_PATH_BYTES => {
                bytes += own;
                group.push(path);
            }
            _ => {
                bytes = own;
                groups.push(vec![path]);
            }
        }
    }
    groups
}

/// Keeps an entry that a helper names.
fn note<T>(kept: &mut Vec<KeptEntry>, path: &[u8], text: &str) -> Result<ControlFlow<T>, EngineError> {
    if path.len() > MAX_PATH_BYTES || text.len() > MAX_TEXT_BYTES || kept.len() >= MAX_KEPT_NAMED {
        return Err(too_long());
    }
    kept.push(KeptEntry { path: path.to_owned(), reason: text.to_owned() });
    Ok(ControlFlow::Continue(()))
}

fn too_long() -> EngineError {
    EngineError::Protocol("its answer is longer than any")
}

fn not_asked() -> EngineError {
    EngineError::Protocol("it answered something that was not asked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(given: &[&str]) -> Result<Vec<String>, SyncError> {
        let request = RestoreRequest::new(Destination::local("/nowhere"), given)?;
        Ok(request.paths.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn paths_are_taken_as_people_type_them() {
        assert_eq!(paths(&["./a/", "a//b", "a-b", "c/d/./e", "c/d"]).unwrap(), ["a", "a-b", "c/d"]);
        assert_eq!(paths(&["a", "."]).unwrap(), ["."]);
        for path in ["", "/etc", "../x", "a/../b", "..", "a\0"] {
            let error = paths(&[path]).unwrap_err();
            assert_eq!(error.exit_code(), 1, "{path}: {error}");
        }
    }

    #[test]
    fn many_paths_take_several_command_lines() {
        let long = |byte: u8| RelPath::new(&[[byte; 200]; 60].join(&b'/')).unwrap();
        let short = RelPath::new(b"short").unwrap();
        let groups = command_lines([long(b'a'), short.clone(), long(b'b'), short]);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert!(command_lines([]).is_empty());
    }
}
