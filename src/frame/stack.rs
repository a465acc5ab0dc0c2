//! The frames that the running code is under.

use std::{
    cell::RefCell,
    mem::{self, ManuallyDrop},
    sync::Arc,
    task::{Context, Waker},
    thread,
    time::Instant,
};

use crate::{
    clock,
    error::{Panic, RawFailure, TaskInfo, catch, discard},
    frame::{
        home::{Bed, Home, Notice, is_same, report},
        node::{Frame, Node, Role},
    },
    sim::{self, Cleanup, Event, Mark, Sim},
};

thread_local! {
    /// The frames that are being polled or dropped on this thread, the innermost last.
    ///
    /// Without a destructor, so that it is there for as long as anything runs on the thread: other
    /// thread-locals may use the crate when they are destroyed.
    static STACK: ManuallyDrop<RefCell<Vec<Level>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };

    /// Frees the memory of the stack when the thread ends.
    static SWEEPER: Sweeper = const { Sweeper };
}

struct Sweeper;

impl Drop for Sweeper {
    fn drop(&mut self) {
        look(Vec::shrink_to_fit);
    }
}

/// A frame while it polls or drops what it wraps.
pub(super) struct Level {
    pub(super) role: Role,
    /// The frame's node, if it has one by now. It belongs to the frame and goes back to it.
    pub(super) node: Option<Arc<dyn Node>>,
    /// Whether the node has been put below that of the level before.
    pub(super) linked: bool,
    /// The deadline of a frame without a node.
    pub(super) deadline: Option<Instant>,
    /// Set where a member of a group begins: a task, or the body of the group.
    pub(super) member: Option<Member>,
    /// Whether this is the root of a task: the frames further down on the stack happen to poll it,
    /// they are not above it.
    pub(super) detached: bool,
}

/// A member of a group, running.
pub(crate) struct Member {
    /// The group.
    pub(crate) home: Arc<dyn Home>,
    pub(crate) task: TaskInfo,
    /// Set once the member is done and its future is dropped.
    pub(crate) finished: bool,
    /// Set once it got an [`Aborted`](crate::Aborted) from a task of its own group.
    pub(crate) saw_aborted: bool,
    /// The address of the waker that the member is polled with. Wakers of this crate do not panic.
    pub(crate) waker: usize,
}

impl Member {
    pub(crate) fn new(home: Arc<dyn Home>, task: TaskInfo, cx: &Context<'_>) -> Self {
        Self {
            waker: cx.waker().data() as usize,
            ..Self::unpolled(home, task)
        }
    }

    /// A member of which something is running that is not polled, or whose waker nobody knows yet.
    pub(super) fn unpolled(home: Arc<dyn Home>, task: TaskInfo) -> Self {
        Self {
            home,
            task,
            finished: false,
            saw_aborted: false,
            waker: 0,
        }
    }
}

/// Looks at the stack.
fn look<T>(f: impl FnOnce(&mut Vec<Level>) -> T) -> Option<T> {
    STACK.try_with(|stack| f(&mut stack.borrow_mut())).ok()
}

/// The frames that this thread was under, until dropped.
#[must_use]
pub(crate) struct Aside(Vec<Level>);

/// Leaves all frames, for code that is to begin outside of any.
pub(crate) fn set_aside() -> Aside {
    Aside(look(mem::take).unwrap_or_default())
}

impl Drop for Aside {
    fn drop(&mut self) {
        look(|stack| mem::swap(stack, &mut self.0));
    }
}

/// Puts a frame on the stack, made where it is to lie. False on a thread that is ending: it has no
/// stack, and nothing is made.
pub(super) fn push(make: impl FnOnce() -> Level) -> bool {
    let pushed = look(|stack| {
        if stack.capacity() == 0 {
            // Makes it. It may be gone already, on a thread that is ending.
            SWEEPER.try_with(|_| ()).ok();
        }
        stack.push(make());
    });
    pushed.is_some()
}

/// Takes the innermost frame off the stack. `take` gets it, and the one below it; it must drop nothing
/// that belongs to anybody else.
pub(super) fn pop<T>(take: impl FnOnce(Level, Option<&Level>) -> T) -> Option<T> {
    look(|stack| {
        let level = stack.pop()?;
        Some(take(level, stack.last()))
    })
    .flatten()
}

/// Does the same for a frame that is no member's: `take` gets it where it lies, and takes from it whatever
/// belongs to anybody else. That is less to be moved.
#[inline]
pub(super) fn pop_in_place(take: impl FnOnce(&mut Level, Option<&Level>)) {
    look(|stack| {
        if let Some((level, below)) = stack.split_last_mut() {
            take(level, below.last());
            stack.truncate(stack.len() - 1);
        }
    });
}

/// The address of the innermost frame's node; 0 if there is none.
pub(super) fn top_address() -> usize {
    let top = |stack: &mut Vec<Level>| Some(address(stack.last()?.node.as_ref()?));
    look(top).flatten().unwrap_or(0)
}

/// The address of a node, to tell nodes apart.
pub(super) fn address(node: &Arc<dyn Node>) -> usize {
    Arc::as_ptr(node).cast::<()>() as usize
}

/// The node of the innermost frame, made for the purpose if need be, as are those above it.
/// `None` outside of any frame.
pub(super) fn top_node() -> Option<Arc<dyn Node>> {
    let (top, to_link) = look(|stack| {
        let top = stack.len().checked_sub(1)?;
        let to_link = make_nodes(stack, top);
        Some((stack[top].node.clone()?, to_link))
    })
    .flatten()?;
    link(to_link);
    Some(top)
}

/// Puts the frame with this node into the tree, if it is on the stack. Returns the member that it
/// was found in, which may be none.
pub(crate) fn place_of(node: &Arc<dyn Node>) -> Option<Option<(Arc<dyn Home>, u64)>> {
    let (member, to_link) = look(|stack| {
        let is_it = |level: &Level| {
            level
                .node
                .as_ref()
                .is_some_and(|known| address(known) == address(node))
        };
        let index = stack.iter().rposition(is_it)?;
        let member = stack[..index]
            .iter()
            .rev()
            .find_map(|level| level.member.as_ref());
        let member = member.map(|member| (Arc::clone(&member.home), member.task.id()));
        Some((member, make_nodes(stack, index)))
    })
    .flatten()?;
    link(to_link);
    Some(member)
}

/// A node, and the node that it is to be put below.
type Pair = (Arc<dyn Node>, Arc<dyn Node>);

/// Nodes that are to be put into the tree, the uppermost first. Mostly there is one.
#[derive(Default)]
struct ToLink {
    first: Option<Pair>,
    others: Vec<Pair>,
}

/// Puts nodes into the tree. That may wake tasks, so the stack must be free.
fn link(nodes: ToLink) {
    for (node, above) in nodes.first.into_iter().chain(nodes.others) {
        node.link(&above);
    }
}

/// Gives the levels up to this one their nodes, as far as they have none.
fn make_nodes(stack: &mut [Level], index: usize) -> ToLink {
    let levels = stack[..=index].iter().rev();
    let unlinked = levels.take_while(|level| !level.linked && !level.detached);
    let unlinked = unlinked.count();
    let mut nodes = ToLink::default();
    // One more: either the root of a task, or linked already.
    for index in (index + 1).saturating_sub(unlinked + 1)..=index {
        let Some(pair) = make_node(stack, index) else {
            continue;
        };
        if nodes.first.is_none() {
            nodes.first = Some(pair);
        } else {
            nodes.others.push(pair);
        }
    }
    nodes
}

/// Gives a level its node. Returns the node and the one that it goes below, if it is to be linked.
fn make_node(stack: &mut [Level], index: usize) -> Option<(Arc<dyn Node>, Arc<dyn Node>)> {
    let above = if stack[index].detached {
        let member = stack[index].member.as_ref();
        member.map(|member| Arc::clone(&member.home).node())
    } else {
        let above = index.checked_sub(1);
        above.and_then(|above| stack[above].node.clone())
    };
    let level = &mut stack[index];
    if level.linked {
        return None;
    }
    level.linked = true;
    let (role, deadline) = (level.role, level.deadline);
    let node = level
        .node
        .get_or_insert_with(|| Frame::make(role, deadline));
    Some((Arc::clone(node), above?))
}

/// Whether a frame that the running code is under has been cancelled, out to the nearest one that
/// [keeps](Role::keeps) what is inside.
///
/// A deadline that has passed counts once its scope has noticed; see [`due`].
pub(crate) fn cancelled() -> bool {
    // Every operation asks, and most are those of a task with no frame of its own.
    let cancelled = |stack: &mut Vec<Level>| match stack.last() {
        Some(Level {
            role: Role::Task,
            node: None,
            detached: true,
            member: Some(member),
            ..
        }) => member.home.has_cancelled(member.task.id()),
        _ => is_cancelled_out_to(stack, Role::keeps),
    };
    look(cancelled).unwrap_or(false)
}

/// Whether one of these frames has been cancelled, out to the nearest one of such a role.
#[inline(never)]
fn is_cancelled_out_to(stack: &[Level], is_end: fn(Role) -> bool) -> bool {
    for level in stack.iter().rev().take_while(|level| !is_end(level.role)) {
        if level
            .node
            .as_ref()
            .is_some_and(|node| node.state().is_cancelled())
        {
            return true;
        }
        let Some(member) = &level.member else {
            continue;
        };
        if level.role == Role::Task && member.home.is_marked(member.task.id()) {
            return true;
        }
        if level.detached {
            // A task that has a node is told of its group there; and until it has entered the
            // group (see `start`), its node is all that counts.
            return !level.linked && member.home.state().is_cancelled();
        }
    }
    false
}

/// The earliest deadline of the frames that the running code is under, out to the nearest shield.
pub(crate) fn deadline() -> Option<Instant> {
    earliest_deadline(Role::holds_off)
}

/// The earliest deadline of these frames, out to the nearest one of such a role.
fn earliest_deadline(is_end: fn(Role) -> bool) -> Option<Instant> {
    look(|stack| {
        let mut earliest = None;
        let mut include = |deadline: Option<Instant>| {
            earliest = earliest.into_iter().chain(deadline).min();
        };
        for level in stack.iter().rev().take_while(|level| !is_end(level.role)) {
            match &level.node {
                Some(node) => include(node.state().deadline()),
                None => include(level.deadline),
            }
            if level.detached {
                let home = level.member.as_ref().map(|member| &member.home);
                let mut next = match &level.node {
                    Some(node) if level.linked => node.state().above(),
                    _ => home.map(|home| Arc::clone(home).node()),
                };
                while let Some(node) = next.filter(|node| !node.state().role().holds_off()) {
                    include(node.state().deadline());
                    next = node.state().above();
                }
                break;
            }
        }
        earliest
    })
    .flatten()
}

/// Whether a frame that the running code is under has been cancelled or is past its deadline,
/// noticed or not, out to the nearest one that keeps what is inside.
pub(crate) fn due() -> bool {
    cancelled() || earliest_deadline(Role::keeps).is_some_and(|deadline| clock::now() >= deadline)
}

/// What code is told that asks whether it has been cancelled: as [`due`], but destructors and calls that
/// block, which nothing can cut, are told the truth.
pub(crate) fn is_cancelled() -> bool {
    let out_to_shield =
        |stack: &mut Vec<Level>| is_cancelled_out_to(stack, |role| role == Role::Shield);
    due() || look(out_to_shield).unwrap_or(false)
}

/// The group of the innermost member, for a group that is being opened there.
pub(crate) fn enclosing_home() -> Option<(Arc<dyn Home>, u64)> {
    current_member(|member| (Arc::clone(&member.home), member.task.id()))
}

/// A member of a group, and the group.
pub(crate) type Whose = (Arc<dyn Home>, TaskInfo);

/// Who the innermost member is.
pub(crate) fn whose() -> Option<Whose> {
    current_member(|member| (Arc::clone(&member.home), member.task.clone()))
}

/// Looks at the innermost member. `None` outside of any.
///
/// The stack is locked meanwhile: nothing foreign may be called.
pub(crate) fn current_member<T>(f: impl FnOnce(&mut Member) -> T) -> Option<T> {
    look(|stack| {
        let members = stack.iter_mut().rev();
        members
            .filter_map(|level| level.member.as_mut())
            .next()
            .map(f)
    })
    .flatten()
}

/// Notes that the running member got an [`Aborted`](crate::Aborted) from a task of this group.
pub(crate) fn note_aborted(group: &Arc<dyn Home>) {
    current_member(|member| {
        if is_same(&member.home, group) {
            member.saw_aborted = true;
        }
    });
}

/// Whether a waker is the one that the running member was polled with: one of this crate's.
pub(crate) fn trusts(waker: &Waker) -> bool {
    current_member(|member| member.waker == waker.data() as usize).unwrap_or(false)
}

/// Whether the running code is inside this group: in its body or a child, or in a group in there.
pub(crate) fn is_under(group: &Arc<dyn Home>) -> bool {
    let mut home = enclosing_home().map(|(home, _)| home);
    while let Some(inner) = home {
        if is_same(&inner, group) {
            return true;
        }
        home = inner.home_above();
    }
    false
}

/// Reports a panic that cannot go on where it was caught, as one more failure of the running member.
///
/// Outside of any group nobody can be told; the panic hook has printed it.
pub(crate) fn report_panic(panic: Panic) {
    match whose() {
        Some((home, task)) => report(home, RawFailure::panic(task, panic)),
        None => discard(panic),
    }
}

/// Drops something that may be anybody's, where the drop must not stop what comes after it: a panic is reported.
pub(crate) fn dispose<T>(value: T) {
    catch(|| drop(value)).unwrap_or_else(report_panic);
}

/// Lets a captured panic go on, from a destructor. If another panic is under way already, that one
/// goes on and this one is reported: two at once would end the process.
pub(crate) fn rethrow(panic: Panic) {
    if thread::panicking() {
        report_panic(panic);
    } else {
        panic.resume();
    }
}

/// Does something with the running task, in a test run only.
fn in_test_run(tell: impl FnOnce(&Sim, &TaskInfo)) {
    if let Some(sim) = sim::current() {
        if let Some(task) = current_member(|member| member.task.clone()) {
            tell(&sim, &task);
        }
    }
}

/// Tells a test run what has become of the running task.
pub(crate) fn tell(event: Event) {
    in_test_run(|sim, task| sim.step(task, event));
}

/// Tells a test run that the running task is gone.
pub(crate) fn tell_gone() {
    in_test_run(|sim, task| sim.gone(task));
}

/// Tells a test run what the running task waits under.
pub(crate) fn tell_mark(mark: impl FnOnce() -> Mark) {
    in_test_run(|sim, task| sim.mark(task.id(), mark()));
}

/// Tells a test run of a finalizer.
pub(crate) fn tell_cleanup(cleanup: Cleanup) {
    if let Some(sim) = sim::current() {
        sim.cleanup(cleanup);
    }
}

/// The place on the stack from which the children of a group are run, one after the other.
///
/// One level serves them all.
pub(crate) struct Seat {
    /// The group, until the level is there.
    home: Option<Arc<dyn Home>>,
    seated: bool,
}

impl Seat {
    pub(crate) fn new(home: Arc<dyn Home>) -> Self {
        Self {
            home: Some(home),
            seated: false,
        }
    }

    /// Seats a child, to be run once. False on a thread that is ending, where nothing is run any more.
    ///
    /// The frames that are on the stack now are not above the child, not even above one that borrows:
    /// what is above any child is its group.
    pub(crate) fn give(&mut self, task: &TaskInfo) -> bool {
        match self.home.take() {
            Some(home) => self.seated = push(|| Level::of_child(home, task.clone())),
            None => {
                with_member(|member| member.succeed(task));
            }
        }
        self.seated
    }

    /// Whether the child that was seated last is done and gone.
    pub(crate) fn is_finished(&self) -> bool {
        self.seated && with_member(|member| member.finished).unwrap_or(false)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.seated {
            let level = pop(|level, _| level);
            drop(level);
        }
    }
}

impl Level {
    fn of_child(home: Arc<dyn Home>, task: TaskInfo) -> Self {
        Self {
            role: Role::Task,
            node: None,
            linked: false,
            deadline: None,
            member: Some(Member::unpolled(home, task)),
            detached: true,
        }
    }
}

impl Member {
    /// Makes this another member of the same group.
    fn succeed(&mut self, task: &TaskInfo) {
        self.finished = false;
        self.saw_aborted = false;
        self.waker = 0;
        self.task.clone_from(task);
    }
}

/// Looks at the member on the innermost level, if there is one.
fn with_member<T>(f: impl FnOnce(&mut Member) -> T) -> Option<T> {
    look(|stack| Some(f(stack.last_mut()?.member.as_mut()?))).flatten()
}

/// The task that was seated gets its turn. It lives at the seat until [`depart`] or [`leave_seat`].
pub(crate) fn arrive(cx: &Context<'_>) -> Notice {
    with_member(|member| {
        member.waker = cx.waker().data() as usize;
        member.home.notice(member.task.id())
    })
    .unwrap_or_default()
}

/// Lends the task's node to its seat.
pub(crate) fn lend(node: Arc<dyn Node>) {
    look(|stack| {
        if let Some(level) = stack.last_mut() {
            level.linked = true;
            level.node = Some(node);
        }
    });
}

/// What a task takes along when it leaves its seat to wait.
#[derive(Default)]
pub(crate) struct Departure {
    /// The task's node, if it has one by now.
    pub(crate) node: Option<Arc<dyn Node>>,
    pub(crate) notice: Notice,
    /// Whether it got an [`Aborted`](crate::Aborted) from a task of its group.
    pub(crate) saw_aborted: bool,
}

/// The task waits. Leaves its waker with the group unless that knows it already, and asks again what
/// there is to know.
pub(crate) fn depart(bed: &mut Option<Bed>, cx: &Context<'_>) -> Departure {
    let waker = bed.is_none().then(|| cx.waker().clone());
    let departed = look(|stack| {
        let level = stack.last_mut()?;
        let member = level.member.as_mut()?;
        level.linked = false;
        if let Some(waker) = waker {
            *bed = Some(member.home.sleep(member.task.id(), waker));
        }
        Some(Departure {
            node: level.node.take(),
            notice: member.home.notice(member.task.id()),
            saw_aborted: member.saw_aborted,
        })
    });
    departed.flatten().unwrap_or_default()
}

/// The task is done, and its future is dropped. Returns whether it got an
/// [`Aborted`](crate::Aborted) from a task of its group, and its node.
pub(crate) fn leave_seat(bed: Option<Bed>) -> (bool, Option<Arc<dyn Node>>) {
    let left = look(|stack| {
        let level = stack.last_mut()?;
        let member = level.member.as_mut()?;
        level.linked = false;
        member.finished = true;
        let kept = member.home.forget(member.task.id(), bed);
        Some((member.saw_aborted, level.node.take(), kept))
    });
    left.flatten()
        .map(|(saw_aborted, node, _waker)| (saw_aborted, node))
        .unwrap_or_default()
}
