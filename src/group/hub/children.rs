//! Children: how they come in, get their turn, and are counted off.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, atomic::Ordering},
    task::Waker,
};

use super::{Call, Hub, Owner, Runners, Then};
use crate::{
    error::GroupClosed,
    frame,
    group::{child::Runnable, limit::Queued, ready::Hand},
};

/// A borrowing child that may be polled, by its slot and id. A slot is used again, and a waker may be
/// woken after its child is gone.
pub(in crate::group) type Woken = (usize, u64);

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
        state.entered = state.entered.wrapping_add(1);
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

    /// Stands for the slot of a borrowing child that has none yet.
    pub(in crate::group) const HELD: usize = usize::MAX;

    /// Whether there is a limit to how many children are alive at a time.
    pub(in crate::group) fn is_limited(&self) -> bool {
        self.limited
    }

    /// Borrowing children come in, or more of them: has the owner look. Counts them as one member,
    /// all together, if they are the first. Returns the owner's waker.
    pub(in crate::group) fn expect_locals(
        &self,
        first: bool,
    ) -> Result<Option<Waker>, GroupClosed<()>> {
        // Relaxed: whoever runs the children takes the lock, after this.
        self.any_local.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        if state.closed {
            return Err(GroupClosed(()));
        }
        if first && !state.locals_lost {
            state.locals += 1;
            state.live += 1;
        }
        state.stirred = true;
        Ok(state.waker.take())
    }

    /// The borrowing children that were expected are gone.
    pub(in crate::group) fn dismiss_locals(self: &Arc<Self>) {
        self.change(|state| {
            if state.locals_lost {
                return ((), Then::default());
            }
            state.locals -= 1;
            ((), state.count_off())
        });
    }

    /// A borrowing child has come in, and may be polled if the limit is not reached.
    pub(in crate::group) fn enter_local(self: &Arc<Self>, id: u64) {
        let runners = self.runners();
        self.change(|state| match state.limit.enter(Queued::Local(id)) {
            Some(child) => ((), state.start(child, runners)),
            None => ((), Then::default()),
        });
    }

    /// A borrowing child that has come in may be polled.
    pub(in crate::group) fn admit_local(&self, id: u64) {
        self.state.lock().woken.push_back((Self::HELD, id));
    }

    /// Takes the place of a borrowing child back that is gone, in a group with a limit.
    pub(in crate::group) fn leave_local(self: &Arc<Self>) {
        let runners = self.runners();
        self.change(|state| ((), state.pass_place_on(runners)));
    }

    /// Counts a child off that was admitted and did not enter.
    pub(in crate::group) fn turn_away(self: &Arc<Self>) {
        self.change(|state| ((), state.count_off()));
    }

    /// Stops counting the borrowing children: nobody can reach them.
    pub(super) fn lose_locals(&self) {
        let mut state = self.state.lock();
        if state.owner != Owner::Gone && !state.locals_lost {
            state.locals_lost = true;
            state.live -= state.locals;
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

    /// Counts a child off that has left, and takes the next one if there is time: with a `hand`, if it is
    /// for a helper. Returns also how many more are ready.
    pub(in crate::group) fn next_child(
        self: &Arc<Self>,
        gone: bool,
        more: bool,
        hand: Option<&mut Hand>,
    ) -> Option<(Runnable, usize)> {
        let mut state = self.state.lock();
        state.taken = state.taken.wrapping_add(1);
        let then = if !gone || state.leave_unnoticed() {
            None
        } else {
            Some(state.leave(self.runners()))
        };
        let next = match hand {
            _ if !more => None,
            None => state.ready.take(),
            Some(hand) => {
                let are_long = self.runners() == Runners::AllThreads;
                state.ready.take_with(hand, are_long)
            }
        };
        let next = next.map(|next| (next, state.ready.len()));
        drop(state);
        if let Some(then) = then {
            self.follow_up(then);
        }
        next
    }

    /// Whether all borrowing children are to be woken.
    pub(in crate::group) fn take_locals_stirred(&self) -> bool {
        mem::take(&mut self.state.lock().locals_stirred)
    }

    /// Takes the borrowing children that are ready, so many at most. Returns whether all are to be
    /// woken.
    pub(in crate::group) fn take_woken(&self, ready: &mut VecDeque<Woken>, most: usize) -> bool {
        let mut state = self.state.lock();
        if ready.is_empty() && state.woken.len() <= most {
            mem::swap(&mut state.woken, ready);
        } else {
            let most = most.min(state.woken.len());
            ready.extend(state.woken.drain(..most));
        }
        mem::take(&mut state.locals_stirred)
    }

    /// The number of members that are not gone, calls apart. The borrowing children count as one.
    pub(in crate::group) fn len(&self) -> usize {
        let state = self.state.lock();
        state.live - state.calls
    }

    /// The number of members that are not gone, calls apart, with so many borrowing children.
    pub(in crate::group) fn len_with(&self, locals: usize) -> usize {
        let state = self.state.lock();
        let locals = if state.locals_lost { 0 } else { locals };
        state.live - state.calls - state.locals + locals
    }

    pub(super) fn mark_closed(&self) {
        // Release: pairs with the Acquire in `is_closed`.
        self.closed.store(true, Ordering::Release);
    }

    pub(in crate::group) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
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
