//! The native continuous layer. Its runner is a *follower* in coastd: a thread that watches the worktree, and a helper on the
//! remote that stays.

use std::path::PathBuf;
use std::sync::Mutex;

use coast_sync::{Cancel, RemoteHelper};
use coast_tree::LockExt;

use crate::continuous::{
    AfterTransfer, BeginStep, Continuous, ContinuousError, ContinuousStart, ContinuousStatus, Extent,
    InstanceId, Remains, RunnerChange, Side, Started, WatchSession,
};
use crate::followers::{FirstBatch, FollowSpec, Followers, Prepared};
use crate::record::Step;

/// Carries edits with followers.
pub struct NativeLayer<F: Followers> {
    followers: F,
    helper: RemoteHelper,
    /// The follower that notes the edits of a worktree during a transfer. Guards only itself.
    noting: Mutex<Option<Noting<F::Prepared>>>,
}

/// A follower that notes edits until the transfer has ended.
struct Noting<P> {
    id: InstanceId,
    worktree: PathBuf,
    prepared: P,
}

impl<F: Followers> NativeLayer<F> {
    /// A layer with these followers, which start `helper` on the remote.
    pub fn new(followers: F, helper: RemoteHelper) -> Self {
        Self { followers, helper, noting: Mutex::new(None) }
    }

    fn prepared(&self, start: &ContinuousStart<'_>, cancel: &Cancel) -> Result<F::Prepared, ContinuousError> {
        self.followers.prepare(&FollowSpec::of(start, &self.helper), cancel)
    }
}

impl<F: Followers> Continuous for NativeLayer<F> {
    fn runner(&self, id: &InstanceId) -> String {
        format!("follower of {id} in coastd")
    }

    /// A coastd that does not run has no followers, so there is nothing that could be out of reach.
    fn reach(&self, _cancel: &Cancel) -> Result<(), ContinuousError> {
        Ok(())
    }

    fn prepare(&self, start: &ContinuousStart<'_>, cancel: &Cancel) -> Result<(), ContinuousError> {
        let prepared = self.prepared(start, cancel)?;
        let noting = Noting { id: start.id.clone(), worktree: start.worktree.to_owned(), prepared };
        *self.noting.enter() = Some(noting);
        Ok(())
    }

    fn start(
        &self,
        start: &ContinuousStart<'_>,
        transferred: &AfterTransfer<'_>,
        begin: &mut BeginStep<'_>,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<Started, ContinuousError> {
        begin(Step::Runner)?;
        let noting = self.noting.enter().take();
        let noting = noting.filter(|noting| noting.id == *start.id && noting.worktree == *start.worktree);
        let (prepared, first) = match noting {
            Some(noting) if transferred.complete => (noting.prepared, FirstBatch::Noted),
            Some(noting) => (noting.prepared, FirstBatch::Everything),
            None => (self.prepared(start, cancel)?, FirstBatch::Everything),
        };
        begin(Step::Session)?;
        let status = prepared.begin(first, watch, cancel)?;
        Ok(Started { runner: RunnerChange::Created, status, traces: Vec::new() })
    }

    fn await_start(
        &self,
        id: &InstanceId,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<(), ContinuousError> {
        self.followers.await_start(id, watch, cancel)
    }

    fn stop(
        &self,
        id: &InstanceId,
        extent: Extent,
        begin: &mut BeginStep<'_>,
        cancel: &Cancel,
    ) -> Result<Remains, ContinuousError> {
        if extent >= Extent::Access {
            begin(Step::EndSession)?;
        }
        self.followers.end(id, cancel)?;
        Ok(Remains::Nothing)
    }

    fn pause(&self, id: &InstanceId, cancel: &Cancel) -> Result<(), ContinuousError> {
        self.followers.pause(id, cancel)
    }

    fn flush(
        &self,
        id: &InstanceId,
        watch: &WatchSession<'_>,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        self.followers.flush(id, watch, cancel)
    }

    fn status(&self, id: &InstanceId, cancel: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        self.followers.status(id, cancel)
    }

    fn resolve(
        &self,
        id: &InstanceId,
        paths: &[Vec<u8>],
        take: Side,
        cancel: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        self.followers.resolve(id, paths, take, cancel)
    }
}
