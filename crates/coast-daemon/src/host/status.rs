//! The state of a follower in the words of the continuous layers.

use std::time::{Instant, SystemTime};

use coast_follow::{FollowerState, FollowerStatus, Halt, LostRoot};
use coast_instance::{
    Activity, Conflict, ContinuousStatus, Failure, LastBatch, Layer, Problem, Retry, RunnerState, Side,
    Staging, StoredPath, Watches,
};

use super::WATCH;

pub(super) fn continuous_status(status: &FollowerStatus) -> ContinuousStatus {
    let (activity, word) = activity(&status.state);
    let failed_part = match &status.state {
        FollowerState::Halted(halt) => Some(part_of_halt(halt).to_owned()),
        _ => None,
    };
    let retry = match &status.state {
        FollowerState::Connecting(connecting) => connecting.error.as_ref().map(|error| Retry {
            attempt: connecting.attempt,
            in_milliseconds: connecting.begins.map_or(0, milliseconds_until),
            error: error.clone(),
            missing_passphrase: connecting.missing_passphrase.as_deref().map(StoredPath::from),
        }),
        _ => None,
    };
    ContinuousStatus {
        layer: Layer::Native,
        runner: RunnerState::Running,
        activity,
        word,
        failed_part,
        files: status.size.map_or(0, |size| size.files),
        directories: status.size.map_or(0, |size| size.directories),
        staging: status.under_way.map(|run| Staging {
            arrived_files: run.settled_entries,
            files: run.entries,
            arrived_bytes: run.settled_bytes,
            file_bytes_left: run.bytes.saturating_sub(run.settled_bytes),
        }),
        conflicts: status
            .conflicts
            .iter()
            .map(|conflict| Conflict {
                path: conflict.path.clone(),
                made_there: Vec::new(),
                kept_by_ignored: false,
            })
            .collect(),
        more_conflicts: status.more_conflicts,
        problems: status
            .problems
            .iter()
            .map(|problem| Problem {
                side: match problem.side {
                    coast_follow::Side::Local => Side::Local,
                    coast_follow::Side::Remote => Side::Remote,
                },
                path: problem.path.as_bytes().to_vec(),
                text: problem.text.clone(),
            })
            .collect(),
        more_problems: status.more_problems,
        last_error: status.notice.clone(),
        pending: (status.watch.pending_paths.unwrap_or(1) + status.waiting_files) as u64,
        last_batch: status.last_batch.map(|batch| LastBatch {
            files: batch.files,
            bytes: batch.bytes,
            deleted: batch.deleted,
            milliseconds: u64::try_from(batch.elapsed.as_millis()).unwrap_or(u64::MAX),
            at: batch.at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }),
        watches: Some(Watches {
            count: status.watch.watched_directories as u64,
            limit: status.watch.limit,
            scanned: status.watch.scanned_directories as u64,
            advice: status.watch.advice(),
        }),
        retry,
        ..ContinuousStatus::default()
    }
}

fn activity(state: &FollowerState) -> (Activity, String) {
    let (activity, word) = match state {
        FollowerState::Holding => (Activity::Connecting, "waiting for the transfer".to_owned()),
        FollowerState::Connecting(_) => (Activity::Connecting, "connecting".to_owned()),
        FollowerState::Sending => (Activity::Carrying, "sending".to_owned()),
        FollowerState::Watching => (Activity::Watching, "watching".to_owned()),
        FollowerState::Paused => (Activity::Halted, "following is paused".to_owned()),
        FollowerState::Halted(halt) => (Activity::Halted, halt_words(halt)),
        _ => (Activity::Halted, "in a state that this version does not know".to_owned()),
    };
    (activity, word)
}

/// Why a follower has halted, without what to do about it: that depends on the name of the instance.
pub(super) fn halt_words(halt: &Halt) -> String {
    match halt {
        Halt::Root(LostRoot::Missing { path, reason } | LostRoot::Unreadable { path, reason }) => {
            format!("the worktree {} cannot be opened: {reason}", path.display())
        }
        Halt::Root(LostRoot::Replaced { path }) => {
            format!("{} is another directory than when edits began to follow", path.display())
        }
        Halt::Root(LostRoot::Emptied { path }) => format!("the worktree {} is empty now", path.display()),
        Halt::Root(LostRoot::Unwatched { path, reason }) => {
            format!("changes of {} are no longer reported: {reason}", path.display())
        }
        Halt::MassDeletion(text) | Halt::Workspace(text) => text.clone(),
        Halt::Stopped => "the follower has ended".to_owned(),
        Halt::Paused => "following is paused".to_owned(),
        halt => halt.to_string(),
    }
}

/// The part that failed when a follower halted.
pub(super) fn part_of_halt(halt: &Halt) -> &'static str {
    match halt {
        Halt::Root(lost) => part_of_root(lost),
        Halt::MassDeletion(_) => Failure::MASS_DELETION,
        Halt::Workspace(_) => Failure::WORKSPACE,
        _ => Failure::SESSION,
    }
}

/// The part that failed when the worktree cannot be followed where it is.
pub(super) fn part_of_root(lost: &LostRoot) -> &'static str {
    match lost {
        LostRoot::Emptied { .. } => Failure::EMPTIED,
        LostRoot::Unwatched { .. } | LostRoot::Unreadable { .. } => WATCH,
        _ => Failure::WORKTREE,
    }
}

fn milliseconds_until(time: Instant) -> u64 {
    let left = time.saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}
