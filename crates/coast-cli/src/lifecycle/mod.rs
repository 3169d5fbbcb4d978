//! The commands on instances and remotes. Each turns its arguments into a call of `coast-instance`, and prints the outcome.

mod change;
mod remotes;
mod show;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use coast_instance::{
    Directories, Lifecycle, LifecycleError, LifecycleEvent, MutagenLayer, Observer, Places, Project,
    ProjectError, RemoteBulk, ResolvedWorktree,
};
use coast_sync::{Cancel, RemoteHelper};

use crate::args::connection::HelperArgs;
use crate::output::complain;
use crate::plan::helper_store;
use crate::signals::cancel_on_signals;

pub(crate) use change::{assign, flush, rm, run, start, stop, unassign};
pub(crate) use remotes::remote;
pub(crate) use show::{ls, status};

/// The surroundings of a command: the user's directories, the project of the current directory, and both layers.
struct Scene {
    places: Places,
    here: PathBuf,
    project: Project,
    bulk: RemoteBulk,
    continuous: MutagenLayer,
    cancel: Cancel,
}

impl Scene {
    /// Carries out `command` in the surroundings of this process. A directory without a usable project is refused.
    fn with(
        helper: Option<&HelperArgs>,
        json: bool,
        command: impl FnOnce(&Self) -> anyhow::Result<u8>,
    ) -> anyhow::Result<u8> {
        let places = Places::from_process()?;
        let here = std::env::current_dir().context("cannot find the current directory")?;
        let cancel = Cancel::new();
        cancel_on_signals(&cancel)?;
        let project = match Project::find(&here) {
            Ok(project) => project,
            Err(error) => return Ok(refuse(&error.into(), json)),
        };
        let bulk = RemoteBulk::new(remote_helper(helper)?);
        let continuous = MutagenLayer::from_process(&places, &project.coastfile);
        command(&Self { places, here, project, bulk, continuous, cancel })
    }

    fn lifecycle<'a>(&'a self, observer: &'a dyn Observer) -> Lifecycle<'a> {
        Lifecycle::new(&self.places, &self.project, &self.bulk, &self.continuous, observer, &self.cancel)
    }

    /// The worktree that a name or a path means. `observer` is told if it can mean two things.
    fn worktree(
        &self,
        wanted: &OsStr,
        directories: Directories,
        observer: &dyn Observer,
    ) -> Result<PathBuf, ProjectError> {
        let ResolvedWorktree { path, other } = self.project.worktree(wanted, &self.here, directories)?;
        if let Some(other) = other {
            observer.lifecycle_event(&LifecycleEvent::Ambiguous { wanted, taken: &path, other: &other });
        }
        Ok(path)
    }
}

/// The helper to start on the remote.
fn remote_helper(helper: Option<&HelperArgs>) -> anyhow::Result<RemoteHelper> {
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
        complain(&format!("{text} (code {exit_code})"));
    }
    exit_code
}

/// Prints one object as a line.
fn println_json(object: &impl serde::Serialize) {
    let lines = crate::output::Lines::new();
    match serde_json::to_string(object) {
        Ok(line) => lines.print(&line),
        // Serializing fails only for maps with keys that are no strings, and there are none.
        Err(error) => complain(&error.to_string()),
    }
    lines.flush();
}

/// A path made absolute, without resolving symlinks.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make the path {} absolute", path.display()))
}
