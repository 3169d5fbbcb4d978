//! What the queue of any system reports.

use coast_tree::Name;

/// The kernel's number of a watch. A queue never gives a number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WatchNumber(pub(super) i32);

/// One event of the queue.
#[derive(Debug)]
pub(super) enum Event {
    /// Something happened to an entry of a watched directory.
    Entry { watch: WatchNumber, name: Name, is_directory: bool, happened: Happened },
    /// Something happened to a path, relative to the worktree. Reported by systems that do not tell what it was.
    #[cfg(not(target_os = "linux"))]
    Path(coast_tree::RelPath),
    /// A watched directory was moved.
    #[cfg(target_os = "linux")]
    Moved(WatchNumber),
    /// A watch ended, because its directory was removed or because it was taken away.
    WatchEnded(WatchNumber),
    /// A file system with a watched directory was unmounted.
    #[cfg(target_os = "linux")]
    Unmounted,
    /// Events were lost.
    Overflow,
}

/// What happened to an entry. The two halves of a rename have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    Created,
    Written,
    Closed,
    Attributes,
    Deleted,
    /// It is gone. If it was a directory, nothing was reported of what was in it.
    Vanished,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux pairs the halves"))]
    MovedFrom(u32),
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux pairs the halves"))]
    MovedTo(u32),
}
