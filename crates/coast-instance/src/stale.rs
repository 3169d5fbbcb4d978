//! The paths of a workspace that differ from the worktree because a transfer could not write or read them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

use coast_sync::{Event, ProblemKind, SyncReport};
use serde::{Deserialize, Serialize};

use crate::StoredPath;
use coast_tree::{LockExt, LockResultExt};

/// The number of paths that a record lists.
const MAX_STALE_PATHS: usize = 100;

/// The entries that a transfer could not bring up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// The exit code of the transfer: 23, or the code of a worse failure.
    pub code: u8,
    /// The number of entries.
    pub count: u64,
    /// The first 100 of them.
    pub paths: Vec<StalePath>,
}

/// An entry that a transfer could not bring up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StalePath {
    /// Relative to the workspace; the workspace itself is the empty path.
    pub path: StoredPath,
    /// The action that failed and the answer of the system.
    pub reason: String,
}

/// Collects the entries that fail during one transfer.
#[derive(Debug, Default)]
pub(crate) struct StalePaths {
    paths: Mutex<Vec<StalePath>>,
}

impl StalePaths {
    /// Takes note of an event of the transfer.
    pub(crate) fn note(&self, event: &Event<'_>) {
        let Event::Problem { path, kind, text } = event else { return };
        // Any other kind is not a failure: the entry vanished, was skipped on purpose, or changed at the destination meanwhile.
        if !matches!(kind, ProblemKind::SourceRead | ProblemKind::Destination | ProblemKind::Changing) {
            return;
        }
        let path = StoredPath::from(Path::new(OsStr::from_bytes(path)));
        let mut paths = self.paths.enter();
        if paths.len() < MAX_STALE_PATHS && paths.iter().all(|stale| stale.path != path) {
            paths.push(StalePath { path, reason: (*text).to_owned() });
        }
    }

    /// The entries that are stale after a transfer with this report.
    pub(crate) fn into_stale(self, report: &SyncReport) -> Option<Stale> {
        let code = report.workspace_exit_code();
        if code == 0 {
            return None;
        }
        let paths = self.paths.into_inner().even_poisoned();
        let listed = count_of(paths.len());
        let counted = report.run.sender.unreadable.saturating_add(report.run.receiver.failed);
        Some(Stale { code, count: counted.max(listed).max(1), paths })
    }
}

impl Stale {
    /// The entries that are stale after a later transfer of the paths `only` alone, which left `failed`.
    pub(crate) fn after(before: Option<Self>, only: &[Vec<u8>], failed: Option<Self>) -> Option<Self> {
        let Some(mut stale) = before else { return failed };
        let listed = stale.paths.len();
        let unlisted = stale.count.saturating_sub(count_of(listed));
        let was_transferred =
            |path: &Path| only.iter().any(|only| path.starts_with(Path::new(OsStr::from_bytes(only))));
        stale.paths.retain(|stale| !was_transferred(&stale.path));
        let resolved = listed - stale.paths.len();
        stale.count = stale.count.saturating_sub(count_of(resolved));
        if let Some(failed) = failed {
            // The other transferred paths are taken for unlisted entries, which `failed` counts again. Without `failed` they are not:
            // an entry must never count as brought that was not.
            let others = count_of(only.len().saturating_sub(resolved));
            stale.count = stale.count.saturating_sub(unlisted.min(others));
            stale.code = stale.code.max(failed.code);
            stale.count = stale.count.saturating_add(failed.count);
            stale.paths.extend(failed.paths);
            stale.paths.truncate(MAX_STALE_PATHS);
        }
        (stale.count > 0).then_some(stale)
    }
}

fn count_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(count: u64, paths: &[&str]) -> Stale {
        let path = |path: &&str| StalePath { path: Path::new(path).into(), reason: "no".to_owned() };
        Stale { code: 23, count, paths: paths.iter().map(path).collect() }
    }

    fn only(paths: &[&str]) -> Vec<Vec<u8>> {
        paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_later_transfer_resolves_its_own_paths_alone() {
        let before = || Some(stale(4, &["a", "dir/b", "dirt"]));
        assert_eq!(Stale::after(before(), &only(&["dir"]), None), Some(stale(3, &["a", "dirt"])));
        assert_eq!(
            Stale::after(before(), &only(&["dir", "a"]), Some(stale(1, &["a"]))),
            Some(stale(3, &["dirt", "a"]))
        );
        let all = Some(stale(2, &["a", "b"]));
        assert_eq!(Stale::after(all, &only(&["a", "b", "c"]), None), None);
        assert_eq!(Stale::after(None, &only(&["a"]), Some(stale(1, &["a"]))), Some(stale(1, &["a"])));
    }

    #[test]
    fn unlisted_entries_are_counted_once_and_never_forgotten() {
        // Four entries of which one is listed fail again.
        let all = only(&["a", "b", "c", "d"]);
        assert_eq!(
            Stale::after(Some(stale(4, &["a"])), &all, Some(stale(4, &["a"]))),
            Some(stale(4, &["a"]))
        );
        assert_eq!(
            Stale::after(Some(stale(4, &["a"])), &only(&["a", "x", "y", "z"]), None),
            Some(stale(3, &[]))
        );
    }

    #[test]
    fn only_failures_are_noted_each_path_once_and_so_many() {
        let noted = StalePaths::default();
        let problem = |path: &str, kind| {
            noted.note(&Event::Problem { path: path.as_bytes(), kind, text: "no" });
        };
        for kind in [ProblemKind::Vanished, ProblemKind::Skipped, ProblemKind::Kept] {
            problem("fine", kind);
        }
        for kind in [ProblemKind::Destination, ProblemKind::SourceRead, ProblemKind::Changing] {
            problem("same", kind);
        }
        for number in 0..2 * MAX_STALE_PATHS {
            problem(&number.to_string(), ProblemKind::Destination);
        }
        let paths = noted.paths.into_inner().even_poisoned();
        assert_eq!((paths.len(), &*paths[0].path), (MAX_STALE_PATHS, Path::new("same")));
    }
}
