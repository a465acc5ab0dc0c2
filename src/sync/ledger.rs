//! Units that are taken and given back: what semaphores, limiters and locks have in common.

use std::task::{Context, Poll};

use crate::{
    frame,
    lock::Mutex,
    waiters::{Aftermath, Left, Place, Waiters, poll_locked},
};

/// A number of units, who has how many of them, and who waits for some.
///
/// Whenever the lock is free, the first in line does not fit: whatever makes room grants it to
/// those who wait before it lets go of the lock.
#[derive(Debug)]
pub(super) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// How many are taken, granted ones included. More than the limit after that was lowered.
    used: usize,
    /// How many units each of them wants.
    waiters: Waiters<usize>,
}

impl State {
    /// Whether so many units are free.
    ///
    /// Whoever wants more than there are gets all of them. That happens if the limit is lowered
    /// while they wait; they must not block the line for ever.
    fn fits(&self, units: usize) -> bool {
        self.used == 0 || units <= self.limit.saturating_sub(self.used)
    }

    /// Takes so many units, unless others wait for theirs.
    fn take(&mut self, units: usize) -> bool {
        let fits = self.waiters.waiting() == 0 && self.fits(units);
        if fits {
            self.used += units;
        }
        fits
    }

    /// Grants what is free to those who wait.
    fn settle(&mut self, after: &mut Aftermath) {
        while let Some(&units) = self.waiters.first() {
            if !self.fits(units) {
                return;
            }
            self.used += units;
            self.waiters.grant_first(after);
        }
    }
}

impl Ledger {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                limit,
                used: 0,
                waiters: Waiters::new(),
            }),
        }
    }

    /// Takes so many units if they are free and nobody waits.
    pub(super) fn try_take(&self, units: usize) -> bool {
        self.state.lock().take(units)
    }

    /// Gives units back.
    pub(super) fn give_back(&self, units: usize) {
        self.change(|state| state.used -= units);
    }

    /// Sets how many units there are.
    pub(super) fn set_limit(&self, limit: usize) {
        self.change(|state| state.limit = limit);
    }

    /// Adds to the number of units. False if the number would be too large.
    pub(super) fn raise_limit(&self, by: usize) -> bool {
        self.change(|state| {
            let limit = state.limit.checked_add(by);
            state.limit = limit.unwrap_or(state.limit);
            limit.is_some()
        })
    }

    /// Changes something, and lets in whoever fits now.
    fn change<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let mut after = Aftermath::default();
        let result = {
            let mut state = self.state.lock();
            let result = f(&mut state);
            state.settle(&mut after);
            result
        };
        after.run();
        result
    }

    pub(super) fn limit(&self) -> usize {
        self.state.lock().limit
    }

    pub(super) fn used(&self) -> usize {
        self.state.lock().used
    }

    /// How many units a newcomer could take now.
    pub(super) fn available(&self) -> usize {
        let state = self.state.lock();
        if state.waiters.waiting() > 0 {
            return 0;
        }
        state.limit.saturating_sub(state.used)
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiters.waiting()
    }
}

/// The part of a future that waits for units.
#[derive(Debug)]
pub(super) struct Claim {
    units: usize,
    place: Place,
}

impl Claim {
    pub(super) fn new(units: usize) -> Self {
        Self {
            units,
            place: Place::default(),
        }
    }

    pub(super) fn units(&self) -> usize {
        self.units
    }

    /// Whether it is in line now.
    pub(super) fn is_waiting(&self) -> bool {
        self.place.is_taken()
    }

    /// Completes once the units have been taken.
    pub(super) fn poll(&mut self, ledger: &Ledger, cx: &Context<'_>) -> Poll<()> {
        // What has been cancelled does not go on; and if it was granted something, somebody else
        // can have it now.
        if frame::cancelled() {
            self.withdraw(ledger);
            return Poll::Pending;
        }
        let Self { units, place } = self;
        poll_locked(&ledger.state, cx, |state, caller, _| {
            if state.waiters.collect(place) || !place.is_taken() && state.take(*units) {
                return Poll::Ready(());
            }
            state.waiters.park(place, caller, *units);
            Poll::Pending
        })
    }

    /// Stops waiting. What was granted meanwhile goes to the next in line.
    pub(super) fn withdraw(&mut self, ledger: &Ledger) {
        if !self.place.is_taken() {
            return;
        }
        let mut after = Aftermath::default();
        {
            let mut state = ledger.state.lock();
            if state.waiters.leave(&mut self.place, &mut after) == Left::Grant {
                state.used -= self.units;
            }
            // Those behind may want less.
            state.settle(&mut after);
        }
        after.run();
    }
}

/// Units that have been taken. Given back when dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    ledger: &'a Ledger,
    units: usize,
}

impl<'a> Held<'a> {
    /// Stands for units that were taken from the ledger.
    pub(super) fn new(ledger: &'a Ledger, units: usize) -> Self {
        Self { ledger, units }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.ledger.give_back(self.units);
    }
}
