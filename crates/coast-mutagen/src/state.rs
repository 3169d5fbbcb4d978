//! The state of mutagen's sessions: the JSON of `mutagen sync list --template '{{json .}}'` of mutagen 0.18, whose model is
//! documented at <https://pkg.go.dev/github.com/mutagen-io/mutagen/pkg/api/models/synchronization>. Fields that this crate does
//! not use, and fields that a later version adds, are ignored.

use crate::name::PRIVATE_LABEL;
use crate::pattern::literal_path;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// A session, as mutagen listed it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionState {
    /// Mutagen's identifier of the session, `sync_...`. It is unique, unlike the name.
    pub identifier: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    /// The activity of the session.
    pub status: Status,
    /// Whether somebody paused the session.
    pub paused: bool,
    /// The local side: the worktree.
    pub alpha: EndpointState,
    /// The remote side: the workspace.
    pub beta: EndpointState,
    #[serde(default, deserialize_with = "or_default")]
    ignore: Ignore,
    #[serde(default, deserialize_with = "or_default")]
    conflicts: Vec<Conflict>,
    /// The number of conflicts that mutagen did not list.
    #[serde(default)]
    pub excluded_conflicts: u64,
    /// The last error, until mutagen has recovered from it.
    #[serde(default)]
    pub last_error: Option<String>,
}

impl SessionState {
    /// The paths that mutagen does not carry over, because the remote side has a change there that this session did not make.
    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts.iter()
    }

    /// The files that the session leaves out because they are private. Their paths are relative to the worktree.
    pub fn private(&self) -> impl Iterator<Item = String> {
        let count = self.labels.get(PRIVATE_LABEL).and_then(|count| count.parse().ok()).unwrap_or(0);
        let patterns = &self.ignore.paths;
        patterns[patterns.len().saturating_sub(count)..].iter().map(|pattern| literal_path(pattern))
    }
}

/// The ignore patterns of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct Ignore {
    #[serde(default, deserialize_with = "or_default")]
    paths: Vec<String>,
}

/// One side of a session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EndpointState {
    /// The number of directories at the last scan, the root included. Zero before the first scan.
    #[serde(default)]
    pub directories: u64,
    /// The number of files at the last scan. Zero before the first scan.
    #[serde(default)]
    pub files: u64,
    /// What this side is receiving, if it is.
    #[serde(default)]
    pub staging_progress: Option<StagingProgress>,
    #[serde(default, deserialize_with = "or_default")]
    scan_problems: Vec<Problem>,
    #[serde(default)]
    excluded_scan_problems: u64,
    #[serde(default, deserialize_with = "or_default")]
    transition_problems: Vec<Problem>,
    #[serde(default)]
    excluded_transition_problems: u64,
}

impl EndpointState {
    /// The paths that could not be read or written on this side, each with mutagen's message.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        let problems = self.scan_problems.iter().chain(&self.transition_problems);
        problems.map(|problem| (problem.path.as_str(), problem.error.as_str()))
    }

    /// The number of such paths that mutagen did not list.
    pub fn excluded_problems(&self) -> u64 {
        self.excluded_scan_problems + self.excluded_transition_problems
    }
}

/// How far one side is with receiving files. Mutagen writes no zeros.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct StagingProgress {
    /// The file under way, relative to the worktree.
    pub path: String,
    /// The bytes of that file that have arrived.
    pub received_size: u64,
    /// The size of that file.
    pub expected_size: u64,
    /// The number of files that have arrived whole.
    pub received_files: u64,
    /// The number of files to receive.
    pub expected_files: u64,
    /// The bytes that have arrived, of all files.
    pub total_received_size: u64,
}

/// A path that mutagen does not carry over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Conflict {
    /// Relative to the worktree; the worktree itself is the empty path.
    pub root: String,
    #[serde(default, deserialize_with = "or_default")]
    alpha_changes: Vec<Change>,
    #[serde(default, deserialize_with = "or_default")]
    beta_changes: Vec<Change>,
}

impl Conflict {
    /// The paths that were made on the remote side. An entry that the session ignores is none of them.
    pub fn made_there(&self) -> impl Iterator<Item = &str> {
        let made =
            self.beta_changes.iter().filter(|change| change.new_kind().is_some_and(|kind| kind != UNTRACKED));
        made.map(|change| change.path.as_str())
    }

    /// Whether the path was deleted locally, and only entries that the session ignores keep it on the remote side.
    pub fn is_kept_by_ignored(&self) -> bool {
        let deleted =
            self.alpha_changes.iter().all(|change| change.path == self.root && change.new_kind().is_none());
        let ignored = |change: &Change| change.new_kind() == Some(UNTRACKED);
        !self.alpha_changes.is_empty()
            && deleted
            && !self.beta_changes.is_empty()
            && self.beta_changes.iter().all(ignored)
    }
}

/// Mutagen's word for an entry that the session ignores.
const UNTRACKED: &str = "untracked";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Change {
    #[serde(default)]
    path: String,
    #[serde(default)]
    new: Option<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Entry {
    #[serde(default)]
    kind: String,
}

impl Change {
    /// The kind of entry that there is now; none if it is gone.
    fn new_kind(&self) -> Option<&str> {
        self.new.as_ref().map(|entry| entry.kind.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Problem {
    path: String,
    error: String,
}

/// The activity of a session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Status {
    /// The session is not connected.
    Disconnected,
    /// The session stopped because one side lost all its files.
    HaltedOnRootEmptied,
    /// The session stopped because the directory of one side is gone.
    HaltedOnRootDeletion,
    /// The session stopped because the directory of one side was replaced by something else.
    HaltedOnRootTypeChange,
    /// Mutagen connects to the local side.
    ConnectingAlpha,
    /// Mutagen connects to the remote side.
    ConnectingBeta,
    /// The session waits for changes.
    Watching,
    /// Mutagen looks for changes.
    Scanning,
    /// Mutagen waits a few seconds, because files changed during the scan.
    WaitingForRescan,
    /// Mutagen compares the two sides.
    Reconciling,
    /// Files are sent to the local side.
    StagingAlpha,
    /// Files are sent to the remote side.
    StagingBeta,
    /// Received files are moved into place.
    Transitioning,
    /// Mutagen saves the state of the session.
    Saving,
    /// A status that this crate does not know, in mutagen's word.
    #[serde(untagged)]
    Other(String),
}

impl Status {
    /// Whether the session has stopped for good. Only a new session goes on.
    pub fn is_halted(&self) -> bool {
        matches!(self, Self::HaltedOnRootEmptied | Self::HaltedOnRootDeletion | Self::HaltedOnRootTypeChange)
    }

    /// Mutagen's word for the status.
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

/// Parses the list of sessions.
pub(crate) fn parse(json: &[u8]) -> Result<Vec<SessionState>, serde_json::Error> {
    serde_json::from_slice(json)
}

/// Reads a list or map that mutagen, like many Go programs, writes as `null` when it is empty.
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
    fn a_session_at_rest_has_its_name_and_counts() {
        let session = recording("watching.json");
        assert_eq!(session.identifier, "sync_yAwXU60rLUUuUFsCUD9TgtTHdWqVJIeq8UipzbjXJK2");
        assert_eq!((session.name.as_str(), session.paused), ("coast-p-dev-1", false));
        assert_eq!(session.status, Status::Watching);
        assert_eq!((session.beta.directories, session.beta.files), (134, 798));
        assert_eq!((session.conflicts().count(), session.beta.problems().count()), (0, 0));
    }

    #[test]
    fn a_session_at_its_first_transfer_is_staging() {
        let session = recording("just-created.json");
        assert_eq!(session.status, Status::StagingBeta);
        let expected = StagingProgress {
            path: "BUILDING.md".to_owned(),
            received_size: 2585,
            expected_size: 2585,
            received_files: 97,
            expected_files: 798,
            total_received_size: 314_512,
        };
        assert_eq!(session.beta.staging_progress, Some(expected));
        assert_eq!(recording("watching.json").beta.staging_progress, None);
    }

    #[test]
    fn a_conflict_and_a_problem_have_their_paths() {
        let session = recording("conflict.json");
        let conflict = session.conflicts().next().unwrap();
        assert_eq!((conflict.root.as_str(), session.conflicts().count()), ("conf.txt", 1));
        assert_eq!(conflict.made_there().collect::<Vec<_>>(), ["conf.txt"]);
        assert!(!conflict.is_kept_by_ignored());
        let problems: Vec<_> = session.beta.problems().map(|(path, _)| path).collect();
        assert_eq!(problems, ["perm"]);
    }

    #[test]
    fn a_deleted_directory_is_kept_by_entries_that_are_ignored() {
        let conflict = |beta: &str| -> Conflict {
            let text = format!(
                r#"{{"root":"pkg","alphaChanges":[{{"path":"pkg","old":{{"kind":"directory","contents":null}},"new":null}}],
                "betaChanges":[{beta}]}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let ignored = r#"{"path":"pkg/node_modules","old":null,"new":{"kind":"untracked"}}"#;
        let made = r#"{"path":"pkg/made","old":null,"new":{"kind":"file","digest":"00"}}"#;
        assert!(conflict(ignored).is_kept_by_ignored());
        assert_eq!(conflict(ignored).made_there().count(), 0);
        let both = conflict(&format!("{ignored},{made}"));
        assert!(!both.is_kept_by_ignored());
        assert_eq!(both.made_there().collect::<Vec<_>>(), ["pkg/made"]);
        assert!(!conflict("").is_kept_by_ignored());
    }

    #[test]
    fn each_problem_has_its_message() {
        let session = recording("problems.json");
        let denied = "unable to open directory: permission denied";
        assert_eq!(session.beta.problems().collect::<Vec<_>>(), [("perm", denied), ("rooted", denied)]);
    }

    #[test]
    fn a_worktree_that_lost_everything_halts_the_session() {
        let session = recording("emptied.json");
        assert_eq!(session.status, Status::HaltedOnRootEmptied);
        assert!(session.status.is_halted());
        assert_eq!((session.alpha.directories, session.alpha.files), (1, 0));
    }

    #[test]
    fn a_paused_session_is_disconnected() {
        let session = recording("paused.json");
        assert_eq!((session.paused, session.status), (true, Status::Disconnected));
    }

    #[test]
    fn unknown_fields_are_ignored_and_an_unknown_status_is_kept() {
        let text = r#"[{"identifier":"sync_x","version":9,"labels":null,"conflicts":null,"news":{"a":[1]},
            "alpha":{"protocol":"local","path":"/w","connected":true,"scanProblems":null},
            "beta":{"protocol":"ssh","path":"/w","port":2222,"connected":true},
            "paused":false,"status":"pondering","lastError":"no"}]"#;
        let session = parse(text.as_bytes()).unwrap().remove(0);
        assert_eq!(session.status, Status::Other("pondering".to_owned()));
        assert_eq!(session.status.as_str(), "pondering");
        assert_eq!(session.last_error.as_deref(), Some("no"));
    }

    #[test]
    fn the_private_files_are_those_of_the_last_patterns() {
        let text = r#"[{"identifier":"sync_x","labels":{"coast-private":"2"},"ignore":{"paths":["*.log","/a/.env","/b\\*c"],"vcs":true},
            "alpha":{},"beta":{},"paused":false,"status":"watching"}]"#;
        let session = parse(text.as_bytes()).unwrap().remove(0);
        assert_eq!(session.private().collect::<Vec<_>>(), ["a/.env", "b*c"]);
        assert_eq!(recording("watching.json").private().count(), 0);
    }

    #[test]
    fn each_status_has_mutagens_word() {
        for word in
            ["disconnected", "halted-on-root-type-change", "connecting-beta", "waiting-for-rescan", "saving"]
        {
            let status: Status = serde_json::from_str(&format!("\"{word}\"")).unwrap();
            assert!(!matches!(status, Status::Other(_)), "{word}");
            assert_eq!(status.as_str(), word);
        }
    }

    #[test]
    fn output_that_is_no_list_of_sessions_is_an_error() {
        for text in ["", "{}", "[{}]", "Error: no", "[{\"identifier\":"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
