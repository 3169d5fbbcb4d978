//! The followers of all native instances of a user, in this process.

mod leases;
mod status;
mod trouble_log;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use coast_follow::{First, FlushOutcome, Follower, FollowerSettings, Subscription, Update, WatchError};
use coast_instance::{
    ContinuousError, ContinuousStatus, Failure, FirstBatch, FollowSpec, Followers, InstanceId, Layer,
    Prepared, Retry, Side, WatchSession, WorktreeState,
};
use coast_sync::{Cancel, Connector, NoPrompt, RelPath, RemoteHelper};
use coast_tree::LockExt;
use tokio::sync::broadcast;

pub(crate) use leases::Leases;
use status::{continuous_status, halt_words, part_of_halt, part_of_root};
use trouble_log::TroubleLog;

use crate::DaemonEvent;

/// How often the state of a follower is told while a command waits for it.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// How long changes of a follower are gathered before the next one is told.
const TOLD_TOGETHER: Duration = Duration::from_millis(100);

/// How long a command waits for a follower that has no connection.
#[derive(Clone, Copy)]
enum Patience {
    /// The transfer has just used the remote, so a first attempt that fails is told at once.
    AfterTransfer,
    /// The follower may connect again soon.
    Reconnecting,
}

impl Patience {
    fn limit(self) -> Duration {
        match self {
            Self::AfterTransfer => Duration::ZERO,
            Self::Reconnecting => Duration::from_secs(15),
        }
    }

    /// The failure of a command that waits no longer.
    fn ended(self, retry: &Retry) -> Failure {
        match self {
            Self::AfterTransfer => {
                Failure::new(Failure::CONNECTION, "connecting to the remote", &retry.error)
            }
            Self::Reconnecting => Failure::reconnecting(retry),
        }
    }
}

/// The part of a [`Failure`]: the filter rules cannot be used.
const RULES: &str = "rules";
/// The part of a [`Failure`]: the worktree is there and cannot be watched.
const WATCH: &str = "watch";

/// How remotes are reached.
#[derive(Clone)]
pub(crate) struct Remotes {
    /// The helper that they get where the user has named none.
    pub(crate) helper: RemoteHelper,
    pub(crate) connector: Arc<dyn Connector>,
}

/// The followers.
#[derive(Clone)]
pub(crate) struct Host(Arc<Shared>);

struct Shared {
    remotes: Remotes,
    /// A directory for private files.
    private: PathBuf,
    /// Gets each change of a follower.
    events: broadcast::Sender<DaemonEvent>,
    /// The follower of each instance. No other lock is taken while it is held.
    running: Mutex<HashMap<InstanceId, Arc<Follower>>>,
}

/// A follower that notes edits and does not carry them yet.
pub(crate) struct PreparedFollower {
    host: Host,
    id: InstanceId,
    follower: Follower,
}

impl Host {
    /// No followers yet.
    pub(crate) fn new(remotes: Remotes, private: PathBuf, events: broadcast::Sender<DaemonEvent>) -> Self {
        Self(Arc::new(Shared { remotes, private, events, running: Mutex::default() }))
    }

    /// Has an instance follow, beginning with everything in which its workspace differs. Does not wait for anything to arrive: a follower
    /// without a connection tries again by itself.
    pub(crate) fn resume(&self, spec: &FollowSpec, cancel: &Cancel) -> Result<(), ContinuousError> {
        self.prepare(spec, cancel)?.follow(First::Everything);
        Ok(())
    }

    /// Tells the changes of a follower until it ends, on a thread of its own.
    fn tell_changes(&self, id: InstanceId, mut changes: Subscription) {
        let shared = Arc::downgrade(&self.0);
        let told = thread::Builder::new().name("coastd-tell".to_owned()).spawn(move || {
            let mut trouble = TroubleLog::of(&id);
            loop {
                let update = changes.next(None);
                let Some(shared) = shared.upgrade() else { return };
                let ended = !matches!(update, Update::Status(_));
                let continuous = match update {
                    Update::Status(status) => {
                        let continuous = continuous_status(&status);
                        trouble.note(&continuous);
                        continuous
                    }
                    // Another one may have taken its place already.
                    _ => Host(Arc::clone(&shared)).present(&id),
                };
                // Fails when nobody listens.
                let _ = shared
                    .events
                    .send(DaemonEvent::Instance { id: id.clone(), continuous: Box::new(continuous) });
                if ended {
                    return;
                }
                drop(shared);
                thread::sleep(TOLD_TOGETHER);
            }
        });
        if let Err(error) = told {
            // Those who watch it see its state each time they ask.
            tracing::warn!("cannot tell the changes of a follower: {error}");
        }
    }

    /// The state of an instance's follower.
    fn present(&self, id: &InstanceId) -> ContinuousStatus {
        match self.follower(id) {
            Ok(follower) => continuous_status(&follower.status()),
            Err(_) => ContinuousStatus { layer: Layer::Native, ..ContinuousStatus::default() },
        }
    }

    /// Has every follower that waits connect at once.
    pub(crate) fn retry_now(&self) {
        for follower in self.all() {
            follower.retry_now();
        }
    }

    /// Ends all followers, each when the batch under way is at its end.
    pub(crate) fn end_all(&self) {
        let followers: Vec<_> = self.0.running.enter().drain().map(|(_, follower)| follower).collect();
        thread::scope(|scope| {
            for follower in followers {
                scope.spawn(|| end(follower));
            }
        });
    }

    /// Whether an instance has a follower.
    pub(crate) fn has(&self, id: &InstanceId) -> bool {
        self.0.running.enter().contains_key(id)
    }

    fn all(&self) -> Vec<Arc<Follower>> {
        self.0.running.enter().values().cloned().collect()
    }

    fn follower(&self, id: &InstanceId) -> Result<Arc<Follower>, ContinuousError> {
        let follower = self.0.running.enter().get(id).cloned();
        follower.ok_or_else(|| {
            Failure::new(Failure::SESSION, "looking for the follower", "coastd has none").into()
        })
    }

    fn take(&self, id: &InstanceId) -> Option<Arc<Follower>> {
        self.0.running.enter().remove(id)
    }
}

impl PreparedFollower {
    pub(crate) fn id(&self) -> &InstanceId {
        &self.id
    }

    /// Takes the place of the follower that the instance may have, and begins to carry edits.
    fn follow(self, first: First) -> Arc<Follower> {
        let Self { host, id, follower } = self;
        if let Some(before) = host.take(&id) {
            end(before);
        }
        let follower = Arc::new(follower);
        host.0.running.enter().insert(id.clone(), Arc::clone(&follower));
        host.tell_changes(id, follower.subscribe());
        follower.follow(first);
        follower
    }
}

impl Prepared for PreparedFollower {
    fn begin(
        self,
        first: FirstBatch,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        let (host, id) = (self.host.clone(), self.id.clone());
        let follower = self.follow(match first {
            FirstBatch::Noted => First::Collected,
            FirstBatch::Everything => First::Everything,
        });
        let arrived =
            arrival(&follower, |waiting| flushed(&follower, waiting), Patience::AfterTransfer, watch, cancel);
        match &arrived {
            // Ends what was logged of the follower before it.
            Ok(_) => tracing::info!("{id}: edits follow"),
            Err(_) => host.end(&id, cancel)?,
        }
        arrived
    }
}

impl Followers for Host {
    type Prepared = PreparedFollower;

    fn prepare(&self, spec: &FollowSpec, _: &Cancel) -> Result<PreparedFollower, ContinuousError> {
        let unusable =
            |part: &str, error: &dyn std::fmt::Display| Failure::new(part, "watching the worktree", error);
        let Remotes { helper, connector } = &self.0.remotes;
        let destination = spec.destination(helper).connector(Arc::clone(connector));
        let request = spec.request(destination).map_err(|error| unusable(RULES, &error))?;
        let rules = spec.rules().map_err(|error| unusable(RULES, &error))?;
        let mut settings = FollowerSettings::new(&*spec.worktree, request, rules, Arc::new(NoPrompt));
        settings.private.clone_from(&self.0.private);
        let follower = Follower::start(settings).map_err(|error| unusable(part_of(&error), &error))?;
        // The follower watches the directory that it has found at the path. A file system may have been unmounted there since the command
        // looked at the worktree.
        match WorktreeState::of(&spec.worktree, spec.identity.as_ref()) {
            WorktreeState::There => {}
            WorktreeState::Gone => return Err(lost(spec, "it is gone").into()),
            WorktreeState::Another => return Err(lost(spec, "another directory stands in its place").into()),
            WorktreeState::Unknown(error) => return Err(unusable(WATCH, &error).into()),
        }
        Ok(PreparedFollower { host: self.clone(), id: spec.id.clone(), follower })
    }

    fn end(&self, id: &InstanceId, _: &Cancel) -> Result<(), ContinuousError> {
        if let Some(follower) = self.take(id) {
            end(follower);
        }
        Ok(())
    }

    fn pause(&self, id: &InstanceId, _: &Cancel) -> Result<(), ContinuousError> {
        if let Ok(follower) = self.follower(id) {
            follower.pause();
        }
        Ok(())
    }

    fn flush(
        &self,
        id: &InstanceId,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        let follower = self.follower(id)?;
        arrival(&follower, |waiting| flushed(&follower, waiting), Patience::Reconnecting, watch, cancel)
    }

    fn status(&self, id: &InstanceId, _: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        Ok(self.present(id))
    }

    fn resolve(
        &self,
        id: &InstanceId,
        paths: &[Vec<u8>],
        take: Side,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        let follower = self.follower(id)?;
        let paths = paths.iter().map(|path| match path.as_slice() {
            b"." | b"" => Ok(RelPath::root()),
            path => RelPath::new(path.strip_suffix(b"/").unwrap_or(path)).map_err(|error| {
                let said = format!("{}: {error}", path.escape_ascii());
                ContinuousError::from(Failure::new("path", "reading the paths", said))
            }),
        });
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        let take = match take {
            Side::Local => coast_follow::Side::Local,
            Side::Remote => coast_follow::Side::Remote,
        };
        let resolve = |waiting: &Cancel| {
            let resolved = follower.resolve(&paths, take, waiting);
            resolved.map_err(|error| Failure::new(Failure::SESSION, "settling the conflicts", error))
        };
        arrival(&follower, resolve, Patience::Reconnecting, &|_| {}, cancel)
    }
}

/// Ends a follower when the batch under way is at its end. A call that waits for it may keep its threads for a moment longer; it
/// carries nothing more.
fn end(follower: Arc<Follower>) {
    follower.pause();
}

/// The part that failed when a follower could not start.
fn part_of(error: &WatchError) -> &'static str {
    match error {
        WatchError::Root(lost) => part_of_root(lost),
        WatchError::Rules(_) => RULES,
        _ => WATCH,
    }
}

/// The worktree is not the one that the instance follows.
fn lost(spec: &FollowSpec, said: &str) -> Failure {
    Failure::new(Failure::WORKTREE, "watching the worktree", format!("{}: {said}", spec.worktree.display()))
}

/// Waits for the edits that were made before.
fn flushed(follower: &Follower, waiting: &Cancel) -> Result<FlushOutcome, Failure> {
    let flushed = follower.flush(None, waiting);
    flushed.map_err(|error| Failure::new(Failure::SESSION, "waiting for the edits", error))
}

/// A follower that has lost its connection.
struct Offline {
    /// When that was noticed.
    since: Instant,
    /// Its next attempt, and why it does not connect.
    retry: Retry,
}

/// Has `wait` wait until every edit that was made before has arrived, or cannot arrive. A follower that has had no connection for
/// as long as `patience` allows is not waited for.
fn arrival(
    follower: &Follower,
    wait: impl FnOnce(&Cancel) -> Result<FlushOutcome, Failure> + Send,
    patience: Patience,
    watch: &WatchSession<'_>,
    cancel: &Cancel,
) -> Result<ContinuousStatus, ContinuousError> {
    let waiting = Cancel::new();
    let _hook = cancel.on_cancel({
        let waiting = waiting.clone();
        move || waiting.cancel()
    });
    let (outcome, offline) = thread::scope(|scope| {
        let (ended, outcome) = mpsc::channel();
        let waiting = &waiting;
        scope.spawn(move || ended.send(wait(waiting)));
        let mut offline: Option<Offline> = None;
        loop {
            match outcome.recv_timeout(TOLD_EVERY) {
                Ok(outcome) => return (Some(outcome), offline),
                Err(RecvTimeoutError::Disconnected) => return (None, offline),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let status = continuous_status(&follower.status());
            watch(&status);
            offline = status.retry.map(|retry| {
                let since = offline.as_ref().map_or_else(Instant::now, |offline| offline.since);
                Offline { since, retry }
            });
            if offline.as_ref().is_some_and(|offline| offline.since.elapsed() >= patience.limit()) {
                waiting.cancel();
            }
        }
    });
    if cancel.is_cancelled() {
        return Err(ContinuousError::Interrupted);
    }
    match (outcome, offline) {
        (Some(Ok(FlushOutcome::Arrived | FlushOutcome::Left { .. })), _) => {
            Ok(continuous_status(&follower.status()))
        }
        (Some(Ok(FlushOutcome::Halted(halt))), _) => {
            Err(Failure::new(part_of_halt(&halt), "following the worktree", halt_words(&halt)).into())
        }
        (Some(Err(failure)), _) => Err(failure.into()),
        (_, Some(Offline { retry, .. })) => Err(patience.ended(&retry).into()),
        (_, None) => {
            Err(Failure::new(Failure::SESSION, "waiting for the edits", "the follower has ended").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coast_follow::{Halt, LostRoot};
    use coast_instance::{Addressed, WorktreeIdentity};
    use coast_sync::{Direct, Own};
    use std::path::Path;

    fn host(private: &Path) -> Host {
        let connector = Arc::new(Direct);
        let remotes = Remotes { helper: RemoteHelper::Installed("/nonexistent".into()), connector };
        Host::new(remotes, private.to_owned(), broadcast::Sender::new(1))
    }

    fn spec(worktree: &Path) -> FollowSpec {
        let text = serde_json::json!({
            "project": "shop", "instance": "dev-1", "worktree": worktree, "remote": { "host": "localhost" },
            "identity": WorktreeIdentity::of(worktree).unwrap(), "remote_path": "/data/workspaces/shop/dev-1",
            "exclude": [], "protect": [], "default_rules": true, "own": Own::default(),
        });
        serde_json::from_value(text).unwrap()
    }

    /// The part that fails.
    fn failed_part(host: &Host, spec: &FollowSpec) -> String {
        match host.prepare(spec, &Cancel::new()) {
            Err(ContinuousError::Failed(failure)) => failure.part,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it was prepared"),
        }
    }

    #[test]
    fn only_a_lost_worktree_is_not_tried_again() {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = scratch.path().join("worktree");
        std::fs::create_dir(&worktree).unwrap();
        let spec = spec(&worktree);
        assert!(host(scratch.path()).prepare(&spec, &Cancel::new()).is_ok());
        let no_private = host(&scratch.path().join("nothing"));
        assert_eq!(failed_part(&no_private, &spec), WATCH);
        assert_eq!(part_of(&WatchError::Queue(std::io::ErrorKind::Other.into())), WATCH);
        assert!(!Failure::is_lost_worktree(WATCH));

        // The first directory lives on, so that the second one cannot get its inode number.
        std::fs::rename(&worktree, scratch.path().join("away")).unwrap();
        assert_eq!(failed_part(&host(scratch.path()), &spec), Failure::WORKTREE);
        std::fs::create_dir(&worktree).unwrap();
        assert_eq!(failed_part(&host(scratch.path()), &spec), Failure::WORKTREE);
    }

    #[test]
    fn a_halt_names_the_part_that_failed() {
        let (path, reason) = (Path::new("/p").to_owned(), "no".to_owned());
        let emptied = Halt::Root(LostRoot::Emptied { path: path.clone() });
        assert!(Failure::is_lost_worktree(part_of_halt(&emptied)));
        let replaced = Halt::Root(LostRoot::Replaced { path: path.clone() });
        assert_eq!(part_of_halt(&replaced), Failure::WORKTREE);
        for halt in [
            Halt::Root(LostRoot::Unwatched { path: path.clone(), reason: reason.clone() }),
            Halt::Root(LostRoot::Unreadable { path, reason: reason.clone() }),
            Halt::MassDeletion(reason.clone()),
            Halt::Workspace(reason),
            Halt::Paused,
            Halt::Stopped,
        ] {
            assert!(!Failure::is_lost_worktree(part_of_halt(&halt)), "{halt}");
        }
    }

    #[test]
    fn a_halt_is_told_with_one_command_for_its_instance() {
        let (path, reason) = (Path::new("/p").to_owned(), "no".to_owned());
        let (instance, project) = ("dev-1".parse().unwrap(), "shop".parse().unwrap());
        let instance = Addressed::new(&instance, Some(&project));
        for (halt, command) in [
            (Halt::MassDeletion(reason.clone()), "coast start dev-1 --project shop --allow-mass-deletion"),
            (Halt::Workspace(reason.clone()), "coast start dev-1 --project shop"),
            (Halt::Root(LostRoot::Emptied { path: path.clone() }), "coast start dev-1 --project shop"),
            (Halt::Root(LostRoot::Unwatched { path, reason }), "coast start dev-1 --project shop"),
            (Halt::Stopped, "coast start dev-1 --project shop"),
            (Halt::Paused, "coast start dev-1 --project shop"),
        ] {
            let failure = Failure::new(part_of_halt(&halt), "following the worktree", halt_words(&halt));
            let text = format!("{failure}; {}", failure.remedy(Layer::Native, &instance));
            assert!(text.ends_with(&format!(": {command}")), "{text}");
            assert_eq!(text.matches("coast start").count(), 1, "{text}");
        }
    }
}
