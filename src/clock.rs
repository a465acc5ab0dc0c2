//! The clock that all of this crate's time goes through, and the one kind of timer on it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_io::Timer;

use crate::sim::{self, TimerKey};

/// Returns the current time: the virtual one in a test run.
pub(crate) fn now() -> Instant {
    sim::current().map_or_else(Instant::now, |sim| sim.now())
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
    /// The timer in a test run.
    virtual_timer: Option<TimerKey>,
}

impl Alarm {
    /// Completes once `time` has come; until then the task is woken at `time`.
    ///
    /// The time may differ from that of the last poll.
    pub(crate) fn poll(&mut self, time: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sim) = sim::current() {
            if sim.now() >= time {
                self.virtual_timer = None;
                return Poll::Ready(());
            }
            sim.set_timer(&mut self.virtual_timer, time, cx.waker());
            return Poll::Pending;
        }
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
        self.virtual_timer = None;
    }
}
