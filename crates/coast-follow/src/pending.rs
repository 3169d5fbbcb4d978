//! The changes that no batch has taken yet, and when they are due. Nothing here looks at a clock or at the file system.
//!
//! # When a change is due
//! - A file that existed before is due when its writer closes it. While it stays open, it is due [`QUIET`] after the last write, and
//!   at the latest [`LONGEST_WRITE`] after the first one.
//! - A new entry, a deletion and a rename are due after [`BRIEF`]. Editors make temporary files, move the old file aside and put the
//!   new one in its place within less than a millisecond. This pause turns these steps into one change.
//! - A new file that replaces another one by a rename is due at once: this is how editors save.
//! - Everything is due at once when a barrier is to be passed.
//! - Nothing is due while git holds the lock of its index, but for at most [`LOCK_WAIT`].
//!
//! # Which changes are forgotten
//! A file that is made and deleted again between two batches never travels. Its entry is dropped under one condition: no batch can
//! have seen the file. So an entry is `unseen` only if it was created, if neither a pending change nor the batch under way covered its
//! path at that time, and if no batch has taken it since. The destination then does not have it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use coast_tree::RelPath;

use crate::batch::{Batch, Depth, Extent, Ticket, ancestors, remove_below};

/// How long a new, deleted or renamed entry waits for what follows.
pub(crate) const BRIEF: Duration = Duration::from_millis(4);
/// How long a file that stays open waits after a write.
pub(crate) const QUIET: Duration = Duration::from_millis(10);
/// How long writes to an open file can delay it.
pub(crate) const LONGEST_WRITE: Duration = Duration::from_secs(1);
/// How long a lock of git's index delays batches.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How many paths are kept one by one. Beyond this number the whole worktree is compared, which takes a tenth of a second for
/// 84,000 entries.
pub(crate) const MAX_PATHS: usize = 20_000;
/// How many renames may have begun and not ended. The kernel reports both halves of a rename one after the other, at most with a few
/// events of other threads between them.
const MAX_HALF_MOVES: usize = 64;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: BTreeMap<RelPath, Entry>,
    /// Set when everything is pending, with the time since when. Then `entries` is empty.
    everything: Option<Instant>,
    /// The old path of each renamed entry, by its new path.
    moves: BTreeMap<RelPath, RelPath>,
    half_moves: VecDeque<HalfMove>,
    under_way: Option<Extent>,
    /// The barrier that is to be passed.
    ticket: Option<Ticket>,
    /// Since when the barrier is to be passed.
    reached: Option<Instant>,
    /// Set when all changes are to go with the next batch.
    urgent: bool,
    /// When git took the lock of its index, if it holds it.
    locked: Option<Instant>,
    /// No entry is due before this time.
    soonest: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    depth: Depth,
    due: Instant,
    /// The time of the first write, while a writer has the file open.
    writing: Option<Instant>,
    unseen: bool,
    /// Whether the last change was that the entry left.
    gone: bool,
    /// The time of the last change.
    touched: Instant,
}

/// An entry that left its old path.
#[derive(Debug)]
struct HalfMove {
    cookie: u32,
    /// The path at the destination: the one before the first of several renames.
    origin: RelPath,
    writing: Option<Instant>,
    unseen: bool,
}

impl Pending {
    /// A file, or another entry that is no directory, was made.
    pub(crate) fn created(&mut self, path: RelPath, now: Instant) {
        let unseen = self.is_unseen(&path);
        if let Some(entry) = self.entry(path, Depth::Entry, now) {
            entry.unseen |= unseen;
            let due = entry.wrote(now);
            self.schedule(due);
        }
    }

    /// A directory is new, with everything in it.
    pub(crate) fn appeared(&mut self, path: RelPath, now: Instant) {
        let unseen = self.is_unseen(&path);
        if let Some(entry) = self.entry(path, Depth::Tree, now) {
            entry.unseen |= unseen;
            entry.due = now + BRIEF;
            self.schedule(now + BRIEF);
        }
    }

    /// A file was written by someone who may go on.
    pub(crate) fn written(&mut self, path: RelPath, now: Instant) {
        if let Some(entry) = self.entry(path, Depth::Entry, now) {
            let due = entry.wrote(now);
            self.schedule(due);
        }
    }

    /// A file was closed by someone who may have written to it.
    pub(crate) fn closed(&mut self, path: RelPath, now: Instant) {
        if let Some(entry) = self.entry(path, Depth::Entry, now) {
            entry.writing = None;
            entry.due = if entry.unseen { now + BRIEF } else { now };
            let due = entry.due;
            self.schedule(due);
        }
    }

    /// Attributes of an entry changed, or it is not known what changed.
    pub(crate) fn touched(&mut self, path: RelPath, depth: Depth, now: Instant) {
        if let Some(entry) = self.entry(path, depth, now) {
            let due = if entry.writing.is_some() { entry.wrote(now) } else { entry.due };
            self.schedule(due);
        }
    }

    /// An entry was deleted. A directory is [`Depth::Tree`].
    pub(crate) fn deleted(&mut self, path: RelPath, depth: Depth, now: Instant) {
        self.leave(path, depth, now);
    }

    /// An entry left `path`. It may appear elsewhere, with the same cookie.
    pub(crate) fn moved_from(&mut self, path: RelPath, depth: Depth, cookie: u32, now: Instant) {
        let (writing, unseen) = match self.entries.get(&path) {
            Some(entry) => (entry.writing, entry.unseen),
            // The destination may know the directory above only after the next batch, so it cannot move the entry.
            None => (None, self.is_covered(&path)),
        };
        // Of two renames in a row the destination knows the first path only.
        let origin = self.moves.get(&path).unwrap_or(&path).clone();
        if self.half_moves.len() == MAX_HALF_MOVES {
            self.half_moves.pop_front();
        }
        self.half_moves.push_back(HalfMove { cookie, origin, writing, unseen });
        self.leave(path, depth, now);
    }

    /// An entry came to `path`.
    pub(crate) fn moved_to(&mut self, path: RelPath, depth: Depth, cookie: u32, now: Instant) {
        let half = self.half_moves.iter().position(|half| half.cookie == cookie);
        let half = half.and_then(|index| self.half_moves.remove(index));
        let Some(entry) = self.entry(path.clone(), depth, now) else { return };
        entry.writing = half.as_ref().and_then(|half| half.writing);
        let origin = half.filter(|half| !half.unseen).map(|half| half.origin);
        let due = match (entry.writing, &origin) {
            (Some(_), _) => entry.wrote(now),
            (None, Some(_)) => now + BRIEF,
            (None, None) => now,
        };
        entry.due = due;
        self.schedule(due);
        self.moves.remove(&path);
        if let Some(origin) = origin.filter(|origin| *origin != path) {
            self.moves.insert(path, origin);
        }
    }

    /// It is not known what changed.
    pub(crate) fn everything(&mut self, now: Instant) {
        self.everything.get_or_insert(now);
        self.entries.clear();
        self.moves.clear();
        self.half_moves.clear();
    }

    /// A barrier was reached: all changes that were noted before it are due.
    pub(crate) fn reached(&mut self, ticket: Ticket, now: Instant) {
        self.ticket = self.ticket.max(Some(ticket));
        self.reached.get_or_insert(now);
        self.urgent = true;
    }

    /// Git took the lock of its index.
    pub(crate) fn locked(&mut self, now: Instant) {
        self.locked.get_or_insert(now);
    }

    /// Git gave the lock back: what it changed is one batch.
    pub(crate) fn unlocked(&mut self) {
        if self.locked.take().is_some() && !self.entries.is_empty() {
            self.urgent = true;
        }
    }

    /// Takes the changes that are due. The batch is under way until [`Pending::finished`] or [`Pending::give_back`]; there is only
    /// one at a time. A batch without any path has reached a barrier.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Batch> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        let batch = match self.everything.take() {
            Some(saved) => Batch {
                extent: Extent::Everything,
                moved: Vec::new(),
                ticket: self.ticket.take(),
                saved: saved.min(now),
            },
            None if self.urgent => self.take_paths(now, |_| true),
            None => self.take_paths(now, |entry| entry.due <= now),
        };
        if self.entries.is_empty() {
            self.urgent = false;
        }
        if self.ticket.is_none() {
            self.reached = None;
        }
        if batch.ticket.is_none() && batch.extent.is_empty() {
            return None;
        }
        self.under_way = Some(batch.extent.clone());
        Some(batch)
    }

    fn take_paths(&mut self, now: Instant, is_due: impl Fn(&Entry) -> bool) -> Batch {
        // Both ends of a rename go together: the destination cannot move what it has deleted.
        let held: HashSet<RelPath> = self
            .moves
            .iter()
            .filter(|(to, _)| self.entries.get(*to).is_some_and(|entry| !is_due(entry)))
            .map(|(_, from)| from.clone())
            .collect();
        let due: Vec<RelPath> = self
            .entries
            .iter()
            .filter(|(path, entry)| is_due(entry) && !(entry.gone && held.contains(*path)))
            .map(|(path, _)| path.clone())
            .collect();
        let (mut paths, mut moved, mut saved) = (BTreeMap::new(), Vec::new(), now);
        let mut take = |entries: &mut BTreeMap<RelPath, Entry>, path: RelPath| {
            if let Some(entry) = entries.remove(&path) {
                saved = saved.min(entry.touched);
                paths.insert(path, entry.depth);
            }
        };
        for path in due {
            if let Some(from) = self.moves.remove(&path) {
                if self.entries.get(&from).is_some_and(|entry| entry.gone) {
                    take(&mut self.entries, from.clone());
                }
                moved.push((from, path.clone()));
            }
            take(&mut self.entries, path);
        }
        let left = self.entries.iter().filter(|(path, entry)| !(entry.gone && held.contains(*path)));
        self.soonest = left.map(|(_, entry)| entry.due).min();
        let ticket = if self.entries.is_empty() { self.ticket.take() } else { None };
        Batch { extent: Extent::Paths(paths), moved, ticket, saved }
    }

    /// When [`Pending::take`] may have a batch; `None` while nothing is pending.
    pub(crate) fn due(&self) -> Option<Instant> {
        let due = match self.everything {
            Some(since) => Some(since),
            None if self.urgent => self.entries.values().map(|entry| entry.touched).min(),
            None => self.soonest,
        };
        let due = due.or(self.reached);
        match self.locked {
            Some(since) => due.map(|due| due.max(since + LOCK_WAIT)),
            None => due,
        }
    }

    /// The batch under way is at the destination.
    pub(crate) fn finished(&mut self) {
        self.under_way = None;
    }

    /// The batch under way may not be at the destination, or only in part. Its changes are pending again.
    pub(crate) fn give_back(&mut self, batch: Batch, now: Instant) {
        self.under_way = None;
        if let Some(ticket) = batch.ticket {
            self.reached(ticket, now);
        }
        match batch.extent {
            Extent::Everything => {
                self.everything(now);
                self.everything = Some(batch.saved);
            }
            Extent::Paths(paths) => {
                for (path, depth) in paths {
                    if let Some(entry) = self.entry(path, depth, now) {
                        entry.unseen = false;
                        entry.touched = entry.touched.min(batch.saved);
                    }
                }
                for (from, to) in batch.moved {
                    // A path that was renamed again since is left to comparison by content.
                    if self.entries.contains_key(&to) {
                        self.moves.entry(to).or_insert(from);
                    }
                }
                self.schedule(now);
            }
        }
    }

    /// How many changes are pending; `None` means everything.
    pub(crate) fn count(&self) -> Option<usize> {
        if self.everything.is_some() { None } else { Some(self.entries.len()) }
    }

    /// Whether a file is pending that was written and not closed.
    pub(crate) fn is_being_written(&self, path: &RelPath) -> bool {
        self.entries.get(path).is_some_and(|entry| entry.writing.is_some())
    }

    /// Whether nothing is pending or under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_none()
            && self.everything.is_none()
            && self.entries.is_empty()
            && self.ticket.is_none()
    }

    /// Whether the next batch looks at `path` because it looks at everything around it.
    fn is_covered(&self, path: &RelPath) -> bool {
        self.everything.is_some()
            || ancestors(path)
                .any(|ancestor| self.entries.get(ancestor).is_some_and(|entry| entry.depth == Depth::Tree))
    }

    /// Whether an entry that is made at `path` now is one that no batch has seen.
    fn is_unseen(&self, path: &RelPath) -> bool {
        !self.entries.contains_key(path)
            && !self.is_covered(path)
            && !self.under_way.as_ref().is_some_and(|extent| extent.covers(path))
    }

    /// The entry of a path, due at once if it is new. `None` if the path is covered.
    fn entry(&mut self, path: RelPath, depth: Depth, now: Instant) -> Option<&mut Entry> {
        if self.is_covered(&path) {
            return None;
        }
        if depth == Depth::Tree {
            remove_below(&mut self.entries, &path);
            remove_below(&mut self.moves, &path);
        }
        if self.entries.len() >= MAX_PATHS && !self.entries.contains_key(&path) {
            self.everything(now);
            return None;
        }
        let new = Entry { depth, due: now, writing: None, unseen: false, gone: false, touched: now };
        let entry = self.entries.entry(path).or_insert(new);
        entry.depth = entry.depth.max(depth);
        entry.touched = now;
        entry.gone = false;
        Some(entry)
    }

    fn leave(&mut self, path: RelPath, depth: Depth, now: Instant) {
        // What was moved here and is gone was not moved.
        self.moves.remove(&path);
        if self.entries.get(&path).is_some_and(|entry| entry.unseen) {
            self.entries.remove(&path);
            remove_below(&mut self.moves, &path);
            return;
        }
        if let Some(entry) = self.entry(path, depth, now) {
            entry.writing = None;
            entry.gone = true;
            entry.due = now + BRIEF;
            self.schedule(now + BRIEF);
        }
    }

    fn schedule(&mut self, due: Instant) {
        self.soonest = Some(self.soonest.map_or(due, |soonest| soonest.min(due)));
    }
}

impl Entry {
    /// Notes a write, and returns when the entry is due.
    fn wrote(&mut self, now: Instant) -> Instant {
        let first = *self.writing.get_or_insert(now);
        self.due = (now + QUIET).min(first + LONGEST_WRITE);
        self.due
    }
}

#[cfg(test)]
mod tests {
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
    fn a_file_that_lives_shorter_than_a_batch_never_travels() {
        let mut clock = Clock::new();
        assert_eq!(clock.make("4913").take(), NOTHING);
        clock.delete("4913");
        assert!(clock.pending.is_idle());

        clock.make("known").pass(BRIEF);
        assert_eq!(clock.take(), ["known"]);
        clock.make("temporary").delete("temporary").pass(BRIEF);
        assert_eq!(clock.take(), NOTHING, "the batch under way is about another path");
    }

    #[test]
    fn a_deletion_travels_if_a_batch_may_have_seen_the_file() {
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
    fn an_atomic_save_is_due_at_once_without_its_temporary_file() {
        let mut clock = Clock::new();
        assert_eq!(clock.make("a.tmp").rename("a.tmp", "a").take(), ["a"]);
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
        assert_eq!(clock.take(), ["b"], "the destination never had it");
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
}
