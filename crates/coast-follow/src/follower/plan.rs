//! The run that a batch of the watcher becomes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coast_sync::{BatchPath, FollowBatch, RelPath, RunReport};

use crate::batch::{Batch, Depth, Extent};

/// How many deletions a batch may bring that is not compared with the whole workspace. A run that deletes more is refused if it is
/// more than half of the workspace, and only a run over everything can tell that. It takes 0.2 s for 78,000 files.
const FEW: u64 = coast_sync::MASS_DELETION;

/// Deletions that follow each other within this time count together: `rm -rf` may take longer than a batch.
const TOGETHER: Duration = Duration::from_secs(2);

/// What is sent of a batch at once.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) extent: Extent,
    /// The paths that do not exist any more.
    pub(super) gone: Vec<RelPath>,
    /// Renames whose old path is free.
    pub(super) renamed: Vec<(RelPath, RelPath)>,
}

/// Deletions that follow each other for longer than this are looked at anew.
const LONGEST: Duration = Duration::from_secs(60);

/// The deletions of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    count: u64,
    began: Option<Instant>,
    last: Option<Instant>,
    /// How many entries are at the destination, as far as the runs tell. 0 before the first of them.
    there: u64,
    /// How many were there before the first of these deletions.
    there_before: u64,
    /// How many entries the destination had when a transfer or a comparison of everything last found that nothing had to be deleted.
    /// Entries that came later may be deleted without a question: removing a directory that was just made loses nothing.
    brought: u64,
    /// How many of the entries that `brought` counts were at the destination before the first of these deletions.
    whole: u64,
}

impl Deletions {
    /// Adds the deletions of a batch. Returns whether the run has to compare them with the whole workspace.
    fn are_many(&mut self, left: u64, now: Instant) -> bool {
        let is_over = |since: Option<Instant>, limit| since.is_none_or(|since| now - since > limit);
        if is_over(self.last, TOGETHER) || is_over(self.began, LONGEST) {
            self.count = 0;
            self.began = Some(now);
            self.there_before = self.there;
            self.whole = self.brought.min(self.there);
        }
        if left > 0 {
            self.count = self.count.saturating_add(left);
            self.last = Some(now);
        }
        let many = left > 0 && self.count > FEW;
        if many {
            self.count = 0;
        }
        many
    }

    /// A transfer has brought the worktree, which had this many entries.
    pub(super) fn transferred(&mut self, entries: u64) {
        (self.there, self.brought) = (entries, entries);
    }

    /// Notes a run over this extent.
    pub(super) fn carried(&mut self, extent: &Extent, run: &RunReport, now: Instant) {
        let (here, there) = (&run.sender, &run.receiver);
        self.there = match extent {
            Extent::Everything => here.files + here.directories + here.others,
            Extent::Paths(_) => (self.there + there.created).saturating_sub(there.deleted),
        };
        if *extent == Extent::Everything && there.deleted == 0 {
            self.brought = self.there;
        }
        if there.deleted > 0 {
            self.last = Some(now);
        }
    }

    /// How many entries were there before the deletions of the last seconds: a large directory may go in several batches.
    pub(super) fn there_before(&self) -> u64 {
        self.there_before
    }

    /// How many entries make the workspace whole. 0 if that is not known.
    pub(super) fn whole(&self) -> u64 {
        self.whole
    }
}

impl Plan {
    pub(super) fn new(batch: &Batch, worktree: &Path, deletions: &mut Deletions, now: Instant) -> Self {
        let everything = |gone| Self { extent: Extent::Everything, gone, renamed: Vec::new() };
        let paths = match &batch.extent {
            Extent::Paths(paths) if paths.get(&RelPath::root()) != Some(&Depth::Tree) => paths,
            _ => return everything(Vec::new()),
        };
        let is_missing = |path: &RelPath| {
            let found = fs::symlink_metadata(local_path(worktree, path));
            found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        let gone: Vec<RelPath> = paths.keys().filter(|path| is_missing(path)).cloned().collect();
        if deletions.are_many(batch.left, now) {
            return everything(gone);
        }
        let all_gone: HashSet<&RelPath> = gone.iter().collect();
        let is_gone = |path: &RelPath| {
            std::iter::successors(Some(path.clone()), RelPath::parent).any(|path| all_gone.contains(&path))
        };
        let is_renamed = |(from, to): &&(RelPath, RelPath)| is_gone(from) && !is_gone(to);
        let renamed = batch.moved.iter().filter(is_renamed).cloned().collect();
        Self { extent: batch.extent.clone(), gone, renamed }
    }
}

/// The batch of a run over an extent.
pub(super) fn follow_batch(extent: &Extent) -> FollowBatch {
    match extent {
        Extent::Everything => FollowBatch::everything(),
        Extent::Paths(paths) => FollowBatch::paths(
            paths.iter().map(|(path, depth)| BatchPath { path: path.clone(), deep: *depth == Depth::Tree }),
        ),
    }
}

/// Where a path of the worktree is.
pub(super) fn local_path(worktree: &Path, path: &RelPath) -> PathBuf {
    worktree.join(OsStr::from_bytes(path.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn batch(paths: &[&str], left: u64) -> Batch {
        let paths = paths.iter().map(|path| (rel(path), Depth::Entry)).collect();
        let extent = Extent::Paths(paths);
        Batch { extent, moved: Vec::new(), ticket: None, saved: Instant::now(), left }
    }

    #[test]
    fn paths_that_are_missing_are_told() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("small"), "").unwrap();
        let batch = batch(&["small", "gone"], 1);
        let plan = Plan::new(&batch, scratch.path(), &mut Deletions::default(), Instant::now());
        assert_eq!((plan.gone, plan.extent), (vec![rel("gone")], batch.extent));
    }

    #[test]
    fn a_rename_to_a_path_that_was_taken_again_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["one", "two", "again"] {
            fs::write(scratch.path().join(name), "").unwrap();
        }
        let mut batch = batch(&["gone", "one", "again", "two", "lost", "away"], 0);
        batch.moved = [("gone", "one"), ("again", "two"), ("away", "lost")]
            .map(|(from, to)| (rel(from), rel(to)))
            .to_vec();
        let plan = Plan::new(&batch, scratch.path(), &mut Deletions::default(), Instant::now());
        assert_eq!(plan.renamed, [(rel("gone"), rel("one"))]);
    }

    #[test]
    fn many_deletions_in_a_row_are_compared_with_the_whole_workspace() {
        let now = Instant::now();
        let mut deletions = Deletions::default();
        assert!(!deletions.are_many(60, now));
        assert!(!deletions.are_many(40, now), "not more than a hundred");
        assert!(!deletions.are_many(0, now));
        assert!(deletions.are_many(1, now));
        assert!(!deletions.are_many(60, now), "those before were compared");
        assert!(!deletions.are_many(60, now + 2 * TOGETHER), "those before were long ago");
        assert!(deletions.are_many(crate::batch::UNKNOWN, now + 9 * TOGETHER));
    }

    #[test]
    fn what_came_after_the_whole_worktree_may_go_again() {
        let now = Instant::now();
        let mut deletions = Deletions::default();
        deletions.transferred(300);
        deletions.there = 10_300;
        deletions.are_many(5000, now);
        assert_eq!((deletions.there_before(), deletions.whole()), (10_300, 300));
        deletions.there = 200;
        deletions.are_many(60, now + TOGETHER);
        assert_eq!(deletions.whole(), 300, "the row goes on");
        deletions.are_many(1, now + 4 * TOGETHER);
        assert_eq!((deletions.there_before(), deletions.whole()), (200, 200));
        // A comparison of everything finds 9,000 files, and nothing to delete.
        let mut run = RunReport::nothing();
        run.sender.files = 9000;
        deletions.carried(&Extent::Everything, &run, now + 5 * TOGETHER);
        deletions.are_many(1, now + 8 * TOGETHER);
        assert_eq!((deletions.there_before(), deletions.whole()), (9000, 9000));
    }

    #[test]
    fn what_was_there_before_a_row_of_deletions_is_known_until_it_is_over() {
        let now = Instant::now();
        let mut deletions = Deletions { there: 500, ..Deletions::default() };
        deletions.are_many(60, now);
        deletions.there = 200;
        deletions.are_many(60, now + TOGETHER);
        assert_eq!(deletions.there_before(), 500);
        deletions.are_many(60, now + 3 * TOGETHER);
        assert_eq!(deletions.there_before(), 200);
        let mut at = now + 3 * TOGETHER;
        while at < now + 3 * TOGETHER + LONGEST {
            at += TOGETHER;
            deletions.are_many(1, at);
            deletions.there -= 1;
        }
        deletions.are_many(1, at + TOGETHER);
        assert!(deletions.there_before() < 200);
    }
}
