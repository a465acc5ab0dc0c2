//! A group in a test run: its children are run one by one, as the test run decides.

use std::sync::Arc;

use super::{super::child, Hub, Owner, Runnable};
use crate::{
    error::TaskInfo,
    sim::{self, About, Event, Job, Staged},
};

/// What there is to do for a group when a test run gives it a turn.
enum Turn {
    Child(Runnable),
    /// The owner is gone, all tasks are: a deferred finalizer is to be run.
    Finalizer(TaskInfo, Job),
    Nothing,
}

impl Hub {
    /// Takes what is at this place among the children that are ready.
    fn choose_turn(&self, rank: usize) -> Turn {
        let mut state = self.state.lock();
        state.helpers -= 1;
        if let Some(runnable) = state.ready.remove(rank) {
            return Turn::Child(runnable);
        }
        if state.owner == Owner::Gone && state.live == 0 {
            if let Some((task, finalizer)) = state.finalizers.pop() {
                // It counts as a member while it runs.
                state.live += 1;
                return Turn::Finalizer(task, finalizer);
            }
        }
        Turn::Nothing
    }

    /// Has the owner look once more, for something that it has not come to.
    pub(in crate::group) fn look_again(&self) {
        self.state.lock().stirred = true;
    }

    /// Puts the borrowing child at this place among those that are ready before the others.
    pub(in crate::group) fn put_first(&self, rank: usize) {
        let mut state = self.state.lock();
        if let Some(slot) = state.woken.remove(rank) {
            state.woken.push_front(slot);
        }
    }

    /// Tells the test run that a task has entered.
    pub(in crate::group) fn tell_entered(self: &Arc<Self>, task: &TaskInfo) {
        if let Some(sim) = self.sim().or_else(sim::current) {
            sim.entered(&self.as_staged(), task);
            sim.step(task, Event::Spawned);
        }
    }

    pub(in crate::group) fn as_staged(self: &Arc<Self>) -> Arc<dyn Staged> {
        Arc::clone(self) as _
    }
}

impl Staged for Hub {
    fn take_turn(self: Arc<Self>, rank: usize) {
        match self.choose_turn(rank) {
            Turn::Child(runnable) => child::run_alone(&self, runnable),
            Turn::Finalizer(task, finalizer) => {
                if let Some(sim) = self.sim() {
                    sim.spawn(Box::pin(child::see_out(Arc::clone(&self), task, finalizer)));
                }
            }
            Turn::Nothing => {}
        }
    }

    fn about(&self) -> About {
        let state = self.state.lock();
        About {
            label: self.label.clone(),
            location: self.location,
            opened_by: state.above.as_ref().map(|(_, id)| *id),
            is_cancelled: self.node.is_cancelled(),
            is_closed: state.closed,
        }
    }
}
