//! The index of a checkout: which blob each tracked file is, as far as git would not look at the file again.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use bstr::ByteSlice;
use coast_engine::ContentName;
use coast_tree::{ClockStep, FileIdentity, RelPath, Stat, Timestamp, file_stat, regular_file};
use filetime::FileTime;
use gix_hash::Kind;
use gix_index::decode::Options;
use gix_index::entry::{Flags, Mode, Stage};
use gix_index::{Entry, State};

use crate::index_file::entries_alone;

/// The size of the largest index that is used, in bytes: some 300,000 files. The memory that an index takes grows with it.
const MAX_BYTES: u64 = 32 << 20;

/// How long after a file was written its entry must have been written to be believed, where time stamps have nanoseconds.
const FINE_STEP: Duration = Duration::from_millis(20);
/// The same where they have none.
const COARSE_STEP: Duration = Duration::from_secs(2);

/// The files that git tracks in a checkout.
pub(crate) struct TrackedFiles {
    state: State,
    /// When the index was written.
    written: Timestamp,
}

impl TrackedFiles {
    /// Reads the index. `None` if there is none, or none that can be relied on: a damaged one, a large one, one in two files, one with
    /// other names than SHA-1.
    pub(crate) fn read(git_dir: &Path) -> Option<Self> {
        let (content, written) = read(&git_dir.join("index")).ok()?;
        let content = entries_alone(&content)?;
        let options = Options { thread_limit: Some(1), ..Options::default() };
        let (state, _) = State::from_bytes(&content, FileTime::zero(), Kind::Sha1, options).ok()?;
        Some(Self { state, written })
    }

    /// The blob that is the content of a file in the state `stat`, before conversions, if git takes the file for unchanged.
    pub(crate) fn blob(&self, path: &[u8], stat: &Stat) -> Option<ContentName> {
        let entries = self.state.entries();
        let found = entries.binary_search_by(|entry| {
            let other = entry.path(&self.state).as_bytes();
            other.cmp(path).then(entry.stage_raw().cmp(&(Stage::Unconflicted as u32)))
        });
        let entry = &entries[found.ok()?];
        let is_file = matches!(entry.mode, Mode::FILE | Mode::FILE_EXECUTABLE);
        let unsure = Flags::ASSUME_VALID | Flags::SKIP_WORKTREE | Flags::INTENT_TO_ADD;
        if !is_file || entry.flags.intersects(unsure) || !self.is_unchanged(entry, stat) {
            return None;
        }
        Some(ContentName(entry.id.as_slice().try_into().ok()?))
    }

    /// Whether a file is as it was when its entry was made. Stricter than git, which leaves out parts of the status by its settings.
    fn is_unchanged(&self, entry: &Entry, stat: &Stat) -> bool {
        let known = &entry.stat;
        let is_time = |known: gix_index::entry::stat::Time, time: Timestamp| {
            i64::from(known.secs) == time.secs() && known.nsecs == time.nanos()
        };
        // The index keeps 32 bits of each number.
        u64::from(known.size) == stat.size
            && is_time(known.mtime, stat.mtime)
            && is_time(known.ctime, stat.ctime)
            && u64::from(known.ino) == stat.ino & u64::from(u32::MAX)
            && (known.uid, known.gid) == (stat.uid, stat.gid)
            // Git looks again at an entry that it may have made before the last change of the file, by the time of modification.
            && stat.mtime == stat.ctime
            && self.is_settled(stat)
    }

    /// Whether every change of the file after the index was written shows in its status.
    fn is_settled(&self, stat: &Stat) -> bool {
        let step = if stat.mtime.nanos() == 0 && stat.ctime.nanos() == 0 { COARSE_STEP } else { FINE_STEP };
        ClockStep::from_duration(step).settled(&FileIdentity::from(stat), self.written)
    }

    /// The directories whose files of attributes are tracked.
    pub(crate) fn directories_with(&self, name: &[u8]) -> HashSet<RelPath> {
        let directory = |entry: &Entry| {
            let path = entry.path(&self.state).as_bytes();
            match path.strip_suffix(name)?.strip_suffix(b"/") {
                Some(directory) => RelPath::new(directory).ok(),
                None => (path == name).then(RelPath::root),
            }
        };
        self.state.entries().iter().filter_map(directory).collect()
    }
}

/// The content of the index, and when it was written.
fn read(path: &Path) -> io::Result<(Vec<u8>, Timestamp)> {
    let file: File = regular_file::open(path)?;
    let stat = file_stat(&file)?;
    Ok((regular_file::read_opened(file, MAX_BYTES)?, stat.mtime.min(stat.ctime)))
}
