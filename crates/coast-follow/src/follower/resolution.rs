//! Settles conflicts, each in favour of one side.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;

use coast_sync::{Cancel, RelPath};
use coast_tree::{LockExt, Root};

use super::shared::Shared;
use super::status::Side;
use super::takeover::Wanted;
use super::{FlushOutcome, Follower, stopped};
use crate::identity::LostRoot;

/// How many failures a message names.
const NAMED: usize = 5;

/// Why conflicts were not settled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A path has no conflict.
    #[error("nothing at or below {0} is in conflict; the status names the paths that are")]
    NoConflict(RelPath),
    /// The worktree cannot be read.
    #[error(transparent)]
    Root(#[from] LostRoot),
    /// Something of the destination did not come. Each text names its path.
    #[error("{}", Listed(.0))]
    NotTaken(Vec<String>),
    /// The changes cannot be ordered; see [`Follower::flush`].
    #[error("cannot make a file in the private directory: {0}")]
    Private(#[source] io::Error),
}

/// What the call of [`Follower::resolve`] under way has asked for. Empty while there is no call.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    /// Paths at and below which the worktree wins.
    pub(super) take_local: Vec<RelPath>,
    /// The entries that are to come from the destination, in their order.
    pub(super) take_remote: VecDeque<Wanted>,
    /// What failed of those that are done.
    pub(super) failures: Vec<String>,
}

impl Resolution {
    /// Notes that an entry was taken over, or why not. Does nothing if the call has ended.
    pub(super) fn done(&mut self, wanted: &Wanted, failure: Option<String>) {
        if self.take_remote.front() == Some(wanted) {
            self.take_remote.pop_front();
            self.failures.extend(failure);
        }
    }
}

/// Some lines of a list, and how many more there are.
struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = &self.0[..self.0.len().min(NAMED)];
        f.write_str(&named.join("; "))?;
        match self.0.len() - named.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Follower {
    /// Settles the conflicts at and below `paths` in favour of one side, and waits until that is at the destination: as
    /// [`Follower::flush`] does. No path, or the root among them, means every conflict.
    ///
    /// If [`Side::Local`] wins, what the destination has goes to its trash. If [`Side::Remote`] wins, files and symlinks of the
    /// destination replace those of the worktree; a file that is edited meanwhile stays, and its conflict with it.
    ///
    /// A call waits for the one before it. When `cancel` ends it, what was not settled yet stays as it is.
    ///
    /// # Errors
    /// When nothing at a path is in conflict, and when an entry of the destination cannot be taken.
    pub fn resolve(
        &self,
        paths: &[RelPath],
        take: Side,
        cancel: &Cancel,
    ) -> Result<FlushOutcome, ResolveError> {
        let _turn = self.resolving.enter();
        let (conflicts, more) = self.shared.enter().told.conflicts.clone();
        let conflicts: Vec<RelPath> =
            conflicts.iter().filter_map(|conflict| RelPath::new(&conflict.path).ok()).collect();
        let chosen = chosen(paths, &conflicts, more > 0, take)?;
        let _withdrawal = Withdrawal(&self.shared);
        match take {
            Side::Local => {
                self.shared.change(|state| state.resolution.take_local = chosen.into_iter().collect());
                // A run about some paths would not notice that it deletes most of the workspace.
                self.watcher.compare_everything();
            }
            Side::Remote => {
                if let Some(outcome) = self.take_remote(chosen, cancel)? {
                    return Ok(outcome);
                }
                if more > 0 {
                    // Only a run over everything lists the others.
                    self.watcher.compare_everything();
                }
            }
        }
        self.flush(None, cancel).map_err(ResolveError::Private)
    }

    /// Notes what the worktree has at a path that is to come from the destination.
    fn wanted(&self, root: &Root, path: RelPath) -> Result<Wanted, String> {
        let failed = |path: &RelPath, reason: &dyn fmt::Display| {
            Err(format!("cannot take {path} from the destination: {reason}"))
        };
        // The destination names the conflicts. It could name what is never sent, to have it written here.
        match self.exclusions.has(root, &path) {
            Ok(false) => Wanted::new(root, path.clone()).or_else(|error| failed(&path, &error)),
            Ok(true) => failed(&path, &"it is excluded from what is sent"),
            Err(error) => failed(&path, &error),
        }
    }

    /// Has the thread take entries over, and waits until it has tried all. Returns the outcome if it does not get that far.
    fn take_remote(
        &self,
        paths: BTreeSet<RelPath>,
        cancel: &Cancel,
    ) -> Result<Option<FlushOutcome>, ResolveError> {
        let root = self.watcher.identity().open(&self.root)?;
        let (mut wanted, mut failures) = (VecDeque::new(), Vec::new());
        for path in paths {
            match self.wanted(&root, path) {
                Ok(path) => wanted.push_back(path),
                Err(failure) => failures.push(failure),
            }
        }
        self.shared.change(|state| {
            (state.resolution.take_remote, state.resolution.failures) = (wanted, failures);
        });
        self.watcher.interrupt();
        let shared = Arc::clone(&self.shared);
        let _hook = cancel.on_cancel(move || shared.wake());
        let failures = self.shared.wait(None, |state| {
            let resolution = &mut state.resolution;
            if resolution.take_remote.is_empty() {
                return Some(Ok(std::mem::take(&mut resolution.failures)));
            }
            stopped(state, cancel).map(Err)
        });
        match failures {
            Some(Ok(failures)) if failures.is_empty() => Ok(None),
            Some(Ok(failures)) => Err(ResolveError::NotTaken(failures)),
            Some(Err(outcome)) => Ok(Some(outcome)),
            None => Ok(Some(FlushOutcome::TimedOut)),
        }
    }
}

/// The conflicts at and below paths. If there are more than those that are listed, a path stands for those at and below it.
fn chosen(
    paths: &[RelPath],
    conflicts: &[RelPath],
    has_more: bool,
    take: Side,
) -> Result<BTreeSet<RelPath>, ResolveError> {
    let root = [RelPath::root()];
    let paths = if paths.is_empty() || paths.contains(&root[0]) { &root } else { paths };
    let mut chosen = BTreeSet::new();
    for path in paths {
        let is_chosen = |conflict: &&RelPath| conflict.starts_with(path);
        let has_any = conflicts.iter().any(|conflict| is_chosen(&conflict));
        chosen.extend(conflicts.iter().filter(is_chosen).cloned());
        // Entries of the destination come one by one.
        if has_more && (take == Side::Local || !has_any) {
            chosen.insert(path.clone());
        } else if !has_any && !path.is_root() {
            return Err(ResolveError::NoConflict(path.clone()));
        }
    }
    Ok(chosen)
}

/// Ends what a call has asked for.
struct Withdrawal<'a>(&'a Shared);

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.resolution = Resolution::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn conflicts_are_chosen_by_their_paths() {
        let conflicts = ["a", "d/b", "d/c", "dd"].map(rel);
        let chosen = |paths: &[&str], more, take| {
            let paths: Vec<RelPath> = paths.iter().map(|path| rel(path)).collect();
            let chosen = chosen(&paths, &conflicts, more, take).map_err(|error| error.to_string())?;
            Ok(chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        for take in [Side::Local, Side::Remote] {
            assert_eq!(chosen(&["d", "d/b"], false, take), Ok("d/b d/c".to_owned()));
            for every in [&[][..], &["d", ""]] {
                assert_eq!(chosen(every, false, take), Ok("a d/b d/c dd".to_owned()));
            }
            let error: String = chosen(&["a", "e"], false, take).unwrap_err();
            assert!(error.contains("at or below e "), "{error}");
            assert_eq!(chosen(&["e"], true, take), Ok("e".to_owned()), "it may not be listed");
        }
        assert_eq!(chosen(&["d"], true, Side::Local), Ok("d d/b d/c".to_owned()));
        assert_eq!(chosen(&["d"], true, Side::Remote), Ok("d/b d/c".to_owned()));
    }

    #[test]
    fn a_message_names_some_failures_and_counts_the_others() {
        let failures = |count: usize| ResolveError::NotTaken((1..=count).map(|n| n.to_string()).collect());
        assert_eq!(failures(5).to_string(), "1; 2; 3; 4; 5");
        assert_eq!(failures(7).to_string(), "1; 2; 3; 4; 5; and 2 more");
    }
}
