use super::*;

/// A pending state with a clock of its own.
struct Clock {
    pending: Pending,
    now: Instant,
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

impl Clock {
    fn new() -> Self {
        Self { pending: Pending::default(), now: Instant::now() }
    }

    fn note(&mut self, note: impl FnOnce(&mut Pending, Instant)) -> &mut Self {
        note(&mut self.pending, self.now);
        self
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// The paths that are due now.
    fn take(&mut self) -> Vec<String> {
        let Some(batch) = self.pending.take(self.now) else { return Vec::new() };
        match batch.extent {
            Extent::Everything => vec!["everything".to_owned()],
            Extent::Paths(paths) => paths.keys().map(ToString::to_string).collect(),
        }
    }

    fn save(&mut self, path: &str) -> &mut Self {
        self.note(|pending, now| {
            pending.written(rel(path), now);
            pending.closed(rel(path), now);
        })
    }

    fn make(&mut self, path: &str) -> &mut Self {
        self.note(|pending, now| pending.created(rel(path), now)).save(path)
    }

    fn delete(&mut self, path: &str) -> &mut Self {
        self.note(|pending, now| pending.deleted(rel(path), Depth::Entry, now))
    }

    fn rename(&mut self, from: &str, to: &str) -> &mut Self {
        self.note(|pending, now| {
            pending.moved_from(rel(from), Depth::Entry, 7, now);
            pending.moved_to(rel(to), Depth::Entry, 7, now);
        })
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const NOTHING: [&str; 0] = [];

#[test]
fn a_save_is_due_when_its_writer_closes_the_file() {
    let mut clock = Clock::new();
    clock.note(|pending, now| pending.written(rel("a"), now));
    assert_eq!(clock.take(), NOTHING);
    clock.note(|pending, now| pending.closed(rel("a"), now));
    assert_eq!(clock.take(), ["a"]);
    assert_eq!(clock.pending.due(), None);
}

#[test]
fn a_file_that_stays_open_is_due_after_a_pause_or_after_the_longest_time() {
    let mut clock = Clock::new();
    clock.note(|pending, now| pending.written(rel("a"), now)).pass(QUIET - MILLISECOND);
    clock.note(|pending, now| pending.written(rel("a"), now)).pass(QUIET - MILLISECOND);
    assert_eq!(clock.take(), NOTHING);
    clock.pass(MILLISECOND);
    assert_eq!(clock.take(), ["a"]);

    let first = clock.now;
    while clock.now < first + LONGEST_WRITE {
        assert_eq!(clock.take(), NOTHING);
        clock.note(|pending, now| pending.written(rel("a"), now)).pass(5 * MILLISECOND);
    }
    assert_eq!(clock.take(), ["a"]);
}

#[test]
fn the_deletion_of_a_file_that_lives_shorter_than_a_batch_waits_for_another_batch() {
    let mut clock = Clock::new();
    assert_eq!(clock.make("4913").take(), NOTHING);
    clock.delete("4913").pass(BRIEF);
    assert_eq!(clock.take(), NOTHING);
    assert_eq!(clock.save("known").take(), ["4913", "known"]);

    clock.make("temporary").delete("temporary").pass(BRIEF);
    assert_eq!(clock.take(), NOTHING, "the batch under way is about another path");
    clock.pass(IDLE);
    assert_eq!(clock.take(), ["temporary"], "the run of another program may have found it");
    assert!(clock.pending.entries.is_empty());

    clock.make("again").delete("again").make("again").pass(BRIEF);
    assert_eq!(clock.take(), ["again"], "it stays this time");
}

#[test]
fn a_deletion_is_due_soon_if_a_batch_has_probably_seen_the_file() {
    let mut clock = Clock::new();
    clock.note(|pending, now| pending.appeared(rel("d"), now)).pass(BRIEF);
    assert_eq!(clock.take(), ["d"]);
    clock.make("d/temporary").delete("d/temporary").pass(BRIEF);
    assert_eq!(clock.take(), ["d/temporary"]);

    clock.note(|pending, now| pending.everything(now));
    assert_eq!(clock.take(), ["everything"]);
    clock.make("x").delete("x").pass(BRIEF);
    assert_eq!(clock.take(), ["x"]);
    // The file was deleted before it was made again.
    clock.pending.finished();
    clock.delete("y").make("y").delete("y").pass(BRIEF);
    assert_eq!(clock.take(), ["y"]);
}

#[test]
fn a_file_is_deleted_that_a_batch_found_before_its_event_was_read() {
    let mut clock = Clock::new();
    clock.note(|pending, now| pending.everything(now));
    assert_eq!(clock.take(), ["everything"]);
    clock.pending.finished();
    // The batch has sent it, but the events come only now.
    clock.make("x").delete("x").note(|pending, now| pending.reached(Ticket(1), now));
    assert_eq!(clock.take(), ["x"]);
}

#[test]
fn an_atomic_save_is_due_at_once_and_one_batch_with_its_temporary_file() {
    let mut clock = Clock::new();
    assert_eq!(clock.make("a.tmp").rename("a.tmp", "a").take(), ["a", "a.tmp"]);
    assert!(clock.pending.entries.is_empty());
}

#[test]
fn a_save_that_moves_the_old_file_aside_is_one_change() {
    let mut clock = Clock::new();
    clock.rename("a", "a~").note(|pending, now| pending.created(rel("a"), now));
    assert_eq!(clock.take(), NOTHING);
    assert_eq!(clock.save("a").take(), ["a"]);
    clock.delete("a~").pass(BRIEF);
    assert_eq!(clock.take(), ["a~"], "nothing tells whether the rename replaced a file");
}

#[test]
fn both_ends_of_a_rename_go_in_one_batch() {
    let mut clock = Clock::new();
    clock.rename("a", "b").pass(2 * MILLISECOND).rename("b", "c");
    clock.pass(2 * MILLISECOND).note(|pending, now| pending.written(rel("c"), now));
    clock.pass(2 * MILLISECOND);
    assert_eq!(clock.take(), ["b"], "the destination has had it at most for a moment");
    assert!(clock.pending.due().unwrap() > clock.now, "the old path waits for the new one");
    clock.pass(QUIET);
    let batch = clock.pending.take(clock.now).unwrap();
    assert_eq!(batch.moved, [(rel("a"), rel("c"))]);
    assert!(batch.extent.covers(&rel("a")) && batch.extent.covers(&rel("c")));
    assert_eq!(clock.pending.due(), None);
}

#[test]
fn a_rename_and_back_is_no_rename() {
    let mut clock = Clock::new();
    clock.rename("a", "b").rename("b", "a").pass(BRIEF);
    let batch = clock.pending.take(clock.now).unwrap();
    assert!(batch.moved.is_empty() && batch.extent.covers(&rel("a")) && batch.extent.covers(&rel("b")));
}

#[test]
fn a_new_directory_stands_for_what_is_in_it() {
    let mut clock = Clock::new();
    clock.save("d/old").note(|pending, now| pending.appeared(rel("d"), now));
    clock.make("d/new").make("d/e/new").make("e").pass(BRIEF);
    let batch = clock.pending.take(clock.now).unwrap();
    let expected = BTreeMap::from([(rel("d"), Depth::Tree), (rel("e"), Depth::Entry)]);
    assert_eq!(batch.extent, Extent::Paths(expected));
}

#[test]
fn a_barrier_takes_all_changes_with_it() {
    let mut clock = Clock::new();
    clock.note(|pending, now| pending.written(rel("open"), now)).make("new").delete("gone");
    clock.note(|pending, now| pending.reached(Ticket(3), now));
    let batch = clock.pending.take(clock.now).unwrap();
    assert_eq!(batch.ticket, Some(Ticket(3)));
    assert!(["open", "new", "gone"].iter().all(|path| batch.extent.covers(&rel(path))));

    clock.note(|pending, now| pending.give_back(batch, now)).save("later");
    let again = clock.pending.take(clock.now).unwrap();
    assert_eq!(again.ticket, Some(Ticket(3)));
    assert!(["open", "later"].iter().all(|path| again.extent.covers(&rel(path))));

    clock.note(|pending, now| pending.reached(Ticket(4), now));
    let empty = clock.pending.take(clock.now).unwrap();
    assert!(empty.extent.is_empty() && empty.ticket == Some(Ticket(4)));
    assert_eq!(clock.pending.due(), None);
}

#[test]
fn while_git_holds_its_lock_nothing_is_due_for_a_while() {
    let mut clock = Clock::new();
    clock.save("a").note(|pending, now| pending.locked(now)).save("b");
    clock.note(|pending, now| pending.reached(Ticket(1), now));
    assert_eq!(clock.take(), NOTHING);
    clock.note(|pending, now| pending.written(rel("c"), now));
    clock.note(|pending, _| pending.unlocked());
    assert_eq!(clock.take(), ["a", "b", "c"], "the checkout is one batch");

    clock.note(|pending, now| pending.locked(now)).save("d").pass(LOCK_WAIT - MILLISECOND);
    assert_eq!(clock.take(), NOTHING);
    clock.pass(MILLISECOND);
    assert_eq!(clock.take(), ["d"], "a lock that was left behind delays no longer");
    assert_eq!(clock.save("e").take(), ["e"]);
    clock.note(|pending, _| pending.unlocked());

    // A rebase takes the lock again and again.
    clock.note(|pending, now| pending.locked(now)).save("f").pass(LOCK_WAIT / 2);
    clock.note(|pending, _| pending.unlocked()).note(|pending, now| pending.locked(now));
    assert_eq!(clock.take(), NOTHING);
    clock.pass(LOCK_WAIT / 2);
    assert_eq!(clock.take(), ["f"], "it counts from the first lock");
}

#[test]
fn too_many_paths_are_everything() {
    let mut clock = Clock::new();
    for number in 0..=MAX_PATHS {
        clock.save(&format!("file{number}"));
    }
    assert!(clock.pending.entries.is_empty());
    assert_eq!(clock.take(), ["everything"]);
    assert_eq!(clock.save("after").take(), ["after"]);
}

#[test]
fn a_batch_that_failed_is_pending_again_as_a_whole() {
    let mut clock = Clock::new();
    clock.rename("a", "b").pass(BRIEF);
    let batch = clock.pending.take(clock.now).unwrap();
    clock.make("a").delete("a");
    clock.note(|pending, now| pending.give_back(batch.clone(), now)).pass(BRIEF);
    let again = clock.pending.take(clock.now).unwrap();
    assert_eq!((&again.extent, &again.moved), (&batch.extent, &batch.moved));

    clock.note(|pending, now| pending.everything(now));
    let everything = clock.pending.take(clock.now).unwrap();
    clock.note(|pending, now| pending.give_back(everything, now));
    assert_eq!(clock.take(), ["everything"]);
}

fn left(clock: &mut Clock) -> u64 {
    clock.pass(BRIEF);
    clock.pending.take(clock.now).unwrap().left
}

#[test]
fn a_batch_counts_what_left() {
    let delete_directory = |clock: &mut Clock, path: &str| {
        clock.note(|pending, now| pending.deleted(rel(path), Depth::Tree, now));
    };
    let mut clock = Clock::new();
    clock.delete("d/e/1").delete("d/e/2").delete("d/3");
    delete_directory(&mut clock, "d/e");
    delete_directory(&mut clock, "d");
    clock.delete("f").save("g");
    assert_eq!(left(&mut clock), 6);

    let mut clock = Clock::new();
    clock.delete("d/1");
    delete_directory(&mut clock, "d");
    clock.note(|pending, now| pending.appeared(rel("d"), now)).delete("d/2");
    assert_eq!(left(&mut clock), 3, "a directory that was made again still lacks what left");

    let mut clock = Clock::new();
    clock.note(|pending, now| pending.appeared(rel("new"), now)).delete("new/1");
    assert_eq!(left(&mut clock), 0, "the destination has nothing of a new directory");
}

#[test]
fn what_left_a_directory_that_is_gone_without_a_word_is_not_known() {
    let mut clock = Clock::new();
    clock.note(|pending, now| pending.vanished(rel("d"), Depth::Tree, now));
    assert_eq!(left(&mut clock), UNKNOWN);
    let mut clock = Clock::new();
    clock.note(|pending, now| pending.moved_from(rel("d"), Depth::Tree, 1, now));
    assert_eq!(left(&mut clock), UNKNOWN, "it was moved out of the worktree");
}

#[test]
fn renamed_entries_have_not_left_but_those_deleted_before_have() {
    let mut clock = Clock::new();
    clock.delete("d/1").delete("d/2").rename("x", "y");
    clock.note(|pending, now| {
        pending.moved_from(rel("d"), Depth::Tree, 1, now);
        pending.moved_to(rel("e"), Depth::Tree, 1, now);
    });
    assert_eq!(left(&mut clock), 2);
}
