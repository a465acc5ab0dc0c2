//! Time limits.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use pin_project::pin_project;

use super::bounded::{Bounded, Limit};
use crate::error::TimedOut;

/// Runs a future, for as long as `limit` at most.
///
/// The time counts from the first poll. A timeout is a [scope](crate::CancelScope): when the time is
/// up, the future is dropped where it waits, after what is protected in it has ended. A whole
/// [group](crate::group()) inside is cancelled and joined before the timeout is reported. Timeouts
/// nest, and the earliest deadline counts.
///
/// So it may return later than `limit`: after a shield or a cleanup has ended, or after a poll that
/// took long. A future that never waits cannot be cut at all; see [`checkpoint`](crate::checkpoint).
///
/// A future that is done when the time is up has made it, also with [`Duration::ZERO`]: it is polled
/// at least once. [`Duration::MAX`], like anything too long to be added to the time, means never.
///
/// A timeout for each try of a loop goes inside the loop, one for all tries together outside. To
/// move the deadline while the future runs, or to cancel it for other reasons too, use a
/// [`CancelScope`](crate::CancelScope).
///
/// # Errors
///
/// Fails with [`TimedOut`] if the time was up first. It is always this very timeout: the deadline of
/// another one further out never looks like it.
///
/// # Panics
///
/// A panic of the future goes on from here.
///
/// # Cancel safety
///
/// Dropping the returned future drops the one inside at once.
///
/// # Examples
///
/// ```
/// use headcount::{run, sleep, timeout};
/// use std::time::Duration;
///
/// run(async {
///     let quick = timeout(Duration::from_secs(5), async { 7 }).await;
///     assert_eq!(quick, Ok(7));
///
///     let slow = timeout(Duration::from_millis(1), sleep(Duration::MAX)).await;
///     assert!(slow.is_err());
/// });
/// ```
pub fn timeout<F: Future>(limit: Duration, body: F) -> Timeout<F> {
    Timeout {
        bounded: Bounded::new(
            None,
            None,
            Limit {
                at: None,
                after: Some(limit),
            },
            body,
        ),
        limit: Some(limit),
    }
}

/// Runs a future, until `deadline` at the latest.
///
/// Everything that [`timeout`] says holds here, except that the time does not depend on when the
/// future is polled: one deadline can be shared by many calls.
///
/// # Errors
///
/// Fails with [`TimedOut`] if the deadline passed first.
///
/// # Panics
///
/// A panic of the future goes on from here.
///
/// # Cancel safety
///
/// Dropping the returned future drops the one inside at once.
///
/// # Examples
///
/// ```
/// use headcount::{now, run, timeout_at};
/// use std::time::Duration;
///
/// run(async {
///     let deadline = now() + Duration::from_millis(5);
///     assert_eq!(timeout_at(deadline, async { 7 }).await, Ok(7));
///     assert!(timeout_at(deadline, std::future::pending::<()>()).await.is_err());
/// });
/// ```
pub fn timeout_at<F: Future>(deadline: Instant, body: F) -> Timeout<F> {
    Timeout {
        bounded: Bounded::new(
            None,
            None,
            Limit {
                at: Some(deadline),
                after: None,
            },
            body,
        ),
        limit: None,
    }
}

/// The future returned by [`timeout`] and [`timeout_at`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Timeout<F> {
    #[pin]
    bounded: Bounded<F>,
    /// For the message.
    limit: Option<Duration>,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.bounded.poll(cx));
        Poll::Ready(outcome.map_err(|_deadline| TimedOut::new(*this.limit)))
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
