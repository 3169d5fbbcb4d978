//! The gap between the layers. An edit that was made after the transfer looked at a file and before the continuous layer looked at it
//! for the first time leaves the remote with content that this layer did not put there; it will not touch it, then or ever: a
//! conflict. And a file that was deleted in between stays on the remote, because the layer never knew that it should not be there.
//! So after the first look exactly these paths are brought again by the bulk layer, and the continuous layer is asked to look once
//! more: both sides are equal then, which is no conflict.

use std::collections::BTreeSet;
use std::path::Path;

use coast_sync::{Claim, Event, Monitor, RuleList, SyncError};

use crate::Remote;
use crate::bulk::Transfer;
use crate::continuous::{ContinuousStatus, Failure};
use crate::event::Happening;
use crate::lifecycle::LifecycleError;
use crate::lifecycle::error::failure_of;
use crate::lifecycle::work::Work;
use crate::listing::{Listing, Vanished};

/// How often in a row paths are brought again without fewer of them being left: a file that is saved all the time falls into a gap of its
/// own again and again.
const MAX_VAIN_ROUNDS: usize = 5;

/// How many paths are brought in one run: each is some rules, of which a run may have so many.
const MAX_PATHS_A_RUN: usize = 10_000;

/// What there is on both sides of the gap.
pub(super) struct Between<'a> {
    pub(super) worktree: &'a Path,
    pub(super) remote: &'a Remote,
    pub(super) rules: &'a RuleList,
    /// What the transfer may have brought.
    pub(super) listing: Option<Listing>,
    /// The state after the first look.
    pub(super) first: ContinuousStatus,
}

impl Work<'_> {
    /// Closes the gap; gives the state after that, or why nothing follows.
    pub(super) fn close_gap(
        &mut self,
        between: Between<'_>,
    ) -> Result<Result<ContinuousStatus, Failure>, LifecycleError> {
        let Between { worktree, remote, rules, listing, first: mut status } = between;
        let mut vanished = self.vanished(worktree, listing);
        let mut brought = BTreeSet::new();
        let (mut vain_rounds, mut fewest) = (0, usize::MAX);
        loop {
            let changed: Vec<Vec<u8>> =
                status.conflicts.iter().map(|conflict| exact(&conflict.path).to_owned()).collect();
            if changed.is_empty() && vanished.is_empty() {
                break;
            }
            let left =
                changed.len().saturating_add(usize::try_from(status.more_conflicts).unwrap_or(usize::MAX));
            vain_rounds = if left < fewest { 0 } else { vain_rounds + 1 };
            fewest = fewest.min(left);
            if vain_rounds == MAX_VAIN_ROUNDS {
                let reason = Some(
                    "they change faster than they can be brought, or cannot be written there".to_owned(),
                );
                self.tell(&Happening::GapOpen { conflicts: &status.conflicts, reason });
                return Ok(Ok(status));
            }
            self.tell(&Happening::Gap { changed: &changed, vanished: &vanished });
            let paths: Vec<Vec<u8>> = changed.into_iter().chain(std::mem::take(&mut vanished)).collect();
            for some in paths.chunks(MAX_PATHS_A_RUN) {
                if let Err(error) = self.bring(worktree, remote, rules, some) {
                    if matches!(error, SyncError::Interrupted) {
                        return Err(LifecycleError::Interrupted { at: self.step() });
                    }
                    self.tell(&Happening::GapOpen {
                        conflicts: &status.conflicts,
                        reason: Some(error.to_string()),
                    });
                    return Ok(Ok(status));
                }
            }
            brought.extend(paths);
            let flushed = self.lifecycle.continuous.flush(&self.id, self.lifecycle.cancel);
            status = match flushed {
                Ok(status) => status,
                Err(error) => return failure_of(error, self.step()).map(Err),
            };
        }
        if !brought.is_empty() {
            self.tell(&Happening::GapClosed { paths: brought.len() });
        }
        Ok(Ok(status))
    }

    /// What has vanished since the transfer.
    fn vanished(&self, worktree: &Path, listing: Option<Listing>) -> Vec<Vec<u8>> {
        let reason = match listing.map(|listing| listing.vanished(worktree)) {
            None => return Vec::new(),
            Some(Ok(Vanished::Paths(paths))) => return paths,
            Some(Ok(Vanished::Everything)) => {
                "the worktree has become empty; nothing is deleted on the remote for that".to_owned()
            }
            Some(Err(error)) => format!("cannot tell what was deleted meanwhile: {error}"),
        };
        self.tell(&Happening::GapOpen { conflicts: &[], reason: Some(reason) });
        Vec::new()
    }

    /// Makes the remote equal to the worktree at these paths; an empty one is all of it.
    fn bring(
        &self,
        worktree: &Path,
        remote: &Remote,
        rules: &RuleList,
        paths: &[Vec<u8>],
    ) -> Result<(), SyncError> {
        let transfer = Transfer {
            worktree,
            remote,
            remote_path: &self.record.remote_path,
            rules,
            only: Some(paths).filter(|paths| paths.iter().all(|path| !path.is_empty())),
            delay_updates: false,
            claim: Claim::Workspace,
        };
        let lifecycle = self.lifecycle;
        let monitor = ProblemsOnly(lifecycle.observer);
        lifecycle.bulk.transfer(&transfer, &monitor, lifecycle.observer, lifecycle.cancel).map(|_| ())
    }
}

/// The part of a path that is told as it is. A layer that speaks in text tells a name that is none with U+FFFD in it; the directory
/// that holds it is brought in its place.
fn exact(path: &[u8]) -> &[u8] {
    let replacement = "\u{fffd}".as_bytes();
    let Some(lossy) = path.windows(replacement.len()).position(|window| window == replacement) else {
        return path;
    };
    let slash = path[..lossy].iter().rposition(|byte| *byte == b'/');
    &path[..slash.unwrap_or(0)]
}

/// Passes on what went wrong; the progress of a few paths is not worth a bar.
struct ProblemsOnly<'a>(&'a dyn Monitor);

impl Monitor for ProblemsOnly<'_> {
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Problem { .. }) {
            self.0.event(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_text_is_brought_with_its_directory() {
        for (told, exactly) in [("a/b", "a/b"), ("a/b/x\u{fffd}y/z", "a/b"), ("\u{fffd}", ""), ("", "")] {
            assert_eq!(exact(told.as_bytes()), exactly.as_bytes(), "{told:?}");
        }
    }
}
