//! Holds back the calls to a monitor until there is a connection. The run begins earlier, and the user may be asked for a passphrase
//! meanwhile.

use std::sync::{Arc, Mutex, OnceLock};

use coast_engine::{Monitor, Progress};
use coast_ssh::{Prompt, Session};
use coast_tree::LockExt;
use coast_wire::{Event, Ready};

/// A monitor that passes events and counters on as soon as there is a connection, and drops them if none can be made. It warns if the
/// helper runs as root and is not confined, before the helper changes anything.
pub(super) struct HeldMonitor<'a> {
    inner: &'a dyn Monitor,
    prompt: &'a dyn Prompt,
    session: &'a OnceLock<Session>,
    /// The counters of a run that has begun, until the inner monitor gets them. `is_released` is set while this is locked.
    begun: Mutex<Option<Arc<Progress>>>,
    /// Empty while calls are held back.
    is_released: OnceLock<bool>,
}

/// Drops what a monitor holds back when it is dropped itself, unless that was released.
pub(super) struct DiscardAtEnd<'a>(&'a HeldMonitor<'a>);

impl Drop for DiscardAtEnd<'_> {
    fn drop(&mut self) {
        self.0.decide(false);
    }
}

impl<'a> HeldMonitor<'a> {
    pub(super) fn new(
        inner: &'a dyn Monitor,
        prompt: &'a dyn Prompt,
        session: &'a OnceLock<Session>,
    ) -> Self {
        Self { inner, prompt, session, begun: Mutex::default(), is_released: OnceLock::new() }
    }

    /// There is a connection.
    pub(super) fn release(&self) {
        self.decide(true);
    }

    /// There will be no connection, if none is there when the answer is dropped.
    pub(super) fn discard_at_end(&self) -> DiscardAtEnd<'_> {
        DiscardAtEnd(self)
    }

    fn decide(&self, releases: bool) {
        let mut begun = self.begun.enter();
        if self.is_released.get().is_some() {
            return;
        }
        if let Some(progress) = begun.take()
            && releases
        {
            self.inner.started(&progress);
        }
        self.is_released.get_or_init(|| releases);
    }
}

impl Monitor for HeldMonitor<'_> {
    /// Waits for the connection. [`Monitor`] asks for calls that return quickly, but without a connection the run cannot send anything.
    fn event(&self, event: &Event<'_>) {
        if *self.is_released.wait() {
            self.inner.event(event);
        }
    }

    fn started(&self, progress: &Arc<Progress>) {
        let mut begun = self.begun.enter();
        match self.is_released.get() {
            Some(true) => self.inner.started(progress),
            Some(false) => {}
            None => *begun = Some(Arc::clone(progress)),
        }
    }

    fn ready(&self, ready: &Ready) {
        // The system restricts every other user to the files of that user.
        if ready.uid == 0
            && !ready.confined
            && let Some(session) = self.session.get()
        {
            self.prompt.notice(&format!(
                "{}: the kernel has no landlock (Linux has it since 5.19, if it is turned on); the helper runs as root, and only \
                 its own checks keep it inside the workspace",
                session.host()
            ));
        }
        self.inner.ready(ready);
    }
}

#[cfg(test)]
mod tests {
    use coast_ssh::NoPrompt;

    use super::*;

    /// The calls that reached it.
    #[derive(Default)]
    struct Calls(Mutex<Vec<&'static str>>);

    impl Monitor for Calls {
        fn event(&self, _: &Event<'_>) {
            self.0.enter().push("event");
        }

        fn started(&self, _: &Arc<Progress>) {
            self.0.enter().push("started");
        }
    }

    /// What reaches a monitor of a run that begins and has an event, when the connection is made or not.
    fn calls(connects: bool) -> Vec<&'static str> {
        let (inner, session) = (Calls::default(), OnceLock::new());
        let held = HeldMonitor::new(&inner, &NoPrompt, &session);
        std::thread::scope(|scope| {
            let undecided = held.discard_at_end();
            scope.spawn(|| {
                held.started(&Arc::default());
                held.event(&Event::Notice { text: "early" });
            });
            while held.begun.enter().is_none() {
                std::thread::yield_now();
            }
            assert!(inner.0.enter().is_empty());
            if connects {
                held.release();
            }
            drop(undecided);
        });
        inner.0.into_inner().unwrap()
    }

    #[test]
    fn counters_and_then_events_pass_when_there_is_a_connection() {
        assert_eq!(calls(true), ["started", "event"]);
    }

    #[test]
    fn nothing_passes_if_there_is_no_connection() {
        assert!(calls(false).is_empty());
    }

    #[test]
    fn calls_after_the_connection_pass_at_once() {
        let (inner, session) = (Calls::default(), OnceLock::new());
        let held = HeldMonitor::new(&inner, &NoPrompt, &session);
        held.release();
        held.started(&Arc::default());
        held.event(&Event::Notice { text: "late" });
        assert_eq!(*inner.0.enter(), ["started", "event"]);
    }
}
