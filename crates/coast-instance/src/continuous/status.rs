//! The status of a session: its activity, the files on their way, and the paths that it does not carry.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Addressed, Layer, StoredPath};

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
    /// The part of the work for whose failure the session has halted, if the layer tells that. It is a part of a [`Failure`](crate::Failure).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed_part: Option<String>,
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
    /// The paths that the session does not carry, because the session has not put the entry there on the remote.
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

impl ContinuousStatus {
    /// What to do about a session that has halted, for a sentence about the instance.
    pub fn remedy(&self, instance: &Addressed) -> String {
        match &self.failed_part {
            Some(part) => self.layer.remedy(part, instance),
            None => format!("go on with: coast start {instance}"),
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Edits that arrived together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBatch {
    /// The number of files that were made or replaced on the remote.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// The number of entries that were deleted on the remote.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub deleted: u64,
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

impl Retry {
    /// When the next attempt begins, and why the one before failed: `3rd try in 4 s: connection refused`.
    pub fn words(&self) -> String {
        let when = match self.in_milliseconds {
            0 => "under way".to_owned(),
            milliseconds => format!("in {} s", milliseconds.div_ceil(1000)),
        };
        format!("{} try {when}: {}", ordinal(self.attempt), self.error)
    }
}

/// `1st`, `2nd`, `3rd`, `4th`
fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
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
    /// It exists and does not run: a container that has ended, or the follower of a coastd that does not run.
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

/// A path that the session does not carry, because the session has not put the entry there on the remote.
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
mod path_fields {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct PathFields<'a> {
        path: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        path_bytes: Option<String>,
    }

    pub(super) fn serialize<S: Serializer>(path: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let text = String::from_utf8_lossy(path);
        let is_exact = matches!(text, Cow::Borrowed(_));
        let path_bytes = (!is_exact).then(|| data_encoding::HEXLOWER.encode(path));
        PathFields { path: text, path_bytes }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let PathFields { path, path_bytes } = PathFields::deserialize(deserializer)?;
        match path_bytes {
            Some(hex) => data_encoding::HEXLOWER.decode(hex.as_bytes()).map_err(serde::de::Error::custom),
            None => Ok(path.into_owned().into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_as_people_count() {
        let ordinals = [1, 2, 3, 4, 11, 12, 13, 21, 111].map(ordinal);
        assert_eq!(ordinals, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "111th"]);
    }

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
