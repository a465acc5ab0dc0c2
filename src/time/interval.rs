//! Ticking.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_lite::Stream;

use super::sleep::{Sleep, sleep_until};
use crate::clock;

/// Makes a clock that ticks once per `period`.
///
/// The first tick comes one period after this call. Ticks keep to the schedule: time spent between
/// two of them does not move the next. Ticks that nobody waited for in time are left out, not made
/// up for, so that a slow consumer does not get a burst. For a pause *between* two pieces of work,
/// however long they take, [`sleep`](crate::sleep) in the loop.
///
/// A period that is too long to be added to the time, [`Duration::MAX`] for one, never ticks.
///
/// # Panics
///
/// Panics if the period is zero: nothing ticks without end.
///
/// # Examples
///
/// ```
/// use headcount::{interval, run};
/// use std::time::Duration;
///
/// run(async {
///     let mut beat = interval(Duration::from_millis(1));
///     let first = beat.tick().await;
///     let second = beat.tick().await;
///     assert!(second - first >= Duration::from_millis(1));
/// });
/// ```
#[track_caller]
#[must_use = "a clock does nothing until a tick is awaited"]
pub fn interval(period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "an interval of zero would tick without end; give it a period, or use `checkpoint` to let \
         others run"
    );
    Interval {
        period,
        next: clock::after(period),
        sleep: None,
    }
}

/// A clock that ticks, made by [`interval`].
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    /// When the next tick is due; `None` is never.
    next: Option<Instant>,
    /// Until that tick, while it is waited for as an item of a stream.
    sleep: Option<Sleep>,
}

impl Interval {
    /// Waits for the next tick. Returns the time it was due.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no tick: the next call waits for the same one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{interval, now, run};
    /// use std::time::Duration;
    ///
    /// run(async {
    ///     let due = interval(Duration::from_millis(1)).tick().await;
    ///     assert!(due <= now());
    /// });
    /// ```
    pub fn tick(&mut self) -> Tick<'_> {
        self.sleep = None;
        let sleep = self.next.map(sleep_until);
        Tick {
            interval: self,
            sleep,
        }
    }

    /// Returns the time between two ticks.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::interval;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// assert_eq!(interval(second).period(), second);
    /// ```
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Goes on to the first tick after `due` that has not passed.
    fn advance(&mut self, due: Instant) {
        let late = clock::now().saturating_duration_since(due).as_nanos();
        let period = self.period.as_nanos();
        let step = (late / period + 1).saturating_mul(period);
        let step = u64::try_from(step).ok().map(Duration::from_nanos);
        // A period of centuries is not late, and goes on in steps of itself.
        self.next = due.checked_add(step.unwrap_or(self.period));
    }
}

/// The ticks as a stream without end. Each item is the time that the tick was due.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
/// use headcount::{interval, run};
/// use std::time::Duration;
///
/// let ticks = interval(Duration::from_millis(1)).take(3);
/// assert_eq!(run(ticks.count()), 3);
/// ```
impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        let this = &mut *self;
        let Some(due) = this.next else {
            return Poll::Pending;
        };
        let sleep = this.sleep.get_or_insert_with(|| sleep_until(due));
        ready!(Pin::new(sleep).poll(cx));
        this.sleep = None;
        this.advance(due);
        Poll::Ready(Some(due))
    }
}

/// The future returned by [`Interval::tick`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Tick<'a> {
    interval: &'a mut Interval,
    /// Until the tick is due; `None` is for ever.
    sleep: Option<Sleep>,
}

impl Future for Tick<'_> {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let this = &mut *self;
        let (Some(sleep), Some(due)) = (&mut this.sleep, this.interval.next) else {
            return Poll::Pending;
        };
        ready!(Pin::new(sleep).poll(cx));
        this.interval.advance(due);
        Poll::Ready(due)
    }
}
