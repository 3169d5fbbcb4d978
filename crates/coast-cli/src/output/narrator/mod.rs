//! The events of a command on an instance, printed as text or as JSON.

mod awaited_session;
mod human;
mod json;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coast_instance::{
    Addressed, Command, ContinuousStatus, Demand, Failure, Observer, Record, Resolution, Side, Step,
};
use coast_sync::Cancel;

use super::{Form, OutputOptions, Shown};

/// Prints the events of a command on an instance, and its outcome.
pub(crate) trait Narrator: Observer {
    /// The command is done. Without a record, the instance was removed.
    fn done(&self, record: Option<&Record>, instance: &Addressed);

    /// The command begins to wait until every edit has arrived.
    fn flushing(&self);

    /// Every edit has arrived except those that `status` lists as conflicts and problems.
    fn flushed(&self, status: &ContinuousStatus, exit_code: u8);

    /// Conflicts of this instance were settled by taking one side.
    fn resolved(&self, resolution: &Resolution, take: Side, instance: &Addressed, exit_code: u8);

    /// The command failed.
    fn failed(&self, text: &str, exit_code: u8);
}

/// The narrator for the form that the options name. Its questions to the user end when `cancel` is cancelled.
pub(crate) fn narrator(options: OutputOptions, cancel: &Cancel) -> Box<dyn Narrator> {
    match options.form {
        Form::Text => Box::new(human::HumanNarrator::new(options, cancel)),
        Form::Json => Box::new(json::JsonNarrator::new(options)),
    }
}

/// A participle phrase for a step.
fn step_words(step: Step) -> &'static str {
    match step {
        Step::EndSession => "ending what has edits follow",
        Step::Transfer => "transferring the worktree to the remote",
        Step::Runner => "preparing to follow edits",
        Step::Access => "giving the shell container access to the remote",
        Step::Session => "beginning to follow edits, and waiting until they have arrived",
        Step::Gap => "looking for edits made meanwhile",
        Step::RemoveAccess => "removing the key from the shell container",
        Step::RemoveRunner => "removing the shell container",
        Step::RemoveWorkspace => "removing the workspace on the remote",
        step => step.as_str(),
    }
}

/// A sentence that says which command did not finish, and what happens to the worktree to which it would have gone.
fn taking_over_words(command: Command, step: Step, given_up: Option<&Path>) -> String {
    let (command, step) = (command.as_str(), step.as_str());
    match given_up {
        None => format!("`coast {command}` did not finish (step {step}); going on from there"),
        Some(wanted) => format!(
            "`coast {command}` did not finish (step {step}); it is given up, and the instance does not go to {}",
            Shown(wanted.as_os_str().as_bytes())
        ),
    }
}

/// The reason why edits do not follow.
fn failure_words(failure: &Failure) -> String {
    match failure.doing.as_str() {
        "" => failure.said.clone(),
        doing => format!("{doing} failed: {}", failure.said),
    }
}

/// A setting that needs trust: its name, its value, and what it allows.
pub(crate) fn demand_object(demand: &Demand) -> serde_json::Value {
    serde_json::json!({ "setting": demand.to_string(), "text": demand.consequence() })
}

/// A sentence that says which of two directories a name was taken for.
fn ambiguous_words(wanted: &OsStr, taken: &Path, other: &Path) -> String {
    let shown = |text: &OsStr| Shown(text.as_bytes()).to_string();
    format!(
        "{} can mean two directories: {} is taken, not {}; name the other one by its path if you mean that",
        shown(wanted),
        shown(taken.as_os_str()),
        shown(other.as_os_str())
    )
}
