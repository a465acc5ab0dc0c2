//! The clock that all of this crate's time goes through, and the one kind of timer on it.

mod driver;
mod queue;

use std::{
    ptr,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use self::driver::Key;
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
/// It is set when it is first waited for. In a test run it is a virtual one.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    set: Option<Set>,
    /// The timer in a test run.
    virtual_timer: Option<TimerKey>,
}

/// An alarm that was set.
#[derive(Debug)]
struct Set {
    time: Instant,
    waker: Identity,
    key: Key,
}

/// Which waker is to be woken.
///
/// While the waker itself is kept, no other one can have the same two addresses.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    data: usize,
    vtable: usize,
}

impl Alarm {
    /// Completes once `time` has come; until then the task is woken then, or a little later.
    ///
    /// The time may differ from that of the last poll.
    pub(crate) fn poll(&mut self, time: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_at(now(), time, cx)
    }

    /// Does the same as [`poll`](Self::poll), for those who know what time it is.
    pub(crate) fn poll_at(
        &mut self,
        now: Instant,
        time: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if now >= time {
            self.disarm();
            return Poll::Ready(());
        }
        if let Some(sim) = sim::current() {
            sim.set_timer(&mut self.virtual_timer, time, cx.waker());
            return Poll::Pending;
        }
        let waker = Identity::of(cx.waker());
        if let Some(set) = self.set.as_mut().filter(|set| set.time == time) {
            // If the alarm has come meanwhile, it has woken this waker, and the task is polled again.
            // If it had come before, so would the time have.
            if set.waker == waker {
                return Poll::Pending;
            }
            if driver::exchange(set.key, cx.waker().clone()) {
                set.waker = waker;
                return Poll::Pending;
            }
        }
        self.disarm();
        let key = driver::set(now, time, cx.waker().clone());
        self.set = Some(Set { time, waker, key });
        Poll::Pending
    }

    /// Gives the timer back: nothing will be woken any more.
    #[inline]
    pub(crate) fn disarm(&mut self) {
        // Mostly it was never set.
        if self.set.is_some() {
            self.cancel();
        }
        self.virtual_timer = None;
    }

    fn cancel(&mut self) {
        if let Some(set) = self.set.take() {
            driver::cancel(set.key);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl Identity {
    fn of(waker: &Waker) -> Self {
        Self {
            data: waker.data() as usize,
            vtable: ptr::from_ref(waker.vtable()) as usize,
        }
    }
}
