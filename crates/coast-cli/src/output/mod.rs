//! Everything that is printed: text for people ([`human`]) or one JSON object per line ([`json`]). Commands on instances print
//! through a [`mod@narrator`], which uses these two.

mod explanation;
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
mod terminal;
mod trash;

use std::path::PathBuf;

use coast_sync::{Cancel, Monitor, Prompt, SyncError, SyncReport};

pub(crate) use explanation::{ExplanationObject, explanation_lines};
pub(crate) use figures::{Seconds, Size, counted};
pub(crate) use instance::{
    InstanceObject, ago, instance_lines, listed_lines, listed_objects, native_words, retry_words, table,
};
pub(crate) use itemize::Itemizer;
pub(crate) use lines::{Lines, Weight, complain, println, shown};
pub(crate) use name::Shown;
pub(crate) use narrator::{Narrator, demand_object, narrator};
pub(crate) use remote::{Finding, Verdict, finding_lines};
pub(crate) use terminal::Terminal;
pub(crate) use trash::{RestoredObject, TrashObject, left_lines, restored_line, trash_lines};

/// Prints the events of a run, and its end.
pub(crate) trait Output: Monitor + Prompt {
    /// Prints the end of the run. `exit_code` is the program's exit code.
    fn finish(&self, ended: &Result<SyncReport, SyncError>, exit_code: u8);
}

/// The options about output.
#[derive(Debug, Clone)]
pub(crate) struct OutputOptions {
    pub(crate) manner: Manner,
    pub(crate) form: Form,
    pub(crate) detail: Detail,
    /// Print only warnings and errors.
    pub(crate) quiet: bool,
    /// Print all counts at the end.
    pub(crate) stats: bool,
    /// The run changes nothing.
    pub(crate) dry_run: bool,
    pub(crate) progress: ProgressWish,
    pub(crate) itemizer: Itemizer,
    /// The local directory that paths are relative to.
    pub(crate) transfer_root: PathBuf,
    /// The operand of `coast restore` that names the destination, where deleted entries go to a trash.
    pub(crate) restorable: Option<String>,
}

impl OutputOptions {
    /// For a command without a transfer: questions, notices and problems.
    pub(crate) fn for_questions(form: Form) -> Self {
        Self {
            manner: Manner::Push,
            form,
            detail: Detail::Problems,
            quiet: false,
            stats: false,
            dry_run: false,
            progress: ProgressWish::Never,
            itemizer: Itemizer { remote: true, checksum: false },
            transfer_root: PathBuf::new(),
            restorable: None,
        }
    }
}

/// Whose conventions the output follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Those of `coast push`: a summary at the end.
    Push,
    /// Those of rsync: nothing is printed unless an option asks for it.
    Sync,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines for people.
    Text,
    /// One JSON object per line, for programs.
    Json,
}

impl Form {
    /// The form that the option `--json` asks for.
    pub(crate) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// How much is printed about single entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// Only problems.
    Problems,
    /// The names of changed and deleted entries.
    Names,
    /// The names and the changes, in rsync's eleven letters.
    Itemized,
}

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressWish {
    Never,
    /// When standard error is a terminal.
    OnTerminal,
    /// Always; without a terminal, one line per second.
    Always,
}

/// Returns the output that the options ask for. Its questions to the user end when `cancel` is cancelled.
pub(crate) fn open(options: OutputOptions, cancel: &Cancel) -> Box<dyn Output> {
    match options.form {
        Form::Text => Box::new(human::Human::new(options, cancel)),
        Form::Json => Box::new(json::Json::new(options)),
    }
}
