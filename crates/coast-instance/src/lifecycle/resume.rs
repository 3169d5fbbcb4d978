//! `resume`: coastd has a running instance of the native layer follow again, without a command of the user.
//!
//! `start` transfers the worktree before, and the worktree wins where both sides have changed a file: the user has asked for that.
//! Nobody has asked coastd. So the follower carries everything in which the workspace differs, by the rules of its batches: what
//! the remote has made or changed stays, and is a conflict.

use coast_sync::RemoteHelper;

use crate::bulk;
use crate::continuous::{ContinuousError, Failure};
use crate::followers::FollowSpec;
use crate::lifecycle::bring_up::session_start;
use crate::lifecycle::error::failure_of;
use crate::lifecycle::{FollowOptions, Lifecycle, LifecycleError};
use crate::record::{Command, Following, Record, State};
use crate::{Layer, Name};

/// The result of [`Lifecycle::resume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// The follower has begun.
    Begun,
    /// Only `start` can have the instance follow: it has another layer than its Coastfile asks for, or the last transfer did not end.
    NeedsStart,
}

impl Lifecycle<'_> {
    /// Has `begin` begin a follower for a running instance, which carries everything in which the workspace differs. Does not wait until
    /// that has arrived. Followers start `helper` on the remote.
    ///
    /// # Errors
    /// When there is no such instance, its worktree is lost or empty, its settings are not trusted, or `begin` fails.
    pub fn resume(
        &self,
        instance: &Name,
        helper: &RemoteHelper,
        begin: impl FnOnce(&FollowSpec) -> Result<(), ContinuousError>,
    ) -> Result<Resumed, LifecycleError> {
        let coastfile = &self.project.project()?.coastfile;
        let is_resumable = |record: &Record| {
            let native = Layer::Native;
            let transferred = match &record.following {
                Following::Yes => true,
                Following::Failed { part, .. } => part != Failure::TRANSFER,
                Following::Off | Following::BulkOnly => false,
            };
            record.layer == native
                && coastfile.workspace_sync.layer() == Some(native)
                && (record.state, record.claimed, transferred) == (State::Running, true, true)
        };
        let record = self.record(instance)?;
        if !is_resumable(&record) {
            return Ok(Resumed::NeedsStart);
        }
        self.check_trust(Some(&record), &FollowOptions::default())?;
        let mut work = self.open(instance, Command::Start)?;
        if !is_resumable(&work.record) {
            return Ok(Resumed::NeedsStart);
        }
        work.check_worktree()?;
        let worktree = work.record.worktree.to_path_buf();
        work.refuse_an_emptied_worktree(&worktree, &bulk::rules(coastfile)?)?;
        let remote = self.remote_of(&work.record)?;
        let Record { remote_path, identity, .. } = &work.record;
        let start = session_start(&work.id, &worktree, identity.as_ref(), &remote, remote_path, coastfile);
        begin(&FollowSpec::of(&start, helper)).or_else(|error| {
            let failure = failure_of(error, None)?;
            Err(LifecycleError::NotFollowing { instance: work.addressed(), layer: Layer::Native, failure })
        })?;
        if work.record.following != Following::Yes {
            work.record.following = Following::Yes;
            work.record.runner = Some(work.continuous().runner(&work.id));
            work.finish(State::Running)?;
        }
        Ok(Resumed::Begun)
    }
}
