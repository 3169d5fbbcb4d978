//! The followers of a stage: the same layer that copies files, reached as the native layer reaches coastd.

use std::collections::BTreeSet;
use std::path::PathBuf;

use coast_sync::Cancel;
use coast_tree::LockExt;

use super::Stage;
use super::layer::{Session, failure, unreachable};
use crate::continuous::{
    Activity, Continuous, ContinuousError, ContinuousStatus, InstanceId, Side, WatchSession,
};
use crate::followers::{FirstBatch, FollowSpec, Followers};
use crate::record::Step;

/// A follower that the native layer has prepared.
pub(in crate::lifecycle::tests) struct Prepared<'a> {
    stage: &'a Stage,
    worktree: PathBuf,
    workspace: PathBuf,
}

impl crate::Prepared for Prepared<'_> {
    fn begin(
        self,
        first: FirstBatch,
        watch: &WatchSession<'_>,
        _: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        self.stage.note(format!("begin {first:?}"));
        self.stage.fake.check(Step::Session)?;
        let (worktree, workspace) = (self.worktree, self.workspace);
        let session = Session { worktree, workspace, known: BTreeSet::new(), paused: false };
        let mut state = self.stage.fake.state.enter();
        state.runner = Some(session.worktree.clone());
        state.session = Some(session);
        drop(state);
        watch(&ContinuousStatus { activity: Activity::Carrying, ..ContinuousStatus::default() });
        Ok(self.stage.fake.look())
    }
}

impl<'s> Followers for &'s Stage {
    type Prepared = Prepared<'s>;

    fn prepare(&self, spec: &FollowSpec, _: &Cancel) -> Result<Prepared<'s>, ContinuousError> {
        self.note("prepare");
        if *self.fake.unreachable.enter() {
            return Err(unreachable());
        }
        let (worktree, workspace) = (spec.worktree.to_path_buf(), self.on_remote(&spec.remote_path));
        Ok(Prepared { stage: self, worktree, workspace })
    }

    fn end(&self, _: &InstanceId, _: &Cancel) -> Result<(), ContinuousError> {
        self.note("end follower");
        if *self.fake.stop_fails.enter() {
            return Err(failure(Step::EndSession).into());
        }
        let mut state = self.fake.state.enter();
        (state.session, state.runner) = (None, None);
        Ok(())
    }

    fn pause(&self, id: &InstanceId, cancel: &Cancel) -> Result<(), ContinuousError> {
        Continuous::pause(*self, id, cancel)
    }

    fn flush(
        &self,
        id: &InstanceId,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        Continuous::flush(*self, id, watch, cancel)
    }

    fn status(&self, id: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        Continuous::status(*self, id, cancel)
    }

    fn resolve(
        &self,
        id: &InstanceId,
        paths: &[Vec<u8>],
        take: Side,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        Continuous::resolve(*self, id, paths, take, cancel)
    }
}
