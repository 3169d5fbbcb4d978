//! Deleted entries that move to the trash, because no run had put them there or they were changed there since.

use std::io;
use std::sync::Mutex;
use std::time::SystemTime;

use coast_tree::state::{Batch, Trash};
use coast_tree::{DirHandle, LockExt, Name, RelPath, Root, Stat};

use crate::cache::Remember;

/// The batch of the trash that a run fills.
pub(super) struct Discards {
    state: DirHandle,
    root: Root,
    /// Whether batches of earlier runs go even if this run discards nothing.
    prunes: bool,
    /// None before the first entry. No other lock is taken while it is held, but for that of the batch.
    batch: Mutex<Option<Batch>>,
}

impl Discards {
    /// No batch yet. `state` is the private state directory.
    pub(super) fn new(state: DirHandle, root: Root, remember: Remember) -> Self {
        Self { state, root, prunes: remember == Remember::Everything, batch: Mutex::new(None) }
    }

    /// Moves an entry to the trash. See [`Batch::put`].
    pub(super) fn put(&self, parent: &RelPath, dir: &DirHandle, name: &Name, stat: &Stat) -> io::Result<()> {
        self.with_batch(|batch| batch.put(parent, dir, name, stat))
    }

    /// Keeps a file that is about to be replaced. See [`Batch::keep`].
    pub(super) fn keep(&self, parent: &RelPath, dir: &DirHandle, name: &Name, stat: &Stat) -> io::Result<()> {
        self.with_batch(|batch| batch.keep(parent, dir, name, stat))
    }

    /// Makes a directory in the trash like the one at `path`.
    pub(super) fn put_directory(&self, path: &RelPath) -> io::Result<()> {
        self.with_batch(|batch| batch.put_directory(path))
    }

    fn with_batch<T>(&self, put: impl FnOnce(&Batch) -> io::Result<T>) -> io::Result<T> {
        let mut slot = self.batch.enter();
        let batch = match &mut *slot {
            Some(batch) => batch,
            none => none.insert(Trash::make(&self.state)?.begin(seconds_now(), &self.root)?),
        };
        put(batch)
    }

    /// Ends the batch, and removes batches of earlier runs that are too old, or together too large.
    pub(super) fn finish(&self) -> io::Result<()> {
        match self.batch.enter().take() {
            Some(batch) => batch.finish(),
            None if self.prunes => {
                Trash::open(&self.state)?.map_or(Ok(()), |trash| trash.prune(seconds_now()))
            }
            None => Ok(()),
        }
    }
}

/// Seconds since the epoch.
fn seconds_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
