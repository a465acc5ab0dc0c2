//! Children that borrow: they live in the group's future and run on its task.

mod entrance;
mod outcome;
mod slots;
mod waker;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Wake, Waker},
    vec,
};

pub(crate) use self::entrance::Entrance;
pub(super) use self::{entrance::Refusal, outcome::Outcome};
use self::{
    slots::Slots,
    waker::{LocalWaker, Spare},
};
use super::{
    budget::Budget,
    hub::{Hub, Woken},
};
use crate::{
    error::TaskInfo,
    frame::{self, Home, Seat},
};

/// A borrowing child, boxed.
type BoxLocal<'env> = Pin<Box<dyn Borrowing + Send + 'env>>;

/// What the group's future does with a borrowing child, of whatever type.
trait Borrowing {
    /// Who the child is. Asked before it rests: later on it may not know any more.
    fn task(&self) -> &TaskInfo;

    /// Polls the child, which reports for itself.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// The child has been polled once and waits, with this waker.
    fn rest(self: Pin<&mut Self>, own: &Arc<LocalWaker>);
}

/// The borrowing children of a group, in its future.
pub(super) struct Locals<'env> {
    entrance: Arc<Entrance<'env>>,
    /// Made for the first child.
    room: Option<Box<Room<'env>>>,
}

/// Where borrowing children live.
#[derive(Default)]
struct Room<'env> {
    /// Those that have been polled and wait, or will be polled again.
    slots: Slots<Slot<'env>>,
    /// Those that have come in and are run in this turn.
    arrived: vec::IntoIter<BoxLocal<'env>>,
    /// Those that have come in and may not be polled before it is said so.
    held: VecDeque<BoxLocal<'env>>,
    /// Those that have been woken, or may be polled now, and are run in this turn.
    woken: VecDeque<Woken>,
    /// A waker that is lent to one newcomer after the other: one that is ready at once needs none of
    /// its own.
    spare: Option<Spare>,
}

/// A place for a borrowing child.
struct Slot<'env> {
    task: TaskInfo,
    child: BoxLocal<'env>,
    waker: Arc<LocalWaker>,
}

impl<'env> Locals<'env> {
    pub(super) fn new(entrance: Arc<Entrance<'env>>) -> Self {
        Self {
            entrance,
            room: None,
        }
    }

    /// Polls the children that are ready, once each, while there is time; those that become ready
    /// meanwhile are left for the next time.
    pub(super) fn run_ready(&mut self, hub: &Arc<Hub>, budget: &mut Budget) {
        let room = self.room.get_or_insert_default();
        let is_fresh = room.is_idle();
        if is_fresh {
            // In this order: who may be polled has come in before.
            if hub.take_woken(&mut room.woken, usize::MAX) {
                room.wake_all();
            }
            let newcomers = self.entrance.take();
            if hub.is_limited() {
                room.held.extend(newcomers);
            } else {
                room.arrived = newcomers.into_iter();
            }
        }
        let mut turn = LocalTurn::new(hub, &self.entrance);
        while budget.is_left() {
            if let Some(woken) = room.woken.pop_front() {
                room.run_woken(&mut turn, woken);
            } else if let Some(child) = room.arrived.next() {
                room.run_newcomer(&mut turn, child);
            } else {
                break;
            }
            budget.spend_here();
        }
        drop(turn);
        // If this was the rest of an earlier turn, who has come meanwhile was not looked for: not who
        // came in, nor whether all are to be woken.
        if !is_fresh || !room.is_idle() {
            hub.look_again();
        }
        self.settle(hub);
    }

    /// Wakes those who are to be woken, and has the newcomers wait, until a test run chooses them.
    pub(super) fn stand_by(&mut self, hub: &Arc<Hub>) {
        let room = self.room.get_or_insert_default();
        if hub.take_locals_stirred() {
            room.wake_all();
        }
        for child in self.entrance.take() {
            if !hub.is_limited() {
                hub.admit_local(child.task().id());
            }
            room.held.push_back(child);
        }
    }

    /// Polls the child that was woken first.
    pub(super) fn run_one(&mut self, hub: &Arc<Hub>) {
        let room = self.room.get_or_insert_default();
        if hub.take_woken(&mut room.woken, 1) {
            room.wake_all();
        }
        let mut turn = LocalTurn::new(hub, &self.entrance);
        while let Some(woken) = room.woken.pop_front() {
            room.run_woken(&mut turn, woken);
        }
        drop(turn);
        self.settle(hub);
    }

    /// Has the group know if all who came in are gone.
    fn settle(&self, hub: &Arc<Hub>) {
        if self.entrance.is_left() {
            hub.dismiss_locals();
        }
    }

    /// Drops all children, each under its own catch, for an owner that is being dropped.
    pub(super) fn clear(&mut self, hub: &Arc<Hub>) {
        loop {
            let mut children = Vec::new();
            if let Some(room) = self.room.take() {
                let slots = room.slots.into_items();
                children.extend(slots.map(|slot| (slot.task, slot.child)));
                let others = room.arrived.chain(room.held);
                children.extend(others.map(|child| (child.task().clone(), child)));
            }
            let newcomers = self.entrance.take().into_iter();
            children.extend(newcomers.map(|child| (child.task().clone(), child)));
            if children.is_empty() && self.entrance.shut() {
                break;
            }
            let mut turn = LocalTurn::new(hub, &self.entrance);
            for (task, child) in children {
                let id = task.id();
                turn.seat.give(&task);
                frame::dispose(child);
                drop(hub.forget(id, None));
                turn.count_off();
            }
        }
        self.settle(hub);
    }
}

/// What is needed to run borrowing children.
struct LocalTurn<'a, 'env> {
    hub: &'a Arc<Hub>,
    entrance: &'a Entrance<'env>,
    seat: Seat,
}

impl<'a, 'env> LocalTurn<'a, 'env> {
    fn new(hub: &'a Arc<Hub>, entrance: &'a Entrance<'env>) -> Self {
        Self {
            hub,
            entrance,
            seat: Seat::new(hub.as_home()),
        }
    }

    fn count_off(&self) {
        self.entrance.count_off();
        if self.hub.is_limited() {
            self.hub.leave_local();
        }
    }
}

impl<'env> Room<'env> {
    /// Whether everybody had their turn.
    fn is_idle(&self) -> bool {
        self.woken.is_empty() && self.arrived.as_slice().is_empty()
    }

    /// Wakes all who wait.
    fn wake_all(&self) {
        for slot in self.slots.iter() {
            slot.waker.wake_by_ref();
        }
    }

    /// Polls a child for the first time. It gets a slot, and a waker of its own, if it waits.
    fn run_newcomer(&mut self, turn: &mut LocalTurn<'_, 'env>, mut child: BoxLocal<'env>) {
        let task = child.task();
        if !turn.seat.give(task) {
            return self.held.push_back(child);
        }
        let key = self.slots.next();
        let spare = match &mut self.spare {
            Some(spare) if spare.lend(key, task.id()) => spare,
            spare => spare.insert(Spare::new(turn.hub, key, task.id())),
        };
        let mut cx = Context::from_waker(&spare.waker);
        if child.as_mut().poll(&mut cx).is_ready() {
            drop(child);
            turn.count_off();
        } else if let Some(Spare { own, .. }) = self.spare.take() {
            let task = child.task().clone();
            child.as_mut().rest(&own);
            self.slots.insert(Slot {
                task,
                child,
                waker: own,
            });
        }
    }

    /// Polls a child that was woken, if it still is this one: the next one in its slot may have to
    /// wait for its turn.
    fn run_woken(&mut self, turn: &mut LocalTurn<'_, 'env>, (key, id): Woken) {
        if key == Hub::HELD {
            let is_it = |child: &BoxLocal<'_>| child.task().id() == id;
            let known = self.held.iter().position(is_it);
            if known.is_none() {
                self.held.extend(turn.entrance.take());
            }
            let known = known.or_else(|| self.held.iter().position(is_it));
            if let Some(child) = known.and_then(|index| self.held.remove(index)) {
                self.run_newcomer(turn, child);
            }
            return;
        }
        let Some(place) = self.slots.get(key) else {
            return;
        };
        if place.task.id() != id {
            return;
        }
        // A swap, for what it acquires: somebody who found the flag set has woken the child without
        // taking any lock, and this poll has to see what they did before.
        place.waker.woken.swap(false, Ordering::AcqRel);
        let waker = Waker::from(Arc::clone(&place.waker));
        if !turn.seat.give(&place.task) {
            return;
        }
        let mut cx = Context::from_waker(&waker);
        if place.child.as_mut().poll(&mut cx).is_ready() {
            drop(self.slots.remove(key));
            turn.count_off();
        }
    }
}
