//! The sending end of a watch channel.

use std::{fmt, sync::Arc};

use super::{Shared, WatchReceiver, change};
use crate::channel::SendError;

/// The sending end of a [`watch`](super::watch()) channel.
///
/// Clones change the same value; when the last one is dropped, receivers are told that it does not
/// change any more.
///
/// # Examples
///
/// ```
/// use headcount::channel;
///
/// let (tx, rx) = channel::watch(0);
/// tx.clone().send(7).unwrap();
/// assert_eq!(*rx.current(), 7);
/// ```
pub struct WatchSender<T> {
    shared: Shared<T>,
}

impl<T> WatchSender<T> {
    pub(super) fn new(shared: Shared<T>) -> Self {
        Self { shared }
    }

    /// Changes the value. Does not wait, and is not affected by cancellation.
    ///
    /// Counts as a change also if the new value equals the old one.
    ///
    /// # Errors
    ///
    /// Fails with [`SendError`], which has the value, if there is no receiver. To set it all the
    /// same, for receivers that come later, use [`replace`](Self::replace).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::watch(0);
    /// assert_eq!(tx.send(7), Ok(()));
    /// drop(rx);
    /// assert_eq!(tx.send(8).unwrap_err().into_item(), 8);
    /// assert_eq!(*tx.current(), 7);
    /// ```
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let value = Arc::new(value);
        let sent = change(&self.shared, |state, after| {
            if state.receivers == 0 {
                return Err(value);
            }
            Ok(state.set(value, after))
        });
        match sent {
            Ok(_before) => Ok(()),
            // Nobody else has seen the value, so it comes out.
            Err(value) => Arc::into_inner(value).map_or(Ok(()), |value| Err(SendError::new(value))),
        }
    }

    /// Changes the value, whether there are receivers or not, and returns the one before.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _) = channel::watch(0);
    /// assert_eq!(*tx.replace(7), 0);
    /// assert_eq!(*tx.subscribe().current(), 7);
    /// ```
    pub fn replace(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        change(&self.shared, |state, after| state.set(value, after))
    }

    /// Changes the value to one that is made from it, and returns the new one.
    ///
    /// No lock is held meanwhile: if somebody else changes the value at the same time, `update` is
    /// called again with what they have set, so that no change is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::watch(6);
    /// tx.update(|value| value + 1);
    /// assert_eq!(*rx.current(), 7);
    /// ```
    pub fn update(&self, mut update: impl FnMut(&T) -> T) -> Arc<T> {
        loop {
            let (before, version) = {
                let state = self.shared.lock();
                (Arc::clone(&state.value), state.version)
            };
            let value = Arc::new(update(&before));
            let updated = change(&self.shared, |state, after| {
                let unchanged = state.version == version;
                unchanged.then(|| state.set(Arc::clone(&value), after))
            });
            if updated.is_some() {
                return value;
            }
        }
    }

    /// Returns the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// assert_eq!(*channel::watch(7).0.current(), 7);
    /// ```
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.shared.lock().value)
    }

    /// Makes a receiver. It counts the value as it is now as seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _) = channel::watch(0);
    /// let rx = tx.subscribe();
    /// assert!(!rx.has_changed());
    /// tx.send(7).unwrap();
    /// assert!(rx.has_changed());
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> WatchReceiver<T> {
        let seen = change(&self.shared, |state, _| {
            state.receivers += 1;
            state.version
        });
        WatchReceiver::new(Arc::clone(&self.shared), seen)
    }

    /// Returns how many receivers there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _rx) = channel::watch(0);
    /// assert_eq!(tx.receiver_count(), 1);
    /// ```
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.lock().receivers
    }
}

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self::new(Arc::clone(&self.shared))
    }
}

impl<T> Drop for WatchSender<T> {
    fn drop(&mut self) {
        change(&self.shared, |state, after| state.remove_sender(after));
    }
}

impl<T: fmt::Debug> fmt::Debug for WatchSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchSender")
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}
