//! Changes to files with several links. The kernel reports the name that a program used, and the file changes under all of its names.
//!
//! # Names that are gone
//! The event of a change has a name, and the file is found by it. If the name was removed, or given to another file, before the
//! event is read, it is not known which file changed. Then all files count that changed since the queue was empty, by the time of
//! their last change (ctime). A file with one link counts too: the other one may be the name that was removed. Such a name leads to
//! nothing, or it leads to another file. The second case shows in a later event of the same name, which is in the queue before the
//! name is looked up; so the names that changed are kept until the queue was empty.
//!
//! A name that was made since the last batch is taken for that of a new file: most programs save by a temporary file. A file that
//! gets a second name, changes under it, and loses it again at once is found by the next comparison only.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use coast_tree::{RelPath, Timestamp};

/// How much the clock of a file system may be behind that of the system, in seconds. It is some milliseconds behind.
const CLOCK_SLACK: i64 = 1;

/// Files with several links that changed, whose other names were not looked for yet.
///
/// To look for them, all directories are listed: 30 ms for 84,000 entries. This is done once for all files that changed in the
/// meantime, and takes at most a tenth of the time.
#[derive(Debug)]
pub(super) struct LinkedFiles {
    changed: Changed,
    /// Names under which files changed, since the queue was empty for the last time but one.
    recent: HashSet<RelPath>,
    /// Those since it was empty for the last time.
    latest: HashSet<RelPath>,
    /// When the queue was empty: the last time but one, and the last time.
    was_empty: (Timestamp, Timestamp),
    not_before: Option<Instant>,
}

/// Which files changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    inodes: HashSet<u64>,
    /// Others that changed since then are not known.
    since: Option<Timestamp>,
}

impl Changed {
    fn is_empty(&self) -> bool {
        self.inodes.is_empty() && self.since.is_none()
    }

    /// Whether a file is among them. `last_change` looks up when the file changed last.
    pub(super) fn has(&self, inode: u64, last_change: impl FnOnce() -> Option<Timestamp>) -> bool {
        self.inodes.contains(&inode) || self.since.is_some_and(|since| last_change() >= Some(since))
    }

    fn unknown_since(&mut self, time: Timestamp) {
        let since = Timestamp::new(time.secs().saturating_sub(CLOCK_SLACK), time.nanos());
        self.since = Some(self.since.map_or(since, |before| before.min(since)));
    }
}

impl LinkedFiles {
    /// No file has changed yet, and the queue is empty.
    pub(super) fn new() -> Self {
        let now = Timestamp::now();
        Self {
            changed: Changed::default(),
            recent: HashSet::new(),
            latest: HashSet::new(),
            was_empty: (now, now),
            not_before: None,
        }
    }

    /// A file changed that has several links.
    pub(super) fn note(&mut self, inode: u64) {
        self.changed.inodes.insert(inode);
    }

    /// A file changed that is not known.
    pub(super) fn note_unknown(&mut self) {
        self.changed.unknown_since(self.was_empty.0);
    }

    /// A file was looked up by a name under which a file changed.
    pub(super) fn looked_up(&mut self, path: RelPath) {
        self.latest.insert(path);
    }

    /// A name was given to another file. What was looked up by it may have been that one already.
    pub(super) fn replaced(&mut self, path: &RelPath) {
        if self.recent.contains(path) || self.latest.contains(path) {
            self.note_unknown();
        }
    }

    /// The queue was empty, and was asked at this time. All events are read that were in it when names were looked up before.
    pub(super) fn queue_is_empty(&mut self, asked: Timestamp) {
        self.recent = std::mem::take(&mut self.latest);
        self.was_empty = (self.was_empty.1, asked);
    }

    /// When names are to be looked for.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        (!self.changed.is_empty()).then(|| self.not_before.unwrap_or(now))
    }

    /// The files whose names are looked for now. `None` if there are none.
    pub(super) fn take(&mut self) -> Option<Changed> {
        Some(std::mem::take(&mut self.changed)).filter(|changed| !changed.is_empty())
    }

    /// Notes that a search took this long.
    pub(super) fn searched(&mut self, now: Instant, took: Duration) {
        self.not_before = Some(now + 10 * took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_given_away_after_a_change_leaves_the_changed_file_unknown() {
        let path = RelPath::new(b"a").unwrap();
        let mut links = LinkedFiles::new();
        links.replaced(&path);
        assert!(links.take().is_none(), "nothing changed under the name");
        for times_empty in 0..3 {
            links.looked_up(path.clone());
            for _ in 0..times_empty {
                links.queue_is_empty(Timestamp::now());
            }
            links.replaced(&path);
            assert_eq!(links.take().is_some(), times_empty < 2);
        }
    }

    #[test]
    fn a_file_is_known_by_its_number_or_else_by_the_time_of_its_change() {
        let mut links = LinkedFiles::new();
        links.note(7);
        let changed = links.take().unwrap();
        assert!(changed.has(7, || None) && !changed.has(8, || Some(Timestamp::now())));
        links.note_unknown();
        let changed = links.take().unwrap();
        let long_ago = Timestamp::new(Timestamp::now().secs() - 3600, 0);
        assert!(changed.has(8, || Some(Timestamp::now())));
        assert!(!changed.has(8, || Some(long_ago)) && !changed.has(8, || None));
    }
}
