//! The continuous layer: what follows every edit between two bulk transfers. A small trait, because mutagen is only the first that
//! does it.

use std::path::Path;

use coast_sync::{Cancel, ConnectionReport, IdentityUsed};

use crate::Name;
use crate::record::{RecordError, Step};

/// An instance, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InstanceId {
    /// The project.
    pub project: Name,
    /// The instance.
    pub instance: Name,
}

impl std::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.project, self.instance)
    }
}

/// What the shell container of an instance is called.
pub fn container_name(id: &InstanceId) -> String {
    coast_mutagen::shell_name(id.project.as_str(), id.instance.as_str())
}

/// Follows every edit of a worktree. All methods may be called again after a call that failed, was killed or did not happen.
pub trait Continuous: Sync {
    /// Begins to follow: when this returns, what was there has been looked at once, and every later edit arrives. Whatever followed
    /// this instance before has ended. `begin` is called before each step that leaves something behind, and must succeed first.
    ///
    /// # Errors
    /// When it is not possible. What was begun may be left behind; [`Continuous::stop`] removes it.
    fn start(
        &self,
        start: &ContinuousStart<'_>,
        begin: &mut BeginStep<'_>,
        cancel: &Cancel,
    ) -> Result<Started, ContinuousError>;

    /// Ends what [`Continuous::start`] began, as far as `extent` says; gives what remains. Nothing being there is fine, and so is what
    /// is not this instance's, which is not touched.
    ///
    /// # Errors
    /// When something is or may be left: [`ContinuousError::Left`] where it is known what.
    fn stop(
        &self,
        id: &InstanceId,
        extent: Extent,
        begin: &mut BeginStep<'_>,
        cancel: &Cancel,
    ) -> Result<Remains, ContinuousError>;

    /// Waits until every change that was made before the call has arrived; gives the state after it.
    ///
    /// # Errors
    /// When they cannot arrive.
    fn flush(&self, id: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError>;

    /// How it goes.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn status(&self, id: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError>;
}

/// Called before a step is begun.
pub type BeginStep<'a> = dyn FnMut(Step) -> Result<(), RecordError> + 'a;

/// What is to be followed, and where to.
#[derive(Debug, Clone)]
pub struct ContinuousStart<'a> {
    /// The instance.
    pub id: &'a InstanceId,
    /// The directory here.
    pub worktree: &'a Path,
    /// The directory on the remote, absolute.
    pub remote_path: &'a str,
    /// How the bulk layer got there.
    pub access: &'a Access,
    /// What both layers leave out, as rsync patterns, besides version control.
    pub excludes: &'a [String],
    /// Whether the default rules hold.
    pub default_rules: bool,
    /// The image of the shell container.
    pub image: Option<&'a str>,
    /// Its network.
    pub network: &'a str,
}

/// How a remote was reached, for whoever has to reach it too.
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
    /// The key that was accepted.
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

/// What a start did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// What became of the shell container.
    pub container: ContainerChange,
    /// The state after the first look.
    pub status: ContinuousStatus,
}

/// What became of the shell container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerChange {
    /// There was none.
    Created,
    /// It was right.
    Reused,
    /// It was there and not right: another worktree, image or network.
    Recreated,
}

/// How much is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// The session: nothing follows any more.
    Session,
    /// The access to the remote, too.
    Access,
    /// The container, too.
    Everything,
}

/// What there is where the shell container was, or would be, after something was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remains {
    /// Nothing.
    Nothing,
    /// The shell container, without what was ended.
    Container,
    /// A container of that name which is not this instance's.
    Foreign {
        /// How it was recognized.
        said: String,
    },
}

/// How the continuous layer is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContinuousStatus {
    /// What it is doing.
    pub activity: Activity,
    /// The layer's own word for that.
    pub word: String,
    /// Files that it follows.
    pub files: u64,
    /// Directories that it follows.
    pub directories: u64,
    /// Paths that it cannot carry, because the remote has something else there that it did not put there.
    pub conflicts: Vec<Conflict>,
    /// Conflicts beyond those listed.
    pub more_conflicts: u64,
    /// Paths that could not be read or written.
    pub problems: Vec<Problem>,
    /// Problems beyond those listed.
    pub more_problems: u64,
    /// What the layer complains of as a whole.
    pub last_error: Option<String>,
}

/// What the continuous layer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activity {
    /// There is no session.
    #[default]
    Absent,
    /// All that was seen has arrived.
    Watching,
    /// Changes are on their way.
    Carrying,
    /// It tries to reach the remote.
    Connecting,
    /// It has stopped; the next `assign` or `start` mends it.
    Halted,
}

/// A path at which both sides have something of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Relative to the workspace; empty for the whole of it.
    pub path: Vec<u8>,
}

/// A path that could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// On which side.
    pub side: Side,
    /// Relative to the workspace.
    pub path: Vec<u8>,
    /// What the system answered.
    pub text: String,
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Here.
    Local,
    /// On the remote.
    Remote,
}

/// Why the continuous layer did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContinuousError {
    /// It is not possible.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Something could not be ended.
    #[error("{failure}")]
    Left {
        /// Why.
        failure: Failure,
        /// Whether the session may go on, or go on later.
        session: bool,
        /// Whether a key may still be in the container.
        access: bool,
    },
    /// A step could not be recorded, so it was not begun.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It was cancelled.
    #[error("interrupted")]
    Interrupted,
}

/// Why edits cannot follow: which part failed, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {said}")]
pub struct Failure {
    /// The part, as one word for programs.
    pub step: String,
    /// What was being done, in plain words.
    pub doing: String,
    /// What the tool printed or the system answered.
    pub said: String,
}
