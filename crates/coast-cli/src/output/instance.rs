//! The state of an instance: as lines for people, or as an object for programs.

use std::path::Path;
use std::time::{Duration, SystemTime};

use coast_instance::{
    Activity, Addressed, Checked, ContinuousStatus, Edits, Following, Holder, InstanceStatus, LastTransfer,
    Listed, Record, RunnerState, Side, Stale, State, Unended, WorktreeState, shell_word,
};
use serde::Serialize;

use super::Shown;
use super::figures::{Grouped, Seconds, Size, counted};
use super::lines::shown;

/// The number of conflicts, of problems and of stale entries that are named.
const MAX_NAMED: usize = 20;

/// An instance as an object.
#[derive(Serialize)]
pub(crate) struct InstanceObject<'a> {
    #[serde(flatten)]
    record: &'a Record,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<HolderObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuous: Option<SessionObject<'a>>,
    /// The state of the worktree's directory, in one word.
    worktree_is: &'static str,
    /// The reason why the worktree's directory could not be examined.
    #[serde(skip_serializing_if = "Option::is_none")]
    worktree_error: Option<&'a str>,
    /// The reason why the session could not be paused although the worktree is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_paused: Option<&'a str>,
    /// The answer of the remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<CheckObject<'a>>,
    /// Whether an edit would arrive, in one word.
    edits: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    begins_to_follow: bool,
}

/// The answer of a remote, or the reason why there is none.
#[derive(Serialize)]
#[serde(untagged)]
enum CheckObject<'a> {
    Answer { login: &'a str, workspace: bool },
    Error { error: &'a str },
}

/// The status of the session, or the reason why it cannot be told.
#[derive(Serialize)]
#[serde(untagged)]
enum SessionObject<'a> {
    Status(&'a ContinuousStatus),
    Error { error: &'a str },
}

/// The command that works on an instance.
#[derive(Serialize)]
struct HolderObject<'a> {
    pid: u32,
    command: &'a str,
}

impl<'a> HolderObject<'a> {
    fn of(holder: &'a Holder) -> Self {
        Self { pid: holder.pid, command: &holder.command }
    }
}

impl<'a> InstanceObject<'a> {
    /// The object of an instance.
    pub(crate) fn of(status: &'a InstanceStatus) -> Self {
        Self {
            record: &status.record,
            holder: status.holder.as_ref().map(HolderObject::of),
            continuous: status.continuous.as_ref().map(|continuous| match continuous {
                Ok(status) => SessionObject::Status(status),
                Err(error) => SessionObject::Error { error },
            }),
            worktree_is: match &status.worktree {
                WorktreeState::There => "there",
                WorktreeState::Gone => "gone",
                WorktreeState::Another => "another",
                WorktreeState::Unknown(_) => "unknown",
            },
            worktree_error: match &status.worktree {
                WorktreeState::Unknown(error) => Some(error),
                _ => None,
            },
            not_paused: status.not_held.as_deref(),
            check: status.remote.as_ref().map(|remote| match remote {
                Ok(checked) => CheckObject::Answer { login: &checked.login, workspace: checked.workspace },
                Err(error) => CheckObject::Error { error },
            }),
            edits: match status.edits() {
                Edits::Follow => "follow",
                Edits::NeedNotFollow => "need_not_follow",
                Edits::DoNotFollow => "do_not_follow",
            },
            begins_to_follow: status.begins_to_follow,
        }
    }
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Local => "local",
        Side::Remote => "remote",
    }
}

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
    if let Some(runner) = &record.runner {
        line("runner", runner.clone());
    }
    line("edits", following_words(status, instance));
    if let Some(reason) = &status.not_held {
        line("warning", format!("{}; it may delete files on the remote", shown(reason)));
    }
    if let (Some(unended), false) = (&record.unended, record.is_half_stopped()) {
        line("warning", unended_words(record, unended, instance));
    }
    if let Some(Ok(continuous)) = &status.continuous {
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
        transfer.sent_files,
        counted(transfer.files, "file", "files"),
        Size(transfer.sent_bytes),
        transfer.deleted
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
            "bulk only: transferred by `coast start {instance}` and `coast assign` (the mode of a project without workspace_sync = \"mutagen\")"
        ),
        (Following::Off, _) if record.state == State::Stopped && record.unended.is_some() => {
            "may still follow, until `coast stop` could end the session".to_owned()
        }
        (Following::Off, _) if record.state == State::Stopped => {
            "do not follow while it is stopped".to_owned()
        }
        (Following::Off, _) => "do not follow yet".to_owned(),
        (Following::Failed { part, .. }, _)
            if part == "worktree" && status.worktree == WorktreeState::There =>
        {
            format!(
                "do not follow: the session was paused while the worktree was gone; it is back: go on with: coast start {instance}"
            )
        }
        (Following::Failed { step, said, at, .. }, _) => indented(&format!(
            "do not follow: {step} failed {}: {}\n{}",
            ago(*at),
            shown(said),
            record.remedy(instance).unwrap_or_default()
        )),
        (Following::Yes, _) if status.worktree.is_lost() => {
            "do not follow: the worktree is gone or replaced".to_owned()
        }
        (Following::Yes, _) if matches!(status.remote, Some(Err(_))) => {
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

fn continuous_words(status: &ContinuousStatus, record: &Record, instance: &Addressed) -> String {
    let mend = format!("mend it with: coast start {instance}");
    let counts = || {
        format!(
            "{}, {}",
            counted(status.files, "file", "files"),
            counted(status.directories, "directory", "directories")
        )
    };
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
        Activity::Watching => format!("follow: {word} {}", counts()),
        Activity::Carrying => {
            let staging = status.staging.as_ref().map_or_else(String::new, |staging| {
                let files = counted(staging.files, "file", "files");
                format!(
                    ", {} of {files} arrived, {}",
                    Grouped(staging.arrived_files),
                    Size(staging.arrived_bytes)
                )
            });
            format!("are on their way: {word}{staging} ({})", counts())
        }
    }
}

/// The conflicts, the problems and the error of a session. A conflict at an entry of `stale`, which is named with its own reason, is left
/// out: the entry could not be written.
pub(crate) fn trouble_lines(status: &ContinuousStatus, stale: Option<&Stale>) -> Vec<String> {
    let mut lines = Vec::new();
    let shown = |path: &[u8]| if path.is_empty() { "./".to_owned() } else { Shown(path).to_string() };
    let is_stale = |path: &[u8]| stale.is_some_and(|stale| stale.concerns(path));
    let conflicts: Vec<_> = status.conflicts.iter().filter(|conflict| !is_stale(&conflict.path)).collect();
    for conflict in conflicts.iter().take(MAX_NAMED) {
        lines.push(format!(
            "conflict    {}: the remote has something of its own there (`coast start` replaces it)",
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

/// An instance in a list, as an object.
#[derive(Serialize)]
struct ListedObject<'a> {
    #[serde(flatten)]
    instance: Option<InstanceObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<UnreadableObject<'a>>,
}

/// An instance whose record cannot be read.
#[derive(Serialize)]
struct UnreadableObject<'a> {
    project: &'a str,
    instance: &'a str,
    error: String,
}

/// All instances as one object.
pub(crate) fn listed_objects(listed: &[Listed]) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Objects<'a> {
        instances: Vec<ListedObject<'a>>,
    }
    let instances = listed.iter().map(|listed| ListedObject {
        instance: listed.status.as_ref().ok().map(InstanceObject::of),
        unreadable: listed.status.as_ref().err().map(|error| UnreadableObject {
            project: listed.project.as_str(),
            instance: listed.instance.as_str(),
            error: error.to_string(),
        }),
    });
    Objects { instances: instances.collect() }
}

/// All instances as a table, and a line for each that could not be asked.
pub(crate) fn listed_lines(listed: &[Listed], with_project: bool) -> Vec<String> {
    let mut rows = vec![["INSTANCE", "STATE", "EDITS", "REMOTE", "WORKTREE"].map(str::to_owned)];
    let mut unanswered = Vec::new();
    for listed in listed {
        let name = if with_project {
            format!("{}/{}", listed.project, listed.instance)
        } else {
            listed.instance.to_string()
        };
        let status = match &listed.status {
            Ok(status) => status,
            Err(error) => {
                rows.push([name, "unreadable".to_owned(), "?".to_owned(), "?".to_owned(), error.to_string()]);
                continue;
            }
        };
        let answers = [
            (
                "the worktree",
                match &status.worktree {
                    WorktreeState::Unknown(error) => Some(error),
                    _ => None,
                },
            ),
            ("the session", status.continuous.as_ref().and_then(|session| session.as_ref().err())),
            ("the remote", status.remote.as_ref().and_then(|remote| remote.as_ref().err())),
        ];
        for (what, error) in answers {
            unanswered.extend(error.map(|error| format!("{name}: cannot ask {what}: {}", shown(error))));
        }
        unanswered.extend(status.not_held.as_ref().map(|reason| format!("{name}: {}", shown(reason))));
        rows.push([
            name,
            listed_state(status),
            listed_edits(status).to_owned(),
            listed_remote(status),
            listed_worktree(status),
        ]);
    }
    let mut lines = table(&rows);
    lines.extend(unanswered);
    lines
}

fn listed_state(status: &InstanceStatus) -> String {
    let record = &status.record;
    match (record.state, &status.holder) {
        (State::Running, _) if record.stale.is_some() => "running, stale".to_owned(),
        (State::Running, _) => "running".to_owned(),
        (State::Stopped, _) if record.is_half_stopped() => "stop unfinished".to_owned(),
        (State::Stopped, _) => "stopped".to_owned(),
        (State::Working { command, .. }, Some(_)) => format!("{} at work", command.as_str()),
        (State::Working { command, .. }, None) => format!("{} unfinished", command.as_str()),
    }
}

fn listed_edits(status: &InstanceStatus) -> &'static str {
    match &status.record.following {
        _ if status.record.unended.is_some() => "may follow",
        Following::BulkOnly => "bulk only",
        Following::Off => "off",
        Following::Failed { .. } => "do not follow",
        Following::Yes => match &status.continuous {
            _ if status.edits() == Edits::Follow => "follow",
            Some(Ok(session)) => match (session.activity, session.runner) {
                (Activity::Connecting, _) => "wait for connection",
                (Activity::Halted, _) => "halted",
                (Activity::Absent, RunnerState::Running) => "no session",
                (Activity::Absent, RunnerState::Stopped) => "runner stopped",
                (Activity::Absent, RunnerState::Absent) => "no runner",
                (Activity::Watching | Activity::Carrying, _) => "do not follow",
            },
            Some(Err(_)) | None => "?",
        },
    }
}

fn listed_remote(status: &InstanceStatus) -> String {
    let name = &status.record.remote;
    match &status.remote {
        None => name.to_string(),
        Some(Ok(checked)) if checked.workspace => format!("{name}, reached"),
        Some(Ok(_)) => format!("{name}, no workspace"),
        Some(Err(_)) => format!("{name}, not reached"),
    }
}

fn listed_worktree(status: &InstanceStatus) -> String {
    let path = Shown(status.record.worktree.as_os_str().as_encoded_bytes());
    match &status.worktree {
        WorktreeState::There => path.to_string(),
        WorktreeState::Gone => format!("{path} (gone)"),
        WorktreeState::Another => format!("{path} (another directory)"),
        WorktreeState::Unknown(_) => format!("{path} (?)"),
    }
}

/// Formats a table. Each column but the last is padded to its widest cell.
pub(crate) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use coast_instance::{Conflict, Problem};

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
            part: "worktree".to_owned(),
            step: "reading the worktree".to_owned(),
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

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "LONG"], ["ää", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), ["A   LONG", "ää  x"]);
    }
}
