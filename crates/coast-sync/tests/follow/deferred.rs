//! Large files that batches leave for a run of their own.

use std::fs;
use std::os::unix::fs::MetadataExt;

use coast_sync::{BatchReport, ConflictKind, FollowBatch};
use coast_testkit::{Snapshot, Tree};

use super::{Followed, batch};

const LIMIT: u64 = 1 << 10;

fn large(byte: u8) -> Vec<u8> {
    vec![byte; 2 << 10]
}

/// The files that the report names, and how many files the batch brought.
fn deferred(report: &BatchReport) -> (Vec<String>, u64) {
    assert_eq!(report.deferred.count, report.deferred.first.len() as u64);
    let mut paths: Vec<String> = report.deferred.first.iter().map(ToString::to_string).collect();
    paths.sort();
    (paths, report.run.receiver.transferred_files)
}

fn is(paths: &[&str], brought: u64) -> (Vec<String>, u64) {
    (paths.iter().map(|path| (*path).to_owned()).collect(), brought)
}

#[test]
fn batches_of_each_extent_bring_all_but_the_large_files() {
    let mut followed = Followed::new(&Tree::new().file("a", "1").file("d/changed", large(b'x')));
    let inode = |followed: &Followed| fs::metadata(followed.there("d/changed")).unwrap().ino();
    let before = inode(&followed);
    for (round, sent) in
        [batch(&["a", "d"], true), FollowBatch::everything(), batch(&["a", "d/changed", "d/new"], false)]
            .into_iter()
            .enumerate()
    {
        let number = u8::try_from(round).unwrap();
        followed.write("a", &format!("edit {round}"));
        // Of the same size, so that only its hash would tell.
        fs::write(followed.here("d/changed"), large(number)).unwrap();
        fs::write(followed.here("d/new"), large(number + 1)).unwrap();
        let report = followed.send(&sent.clone().defer_above(LIMIT));
        assert_eq!(deferred(&report), is(&["d/changed", "d/new"], 1), "{sent:?}");
        assert_eq!(fs::read(followed.there("d/changed")).unwrap(), large(b'x'));
        assert!(!followed.there("d/new").exists() && inode(&followed) == before);
    }
    // What is known of them stays, so nothing of it is a conflict.
    let report = followed.send_paths(&["d/changed", "d/new"]);
    assert_eq!((report.conflicts.count, deferred(&report)), (0, is(&[], 2)));
    followed.assert_equal();
}

#[test]
fn a_large_file_that_is_right_is_not_left() {
    let mut followed = Followed::new(&Tree::new().file("d/large", large(b'x')));
    // Both sides remember a file once its stamps are old enough.
    let mut compare = |_| {
        followed.send(&FollowBatch::everything());
        followed.send(&FollowBatch::everything().defer_above(LIMIT))
    };
    let report = (0..1000).map(&mut compare).find(|report| report.deferred.count == 0).unwrap();
    assert_eq!((deferred(&report), report.run.receiver.untouched), (is(&[], 0), 2));
}

#[test]
fn a_comparison_of_everything_does_not_leave_a_large_file_that_a_batch_has_brought() {
    let mut followed = Followed::new(&Tree::new().file("a", "1"));
    for name in ["one", "two"] {
        fs::write(followed.here(name), large(b'x')).unwrap();
        assert_eq!(deferred(&followed.send(&batch(&[name], false).defer_above(LIMIT))).0, [name]);
        followed.send(&batch(&[name], false).stage_only());
        followed.send(&batch(&[name], false).defer_above(LIMIT));
    }
    let report = followed.send(&FollowBatch::everything().defer_above(LIMIT));
    assert_eq!(deferred(&report), is(&[], 0));
    followed.assert_equal();
}

#[test]
fn a_conflict_over_a_large_file_is_told_and_settled_and_not_left() {
    let mut followed = Followed::new(&Tree::new().file("large", large(b'x')));
    fs::write(followed.there("large"), large(b't')).unwrap();
    fs::write(followed.here("large"), large(b'h')).unwrap();
    for sent in [batch(&["large"], false), FollowBatch::everything()] {
        let report = followed.send(&sent.defer_above(LIMIT));
        let kinds: Vec<ConflictKind> = report.conflicts.first.iter().map(|conflict| conflict.kind).collect();
        assert_eq!((kinds, deferred(&report)), (vec![ConflictKind::Changed], is(&[], 0)));
    }
    fs::write(followed.here("large"), large(b't')).unwrap();
    let report = followed.send(&batch(&["large"], false).defer_above(LIMIT));
    assert_eq!((report.conflicts.count, deferred(&report)), (0, is(&[], 0)));
    followed.assert_equal();
}

#[test]
fn a_large_file_in_the_place_of_another_entry_is_left_and_comes() {
    let mut followed = Followed::new(&Tree::new().symlink("link", "to").file("dir/in", "1"));
    for path in ["link", "dir"] {
        let before = Snapshot::of(followed.there(path));
        if path == "dir" {
            fs::remove_dir_all(followed.here(path)).unwrap();
        } else {
            fs::remove_file(followed.here(path)).unwrap();
        }
        fs::write(followed.here(path), large(b'x')).unwrap();
        let report = followed.send(&batch(&[path], true).defer_above(LIMIT));
        assert_eq!(deferred(&report), is(&[path], 0));
        if path == "link" {
            Snapshot::of(followed.there(path)).assert_same_content(&before);
        }
        followed.send(&batch(&[path], true));
        followed.assert_equal();
    }
}
