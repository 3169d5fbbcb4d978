//! Has every instance follow its worktree whose record says that it should. The reconciler restores the instances when the daemon
//! starts, and mends an instance that no longer follows.
//!
//! Only commands change a record, and each of them tells the daemon afterwards. A follower of the native layer mends its own
//! connection; a session of mutagen is checked every half minute.
//!
//! A native instance is restored by [`Lifecycle::resume`]: nobody has asked for a transfer, so its follower carries everything by the
//! rules of its batches, and replaces nothing that the remote has changed. An instance of mutagen, and a native instance whose last
//! transfer failed, is restored by [`Lifecycle::start`], as by `coast start`. Both take the lock of the instance, delete only entries
//! that transfers and sessions have put on the remote, and refuse a worktree that is gone, is empty or was replaced.

mod broken;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::{Host, Remotes};
use crate::{DaemonEvent, InstanceSummary};
use coast_instance::{
    Activity, Coastfile, CoastfileChoice, Continuous, ContinuousError, ContinuousStatus, Failure,
    FollowOptions, Followers, Insist, InstanceId, Layer, Layers, Lifecycle, MutagenLayer, NativeLayer,
    Observer, Places, Record, Records, RemoteBulk, Resumed, Retry, Scope,
};
use coast_sync::{AcceptedKey, Cancel, HostAnswer, Monitor, NoPrompt, PresentedKey, Prompt, Zeroizing};
use coast_tree::{LockExt, LockResultExt};
use tokio::sync::broadcast;

use broken::{BrokenInstances, FailedAttempt, Health};

/// How often the sessions of mutagen are checked. A check runs a program in the container.
const MUTAGEN_EVERY: Duration = Duration::from_secs(30);

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Reconciler(Arc<Shared>);

struct Shared {
    places: Places,
    host: Host,
    remotes: Remotes,
    /// Gets each change of an attempt.
    events: broadcast::Sender<DaemonEvent>,
    cancel: Cancel,
    /// No other lock of this process is taken while it is held.
    state: Mutex<Reconciling>,
    /// Notified when `state` changed.
    changed: Condvar,
}

#[derive(Default)]
struct Reconciling {
    /// Whether the records are to be read again.
    rereads_records: bool,
    /// Whether all records have been read, and the first attempts that they ask for have begun.
    has_read_records: bool,
    /// Whether the daemon ends.
    ends: bool,
    broken: BrokenInstances,
}

impl Reconciler {
    pub(crate) fn new(
        places: Places,
        host: Host,
        remotes: Remotes,
        events: broadcast::Sender<DaemonEvent>,
    ) -> Self {
        let state = Mutex::new(Reconciling { rereads_records: true, ..Reconciling::default() });
        let cancel = Cancel::new();
        Self(Arc::new(Shared { places, host, remotes, events, cancel, state, changed: Condvar::new() }))
    }

    /// Starts the thread that reads the records and has what is broken mended.
    pub(crate) fn start(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.0);
        thread::Builder::new().name("coastd-mend".to_owned()).spawn(move || shared.run())?;
        Ok(())
    }

    /// Has the records read again, because a command has changed one.
    pub(crate) fn reread_records(&self) {
        self.0.change(|state| state.rereads_records = true);
    }

    /// Has every broken instance tried at once: the machine woke up, the network changed, or a passphrase was typed.
    pub(crate) fn retry_now(&self) {
        self.0.change(|state| {
            state.rereads_records = true;
            state.broken.retry_at(Instant::now());
        });
    }

    /// Ends the attempts under way, and waits until they have ended.
    pub(crate) fn end(&self) {
        self.0.cancel.cancel();
        self.0.change(|state| state.ends = true);
        let state = self.0.state.enter();
        drop(self.0.changed.wait_while(state, |state| state.broken.has_attempt_under_way()).even_poisoned());
    }

    /// Waits for the first attempt to have an instance follow, if one is about to begin or under way. A command that comes while
    /// the daemon starts finds the instance as it was before.
    ///
    /// # Errors
    /// The reason why the instance does not follow, if an attempt has failed.
    pub(crate) fn await_attempt(&self, id: &InstanceId, cancel: &Cancel) -> Result<(), ContinuousError> {
        let shared = Arc::downgrade(&self.0);
        let _hook = cancel.on_cancel(move || {
            if let Some(shared) = shared.upgrade() {
                shared.change(|_| ());
            }
        });
        let awaits = |state: &mut Reconciling| {
            let is_coming = !state.has_read_records || state.broken.awaits_attempt(id);
            is_coming && !state.ends && !cancel.is_cancelled()
        };
        let state = self.0.changed.wait_while(self.0.state.enter(), awaits).even_poisoned();
        match state.broken.error(id) {
            Some(error) => Err(Failure::new(Failure::SESSION, "having edits follow again", error).into()),
            None => Ok(()),
        }
    }

    /// The instances that should follow.
    pub(crate) fn summaries(&self) -> Vec<InstanceSummary> {
        let summary = |record: Record| {
            let id = record.id();
            let mending = self.mending(&id);
            let continuous = match record.layer {
                Layer::Native => self.0.host.status(&id, &self.0.cancel).ok(),
                Layer::Mutagen => None,
            };
            InstanceSummary { id, layer: record.layer, continuous, mending }
        };
        self.0.should_follow().into_iter().map(summary).collect()
    }

    /// The state of an instance of the native layer: of its follower, or of the next attempt to restore it.
    pub(crate) fn status(
        &self,
        id: &InstanceId,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        let mut status = self.0.host.status(id, cancel)?;
        if status.activity == Activity::Absent
            && let Some(retry) = self.mending(id)
        {
            (status.activity, status.retry) = (Activity::Connecting, Some(retry));
        }
        Ok(status)
    }

    /// The next attempt to mend an instance; `None` if there is nothing to mend.
    pub(crate) fn mending(&self, id: &InstanceId) -> Option<Retry> {
        self.0.state.enter().broken.retry(id, Instant::now())
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Reconciling) -> T) -> T {
        let changed = change(&mut self.state.enter());
        self.changed.notify_all();
        changed
    }

    fn run(self: Arc<Self>) {
        let mut last_check: Option<Instant> = None;
        loop {
            let follow = self.should_follow();
            let uses_mutagen = follow.iter().any(|record| record.layer == Layer::Mutagen);
            let checks_mutagen =
                uses_mutagen && last_check.is_none_or(|checked| checked.elapsed() >= MUTAGEN_EVERY);
            if checks_mutagen {
                last_check = Some(Instant::now());
            }
            let checked = self.check(&follow, checks_mutagen);
            self.change(|state| state.broken.update(&checked, Instant::now()));
            self.begin_attempts(&follow);
            self.change(|state| state.has_read_records = true);
            let next_check = last_check.filter(|_| uses_mutagen).map(|checked| checked + MUTAGEN_EVERY);
            if self.wait(next_check) {
                return;
            }
        }
    }

    /// Waits until there is something to do. Returns whether the daemon ends.
    fn wait(&self, next_check: Option<Instant>) -> bool {
        let mut state = self.state.enter();
        loop {
            if state.ends {
                return true;
            }
            if std::mem::take(&mut state.rereads_records) {
                return false;
            }
            let next = state.broken.next_attempt().into_iter().chain(next_check).min();
            state = match next {
                None => self.changed.wait(state).even_poisoned(),
                Some(next) => {
                    let now = Instant::now();
                    if next <= now {
                        return false;
                    }
                    self.changed.wait_timeout(state, next - now).even_poisoned().0
                }
            };
        }
    }

    /// The records of the instances that should follow.
    fn should_follow(&self) -> Vec<Record> {
        let records = Records::new(self.places.clone());
        let mut found = Vec::new();
        for project in records.projects().unwrap_or_default() {
            for instance in records.instances(&project).unwrap_or_default() {
                match records.load(&project, &instance) {
                    Ok(Some(record)) if record.should_follow() => found.push(record),
                    Ok(_) => {}
                    // `coast ls` names it.
                    Err(error) => tracing::warn!("{project}/{instance}: {error}"),
                }
            }
        }
        found
    }

    /// The health of the instances with these records. The sessions of mutagen are only asked with `checks_mutagen`.
    fn check(&self, follow: &[Record], checks_mutagen: bool) -> HashMap<InstanceId, Health> {
        let check = |record: &Record| {
            let id = record.id();
            let health = match record.layer {
                Layer::Native if self.host.has(&id) => Health::Follows,
                Layer::Native => Health::NoFollower,
                Layer::Mutagen if checks_mutagen => self.check_session(&id),
                Layer::Mutagen => Health::Unchecked,
            };
            (id, health)
        };
        follow.iter().map(check).collect()
    }

    fn check_session(&self, id: &InstanceId) -> Health {
        let mutagen = MutagenLayer::from_process(&self.places, &Coastfile::default());
        match mutagen.status(id, &self.cancel).map(|status| status.activity) {
            Ok(Activity::Watching | Activity::Carrying) => Health::Follows,
            Ok(Activity::Connecting) => Health::Disconnected,
            Ok(Activity::Absent | Activity::Halted) => Health::SessionEnded,
            Err(error) => {
                tracing::info!("{id}: cannot ask the session: {error}");
                Health::Disconnected
            }
        }
    }

    /// Begins the attempts that are due, each on a thread of its own.
    fn begin_attempts(self: &Arc<Self>, follow: &[Record]) {
        let now = Instant::now();
        let records = Records::new(self.places.clone());
        for record in follow {
            let id = record.id();
            // A command that works on the instance may mend it. A command that ends has the records read again at once.
            let may_begin = || records.holder(&id.project, &id.instance).is_none();
            if !self.change(|state| state.broken.begin_attempt(&id, now, may_begin)) {
                continue;
            }
            self.tell(&id);
            let shared = Arc::clone(self);
            let attempt = thread::Builder::new().name("coastd-start".to_owned());
            let layer = record.layer;
            let spawned = attempt.spawn({
                let id = id.clone();
                move || {
                    // A session that has come back since the last check needs no transfer.
                    let runs = layer == Layer::Mutagen && shared.check_session(&id) == Health::Follows;
                    let result = if runs { Ok(()) } else { shared.start(&id) };
                    shared.attempted(&id, result);
                }
            });
            if let Err(error) = spawned {
                self.attempted(&id, Err(FailedAttempt::passing(error.to_string())));
            }
        }
    }

    /// Has an instance follow its worktree again.
    fn start(&self, id: &InstanceId) -> Result<(), FailedAttempt> {
        let choice = CoastfileChoice::Remembered;
        let scope = Scope::of_name(&self.places, &id.project, &id.instance, &choice);
        let scope = scope.map_err(|error| FailedAttempt::passing(error.to_string()))?;
        let coastfile = scope.project().map(|project| project.coastfile.clone()).unwrap_or_default();
        let Remotes { helper, connector } = &self.remotes;
        let bulk = RemoteBulk::new(helper.clone()).connector(Arc::clone(connector));
        let mutagen = MutagenLayer::from_process(&self.places, &coastfile);
        let native = NativeLayer::new(self.host.clone(), helper.clone());
        let layers = Layers { mutagen: &mutagen, native: &native };
        let lifecycle = Lifecycle::new(&self.places, &scope, &bulk, layers, &Unattended, &self.cancel);
        let resumed = lifecycle.resume(&id.instance, helper, |spec| self.host.resume(spec, &self.cancel));
        let started = match resumed {
            Ok(Resumed::Begun) => Ok(()),
            Ok(Resumed::NeedsStart) => {
                let options = FollowOptions::from(Insist::OnContinuous);
                lifecycle.start(&id.instance, options).map(drop)
            }
            Err(error) => Err(error),
        };
        started.map_err(|error| FailedAttempt {
            error: error.to_string(),
            missing_passphrase: error.missing_passphrase().map(Path::to_owned),
            needs_user: error.needs_user(),
        })
    }

    fn attempted(self: &Arc<Self>, id: &InstanceId, result: Result<(), FailedAttempt>) {
        match result {
            Ok(()) => {
                tracing::info!("{id}: edits follow again");
                self.change(|state| {
                    state.rereads_records = true;
                    state.broken.succeeded(id);
                });
            }
            Err(failed) => {
                let error = failed.error.clone();
                let is_logged = self.change(|state| {
                    state.rereads_records = true;
                    state.broken.failed(id, failed, Instant::now(), fastrand::f64())
                });
                if is_logged {
                    tracing::warn!("{id}: edits do not follow yet: {error}");
                }
            }
        }
        self.tell(id);
    }

    /// Tells the state of an instance.
    fn tell(self: &Arc<Self>, id: &InstanceId) {
        if let Ok(continuous) = Reconciler(Arc::clone(self)).status(id, &self.cancel) {
            let continuous = Box::new(continuous);
            // Fails when nobody listens.
            let _ = self.events.send(DaemonEvent::Instance { id: id.clone(), continuous });
        }
    }
}

/// Writes notices into the log, and answers no question: the daemon has no user to ask.
struct Unattended;

impl Monitor for Unattended {}

impl Prompt for Unattended {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        NoPrompt.passphrase(key)
    }

    fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        NoPrompt.confirm_host(presented)
    }

    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        NoPrompt.host_key_accepted(accepted);
    }

    fn notice(&self, text: &str) {
        tracing::info!("{text}");
    }
}

impl Observer for Unattended {}
