//! What does it cost to be able to keep what nearly nobody has?
//!
//! A look at a pointer, until somebody has it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A value that is made when it is first written.
// A std mutex: held for a look at something small, never across an await.
pub(crate) struct Rare<T>(OnceLock<Box<Mutex<T>>>);

impl<T> Rare<T> {
    /// The value to be changed, made by `begin` if this is the first time.
    pub(crate) fn begun(&self, begin: impl FnOnce() -> T) -> MutexGuard<'_, T> {
        locked(self.0.get_or_init(|| Box::new(Mutex::new(begin()))))
    }

    /// The value, if there is one.
    #[inline]
    pub(crate) fn get(&self) -> Option<MutexGuard<'_, T>> {
        self.0.get().map(|value| locked(value))
    }

    /// A look that makes nothing: where there is no value it sees nothing.
    pub(crate) fn look<R: Default>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        self.get().map_or_else(R::default, |mut value| look(&mut value))
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rare").finish_non_exhaustive()
    }
}
