//! Everything that is printed: as text for people ([`human`]) or as one JSON object a line ([`json`]); what happens during
//! a command on an instance is told by a [`narrator`] on top of these.

mod figures;
mod human;
mod instance;
mod itemize;
mod json;
mod lines;
mod name;
mod narrator;
mod progress;
mod remote;
mod stats;

use std::path::PathBuf;

use coast_sync::{Monitor, Prompt, SyncError, SyncReport};

pub(crate) use figures::{Seconds, Size, counted};
pub(crate) use instance::{InstanceObject, instance_lines, listed_lines, listed_objects, table};
pub(crate) use itemize::Itemizer;
pub(crate) use lines::{Lines, complain};
pub(crate) use name::Shown;
pub(crate) use narrator::{Narrator, narrator};
pub(crate) use remote::{Finding, Verdict, finding_lines};

/// Hears what happens during a run, and tells how it ended.
pub(crate) trait Output: Monitor + Prompt {
    /// Tells the end of the run; `exit_code` is the program's.
    fn finish(&self, ended: &Result<SyncReport, SyncError>, exit_code: u8);
}

/// What is to be printed, and how.
#[derive(Debug, Clone)]
pub(crate) struct OutputOptions {
    /// Which subcommand's manner is followed.
    pub(crate) manner: Manner,
    /// The form.
    pub(crate) form: Form,
    /// How much is said about single entries.
    pub(crate) detail: Detail,
    /// Whether only warnings and errors are printed.
    pub(crate) quiet: bool,
    /// Whether all counts are printed at the end.
    pub(crate) stats: bool,
    /// Whether nothing is really done.
    pub(crate) dry_run: bool,
    /// When the state of the run is shown while it goes on.
    pub(crate) progress: ProgressWish,
    /// How changes are spelled.
    pub(crate) itemizer: Itemizer,
    /// The local directory that paths are relative to.
    pub(crate) transfer_root: PathBuf,
}

/// Which subcommand's manner is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A summary at the end, problems of single entries are warnings.
    Push,
    /// As rsync: silent unless asked.
    Sync,
}

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How much is said about single entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// Only what went wrong.
    Problems,
    /// The names of those that are changed or deleted.
    Names,
    /// What changes of each.
    Itemized,
}

/// When the state of the run is shown while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressWish {
    /// Never.
    Never,
    /// When there is a terminal to draw on.
    OnTerminal,
    /// Always, as lines where there is no terminal.
    Always,
}

/// Asks a question on the terminal itself, whatever standard input is. None when there is nobody to answer.
pub(crate) fn ask(question: &str) -> Option<String> {
    human::ask_on_terminal(question).ok()
}

/// The output that the options ask for.
pub(crate) fn open(options: OutputOptions) -> Box<dyn Output> {
    match options.form {
        Form::Text => Box::new(human::Human::new(options)),
        Form::Json => Box::new(json::Json::new(options)),
    }
}
