//! What running code can ask about the scopes it is under.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    clock,
    frame::{self, Anchor, Role},
};

/// Tells whether the running code has been cancelled.
///
/// That is the case if a scope or group that it is under was cancelled, or is past its deadline, out
/// to the nearest [`shield`](crate::shield()): in a shield, only the scopes inside it count. Outside
/// of any scope it is never the case.
///
/// For long computations, which have no wait at which they could be cancelled, and for
/// [calls that block](crate::unblock()): ask from time to time and return early. Code that waits need not ask.
///
/// # Examples
///
/// ```
/// use headcount::{CancelScope, is_cancelled, run, shield};
///
/// let scope = CancelScope::new();
/// let handle = scope.handle();
/// run(scope.run(async {
///     assert!(!is_cancelled());
///     handle.cancel();
///     assert!(is_cancelled());
///     shield(async { assert!(!is_cancelled()) }).await;
/// }))
/// .unwrap();
/// ```
#[must_use]
pub fn is_cancelled() -> bool {
    frame::is_cancelled()
}

/// Returns the earliest deadline that the running code is under, out to the nearest shield.
///
/// A task has those of its group, not those of the place that spawned it. `None` means that there is
/// no deadline.
///
/// # Examples
///
/// ```
/// use headcount::{deadline, now, run, timeout};
/// use std::time::Duration;
///
/// run(async {
///     assert_eq!(deadline(), None);
///     timeout(Duration::from_secs(5), async {
///         assert!(deadline().unwrap() > now());
///     })
///     .await
///     .unwrap();
/// });
/// ```
#[must_use]
pub fn deadline() -> Option<Instant> {
    frame::deadline()
}

/// Returns how long it is to the [`deadline`]: zero if it has passed, `None` if there is none.
///
/// For handing the time limit on to somebody who does not know about scopes: a request's timeout
/// header, a database's statement timeout.
///
/// # Examples
///
/// ```
/// use headcount::{run, time_left, timeout};
/// use std::time::Duration;
///
/// run(timeout(Duration::from_secs(5), async {
///     assert!(time_left().unwrap() <= Duration::from_secs(5));
/// }))
/// .unwrap();
/// ```
#[must_use]
pub fn time_left() -> Option<Duration> {
    deadline().map(|deadline| deadline.saturating_duration_since(clock::now()))
}

/// Waits until the running code is cancelled; outside of any scope, for ever.
///
/// Code that is cancelled is dropped where it waits, so what comes *after* this wait runs only if
/// something else keeps the scope alive: a shield beside it that wants to hear that it should hurry.
///
/// # Cancel safety
///
/// Dropping the future has no effect.
///
/// # Examples
///
/// ```
/// use headcount::{CancelScope, cancelled, run, shield, sleep};
/// use std::{cell::Cell, time::Duration};
///
/// let scope = CancelScope::new();
/// let handle = scope.handle();
/// let hurry = Cell::new(false);
///
/// let outcome = run(scope.run(async {
///     let work = shield(async {
///         handle.cancel();
///         while !hurry.get() {
///             sleep(Duration::from_millis(1)).await;
///         }
///     });
///     let bell = async {
///         cancelled().await;
///         hurry.set(true);
///     };
///     futures_lite::future::zip(work, bell).await;
/// }));
/// assert!(outcome.is_ok() && hurry.get());
/// ```
pub fn cancelled() -> Cancellation {
    Cancellation {
        anchor: Anchor::new(Role::Scope),
    }
}

/// The future returned by [`cancelled`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Cancellation {
    /// A place in the tree, to be woken at.
    anchor: Anchor,
}

impl Future for Cancellation {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.anchor.settle();
        self.anchor.watch(cx.waker());
        if frame::due() {
            self.anchor.leave();
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation").finish_non_exhaustive()
    }
}

/// Lets other tasks run, and takes the chance to be cancelled.
///
/// A long loop that never waits starves its neighbours on the thread and cannot be cancelled. A
/// checkpoint in the loop cures both: it gives every other task that is ready a turn, and if the
/// running code was cancelled, or is past its deadline, it does not come back.
///
/// # Cancel safety
///
/// Dropping the future has no effect.
///
/// # Examples
///
/// ```
/// use headcount::{checkpoint, run, timeout};
/// use std::time::Duration;
///
/// let late = run(timeout(Duration::from_millis(1), async {
///     loop {
///         checkpoint().await;
///     }
/// }));
/// assert!(late.is_err());
/// ```
pub fn checkpoint() -> Checkpoint {
    Checkpoint { yielded: false }
}

/// The future returned by [`checkpoint`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Checkpoint {
    yielded: bool,
}

impl Future for Checkpoint {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if frame::due() {
            // The frame that is due sees to it when this poll has returned.
            return Poll::Pending;
        }
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
