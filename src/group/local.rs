//! Children that borrow: they live in the group's future and run on its task.

mod slots;

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    task::{Context, Poll, Wake, Waker, ready},
    vec,
};

use pin_project::{pin_project, pinned_drop};

use self::slots::Slots;
use super::{
    budget::Budget,
    child::{Child, Ticket, Value},
    hub::{Hub, Woken},
};
use crate::{
    error::{Aborted, GroupClosed, TaskInfo, catch},
    frame::{self, Home, Seat},
    lock::Mutex,
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

/// Where borrowing children wait for the group's future to take them in.
///
/// A child may hold the group that holds the child. So this has to be emptied when the group ends,
/// or the two keep each other alive.
#[derive(Default)]
pub(crate) struct Entrance<'env> {
    doorway: Mutex<Doorway<'env>>,
    /// How many children are gone, of all that have come in. Written by the group's future only.
    gone: AtomicUsize,
}

/// What is behind the lock of an [`Entrance`].
#[derive(Default)]
struct Doorway<'env> {
    newcomers: Vec<BoxLocal<'env>>,
    /// How many children have come in.
    spawned: usize,
    /// Whether those who are here are counted as a member of the group: as one, all together.
    counted: bool,
    /// Whether the group's future has seen who came in last, or has been told of it since.
    told: bool,
    /// Whether the group's future is gone: nobody will be taken in any more.
    shut: bool,
}

/// Why a borrowing child cannot come in. Gives its future back.
pub(super) enum Refusal<F> {
    /// The group has returned.
    Closed(F),
    /// There is nobody any more to take it in.
    Shut(TaskInfo, F),
}

impl<'env> Entrance<'env> {
    /// Makes a borrowing child and takes it in.
    pub(super) fn enter<T, E, F>(
        &self,
        hub: &Arc<Hub>,
        task: TaskInfo,
        body: F,
    ) -> Result<Arc<Outcome<T>>, Refusal<F>>
    where
        T: Send + 'env,
        E: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        let id = task.id();
        let mut doorway = self.doorway.lock();
        if doorway.shut {
            return Err(Refusal::Shut(task, body));
        }
        let mut owner = None;
        if !(doorway.counted && doorway.told) {
            match hub.expect_locals(!doorway.counted) {
                Ok(waker) => owner = waker,
                Err(GroupClosed(())) => return Err(Refusal::Closed(body)),
            }
            (doorway.counted, doorway.told) = (true, true);
        }
        let outcome = Arc::new(Outcome {
            ticket: Ticket {
                hub: Arc::clone(hub),
                task,
            },
            state: Mutex::new(Stage::Running(None, None)),
        });
        let child = Box::pin(Reporting {
            child: Child::<F, E>::new_local(body),
            outcome: Some(Arc::clone(&outcome)),
        });
        doorway.newcomers.push(child);
        doorway.spawned += 1;
        drop(doorway);
        frame::wake(owner);
        if hub.is_limited() {
            hub.enter_local(id);
        }
        Ok(outcome)
    }

    /// How many children are not gone.
    pub(super) fn len(&self) -> usize {
        let spawned = self.doorway.lock().spawned;
        // Acquire: pairs with the Release in `count_off`.
        spawned - self.gone.load(Ordering::Acquire).min(spawned)
    }

    /// Counts a child off.
    fn count_off(&self) {
        // Release: whoever sees it gone sees what it did. Nobody else writes this.
        let gone = self.gone.load(Ordering::Relaxed) + 1;
        self.gone.store(gone, Ordering::Release);
    }

    /// The newcomers are in. From now on the group's future has to be told of others.
    fn take(&self) -> Vec<BoxLocal<'env>> {
        let mut doorway = self.doorway.lock();
        doorway.told = false;
        mem::take(&mut doorway.newcomers)
    }
}

/// A child that leaves its result where its handle finds it.
#[pin_project(PinnedDrop)]
struct Reporting<F, T, E> {
    #[pin]
    child: Child<F, E>,
    /// `None` once it is settled, or if it had no handle any more when it first waited.
    outcome: Option<Arc<Outcome<T>>>,
}

#[pinned_drop]
impl<F, T, E> PinnedDrop for Reporting<F, T, E> {
    /// Whoever awaits the handle of a child that is dropped where it stands must hear of it.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Some(outcome) = this.outcome.take() {
            this.child.as_mut().clear();
            outcome.settle(Err(Aborted::Cancelled));
        }
    }
}

impl<F, T, E> Borrowing for Reporting<F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    fn task(&self) -> &TaskInfo {
        let outcome = self.outcome.as_ref();
        &outcome.expect("the child has not rested").ticket.task
    }

    fn rest(self: Pin<&mut Self>, own: &Arc<LocalWaker>) {
        let known = self.project().outcome;
        match known {
            Some(outcome) if Outcome::is_unwanted(outcome) => *known = None,
            Some(outcome) => outcome.show_waker(own),
            None => {}
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let result = ready!(this.child.poll(cx));
        match this.outcome.take() {
            Some(outcome) => outcome.settle(result),
            None => drop(result),
        }
        Poll::Ready(())
    }
}

/// The result of a borrowing child, shared with its handle.
pub(super) struct Outcome<T> {
    ticket: Ticket,
    state: Mutex<Stage<T>>,
}

/// How far a borrowing child has got, as its handle sees it.
enum Stage<T> {
    /// It runs. The wakers are that of whoever awaits the handle, and the child's, if it waits.
    Running(Option<Waker>, Option<Arc<LocalWaker>>),
    /// It is gone; the value is `None` once it has been taken.
    Gone(Result<Option<Value<T>>, Aborted>),
    /// The handle, which has waited, is dropped.
    Unwanted,
}

impl<T> Outcome<T> {
    /// Who the child is, and in which group.
    pub(super) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Whether only the child is left to know of this.
    fn is_unwanted(this: &Arc<Self>) -> bool {
        Arc::strong_count(this) == 1
    }

    /// Keeps the result for the handle, if there still is one.
    fn settle(self: Arc<Self>, result: Result<Value<T>, Aborted>) {
        if Self::is_unwanted(&self) {
            return;
        }
        let mut result = Some(result);
        let before = {
            let mut stage = self.state.lock();
            match *stage {
                Stage::Unwanted => None,
                _ => result
                    .take()
                    .map(|result| mem::replace(&mut *stage, Stage::Gone(result.map(Some)))),
            }
        };
        if let Some(Stage::Running(waker, _)) = before {
            frame::wake(waker);
        }
    }

    /// Takes the result, or leaves the waker.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Result<T, Aborted>> {
        let waker = waker.clone();
        let (polled, _waker) = {
            let mut stage = self.state.lock();
            match &mut *stage {
                Stage::Running(known, _) => (Poll::Pending, known.replace(waker)),
                Stage::Gone(result) => {
                    let result = match result {
                        Ok(value) => Ok(value
                            .take()
                            .and_then(Value::take)
                            .expect("a task was polled after it was done")),
                        Err(aborted) => Err(*aborted),
                    };
                    (Poll::Ready(result), Some(waker))
                }
                Stage::Unwanted => (Poll::Pending, Some(waker)),
            }
        };
        polled
    }

    pub(super) fn is_finished(&self) -> bool {
        matches!(*self.state.lock(), Stage::Gone(_))
    }

    /// Has the handle know the waker of the child, which waits for the first time.
    fn show_waker(&self, own: &Arc<LocalWaker>) {
        if let Stage::Running(_, known) = &mut *self.state.lock() {
            *known = Some(Arc::clone(own));
        }
        // It may have been cancelled through the handle before.
        if self.ticket.hub.is_marked(self.ticket.task.id()) {
            own.wake_by_ref();
        }
    }

    /// Wakes the child, if it waits.
    pub(super) fn wake_child(&self) {
        let own = match &*self.state.lock() {
            Stage::Running(_, own) => own.clone(),
            _ => None,
        };
        if let Some(own) = own {
            own.wake();
        }
    }

    /// The handle, which may have left its waker, is dropped.
    pub(super) fn let_go(&self) {
        let before = mem::replace(&mut *self.state.lock(), Stage::Unwanted);
        catch(|| drop(before)).unwrap_or_else(frame::report_panic);
    }
}

impl<T> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").finish_non_exhaustive()
    }
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
        if room.is_idle() {
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
        if !room.is_idle() {
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

    /// Sees to it that the owner is not left waiting: for those who came in, or those who are gone.
    fn settle(&self, hub: &Arc<Hub>) {
        let gone = self.entrance.gone.load(Ordering::Relaxed);
        let all_gone = {
            let mut doorway = self.entrance.doorway.lock();
            let all_gone = doorway.counted && doorway.spawned == gone;
            doorway.counted &= !all_gone;
            all_gone
        };
        if all_gone {
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
            if children.is_empty() {
                let mut doorway = self.entrance.doorway.lock();
                if doorway.newcomers.is_empty() {
                    doorway.shut = true;
                    break;
                }
            }
            let mut turn = LocalTurn::new(hub, &self.entrance);
            for (task, child) in children {
                let id = task.id();
                turn.seat.give(&task);
                if let Err(panic) = catch(|| drop(child)) {
                    frame::report_panic(panic);
                }
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

/// Wakes one borrowing child.
struct LocalWaker {
    hub: Arc<Hub>,
    slot: AtomicUsize,
    /// The child.
    id: AtomicU64,
    /// Whether it is among those that are ready already.
    woken: AtomicBool,
}

/// The waker of a child that has no slot yet.
struct Spare {
    own: Arc<LocalWaker>,
    waker: Waker,
}

impl Spare {
    fn new(hub: &Arc<Hub>, slot: usize, id: u64) -> Self {
        let own = Arc::new(LocalWaker {
            hub: Arc::clone(hub),
            slot: AtomicUsize::new(slot),
            id: AtomicU64::new(id),
            woken: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&own));
        Self { own, waker }
    }

    /// Makes this the waker of another child. False if somebody has a clone of it.
    fn lend(&self, slot: usize, id: u64) -> bool {
        let is_known = Arc::strong_count(&self.own) > 2;
        if !is_known {
            // What those did who had it before must not find the values of now.
            fence(Ordering::Acquire);
            // Relaxed: whoever gets a clone of it gets these with it.
            self.own.slot.store(slot, Ordering::Relaxed);
            self.own.id.store(id, Ordering::Relaxed);
            self.own.woken.store(false, Ordering::Relaxed);
        }
        !is_known
    }
}

impl Wake for LocalWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // AcqRel: pairs with the swap before each poll.
        if !self.woken.swap(true, Ordering::AcqRel) {
            let slot = self.slot.load(Ordering::Relaxed);
            self.hub.wake_local(slot, self.id.load(Ordering::Relaxed));
        }
    }
}
