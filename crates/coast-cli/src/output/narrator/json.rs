//! For programs: one object in a line, each with an `event`. The last one is `done` or `failed`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use coast_instance::{
    Addressed, Conflict, ContinuousStatus, LifecycleEvent, Observer, Record, Resolution, RunnerChange, Side,
    Step, Unended,
};
use coast_sync::{
    AcceptedKey, Event, HostAnswer, Monitor, PresentedKey, Progress, Prompt, ReceiverStats, SenderStats,
    Zeroizing,
};
use serde::Serialize;

use super::{Narrator, ambiguous_words, demand_object, step_words, taking_over_words};
use crate::output::OutputOptions;
use crate::output::instance::unended_words;
use crate::output::json::{Json, PathFields};

/// Prints JSON.
pub(super) struct JsonNarrator {
    json: Json,
}

impl JsonNarrator {
    pub(super) fn new(options: OutputOptions) -> Self {
        Self { json: Json::new(options) }
    }
}

/// A line of output. The transfer has other lines.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Ambiguous {
        #[serde(flatten)]
        taken: PathFields<'a>,
        text: String,
    },
    WithoutSettings {
        text: &'a str,
    },
    Trusted {
        settings: Vec<serde_json::Value>,
    },
    Waiting {
        pid: u32,
        command: &'a str,
    },
    TakingOver {
        command: &'static str,
        step: &'static str,
        text: String,
    },
    Step {
        step: &'static str,
        text: &'static str,
    },
    Transferred {
        /// rsync's exit code of the transfer. 24 is only a warning; with 23, the later `done` has the exit code.
        transfer_code: u8,
        seconds: f64,
        sender: SenderStats,
        receiver: ReceiverStats,
        wire_sent_bytes: u64,
        wire_received_bytes: u64,
    },
    Runner {
        runner: &'a str,
        change: &'static str,
    },
    /// The session that the command waits for, at this moment.
    Session {
        continuous: &'a ContinuousStatus,
    },
    Following {
        continuous: &'a ContinuousStatus,
    },
    Gap {
        changed: Vec<PathFields<'a>>,
        vanished: Vec<PathFields<'a>>,
    },
    GapClosed {
        paths: usize,
    },
    /// The first entries that a transfer of some paths deleted.
    MendDeleted {
        made_there: Vec<PathFields<'a>>,
        changed: Vec<PathFields<'a>>,
        placed: Vec<PathFields<'a>>,
        replaced: Vec<PathFields<'a>>,
        to_trash: bool,
    },
    GapOpen {
        conflicts: &'a [Conflict],
        vanished: Vec<PathFields<'a>>,
        reason: &'a str,
    },
    NotFollowing {
        step: &'a str,
        doing: &'a str,
        said: &'a str,
        text: String,
    },
    LeftBehind {
        runner: &'a str,
        text: String,
    },
    Unended {
        #[serde(flatten)]
        unended: &'a Unended,
        text: String,
    },
    ForeignRunner {
        runner: &'a str,
        text: &'a str,
    },
    WorkspaceRemoved {
        entries: u64,
        existed: bool,
    },
    Already {
        what: &'a str,
    },
    Done {
        exit_code: u8,
        /// The paths whose conflicts were settled.
        #[serde(skip_serializing_if = "Option::is_none")]
        settled: Option<Vec<PathFields<'a>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<&'a Record>,
        #[serde(skip_serializing_if = "Option::is_none")]
        continuous: Option<&'a ContinuousStatus>,
    },
    Failed {
        exit_code: u8,
        text: &'a str,
    },
}

fn paths(paths: &[Vec<u8>]) -> Vec<PathFields<'_>> {
    paths.iter().map(|path| path.as_slice().into()).collect()
}

impl Monitor for JsonNarrator {
    fn event(&self, event: &Event<'_>) {
        self.json.event(event);
    }

    fn started(&self, progress: &Arc<Progress>) {
        self.json.started(progress);
    }
}

impl Prompt for JsonNarrator {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        self.json.passphrase(key)
    }

    fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        self.json.confirm_host(presented)
    }

    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        self.json.host_key_accepted(accepted);
    }

    fn notice(&self, text: &str) {
        Prompt::notice(&self.json, text);
    }
}

impl Observer for JsonNarrator {
    fn lifecycle_event(&self, event: &LifecycleEvent<'_>) {
        let line = match event {
            LifecycleEvent::Ambiguous { wanted, taken, other } => Line::Ambiguous {
                taken: taken.as_os_str().as_bytes().into(),
                text: ambiguous_words(wanted, taken, other),
            },
            LifecycleEvent::WithoutSettings { why } => Line::WithoutSettings { text: why },
            LifecycleEvent::Trusted { question } => {
                Line::Trusted { settings: question.demands.iter().map(demand_object).collect() }
            }
            LifecycleEvent::Waiting { holder } => Line::Waiting { pid: holder.pid, command: &holder.command },
            LifecycleEvent::TakingOver { command, step, given_up } => Line::TakingOver {
                command: command.as_str(),
                step: step.as_str(),
                text: taking_over_words(*command, *step, *given_up),
            },
            LifecycleEvent::Step { step } => step_line(*step),
            LifecycleEvent::Transferred { report } => {
                self.json.rest();
                let run = &report.run;
                Line::Transferred {
                    transfer_code: report.exit_code(),
                    seconds: report.elapsed.as_secs_f64(),
                    sender: run.sender,
                    receiver: run.receiver,
                    wire_sent_bytes: run.wire_sent_bytes,
                    wire_received_bytes: run.wire_received_bytes,
                }
            }
            LifecycleEvent::Runner { runner, change } => Line::Runner {
                runner,
                change: match change {
                    RunnerChange::Created => "created",
                    RunnerChange::Reused => "reused",
                    RunnerChange::Recreated => "recreated",
                },
            },
            LifecycleEvent::Session { status } => Line::Session { continuous: status },
            LifecycleEvent::Following { status, .. } => Line::Following { continuous: status },
            LifecycleEvent::Gap { changed, vanished } => {
                Line::Gap { changed: paths(changed), vanished: paths(vanished) }
            }
            LifecycleEvent::MendDeleted { deletions, .. } => Line::MendDeleted {
                made_there: paths(&deletions.made_there.first),
                changed: paths(&deletions.changed.first),
                placed: paths(&deletions.placed.first),
                replaced: paths(&deletions.replaced.first),
                to_trash: deletions.to_trash,
            },
            LifecycleEvent::GapClosed { paths } => Line::GapClosed { paths: *paths },
            LifecycleEvent::GapOpen { conflicts, vanished, reason } => {
                Line::GapOpen { conflicts, vanished: paths(vanished), reason }
            }
            LifecycleEvent::NotFollowing { instance, layer, failure } => Line::NotFollowing {
                step: &failure.part,
                doing: &failure.doing,
                said: &failure.said,
                text: format!("edits do not follow; {}", failure.remedy(*layer, instance)),
            },
            LifecycleEvent::LeftBehind { runner, failure } => {
                Line::LeftBehind { runner, text: failure.to_string() }
            }
            LifecycleEvent::Unended { instance, record, unended } => {
                Line::Unended { unended, text: unended_words(record, unended, instance) }
            }
            LifecycleEvent::Foreign { runner, said } => Line::ForeignRunner { runner, text: said },
            LifecycleEvent::WorkspaceRemoved { entries, existed } => {
                Line::WorkspaceRemoved { entries: *entries, existed: *existed }
            }
            LifecycleEvent::Already { what } => Line::Already { what },
            _ => return,
        };
        self.json.print(&line);
        self.json.flush();
    }
}

fn step_line(step: Step) -> Line<'static> {
    Line::Step { step: step.as_str(), text: step_words(step) }
}

impl Narrator for JsonNarrator {
    fn done(&self, record: Option<&Record>, _instance: &Addressed) {
        let exit_code = record.map_or(0, Record::exit_code);
        self.json.print(&Line::Done { exit_code, settled: None, instance: record, continuous: None });
        self.json.rest();
    }

    fn flushing(&self) {}

    fn flushed(&self, status: &ContinuousStatus, exit_code: u8) {
        self.json.print(&Line::Done { exit_code, settled: None, instance: None, continuous: Some(status) });
        self.json.rest();
    }

    fn resolved(&self, resolution: &Resolution, _take: Side, _instance: &Addressed, exit_code: u8) {
        let settled = Some(paths(&resolution.settled));
        let continuous = Some(&resolution.status);
        self.json.print(&Line::Done { exit_code, settled, instance: None, continuous });
        self.json.rest();
    }

    fn failed(&self, text: &str, exit_code: u8) {
        self.json.rest();
        self.json.print(&Line::Failed { exit_code, text });
        self.json.rest();
    }
}
