//! Followers: each watches the worktree of one instance and carries its edits over a helper that stays on the remote. coastd has
//! them. [`Followers`] is a trait because a command reaches them over coastd's socket, and coastd itself directly.

use std::path::PathBuf;

use coast_sync::{
    Cancel, Delete, Destination, Environment, FollowRequest, Options, Own, Ownership, RemoteDestination,
    RemoteHelper, RuleError, RuleList, profile,
};
use serde::{Deserialize, Serialize};

use crate::continuous::{ContinuousError, ContinuousStart, ContinuousStatus, InstanceId, Side, WatchSession};
use crate::worktree::WorktreeIdentity;
use crate::{Remote, StoredPath, bulk};

/// The followers of all native instances of a user.
pub trait Followers: Sync {
    /// A follower that notes edits and does not carry them yet.
    type Prepared: Prepared;

    /// Begins to note the edits of a worktree, beside the follower that the instance may have. They are dropped with the returned value.
    ///
    /// # Errors
    /// When the worktree cannot be watched.
    fn prepare(&self, spec: &FollowSpec, cancel: &Cancel) -> Result<Self::Prepared, ContinuousError>;

    /// Waits for a follower that is about to begin by itself. Calls `watch` meanwhile. The caller must not hold the lock of the instance,
    /// because its follower begins under that lock. Followers that only the caller begins need no wait.
    ///
    /// # Errors
    /// When the attempt to have the instance follow has failed, or coastd does not answer.
    fn await_start(
        &self,
        _id: &InstanceId,
        _watch: &WatchSession<'_>,
        _cancel: &Cancel,
    ) -> Result<(), ContinuousError> {
        Ok(())
    }

    /// Ends the follower of an instance. No follower is no error.
    ///
    /// # Errors
    /// When the follower may go on.
    fn end(&self, id: &InstanceId, cancel: &Cancel) -> Result<(), ContinuousError>;

    /// Has the follower of an instance carry nothing more, until another one takes its place. No follower is no error.
    ///
    /// # Errors
    /// When the follower may go on.
    fn pause(&self, id: &InstanceId, cancel: &Cancel) -> Result<(), ContinuousError>;

    /// Waits until every edit that was made before the call has arrived. Calls `watch` meanwhile. Returns the status after that; a
    /// path in its problems or conflicts has not arrived.
    ///
    /// # Errors
    /// When there is no follower, or it cannot carry anything.
    fn flush(
        &self,
        id: &InstanceId,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError>;

    /// The status of a follower at this moment. Asking starts nothing, not even coastd.
    ///
    /// # Errors
    /// When coastd does not answer.
    fn status(&self, id: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError>;

    /// Settles conflicts by taking one side: those at and below `paths`, or all of them if there are no paths.
    ///
    /// # Errors
    /// When there is no follower, or it cannot settle them.
    fn resolve(
        &self,
        id: &InstanceId,
        paths: &[Vec<u8>],
        take: Side,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError>;
}

/// A follower that notes edits and does not carry them yet.
pub trait Prepared: Send {
    /// Takes the place of the follower that the instance may have, carries what `first` says, and every later edit. Returns the status
    /// when that has arrived. Calls `watch` meanwhile.
    ///
    /// # Errors
    /// When the edits cannot be carried. Then the instance has no follower.
    fn begin(
        self,
        first: FirstBatch,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError>;
}

/// What a follower carries first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstBatch {
    /// The edits that were noted since it was prepared: a transfer has brought the rest.
    Noted,
    /// Everything in which the workspace differs from the worktree.
    Everything,
}

/// The parameters of a follower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowSpec {
    /// The instance.
    #[serde(flatten)]
    pub id: InstanceId,
    /// The directory on this machine.
    pub worktree: StoredPath,
    /// The identity of that directory. A follower stops where another directory stands in its place.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub identity: Option<WorktreeIdentity>,
    /// The machine of the workspace.
    pub remote: Remote,
    /// The absolute path of the workspace on the remote.
    pub remote_path: String,
    /// The Coastfile's exclude patterns, in rsync's syntax.
    pub exclude: Vec<String>,
    /// The Coastfile's protect patterns.
    pub protect: Vec<String>,
    /// Whether the default rules apply.
    pub default_rules: bool,
    /// Which entries are given to the user who logs in although they are not sent.
    pub own: Own,
    /// The path of a helper that is installed on the remote. Without it coastd deploys its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub helper: Option<PathBuf>,
    /// The socket of the agent that holds the user's keys at this moment.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agent: Option<PathBuf>,
}

impl FollowSpec {
    /// The follower that `start` asks for, with this helper on the remote.
    pub(crate) fn of(start: &ContinuousStart<'_>, helper: &RemoteHelper) -> Self {
        Self {
            id: start.id.clone(),
            worktree: start.worktree.into(),
            identity: start.identity.cloned(),
            remote: start.remote.clone(),
            remote_path: start.remote_path.to_owned(),
            exclude: start.excludes.to_vec(),
            protect: start.protects.to_vec(),
            default_rules: start.default_rules,
            own: start.own,
            helper: match helper {
                RemoteHelper::Installed(path) => Some(path.clone()),
                _ => None,
            },
            agent: std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }

    /// The workspace, with `deployed` as helper where the user has named none.
    pub fn destination(&self, deployed: &RemoteHelper) -> RemoteDestination {
        let helper = match &self.helper {
            Some(path) => RemoteHelper::Installed(path.clone()),
            None => deployed.clone(),
        };
        let mut environment = Environment::from_process();
        // The agent of the login in which the command ran. After a restart it may be gone, and then the process' own is as good.
        environment.agent = self.agent.clone().filter(|agent| agent.exists()).or(environment.agent);
        self.remote.destination_from(environment, &self.remote_path, helper)
    }

    /// The filter rules of the follower.
    ///
    /// # Errors
    /// When there are more patterns than a run may have rules.
    pub fn rules(&self) -> Result<RuleList, RuleError> {
        bulk::rules_of(&self.exclude, &self.protect, self.default_rules)
    }

    /// The request that a follower carries out at `destination`. Only entries that runs have put there are deleted.
    ///
    /// # Errors
    /// When there are more patterns than a run may have rules.
    pub fn request(&self, destination: impl Into<Destination>) -> Result<FollowRequest, RuleError> {
        let options = Options {
            delete: Some(Delete { only_placed: true, no_mass_deletion: true, ..Delete::default() }),
            ownership: Ownership::LoginUser { own: self.own },
            ..profile::options()
        };
        Ok(FollowRequest::push(&*self.worktree, destination)?.options(options).rules(self.rules()?))
    }
}
