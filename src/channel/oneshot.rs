//! One value, once.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use super::error::{RecvError, SendError, TryRecvError};
use crate::{
    error::catch,
    frame,
    lock::Mutex,
    waiters::{Aftermath, Left, Place, Waiters, poll_locked},
};

/// Makes a channel for one value.
///
/// For an answer that somebody waits for. The receiver is itself a future. For the result of a task,
/// its [handle](crate::Task) is enough.
///
/// # Examples
///
/// ```
/// use headcount::{channel, group, run};
///
/// run(group(async |g| {
///     let (tx, rx) = channel::oneshot();
///     g.spawn(async move { Ok(tx.send("answer")?) });
///     assert_eq!(rx.await?, "answer");
///     Ok(())
/// }))
/// .unwrap();
/// ```
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let shared = Arc::new(Mutex::new(State {
        stage: Stage::Open,
        receiver: Waiters::new(),
        watchers: Waiters::new(),
    }));
    let sender = OneshotSender {
        shared: Arc::clone(&shared),
    };
    let receiver = OneshotReceiver {
        shared,
        place: Place::default(),
    };
    (sender, receiver)
}

/// What the two ends share.
type Shared<T> = Arc<Mutex<State<T>>>;

#[derive(Debug)]
struct State<T> {
    stage: Stage<T>,
    /// The receiver, if it waits.
    receiver: Waiters,
    /// Those who wait for the receiver to leave: borrowed from the sender, any number.
    watchers: Waiters,
}

#[derive(Debug)]
enum Stage<T> {
    /// Nothing was sent, and somebody listens.
    Open,
    /// The value is here.
    Sent(T),
    /// Nobody listens, or the value has been received, or none will come.
    Closed,
    /// The sender was dropped by a panic.
    Broken,
}

impl<T> State<T> {
    /// Takes what there is to be had.
    fn take(&mut self) -> Result<T, TryRecvError> {
        match &self.stage {
            Stage::Open => Err(TryRecvError::Empty),
            Stage::Closed => Err(TryRecvError::Closed),
            Stage::Broken => Err(TryRecvError::Broken),
            Stage::Sent(_) => match std::mem::replace(&mut self.stage, Stage::Closed) {
                Stage::Sent(value) => Ok(value),
                _ => Err(TryRecvError::Closed),
            },
        }
    }
}

/// Changes the state, and then wakes whom that concerns.
fn change<T, R>(shared: &Mutex<State<T>>, f: impl FnOnce(&mut State<T>, &mut Aftermath) -> R) -> R {
    let mut after = Aftermath::default();
    let result = f(&mut shared.lock(), &mut after);
    after.run();
    result
}

/// The sending end of a [`oneshot`] channel.
///
/// Dropped without sending, it tells the receiver so: that the channel is closed, or that it is
/// broken, if a panic dropped it.
///
/// # Examples
///
/// ```
/// use headcount::{channel::{self, RecvError}, run};
///
/// let (tx, rx) = channel::oneshot::<u8>();
/// drop(tx);
/// assert_eq!(run(rx), Err(RecvError::Closed));
/// ```
#[must_use = "the receiver is told that nothing will come when this is dropped"]
pub struct OneshotSender<T> {
    shared: Shared<T>,
}

impl<T> OneshotSender<T> {
    /// Sends the value. Does not wait, and is not affected by cancellation.
    ///
    /// A value that was sent and is not received is dropped with the receiver.
    ///
    /// # Errors
    ///
    /// Fails with [`SendError`], which has the value, if the receiver was dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, mut rx) = channel::oneshot();
    /// tx.send(7).unwrap();
    /// assert_eq!(rx.try_recv(), Ok(7));
    /// ```
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        let mut value = Some(value);
        change(&self.shared, |state, after| {
            if let Stage::Open = state.stage {
                if let Some(value) = value.take() {
                    state.stage = Stage::Sent(value);
                    state.receiver.grant_first(after);
                }
            }
        });
        value.map_or(Ok(()), |value| Err(SendError::new(value)))
    }

    /// Tells whether the receiver was dropped, or has closed the channel.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::oneshot::<u8>();
    /// assert!(!tx.is_closed());
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !matches!(self.shared.lock().stage, Stage::Open)
    }

    /// Waits until the receiver is dropped, or closes the channel.
    ///
    /// For work that should stop when nobody wants the answer any more.
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
    /// let (tx, rx) = channel::oneshot::<u8>();
    /// drop(rx);
    /// run(tx.closed());
    /// ```
    pub fn closed(&self) -> OneshotClosed<'_, T> {
        OneshotClosed {
            shared: &self.shared,
            place: Place::default(),
        }
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        change(&self.shared, |state, after| {
            if let Stage::Open = state.stage {
                state.stage = if thread::panicking() {
                    Stage::Broken
                } else {
                    Stage::Closed
                };
                state.receiver.grant_first(after);
            }
        });
    }
}

impl<T> fmt::Debug for OneshotSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotSender")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The receiving end of a [`oneshot`] channel: a future of the value.
///
/// # Errors
///
/// Fails with [`RecvError::Closed`] if the sender was dropped without sending, and with
/// [`RecvError::Broken`] if a panic dropped it.
///
/// # Cancel safety
///
/// A value that has been sent stays in the channel until it is returned. Waiting with `&mut rx`
/// keeps it through a timeout; dropping the receiver drops the value.
///
/// # Examples
///
/// ```
/// use headcount::{channel, run, timeout};
/// use std::time::Duration;
///
/// let (tx, mut rx) = channel::oneshot();
/// run(async {
///     assert!(timeout(Duration::ZERO, &mut rx).await.is_err());
///     tx.send(7).unwrap();
///     assert_eq!(rx.await, Ok(7));
/// });
/// ```
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct OneshotReceiver<T> {
    shared: Shared<T>,
    place: Place,
}

impl<T> OneshotReceiver<T> {
    /// Takes the value if it has been sent.
    ///
    /// # Errors
    ///
    /// Fails with [`TryRecvError::Empty`] if nothing was sent yet, with
    /// [`Closed`](TryRecvError::Closed) if nothing will be, or it was received already, and with
    /// [`Broken`](TryRecvError::Broken) if a panic dropped the sender.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel::{self, TryRecvError};
    ///
    /// let (tx, mut rx) = channel::oneshot();
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(7).unwrap();
    /// assert_eq!(rx.try_recv(), Ok(7));
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.shared.lock().take()
    }

    /// Lets nothing be sent any more. A value that has been sent can still be received.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, mut rx) = channel::oneshot();
    /// rx.close();
    /// assert_eq!(tx.send(7).unwrap_err().into_item(), 7);
    /// ```
    pub fn close(&mut self) {
        change(&self.shared, |state, after| {
            if let Stage::Open = state.stage {
                state.stage = Stage::Closed;
                state.watchers.grant_all(after);
            }
        });
    }

    /// Stops waiting.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let place = &mut self.place;
            change(&self.shared, |state, after| {
                // The value stays where it is.
                let (Left::Nothing | Left::Place | Left::Grant) =
                    state.receiver.leave(place, after);
            });
        }
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if frame::cancelled() {
            self.withdraw();
            return Poll::Pending;
        }
        let Self { shared, place } = &mut *self;
        poll_locked(shared, cx, |state, caller, _| {
            let taken = state.take();
            if let Err(TryRecvError::Empty) = taken {
                state.receiver.park(place, caller, ());
                return Poll::Pending;
            }
            state.receiver.collect(place);
            Poll::Ready(taken.map_err(|error| match error {
                TryRecvError::Broken => RecvError::Broken,
                _ => RecvError::Closed,
            }))
        })
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        self.withdraw();
        let stage = change(&self.shared, |state, after| {
            state.watchers.grant_all(after);
            std::mem::replace(&mut state.stage, Stage::Closed)
        });
        if let Err(panic) = catch(|| drop(stage)) {
            frame::rethrow(panic);
        }
    }
}

impl<T> fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.shared.lock().stage {
            Stage::Open => "open",
            Stage::Sent(_) => "sent",
            Stage::Closed => "closed",
            Stage::Broken => "broken",
        };
        f.debug_struct("OneshotReceiver")
            .field("stage", &format_args!("{stage}"))
            .finish_non_exhaustive()
    }
}

/// The future returned by [`OneshotSender::closed`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct OneshotClosed<'a, T> {
    shared: &'a Mutex<State<T>>,
    place: Place,
}

impl<T> OneshotClosed<'_, T> {
    /// Stops waiting.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let place = &mut self.place;
            change(self.shared, |state, after| {
                let (Left::Nothing | Left::Place | Left::Grant) =
                    state.watchers.leave(place, after);
            });
        }
    }
}

impl<T> Future for OneshotClosed<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if frame::cancelled() {
            self.withdraw();
            return Poll::Pending;
        }
        let Self { shared, place } = &mut *self;
        poll_locked(shared, cx, |state, caller, _| {
            if let Stage::Open = state.stage {
                state.watchers.park(place, caller, ());
                return Poll::Pending;
            }
            state.watchers.collect(place);
            Poll::Ready(())
        })
    }
}

impl<T> Drop for OneshotClosed<'_, T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<T> fmt::Debug for OneshotClosed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotClosed").finish_non_exhaustive()
    }
}
