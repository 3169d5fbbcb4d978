//! Renames of the source are renames at the destination, unless something there stays.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Barrier;

use coast_sync::{BatchPath, ConflictKind, FollowBatch, profile};
use coast_testkit::Tree;

use super::{Followed, rel};

/// The batch of these renames.
fn renames(pairs: &[(&str, &str)]) -> FollowBatch {
    let both = pairs.iter().flat_map(|(from, to)| [from, to]);
    let paths = both.map(|path| BatchPath { path: rel(path), deep: true });
    FollowBatch::paths(paths).renamed(pairs.iter().map(|(from, to)| (rel(from), rel(to))))
}

impl Followed {
    /// Renames an entry of the worktree.
    fn rename(&self, from: &str, to: &str) {
        fs::create_dir_all(self.here(to).parent().unwrap()).unwrap();
        fs::rename(self.here(from), self.here(to)).unwrap();
    }

    /// The number of the file at a path of the destination.
    fn inode(&self, path: &str) -> u64 {
        fs::symlink_metadata(self.there(path)).unwrap().ino()
    }
}

#[test]
fn files_and_whole_directories_move_and_nothing_is_sent() {
    let mut followed = Followed::new(
        &Tree::new().file("a", "one").file("d/e/f", "two").file("d/g", "x".repeat(1 << 20)).file("k/x", "3"),
    );
    symlink("anywhere", followed.here("d/e/link")).unwrap();
    fs::create_dir(followed.here("d/empty")).unwrap();
    followed.send(&super::batch(&["d"], true));
    let before = ["a", "d", "d/e", "d/e/f", "d/e/link", "d/g"].map(|path| followed.inode(path));

    followed.rename("a", "new/below/a");
    followed.rename("d", "k/moved");
    let report = followed.send(&renames(&[("a", "new/below/a"), ("d", "k/moved")]));
    let moved = ["new/below/a", "k/moved", "k/moved/e", "k/moved/e/f", "k/moved/e/link", "k/moved/g"];
    assert_eq!(moved.map(|path| followed.inode(path)), before);
    let there = report.run.receiver;
    assert_eq!((there.transferred_files, there.deleted, there.cloned_files), (0, 0, 3));
    assert!(report.run.wire_sent_bytes < 4 << 10, "{}", report.run.wire_sent_bytes);
    followed.assert_equal();

    // What is known of them moved with them: they are replaced and deleted as before.
    followed.write("k/moved/e/f", "changed");
    followed.write("new/below/a", "changed");
    fs::remove_file(followed.here("k/moved/g")).unwrap();
    let report = followed.send_paths(&["k/moved/e/f", "new/below/a", "k/moved/g"]);
    assert_eq!((report.conflicts.count, report.run.receiver.deleted), (0, 1));
    followed.assert_equal();
    let mut followed = followed.reconnected();
    fs::remove_dir_all(followed.here("k")).unwrap();
    assert_eq!(followed.send(&super::batch(&["k"], true)).conflicts.count, 0);
    followed.assert_equal();
}

#[test]
fn an_entry_that_changed_after_its_rename_arrives_as_it_is() {
    let mut followed = Followed::new(&Tree::new().file("a", "one").file("d/f", "two").file("d/g", "three"));
    followed.rename("a", "b");
    followed.rename("d", "e");
    followed.write("b", "one, changed");
    followed.write("e/f", "two, changed");
    followed.write("e/new", "four");
    fs::remove_file(followed.here("e/g")).unwrap();
    fs::set_permissions(followed.here("b"), fs::Permissions::from_mode(0o700)).unwrap();
    let inode = followed.inode("d");
    let report = followed.send(&renames(&[("a", "b"), ("d", "e")]));
    assert_eq!(report.conflicts.count, 0);
    assert_eq!(followed.inode("e"), inode);
    followed.assert_equal();
}

#[test]
fn an_old_name_that_the_source_uses_again_is_not_moved_away() {
    let mut followed = Followed::new(&Tree::new().file("a", "one").file("d/f", "two"));
    followed.rename("a", "b");
    followed.rename("d", "e");
    followed.write("a", "new");
    followed.write("d/f", "new");
    followed.send(&renames(&[("a", "b"), ("d", "e")]));
    followed.assert_equal();
    // Names that change places.
    for (from, to) in [("a", "x"), ("b", "a"), ("x", "b"), ("d", "x"), ("e", "d"), ("x", "e")] {
        followed.rename(from, to);
    }
    followed.send(&renames(&[("a", "b"), ("b", "a"), ("d", "e"), ("e", "d")]));
    followed.assert_equal();
}

#[test]
fn what_was_made_or_changed_there_stays_where_it_is() {
    let mut followed = Followed::new(
        &Tree::new().file("d/f", "1").file("d/g", "2").file("e/f", "3").file("h", "4").file("i", "5"),
    );
    fs::write(followed.there("d/made"), "there").unwrap();
    fs::write(followed.there("e/f"), "changed there").unwrap();
    fs::write(followed.there("h"), "changed there").unwrap();
    fs::write(followed.there("taken"), "there").unwrap();
    for (from, to) in [("d", "x"), ("e", "y"), ("h", "z"), ("i", "taken")] {
        followed.rename(from, to);
    }
    let report = followed.send(&renames(&[("d", "x"), ("e", "y"), ("h", "z"), ("i", "taken")]));
    let mut conflicts: Vec<_> = report.conflicts.first.iter().map(|conflict| &conflict.path[..]).collect();
    conflicts.sort();
    assert_eq!(conflicts, [&b"e/f"[..], b"h", b"taken"]);
    assert!(report.conflicts.first.iter().any(|conflict| conflict.kind == ConflictKind::Made));
    let read = |path: &str| fs::read_to_string(followed.there(path)).unwrap();
    assert_eq!(
        ["d/made", "e/f", "h", "taken"].map(read),
        ["there", "changed there", "changed there", "there"]
    );
    assert_eq!(["x/f", "x/g", "y/f", "z"].map(read), ["1", "2", "3", "4"]);
    assert!(!followed.there("d/f").exists() && !followed.there("i").exists());
}

#[test]
fn protected_and_excluded_entries_stay_where_they_are() {
    let rules = profile::rules(&["*.log"], &["/kept"], true).unwrap();
    let mut followed =
        Followed::with(&Tree::new().file("kept/f", "1").file("d/f", "2").file("other/f", "3"), |request| {
            request.rules(rules)
        });
    fs::create_dir(followed.there("d/node_modules")).unwrap();
    fs::write(followed.there("d/node_modules/m"), "there").unwrap();
    fs::write(followed.there("other/run.log"), "there").unwrap();
    for (from, to) in [("kept", "a"), ("d", "b"), ("other", "c")] {
        followed.rename(from, to);
    }
    followed.send(&renames(&[("kept", "a"), ("d", "b"), ("other", "c")]));
    for stays in ["kept/f", "d/node_modules/m", "other/run.log", "a/f", "b/f", "c/f"] {
        assert!(followed.there(stays).exists(), "{stays}");
    }
    assert!(!followed.there("d/f").exists() && !followed.there("other/f").exists());
}

#[test]
fn what_is_excluded_at_the_new_path_does_not_come_there() {
    let rules = profile::rules(&["/b/secret"], &[""; 0], true).unwrap();
    let mut followed =
        Followed::with(&Tree::new().file("a/secret", "1").file("a/f", "2"), |request| request.rules(rules));
    followed.rename("a", "b");
    followed.send(&renames(&[("a", "b")]));
    assert!(followed.there("b/f").exists() && !followed.there("b/secret").exists());
    assert!(!followed.there("a").exists());
}

#[test]
fn a_rename_of_what_is_not_there_is_brought_as_content() {
    let mut followed = Followed::new(&Tree::new().file("a", "1"));
    followed.write("never/sent", "2");
    followed.rename("never", "sent");
    fs::remove_file(followed.there("a")).unwrap();
    followed.rename("a", "b");
    followed.send(&renames(&[("never", "sent"), ("a", "b")]));
    followed.assert_equal();
    // More of them than a run may announce.
    let names: Vec<(String, String)> =
        (0..1500).map(|n| (format!("many/{n}"), format!("more/{n}"))).collect();
    for (from, _) in &names {
        followed.write(from, from);
    }
    followed.send(&super::batch(&["many"], true));
    for (from, to) in &names {
        followed.rename(from, to);
    }
    let pairs: Vec<(&str, &str)> = names.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    followed.send(&renames(&pairs));
    followed.assert_equal();
    assert!(!followed.there("many/0").exists());
}

#[test]
fn what_is_made_in_a_directory_while_it_is_renamed_stays_where_it_was_made() {
    // Looking at the files takes a while, and the directory between them may have been looked at before.
    let tree = (0..200).fold(Tree::new(), |tree, number| tree.file(format!("0/{number}"), "1"));
    let mut followed = Followed::new(&tree.file("0/d/b", "1"));
    for round in 0..25 {
        let (from, to) = (round.to_string(), (round + 1).to_string());
        followed.rename(&from, &to);
        let (made, begins) = (followed.there(&from).join("d/made"), Barrier::new(2));
        let was_made = std::thread::scope(|scope| {
            let making = scope.spawn(|| {
                begins.wait();
                // Now before the rename, now after it.
                (0..250 * round).for_each(|_| drop(fs::metadata("/")));
                fs::write(&made, "made there").is_ok()
            });
            begins.wait();
            followed.send(&renames(&[(&from, &to)]));
            making.join().unwrap()
        });
        if was_made {
            assert_eq!(fs::read_to_string(&made).unwrap(), "made there", "round {round}");
            assert!(!followed.there(&to).join("d/made").exists(), "round {round}");
            fs::remove_dir_all(followed.there(&from)).unwrap();
        }
        followed.send(&FollowBatch::everything());
        followed.assert_equal();
    }
}
