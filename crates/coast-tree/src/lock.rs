//! Locks of threads that end together.

use std::sync::{LockResult, Mutex, MutexGuard};

/// Enters locks whatever happened to their last holder.
///
/// A lock is poisoned when the thread that held it panicked. Every run of coast ends when one of its threads panics: the
/// scope that started the thread passes the panic on, or the process aborts. A second panic in the threads that still have to
/// stop would only hide the first, so they enter a poisoned lock like any other.
///
/// ```
/// use std::sync::{Condvar, Mutex};
/// use coast_tree::{LockExt, LockResultExt};
///
/// let ready = Mutex::new(true);
/// let changed = Condvar::new();
/// let mut guard = ready.enter();
/// while !*guard {
///     guard = changed.wait(guard).even_poisoned();
/// }
/// ```
pub trait LockExt {
    /// The value behind the lock.
    type Value;

    /// Locks, also when the lock is poisoned.
    fn enter(&self) -> MutexGuard<'_, Self::Value>;
}

impl<T> LockExt for Mutex<T> {
    type Value = T;

    fn enter(&self) -> MutexGuard<'_, T> {
        self.lock().even_poisoned()
    }
}

/// The same for the other calls that report a poisoned lock: `into_inner`, `get_mut`, `Condvar::wait` and those of `RwLock`.
pub trait LockResultExt {
    /// The guard or the value.
    type Held;

    /// The guard or the value, also when the lock is poisoned.
    fn even_poisoned(self) -> Self::Held;
}

impl<T> LockResultExt for LockResult<T> {
    type Held = T;

    fn even_poisoned(self) -> T {
        self.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_lock_whose_holder_panicked_is_entered() {
        let lock = Mutex::new(1);
        let panicked = thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let mut held = lock.enter();
                *held = 2;
                panic!("while the lock is held");
            });
            holder.join().is_err()
        });
        assert!(panicked && lock.is_poisoned());
        assert_eq!(*lock.enter(), 2);
        assert_eq!(lock.into_inner().even_poisoned(), 2);
    }
}
