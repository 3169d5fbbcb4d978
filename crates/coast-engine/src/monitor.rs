//! Events and counters of a run, told through a trait, so that the engine never prints.

use std::sync::atomic::{AtomicU64, Ordering};

use coast_wire::{Event, Ready};

/// Watches a run. Methods are called from several threads, unless they say otherwise, and must return quickly.
pub trait Monitor: Sync {
    /// Something happened to a path, or to the run.
    fn event(&self, event: &Event<'_>) {
        let _ = event;
    }

    /// The counters that the run keeps up to date; called once, before anything else.
    fn started(&self, progress: &std::sync::Arc<Progress>) {
        let _ = progress;
    }

    /// Called with the receiver's account of itself, before it changes anything. Called on the thread that called [`send`](crate::send),
    /// and never by a receiver.
    fn ready(&self, ready: &Ready) {
        let _ = ready;
    }
}

/// A monitor that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct VoidMonitor;

impl Monitor for VoidMonitor {}

/// Counters of a run as it goes on; read them at any time.
#[derive(Debug, Default)]
pub struct Progress {
    /// Entries of any kind offered so far.
    pub offered_entries: AtomicU64,
    /// Size of the files offered so far, in bytes.
    pub offered_bytes: AtomicU64,
    /// Whether the whole source was walked, so that the two above are final: 0 or 1.
    pub walk_done: AtomicU64,
    /// Entries of settled parts so far.
    pub settled_entries: AtomicU64,
    /// Size of the files of settled parts so far, in bytes.
    pub settled_bytes: AtomicU64,
    /// Bytes of files read to be sent so far (before compression).
    pub sent_bytes: AtomicU64,
    /// Bytes written to the stream.
    pub wire_sent_bytes: AtomicU64,
    /// Bytes read from the stream.
    pub wire_received_bytes: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
