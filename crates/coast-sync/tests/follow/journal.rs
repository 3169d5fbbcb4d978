//! What a batch has put at the destination is known to every later run, although a batch writes neither ledger nor cache.

use std::fs;

use coast_sync::{
    CachePlace, Cancel, Delete, Destination, FollowBatch, NoPrompt, Options, RelPath, SyncRequest,
    VoidMonitor, profile,
};
use coast_testkit::Tree;
use coast_tree::{ContentHash, Journal, Name, Root};

use super::{Followed, batch};

impl Followed {
    /// Whether the state directory of the workspace has a file.
    fn has_state(&self, file: &str) -> bool {
        self.scratch.path().join(".workspace.coast").join(file).exists()
    }

    fn push_by_hand(&self) {
        let destination = Destination::local(self.there(""));
        let request = SyncRequest::push(self.here(""), destination).unwrap().cache(CachePlace::Nowhere);
        request.run(&VoidMonitor, &NoPrompt, &Cancel::new()).unwrap();
    }

    /// Makes, edits and deletes in one batch.
    fn change_and_send(&mut self, content: &str) {
        self.write("new/made", content);
        self.write("edited", content);
        fs::write(self.here("deleted"), content).unwrap();
        self.send_paths(&["new/made", "edited", "deleted"]);
        fs::remove_file(self.here("deleted")).unwrap();
        self.send_paths(&["deleted"]);
        self.assert_equal();
    }

    /// Edits what earlier batches have put there: none of it may look as if others had changed it.
    #[track_caller]
    fn assert_all_ours(&mut self) {
        self.write("new/made", "the next content");
        self.write("edited", "the next content");
        let report = self.send_paths(&["new/made", "edited"]);
        assert_eq!(report.conflicts.count, 0);
        self.assert_equal();
        fs::remove_dir_all(self.here("new")).unwrap();
        self.send_paths(&["new"]);
        self.assert_equal();
        fs::write(self.there("deleted"), "made there").unwrap();
        assert_eq!(self.send_paths(&["deleted"]).run.receiver.deleted, 0);
        fs::remove_file(self.there("deleted")).unwrap();
    }
}

fn tree() -> Tree {
    Tree::new().file("edited", "1").file("deleted", "1").file("other/file", "1")
}

#[test]
fn batches_write_the_journal_and_leave_ledger_and_cache() {
    let mut followed = Followed::new(&tree());
    let read = |followed: &Followed, file| {
        fs::read(followed.scratch.path().join(".workspace.coast").join(file)).unwrap()
    };
    let before = ["ledger", "cache"].map(|file| read(&followed, file));
    assert!(!followed.has_state("journal"));
    followed.change_and_send("2");
    assert!(followed.has_state("journal"));
    assert_eq!(["ledger", "cache"].map(|file| read(&followed, file)), before);
    followed.assert_all_ours();
    let before = read(&followed, "journal");
    followed.send(&batch(&["edited", "other"], true));
    assert_eq!(read(&followed, "journal"), before, "nothing was new");
}

#[test]
fn the_next_session_knows_what_the_batches_of_the_last_one_have_put_there() {
    let mut followed = Followed::new(&tree());
    followed.change_and_send("2");
    let mut followed = followed.reconnected();
    followed.assert_all_ours();
}

#[test]
fn a_run_about_everything_absorbs_the_journal() {
    let absorbs: [&dyn Fn(&mut Followed); 2] =
        [&|followed| followed.push_by_hand(), &|followed| drop(followed.send(&FollowBatch::everything()))];
    for absorb in absorbs {
        let mut followed = Followed::new(&tree());
        followed.change_and_send("2");
        absorb(&mut followed);
        assert!(!followed.has_state("journal"));
        followed.assert_all_ours();
        assert!(followed.has_state("journal"));
        let mut followed = followed.reconnected();
        absorb(&mut followed);
        followed.change_and_send("3");
        followed.assert_all_ours();
    }
}

#[test]
fn a_repair_by_hand_deletes_what_batches_have_put_there() {
    let mut followed = Followed::new(&tree());
    followed.change_and_send("2");
    fs::write(followed.there("new/made-there"), "x").unwrap();
    fs::remove_dir_all(followed.here("new")).unwrap();
    fs::remove_file(followed.here("edited")).unwrap();
    let destination = Destination::local(followed.there(""));
    let request = SyncRequest::push(followed.here(""), destination).unwrap().cache(CachePlace::Nowhere);
    let delete = Some(Delete { only_placed: true, ..Delete::default() });
    let request = request.options(Options { delete, ..profile::options() });
    let report = request.run(&VoidMonitor, &NoPrompt, &Cancel::new()).unwrap();
    assert_eq!(report.run.receiver.deleted, 2);
    assert!(followed.there("new/made-there").exists() && !followed.there("edited").exists());
}

/// A helper that is killed has noted a content as intended. The file is as it was before, or has that content.
#[test]
fn after_a_killed_batch_both_contents_are_ours() {
    for (number, is_there) in ["1", "2"].into_iter().enumerate() {
        let followed = Followed::new(&tree());
        let state = Root::open(&followed.scratch.path().join(".workspace.coast")).unwrap().handle();
        let mut journal = Journal::open(&state);
        let name = |name: &str| Name::new(name.as_bytes()).unwrap();
        for file in ["edited", "made"] {
            journal.note_intended(&RelPath::root(), &name(file), ContentHash::of(b"2"));
        }
        journal.write(&state).unwrap();
        fs::write(followed.there("edited"), is_there).unwrap();
        if number == 1 {
            fs::write(followed.there("made"), is_there).unwrap();
        }
        followed.write("edited", "3");
        followed.write("made", "3");
        let mut followed = followed.reconnected();
        let report = followed.send_paths(&["edited", "made"]);
        assert_eq!(report.conflicts.count, 0, "{is_there}");
        followed.assert_equal();
    }
}
