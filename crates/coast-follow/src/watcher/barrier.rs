//! Barriers: files in a private directory that the queue of the worktree watches as well.
//!
//! # Why a barrier orders
//! The kernel puts an event into the queue during the system call that causes it: a write before `write` returns, a close before
//! `close` returns, or before the process ends. All watches of one queue share one list, and an event is added at its end. An event
//! that is merged with an equal one is merged with the last event only. So when a program saves a file and then asks for a barrier,
//! the events of the file come before the creation of the barrier's file. The reader handles events in their order: when it sees
//! the barrier's file, it has noted the save.
//!
//! Two things are not in this order, and are caught up when the barrier's file is seen, before the barrier counts as reached: scanned
//! directories are scanned, and other names of changed files with several links are looked for. If events were lost, the file of a
//! barrier may be among them. The whole tree is compared then, and all barriers that were asked for before count as reached.
//!
//! The file is never in the worktree: other programs that watch the worktree see nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use coast_tree::{Name, Root};
use tempfile::TempDir;

use super::event::WatchNumber;
use super::queue::Queue;
use crate::batch::Ticket;

/// The names of private directories begin with this.
const PREFIX: &str = "coast-barrier-";

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Barriers {
    /// Where the private directory is made.
    place: PathBuf,
    private: TempDir,
    watch: WatchNumber,
    issued: u64,
    reached: u64,
}

impl Barriers {
    pub(super) fn new(queue: &Queue, place: &Path) -> io::Result<Self> {
        let (private, watch) = private_directory(queue, place)?;
        Ok(Self { place: place.to_owned(), private, watch, issued: 0, reached: 0 })
    }

    /// Makes the file of a new barrier.
    pub(super) fn issue(&mut self) -> io::Result<Ticket> {
        self.issued += 1;
        File::create_new(self.private.path().join(self.issued.to_string()))?;
        Ok(Ticket(self.issued))
    }

    /// Whether a watch is that of the private directory.
    pub(super) fn is_watched_by(&self, watch: WatchNumber) -> bool {
        self.watch == watch
    }

    /// Notes that the file `name` was made. Returns the barrier that is reached, if it is one and was not reached before.
    pub(super) fn reach(&mut self, name: &Name) -> Option<Ticket> {
        let number: u64 = std::str::from_utf8(name.as_bytes()).ok()?.parse().ok()?;
        // Whoever asked for a barrier is not told if the file stays: it is removed with its directory.
        let _ = fs::remove_file(self.private.path().join(number.to_string()));
        self.reach_up_to(number)
    }

    /// The last barrier that was asked for.
    pub(super) fn issued(&self) -> u64 {
        self.issued
    }

    /// The last barrier that was reached.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn reached(&self) -> Ticket {
        Ticket(self.reached)
    }

    /// Notes that all barriers up to this one are reached. Returns it if it was not reached before.
    pub(super) fn reach_up_to(&mut self, number: u64) -> Option<Ticket> {
        if number <= self.reached || number > self.issued {
            return None;
        }
        self.reached = number;
        Some(Ticket(number))
    }

    /// Makes a new private directory, in place of one that was removed.
    pub(super) fn renew(&mut self, queue: &Queue) -> io::Result<()> {
        (self.private, self.watch) = private_directory(queue, &self.place)?;
        Ok(())
    }
}

/// Removes the private directories that killed processes have left in `place`. The caller knows that no other process has a watcher
/// with its private directory there, and has none itself yet.
///
/// # Errors
/// When `place` cannot be listed, or one of them cannot be removed.
pub fn remove_abandoned_barriers(place: &Path) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if is_ours && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn private_directory(queue: &Queue, place: &Path) -> io::Result<(TempDir, WatchNumber)> {
    let private = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place)?;
    let watch = queue.watch(&Root::open(private.path())?.handle(), private.path())?;
    Ok((private, watch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_barriers_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let abandoned = place.path().join(format!("{PREFIX}abc"));
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join("1"), "").unwrap();
        fs::create_dir(place.path().join("other")).unwrap();
        fs::write(place.path().join(format!("{PREFIX}file")), "").unwrap();
        remove_abandoned_barriers(place.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [format!("{PREFIX}file").as_str(), "other"]);
    }
}
