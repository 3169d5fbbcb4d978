//! For programs: one object a line, each with an `event`; at last `done` or `failed`.

use std::path::Path;
use std::sync::Arc;

use coast_instance::{
    Conflict, ContainerChange, ContinuousStatus, Happening, Observer, Record, Step, Unended,
};
use coast_sync::{Event, Monitor, Progress, Prompt, ReceiverStats, SenderStats, Zeroizing};
use serde::Serialize;

use super::{Narrator, step_words};
use crate::output::OutputOptions;
use crate::output::instance::{ContinuousObject, unended_words};
use crate::output::json::{Json, PathFields};

/// Tells programs.
pub(super) struct JsonNarrator {
    json: Json,
}

impl JsonNarrator {
    pub(super) fn new(options: OutputOptions) -> Self {
        Self { json: Json::new(options) }
    }
}

/// One line, beside those of a transfer.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Waiting {
        pid: u32,
        command: &'a str,
    },
    TakingOver {
        command: &'static str,
        step: &'static str,
    },
    Step {
        step: &'static str,
        text: &'static str,
    },
    Transferred {
        /// What rsync would exit with: 23 and 24 are told here, and are only warnings.
        transfer_code: u8,
        seconds: f64,
        sender: SenderStats,
        receiver: ReceiverStats,
        wire_sent_bytes: u64,
        wire_received_bytes: u64,
    },
    Container {
        name: &'a str,
        change: &'static str,
    },
    Following {
        continuous: ContinuousObject<'a>,
    },
    Gap {
        changed: Vec<PathFields<'a>>,
        vanished: Vec<PathFields<'a>>,
    },
    GapClosed {
        paths: usize,
    },
    GapOpen {
        conflicts: Vec<PathFields<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    NotFollowing {
        step: &'a str,
        doing: &'a str,
        said: &'a str,
        text: &'static str,
    },
    LeftBehind {
        container: &'a str,
        text: String,
    },
    Unended {
        #[serde(flatten)]
        unended: &'a Unended,
        text: String,
    },
    ForeignContainer {
        container: &'a str,
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
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<&'a Record>,
        #[serde(skip_serializing_if = "Option::is_none")]
        continuous: Option<ContinuousObject<'a>>,
    },
    Failed {
        exit_code: u8,
        text: &'a str,
    },
}

fn conflicts(conflicts: &[Conflict]) -> Vec<PathFields<'_>> {
    conflicts.iter().map(|conflict| conflict.path.as_slice().into()).collect()
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

    fn confirm_host(&self, host: &str, fingerprint: &str) -> bool {
        self.json.confirm_host(host, fingerprint)
    }

    fn notice(&self, text: &str) {
        Prompt::notice(&self.json, text);
    }
}

impl Observer for JsonNarrator {
    fn happened(&self, happening: &Happening<'_>) {
        let line = match happening {
            Happening::Waiting { holder } => Line::Waiting { pid: holder.pid, command: &holder.command },
            Happening::TakingOver { command, step } => {
                Line::TakingOver { command: command.as_str(), step: step.as_str() }
            }
            Happening::Step { step } => step_line(*step),
            Happening::Transferred { report } => {
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
            Happening::Container { name, change } => Line::Container {
                name,
                change: match change {
                    ContainerChange::Created => "created",
                    ContainerChange::Reused => "reused",
                    ContainerChange::Recreated => "recreated",
                },
            },
            Happening::Following { status } => Line::Following { continuous: ContinuousObject::of(status) },
            Happening::Gap { changed, vanished } => {
                Line::Gap { changed: paths(changed), vanished: paths(vanished) }
            }
            Happening::GapClosed { paths } => Line::GapClosed { paths: *paths },
            Happening::GapOpen { conflicts: open, reason } => {
                Line::GapOpen { conflicts: conflicts(open), reason: reason.as_deref() }
            }
            Happening::NotFollowing { failure } => Line::NotFollowing {
                step: &failure.step,
                doing: &failure.doing,
                said: &failure.said,
                text: "edits will not follow until the next assign or start",
            },
            Happening::LeftBehind { container, failure } => {
                Line::LeftBehind { container, text: failure.to_string() }
            }
            Happening::Unended { record, unended } => {
                Line::Unended { unended, text: unended_words(record, unended) }
            }
            Happening::Foreign { container, said } => Line::ForeignContainer { container, text: said },
            Happening::WorkspaceRemoved { entries, existed } => {
                Line::WorkspaceRemoved { entries: *entries, existed: *existed }
            }
            Happening::Already { what } => Line::Already { what },
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
    fn done(&self, record: Option<&Record>) {
        self.json.print(&Line::Done { exit_code: 0, instance: record, continuous: None });
        self.json.rest();
    }

    fn flushed(&self, status: &ContinuousStatus, exit_code: u8) {
        let continuous = Some(ContinuousObject::of(status));
        self.json.print(&Line::Done { exit_code, instance: None, continuous });
        self.json.rest();
    }

    fn failed(&self, text: &str, exit_code: u8) {
        self.json.rest();
        self.json.print(&Line::Failed { exit_code, text });
        self.json.rest();
    }
}
