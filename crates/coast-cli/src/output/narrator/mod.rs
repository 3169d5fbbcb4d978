//! What happens during a command on an instance, told as text or as JSON.

mod human;
mod json;

use coast_instance::{ContinuousStatus, Failure, Observer, Record, Step};

use super::{Form, OutputOptions};

/// Hears what happens during a command on an instance, and tells how it ended.
pub(crate) trait Narrator: Observer {
    /// The command is done; the instance is as `record` says, or gone.
    fn done(&self, record: Option<&Record>);

    /// Everything that was waited for has arrived, but for what `status` says of conflicts and problems.
    fn flushed(&self, status: &ContinuousStatus, exit_code: u8);

    /// The command failed.
    fn failed(&self, text: &str, exit_code: u8);
}

/// The narrator that the options ask for.
pub(crate) fn narrator(options: OutputOptions) -> Box<dyn Narrator> {
    match options.form {
        Form::Text => Box::new(human::HumanNarrator::new(options)),
        Form::Json => Box::new(json::JsonNarrator::new(options)),
    }
}

/// A step in plain words.
fn step_words(step: Step) -> &'static str {
    match step {
        Step::EndSession => "ending the session",
        Step::Transfer => "bringing the worktree to the remote",
        Step::Container => "preparing the shell container",
        Step::Access => "giving the shell container access to the remote",
        Step::Session => "creating the session, and waiting for its first look",
        Step::Gap => "looking for edits made meanwhile",
        Step::RemoveAccess => "taking the key out of the shell container",
        Step::RemoveContainer => "removing the shell container",
        Step::RemoveWorkspace => "removing the workspace on the remote",
        step => step.as_str(),
    }
}

/// Why edits do not follow.
fn failure_words(failure: &Failure) -> String {
    format!("{} failed: {}", failure.doing, failure.said)
}
