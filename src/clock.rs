//! The clock that all of this crate's time goes through, and the one kind of timer on it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_io::Timer;

/// Returns the current time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the real time, for measuring how busy a thread is. Never for anything a user can see.
pub(crate) fn real_time() -> Instant {
    Instant::now()
}

/// Returns the time `duration` from now, or `None` if that is too far away to be told.
pub(crate) fn after(duration: Duration) -> Option<Instant> {
    now().checked_add(duration)
}

/// Wakes its task at a given time.
///
/// The timer behind it is made when it is first waited for, and kept for the next wait.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// The timer, and what it is set to.
    timer: Option<(Instant, Timer)>,
}

impl Alarm {
    /// Completes once `time` has come; until then the task is woken at `time`.
    ///
    /// The time may differ from that of the last poll.
    pub(crate) fn poll(&mut self, time: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let (set_to, timer) = self.timer.get_or_insert_with(|| (time, Timer::at(time)));
        if *set_to != time {
            *set_to = time;
            timer.set_at(time);
        }
        match Pin::new(timer).poll(cx) {
            Poll::Ready(_) => {
                self.timer = None;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Gives the timer back: nothing will be woken any more.
    pub(crate) fn disarm(&mut self) {
        self.timer = None;
    }
}
