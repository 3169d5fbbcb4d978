//! Connects to the destination on threads of their own: a follower can be stopped while it connects.

use std::io;
use std::sync::Arc;
use std::thread;

use coast_sync::{Cancel, FollowRequest, FollowSession, Prompt, SessionEnd, SyncError};

use super::outage::FailedAt;
use super::shared::{Connection, Shared};
use crate::watcher::Watcher;

/// Begins an attempt to connect, in place of the one before. Its result comes as [`Connection::attempted`].
///
/// # Errors
/// When no thread can be started.
pub(super) fn attempt(
    request: &FollowRequest,
    prompt: &Arc<dyn Prompt>,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let cancel = Cancel::new();
    let number = shared.change(|state| {
        let number = state.connection.number + 1;
        state.connection = Connection { number, cancel: cancel.clone(), ..Connection::default() };
        number
    });
    let (request, prompt, shared) = (request.clone(), Arc::clone(prompt), Arc::clone(shared));
    let connect = move || {
        let attempted = request.connect(&*prompt, &cancel);
        // A session that nobody waits for is dropped here, and not while the lock is held.
        let _unwanted = shared.change(|state| {
            if state.connection.number == number {
                state.connection.attempted.replace(attempted)
            } else {
                Some(attempted)
            }
        });
    };
    thread::Builder::new().name("coast-connect".to_owned()).spawn(connect).map(drop)
}

/// Has the thread of a follower look up when its session is ended by the other end.
///
/// # Errors
/// When no thread can be started.
pub(super) fn notice_end(
    session: &FollowSession,
    shared: &Arc<Shared>,
    watcher: &Arc<Watcher>,
) -> io::Result<()> {
    let (end, number): (SessionEnd, u64) = (session.end(), shared.enter().connection.number);
    let (shared, watcher) = (Arc::downgrade(shared), Arc::downgrade(watcher));
    let wait = move || {
        end.wait();
        let (Some(shared), Some(watcher)) = (shared.upgrade(), watcher.upgrade()) else { return };
        let is_current = shared.change(|state| {
            let is_current = state.connection.number == number;
            state.connection.ended |= is_current;
            is_current
        });
        if is_current {
            watcher.interrupt();
        }
    };
    thread::Builder::new().name("coast-session".to_owned()).spawn(wait).map(drop)
}

/// Where an attempt has failed.
pub(super) fn failed_at(error: &SyncError) -> FailedAt {
    match error.exit_code() {
        // No connection, or it broke.
        10 | 12 | 30 => FailedAt::Network,
        _ => FailedAt::Login,
    }
}
