//! What `coast assign` would do: as lines for people, or as an object for programs.

use coast_instance::{Explanation, Following};
use coast_sync::{DeletedEntries, Deletions};
use serde::Serialize;

use super::Shown;
use super::figures::{Size, counted};
use super::json::PathFields;
use super::stats::{deletion_lines, shortcomings};

/// An explanation as an object.
#[derive(Serialize)]
pub(crate) struct ExplanationObject<'a> {
    event: &'static str,
    exit_code: u8,
    project: &'a str,
    instance: &'a str,
    from: PathFields<'a>,
    to: PathFields<'a>,
    sent: SentObject<'a>,
    made: CountObject<'a>,
    deleted: DeletedObject<'a>,
    /// Files that were made or changed on the remote, and would move to the trash.
    replaced: CountObject<'a>,
    /// The number of entries that rules exclude or protect.
    kept: u64,
    untouched: u64,
    ends_session: bool,
    begins_session: bool,
    asks_for_trust: bool,
}

#[derive(Serialize)]
struct SentObject<'a> {
    files: u64,
    bytes: u64,
    first: Vec<PathFields<'a>>,
}

#[derive(Serialize)]
struct CountObject<'a> {
    count: u64,
    first: Vec<PathFields<'a>>,
}

#[derive(Serialize)]
struct DeletedObject<'a> {
    made_there: CountObject<'a>,
    changed: CountObject<'a>,
    placed: CountObject<'a>,
    to_trash: bool,
    /// Nothing is deleted, because the worktree could not be read without errors.
    skipped: bool,
}

impl<'a> ExplanationObject<'a> {
    pub(crate) fn of(explanation: &'a Explanation) -> Self {
        let Explanation { record, worktree, report, sent, made, .. } = explanation;
        let receiver = &report.run.receiver;
        let Deletions { made_there, changed, placed, replaced, to_trash, .. } = &report.deletions;
        Self {
            event: "explained",
            exit_code: report.workspace_exit_code(),
            project: record.project.as_str(),
            instance: record.instance.as_str(),
            from: record.worktree.as_os_str().as_encoded_bytes().into(),
            to: worktree.as_os_str().as_encoded_bytes().into(),
            sent: SentObject {
                files: receiver.transferred_files,
                bytes: receiver.transferred_bytes,
                first: paths(sent),
            },
            made: CountObject { count: explanation.made_count, first: paths(made) },
            deleted: DeletedObject {
                made_there: entries(made_there),
                changed: entries(changed),
                placed: entries(placed),
                to_trash: *to_trash,
                skipped: receiver.deletion_skipped,
            },
            replaced: entries(replaced),
            kept: receiver.protected,
            untouched: receiver.untouched,
            ends_session: explanation.ends_session,
            begins_session: explanation.begins_session,
            asks_for_trust: explanation.question.is_some(),
        }
    }
}

fn paths(paths: &[Vec<u8>]) -> Vec<PathFields<'_>> {
    paths.iter().map(|path| path.as_slice().into()).collect()
}

fn entries(entries: &DeletedEntries) -> CountObject<'_> {
    CountObject { count: entries.count, first: paths(&entries.first) }
}

/// An explanation in lines for people.
pub(crate) fn explanation_lines(explanation: &Explanation) -> Vec<String> {
    let Explanation { record, worktree, report, sent, made, made_count, .. } = explanation;
    let receiver = &report.run.receiver;
    let shown = |path: &std::path::Path| Shown(path.as_os_str().as_encoded_bytes()).to_string();
    let (from, to) = (shown(&record.worktree), shown(worktree));
    let place = format!("{}:{}", record.remote, record.remote_path);
    let mut lines = vec![if *record.worktree == **worktree {
        format!("{} would follow {to}, as it does now; {place} would change as follows", record.instance)
    } else {
        format!("{} would follow {to} in place of {from}; {place} would change as follows", record.instance)
    }];
    let files = counted(receiver.transferred_files, "file", "files");
    lines.push(format!(
        "{files} ({}) would be sent, less those that only moved{}",
        Size(receiver.transferred_bytes),
        named(sent, receiver.transferred_files)
    ));
    if *made_count > 0 {
        lines.push(format!(
            "{} would be made there without being sent{}",
            counted(*made_count, "entry", "entries"),
            named(made, *made_count)
        ));
    }
    let deleted = deletion_lines(&report.deletions, None, true);
    if receiver.deleted == 0 {
        lines.push("nothing would be deleted".to_owned());
    }
    lines.extend(deleted);
    lines.push(format!(
        "{} would stay because of an exclude or protect rule (a directory counts once)",
        counted(receiver.protected, "entry", "entries")
    ));
    lines.push(format!("{} would not be touched", counted(receiver.untouched, "entry", "entries")));
    lines.push(session_words(explanation, &from, &to));
    if let Some(question) = &explanation.question {
        lines.push(format!(
            "before all this, coast would ask whether you trust the settings; see them with: {}",
            question.command()
        ));
    }
    lines.extend(shortcomings(report, report.workspace_exit_code()));
    lines.push("nothing was changed".to_owned());
    lines
}

/// What would become of the edits that follow.
fn session_words(explanation: &Explanation, from: &str, to: &str) -> String {
    match (explanation.ends_session, explanation.begins_session) {
        (true, true) if from == to => format!("edits of {to} would go on following"),
        (true, true) => format!("edits of {from} would no longer follow, and those of {to} would"),
        (true, false) => format!(
            "edits of {from} would no longer follow, and those of {to} would not, because the Coastfile does not ask for that"
        ),
        (false, true) => format!("edits of {to} would follow; now no edits follow"),
        (false, false) => match explanation.record.following {
            Following::BulkOnly => "edits would not follow: the project is bulk only".to_owned(),
            _ => "edits would not follow, because the Coastfile does not ask for that".to_owned(),
        },
    }
}

/// The number of entries that a line names.
const MAX_NAMED: usize = 10;

fn named(first: &[Vec<u8>], count: u64) -> String {
    if first.is_empty() {
        return String::new();
    }
    let names: Vec<String> = first.iter().take(MAX_NAMED).map(|path| Shown(path).to_string()).collect();
    let more = match count.saturating_sub(names.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(": {}{more}", names.join(", "))
}
