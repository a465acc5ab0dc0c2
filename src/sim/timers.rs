//! The timers of a virtual clock.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Weak},
    task::Waker,
    time::Instant,
};

use super::world::Sim;

/// The timers that are set, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

/// A timer that is set; until dropped.
#[derive(Debug)]
pub(crate) struct TimerKey {
    sim: Weak<Sim>,
    key: (Instant, u64),
}

impl Timers {
    /// Sets a timer.
    pub(super) fn set(&mut self, at: Instant, waker: Waker) -> (Instant, u64) {
        let key = (at, self.next);
        self.next += 1;
        self.set.insert(key, waker);
        key
    }

    /// Exchanges the waker of a timer, if it is set.
    pub(super) fn rearm(&mut self, key: (Instant, u64), waker: Waker) -> Result<Waker, Waker> {
        match self.set.get_mut(&key) {
            Some(known) => Ok(mem::replace(known, waker)),
            None => Err(waker),
        }
    }

    pub(super) fn remove(&mut self, key: (Instant, u64)) -> Option<Waker> {
        self.set.remove(&key)
    }

    /// Takes the earliest timers out: all that are set to the same time.
    pub(super) fn take_earliest(&mut self) -> Option<(Instant, Vec<Waker>)> {
        let ((at, _), first) = self.set.pop_first()?;
        let mut due = vec![first];
        while let Some(next) = self.set.first_entry().filter(|next| next.key().0 == at) {
            due.push(next.remove());
        }
        Some((at, due))
    }

    pub(super) fn len(&self) -> usize {
        self.set.len()
    }
}

impl TimerKey {
    pub(super) fn new(sim: &Arc<Sim>, key: (Instant, u64)) -> Self {
        Self {
            sim: Arc::downgrade(sim),
            key,
        }
    }

    pub(super) fn key(&self) -> (Instant, u64) {
        self.key
    }
}

impl Drop for TimerKey {
    fn drop(&mut self) {
        if let Some(sim) = self.sim.upgrade() {
            sim.remove_timer(self.key);
        }
    }
}
