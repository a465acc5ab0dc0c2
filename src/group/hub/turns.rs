//! The owner's turns: what it asks of the group while it is polled, and how it lets go.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    task::Waker,
    time::Instant,
};

use super::{BoxFuture, Hub, Owner, Then};
use crate::{
    error::{Cause, Panic, RawFailure, TaskInfo, catch},
    frame::{self, Home},
    group::child::Finalizing,
};

/// What the owner does next.
pub(in crate::group) enum Turn {
    /// Something is ready.
    Again,
    /// The waker will be woken.
    Wait,
    /// All members are gone.
    Joined,
    /// The group has been handed up: its owner has been left behind.
    Lost,
}

impl Hub {
    /// The owner begins a poll. False if the group has been handed up: the task that it was in has
    /// ended without it.
    pub(in crate::group) fn begin_poll(&self, drives: bool) -> bool {
        let mut state = self.state.lock();
        if state.owner == Owner::Gone {
            return false;
        }
        state.owner = if drives {
            Owner::Driving
        } else {
            Owner::Polling
        };
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        true
    }

    /// Whether the body, or the finalizer that is being run, has been woken.
    pub(in crate::group) fn take_body_woken(&self) -> bool {
        mem::take(&mut self.state.lock().body_woken)
    }

    /// Wakes the body again.
    pub(in crate::group) fn wake_body(self: &Arc<Self>) {
        self.change(|state| {
            state.body_woken = true;
            ((), state.wake_owner())
        });
    }

    /// The owner has done what it could. `body_done` says whether only its children are left.
    ///
    /// If there is nothing more to do, `waker` will be woken when there is.
    pub(in crate::group) fn end_turn(
        self: &Arc<Self>,
        body_done: bool,
        out_of_budget: bool,
        waker: &mut Option<Waker>,
    ) -> Turn {
        let runners = self.runners();
        self.change(|state| {
            if state.owner == Owner::Gone {
                return (Turn::Lost, Then::default());
            }
            if body_done && state.live == 0 {
                return (Turn::Joined, Then::default());
            }
            if body_done {
                // Nobody is there any more to be woken by it.
                state.body_woken = false;
            }
            let drives = state.owner == Owner::Driving;
            let stirred = mem::take(&mut state.stirred);
            let ready = stirred
                || state.body_woken
                || !state.woken.is_empty()
                || drives && !state.queue.is_empty();
            if ready && !out_of_budget {
                return (Turn::Again, Then::default());
            }
            state.owner = Owner::Waiting;
            mem::swap(&mut state.waker, waker);
            let then = if state.queue.is_empty() {
                Then::default()
            } else {
                state.hand_to_runners(runners).into()
            };
            let ready_later = if ready {
                state.wake_owner()
            } else {
                Then::default()
            };
            (Turn::Wait, then.and(ready_later))
        })
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

    /// Takes the finalizer that was deferred last.
    pub(in crate::group) fn take_finalizer(&self) -> Option<(TaskInfo, BoxFuture)> {
        self.state.lock().finalizers.pop()
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

    /// Closes the group if nothing has come up meanwhile.
    pub(in crate::group) fn close(&self) -> bool {
        let mut state = self.state.lock();
        if state.live > 0 || !state.finalizers.is_empty() {
            return false;
        }
        state.closed = true;
        self.mark_closed();
        let above = state.above.take();
        drop(state);
        drop(above);
        true
    }

    /// The owner is dropped and waits for nothing any more.
    ///
    /// Its waker must not be kept by those who keep the group: tasks keep the groups that they are
    /// in, and so a chain as long as groups are deep would hang on one of them.
    pub(in crate::group) fn let_go(&self) {
        let waker = self.state.lock().waker.take();
        if let Err(panic) = catch(|| drop(waker)) {
            frame::report_panic(panic);
        }
    }

    /// Takes the report.
    pub(in crate::group) fn take_failures(&self) -> Vec<RawFailure> {
        mem::take(&mut self.state.lock().failures)
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
        let failures = if self.close() {
            self.take_failures()
        } else {
            if !placed {
                self.set_place(frame::enclosing_home());
            }
            home = adopt(home);
            let runners = self.runners();
            let above = home.clone().zip(Some(self.opened_by().unwrap_or_default()));
            let (failures, before) = self.change(|state| {
                state.owner = Owner::Gone;
                let before = (mem::replace(&mut state.above, above), state.waker.take());
                let failures = mem::take(&mut state.failures);
                let mut then = state.wind_up();
                if !state.queue.is_empty() {
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

/// Finds the nearest group that takes another one in.
fn adopt(home: Option<Arc<dyn Home>>) -> Option<Arc<dyn Home>> {
    let mut next = home;
    while let Some(home) = next {
        if home.adopt() {
            return Some(home);
        }
        next = home.home_above();
    }
    None
}
