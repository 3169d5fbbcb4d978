//! Changes to files with several links. The kernel reports the name that a program used, and the file changes under all of its names.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Files with several links that changed, whose other names were not looked for yet.
///
/// To look for them, all directories are listed: 30 ms for 84,000 entries. This is done once for all files that changed in the meantime,
/// and takes at most a tenth of the time.
#[derive(Debug, Default)]
pub(super) struct LinkedFiles {
    inodes: HashSet<u64>,
    not_before: Option<Instant>,
}

impl LinkedFiles {
    pub(super) fn note(&mut self, inode: u64) {
        self.inodes.insert(inode);
    }

    /// When names are to be looked for.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        (!self.inodes.is_empty()).then(|| self.not_before.unwrap_or(now))
    }

    /// The files whose names are looked for now.
    pub(super) fn take(&mut self) -> HashSet<u64> {
        std::mem::take(&mut self.inodes)
    }

    /// Notes that a search took this long.
    pub(super) fn searched(&mut self, now: Instant, took: Duration) {
        self.not_before = Some(now + 10 * took);
    }
}
