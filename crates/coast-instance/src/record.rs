//! The record of an instance: its workspace, its worktree, and the last step that a command began. Each instance has a file,
//! `{state}/{project}/{instance}.json`. The file is replaced as a whole and flushed to the disk *before* each step. So after a kill
//! at any moment the next command knows every step that may have begun.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::file_error::{Doing, FileError, if_found};
use crate::stale::Stale;
use crate::stored_path::StoredPath;
use crate::{Name, Places, durable};

/// The version of the file's format. A file of another version is refused.
const VERSION: u32 = 1;

/// The suffix of a record's file name.
const SUFFIX: &str = ".json";

/// The record of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of the file's format.
    pub version: u32,
    /// The name of the project.
    pub project: Name,
    /// The name of the instance.
    pub instance: Name,
    /// The state: running, stopped, or in the middle of a command.
    #[serde(flatten)]
    pub state: State,
    /// The root of the project.
    pub root: StoredPath,
    /// The worktree that the workspace follows, or will follow after the present command.
    pub worktree: StoredPath,
    /// The name of the remote.
    pub remote: Name,
    /// The absolute path of the workspace on the remote.
    pub remote_path: String,
    /// Whether the workspace belongs to this instance: it was new when `run` came to it, or `--adopt` took it over. Before that,
    /// nothing in it is replaced or deleted.
    #[serde(default = "yes")]
    pub claimed: bool,
    /// The image that `run --image` named. It takes precedence over the Coastfile's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<String>,
    /// Whether edits are carried.
    pub following: Following,
    /// The runner of the continuous layer, such as `container shop-coasts-dev-1-shell`: from the moment at which it may exist until it
    /// is known to be gone. Older records have only the name of the container.
    #[serde(skip_serializing_if = "Option::is_none", default, alias = "container")]
    pub runner: Option<String>,
    /// Whether a key for the remote may be in the runner.
    #[serde(default)]
    pub access: bool,
    /// A session that could not be ended, and may still carry edits of its worktree.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unended: Option<Unended>,
    /// The last bulk transfer of the whole worktree that finished.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_transfer: Option<LastTransfer>,
    /// The entries that the last transfers could not bring up to date.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stale: Option<Stale>,
    /// The start of `run`, in seconds since the epoch.
    pub created: u64,
}

/// The state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The last command was `run`, `assign`, `unassign` or `start`, and has finished.
    Running,
    /// The last command was `stop`, and has finished.
    Stopped,
    /// A command is under way, or was when it was killed.
    Working {
        /// The command.
        command: Command,
        /// The last step that was begun.
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
    /// The word on the command line.
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

    /// The commands that finish or undo a command that did not finish.
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

    /// Whether the command removes the instance.
    pub fn removes(self) -> bool {
        matches!(self, Self::Rm | Self::RmKeepingWorkspace)
    }
}

/// The steps of commands. `run` goes from [`Step::Transfer`] to [`Step::Gap`]; other commands use some of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// End the session of the old worktree.
    EndSession,
    /// Transfer the whole worktree.
    Transfer,
    /// Create, reuse or replace the runner.
    #[serde(alias = "container")]
    Runner,
    /// Give the runner access to the remote.
    Access,
    /// Create the session, and wait for its first scan.
    Session,
    /// Transfer the paths that changed between the transfer and the session's first scan.
    Gap,
    /// Remove the access from the runner.
    RemoveAccess,
    /// Remove the runner.
    #[serde(alias = "remove_container")]
    RemoveRunner,
    /// Remove the directory on the remote.
    RemoveWorkspace,
}

impl Step {
    /// The name in records and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndSession => "end_session",
            Self::Transfer => "transfer",
            Self::Runner => "runner",
            Self::Access => "access",
            Self::Session => "session",
            Self::Gap => "gap",
            Self::RemoveAccess => "remove_access",
            Self::RemoveRunner => "remove_runner",
            Self::RemoveWorkspace => "remove_workspace",
        }
    }
}

/// Whether edits are carried, as the last command left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Following {
    /// No, because the Coastfile does not ask for it.
    BulkOnly,
    /// No, because `stop` ended the session, or no session was created yet.
    Off,
    /// Yes: a session was created and has finished its first scan.
    Yes,
    /// No, because a step failed.
    Failed {
        /// A participle phrase for the step, such as "starting mutagen".
        step: String,
        /// The output of the tool, or the answer of the system.
        said: String,
        /// The time of the failure, in seconds since the epoch.
        at: u64,
    },
}

/// A session that could not be ended and may still run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unended {
    /// The directory whose edits the session carries.
    pub worktree: StoredPath,
    /// The runner of the session.
    #[serde(alias = "container")]
    pub runner: String,
    /// The error of the attempt to end it.
    pub said: String,
    /// The time of that attempt, in seconds since the epoch.
    pub at: u64,
}

/// The counts of a bulk transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTransfer {
    /// The time of its end, in seconds since the epoch.
    pub at: u64,
    /// The duration in milliseconds.
    pub milliseconds: u64,
    /// The number of regular files that were sent.
    pub sent_files: u64,
    /// The size of those files, in bytes.
    pub sent_bytes: u64,
    /// The number of entries that were deleted on the remote.
    pub deleted: u64,
    /// The number of regular files in the worktree.
    pub files: u64,
    /// rsync's exit code: 23 if entries could not be transferred, 24 if source files vanished.
    pub code: u8,
}

/// The error of reading or writing a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum RecordError {
    /// The file cannot be read, written or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The content of the file is not a valid record.
    #[error("the record {} cannot be understood: {message}; correct it, or remove the file, and the workspace and the container that it names", file.display())]
    Content { file: PathBuf, message: String },
}

/// The records of one user.
#[derive(Debug, Clone)]
pub struct Records {
    places: Places,
}

impl Records {
    /// The records in the directories of `places`.
    pub fn new(places: Places) -> Self {
        Self { places }
    }

    /// The record file of an instance.
    pub fn file(&self, project: &Name, instance: &Name) -> PathBuf {
        self.places.instances(project).join(format!("{instance}{SUFFIX}"))
    }

    /// The lock file of an instance.
    pub fn lock_file(&self, project: &Name, instance: &Name) -> PathBuf {
        self.places.instances(project).join(format!("{instance}.lock"))
    }

    /// The record of an instance; `None` if there is no such instance.
    ///
    /// # Errors
    /// When the file cannot be read or is not a valid record.
    pub fn load(&self, project: &Name, instance: &Name) -> Result<Option<Record>, RecordError> {
        let file = self.file(project, instance);
        let Some(text) = if_found(fs::read(&file)).doing("read the record", &file)? else { return Ok(None) };
        let wrong = |message: String| RecordError::Content { file: file.clone(), message };
        // The version is checked first: a file of another version may lack the other fields.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let versioned: Versioned = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if versioned.version != VERSION {
            return Err(wrong(format!(
                "its version is {}, and this program knows version {VERSION}",
                versioned.version
            )));
        }
        let record: Record = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        // The file may have been copied, or the file system may ignore case.
        if (&record.project, &record.instance) != (project, instance) {
            return Err(wrong(format!("it is the record of {}/{}", record.project, record.instance)));
        }
        // `rm` deletes this path as root. A damaged or edited record must not name a path that `run` would not make.
        if !is_workspace(&record.remote_path, project, instance) {
            return Err(wrong(format!(
                "its remote_path is {:?}, and the workspace of {project}/{instance} ends in {}",
                record.remote_path,
                workspace_suffix(project, instance)
            )));
        }
        Ok(Some(record))
    }

    /// Writes a record and flushes it to the disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, record: &Record) -> Result<(), RecordError> {
        let file = self.file(&record.project, &record.instance);
        let written = serde_json::to_vec_pretty(record)
            .map_err(io::Error::from)
            .and_then(|text| durable::replace(&file, &text));
        Ok(written.doing("write the record", &file)?)
    }

    /// Removes the record of an instance, if there is one.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, project: &Name, instance: &Name) -> Result<(), RecordError> {
        let file = self.file(project, instance);
        Ok(durable::remove(&file).doing("remove the record", &file)?)
    }

    /// The names of a project's instances, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn instances(&self, project: &Name) -> Result<Vec<Name>, RecordError> {
        names_in(&self.places.instances(project), SUFFIX)
    }

    /// The names of all projects that have or had an instance, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn projects(&self) -> Result<Vec<Name>, RecordError> {
        names_in(self.places.projects(), "")
    }

    /// All instances on a remote, as `project/instance`.
    ///
    /// # Errors
    /// When a record cannot be read, since that instance may be on the remote.
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

/// The suffix of every workspace's path.
pub(crate) fn workspace_suffix(project: &Name, instance: &Name) -> String {
    format!("/workspaces/{project}/{instance}")
}

fn is_workspace(path: &str, project: &Name, instance: &Name) -> bool {
    let plain = |component: &str| component != "." && component != "..";
    path.starts_with('/')
        && path.ends_with(&workspace_suffix(project, instance))
        && path.split('/').all(plain)
}

/// The names of the files in a directory, without their `suffix`; other files are ignored. A missing directory is empty.
fn names_in(directory: &Path, suffix: &str) -> Result<Vec<Name>, RecordError> {
    let listing = "list the records in";
    let Some(entries) = if_found(fs::read_dir(directory)).doing(listing, directory)? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.doing(listing, directory)?.file_name();
        let name = entry.to_str().and_then(|name| name.strip_suffix(suffix)).map(str::parse);
        // Other files, such as temporary files of a killed command, have names that are not valid.
        names.extend(name.and_then(Result::ok));
    }
    names.sort();
    Ok(names)
}

impl Record {
    /// Whether the instance was stopped and a session or a key may be left.
    pub fn is_half_stopped(&self) -> bool {
        self.state == State::Stopped && self.left_words().is_some()
    }

    /// The session and the key that may be left, in words for a message. `None` if neither can be left.
    pub fn left_words(&self) -> Option<String> {
        let session = self.unended.as_ref().map(|unended| {
            format!(
                "the session may go on in the {}, so that edits of {} may still be carried",
                unended.runner,
                unended.worktree.display()
            )
        });
        let runner = self.runner.as_deref().unwrap_or("runner of the instance");
        let key = self.access.then(|| format!("the key may still be in the {runner}"));
        let left: Vec<String> = session.into_iter().chain(key).collect();
        (!left.is_empty()).then(|| left.join(", and "))
    }

    /// The record for a `run` that begins.
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
            runner: None,
            access: false,
            unended: None,
            last_transfer: None,
            stale: None,
            created: now(),
        }
    }

    /// Records a transfer of the whole worktree, after which `stale` is not up to date.
    pub(crate) fn transferred(&mut self, transfer: LastTransfer, stale: Option<Stale>) {
        self.last_transfer = Some(transfer);
        self.stale = stale;
    }

    /// Records a later transfer, of the paths `only` or of the whole worktree, after which `stale` is not up to date.
    pub(crate) fn transferred_again(&mut self, only: Option<&[Vec<u8>]>, stale: Option<Stale>) {
        self.stale = match only {
            Some(only) => Stale::after(self.stale.take(), only, stale),
            None => stale,
        };
    }

    /// The exit code of a command that left the instance like this: that of [`Record::stale`] if the instance runs, or else 0.
    pub fn exit_code(&self) -> u8 {
        match (&self.stale, self.state) {
            (Some(stale), State::Running) => stale.code,
            _ => 0,
        }
    }

    /// The command that was begun and has not finished, if there is one, and its step.
    pub fn unfinished(&self) -> Option<(Command, Step)> {
        match self.state {
            State::Working { command, step } => Some((command, step)),
            State::Running | State::Stopped => None,
        }
    }
}

/// The default of `claimed`: older records lack the field, and their workspaces were all claimed.
fn yes() -> bool {
    true
}

/// The time, in seconds since the epoch.
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
    fn an_older_record_with_a_container_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let records = Records::new(Places::below(scratch.path()));
        let mut record = record("p", "a");
        record.state = State::Working { command: Command::Rm, step: Step::RemoveRunner };
        record.runner = Some("p-coasts-a-shell".to_owned());
        records.save(&record).unwrap();
        let file = records.file(&name("p"), &name("a"));
        let text = fs::read_to_string(&file).unwrap();
        let older = text.replace("\"runner\"", "\"container\"").replace("remove_runner", "remove_container");
        assert_ne!(older, text);
        fs::write(&file, older).unwrap();
        assert_eq!(records.load(&name("p"), &name("a")).unwrap(), Some(record));
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
            (text.replace("\"version\": 1", "\"version\": 2"), "version is 2"),
            (text.replace("\"instance\": \"a\"", "\"instance\": \"b\""), "p/b"),
            (text.replace("\"box\"", "\"../x\""), "../x"),
        ] {
            fs::write(records.file(&name("p"), &name("a")), content).unwrap();
            let message = records.load(&name("p"), &name("a")).unwrap_err().to_string();
            assert!(message.contains("a.json") && message.contains(said), "{message}");
        }
    }
}
