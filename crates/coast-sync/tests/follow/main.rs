//! Batches over one session, to a receiver that stays.

#![allow(clippy::unwrap_used)]

mod clocks;
mod conflicts;
mod deferred;
mod fetch;
mod full_disk;
mod journal;
mod renames;
mod stage;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coast_sync::{
    BatchPath, BatchReport, CachePlace, Cancel, Destination, Event, FollowBatch, FollowRequest,
    FollowSession, Monitor, NoPrompt, RelPath, SyncError, SyncRequest, VoidMonitor, profile,
};
use coast_testkit::{Snapshot, Tree};

/// A worktree, a workspace beside it, and a session from one to the other.
struct Followed {
    scratch: tempfile::TempDir,
    session: FollowSession,
}

impl Followed {
    /// A session that has sent `tree`.
    fn new(tree: &Tree) -> Self {
        Self::with(tree, |request| request)
    }

    fn with(tree: &Tree, change: impl FnOnce(FollowRequest) -> FollowRequest) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        tree.build(scratch.path().join("worktree"));
        let mut followed = Self::over(scratch, change);
        followed.send(&FollowBatch::everything());
        followed.assert_equal();
        followed
    }

    /// A session that has sent nothing.
    fn over(scratch: tempfile::TempDir, change: impl FnOnce(FollowRequest) -> FollowRequest) -> Self {
        let request = FollowRequest::push(
            scratch.path().join("worktree"),
            Destination::local(scratch.path().join("workspace")),
        );
        let request = change(request.unwrap().cache(CachePlace::File(scratch.path().join("cache"))));
        let session = request.connect(&NoPrompt, &Cancel::new()).unwrap();
        Self { scratch, session }
    }

    /// Another session to the same workspace.
    fn reconnected(self) -> Self {
        let Self { scratch, session } = self;
        drop(session);
        Self::over(scratch, |request| request)
    }

    /// A second session to the same workspace.
    fn another(&self) -> FollowSession {
        let destination = Destination::local(self.scratch.path().join("workspace"));
        let request = FollowRequest::push(self.scratch.path().join("worktree"), destination).unwrap();
        request.cache(CachePlace::Nowhere).connect(&NoPrompt, &Cancel::new()).unwrap()
    }

    /// Pushes by hand.
    fn push(&self) {
        let destination = Destination::local(self.scratch.path().join("workspace"));
        let request = SyncRequest::push(self.scratch.path().join("worktree"), destination)
            .unwrap()
            .cache(CachePlace::Nowhere);
        request.run(&VoidMonitor, &NoPrompt, &Cancel::new()).unwrap();
    }

    fn here(&self, path: &str) -> PathBuf {
        self.scratch.path().join("worktree").join(path)
    }

    fn there(&self, path: &str) -> PathBuf {
        self.scratch.path().join("workspace").join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::create_dir_all(self.here(path).parent().unwrap()).unwrap();
        fs::write(self.here(path), content).unwrap();
    }

    fn try_send(&mut self, batch: &FollowBatch) -> Result<BatchReport, SyncError> {
        self.session.send(batch, &VoidMonitor, &Cancel::new())
    }

    fn send(&mut self, batch: &FollowBatch) -> BatchReport {
        let report = self.try_send(batch).unwrap();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        report
    }

    /// Sends these paths, each without what is below it.
    fn send_paths(&mut self, paths: &[&str]) -> BatchReport {
        self.send(&batch(paths, false))
    }

    #[track_caller]
    fn assert_equal(&self) {
        let read = |path: &str| Snapshot::of(self.scratch.path().join(path));
        read("workspace").assert_same_content(&read("worktree"));
    }
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn batch(paths: &[&str], deep: bool) -> FollowBatch {
    FollowBatch::paths(paths.iter().map(|path| BatchPath { path: rel(path), deep }))
}

#[test]
fn many_batches_go_over_one_session_and_each_is_about_its_paths_alone() {
    let mut followed = Followed::new(&Tree::new().file("a", "1").file("d/b", "1").file("d/e/c", "1"));
    for number in 2..30 {
        followed.write("a", &"x".repeat(number));
        followed.write("d/e/c", &"y".repeat(number));
        let report = followed.send_paths(&["d/e/c"]);
        assert_eq!(report.run.receiver.transferred_files, 1);
        assert_ne!(fs::read(followed.there("a")).unwrap(), fs::read(followed.here("a")).unwrap());
        assert_eq!(followed.send_paths(&["a"]).run.receiver.transferred_files, 1);
        followed.assert_equal();
    }
    assert!(followed.session.is_usable() && followed.session.connection().is_none());
}

#[test]
fn new_entries_of_every_depth_are_made_and_paths_that_are_gone_are_deleted() {
    let mut followed =
        Followed::new(&Tree::new().file("kept/x", "1").file("gone/deep/y", "2").file("z", "3"));
    followed.write("new/one/two/file", "4");
    fs::create_dir_all(followed.here("new/alone/below")).unwrap();
    symlink("anywhere", followed.here("new/link")).unwrap();
    fs::remove_dir_all(followed.here("gone")).unwrap();
    fs::remove_file(followed.here("z")).unwrap();
    let report =
        followed.send_paths(&["new/one/two/file", "new/alone/below", "new/link", "gone", "gone/deep/y", "z"]);
    assert_eq!(report.run.receiver.deleted, 4);
    followed.assert_equal();
    // A file where a directory was, and the other way round.
    fs::remove_dir_all(followed.here("new/one")).unwrap();
    followed.write("new/one", "file");
    fs::remove_file(followed.here("kept/x")).unwrap();
    followed.write("kept/x/y", "directory");
    followed.send_paths(&["new/one", "kept/x/y"]);
    followed.assert_equal();
}

#[test]
fn a_directory_is_sent_alone_or_with_everything_below_it() {
    let mut followed = Followed::new(&Tree::new().file("d/old", "1").file("d/sub/old", "1").file("e", "1"));
    for path in ["d/new", "d/sub/new", "f/g/new"] {
        followed.write(path, "2");
    }
    fs::remove_file(followed.here("d/sub/old")).unwrap();
    fs::remove_file(followed.here("e")).unwrap();
    followed.send_paths(&["d", "d/sub", "f"]);
    assert!(!followed.there("d/new").exists() && followed.there("d/sub/old").exists());
    assert!(followed.there("f").is_dir() && !followed.there("f/g").exists());
    followed.send(&batch(&["d", "f"], true));
    assert!(followed.there("f/g/new").exists() && followed.there("d/new").exists());
    assert!(!followed.there("d/sub/old").exists(), "what is gone below a directory is deleted");
    assert!(followed.there("e").exists(), "it is not in the batch");
    followed.send(&batch(&[""], true));
    followed.assert_equal();
}

#[test]
fn the_rules_hold_in_a_batch_as_in_a_push() {
    let tree = Tree::new().file("src/a", "1").file("src/b.log", "1").file("node_modules/m/x", "1");
    let scratch = tempfile::tempdir().unwrap();
    let (worktree, workspace) = (scratch.path().join("worktree"), scratch.path().join("workspace"));
    tree.build(&worktree);
    Tree::new().file("src/c.log", "there").file("node_modules/m/y", "there").build(&workspace);
    fs::create_dir_all(workspace.join("generated")).unwrap();
    fs::write(workspace.join("generated/made"), "there").unwrap();
    let request = FollowRequest::push(&worktree, Destination::local(&workspace))
        .unwrap()
        .rules(profile::rules(&["*.log"], &[""; 0], true).unwrap())
        .cache(CachePlace::Nowhere);
    let mut session = request.connect(&NoPrompt, &Cancel::new()).unwrap();
    let paths = ["src/a", "src/b.log", "src/c.log", "node_modules/m/x", "node_modules/m/y", "generated"];
    session.send(&batch(&paths, true), &VoidMonitor, &Cancel::new()).unwrap();
    let expected = Tree::new()
        .file("src/a", "1")
        .file("src/c.log", "there")
        .file("node_modules/m/y", "there")
        .file("generated/made", "there");
    let copy = scratch.path().join("expected");
    expected.build(&copy);
    Snapshot::of(&workspace).assert_same_content(&Snapshot::of(&copy));
}

#[test]
fn thousands_of_paths_of_one_directory_come_and_go() {
    let mut followed = Followed::new(&Tree::new().dir("many"));
    let names: Vec<String> = (0..9000).map(|number| format!("many/{number:05}")).collect();
    let paths: Vec<&str> = names.iter().map(String::as_str).collect();
    for path in &paths {
        fs::write(followed.here(path), "").unwrap();
    }
    assert_eq!(followed.send_paths(&paths).run.receiver.created, 9000);
    followed.assert_equal();
    fs::remove_dir_all(followed.here("many")).unwrap();
    fs::create_dir(followed.here("many")).unwrap();
    assert_eq!(followed.send_paths(&paths).run.receiver.deleted, 9000);
    followed.assert_equal();
}

/// Pushes by hand while a session is open, and has the session send between.
#[test]
fn a_push_by_hand_works_between_two_batches() {
    let mut followed = Followed::new(&Tree::new().file("a", "1").file("b", "1"));
    for number in 0..3 {
        followed.write("a", &format!("by hand {number}"));
        followed.push();
        followed.write("b", &format!("by the session {number}"));
        followed.send_paths(&["b"]);
        followed.assert_equal();
    }
}

#[test]
fn a_batch_that_fails_leaves_the_session_usable() {
    let mut followed = Followed::with(&Tree::new().file("a", "1").file("d/rules", ""), |request| {
        let mut rules = coast_sync::RuleList::new();
        rules.filter(b":- rules", &coast_sync::NoMergeFiles).unwrap();
        request.rules(rules)
    });
    fs::write(followed.here("d/rules"), "x".repeat(5000)).unwrap();
    followed.write("d/new", "1");
    let error = followed.try_send(&batch(&["d/new"], false)).unwrap_err();
    assert_eq!(error.exit_code(), 1, "{error}");
    assert!(followed.session.is_usable());
    fs::write(followed.here("d/rules"), "").unwrap();
    followed.send_paths(&["d/new"]);
    followed.assert_equal();
}

/// Counts the events of a batch.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Monitor for Told {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

#[test]
fn a_workspace_that_was_removed_or_replaced_ends_the_session_and_says_so() {
    let replace = |workspace: &Path| {
        fs::rename(workspace, workspace.with_extension("moved")).unwrap();
        fs::create_dir(workspace).unwrap();
    };
    for vanish in [&(|workspace: &Path| fs::remove_dir_all(workspace).unwrap()) as &dyn Fn(&Path), &replace] {
        let mut followed = Followed::new(&Tree::new().file("a", "1"));
        vanish(&followed.scratch.path().join("workspace"));
        followed.write("a", "2");
        let end = followed.session.end();
        let error = followed.try_send(&batch(&["a"], false)).unwrap_err();
        assert!(error.is_workspace_removed(), "{error}");
        end.wait();
        assert!(followed.try_send(&batch(&["a"], false)).is_err());
        let left = fs::read_dir(followed.scratch.path().join("workspace"));
        assert!(
            left.map_or(true, |mut left| left.next().is_none()),
            "nothing is written to another workspace"
        );
    }
}

#[test]
fn a_worktree_that_was_opened_is_sent_although_another_directory_took_its_place() {
    let mut followed = Followed::new(&Tree::new().file("a", "1").file("d/b", "1"));
    followed.write("a", "2");
    let worktree = coast_tree::Root::open(&followed.here("")).unwrap();
    let aside = followed.scratch.path().join("aside");
    fs::rename(followed.here(""), &aside).unwrap();
    fs::create_dir(followed.here("")).unwrap();
    for batch in [batch(&["a", "d"], true), FollowBatch::everything()] {
        let sent = followed.session.send_opened(&batch, worktree.clone(), &VoidMonitor, &Cancel::new());
        let report = sent.unwrap();
        assert!(report.failures.is_empty() && report.run.receiver.deleted == 0, "{report:?}");
        Snapshot::of(followed.there("")).assert_same_content(&Snapshot::of(&aside));
    }
}

#[test]
fn a_batch_that_finds_everything_right_touches_nothing() {
    let mut followed = Followed::new(&Tree::new().file("d/a", "1"));
    let before = fs::metadata(followed.there("d/a")).unwrap();
    let told = Told::default();
    for batch in [FollowBatch::everything(), batch(&["d/a"], false), batch(&["d"], true)] {
        let report = followed.session.send(&batch, &told, &Cancel::new()).unwrap();
        assert_eq!(report.run.receiver.transferred_files, 0);
    }
    let after = fs::metadata(followed.there("d/a")).unwrap();
    assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    assert!(told.0.into_inner().unwrap().is_empty());
}
