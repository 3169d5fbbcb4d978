//! The continuous layer: it carries every edit between two bulk transfers. [`Continuous`] is the trait of such a layer. It knows a
//! worktree, a directory on a remote, and a *runner*: the container or process on this machine that runs the session.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coast_sync::{Cancel, ConnectionReport, IdentityUsed, Own};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::record::Step;
use crate::records::RecordError;
use crate::worktree::WorktreeIdentity;
use crate::{Addressed, Layer, Name, Remote, StoredPath};

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
    /// When a part is or may be left: [`ContinuousError::Left`] if the layer knows which.
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

/// The result of the transfer before a session.
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

/// The status of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContinuousStatus {
    /// The layer of the session.
    #[serde(default)]
    pub layer: Layer,
    /// Whether the runner runs.
    pub runner: RunnerState,
    /// The activity of the session.
    pub activity: Activity,
    /// The layer's own word for the activity.
    pub word: String,
    /// The number of files in the worktree.
    pub files: u64,
    /// The number of directories in the worktree.
    pub directories: u64,
    /// The files on their way to the remote, if some are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staging: Option<Staging>,
    /// The number of files on the remote that the session knows, if it has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_files: Option<u64>,
    /// The paths that the session does not carry, because something there on the remote was not put there by it.
    pub conflicts: Vec<Conflict>,
    /// The number of conflicts beyond those listed.
    pub more_conflicts: u64,
    /// The paths that could not be read or written.
    pub problems: Vec<Problem>,
    /// The number of problems beyond those listed.
    pub more_problems: u64,
    /// The files that the session leaves to transfers, because it would let others read them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub private: Vec<PrivateFile>,
    /// An error of the session as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The edits that wait for the batch under way to end.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub pending: u64,
    /// The last edits that arrived, if the layer counts them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_batch: Option<LastBatch>,
    /// How the worktree is watched, if the layer tells that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub watches: Option<Watches>,
    /// The next attempt to connect, if the session waits for one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry: Option<Retry>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Edits that arrived together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBatch {
    /// The number of files.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// The milliseconds from the first of these edits until the remote had acknowledged them all.
    pub milliseconds: u64,
    /// The time of the acknowledgement, in seconds since the epoch.
    pub at: u64,
}

/// How a worktree is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watches {
    /// The number of directories that the system watches.
    pub count: u64,
    /// The number of directories that the system watches for a user at most, if it tells that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u64>,
    /// The number of directories that are scanned every few seconds instead.
    pub scanned: u64,
    /// What the user can do so that no directory has to be scanned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub advice: Option<String>,
}

/// The next attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Its number: 1 for the first attempt after the connection was lost.
    pub attempt: u32,
    /// The milliseconds until it begins.
    pub in_milliseconds: u64,
    /// The error of the attempt before.
    pub error: String,
    /// The key file whose passphrase coastd lacks. `coast start` asks for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub missing_passphrase: Option<StoredPath>,
}

/// Files on their way to the remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    /// The number of files that have arrived whole.
    pub arrived_files: u64,
    /// The number of files, those included.
    pub files: u64,
    /// The bytes that have arrived, of all files.
    pub arrived_bytes: u64,
    /// The bytes that are still to come of the file under way.
    pub file_bytes_left: u64,
}

/// The state of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerState {
    /// It does not exist, or belongs to another owner.
    #[default]
    Absent,
    /// It exists and does not run.
    Stopped,
    /// It runs.
    Running,
}

/// The activity of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// The session does not exist.
    #[default]
    Absent,
    /// Every edit that the session saw has arrived.
    Watching,
    /// Edits are on their way.
    Carrying,
    /// The session connects to the remote.
    Connecting,
    /// The session has stopped. The next `assign` or `start` replaces it.
    Halted,
}

/// A path that the session does not carry, because something there on the remote was not put there by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Relative to the workspace; the workspace itself is the empty path.
    #[serde(flatten, with = "path_fields")]
    pub path: Vec<u8>,
    /// The paths below it that were made on the remote, as far as the layer knows.
    #[serde(skip)]
    pub made_there: Vec<Vec<u8>>,
    /// Whether the path was deleted here, and only entries that the session ignores keep it on the remote. Such a conflict is left
    /// when it is mended.
    #[serde(skip)]
    pub kept_by_ignored: bool,
}

/// A file that others may not read, and that only transfers carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateFile {
    /// Relative to the workspace.
    #[serde(flatten, with = "path_fields")]
    pub path: Vec<u8>,
}

impl Conflict {
    /// The path, as a record has it.
    pub(crate) fn stored_path(&self) -> StoredPath {
        Path::new(OsStr::from_bytes(&self.path)).into()
    }
}

/// A path that could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The side on which it failed.
    pub side: Side,
    /// Relative to the workspace; the workspace itself is the empty path.
    #[serde(flatten, with = "path_fields")]
    pub path: Vec<u8>,
    /// The answer of the system.
    pub text: String,
}

/// One of the two sides of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// This machine.
    Local,
    /// The remote.
    Remote,
}

/// A path as `path`, and its bytes in hexadecimal digits as `path_bytes` if they are not UTF-8.
pub(crate) mod path_fields {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct PathFields<'a> {
        path: std::borrow::Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        path_bytes: Option<String>,
    }

    pub(crate) fn serialize<S: Serializer>(path: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let text = String::from_utf8_lossy(path);
        let is_exact = matches!(text, std::borrow::Cow::Borrowed(_));
        let path_bytes = (!is_exact).then(|| data_encoding::HEXLOWER.encode(path));
        PathFields { path: text, path_bytes }.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let PathFields { path, path_bytes } = PathFields::deserialize(deserializer)?;
        match path_bytes {
            Some(hex) => data_encoding::HEXLOWER.decode(hex.as_bytes()).map_err(serde::de::Error::custom),
            None => Ok(path.into_owned().into_bytes()),
        }
    }
}

/// Why a session could not be started, stopped, flushed or asked for its status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named by the variant's doc")]
pub enum ContinuousError {
    /// A part of the work failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A part could not be removed. `session` tells whether the session may still run, `access` whether a key may still be in the
    /// runner.
    #[error("{failure}")]
    Left { failure: Failure, session: bool, access: bool },
    /// A step could not be recorded, and was not begun.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The call was cancelled.
    #[error("interrupted")]
    Interrupted,
}

/// The part of the work that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{doing}: {said}")]
pub struct Failure {
    /// The part, as one word for programs.
    pub step: String,
    /// A participle phrase for messages, such as "starting mutagen".
    pub doing: String,
    /// The output of the tool, or the answer of the system.
    pub said: String,
}

impl Failure {
    /// The [`step`](Self::step) of a worktree that is gone or was replaced.
    pub const WORKTREE: &'static str = "worktree";
    /// The [`step`](Self::step) of a worktree whose files are all gone.
    pub const EMPTIED: &'static str = "emptied";
    /// The [`step`](Self::step) of a transfer that failed. Only another transfer can mend that.
    pub const TRANSFER: &'static str = "transfer";
    /// The [`step`](Self::step) of a session, which is made anew each time.
    pub const SESSION: &'static str = "session";

    /// Whether only the user can mend the part `step`: the worktree is lost or empty. coastd does not try again.
    pub fn is_lost_worktree(step: &str) -> bool {
        matches!(step, Self::WORKTREE | Self::EMPTIED)
    }

    /// What to do about it, for a sentence about the instance: what to mend first, if anything, and the command after that.
    pub fn ways_on(&self, instance: &Addressed) -> String {
        remedy(&self.step, instance)
    }
}

/// What to do about a part that failed.
pub(crate) fn remedy(part: &str, instance: &Addressed) -> String {
    match part {
        // These are made anew each time.
        Failure::SESSION | "agent" | "mutagen" => format!("try again with: coast start {instance}"),
        "image" => format!(
            "after that: coast start {instance}, or name another image with: coast start {instance} --image IMAGE"
        ),
        Failure::WORKTREE => format!(
            "bring the worktree back and then: coast start {instance}, or follow another one with: coast assign {instance} --worktree NAME_OR_PATH"
        ),
        _ => format!("mend that first, and then: coast start {instance}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_text_is_written_with_its_bytes() {
        let problem = Problem { side: Side::Remote, path: b"a\xe9".to_vec(), text: "denied".to_owned() };
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            "{\"side\":\"remote\",\"path\":\"a\u{fffd}\",\"path_bytes\":\"61e9\",\"text\":\"denied\"}"
        );
        let conflict = Conflict { path: b"a/b".to_vec(), made_there: Vec::new(), kept_by_ignored: false };
        assert_eq!(serde_json::to_string(&conflict).unwrap(), "{\"path\":\"a/b\"}");
        for path in [b"a\xe9".to_vec(), b"a/b".to_vec()] {
            let problem = Problem { path, ..problem.clone() };
            let text = serde_json::to_string(&problem).unwrap();
            assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
        }
    }
}
