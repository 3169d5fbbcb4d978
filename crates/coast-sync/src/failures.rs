//! The entries that a run could not bring up to date, gathered from the problems that are told to its monitor.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use coast_engine::{Monitor, Progress};
use coast_tree::{LockExt, LockResultExt};
use coast_wire::{Event, ProblemKind, Ready};

use crate::{Conflicts, Deferred, Deletions};

/// Entries that a run could not bring up to date: they could not be read at the source, or not be written, replaced or
/// deleted at the destination.
///
/// An entry is not among them when its problem is benign: the source entry vanished during the run, another program changed the
/// destination entry during the run, or a protected path was in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failures {
    /// How many problems there were. Of the first [`Failures::MAX_FIRST`] entries each is counted once, however many problems
    /// it had.
    pub count: u64,
    /// The first entries, at most [`Failures::MAX_FIRST`], in the order in which they were told.
    pub first: Vec<Failure>,
}

/// One entry that a run could not bring up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The path, relative to the transfer root.
    pub path: Vec<u8>,
    /// The kind of the problem.
    pub kind: ProblemKind,
    /// The action that failed, and the system's answer.
    pub text: String,
}

impl Failure {
    /// An entry at `path`, relative to the transfer root, with the action that failed and the system's answer as `text`.
    pub fn new(path: impl Into<Vec<u8>>, kind: ProblemKind, text: impl Into<String>) -> Self {
        Self { path: path.into(), kind, text: text.into() }
    }
}

impl Failures {
    /// How many entries [`Failures::first`] holds at most.
    pub const MAX_FIRST: usize = 1000;

    /// Whether every entry was brought up to date, apart from benign problems.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Whether a problem of this kind is counted as failure in [`RunReport::exit_code_for_live_destination`].
///
/// [`RunReport::exit_code_for_live_destination`]: coast_engine::RunReport::exit_code_for_live_destination
fn is_failure(kind: ProblemKind) -> bool {
    matches!(kind, ProblemKind::SourceRead | ProblemKind::Changing | ProblemKind::Destination)
}

/// A monitor that passes everything on and gathers failures, deletions and conflicts.
pub(crate) struct Gathering<'a> {
    inner: &'a dyn Monitor,
    gathered: Mutex<Gathered>,
}

/// What was gathered of a run.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) failures: Failures,
    pub(crate) deletions: Deletions,
    pub(crate) conflicts: Conflicts,
    pub(crate) deferred: Deferred,
    /// The paths in `failures.first`.
    known: HashSet<Vec<u8>>,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(inner: &'a dyn Monitor) -> Self {
        Self { inner, gathered: Mutex::default() }
    }

    pub(crate) fn into_gathered(self) -> Gathered {
        self.gathered.into_inner().even_poisoned()
    }
}

impl Gathered {
    fn add(&mut self, path: &[u8], kind: ProblemKind, text: &str) {
        if self.known.contains(path) {
            return;
        }
        self.failures.count += 1;
        if self.failures.first.len() < Failures::MAX_FIRST {
            self.known.insert(path.to_vec());
            self.failures.first.push(Failure::new(path, kind, text));
        }
    }
}

impl Monitor for Gathering<'_> {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Problem { path, kind, text } if is_failure(*kind) => {
                self.gathered.enter().add(path, *kind, text);
            }
            Event::Conflict { path, kind } => self.gathered.enter().conflicts.add(path, *kind),
            Event::Deferred { path } => self.gathered.enter().deferred.add(path),
            Event::Replaced { path } => self.gathered.enter().deletions.replaced.add(path, false),
            Event::Deleted { path, directory, origin } => {
                self.gathered.enter().deletions.add(path, *directory, *origin);
            }
            _ => {}
        }
        self.inner.event(event);
    }

    fn started(&self, progress: &Arc<Progress>) {
        self.inner.started(progress);
    }

    fn ready(&self, ready: &Ready) {
        self.inner.ready(ready);
    }
}

#[cfg(test)]
mod tests {
    use coast_engine::VoidMonitor;

    use super::*;

    fn gathered(problems: &[(&str, ProblemKind)]) -> Failures {
        let gathering = Gathering::new(&VoidMonitor);
        for (path, kind) in problems {
            gathering.event(&Event::Problem { path: path.as_bytes(), kind: *kind, text: "why" });
        }
        gathering.into_gathered().failures
    }

    #[test]
    fn benign_problems_are_no_failures() {
        let failures = gathered(&[
            ("vanished", ProblemKind::Vanished),
            ("skipped", ProblemKind::Skipped),
            ("kept", ProblemKind::Kept),
            ("changed", ProblemKind::DestinationChanged),
        ]);
        assert_eq!(failures, Failures::default());
        assert!(failures.is_empty());
    }

    #[test]
    fn an_entry_is_counted_once() {
        let failures = gathered(&[
            ("a", ProblemKind::Destination),
            ("b", ProblemKind::SourceRead),
            ("a", ProblemKind::Destination),
            ("c", ProblemKind::Changing),
        ]);
        let paths: Vec<_> = failures.first.iter().map(|failure| failure.path.as_slice()).collect();
        assert_eq!((failures.count, paths), (3, vec![&b"a"[..], b"b", b"c"]));
    }

    #[test]
    fn only_the_first_entries_are_kept() {
        let names: Vec<String> = (0..Failures::MAX_FIRST + 5).map(|number| number.to_string()).collect();
        let problems: Vec<_> = names.iter().map(|name| (name.as_str(), ProblemKind::Destination)).collect();
        let failures = gathered(&problems);
        assert_eq!((failures.count, failures.first.len()), (1005, Failures::MAX_FIRST));
    }
}
