//! The lock that guards all shared state of this crate.

use std::sync::{self, PoisonError};

pub(crate) use std::sync::MutexGuard;

/// A mutex without poisoning.
///
/// The rule of the house: no foreign code runs under one of our locks. No waker is cloned, woken or
/// dropped there, no future polled or dropped, no closure of the user called. What has to be done
/// is moved out of the guarded state and done after unlocking. So a panic cannot leave guarded state
/// half changed, and poisoning would only turn one panic into many.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Wraps a value.
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Takes the value out.
    #[cfg(feature = "testing")]
    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks, waiting for the lock if another thread has it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
