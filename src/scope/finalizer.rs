//! Cleanup that can wait: `finally` and `bracket`.

use std::{
    fmt,
    future::{self, Future},
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::shield::{Shield, shield};
use crate::{
    error::{Panic, catch, discard},
    frame::{self, Enclosed, Role, Shelter, report_panic},
    sim::{Cleanup, Mark},
};

/// Runs a future, and then a cleanup: whether it returned, panicked or was cancelled.
///
/// The cleanup is polled only after the body is gone, so the two may not borrow the same thing
/// mutably, but the cleanup may use what the body used. It runs shielded: no cancellation cuts it.
/// A [`timeout`](crate::timeout) inside it works; give it one if it talks to somebody who may not
/// answer. Of several finalizers around each other the innermost runs first.
///
/// If a cancellation is what ended the body, or if the surroundings were cancelled before the
/// finalizer was reached (the body is not polled then), nothing is returned after the cleanup: the
/// scope that was cancelled goes on instead.
///
/// A resource that is used and then released is better kept in a [`bracket`](crate::bracket());
/// [`TaskGroup::defer`](crate::TaskGroup::defer) is the owned form that belongs to a group. Cleanup
/// that does not wait needs none of this: that is what `Drop` is for.
///
/// # Panics
///
/// A panic of the body goes on after the cleanup. So does one of the cleanup itself, in place of
/// the value; if both panic, the body's goes on, and the other is one more failure of the group
/// that the code runs in.
///
/// # Cancel safety
///
/// The cleanup is run for the cancellations of this crate. Whoever drops the returned future from
/// outside, another crate's `select!` for example, drops body and cleanup where they stand: what
/// borrows cannot outlive its borrow.
///
/// # Examples
///
/// ```
/// use headcount::{finally, run, timeout};
/// use std::{cell::Cell, time::Duration};
///
/// let cleaned_up = Cell::new(false);
/// let late = run(timeout(
///     Duration::from_millis(1),
///     finally(std::future::pending::<()>(), async { cleaned_up.set(true) }),
/// ));
///
/// assert!(late.is_err());
/// assert!(cleaned_up.get());
/// ```
pub fn finally<F: Future, C: Future<Output = ()>>(body: F, cleanup: C) -> Finally<F, C> {
    Finally {
        body: Guarded::new(body),
        cleanup: Caught::new(cleanup),
        ending: None,
        is_left: false,
    }
}

/// Uses a resource, and then releases it: whether its use returned, panicked or was cancelled.
///
/// `using` borrows the resource mutably; when it is gone, `release` gets the resource itself. The
/// release runs shielded, as the cleanup of [`finally`](crate::finally()) does, and everything said
/// there holds here too. If the surroundings were cancelled before the bracket was reached, the
/// resource is released without having been used.
///
/// Acquire the resource before, so that a failure to acquire it needs no release.
///
/// # Panics
///
/// A panic of `using` goes on after the release. So does one of the release, in place of the value;
/// if both panic, the one of `using` goes on and the other is one more failure of the group that
/// the code runs in.
///
/// # Cancel safety
///
/// The release is run for the cancellations of this crate. Whoever drops the returned future from
/// outside drops the resource where it stands, without the release.
///
/// # Examples
///
/// ```
/// use headcount::{bracket, run};
///
/// let mut log = Vec::new();
/// let sum: i32 = run(bracket(
///     vec![1, 2, 3],
///     async |numbers: &mut Vec<i32>| numbers.iter().sum(),
///     async |numbers: Vec<i32>| log.push(format!("released {numbers:?}")),
/// ));
///
/// assert_eq!(sum, 6);
/// assert_eq!(log, ["released [1, 2, 3]"]);
/// ```
pub async fn bracket<R, T, U, C>(resource: R, using: U, release: C) -> T
where
    U: AsyncFnOnce(&mut R) -> T,
    C: AsyncFnOnce(R),
{
    let mut resource = resource;
    let (ending, shelter) = Guarded::new(using(&mut resource)).await;
    let released = Caught::new(release(resource)).await;
    drop(shelter);
    match settle(ending, released) {
        Some(value) => value,
        None => future::poll_fn(|_| poll_left()).await,
    }
}

/// The future returned by [`finally`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Finally<F: Future, C> {
    #[pin]
    body: Guarded<F>,
    #[pin]
    cleanup: Caught<C>,
    /// How the body ended, once it has, and what protects the cleanup.
    ending: Option<(Ending<F::Output>, Option<Shelter>)>,
    /// Set once everything is done, and there is no value because of a cancellation.
    is_left: bool,
}

impl<F: Future, C: Future<Output = ()>> Future for Finally<F, C> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if *this.is_left {
            return poll_left();
        }
        if this.ending.is_none() {
            *this.ending = Some(ready!(this.body.poll(cx)));
        }
        let cleaned_up = ready!(this.cleanup.poll(cx));
        let ended = this.ending.take().and_then(|(ending, shelter)| {
            drop(shelter);
            settle(ending, cleaned_up)
        });
        match ended {
            Some(value) => Poll::Ready(value),
            None => {
                *this.is_left = true;
                poll_left()
            }
        }
    }
}

impl<F: Future, C> fmt::Debug for Finally<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finally").finish_non_exhaustive()
    }
}

/// How the body of a finalizer ended.
enum Ending<T> {
    Value(T),
    Panicked(Panic),
    /// It was dropped because something around it was cancelled.
    Cut,
}

/// Puts the end of the body and that of the cleanup together. `None` if there is no value because
/// of a cancellation.
fn settle<T>(ending: Ending<T>, cleaned_up: Result<(), Panic>) -> Option<T> {
    match (ending, cleaned_up) {
        (Ending::Value(value), Ok(())) => Some(value),
        (Ending::Value(value), Err(panic)) => {
            discard(value);
            panic.resume()
        }
        (Ending::Panicked(panic), Ok(())) => panic.resume(),
        (Ending::Panicked(panic), Err(second)) => {
            report_panic(second);
            panic.resume()
        }
        (Ending::Cut, Ok(())) => None,
        (Ending::Cut, Err(panic)) => panic.resume(),
    }
}

/// The body of a finalizer. It always completes, also when it is cancelled, unless it is dropped.
///
/// What comes with its ending protects the finalizer until the cleanup is done.
#[pin_project]
struct Guarded<F> {
    #[pin]
    body: Enclosed<F>,
    started: bool,
}

impl<F> Guarded<F> {
    fn new(body: F) -> Self {
        Self {
            body: Enclosed::new(Role::Finalizer, body),
            started: false,
        }
    }
}

impl<F: Future> Future for Guarded<F> {
    type Output = (Ending<F::Output>, Option<Shelter>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut body = this.body;
        body.as_mut().anchor().settle();
        let first = !std::mem::replace(this.started, true);
        if first {
            frame::tell_cleanup(Cleanup::Owed);
        }
        let reached_too_late = first && frame::cancelled();
        let ending = if reached_too_late || body.as_mut().is_cut() {
            cut(body.as_mut())
        } else {
            match catch(|| body.as_mut().poll(None, cx)) {
                Ok(Poll::Ready(value)) => Ending::Value(value),
                Ok(Poll::Pending) => ready!(body.as_mut().wait(cx)),
                Err(panic) => {
                    // What panicked is dropped before the cleanup begins.
                    if let Err(second) = body.as_mut().clear() {
                        report_panic(second);
                    }
                    Ending::Panicked(panic)
                }
            }
        };
        let anchor = body.anchor();
        let shelter = anchor.take_shelter();
        anchor.leave();
        Poll::Ready((ending, shelter))
    }
}

/// Drops the body of a finalizer that was cancelled.
fn cut<F, T>(body: Pin<&mut Enclosed<F>>) -> Ending<T> {
    match body.clear() {
        Ok(()) => Ending::Cut,
        Err(panic) => Ending::Panicked(panic),
    }
}

impl<F> Enclosed<F> {
    /// Whether something around the finalizer was cancelled, and nothing protected is left in it.
    fn is_cut(self: Pin<&mut Self>) -> bool {
        let anchor = self.anchor();
        anchor.is_enclosed() && anchor.is_idle()
    }

    /// Waits for the body of a finalizer to go on, or to be cancelled.
    fn wait<T>(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ending<T>> {
        let anchor = self.as_mut().anchor();
        anchor.protect();
        anchor.watch(cx.waker());
        // The body may have cancelled what it is in, or another thread has meanwhile.
        if self.as_mut().is_cut() {
            Poll::Ready(cut(self))
        } else {
            Poll::Pending
        }
    }
}

/// A shielded cleanup whose panic is captured.
#[pin_project]
struct Caught<C> {
    #[pin]
    cleanup: Shield<C>,
}

impl<C: Future> Caught<C> {
    fn new(cleanup: C) -> Self {
        Self {
            cleanup: shield(cleanup),
        }
    }
}

impl<C: Future<Output = ()>> Future for Caught<C> {
    type Output = Result<(), Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut cleanup = self.project().cleanup;
        let ended = match catch(|| cleanup.as_mut().poll(cx)) {
            Ok(Poll::Pending) => {
                frame::tell_mark(|| Mark::Cleanup);
                return Poll::Pending;
            }
            Ok(Poll::Ready(())) => Ok(()),
            Err(panic) => {
                cleanup.give_up();
                Err(panic)
            }
        };
        frame::tell_cleanup(Cleanup::Done);
        Poll::Ready(ended)
    }
}

/// The end of a future that was cut: it waits for the scope that was cancelled to drop it.
fn poll_left<T>() -> Poll<T> {
    assert!(frame::due(), "{STRAY}");
    Poll::Pending
}

/// What went wrong if that scope does not drop it.
const STRAY: &str = "a `finally` or `bracket` was polled again after the scope that it was cancelled \
    with had ended, and has no value to give. Do not go on with a future after a timeout or another \
    scope around an earlier poll of it was cut";
