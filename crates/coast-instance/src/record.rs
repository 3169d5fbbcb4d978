//! What is remembered of an instance: where it is, what it follows, and which step of which command was begun last. One file an
//! instance, `{state}/{project}/{instance}.json`, replaced as a whole and flushed to the disk *before* each step, so that
//! whatever kills a command, the next one knows what may have been begun.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::stored_path::StoredPath;
use crate::{Name, Places, durable};

/// The form of the file. A file of another form is refused, not guessed at.
const VERSION: u32 = 1;

/// The end of a record's file name.
const SUFFIX: &str = ".json";

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The form of the file.
    pub version: u32,
    /// The project it belongs to.
    pub project: Name,
    /// Its name.
    pub instance: Name,
    /// Where it is in its life.
    #[serde(flatten)]
    pub state: State,
    /// The root of the project.
    pub root: StoredPath,
    /// The directory here that the workspace follows, or is being made to follow.
    pub worktree: StoredPath,
    /// The machine it lives on, by the name it has among the remotes.
    pub remote: Name,
    /// Its directory on that machine.
    pub remote_path: String,
    /// Whether that is known to be this instance's: new when `run` came to it, or taken over by `--adopt`. Before that nothing
    /// in it is replaced or deleted.
    #[serde(default = "yes")]
    pub claimed: bool,
    /// The image that `run --image` named, which wins over the Coastfile's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<String>,
    /// How far the continuous layer is.
    pub following: Following,
    /// The shell container, from when one may exist until it is known to be gone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<String>,
    /// Whether a key may be in it.
    #[serde(default)]
    pub access: bool,
    /// A session that could not be ended, and may bring the files of its worktree still.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unended: Option<Unended>,
    /// The bulk transfer that came to its end last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_transfer: Option<LastTransfer>,
    /// When `run` was begun, in seconds since the epoch.
    pub created: u64,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// At rest, made by `run`, `assign`, `unassign` or `start`.
    Running,
    /// At rest, after `stop`.
    Stopped,
    /// A command is, or was, in the middle of its work.
    Working {
        /// The command.
        command: Command,
        /// The step that was begun last.
        step: Step,
    },
}

/// The commands that change an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// `coast run`
    Run,
    /// `coast assign`
    Assign,
    /// `coast unassign`
    Unassign,
    /// `coast start`
    Start,
    /// `coast stop`
    Stop,
    /// `coast rm`
    Rm,
    /// `coast rm --keep-workspace`
    RmKeepingWorkspace,
}

impl Command {
    /// As it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Assign => "assign",
            Self::Unassign => "unassign",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Rm | Self::RmKeepingWorkspace => "rm",
        }
    }

    /// What to type when it did not come to its end. A removal can also be undone, and is never finished by accident.
    pub fn ways_on(self, instance: &Name) -> String {
        match self {
            Self::Run => format!("finish it with: coast run {instance}"),
            Self::Stop => format!("finish it with: coast stop {instance}"),
            Self::Rm => {
                format!("finish it with: coast rm {instance}, or undo it with: coast start {instance}")
            }
            Self::RmKeepingWorkspace => format!(
                "finish it with: coast rm --keep-workspace {instance}, or undo it with: coast start {instance}"
            ),
            Self::Assign | Self::Unassign | Self::Start => format!("finish it with: coast start {instance}"),
        }
    }

    /// Whether it ends with the instance gone.
    pub fn removes(self) -> bool {
        matches!(self, Self::Rm | Self::RmKeepingWorkspace)
    }
}

/// What a command does, one after the other. `run` goes from [`Step::Transfer`] to [`Step::Gap`]; the others use those they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// End the session that follows the worktree of before.
    EndSession,
    /// Bring everything to the remote.
    Transfer,
    /// Make the shell container, or take the one that is there.
    Container,
    /// Put what is needed to reach the remote into it.
    Access,
    /// Create the session.
    Session,
    /// Bring what changed between the transfer and the session's first look.
    Gap,
    /// Take out of the container what was put in.
    RemoveAccess,
    /// Remove the shell container.
    RemoveContainer,
    /// Remove the directory on the remote.
    RemoveWorkspace,
}

impl Step {
    /// As it stands in the record, and in `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndSession => "end_session",
            Self::Transfer => "transfer",
            Self::Container => "container",
            Self::Access => "access",
            Self::Session => "session",
            Self::Gap => "gap",
            Self::RemoveAccess => "remove_access",
            Self::RemoveContainer => "remove_container",
            Self::RemoveWorkspace => "remove_workspace",
        }
    }
}

/// How far the continuous layer is, as the last command left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Following {
    /// Not wanted: the Coastfile says bulk only.
    BulkOnly,
    /// Ended by `stop`, or not begun yet.
    Off,
    /// A session was created and had its first look.
    Yes,
    /// It was wanted and is not possible; edits do not follow.
    Failed {
        /// What could not be done, in plain words.
        step: String,
        /// What the tool printed.
        said: String,
        /// When, in seconds since the epoch.
        at: u64,
    },
}

/// A session that should have ended and may still run, until a command has ended it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unended {
    /// The directory that it follows.
    pub worktree: StoredPath,
    /// The container it is in.
    pub container: String,
    /// Why it could not be ended.
    pub said: String,
    /// When that was tried, in seconds since the epoch.
    pub at: u64,
}

/// What the last bulk transfer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTransfer {
    /// When it ended, in seconds since the epoch.
    pub at: u64,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// Regular files that were sent.
    pub sent_files: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Entries that were deleted on the remote.
    pub deleted: u64,
    /// Regular files in all.
    pub files: u64,
    /// rsync's exit code: 23 or 24 when something could not be transferred.
    pub code: u8,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be read, written or removed.
    #[error("cannot {doing} the record {}: {error}", file.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// The file is not a record.
    #[error("the record {} cannot be understood: {message}; if it is beyond repair, remove the file and what it speaks of", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// The records of one user.
#[derive(Debug, Clone)]
pub struct Records {
    places: Places,
}

impl Records {
    /// Those kept at `places`.
    pub fn new(places: Places) -> Self {
        Self { places }
    }

    /// The file of an instance.
    pub fn file(&self, project: &Name, instance: &Name) -> PathBuf {
        self.places.instances(project).join(format!("{instance}{SUFFIX}"))
    }

    /// The lock of an instance.
    pub fn lock_file(&self, project: &Name, instance: &Name) -> PathBuf {
        self.places.instances(project).join(format!("{instance}.lock"))
    }

    /// An instance's record; none when there is no such instance.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn load(&self, project: &Name, instance: &Name) -> Result<Option<Record>, RecordError> {
        let file = self.file(project, instance);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RecordError::File { doing: "read", file, error }),
        };
        let wrong = |message: String| RecordError::Content { file: file.clone(), message };
        // The version first: another form may lack the fields of this one.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let versioned: Versioned = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if versioned.version != VERSION {
            return Err(wrong(format!(
                "it has the form {}, this program knows {VERSION}",
                versioned.version
            )));
        }
        let record: Record = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        // A file system that does not tell case apart, or somebody who copied a file.
        if (&record.project, &record.instance) != (project, instance) {
            return Err(wrong(format!("it is that of {}/{}", record.project, record.instance)));
        }
        // What is deleted as root there: never what a damaged or edited record names, only what `run` makes.
        if !is_workspace(&record.remote_path, project, instance) {
            return Err(wrong(format!(
                "its remote_path is {:?}, and the workspace of {project}/{instance} ends in {}",
                record.remote_path,
                workspace_suffix(project, instance)
            )));
        }
        Ok(Some(record))
    }

    /// Writes a record; when this returns, it survives a power cut.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, record: &Record) -> Result<(), RecordError> {
        let file = self.file(&record.project, &record.instance);
        let written = serde_json::to_vec_pretty(record)
            .map_err(io::Error::from)
            .and_then(|text| durable::replace(&file, &text));
        written.map_err(|error| RecordError::File { doing: "write", file, error })
    }

    /// Forgets an instance.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, project: &Name, instance: &Name) -> Result<(), RecordError> {
        let file = self.file(project, instance);
        durable::remove(&file).map_err(|error| RecordError::File { doing: "remove", file, error })
    }

    /// The names of a project's instances, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn instances(&self, project: &Name) -> Result<Vec<Name>, RecordError> {
        names_in(&self.places.instances(project), SUFFIX)
    }

    /// The names of all projects that have or had instances, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn projects(&self) -> Result<Vec<Name>, RecordError> {
        names_in(self.places.projects(), "")
    }

    /// All instances, as `project/instance`, that live on a remote.
    ///
    /// # Errors
    /// When a record cannot be read: then nobody knows.
    pub fn users_of(&self, remote: &Name) -> Result<Vec<String>, RecordError> {
        let mut users = Vec::new();
        for project in self.projects()? {
            for instance in self.instances(&project)? {
                let record = self.load(&project, &instance)?;
                if record.is_some_and(|record| record.remote == *remote) {
                    users.push(format!("{project}/{instance}"));
                }
            }
        }
        Ok(users)
    }
}

/// What the path of every workspace ends in, wherever its remote keeps them.
pub(crate) fn workspace_suffix(project: &Name, instance: &Name) -> String {
    format!("/workspaces/{project}/{instance}")
}

fn is_workspace(path: &str, project: &Name, instance: &Name) -> bool {
    let plain = |component: &str| component != "." && component != "..";
    path.starts_with('/')
        && path.ends_with(&workspace_suffix(project, instance))
        && path.split('/').all(plain)
}

/// The names of the files in a directory that end in `suffix`; no directory is none.
fn names_in(directory: &Path, suffix: &str) -> Result<Vec<Name>, RecordError> {
    let failed = |error| RecordError::File { doing: "list", file: directory.to_owned(), error };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?.file_name();
        let name = entry.to_str().and_then(|name| name.strip_suffix(suffix)).map(str::parse);
        // What is no name is not ours: a file that a kill left, say.
        names.extend(name.and_then(Result::ok));
    }
    names.sort();
    Ok(names)
}

impl Record {
    /// Whether it was stopped, and not all of what follows edits is known to be gone: there may be a session, or a key.
    pub fn is_half_stopped(&self) -> bool {
        self.state == State::Stopped && self.left_words().is_some()
    }

    /// What may still be there of the continuous layer, and where, in words. None if nothing is.
    pub fn left_words(&self) -> Option<String> {
        let session = self.unended.as_ref().map(|unended| {
            format!(
                "the session may go on in the container {}, so that edits of {} may still be followed",
                unended.container,
                unended.worktree.display()
            )
        });
        let container = self.container.as_deref().unwrap_or("of the instance");
        let key = self.access.then(|| format!("the key may still be in the container {container}"));
        let left: Vec<String> = session.into_iter().chain(key).collect();
        (!left.is_empty()).then(|| left.join(", and "))
    }

    /// The record of an instance that `run` is about to make.
    pub fn begun(
        project: Name,
        instance: Name,
        root: &Path,
        worktree: &Path,
        remote: Name,
        remote_path: String,
    ) -> Self {
        Self {
            version: VERSION,
            project,
            instance,
            state: State::Working { command: Command::Run, step: Step::Transfer },
            root: root.into(),
            worktree: worktree.into(),
            remote,
            remote_path,
            claimed: false,
            image: None,
            following: Following::Off,
            container: None,
            access: false,
            unended: None,
            last_transfer: None,
            created: now(),
        }
    }

    /// The command that was begun and has not ended, if there is one.
    pub fn unfinished(&self) -> Option<(Command, Step)> {
        match self.state {
            State::Working { command, step } => Some((command, step)),
            State::Running | State::Stopped => None,
        }
    }
}

/// Of a record that says nothing about it.
fn yes() -> bool {
    true
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn record(project: &str, instance: &str) -> Record {
        let path = format!("/data/workspaces/{project}/{instance}");
        Record::begun(name(project), name(instance), Path::new("/p"), Path::new("/p/wt"), name("box"), path)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let scratch = tempfile::tempdir().unwrap();
        let records = Records::new(Places::below(scratch.path()));
        assert_eq!(records.load(&name("p"), &name("dev-1")).unwrap(), None);
        let mut record = record("p", "dev-1");
        record.following =
            Following::Failed { step: "the image".to_owned(), said: "no such image".to_owned(), at: 7 };
        record.last_transfer = Some(LastTransfer {
            at: 1,
            milliseconds: 2,
            sent_files: 3,
            sent_bytes: 4,
            deleted: 5,
            files: 6,
            code: 24,
        });
        for state in [
            State::Running,
            State::Stopped,
            State::Working { command: Command::RmKeepingWorkspace, step: Step::RemoveWorkspace },
        ] {
            record.state = state;
            records.save(&record).unwrap();
            assert_eq!(records.load(&name("p"), &name("dev-1")).unwrap(), Some(record.clone()));
        }
        records.remove(&name("p"), &name("dev-1")).unwrap();
        records.remove(&name("p"), &name("dev-1")).unwrap();
        assert_eq!(records.load(&name("p"), &name("dev-1")).unwrap(), None);
    }

    #[test]
    fn a_record_that_names_something_else_than_a_workspace_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let records = Records::new(Places::below(scratch.path()));
        let mut record = record("p", "dev-1");
        for path in
            ["/etc", "/", "", "/data/workspaces/p/dev-2", "/x/../workspaces/p/dev-1", "workspaces/p/dev-1"]
        {
            record.remote_path = path.to_owned();
            records.save(&record).unwrap();
            let error = records.load(&name("p"), &name("dev-1")).unwrap_err();
            assert!(error.to_string().contains("remote_path"), "{error}");
        }
        record.remote_path = "/srv/a b/workspaces/p/dev-1".to_owned();
        records.save(&record).unwrap();
        assert!(records.load(&name("p"), &name("dev-1")).unwrap().is_some());
    }

    #[test]
    fn the_step_is_plain_to_see_in_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let records = Records::new(Places::below(scratch.path()));
        records.save(&record("p", "dev-1")).unwrap();
        let text = fs::read_to_string(records.file(&name("p"), &name("dev-1"))).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&value["state"], &value["command"], &value["step"]),
            (&"working".into(), &"run".into(), &"transfer".into())
        );
    }

    #[test]
    fn instances_are_listed_and_what_else_lies_there_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        let records = Records::new(places.clone());
        assert_eq!(records.projects().unwrap(), []);
        for instance in ["b", "a", "a.lock"] {
            records.save(&record("p", instance)).unwrap();
        }
        fs::write(places.instances(&name("p")).join(".new-x.json"), "").unwrap();
        fs::write(records.lock_file(&name("p"), &name("a")), "").unwrap();
        assert_eq!(records.instances(&name("p")).unwrap(), [name("a"), name("a.lock"), name("b")]);
        assert_eq!(records.projects().unwrap(), [name("p")]);
        assert_eq!(records.users_of(&name("box")).unwrap(), ["p/a", "p/a.lock", "p/b"]);
        assert_eq!(records.users_of(&name("attic")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_is_no_record_is_refused_by_name() {
        let scratch = tempfile::tempdir().unwrap();
        let records = Records::new(Places::below(scratch.path()));
        records.save(&record("p", "a")).unwrap();
        let text = fs::read_to_string(records.file(&name("p"), &name("a"))).unwrap();
        for (content, said) in [
            ("{".to_owned(), "EOF"),
            (text.replace("\"version\": 1", "\"version\": 2"), "form 2"),
            (text.replace("\"instance\": \"a\"", "\"instance\": \"b\""), "p/b"),
            (text.replace("\"box\"", "\"../x\""), "../x"),
        ] {
            fs::write(records.file(&name("p"), &name("a")), content).unwrap();
            let message = records.load(&name("p"), &name("a")).unwrap_err().to_string();
            assert!(message.contains("a.json") && message.contains(said), "{message}");
        }
    }
}
