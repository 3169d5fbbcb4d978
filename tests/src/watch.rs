//! Waiting for a change on the disk. The kernel reports changes, so nothing sleeps.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// The default limit of a wait.
const LIMIT: Duration = Duration::from_secs(60);

/// A watch on all changes below a directory.
pub struct Watch {
    events: OwnedFd,
    root: PathBuf,
    limit: Duration,
}

impl Watch {
    /// Watches a directory, all directories below it, and directories that are made there later.
    ///
    /// # Panics
    /// When the kernel has no inotify.
    #[must_use]
    pub fn below(root: impl AsRef<Path>) -> Self {
        let events =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("the kernel has inotify");
        Self { events, root: root.as_ref().into(), limit: LIMIT }
    }

    /// Sets the limit of a wait.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Returns as soon as `happened` returns true. It is called at once and after each change.
    ///
    /// # Panics
    /// When it does not return true within the limit, which is a minute by default.
    #[track_caller]
    pub fn until(&self, what: &str, happened: impl Fn() -> bool) {
        let started = Instant::now();
        loop {
            // The directories are watched before `happened` is called, so no change falls between the two.
            self.watch(&self.root);
            if happened() {
                return;
            }
            let left = self.limit.checked_sub(started.elapsed());
            let left = left.unwrap_or_else(|| panic!("waited {:?} for {what}", self.limit));
            let left = Timespec::try_from(left).expect("such a time fits");
            match poll(&mut [PollFd::new(&self.events, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => self.drain(),
                Err(error) => panic!("wait for {what}: {error}"),
            }
        }
    }

    fn watch(&self, directory: &Path) {
        let changes = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB;
        // A directory that has been removed needs no watch, and the watch of its parent reports the removal.
        if inotify::add_watch(&self.events, directory, changes).is_ok()
            && let Ok(children) = fs::read_dir(directory)
        {
            let directories =
                children.flatten().filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir()));
            directories.for_each(|child| self.watch(&child.path()));
        }
    }

    fn drain(&self) {
        let mut buffer = [0; 4096];
        while rustix::io::read(&self.events, &mut buffer).is_ok_and(|read| read > 0) {}
    }
}
