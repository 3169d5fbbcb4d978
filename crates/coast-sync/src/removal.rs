//! Removes a workspace on another machine, and the private state directory beside it.

use std::ops::ControlFlow;

use coast_engine::{Cancel, EngineError};
use coast_ssh::Prompt;
use coast_tree::MAX_PATH_BYTES;
use coast_wire::limits::{MAX_KEPT_NAMED, MAX_TEXT_BYTES};
use coast_wire::{Answer, Event};

use crate::SyncError;
use crate::destination::RemoteDestination;
use crate::receiver_arguments::question_words;
use crate::remote::{self, ConnectionReport};

/// Removes a workspace on another machine: the directory, and the private state directory beside it.
///
/// Refused are: a directory that no transfer has worked on, unless it is empty; a home directory or a directory that holds one;
/// a directory less than two levels deep; a mount point; a workspace that another run works on.
///
/// A workspace that does not exist is not an error. After an interrupted removal, the same request finishes it.
#[derive(Debug, Clone)]
pub struct RemoveRequest {
    remote: RemoteDestination,
    with_empty_parent: bool,
}

/// The result of removing a workspace.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RemoveReport {
    /// How the other machine was reached.
    pub connection: ConnectionReport,
    /// Whether there was anything to remove.
    pub existed: bool,
    /// Entries of the workspace that were removed, its own directory included.
    pub removed_entries: u64,
    /// Entries that could not be removed. While there is one, the directories around it and the state directory stay too.
    pub kept_entries: u64,
    /// The first of these entries, at most 100.
    pub kept: Vec<KeptEntry>,
    /// Whether the helper confined itself to the workspace before it removed anything (Linux 5.19 and later).
    pub confined: bool,
}

/// An entry that a removal or a restoration left where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptEntry {
    /// Its path, relative to the workspace; empty for the workspace's own directory.
    pub path: Vec<u8>,
    /// Why, and what to do about it where that is known.
    pub reason: String,
}

impl RemoveRequest {
    /// Removes the workspace at this destination.
    pub fn new(remote: RemoteDestination) -> Self {
        Self { remote, with_empty_parent: false }
    }

    /// Whether the directory that holds the workspace is removed too, if it is empty then.
    #[must_use]
    pub fn with_empty_parent(mut self, with: bool) -> Self {
        self.with_empty_parent = with;
        self
    }

    /// Removes the workspace. Blocks until the removal has ended, or `cancel` stopped it. Questions and notices of the connection
    /// go to `prompt`. `progress` is called now and then with the number of entries that have been removed.
    ///
    /// # Errors
    /// When the removal ended early. [`SyncError::is_busy`] is true when another run works on the workspace, and
    /// [`SyncError::is_refused`] when the destination is never removed. Single entries that stay are no error: see
    /// [`RemoveReport::is_complete`].
    pub fn run(
        self,
        prompt: &dyn Prompt,
        progress: &dyn Fn(u64),
        cancel: &Cancel,
    ) -> Result<RemoveReport, SyncError> {
        let mut kept = Vec::new();
        let mut words = question_words("remove", &self.remote.path);
        if self.with_empty_parent {
            words.insert(1, "--with-empty-parent".into());
        }
        remote::ask(&self.remote, words, prompt, cancel, |answer, connection| match answer {
            Answer::Event(Event::Problem { path, text, .. }) => {
                if path.len() > MAX_PATH_BYTES || text.len() > MAX_TEXT_BYTES || kept.len() >= MAX_KEPT_NAMED
                {
                    return Err(EngineError::Protocol("its answer is longer than any"));
                }
                kept.push(KeptEntry { path: path.to_owned(), reason: text.to_owned() });
                Ok(ControlFlow::Continue(()))
            }
            Answer::Removing { removed_entries } => {
                progress(removed_entries);
                Ok(ControlFlow::Continue(()))
            }
            Answer::Removal(removal) => Ok(ControlFlow::Break(RemoveReport {
                connection: connection.clone(),
                existed: removal.existed,
                removed_entries: removal.removed_entries,
                kept_entries: removal.kept_entries,
                kept: std::mem::take(&mut kept),
                confined: removal.confined,
            })),
            _ => Err(EngineError::Protocol("it answered something that was not asked")),
        })
    }
}

impl RemoveReport {
    /// Whether nothing is left.
    pub fn is_complete(&self) -> bool {
        self.kept_entries == 0
    }
}
