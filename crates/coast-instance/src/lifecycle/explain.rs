//! What `assign` would do, without doing it: a dry run of its transfer, and what would become of the session.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coast_sync::{Claim, Event, Monitor, Progress, SyncReport, Update};
use coast_tree::{LockExt, LockResultExt};

use crate::bulk::{self, Deletes, Transfer};
use crate::carried::Carried;
use crate::lifecycle::bring_up::is_emptied;
use crate::lifecycle::{FollowOptions, Lifecycle, LifecycleError};
use crate::record::{Record, State};
use crate::worktree::WorktreeState;
use crate::{Name, TrustQuestion};

/// The number of paths that are kept of each kind.
const MAX_FIRST: usize = 20;

/// What `assign` would do.
#[derive(Debug)]
pub struct Explanation {
    /// The record of the instance, which stays as it is.
    pub record: Record,
    /// The worktree that the instance would follow.
    pub worktree: PathBuf,
    /// The report of the dry run: the counts of both sides, and the entries that would be deleted.
    pub report: SyncReport,
    /// The first entries whose content would be sent, at most 20.
    pub sent: Vec<Vec<u8>>,
    /// The first entries that would be made or changed without content from here, such as moved files and directories, at most 20.
    pub made: Vec<Vec<u8>>,
    /// How many of them there are.
    pub made_count: u64,
    /// Whether a session may run, which would be ended.
    pub ends_session: bool,
    /// Whether a new session would be made.
    pub begins_session: bool,
    /// The question that `assign` would ask first, because the user does not trust the settings of the project yet.
    pub question: Option<TrustQuestion>,
}

impl Lifecycle<'_> {
    /// What [`Lifecycle::assign`] would do. Does not wait for other commands. Connects to the remote, and uploads the helper there if
    /// it is missing; changes nothing else.
    ///
    /// # Errors
    /// When there is no such instance, it is stopped, the worktree is empty, or the dry run failed.
    pub fn explain(
        &self,
        instance: &Name,
        worktree: &Path,
        options: &FollowOptions,
    ) -> Result<Explanation, LifecycleError> {
        let record = self.record(instance)?;
        if record.state == State::Stopped {
            return Err(LifecycleError::stopped(&record, self.addressed(instance)));
        }
        let project = self.project.project()?;
        let question = self.trust_question(project, record.image.as_deref())?;
        let rules = bulk::rules(&project.coastfile)?;
        if is_emptied(&record, worktree, &rules) {
            let (instance, path) = (self.addressed(instance), worktree.to_owned());
            return Err(LifecycleError::EmptyWorktree { instance, path });
        }
        let remote = self.remote_of(&record)?;
        let has_session = record.may_have_session() && record.layer.needs_transfers();
        let carried = Carried::beside(&self.records.file(&record.project, instance));
        let (followed, identity) = record.followed();
        let paths = if has_session && WorktreeState::of(followed, identity) == WorktreeState::There {
            let id = self.id(instance);
            carried.paths_with(followed, &rules, || self.in_conflict(&id, record.layer))
        } else {
            carried.paths()
        };
        // As in `assign`, a list that cannot be made only makes more entries count as made on the remote.
        let paths: Vec<_> = paths.unwrap_or_default();
        let transfer = Transfer {
            worktree,
            remote: &remote,
            remote_path: &record.remote_path,
            rules: &rules,
            own: project.coastfile.own,
            only: None,
            deletes: Deletes {
                only_placed: false,
                carried: &paths,
                trash: !options.no_trash,
                no_mass_deletion: false,
            },
            delay_updates: true,
            claim: if record.claimed { Claim::Workspace } else { Claim::NewWorkspace },
            dry_run: true,
            content_sources: options.content_sources,
        };
        let first = FirstPaths { inner: self.observer, sent: Mutex::default(), made: Mutex::default() };
        let transferred = self.bulk.transfer(&transfer, &first, self.observer, self.cancel);
        let transferred = transferred.map_err(|error| match error {
            coast_sync::SyncError::Interrupted => LifecycleError::Interrupted { at: None },
            error => LifecycleError::Bulk {
                doing: format!("cannot look at {}:{}", record.remote, record.remote_path),
                error,
                advice: String::new(),
            },
        })?;
        let made = first.made.into_inner().even_poisoned();
        Ok(Explanation {
            worktree: worktree.to_owned(),
            report: transferred.report,
            sent: first.sent.into_inner().even_poisoned().paths,
            made_count: made.count,
            made: made.paths,
            ends_session: record.may_have_session(),
            begins_session: project.coastfile.workspace_sync.layer().is_some(),
            question,
            record,
        })
    }
}

/// Keeps the first paths that would change. Other events are passed on, but not the deletions, which the report has.
struct FirstPaths<'a> {
    inner: &'a dyn Monitor,
    /// Guards the entries whose content would be sent. Never held together with the lock of `made`.
    sent: Mutex<Entries>,
    /// Guards the other entries that would be made or changed.
    made: Mutex<Entries>,
}

/// A number of entries, and the paths of the first of them.
#[derive(Default)]
struct Entries {
    count: u64,
    paths: Vec<Vec<u8>>,
}

impl Monitor for FirstPaths<'_> {
    fn event(&self, event: &Event<'_>) {
        let (entries, path) = match event {
            Event::Changed { path, change } => match change.update {
                Update::Transferred => (&self.sent, path),
                Update::Local => (&self.made, path),
                Update::Attributes => return,
            },
            Event::Deleted { .. } | Event::Replaced { .. } => return,
            event => return self.inner.event(event),
        };
        let mut entries = entries.enter();
        entries.count += 1;
        if entries.paths.len() < MAX_FIRST {
            entries.paths.push(path.to_vec());
        }
    }

    fn started(&self, progress: &std::sync::Arc<Progress>) {
        self.inner.started(progress);
    }
}
