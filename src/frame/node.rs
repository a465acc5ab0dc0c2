//! The tree of frames that a cancellation travels through.

use std::{
    mem, ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Instant,
};

use slab::Slab;

use crate::{
    error::{Cause, catch},
    frame::{dispose, report_panic},
    lock::Mutex,
};

/// What a frame is to a cancellation that comes from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Passes it through, and is itself a place that can be cancelled.
    Scope,
    /// Holds it off.
    Shield,
    /// Holds it off, since it has struck already: what is dropped runs to its end.
    Destructor,
    /// A call on a thread that it blocks. It cannot be dropped, so it runs to its end, and so does what
    /// it waits for; but the groups that it opens are cancelled, and return to it.
    Call,
    /// Passes it through to its body, and runs its cleanup when the body is gone.
    Finalizer,
    /// The root of a task: what is busy in a task concerns its group, not the frames above.
    Task,
    /// A task group. Its children and its body are below it.
    Group,
}

impl Role {
    /// Whether a cancellation from above ends here.
    pub(super) fn holds_off(self) -> bool {
        matches!(self, Self::Shield | Self::Destructor)
    }

    /// Whether a cancellation from above does not end what is right inside: nobody is there to drop it.
    pub(super) fn keeps(self) -> bool {
        self.holds_off() || self == Self::Call
    }

    /// Whether a cancellation of a frame with this role goes on to one right below.
    fn passes_on_to(self, below: Self) -> bool {
        match self {
            Self::Call => below == Self::Group,
            _ => !below.holds_off(),
        }
    }

    /// Whether protected work below a frame of this role protects the frame above it as well.
    ///
    /// Shields, finalizers and groups are protected themselves as long as they run, so what is
    /// below them makes no difference; and nothing above the root of a task waits for it.
    fn passes_busy_on(self) -> bool {
        self == Self::Scope
    }
}

/// Set when the frame itself was cancelled.
const CANCELLED: u8 = 1;

/// Set when a frame above was cancelled, with no shield between.
const ENCLOSED: u8 = 2;

/// A place in the tree of frames.
pub(crate) trait Node: Send + Sync {
    /// What all places have.
    fn state(&self) -> &NodeState;

    /// Called when the frame should look again: it was cancelled, or its surroundings were, or a
    /// deadline was moved, or its last protected part has ended.
    ///
    /// Called with no lock held.
    fn stir(self: Arc<Self>) {
        let waker = self.state().links.lock().waker.take();
        wake(waker);
    }

    /// Called when the task that the frame lived in has ended without dropping it: it was forgotten,
    /// or has been moved elsewhere.
    fn left_behind(self: Arc<Self>) {}
}

/// The node of a frame that is nothing but a frame.
pub(super) struct Frame(NodeState);

impl Frame {
    pub(super) fn make(role: Role, deadline: Option<Instant>) -> Arc<dyn Node> {
        let state = NodeState::new(role);
        state.start_deadline(deadline);
        Arc::new(Self(state))
    }
}

impl Node for Frame {
    fn state(&self) -> &NodeState {
        &self.0
    }
}

/// Makes the node of a frame that somebody has a handle to before it is first polled.
pub(crate) fn new_node(role: Role) -> Arc<dyn Node> {
    Frame::make(role, None)
}

/// Wakes a task whose waker may be anybody's, and may panic.
///
/// The panic counts as a failure of the task that does the waking.
pub(crate) fn wake(waker: impl IntoIterator<Item = Waker>) {
    for waker in waker {
        if let Err(panic) = catch(|| waker.wake()) {
            report_panic(panic);
        }
    }
}

/// The part of a node that is the same for all frames.
pub(crate) struct NodeState {
    role: Role,
    /// [`CANCELLED`] and [`ENCLOSED`]; set once, never cleared.
    flags: AtomicU8,
    /// How many protected frames are alive right below, counting a scope that is busy as one.
    busy: AtomicUsize,
    /// Whether there is a deadline, so that those without one need not be locked to know.
    has_deadline: AtomicBool,
    /// Whether there was ever a node below, so that those without one need not be locked to know.
    had_below: AtomicBool,
    links: Mutex<Links>,
}

/// What connects a node with its neighbours.
#[derive(Default)]
struct Links {
    /// The node above, and under which key it knows this one.
    above: Option<(Arc<dyn Node>, usize)>,
    /// The nodes below.
    below: Slab<Arc<dyn Node>>,
    /// Wakes the frame, with the waker that it was last polled with.
    waker: Option<Waker>,
    deadline: Option<Instant>,
    /// Whether the deadline was set through a handle.
    moved: bool,
    /// Why the frame was cancelled: the first cause stays.
    cause: Option<Cause>,
}

impl NodeState {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            flags: AtomicU8::new(0),
            busy: AtomicUsize::new(0),
            has_deadline: AtomicBool::new(false),
            had_below: AtomicBool::new(false),
            links: Mutex::default(),
        }
    }

    /// Whether the frame itself was cancelled.
    pub(crate) fn is_cancelled_itself(&self) -> bool {
        // Acquire: pairs with the AcqRel of `deliver`, so that the cause is visible with the flag.
        self.flags.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Whether the frame was cancelled, or one above it that reaches it.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.flags.load(Ordering::Acquire) != 0
    }

    /// Whether a frame above was cancelled and reaches this one.
    pub(crate) fn is_enclosed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & ENCLOSED != 0
    }

    /// Whether nothing protected is alive below.
    pub(crate) fn is_idle(&self) -> bool {
        // Acquire: pairs with the release in `unprotect`; what the protected part did is visible.
        self.busy.load(Ordering::Acquire) == 0
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        // Acquire: pairs with the Release in `set_deadline`; the lock is what orders the deadline.
        let has_one = self.has_deadline.load(Ordering::Acquire);
        if has_one {
            self.links.lock().deadline
        } else {
            None
        }
    }

    /// Sets the deadline that the frame starts with, unless it was moved before that.
    pub(crate) fn start_deadline(&self, deadline: Option<Instant>) {
        let mut links = self.links.lock();
        if !links.moved {
            self.set_deadline(&mut links, deadline);
        }
    }

    fn set_deadline(&self, links: &mut Links, deadline: Option<Instant>) {
        links.deadline = deadline;
        self.has_deadline
            .store(deadline.is_some(), Ordering::Release);
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        self.links.lock().cause.clone()
    }

    pub(super) fn above(&self) -> Option<Arc<dyn Node>> {
        self.links
            .lock()
            .above
            .as_ref()
            .map(|(node, _)| Arc::clone(node))
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Marks the frame as cancelled, if it is still below the one that the cancellation comes from.
    /// True if it was not cancelled before.
    fn mark(&self, flag: u8, from: Option<&Arc<dyn Node>>) -> bool {
        // Under the lock: whoever moves the node holds it, too, and looks at the flag afterwards.
        let links = self.links.lock();
        let above = links.above.as_ref().map(|(above, _)| above);
        let is_here = from.is_none_or(|from| above.is_some_and(|above| same(above, from)));
        // AcqRel: pairs with the loads of the flag; the cause was written before.
        is_here && self.flags.fetch_or(flag, Ordering::AcqRel) == 0
    }

    /// Leaves a waker for [`Node::stir`].
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let unchanged = {
            let links = self.links.lock();
            links.waker.as_ref().is_some_and(|set| set.will_wake(waker))
        };
        if !unchanged {
            let mut waker = Some(waker.clone());
            mem::swap(&mut self.links.lock().waker, &mut waker);
            drop(waker);
        }
    }
}

impl dyn Node {
    /// Cancels the frame and everything below it.
    pub(crate) fn cancel(self: &Arc<Self>, cause: Cause) {
        {
            let mut links = self.state().links.lock();
            links.cause.get_or_insert(cause);
        }
        deliver(Arc::clone(self), CANCELLED, None);
    }

    /// Moves the deadline, and has everything that may have gone by the old one look again.
    pub(crate) fn move_deadline(self: &Arc<Self>, deadline: Option<Instant>) {
        {
            let mut links = self.state().links.lock();
            links.moved = true;
            self.state().set_deadline(&mut links, deadline);
        }
        let mut nodes = vec![Arc::clone(self)];
        while let Some(node) = nodes.pop() {
            nodes.extend(node.reaches());
            node.stir();
        }
    }

    /// The nodes right below that a cancellation reaches.
    fn reaches(&self) -> Vec<Arc<dyn Node>> {
        let links = self.state().links.lock();
        let below = links.below.iter().map(|(_, node)| node);
        below
            .filter(|node| self.state().role.passes_on_to(node.state().role))
            .map(Arc::clone)
            .collect()
    }

    /// Puts the node below another one, wherever it was before, and hands it what has been cancelled
    /// there.
    pub(crate) fn link(self: &Arc<Self>, above: &Arc<Self>) {
        self.relink(Some(above), |_| true);
    }

    /// Takes the node away from the one above it.
    pub(super) fn unlink(self: &Arc<Self>) {
        self.relink(None, |_| true);
    }

    /// Moves the node below another one, or nowhere, if it is still where it is expected to be.
    ///
    /// Two locks are held here, the lower node's first; nowhere else is more than one.
    fn relink(
        self: &Arc<Self>,
        to: Option<&Arc<Self>>,
        is_expected: impl FnOnce(Option<&Arc<Self>>) -> bool,
    ) {
        let (before, cancelled) = {
            let mut links = self.state().links.lock();
            if !is_expected(links.above.as_ref().map(|(node, _)| node)) {
                return;
            }
            let before = links.above.take();
            let removed = before.as_ref().map(|(above, key)| {
                let mut above = above.state().links.lock();
                // It is not there any more if the node above has retired.
                above.below.try_remove(*key)
            });
            let cancelled = to.is_some_and(|to| {
                let mut above = to.state().links.lock();
                to.state().had_below.store(true, Ordering::Relaxed);
                links.above = Some((Arc::clone(to), above.below.insert(Arc::clone(self))));
                // Read under the lock: a cancellation sets the flag first and takes the lock then,
                // to see who is below. So either it finds this node there, or it is seen here.
                to.state().is_cancelled()
            });
            ((before, removed), cancelled)
        };
        drop(before);
        if let Some(to) =
            to.filter(|to| cancelled && to.state().role.passes_on_to(self.state().role))
        {
            deliver(Arc::clone(self), ENCLOSED, Some(Arc::clone(to)));
        }
    }

    /// Forgets that something further out was cancelled: the frame has been taken out of there alive.
    ///
    /// So have the frames in it. Groups and tasks that have been cancelled stay so.
    pub(super) fn pardon(self: &Arc<Self>) {
        let mut nodes = vec![Arc::clone(self)];
        while let Some(node) = nodes.pop() {
            let state = node.state();
            if matches!(state.role, Role::Scope | Role::Finalizer) {
                // AcqRel: as in `deliver`.
                let before = state.flags.fetch_and(!ENCLOSED, Ordering::AcqRel);
                if before == ENCLOSED {
                    nodes.extend(node.reaches());
                }
            }
        }
    }

    /// Takes the node out of the tree; what is still below it goes to the node above.
    pub(crate) fn retire(self: &Arc<Self>) {
        let (above, below, waker) = {
            let mut links = self.state().links.lock();
            let below = mem::take(&mut links.below);
            (links.above.take(), below, links.waker.take())
        };
        let above = above.map(|(above, key)| {
            above.disown(key, self);
            above
        });
        if waker.is_some() {
            // It may be anybody's, and this may be a destructor.
            dispose(waker);
        }
        if !below.is_empty() {
            let is_here = |above: Option<&Arc<Self>>| above.is_some_and(|above| same(above, self));
            for (_, node) in below {
                node.relink(above.as_ref(), is_here);
            }
        }
        // Protected frames that were forgotten below will never be counted off.
        if self.state().role.passes_busy_on() && self.state().busy.swap(0, Ordering::AcqRel) > 0 {
            if let Some(above) = &above {
                above.unprotect();
            }
        }
    }

    /// Takes a node away that is below this one, if it still is.
    fn disown(&self, key: usize, node: &Arc<Self>) {
        let removed = {
            let mut links = self.state().links.lock();
            let is_there = links.below.get(key).is_some_and(|below| same(below, node));
            is_there.then(|| links.below.remove(key))
        };
        drop(removed);
    }

    /// Counts a protected frame that is right below this one.
    pub(super) fn protect(self: &Arc<Self>) {
        let mut node = Arc::clone(self);
        loop {
            let state = node.state();
            // AcqRel, here and below: the steps of one frame's protection are seen in their order.
            let was_idle = state.busy.fetch_add(1, Ordering::AcqRel) == 0;
            if !was_idle || !state.role.passes_busy_on() {
                return;
            }
            let Some(above) = state.above() else { return };
            node = above;
        }
    }

    /// Counts a protected frame off that was right below this one.
    pub(super) fn unprotect(self: &Arc<Self>) {
        let mut node = Arc::clone(self);
        loop {
            let state = node.state();
            // A node that has retired counts nothing any more.
            let count_off = |busy: usize| busy.checked_sub(1);
            let before = state
                .busy
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, count_off);
            if before != Ok(1) {
                return;
            }
            let above = state.role.passes_busy_on().then(|| state.above()).flatten();
            if state.is_cancelled() {
                node.stir();
            }
            let Some(above) = above else { return };
            node = above;
        }
    }
}

/// Whether two nodes are the same one.
pub(super) fn same(one: &Arc<dyn Node>, other: &Arc<dyn Node>) -> bool {
    ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

/// Marks a node and everything below it as cancelled, and has the frames look.
///
/// One pass without recursion, whatever the depth. A node that was cancelled before is not entered
/// again: what is below it has been told, and what came later was told when it was linked. A node
/// that has been moved away meanwhile is not reached any more. No lock is held while a frame is
/// stirred.
fn deliver(node: Arc<dyn Node>, flag: u8, from: Option<Arc<dyn Node>>) {
    let mut nodes = vec![(node, flag, from)];
    while let Some((node, flag, from)) = nodes.pop() {
        if node.state().mark(flag, from.as_ref()) {
            let below = node.reaches().into_iter();
            nodes.extend(below.map(|below| (below, ENCLOSED, Some(Arc::clone(&node)))));
            node.stir();
        }
    }
}

/// Tells what is still below a node that its task has ended.
///
/// Frames that were dropped have left the tree by then. What is found here was forgotten, or moved
/// out of the task. The roots of tasks end with their group; one that was being started below such
/// a frame has nobody left to wait for it, and is cancelled.
pub(crate) fn abandon_below(node: &Arc<dyn Node>) {
    // Relaxed: what this task has put there, it knows of; with what somebody else is just moving there
    // it is a matter of chance anyway.
    if !node.state().had_below.load(Ordering::Relaxed) {
        return;
    }
    let mut nodes = vec![(Arc::clone(node), false)];
    while let Some((node, is_abandoned)) = nodes.pop() {
        let below: Vec<_> = {
            let links = node.state().links.lock();
            let below = links.below.iter().map(|(_, node)| node);
            below
                .filter(|node| is_abandoned || node.state().role != Role::Task)
                .map(Arc::clone)
                .collect()
        };
        for node in below {
            if node.state().role == Role::Task {
                node.cancel(Cause::Dropped);
                continue;
            }
            node.unlink();
            Arc::clone(&node).left_behind();
            nodes.push((node, true));
        }
    }
}
