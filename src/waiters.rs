//! Tasks that wait in line: the one queue that all channels and all of `sync` are made with.

mod polling;
#[cfg(test)]
mod tests;

use std::{mem, task::Waker};

use slab::Slab;

pub(crate) use self::polling::{Aftermath, Caller, poll_from, poll_locked};

/// Where there is no slot.
const NOWHERE: usize = usize::MAX;

/// Tasks that wait, first come first served.
///
/// The queue lives inside the mutex that guards what is waited for. That is the argument against
/// lost wake-ups: a task looks at the state and gets in line under the same lock that the other
/// side takes to change the state.
///
/// What is waited for is *granted* to the first in line, by name: the waiter is taken out of the
/// line and keeps its slot until its future has collected the grant, or has been dropped and the
/// grant goes to somebody else. The state counts a grant as given away from the moment it is made,
/// so a newcomer cannot get ahead of a waiter that has been woken and did not run yet.
///
/// Getting in line, leaving it from anywhere and granting take constant time. Slots are used again,
/// so a queue that has grown once does not allocate.
#[derive(Debug)]
pub(crate) struct Waiters<W = ()> {
    slots: Slab<Slot<W>>,
    /// The first in line.
    first: usize,
    /// The last in line.
    last: usize,
    /// How many are in line; the other slots have a grant.
    waiting: usize,
    /// Tells who came first, for those that go back into the line.
    next_ticket: u64,
}

/// One waiter.
#[derive(Debug)]
struct Slot<W> {
    /// What it wants.
    want: W,
    ticket: u64,
    stage: Stage,
}

impl<W> Slot<W> {
    fn is_granted(&self) -> bool {
        matches!(self.stage, Stage::Granted)
    }
}

/// How far a waiter has got.
#[derive(Debug)]
enum Stage {
    /// In line, between two others.
    Waiting {
        /// `None` once the task has been woken for another reason than a grant.
        waker: Option<Waker>,
        before: usize,
        after: usize,
    },
    /// Has what it wants, and was woken.
    Granted,
}

/// A future's place among the [`Waiters`], kept from one poll to the next.
///
/// Whoever has one has to [`leave`](Waiters::leave) when dropped.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<usize>);

impl Place {
    /// Whether this is a place at all. If not, there is nothing to leave.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

/// What a waiter had when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a grant has to go to somebody else"]
pub(crate) enum Left {
    /// No place.
    Nothing,
    /// A place in the line.
    Place,
    /// A grant, which the state has to pass on.
    Grant,
}

impl<W> Default for Waiters<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> Waiters<W> {
    /// An empty line.
    pub(crate) const fn new() -> Self {
        Self {
            slots: Slab::new(),
            first: NOWHERE,
            last: NOWHERE,
            waiting: 0,
            next_ticket: 0,
        }
    }

    /// How many are in line.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many have been granted what they wait for and have not collected it.
    pub(crate) fn granted(&self) -> usize {
        self.slots.len() - self.waiting
    }

    /// How many there are, in line or with a grant.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What the first in line wants.
    pub(crate) fn first(&self) -> Option<&W> {
        self.slots.get(self.first).map(|slot| &slot.want)
    }

    /// Puts the polling task at the end of the line, or keeps its place with its newest waker.
    ///
    /// Changes nothing, but asks the caller for a clone of its waker, if one is needed and not at
    /// hand; see [`poll_locked`].
    pub(crate) fn park(&mut self, place: &mut Place, caller: &mut Caller<'_>, want: W) {
        let Some(key) = place.0 else {
            if let Some(waker) = caller.take_clone() {
                place.0 = Some(self.join(want, waker));
            }
            return;
        };
        if let Stage::Waiting { waker, .. } = &mut self.slots[key].stage {
            caller.renew(waker);
        }
    }

    /// Puts a waiter at the end of the line.
    fn join(&mut self, want: W, waker: Waker) -> usize {
        let before = self.last;
        let key = self.slots.insert(Slot {
            want,
            ticket: self.next_ticket,
            stage: Stage::Waiting {
                waker: Some(waker),
                before,
                after: NOWHERE,
            },
        });
        self.next_ticket += 1;
        self.last = key;
        *self.after_of(before) = key;
        self.waiting += 1;
        key
    }

    /// Whether this waiter has been granted what it wants.
    pub(crate) fn is_granted(&self, place: &Place) -> bool {
        let slot = place.0.and_then(|key| self.slots.get(key));
        slot.is_some_and(Slot::is_granted)
    }

    /// Collects a grant, if there is one, and gives the place up with it.
    pub(crate) fn collect(&mut self, place: &mut Place) -> bool {
        let granted = self.is_granted(place);
        if granted {
            if let Some(key) = place.0.take() {
                self.slots.remove(key);
            }
        }
        granted
    }

    /// Gives a place up, if there is one.
    pub(crate) fn leave(&mut self, place: &mut Place, after: &mut Aftermath) -> Left {
        let Some(key) = place.0.take() else {
            return Left::Nothing;
        };
        let left = match self.unlink(key) {
            Some(waker) => {
                after.drop(waker);
                Left::Place
            }
            None => Left::Grant,
        };
        self.slots.remove(key);
        left
    }

    /// Grants the first in line what it wants. False if nobody is in line.
    pub(crate) fn grant_first(&mut self, after: &mut Aftermath) -> bool {
        if self.first == NOWHERE {
            return false;
        }
        let waker = self.unlink(self.first);
        after.wake(waker.flatten());
        true
    }

    /// Grants everybody in line what they want.
    pub(crate) fn grant_all(&mut self, after: &mut Aftermath) {
        while self.grant_first(after) {}
    }

    /// Wakes everybody in line, for them to look at the state; they stay where they are.
    pub(crate) fn wake_all(&mut self, after: &mut Aftermath) {
        let mut key = self.first;
        while let Some(Slot {
            stage: Stage::Waiting {
                waker, after: next, ..
            },
            ..
        }) = self.slots.get_mut(key)
        {
            after.wake(waker.take());
            key = *next;
        }
    }

    /// Takes back the grant of the one that came last of those that have one: it is in line again,
    /// where it was. It has been woken, and will find out when it runs. False if nobody has a grant.
    ///
    /// Looks at every waiter: for what happens rarely.
    pub(crate) fn revoke_last(&mut self) -> bool {
        let granted = self.slots.iter().filter(|(_, slot)| slot.is_granted());
        let Some((key, ticket)) = granted
            .map(|(key, slot)| (key, slot.ticket))
            .max_by_key(|(_, ticket)| *ticket)
        else {
            return false;
        };
        let (mut before, mut after) = (NOWHERE, self.first);
        while let Some(Slot {
            ticket: other,
            stage: Stage::Waiting { after: next, .. },
            ..
        }) = self.slots.get(after)
        {
            if *other > ticket {
                break;
            }
            (before, after) = (after, *next);
        }
        self.link(key, None, before, after);
        true
    }

    /// Puts a slot that is not in line between two others.
    fn link(&mut self, key: usize, waker: Option<Waker>, before: usize, after: usize) {
        self.slots[key].stage = Stage::Waiting {
            waker,
            before,
            after,
        };
        *self.after_of(before) = key;
        *self.before_of(after) = key;
        self.waiting += 1;
    }

    /// Takes a slot out of the line. `None` if it is not in line.
    fn unlink(&mut self, key: usize) -> Option<Option<Waker>> {
        let stage = mem::replace(&mut self.slots[key].stage, Stage::Granted);
        let Stage::Waiting {
            waker,
            before,
            after,
        } = stage
        else {
            return None;
        };
        *self.after_of(before) = after;
        *self.before_of(after) = before;
        self.waiting -= 1;
        Some(waker)
    }

    /// Who comes after this one; at the start of the line, who is first.
    fn after_of(&mut self, key: usize) -> &mut usize {
        match self.slots.get_mut(key).map(|slot| &mut slot.stage) {
            Some(Stage::Waiting { after, .. }) => after,
            _ => &mut self.first,
        }
    }

    /// Who comes before this one; at the end of the line, who is last.
    fn before_of(&mut self, key: usize) -> &mut usize {
        match self.slots.get_mut(key).map(|slot| &mut slot.stage) {
            Some(Stage::Waiting { before, .. }) => before,
            _ => &mut self.last,
        }
    }
}
