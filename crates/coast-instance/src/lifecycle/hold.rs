//! A session whose worktree is lost: its directory is gone, or another one stands in its place. To the session that looks like
//! deletions, and it would carry them. So it is paused as soon as a command notices.

use coast_sync::Cancel;

use crate::continuous::{Activity, Continuous, ContinuousStatus, Failure};
use crate::record::{Following, Record, now};
use crate::records::Records;
use crate::worktree::WorktreeState;

/// Pauses the session of an instance whose worktree is in the lost state `worktree`. `session` is the status of the session, if it is
/// known. After that the record says that edits do not follow, and why. The caller holds the lock of the instance. Without a session
/// there is nothing to do.
///
/// # Errors
/// A sentence that says why the session could not be paused.
pub(super) fn hold(
    continuous: &dyn Continuous,
    records: &Records,
    record: &mut Record,
    worktree: &WorktreeState,
    session: Option<&ContinuousStatus>,
    cancel: &Cancel,
) -> Result<(), String> {
    if record.following != Following::Yes {
        return Ok(());
    }
    continuous
        .pause(&record.id(), cancel)
        .map_err(|error| format!("the session could not be paused: {error}"))?;
    let path = record.worktree.display();
    let lost = match worktree {
        WorktreeState::Another => format!("another directory stands at {path}"),
        _ => format!("{path} is gone"),
    };
    let paused = match session.map(|session| session.activity) {
        Some(Activity::Absent) => "there was no session",
        _ => "the session was paused, so that it deletes nothing more on the remote",
    };
    let said = format!("{lost}; {paused}{}", carried(record, session));
    let failure = Failure::new(Failure::WORKTREE, "reading the worktree", said);
    let recorded = Record { following: Following::failed(failure, now()), ..record.clone() };
    records.save(&recorded).map_err(|error| error.to_string())?;
    *record = recorded;
    Ok(())
}

/// Says that the session carried deletions before it was paused, if the remote has fewer files than the last transfer brought. The
/// session does not count the private files, and files that could not be transferred were never there.
fn carried(record: &Record, session: Option<&ContinuousStatus>) -> String {
    let compared = || {
        let session = session?;
        let private = u64::try_from(session.private.len()).unwrap_or(u64::MAX);
        let stale = record.stale.as_ref().map_or(0, |stale| stale.count);
        let before = record.last_transfer?.files.saturating_sub(private).saturating_sub(stale);
        Some((before, session.remote_files?))
    };
    match compared() {
        Some((before, left)) if left < before => {
            format!("; it had deleted files there before that: {left} of {before} are left")
        }
        _ => String::new(),
    }
}
