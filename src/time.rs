//! Time: sleeping, ticking, the clock.

mod interval;
mod sleep;

use std::time::Instant;

pub use self::{
    interval::{Interval, Tick, interval},
    sleep::{Sleep, sleep, sleep_until},
};
use crate::clock;

/// Returns the current time, by the clock that all of this crate's time goes through.
///
/// The same as [`Instant::now`], except where time is not real: in tests.
///
/// # Examples
///
/// ```
/// use headcount::{now, run, sleep};
/// use std::time::Duration;
///
/// run(async {
///     let start = now();
///     sleep(Duration::from_millis(2)).await;
///     assert!(now() - start >= Duration::from_millis(2));
/// });
/// ```
#[must_use]
pub fn now() -> Instant {
    clock::now()
}
