//! The state of a session, in lines for people.

use std::time::Duration;

use coast_instance::{Activity, Addressed, ContinuousStatus, Layer, Record, Retry, RunnerState, Side, Stale};

use super::{MAX_NAMED, ago};
use crate::output::Shown;
use crate::output::figures::{Grouped, Seconds, Size, counted};
use crate::output::lines::shown;

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Local => "local",
        Side::Remote => "remote",
    }
}

/// Whether edits arrive, and the figures of the session.
pub(super) fn continuous_words(status: &ContinuousStatus, record: &Record, instance: &Addressed) -> String {
    match status.layer {
        Layer::Mutagen => mutagen_words(status, record, instance),
        Layer::Native => match status.activity {
            Activity::Absent => {
                format!("{}; begin with: coast start {instance}", native_words(status, instance))
            }
            Activity::Halted => {
                format!("{}; {}", native_words(status, instance), status.remedy(instance))
            }
            _ => native_words(status, instance),
        },
    }
}

/// The size of the worktree, as far as the session knows it. A follower knows the number of files when it has compared everything.
pub(crate) fn size_words(status: &ContinuousStatus) -> String {
    let directories = status.watches.as_ref().map_or(0, |watches| watches.count + watches.scanned);
    let directories = counted(directories.max(status.directories), "directory", "directories");
    match (status.layer, status.files) {
        (Layer::Native, 0) => directories,
        (_, files) => format!("{} in {directories}", counted(files, "file", "files")),
    }
}

/// The state of a follower.
pub(crate) fn native_words(status: &ContinuousStatus, instance: &Addressed) -> String {
    let pending = match status.pending {
        0 => String::new(),
        pending => format!(", {} pending", counted(pending, "edit", "edits")),
    };
    match status.activity {
        Activity::Absent => {
            let word = if status.word.is_empty() { "coastd has no follower for it" } else { &status.word };
            format!("do not follow: {}", shown(word))
        }
        Activity::Halted => format!("do not follow: {}", shown(&status.word)),
        Activity::Connecting => match &status.retry {
            Some(retry) if retry.missing_passphrase.is_some() => {
                format!("do not follow: coastd {}{pending}", retry_words(retry, instance))
            }
            Some(retry) if retry.attempt == 1 && status.runner == RunnerState::Absent => {
                format!("do not follow yet: coastd has them follow again{pending}")
            }
            Some(retry) => format!("do not follow: reconnecting, {}{pending}", retry_words(retry, instance)),
            None => format!("do not follow yet: connecting{pending}"),
        },
        Activity::Watching => format!("follow: {}{}", size_words(status), last_batch(status)),
        Activity::Carrying => {
            format!("are on their way{pending} ({}){}", size_words(status), last_batch(status))
        }
    }
}

fn last_batch(status: &ContinuousStatus) -> String {
    let Some(batch) = &status.last_batch else { return String::new() };
    let files = || format!("{} ({})", counted(batch.files, "file", "files"), Size(batch.bytes));
    let entries = || counted(batch.deleted, "entry", "entries");
    let what = match (batch.files, batch.deleted) {
        (0, 0) => "the last edit arrived".to_owned(),
        (_, 0) => format!("the last {} arrived", files()),
        (0, _) => format!("the last {} deleted", entries()),
        _ => format!("the last {} arrived, {} deleted", files(), entries()),
    };
    format!("; {what} in {}, {}", arrival_time(batch.milliseconds), ago(batch.at))
}

/// A time that is short, as a rule.
fn arrival_time(milliseconds: u64) -> String {
    if milliseconds < 10_000 {
        format!("{} ms", Grouped(milliseconds))
    } else {
        Seconds(Duration::from_millis(milliseconds)).to_string()
    }
}

/// What the next attempt waits for, if that is something that the user has to type.
fn passphrase_words(retry: &Retry) -> Option<String> {
    let key = retry.missing_passphrase.as_ref()?;
    Some(format!("waits for the passphrase of {}", Shown(key.as_os_str().as_encoded_bytes())))
}

/// The next attempt, and why the one before failed.
pub(crate) fn retry_words(retry: &Retry, instance: &Addressed) -> String {
    if let Some(words) = passphrase_words(retry) {
        return format!("{words}; this command asks for it: coast start {instance}");
    }
    shown(&retry.words())
}

fn mutagen_words(status: &ContinuousStatus, record: &Record, instance: &Addressed) -> String {
    let mend = format!("mend it with: coast start {instance}");
    let word = shown(&status.word);
    match status.activity {
        Activity::Absent => {
            let runner = record.runner.as_deref().unwrap_or("runner");
            match status.runner {
                RunnerState::Absent => format!("do not follow: the {runner} is gone; {mend}"),
                RunnerState::Stopped => format!("do not follow: the {runner} does not run; {mend}"),
                RunnerState::Running => format!("do not follow: the session is gone; {mend}"),
            }
        }
        Activity::Halted => format!("do not follow: {word}; {mend}"),
        Activity::Connecting => format!(
            "do not follow: the session waits for a connection ({word}) and goes on by itself; look at the remote with: coast status --check {instance}"
        ),
        Activity::Watching => format!("follow: {word} {}", size_words(status)),
        Activity::Carrying => {
            let staging = status.staging.as_ref().map_or_else(String::new, |staging| {
                let files = counted(staging.files, "file", "files");
                format!(
                    ", {} of {files} arrived, {}",
                    Grouped(staging.arrived_files),
                    Size(staging.arrived_bytes)
                )
            });
            format!("are on their way: {word}{staging} ({})", size_words(status))
        }
    }
}

/// The conflicts, the problems and the error of a session. A conflict at an entry of `stale`, which is named with its own reason,
/// is left out: the entry could not be written.
pub(crate) fn trouble_lines(status: &ContinuousStatus, stale: Option<&Stale>) -> Vec<String> {
    let mut lines = Vec::new();
    let shown = |path: &[u8]| if path.is_empty() { "./".to_owned() } else { Shown(path).to_string() };
    let is_stale = |path: &[u8]| stale.is_some_and(|stale| stale.concerns(path));
    let conflicts: Vec<_> = status.conflicts.iter().filter(|conflict| !is_stale(&conflict.path)).collect();
    let way_on = match status.layer {
        Layer::Mutagen => "`coast flush` replaces it",
        Layer::Native => "`coast resolve` takes one side",
    };
    for conflict in conflicts.iter().take(MAX_NAMED) {
        lines.push(format!(
            "conflict    {}: the remote has something of its own there; {way_on}",
            shown(&conflict.path)
        ));
    }
    let more = |count: usize, excluded: u64| count.saturating_sub(MAX_NAMED) as u64 + excluded;
    match more(conflicts.len(), status.more_conflicts) {
        0 => {}
        more => lines.push(format!("conflict    and {more} more")),
    }
    for problem in status.problems.iter().take(MAX_NAMED) {
        lines.push(format!(
            "problem     {} {}: {}",
            side_name(problem.side),
            shown(&problem.path),
            Shown(problem.text.as_bytes())
        ));
    }
    match more(status.problems.len(), status.more_problems) {
        0 => {}
        more => lines.push(format!("problem     and {more} more")),
    }
    for private in status.private.iter().take(MAX_NAMED) {
        lines.push(format!(
            "private     {}: others may not read it, and mutagen would let them; its edits arrive with the next `coast flush`, \
             `coast assign` or `coast start`",
            shown(&private.path)
        ));
    }
    match more(status.private.len(), 0) {
        0 => {}
        more => lines.push(format!("private     and {more} more")),
    }
    if let Some(error) = &status.last_error {
        lines.push(format!("error       {}", Shown(error.as_bytes())));
    }
    lines
}

#[cfg(test)]
mod tests {
    use coast_instance::{Conflict, LastBatch, Problem};

    use super::*;

    #[test]
    fn conflicts_and_problems_are_named_up_to_a_number() {
        let status = ContinuousStatus {
            conflicts: (0..25)
                .map(|number| Conflict {
                    path: format!("c{number}").into_bytes(),
                    made_there: Vec::new(),
                    kept_by_ignored: false,
                })
                .collect(),
            more_conflicts: 3,
            problems: vec![Problem { side: Side::Remote, path: b"a\nb".to_vec(), text: "denied".to_owned() }],
            ..ContinuousStatus::default()
        };
        let lines = trouble_lines(&status, None);
        assert_eq!(lines.len(), 22);
        assert!(lines[0].starts_with("conflict    c0: "), "{lines:?}");
        assert_eq!(lines[20..], ["conflict    and 8 more", "problem     remote a\\#012b: denied"]);
    }

    #[test]
    fn a_follower_that_reconnects_says_when_and_why() {
        let mut status = ContinuousStatus {
            layer: Layer::Native,
            activity: Activity::Connecting,
            retry: Some(Retry {
                attempt: 3,
                in_milliseconds: 3400,
                error: "connection refused".to_owned(),
                missing_passphrase: None,
            }),
            ..ContinuousStatus::default()
        };
        let dev = Addressed::from(&"dev".parse::<coast_instance::Name>().unwrap());
        let words = native_words(&status, &dev);
        assert_eq!(words, "do not follow: reconnecting, 3rd try in 4 s: connection refused");
        status.activity = Activity::Watching;
        (status.files, status.directories) = (2, 1);
        status.last_batch =
            Some(LastBatch { files: 1, bytes: 10, deleted: 0, milliseconds: 7, at: u64::MAX });
        assert_eq!(
            native_words(&status, &dev),
            "follow: 2 files in 1 directory; the last 1 file (10 B) arrived in 7 ms, less than a minute ago"
        );
        let mut words = |files, deleted, milliseconds| {
            status.last_batch = Some(LastBatch { files, bytes: 690, deleted, milliseconds, at: u64::MAX });
            last_batch(&status)
        };
        let (moved, late) = (words(100, 99, 1_200), words(0, 2, 38_130));
        assert_eq!(
            moved,
            "; the last 100 files (690 B) arrived, 99 entries deleted in 1,200 ms, less than a minute ago"
        );
        assert_eq!(late, "; the last 2 entries deleted in 38.1 s, less than a minute ago");
    }
}
