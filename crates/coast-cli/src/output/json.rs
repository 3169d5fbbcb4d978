//! One JSON object per line, for programs. Each object has an `event`; a field that does not apply is absent. Paths are exact: a
//! `path` that is not valid UTF-8 comes with its bytes in hexadecimal as `path_bytes`.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coast_sync::{
    AcceptedKey, EntryKind, Event, Failure, Failures, HostAnswer, Monitor, Origin, PresentedKey, ProblemKind,
    Progress, Prompt, SyncError, SyncReport, Update, Zeroizing,
};
use data_encoding::HEXLOWER;
use serde::Serialize;

use super::lines::{Lines, Weight, complain};
use super::progress::{Moment, Ticker};
use super::{Detail, Output, OutputOptions, ProgressWish};
use coast_tree::LockExt;

/// Prints JSON.
pub(crate) struct Json {
    options: OutputOptions,
    lines: Arc<Lines>,
    /// The thread that prints the progress of a run. The lock is held while the thread is waited for, which takes the lock of `lines`.
    ticker: Mutex<Option<Ticker>>,
}

impl Json {
    pub(crate) fn new(options: OutputOptions) -> Self {
        Self { options, lines: Arc::new(Lines::new()), ticker: Mutex::new(None) }
    }

    /// Prints one object as a line.
    pub(super) fn print(&self, record: &impl Serialize) {
        print(&self.lines, record);
    }

    /// Writes the buffered lines.
    pub(super) fn flush(&self) {
        self.lines.flush();
    }

    /// Stops printing progress, and writes the buffered lines.
    pub(super) fn rest(&self) {
        drop(self.ticker.enter().take());
        self.lines.flush();
    }
}

fn print(lines: &Lines, record: &impl Serialize) {
    match serde_json::to_string(record) {
        Ok(line) => lines.print(&line),
        // Serializing fails only for a map whose keys are not strings, and no record has such a map.
        Err(error) => complain(Weight::Error, &error.to_string()),
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Record<'a> {
    Changed {
        #[serde(flatten)]
        path: PathFields<'a>,
        kind: &'static str,
        update: &'static str,
        new: bool,
        itemized: String,
    },
    /// As it was, it is in the trash.
    Replaced {
        #[serde(flatten)]
        path: PathFields<'a>,
    },
    Deleted {
        #[serde(flatten)]
        path: PathFields<'a>,
        directory: bool,
        /// "run", "changed" or "destination": who had put it there.
        origin: &'static str,
    },
    Problem {
        #[serde(flatten)]
        path: PathFields<'a>,
        problem: &'static str,
        text: &'a str,
    },
    Notice {
        text: &'a str,
    },
    /// A host key was accepted.
    HostKey {
        host: &'a str,
        algorithm: &'a str,
        fingerprint: &'a str,
        /// Whether `known_hosts` did not have the key before. Nothing is printed for other keys.
        new: bool,
        text: String,
    },
    Progress {
        entries: u64,
        settled_entries: u64,
        walk_done: bool,
        total_bytes: u64,
        settled_bytes: u64,
        sent_bytes: u64,
        wire_sent_bytes: u64,
        wire_received_bytes: u64,
    },
    Done {
        /// The exit code of this program.
        exit_code: u8,
        /// rsync's exit code: 23 or 24 also where the problem is only a warning.
        transfer_code: u8,
        dry_run: bool,
        seconds: f64,
        sender: coast_sync::SenderStats,
        receiver: coast_sync::ReceiverStats,
        wire_sent_bytes: u64,
        wire_received_bytes: u64,
        receiver_uid: u32,
        receiver_confined: bool,
        failures: FailuresObject<'a>,
    },
    Failed {
        exit_code: u8,
        text: String,
    },
}

/// A path as fields of an object.
#[derive(Serialize)]
pub(super) struct PathFields<'a> {
    path: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl<'a> From<&'a [u8]> for PathFields<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        let path = String::from_utf8_lossy(bytes);
        let exact = matches!(path, std::borrow::Cow::Borrowed(_));
        let path_bytes = (!exact).then(|| HEXLOWER.encode(bytes));
        Self { path, path_bytes }
    }
}

/// The entries that a run could not bring up to date.
#[derive(Serialize)]
pub(super) struct FailuresObject<'a> {
    count: u64,
    /// The first entries; at most [`Failures::MAX_FIRST`].
    first: Vec<FailureObject<'a>>,
}

#[derive(Serialize)]
struct FailureObject<'a> {
    #[serde(flatten)]
    path: PathFields<'a>,
    problem: &'static str,
    text: &'a str,
}

impl<'a> From<&'a Failures> for FailuresObject<'a> {
    fn from(failures: &'a Failures) -> Self {
        let object = |failure: &'a Failure| FailureObject {
            path: PathFields::from(failure.path.as_slice()),
            problem: problem_name(failure.kind),
            text: &failure.text,
        };
        Self { count: failures.count, first: failures.first.iter().map(object).collect() }
    }
}

pub(super) fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Device => "device",
        EntryKind::Special => "special",
    }
}

fn update_name(update: Update) -> &'static str {
    match update {
        Update::Transferred => "transferred",
        Update::Local => "local",
        Update::Attributes => "attributes",
    }
}

fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Run => "run",
        Origin::Changed => "changed",
        Origin::Destination => "destination",
    }
}

fn problem_name(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Vanished => "vanished",
        ProblemKind::SourceRead => "source_unreadable",
        ProblemKind::Changing => "source_changing",
        ProblemKind::Destination => "destination_failed",
        ProblemKind::DestinationChanged => "destination_changed",
        ProblemKind::Skipped => "skipped",
        ProblemKind::Kept => "kept",
        _ => "other",
    }
}

impl Monitor for Json {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Changed { path, change } if self.options.detail > Detail::Problems => {
                self.print(&Record::Changed {
                    path: PathFields::from(*path),
                    kind: kind_name(change.kind),
                    update: update_name(change.update),
                    new: change.new,
                    itemized: self.options.itemizer.letters(change),
                });
            }
            Event::Deleted { path, directory, origin } if self.options.detail > Detail::Problems => {
                self.print(&Record::Deleted {
                    path: PathFields::from(*path),
                    directory: *directory,
                    origin: origin_name(*origin),
                });
            }
            Event::Replaced { path } if self.options.detail > Detail::Problems => {
                self.print(&Record::Replaced { path: PathFields::from(*path) });
            }
            Event::Problem { path, kind, text } => {
                self.print(&Record::Problem {
                    path: PathFields::from(*path),
                    problem: problem_name(*kind),
                    text,
                });
            }
            Event::Notice { text } => self.notice(text),
            _ => {}
        }
    }

    fn started(&self, progress: &Arc<Progress>) {
        if self.options.progress == ProgressWish::Never {
            return;
        }
        let (lines, progress) = (Arc::clone(&self.lines), Arc::clone(progress));
        let ticker = Ticker::start(Duration::from_millis(500), move || {
            let now = Moment::of(&progress);
            print(
                &lines,
                &Record::Progress {
                    entries: now.offered_entries,
                    settled_entries: now.settled_entries,
                    walk_done: now.walk_done,
                    total_bytes: now.offered_bytes,
                    settled_bytes: now.settled_bytes,
                    sent_bytes: now.sent_bytes,
                    wire_sent_bytes: now.wire_sent_bytes,
                    wire_received_bytes: now.wire_received_bytes,
                },
            );
            lines.flush();
        });
        *self.ticker.enter() = Some(ticker);
    }
}

impl Prompt for Json {
    /// A program cannot answer a question. Keys with a passphrase must be in the agent.
    fn passphrase(&self, _key: &Path) -> Option<Zeroizing<String>> {
        None
    }

    fn confirm_host(&self, _presented: &PresentedKey) -> HostAnswer {
        HostAnswer::NobodyToAsk
    }

    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        let PresentedKey { host, algorithm, fingerprint, .. } = &accepted.presented;
        self.print(&Record::HostKey { host, algorithm, fingerprint, new: true, text: accepted.to_string() });
    }

    fn notice(&self, text: &str) {
        self.print(&Record::Notice { text });
    }
}

impl Output for Json {
    fn finish(&self, ended: &Result<SyncReport, SyncError>, exit_code: u8) {
        drop(self.ticker.enter().take());
        match ended {
            Ok(report) => {
                let run = &report.run;
                self.print(&Record::Done {
                    exit_code,
                    transfer_code: report.exit_code(),
                    dry_run: self.options.dry_run,
                    seconds: report.elapsed.as_secs_f64(),
                    sender: run.sender,
                    receiver: run.receiver,
                    wire_sent_bytes: run.wire_sent_bytes,
                    wire_received_bytes: run.wire_received_bytes,
                    receiver_uid: run.ready.uid,
                    receiver_confined: run.ready.confined,
                    failures: FailuresObject::from(&report.failures),
                });
            }
            Err(error) => self.print(&Record::Failed { exit_code, text: error.to_string() }),
        }
        self.lines.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &Record<'_>) -> String {
        serde_json::to_string(record).unwrap()
    }

    #[test]
    fn paths_are_exact() {
        let deleted = |path: &'static [u8]| {
            line(&Record::Deleted { path: PathFields::from(path), directory: false, origin: "run" })
        };
        assert_eq!(deleted(b"a\nb"), r#"{"event":"deleted","path":"a\nb","directory":false,"origin":"run"}"#);
        assert_eq!(
            deleted(b"\xff1"),
            "{\"event\":\"deleted\",\"path\":\"\u{fffd}1\",\"path_bytes\":\"ff31\",\"directory\":false,\"origin\":\"run\"}"
        );
    }

    #[test]
    fn a_failure_has_the_exit_code_as_a_field() {
        let failed = line(&Record::Failed { exit_code: 10, text: "no route".to_owned() });
        assert_eq!(failed, r#"{"event":"failed","exit_code":10,"text":"no route"}"#);
    }
}
