//! The paths of a workspace that differ from the worktree because a transfer could not write or read them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coast_sync::SyncReport;
use serde::{Deserialize, Serialize};

use crate::StoredPath;

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

impl Stale {
    /// The entries that are stale after a transfer with this report.
    pub(crate) fn of(report: &SyncReport) -> Option<Self> {
        let code = report.workspace_exit_code();
        if code == 0 {
            return None;
        }
        let first = report.failures.first.iter().take(MAX_STALE_PATHS);
        let paths = first
            .map(|failure| StalePath {
                path: StoredPath::from(Path::new(OsStr::from_bytes(&failure.path))),
                reason: failure.text.clone(),
            })
            .collect();
        // A code other than 0 without an entry that failed is that of a limit on deletions.
        Some(Self { code, count: report.failures.count.max(1), paths })
    }

    /// Whether a path is one of the listed entries, or is above or below one.
    pub fn concerns(&self, path: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        self.paths.iter().any(|stale| stale.path.starts_with(path) || path.starts_with(&*stale.path))
    }

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
            // A transferred path that was not listed may have been one of the unlisted entries. If it failed again, `failed` counts it,
            // so it is subtracted here. If nothing failed, it is not subtracted: `count` may be too high, never too low.
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
}
