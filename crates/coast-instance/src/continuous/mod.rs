//! The continuous layer: it carries every edit between two bulk transfers. [`Continuous`] is the trait of such a layer. It knows a
//! worktree, a directory on a remote, and a *runner*: the container or process on this machine that runs the session.

mod failure;
mod status;

use std::path::Path;

use coast_sync::{Cancel, ConnectionReport, IdentityUsed, Own};
use serde::{Deserialize, Serialize};

use crate::record::Step;
use crate::records::RecordError;
use crate::worktree::WorktreeIdentity;
use crate::{Name, Remote};

pub(crate) use failure::remedy;
pub use failure::{ContinuousError, Failure};
pub use status::{
    Activity, Conflict, ContinuousStatus, LastBatch, PrivateFile, Problem, Retry, RunnerState, Side, Staging,
    Watches,
};

/// An instance, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// The name of its project.
    pub project: Name,
    /// The name of the instance.
    pub instance: Name,
}

impl std::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.project, self.instance)
    }
}

/// Carries every edit of a worktree to its workspace. Each method may be called again after a call that failed or was killed.
pub trait Continuous: Sync {
    /// The runner of an instance, in words for messages that follow "the", such as `container shop-coasts-dev-1-shell`. It is the
    /// same each time, and known before the runner exists.
    fn runner(&self, id: &InstanceId) -> String;

    /// Checks cheaply that the layer can be reached at this moment. It may have no runner.
    ///
    /// # Errors
    /// When it cannot be reached.
    fn reach(&self, cancel: &Cancel) -> Result<(), ContinuousError>;

    /// Begins to note the edits of a worktree, before the transfer that brings everything else. The next [`Continuous::start`] with this
    /// value carries them, so that there is no gap between the two. What is noted is dropped with this value. A layer that closes the
    /// gap in another way does nothing.
    ///
    /// # Errors
    /// When the worktree cannot be watched.
    fn prepare(&self, _start: &ContinuousStart<'_>, _cancel: &Cancel) -> Result<(), ContinuousError> {
        Ok(())
    }

    /// Starts a session. Every other session of the instance has ended and the worktree was scanned once when this returns, and
    /// every later edit is carried. `begin` is called before each step that leaves something behind, and must succeed first. `watch` is
    /// called while the first scan is waited for.
    ///
    /// # Errors
    /// When the session cannot be started. Parts of it may be left; [`Continuous::stop`] removes them.
    fn start(
        &self,
        start: &ContinuousStart<'_>,
        transferred: &AfterTransfer<'_>,
        begin: &mut BeginStep<'_>,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<Started, ContinuousError>;

    /// Waits for a session that is about to start by itself, as all of them do when coastd has started. Calls `watch` meanwhile.
    /// The caller must not hold the lock of the instance, because the session starts under that lock. A layer whose sessions go on
    /// by themselves does nothing.
    ///
    /// # Errors
    /// When the attempt to start it has failed.
    fn await_start(
        &self,
        _id: &InstanceId,
        _watch: &WatchSession<'_>,
        _cancel: &Cancel,
    ) -> Result<(), ContinuousError> {
        Ok(())
    }

    /// Ends the session of an instance and removes as much more as `extent` says. Parts that do not exist are no error. A runner of
    /// another owner is left alone.
    ///
    /// # Errors
    /// When a part is or may be left: [`ContinuousError::NotRemoved`] if the layer knows which.
    fn stop(
        &self,
        id: &InstanceId,
        extent: Extent,
        begin: &mut BeginStep<'_>,
        cancel: &Cancel,
    ) -> Result<Remains, ContinuousError>;

    /// Has the session carry nothing more, until the next start replaces it. No session is no error.
    ///
    /// # Errors
    /// When a session may go on.
    fn pause(&self, id: &InstanceId, cancel: &Cancel) -> Result<(), ContinuousError>;

    /// Waits until every change that was made before the call has arrived, and calls `watch` meanwhile. Returns the status after that.
    ///
    /// # Errors
    /// When the session cannot carry them.
    fn flush(
        &self,
        id: &InstanceId,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError>;

    /// The status of the session at this moment. Asking starts nothing.
    ///
    /// # Errors
    /// When the runner does not answer.
    fn status(&self, id: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError>;

    /// Settles conflicts by taking one side: those at and below `paths`, or all of them if there are no paths. Returns the status after
    /// that.
    ///
    /// # Errors
    /// When the session cannot settle them.
    fn resolve(
        &self,
        id: &InstanceId,
        paths: &[Vec<u8>],
        take: Side,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError>;
}

/// Called before a step is begun. It writes the step into the record.
pub type BeginStep<'a> = dyn FnMut(Step) -> Result<(), RecordError> + 'a;

/// Called with the status of a session a few times each second, on another thread, while a call waits for the session.
pub type WatchSession<'a> = dyn Fn(&ContinuousStatus) + Sync + 'a;

/// The parameters of a session.
#[derive(Debug, Clone)]
pub struct ContinuousStart<'a> {
    /// The instance.
    pub id: &'a InstanceId,
    /// The directory on this machine.
    pub worktree: &'a Path,
    /// The identity of that directory, if it is known.
    pub identity: Option<&'a WorktreeIdentity>,
    /// The machine of the workspace.
    pub remote: &'a Remote,
    /// The absolute path of the workspace on the remote.
    pub remote_path: &'a str,
    /// The Coastfile's exclude patterns, in rsync's syntax. Both layers leave out version control besides.
    pub excludes: &'a [String],
    /// The Coastfile's protect patterns.
    pub protects: &'a [String],
    /// Whether the default rules apply.
    pub default_rules: bool,
    /// Which entries are given to the user who logs in although they are not sent.
    pub own: Own,
}

/// Facts that the transfer has found out, for the session that begins after it.
#[derive(Debug, Clone, Copy)]
pub struct AfterTransfer<'a> {
    /// The address and the key with which the bulk layer reached the remote.
    pub access: &'a Access,
    /// Whether the workspace has everything that the worktree had when the transfer began.
    pub complete: bool,
}

/// The address and the key with which a remote was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The user who logged in.
    pub user: String,
    /// The name or address that was connected to.
    pub host_name: String,
    /// The TCP port.
    pub port: u16,
    /// The jump hosts on the way.
    pub jumps: Vec<String>,
    /// The host key that the connection verified: `ssh-ed25519 AAAA...`.
    pub host_key: String,
    /// The key for the session: the remote's session key, or else the key that logged in.
    pub identity: IdentityUsed,
}

impl From<&ConnectionReport> for Access {
    fn from(connection: &ConnectionReport) -> Self {
        Self {
            user: connection.peer.user.clone(),
            host_name: connection.peer.host_name.clone(),
            port: connection.peer.port,
            jumps: connection.peer.jumps.clone(),
            host_key: connection.peer.host_key.openssh.clone(),
            identity: connection.peer.identity.clone(),
        }
    }
}

/// The result of starting a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Whether the runner is a new one.
    pub runner: RunnerChange,
    /// The status after the first scan.
    pub status: ContinuousStatus,
    /// The files that the session has in the account on the remote, besides the workspace: paths relative to the home directory. They
    /// are of no use once the session has ended.
    pub traces: Vec<String>,
}

/// The change that starting a session made to the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerChange {
    /// There was no runner before.
    Created,
    /// The existing runner had the wanted parameters.
    Reused,
    /// The existing runner had other parameters, such as another worktree, and was replaced.
    Recreated,
}

/// How much [`Continuous::stop`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// The session.
    Session,
    /// The session and the runner's access to the remote: its key.
    Access,
    /// The session, the access and the runner.
    Everything,
}

/// The state of the runner after [`Continuous::stop`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remains {
    /// The runner does not exist.
    Nothing,
    /// The runner exists, without the parts that were to be removed.
    Runner,
    /// Another owner's runner has the name. `said` tells how it was recognized.
    Foreign {
        /// A sentence for the user.
        said: String,
    },
}
