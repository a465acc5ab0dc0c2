//! Sleeping.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use crate::{
    clock::{self, Alarm},
    frame,
};

/// Waits for this long, counted from the first poll.
///
/// It never ends early; how much later it ends depends on the system, and on how busy the thread is. So that
/// a thread need not be woken for each of many, a sleep of more than 2 ms may end a thirty-second of its
/// length later, and 1 ms at most; the same holds for everything that waits for a time.
/// For something that repeats, an [`interval`](crate::interval) keeps to its schedule where a loop of
/// sleeps drifts. To limit the time of something else, use a [`timeout`](crate::timeout).
///
/// A duration that is too long to be added to the time, [`Duration::MAX`] for one, means for ever.
///
/// # Cancel safety
///
/// In a scope that has been cancelled, a sleep does not end any more. Dropping it has no effect.
///
/// # Examples
///
/// ```
/// use headcount::{run, sleep};
/// use std::time::Duration;
///
/// run(sleep(Duration::from_millis(1)));
/// ```
#[doc(alias = "delay")]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep {
        until: Until::After(duration),
        alarm: Alarm::default(),
    }
}

/// Waits until this time. A time that has passed is waited for no longer.
///
/// # Cancel safety
///
/// In a scope that has been cancelled, a sleep does not end any more. Dropping it has no effect.
///
/// # Examples
///
/// ```
/// use headcount::{now, run, sleep_until};
/// use std::time::Duration;
///
/// run(sleep_until(now() + Duration::from_millis(1)));
/// ```
pub fn sleep_until(time: Instant) -> Sleep {
    Sleep {
        until: Until::At(Some(time)),
        alarm: Alarm::default(),
    }
}

/// The future returned by [`sleep`] and [`sleep_until`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sleep {
    until: Until,
    alarm: Alarm,
}

/// What a sleep waits for.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// So long after the first poll.
    After(Duration),
    /// This time; `None` is never.
    At(Option<Instant>),
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = clock::now();
        if let Until::After(duration) = self.until {
            self.until = Until::At(now.checked_add(duration));
        }
        // What has been cancelled does not go on, even if it is still being polled because of
        // something protected beside it.
        if frame::cancelled() {
            return Poll::Pending;
        }
        if let Until::At(Some(time)) = self.until {
            ready!(self.alarm.poll_at(now, time, cx));
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
