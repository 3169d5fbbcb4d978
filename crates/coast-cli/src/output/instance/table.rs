//! All instances, as a table for people.

use coast_instance::{
    Activity, ContinuousStatus, Edits, Following, InstanceStatus, Layer, Listed, RunnerState, State,
    WorktreeState,
};

use crate::output::Shown;
use crate::output::lines::shown;

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
            Some(Ok(session)) if lacks_passphrase(session) => "wait for passphrase",
            Some(Ok(session)) => match (session.activity, session.runner) {
                (Activity::Connecting, _) => "wait for connection",
                (Activity::Halted, _) => "halted",
                (Activity::Absent, runner) if session.layer == Layer::Native => match runner {
                    RunnerState::Stopped => "coastd does not run",
                    _ => "no follower",
                },
                (Activity::Absent, RunnerState::Running) => "no session",
                (Activity::Absent, RunnerState::Stopped) => "runner stopped",
                (Activity::Absent, RunnerState::Absent) => "no runner",
                (Activity::Watching | Activity::Carrying, _) => "do not follow",
            },
            Some(Err(_)) | None => "?",
        },
    }
}

fn lacks_passphrase(session: &ContinuousStatus) -> bool {
    session.retry.as_ref().is_some_and(|retry| retry.missing_passphrase.is_some())
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
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "LONG"], ["ää", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), ["A   LONG", "ää  x"]);
    }
}
