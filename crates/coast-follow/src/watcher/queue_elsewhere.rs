//! The queue of systems other than Linux, by the crate `notify`. These systems tell that a path changed, and neither when a writer
//! closes a file nor which two paths are the halves of a rename.

use std::collections::VecDeque;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use coast_tree::{DirHandle, LockExt, Name, RelPath};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::event::{Event, Happened, WatchNumber};

/// The queue. Watches may be added from several threads; one thread reads.
#[derive(Debug)]
pub(super) struct Queue {
    notify: Mutex<RecommendedWatcher>,
    tops: Mutex<Vec<Top>>,
    messages: Mutex<Receiver<Message>>,
    /// Messages that a wait has received.
    received: Mutex<VecDeque<Message>>,
    sender: Sender<Message>,
    next_number: AtomicI32,
}

/// A directory that was asked to be watched. Everything below the worktree is watched with it.
#[derive(Debug)]
struct Top {
    path: PathBuf,
    watch: WatchNumber,
    is_worktree: bool,
}

#[derive(Debug)]
enum Message {
    Event(notify::Result<notify::Event>),
    Wake,
}

/// Ends the wait of the thread that reads the queue.
#[derive(Debug, Clone)]
pub(super) struct Waker(Sender<Message>);

impl Waker {
    pub(super) fn wake(&self) {
        // Fails when the reader has ended.
        let _ = self.0.send(Message::Wake);
    }
}

impl Queue {
    pub(super) fn open() -> io::Result<Self> {
        let (sender, messages) = channel();
        let events = sender.clone();
        let notify = notify::recommended_watcher(move |event| {
            // Fails when the reader has ended.
            let _ = events.send(Message::Event(event));
        });
        Ok(Self {
            notify: Mutex::new(notify.map_err(io::Error::other)?),
            tops: Mutex::default(),
            messages: Mutex::new(messages),
            received: Mutex::default(),
            sender,
            next_number: AtomicI32::new(0),
        })
    }

    pub(super) fn waker(&self) -> Waker {
        Waker(self.sender.clone())
    }

    /// Watches the worktree and everything below it. Excluded directories cannot be left out; their events are dropped.
    pub(super) fn watch_root(&self, _: &DirHandle, path: &Path) -> io::Result<WatchNumber> {
        self.watch_top(path, true)
    }

    /// Watches a directory outside of the worktree.
    pub(super) fn watch(&self, _: &DirHandle, path: &Path) -> io::Result<WatchNumber> {
        self.watch_top(path, false)
    }

    /// A subdirectory of the worktree is watched with it, and only needs a number.
    pub(super) fn watch_child(&self, _: &DirHandle, _: &Name) -> io::Result<WatchNumber> {
        Ok(self.new_number())
    }

    pub(super) fn unwatch(&self, _: WatchNumber) {}

    fn new_number(&self) -> WatchNumber {
        WatchNumber(self.next_number.fetch_add(1, Ordering::Relaxed))
    }

    fn watch_top(&self, path: &Path, is_worktree: bool) -> io::Result<WatchNumber> {
        // Events have paths without symlinks.
        let path = path.canonicalize()?;
        let mut tops = self.tops.enter();
        if let Some(top) = tops.iter().find(|top| top.path == path) {
            return Ok(top.watch);
        }
        let mode = if is_worktree { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        self.notify.enter().watch(&path, mode).map_err(io::Error::other)?;
        let watch = self.new_number();
        tops.push(Top { path, watch, is_worktree });
        Ok(watch)
    }

    /// Waits until there are events, [`Waker::wake`] was called, or the time is over. `None` waits for ever.
    pub(super) fn wait(&self, time: Option<Duration>) -> io::Result<()> {
        let received = match time {
            Some(time) => self.messages.enter().recv_timeout(time),
            None => self.messages.enter().recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(message) => self.received.enter().push_back(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the watch ended")),
        }
        Ok(())
    }

    /// Reads the events that are there, without waiting. Returns whether there were any.
    pub(super) fn read(&self, mut take: impl FnMut(Event)) -> io::Result<bool> {
        let mut messages: Vec<Message> = self.received.enter().drain(..).collect();
        messages.extend(self.messages.enter().try_iter());
        let any = !messages.is_empty();
        for message in messages {
            match message {
                Message::Wake => {}
                Message::Event(Ok(event)) if !event.need_rescan() => {
                    event.paths.iter().for_each(|path| self.translate(path, &mut take));
                }
                Message::Event(_) => take(Event::Overflow),
            }
        }
        Ok(any)
    }

    fn translate(&self, path: &Path, take: &mut impl FnMut(Event)) {
        for top in self.tops.enter().iter() {
            let Ok(below) = path.strip_prefix(&top.path) else { continue };
            let below = below.as_os_str().as_bytes();
            if top.is_worktree {
                if let Ok(path) = RelPath::new(below) {
                    take(Event::Path(path));
                }
            } else if let Ok(name) = Name::new(below) {
                let exists = path.symlink_metadata().is_ok();
                let happened = if exists { Happened::Created } else { Happened::Deleted };
                take(Event::Entry { watch: top.watch, name, is_directory: false, happened });
            } else if below.is_empty() && !path.exists() {
                take(Event::WatchEnded(top.watch));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_below_the_worktree_has_its_path() {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = scratch.path().canonicalize().unwrap();
        let queue = Queue::open().unwrap();
        let dir = coast_tree::Root::open(&worktree).unwrap().handle();
        queue.watch_root(&dir, &worktree).unwrap();
        std::fs::write(worktree.join("file"), "").unwrap();
        let mut found = false;
        while !found {
            queue.wait(None).unwrap();
            queue
                .read(|event| found |= matches!(event, Event::Path(path) if path.as_bytes() == b"file"))
                .unwrap();
        }
    }
}
