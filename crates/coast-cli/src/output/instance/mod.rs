//! The state of an instance: as lines for people, or as an object for programs.

mod object;
mod session;
mod table;

use std::path::Path;
use std::time::{Duration, SystemTime};

use coast_instance::{
    Activity, Addressed, Checked, ContinuousStatus, Failure, Following, Holder, InstanceStatus, LastTransfer,
    Layer, Record, Stale, State, Unended, WorktreeState, shell_word,
};

pub(crate) use object::{InstanceObject, listed_objects};
pub(crate) use session::{native_words, retry_words, size_words, trouble_lines};
pub(crate) use table::{listed_lines, table};

use super::Shown;
use super::figures::{Grouped, Seconds, Size, counted};
use super::lines::shown;
use session::continuous_words;

/// The number of conflicts, of problems and of stale entries that are named.
const MAX_NAMED: usize = 20;

/// The state of an instance, in lines for people. `instance` is its name in suggested commands.
pub(crate) fn instance_lines(status: &InstanceStatus, instance: &Addressed) -> Vec<String> {
    let record = &status.record;
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("{name:<11} {text}"));
    line("instance", format!("{} (project {})", record.instance, record.project));
    line("state", state_words(record, status.holder.as_ref(), instance));
    if let Some(kind) = &record.coastfile_type {
        line("coastfile", format!("type {kind}"));
    }
    line("worktree", worktree_words(status, instance));
    line("workspace", format!("{}:{}", record.remote, record.remote_path));
    if let Some(remote) = &status.remote {
        line(
            "remote",
            match remote {
                Ok(checked) if checked.workspace => {
                    format!("reached as {}; the workspace is there", shown(&checked.login))
                }
                Ok(checked) => format!(
                    "reached as {}; the workspace is gone: bring it back with: coast start {instance}",
                    shown(&checked.login)
                ),
                Err(error) => format!("cannot be reached: {}", shown(error)),
            },
        );
    }
    let transfer = record.last_transfer.as_ref();
    line(
        "transfer",
        transfer.map_or_else(
            || "none yet".to_owned(),
            |transfer| transfer_words(transfer, record.stale.as_ref()),
        ),
    );
    if let Some(stale) = &record.stale {
        line("stale", indented(&stale_words(record, stale, instance)));
    }
    // A follower of the native layer is only named by the instance.
    if let (Some(runner), Layer::Mutagen) = (&record.runner, record.layer) {
        line("runner", runner.clone());
    }
    line("edits", following_words(status, instance));
    if let Some(retry) = &status.mending {
        let words = retry_words(retry, instance);
        line("coastd", if retry.missing_passphrase.is_some() { words } else { format!("mends it: {words}") });
    }
    if let Some(reason) = &status.not_held {
        line("warning", format!("{}; it may delete files on the remote", shown(reason)));
    }
    if let (Some(unended), false) = (&record.unended, record.is_half_stopped()) {
        line("warning", unended_words(record, unended, instance));
    }
    if let Some(Ok(continuous)) = &status.continuous {
        let advice = continuous.watches.as_ref().and_then(|watches| watches.advice.as_ref());
        lines.extend(advice.map(|advice| format!("{:<11} {}", "warning", shown(advice))));
        lines.extend(trouble_lines(continuous, record.stale.as_ref()));
    }
    lines
}

fn state_words(record: &Record, holder: Option<&Holder>, instance: &Addressed) -> String {
    match (record.state, holder) {
        (State::Working { command, step }, Some(holder)) => {
            format!("{} works on it (process {}, step {})", command.as_str(), holder.pid, step.as_str())
        }
        (State::Working { command, step }, None) => {
            let ways_on = record.ways_on(instance).unwrap_or_default();
            let text = format!(
                "unfinished: {} did not finish (step {}); {ways_on}",
                command.as_str(),
                step.as_str()
            );
            Shown(text.as_bytes()).to_string()
        }
        (State::Running, _) => "running".to_owned(),
        (State::Stopped, _) => match record.left_words() {
            Some(left) => {
                format!(
                    "not stopped yet: {}; finish that with: coast stop {instance}",
                    Shown(left.as_bytes())
                )
            }
            None => "stopped".to_owned(),
        },
    }
}

fn has_no_workspace(remote: &Result<Checked, String>) -> bool {
    remote.as_ref().is_ok_and(|checked| !checked.workspace)
}

/// The path of the worktree, and what to do if it is not there.
fn worktree_words(status: &InstanceStatus, instance: &Addressed) -> String {
    let record = &status.record;
    let path = Shown(record.worktree.as_os_str().as_encoded_bytes()).to_string();
    match &status.worktree {
        WorktreeState::There => path,
        WorktreeState::Gone => format!(
            "{path} is gone: mount its disk if that is not mounted, or assign another worktree with: coast assign {instance} --worktree NAME_OR_PATH"
        ),
        WorktreeState::Another => format!(
            "{path} is another directory than before: mount the disk of the worktree if that is not mounted, or follow this directory with: coast assign {instance} --worktree {}",
            word(&record.worktree)
        ),
        WorktreeState::Unknown(error) => format!("{path} cannot be examined: {}", shown(error)),
    }
}

/// The counts of the last transfer of the whole worktree. `stale` is what it and later transfers have left.
fn transfer_words(transfer: &LastTransfer, stale: Option<&Stale>) -> String {
    let mut text = format!(
        "{}, in {}: {} of {} sent ({}), {} deleted",
        ago(transfer.at),
        Seconds(Duration::from_millis(transfer.milliseconds)),
        Grouped(transfer.sent_files),
        counted(transfer.files, "file", "files"),
        Size(transfer.sent_bytes),
        Grouped(transfer.deleted)
    );
    match transfer.code {
        0 => {}
        24 => text.push_str("; source files vanished meanwhile (code 24)"),
        // A later transfer brought the entries.
        _ if stale.is_none() => {}
        code => text.push_str(&format!("; some entries could not be transferred (code {code})")),
    }
    text
}

fn following_words(status: &InstanceStatus, instance: &Addressed) -> String {
    let record = &status.record;
    match (&record.following, &status.continuous) {
        (Following::BulkOnly, _) if status.begins_to_follow => format!(
            "do not follow: never started, although the Coastfile asks for that since the last command; begin with: coast start {instance}"
        ),
        (Following::BulkOnly, _) => format!(
            "bulk only: transferred by `coast start {instance}` and `coast assign` (add workspace_sync = \"native\" below [remote] in the Coastfile to have edits follow)"
        ),
        (Following::Off, _) if record.state == State::Stopped && record.unended.is_some() => {
            "may still follow, until `coast stop` could end the session".to_owned()
        }
        (Following::Off, _) if record.state == State::Stopped => {
            "do not follow while it is stopped".to_owned()
        }
        (Following::Off, _) => "do not follow yet".to_owned(),
        (Following::Failed { part, .. }, _)
            if part == Failure::WORKTREE && status.worktree == WorktreeState::There =>
        {
            format!(
                "do not follow: the session was paused while the worktree was gone; it is back: go on with: coast start {instance}"
            )
        }
        (Following::Failed { doing, said, at, .. }, _) => {
            let failed = match doing.as_str() {
                "" => format!("{}, {}", shown(said), ago(*at)),
                doing => format!("{doing} failed {}: {}", ago(*at), shown(said)),
            };
            indented(&format!("do not follow: {failed}\n{}", record.remedy(instance).unwrap_or_default()))
        }
        (Following::Yes, _) if status.worktree.is_lost() => {
            "do not follow: the worktree is gone or replaced".to_owned()
        }
        (Following::Yes, session)
            if matches!(status.remote, Some(Err(_))) && reconnects(session.as_ref()) =>
        {
            "do not follow: the remote cannot be reached; they will when it can be reached again".to_owned()
        }
        (Following::Yes, _) if status.remote.as_ref().is_some_and(has_no_workspace) => {
            "do not follow: the workspace is gone".to_owned()
        }
        (Following::Yes, None) => "nobody can tell: the session was not asked".to_owned(),
        (Following::Yes, Some(Err(error))) => {
            format!("nobody can tell: {}; as soon as that is mended: coast status {instance}", shown(error))
        }
        (Following::Yes, Some(Ok(continuous))) => continuous_words(continuous, record, instance),
    }
}

/// Whether edits follow by themselves when the remote is reached again. A session that tells more of its state says so itself.
fn reconnects(session: Option<&Result<ContinuousStatus, String>>) -> bool {
    session.and_then(|session| session.as_ref().ok()).is_some_and(|session| match session.activity {
        Activity::Watching | Activity::Carrying => true,
        Activity::Connecting => session.retry.is_none(),
        Activity::Absent | Activity::Halted => false,
    })
}

/// A path as a word of a command, in a form that cannot control the terminal.
fn word(path: &Path) -> String {
    shown(&shell_word(path))
}

/// Lines after the first begin below the text of the first, beside its name.
fn indented(text: &str) -> String {
    text.replace('\n', "\n            ")
}

/// A sentence that says which entries differ from the worktree, and what to do.
pub(crate) fn stale_words(record: &Record, stale: &Stale, instance: &Addressed) -> String {
    let mut text = format!(
        "{} of {}:{} could not be brought up to date:",
        counted(stale.count, "entry", "entries"),
        record.remote,
        record.remote_path
    );
    for stale in stale.paths.iter().take(MAX_NAMED) {
        let path = stale.path.as_os_str().as_encoded_bytes();
        let path = if path.is_empty() { "./".to_owned() } else { Shown(path).to_string() };
        text.push_str(&format!("\n  {path}: {}", shown(&stale.reason)));
    }
    let named = u64::try_from(stale.paths.len().min(MAX_NAMED)).unwrap_or(u64::MAX);
    if stale.count > named {
        text.push_str(&format!("\n  and {} more", stale.count - named));
    }
    text.push_str(&format!("\nafter mending that, transfer them with: coast start {instance}"));
    text
}

/// A sentence that says which session may still run, and how to end it.
pub(crate) fn unended_words(record: &Record, unended: &Unended, instance: &Addressed) -> String {
    let Record { worktree, state, .. } = record;
    let place = |path: &Path| Shown(path.as_os_str().as_encoded_bytes()).to_string();
    let does = if unended.worktree == *worktree {
        "edits may still follow".to_owned()
    } else {
        format!("it would bring the files of {} back", place(&unended.worktree))
    };
    let again = match state {
        State::Stopped => String::new(),
        _ => format!("coast assign {instance} --worktree {}, or: ", word(worktree)),
    };
    format!(
        "the session of {} may still run in the {}: {does}; end it as soon as that answers, with: {again}coast stop {instance} ({})",
        place(&unended.worktree),
        unended.runner,
        Shown(unended.said.as_bytes())
    )
}

/// The time that has passed since `at`, in words. `at` is in seconds since the epoch.
pub(crate) fn ago(at: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match now.saturating_sub(at) {
        // Seconds would make `status --watch` print again all the time.
        0..60 => "less than a minute ago".to_owned(),
        seconds @ 60..3600 => format!("{} ago", counted(seconds / 60, "minute", "minutes")),
        seconds @ 3600..86_400 => format!("{} ago", counted(seconds / 3600, "hour", "hours")),
        seconds => format!("{} ago", counted(seconds / 86_400, "day", "days")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> coast_instance::Name {
        text.parse().unwrap()
    }

    /// A running instance, and nobody was asked about its session.
    fn status() -> InstanceStatus {
        let (root, place) = (Path::new("/p"), "/data/workspaces/shop/dev".to_owned());
        let mut record = Record::begun(name("shop"), name("dev"), root, root, name("box"), place);
        record.state = State::Running;
        record.following = Following::Yes;
        InstanceStatus {
            record,
            holder: None,
            worktree: WorktreeState::There,
            continuous: None,
            not_held: None,
            remote: None,
            begins_to_follow: false,
            mending: None,
        }
    }

    fn line_of(status: &InstanceStatus, name: &str) -> String {
        let lines = instance_lines(status, &Addressed::from(&status.record.instance));
        lines.into_iter().find(|line| line.starts_with(name)).unwrap()
    }

    #[test]
    fn a_worktree_that_is_back_is_not_called_gone() {
        let mut status = status();
        status.record.following = Following::Failed {
            part: Failure::WORKTREE.to_owned(),
            doing: "reading the worktree".to_owned(),
            said: "/p is gone; the session was paused".to_owned(),
            at: 0,
        };
        let back = "edits       do not follow: the session was paused while the worktree was gone; it is back: go on with: coast \
                    start dev";
        assert_eq!(line_of(&status, "edits"), back);
        status.worktree = WorktreeState::Gone;
        assert!(line_of(&status, "edits").contains("/p is gone; the session was paused"));
    }

    #[test]
    fn a_session_that_does_not_run_does_not_wait_for_the_remote() {
        let mut status = status();
        status.remote = Some(Err("connection refused".to_owned()));
        let session = |activity, word: &str| ContinuousStatus {
            layer: Layer::Native,
            activity,
            word: word.to_owned(),
            ..ContinuousStatus::default()
        };
        status.continuous = Some(Ok(session(Activity::Absent, "coastd does not run")));
        let begin = "edits       do not follow: coastd does not run; begin with: coast start dev";
        assert_eq!(line_of(&status, "edits"), begin);
        status.continuous = Some(Ok(session(Activity::Watching, "watching")));
        assert!(line_of(&status, "edits").ends_with("they will when it can be reached again"));
    }

    #[test]
    fn entries_that_a_later_transfer_brought_are_not_told_as_left() {
        let mut status = status();
        status.record.last_transfer = Some(LastTransfer {
            at: 0,
            milliseconds: 0,
            sent_files: 1,
            sent_bytes: 1,
            deleted: 0,
            files: 1,
            code: 23,
        });
        assert!(line_of(&status, "transfer").ends_with("0 deleted"), "{}", line_of(&status, "transfer"));
        status.record.stale = Some(Stale { code: 23, count: 1, paths: Vec::new() });
        assert!(line_of(&status, "transfer").ends_with("some entries could not be transferred (code 23)"));
    }
}
