//! For people: steps and results on standard output, warnings and errors on standard error.

use std::path::Path;
use std::sync::{Arc, Mutex};

use coast_instance::{
    Addressed, ContinuousStatus, Following, LifecycleEvent, Observer, Record, Resolution, RunnerChange, Side,
    State, Step, TrustQuestion,
};
use coast_sync::{
    AcceptedKey, Cancel, Deletions, Event, Failures, HostAnswer, Monitor, PresentedKey, Progress, Prompt,
    Zeroizing,
};
use coast_tree::LockExt;

use super::awaited_session::AwaitedSession;
use super::{Narrator, ambiguous_words, failure_words, step_words, taking_over_words};
use crate::output::human::Human;
use crate::output::instance::{size_words, stale_words, trouble_lines, unended_words};
use crate::output::{Output, OutputOptions, Shown, Weight, counted, shown};

/// The step of a command that only waits.
const FLUSHING: &str = "waiting until every edit has arrived";

/// The number of paths that one message names.
const MAX_NAMED: usize = 20;

/// Prints text. No two of its locks are held together; each may be held while `human` prints or draws, which takes the locks of `human`.
pub(super) struct HumanNarrator {
    human: Human,
    quiet: bool,
    /// The step that was begun last.
    last_step: Mutex<Option<Step>>,
    /// The session that the command waits for.
    awaited: Mutex<AwaitedSession>,
    /// The entries that the transfer deleted.
    deletions: Mutex<Deletions>,
    /// The last warning of a runner that is left. More than one step may find it.
    left_behind: Mutex<Option<String>>,
}

impl HumanNarrator {
    pub(super) fn new(options: OutputOptions, cancel: &Cancel) -> Self {
        Self {
            quiet: options.quiet,
            human: Human::new(options, cancel),
            last_step: Mutex::new(None),
            awaited: Mutex::default(),
            deletions: Mutex::default(),
            left_behind: Mutex::new(None),
        }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            self.human.print(line);
        }
    }

    fn warn(&self, text: &str) {
        self.human.complain(Weight::Warning, text);
    }

    /// Prints a warning unless it was the last one of its kind.
    fn warn_once(&self, text: String) {
        let mut last = self.left_behind.enter();
        if last.as_ref() != Some(&text) {
            self.warn(&text);
            *last = Some(text);
        }
    }

    fn step(&self, step: Step) {
        let mut last = self.last_step.enter();
        // A layer may begin the same step again.
        if last.replace(step) != Some(step) {
            self.say(step_words(step));
            self.human.flush();
            self.human.draw_step(step_words(step));
        }
    }
}

/// Paths, one in a line, at most [`MAX_NAMED`].
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

    fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        self.human.confirm_host(presented)
    }

    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        self.human.host_key_accepted(accepted);
    }

    fn notice(&self, text: &str) {
        Prompt::notice(&self.human, text);
    }
}

impl Observer for HumanNarrator {
    fn confirm_trust(&self, question: &TrustQuestion) -> Option<bool> {
        let text = shown(&format!("{question}\nDo you trust these settings (yes/no)? "));
        self.human.ask(&text).map(|answer| answer.trim() == "yes")
    }

    fn lifecycle_event(&self, event: &LifecycleEvent<'_>) {
        match event {
            LifecycleEvent::Ambiguous { wanted, taken, other } => {
                self.human.complain(Weight::Note, &ambiguous_words(wanted, taken, other))
            }
            LifecycleEvent::Waiting { holder } => {
                let text = format!(
                    "waiting for `coast {}` (process {}), which works on this instance",
                    holder.command, holder.pid
                );
                self.human.complain(Weight::Note, &text);
                self.human.draw_step("waiting for another command");
            }
            LifecycleEvent::WithoutSettings { why } => self.warn(why),
            LifecycleEvent::Trusted { question } => {
                self.human.complain(Weight::Note, &format!("{question}\nyou trust these settings now"));
            }
            LifecycleEvent::TakingOver { command, step, given_up } => {
                self.human.complain(Weight::Note, &taking_over_words(*command, *step, *given_up));
            }
            LifecycleEvent::Step { step } => self.step(*step),
            LifecycleEvent::Session { status } => {
                let step = self.last_step.enter().map_or(FLUSHING, step_words);
                self.human.draw_detail(step, &self.awaited.enter().words(status));
            }
            LifecycleEvent::Transferred { report } => {
                // The command itself names the failed entries, in its last lines.
                let mut report = (*report).clone();
                report.failures = Failures::default();
                // So does it with the deleted entries.
                *self.deletions.enter() = std::mem::take(&mut report.deletions);
                self.human.finish(&Ok(report), 0);
            }
            LifecycleEvent::Runner { runner, change } => {
                let change = match change {
                    RunnerChange::Created => "created",
                    RunnerChange::Reused => "reused",
                    RunnerChange::Recreated => "recreated",
                };
                self.say(&format!("{runner}: {change}"));
            }
            LifecycleEvent::Following { status, stale } => {
                self.say(&format!("edits follow: {} watched", size_words(status)));
                for line in trouble_lines(status, *stale) {
                    self.warn(&line);
                }
            }
            LifecycleEvent::Gap { changed, vanished } => {
                let mut text = String::from("these paths differ from the worktree, and are transferred now:");
                text.push_str(&named(changed.iter().map(Vec::as_slice)));
                if !vanished.is_empty() {
                    if changed.is_empty() {
                        text.clear();
                    } else {
                        text.push('\n');
                    }
                    text.push_str("these paths were deleted here, and are now deleted on the remote, too:");
                    text.push_str(&named(vanished.iter().map(Vec::as_slice)));
                }
                if !self.quiet {
                    self.human.complain(Weight::Note, &text);
                }
            }
            LifecycleEvent::MendDeleted { instance, deletions } if !self.quiet => {
                self.human.tell_deletions(deletions, Some(&instance.to_string()));
            }
            LifecycleEvent::GapClosed { paths } => {
                let paths = u64::try_from(*paths).unwrap_or(u64::MAX);
                self.say(&format!(
                    "{} transferred; the remote is up to date",
                    counted(paths, "path", "paths")
                ));
            }
            LifecycleEvent::GapOpen { conflicts, vanished, reason } => {
                let conflicts = conflicts.iter().map(|conflict| conflict.path.as_slice());
                let paths: Vec<_> = conflicts.chain(vanished.iter().map(Vec::as_slice)).collect();
                let paths = named(paths.into_iter());
                self.warn(&format!(
                    "the remote may still differ from the worktree at these paths: {reason}{paths}"
                ));
            }
            LifecycleEvent::NotFollowing { instance, layer, failure } => self.warn(&format!(
                "{}\nedits do not follow, and the workspace is as the transfer left it; {}",
                failure_words(failure),
                failure.remedy(*layer, instance)
            )),
            LifecycleEvent::LeftBehind { runner, failure } => {
                self.warn_once(format!(
                    "the {runner} is left, perhaps with a key in it and a session that goes on: {failure}"
                ));
            }
            LifecycleEvent::Unended { instance, record, unended } => {
                self.warn(&unended_words(record, unended, instance));
            }
            LifecycleEvent::Foreign { said, .. } => self.warn_once(format!("{said} (it was left as it is)")),
            LifecycleEvent::RemovingWorkspace { entries } => {
                let count = counted(*entries, "entry removed", "entries removed");
                self.human.draw_detail(step_words(Step::RemoveWorkspace), &count);
            }
            LifecycleEvent::WorkspaceRemoved { entries, existed } => self.say(&if *existed {
                format!("workspace removed: {}", counted(*entries, "entry", "entries"))
            } else {
                "the remote had no workspace".to_owned()
            }),
            LifecycleEvent::Already { what } => self.say(&format!("it is already {what}")),
            _ => {}
        }
    }
}

impl Narrator for HumanNarrator {
    fn done(&self, record: Option<&Record>, instance: &Addressed) {
        self.human.stop_drawing();
        let Some(record) = record else {
            self.say("removed");
            self.human.flush();
            return;
        };
        let follows = match (&record.state, &record.following) {
            (State::Stopped, _) => &*format!("stopped; start it again with: coast start {instance}"),
            (_, Following::Yes) => "running; edits follow",
            (_, Following::BulkOnly) => &*format!(
                "running; edits do not follow: transfer them with: coast start {instance}; or have them follow: write \
                     workspace_sync = \"native\" below [remote] in the Coastfile, and then: coast start {instance}"
            ),
            _ => "running; edits do not follow",
        };
        if !self.quiet {
            self.human.tell_deletions(&self.deletions.enter(), Some(&instance.to_string()));
        }
        self.say(&format!("{} at {}:{}: {follows}", record.instance, record.remote, record.remote_path));
        self.human.flush();
        if let (Some(stale), true) = (&record.stale, record.exit_code() > 0) {
            self.human.complain(
                Weight::Error,
                &format!("{} (code {})", stale_words(record, stale, instance), record.exit_code()),
            );
        }
    }

    fn flushing(&self) {
        self.human.draw_step(FLUSHING);
    }

    fn flushed(&self, status: &ContinuousStatus, exit_code: u8) {
        self.human.stop_drawing();
        for line in trouble_lines(status, None) {
            self.warn(&line);
        }
        if exit_code == 0 {
            self.say("every edit has arrived");
        } else {
            self.human.complain(Weight::Error, &format!("not everything could arrive (code {exit_code})"));
        }
        self.human.flush();
    }

    fn resolved(&self, resolution: &Resolution, take: Side, instance: &Addressed, exit_code: u8) {
        self.human.stop_drawing();
        for line in trouble_lines(&resolution.status, None) {
            self.warn(&line);
        }
        let settled = resolution.settled.iter().map(Vec::as_slice);
        let count = counted(settled.len() as u64, "conflict", "conflicts");
        match (settled.len(), take) {
            (0, _) => {}
            (_, Side::Local) => self.say(&format!(
                "{count} settled: replaced on the remote by the worktree; what was there: coast restore {instance}{}",
                named(settled)
            )),
            (_, Side::Remote) => {
                self.say(&format!("{count} settled: replaced in the worktree by the remote{}", named(settled)));
            }
        }
        if exit_code == 0 && resolution.settled.is_empty() {
            self.say("there was no conflict to settle");
        }
        if exit_code != 0 {
            let left = counted(resolution.left, "conflict or problem is", "conflicts or problems are");
            self.human.complain(Weight::Error, &format!("{left} left there (code {exit_code})"));
        }
        self.human.flush();
    }

    fn failed(&self, text: &str, exit_code: u8) {
        self.human.stop_drawing();
        if !self.quiet {
            // The instance is named by the error.
            self.human.tell_deletions(&self.deletions.enter(), None);
        }
        self.human.complain(Weight::Error, &format!("{text} (code {exit_code})"));
    }
}
