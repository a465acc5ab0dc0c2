//! The receiving end of a broadcast channel.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_lite::Stream;

use super::{BroadcastRecvError, BroadcastTryRecvError, Shared, change};
use crate::{
    error::catch,
    frame,
    waiters::{Left, Place, poll_locked},
};

/// The receiving end of a [`broadcast`](super::broadcast()) channel.
///
/// A clone gets everything that the original has not received yet, and goes its own way.
///
/// # As a stream
///
/// The stream has the items, and in between, as an error, how many were missed. It ends when the
/// channel is closed and everything has been received; if it is broken, the last thing is an error
/// that says so.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
/// use headcount::{channel, run};
///
/// let (tx, rx) = channel::broadcast(8);
/// let other = rx.clone();
/// tx.send(1).unwrap();
/// tx.send(2).unwrap();
/// drop(tx);
/// for rx in [rx, other] {
///     assert_eq!(run(rx.collect::<Vec<_>>()), [Ok(1), Ok(2)]);
/// }
/// ```
pub struct BroadcastReceiver<T> {
    shared: Shared<T>,
    /// The number of the item that comes next.
    next: u64,
    place: Place,
    /// The stream has told that the channel is broken.
    told: bool,
}

impl<T> BroadcastReceiver<T> {
    pub(super) fn new(shared: Shared<T>, next: u64) -> Self {
        Self {
            shared,
            next,
            place: Place::default(),
            told: false,
        }
    }

    /// Returns how many items there are that this receiver has not received.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::broadcast(8);
    /// tx.send(1).unwrap();
    /// assert_eq!(rx.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().unread(self.next)
    }

    /// Tells whether this receiver has received everything that is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (_tx, rx) = channel::broadcast::<u8>(8);
    /// assert!(rx.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stops waiting.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let place = &mut self.place;
            change(&self.shared, |ring, after| {
                // What this was told the others were told as well.
                let (Left::Nothing | Left::Place | Left::Grant) = ring.waiters.leave(place, after);
            });
        }
    }
}

impl<T: Clone> BroadcastReceiver<T> {
    /// Receives the next item, once there is one.
    ///
    /// # Errors
    ///
    /// Fails with [`BroadcastRecvError::Lagged`] if this receiver has missed items; the next call
    /// goes on with the oldest that is there. Fails with [`Closed`](BroadcastRecvError::Closed) or
    /// [`Broken`](BroadcastRecvError::Broken) once nothing comes any more.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing was received, and the next call gets the
    /// same item.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run};
    ///
    /// let (tx, mut rx) = channel::broadcast(8);
    /// tx.send("page").unwrap();
    /// assert_eq!(run(rx.recv()), Ok("page"));
    /// ```
    pub fn recv(&mut self) -> BroadcastReceived<'_, T> {
        BroadcastReceived { receiver: self }
    }

    /// Receives the next item if there is one.
    ///
    /// Does not wait, and is not affected by cancellation.
    ///
    /// # Errors
    ///
    /// Fails with [`BroadcastTryRecvError::Empty`], or as [`recv`](Self::recv) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, mut rx) = channel::broadcast(8);
    /// assert!(rx.try_recv().is_err());
    /// tx.send("page").unwrap();
    /// assert_eq!(rx.try_recv(), Ok("page"));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, BroadcastTryRecvError> {
        let received = self.shared.lock().recv(&mut self.next);
        received.map(Arc::unwrap_or_clone)
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<T, BroadcastRecvError>> {
        if frame::cancelled() {
            self.withdraw();
            return Poll::Pending;
        }
        let Self {
            shared,
            next,
            place,
            ..
        } = self;
        let received = ready!(poll_locked(shared, cx, |ring, caller, _| {
            ring.waiters.collect(place);
            let received = match ring.recv(next) {
                Ok(item) => Ok(item),
                Err(error) => match error.unless_empty() {
                    Some(error) => Err(error),
                    None => {
                        ring.waiters.park(place, caller, ());
                        return Poll::Pending;
                    }
                },
            };
            Poll::Ready(received)
        }));
        Poll::Ready(received.map(Arc::unwrap_or_clone))
    }
}

impl<T: Clone> Stream for BroadcastReceiver<T> {
    type Item = Result<T, BroadcastRecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let received = ready!(self.poll_recv(cx));
        Poll::Ready(match received {
            Err(BroadcastRecvError::Closed) => None,
            Err(BroadcastRecvError::Broken) if self.told => None,
            received => {
                self.told = matches!(received, Err(BroadcastRecvError::Broken));
                Some(received)
            }
        })
    }
}

impl<T> Clone for BroadcastReceiver<T> {
    fn clone(&self) -> Self {
        self.shared.lock().add_receiver(self.next);
        Self::new(Arc::clone(&self.shared), self.next)
    }
}

impl<T> Drop for BroadcastReceiver<T> {
    fn drop(&mut self) {
        self.withdraw();
        let items = change(&self.shared, |ring, _| ring.remove_receiver(self.next));
        let mut first = None;
        for item in items {
            match catch(|| drop(item)) {
                Err(panic) if first.is_none() => first = Some(panic),
                Err(panic) => frame::report_panic(panic),
                Ok(()) => {}
            }
        }
        if let Some(panic) = first {
            frame::rethrow(panic);
        }
    }
}

impl<T> fmt::Debug for BroadcastReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastReceiver")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The future returned by [`BroadcastReceiver::recv`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct BroadcastReceived<'a, T> {
    receiver: &'a mut BroadcastReceiver<T>,
}

impl<T: Clone> Future for BroadcastReceived<'_, T> {
    type Output = Result<T, BroadcastRecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_recv(cx)
    }
}

impl<T> Drop for BroadcastReceived<'_, T> {
    fn drop(&mut self) {
        self.receiver.withdraw();
    }
}

impl<T> fmt::Debug for BroadcastReceived<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastReceived").finish_non_exhaustive()
    }
}
