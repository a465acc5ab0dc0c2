//! Groups, as those see them who are inside.

use std::{num::NonZeroU32, sync::Arc, task::Waker};

use crate::{error::RawFailure, frame::node::Node};

/// A group, as its members see it.
pub(crate) trait Home: Node {
    /// Takes a failure into the group's report; or gives it back, with the group to be asked next.
    fn take_in(self: Arc<Self>, failure: RawFailure) -> Option<Refused>;

    /// Counts something in that it is to wait for. False if this group has returned already.
    fn adopt(&self, ward: Ward) -> bool;

    /// Counts off what was adopted. Returns the group that *this* one is to be counted off from, if
    /// it has ended with that.
    fn release(self: Arc<Self>, ward: Ward) -> Option<Arc<dyn Home>>;

    /// The group further out.
    fn home_above(&self) -> Option<Arc<dyn Home>>;

    /// The id of the member that this group was opened by.
    fn opened_by(&self) -> Option<u64>;

    /// How many groups are around this one.
    fn depth(&self) -> usize;

    /// Keeps the waker of a task that waits, for a cancellation.
    fn sleep(&self, id: u64, waker: Waker) -> Bed;

    /// Forgets what was kept for a task.
    fn forget(&self, id: u64, bed: Option<Bed>) -> Option<Waker>;

    /// What there is to know for a task that gets its turn.
    fn notice(&self, id: u64) -> Notice;

    /// Notes that a task of this group was cut short.
    fn note_cut(&self, id: u64);

    /// Whether this task was cancelled through its handle.
    fn is_marked(&self, id: u64) -> bool;

    /// Whether a task that has no node is cancelled: through its handle, or with its group.
    fn has_cancelled(&self, id: u64) -> bool;

    /// This group's place in the tree of frames.
    fn node(self: Arc<Self>) -> Arc<dyn Node>;
}

/// Where a group keeps the waker of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bed(pub(crate) NonZeroU32);

impl Bed {
    /// Nowhere: the group's future has the task itself, and knows how to wake it.
    pub(crate) const AT_OWNER: Self = Self(NonZeroU32::MAX);
}

/// What a group has to say to a task that gets its turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notice {
    /// The task was cancelled through its handle.
    pub(crate) marked: bool,
    /// The group was cancelled.
    pub(crate) cancelled: bool,
}

/// A failure that a group could not take, and the group further out.
pub(crate) type Refused = (RawFailure, Option<Arc<dyn Home>>);

/// Reports a failure to a group, or to the nearest one further out that can take it.
pub(crate) fn report(home: Arc<dyn Home>, failure: RawFailure) {
    let mut next = home;
    let mut failure = failure;
    loop {
        match next.take_in(failure) {
            None => return,
            Some((refused, Some(above))) => (failure, next) = (refused, above),
            Some((refused, None)) => return refused.unclaimed(),
        }
    }
}

/// What a group waits for besides its own tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ward {
    /// Another group, whose owner is gone.
    Group,
    /// A call that blocks its thread.
    Call,
}

/// Has the nearest group that has not returned count something in. Returns the group.
pub(crate) fn adopt(home: Option<Arc<dyn Home>>, ward: Ward) -> Option<Arc<dyn Home>> {
    let mut next = home;
    while let Some(home) = next {
        if home.adopt(ward) {
            return Some(home);
        }
        next = home.home_above();
    }
    None
}

/// Counts something off that a group has adopted.
pub(crate) fn release(home: Arc<dyn Home>, ward: Ward) {
    // In a loop: groups may have been handed up many levels deep.
    let mut next = home.release(ward);
    while let Some(home) = next {
        next = home.release(Ward::Group);
    }
}

/// Whether two groups are the same one.
pub(super) fn is_same(one: &Arc<dyn Home>, other: &Arc<dyn Home>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}
