//! How a lock, a waker and a queue go together without foreign code running under the lock.

use std::{
    mem,
    task::{Context, Poll, Waker},
};

use crate::{error::catch, frame, lock::Mutex};

/// Polls a state that tasks wait for: one lock if there is no need to wait, two if there is.
///
/// `attempt` completes, or [parks](super::Waiters::park) the caller. A waker is cloned only to be
/// parked, and not under the lock: an attempt that wants to park and has no clone changes nothing,
/// and is made again.
pub(crate) fn poll_locked<S, T>(
    state: &Mutex<S>,
    cx: &Context<'_>,
    mut attempt: impl FnMut(&mut S, &mut Caller<'_>, &mut Aftermath) -> Poll<T>,
) -> Poll<T> {
    let mut caller = Caller {
        waker: cx.waker(),
        clone: None,
        needs_clone: false,
        replaced: None,
    };
    let mut after = Aftermath::default();
    let polled = loop {
        let polled = attempt(&mut state.lock(), &mut caller, &mut after);
        if !mem::take(&mut caller.needs_clone) {
            break polled;
        }
        caller.clone = Some(cx.waker().clone());
    };
    after.run();
    if caller.clone.is_some() || caller.replaced.is_some() {
        discard_waker(caller.replaced);
        discard_waker(caller.clone);
    }
    polled
}

/// The task that polls.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    waker: &'a Waker,
    /// A clone, made when an attempt asked for it.
    clone: Option<Waker>,
    needs_clone: bool,
    /// What was parked before; dropped after unlocking.
    replaced: Option<Waker>,
}

impl Caller<'_> {
    /// Takes the clone of the waker, or asks for one to be made.
    pub(super) fn take_clone(&mut self) -> Option<Waker> {
        self.needs_clone = self.clone.is_none();
        self.clone.take()
    }

    /// Replaces a waker that was parked at an earlier poll, unless it wakes the same task.
    pub(super) fn renew(&mut self, parked: &mut Option<Waker>) {
        if parked
            .as_ref()
            .is_some_and(|parked| parked.will_wake(self.waker))
        {
            return;
        }
        if let Some(clone) = self.take_clone() {
            self.replaced = parked.replace(clone);
        }
    }
}

/// What is left to be done after unlocking: wakers to be woken and to be dropped.
///
/// Both are foreign code, which may panic or come back here.
#[derive(Debug, Default)]
#[must_use = "run it after unlocking, or tasks sleep on"]
pub(crate) struct Aftermath {
    /// To be woken. Most of the time there is one, and no need for the list.
    wake: Option<Waker>,
    /// More to be woken, after that one.
    wake_more: Vec<Waker>,
    /// To be dropped.
    gone: Option<Waker>,
}

impl Aftermath {
    /// Wakes a task later.
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        if self.wake.is_none() {
            self.wake = waker;
        } else {
            self.wake_more.extend(waker);
        }
    }

    /// Drops a waker later.
    pub(super) fn drop(&mut self, waker: Option<Waker>) {
        if self.gone.is_none() {
            self.gone = waker;
        } else {
            // It would not fit; a wake-up too many does no harm.
            self.wake_more.extend(waker);
        }
    }

    /// Does what is left to be done.
    #[inline]
    pub(crate) fn run(self) {
        if self.wake.is_some() || self.gone.is_some() {
            self.run_some();
        }
    }

    /// Does what is left to be done, if there is anything. Most operations concern nobody else.
    fn run_some(self) {
        frame::wake(self.wake);
        if !self.wake_more.is_empty() {
            frame::wake(self.wake_more);
        }
        discard_waker(self.gone);
    }
}

/// Drops a waker, which may be anybody's. A panic counts as one of the running task, and must not
/// take along what the running task was about to return.
fn discard_waker(waker: Option<Waker>) {
    if let Some(waker) = waker {
        if let Err(panic) = catch(|| drop(waker)) {
            frame::report_panic(panic);
        }
    }
}
