//! Children: how they come in, get their turn, and are counted off.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, atomic::Ordering},
};

use super::{Call, Hub, Owner, Then};
use crate::{
    frame,
    group::{child::Runnable, limit::Queued},
};

impl Hub {
    /// Counts a new child, unless the group has returned.
    pub(in crate::group) fn admit(self: &Arc<Self>) -> bool {
        self.find_place();
        let mut state = self.state.lock();
        let open = !state.closed;
        state.live += usize::from(open);
        open
    }

    /// Makes a child and takes it over, unless the group has returned.
    ///
    /// The child is made under the lock, allocation and all: that is cheaper than to lock twice, and
    /// nothing of the user's runs.
    pub(in crate::group) fn enter_new<H>(
        self: &Arc<Self>,
        make: impl FnOnce() -> (Runnable, H),
    ) -> Option<H> {
        self.find_place();
        let runners = self.runners();
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.live += 1;
        let (runnable, handle) = make();
        let call = match state.limit.enter(Queued::Parallel(runnable)) {
            Some(Queued::Parallel(runnable)) => state.push(runnable, runners),
            _ => Call::default(),
        };
        drop(state);
        self.call(call);
        Some(handle)
    }

    /// Takes an admitted child over.
    pub(in crate::group) fn enter(self: &Arc<Self>, child: Queued) {
        let runners = self.runners();
        self.change(|state| match state.limit.enter(child) {
            Some(child) => ((), state.start(child, runners)),
            None => ((), Then::default()),
        });
    }

    /// Starts children that were cancelled while they waited for a place. Returns whether there may
    /// be more: only some at a time, since those that run meanwhile need the lock.
    pub(super) fn start_some_out_of_turn(self: &Arc<Self>) -> bool {
        const SOME: usize = 256;

        let runners = self.runners();
        self.change(|state| {
            let mut then = Then::default();
            for _ in 0..SOME {
                let Some(child) = state.limit.flush() else {
                    return (false, then);
                };
                then = then.and(state.start(child, runners));
            }
            (true, then)
        })
    }

    /// Takes an admitted borrowing child over.
    pub(in crate::group) fn enter_local(&self, slot: usize, id: u64) {
        let owner = {
            let mut state = self.state.lock();
            match state.limit.enter(Queued::Local(slot, id)) {
                Some(_) => {
                    state.woken.push_back((slot, id));
                    state.waker.take()
                }
                None => None,
            }
        };
        frame::wake(owner);
    }

    /// Counts a child off that was admitted and did not enter.
    pub(in crate::group) fn turn_away(self: &Arc<Self>) {
        self.change(|state| ((), state.count_off()));
    }

    /// Chooses the slot for a borrowing child.
    pub(in crate::group) fn take_slot(self: &Arc<Self>) -> usize {
        // Relaxed: whoever runs the child takes the lock, after its slot was put among the woken.
        self.any_local.store(true, Ordering::Relaxed);
        self.change(|state| {
            let slot = state.free_slots.pop().unwrap_or_else(|| {
                state.slots += 1;
                state.slots - 1
            });
            let then = if state.locals_lost {
                state.count_off()
            } else {
                Then::default()
            };
            (slot, then)
        })
    }

    /// Counts a borrowing child off that has a slot and did not enter.
    pub(in crate::group) fn turn_away_local(self: &Arc<Self>) {
        self.change(|state| {
            let then = if state.locals_lost {
                Then::default()
            } else {
                state.count_off()
            };
            ((), then)
        });
    }

    /// Stops counting the borrowing children: nobody can reach them.
    pub(super) fn lose_locals(&self) {
        let mut state = self.state.lock();
        if state.owner != Owner::Gone && !state.locals_lost {
            state.locals_lost = true;
            state.live -= state.slots - state.free_slots.len();
        }
    }

    /// A child that was woken goes into the queue.
    pub(in crate::group) fn push(self: &Arc<Self>, runnable: Runnable) {
        let runners = self.runners();
        let call = self.state.lock().push(runnable, runners);
        self.call(call);
    }

    /// A borrowing child was woken.
    pub(in crate::group) fn wake_local(self: &Arc<Self>, slot: usize, id: u64) {
        let owner = {
            let mut state = self.state.lock();
            state.woken.push_back((slot, id));
            state.waker.take()
        };
        frame::wake(owner);
    }

    /// Counts a child off that has left, and takes the next one from the queue if there is time.
    /// Returns also how many more are ready.
    pub(in crate::group) fn next_child(
        self: &Arc<Self>,
        gone: bool,
        more: bool,
    ) -> Option<(Runnable, usize)> {
        let mut state = self.state.lock();
        state.taken = state.taken.wrapping_add(1);
        let then = if !gone || state.leave_unnoticed() {
            None
        } else {
            Some(state.leave(None, self.runners()))
        };
        let next = if more { state.queue.pop_front() } else { None };
        let next = next.map(|next| (next, state.queue.len()));
        drop(state);
        if let Some(then) = then {
            self.follow_up(then);
        }
        next
    }

    /// Takes the borrowing children that are ready, so many at most.
    pub(in crate::group) fn take_woken(&self, ready: &mut VecDeque<(usize, u64)>, most: usize) {
        let mut state = self.state.lock();
        if ready.is_empty() && state.woken.len() <= most {
            mem::swap(&mut state.woken, ready);
        } else {
            let most = most.min(state.woken.len());
            ready.extend(state.woken.drain(..most));
        }
    }

    /// Counts a borrowing child off that has left its slot.
    pub(in crate::group) fn leave_slot(self: &Arc<Self>, slot: usize) {
        let mut state = self.state.lock();
        if state.leave_unnoticed() {
            state.free_slots.push(slot);
            return;
        }
        let then = state.leave(Some(slot), self.runners());
        drop(state);
        self.follow_up(then);
    }

    /// The number of members that are not gone.
    pub(in crate::group) fn len(&self) -> usize {
        self.state.lock().live
    }

    pub(super) fn mark_closed(&self) {
        // Release: pairs with the Acquire in `is_closed`.
        self.closed.store(true, Ordering::Release);
    }

    pub(in crate::group) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Forgets a borrowing child that was dropped where it waited.
    pub(in crate::group) fn evict(&self, id: u64) {
        let waker = self.sleepers.lock().evict(id);
        drop(waker);
    }

    /// Cancels a child through its handle.
    pub(in crate::group) fn cancel_task(self: &Arc<Self>, id: u64, is_finished: impl Fn() -> bool) {
        let runners = self.runners();
        self.any_marked.store(true, Ordering::Release);
        let waker = self.sleepers.lock().mark(id);
        self.change(|state| match state.limit.flush_one(id) {
            Some(child) => ((), state.start(child, runners)),
            None => ((), Then::default()),
        });
        frame::wake(waker);
        // A child that has finished takes its mark away, unless it was just made.
        if is_finished() {
            drop(self.sleepers.lock().forget(id, None));
        }
    }
}
