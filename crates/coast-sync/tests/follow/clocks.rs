//! Times that say nothing of the content: clocks are set, and programs set the times of files. An edit keeps its file's size here,
//! so that nothing but the content tells it.

use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime};

use coast_sync::{FollowBatch, Options, profile};
use coast_testkit::Tree;

use super::{Followed, batch};

/// The times that an edited file may have: its own, those of the file at the destination, and those of a clock that was set.
fn times(followed: &Followed, path: &str) -> Vec<SystemTime> {
    let modified = |path| fs::metadata(path).unwrap().modified().unwrap();
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    let (here, there) = (modified(followed.here(path)), modified(followed.there(path)));
    vec![here, there, SystemTime::UNIX_EPOCH, here - century / 4, here + century]
}

fn write_at(path: std::path::PathBuf, content: &str, time: SystemTime) {
    fs::write(&path, content).unwrap();
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn an_edit_arrives_whatever_the_times_of_its_file_are() {
    for keeps_times in [false, true] {
        let options = Options { times: keeps_times, ..profile::options() };
        let mut followed =
            Followed::with(&Tree::new().file("d/a", "0").file("b", "0"), |request| request.options(options));
        for everything in [false, true] {
            for (number, time) in times(&followed, "d/a").into_iter().enumerate() {
                write_at(followed.here("d/a"), &number.to_string(), time);
                // The same edit in the next moment, which stamps of a coarse clock do not tell apart.
                for content in ["x", &number.to_string()] {
                    write_at(followed.here("b"), content, time);
                    let batch =
                        if everything { FollowBatch::everything() } else { batch(&["d/a", "b"], false) };
                    let report = followed.send(&batch);
                    assert_eq!(report.conflicts.count, 0, "{:?}", report.conflicts);
                    followed.assert_equal();
                }
            }
        }
    }
}

#[test]
fn a_change_at_the_destination_stays_whatever_the_times_of_its_file_are() {
    for keeps_times in [false, true] {
        let options = Options { times: keeps_times, ..profile::options() };
        let mut followed = Followed::with(&Tree::new().file("a", "0"), |request| request.options(options));
        let mut letters = 'a'..='z';
        for (number, time) in times(&followed, "a").into_iter().enumerate() {
            for everything in [false, true] {
                let there = letters.next().unwrap().to_string();
                write_at(followed.there("a"), &there, time);
                write_at(followed.here("a"), &number.to_string(), time);
                let batch = if everything { FollowBatch::everything() } else { batch(&["a"], false) };
                let report = followed.send(&batch);
                assert_eq!(report.conflicts.count, 1, "{number} {everything} {keeps_times}");
                assert_eq!(fs::read_to_string(followed.there("a")).unwrap(), there);
                // Both sides are equal, and go on.
                write_at(followed.here("a"), &there, time);
                assert_eq!(followed.send(&batch).conflicts.count, 0);
            }
        }
    }
}

#[test]
fn what_was_made_in_the_future_of_the_clock_is_deleted_with_the_worktree() {
    let future = SystemTime::now() + Duration::from_secs(24 * 3600);
    let mut followed = Followed::new(&Tree::new().file("d/a", "1").file("b", "1").file("kept", "1"));
    for path in ["d/a", "b"] {
        write_at(followed.there(path), "1", future);
    }
    fs::remove_dir_all(followed.here("d")).unwrap();
    let report = followed.send(&batch(&["d"], true));
    assert_eq!((report.conflicts.count, report.run.receiver.deleted), (0, 2));
    fs::remove_file(followed.here("b")).unwrap();
    assert_eq!(followed.send(&FollowBatch::everything()).conflicts.count, 0);
    followed.assert_equal();
}
