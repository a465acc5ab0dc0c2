//! Children that borrow: they live in the group's future and run on its task.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use pin_project::{pin_project, pinned_drop};

use super::{child::Child, hub::Hub};
use crate::{
    error::{Aborted, TaskInfo, catch},
    frame::{self, Seat},
    lock::Mutex,
};

/// A borrowing child, boxed. It reports for itself, so it has nothing to return.
type BoxChild<'env> = Pin<Box<dyn Future<Output = ()> + Send + 'env>>;

/// A borrowing child on its way into the group's future.
pub(crate) struct Newcomer<'env> {
    slot: usize,
    task: TaskInfo,
    child: BoxChild<'env>,
}

/// Where borrowing children wait for the group's future to take them in.
///
/// A child may hold the group that holds the child. So this has to be emptied when the group ends,
/// or the two keep each other alive.
pub(crate) type Entrance<'env> = Mutex<Doorway<'env>>;

/// What is behind the lock of an [`Entrance`].
#[derive(Default)]
pub(crate) struct Doorway<'env> {
    newcomers: Vec<Newcomer<'env>>,
    /// Whether the group's future is gone: nobody will be taken in any more.
    shut: bool,
}

/// Makes a borrowing child and puts it at the entrance; or gives its future back if there is nobody
/// any more to take it in.
pub(super) fn enter<'env, T, E, F>(
    entrance: &Entrance<'env>,
    slot: usize,
    task: TaskInfo,
    body: F,
) -> Result<Arc<Outcome<T>>, F>
where
    T: Send + 'env,
    E: Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'env,
{
    let outcome = Arc::new(Outcome::default());
    let mut doorway = entrance.lock();
    if doorway.shut {
        return Err(body);
    }
    let child = Box::pin(Reporting {
        child: Child::<F, E>::new(body),
        outcome: Arc::clone(&outcome),
        settled: false,
    });
    doorway.newcomers.push(Newcomer { slot, task, child });
    drop(doorway);
    Ok(outcome)
}

/// A child that leaves its result where its handle finds it.
#[pin_project(PinnedDrop)]
struct Reporting<F, T, E> {
    #[pin]
    child: Child<F, E>,
    outcome: Arc<Outcome<T>>,
    settled: bool,
}

#[pinned_drop]
impl<F, T, E> PinnedDrop for Reporting<F, T, E> {
    /// Whoever awaits the handle of a child that is dropped where it stands must hear of it.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if !*this.settled {
            this.child.as_mut().clear();
            this.outcome.settle(Err(Aborted::Cancelled));
        }
    }
}

impl<F, T, E> Future for Reporting<F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let result = ready!(this.child.poll(cx));
        *this.settled = true;
        this.outcome.settle(result.map(|value| value.take()));
        Poll::Ready(())
    }
}

/// The result of a borrowing child, shared with its handle.
pub(super) struct Outcome<T> {
    state: Mutex<Stage<T>>,
}

/// How far a borrowing child has got, as its handle sees it.
enum Stage<T> {
    /// It runs. The waker is that of whoever awaits the handle.
    Running(Option<Waker>),
    /// It is gone; the value is `None` once it has been taken.
    Gone(Result<Option<T>, Aborted>),
    /// It is gone, and the handle is dropped.
    Unwanted,
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(Stage::Running(None)),
        }
    }
}

impl<T> Outcome<T> {
    /// Keeps the result for the handle, if there still is one.
    fn settle(&self, result: Result<Option<T>, Aborted>) {
        let mut result = Some(result);
        let before = {
            let mut stage = self.state.lock();
            match *stage {
                Stage::Unwanted => None,
                _ => result
                    .take()
                    .map(|result| mem::replace(&mut *stage, Stage::Gone(result))),
            }
        };
        // Nobody wants the value.
        if let Err(panic) = catch(|| drop(result)) {
            frame::report_panic(panic);
        }
        if let Some(Stage::Running(waker)) = before {
            frame::wake(waker);
        }
    }

    /// Takes the result, or leaves the waker.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Result<T, Aborted>> {
        let waker = waker.clone();
        let (polled, _waker) = {
            let mut stage = self.state.lock();
            match &mut *stage {
                Stage::Running(known) => (Poll::Pending, known.replace(waker)),
                Stage::Gone(result) => {
                    let result = match result {
                        Ok(value) => Ok(value.take().expect("a task was polled after it was done")),
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
        matches!(*self.state.lock(), Stage::Gone(_) | Stage::Unwanted)
    }

    /// The handle is dropped.
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
    hub: Arc<Hub>,
    entrance: Arc<Entrance<'env>>,
    slots: Vec<Slot<'env>>,
    /// The children that are being run in this turn.
    ready: VecDeque<(usize, u64)>,
    /// A waker that nobody else has.
    spare: Option<Arc<LocalWaker>>,
}

/// A place for a borrowing child.
struct Slot<'env> {
    /// `None` while the slot is free, or the child is being polled.
    child: Option<(TaskInfo, BoxChild<'env>)>,
    /// There once the child has waited: one that is ready at once needs none of its own.
    waker: Option<Arc<LocalWaker>>,
}

impl<'env> Locals<'env> {
    pub(super) fn new(hub: Arc<Hub>, entrance: Arc<Entrance<'env>>) -> Self {
        Self {
            hub,
            entrance,
            slots: Vec::new(),
            ready: VecDeque::new(),
            spare: None,
        }
    }

    /// Polls the children that are ready, once each and so many at most; those that become ready
    /// meanwhile are left for the next time.
    pub(super) fn run_ready(&mut self, most: usize) {
        self.hub.take_woken(&mut self.ready, most);
        let mut seat = Seat::new(self.hub.as_home());
        while let Some((slot, id)) = self.ready.pop_front() {
            let is_in = |place: &Slot<'_>| place.child.is_some();
            if !self.slots.get(slot).is_some_and(is_in) {
                self.take_in();
            }
            if self.run(&mut seat, slot, id) {
                self.hub.leave_slot(slot);
            }
        }
    }

    /// Polls the child in a slot, if it still is this one: the next one there may have to wait for
    /// its turn. True if it is gone.
    fn run(&mut self, seat: &mut Seat, slot: usize, id: u64) -> bool {
        let Some(place) = self.slots.get_mut(slot) else {
            return false;
        };
        if place.child.as_ref().is_none_or(|(task, _)| task.id() != id) {
            return false;
        }
        let Some((task, mut child)) = place.child.take() else {
            return false;
        };
        let mut own = match place.waker.take() {
            Some(waker) => waker,
            None => LocalWaker::make(self.spare.take(), &self.hub, slot, id),
        };
        // A swap, for what it acquires: somebody who found the flag set has woken the child without
        // taking any lock, and this poll has to see what they did before.
        own.woken.swap(false, Ordering::AcqRel);
        let waker = Waker::from(Arc::clone(&own));
        let mut gone = false;
        let mut cx = Context::from_waker(&waker);
        let finished = seat.run(task.clone(), || {
            gone = !matches!(catch(|| child.as_mut().poll(&mut cx)), Ok(Poll::Pending));
        });
        drop(waker);
        if gone || finished {
            drop(child);
            if Arc::get_mut(&mut own).is_some() {
                self.spare = Some(own);
            }
            return true;
        }
        if let Some(place) = self.slots.get_mut(slot) {
            place.child = Some((task, child));
            place.waker = Some(own);
        }
        false
    }

    /// Gives the newcomers their slots.
    fn take_in(&mut self) {
        let newcomers = mem::take(&mut self.entrance.lock().newcomers);
        for Newcomer { slot, task, child } in newcomers {
            if self.slots.len() <= slot {
                let free = || Slot {
                    child: None,
                    waker: None,
                };
                self.slots.resize_with(slot + 1, free);
            }
            let place = &mut self.slots[slot];
            place.waker = None;
            place.child = Some((task, child));
        }
    }

    /// Drops all children, each under its own catch, for an owner that is being dropped.
    pub(super) fn clear(&mut self) {
        let mut seat = Seat::new(self.hub.as_home());
        loop {
            self.take_in();
            let places = self.slots.iter_mut().enumerate();
            let children: Vec<_> = places
                .filter_map(|(slot, place)| Some((slot, place.child.take()?)))
                .collect();
            if children.is_empty() {
                let mut doorway = self.entrance.lock();
                if doorway.newcomers.is_empty() {
                    doorway.shut = true;
                    return;
                }
            }
            for (slot, (task, child)) in children {
                let id = task.id();
                seat.run(task, || {
                    if let Err(panic) = catch(|| drop(child)) {
                        frame::report_panic(panic);
                    }
                });
                self.hub.evict(id);
                self.hub.leave_slot(slot);
            }
        }
    }
}

/// Wakes one borrowing child.
struct LocalWaker {
    hub: Arc<Hub>,
    slot: usize,
    /// The child.
    id: u64,
    /// Whether it is among those that are ready already.
    woken: AtomicBool,
}

impl LocalWaker {
    /// Makes the waker of a child, out of one that nobody else has if there is one.
    fn make(spare: Option<Arc<Self>>, hub: &Arc<Hub>, slot: usize, id: u64) -> Arc<Self> {
        if let Some(mut waker) = spare {
            if let Some(spare) = Arc::get_mut(&mut waker) {
                (spare.slot, spare.id) = (slot, id);
                return waker;
            }
        }
        Arc::new(Self {
            hub: Arc::clone(hub),
            slot,
            id,
            woken: AtomicBool::new(false),
        })
    }
}

impl Wake for LocalWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // AcqRel: pairs with the swap before each poll.
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.hub.wake_local(self.slot, self.id);
        }
    }
}
