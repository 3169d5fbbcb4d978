//! Makes true what the records say: every running instance follows its worktree. It restores them when the daemon starts, and mends
//! them when something breaks.
//!
//! A record is changed by commands only, and each of them says so afterwards. What the layers do meanwhile is noticed in different
//! ways: a follower of the native layer mends its own connection, and a session of mutagen is looked at every half minute. A native
//! instance is restored by [`Lifecycle::resume`]: nobody has asked for a transfer, so its follower carries everything by the rules
//! of its batches, and replaces nothing that the remote has changed. An instance of mutagen, and a native one whose last transfer
//! failed, is restored by [`Lifecycle::start`], as by `coast start`. Both take the lock of the instance, delete only what transfers
//! and sessions have put on the remote, and refuse a worktree that is gone, empty or another one than before.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::{Host, Remotes, failure};
use crate::{DaemonEvent, InstanceSummary};
use coast_instance::{Activity, Coastfile};
use coast_instance::{
    CoastfileChoice, Continuous, ContinuousError, ContinuousStatus, Failure, FollowOptions, Followers,
    Following, Insist, InstanceId, Layer, Layers, Lifecycle, MutagenLayer, NativeLayer, Observer, Places,
    Record, Records, RemoteBulk, Resumed, Retry, Scope, State, StoredPath,
};
use coast_sync::{AcceptedKey, Cancel, HostAnswer, Monitor, NoPrompt, PresentedKey, Prompt, Zeroizing};
use coast_tree::{LockExt, LockResultExt};
use tokio::sync::broadcast;

/// The first wait after an attempt that failed. Each next wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait where only the user can mend the reason: settings that are not trusted, a worktree that is gone.
const RARELY: Duration = Duration::from_secs(300);
/// How often the sessions of mutagen are looked at. A look is a program in a container.
const MUTAGEN_EVERY: Duration = Duration::from_secs(30);
/// How long after a look that found no session, or one that has halted, its instance is mended, unless a second look finds one that
/// runs.
const LOOK_TWICE: Duration = Duration::from_secs(3);
/// How many looks in a row may find a session of mutagen without a connection. It connects again by itself every few seconds.
const PATIENT_LOOKS: u32 = 2;

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
    state: Mutex<Reconciling>,
    /// Notified when `state` changed.
    changed: Condvar,
}

#[derive(Default)]
struct Reconciling {
    /// Whether the records are to be read again.
    look: bool,
    /// Whether they have been read once.
    looked: bool,
    ends: bool,
    broken: HashMap<InstanceId, Broken>,
    /// The attempts under way.
    attempts: usize,
}

/// An instance that does not follow.
struct Broken {
    failed: u32,
    next: Instant,
    error: Option<String>,
    /// The key file that lacked its passphrase in the last attempt.
    missing_passphrase: Option<PathBuf>,
    under_way: bool,
    /// How many looks in a row found its session of mutagen without a connection.
    unconnected: u32,
}

/// What a look at an instance has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Edits are carried.
    Follows,
    /// No follower of the native layer.
    HasNoFollower,
    /// A session of mutagen without a connection, or one that cannot be asked. Both may pass by themselves.
    Connects,
    /// A session of mutagen that is gone, has halted, or whose container does not run.
    SessionEnded,
    /// Nobody has looked.
    NothingNew,
}

impl Broken {
    fn new(now: Instant) -> Self {
        Self { failed: 0, next: now, error: None, missing_passphrase: None, under_way: false, unconnected: 0 }
    }
}

impl Reconciler {
    pub(crate) fn new(
        places: Places,
        host: Host,
        remotes: Remotes,
        events: broadcast::Sender<DaemonEvent>,
    ) -> Self {
        let state = Mutex::new(Reconciling { look: true, ..Reconciling::default() });
        let cancel = Cancel::new();
        Self(Arc::new(Shared { places, host, remotes, events, cancel, state, changed: Condvar::new() }))
    }

    /// Starts the thread that looks and mends.
    pub(crate) fn start(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.0);
        thread::Builder::new().name("coastd-mend".to_owned()).spawn(move || shared.run())?;
        Ok(())
    }

    /// A record was changed.
    pub(crate) fn look_again(&self) {
        self.0.change(|state| state.look = true);
    }

    /// What broke may be mended now: the machine woke up, or the network changed.
    pub(crate) fn retry_now(&self) {
        self.0.change(|state| {
            state.look = true;
            let now = Instant::now();
            for broken in state.broken.values_mut() {
                broken.next = now;
            }
        });
    }

    /// Ends the attempts under way, and waits until they have ended.
    pub(crate) fn end(&self) {
        self.0.cancel.cancel();
        self.0.change(|state| state.ends = true);
        let state = self.0.state.enter();
        drop(self.0.changed.wait_while(state, |state| state.attempts > 0).even_poisoned());
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
            let is_coming = |broken: &Broken| broken.under_way || broken.failed == 0;
            let awaited = !state.looked || state.broken.get(id).is_some_and(is_coming);
            awaited && !state.ends && !cancel.is_cancelled()
        };
        let state = self.0.changed.wait_while(self.0.state.enter(), awaits).even_poisoned();
        match state.broken.get(id).and_then(|broken| broken.error.clone()) {
            Some(error) => Err(failure(Failure::SESSION, "having edits follow again", error).into()),
            None => Ok(()),
        }
    }

    /// The instances that should follow.
    pub(crate) fn summaries(&self) -> Vec<InstanceSummary> {
        let summary = |record: Record| {
            let id = id_of(&record);
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
        let state = self.0.state.enter();
        let broken = state.broken.get(id).filter(|broken| broken.under_way || broken.failed > 0)?;
        let left = match broken.under_way {
            true => Duration::ZERO,
            false => broken.next.saturating_duration_since(Instant::now()),
        };
        Some(Retry {
            attempt: broken.failed + 1,
            in_milliseconds: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            error: broken.error.clone().unwrap_or_else(|| "edits do not follow".to_owned()),
            missing_passphrase: broken.missing_passphrase.as_deref().map(StoredPath::from),
        })
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Reconciling) -> T) -> T {
        let changed = change(&mut self.state.enter());
        self.changed.notify_all();
        changed
    }

    fn run(self: Arc<Self>) {
        let mut mutagen_looked: Option<Instant> = None;
        loop {
            let follow = self.should_follow();
            let uses_mutagen = follow.iter().any(|record| record.layer == Layer::Mutagen);
            let looks_at_mutagen =
                uses_mutagen && mutagen_looked.is_none_or(|looked| looked.elapsed() >= MUTAGEN_EVERY);
            if looks_at_mutagen {
                mutagen_looked = Some(Instant::now());
            }
            self.note_broken(&follow, looks_at_mutagen);
            self.begin_attempts(&follow);
            self.change(|state| state.looked = true);
            let next_look = mutagen_looked.filter(|_| uses_mutagen).map(|looked| looked + MUTAGEN_EVERY);
            if self.wait(next_look) {
                return;
            }
        }
    }

    /// Waits until there is something to do. Returns whether the daemon ends.
    fn wait(&self, next_look: Option<Instant>) -> bool {
        let mut state = self.state.enter();
        loop {
            if state.ends {
                return true;
            }
            if std::mem::take(&mut state.look) {
                return false;
            }
            let waiting = state.broken.values().filter(|broken| !broken.under_way);
            let next = waiting.map(|broken| broken.next).chain(next_look).min();
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
                    Ok(Some(record)) if should_follow(&record) => found.push(record),
                    Ok(_) => {}
                    // `coast ls` names it.
                    Err(error) => tracing::warn!("{project}/{instance}: {error}"),
                }
            }
        }
        found
    }

    /// Notes which of these instances do not follow, and forgets the others.
    fn note_broken(&self, follow: &[Record], looks_at_mutagen: bool) {
        let now = Instant::now();
        let mut follows = HashMap::new();
        for record in follow {
            let id = id_of(record);
            let seen = match record.layer {
                Layer::Native if self.host.has(&id) => Seen::Follows,
                Layer::Native => Seen::HasNoFollower,
                Layer::Mutagen if looks_at_mutagen => self.look_at_session(&id),
                Layer::Mutagen => Seen::NothingNew,
            };
            follows.insert(id, seen);
        }
        self.change(|state| {
            state.broken.retain(|id, broken| {
                broken.under_way || follows.get(id).is_some_and(|seen| *seen != Seen::Follows)
            });
            for (id, seen) in follows {
                if matches!(seen, Seen::Follows | Seen::NothingNew) {
                    continue;
                }
                let broken = state.broken.entry(id).or_insert_with(|| Broken::new(now));
                if broken.failed > 0 || broken.under_way {
                    continue;
                }
                match seen {
                    Seen::Connects => {
                        broken.unconnected += 1;
                        broken.next =
                            if broken.unconnected < PATIENT_LOOKS { now + MUTAGEN_EVERY } else { now };
                    }
                    Seen::SessionEnded => broken.next = now + LOOK_TWICE,
                    _ => {}
                }
            }
        });
    }

    fn look_at_session(&self, id: &InstanceId) -> Seen {
        let mutagen = MutagenLayer::from_process(&self.places, &Coastfile::default());
        match mutagen.status(id, &self.cancel).map(|status| status.activity) {
            Ok(Activity::Watching | Activity::Carrying) => Seen::Follows,
            Ok(Activity::Connecting) => Seen::Connects,
            Ok(Activity::Absent | Activity::Halted) => Seen::SessionEnded,
            Err(error) => {
                tracing::info!("{id}: cannot ask the session: {error}");
                Seen::Connects
            }
        }
    }

    /// Begins the attempts that are due, each on a thread of its own.
    fn begin_attempts(self: &Arc<Self>, follow: &[Record]) {
        let now = Instant::now();
        let records = Records::new(self.places.clone());
        for record in follow {
            let id = id_of(record);
            let begins = self.change(|state| {
                let Some(broken) = state.broken.get_mut(&id) else { return false };
                let mut due = !broken.under_way && broken.next <= now;
                if due && records.holder(&id.project, &id.instance).is_some() {
                    // The command that works on it may mend it. A command that ends has the records read again at once.
                    broken.next = now + FIRST_WAIT;
                    due = false;
                }
                broken.under_way |= due;
                state.attempts += usize::from(due);
                due
            });
            if !begins {
                continue;
            }
            self.tell(&id);
            let shared = Arc::clone(self);
            let attempt = thread::Builder::new().name("coastd-start".to_owned());
            let layer = record.layer;
            let spawned = attempt.spawn({
                let id = id.clone();
                move || {
                    // A session that has come back since the last look needs no transfer.
                    let runs = layer == Layer::Mutagen && shared.look_at_session(&id) == Seen::Follows;
                    let result = if runs { Ok(()) } else { shared.start(&id) };
                    shared.attempted(&id, result);
                }
            });
            if let Err(error) = spawned {
                self.attempted(&id, Err(Failed::of(error.to_string())));
            }
        }
    }

    /// Has an instance follow its worktree again.
    fn start(&self, id: &InstanceId) -> Result<(), Failed> {
        let choice = CoastfileChoice::Remembered;
        let scope = Scope::of_name(&self.places, &id.project, &id.instance, &choice);
        let scope = scope.map_err(|error| Failed::of(error.to_string()))?;
        let coastfile = scope.project().map(|project| project.coastfile.clone()).unwrap_or_default();
        let Remotes { helper, connector } = &self.remotes;
        let bulk = RemoteBulk::new(helper.clone()).connector(Arc::clone(connector));
        let mutagen = MutagenLayer::from_process(&self.places, &coastfile);
        let native = NativeLayer::new(self.host.clone(), helper.clone());
        let layers = Layers { mutagen: &mutagen, native: &native };
        let lifecycle = Lifecycle::new(&self.places, &scope, &bulk, layers, &Quiet, &self.cancel);
        let resumed = lifecycle.resume(&id.instance, helper, |spec| self.host.resume(spec, &self.cancel));
        let started = match resumed {
            Ok(Resumed::Begun) => Ok(()),
            Ok(Resumed::NeedsStart) => {
                let options = FollowOptions::from(Insist::OnContinuous);
                lifecycle.start(&id.instance, options).map(drop)
            }
            Err(error) => Err(error),
        };
        match started {
            Ok(()) => Ok(()),
            Err(error) => {
                let wait = if error.needs_user() { RARELY } else { LONGEST_WAIT };
                let missing_passphrase = error.missing_passphrase().map(Path::to_owned);
                Err(Failed { text: error.to_string(), missing_passphrase, wait })
            }
        }
    }

    fn attempted(self: &Arc<Self>, id: &InstanceId, result: Result<(), Failed>) {
        match &result {
            Ok(()) => tracing::info!("{id}: edits follow again"),
            Err(Failed { text, .. }) => tracing::warn!("{id}: edits do not follow yet: {text}"),
        }
        let chance = f64::from(u32::from_ne_bytes(random())) / f64::from(u32::MAX);
        self.change(|state| {
            state.attempts -= 1;
            state.look = true;
            let Some(broken) = state.broken.get_mut(id) else { return };
            broken.under_way = false;
            match result {
                Ok(()) => drop(state.broken.remove(id)),
                Err(Failed { text, missing_passphrase, wait }) => {
                    broken.failed = broken.failed.saturating_add(1);
                    broken.error = Some(text);
                    broken.missing_passphrase = missing_passphrase;
                    let doubled = FIRST_WAIT * 2_u32.pow((broken.failed - 1).min(16));
                    let wait = if wait == RARELY { RARELY } else { doubled.min(wait) };
                    broken.next = Instant::now() + wait.mul_f64(1.0 - chance / 5.0);
                }
            }
        });
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

/// An attempt that failed.
struct Failed {
    text: String,
    /// The key file that lacked its passphrase.
    missing_passphrase: Option<PathBuf>,
    /// The longest wait before the next one.
    wait: Duration,
}

impl Failed {
    /// An attempt that failed for a reason that may pass by itself.
    fn of(text: String) -> Self {
        Self { text, missing_passphrase: None, wait: LONGEST_WAIT }
    }
}

fn random() -> [u8; 4] {
    let mut bytes = [0; 4];
    // Without randomness the waits are a fifth shorter.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// Whether an instance should follow. One whose worktree was lost waits for the user.
fn should_follow(record: &Record) -> bool {
    record.state == State::Running
        && match &record.following {
            Following::Yes => true,
            Following::Failed { part, .. } => !Failure::is_lost_worktree(part),
            Following::BulkOnly | Following::Off => false,
        }
}

fn id_of(record: &Record) -> InstanceId {
    InstanceId { project: record.project.clone(), instance: record.instance.clone() }
}

/// Nobody to tell, and nobody to ask.
struct Quiet;

impl Monitor for Quiet {}

impl Prompt for Quiet {
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

impl Observer for Quiet {}
