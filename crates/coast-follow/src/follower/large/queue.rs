//! The queue of large files, and the barriers that wait for them.

use std::collections::VecDeque;
use std::time::Instant;

use coast_sync::RelPath;

use crate::batch::Ticket;

/// A large file that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::follower) struct LargeFile {
    pub(in crate::follower) path: RelPath,
    /// When it was saved.
    pub(in crate::follower) saved: Instant,
}

/// What was in the queue.
#[derive(Debug)]
pub(in crate::follower) struct GivenUp {
    pub(in crate::follower) files: Vec<LargeFile>,
    /// The last barrier that waited for them.
    pub(in crate::follower) ticket: Option<Ticket>,
    /// Whether there are more files than were told.
    pub(in crate::follower) has_more: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct LargeQueue {
    waiting: VecDeque<LargeFile>,
    /// Whether the file that was taken last is under way.
    is_under_way: bool,
    /// How many left the queue, and are not under way.
    sent: u64,
    /// Whether there are more files than were told.
    has_more: bool,
    /// Barriers, with the number of files that must have left the queue before. None for one that waits for the files that were not
    /// told, too.
    barriers: VecDeque<(Ticket, Option<u64>)>,
}

impl LargeQueue {
    /// How many files wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.is_under_way)
    }

    /// Adds files at the end of the queue. One that waits already keeps its place, and one that is under way is sent again.
    pub(super) fn add(&mut self, paths: Vec<RelPath>, saved: Instant) {
        for path in paths {
            if self.waiting.iter().all(|waiting| waiting.path != path) {
                self.waiting.push_back(LargeFile { path, saved });
            }
        }
    }

    /// Notes that there are more files than were added.
    pub(super) fn note_more(&mut self) {
        self.has_more = true;
    }

    /// A barrier is passed when the files that wait or are under way now are sent. Returns it if there are none.
    pub(super) fn pass(&mut self, ticket: Ticket) -> Option<Ticket> {
        if self.len() == 0 && !self.has_more {
            return Some(ticket);
        }
        let after = (!self.has_more).then_some(self.sent + self.len() as u64);
        self.barriers.push_back((ticket, after));
        None
    }

    /// Takes the next file. None while one is under way.
    pub(super) fn take(&mut self) -> Option<LargeFile> {
        let file = if self.is_under_way { None } else { self.waiting.pop_front() };
        self.is_under_way |= file.is_some();
        file
    }

    /// The file that was taken could not be sent yet.
    pub(super) fn put_back(&mut self, file: LargeFile) {
        self.is_under_way = false;
        self.waiting.push_front(file);
    }

    /// The file that was taken is sent. Returns the barrier that is passed by that.
    pub(super) fn sent(&mut self) -> Option<Ticket> {
        self.is_under_way = false;
        self.sent += 1;
        let mut passed = None;
        let is_passed = |after: Option<u64>| after.is_some_and(|after| after <= self.sent);
        while self.barriers.front().is_some_and(|(_, after)| is_passed(*after)) {
            passed = passed.max(self.barriers.pop_front().map(|(ticket, _)| ticket));
        }
        passed
    }

    /// If all files that were added are sent, and there are more: forgets that, and returns the last barrier that waits for those.
    pub(super) fn take_more(&mut self) -> Option<Option<Ticket>> {
        if self.len() > 0 || !std::mem::take(&mut self.has_more) {
            return None;
        }
        Some(self.take_barriers())
    }

    /// Removes all barriers from the queue, and returns the last of them.
    pub(super) fn take_barriers(&mut self) -> Option<Ticket> {
        self.barriers.drain(..).map(|(ticket, _)| ticket).max()
    }

    /// Empties the queue.
    pub(super) fn give_up(&mut self) -> GivenUp {
        self.is_under_way = false;
        GivenUp {
            ticket: self.take_barriers(),
            files: std::mem::take(&mut self.waiting).into(),
            has_more: std::mem::take(&mut self.has_more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_barrier_waits_for_the_large_files_before_it_only() {
        let now = Instant::now();
        let mut large = LargeQueue::default();
        assert_eq!(large.pass(Ticket(1)), Some(Ticket(1)));
        large.add(vec![rel("a"), rel("b")], now);
        assert_eq!(large.pass(Ticket(2)), None);
        large.add(vec![rel("b"), rel("c")], now);
        assert_eq!(large.len(), 3);
        assert_eq!(large.take().unwrap().path, rel("a"));
        assert!(large.take().is_none() && large.len() == 3);
        assert_eq!(large.pass(Ticket(2)), None, "one of them is under way");
        assert_eq!(large.sent(), None);
        assert_eq!((large.take().unwrap().path, large.sent()), (rel("b"), Some(Ticket(2))));
        assert_eq!(large.pass(Ticket(3)), None);
        large.note_more();
        let GivenUp { files, ticket, has_more } = large.give_up();
        assert_eq!(
            (files[0].path.clone(), files.len(), ticket, has_more),
            (rel("c"), 1, Some(Ticket(3)), true)
        );
        assert_eq!(large.pass(Ticket(4)), Some(Ticket(4)));
    }

    #[test]
    fn a_barrier_waits_for_files_that_were_not_told() {
        let mut large = LargeQueue::default();
        large.add(vec![rel("a")], Instant::now());
        assert_eq!(large.pass(Ticket(1)), None);
        large.note_more();
        assert_eq!(large.pass(Ticket(2)), None);
        assert_eq!(large.take_more(), None, "one waits");
        large.take();
        assert_eq!(large.sent(), Some(Ticket(1)));
        assert_eq!(large.take_more(), Some(Some(Ticket(2))));
        assert_eq!((large.take_more(), large.pass(Ticket(3))), (None, Some(Ticket(3))));
    }
}
