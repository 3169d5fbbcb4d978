//! The trouble of an instance in the log: a line when a halt, conflicts or problems begin, and a line when they end.

use coast_instance::{Activity, ContinuousStatus, InstanceId};

/// Which kinds of trouble of one instance have been logged as begun, so that the end of each is logged, too.
pub(super) struct TroubleLog {
    id: InstanceId,
    halted: bool,
    conflicts: bool,
    problems: bool,
}

impl TroubleLog {
    /// No trouble yet.
    pub(super) fn of(id: &InstanceId) -> Self {
        Self { id: id.clone(), halted: false, conflicts: false, problems: false }
    }

    /// Logs the trouble that has begun or ended since the last status.
    pub(super) fn note(&mut self, status: &ContinuousStatus) {
        for line in self.lines(status) {
            match line {
                Line::Begins(text) => tracing::warn!("{}: {text}", self.id),
                Line::Ends(text) => tracing::info!("{}: {text}", self.id),
            }
        }
    }

    fn lines(&mut self, status: &ContinuousStatus) -> Vec<Line> {
        let mut lines = Vec::new();
        match status.activity {
            // A follower that a command has paused has not failed.
            Activity::Halted if status.failed_part.is_none() => {}
            Activity::Halted if !std::mem::replace(&mut self.halted, true) => {
                lines.push(Line::Begins(format!("edits do not follow: {}", status.word)));
            }
            Activity::Watching if std::mem::take(&mut self.halted) => {
                lines.push(Line::Ends("edits follow again".to_owned()));
            }
            _ => {}
        }
        let count = |listed: usize, more: u64| listed as u64 + more;
        let conflicts = count(status.conflicts.len(), status.more_conflicts);
        let first = status.conflicts.first().map(|conflict| conflict.path.escape_ascii().to_string());
        let begins = || format!("{conflicts} in conflict, the first: {}", first.unwrap_or_default());
        lines.extend(changed(&mut self.conflicts, conflicts > 0, begins, "no conflicts any more"));
        let problems = count(status.problems.len(), status.more_problems);
        let first = status.problems.first();
        let first = first.map(|problem| format!("{}: {}", problem.path.escape_ascii(), problem.text));
        let begins = || format!("{problems} not up to date, the first: {}", first.unwrap_or_default());
        lines.extend(changed(&mut self.problems, problems > 0, begins, "no problems any more"));
        lines
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Begins(String),
    Ends(String),
}

/// The line about one kind of trouble, if it has begun or ended.
fn changed(logged: &mut bool, is: bool, begins: impl FnOnce() -> String, ends: &str) -> Option<Line> {
    match (std::mem::replace(logged, is), is) {
        (false, true) => Some(Line::Begins(begins())),
        (true, false) => Some(Line::Ends(ends.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use coast_instance::{Conflict, Failure, Problem, Side};

    use super::*;

    #[test]
    fn trouble_has_a_line_when_it_begins_and_one_when_it_ends() {
        let id = InstanceId { project: "shop".parse().unwrap(), instance: "dev-1".parse().unwrap() };
        let mut log = TroubleLog::of(&id);
        let of = |activity| ContinuousStatus { activity, ..ContinuousStatus::default() };
        let halted = ContinuousStatus {
            word: "the worktree is empty".to_owned(),
            failed_part: Some(Failure::EMPTIED.to_owned()),
            ..of(Activity::Halted)
        };
        assert_eq!(log.lines(&of(Activity::Watching)), []);
        let begins = |text: &str| Line::Begins(text.to_owned());
        let ends = |text: &str| Line::Ends(text.to_owned());
        assert_eq!(log.lines(&halted), [begins("edits do not follow: the worktree is empty")]);
        // While it tries again.
        for activity in [Activity::Connecting, Activity::Carrying] {
            assert_eq!(log.lines(&of(activity)), []);
        }
        assert_eq!(log.lines(&halted), []);
        assert_eq!(log.lines(&of(Activity::Watching)), [ends("edits follow again")]);

        let path = b"a\n".to_vec();
        let conflict = Conflict { path: path.clone(), made_there: Vec::new(), kept_by_ignored: false };
        let problem = Problem { side: Side::Remote, path, text: "denied".to_owned() };
        let left = ContinuousStatus {
            conflicts: vec![conflict],
            more_conflicts: 2,
            problems: vec![problem],
            ..of(Activity::Watching)
        };
        let began =
            [begins("3 in conflict, the first: a\\n"), begins("1 not up to date, the first: a\\n: denied")];
        assert_eq!(log.lines(&left), began);
        assert_eq!(log.lines(&left), []);
        let ended = [ends("no conflicts any more"), ends("no problems any more")];
        assert_eq!(log.lines(&of(Activity::Watching)), ended);
        assert_eq!(log.lines(&of(Activity::Halted)), [], "a command has paused it");
    }
}
