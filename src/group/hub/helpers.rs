//! Helpers: who runs children besides the owner.

use std::{mem, sync::Arc};

use super::{BoxFuture, Call, Hub, Owner, State, Then};
use crate::{error::TaskInfo, pool::Watched};

/// What a helper does next.
pub(in crate::group) enum Errand {
    /// There is more to run.
    Run,
    /// The owner is gone, all tasks are: a deferred finalizer is to be run.
    Finalize(TaskInfo, BoxFuture),
    /// Nothing: the helper was counted off.
    None,
}

impl Hub {
    /// How many children have come in, and how many have been taken from the queue: in all.
    pub(in crate::group) fn activity(&self) -> usize {
        self.state.lock().activity()
    }

    /// What a helper does next, when it has nothing to run or has run enough.
    ///
    /// `ran` says how many children it has run that were too short to be shared. It leaves the others
    /// to the owner then, if that is at it, running or spawning: of the activity since `before`, a third
    /// at least was somebody else's. If the owner gets stuck, the monitor calls again.
    pub(in crate::group) fn next_errand(
        self: &Arc<Self>,
        before: &mut usize,
        ran: Option<usize>,
    ) -> Errand {
        self.change(|state| {
            let now = state.activity();
            let together = now.wrapping_sub(mem::replace(before, now));
            let is_in_the_way = ran.is_some_and(|ran| 2 * together > 3 * (ran + 1));
            let is_left = is_in_the_way && state.owner == Owner::Driving;
            if !state.queue.is_empty() && !is_left {
                return (Errand::Run, Then::default());
            }
            if state.owner == Owner::Gone && state.live == 0 {
                if let Some((task, finalizer)) = state.finalizers.pop() {
                    // It counts as a member while it runs.
                    state.live += 1;
                    return (Errand::Finalize(task, finalizer), Then::default());
                }
            }
            state.helpers -= 1;
            (Errand::None, Then::default())
        })
    }

    /// Calls one more helper if there is work for it and a processor that is likely to be free: the
    /// owner has one, too, while it is at it.
    pub(in crate::group) fn share_work(self: &Arc<Self>) {
        let runners = |state: &State| state.helpers + usize::from(state.owner == Owner::Driving);
        self.call_help(|state, threads| runners(state) < threads.max(2));
    }

    /// Calls one more helper if something is ready and there is a thread for it.
    fn call_help(self: &Arc<Self>, is_room: impl FnOnce(&State, usize) -> bool) {
        self.change(|state| {
            let threads = state.pool.as_ref().map(|pool| pool.threads());
            let is_room = threads.is_some_and(|threads| is_room(state, threads));
            let helpers = usize::from(!state.queue.is_empty() && is_room);
            state.helpers += helpers;
            let call = Call {
                helpers,
                rouse: false,
            };
            ((), call.into())
        });
    }

    /// Has the owner help if all helpers there can be are stuck, perhaps in a child that blocks its
    /// thread until another one has run.
    fn call_owner(self: &Arc<Self>) {
        self.change(|state| {
            let threads = state.pool.as_ref().map(|pool| pool.threads());
            let are_stuck = threads.is_some_and(|threads| state.helpers >= threads);
            let needed = are_stuck && !state.queue.is_empty();
            let then = if needed {
                state.wake_owner()
            } else {
                Then::default()
            };
            ((), then)
        });
    }
}

impl Watched for Hub {
    fn look_after(self: Arc<Self>) -> bool {
        let (ready, stuck) = {
            let mut state = self.state.lock();
            let ready = !state.queue.is_empty();
            let stuck = ready && state.taken == state.taken_before;
            state.taken_before = state.taken;
            (ready, stuck)
        };
        if stuck {
            self.call_help(|state, threads| state.helpers < threads);
            self.call_owner();
        }
        ready
    }
}
