//! How a run is stopped from outside, and how its threads stop each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use coast_tree::{LockExt, Patience};

/// Stops a run: cheap to clone, safe to use from a signal-handling thread.
#[derive(Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    hooks: Mutex<Hooks>,
}

#[derive(Default)]
struct Hooks {
    next: u64,
    waiting: BTreeMap<u64, Box<dyn Fn() + Send>>,
}

/// Keeps a hook in force for as long as this lives: a token may see many runs, whose streams it must
/// not keep open.
#[must_use = "what is to happen on cancellation is forgotten when this is dropped"]
pub struct CancelHook {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for CancelHook {
    fn drop(&mut self) {
        // Dropping the hook may take long, or drop hooks of its own, so it is not done under the lock.
        let hook = self.shared.hooks.enter().waiting.remove(&self.number);
        drop(hook);
    }
}

impl std::fmt::Debug for CancelHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelHook").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancel").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

impl Cancel {
    /// A token that nothing has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }

    /// Stops the run. Threads that wait for the stream are woken by the hooks.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Release);
        for hook in self.shared.hooks.enter().waiting.values() {
            hook();
        }
    }

    /// Adds what ends a wait for the stream, such as closing the channel, for as long as the answer lives. Runs at once if
    /// already cancelled.
    pub fn on_cancel(&self, hook: impl Fn() + Send + 'static) -> CancelHook {
        let mut hooks = self.shared.hooks.enter();
        if self.is_cancelled() {
            hook();
        }
        let number = hooks.next;
        hooks.next += 1;
        hooks.waiting.insert(number, Box::new(hook));
        CancelHook { shared: Arc::clone(&self.shared), number }
    }
}

impl Patience for Cancel {
    fn wait(&self, time: Duration) -> bool {
        if !self.is_cancelled() {
            thread::sleep(time);
        }
        !self.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn a_hook_is_forgotten_with_what_stands_for_it() {
        let cancel = Cancel::new();
        let called = Arc::new(AtomicU32::new(0));
        let hook = |amount| {
            let called = Arc::clone(&called);
            cancel.on_cancel(move || {
                called.fetch_add(amount, Ordering::Relaxed);
            })
        };
        let (_kept, dropped) = (hook(1), hook(10));
        drop(dropped);
        assert_eq!(Arc::strong_count(&called), 2, "what a dropped hook holds is gone");
        cancel.cancel();
        assert_eq!(called.load(Ordering::Relaxed), 1);
        let _late = hook(100);
        assert_eq!(called.load(Ordering::Relaxed), 101, "what comes too late happens at once");
    }
}
