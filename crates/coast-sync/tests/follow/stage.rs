//! Contents of large files are staged ahead of the batch that puts them into place, while the workspace is free for others.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::mpsc;

use coast_sync::{Cancel, Event, FollowBatch, Monitor, Progress, VoidMonitor};
use coast_testkit::Tree;

use super::{Followed, batch};

/// Content of 4 MiB that does not repeat.
fn large(seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    (0..1 << 20).flat_map(next).collect()
}

fn stage(path: &str) -> FollowBatch {
    batch(&[path], false).stage_only()
}

/// Puts what was staged into place.
fn place(path: &str) -> FollowBatch {
    batch(&[path], false).defer_above(1 << 20)
}

#[test]
fn a_staged_content_changes_nothing_and_is_put_into_place_by_the_next_batch() {
    let mut followed = Followed::new(&Tree::new().file("d/small", "1"));
    for seed in [1, 2] {
        fs::write(followed.here("d/large"), large(seed)).unwrap();
        let before = fs::read(followed.there("d/large")).ok();
        let staged = followed.send(&stage("d/large"));
        assert_eq!(staged.run.receiver.transferred_files, 1);
        assert_eq!(fs::read(followed.there("d/large")).ok(), before);
        let placed = followed.send(&place("d/large"));
        assert_eq!((placed.run.receiver.transferred_files, placed.run.receiver.cloned_files), (0, 1));
        assert!(placed.run.wire_sent_bytes < 4 << 10, "{}", placed.run.wire_sent_bytes);
        followed.assert_equal();
    }
    // The second time only differences are sent.
    let mut content = large(2);
    content[1 << 20] ^= 1;
    fs::write(followed.here("d/large"), &content).unwrap();
    let staged = followed.send(&stage("d/large"));
    assert!(staged.run.wire_sent_bytes < 1 << 20, "{}", staged.run.wire_sent_bytes);
    followed.send(&place("d/large"));
    followed.assert_equal();
    // What is known of it is as of any other file.
    fs::remove_file(followed.here("d/large")).unwrap();
    assert_eq!(followed.send(&place("d/large")).conflicts.count, 0);
    followed.assert_equal();
}

#[test]
fn a_large_file_is_put_into_place_as_it_was_staged() {
    let mut followed = Followed::new(&Tree::new().file("a", "1"));
    // It is written to all the time.
    let mut content = large(1);
    for _ in 0..3 {
        fs::write(followed.here("large"), &content).unwrap();
        followed.send(&stage("large"));
        let staged = content.clone();
        content.extend(b"more");
        fs::write(followed.here("large"), &content).unwrap();
        let placed = followed.send(&place("large"));
        assert_eq!((placed.run.receiver.cloned_files, placed.run.sender.hashed_files), (1, 0));
        assert_eq!(placed.deferred.count, 0);
        assert_eq!(fs::read(followed.there("large")).unwrap(), staged);
    }
    followed.send_paths(&["large"]);
    followed.assert_equal();
}

#[test]
fn a_file_that_became_small_or_went_since_it_was_staged_is_sent_as_it_is() {
    let mut followed = Followed::new(&Tree::new().file("a", "1"));
    fs::write(followed.here("large"), large(1)).unwrap();
    followed.send(&stage("large"));
    fs::write(followed.here("large"), "small").unwrap();
    // Another session has brought it already.
    followed.another().send(&batch(&["large"], false), &VoidMonitor, &Cancel::new()).unwrap();
    followed.send(&place("large"));
    followed.assert_equal();
    fs::write(followed.here("large"), large(3)).unwrap();
    followed.send(&stage("large"));
    fs::remove_file(followed.here("large")).unwrap();
    followed.send(&place("large"));
    followed.assert_equal();
    // Another session does not believe what it has not staged itself.
    fs::write(followed.here("large"), large(4)).unwrap();
    followed.send(&stage("large"));
    let mut followed = followed.reconnected();
    assert_eq!(followed.send(&place("large")).deferred.count, 1);
    assert_eq!(followed.send_paths(&["large"]).run.receiver.transferred_files, 1);
    followed.assert_equal();
}

#[test]
fn what_was_changed_there_is_not_replaced_by_a_staged_content() {
    let mut followed = Followed::new(&Tree::new().file("large", "1"));
    fs::write(followed.there("large"), "changed there").unwrap();
    fs::write(followed.here("large"), large(1)).unwrap();
    assert_eq!(followed.send(&stage("large")).conflicts.count, 0);
    assert_eq!(followed.send(&place("large")).conflicts.count, 1);
    assert_eq!(fs::read(followed.there("large")).unwrap(), b"changed there");
}

#[test]
fn what_a_staged_content_replaces_is_in_the_trash_where_the_source_wins() {
    let mut followed = Followed::new(&Tree::new().file("large", "1"));
    fs::write(followed.there("large"), "changed there").unwrap();
    fs::write(followed.here("large"), large(1)).unwrap();
    followed.send(&stage("large"));
    let placed = followed.send(&place("large").take_source([super::rel("large")]));
    assert_eq!((placed.run.receiver.cloned_files, placed.run.receiver.replaced_trashed), (1, 1));
    followed.assert_equal();
}

/// Says when a run has begun to send, and waits for a word before it goes on.
struct Gate {
    begun: mpsc::SyncSender<()>,
    go_on: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl Monitor for Gate {
    fn event(&self, _: &Event<'_>) {}

    fn started(&self, _: &std::sync::Arc<Progress>) {}

    fn ready(&self, _: &coast_sync::Ready) {
        self.begun.send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
    }
}

#[test]
fn the_workspace_is_free_while_a_content_is_staged() {
    let mut followed = Followed::new(&Tree::new().file("a", "1"));
    fs::write(followed.here("large"), large(1)).unwrap();
    let mut other = followed.another();
    let (begun, has_begun) = mpsc::sync_channel(1);
    let (go_on, goes_on) = mpsc::channel();
    let gate = Gate { begun, go_on: std::sync::Mutex::new(goes_on) };
    std::thread::scope(|scope| {
        let staging = scope.spawn(|| other.send(&stage("large"), &gate, &Cancel::new()).unwrap());
        has_begun.recv().unwrap();
        followed.write("a", "2");
        assert_eq!(followed.send_paths(&["a"]).run.receiver.transferred_files, 1);
        assert_eq!(fs::read(followed.there("a")).unwrap(), b"2");
        go_on.send(()).unwrap();
        staging.join().unwrap();
    });
    other.send(&place("large"), &VoidMonitor, &Cancel::new()).unwrap();
    followed.assert_equal();
}

#[test]
fn a_push_tidies_what_was_staged_and_not_used() {
    let mut followed = Followed::new(&Tree::new().file("a", "1"));
    fs::write(followed.here("large"), large(1)).unwrap();
    followed.send(&stage("large"));
    let ahead = followed.there("").parent().unwrap().join(".workspace.coast/ahead");
    assert_eq!(fs::metadata(ahead.join("large")).unwrap().size(), 4 << 20);
    followed.push();
    assert!(!ahead.exists());
    followed.assert_equal();
}

#[test]
fn a_staged_content_takes_the_mode_of_the_file_that_it_replaces() {
    let mut followed = Followed::new(&Tree::new().file("large", "1"));
    for mode in [0o600, 0o660] {
        fs::set_permissions(followed.there("large"), fs::Permissions::from_mode(mode)).unwrap();
        fs::write(followed.here("large"), large(mode)).unwrap();
        followed.send(&stage("large"));
        assert_eq!(followed.send(&place("large")).run.receiver.cloned_files, 1);
        assert_eq!(fs::metadata(followed.there("large")).unwrap().mode() & 0o7777, mode);
    }
}

#[test]
fn contents_that_were_staged_and_not_used_do_not_stay() {
    let mut followed = Followed::new(&Tree::new().file("a", "1"));
    let ahead = followed.there("").parent().unwrap().join(".workspace.coast/ahead");
    for name in ["one", "two"] {
        fs::write(followed.here(name), large(1)).unwrap();
        followed.send(&stage(name));
        fs::remove_file(followed.here(name)).unwrap();
        followed.send_paths(&[name]);
    }
    assert!(!ahead.join("one").exists() && ahead.join("two").exists());
    let mut followed = followed.reconnected();
    followed.send_paths(&["a"]);
    assert!(!ahead.exists());
}
