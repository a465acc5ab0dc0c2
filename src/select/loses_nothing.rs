//! Futures that may be dropped at any time.

use std::{
    future::{self, Future},
    pin::Pin,
    task::{Context, Poll},
};

use futures_lite::{Stream, stream};
use pin_project::pin_project;

use super::Select;
use crate::{
    channel::futures as channel,
    group::Task,
    locals::Bound,
    results::Contenders,
    scope::{Cancellation, Checkpoint, Scoped, Timeout},
    sync::futures as sync,
    time::{Sleep, Tick},
};

/// Futures that lose nothing when they are dropped before they are done.
///
/// Whoever waits again afterwards finds everything as if the first wait had never been: nothing was
/// taken, sent or begun. [`select`](crate::select) accepts no others. That holds for the waits of
/// this crate that are not named as exceptions on their pages, and for what is made of such:
///
/// - sleeping, ticking, [`checkpoint`](crate::checkpoint), [`cancelled`](crate::cancelled), awaiting
///   a [`Task`], which stays in its group when its handle is dropped;
/// - receiving from a channel, or waiting for a place in it with
///   [`reserve`](crate::channel::Sender::reserve); but not sending, since the item is dropped with
///   the wait, and not a [`OneshotReceiver`](crate::channel::OneshotReceiver), which takes the value
///   along: borrow it;
/// - waiting for a lock, a permit or an event, though the place in the queue is given up;
/// - the next item of a stream (`StreamExt::next` of `futures-lite`);
/// - anything borrowed, `&mut future` or `pin!(future).as_mut()`, which is not dropped at all;
/// - a [`timeout`](crate::timeout), scope, [binding](crate::Local::bind) or [`select`](crate::select)
///   of futures that lose nothing.
///
/// Implement it for futures of your own that keep this promise.
///
/// # Examples
///
/// ```
/// use headcount::{LosesNothing, Sleep, select, sleep, run};
/// use std::{future::Future, pin::Pin, task::{Context, Poll}, time::Duration};
///
/// /// Waits for a while; there is nothing to lose.
/// struct Nap(Sleep);
///
/// impl Future for Nap {
///     type Output = ();
///
///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
///         Pin::new(&mut self.0).poll(cx)
///     }
/// }
///
/// impl LosesNothing for Nap {}
///
/// run(select((Nap(sleep(Duration::ZERO)), sleep(Duration::MAX))));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` may lose something if it is dropped before it is done",
    label = "`select` drops what does not come first",
    note = "keep the future outside of the `select` and pass `&mut` to it, so that it is not dropped",
    note = "or call `.may_lose()` on it (`headcount::MayLoseExt`) if that does not matter here"
)]
pub trait LosesNothing: Future {}

impl LosesNothing for Sleep {}
impl LosesNothing for Tick<'_> {}
impl LosesNothing for Checkpoint {}
impl LosesNothing for Cancellation {}
impl<T> LosesNothing for Task<T> {}
impl<T> LosesNothing for future::Pending<T> {}
impl<T> LosesNothing for channel::Received<'_, T> {}
impl<T> LosesNothing for channel::Reserved<'_, T> {}
impl<T> LosesNothing for channel::ReservedOwned<T> {}
impl<T> LosesNothing for channel::Closed<'_, T> {}
impl<T: Clone> LosesNothing for channel::BroadcastReceived<'_, T> {}
impl<T> LosesNothing for channel::OneshotClosed<'_, T> {}
impl<T> LosesNothing for channel::Changed<'_, T> {}
impl<'a, T, F> LosesNothing for channel::WatchedUntil<'a, T, F> where Self: Future {}
impl LosesNothing for sync::Occurred<'_> {}
impl LosesNothing for sync::Acquired<'_> {}
impl LosesNothing for sync::AcquiredArc {}
impl LosesNothing for sync::LimiterAcquired {}
impl<T> LosesNothing for sync::Locked<'_, T> {}
impl<T> LosesNothing for sync::ReadLocked<'_, T> {}
impl<T> LosesNothing for sync::WriteLocked<'_, T> {}
impl<S: Stream + Unpin + ?Sized> LosesNothing for stream::NextFuture<'_, S> {}
impl<F: Future + Unpin + ?Sized> LosesNothing for &mut F {}
impl<F: Future + ?Sized> LosesNothing for Pin<&mut F> {}
impl<F: LosesNothing + ?Sized> LosesNothing for Pin<Box<F>> {}
impl<F: LosesNothing> LosesNothing for Timeout<F> {}
impl<F: LosesNothing> LosesNothing for Scoped<F> {}
impl<F: LosesNothing> LosesNothing for Bound<F> {}
impl<L: Contenders> LosesNothing for Select<L> {}

/// Tuples of one to twelve futures that lose nothing.
///
/// What [`select`](crate::select) takes. This trait is implemented for tuples and cannot be
/// implemented elsewhere.
pub trait Selectable: Contenders {}

macro_rules! tuples {
    ($(($($F:ident),+))+) => {
        $(impl<$($F: LosesNothing),+> Selectable for ($($F,)+) {})+
    };
}

tuples! {
    (A)
    (A, B)
    (A, B, C)
    (A, B, C, D)
    (A, B, C, D, E)
    (A, B, C, D, E, F)
    (A, B, C, D, E, F, G)
    (A, B, C, D, E, F, G, H)
    (A, B, C, D, E, F, G, H, I)
    (A, B, C, D, E, F, G, H, I, J)
    (A, B, C, D, E, F, G, H, I, J, K)
    (A, B, C, D, E, F, G, H, I, J, K, L)
}

/// Opting out of [`LosesNothing`].
pub trait MayLoseExt: Future {
    /// Lets a future take part in a [`select`](crate::select) although it may lose something.
    ///
    /// For futures of which nothing is wanted any more when another one comes first, and as a sign
    /// to the reader that somebody has thought about it.
    ///
    /// # Cancel safety
    ///
    /// When it does not come first, the future is cancelled as by a [`race`](crate::race): shields
    /// and finalizers in it are waited for, and what else it was about is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{MayLoseExt, OneOf2, run, select, sleep};
    /// use std::time::Duration;
    ///
    /// let first = run(select((
    ///     async {
    ///         sleep(Duration::MAX).await;
    ///         println!("never");
    ///     }
    ///     .may_lose(),
    ///     sleep(Duration::ZERO),
    /// )));
    /// assert_eq!(first, OneOf2::Second(()));
    /// ```
    fn may_lose(self) -> MayLose<Self>
    where
        Self: Sized,
    {
        MayLose { future: self }
    }
}

impl<F: Future + ?Sized> MayLoseExt for F {}

/// The future returned by [`MayLoseExt::may_lose`].
#[derive(Debug)]
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct MayLose<F> {
    #[pin]
    future: F,
}

impl<F: Future> Future for MayLose<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

impl<F: Future> LosesNothing for MayLose<F> {}
