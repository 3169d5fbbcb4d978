//! Followers of a coastd that cannot be reached.

use coast_instance::{
    ContinuousError, ContinuousStatus, Failure, FirstBatch, FollowSpec, Followers, InstanceId, Prepared,
    Side, WatchSession,
};
use coast_sync::Cancel;

/// No coastd: nothing follows.
pub(super) struct NoCoastd;

fn failure() -> ContinuousError {
    let text = |text: &str| text.to_owned();
    Failure { step: text("coastd"), doing: text("reaching coastd"), said: text("it does not run") }.into()
}

impl Prepared for NoCoastd {
    fn begin(
        self,
        _: FirstBatch,
        _: &WatchSession<'_>,
        _: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        Err(failure())
    }
}

impl Followers for NoCoastd {
    type Prepared = Self;

    fn prepare(&self, _: &FollowSpec, _: &Cancel) -> Result<Self, ContinuousError> {
        Err(failure())
    }

    fn end(&self, _: &InstanceId, _: &Cancel) -> Result<(), ContinuousError> {
        Ok(())
    }

    fn pause(&self, _: &InstanceId, _: &Cancel) -> Result<(), ContinuousError> {
        Ok(())
    }

    fn flush(
        &self,
        _: &InstanceId,
        _: &WatchSession<'_>,
        _: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        Err(failure())
    }

    fn status(&self, _: &InstanceId, _: &Cancel) -> Result<ContinuousStatus, ContinuousError> {
        Ok(ContinuousStatus::default())
    }

    fn resolve(
        &self,
        _: &InstanceId,
        _: &[Vec<u8>],
        _: Side,
        _: &Cancel,
    ) -> Result<ContinuousStatus, ContinuousError> {
        Err(failure())
    }
}
