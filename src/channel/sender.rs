//! The sending end.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    error::{ReserveError, SendError, TryReserveError, TrySendError},
    permit::{OwnedPermit, Permit},
    shared::Shared,
    state::{Refusal, State},
};
use crate::{frame, lock::MutexGuard, waiters::Place};

/// The sending end of a channel.
///
/// Made by [`bounded`](super::bounded), [`rendezvous`](super::rendezvous) or
/// [`unbounded`](super::unbounded). Clones send into the same channel; when the last one is dropped,
/// the channel closes, and receivers still get what is in it.
///
/// A sender that is dropped by a panic leaves the channel *broken*: once it is empty, receivers are
/// told so, and do not take an incomplete sequence for a complete one.
///
/// # Examples
///
/// ```
/// use headcount::{channel, group, run};
///
/// run(group(async |g| {
///     let (tx, rx) = channel::bounded(8);
///     for number in 0..3 {
///         let tx = tx.clone();
///         g.spawn(async move { Ok(tx.send(number).await?) });
///     }
///     drop(tx); // The clones are in the tasks, and go with them.
///
///     let mut sum = 0;
///     while let Ok(number) = rx.recv().await {
///         sum += number;
///     }
///     assert_eq!(sum, 3);
///     Ok(())
/// }))
/// .unwrap();
/// ```
pub struct Sender<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared }
    }

    /// Sends an item, once there is room for it.
    ///
    /// Those who wait for room get it first come, first served.
    ///
    /// # Errors
    ///
    /// Fails with [`SendError`], which has the item, if the channel is closed, or gets closed while
    /// this waits.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, the item was not sent. It is disposed of with
    /// the future: by the hook of the channel, if it has one (see
    /// [`on_undelivered`](super::Options::on_undelivered)). To keep it instead, take it with
    /// [`into_item`](Sent::into_item), or [`reserve`](Self::reserve) first and send then.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run};
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// run(async {
    ///     tx.send("page").await.unwrap();
    ///     assert_eq!(rx.recv().await, Ok("page"));
    /// });
    /// ```
    pub fn send(&self, item: T) -> Sent<'_, T> {
        Sent {
            shared: &self.shared,
            item: Some(item),
            place: Place::default(),
        }
    }

    /// Sends an item if there is room for it and nobody waits for that room.
    ///
    /// Does not wait, and is not affected by cancellation.
    ///
    /// # Errors
    ///
    /// Fails with [`TrySendError::Full`] or [`TrySendError::Closed`]; both have the item.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel::{self, TrySendError};
    ///
    /// let (tx, _rx) = channel::bounded(1);
    /// assert!(tx.try_send(1).is_ok());
    /// assert!(matches!(tx.try_send(2), Err(TrySendError::Full(2))));
    /// ```
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let mut item = Some(item);
        let refused = self
            .shared
            .change(|state, after| state.try_send(&mut item, after));
        match (refused, item) {
            (Err(Refusal::NotNow), Some(item)) => Err(TrySendError::Full(item)),
            (Err(Refusal::Never), Some(item)) => Err(TrySendError::Closed(item)),
            _ => Ok(()),
        }
    }

    /// Waits for room, and keeps it for an item that is sent later.
    ///
    /// For items that are expensive to make, or must not be lost: make them when there is room for
    /// them for certain. Sending with the permit neither waits nor fails.
    ///
    /// # Errors
    ///
    /// Fails with [`ReserveError`] if the channel is closed, or gets closed while this waits.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing was reserved. If room had been granted to
    /// it already, the next in line gets it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run};
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// run(async {
    ///     let permit = tx.reserve().await.unwrap();
    ///     assert!(tx.try_send("another").is_err()); // The room is taken.
    ///     permit.send("page");
    ///     assert_eq!(rx.recv().await, Ok("page"));
    /// });
    /// ```
    pub fn reserve(&self) -> Reserved<'_, T> {
        Reserved {
            shared: &self.shared,
            place: Place::default(),
        }
    }

    /// Keeps room for an item that is sent later, if there is room and nobody waits for it.
    ///
    /// # Errors
    ///
    /// Fails with [`TryReserveError::Full`] or [`TryReserveError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _rx) = channel::bounded::<u8>(1);
    /// let permit = tx.try_reserve().unwrap();
    /// assert!(tx.try_reserve().is_err());
    /// drop(permit); // Not used: the room is free again.
    /// assert!(tx.try_reserve().is_ok());
    /// ```
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TryReserveError> {
        match self.shared.change(|state, _| state.try_reserve()) {
            Ok(()) => Ok(Permit::new(&self.shared)),
            Err(Refusal::NotNow) => Err(TryReserveError::Full),
            Err(Refusal::Never) => Err(TryReserveError::Closed),
        }
    }

    /// Waits for room, and keeps it for an item that is sent by somebody else, elsewhere.
    ///
    /// As [`reserve`](Self::reserve), with a permit that does not borrow the sender: it moves into a
    /// task that makes the item and sends it, so that no more such tasks are there than the channel
    /// has room. It counts as a sender of its own for as long as it is there.
    ///
    /// # Errors
    ///
    /// Fails with [`ReserveError`] if the channel is closed, or gets closed while this waits.
    ///
    /// # Cancel safety
    ///
    /// As of [`reserve`](Self::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, group, run};
    ///
    /// run(group(async |g| {
    ///     let (tx, rx) = channel::bounded(2);
    ///     g.spawn_local(async move {
    ///         while let Ok(page) = rx.recv().await {
    ///             assert!(page % 10 == 0);
    ///         }
    ///         Ok(())
    ///     });
    ///     for page in 0..5 {
    ///         let permit = tx.reserve_owned().await?; // No task before there is room for its page.
    ///         g.spawn(async move {
    ///             permit.send(page * 10);
    ///             Ok(())
    ///         });
    ///     }
    ///     drop(tx);
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    pub fn reserve_owned(&self) -> ReservedOwned<T> {
        ReservedOwned {
            sender: Some(self.clone()),
            place: Place::default(),
        }
    }

    /// Keeps room for an item that is sent elsewhere, if there is room and nobody waits for it.
    ///
    /// As [`try_reserve`](Self::try_reserve), with the permit of
    /// [`reserve_owned`](Self::reserve_owned).
    ///
    /// # Errors
    ///
    /// Fails with [`TryReserveError::Full`] or [`TryReserveError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// let permit = tx.try_reserve_owned().unwrap();
    /// drop(tx); // The permit is a sender as well.
    /// permit.send("page");
    /// assert_eq!(rx.try_recv(), Ok("page"));
    /// assert!(rx.is_closed());
    /// ```
    pub fn try_reserve_owned(&self) -> Result<OwnedPermit<T>, TryReserveError> {
        let permit = self.try_reserve()?;
        permit.keep();
        Ok(OwnedPermit::new(self.clone()))
    }

    /// Closes the channel for everybody.
    ///
    /// Nothing more can be sent; sends that wait fail and give their items back. What is in the
    /// channel can still be received, as can what is sent with permits that were reserved before.
    /// Returns false if the channel was closed already.
    ///
    /// A sender need not do this: dropping it is enough.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel::{self, RecvError}, run};
    ///
    /// let (tx, rx) = channel::bounded(2);
    /// tx.try_send(1).unwrap();
    /// assert!(tx.close() && !tx.close());
    /// assert!(tx.try_send(2).is_err());
    /// assert_eq!(run(rx.recv()), Ok(1));
    /// assert_eq!(run(rx.recv()), Err(RecvError::Closed));
    /// ```
    pub fn close(&self) -> bool {
        self.shared.change(|state, after| state.close(after))
    }

    /// Waits until the channel is closed, or its last receiver is dropped.
    ///
    /// For a producer that should stop when nobody listens any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run};
    ///
    /// let (tx, rx) = channel::bounded::<u8>(1);
    /// drop(rx);
    /// run(tx.closed());
    /// ```
    pub fn closed(&self) -> Closed<'_, T> {
        Closed {
            shared: &self.shared,
            place: Place::default(),
        }
    }

    /// Tells whether nothing can be sent any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::bounded::<u8>(1);
    /// assert!(!tx.is_closed());
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.look(|state| state.is_closed())
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
    /// let (tx, _rx) = channel::bounded(2);
    /// tx.try_send(1).unwrap();
    /// assert_eq!(tx.len(), 1);
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
    /// let (tx, _rx) = channel::bounded::<u8>(2);
    /// assert!(tx.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether a newcomer would have to wait to send, or reserve.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _rx) = channel::bounded::<u8>(1);
    /// assert!(!tx.is_full());
    /// let _permit = tx.try_reserve();
    /// assert!(tx.is_full());
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.look(|state| state.is_full())
    }

    /// Returns how many items the channel holds: 0 for a rendezvous channel, `None` for an
    /// unbounded one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// assert_eq!(channel::bounded::<u8>(8).0.capacity(), Some(8));
    /// assert_eq!(channel::unbounded::<u8>().0.capacity(), None);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.shared.look(|state| state.capacity())
    }

    /// Returns the most items that there ever were in the channel at the same time.
    ///
    /// For finding out how large a capacity should be.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::bounded(8);
    /// tx.try_send(1).unwrap();
    /// tx.try_send(2).unwrap();
    /// rx.try_recv().unwrap();
    /// assert_eq!((tx.len(), tx.peak()), (1, 2));
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
    /// let (tx, _rx) = channel::bounded::<u8>(1);
    /// let _other = tx.clone();
    /// assert_eq!(tx.sender_count(), 2);
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
    /// let (tx, rx) = channel::bounded::<u8>(1);
    /// assert_eq!(tx.receiver_count(), 1);
    /// ```
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.look(|state| state.receiver_count())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.change(|state, _| state.add_sender());
        Self::new(Arc::clone(&self.shared))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared
            .change(|state, after| state.remove_sender(after));
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.debug("Sender", f)
    }
}

/// The future returned by [`Sender::send`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sent<'a, T> {
    shared: &'a Shared<T>,
    /// `None` once it was sent or given back.
    item: Option<T>,
    place: Place,
}

// The item is moved out when it is sent; it is never pinned.
impl<T> Unpin for Sent<'_, T> {}

impl<T> Sent<'_, T> {
    /// Gives up sending, and returns the item; `None` if it was sent.
    ///
    /// For a send that ran out of time and whose item is still wanted.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run, timeout};
    /// use std::time::Duration;
    ///
    /// let (tx, _rx) = channel::bounded(1);
    /// run(async {
    ///     tx.send("first").await.unwrap();
    ///     let mut sent = tx.send("second");
    ///     assert!(timeout(Duration::ZERO, &mut sent).await.is_err());
    ///     assert_eq!(sent.into_item(), Some("second"));
    /// });
    /// ```
    #[must_use = "the item is dropped otherwise"]
    pub fn into_item(mut self) -> Option<T> {
        self.withdraw();
        self.item.take()
    }

    /// Sends, or waits, as one whom others are concerned with.
    #[inline(never)]
    fn poll_from(
        &mut self,
        locked: MutexGuard<'_, State<T>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        let Self {
            shared,
            item,
            place,
        } = self;
        let polled = shared.poll_from(locked, cx, |state, caller, after| {
            state.poll_send(item, place, caller, after)
        });
        polled.map(|sent| match (sent, item.take()) {
            (Err(_), Some(item)) => Err(SendError::new(item)),
            _ => Ok(()),
        })
    }

    /// Stops waiting. Room that was granted meanwhile goes to the next in line.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let place = &mut self.place;
            self.shared
                .change(|state, after| state.leave_senders(place, after));
        }
    }
}

impl<T> Future for Sent<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if frame::cancelled() {
            this.withdraw();
            return Poll::Pending;
        }
        let mut state = this.shared.lock();
        if !this.place.is_taken() && state.send_unnoticed(&mut this.item) {
            return Poll::Ready(Ok(()));
        }
        this.poll_from(state, cx)
    }
}

impl<T> Drop for Sent<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.withdraw();
        if self.item.is_some() {
            self.shared.dispose_in_drop(self.item.take());
        }
    }
}

impl<T> fmt::Debug for Sent<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").finish_non_exhaustive()
    }
}

/// The future returned by [`Sender::reserve`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Reserved<'a, T> {
    shared: &'a Shared<T>,
    place: Place,
}

impl<T> Reserved<'_, T> {
    /// Stops waiting. Room that was granted meanwhile goes to the next in line.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let place = &mut self.place;
            self.shared
                .change(|state, after| state.leave_senders(place, after));
        }
    }
}

impl<'a, T> Future for Reserved<'a, T> {
    type Output = Result<Permit<'a, T>, ReserveError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if frame::cancelled() {
            self.withdraw();
            return Poll::Pending;
        }
        let Self { shared, place } = &mut *self;
        let polled = shared.poll(cx, |state, caller, after| {
            state.poll_reserve(place, caller, after)
        });
        polled.map(|reserved| match reserved {
            Ok(()) => Ok(Permit::new(shared)),
            Err(_) => Err(ReserveError),
        })
    }
}

impl<T> Drop for Reserved<'_, T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<T> fmt::Debug for Reserved<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").finish_non_exhaustive()
    }
}

/// The future returned by [`Sender::reserve_owned`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct ReservedOwned<T> {
    /// `None` once it is part of the permit.
    sender: Option<Sender<T>>,
    place: Place,
}

impl<T> ReservedOwned<T> {
    /// Stops waiting. Room that was granted meanwhile goes to the next in line.
    fn withdraw(&mut self) {
        if let (Some(sender), true) = (&self.sender, self.place.is_taken()) {
            let place = &mut self.place;
            sender
                .shared
                .change(|state, after| state.leave_senders(place, after));
        }
    }
}

impl<T> Future for ReservedOwned<T> {
    type Output = Result<OwnedPermit<T>, ReserveError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if frame::cancelled() {
            this.withdraw();
            return Poll::Pending;
        }
        let (sender, place) = (&mut this.sender, &mut this.place);
        let shared = &sender.as_ref().expect(POLLED_LATE).shared;
        let reserved = ready!(shared.poll(cx, |state, caller, after| {
            state.poll_reserve(place, caller, after)
        }));
        let sender = sender.take().filter(|_| reserved.is_ok());
        Poll::Ready(sender.map(OwnedPermit::new).ok_or(ReserveError))
    }
}

/// What is said if a future is polled that has nothing left to give.
const POLLED_LATE: &str = "a future was polled after it was done";

impl<T> Drop for ReservedOwned<T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<T> fmt::Debug for ReservedOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReservedOwned").finish_non_exhaustive()
    }
}

/// The future returned by [`Sender::closed`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Closed<'a, T> {
    shared: &'a Shared<T>,
    place: Place,
}

impl<T> Closed<'_, T> {
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let place = &mut self.place;
            self.shared
                .change(|state, after| state.leave_watchers(place, after));
        }
    }
}

impl<T> Future for Closed<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if frame::cancelled() {
            self.withdraw();
            return Poll::Pending;
        }
        let Self { shared, place } = &mut *self;
        shared.poll(cx, |state, caller, _| state.poll_closed(place, caller))
    }
}

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<T> fmt::Debug for Closed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").finish_non_exhaustive()
    }
}
