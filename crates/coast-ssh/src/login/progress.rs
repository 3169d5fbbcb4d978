//! How far a connection has got, and the time it may take.

use crate::error::Stage;
use crate::login::prompt::Clock;
use coast_tree::LockExt;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The stage that a connection has reached, for the message when its time runs out.
pub(crate) struct Progress(Mutex<Stage>);

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress(Mutex::new(Stage::Resolving))
    }

    pub(crate) fn reach(&self, stage: Stage) {
        *self.0.enter() = stage;
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.0.enter()
    }
}

/// Runs `future` for at most `allowed`, not counting the time in which the user was asked something. Returns `None` when
/// the time ran out.
pub(crate) async fn within<T>(
    allowed: Duration,
    clock: &Clock,
    future: impl Future<Output = T>,
) -> Option<T> {
    let started = Instant::now();
    let paused_before = clock.paused();
    let mut future = pin!(future);
    loop {
        let spent = started.elapsed().saturating_sub(clock.paused() - paused_before);
        let left = allowed.checked_sub(spent).filter(|left| !left.is_zero())?;
        tokio::select! {
            result = &mut future => return Some(result),
            () = tokio::time::sleep(left) => {}
        }
    }
}
