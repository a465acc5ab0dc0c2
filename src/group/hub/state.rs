//! What of a group changes, and what follows from a change.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use crate::{
    error::{RawFailure, TaskInfo},
    frame::Home,
    group::{
        child::Runnable,
        hub::{BoxFuture, Hub, Woken},
        limit::{Limit, Queued},
        ready::Ready,
    },
    pool::{self, Pool, Urgency},
};

/// What of a group changes.
pub(super) struct State {
    /// The parallel children that are ready.
    pub(super) ready: Ready<Runnable>,
    /// The borrowing children that were woken, or may be polled for the first time.
    pub(super) woken: VecDeque<Woken>,
    /// How much of `live` stands for borrowing children. Who counts them is the owner.
    pub(super) locals: usize,
    /// Whether all borrowing children are to be woken. That is done by the owner, who has them.
    pub(super) locals_stirred: bool,
    /// Set when the owner was left behind: its borrowing children are with it, wherever that is, and
    /// are not counted any more.
    pub(super) locals_lost: bool,
    /// The body, or the finalizer that is being run, is ready.
    pub(super) body_woken: bool,
    /// Something has happened that the owner is to look at.
    pub(super) stirred: bool,
    pub(super) owner: Owner,
    /// Wakes the owner's task; there while the owner is waiting.
    pub(super) waker: Option<Waker>,
    /// Helpers that are running, or about to.
    pub(super) helpers: usize,
    /// How many children have been taken from the queue, to see whether anybody does.
    pub(super) taken: usize,
    /// How many children have come in.
    pub(super) entered: usize,
    /// `taken` as the monitor last saw it.
    pub(super) taken_before: usize,
    /// How often it has seen that since, with children waiting.
    pub(super) seen_stuck: u8,
    /// Members that are not gone: children, and what was adopted.
    pub(super) live: usize,
    /// How many of them are calls that block their thread.
    pub(super) calls: usize,
    /// Set when the group has returned: nothing can be spawned any more.
    pub(super) closed: bool,
    pub(super) limit: Limit,
    pub(super) failures: Vec<RawFailure>,
    /// Deferred finalizers, in the order in which they were deferred.
    pub(super) finalizers: Vec<(TaskInfo, BoxFuture)>,
    /// The group further out, and the member of it that opened this one.
    pub(super) above: Option<(Arc<dyn Home>, u64)>,
    /// The threads that its helpers run on; set when it is known where the group is.
    pub(super) pool: Option<Arc<Pool>>,
}

/// What the owner of the group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
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
pub(super) enum Runners {
    /// Nobody yet. A group whose owner is being polled for the first time may not have found its
    /// place, and what is not in the tree of frames must not be polled.
    Owner,
    /// Helpers on the threads of a pool: one, and more when it takes long.
    Threads,
    /// The same, and the children are long: each that becomes ready is worth a helper of its own, while
    /// there are threads.
    AllThreads,
    /// A test run, which is told of each child that is ready, and decides.
    Stage,
}

/// Who has to be called to run what is ready, once the lock is released.
#[derive(Clone, Copy, Default)]
#[must_use = "somebody may have to be called"]
pub(super) struct Call {
    /// So many helpers are to be started; they have been counted.
    pub(super) helpers: usize,
    /// Somebody may be too busy to run what is ready: it has to be looked after, so soon.
    pub(super) rouse: Option<Urgency>,
}

impl Call {
    /// So many helpers are to be started, and nothing else.
    pub(super) fn for_help(helpers: usize) -> Self {
        Self {
            helpers,
            rouse: None,
        }
    }
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
pub(super) struct Then {
    /// The owner's waker.
    pub(super) wake: Option<Waker>,
    pub(super) call: Call,
    /// The group, which had lost its owner, has ended.
    pub(super) closed: bool,
    /// The group that it was adopted by.
    pub(super) release: Option<Arc<dyn Home>>,
}

impl Then {
    /// Does both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            wake: self.wake.or(other.wake),
            call: Call {
                helpers: self.call.helpers + other.call.helpers,
                rouse: self.call.rouse.max(other.call.rouse),
            },
            closed: self.closed || other.closed,
            release: self.release.or(other.release),
        }
    }
}

impl State {
    /// How many children have come in, and how many have been taken from the queue: in all.
    pub(super) fn activity(&self) -> usize {
        self.entered.wrapping_add(self.taken)
    }

    /// Counts a parallel child off, if nobody has to be woken for that: others are left, or the owner
    /// is at it and will see.
    pub(super) fn leave_unnoticed(&mut self) -> bool {
        let will_be_seen = matches!(self.owner, Owner::Polling | Owner::Driving);
        let is_unnoticed = (self.live > 1 || will_be_seen) && self.limit.leave_unnoticed();
        self.live -= usize::from(is_unnoticed);
        self.stirred |= self.live == 0;
        is_unnoticed
    }

    /// Counts a parallel child off, and takes its place back.
    pub(super) fn leave(&mut self, runners: Runners) -> Then {
        let started = self.pass_place_on(runners);
        self.count_off().and(started)
    }

    /// Takes the place of a child back that is gone, and starts the one that was waiting for it.
    pub(super) fn pass_place_on(&mut self, runners: Runners) -> Then {
        match self.limit.leave() {
            Some(Queued::Parallel(runnable)) if runners == Runners::AllThreads => {
                self.ready.push_newcomer(runnable);
                self.hand_to_runners(runners).into()
            }
            Some(child) => self.start(child, runners),
            None => Then::default(),
        }
    }

    /// Puts a child that is ready where it will be run.
    pub(super) fn start(&mut self, child: Queued, runners: Runners) -> Then {
        match child {
            Queued::Local(id) => {
                self.woken.push_back((Hub::HELD, id));
                self.wake_owner()
            }
            Queued::Parallel(runnable) => self.push(runnable, runners).into(),
        }
    }

    /// Puts a parallel child that is ready into the queue.
    #[inline]
    pub(super) fn push(&mut self, runnable: Runnable, runners: Runners) -> Call {
        self.ready.push(runnable);
        self.hand_to_runners(runners)
    }

    /// Has somebody run the queue.
    ///
    /// Does nothing while there are none: the owner will run the queue.
    #[inline]
    pub(super) fn hand_to_runners(&mut self, runners: Runners) -> Call {
        let someone_is_there = self.at_work() > 0;
        let helpers = match runners {
            Runners::Owner => 0,
            Runners::Threads => usize::from(!someone_is_there),
            Runners::AllThreads => usize::from(self.helpers < self.threads()),
            Runners::Stage => self.ready.len().saturating_sub(self.helpers),
        };
        self.helpers += helpers;
        // Once is enough: while the queue is not empty the monitor stays awake.
        let may_wait = self.ready.len() == 1
            && someone_is_there
            && helpers == 0
            && matches!(runners, Runners::Threads | Runners::AllThreads);
        Call {
            helpers,
            rouse: may_wait.then(|| self.urgency()),
        }
    }

    /// How soon somebody has to look whether children wait in vain. There is time if nobody could be
    /// called but the owner, and no processor is free for that.
    #[cold]
    pub(super) fn urgency(&self) -> Urgency {
        if self.helpers >= self.threads() && self.at_work() >= pool::processors() {
            Urgency::Later
        } else {
            Urgency::Soon
        }
    }

    /// How many run children, or are about to: the helpers, and the owner while it does.
    pub(super) fn at_work(&self) -> usize {
        self.helpers + usize::from(self.owner == Owner::Driving)
    }

    /// How many helpers there can be that run at the same time.
    pub(super) fn threads(&self) -> usize {
        self.pool.as_ref().map_or(0, |pool| pool.threads())
    }

    /// Whether the queue can be left to the helpers: the children are long, and all processors are at
    /// them already.
    pub(super) fn is_seen_to(&self, runners: Runners) -> bool {
        runners == Runners::AllThreads && self.helpers >= pool::processors()
    }

    /// Has the owner look.
    pub(super) fn wake_owner(&mut self) -> Then {
        Then {
            wake: self.waker.take(),
            ..Then::default()
        }
    }

    /// Counts a member off that is gone.
    pub(super) fn count_off(&mut self) -> Then {
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
    pub(super) fn wind_up(&mut self) -> Then {
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
            call: Call::for_help(helpers),
            ..Then::default()
        }
    }
}
