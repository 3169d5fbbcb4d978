//! What something else than a run has made or changed at the destination stays.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use coast_sync::{ConflictKind, FollowBatch, Options, RelPath, profile};
use coast_testkit::Tree;

use super::{Followed, batch, rel};

impl Followed {
    fn there_is(&self, path: &str) -> String {
        fs::read_to_string(self.there(path)).unwrap()
    }

    fn change_there(&self, path: &str, content: &str) {
        fs::write(self.there(path), content).unwrap();
    }

    /// Sends a batch, and answers its conflicts.
    fn conflicts(&mut self, batch: &FollowBatch) -> Vec<(String, ConflictKind)> {
        let report = self.send(batch);
        assert_eq!(report.conflicts.count, report.run.receiver.conflicts);
        let conflict = |conflict: &coast_sync::Conflict| {
            (String::from_utf8(conflict.path.clone()).unwrap(), conflict.kind)
        };
        let mut conflicts: Vec<_> = report.conflicts.first.iter().map(conflict).collect();
        conflicts.sort_by(|a, b| a.0.cmp(&b.0));
        conflicts
    }

    fn conflicts_of(&mut self, paths: &[&str]) -> Vec<(String, ConflictKind)> {
        self.conflicts(&batch(paths, true))
    }
}

fn changed(path: &str) -> (String, ConflictKind) {
    (path.to_owned(), ConflictKind::Changed)
}

fn made(path: &str) -> (String, ConflictKind) {
    (path.to_owned(), ConflictKind::Made)
}

#[test]
fn a_file_that_was_changed_there_stays_until_both_are_equal() {
    let mut followed = Followed::new(&Tree::new().file("d/a", "1").file("b", "1"));
    for (number, everything) in [false, true, false].into_iter().enumerate() {
        let whole = FollowBatch::everything();
        let of = |paths: &[&str]| if everything { whole.clone() } else { batch(paths, false) };
        followed.change_there("d/a", "there");
        followed.write("d/a", &format!("here {number}"));
        followed.write("b", &format!("goes on {number}"));
        assert_eq!(followed.conflicts(&of(&["d/a", "b"])), [changed("d/a")]);
        assert_eq!(followed.there_is("d/a"), "there");
        assert_eq!(followed.there_is("b"), format!("goes on {number}"));
        // It is told again with every batch that is about it, also when the source has another content.
        followed.write("d/a", "another, which is longer");
        assert_eq!(followed.conflicts(&of(&["d/a"])), [changed("d/a")]);
        // Equal contents settle it, and from then on it is one of ours.
        followed.write("d/a", "there");
        assert_eq!(followed.conflicts(&of(&["d/a"])), []);
        followed.write("d/a", "and on");
        assert_eq!(followed.conflicts(&of(&["d/a"])), []);
        followed.assert_equal();
    }
}

#[test]
fn a_change_that_was_taken_back_there_is_no_conflict_any_more() {
    let mut followed = Followed::new(&Tree::new().file("a", "1"));
    for batch in [batch(&["a"], false), FollowBatch::everything(), batch(&["a"], false)] {
        let before = followed.there_is("a");
        followed.change_there("a", "there");
        followed.write("a", &format!("{before}+"));
        assert_eq!(followed.conflicts(&batch), [changed("a")]);
        followed.change_there("a", &before);
        assert_eq!(followed.conflicts(&batch), []);
        followed.assert_equal();
    }
}

#[test]
fn a_file_that_was_made_there_is_never_replaced_or_deleted() {
    let mut followed = Followed::new(&Tree::new().file("d/a", "1"));
    followed.change_there("d/new", "there");
    followed.write("d/new", "here");
    assert_eq!(followed.conflicts_of(&["d/new"]), [made("d/new")]);
    assert_eq!(followed.conflicts(&FollowBatch::everything()), [made("d/new")]);
    fs::remove_file(followed.here("d/new")).unwrap();
    assert_eq!(followed.conflicts_of(&["d/new"]), []);
    // The directory that holds it stays, and what runs have put there goes.
    fs::remove_dir_all(followed.here("d")).unwrap();
    assert_eq!(followed.conflicts_of(&["d"]), []);
    assert_eq!(followed.conflicts(&FollowBatch::everything()), []);
    assert_eq!(followed.there_is("d/new"), "there");
    assert!(!followed.there("d/a").exists());
}

#[test]
fn what_was_changed_there_is_not_deleted() {
    let mut followed = Followed::new(&Tree::new().file("d/a", "1").file("d/b", "1").file("d/e/c", "1"));
    followed.write("d/b", "2");
    followed.send_paths(&["d/b"]);
    followed.change_there("d/b", "there");
    fs::remove_dir_all(followed.here("d")).unwrap();
    assert_eq!(followed.conflicts_of(&["d"]), [changed("d/b")]);
    assert_eq!(followed.conflicts(&FollowBatch::everything()), [changed("d/b")]);
    assert_eq!(followed.there_is("d/b"), "there");
    assert!(!followed.there("d/a").exists() && !followed.there("d/e").exists());
}

#[test]
fn new_attributes_there_are_no_conflict() {
    let mut followed = Followed::new(&Tree::new().file("bulk", "1").file("edited", "1").file("deleted", "1"));
    followed.write("edited", "2");
    followed.send_paths(&["edited"]);
    let set = |path: &std::path::Path| {
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
    };
    for path in ["bulk", "edited", "deleted"] {
        set(&followed.there(path));
    }
    followed.write("bulk", "longer");
    followed.write("edited", "3");
    fs::remove_file(followed.here("deleted")).unwrap();
    assert_eq!(followed.conflicts_of(&["bulk", "edited", "deleted"]), []);
    followed.assert_equal();
}

#[test]
fn a_file_whose_stamps_are_too_young_to_be_remembered_is_known_by_its_content() {
    // A time in the future is not settled on any file system.
    let times = Options { times: true, ..profile::options() };
    let mut followed =
        Followed::with(&Tree::new().file("a", "1").file("b", "1"), |request| request.options(times));
    let edit = |followed: &Followed, path: &str, content: &str| {
        followed.write(path, content);
        let file = fs::File::options().append(true).open(followed.here(path)).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    };
    edit(&followed, "a", "2");
    edit(&followed, "b", "2");
    for batch in [FollowBatch::everything(), batch(&["a", "b"], false), batch(&["a"], false)] {
        assert_eq!(followed.conflicts(&batch), []);
        edit(&followed, "a", "the next content");
        assert_eq!(followed.conflicts(&batch), []);
        followed.assert_equal();
        edit(&followed, "a", "3");
        let before = followed.there_is("a");
        followed.change_there("a", "there");
        assert_eq!(followed.conflicts(&batch), [changed("a")]);
        followed.change_there("a", &before);
    }
}

#[test]
fn symlinks_are_ours_by_their_targets() {
    let mut followed =
        Followed::new(&Tree::new().symlink("bulk", "v1").symlink("changed", "v1").symlink("gone", "v1"));
    let swap = |path: std::path::PathBuf, to: &str| {
        fs::remove_file(&path).unwrap();
        symlink(to, path).unwrap();
    };
    swap(followed.there("changed"), "there");
    for number in 2..5 {
        swap(followed.here("bulk"), &format!("v{number}"));
        swap(followed.here("changed"), &format!("v{number}"));
        assert_eq!(followed.conflicts_of(&["bulk", "changed"]), [changed("changed")]);
        assert_eq!(fs::read_link(followed.there("bulk")).unwrap().to_str().unwrap(), format!("v{number}"));
        assert_eq!(fs::read_link(followed.there("changed")).unwrap().to_str(), Some("there"));
    }
    for path in ["bulk", "changed", "gone"] {
        fs::remove_file(followed.here(path)).unwrap();
    }
    assert_eq!(followed.conflicts_of(&["bulk", "changed", "gone"]), [changed("changed")]);
    assert!(fs::symlink_metadata(followed.there("bulk")).is_err());
    assert!(fs::symlink_metadata(followed.there("gone")).is_err());
}

#[test]
fn entries_of_another_kind_replace_only_what_is_ours() {
    let tree = Tree::new()
        .file("to-dir", "1")
        .file("to-dir-changed", "1")
        .file("to-file/a", "1")
        .file("to-file-made/a", "1");
    let mut followed = Followed::new(&tree);
    followed.change_there("to-dir-changed", "there");
    followed.change_there("to-file-made/b", "there");
    for path in ["to-dir", "to-dir-changed"] {
        fs::remove_file(followed.here(path)).unwrap();
        followed.write(&format!("{path}/deep/er"), "2");
    }
    for path in ["to-file", "to-file-made"] {
        fs::remove_dir_all(followed.here(path)).unwrap();
        followed.write(path, "2");
    }
    let paths = ["to-dir", "to-dir-changed", "to-file", "to-file-made"];
    let expected = [changed("to-dir-changed"), changed("to-file-made")];
    assert_eq!(followed.conflicts_of(&paths), expected);
    assert_eq!(followed.there_is("to-dir/deep/er"), "2");
    assert_eq!(followed.there_is("to-dir-changed"), "there");
    assert_eq!(followed.there_is("to-file"), "2");
    assert_eq!(followed.there_is("to-file-made/b"), "there");
    assert_eq!(followed.conflicts(&FollowBatch::everything()), expected);
}

#[test]
fn the_source_wins_where_that_is_asked_for_and_what_was_there_is_in_the_trash() {
    let mut followed =
        Followed::new(&Tree::new().file("a", "1").file("d/b", "1").file("d/c", "1").file("e", "1"));
    for path in ["a", "d/b", "d/made", "e"] {
        followed.change_there(path, "there");
        followed.write(path, "here");
    }
    followed.change_there("d/c", "there");
    fs::remove_file(followed.here("d/c")).unwrap();
    let paths = batch(&["a", "d", "e"], true);
    let all = [changed("a"), changed("d/b"), changed("d/c"), made("d/made"), changed("e")];
    assert_eq!(followed.conflicts(&paths), all);
    let report = followed.send(&paths.clone().take_source([rel("a"), rel("d")]));
    assert_eq!((report.conflicts.count, report.run.receiver.conflicts), (1, 1));
    assert_eq!(report.run.receiver.replaced_trashed, 3);
    assert_eq!(report.run.receiver.trashed, 1);
    assert_eq!(followed.there_is("e"), "there");
    assert_eq!(followed.conflicts(&paths.take_source([RelPath::root()])), []);
    followed.assert_equal();
    followed.write("d/made", "ours by now");
    assert_eq!(followed.conflicts_of(&["d/made"]), []);
}

#[test]
fn a_workspace_that_was_filled_by_others_is_taken_over_where_it_is_equal() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = Tree::new().file("same", "1").file("other", "1").dir("d").symlink("l", "x");
    tree.build(scratch.path().join("worktree"));
    tree.file("other", "2").build(scratch.path().join("workspace"));
    let mut followed = Followed::over(scratch, |request| request);
    assert_eq!(followed.conflicts(&FollowBatch::everything()), [made("other")]);
    followed.write("same", "2");
    fs::remove_dir(followed.here("d")).unwrap();
    fs::remove_file(followed.here("l")).unwrap();
    assert_eq!(followed.conflicts_of(&["same", "d", "l"]), []);
    assert_eq!(followed.there_is("same"), "2");
    assert!(!followed.there("d").exists() && fs::symlink_metadata(followed.there("l")).is_err());
}

#[test]
fn an_entry_that_came_where_a_directory_was_is_ours() {
    for whole in [false, true] {
        let mut followed =
            Followed::new(&Tree::new().file("link/a", "1").file("file/a", "1").file("kept", "1"));
        let of = |paths: &[&str]| if whole { FollowBatch::everything() } else { batch(paths, true) };
        for name in ["link", "file"] {
            fs::remove_dir_all(followed.here(name)).unwrap();
        }
        symlink("anywhere", followed.here("link")).unwrap();
        followed.write("file", "2");
        assert_eq!(followed.conflicts(&of(&["link", "file"])), []);
        followed.assert_equal();
        // Each is replaced by the other, and then both are deleted.
        fs::remove_file(followed.here("link")).unwrap();
        fs::remove_file(followed.here("file")).unwrap();
        symlink("elsewhere", followed.here("file")).unwrap();
        followed.write("link", "3");
        assert_eq!(followed.conflicts(&of(&["link", "file"])), []);
        followed.assert_equal();
        fs::remove_file(followed.here("link")).unwrap();
        fs::remove_file(followed.here("file")).unwrap();
        assert_eq!(followed.conflicts(&of(&["link", "file"])), []);
        followed.assert_equal();
    }
}

#[test]
fn what_only_the_destination_has_stays_also_where_the_source_wins() {
    let mut followed = Followed::new(&Tree::new().file("d/a", "1").file("b", "1"));
    followed.change_there("d/a", "there");
    followed.change_there("d/made", "there");
    fs::create_dir(followed.there("database")).unwrap();
    followed.change_there("database/rows", "there");
    let report = followed.send(&FollowBatch::everything().take_source([RelPath::root()]));
    assert_eq!((report.conflicts.count, followed.there_is("d/a")), (0, "1".to_owned()));
    assert_eq!(["d/made", "database/rows"].map(|path| followed.there_is(path)), ["there", "there"]);
}

#[test]
fn a_file_that_became_huge_there_is_a_conflict_at_once() {
    let mut followed = Followed::new(&Tree::new().file("log", "1"));
    let huge = fs::File::options().write(true).open(followed.there("log")).unwrap();
    // Reading it would take hours.
    huge.set_len(1 << 43).unwrap();
    followed.write("log", "2");
    assert_eq!(followed.conflicts_of(&["log"]), [changed("log")]);
    huge.set_len(1).unwrap();
    fs::write(followed.there("log"), "2").unwrap();
    assert_eq!(followed.conflicts_of(&["log"]), []);
}

#[test]
fn deletions_of_batches_in_a_row_count_together() {
    let tree = (0..400).fold(Tree::new(), |tree, number| tree.file(number.to_string(), "1"));
    let limited = |request: coast_sync::FollowRequest| {
        let delete = coast_sync::Delete { no_mass_deletion: true, ..coast_sync::Delete::default() };
        request.options(Options { delete: Some(delete), ..profile::options() })
    };
    let mut followed = Followed::with(&tree, limited);
    for number in 0..150 {
        fs::remove_file(followed.here(&number.to_string())).unwrap();
    }
    assert_eq!(followed.send(&FollowBatch::everything()).run.receiver.deleted, 150);
    for number in 150..250 {
        fs::remove_file(followed.here(&number.to_string())).unwrap();
    }
    let error = followed.try_send(&FollowBatch::everything().there_before(400)).unwrap_err();
    assert!(error.is_mass_deletion(), "{error}");
    assert!(followed.there("249").exists());
    assert_eq!(followed.send(&FollowBatch::everything()).run.receiver.deleted, 100);
}
