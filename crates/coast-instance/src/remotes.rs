//! The remotes: the machines that instances can live on, each with its address, its key and the directory of its workspaces. They are
//! kept in a file of the user, because connection details do not belong into a Coastfile.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file_error::{Doing, FileError, if_found};
use crate::lock::{FileLock, LockError};
use crate::remote::{BadAddress, Remote, checked_service_home};
use crate::words::did_you_mean;
use crate::{Name, Places, durable, project_file};

/// The error of a command on remotes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum RemotesError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The content of the file is invalid.
    #[error("{}{}: {message}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Content { file: PathBuf, line: Option<usize>, message: String },
    /// No remote exists.
    #[error("there is no remote yet; add one with: coast remote add NAME USER@HOST")]
    None,
    /// Several remotes exist, and the command named none.
    #[error("there are several remotes ({}); choose one with --remote", list(names))]
    Several { names: Vec<Name> },
    /// No remote has the name.
    #[error("there is no remote {name:?}{}{}", known(names), did_you_mean(name.as_str(), names.iter().map(Name::as_str)))]
    Unknown { name: Name, names: Vec<Name> },
    /// A remote has the name already.
    #[error(
        "there is a remote {0:?} already; give it another address or key with: coast remote add --replace {0} USER@HOST"
    )]
    Exists(Name),
    /// Instances use the remote.
    #[error("the remote {name:?} is used by {}; remove them first with: coast rm INSTANCE", users.join(", "))]
    InUse { name: Name, users: Vec<String> },
    /// The remote has a session key.
    #[error(
        "the remote {0:?} has a session key, which its account accepts; remove that first with: coast remote key {0} --remove"
    )]
    HasSessionKey(Name),
    /// Another user can change the file.
    #[error("{} is not used, because {why}; {todo}", file.display())]
    Unsafe { file: PathBuf, why: String, todo: String },
    /// The address is invalid.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// The directory of workspaces is invalid.
    #[error(
        "--service-home {0:?}: it must be an absolute path below /, without . or .. in it, and without spaces or control characters"
    )]
    ServiceHome(String),
    /// The lock of the file cannot be acquired.
    #[error(transparent)]
    Lock(#[from] LockError),
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

fn known(names: &[Name]) -> String {
    if names.is_empty() {
        "; there are no remotes".to_owned()
    } else {
        format!("; there are {}", list(names))
    }
}

/// Checks that only the user can write the file: it determines the machine that files are sent to, and the key.
fn check_safe(file: &Path, metadata: &Metadata, user: u32) -> Result<(), RemotesError> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let (why, todo) = if owner != user {
        (
            format!("it belongs to another user ({owner}, you are {user})"),
            format!(
                "make it yours with: chown {user} {0}, or move it away and add the remotes again",
                file.display()
            ),
        )
    } else if mode & 0o022 != 0 {
        (
            format!("others may write to it (mode {mode:04o})"),
            format!("check its content, and then run: chmod go-w {}", file.display()),
        )
    } else {
        return Ok(());
    };
    Err(RemotesError::Unsafe { file: file.to_owned(), why, todo })
}

/// All remotes, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remotes {
    remotes: BTreeMap<Name, Remote>,
}

/// The file of remotes while one command changes it.
#[derive(Debug)]
pub struct RemotesEditor {
    file: PathBuf,
    remotes: Remotes,
    _lock: FileLock,
}

/// The content of the file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default, rename = "remote")]
    remotes: BTreeMap<Name, Remote>,
}

impl Remotes {
    /// Reads `remotes.toml`. A missing file means that no remote has been added.
    ///
    /// # Errors
    /// When the file cannot be read, its content is invalid, or other users can write to it.
    pub fn load(places: &Places) -> Result<Self, RemotesError> {
        let file = places.remotes();
        let Some(opened) = if_found(project_file::open(&file)).doing("read", &file)? else {
            return Ok(Self::default());
        };
        let metadata = opened.metadata().doing("read", &file)?;
        check_safe(&file, &metadata, rustix::process::geteuid().as_raw())?;
        let text = project_file::read_opened(opened, project_file::MAX_KEPT_BYTES)
            .and_then(|text| {
                String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            })
            .doing("read", &file)?;
        let content: Content = toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text.as_bytes()[..span.start].iter().filter(|byte| **byte == b'\n').count() + 1);
            RemotesError::Content { file: file.clone(), line, message: error.message().to_owned() }
        })?;
        for (name, remote) in &content.remotes {
            if let Err(bad) = remote.check_address() {
                return Err(RemotesError::Content {
                    file,
                    line: None,
                    message: format!("remote {name}: {bad}"),
                });
            }
            if checked_service_home(&remote.service_home).as_ref() != Some(&remote.service_home) {
                let message = RemotesError::ServiceHome(remote.service_home.clone()).to_string();
                return Err(RemotesError::Content { file, line: None, message });
            }
        }
        Ok(Self { remotes: content.remotes })
    }

    /// All remotes, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Remote)> {
        self.remotes.iter()
    }

    /// The remote of that name.
    ///
    /// # Errors
    /// When no remote has the name.
    pub fn get(&self, name: &Name) -> Result<&Remote, RemotesError> {
        self.remotes
            .get(name)
            .ok_or_else(|| RemotesError::Unknown { name: name.clone(), names: self.names() })
    }

    /// The remote named `wanted`; without a name the only remote.
    ///
    /// # Errors
    /// When no remote has the name, or none was named and the number of remotes is not 1.
    pub fn choose(&self, wanted: Option<&Name>) -> Result<(&Name, &Remote), RemotesError> {
        match wanted {
            Some(name) => {
                let found = self.remotes.get_key_value(name);
                found.ok_or_else(|| RemotesError::Unknown { name: name.clone(), names: self.names() })
            }
            None => match self.remotes.len() {
                0 => Err(RemotesError::None),
                1 => self.remotes.iter().next().ok_or(RemotesError::None),
                _ => Err(RemotesError::Several { names: self.names() }),
            },
        }
    }

    fn names(&self) -> Vec<Name> {
        self.remotes.keys().cloned().collect()
    }
}

impl RemotesEditor {
    /// Locks and reads the file. Waits while another command holds the lock.
    ///
    /// # Errors
    /// When the file cannot be read or its lock cannot be acquired.
    pub fn open(places: &Places) -> Result<Self, RemotesError> {
        let file = places.remotes();
        let lock = FileLock::wait(&file.with_extension("lock"), "remote")?;
        Ok(Self { remotes: Remotes::load(places)?, file, _lock: lock })
    }

    /// The remotes in the file.
    pub fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    /// Adds a remote.
    ///
    /// # Errors
    /// When the name is taken or the file cannot be written.
    pub fn add(&mut self, name: Name, remote: Remote) -> Result<(), RemotesError> {
        if self.remotes.remotes.contains_key(&name) {
            return Err(RemotesError::Exists(name));
        }
        self.remotes.remotes.insert(name, remote);
        self.save()
    }

    /// Replaces a remote, or adds it. The service home cannot change while `users` (`project/instance`) use the remote. The session
    /// key stays; while the remote has one, its address cannot change, because another account does not accept that key.
    ///
    /// # Errors
    /// When the service home differs and the remote is in use, the address differs and the remote has a session key, or the file
    /// cannot be written.
    pub fn replace(
        &mut self,
        name: Name,
        mut remote: Remote,
        users: Vec<String>,
    ) -> Result<(), RemotesError> {
        if let Some(old) = self.remotes.remotes.get(&name).filter(|old| old.session_key.is_some()) {
            if old.address() != remote.address() {
                return Err(RemotesError::HasSessionKey(name));
            }
            remote.session_key.clone_from(&old.session_key);
        }
        let moves =
            self.remotes.remotes.get(&name).is_some_and(|old| old.service_home != remote.service_home);
        if moves && !users.is_empty() {
            return Err(RemotesError::InUse { name, users });
        }
        self.remotes.remotes.insert(name, remote);
        self.save()
    }

    /// Writes what is recorded of a remote that exists.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn set(&mut self, name: Name, remote: Remote) -> Result<(), RemotesError> {
        self.remotes.remotes.insert(name, remote);
        self.save()
    }

    /// Removes a remote, unless `users` (`project/instance`) use it.
    ///
    /// # Errors
    /// When no remote has the name, the remote is in use or has a session key, or the file cannot be written.
    pub fn remove(&mut self, name: &Name, users: Vec<String>) -> Result<(), RemotesError> {
        self.remotes.get(name)?;
        if !users.is_empty() {
            return Err(RemotesError::InUse { name: name.clone(), users });
        }
        if self.remotes.get(name)?.session_key.is_some() {
            return Err(RemotesError::HasSessionKey(name.clone()));
        }
        self.remotes.remotes.remove(name);
        self.save()
    }

    fn save(&self) -> Result<(), RemotesError> {
        let content = Content { remotes: self.remotes.remotes.clone() };
        let written = toml::to_string(&content)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            // A symlink stays, and its target is replaced: people keep such files in a repository of dotfiles.
            .and_then(|text| durable::replace(&durable::behind_links(&self.file)?, text.as_bytes()));
        Ok(written.doing("write", &self.file)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn remote(address: &str) -> Remote {
        Remote::parse(address, None, None).unwrap()
    }

    fn write(file: &Path, text: &str, mode: u32) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_that_others_can_write_is_refused_with_what_to_do() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        let file = places.remotes();
        for (mode, is_safe) in [(0o666, false), (0o620, false), (0o602, false), (0o644, true), (0o400, true)]
        {
            write(&file, "[remote.box]\nhost = \"x\"\n", 0o600);
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let loaded = Remotes::load(&places);
            assert_eq!(loaded.is_ok(), is_safe, "{mode:o}");
            if let Err(error) = loaded {
                let file = file.display();
                assert_eq!(
                    error.to_string(),
                    format!(
                        "{file} is not used, because others may write to it (mode {mode:04o}); check its content, and \
                         then run: chmod go-w {file}"
                    )
                );
                assert!(RemotesEditor::open(&places).is_err());
            }
            fs::remove_file(places.remotes()).unwrap();
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused_with_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let (owner, path) = (metadata.uid(), file.path().display());
        assert!(check_safe(file.path(), &metadata, owner).is_ok());
        assert_eq!(
            check_safe(file.path(), &metadata, owner + 1).unwrap_err().to_string(),
            format!(
                "{path} is not used, because it belongs to another user ({owner}, you are {0}); make it yours with: chown {0} {path}, \
                 or move it away and add the remotes again",
                owner + 1
            )
        );
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        let kept = scratch.path().join("dotfiles/remotes.toml");
        fs::create_dir_all(places.remotes().parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("../dotfiles/remotes.toml", places.remotes()).unwrap();
        RemotesEditor::open(&places).unwrap().add(name("box"), remote("dev@box")).unwrap();
        RemotesEditor::open(&places).unwrap().add(name("lab"), remote("dev@lab")).unwrap();
        assert!(fs::symlink_metadata(places.remotes()).unwrap().is_symlink());
        assert!(fs::read_to_string(&kept).unwrap().contains("[remote.lab]"));
        assert_eq!(Remotes::load(&places).unwrap().names(), [name("box"), name("lab")]);
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(Remotes::load(&places), Err(RemotesError::Unsafe { .. })));
    }

    #[test]
    fn remotes_are_kept_private_and_read_again() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        assert_eq!(Remotes::load(&places).unwrap(), Remotes::default());
        let box_one =
            Remote::parse("dev@box.example:2222", Some("/home/dev/.ssh/key".into()), Some("/srv/".into()))
                .unwrap();
        let mut editor = RemotesEditor::open(&places).unwrap();
        editor.add(name("box"), box_one.clone()).unwrap();
        editor.add(name("box.2"), remote("[::1]:22")).unwrap();
        assert!(matches!(editor.add(name("box"), remote("x")), Err(RemotesError::Exists(_))));
        let users = || vec!["shop/dev-1".to_owned()];
        let elsewhere = Remote { service_home: "/elsewhere".to_owned(), ..box_one.clone() };
        let moved = editor.replace(name("box"), elsewhere, users());
        assert!(matches!(moved, Err(RemotesError::InUse { .. })));
        let other_key = Remote { key: Some("/other".into()), ..box_one.clone() };
        editor.replace(name("box"), other_key.clone(), users()).unwrap();
        assert_eq!(editor.remotes().get(&name("box")).unwrap(), &other_key);
        editor.replace(name("box"), box_one.clone(), Vec::new()).unwrap();
        drop(editor);
        let remotes = Remotes::load(&places).unwrap();
        assert_eq!(remotes.get(&name("box")).unwrap(), &box_one);
        assert_eq!(box_one.workspace(&name("shop"), &name("dev-1")), "/srv/workspaces/shop/dev-1");
        assert_eq!(
            (box_one.address().as_str(), remote("[::1]:22").address().as_str()),
            ("dev@box.example:2222", "[::1]:22")
        );
        assert_eq!(fs::metadata(places.remotes()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn one_remote_is_the_default_and_several_must_be_chosen_from() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        let message =
            |wanted: Option<&Name>| Remotes::load(&places).unwrap().choose(wanted).unwrap_err().to_string();
        assert_eq!(message(None), "there is no remote yet; add one with: coast remote add NAME USER@HOST");
        assert_eq!(message(Some(&name("box"))), "there is no remote \"box\"; there are no remotes");
        RemotesEditor::open(&places).unwrap().add(name("box"), remote("dev@box")).unwrap();
        assert_eq!(Remotes::load(&places).unwrap().choose(None).unwrap().0, &name("box"));
        RemotesEditor::open(&places).unwrap().add(name("attic"), remote("dev@attic")).unwrap();
        assert_eq!(message(None), "there are several remotes (attic, box); choose one with --remote");
        assert_eq!(
            message(Some(&name("atic"))),
            "there is no remote \"atic\"; there are attic, box; did you mean \"attic\"?"
        );
    }

    #[test]
    fn a_remote_that_is_used_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        let mut editor = RemotesEditor::open(&places).unwrap();
        editor.add(name("box"), remote("dev@box")).unwrap();
        let error = editor.remove(&name("box"), vec!["shop/dev-1".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the remote \"box\" is used by shop/dev-1; remove them first with: coast rm INSTANCE"
        );
        editor.remove(&name("box"), Vec::new()).unwrap();
        assert!(matches!(editor.remove(&name("box"), Vec::new()), Err(RemotesError::Unknown { .. })));
    }

    #[test]
    fn a_remote_with_a_session_key_keeps_it_and_its_address() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        let mut editor = RemotesEditor::open(&places).unwrap();
        let with_key = Remote { session_key: Some("/k".into()), ..remote("dev@box") };
        editor.add(name("box"), with_key.clone()).unwrap();
        editor.replace(name("box"), remote("dev@box"), Vec::new()).unwrap();
        assert_eq!(Remotes::load(&places).unwrap().get(&name("box")).unwrap(), &with_key);
        for error in [
            editor.replace(name("box"), remote("dev@other"), Vec::new()).unwrap_err(),
            editor.remove(&name("box"), Vec::new()).unwrap_err(),
        ] {
            assert!(error.to_string().contains("coast remote key box --remove"), "{error}");
        }
    }

    #[test]
    fn a_wrong_file_is_named_with_the_line() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        let file = places.remotes();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for (text, expected) in [
            ("[remote.box]\nhost = 5\n", ":2: "),
            ("[remote.box]\nhots = \"x\"\n", ":2: "),
            ("[remote.\"../x\"]\nhost = \"x\"\n", "valid name"),
            ("[remote.box]\nhost = \"x\"\nservice_home = \"/\"\n", "absolute path"),
            ("[remote.box]\nhost = \"x\\u001b[2J\"\n", "remote box: the host \"x\\u{1b}[2J\""),
        ] {
            write(&file, text, 0o600);
            let message = Remotes::load(&places).unwrap_err().to_string();
            assert!(
                message.starts_with(&*file.to_string_lossy()) && message.contains(expected),
                "{text:?}: {message}"
            );
        }
    }
}
