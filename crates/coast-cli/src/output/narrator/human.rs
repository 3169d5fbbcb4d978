//! For people: steps and results on standard output, what went wrong on standard error.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use coast_instance::{
    ContainerChange, ContinuousStatus, Following, Happening, Observer, Record, State, Step,
};
use coast_sync::{Event, Monitor, Progress, Prompt, Zeroizing};

use super::{Narrator, failure_words, step_words};
use crate::output::human::Human;
use crate::output::instance::{trouble_lines, unended_words};
use crate::output::{Output, OutputOptions, Shown, counted};

/// How many paths are named in one message.
const MAX_NAMED: usize = 20;

/// Tells people.
pub(super) struct HumanNarrator {
    human: Human,
    quiet: bool,
    last_step: Mutex<Option<Step>>,
    /// What was said to be left behind last, which more than one step may find.
    left_behind: Mutex<Option<String>>,
}

impl HumanNarrator {
    pub(super) fn new(options: OutputOptions) -> Self {
        Self {
            quiet: options.quiet,
            human: Human::new(options),
            last_step: Mutex::new(None),
            left_behind: Mutex::new(None),
        }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            self.human.print(line);
        }
    }

    fn warn(&self, text: &str) {
        self.human.complain(&format!("warning: {text}"));
    }

    /// Warns of what more than one step may find.
    fn warn_once(&self, text: String) {
        let mut last = self.left_behind.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&text) {
            self.warn(&text);
            *last = Some(text);
        }
    }

    fn step(&self, step: Step) {
        let mut last = self.last_step.lock().unwrap_or_else(PoisonError::into_inner);
        // A layer may name the step it is in again.
        if last.replace(step) != Some(step) {
            self.say(step_words(step));
            self.human.flush();
        }
    }
}

/// Paths, one a line, up to a number.
fn named<'a>(paths: impl ExactSizeIterator<Item = &'a [u8]>) -> String {
    let count = paths.len();
    let mut text = String::new();
    for path in paths.take(MAX_NAMED) {
        text.push_str(&format!(
            "\n  {}",
            if path.is_empty() { "./".to_owned() } else { Shown(path).to_string() }
        ));
    }
    if count > MAX_NAMED {
        text.push_str(&format!("\n  and {} more", count - MAX_NAMED));
    }
    text
}

impl Monitor for HumanNarrator {
    fn event(&self, event: &Event<'_>) {
        self.human.event(event);
    }

    fn started(&self, progress: &Arc<Progress>) {
        self.human.started(progress);
    }
}

impl Prompt for HumanNarrator {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        self.human.passphrase(key)
    }

    fn confirm_host(&self, host: &str, fingerprint: &str) -> bool {
        self.human.confirm_host(host, fingerprint)
    }

    fn notice(&self, text: &str) {
        Prompt::notice(&self.human, text);
    }
}

impl Observer for HumanNarrator {
    fn happened(&self, happening: &Happening<'_>) {
        match happening {
            Happening::Waiting { holder } => self.human.complain(&format!(
                "waiting for `coast {}` (process {}), which works on this instance",
                holder.command, holder.pid
            )),
            Happening::TakingOver { command, step } => self.human.complain(&format!(
                "`coast {}` did not come to its end (step {}); going on from there",
                command.as_str(),
                step.as_str()
            )),
            Happening::Step { step } => self.step(*step),
            Happening::Transferred { report } => self.human.finish(&Ok((*report).clone()), 0),
            Happening::Container { name, change } => {
                let became = match change {
                    ContainerChange::Created => "created",
                    ContainerChange::Reused => "reused",
                    ContainerChange::Recreated => "made anew",
                };
                self.say(&format!("container {name}: {became}"));
            }
            Happening::Following { status } => {
                self.say(&format!(
                    "edits follow: {} in {} watched",
                    counted(status.files, "file", "files"),
                    counted(status.directories, "directory", "directories")
                ));
                for line in trouble_lines(status) {
                    self.warn(&line);
                }
            }
            Happening::Gap { changed, vanished } => {
                let mut text = String::from("edited while the session was made, now brought after:");
                text.push_str(&named(changed.iter().map(Vec::as_slice)));
                if !vanished.is_empty() {
                    if changed.is_empty() {
                        text.clear();
                    } else {
                        text.push('\n');
                    }
                    text.push_str("deleted while the session was made, now deleted there too:");
                    text.push_str(&named(vanished.iter().map(Vec::as_slice)));
                }
                if !self.quiet {
                    self.human.complain(&text);
                }
            }
            Happening::GapClosed { paths } => {
                let paths = u64::try_from(*paths).unwrap_or(u64::MAX);
                self.say(&format!("{} brought after; the remote is up to date", counted(paths, "path", "paths")));
            }
            Happening::GapOpen { conflicts, reason } => {
                let reason = reason.as_deref().unwrap_or("the remote has something else there");
                let paths = named(conflicts.iter().map(|conflict| conflict.path.as_slice()));
                self.warn(&format!("edits made while the session was made did not all arrive: {reason}{paths}"));
            }
            Happening::NotFollowing { failure } => self.warn(&format!(
                "{}\nedits will not follow until the next `coast assign` or `coast start`; the workspace is as it was just brought",
                failure_words(failure)
            )),
            Happening::LeftBehind { container, failure } => {
                self.warn_once(format!(
                    "the container {container} is left, perhaps with a key in it and a session that goes on: {failure}"
                ));
            }
            Happening::Unended { record, unended } => self.warn(&unended_words(record, unended)),
            Happening::Foreign { said, .. } => self.warn_once(format!("{said} (it was left as it is)")),
            Happening::WorkspaceRemoved { entries, existed } => self.say(&if *existed {
                format!("workspace removed: {}", counted(*entries, "entry", "entries"))
            } else {
                "there was no workspace on the remote".to_owned()
            }),
            Happening::Already { what } => self.say(&format!("it is {what} already")),
            _ => {}
        }
    }
}

impl Narrator for HumanNarrator {
    fn done(&self, record: Option<&Record>) {
        self.human.stop_drawing();
        let Some(record) = record else {
            self.say("removed");
            self.human.flush();
            return;
        };
        let follows = match (&record.state, &record.following) {
            (State::Stopped, _) => &*format!("stopped; start it again with: coast start {}", record.instance),
            (_, Following::Yes) => "running; edits follow",
            (_, Following::BulkOnly) => "running; bulk only, edits do not follow",
            _ => "running; edits do not follow",
        };
        self.say(&format!("{} at {}:{}: {follows}", record.instance, record.remote, record.remote_path));
        self.human.flush();
    }

    fn flushed(&self, status: &ContinuousStatus, exit_code: u8) {
        for line in trouble_lines(status) {
            self.warn(&line);
        }
        if exit_code == 0 {
            self.say("every edit has arrived");
        } else {
            self.human.complain(&format!("not everything could arrive (code {exit_code})"));
        }
        self.human.flush();
    }

    fn failed(&self, text: &str, exit_code: u8) {
        self.human.stop_drawing();
        self.human.complain(&format!("{text} (code {exit_code})"));
    }
}
