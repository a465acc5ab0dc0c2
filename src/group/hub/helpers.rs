//! Helpers: who runs children besides the owner.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{BoxFuture, Call, Hub, Owner, Runners, State, Then};
use crate::{
    blocking::Host,
    error::TaskInfo,
    group::ready::Hand,
    pool::{Pool, Urgency, Watched},
};

/// A child that takes this long or longer is worth a helper of its own: to wake a thread costs about 5 µs.
const LONG: Duration = Duration::from_micros(20);

/// No poll counts as longer than this, so that it takes more than one to make the mean a long one: a
/// single one can be chance, since the system may have had something else to do.
const MOST_COUNTED: Duration = Duration::from_micros(100);

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
        hand: &mut Hand,
    ) -> Errand {
        self.change(|state| {
            let now = state.activity();
            let together = now.wrapping_sub(mem::replace(before, now));
            let is_in_the_way = ran.is_some_and(|ran| 2 * together > 3 * (ran + 1));
            let is_left = is_in_the_way && state.owner == Owner::Driving;
            if !state.ready.is_empty() && !is_left {
                return (Errand::Run, Then::default());
            }
            if state.owner == Owner::Gone && state.live == 0 {
                if let Some((task, finalizer)) = state.finalizers.pop() {
                    // It counts as a member while it runs.
                    state.live += 1;
                    return (Errand::Finalize(task, finalizer), Then::default());
                }
            }
            state.ready.lay_down(hand);
            state.helpers -= 1;
            let left = Call {
                helpers: 0,
                rouse: is_left.then_some(Urgency::Soon),
            };
            (Errand::None, left.into())
        })
    }

    /// Notes how long a child took.
    ///
    /// What counts is the mean: many a child that takes long has begun with a short poll, in which it
    /// asked somebody for something.
    pub(in crate::group) fn note_poll(&self, poll: Duration) {
        let poll = poll.min(MOST_COUNTED).subsec_nanos();
        // Relaxed, and not in one step: if two come at the same time, one of them is not counted.
        let before = self.mean_poll.load(Ordering::Relaxed);
        let mean = before - before / 8 + poll / 8;
        self.mean_poll.store(mean, Ordering::Relaxed);
        let is_long = Duration::from_nanos(mean.into()) >= LONG;
        let runners = match self.runners() {
            Runners::Threads if is_long => Runners::AllThreads,
            Runners::AllThreads if !is_long => Runners::Threads,
            _ => return,
        };
        // Release: as in `set_place`.
        self.runners.store(runners as u8, Ordering::Release);
    }

    /// Calls one more helper if there is work for it and a processor that is likely to be free: the
    /// owner has one, too, while it is at it.
    pub(in crate::group) fn share_work(self: &Arc<Self>) {
        self.call_help(|state| state.at_work() < state.threads().max(2));
    }

    /// Calls one more helper if something is ready and there is a thread for it.
    fn call_help(self: &Arc<Self>, is_room: impl FnOnce(&State) -> bool) {
        self.change(|state| {
            let helpers = usize::from(!state.ready.is_empty() && is_room(state));
            state.helpers += helpers;
            ((), Call::for_help(helpers).into())
        });
    }

    /// Has the owner help.
    fn call_owner(self: &Arc<Self>) {
        self.change(|state| ((), state.wake_owner()));
    }
}

impl Watched for Hub {
    fn look_after(self: Arc<Self>) -> Option<Urgency> {
        let (seen_stuck, is_thread_free, urgency) = {
            let mut state = self.state.lock();
            state.ready.take_back();
            let is_stuck = state.taken == state.taken_before && !state.ready.is_empty();
            state.taken_before = state.taken;
            state.seen_stuck = if is_stuck {
                state.seen_stuck.saturating_add(1)
            } else {
                0
            };
            if state.ready.is_empty() {
                return None;
            }
            let is_thread_free = state.helpers < state.threads();
            (state.seen_stuck, is_thread_free, state.urgency())
        };
        if seen_stuck > 0 {
            if is_thread_free {
                self.call_help(|state| state.helpers < state.threads());
            // If no processor is free, it is for the case that a child blocks its thread until another
            // one has run.
            } else if urgency == Urgency::Soon || seen_stuck > 1 {
                self.call_owner();
            }
        }
        Some(urgency)
    }
}

impl Host for Hub {
    fn pool(&self) -> Option<Arc<Pool>> {
        Self::pool(self)
    }

    fn step_aside(self: Arc<Self>) {
        self.change(|state| {
            state.ready.take_back();
            state.helpers -= 1;
            let helpers = usize::from(!state.ready.is_empty());
            state.helpers += helpers;
            ((), Call::for_help(helpers).into())
        });
    }

    fn step_back(self: Arc<Self>) {
        self.state.lock().helpers += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::{any::TypeId, panic::Location};

    use super::*;
    use crate::{group::policy::Policy, pool};

    const SHORT: Duration = Duration::from_micros(2);

    /// A group below nothing.
    fn hub() -> Arc<Hub> {
        let error = TypeId::of::<()>();
        let hub = Hub::new(
            None,
            Location::caller(),
            Policy::FailFast,
            usize::MAX,
            error,
        );
        hub.set_place(None);
        hub
    }

    #[test]
    fn one_long_poll_is_chance_and_a_few_are_not() {
        let hub = hub();
        hub.note_poll(Duration::from_secs(1));
        assert_eq!(hub.runners(), Runners::Threads);
        for _ in 0..5 {
            hub.note_poll(LONG * 2);
        }
        assert_eq!(hub.runners(), Runners::AllThreads);
        for _ in 0..5 {
            hub.note_poll(SHORT);
        }
        assert_eq!(hub.runners(), Runners::Threads);
    }

    #[test]
    fn long_polls_that_alternate_with_short_ones_are_long() {
        let hub = hub();
        for _ in 0..10 {
            hub.note_poll(LONG * 3);
            hub.note_poll(SHORT);
        }
        assert_eq!(hub.runners(), Runners::AllThreads);
    }

    #[test]
    fn each_long_child_gets_a_helper_while_there_are_threads() {
        let hub = hub();
        let mut state = hub.state.lock();
        let threads = state.threads();
        for called in 0..threads + 2 {
            let call = state.hand_to_runners(Runners::AllThreads);
            assert_eq!(call.helpers, usize::from(called < threads));
        }
        assert_eq!(state.helpers, threads);
    }

    #[test]
    fn there_is_time_once_nobody_is_left_to_be_called() {
        let hub = hub();
        let mut state = hub.state.lock();
        assert_eq!(state.urgency(), Urgency::Soon);
        state.helpers = state.threads().max(pool::processors());
        assert_eq!(state.urgency(), Urgency::Later);
        assert!(state.is_seen_to(Runners::AllThreads));
        assert!(!state.is_seen_to(Runners::Threads));
    }
}
