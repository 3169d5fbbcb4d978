//! The paths that batches did not settle: problems, conflicts, and when each is tried again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coast_sync::{Conflict, Conflicts, Failures, ProblemKind, RelPath};

use super::status::{MAX_LISTED, Problem, Side};
use crate::batch::Extent;

/// How long a path that failed waits for the next try, if it does not change before. The wait doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
/// How often a follower looks at its conflicts again. A conflict is settled when the contents of both sides have become equal. A
/// follower without conflicts does not look.
const RECHECK: Duration = Duration::from_secs(5);
/// How often in a row a path is sent again at once, if something else is at work there.
const TRIES: u32 = 3;

/// What is told of deletions that a run left out.
const NOT_DELETED: &str =
    "what was deleted here at or below it stays there, because something of the worktree could not be read";

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Trouble {
    problems: BTreeMap<RelPath, Stuck>,
    more_problems: u64,
    conflicts: BTreeMap<RelPath, Conflict>,
    more_conflicts: u64,
    /// The paths that were sent again at once, and how often. The root stands for everything.
    doubted: BTreeMap<RelPath, u32>,
    recheck: Option<Instant>,
}

/// A path that failed.
#[derive(Debug)]
struct Stuck {
    side: Side,
    text: String,
    wait: Duration,
    next: Instant,
}

/// An entry that the destination left as it is for the moment.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) path: RelPath,
    /// The side where the reason is.
    pub(super) side: Side,
    /// What to tell if it stays so. `None` if it may stay so.
    pub(super) text: Option<String>,
}

/// A run that ended.
#[derive(Debug)]
pub(super) struct Ended<'a> {
    pub(super) extent: &'a Extent,
    pub(super) failures: &'a Failures,
    pub(super) conflicts: &'a Conflicts,
    pub(super) left: Vec<Left>,
    /// The paths that should have been deleted, if the run deleted nothing because something could not be read.
    pub(super) not_deleted: Option<&'a [RelPath]>,
}

/// The paths that are tried again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Again {
    pub(super) everything: bool,
    /// Paths that failed.
    pub(super) failed: Vec<RelPath>,
    /// Paths in conflict.
    pub(super) conflicts: Vec<RelPath>,
}

impl Again {
    pub(super) fn is_empty(&self) -> bool {
        !self.everything && self.failed.is_empty() && self.conflicts.is_empty()
    }
}

/// What was noted of the paths that a run looked at.
#[derive(Debug, Default)]
struct Known {
    waits: BTreeMap<RelPath, Duration>,
    conflicts: Vec<RelPath>,
    doubted: BTreeMap<RelPath, u32>,
}

impl Trouble {
    /// Notes how a run ended that took this long. Returns the paths that are to be sent again at once: `failed` are those that were left
    /// for the moment, `conflicts` those whose conflict is settled.
    pub(super) fn settle(&mut self, ended: Ended<'_>, now: Instant, took: Duration) -> Again {
        let Ended { extent, failures, conflicts, left, not_deleted } = ended;
        let known = self.forget(extent);
        for failure in &failures.first {
            let side = match failure.kind {
                ProblemKind::SourceRead | ProblemKind::Changing => Side::Local,
                _ => Side::Remote,
            };
            self.stick(rel_path(&failure.path), side, &failure.text, &known, now);
        }
        self.more_problems += failures.count.saturating_sub(failures.first.len() as u64);
        for conflict in &conflicts.first {
            self.note_conflict(conflict);
        }
        self.more_conflicts += conflicts.count.saturating_sub(conflicts.first.len() as u64);
        self.schedule_recheck(now, took);

        let mut left = left;
        if let Some(gone) = not_deleted {
            let root = [RelPath::root()];
            let paths = if *extent == Extent::Everything { &root } else { gone };
            left.extend(paths.iter().map(|path| Left {
                path: path.clone(),
                side: Side::Local,
                text: Some(NOT_DELETED.to_owned()),
            }));
        }
        let mut again = Again::default();
        for Left { path, side, text } in left {
            let tries = known.doubted.get(&path).map_or(0, |tries| *tries);
            if tries < TRIES && self.doubted.len() < MAX_LISTED {
                again.everything |= path.is_root();
                again.failed.push(path.clone());
                self.doubted.insert(path, tries + 1);
            } else if let Some(text) = text {
                self.stick(path, side, &text, &known, now);
            } else {
                self.doubted.insert(path, tries);
            }
        }
        again.failed.retain(|path| !path.is_root());
        let is_settled = |path: &RelPath| !self.conflicts.contains_key(path);
        again.conflicts = known.conflicts.into_iter().filter(is_settled).collect();
        again
    }

    /// Notes that a run failed as a whole.
    pub(super) fn failed(&mut self, extent: &Extent, text: &str, now: Instant) {
        let mut known = Known::default();
        self.forget_problems(extent, &mut known);
        match extent {
            Extent::Everything => self.stick(RelPath::root(), Side::Remote, text, &known, now),
            Extent::Paths(paths) => {
                for path in paths.keys() {
                    self.stick(path.clone(), Side::Remote, text, &known, now);
                }
            }
        }
    }

    /// When something is to be tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.problems.values().map(|stuck| stuck.next).chain(self.recheck).min()
    }

    /// Takes what is due. It is due again after the same time, unless a run tells more until then.
    pub(super) fn take_due(&mut self, now: Instant) -> Again {
        let mut again = Again::default();
        for (path, stuck) in &mut self.problems {
            if stuck.next <= now {
                stuck.next = now + stuck.wait;
                again.failed.push(path.clone());
            }
        }
        // Those that are not listed can only be found by a run over everything.
        let is_partial = self.more_problems == 0 && !again.failed.contains(&RelPath::root());
        if !again.failed.is_empty() && !is_partial {
            again = Again { everything: true, ..Again::default() };
        }
        if self.recheck.is_some_and(|recheck| recheck <= now) {
            self.recheck = Some(now + RECHECK);
            again.conflicts = self.conflicts.keys().cloned().collect();
        }
        again
    }

    /// The problems, and how many there are beyond those.
    pub(super) fn problems(&self) -> (Vec<Problem>, u64) {
        let problem = |(path, stuck): (&RelPath, &Stuck)| Problem {
            path: path.clone(),
            side: stuck.side,
            text: stuck.text.clone(),
        };
        (self.problems.iter().map(problem).collect(), self.more_problems)
    }

    /// The conflicts, and how many there are beyond those.
    pub(super) fn conflicts(&self) -> (Vec<Conflict>, u64) {
        (self.conflicts.values().cloned().collect(), self.more_conflicts)
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty() && self.conflicts.is_empty()
    }

    /// Forgets what is noted of the paths of an extent: a run over it tells anew.
    fn forget(&mut self, extent: &Extent) -> Known {
        let mut known = Known::default();
        self.forget_problems(extent, &mut known);
        known.conflicts = self.conflicts.keys().filter(|path| extent.covers(path)).cloned().collect();
        self.conflicts.retain(|path, _| !extent.covers(path));
        self.doubted.retain(|path, tries| {
            let is_covered = extent.covers(path);
            if is_covered {
                known.doubted.insert(path.clone(), *tries);
            }
            !is_covered
        });
        if *extent == Extent::Everything {
            self.more_conflicts = 0;
        }
        known
    }

    fn forget_problems(&mut self, extent: &Extent, known: &mut Known) {
        self.problems.retain(|path, stuck| {
            let is_covered = extent.covers(path);
            if is_covered {
                known.waits.insert(path.clone(), stuck.wait);
            }
            !is_covered
        });
        if *extent == Extent::Everything {
            self.more_problems = 0;
        }
    }

    fn stick(&mut self, path: RelPath, side: Side, text: &str, known: &Known, now: Instant) {
        if self.problems.len() == MAX_LISTED && !self.problems.contains_key(&path) {
            self.more_problems += 1;
            return;
        }
        let wait = known.waits.get(&path).map_or(FIRST_WAIT, |wait| (2 * *wait).min(LONGEST_WAIT));
        self.problems.insert(path, Stuck { side, text: text.to_owned(), wait, next: now + wait });
    }

    fn note_conflict(&mut self, conflict: &Conflict) {
        let path = rel_path(&conflict.path);
        if self.conflicts.len() == MAX_LISTED && !self.conflicts.contains_key(&path) {
            self.more_conflicts += 1;
        } else {
            self.conflicts.insert(path, conflict.clone());
        }
    }

    /// Looking at the conflicts takes a tenth of the time at most.
    fn schedule_recheck(&mut self, now: Instant, took: Duration) {
        self.recheck = if self.conflicts.is_empty() {
            None
        } else {
            Some(self.recheck.unwrap_or(now + RECHECK).max(now + 10 * took))
        };
    }
}

/// A path that a run has told. One that cannot be is the run's as a whole.
fn rel_path(bytes: &[u8]) -> RelPath {
    RelPath::new(bytes).unwrap_or_else(|_| RelPath::root())
}

#[cfg(test)]
mod tests {
    use coast_sync::Failure;

    use super::*;
    use crate::batch::Depth;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn paths(paths: &[&str]) -> Extent {
        Extent::Paths(paths.iter().map(|path| (rel(path), Depth::Entry)).collect())
    }

    fn failures(paths: &[&str]) -> Failures {
        let mut failures = Failures::default();
        failures.count = paths.len() as u64;
        failures.first =
            paths.iter().map(|path| Failure::new(*path, ProblemKind::SourceRead, "denied")).collect();
        failures
    }

    struct Run {
        trouble: Trouble,
        now: Instant,
    }

    impl Run {
        fn new() -> Self {
            Self { trouble: Trouble::default(), now: Instant::now() }
        }

        fn over(&mut self, extent: &Extent, failed: &[&str], left: Vec<Left>) -> Again {
            self.run(extent, failed, left, None)
        }

        fn run(
            &mut self,
            extent: &Extent,
            failed: &[&str],
            left: Vec<Left>,
            not_deleted: Option<&[RelPath]>,
        ) -> Again {
            let (failures, conflicts) = (&failures(failed), &Conflicts::default());
            let ended = Ended { extent, failures, conflicts, left, not_deleted };
            self.trouble.settle(ended, self.now, Duration::ZERO)
        }

        fn problems(&self) -> Vec<String> {
            self.trouble.problems().0.iter().map(|problem| problem.path.to_string()).collect()
        }
    }

    fn left(path: &str, text: Option<&str>) -> Vec<Left> {
        vec![Left { path: rel(path), side: Side::Remote, text: text.map(str::to_owned) }]
    }

    #[test]
    fn a_problem_stays_until_a_run_settles_its_path() {
        let mut run = Run::new();
        run.over(&paths(&["a", "b"]), &["a", "b"], Vec::new());
        run.over(&paths(&["c"]), &[], Vec::new());
        assert_eq!(run.problems(), ["a", "b"]);
        run.over(&paths(&["a"]), &[], Vec::new());
        assert_eq!(run.problems(), ["b"]);
        run.over(&Extent::Everything, &[], Vec::new());
        assert!(run.trouble.is_empty() && run.trouble.due().is_none());
    }

    #[test]
    fn the_wait_for_the_next_try_doubles_up_to_five_minutes() {
        let mut run = Run::new();
        let mut waits = Vec::new();
        for _ in 0..7 {
            run.over(&paths(&["a"]), &["a"], Vec::new());
            let due = run.trouble.due().unwrap();
            waits.push((due - run.now).as_secs());
            run.now = due;
            assert_eq!(run.trouble.take_due(due).failed, [rel("a")]);
            assert!(run.trouble.take_due(due).is_empty(), "it is under way");
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn what_is_left_for_the_moment_is_sent_again_a_few_times_and_then_told() {
        let mut run = Run::new();
        for _ in 0..TRIES {
            let again = run.over(&paths(&["a"]), &[], left("a", Some("changed")));
            assert_eq!((again.failed, run.problems().len()), (vec![rel("a")], 0));
        }
        let again = run.over(&paths(&["a"]), &[], left("a", Some("changed")));
        assert_eq!((again.failed, run.problems()), (vec![], vec!["a".to_owned()]));

        for _ in 0..TRIES {
            assert_eq!(run.over(&paths(&["b"]), &[], left("b", None)).failed, [rel("b")]);
        }
        for _ in 0..2 {
            assert!(run.over(&paths(&["b"]), &[], left("b", None)).is_empty());
        }
        run.over(&paths(&["b"]), &[], Vec::new());
        assert!(!run.over(&paths(&["b"]), &[], left("b", None)).is_empty(), "it was settled since");
        assert_eq!(run.problems(), ["a"]);
    }

    #[test]
    fn deletions_that_were_left_out_are_sent_again() {
        let mut run = Run::new();
        let extent = paths(&["gone", "unreadable"]);
        let again = run.run(&extent, &["unreadable"], Vec::new(), Some(&[rel("gone")]));
        assert_eq!(again.failed, [rel("gone")]);
        run.over(&paths(&["gone"]), &[], Vec::new());
        assert_eq!(run.problems(), ["unreadable"]);

        // It is not known which.
        for _ in 0..TRIES {
            let again = run.run(&Extent::Everything, &["unreadable"], Vec::new(), Some(&[]));
            assert!(again.everything && again.failed.is_empty());
            assert_eq!(run.problems(), ["unreadable"]);
        }
        let again = run.run(&Extent::Everything, &["unreadable"], Vec::new(), Some(&[]));
        assert!(again.is_empty());
        assert_eq!(run.problems(), [".", "unreadable"]);
        let due = run.trouble.due().unwrap();
        assert!(run.trouble.take_due(due).everything);
    }

    #[test]
    fn problems_beyond_the_list_are_counted_and_tried_again_with_everything() {
        let mut run = Run::new();
        let names: Vec<String> = (0..MAX_LISTED + 5).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        run.trouble.failed(&paths(&names), "no space", run.now);
        let (listed, more) = run.trouble.problems();
        assert_eq!((listed.len(), more), (MAX_LISTED, 5));
        let due = run.trouble.due().unwrap();
        assert_eq!(run.trouble.take_due(due), Again { everything: true, ..Again::default() });
        run.over(&Extent::Everything, &[], Vec::new());
        assert_eq!(run.trouble.problems(), (Vec::new(), 0));
    }
}
