//! Helpers: who runs children besides the owner.

use std::sync::Arc;

use super::{BoxFuture, Call, Hub, Owner, Then};
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
    /// What a helper does next, when it has nothing to run or has run enough.
    pub(in crate::group) fn next_errand(self: &Arc<Self>) -> Errand {
        self.change(|state| {
            if !state.queue.is_empty() {
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

    /// Calls one more helper if there is room for one more and somebody to run it.
    pub(in crate::group) fn call_help(self: &Arc<Self>) {
        let Some(threads) = self.pool().map(|pool| pool.threads()) else {
            return;
        };
        self.change(|state| {
            let helpers = usize::from(state.helpers < threads && !state.queue.is_empty());
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
        let Some(threads) = self.pool().map(|pool| pool.threads()) else {
            return;
        };
        self.change(|state| {
            let needed = state.helpers >= threads && !state.queue.is_empty();
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
            self.call_help();
            self.call_owner();
        }
        ready
    }
}
