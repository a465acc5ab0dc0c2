//! How a lock, a waker and a queue go together without foreign code running under the lock.

use std::{
    mem,
    task::{Context, Poll, Waker},
};

use crate::{
    frame,
    lock::{Mutex, MutexGuard},
};

/// Polls a state that tasks wait for: one lock, or two if the task has to wait and has a foreign
/// waker.
///
/// `attempt` completes, or [parks](super::Waiters::park) the caller. A waker is cloned only to be
/// parked, and if it is not one of ours, not under the lock: an attempt that wants to park and has
/// no clone changes nothing, and is made again.
pub(crate) fn poll_locked<S, T>(
    state: &Mutex<S>,
    cx: &Context<'_>,
    attempt: impl FnMut(&mut S, &mut Caller<'_>, &mut Aftermath) -> Poll<T>,
) -> Poll<T> {
    poll_from(state, state.lock(), cx, attempt)
}

/// As [`poll_locked`], for one who has locked the state already.
pub(crate) fn poll_from<S, T>(
    state: &Mutex<S>,
    locked: MutexGuard<'_, S>,
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
    let mut locked = locked;
    let polled = loop {
        let polled = attempt(&mut locked, &mut caller, &mut after);
        drop(locked);
        if !mem::take(&mut caller.needs_clone) {
            break polled;
        }
        caller.clone = Some(cx.waker().clone());
        locked = state.lock();
    };
    after.run();
    let Caller {
        clone, replaced, ..
    } = caller;
    if let Some(waker) = replaced {
        frame::dispose(waker);
    }
    if let Some(waker) = clone {
        frame::dispose(waker);
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
        let clone = self.clone.take();
        if clone.is_none() {
            // The wakers of this crate can be cloned anywhere: that counts one up, and no more.
            if frame::trusts(self.waker) {
                return Some(self.waker.clone());
            }
            self.needs_clone = true;
        }
        clone
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
    /// To be woken. Most of the time there is one at most, and no need for the list.
    wake: Option<Waker>,
    /// More to be woken, after that one.
    wake_more: Vec<Waker>,
    /// To be dropped.
    gone: Option<Waker>,
}

impl Aftermath {
    /// Wakes a task later.
    #[inline]
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
            // It does not fit; a wake-up too many does no harm.
            self.wake(waker);
        }
    }

    /// Does what is left to be done.
    #[inline]
    pub(crate) fn run(self) {
        if self.wake.is_some() {
            frame::wake(self.wake);
        }
        if !self.wake_more.is_empty() {
            frame::wake(self.wake_more);
        }
        if let Some(waker) = self.gone {
            frame::dispose(waker);
        }
    }
}
