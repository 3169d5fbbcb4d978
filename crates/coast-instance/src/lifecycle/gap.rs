//! The gap between the layers. The continuous layer never changes remote content that it did not put there. So an edit between the
//! transfer and the layer's first scan is a conflict for good, and a file that was deleted in between stays on the remote. After
//! the first scan the bulk layer transfers exactly these paths again, and the continuous layer scans once more: equal content on
//! both sides is no conflict.

use std::collections::BTreeSet;
use std::path::Path;

use coast_sync::{Claim, Event, Monitor, Own, RuleList, SyncError};

use crate::Remote;
use crate::bulk::{ContentSources, Transfer, Transferred};
use crate::continuous::{Conflict, ContinuousStatus, Failure, PrivateFile};
use crate::event::LifecycleEvent;
use crate::lifecycle::LifecycleError;
use crate::lifecycle::error::failure_of;
use crate::lifecycle::mend::{Mending, mendings};
use crate::lifecycle::work::Work;
use crate::listing::{Listing, Vanished};
use crate::stale::Stale;

/// How many transfers in a row may leave as many paths in conflict as before: a file that is saved all the time has a conflict after
/// each scan.
const MAX_VAIN_ROUNDS: usize = 5;

/// The state of both sides when the gap is to be closed.
pub(super) struct GapState<'a> {
    pub(super) worktree: &'a Path,
    pub(super) remote: &'a Remote,
    pub(super) rules: &'a RuleList,
    pub(super) own: Own,
    /// The paths that the transfer may have put on the remote.
    pub(super) listing: Option<Listing>,
    /// The status after the first scan.
    pub(super) first: ContinuousStatus,
}

/// Whether the edits of a worktree are carried.
#[derive(Debug)]
pub(super) enum Followed {
    /// A session carries them. This is its status.
    Yes(Box<ContinuousStatus>),
    /// No session carries them, because of this failure.
    No(Failure),
}

impl Work<'_> {
    /// Closes the gap.
    pub(super) fn close_gap(&mut self, state: GapState<'_>) -> Result<Followed, LifecycleError> {
        let GapState { worktree, remote, rules, own, listing, first: mut status } = state;
        let mut vanished = self.vanished(worktree, listing);
        // The paths that were transferred again, and those of them that the observer was told of.
        let (mut transferred, mut told) = (BTreeSet::new(), 0);
        let (mut vain_rounds, mut fewest) = (0, usize::MAX);
        loop {
            let mut changed: Vec<Vec<u8>> =
                status.conflicts.iter().map(|conflict| exact(&conflict.path).to_owned()).collect();
            // A path that cannot be written is tried once. The record names it, with the reason.
            changed.retain(|path| !transferred.contains(path) || !self.is_stale(path));
            if changed.is_empty() && vanished.is_empty() {
                break;
            }
            let left =
                changed.len().saturating_add(usize::try_from(status.more_conflicts).unwrap_or(usize::MAX));
            vain_rounds = if left < fewest { 0 } else { vain_rounds + 1 };
            fewest = fewest.min(left);
            if vain_rounds == MAX_VAIN_ROUNDS {
                let reason = "they change, here or there, faster than they can be transferred";
                status.conflicts.retain(|conflict| !self.is_stale(exact(&conflict.path)));
                self.tell_gap_open(&status, &vanished, reason.to_owned());
                return Ok(Followed::Yes(Box::new(status)));
            }
            // A path that the transfer of the whole worktree could not write was not edited meanwhile.
            let news = |path: &&Vec<u8>| !transferred.contains(*path) && !self.is_stale(path);
            let edited: Vec<Vec<u8>> = changed.iter().filter(news).cloned().collect();
            if !edited.is_empty() || !vanished.is_empty() {
                told += edited.len() + vanished.len();
                self.tell(&LifecycleEvent::Gap { changed: &edited, vanished: &vanished });
            }
            let paths: Vec<Vec<u8>> = changed.into_iter().chain(vanished.iter().cloned()).collect();
            for mending in mendings(worktree, rules, &status.conflicts, &paths)? {
                match self.transfer_again(worktree, remote, own, &mending) {
                    Ok(()) => {}
                    Err(SyncError::Interrupted) => {
                        return Err(LifecycleError::Interrupted { at: self.step() });
                    }
                    Err(error) => {
                        self.tell_gap_open(&status, &vanished, error.to_string());
                        return Ok(Followed::Yes(Box::new(status)));
                    }
                }
            }
            vanished.clear();
            transferred.extend(paths);
            let lifecycle = self.lifecycle;
            let watch = |status: &ContinuousStatus| lifecycle.tell_session(status);
            status = match self.continuous().flush(&self.id, &watch, lifecycle.cancel) {
                Ok(status) => status,
                Err(error) => return Ok(Followed::No(failure_of(error, self.step())?)),
            };
            // Such a conflict lasts as long as the ignored entries.
            let is_mended =
                |conflict: &mut Conflict| conflict.kept_by_ignored && transferred.contains(&conflict.path);
            self.record
                .mended
                .extend(status.conflicts.extract_if(.., is_mended).map(|conflict| conflict.stored_path()));
        }
        self.record.mended.sort();
        self.record.mended.dedup();
        if told > 0 && self.record.stale.is_none() {
            self.tell(&LifecycleEvent::GapClosed { paths: told });
        }
        Ok(Followed::Yes(Box::new(status)))
    }

    /// Transfers the files that the session leaves to transfers. Returns those that could not be transferred.
    pub(super) fn transfer_private(
        &mut self,
        state: &GapState<'_>,
        private: Vec<PrivateFile>,
    ) -> Result<Vec<PrivateFile>, LifecycleError> {
        let paths: Vec<Vec<u8>> = private.iter().map(|file| file.path.clone()).collect();
        for mending in mendings(state.worktree, state.rules, &[], &paths)? {
            match self.transfer_again(state.worktree, state.remote, state.own, &mending) {
                Ok(()) => {}
                Err(SyncError::Interrupted) => return Err(LifecycleError::Interrupted { at: self.step() }),
                Err(error) => {
                    self.tell_gap_open(&ContinuousStatus::default(), &paths, error.to_string());
                    return Ok(private);
                }
            }
        }
        Ok(private.into_iter().filter(|file| self.is_stale(&file.path)).collect())
    }

    /// Whether an earlier transfer could not bring a path up to date, or an entry above or below it.
    fn is_stale(&self, path: &[u8]) -> bool {
        self.record.stale.as_ref().is_some_and(|stale| stale.concerns(path))
    }

    fn tell_gap_open(&self, status: &ContinuousStatus, vanished: &[Vec<u8>], reason: String) {
        self.tell(&LifecycleEvent::GapOpen { conflicts: &status.conflicts, vanished, reason });
    }

    /// The paths that vanished from the worktree since the transfer.
    fn vanished(&self, worktree: &Path, listing: Option<Listing>) -> Vec<Vec<u8>> {
        let Some(listing) = listing else { return Vec::new() };
        let reason = match listing.vanished(worktree) {
            Ok(Vanished::Paths(paths)) => return paths,
            Ok(Vanished::Everything) => {
                "the worktree has become empty; nothing is deleted on the remote for that".to_owned()
            }
            Err(error) => format!("cannot tell which files were deleted meanwhile: {error}"),
        };
        self.tell(&LifecycleEvent::GapOpen { conflicts: &[], vanished: &[], reason });
        Vec::new()
    }

    /// Makes the workspace equal to the worktree at these paths. If one of them is empty, that is the whole worktree.
    fn transfer_again(
        &mut self,
        worktree: &Path,
        remote: &Remote,
        own: Own,
        mending: &Mending,
    ) -> Result<(), SyncError> {
        let Mending { paths, rules, deletes } = mending;
        let paths = paths.as_slice();
        let only = Some(paths).filter(|paths| paths.iter().all(|path| !path.is_empty()));
        let transfer = Transfer {
            worktree,
            remote,
            remote_path: &self.record.remote_path,
            rules,
            own,
            only,
            deletes: *deletes,
            delay_updates: false,
            claim: Claim::Workspace,
            dry_run: false,
            // Only a few paths, which have just changed: the cache has no content of them.
            content_sources: ContentSources::default(),
        };
        let lifecycle = self.lifecycle;
        let monitor = ProblemsOnly { inner: lifecycle.observer };
        let Transferred { report, .. } =
            lifecycle.bulk.transfer(&transfer, &monitor, lifecycle.observer, lifecycle.cancel)?;
        self.record.transferred_again(only, Stale::of(&report));
        let mut deletions = report.deletions;
        if !deletes.only_placed {
            // What was made there is protected; the rest came with a session.
            deletions.changed.append(std::mem::take(&mut deletions.made_there));
        }
        if !deletions.is_empty() {
            let instance = &self.addressed();
            self.tell(&LifecycleEvent::MendDeleted { instance, deletions: &deletions });
        }
        Ok(())
    }
}

/// The part of a path before U+FFFD, which a layer that speaks in text writes for bytes that are no text. The directory that holds
/// such a name is transferred in its place.
pub(super) fn exact(path: &[u8]) -> &[u8] {
    let replacement = "\u{fffd}".as_bytes();
    let Some(lossy) = path.windows(replacement.len()).position(|window| window == replacement) else {
        return path;
    };
    let slash = path[..lossy].iter().rposition(|byte| *byte == b'/');
    &path[..slash.unwrap_or(0)]
}

/// Passes on problems. A few paths need no progress bar.
struct ProblemsOnly<'a> {
    inner: &'a dyn Monitor,
}

impl Monitor for ProblemsOnly<'_> {
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Problem { .. }) {
            self.inner.event(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_text_is_transferred_with_its_directory() {
        for (told, exactly) in [("a/b", "a/b"), ("a/b/x\u{fffd}y/z", "a/b"), ("\u{fffd}", ""), ("", "")] {
            assert_eq!(exact(told.as_bytes()), exactly.as_bytes(), "{told:?}");
        }
    }
}
