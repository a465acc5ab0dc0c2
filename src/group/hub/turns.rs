//! The owner's turns: what it asks of the group while it is polled, and how it lets go.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    task::Waker,
    time::Instant,
};

use super::{BoxFuture, Hub, Owner, State, Then};
use crate::{
    error::{Cause, Panic, RawFailure, TaskInfo},
    frame::{self, Home, Ward},
    group::child::Finalizing,
    lock::MutexGuard,
};

/// What the owner does next.
pub(in crate::group) enum Turn {
    /// Something is ready. Says whether parallel children are.
    Again { children: bool },
    /// The waker will be woken.
    Wait,
    /// All members are gone, and this finalizer was deferred last.
    Finalize(TaskInfo, BoxFuture),
    /// All members are gone and all finalizers done: the group is closed, and this is its report.
    Closed(Vec<RawFailure>),
    /// The group has been handed up: its owner has been left behind.
    Lost,
}

impl Hub {
    /// The owner begins a poll. Returns whether the body, or the finalizer that is being run, has been
    /// woken; `None` if the group has been handed up: the task that it was in has ended without it.
    pub(in crate::group) fn begin_poll(&self, drives: bool) -> Option<bool> {
        let mut state = self.state.lock();
        if state.owner == Owner::Gone {
            return None;
        }
        state.owner = if drives {
            Owner::Driving
        } else {
            Owner::Polling
        };
        let body_woken = mem::take(&mut state.body_woken);
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        Some(body_woken)
    }

    /// Wakes the body again.
    pub(in crate::group) fn wake_body(self: &Arc<Self>) {
        self.change(|state| {
            state.body_woken = true;
            ((), state.wake_owner())
        });
    }

    /// The owner has done what it could. `body_done` says whether only its children are left, and
    /// `body_woken` whether the body has not had its turn yet; it is set if the body is to have one.
    ///
    /// If there is nothing more to do, `waker` will be woken when there is.
    pub(in crate::group) fn end_turn(
        self: &Arc<Self>,
        body_done: bool,
        out_of_budget: bool,
        body_woken: &mut bool,
        waker: &mut Option<Waker>,
    ) -> Turn {
        let mut state = self.state.lock();
        if state.owner == Owner::Gone {
            return Turn::Lost;
        }
        if body_done && state.live == 0 {
            return match state.finalizers.pop() {
                Some((task, finalizer)) => Turn::Finalize(task, finalizer),
                None => Turn::Closed(self.close(state)),
            };
        }
        // Once the body is done nobody is there any more to be woken by it.
        state.body_woken = !body_done && (state.body_woken || *body_woken);
        let runs_children = state.owner == Owner::Driving
            && !state.ready.is_empty()
            && !state.is_seen_to(self.runners());
        let stirred = mem::take(&mut state.stirred);
        let ready = stirred || state.body_woken || !state.woken.is_empty() || runs_children;
        *body_woken = false;
        if ready && !out_of_budget {
            *body_woken = mem::take(&mut state.body_woken);
            return Turn::Again {
                children: runs_children,
            };
        }
        state.owner = Owner::Waiting;
        mem::swap(&mut state.waker, waker);
        let mut then = Then::default();
        if !state.ready.is_empty() {
            then = state.hand_to_runners(self.runners()).into();
        }
        if ready {
            then = then.and(state.wake_owner());
        }
        drop(state);
        self.follow_up(then);
        Turn::Wait
    }

    /// The owner has nothing more to do, and waits for a scope further out to drop it.
    pub(in crate::group) fn wait_to_be_dropped(&self, waker: Waker) {
        let before = {
            let mut state = self.state.lock();
            state.owner = Owner::Waiting;
            state.waker.replace(waker)
        };
        drop(before);
    }

    /// Why the group was cancelled, unless it was only because a member failed.
    pub(in crate::group) fn cancelled_by(&self) -> Option<Cause> {
        if !self.node.is_cancelled() {
            return None;
        }
        match self.node.cause() {
            Some(Cause::Failure) => None,
            Some(cause) => Some(cause),
            None => self.node.is_enclosed().then_some(Cause::Enclosing),
        }
    }

    /// Whether a child was cut short by a cancellation from further out.
    pub(in crate::group) fn was_cut(&self) -> bool {
        self.any_cut.load(Ordering::Acquire)
    }

    pub(in crate::group) fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    pub(in crate::group) fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }

    /// Keeps a finalizer that was begun and not finished.
    pub(in crate::group) fn put_back(&self, finalizing: Finalizing) {
        let (task, finalizer) = finalizing.into_parts();
        if let Some(finalizer) = finalizer {
            self.state.lock().finalizers.push((task, finalizer));
        }
    }

    /// Whether there was ever a borrowing child.
    pub(in crate::group) fn any_local(&self) -> bool {
        self.any_local.load(Ordering::Relaxed)
    }

    /// How many borrowing children are ready.
    pub(in crate::group) fn locals_ready(&self) -> usize {
        self.state.lock().woken.len()
    }

    /// Keeps a finalizer for the end. False if the group has returned.
    pub(in crate::group) fn defer(
        &self,
        task: TaskInfo,
        finalizer: BoxFuture,
    ) -> Result<(), BoxFuture> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(finalizer);
        }
        state.finalizers.push((task, finalizer));
        Ok(())
    }

    /// Closes the group, of which nothing is left. Returns its report.
    fn close(&self, mut state: MutexGuard<'_, State>) -> Vec<RawFailure> {
        state.closed = true;
        self.mark_closed();
        let above = state.above.take();
        let failures = mem::take(&mut state.failures);
        drop(state);
        drop(above);
        failures
    }

    /// Closes the group if nothing is left of it. Returns its report.
    fn try_close(&self) -> Option<Vec<RawFailure>> {
        let state = self.state.lock();
        let is_over = state.live == 0 && state.finalizers.is_empty();
        is_over.then(|| self.close(state))
    }

    /// The owner is dropped and waits for nothing any more.
    ///
    /// Its waker must not be kept by those who keep the group: tasks keep the groups that they are
    /// in, and so a chain as long as groups are deep would hang on one of them.
    pub(in crate::group) fn let_go(&self) {
        let waker = self.state.lock().waker.take();
        frame::dispose(waker);
    }

    /// Records a panic of a member.
    pub(in crate::group) fn report_panic(self: &Arc<Self>, task: TaskInfo, panic: Panic) {
        frame::report(self.as_home(), RawFailure::panic(task, panic));
    }

    /// Cancels the group and everything in it.
    pub(in crate::group) fn cancel(self: &Arc<Self>, cause: Cause) {
        // What fails while the group is being cancelled from further out is not why it was.
        let cause = match cause {
            Cause::Failure if self.node.is_enclosed() => Cause::Enclosing,
            cause => cause,
        };
        self.as_node().cancel(cause);
    }

    /// Hands the group up: its owner is gone. What it still has to report goes to the group further
    /// out, which does not end before this one has.
    ///
    /// Returns what nobody is there to be told of.
    pub(in crate::group) fn hand_up(self: &Arc<Self>) -> Vec<RawFailure> {
        if self.state.lock().owner == Owner::Gone {
            // It was left behind before, and is dropped only now.
            return Vec::new();
        }
        let placed = self.is_placed();
        let mut home = if placed {
            self.home_above()
        } else {
            frame::enclosing_home().map(|(home, _)| home)
        };
        let failures = if let Some(failures) = self.try_close() {
            failures
        } else {
            if !placed {
                self.set_place(frame::enclosing_home());
            }
            home = frame::adopt(home, Ward::Group);
            let runners = self.runners();
            let above = home.clone().zip(Some(self.opened_by().unwrap_or_default()));
            let (failures, before) = self.change(|state| {
                state.owner = Owner::Gone;
                let before = (mem::replace(&mut state.above, above), state.waker.take());
                let failures = mem::take(&mut state.failures);
                let mut then = state.wind_up();
                if !state.ready.is_empty() {
                    then = then.and(state.hand_to_runners(runners).into());
                }
                ((failures, before), then)
            });
            drop(before);
            failures
        };
        let Some(home) = home else { return failures };
        for failure in failures {
            frame::report(Arc::clone(&home), failure);
        }
        Vec::new()
    }
}
