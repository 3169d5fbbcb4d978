//! `flush`: waits until every edit has arrived, transfers the private files that no session carries, and mends conflicts.

use coast_sync::Prompt;

use crate::Name;
use crate::bulk;
use crate::continuous::{Activity, ContinuousStatus, Failure};
use crate::lifecycle::error::failure_of;
use crate::lifecycle::gap::{Followed, GapState};
use crate::lifecycle::hold::hold;
use crate::lifecycle::work::Work;
use crate::lifecycle::{Lifecycle, LifecycleError, Unfinished};
use crate::lock::FileLock;
use crate::record::{Command, Following, Record, State};
use crate::worktree::WorktreeState;

impl Lifecycle<'_> {
    /// Waits until every edit that was made before the call has arrived, also those of private files, and mends conflicts. Returns the
    /// status after that: private files in it could not be transferred. Waits first for a command that holds the lock.
    ///
    /// # Errors
    /// When there is no such instance, or its edits are not carried.
    pub fn flush(&self, instance: &Name) -> Result<ContinuousStatus, LifecycleError> {
        let (record, lock) = self.follows(instance, "flush")?;
        let (layer, addressed) = (record.layer, self.addressed(instance));
        let not_following = |failure| LifecycleError::NotFollowing { instance: addressed, layer, failure };
        let continuous = self.layers.get(record.layer);
        let watch = |status: &ContinuousStatus| self.tell_session(status);
        match continuous.flush(&self.id(instance), &watch, self.cancel) {
            Ok(status) if status.activity == Activity::Absent => Err(not_following(no_session())),
            Ok(status) if !record.layer.needs_transfers() => Ok(status),
            Ok(status) if status.conflicts.is_empty() && status.private.is_empty() => Ok(status),
            Ok(status) => match self.mend(Work::new(self, record, lock, Command::Start), status)? {
                Followed::Yes(status) => Ok(*status),
                Followed::No(failure) => Err(not_following(failure)),
            },
            Err(error) => Err(not_following(failure_of(error, None)?)),
        }
    }

    /// The record of an instance whose edits are carried, and its lock, for `command`. Waits for a command that holds the lock. A session
    /// whose worktree is lost is paused.
    ///
    /// # Errors
    /// When there is no such instance, or its edits are not carried.
    pub(super) fn follows(
        &self,
        instance: &Name,
        command: &str,
    ) -> Result<(Record, FileLock), LifecycleError> {
        // Locking would create a lock file, even for an instance that does not exist.
        let awaited_layer = self.record(instance)?.layer;
        let watch = |status: &ContinuousStatus| self.tell_session(status);
        let awaited =
            match self.layers.get(awaited_layer).await_start(&self.id(instance), &watch, self.cancel) {
                Ok(()) => None,
                Err(error) => Some(failure_of(error, None)?),
            };
        let lock = self.lock(instance, command)?;
        let mut record = self.record(instance)?;
        if let Some(unfinished) = Unfinished::of(&record, &self.addressed(instance)) {
            return Err(LifecycleError::Unfinished { instance: self.addressed(instance), unfinished });
        }
        if record.state == State::Stopped {
            return Err(LifecycleError::stopped(&record, self.addressed(instance)));
        }
        let layer = record.layer;
        let not_following =
            |failure| LifecycleError::NotFollowing { instance: self.addressed(instance), layer, failure };
        let continuous = self.layers.get(record.layer);
        let worktree = WorktreeState::of(&record.worktree, record.identity.as_ref());
        if worktree.is_lost() {
            let session = continuous.status(&self.id(instance), self.cancel).ok();
            hold(continuous, &self.records, &mut record, &worktree, session.as_ref(), self.cancel)
                .map_err(|said| not_following(lost(said)))?;
        }
        match record.following {
            Following::Yes => {}
            Following::BulkOnly if self.begins_to_follow(&record) => {
                return Err(LifecycleError::NotBegun(self.addressed(instance)));
            }
            Following::BulkOnly => return Err(LifecycleError::BulkOnly),
            Following::Off => return Err(not_following(no_session())),
            Following::Failed { part, doing, said, .. } => {
                return Err(not_following(Failure { part, doing, said }));
            }
        }
        match awaited.filter(|_| record.layer == awaited_layer) {
            None => Ok((record, lock)),
            Some(failure) => Err(not_following(failure)),
        }
    }

    /// Transfers the private files, and mends the conflicts of a session by transfers of their paths. Without the settings of the project
    /// nothing is known of its rules, and nothing is transferred. Nor is it if the user does not trust the settings.
    fn mend(&self, mut work: Work<'_>, status: ContinuousStatus) -> Result<Followed, LifecycleError> {
        let Ok(project) = self.project.project() else { return Ok(Followed::Yes(Box::new(status))) };
        if self.trust_question(project, work.record.image.as_deref())?.is_some() {
            let text = "conflicts are not mended and private files not transferred, because you do not trust the settings of the Coastfile; see: coast trust --help";
            Prompt::notice(self.observer, text);
            return Ok(Followed::Yes(Box::new(status)));
        }
        let worktree = work.record.worktree.to_path_buf();
        let remote = self.remote_of(&work.record)?;
        let rules = bulk::rules(&project.coastfile)?;
        let mut state = GapState {
            worktree: &worktree,
            remote: &remote,
            rules: &rules,
            own: project.coastfile.own,
            listing: None,
            first: status,
        };
        let private = std::mem::take(&mut state.first.private);
        let left = work.transfer_private(&state, private)?;
        let mut followed = work.close_gap(state)?;
        self.records.save(&work.record)?;
        if let Followed::Yes(status) = &mut followed {
            status.private = left;
        }
        Ok(followed)
    }
}

/// The worktree is lost, and its session could not be paused.
fn lost(said: String) -> Failure {
    Failure::new(Failure::WORKTREE, "the worktree is gone or replaced", said)
}

fn no_session() -> Failure {
    Failure::new(Failure::SESSION, "looking for the session", "there is none")
}
