//! The receiving end of a watch channel.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_lite::Stream;

use super::{Shared, change};
use crate::{
    channel::RecvError,
    frame,
    waiters::{Left, Place, poll_locked},
};

/// The receiving end of a [`watch`](super::watch()) channel.
///
/// A clone has seen what the original has seen, and goes its own way.
///
/// # As a stream
///
/// The stream has the newest value after each change, and ends when all senders are gone; ask
/// [`is_broken`](Self::is_broken) at its end, if it matters whether a sender panicked. The value as
/// it was at the beginning is had from [`current`](Self::current).
///
/// # Examples
///
/// ```
/// use headcount::{channel, run};
///
/// let (tx, mut rx) = channel::watch(0);
/// tx.send(1).unwrap();
/// tx.send(2).unwrap();
/// run(async {
///     assert_eq!(*rx.changed().await.unwrap(), 2); // Nobody looked at the 1.
///     assert!(!rx.has_changed());
/// });
/// ```
pub struct WatchReceiver<T> {
    shared: Shared<T>,
    /// The version that this has seen.
    seen: u64,
    place: Place,
}

impl<T> WatchReceiver<T> {
    pub(super) fn new(shared: Shared<T>, seen: u64) -> Self {
        Self {
            shared,
            seen,
            place: Place::default(),
        }
    }

    /// Returns the value as it is now.
    ///
    /// Does not count as having seen it: [`changed`](Self::changed) is not affected.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (_tx, rx) = channel::watch(7);
    /// assert_eq!(*rx.current(), 7);
    /// ```
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.shared.lock().value)
    }

    /// Tells whether the value has changed since this receiver has last seen it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::watch(0);
    /// assert!(!rx.has_changed());
    /// tx.send(7).unwrap();
    /// assert!(rx.has_changed());
    /// ```
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.shared.lock().version != self.seen
    }

    /// Tells whether a sender was dropped by a panic.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (_tx, rx) = channel::watch(0);
    /// assert!(!rx.is_broken());
    /// ```
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.lock().broken
    }

    /// Waits until the value is one that this receiver has not seen, and returns it.
    ///
    /// # Errors
    ///
    /// Fails once all senders are gone and the last value has been seen: with [`RecvError::Broken`]
    /// if one was dropped by a panic, else with [`RecvError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing counts as seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel::{self, RecvError}, run};
    ///
    /// let (tx, mut rx) = channel::watch(0);
    /// tx.send(7).unwrap();
    /// drop(tx);
    /// run(async {
    ///     assert_eq!(*rx.changed().await.unwrap(), 7);
    ///     assert_eq!(rx.changed().await, Err(RecvError::Closed));
    /// });
    /// ```
    pub fn changed(&mut self) -> Changed<'_, T> {
        Changed { receiver: self }
    }

    /// Waits until the value is as `is_wanted` says, and returns it. Does not wait if it is so
    /// already, seen or not.
    ///
    /// `is_wanted` is called with no lock held. Values that were replaced before this got to run
    /// are not looked at.
    ///
    /// # Errors
    ///
    /// As [`changed`](Self::changed).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, what it has looked at counts as seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run};
    ///
    /// let (_tx, mut rx) = channel::watch(7);
    /// assert_eq!(*run(rx.wait_until(|value| *value > 5)).unwrap(), 7);
    /// ```
    pub fn wait_until<F>(&mut self, is_wanted: F) -> WatchedUntil<'_, T, F>
    where
        F: FnMut(&T) -> bool,
    {
        WatchedUntil {
            receiver: self,
            is_wanted,
            begun: false,
        }
    }

    /// Takes the value if it is new, or if anything is wanted.
    fn poll_value(&mut self, seen_too: bool, cx: &Context<'_>) -> Poll<Result<Arc<T>, RecvError>> {
        if frame::cancelled() {
            self.withdraw();
            return Poll::Pending;
        }
        let Self {
            shared,
            seen,
            place,
        } = self;
        poll_locked(shared, cx, |state, caller, _| {
            state.waiters.collect(place);
            if seen_too || state.version != *seen {
                *seen = state.version;
                return Poll::Ready(Ok(Arc::clone(&state.value)));
            }
            if state.senders == 0 {
                return Poll::Ready(Err(if state.broken {
                    RecvError::Broken
                } else {
                    RecvError::Closed
                }));
            }
            state.waiters.park(place, caller, ());
            Poll::Pending
        })
    }

    /// Stops waiting.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let place = &mut self.place;
            change(&self.shared, |state, after| {
                // What this was told the others were told as well.
                let (Left::Nothing | Left::Place | Left::Grant) = state.waiters.leave(place, after);
            });
        }
    }
}

impl<T> Stream for WatchReceiver<T> {
    type Item = Arc<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<T>>> {
        self.poll_value(false, cx).map(Result::ok)
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        self.shared.lock().receivers += 1;
        Self::new(Arc::clone(&self.shared), self.seen)
    }
}

impl<T> Drop for WatchReceiver<T> {
    fn drop(&mut self) {
        self.withdraw();
        self.shared.lock().receivers -= 1;
    }
}

impl<T: fmt::Debug> fmt::Debug for WatchReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchReceiver")
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}

/// The future returned by [`WatchReceiver::changed`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Changed<'a, T> {
    receiver: &'a mut WatchReceiver<T>,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<Arc<T>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_value(false, cx)
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        self.receiver.withdraw();
    }
}

impl<T> fmt::Debug for Changed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed").finish_non_exhaustive()
    }
}

/// The future returned by [`WatchReceiver::wait_until`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct WatchedUntil<'a, T, F> {
    receiver: &'a mut WatchReceiver<T>,
    is_wanted: F,
    /// The value that was there at the beginning has been looked at.
    begun: bool,
}

// The closure is called and never pinned.
impl<T, F> Unpin for WatchedUntil<'_, T, F> {}

impl<T, F> Future for WatchedUntil<'_, T, F>
where
    F: FnMut(&T) -> bool,
{
    type Output = Result<Arc<T>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let value = match ready!(this.receiver.poll_value(!this.begun, cx)) {
                Ok(value) => value,
                Err(error) => return Poll::Ready(Err(error)),
            };
            this.begun = true;
            if (this.is_wanted)(&value) {
                return Poll::Ready(Ok(value));
            }
        }
    }
}

impl<T, F> Drop for WatchedUntil<'_, T, F> {
    fn drop(&mut self) {
        self.receiver.withdraw();
    }
}

impl<T, F> fmt::Debug for WatchedUntil<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedUntil").finish_non_exhaustive()
    }
}
