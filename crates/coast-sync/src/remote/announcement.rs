//! What the monitor of a run learns, and when: the run begins before there is a connection, and the user may be asked for a passphrase
//! meanwhile.

use std::sync::{Arc, Mutex, OnceLock};

use coast_engine::{Monitor, Progress};
use coast_ssh::{Prompt, Session};
use coast_tree::LockExt;
use coast_wire::{Event, Ready};

/// A monitor that passes every call on once there is a connection, and none if there will be no connection. It warns if the helper
/// runs as root and is not confined, before the helper changes anything.
pub(super) struct Announcement<'a> {
    inner: &'a dyn Monitor,
    prompt: &'a dyn Prompt,
    session: &'a OnceLock<Session>,
    /// The counters of a run that has begun, until the inner monitor gets them. `connected` is set while this is locked.
    begun: Mutex<Option<Arc<Progress>>>,
    connected: OnceLock<bool>,
}

impl<'a> Announcement<'a> {
    pub(super) fn new(
        inner: &'a dyn Monitor,
        prompt: &'a dyn Prompt,
        session: &'a OnceLock<Session>,
    ) -> Self {
        Self { inner, prompt, session, begun: Mutex::default(), connected: OnceLock::new() }
    }

    /// There is a connection, or there will be none.
    pub(super) fn decide(&self, connected: bool) {
        let mut begun = self.begun.enter();
        if let Some(progress) = begun.take()
            && connected
        {
            self.inner.started(&progress);
        }
        // Nobody else decides.
        let _ = self.connected.set(connected);
    }
}

impl Monitor for Announcement<'_> {
    /// Waits until there is a connection.
    fn event(&self, event: &Event<'_>) {
        if *self.connected.wait() {
            self.inner.event(event);
        }
    }

    fn started(&self, progress: &Arc<Progress>) {
        let mut begun = self.begun.enter();
        match self.connected.get() {
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
