//! The trash of a workspace and the result of restoring from it: as lines for people, or as an object for programs.

use coast_sync::{EntryKind, KeptEntry, RestoreReport, TrashReport, TrashedEntry};
use serde::Serialize;

use super::figures::{Size, counted};
use super::instance::{ago, table};
use super::json::{PathFields, kind_name};
use super::{Shown, lines::shown};

/// The trash as an object.
#[derive(Serialize)]
pub(crate) struct TrashObject<'a> {
    event: &'static str,
    entries: u64,
    bytes: u64,
    first: Vec<EntryObject<'a>>,
    unreadable: Vec<LeftObject<'a>>,
}

#[derive(Serialize)]
struct EntryObject<'a> {
    at: u64,
    kind: &'static str,
    size: u64,
    #[serde(flatten)]
    path: PathFields<'a>,
}

#[derive(Serialize)]
struct LeftObject<'a> {
    #[serde(flatten)]
    path: PathFields<'a>,
    text: &'a str,
}

/// The result of restoring as an object.
#[derive(Serialize)]
pub(crate) struct RestoredObject<'a> {
    event: &'static str,
    exit_code: u8,
    entries: u64,
    bytes: u64,
    left: AllLeftObject<'a>,
}

#[derive(Serialize)]
struct AllLeftObject<'a> {
    count: u64,
    first: Vec<LeftObject<'a>>,
}

impl<'a> From<&'a TrashReport> for TrashObject<'a> {
    fn from(report: &'a TrashReport) -> Self {
        let entry = |entry: &'a TrashedEntry| EntryObject {
            at: entry.at,
            kind: kind_name(entry.kind),
            size: entry.size,
            path: PathFields::from(entry.path.as_slice()),
        };
        Self {
            event: "trash",
            entries: report.entries,
            bytes: report.bytes,
            first: report.first.iter().map(entry).collect(),
            unreadable: left_objects(&report.unreadable),
        }
    }
}

impl<'a> From<&'a RestoreReport> for RestoredObject<'a> {
    fn from(report: &'a RestoreReport) -> Self {
        Self {
            event: "restored",
            exit_code: report.exit_code(),
            entries: report.restored_entries,
            bytes: report.restored_bytes,
            left: AllLeftObject { count: report.left_entries, first: left_objects(&report.left) },
        }
    }
}

fn left_objects(left: &[KeptEntry]) -> Vec<LeftObject<'_>> {
    left.iter()
        .map(|left| LeftObject { path: PathFields::from(left.path.as_slice()), text: &left.reason })
        .collect()
}

/// The trash in lines for people. `words` are those after `coast restore` that name the workspace. Without `hints` only entries are
/// listed.
pub(crate) fn trash_lines(
    report: &TrashReport,
    (workspace, words): (&str, &str),
    hints: bool,
) -> Vec<String> {
    let row = |entry: &TrashedEntry| {
        let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
        let size = if entry.kind == EntryKind::File { Size(entry.size).to_string() } else { "-".to_owned() };
        [ago(entry.at), size, format!("{}{slash}", Shown(&entry.path))]
    };
    let mut rows: Vec<_> = report.first.iter().map(row).collect();
    if hints && !rows.is_empty() {
        rows.insert(0, ["DELETED", "SIZE", "PATH"].map(str::to_owned));
    }
    let mut lines = table(&rows);
    if hints {
        let named = u64::try_from(report.first.len()).unwrap_or(u64::MAX);
        let more = match report.entries.saturating_sub(named) {
            0 => String::new(),
            more => format!(", {more} of them not listed"),
        };
        lines.push(match report.entries {
            0 => format!("the trash of {} is empty", shown(workspace)),
            count => format!(
                "{} ({}) in the trash{more}; to restore them: coast restore {words} PATH...",
                counted(count, "entry", "entries"),
                Size(report.bytes)
            ),
        });
    }
    lines
}

/// What was restored, in a line for people.
pub(crate) fn restored_line(report: &RestoreReport) -> String {
    format!(
        "{} restored ({})",
        counted(report.restored_entries, "entry", "entries"),
        Size(report.restored_bytes)
    )
}

/// The entries that were left, each in a line for people, and their number.
pub(crate) fn left_lines(left: &[KeptEntry], count: u64) -> Vec<String> {
    let mut lines: Vec<String> =
        left.iter().map(|left| format!("{}: {}", shown_path(&left.path), shown(&left.reason))).collect();
    let named = u64::try_from(left.len()).unwrap_or(u64::MAX);
    if count > named {
        lines.push(format!("and {} more", count - named));
    }
    lines
}

/// A path in the workspace, whose own path is empty.
fn shown_path(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { Shown(path).to_string() }
}
