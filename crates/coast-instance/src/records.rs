//! The records of all instances: each in a file, `{state}/{project}/{instance}.json`. A file is replaced as a whole and flushed to
//! the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::carried::Carried;
use crate::file_error::{Doing, FileError, if_found};
use crate::lock::{FileLock, Holder};
use crate::record::{Record, VERSION};
use crate::{Name, Places, durable, project_file};

/// The suffix of a record's file name.
const SUFFIX: &str = ".json";

/// The error of reading or writing a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum RecordError {
    /// The file cannot be read, written or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The content of the file is not a valid record.
    #[error("the record {} cannot be understood: {message}; correct it, or remove the file, the workspace and, with mutagen, the container that it names", file.display())]
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

    /// The command that holds the lock of an instance.
    pub fn holder(&self, project: &Name, instance: &Name) -> Option<Holder> {
        FileLock::holder(&self.lock_file(project, instance))
    }

    /// The record of an instance; `None` if there is no such instance.
    ///
    /// # Errors
    /// When the file cannot be read or is not a valid record.
    pub fn load(&self, project: &Name, instance: &Name) -> Result<Option<Record>, RecordError> {
        let file = self.file(project, instance);
        let Some(text) = if_found(project_file::read_kept(&file)).doing("read the record", &file)? else {
            return Ok(None);
        };
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
        Carried::beside(&file).remove().doing("remove the files beside the record", &file)?;
        Ok(durable::remove(&file).doing("remove the record", &file)?)
    }

    /// Removes the directory of a project's records if it is empty, and then the directory of all projects if that is empty.
    pub(crate) fn remove_empty_directories(&self, project: &Name) {
        // A directory with another file in it stays, and so does an empty one that cannot be removed: it does no harm.
        let _ = fs::remove_dir(self.places.instances(project))
            .and_then(|()| fs::remove_dir(self.places.projects()));
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

    /// Whether there is a record of an instance, valid or not.
    pub(crate) fn exists(&self, project: &Name, instance: &Name) -> bool {
        self.file(project, instance).exists()
    }

    /// The names of the projects that have made `instance`, or any instance, in the directory `root`, sorted. Records that cannot be
    /// read are left out.
    pub(crate) fn projects_at(&self, root: &Path, instance: Option<&Name>) -> Vec<Name> {
        let was_made_here = |project: &Name, instance: &Name| {
            self.load(project, instance).ok().flatten().is_some_and(|record| *record.root == *root)
        };
        let mut projects = self.projects().unwrap_or_default();
        projects.retain(|project| match instance {
            Some(instance) => was_made_here(project, instance),
            None => self
                .instances(project)
                .unwrap_or_default()
                .iter()
                .any(|instance| was_made_here(project, instance)),
        });
        projects
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
    let entries = match if_found(fs::read_dir(directory)) {
        Ok(Some(entries)) => entries,
        Ok(None) => return Ok(Vec::new()),
        // A file beside the directories of the projects has no records.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(error) => return Err(error).doing(listing, directory)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Command, Following, LastTransfer, State, Step};

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
        record.following = Following::Failed {
            part: "image".to_owned(),
            doing: "the image".to_owned(),
            said: "no such image".to_owned(),
            at: 7,
        };
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
