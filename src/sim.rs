//! Where a test runtime takes hold.
//!
//! A test run is one thread that runs everything: its clock is virtual, and where a real run leaves
//! it to chance what happens next, it asks a *schedule*. The rest of the crate knows of it through
//! the methods of [`Sim`], called where the two differ: what time is it, who runs a child that is
//! ready, which of several goes first; and where there is something to tell, for the list of steps
//! and the tree of living tasks.
//!
//! Without the feature `testing` a [`Sim`] cannot exist. [`current`] is `None` then, at compile
//! time, and nothing of this is in the program.

#[cfg(not(feature = "testing"))]
mod absent;
#[cfg(feature = "testing")]
mod schedule;
#[cfg(feature = "testing")]
mod story;
#[cfg(feature = "testing")]
mod timers;
#[cfg(feature = "testing")]
mod world;

use std::{future::Future, panic::Location, pin::Pin, sync::Arc, time::Instant};

#[cfg(not(feature = "testing"))]
pub(crate) use self::absent::{Sim, TimerKey, current, held};
#[cfg(feature = "testing")]
pub(crate) use self::{
    schedule::{Choice, Schedule},
    story::{Finding, Step},
    timers::TimerKey,
    world::{Next, Sim, Stuck, current, held, here},
};
use crate::error::Label;

/// A job that a group gives away: a finalizer whose group has lost its owner.
pub(crate) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A call that blocks its thread.
pub(crate) type Call = Box<dyn FnOnce() + Send>;

/// A task group, as a test run sees it.
#[cfg_attr(
    not(feature = "testing"),
    expect(dead_code, reason = "only a test run calls these")
)]
pub(crate) trait Staged: Send + Sync {
    /// Runs the child that is at this place among those that are ready.
    fn take_turn(self: Arc<Self>, rank: usize);

    /// Describes the group.
    fn about(&self) -> About;
}

/// What the report of a test run says about a group.
#[cfg_attr(
    not(feature = "testing"),
    expect(dead_code, reason = "only a test run reads these")
)]
pub(crate) struct About {
    pub(crate) label: Option<Arc<Label>>,
    pub(crate) location: &'static Location<'static>,
    /// The id of the member that opened the group.
    pub(crate) opened_by: Option<u64>,
    pub(crate) is_cancelled: bool,
    /// Whether it has returned.
    pub(crate) is_closed: bool,
}

#[cfg(feature = "testing")]
impl About {
    /// What the group is called.
    pub(crate) fn name(&self) -> Option<&str> {
        self.label.as_deref()?.name()
    }
}

/// What happened to a task in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Spawned,
    Waits,
    Returned,
    Failed,
    Panicked,
    Cancelled,
}

/// What a task is under while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Scope {
        name: Option<Arc<str>>,
        deadline: Option<Instant>,
        is_cancelled: bool,
    },
    Shield,
    Cleanup,
}

/// What became of a finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleanup {
    /// It is to be run from now on, whatever happens.
    Owed,
    /// It has been run to its end.
    Done,
}
