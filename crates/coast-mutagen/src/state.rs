//! What mutagen says about its sessions: the JSON of `mutagen sync list --template '{{json .}}'` as of version 0.18,
//! whose model is documented at <https://pkg.go.dev/github.com/mutagen-io/mutagen/pkg/api/models/synchronization>.
//! What a later version adds is passed over.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A session, as it was when it was listed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionState {
    /// Its identifier, `sync_...`.
    pub identifier: String,
    /// Its name, which need not be unique.
    #[serde(default)]
    pub name: String,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// When it was created, as RFC 3339 has it.
    #[serde(default)]
    pub creation_time: String,
    /// What it is doing.
    pub status: Status,
    /// Whether it was paused.
    pub paused: bool,
    /// The local side: the worktree.
    pub alpha: EndpointState,
    /// The remote side.
    pub beta: EndpointState,
    /// What cannot be carried over because it changed on the remote side as well, or was not put there by this session.
    #[serde(default, deserialize_with = "or_default")]
    pub conflicts: Vec<Conflict>,
    /// How many conflicts there are beyond those listed.
    #[serde(default)]
    pub excluded_conflicts: u64,
    /// The last error, if mutagen has not got over it.
    #[serde(default)]
    pub last_error: Option<String>,
    /// How many times it has brought the remote side up to date since it last connected.
    #[serde(default)]
    pub successful_cycles: u64,
}

impl SessionState {
    /// Whether it is connected and at rest, having brought the remote side up to date at least once.
    pub fn is_settled(&self) -> bool {
        self.status == Status::Watching && self.successful_cycles > 0
    }

    /// Whether anything keeps a change from arriving, now or for good: a halt, a pause, an error, conflicts or problems.
    pub fn is_troubled(&self) -> bool {
        self.paused
            || self.status.is_halted()
            || self.status == Status::Disconnected
            || self.last_error.is_some()
            || !self.conflicts.is_empty()
            || self.alpha.has_problems()
            || self.beta.has_problems()
    }
}

/// One side of a session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EndpointState {
    /// How it is reached: `local` or `ssh`.
    pub protocol: String,
    /// The user, on the remote side.
    #[serde(default)]
    pub user: String,
    /// The host, on the remote side.
    #[serde(default)]
    pub host: String,
    /// The port, if the session's address names one.
    #[serde(default)]
    pub port: Option<u16>,
    /// The directory.
    pub path: String,
    /// Whether mutagen is connected to it. The rest is as of the last scan, and empty where there was none.
    pub connected: bool,
    /// Whether it was scanned since it was connected.
    #[serde(default)]
    pub scanned: bool,
    /// How many directories it has, itself included.
    #[serde(default)]
    pub directories: u64,
    /// How many files it has.
    #[serde(default)]
    pub files: u64,
    /// How many symbolic links it has.
    #[serde(default)]
    pub symbolic_links: u64,
    /// The size of all files together, in bytes.
    #[serde(default)]
    pub total_file_size: u64,
    /// What could not be read.
    #[serde(default, deserialize_with = "or_default")]
    pub scan_problems: Vec<Problem>,
    /// How many such problems there are beyond those listed.
    #[serde(default)]
    pub excluded_scan_problems: u64,
    /// What could not be changed.
    #[serde(default, deserialize_with = "or_default")]
    pub transition_problems: Vec<Problem>,
    /// How many such problems there are beyond those listed.
    #[serde(default)]
    pub excluded_transition_problems: u64,
    /// How far the files that are on their way have come.
    #[serde(default)]
    pub staging_progress: Option<StagingProgress>,
}

impl EndpointState {
    /// Whether something could not be read or changed.
    pub fn has_problems(&self) -> bool {
        !self.scan_problems.is_empty() || !self.transition_problems.is_empty()
    }

    /// Everything that could not be read or changed.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.scan_problems.iter().chain(&self.transition_problems)
    }
}

/// A path that could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The path below the directory; empty for itself.
    pub path: String,
    /// What mutagen says about it.
    pub error: String,
}

/// How far the files that are on their way have come.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
#[non_exhaustive]
pub struct StagingProgress {
    /// The file that is on its way.
    pub path: String,
    /// What has come of it, in bytes.
    pub received_size: u64,
    /// Its size in bytes.
    pub expected_size: u64,
    /// How many files have come.
    pub received_files: u64,
    /// How many are to come altogether.
    pub expected_files: u64,
    /// What has come of all files, in bytes.
    pub total_received_size: u64,
}

/// A change that is not carried over, since the remote side has one of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Conflict {
    /// The path at which both changed, below the directory; empty for itself.
    pub root: String,
    /// What changed on the local side.
    #[serde(default, deserialize_with = "or_default")]
    pub alpha_changes: Vec<Change>,
    /// What changed on the remote side.
    #[serde(default, deserialize_with = "or_default")]
    pub beta_changes: Vec<Change>,
}

/// A change at one path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// The path below the directory; empty for itself.
    pub path: String,
    /// What was there, if anything.
    #[serde(default)]
    pub old: Option<Entry>,
    /// What is there, if anything.
    #[serde(default)]
    pub new: Option<Entry>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its kind.
    pub kind: Kind,
    /// The hash of a file's content, in hexadecimal digits.
    #[serde(default)]
    pub digest: Option<String>,
    /// Whether a file may be executed.
    #[serde(default)]
    pub executable: bool,
    /// Where a symbolic link points.
    #[serde(default)]
    pub target: Option<String>,
    /// What a directory holds, where mutagen lists that.
    #[serde(default, deserialize_with = "or_default")]
    pub contents: BTreeMap<String, Option<Entry>>,
    /// Why it cannot be carried over.
    #[serde(default)]
    pub problem: Option<String>,
}

/// The kind of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// Something that is ignored.
    Untracked,
    /// Something that cannot be carried over.
    Problematic,
    /// A directory that is there only because something in it is not ignored.
    PhantomDirectory,
    /// A kind that this version does not know.
    #[serde(untagged)]
    Other(String),
}

/// What a session is doing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Status {
    /// It is not connected.
    Disconnected,
    /// It has stopped: one side has lost everything.
    HaltedOnRootEmptied,
    /// It has stopped: one side's directory is gone.
    HaltedOnRootDeletion,
    /// It has stopped: one side's directory is something else now.
    HaltedOnRootTypeChange,
    /// It is connecting to the local side.
    ConnectingAlpha,
    /// It is connecting to the remote side.
    ConnectingBeta,
    /// It is at rest and waits for changes.
    Watching,
    /// It is looking for changes.
    Scanning,
    /// It waits a few seconds, since something changed while it looked.
    WaitingForRescan,
    /// It is comparing the two sides.
    Reconciling,
    /// It is bringing files to the local side.
    StagingAlpha,
    /// It is bringing files to the remote side.
    StagingBeta,
    /// It is putting changes into place.
    Transitioning,
    /// It is writing down what it has done.
    Saving,
    /// A status that this version does not know.
    #[serde(untagged)]
    Other(String),
}

impl Status {
    /// Whether it has stopped, and only a new session goes on.
    pub fn is_halted(&self) -> bool {
        matches!(self, Self::HaltedOnRootEmptied | Self::HaltedOnRootDeletion | Self::HaltedOnRootTypeChange)
    }

    /// Mutagen's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Disconnected => "disconnected",
            Self::HaltedOnRootEmptied => "halted-on-root-emptied",
            Self::HaltedOnRootDeletion => "halted-on-root-deletion",
            Self::HaltedOnRootTypeChange => "halted-on-root-type-change",
            Self::ConnectingAlpha => "connecting-alpha",
            Self::ConnectingBeta => "connecting-beta",
            Self::Watching => "watching",
            Self::Scanning => "scanning",
            Self::WaitingForRescan => "waiting-for-rescan",
            Self::Reconciling => "reconciling",
            Self::StagingAlpha => "staging-alpha",
            Self::StagingBeta => "staging-beta",
            Self::Transitioning => "transitioning",
            Self::Saving => "saving",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "not connected",
            Self::HaltedOnRootEmptied => "halted: one side has lost all its files",
            Self::HaltedOnRootDeletion => "halted: the directory of one side is gone",
            Self::HaltedOnRootTypeChange => "halted: the directory of one side is something else now",
            Self::ConnectingAlpha => "connecting to the worktree",
            Self::ConnectingBeta => "connecting to the remote",
            Self::Watching => "watching for changes",
            Self::Scanning => "looking for changes",
            Self::WaitingForRescan => "waiting to look again",
            Self::Reconciling => "comparing the two sides",
            Self::StagingAlpha => "bringing files to the worktree",
            Self::StagingBeta => "bringing files to the remote",
            Self::Transitioning => "putting changes into place",
            Self::Saving => "writing down what it has done",
            Self::Other(word) => word,
        })
    }
}

/// Reads the list of sessions.
pub(crate) fn parse(json: &[u8]) -> Result<Vec<SessionState>, serde_json::Error> {
    serde_json::from_slice(json)
}

/// Go writes an empty list or map as `null` as often as not at all.
fn or_default<'a, D: Deserializer<'a>, T: Deserialize<'a> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(name: &str) -> SessionState {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/mutagen/recordings");
        let mut sessions = parse(&std::fs::read(path.join(name)).unwrap()).unwrap();
        assert_eq!(sessions.len(), 1, "{name}");
        sessions.remove(0)
    }

    #[test]
    fn no_session_is_an_empty_list() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mutagen/recordings/none.json");
        assert_eq!(parse(&std::fs::read(path).unwrap()).unwrap(), []);
    }

    #[test]
    fn a_session_at_rest() {
        let session = recording("watching.json");
        assert_eq!(session.identifier, "sync_yAwXU60rLUUuUFsCUD9TgtTHdWqVJIeq8UipzbjXJK2");
        assert_eq!((session.name.as_str(), session.paused), ("coast-p-dev-1", false));
        assert_eq!((session.status.clone(), session.successful_cycles), (Status::Watching, 2));
        assert_eq!((session.alpha.protocol.as_str(), session.alpha.path.as_str()), ("local", "/workspace"));
        let beta = &session.beta;
        assert_eq!((beta.user.as_str(), beta.host.as_str(), beta.port), ("dev", "remote.example", None));
        assert_eq!((beta.directories, beta.files, beta.total_file_size), (134, 798, 2_770_614));
        assert!(session.is_settled() && !session.is_troubled());
    }

    #[test]
    fn a_session_that_is_at_its_first_transfer() {
        let session = recording("just-created.json");
        assert_eq!((session.status.clone(), session.successful_cycles), (Status::StagingBeta, 0));
        let progress = session.beta.staging_progress.as_ref().unwrap();
        assert_eq!(
            (progress.path.as_str(), progress.received_files, progress.expected_files),
            ("BUILDING.md", 97, 798)
        );
        assert!(!session.is_settled() && !session.is_troubled());
    }

    #[test]
    fn a_conflict_and_a_problem_have_their_paths() {
        let session = recording("conflict.json");
        let [conflict] = session.conflicts.as_slice() else { panic!("{:?}", session.conflicts) };
        assert_eq!(conflict.root, "conf.txt");
        let [change] = conflict.beta_changes.as_slice() else { panic!("{conflict:?}") };
        assert_eq!((change.path.as_str(), &change.old), ("conf.txt", &None));
        let new = change.new.as_ref().unwrap();
        assert_eq!(new.kind, Kind::File);
        assert_eq!(new.digest.as_deref(), Some("89e6c98d92887913cadf06b2adb97f26cde4849b"));
        let problems: Vec<_> = session.beta.problems().map(|problem| problem.path.as_str()).collect();
        assert_eq!(problems, ["perm"]);
        assert!(session.is_settled() && session.is_troubled());
    }

    #[test]
    fn each_problem_is_told() {
        let session = recording("problems.json");
        let problems: Vec<_> =
            session.beta.problems().map(|problem| (problem.path.as_str(), problem.error.as_str())).collect();
        let denied = "unable to open directory: permission denied";
        assert_eq!(problems, [("perm", denied), ("rooted", denied)]);
    }

    #[test]
    fn a_worktree_that_lost_everything_halts_the_session() {
        let session = recording("emptied.json");
        assert_eq!(session.status, Status::HaltedOnRootEmptied);
        assert!(session.status.is_halted() && session.is_troubled() && !session.is_settled());
        assert_eq!((session.alpha.directories, session.alpha.files), (1, 0));
    }

    #[test]
    fn a_paused_session_has_no_state() {
        let session = recording("paused.json");
        assert_eq!((session.paused, session.status.clone()), (true, Status::Disconnected));
        assert!(!session.alpha.connected && !session.beta.connected && session.is_troubled());
    }

    #[test]
    fn what_this_version_does_not_know_is_passed_on_or_over() {
        let text = r#"[{"identifier":"sync_x","version":9,"labels":null,"conflicts":null,"news":{"a":[1]},
            "alpha":{"protocol":"local","path":"/w","connected":true,"scanProblems":null},
            "beta":{"protocol":"ssh","path":"/w","port":2222,"connected":true},
            "paused":false,"status":"pondering","lastError":"no"}]"#;
        let session = parse(text.as_bytes()).unwrap().remove(0);
        assert_eq!(session.status, Status::Other("pondering".to_owned()));
        assert_eq!(session.status.as_str(), "pondering");
        assert_eq!((session.beta.port, session.last_error.as_deref()), (Some(2222), Some("no")));
        assert!(session.is_troubled());
    }

    #[test]
    fn the_words_of_a_status_are_mutagens() {
        for word in
            ["disconnected", "halted-on-root-type-change", "connecting-beta", "waiting-for-rescan", "saving"]
        {
            let status: Status = serde_json::from_str(&format!("\"{word}\"")).unwrap();
            assert!(!matches!(status, Status::Other(_)), "{word}");
            assert_eq!(status.as_str(), word);
        }
    }

    #[test]
    fn a_list_that_is_none_is_an_error() {
        for text in ["", "{}", "[{}]", "Error: no", "[{\"identifier\":"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
