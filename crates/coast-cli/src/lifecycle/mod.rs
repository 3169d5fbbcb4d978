//! The commands on instances and remotes. Each turns its arguments into a call of `coast-instance`, and prints the outcome.

mod change;
mod confirmation;
mod explain;
mod image;
mod init;
mod remote_checks;
mod remote_key;
mod remote_prune;
mod remote_sudoers;
mod remotes;
mod resolve;
mod restore;
mod show;
mod time_limit;
mod trust;
mod whole_project;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use coast_daemon::{Client, DaemonPlaces, FollowersOfDaemon};
use coast_instance::{
    CoastfileChoice, Directories, InstanceId, Layers, Lifecycle, LifecycleError, LifecycleEvent,
    MutagenLayer, Name, NativeLayer, Observer, Places, ProjectError, RemoteBulk, ResolvedWorktree, Scope,
};
use coast_sync::{Cancel, RemoteHelper};

use crate::args::connection::HelperArgs;
use crate::args::lifecycle::ProjectArg;
use crate::daemon::connector_of_instances;
use crate::output::{Weight, complain};
use crate::plan::helper_store;
use crate::signals::cancelled_by_signals;

pub(crate) use change::{assign, flush, rm, run, start, stop, unassign};
pub(crate) use image::image;
pub(crate) use init::init;
pub(crate) use remotes::remote;
pub(crate) use resolve::resolve;
pub(crate) use restore::restore;
pub(crate) use show::{ls, status};
pub(crate) use trust::trust;

/// The project that a command is for.
enum Chosen<'a> {
    /// The project of the current directory, with its settings, for an instance that may not exist yet.
    Here { instance: &'a Name, coastfile: CoastfileChoice },
    /// The project of the current directory, as far as an existing instance needs it.
    Existing { instance: &'a Name, coastfile: CoastfileChoice },
    /// The project of an existing instance, by its name.
    Named { project: &'a Name, instance: &'a Name, coastfile: CoastfileChoice },
}

impl<'a> Chosen<'a> {
    fn by(argument: &'a ProjectArg, instance: &'a Name) -> Self {
        Self::typed(argument, instance, CoastfileChoice::Remembered)
    }

    fn typed(argument: &'a ProjectArg, instance: &'a Name, coastfile: CoastfileChoice) -> Self {
        match &argument.project {
            Some(project) => Self::Named { project, instance, coastfile },
            None => Self::Existing { instance, coastfile },
        }
    }

    /// The instance.
    fn instance(&self) -> &'a Name {
        match self {
            Self::Here { instance, .. } | Self::Existing { instance, .. } | Self::Named { instance, .. } => {
                instance
            }
        }
    }

    fn scope(&self, places: &Places) -> Result<Scope, LifecycleError> {
        match self {
            Self::Here { instance, coastfile } => Scope::to_make(places, &here()?, instance, coastfile),
            Self::Existing { instance, coastfile } => {
                Scope::of_directory(places, &here()?, Some(instance), coastfile)
            }
            Self::Named { project, instance, coastfile } => {
                Scope::of_name(places, project, instance, coastfile)
            }
        }
    }
}

/// The current directory.
fn here() -> Result<PathBuf, ProjectError> {
    std::env::current_dir().map_err(|error| ProjectError::Look { path: ".".into(), error })
}

/// The surroundings of a command: the user's directories, the project, and both layers.
struct Scene {
    places: Places,
    scope: Scope,
    bulk: RemoteBulk,
    mutagen: MutagenLayer,
    native: NativeLayer<FollowersOfDaemon>,
    daemon: FollowersOfDaemon,
    cancel: Cancel,
}

impl Scene {
    /// Carries out `command` for the project `chosen`. A project that cannot be found is refused.
    fn with(
        chosen: &Chosen<'_>,
        helper: Option<&HelperArgs>,
        json: bool,
        command: impl FnOnce(&Self) -> anyhow::Result<u8>,
    ) -> anyhow::Result<u8> {
        let cancel = cancelled_by_signals()?;
        match Self::open(chosen, helper, &cancel)? {
            Ok(scene) => command(&scene),
            Err(error) => Ok(refuse(&error, json)),
        }
    }

    /// The surroundings of a command for the project `chosen`, which ends when `cancel` is cancelled.
    fn open(
        chosen: &Chosen<'_>,
        helper: Option<&HelperArgs>,
        cancel: &Cancel,
    ) -> anyhow::Result<Result<Self, LifecycleError>> {
        let places = Places::from_process()?;
        let scope = match chosen.scope(&places) {
            Ok(scope) => scope,
            Err(error) => return Ok(Err(error)),
        };
        let helper = remote_helper(helper)?;
        let bulk = RemoteBulk::new(helper.clone()).connector(connector_of_instances(&places));
        // Only commands that need the settings start a session, and they refuse a project without settings first.
        let coastfile = scope.project().map(|project| project.coastfile.clone()).unwrap_or_default();
        let mutagen = MutagenLayer::from_process(&places, &coastfile);
        let daemon = followers(&places)?;
        let native = NativeLayer::new(daemon.clone(), helper);
        Ok(Ok(Self { places, scope, bulk, mutagen, native, daemon, cancel: cancel.clone() }))
    }

    fn lifecycle<'a>(&'a self, observer: &'a dyn Observer) -> Lifecycle<'a> {
        let layers = Layers { mutagen: &self.mutagen, native: &self.native };
        Lifecycle::new(&self.places, &self.scope, &self.bulk, layers, observer, &self.cancel)
    }

    /// An instance of the project.
    fn id(&self, instance: &Name) -> InstanceId {
        InstanceId { project: self.scope.name.clone(), instance: instance.clone() }
    }

    /// The root of the project, for the names in output. Empty if no directory is known.
    fn root(&self) -> &Path {
        self.scope.root.as_deref().unwrap_or(Path::new(""))
    }

    /// The worktree that a name or a path means. `observer` is told if it can mean two things.
    fn worktree(
        &self,
        wanted: &OsStr,
        directories: Directories,
        observer: &dyn Observer,
    ) -> Result<PathBuf, LifecycleError> {
        let project = self.scope.project()?;
        let ResolvedWorktree { path, other } = project.worktree(wanted, &here()?, directories)?;
        if let Some(other) = other {
            observer.lifecycle_event(&LifecycleEvent::Ambiguous { wanted, taken: &path, other: &other });
        }
        Ok(path)
    }
}

/// The followers of the user's coastd. This program starts it where one is to follow.
fn followers(places: &Places) -> anyhow::Result<FollowersOfDaemon> {
    let program = std::env::current_exe().context("cannot find the file of this program")?;
    Ok(FollowersOfDaemon::new(Client::new(DaemonPlaces::from_process(places)), program))
}

/// The helper to start on the remote.
pub(crate) fn remote_helper(helper: Option<&HelperArgs>) -> anyhow::Result<RemoteHelper> {
    match helper.and_then(|helper| helper.helper.as_ref()) {
        Some(path) => Ok(RemoteHelper::Installed(path.clone())),
        None => Ok(RemoteHelper::Deployed(helper_store()?)),
    }
}

/// Prints the error of a command. Returns the exit code.
fn refuse(error: &LifecycleError, json: bool) -> u8 {
    let code = error.exit_code();
    refuse_with(&error.to_string(), code, json)
}

fn refuse_with(text: &str, exit_code: u8, json: bool) -> u8 {
    if json {
        println_json(&serde_json::json!({ "event": "failed", "exit_code": exit_code, "text": text }));
    } else {
        complain(Weight::Error, &format!("{text} (code {exit_code})"));
    }
    exit_code
}

/// Prints one object as a line.
pub(crate) fn println_json(object: &impl serde::Serialize) {
    let lines = crate::output::Lines::new();
    match serde_json::to_string(object) {
        Ok(line) => lines.print(&line),
        // Serializing fails only for maps with keys that are no strings, and there are none.
        Err(error) => complain(Weight::Error, &error.to_string()),
    }
    lines.flush();
}

/// A path made absolute, without resolving symlinks.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make the path {} absolute", path.display()))
}
