//! The machines that instances can live on: how to reach each, and where its workspaces are. Kept in one file of the user's, since
//! connection details never belong into a Coastfile.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coast_sync::{ConnectOptions, RemoteDestination, RemoteHelper, Target};
use serde::{Deserialize, Serialize};

use crate::lock::{FileLock, LockError};
use crate::words::did_you_mean;
use crate::{Name, Places, durable};

/// Where workspaces live on a remote unless `--service-home` said otherwise.
pub const DEFAULT_SERVICE_HOME: &str = "/data";

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// The user to log in as; without one, what the ssh configuration says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// Host name, address, or alias of the ssh configuration.
    pub host: String,
    /// The port, if it is not what the ssh configuration says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// The private key to log in with, before all others.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<PathBuf>,
    /// The directory that holds `workspaces/`.
    #[serde(default = "default_service_home")]
    pub service_home: String,
}

fn default_service_home() -> String {
    DEFAULT_SERVICE_HOME.to_owned()
}

/// Why the remotes cannot be used as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemotesError {
    /// The file cannot be read or written.
    #[error("cannot {doing} {}: {error}", file.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// The file says something that is not allowed.
    #[error("{}{}: {message}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Content {
        /// The file.
        file: PathBuf,
        /// The line, from 1, if it is known.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// There is none.
    #[error("there is no remote yet; add one with: coast remote add NAME USER@HOST")]
    None,
    /// There are several, and none was named.
    #[error("there are several remotes ({}); choose one with --remote", list(names))]
    Several {
        /// Their names.
        names: Vec<Name>,
    },
    /// There is none of that name.
    #[error("there is no remote {name:?}{}{}", known(names), did_you_mean(name.as_str(), names.iter().map(Name::as_str)))]
    Unknown {
        /// The name asked for.
        name: Name,
        /// Those there are.
        names: Vec<Name>,
    },
    /// There is one of that name already.
    #[error("there is a remote {0:?} already; remove it first with: coast remote rm {0}")]
    Exists(Name),
    /// Instances live there.
    #[error("the remote {name:?} is used by {}; remove them first with: coast rm INSTANCE", users.join(", "))]
    InUse {
        /// The remote.
        name: Name,
        /// Instances, as `project/instance`.
        users: Vec<String>,
    },
    /// It does not say where to connect.
    #[error(
        "{0:?} does not say where to connect; it must be USER@HOST or USER@HOST:PORT (an IPv6 address in brackets)"
    )]
    Address(String),
    /// The directory for workspaces is not usable.
    #[error("--service-home {0:?}: it must be an absolute path below /, without . or .. in it")]
    ServiceHome(String),
    /// Another command is at work on the file.
    #[error(transparent)]
    Lock(#[from] LockError),
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

fn known(names: &[Name]) -> String {
    if names.is_empty() {
        "; there is none at all".to_owned()
    } else {
        format!("; there are {}", list(names))
    }
}

impl Remote {
    /// A machine from what was typed: `[USER@]HOST[:PORT]`.
    ///
    /// # Errors
    /// When the address or the service home cannot be used.
    pub fn parse(
        address: &str,
        key: Option<PathBuf>,
        service_home: Option<String>,
    ) -> Result<Self, RemotesError> {
        let target = Target::parse(address).ok_or_else(|| RemotesError::Address(address.to_owned()))?;
        let service_home = service_home.unwrap_or_else(default_service_home);
        let service_home =
            checked_service_home(&service_home).ok_or(RemotesError::ServiceHome(service_home))?;
        Ok(Self { user: target.user, host: target.host, port: target.port, key, service_home })
    }

    /// Where the workspace of an instance is on this machine: `{service_home}/workspaces/{project}/{instance}`.
    pub fn workspace(&self, project: &Name, instance: &Name) -> String {
        format!("{}/workspaces/{project}/{instance}", self.service_home)
    }

    /// A directory of this machine, as the bulk layer reaches it.
    pub fn destination(&self, path: &str, helper: RemoteHelper) -> RemoteDestination {
        let target = Target { user: self.user.clone(), host: self.host.clone(), port: self.port };
        let connect =
            ConnectOptions { identities: self.key.iter().cloned().collect(), ..ConnectOptions::default() };
        RemoteDestination::new(target, path).connect(connect).helper(helper)
    }

    /// As it was typed: `USER@HOST:PORT`.
    pub fn address(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        match self.port {
            Some(port) if self.host.contains(':') => format!("{user}[{}]:{port}", self.host),
            Some(port) => format!("{user}{}:{port}", self.host),
            None => format!("{user}{}", self.host),
        }
    }
}

/// The path without a slash at its end, if it can hold workspaces.
fn checked_service_home(path: &str) -> Option<String> {
    let trimmed = path.trim_end_matches('/');
    let mut components = trimmed.strip_prefix('/')?.split('/');
    let valid = components.all(|component| !matches!(component, "" | "." | ".."))
        && !trimmed.contains(char::is_control);
    valid.then(|| trimmed.to_owned())
}

/// All machines, by name.
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

/// The file's content.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default, rename = "remote")]
    remotes: BTreeMap<Name, Remote>,
}

impl Remotes {
    /// Reads the file; none is no remotes.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn load(places: &Places) -> Result<Self, RemotesError> {
        let file = places.remotes();
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(RemotesError::File { doing: "read", file, error }),
        };
        let content: Content = toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text.as_bytes()[..span.start].iter().filter(|byte| **byte == b'\n').count() + 1);
            RemotesError::Content { file: file.clone(), line, message: error.message().to_owned() }
        })?;
        for remote in content.remotes.values() {
            if checked_service_home(&remote.service_home).as_ref() != Some(&remote.service_home) {
                let message = RemotesError::ServiceHome(remote.service_home.clone()).to_string();
                return Err(RemotesError::Content { file, line: None, message });
            }
        }
        Ok(Self { remotes: content.remotes })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Remote)> {
        self.remotes.iter()
    }

    /// The one of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: &Name) -> Result<&Remote, RemotesError> {
        self.remotes
            .get(name)
            .ok_or_else(|| RemotesError::Unknown { name: name.clone(), names: self.names() })
    }

    /// The one that was asked for, or the only one.
    ///
    /// # Errors
    /// When there is none of that name, none at all, or more than one to choose from.
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
    /// Opens the file to change it, after whoever is changing it now.
    ///
    /// # Errors
    /// When the file cannot be read, or its lock not be had.
    pub fn open(places: &Places) -> Result<Self, RemotesError> {
        let file = places.remotes();
        let lock = FileLock::wait(&file.with_extension("lock"), "remote")?;
        Ok(Self { remotes: Remotes::load(places)?, file, _lock: lock })
    }

    /// What the file says now.
    pub fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    /// Adds a machine.
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

    /// Forgets a machine, unless one of `users` (`project/instance`) lives there.
    ///
    /// # Errors
    /// When there is none of that name, it is in use, or the file cannot be written.
    pub fn remove(&mut self, name: &Name, users: Vec<String>) -> Result<(), RemotesError> {
        self.remotes.get(name)?;
        if !users.is_empty() {
            return Err(RemotesError::InUse { name: name.clone(), users });
        }
        self.remotes.remotes.remove(name);
        self.save()
    }

    fn save(&self) -> Result<(), RemotesError> {
        let content = Content { remotes: self.remotes.remotes.clone() };
        let written = toml::to_string(&content)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            .and_then(|text| durable::replace(&self.file, text.as_bytes()));
        written.map_err(|error| RemotesError::File { doing: "write", file: self.file.clone(), error })
    }
}

/// For a message about a path of the file.
impl AsRef<Path> for RemotesEditor {
    fn as_ref(&self) -> &Path {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn remote(address: &str) -> Remote {
        Remote::parse(address, None, None).unwrap()
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
        assert_eq!(message(Some(&name("box"))), "there is no remote \"box\"; there is none at all");
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
    fn what_is_no_address_or_no_home_for_workspaces_is_refused() {
        for address in ["", "@host", "host:0", "-oProxyCommand=x"] {
            assert!(
                matches!(Remote::parse(address, None, None), Err(RemotesError::Address(_))),
                "{address:?}"
            );
        }
        for home in ["", "/", "data", "/data/../etc", "/data//x", "~/x", "/a\nb"] {
            let parsed = Remote::parse("h", None, Some(home.to_owned()));
            assert!(matches!(parsed, Err(RemotesError::ServiceHome(_))), "{home:?}");
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
        ] {
            fs::write(&file, text).unwrap();
            let message = Remotes::load(&places).unwrap_err().to_string();
            assert!(
                message.starts_with(&*file.to_string_lossy()) && message.contains(expected),
                "{text:?}: {message}"
            );
        }
    }
}
