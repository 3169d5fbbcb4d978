//! Locks without poison. A thread that panics while it holds a lock of this crate leaves no half-made change behind,
//! because every change under a lock is a single assignment or a call that cannot panic midway.

use std::sync::{LockResult, Mutex, MutexGuard};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    unpoisoned(mutex.lock())
}

/// Takes the guard out of the result of a `Mutex` or a `Condvar`.
pub(crate) fn unpoisoned<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(std::sync::PoisonError::into_inner)
}
