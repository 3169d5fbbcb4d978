//! Places that go away: the worktree, the workspace, and the room on its disk.

use std::fs;
use std::os::unix::fs::symlink;

use coast_follow::{First, FlushOutcome, FollowerState, Halt, LostRoot};
use coast_sync::{Cancel, Claim};
use coast_testkit::{SmallDisk, Snapshot, noise};

use super::{ALWAYS, Followed, LONG};

impl Followed {
    /// Makes some files, and waits until they are there.
    fn with_files(self) -> Self {
        for file in ["a", "d/b", "d/e/c"] {
            let path = self.worktree().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        self.arrive();
        self
    }

    /// Asserts that the follower halts and says why, also when it is told to go on, and that the copy stays as it is.
    fn assert_lost(&self, before: &Snapshot, is_meant: impl Fn(&LostRoot) -> bool) {
        for _ in 0..2 {
            let halt = self.halt();
            let Halt::Root(lost) = &halt else { panic!("{halt:?}") };
            assert!(is_meant(lost), "{lost:?}");
            assert!(halt.to_string().contains(self.worktree().to_str().unwrap()), "{halt}");
            Snapshot::of(self.copy()).assert_same_content(before);
            self.follower().follow(First::Everything);
            self.await_state(|status| matches!(status.state, FollowerState::Halted(_)));
        }
    }
}

#[test]
fn a_worktree_that_was_moved_away_halts() {
    let followed = Followed::new().with_files();
    let before = Snapshot::of(followed.copy());
    fs::rename(followed.worktree(), followed.scratch.path().join("aside")).unwrap();
    followed.assert_lost(&before, |lost| matches!(lost, LostRoot::Missing { .. }));
}

#[test]
fn a_worktree_that_was_emptied_halts() {
    let followed = Followed::new().with_files();
    let before = Snapshot::of(followed.copy());
    let aside = followed.scratch.path().join("aside");
    fs::create_dir(&aside).unwrap();
    // No batch comes in between.
    followed.follower().pause();
    for entry in ["a", "d", ALWAYS] {
        fs::rename(followed.worktree().join(entry), aside.join(entry)).unwrap();
    }
    followed.follower().follow(First::Collected);
    followed.assert_lost(&before, |lost| matches!(lost, LostRoot::Emptied { .. }));
}

#[test]
fn another_directory_at_the_path_of_the_worktree_halts() {
    for is_symlink in [false, true] {
        let followed = Followed::new().with_files();
        let before = Snapshot::of(followed.copy());
        let (worktree, other) = (followed.worktree(), followed.scratch.path().join("other"));
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), "of another project").unwrap();
        fs::rename(&worktree, followed.scratch.path().join("aside")).unwrap();
        if is_symlink {
            symlink(&other, &worktree).unwrap();
        } else {
            fs::rename(&other, &worktree).unwrap();
        }
        followed.assert_lost(&before, |lost| {
            matches!(lost, LostRoot::Replaced { .. } | LostRoot::Missing { .. })
        });
    }
}

#[test]
fn a_file_system_that_is_mounted_over_the_worktree_halts() {
    let followed = Followed::new().with_files();
    let before = Snapshot::of(followed.copy());
    let disk = SmallDisk::mount(followed.worktree());
    fs::write(disk.path().join("file"), "on another file system").unwrap();
    followed.assert_lost(&before, |lost| matches!(lost, LostRoot::Replaced { .. }));
    drop(disk);
    // The worktree is the one of before again, but this has to be said.
    let mut followed = followed;
    followed.start();
    followed.arrive();
    Snapshot::of(followed.copy()).assert_same_content(&Snapshot::of(followed.worktree()));
}

#[test]
fn a_workspace_that_was_removed_halts_and_is_not_made_anew() {
    for is_replaced in [false, true] {
        let mut followed = Followed::new().with_files();
        followed.claim = Claim::ExistingWorkspace;
        followed.start();
        followed.arrive();
        fs::rename(followed.copy(), followed.scratch.path().join("gone")).unwrap();
        if is_replaced {
            fs::create_dir(followed.copy()).unwrap();
        }
        for attempt in 0..2 {
            fs::write(followed.worktree().join("a"), format!("edit {attempt}")).unwrap();
            let halt = followed.halt();
            assert!(matches!(halt, Halt::Workspace(_)), "{halt:?}");
            let left = fs::read_dir(followed.copy()).map(|left| left.count());
            assert_eq!(left.ok(), is_replaced.then_some(0), "nothing was made");
            if !is_replaced {
                followed.follower().follow(First::Everything);
                followed.await_state(|status| matches!(status.state, FollowerState::Halted(_)));
            }
        }
    }
}

#[test]
fn what_a_full_disk_has_no_room_for_is_told_and_arrives_when_there_is_room() {
    let mut followed = Followed::unfollowed();
    let disk = SmallDisk::mount(followed.copy().parent().unwrap());
    followed.start();
    let followed = followed.with_files();
    let hog = followed.prepared();
    fs::write(&hog, noise(1, 700 << 10)).unwrap();
    fs::write(followed.worktree().join("large"), noise(2, 500 << 10)).unwrap();
    fs::write(followed.worktree().join("empty"), "").unwrap();
    fs::remove_file(followed.worktree().join("d/b")).unwrap();
    match followed.follower().flush(Some(LONG), &Cancel::new()).unwrap() {
        FlushOutcome::Left { problems, conflicts, .. } => {
            let [problem] = &problems[..] else { panic!("{problems:?}") };
            assert_eq!(problem.path.as_bytes(), b"large");
            assert!(problem.text.contains("No space"), "{problem:?}");
            assert!(conflicts.is_empty(), "{conflicts:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(followed.copy().join("empty").exists() && !followed.copy().join("d/b").exists());
    assert!(!followed.copy().join("large").exists());

    fs::remove_file(hog).unwrap();
    // It is tried again without an edit.
    followed.await_state(|status| status.problems.is_empty());
    Snapshot::of(followed.copy()).assert_same_content(&Snapshot::of(followed.worktree()));
    drop(followed);
    drop(disk);
}
