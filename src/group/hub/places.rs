//! The group's places: in the tree of frames, among the groups, and as the waker of its body.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Wake, Waker},
};

use super::{Hub, Owner};
use crate::{
    error::{Cause, RawFailure},
    frame::{self, Bed, Home, Node, NodeState, Notice, Refused, Ward},
    group::policy::Policy,
};

impl Node for Hub {
    fn state(&self) -> &NodeState {
        &self.node
    }

    fn stir(self: Arc<Self>) {
        let cancelled = self.node.is_cancelled();
        self.change(|state| {
            state.stirred = true;
            state.locals_stirred = true;
            ((), state.wake_owner())
        });
        if cancelled {
            while self.start_some_out_of_turn() {}
            let roused = self.sleepers.lock().rouse();
            frame::wake(roused.into_wakers());
        } else {
            // A deadline was moved.
            let wakers = self.sleepers.lock().wakers();
            frame::wake(wakers);
        }
    }

    fn left_behind(self: Arc<Self>) {
        self.cancel(Cause::Dropped);
        self.let_go();
        self.lose_locals();
        for failure in self.hand_up() {
            failure.unclaimed();
        }
    }
}

impl Hub {
    /// Out of line, so that those who ask while no task is marked do not pay for the lock.
    #[cold]
    fn is_among_marked(&self, id: u64) -> bool {
        self.sleepers.lock().is_marked(id)
    }
}

impl Home for Hub {
    fn take_in(self: Arc<Self>, failure: RawFailure) -> Option<Refused> {
        {
            let mut state = self.state.lock();
            if state.closed || state.owner == Owner::Gone || !failure.fits(self.error_type) {
                let above = state.above.as_ref().map(|(home, _)| Arc::clone(home));
                return Some((failure, above));
            }
            state.failures.push(failure.fitted(self.error_type));
        }
        if self.policy == Policy::FailFast {
            self.cancel(Cause::Failure);
        }
        None
    }

    fn adopt(&self, ward: Ward) -> bool {
        let mut state = self.state.lock();
        let open = !state.closed;
        state.live += usize::from(open);
        state.calls += usize::from(open && ward == Ward::Call);
        open
    }

    fn release(self: Arc<Self>, ward: Ward) -> Option<Arc<dyn Home>> {
        let mut then = {
            let mut state = self.state.lock();
            state.calls -= usize::from(ward == Ward::Call);
            state.count_off()
        };
        let next = then.release.take();
        self.follow_up(then);
        next
    }

    fn home_above(&self) -> Option<Arc<dyn Home>> {
        let state = self.state.lock();
        state.above.as_ref().map(|(home, _)| Arc::clone(home))
    }

    fn opened_by(&self) -> Option<u64> {
        self.state.lock().above.as_ref().map(|(_, id)| *id)
    }

    fn depth(&self) -> usize {
        if self.is_placed() {
            self.depth.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    fn sleep(&self, id: u64, waker: Waker) -> Bed {
        self.sleepers.lock().lie_down(id, waker)
    }

    fn forget(&self, id: u64, bed: Option<Bed>) -> Option<Waker> {
        let bed = bed.filter(|bed| *bed != Bed::AT_OWNER);
        if bed.is_none() && !self.any_marked.load(Ordering::Acquire) {
            return None;
        }
        self.sleepers.lock().forget(id, bed)
    }

    fn notice(&self, id: u64) -> Notice {
        Notice {
            marked: self.is_marked(id),
            cancelled: self.node.is_cancelled(),
        }
    }

    fn note_cut(&self, id: u64) {
        if self.node.is_enclosed() && !self.is_marked(id) {
            // Release: pairs with the Acquire in `was_cut`.
            self.any_cut.store(true, Ordering::Release);
        }
    }

    #[inline]
    fn is_marked(&self, id: u64) -> bool {
        // Acquire: pairs with the Release in `cancel_task`.
        self.any_marked.load(Ordering::Acquire) && self.is_among_marked(id)
    }

    fn has_cancelled(&self, id: u64) -> bool {
        self.node.is_cancelled() || self.is_marked(id)
    }

    fn node(self: Arc<Self>) -> Arc<dyn Node> {
        self
    }
}

/// Wakes the body of the group, or the finalizer that is being run.
///
/// The body is polled with this waker instead of that of the owner's task, so that the owner knows
/// whom a wake-up is for, and needs none while it is at it.
impl Wake for Hub {
    fn wake(self: Arc<Self>) {
        self.wake_body();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_body();
    }
}
