//! The shared heart of a group: its run queue, its count of tasks, its report.

mod children;
mod helpers;
mod places;
mod sleepers;
mod stage;
mod state;
mod turns;

use std::{
    any::TypeId,
    collections::VecDeque,
    future::Future,
    mem,
    panic::Location,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering},
    },
};

pub(super) use self::{children::Woken, helpers::Errand, turns::Turn};
use self::{
    sleepers::Sleepers,
    state::{Call, Owner, Runners, State, Then},
};
use super::{
    child::{self, Runnable},
    limit::Limit,
    policy::Policy,
    ready::Ready,
};
use crate::{
    error::Label,
    frame::{self, Home, Node, NodeState, Role, Ward},
    lock::Mutex,
    pool::{self, Pool},
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
    pub(super) label: Option<Arc<Label>>,
    /// Where the group was opened.
    pub(super) location: &'static Location<'static>,
    policy: Policy,
    /// The type of the errors that the report can take.
    error_type: TypeId,
    /// Who runs its children besides the owner, as a number; nobody until it is known where the group is.
    runners: AtomicU8,
    /// How long a child takes, in nanoseconds: a mean in which the last ones count most.
    mean_poll: AtomicU32,
    /// How many groups are around it. Known when the runners are.
    depth: AtomicUsize,
    /// Whether any task was cancelled through its handle.
    any_marked: AtomicBool,
    /// Whether a child was cut short by a cancellation from further out.
    any_cut: AtomicBool,
    /// Whether there was ever a borrowing child.
    any_local: AtomicBool,
    limited: bool,
    /// Mirrors `State::closed`, for those who only want to know.
    closed: AtomicBool,
    /// What waits for something, or was cancelled through its handle.
    sleepers: Mutex<Sleepers>,
    state: Mutex<State>,
}

impl Hub {
    pub(crate) fn new(
        label: Option<Arc<Label>>,
        location: &'static Location<'static>,
        policy: Policy,
        limit: usize,
        error_type: TypeId,
    ) -> Arc<Self> {
        Arc::new(Self {
            node: NodeState::new(Role::Group),
            label,
            location,
            policy,
            error_type,
            runners: AtomicU8::new(Runners::Owner as u8),
            mean_poll: AtomicU32::new(0),
            depth: AtomicUsize::new(0),
            any_marked: AtomicBool::new(false),
            any_cut: AtomicBool::new(false),
            any_local: AtomicBool::new(false),
            limited: limit < usize::MAX,
            closed: AtomicBool::new(false),
            sleepers: Mutex::default(),
            state: Mutex::new(State {
                ready: Ready::new(),
                woken: VecDeque::new(),
                locals: 0,
                locals_stirred: false,
                locals_lost: false,
                body_woken: true,
                stirred: false,
                owner: Owner::Waiting,
                waker: None,
                helpers: 0,
                taken: 0,
                entered: 0,
                taken_before: 0,
                seen_stuck: 0,
                live: 0,
                calls: 0,
                closed: false,
                limit: Limit::new(limit),
                failures: Vec::new(),
                finalizers: Vec::new(),
                above: None,
                pool: None,
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
        if let Some(home) = then.release {
            frame::release(home, Ward::Group);
        }
    }

    fn call(self: &Arc<Self>, call: Call) {
        for _ in 0..call.helpers {
            child::help(self);
        }
        if let Some(urgency) = call.rouse {
            pool::rouse(urgency);
        }
    }

    /// What the group is called.
    pub(super) fn name(&self) -> Option<&str> {
        self.label.as_deref()?.name()
    }

    pub(super) fn is_placed(&self) -> bool {
        self.runners() != Runners::Owner
    }

    /// Who runs children that are ready, besides the owner.
    fn runners(&self) -> Runners {
        // Acquire: pairs with the Release in `set_place`; the depth is known with it.
        match self.runners.load(Ordering::Acquire) {
            number if number == Runners::Threads as u8 => Runners::Threads,
            number if number == Runners::AllThreads as u8 => Runners::AllThreads,
            number if number == Runners::Stage as u8 => Runners::Stage,
            _ => Runners::Owner,
        }
    }

    /// The test run that the group is part of.
    pub(super) fn sim(&self) -> Option<Arc<Sim>> {
        match self.runners() {
            Runners::Stage => self.pool()?.sim().cloned(),
            _ => None,
        }
    }
}

// Where the group is.
impl Hub {
    /// Says where the group is: below the member of another group, or below nothing.
    pub(super) fn set_place(&self, above: Option<(Arc<dyn Home>, u64)>) {
        let depth = above.as_ref().map_or(0, |(home, _)| home.depth() + 1);
        // Not under the lock: it may start threads.
        let pool = (!self.is_placed()).then(Pool::current);
        let before = {
            let mut state = self.state.lock();
            if let (Some(pool), None) = (pool, &state.pool) {
                let runners = match pool.sim() {
                    Some(_) => Runners::Stage,
                    None => Runners::Threads,
                };
                state.pool = Some(pool);
                self.depth.store(depth, Ordering::Relaxed);
                self.runners.store(runners as u8, Ordering::Release);
            }
            mem::replace(&mut state.above, above)
        };
        drop(before);
    }

    /// Finds out where the group is, if the running code is inside it.
    ///
    /// Helpers may come from then on. Before that, in the first poll of the group, all that is
    /// spawned waits for the owner.
    pub(super) fn find_place(self: &Arc<Self>) {
        if !self.is_placed() {
            let node: Arc<dyn Node> = Arc::clone(self) as _;
            if let Some(above) = frame::place_of(&node) {
                self.set_place(above);
            }
        }
    }

    /// The threads that its helpers run on.
    pub(super) fn pool(&self) -> Option<Arc<Pool>> {
        if self.is_placed() {
            self.state.lock().pool.clone()
        } else {
            None
        }
    }

    pub(super) fn as_home(self: &Arc<Self>) -> Arc<dyn Home> {
        Arc::clone(self) as _
    }

    pub(super) fn as_node(self: &Arc<Self>) -> Arc<dyn Node> {
        Arc::clone(self) as _
    }
}
