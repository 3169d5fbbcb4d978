//! The connections that are open. Each is for one route: the same users, hosts, ports, keys and options. It is closed when it has not
//! been used for some time.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use coast_ssh::{ConnectOptions, Connector, Prompt, Route, Session, SshError, Target, Zeroizing};
use coast_tree::{LockExt, LockResultExt};
use tokio::runtime::Handle;

use crate::log::is_due;
use crate::passphrases::{Answers, Passphrases};
use crate::status::{RemoteState, RemoteStatus};

/// How long a server may take to open a channel before its connection counts as lost.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// The most commands that use a connection at once. OpenSSH's `MaxSessions` is 10 by default.
const MAX_USERS: usize = 8;
/// The number of checks of a connection within the time after which it is closed.
const LOOKS: u32 = 10;
/// How long a route is not tried again, at a client's request, after its connection could not be made.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The most routes whose connection could not be made that are remembered.
const MAX_FAILED: usize = 64;

/// The open connections.
pub(crate) struct Pool {
    /// Guards the lists. No connection is made, used or closed while it is held. It is taken before [`Warm::used`].
    lists: Mutex<Lists>,
    /// Told when a connection has been made, or could not be made.
    made: Condvar,
    passphrases: Passphrases,
    idle: Duration,
    runtime: Handle,
}

#[derive(Default)]
struct Lists {
    open: Vec<Arc<Warm>>,
    making: Vec<Route>,
    failed: Vec<Failed>,
    /// The number of the connection that was made last.
    last: u64,
}

/// Takes the connections of a pool of this process.
#[derive(Clone)]
pub(crate) struct PoolConnector(pub(crate) Arc<Pool>);

impl fmt::Debug for PoolConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolConnector").finish_non_exhaustive()
    }
}

impl Connector for PoolConnector {
    fn connect(
        &self,
        target: &Target,
        options: &ConnectOptions,
        prompt: &dyn Prompt,
    ) -> Result<Session, SshError> {
        let route = Route::of(target, options)?;
        route.notices().for_each(|notice| prompt.notice(notice));
        self.0.obtain(&route.shared())
    }
}

/// An open connection.
pub(crate) struct Warm {
    id: u64,
    route: Route,
    session: Session,
    /// When it was last used, or seen in use. The lock guards nothing else, and no other lock is taken while it is held.
    used: Mutex<Instant>,
}

/// A connection that could not be made.
struct Failed {
    route: Route,
    problem: String,
    at: Instant,
    /// When a failure of this route was logged last.
    logged: Instant,
}

impl Lists {
    /// Notes that the connection for `route` could not be made. Returns whether that is to be logged: followers try again each few
    /// seconds.
    fn note_failure(&mut self, route: &Route, problem: String, at: Instant) -> bool {
        let before = self.failed.iter().find(|failed| failed.route == *route).map(|failed| failed.logged);
        self.failed.retain(|failed| failed.route != *route);
        if self.failed.len() >= MAX_FAILED {
            self.failed.remove(0);
        }
        let is_due = is_due(before, at);
        let logged = before.filter(|_| !is_due).unwrap_or(at);
        self.failed.push(Failed { route: route.clone(), problem, at, logged });
        is_due
    }
}

impl Warm {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    fn touch(&self) {
        *self.used.enter() = Instant::now();
    }
}

impl Pool {
    /// Connections that are closed after `idle` without use. `runtime` has their timers.
    pub(crate) fn new(idle: Duration, runtime: Handle) -> Self {
        Self {
            lists: Mutex::default(),
            made: Condvar::new(),
            passphrases: Passphrases::default(),
            idle,
            runtime,
        }
    }

    /// Keeps the passphrase of the key file `key`, for connections that are made from now on. False if too many are kept already.
    pub(crate) fn keep_passphrase(&self, key: PathBuf, passphrase: Zeroizing<String>) -> bool {
        let is_kept = self.passphrases.keep(key, passphrase);
        if is_kept {
            // A connection that could not be made for lack of the passphrase can be made now.
            self.lists.enter().failed.clear();
        }
        is_kept
    }

    /// The open connection for `route`, if its server is there and its host keys are still on record. A channel is open on it for the
    /// next command. Blocks for a round trip.
    pub(crate) fn find(&self, route: &Route) -> Option<Arc<Warm>> {
        let open: Vec<_> = {
            let lists = self.lists.enter();
            lists.open.iter().filter(|warm| warm.route == *route).map(Arc::clone).collect()
        };
        open.into_iter().find(|warm| {
            if !warm.session.is_on_record() {
                self.close(warm, "the key of its host is no longer on record");
                return false;
            }
            if warm.session.other_users() >= MAX_USERS {
                return false;
            }
            match warm.session.open_ahead(OPEN_TIMEOUT) {
                Ok(()) => {
                    warm.touch();
                    true
                }
                // The server takes no further channel on this connection.
                Err(SshError::ExecRefused { .. }) => false,
                Err(error) => {
                    self.close(warm, &error.to_string());
                    false
                }
            }
        })
    }

    /// A session for one command on the open connection with this number.
    pub(crate) fn share(&self, id: u64) -> Option<Session> {
        let warm = self.lists.enter().open.iter().find(|warm| warm.id == id).map(Arc::clone)?;
        warm.touch();
        warm.session.share()
    }

    /// Makes a connection for `route`, unless there is one, one is being made, or it failed a moment ago. Blocks.
    pub(crate) fn warm_up(self: &Arc<Self>, route: &Route) {
        {
            let lists = self.lists.enter();
            let failed = |failed: &Failed| failed.route == *route && failed.at.elapsed() < RETRY_AFTER;
            let open = |warm: &Arc<Warm>| warm.route == *route && warm.session.lost().is_none();
            if lists.making.contains(route) || lists.open.iter().any(open) || lists.failed.iter().any(failed)
            {
                return;
            }
        }
        // A failure is remembered, and told by the status. The client has a connection of its own.
        let _ = self.obtain(route);
    }

    /// A session for `route` on the open connection, or on a new one. Blocks.
    ///
    /// # Errors
    /// When no connection can be made without asking anybody.
    pub(crate) fn obtain(self: &Arc<Self>, route: &Route) -> Result<Session, SshError> {
        loop {
            if let Some(session) = self.find(route).and_then(|warm| warm.session.share()) {
                return Ok(session);
            }
            let mut lists = self.lists.enter();
            if !lists.making.contains(route) {
                lists.making.push(route.clone());
                break;
            }
            // Somebody else makes it.
            drop(self.made.wait(lists).even_poisoned());
        }
        let connected = Session::connect_by(route, &Answers::of(&self.passphrases));
        let mut lists = self.lists.enter();
        lists.making.retain(|making| making != route);
        self.made.notify_all();
        match connected {
            Ok(session) => {
                lists.failed.retain(|failed| failed.route != *route);
                tracing::info!("connected to {} as {}", session.host(), route.user());
                lists.last += 1;
                let share = session.share().expect("a connection of this process can be shared");
                let warm =
                    Warm { id: lists.last, route: route.clone(), session, used: Mutex::new(Instant::now()) };
                lists.open.push(Arc::new(warm));
                let id = lists.last;
                drop(lists);
                self.close_when_idle(id);
                Ok(share)
            }
            Err(error) => {
                if lists.note_failure(route, error.to_string(), Instant::now()) {
                    tracing::warn!("cannot connect to {} as {}: {error}", route.host(), route.user());
                }
                Err(error)
            }
        }
    }

    /// The state of all connections.
    pub(crate) fn status(&self) -> Vec<RemoteStatus> {
        let lists = self.lists.enter();
        let of =
            |route: &Route, state| RemoteStatus { host: route.host(), user: route.user().to_owned(), state };
        let open = lists.open.iter().map(|warm| {
            let users = warm.session.other_users();
            let idle_seconds = if users == 0 { warm.used.enter().elapsed().as_secs() } else { 0 };
            of(&warm.route, RemoteState::Connected { users, idle_seconds })
        });
        let making = lists.making.iter().map(|route| of(route, RemoteState::Connecting));
        let failed = lists.failed.iter().map(|failed| {
            let problem = failed.problem.clone();
            of(&failed.route, RemoteState::Failed { problem, seconds_ago: failed.at.elapsed().as_secs() })
        });
        open.chain(making).chain(failed).collect()
    }

    /// Closes all connections. Blocks until they are closed.
    pub(crate) fn close_all(&self) {
        let open = std::mem::take(&mut self.lists.enter().open);
        drop(open);
    }

    fn close(&self, warm: &Arc<Warm>, reason: &str) {
        self.lists.enter().open.retain(|open| open.id != warm.id);
        tracing::info!("closed the connection to {}: {reason}", warm.session.host());
    }

    /// Starts the task that closes a connection when it is lost or has been idle too long.
    fn close_when_idle(self: &Arc<Self>, id: u64) {
        let pool = Arc::downgrade(self);
        let look_again = self.idle / LOOKS;
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(look_again).await;
                let Some(pool) = pool.upgrade() else { return };
                // Closing a connection may take a moment.
                match tokio::task::spawn_blocking(move || pool.look_at(id)).await {
                    Ok(Look::Again) => {}
                    Ok(Look::NoMore) | Err(_) => return,
                }
            }
        });
    }

    fn look_at(&self, id: u64) -> Look {
        let warm = self.lists.enter().open.iter().find(|warm| warm.id == id).map(Arc::clone);
        let Some(warm) = warm else { return Look::NoMore };
        if let Some(reason) = warm.session.lost() {
            self.close(&warm, &reason);
            return Look::NoMore;
        }
        if warm.session.other_users() > 0 {
            warm.touch();
            return Look::Again;
        }
        let idle = warm.used.enter().elapsed();
        if idle < self.idle {
            return Look::Again;
        }
        self.close(&warm, &format!("it was idle for {} s", idle.as_secs()));
        Look::NoMore
    }
}

/// Whether a connection is to be looked at again.
enum Look {
    Again,
    NoMore,
}

#[cfg(test)]
mod tests {
    use coast_ssh::Environment;

    use super::*;

    #[test]
    fn a_failure_that_repeats_is_logged_once_a_minute() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::isolated(home.path(), "me");
        let options = ConnectOptions { environment, ..ConnectOptions::default() };
        let route = |host: &str| Route::of(&Target::host(host), &options).unwrap();
        let (began, mut lists) = (Instant::now(), Lists::default());
        let mut logged_at = Vec::new();
        for second in 0..150 {
            let at = began + Duration::from_secs(second);
            if lists.note_failure(&route("a"), "refused".to_owned(), at) {
                logged_at.push(second);
            }
        }
        assert_eq!(logged_at, [0, 60, 120]);
        assert!(lists.note_failure(&route("b"), "refused".to_owned(), began));
        assert_eq!(lists.failed.len(), 2);
    }
}
