//! `resolve`: conflicts of a session are settled by taking one side.

use crate::Name;
use crate::continuous::{Conflict, ContinuousStatus, Side};
use crate::lifecycle::error::failure_of;
use crate::lifecycle::{Lifecycle, LifecycleError};

/// The result of [`Lifecycle::resolve`].
#[derive(Debug)]
pub struct Resolution {
    /// The status of the session after that.
    pub status: ContinuousStatus,
    /// The paths that were in conflict, as far as the session had listed them, and no longer are.
    pub settled: Vec<Vec<u8>>,
    /// The number of conflicts and problems that are left at and below the paths that were to be settled.
    pub left: u64,
}

impl Lifecycle<'_> {
    /// Takes the entries of one side where the session has conflicts: at and below `paths`, or everywhere if there are no paths. What is
    /// replaced on the remote moves to the trash there; what is replaced in the worktree is gone.
    ///
    /// # Errors
    /// When there is no such instance, its edits are not carried, or the conflicts cannot be settled.
    pub fn resolve(
        &self,
        instance: &Name,
        paths: &[Vec<u8>],
        take: Side,
    ) -> Result<Resolution, LifecycleError> {
        let (record, lock) = self.follows(instance, "resolve")?;
        let (continuous, id) = (self.layers.get(record.layer), self.id(instance));
        let before = continuous.status(&id, self.cancel);
        let resolved =
            before.and_then(|before| Ok((before, continuous.resolve(&id, paths, take, self.cancel)?)));
        drop(lock);
        match resolved {
            Ok((before, status)) => Ok(Resolution::of(paths, &before.conflicts, status)),
            Err(error) => Err(match failure_of(error, None) {
                Ok(failure) => LifecycleError::Continuous { failure, hint: String::new() },
                Err(error) => error,
            }),
        }
    }
}

impl Resolution {
    fn of(paths: &[Vec<u8>], before: &[Conflict], status: ContinuousStatus) -> Self {
        let is_left = |path: &[u8]| status.conflicts.iter().any(|conflict| conflict.path == path);
        let settled = before.iter().map(|conflict| &conflict.path);
        let settled = settled.filter(|path| concerns(paths, path) && !is_left(path)).cloned().collect();
        let conflicts = status.conflicts.iter().map(|conflict| &conflict.path);
        let problems = status.problems.iter().map(|problem| &problem.path);
        let mut left = conflicts.chain(problems).filter(|path| concerns(paths, path)).count() as u64;
        if paths.is_empty() {
            left += status.more_conflicts + status.more_problems;
        }
        Self { settled, left, status }
    }
}

/// Whether `path` is at or below one of `wanted`. No path, and the workspace itself, mean everything.
fn concerns(wanted: &[Vec<u8>], path: &[u8]) -> bool {
    let is_at = |wanted: &Vec<u8>| {
        let wanted = wanted.strip_suffix(b"/").unwrap_or(wanted);
        let below = path.strip_prefix(wanted);
        matches!(wanted, b"" | b".") || below.is_some_and(|below| below.is_empty() || below[0] == b'/')
    };
    wanted.is_empty() || wanted.iter().any(is_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_paths_count() {
        let conflict = |path: &str| Conflict {
            path: path.as_bytes().to_vec(),
            made_there: Vec::new(),
            kept_by_ignored: false,
        };
        let before = ["a.js", "ab", "conf/x", "conf/y"].map(conflict);
        let status = |paths: &[&str], more_conflicts| ContinuousStatus {
            conflicts: paths.iter().map(|path| conflict(path)).collect(),
            more_conflicts,
            ..ContinuousStatus::default()
        };
        let of = |paths: &[&str], status| {
            let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
            let resolution = Resolution::of(&paths, &before, status);
            let text = |path: &Vec<u8>| String::from_utf8(path.clone()).unwrap();
            (resolution.settled.iter().map(text).collect::<Vec<_>>().join(" "), resolution.left)
        };
        assert_eq!(of(&["a.js"], status(&["ab", "conf/x", "conf/y"], 0)), ("a.js".to_owned(), 0));
        assert_eq!(of(&["conf/"], status(&["a.js", "ab", "conf/y"], 0)), ("conf/x".to_owned(), 1));
        assert_eq!(of(&["a"], status(&["a.js", "ab"], 0)), (String::new(), 0));
        for all in [&[][..], &["."]] {
            assert_eq!(of(all, status(&["ab"], 0)), ("a.js conf/x conf/y".to_owned(), 1));
        }
        assert_eq!(of(&[], status(&["ab"], 7)).1, 8);
    }
}
