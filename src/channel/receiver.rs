//! The receiving end.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_lite::Stream;

use super::{
    error::{RecvError, TryRecvError},
    shared::Shared,
    state::{Refusal, State},
};
use crate::{frame, lock::MutexGuard, waiters::Place};

/// The receiving end of a channel.
///
/// Made by [`bounded`](super::bounded), [`rendezvous`](super::rendezvous) or
/// [`unbounded`](super::unbounded). Clones receive from the same channel: each item goes to one of
/// them. (For each item to go to all of them there is [`broadcast`](super::broadcast()).) When the
/// last one is dropped, the channel closes, and what is in it is disposed of.
///
/// # As a stream
///
/// A receiver is a stream of items that ends when the channel is closed and empty; ask
/// [`is_broken`](Self::is_broken) at its end, if it matters whether a sender panicked. A stream does
/// not have a place in line, because nobody can tell whether it will be polled again. So where
/// several receivers wait, those that wait with [`recv`](Self::recv) come first.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
/// use headcount::{channel, run};
///
/// let (tx, mut rx) = channel::bounded(8);
/// for number in [1, 2, 3] {
///     tx.try_send(number).unwrap();
/// }
/// drop(tx);
/// run(async {
///     assert_eq!(rx.recv().await, Ok(1));
///     let rest: Vec<_> = (&mut rx).collect().await;
///     assert_eq!(rest, [2, 3]);
///     assert!(!rx.is_broken());
/// });
/// ```
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// Of the stream.
    place: Place,
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self {
            shared,
            place: Place::default(),
        }
    }

    /// Receives an item, once there is one.
    ///
    /// Items come in the order in which they were sent. Those who wait for one get it first come,
    /// first served.
    ///
    /// # Errors
    ///
    /// Fails once the channel is closed and empty: with [`RecvError::Broken`] if a sender was
    /// dropped by a panic, else with [`RecvError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing was received. If it had been woken for an
    /// item already, the item goes to the next in line.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run};
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// tx.try_send("page").unwrap();
    /// assert_eq!(run(rx.recv()), Ok("page"));
    /// ```
    pub fn recv(&self) -> Received<'_, T> {
        Received {
            shared: &self.shared,
            place: Place::default(),
        }
    }

    /// Receives an item if there is one and nobody waits for it.
    ///
    /// Does not wait, and is not affected by cancellation. In a rendezvous channel there is nothing
    /// to be had without waiting, except what was left by a receiver that was cancelled.
    ///
    /// # Errors
    ///
    /// Fails with [`TryRecvError::Empty`], or as [`recv`](Self::recv) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel::{self, TryRecvError};
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.try_send(1).unwrap();
    /// assert_eq!(rx.try_recv(), Ok(1));
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let (received, broken) = self
            .shared
            .change(|state, after| (state.try_recv(after), state.is_broken()));
        received.map_err(|refusal| match refusal {
            Refusal::NotNow => TryRecvError::Empty,
            Refusal::Never if broken => TryRecvError::Broken,
            Refusal::Never => TryRecvError::Closed,
        })
    }

    /// Closes the channel for everybody.
    ///
    /// Nothing more can be sent; sends that wait fail and give their items back. What is in the
    /// channel can still be received, as can what is sent with permits that were reserved before.
    /// Returns false if the channel was closed already.
    ///
    /// For a consumer that goes gently: close, receive the rest, leave.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::bounded(2);
    /// tx.try_send(1).unwrap();
    /// rx.close();
    /// assert!(tx.try_send(2).is_err());
    /// assert_eq!(rx.try_recv(), Ok(1));
    /// ```
    pub fn close(&self) -> bool {
        self.shared.change(|state, after| state.close(after))
    }

    /// Closes the channel for everybody and throws away what is in it.
    ///
    /// Returns how many items were disposed of; see
    /// [`on_undelivered`](super::Options::on_undelivered).
    ///
    /// # Panics
    ///
    /// If disposing of an item panics, the rest is disposed of all the same, and then the panic goes
    /// on from here.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel::{self, TryRecvError};
    ///
    /// let (tx, rx) = channel::bounded(2);
    /// tx.try_send(1).unwrap();
    /// assert_eq!(rx.discard(), 1);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    /// ```
    pub fn discard(&self) -> usize {
        let items = self.shared.change(|state, after| state.empty(after));
        let count = items.len();
        if let Some(panic) = self.shared.dispose(items) {
            panic.resume();
        }
        count
    }

    /// Tells whether nothing can be sent any more. There may still be items to be received.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::bounded::<u8>(1);
    /// drop(tx);
    /// assert!(rx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.look(|state| state.is_closed())
    }

    /// Tells whether a sender was dropped by a panic.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::bounded::<u8>(1);
    /// std::thread::spawn(move || {
    ///     let _tx = tx;
    ///     panic!("while sending");
    /// })
    /// .join()
    /// .unwrap_err();
    /// assert!(rx.is_broken());
    /// ```
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.look(|state| state.is_broken())
    }

    /// Returns how many items are in the channel.
    ///
    /// Items count until they are taken, also while the receiver that is to take them has been woken
    /// and did not run yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::bounded(2);
    /// tx.try_send(1).unwrap();
    /// assert_eq!(rx.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.look(|state| state.len())
    }

    /// Tells whether nothing is in the channel.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (_tx, rx) = channel::bounded::<u8>(2);
    /// assert!(rx.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many items the channel holds: 0 for a rendezvous channel, `None` for an
    /// unbounded one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// assert_eq!(channel::bounded::<u8>(8).1.capacity(), Some(8));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.shared.look(|state| state.capacity())
    }

    /// Returns the most items that there ever were in the channel at the same time.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::bounded(8);
    /// tx.try_send(1).unwrap();
    /// rx.try_recv().unwrap();
    /// assert_eq!((rx.len(), rx.peak()), (0, 1));
    /// ```
    #[must_use]
    pub fn peak(&self) -> usize {
        self.shared.look(|state| state.peak())
    }

    /// Returns how many senders there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::bounded::<u8>(1);
    /// assert_eq!(rx.sender_count(), 1);
    /// ```
    #[must_use]
    pub fn sender_count(&self) -> usize {
        self.shared.look(|state| state.sender_count())
    }

    /// Returns how many receivers there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (_tx, rx) = channel::bounded::<u8>(1);
    /// let _other = rx.clone();
    /// assert_eq!(rx.receiver_count(), 2);
    /// ```
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.look(|state| state.receiver_count())
    }

    /// Gives up the place of the stream.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let place = &mut self.place;
            self.shared
                .change(|state, after| state.leave_streams(place, after));
        }
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        if frame::cancelled() {
            this.withdraw();
            return Poll::Pending;
        }
        let (shared, place) = (&this.shared, &mut this.place);
        let mut state = shared.lock();
        if !place.is_taken() {
            if let Some(item) = state.recv_unnoticed() {
                return Poll::Ready(Some(item));
            }
        }
        shared.poll_from(state, cx, |state, caller, after| {
            state.poll_next(place, caller, after)
        })
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.change(|state, _| state.add_receiver());
        Self::new(Arc::clone(&self.shared))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.withdraw();
        let items = self
            .shared
            .change(|state, after| state.remove_receiver(after));
        self.shared.dispose_in_drop(items);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.debug("Receiver", f)
    }
}

/// The future returned by [`Receiver::recv`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Received<'a, T> {
    shared: &'a Shared<T>,
    place: Place,
}

impl<T> Received<'_, T> {
    /// Receives, or waits, as one whom others are concerned with.
    #[inline(never)]
    fn poll_from(
        &mut self,
        locked: MutexGuard<'_, State<T>>,
        cx: &Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let Self { shared, place } = self;
        shared.poll_from(locked, cx, |state, caller, after| {
            state.poll_recv(place, caller, after)
        })
    }

    /// Stops waiting. An item that this was woken for goes to the next in line.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let place = &mut self.place;
            self.shared
                .change(|state, after| state.leave_receivers(place, after));
        }
    }
}

impl<T> Future for Received<'_, T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if frame::cancelled() {
            this.withdraw();
            return Poll::Pending;
        }
        let mut state = this.shared.lock();
        if !this.place.is_taken() {
            if let Some(item) = state.recv_unnoticed() {
                return Poll::Ready(Ok(item));
            }
        }
        this.poll_from(state, cx)
    }
}

impl<T> Drop for Received<'_, T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<T> fmt::Debug for Received<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").finish_non_exhaustive()
    }
}
