//! Lists what coast and mutagen have left on another machine, and removes the leftovers of the account.

use std::ffi::OsString;
use std::ops::ControlFlow;

use coast_engine::{Cancel, EngineError};
use coast_ssh::{Prompt, Sudo};
use coast_wire::limits::{MAX_KEPT_NAMED, MAX_SURVEYED, MAX_TEXT_BYTES};
use coast_wire::{Answer, Event};

use crate::destination::RemoteDestination;
use crate::receiver_arguments::question_words;
use crate::remote::{self, ConnectionReport};
use crate::{KeptEntry, SyncError};

/// Bytes of names in one command line.
const MAX_COMMAND_BYTES: usize = 16 << 10;

/// Lists the workspaces in a directory on another machine.
#[derive(Debug, Clone)]
pub struct SurveyRequest {
    remote: RemoteDestination,
}

/// The workspaces in a directory on another machine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SurveyReport {
    /// How the other machine was reached.
    pub connection: ConnectionReport,
    /// The first workspaces, at most 4000.
    pub workspaces: Vec<SurveyedWorkspace>,
    /// The number of all workspaces.
    pub count: u64,
}

/// A workspace, recognized by the private state directory beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SurveyedWorkspace {
    /// The name of the directory of its project.
    pub project: String,
    /// Its own name. Empty for a directory of a project that has nothing in it.
    pub instance: String,
    /// Whether the workspace exists, and not only its state directory.
    pub exists: bool,
    /// Whether it or its state directory cannot be looked into: something is mounted there, it is no directory, it may not be read, or
    /// the state directory has an entry of a kind that no run makes. What cannot be read is not counted.
    pub unreadable: bool,
    /// The entries in it.
    pub entries: u64,
    /// The size of its files, in bytes.
    pub bytes: u64,
    /// When a run last worked on it, in seconds since the epoch; 0 for a project.
    pub used_at: u64,
    /// The size of the trash in its state directory, in bytes, unless that is empty.
    pub trash_bytes: Option<u64>,
    /// Whether a run works on it at this moment.
    pub is_busy: bool,
}

impl SurveyRequest {
    /// Lists the workspaces in the directory of this destination.
    pub fn new(remote: RemoteDestination) -> Self {
        Self { remote }
    }

    /// Lists them. Blocks until the answer has arrived, or `cancel` stopped it. A directory that does not exist has none.
    ///
    /// # Errors
    /// When the remote cannot be asked, or a directory there cannot be read.
    pub fn run(self, prompt: &dyn Prompt, cancel: &Cancel) -> Result<SurveyReport, SyncError> {
        let mut workspaces = Vec::new();
        let words = question_words("survey", &self.remote.path);
        remote::ask(&self.remote, words, prompt, cancel, |answer, connection| match answer {
            Answer::Surveyed(surveyed) => {
                check_count(workspaces.len())?;
                workspaces.push(SurveyedWorkspace {
                    project: bounded(surveyed.project)?,
                    instance: bounded(surveyed.instance)?,
                    exists: surveyed.exists,
                    unreadable: surveyed.unreadable,
                    entries: surveyed.entries,
                    bytes: surveyed.bytes,
                    used_at: surveyed.used_at,
                    trash_bytes: surveyed.trash_bytes,
                    is_busy: surveyed.is_busy,
                });
                Ok(ControlFlow::Continue(()))
            }
            Answer::Survey(totals) => Ok(ControlFlow::Break(SurveyReport {
                connection: connection.clone(),
                workspaces: std::mem::take(&mut workspaces),
                count: totals.workspaces,
            })),
            _ => Err(not_asked()),
        })
    }
}

/// Lists or removes the files that coast and mutagen have left in the account that logs in: helpers, and mutagen's agents, caches
/// and staged files. The helper for it runs as that user.
#[derive(Debug, Clone)]
pub struct LeftoverRequest {
    remote: RemoteDestination,
}

/// A file or directory that coast or mutagen has left in the account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftoverFile {
    /// `helper-HASH` in the directory of helpers, or a path below `.mutagen` in the home directory.
    pub path: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// When it was last changed, in seconds since the epoch.
    pub used_at: u64,
    /// Whether a process of the account may use it.
    pub in_use: bool,
}

/// The result of removing leftovers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// How many of them were removed.
    pub removed: u64,
    /// The first that could not be removed.
    pub kept: Vec<KeptEntry>,
}

impl LeftoverRequest {
    /// Leftovers in the account of this remote. The path of the destination does not matter.
    pub fn new(remote: RemoteDestination) -> Self {
        Self { remote: remote.sudo(Sudo::Never) }
    }

    /// Lists them, at most 4000. Blocks until the answer has arrived, or `cancel` stopped it.
    ///
    /// # Errors
    /// When the remote cannot be asked.
    pub fn list(&self, prompt: &dyn Prompt, cancel: &Cancel) -> Result<Vec<LeftoverFile>, SyncError> {
        let mut files = Vec::new();
        remote::ask(&self.remote, question_words("leftovers", ".".as_ref()), prompt, cancel, |answer, _| {
            match answer {
                Answer::Leftover(leftover) => {
                    check_count(files.len())?;
                    files.push(LeftoverFile {
                        path: bounded(leftover.path)?,
                        bytes: leftover.bytes,
                        used_at: leftover.used_at,
                        in_use: leftover.in_use,
                    });
                    Ok(ControlFlow::Continue(()))
                }
                Answer::Leftovers => Ok(ControlFlow::Break(std::mem::take(&mut files))),
                _ => Err(not_asked()),
            }
        })
    }

    /// Removes the leftovers with these paths. Paths that do not exist are no error; paths of anything else are refused. Blocks
    /// until they are removed, or `cancel` stopped it.
    ///
    /// # Errors
    /// When the remote cannot be asked, or it refuses a path.
    pub fn remove(
        &self,
        paths: &[String],
        prompt: &dyn Prompt,
        cancel: &Cancel,
    ) -> Result<SweepReport, SyncError> {
        let mut all = SweepReport::default();
        for group in command_lines(paths) {
            let mut words = question_words("sweep", ".".as_ref());
            words.push("--".into());
            words.extend(group.iter().map(OsString::from));
            let mut kept = Vec::new();
            let removed = remote::ask(&self.remote, words, prompt, cancel, |answer, _| match answer {
                Answer::Event(Event::Problem { path, text, .. }) if kept.len() < MAX_KEPT_NAMED => {
                    let path = bounded(&String::from_utf8_lossy(path))?.into_bytes();
                    kept.push(KeptEntry { path, reason: bounded(text)? });
                    Ok(ControlFlow::Continue(()))
                }
                Answer::Swept { removed } => Ok(ControlFlow::Break(removed)),
                _ => Err(not_asked()),
            })?;
            all.removed += removed;
            all.kept.extend(kept);
        }
        Ok(all)
    }
}

/// Divides the paths into groups that fit into a command line each.
fn command_lines(paths: &[String]) -> Vec<&[String]> {
    let mut groups = Vec::new();
    let mut rest = paths;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|path| {
            bytes += path.len() + 1;
            bytes <= MAX_COMMAND_BYTES
        });
        let (group, others) = rest.split_at(fitting.count().max(1));
        groups.push(group);
        rest = others;
    }
    groups
}

fn check_count(count: usize) -> Result<(), EngineError> {
    if u64::try_from(count).unwrap_or(u64::MAX) < MAX_SURVEYED { Ok(()) } else { Err(too_long()) }
}

fn bounded(text: &str) -> Result<String, EngineError> {
    if text.len() <= MAX_TEXT_BYTES { Ok(text.to_owned()) } else { Err(too_long()) }
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

    #[test]
    fn many_names_take_several_command_lines() {
        let names: Vec<String> = (0..300).map(|number| format!("{number:0>100}")).collect();
        let groups = command_lines(&names);
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [162, 138]);
        assert_eq!(command_lines(&["x".repeat(20_000)]).len(), 1);
        assert!(command_lines(&[]).is_empty());
    }
}
