//! The shared heart of a group: its run queue, its count of tasks, its report.

mod sleepers;
mod stage;

use std::{
    any::TypeId,
    collections::VecDeque,
    future::Future,
    mem,
    panic::Location,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::Instant,
};

use self::sleepers::Sleepers;
use super::{
    child::{self, Finalizing, Runnable},
    limit::{Limit, Queued},
    policy::Policy,
};
use crate::{
    error::{Cause, Panic, RawFailure, TaskInfo, catch},
    frame::{self, Bed, Home, Node, NodeState, Notice, Refused, Role},
    lock::Mutex,
    pool::{self, Pool, Watched},
    sim::Sim,
};

/// A deferred finalizer, or a child that borrows nothing, boxed.
pub(crate) type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The part of a group that its tasks and handles share. It knows nothing of the lifetime of the
/// group, nor of its error type.
///
/// A group is its own run queue. Its children are tasks whose wake-ups put them into `queue`, and
/// two kinds of runners take them out: the group's future, the *owner*, inside its own poll; and
/// *helpers*, which are tasks on the executor. While an owner is at it, helpers come only when it
/// has too much to do; when no runner is there and something is ready, one is called.
///
/// All of the state that changes is under one lock, so each transition is one critical section.
/// Nothing foreign is called in there; see [`Mutex`].
pub(crate) struct Hub {
    /// The group's place in the tree of frames.
    node: NodeState,
    pub(super) name: Option<Arc<str>>,
    /// Where the group was opened.
    pub(super) location: &'static Location<'static>,
    policy: Policy,
    /// The type of the errors that the report can take.
    error_type: TypeId,
    /// Where the group is; set when that is known.
    place: OnceLock<Place>,
    /// Whether any task was cancelled through its handle.
    any_marked: AtomicBool,
    /// Whether a child was cut short by a cancellation from further out.
    any_cut: AtomicBool,
    /// Whether there was ever a borrowing child.
    any_local: AtomicBool,
    /// Mirrors `State::closed`, for those who only want to know.
    closed: AtomicBool,
    /// What waits for something, or was cancelled through its handle.
    sleepers: Mutex<Sleepers>,
    state: Mutex<State>,
}

/// Where a group is.
struct Place {
    /// How many groups are around it.
    depth: usize,
    /// The threads that its helpers run on.
    pool: Arc<Pool>,
}

/// What of a group changes.
struct State {
    /// The parallel children that are ready, in the order in which they became so.
    queue: VecDeque<Runnable>,
    /// The borrowing children that are ready, by slot and id. A slot is used again, and a waker may
    /// be woken after its child is gone.
    woken: VecDeque<(usize, u64)>,
    /// Slots of borrowing children that have ended, to be used again.
    free_slots: Vec<usize>,
    /// The number of slots there have ever been.
    slots: usize,
    /// Set when the owner was left behind: its borrowing children are with it, wherever that is, and
    /// are not counted any more.
    locals_lost: bool,
    /// The body, or the finalizer that is being run, is ready.
    body_woken: bool,
    /// Something has happened that the owner is to look at.
    stirred: bool,
    owner: Owner,
    /// Wakes the owner's task; there while the owner is waiting.
    waker: Option<Waker>,
    /// Helpers that are running, or about to.
    helpers: usize,
    /// How many children have been taken from the queue, to see whether anybody does.
    taken: usize,
    /// `taken` as the monitor last saw it.
    taken_before: usize,
    /// Members that are not gone: children, and what was adopted.
    live: usize,
    /// Set when the group has returned: nothing can be spawned any more.
    closed: bool,
    limit: Limit,
    failures: Vec<RawFailure>,
    /// Deferred finalizers, in the order in which they were deferred.
    finalizers: Vec<(TaskInfo, BoxFuture)>,
    /// The group further out, and the member of it that opened this one.
    above: Option<(Arc<dyn Home>, u64)>,
}

/// What the owner of the group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// It is not being polled.
    Waiting,
    /// It is being polled, and leaves the queue to helpers.
    Polling,
    /// It is being polled, and runs the queue.
    Driving,
    /// It was dropped or forgotten. The group has been handed up, and helpers see to the rest.
    Gone,
}

/// Who runs the children of a group that are ready, besides its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runners {
    /// Nobody yet. A group whose owner is being polled for the first time may not have found its
    /// place, and what is not in the tree of frames must not be polled.
    Owner,
    /// Helpers on the threads of a pool: one, and more when it takes long.
    Threads,
    /// A test run, which is told of each child that is ready, and decides.
    Stage,
}

/// Who has to be called to run what is ready, once the lock is released.
#[derive(Clone, Copy, Default)]
#[must_use = "somebody may have to be called"]
struct Call {
    /// So many helpers are to be started; they have been counted.
    helpers: usize,
    /// Somebody may be too busy to run what is ready: it has to be looked after.
    rouse: bool,
}

impl From<Call> for Then {
    fn from(call: Call) -> Self {
        Self {
            call,
            ..Self::default()
        }
    }
}

/// What has to be done after a change, once the lock is released.
#[derive(Default)]
#[must_use = "somebody may have to be woken"]
struct Then {
    /// The owner's waker.
    wake: Option<Waker>,
    call: Call,
    /// The group, which had lost its owner, has ended.
    closed: bool,
    /// The group that it was adopted by.
    release: Option<Arc<dyn Home>>,
}

impl Then {
    /// Does both.
    fn and(self, other: Self) -> Self {
        Self {
            wake: self.wake.or(other.wake),
            call: Call {
                helpers: self.call.helpers + other.call.helpers,
                rouse: self.call.rouse || other.call.rouse,
            },
            closed: self.closed || other.closed,
            release: self.release.or(other.release),
        }
    }
}

/// What a helper does next.
pub(super) enum Errand {
    /// There is more to run.
    Run,
    /// The owner is gone, all tasks are: a deferred finalizer is to be run.
    Finalize(TaskInfo, BoxFuture),
    /// Nothing: the helper was counted off.
    None,
}

/// What the owner does next.
pub(super) enum Turn {
    /// Something is ready.
    Again,
    /// The waker will be woken.
    Wait,
    /// All members are gone.
    Joined,
    /// The group has been handed up: its owner has been left behind.
    Lost,
}

impl State {
    /// Counts a parallel child off, if nobody is waiting for that.
    fn leave_unnoticed(&mut self) -> bool {
        let is_unnoticed = self.live > 1 && self.limit.leave_unnoticed();
        self.live -= usize::from(is_unnoticed);
        is_unnoticed
    }

    /// Takes a child's place back, and its slot if it borrowed.
    fn leave(&mut self, slot: Option<usize>, runners: Runners) -> Then {
        self.free_slots.extend(slot);
        let next = self.limit.leave();
        let started = next.map(|child| self.start(child, runners));
        let started = started.unwrap_or_default();
        if slot.is_some() && self.locals_lost {
            return started;
        }
        self.count_off().and(started)
    }

    /// Puts a child that is ready where it will be run.
    fn start(&mut self, child: Queued, runners: Runners) -> Then {
        match child {
            Queued::Local(slot, id) => {
                self.woken.push_back((slot, id));
                self.wake_owner()
            }
            Queued::Parallel(runnable) => self.push(runnable, runners).into(),
        }
    }

    /// Puts a parallel child that is ready into the queue.
    fn push(&mut self, runnable: Runnable, runners: Runners) -> Call {
        self.queue.push_back(runnable);
        self.hand_to_runners(runners)
    }

    /// Has somebody run the queue.
    ///
    /// Does nothing while there are none: the owner will run the queue.
    fn hand_to_runners(&mut self, runners: Runners) -> Call {
        let someone_is_there = self.owner == Owner::Driving || self.helpers > 0;
        let helpers = match runners {
            Runners::Owner => 0,
            Runners::Threads => usize::from(!someone_is_there),
            Runners::Stage => self.queue.len().saturating_sub(self.helpers),
        };
        self.helpers += helpers;
        Call {
            helpers,
            // Once is enough: while the queue is not empty the monitor stays awake.
            rouse: runners == Runners::Threads && someone_is_there && self.queue.len() == 1,
        }
    }

    /// Has the owner look.
    fn wake_owner(&mut self) -> Then {
        Then {
            wake: self.waker.take(),
            ..Then::default()
        }
    }

    /// Counts a member off that is gone.
    fn count_off(&mut self) -> Then {
        self.live -= 1;
        if self.live > 0 {
            return Then::default();
        }
        self.stirred = true;
        match self.owner {
            Owner::Gone => self.wind_up(),
            _ => self.wake_owner(),
        }
    }

    /// Ends a group without an owner, whose members are all gone.
    fn wind_up(&mut self) -> Then {
        if self.closed || self.live > 0 {
            return Then::default();
        }
        if self.finalizers.is_empty() {
            self.closed = true;
            let above = self.above.take();
            return Then {
                closed: true,
                release: above.map(|(home, _)| home),
                ..Then::default()
            };
        }
        let helpers = usize::from(self.helpers == 0);
        self.helpers += helpers;
        Then {
            call: Call {
                helpers,
                rouse: false,
            },
            ..Then::default()
        }
    }
}

impl Hub {
    pub(crate) fn new(
        name: Option<Arc<str>>,
        location: &'static Location<'static>,
        policy: Policy,
        limit: usize,
        error_type: TypeId,
    ) -> Arc<Self> {
        Arc::new(Self {
            node: NodeState::new(Role::Group),
            name,
            location,
            policy,
            error_type,
            place: OnceLock::new(),
            any_marked: AtomicBool::new(false),
            any_cut: AtomicBool::new(false),
            any_local: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            sleepers: Mutex::default(),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                woken: VecDeque::new(),
                free_slots: Vec::new(),
                slots: 0,
                locals_lost: false,
                body_woken: true,
                stirred: false,
                owner: Owner::Waiting,
                waker: None,
                helpers: 0,
                taken: 0,
                taken_before: 0,
                live: 0,
                closed: false,
                limit: Limit::new(limit),
                failures: Vec::new(),
                finalizers: Vec::new(),
                above: None,
            }),
        })
    }

    /// Changes the state, and then does what follows from it.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> (T, Then)) -> T {
        let (result, then) = change(&mut self.state.lock());
        self.follow_up(then);
        result
    }

    fn follow_up(self: &Arc<Self>, then: Then) {
        frame::wake(then.wake);
        self.call(then.call);
        if then.closed {
            self.mark_closed();
        }
        // In a loop: groups may have been handed up many levels deep.
        let mut release = then.release;
        while let Some(home) = release {
            release = home.release();
        }
    }

    fn call(self: &Arc<Self>, call: Call) {
        for _ in 0..call.helpers {
            child::help(self);
        }
        if call.rouse {
            pool::rouse();
        }
    }

    fn is_placed(&self) -> bool {
        self.place.get().is_some()
    }

    /// Who runs children that are ready, besides the owner.
    fn runners(&self) -> Runners {
        match self.place.get() {
            None => Runners::Owner,
            Some(place) if place.pool.sim().is_some() => Runners::Stage,
            Some(_) => Runners::Threads,
        }
    }

    /// The test run that the group is part of.
    pub(super) fn sim(&self) -> Option<&Arc<Sim>> {
        self.pool()?.sim()
    }
}

// Where the group is.
impl Hub {
    /// Says where the group is: below the member of another group, or below nothing.
    pub(super) fn set_place(&self, above: Option<(Arc<dyn Home>, u64)>) {
        let depth = above.as_ref().map_or(0, |(home, _)| home.depth() + 1);
        let before = mem::replace(&mut self.state.lock().above, above);
        drop(before);
        self.place.get_or_init(|| Place {
            depth,
            pool: Pool::current(),
        });
    }

    /// Finds out where the group is, if the running code is inside it.
    ///
    /// Helpers may come from then on. Before that, in the first poll of the group, all that is
    /// spawned waits for the owner.
    fn find_place(self: &Arc<Self>) {
        if !self.is_placed() {
            let node: Arc<dyn Node> = Arc::clone(self) as _;
            if let Some(above) = frame::place_of(&node) {
                self.set_place(above);
            }
        }
    }

    pub(super) fn pool(&self) -> Option<&Arc<Pool>> {
        self.place.get().map(|place| &place.pool)
    }

    pub(super) fn as_home(self: &Arc<Self>) -> Arc<dyn Home> {
        Arc::clone(self) as _
    }

    pub(super) fn as_node(self: &Arc<Self>) -> Arc<dyn Node> {
        Arc::clone(self) as _
    }
}

// Children.
impl Hub {
    /// Counts a new child, unless the group has returned.
    pub(super) fn admit(self: &Arc<Self>) -> bool {
        self.find_place();
        let mut state = self.state.lock();
        let open = !state.closed;
        state.live += usize::from(open);
        open
    }

    /// Makes a child and takes it over, unless the group has returned.
    ///
    /// The child is made under the lock, allocation and all: that is cheaper than to lock twice, and
    /// nothing of the user's runs.
    pub(super) fn enter_new<H>(
        self: &Arc<Self>,
        make: impl FnOnce() -> (Runnable, H),
    ) -> Option<H> {
        self.find_place();
        let runners = self.runners();
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.live += 1;
        let (runnable, handle) = make();
        let call = match state.limit.enter(Queued::Parallel(runnable)) {
            Some(Queued::Parallel(runnable)) => state.push(runnable, runners),
            _ => Call::default(),
        };
        drop(state);
        self.call(call);
        Some(handle)
    }

    /// Takes an admitted child over.
    pub(super) fn enter(self: &Arc<Self>, child: Queued) {
        let runners = self.runners();
        self.change(|state| match state.limit.enter(child) {
            Some(child) => ((), state.start(child, runners)),
            None => ((), Then::default()),
        });
    }

    /// Takes an admitted borrowing child over.
    pub(super) fn enter_local(&self, slot: usize, id: u64) {
        let owner = {
            let mut state = self.state.lock();
            match state.limit.enter(Queued::Local(slot, id)) {
                Some(_) => {
                    state.woken.push_back((slot, id));
                    state.waker.take()
                }
                None => None,
            }
        };
        frame::wake(owner);
    }

    /// Counts a child off that was admitted and did not enter.
    pub(super) fn turn_away(self: &Arc<Self>) {
        self.change(|state| ((), state.count_off()));
    }

    /// Chooses the slot for a borrowing child.
    pub(super) fn take_slot(self: &Arc<Self>) -> usize {
        // Relaxed: whoever runs the child takes the lock, after its slot was put among the woken.
        self.any_local.store(true, Ordering::Relaxed);
        self.change(|state| {
            let slot = state.free_slots.pop().unwrap_or_else(|| {
                state.slots += 1;
                state.slots - 1
            });
            let then = if state.locals_lost {
                state.count_off()
            } else {
                Then::default()
            };
            (slot, then)
        })
    }

    /// Counts a borrowing child off that has a slot and did not enter.
    pub(super) fn turn_away_local(self: &Arc<Self>) {
        self.change(|state| {
            let then = if state.locals_lost {
                Then::default()
            } else {
                state.count_off()
            };
            ((), then)
        });
    }

    /// Stops counting the borrowing children: nobody can reach them.
    fn lose_locals(&self) {
        let mut state = self.state.lock();
        if state.owner != Owner::Gone && !state.locals_lost {
            state.locals_lost = true;
            state.live -= state.slots - state.free_slots.len();
        }
    }

    /// A child that was woken goes into the queue.
    pub(super) fn push(self: &Arc<Self>, runnable: Runnable) {
        let runners = self.runners();
        let call = self.state.lock().push(runnable, runners);
        self.call(call);
    }

    /// A borrowing child was woken.
    pub(super) fn wake_local(self: &Arc<Self>, slot: usize, id: u64) {
        let owner = {
            let mut state = self.state.lock();
            state.woken.push_back((slot, id));
            state.waker.take()
        };
        frame::wake(owner);
    }

    /// Counts a child off that has left, and takes the next one from the queue if there is time.
    /// Returns also how many more are ready.
    pub(super) fn next_child(
        self: &Arc<Self>,
        gone: bool,
        more: bool,
    ) -> Option<(Runnable, usize)> {
        let mut state = self.state.lock();
        state.taken = state.taken.wrapping_add(1);
        let then = if !gone || state.leave_unnoticed() {
            None
        } else {
            Some(state.leave(None, self.runners()))
        };
        let next = if more { state.queue.pop_front() } else { None };
        let next = next.map(|next| (next, state.queue.len()));
        drop(state);
        if let Some(then) = then {
            self.follow_up(then);
        }
        next
    }

    /// Takes the borrowing children that are ready, so many at most.
    pub(super) fn take_woken(&self, ready: &mut VecDeque<(usize, u64)>, most: usize) {
        let mut state = self.state.lock();
        if ready.is_empty() && state.woken.len() <= most {
            mem::swap(&mut state.woken, ready);
        } else {
            let most = most.min(state.woken.len());
            ready.extend(state.woken.drain(..most));
        }
    }

    /// Counts a borrowing child off that has left its slot.
    pub(super) fn leave_slot(self: &Arc<Self>, slot: usize) {
        let mut state = self.state.lock();
        if state.leave_unnoticed() {
            state.free_slots.push(slot);
            return;
        }
        let then = state.leave(Some(slot), self.runners());
        drop(state);
        self.follow_up(then);
    }

    /// The number of members that are not gone.
    pub(super) fn len(&self) -> usize {
        self.state.lock().live
    }

    fn mark_closed(&self) {
        // Release: pairs with the Acquire in `is_closed`.
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Forgets a borrowing child that was dropped where it waited.
    pub(super) fn evict(&self, id: u64) {
        let waker = self.sleepers.lock().evict(id);
        drop(waker);
    }

    /// Cancels a child through its handle.
    pub(super) fn cancel_task(self: &Arc<Self>, id: u64, is_finished: impl Fn() -> bool) {
        let runners = self.runners();
        self.any_marked.store(true, Ordering::Release);
        let waker = self.sleepers.lock().mark(id);
        self.change(|state| match state.limit.flush_one(id) {
            Some(child) => ((), state.start(child, runners)),
            None => ((), Then::default()),
        });
        frame::wake(waker);
        // A child that has finished takes its mark away, unless it was just made.
        if is_finished() {
            drop(self.sleepers.lock().forget(id, None));
        }
    }
}

// The owner.
impl Hub {
    /// The owner begins a poll. False if the group has been handed up: the task that it was in has
    /// ended without it.
    pub(super) fn begin_poll(&self, drives: bool) -> bool {
        let mut state = self.state.lock();
        if state.owner == Owner::Gone {
            return false;
        }
        state.owner = if drives {
            Owner::Driving
        } else {
            Owner::Polling
        };
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        true
    }

    /// Whether the body, or the finalizer that is being run, has been woken.
    pub(super) fn take_body_woken(&self) -> bool {
        mem::take(&mut self.state.lock().body_woken)
    }

    /// Wakes the body again.
    pub(super) fn wake_body(self: &Arc<Self>) {
        self.change(|state| {
            state.body_woken = true;
            ((), state.wake_owner())
        });
    }

    /// The owner has done what it could. `body_done` says whether only its children are left.
    ///
    /// If there is nothing more to do, `waker` will be woken when there is.
    pub(super) fn end_turn(
        self: &Arc<Self>,
        body_done: bool,
        out_of_budget: bool,
        waker: &mut Option<Waker>,
    ) -> Turn {
        let runners = self.runners();
        self.change(|state| {
            if state.owner == Owner::Gone {
                return (Turn::Lost, Then::default());
            }
            if body_done && state.live == 0 {
                return (Turn::Joined, Then::default());
            }
            if body_done {
                // Nobody is there any more to be woken by it.
                state.body_woken = false;
            }
            let drives = state.owner == Owner::Driving;
            let stirred = mem::take(&mut state.stirred);
            let ready = stirred
                || state.body_woken
                || !state.woken.is_empty()
                || drives && !state.queue.is_empty();
            if ready && !out_of_budget {
                return (Turn::Again, Then::default());
            }
            state.owner = Owner::Waiting;
            mem::swap(&mut state.waker, waker);
            let then = if state.queue.is_empty() {
                Then::default()
            } else {
                state.hand_to_runners(runners).into()
            };
            let ready_later = if ready {
                state.wake_owner()
            } else {
                Then::default()
            };
            (Turn::Wait, then.and(ready_later))
        })
    }

    /// The owner has nothing more to do, and waits for a scope further out to drop it.
    pub(super) fn wait_to_be_dropped(&self, waker: Waker) {
        let before = {
            let mut state = self.state.lock();
            state.owner = Owner::Waiting;
            state.waker.replace(waker)
        };
        drop(before);
    }

    /// Why the group was cancelled, unless it was only because a member failed.
    pub(super) fn cancelled_by(&self) -> Option<Cause> {
        if !self.node.is_cancelled() {
            return None;
        }
        match self.node.cause() {
            Some(Cause::Failure) => None,
            Some(cause) => Some(cause),
            None => self.node.is_enclosed().then_some(Cause::Enclosing),
        }
    }

    /// Whether a child was cut short by a cancellation from further out.
    pub(super) fn was_cut(&self) -> bool {
        self.any_cut.load(Ordering::Acquire)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }

    /// Keeps a finalizer that was begun and not finished.
    pub(super) fn put_back(&self, finalizing: Finalizing) {
        let (task, finalizer) = finalizing.into_parts();
        if let Some(finalizer) = finalizer {
            self.state.lock().finalizers.push((task, finalizer));
        }
    }

    /// Whether there was ever a borrowing child.
    pub(super) fn any_local(&self) -> bool {
        self.any_local.load(Ordering::Relaxed)
    }

    /// How many borrowing children are ready.
    pub(super) fn locals_ready(&self) -> usize {
        self.state.lock().woken.len()
    }

    /// Takes the finalizer that was deferred last.
    pub(super) fn take_finalizer(&self) -> Option<(TaskInfo, BoxFuture)> {
        self.state.lock().finalizers.pop()
    }

    /// Keeps a finalizer for the end. False if the group has returned.
    pub(super) fn defer(&self, task: TaskInfo, finalizer: BoxFuture) -> Result<(), BoxFuture> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(finalizer);
        }
        state.finalizers.push((task, finalizer));
        Ok(())
    }

    /// Closes the group if nothing has come up meanwhile.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state.lock();
        if state.live > 0 || !state.finalizers.is_empty() {
            return false;
        }
        state.closed = true;
        self.mark_closed();
        let above = state.above.take();
        drop(state);
        drop(above);
        true
    }

    /// The owner is dropped and waits for nothing any more.
    ///
    /// Its waker must not be kept by those who keep the group: tasks keep the groups that they are
    /// in, and so a chain as long as groups are deep would hang on one of them.
    pub(super) fn let_go(&self) {
        let waker = self.state.lock().waker.take();
        if let Err(panic) = catch(|| drop(waker)) {
            frame::report_panic(panic);
        }
    }

    /// Takes the report.
    pub(super) fn take_failures(&self) -> Vec<RawFailure> {
        mem::take(&mut self.state.lock().failures)
    }

    /// Records a panic of a member.
    pub(super) fn report_panic(self: &Arc<Self>, task: TaskInfo, panic: Panic) {
        frame::report(self.as_home(), RawFailure::panic(task, panic));
    }

    /// Cancels the group and everything in it.
    pub(super) fn cancel(self: &Arc<Self>, cause: Cause) {
        // What fails while the group is being cancelled from further out is not why it was.
        let cause = match cause {
            Cause::Failure if self.node.is_enclosed() => Cause::Enclosing,
            cause => cause,
        };
        self.as_node().cancel(cause);
    }

    /// Hands the group up: its owner is gone. What it still has to report goes to the group further
    /// out, which does not end before this one has.
    ///
    /// Returns what nobody is there to be told of.
    pub(super) fn hand_up(self: &Arc<Self>) -> Vec<RawFailure> {
        if self.state.lock().owner == Owner::Gone {
            // It was left behind before, and is dropped only now.
            return Vec::new();
        }
        let placed = self.is_placed();
        let mut home = if placed {
            self.home_above()
        } else {
            frame::enclosing_home().map(|(home, _)| home)
        };
        let failures = if self.close() {
            self.take_failures()
        } else {
            if !placed {
                self.set_place(frame::enclosing_home());
            }
            home = adopt(home);
            let runners = self.runners();
            let above = home.clone().zip(Some(self.opened_by().unwrap_or_default()));
            let (failures, before) = self.change(|state| {
                state.owner = Owner::Gone;
                let before = (mem::replace(&mut state.above, above), state.waker.take());
                let failures = mem::take(&mut state.failures);
                let mut then = state.wind_up();
                if !state.queue.is_empty() {
                    then = then.and(state.hand_to_runners(runners).into());
                }
                ((failures, before), then)
            });
            drop(before);
            failures
        };
        let Some(home) = home else { return failures };
        for failure in failures {
            frame::report(Arc::clone(&home), failure);
        }
        Vec::new()
    }
}

/// Finds the nearest group that takes another one in.
fn adopt(home: Option<Arc<dyn Home>>) -> Option<Arc<dyn Home>> {
    let mut next = home;
    while let Some(home) = next {
        if home.adopt() {
            return Some(home);
        }
        next = home.home_above();
    }
    None
}

// Helpers.
impl Hub {
    /// What a helper does next, when it has nothing to run or has run enough.
    pub(super) fn next_errand(self: &Arc<Self>) -> Errand {
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
    pub(super) fn call_help(self: &Arc<Self>) {
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

impl Node for Hub {
    fn state(&self) -> &NodeState {
        &self.node
    }

    fn stir(self: Arc<Self>) {
        let runners = self.runners();
        let cancelled = self.node.is_cancelled();
        self.change(|state| {
            state.stirred = true;
            let mut then = state.wake_owner();
            if cancelled {
                for child in state.limit.flush() {
                    then = then.and(state.start(child, runners));
                }
            }
            ((), then)
        });
        let wakers = if cancelled {
            self.sleepers.lock().rouse()
        } else {
            // A deadline was moved.
            self.sleepers.lock().wakers()
        };
        frame::wake(wakers);
    }

    fn left_behind(self: Arc<Self>) {
        self.cancel(Cause::Dropped);
        self.let_go();
        self.lose_locals();
        for failure in self.hand_up() {
            failure.unclaimed();
        }
    }
}

impl Home for Hub {
    fn take_in(self: Arc<Self>, failure: RawFailure) -> Option<Refused> {
        {
            let mut state = self.state.lock();
            if state.closed || state.owner == Owner::Gone || !failure.fits(self.error_type) {
                let above = state.above.as_ref().map(|(home, _)| Arc::clone(home));
                return Some((failure, above));
            }
            state.failures.push(failure.fitted(self.error_type));
        }
        if self.policy == Policy::FailFast {
            self.cancel(Cause::Failure);
        }
        None
    }

    fn adopt(&self) -> bool {
        let mut state = self.state.lock();
        let open = !state.closed;
        state.live += usize::from(open);
        open
    }

    fn release(self: Arc<Self>) -> Option<Arc<dyn Home>> {
        let mut then = self.state.lock().count_off();
        let next = then.release.take();
        self.follow_up(then);
        next
    }

    fn home_above(&self) -> Option<Arc<dyn Home>> {
        let state = self.state.lock();
        state.above.as_ref().map(|(home, _)| Arc::clone(home))
    }

    fn opened_by(&self) -> Option<u64> {
        self.state.lock().above.as_ref().map(|(_, id)| *id)
    }

    fn depth(&self) -> usize {
        self.place.get().map_or(0, |place| place.depth)
    }

    fn sleep(&self, id: u64, waker: Waker) -> Bed {
        self.sleepers.lock().lie_down(id, waker)
    }

    fn forget(&self, id: u64, bed: Option<Bed>) -> Option<Waker> {
        if bed.is_none() && !self.any_marked.load(Ordering::Acquire) {
            return None;
        }
        self.sleepers.lock().forget(id, bed)
    }

    fn notice(&self, id: u64) -> Notice {
        Notice {
            marked: self.is_marked(id),
            cancelled: self.node.is_cancelled(),
        }
    }

    fn note_cut(&self, id: u64) {
        if self.node.is_enclosed() && !self.is_marked(id) {
            // Release: pairs with the Acquire in `was_cut`.
            self.any_cut.store(true, Ordering::Release);
        }
    }

    #[inline]
    fn is_marked(&self, id: u64) -> bool {
        // Acquire: pairs with the Release in `cancel_task`.
        self.any_marked.load(Ordering::Acquire) && self.sleepers.lock().is_marked(id)
    }

    fn node(self: Arc<Self>) -> Arc<dyn Node> {
        self
    }
}

/// Wakes the body of the group, or the finalizer that is being run.
///
/// The body is polled with this waker instead of that of the owner's task, so that the owner knows
/// whom a wake-up is for, and needs none while it is at it.
impl Wake for Hub {
    fn wake(self: Arc<Self>) {
        self.wake_body();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_body();
    }
}
