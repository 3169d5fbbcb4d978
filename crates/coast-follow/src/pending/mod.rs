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
//! # Entries that come and go
//! An entry is `unseen` if it was created, if neither a pending change nor the batch under way covered its path at that time, and
//! if no batch has taken it since. The destination does not have such an entry, with few exceptions: its event is read a little
//! later than it is made, so a batch that has ended by then may have found it, and so may the run of another program. So the
//! deletion of an unseen entry is sent like all others, because the entry would stay at the destination otherwise. But it does not
//! hurry: it goes with the next batch, or after [`IDLE`]. An editor that saves by a temporary file then causes one batch.
//!
//! # How many entries left
//! A batch tells how many entries it may delete at the destination. A directory can be removed only after everything in it was
//! deleted or moved away, and each of these steps was a change of its own. So it counts for what was noted below it, and no more. A
//! directory that was moved out of the worktree, or that is gone without a word about its content, counts for an unknown number.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use coast_tree::RelPath;

use crate::batch::{Batch, Depth, Extent, Ticket, UNKNOWN, ancestors, below, remove_below};

/// How long a new, deleted or renamed entry waits for what follows.
pub(crate) const BRIEF: Duration = Duration::from_millis(4);
/// How long the deletion of an unseen entry waits for another batch.
pub(crate) const IDLE: Duration = Duration::from_secs(1);
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
    /// Whether git holds the lock of its index.
    is_locked: bool,
    /// When it took it first, of several locks in a row while changes are pending.
    locked_since: Option<Instant>,
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
    /// How many entries left their paths, at and below this one.
    left: u64,
}

/// An entry that left its old path.
#[derive(Debug)]
struct HalfMove {
    cookie: u32,
    /// The path at the destination: the one before the first of several renames.
    origin: RelPath,
    writing: Option<Instant>,
    unseen: bool,
    /// How many entries left before, at and below the old path.
    left: u64,
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

    /// An entry was deleted. A directory is [`Depth::Tree`], and everything in it was noted as deleted before.
    pub(crate) fn deleted(&mut self, path: RelPath, depth: Depth, now: Instant) {
        let left = match depth {
            Depth::Entry => self.left_at(&path).max(1),
            Depth::Tree => self.left_at(&path).saturating_add(1),
        };
        self.leave(path, depth, left, now);
    }

    /// An entry is gone. If it was a directory, it is not known what was in it.
    pub(crate) fn vanished(&mut self, path: RelPath, depth: Depth, now: Instant) {
        self.leave(path, depth, all_of(depth), now);
    }

    /// A batch did not settle a path: it comes again.
    pub(crate) fn again(&mut self, path: RelPath, depth: Depth, now: Instant) {
        if let Some(entry) = self.entry(path, depth, now) {
            entry.left = entry.left.max(all_of(depth));
            let due = entry.due;
            self.schedule(due);
        }
    }

    /// An entry left `path`. It may appear elsewhere, with the same cookie.
    pub(crate) fn moved_from(&mut self, path: RelPath, depth: Depth, cookie: u32, now: Instant) {
        let left = self.left_at(&path);
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
        self.half_moves.push_back(HalfMove { cookie, origin, writing, unseen, left });
        self.leave(path, depth, all_of(depth), now);
    }

    /// An entry came to `path`.
    pub(crate) fn moved_to(&mut self, path: RelPath, depth: Depth, cookie: u32, now: Instant) {
        let half = self.half_moves.iter().position(|half| half.cookie == cookie);
        let half = half.and_then(|index| self.half_moves.remove(index));
        let Some(entry) = self.entry(path.clone(), depth, now) else { return };
        entry.writing = half.as_ref().and_then(|half| half.writing);
        entry.left = entry.left.saturating_add(half.as_ref().map_or(0, |half| half.left));
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
        self.is_locked = true;
        self.locked_since.get_or_insert(now);
    }

    /// Git gave the lock back: what it changed is one batch.
    pub(crate) fn unlocked(&mut self) {
        let was_locked = std::mem::take(&mut self.is_locked);
        if self.entries.is_empty() {
            self.locked_since = None;
        } else if was_locked {
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
                left: UNKNOWN,
            },
            None if self.urgent => self.take_paths(now, |_| true),
            None => self.take_paths(now, |entry| entry.due <= now),
        };
        if self.entries.is_empty() {
            self.urgent = false;
        }
        if !self.is_locked {
            self.locked_since = None;
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
        let mut due: Vec<RelPath> = self
            .entries
            .iter()
            .filter(|(path, entry)| is_due(entry) && !(entry.gone && held.contains(*path)))
            .map(|(path, _)| path.clone())
            .collect();
        if !due.is_empty() {
            let idle = self.entries.iter().filter(|(_, entry)| entry.gone && entry.unseen && !is_due(entry));
            due.extend(idle.map(|(path, _)| path.clone()));
        }
        // Renamed entries are not deleted.
        let origins: HashSet<RelPath> = due.iter().filter_map(|path| self.moves.get(path)).cloned().collect();
        let (mut paths, mut moved, mut saved, mut left) = (BTreeMap::new(), Vec::new(), now, 0_u64);
        let mut take = |entries: &mut BTreeMap<RelPath, Entry>, path: RelPath| {
            if let Some(entry) = entries.remove(&path) {
                saved = saved.min(entry.touched);
                if !origins.contains(&path) {
                    left = left.saturating_add(entry.left);
                }
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
        let rest = self.entries.iter().filter(|(path, entry)| !(entry.gone && held.contains(*path)));
        self.soonest = rest.map(|(_, entry)| entry.due).min();
        let ticket = if self.entries.is_empty() { self.ticket.take() } else { None };
        Batch { extent: Extent::Paths(paths), moved, ticket, saved, left }
    }

    /// When [`Pending::take`] may have a batch; `None` while nothing is pending.
    pub(crate) fn due(&self) -> Option<Instant> {
        let due = match self.everything {
            Some(since) => Some(since),
            None if self.urgent => self.entries.values().map(|entry| entry.touched).min(),
            None => self.soonest,
        };
        let due = due.or(self.reached);
        match self.locked_since.filter(|_| self.is_locked) {
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
                        entry.left = entry.left.max(all_of(depth));
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

    /// Whether an entry was made since the last batch, or a directory above it.
    pub(crate) fn is_new(&self, path: &RelPath) -> bool {
        let is_unseen = |path: &[u8]| self.entries.get(path).is_some_and(|entry| entry.unseen);
        is_unseen(path.as_bytes()) || ancestors(path).any(is_unseen)
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
        let mut left = 0;
        if depth == Depth::Tree {
            for (_, entry) in remove_below(&mut self.entries, &path) {
                left = entry.left.saturating_add(left);
            }
            remove_below(&mut self.moves, &path);
        }
        if self.entries.len() >= MAX_PATHS && !self.entries.contains_key(&path) {
            self.everything(now);
            return None;
        }
        let new = Entry { depth, due: now, writing: None, unseen: false, gone: false, touched: now, left: 0 };
        let entry = self.entries.entry(path).or_insert(new);
        entry.depth = entry.depth.max(depth);
        entry.touched = now;
        entry.gone = false;
        entry.left = entry.left.saturating_add(left);
        Some(entry)
    }

    /// `left` entries, those noted before at and below the path included, left `path`.
    fn leave(&mut self, path: RelPath, depth: Depth, left: u64, now: Instant) {
        // What was moved here and is gone was not moved.
        self.moves.remove(&path);
        if let Some(covering) = self.covering(&path) {
            // The destination has nothing of a directory that no batch has seen.
            if !covering.unseen {
                covering.left = covering.left.saturating_add(left);
            }
        } else if let Some(entry) = self.entry(path, depth, now) {
            entry.writing = None;
            entry.gone = true;
            let (left, wait) = if entry.unseen { (0, IDLE) } else { (left, BRIEF) };
            entry.left = left;
            entry.due = now + wait;
            self.schedule(now + wait);
        }
    }

    /// How many entries left at and below a path.
    fn left_at(&self, path: &RelPath) -> u64 {
        let own = self.entries.get(path).map_or(0, |entry| entry.left);
        below(&self.entries, path).fold(own, |sum, (_, entry)| sum.saturating_add(entry.left))
    }

    /// The pending directory because of which the next batch looks at `path`.
    fn covering(&mut self, path: &RelPath) -> Option<&mut Entry> {
        let covers = |dir: &&[u8]| self.entries.get(*dir).is_some_and(|entry| entry.depth == Depth::Tree);
        let dir = ancestors(path).find(covers)?;
        self.entries.get_mut(dir)
    }

    fn schedule(&mut self, due: Instant) {
        self.soonest = Some(self.soonest.map_or(due, |soonest| soonest.min(due)));
    }
}

/// How many entries may leave with one of which only the depth is known.
fn all_of(depth: Depth) -> u64 {
    match depth {
        Depth::Entry => 1,
        Depth::Tree => UNKNOWN,
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
mod tests;
