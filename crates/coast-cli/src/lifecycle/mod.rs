//! The commands on instances and remotes: what was typed becomes a call of `coast-instance`, and what comes of it is printed.

mod change;
mod remotes;
mod show;

use std::path::{Path, PathBuf};

use anyhow::Context;
use coast_instance::{
    Lifecycle, LifecycleError, MutagenLayer, Observer, Places, Project, ProjectError, RemoteBulk,
};
use coast_sync::{Cancel, RemoteHelper};

use crate::args::connection::HelperArgs;
use crate::output::complain;
use crate::plan::helper_store;
use crate::signals::cancel_on_signals;

pub(crate) use change::{assign, flush, rm, run, start, stop, unassign};
pub(crate) use remotes::remote;
pub(crate) use show::{ls, status};

/// Where a command is carried out: the user's places, the project around the current directory, and both layers.
struct Scene {
    places: Places,
    here: PathBuf,
    project: Project,
    bulk: RemoteBulk,
    continuous: MutagenLayer,
    cancel: Cancel,
}

impl Scene {
    /// The scene of this process.
    fn set(helper: Option<&HelperArgs>) -> anyhow::Result<Result<Self, LifecycleError>> {
        let places = Places::from_process()?;
        let here = std::env::current_dir().context("cannot find the current directory")?;
        let cancel = Cancel::new();
        cancel_on_signals(&cancel)?;
        let project = match Project::find(&here) {
            Ok(project) => project,
            Err(error) => return Ok(Err(error.into())),
        };
        let bulk = RemoteBulk::new(remote_helper(helper)?);
        Ok(Ok(Self { places, here, project, bulk, continuous: MutagenLayer::from_process(), cancel }))
    }

    fn lifecycle<'a>(&'a self, observer: &'a dyn Observer) -> Lifecycle<'a> {
        Lifecycle::new(&self.places, &self.project, &self.bulk, &self.continuous, observer, &self.cancel)
    }

    /// The directory that is meant by a path or a name.
    fn worktree(&self, wanted: &std::ffi::OsStr) -> Result<PathBuf, ProjectError> {
        self.project.worktree(wanted, &self.here)
    }
}

/// The helper at the other end.
fn remote_helper(helper: Option<&HelperArgs>) -> anyhow::Result<RemoteHelper> {
    match helper.and_then(|helper| helper.helper.as_ref()) {
        Some(path) => Ok(RemoteHelper::Installed(path.clone())),
        None => Ok(RemoteHelper::Deployed(helper_store()?)),
    }
}

/// Says why a command failed; its exit code.
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
        // Only a map with keys that are no strings could fail, and there is none.
        Err(error) => complain(&error.to_string()),
    }
    lines.flush();
}

/// A path as it is meant from here, without a look at the file system.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot tell what {} means", path.display()))
}
