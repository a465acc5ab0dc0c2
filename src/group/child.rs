//! Children: what is round the future of a task, and how the parallel ones are run.

use std::{
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_lite::future::yield_now;
use pin_project::{pin_project, pinned_drop};

use super::{
    budget::Budget,
    hub::{BoxFuture, Errand, Hub},
    next,
    ready::Hand,
};
use crate::{
    blocking::{self, Waiting},
    error::{Aborted, Cause, Panic, RawFailure, TaskInfo, catch},
    frame::{self, Bed, Enclosed, Member, Node, Notice, Role, Seat},
    locals::{Entered, Snapshot},
    pool,
    sim::{Cleanup, Event},
};

/// A parallel child that is ready to be run.
pub(super) type Runnable = async_task::Runnable<Ticket>;

/// The result of a parallel child, for its handle.
pub(super) type Handle<T> = async_task::Task<Result<Value<T>, Aborted>, Ticket>;

/// What everybody knows of a parallel child; part of its one allocation.
pub(crate) struct Ticket {
    pub(super) hub: Arc<Hub>,
    pub(super) task: TaskInfo,
}

/// Makes a parallel child, without running it.
pub(super) fn make<T, E, F>(
    hub: &Arc<Hub>,
    task: TaskInfo,
    child: Child<F, E>,
) -> (Runnable, Handle<T>)
where
    T: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let ticket = Ticket {
        hub: Arc::clone(hub),
        task,
    };
    async_task::Builder::new()
        .metadata(ticket)
        .spawn(|_| child, schedule)
}

/// Where a parallel child goes when it is woken.
fn schedule(runnable: Runnable) {
    if let Some(runnable) = next::pass(runnable) {
        let hub = Arc::clone(&runnable.metadata().hub);
        hub.push(runnable);
    }
}

/// Runs parallel children that are ready, one after the other, while there is time. Returns how many.
pub(super) fn run_ready(hub: &Arc<Hub>, budget: &mut Budget, mut hand: Option<&mut Hand>) -> usize {
    let mut ran = 0;
    let mut next = hub.next_child(false, budget.is_left(), hand.as_deref_mut());
    if next.is_none() {
        return ran;
    }
    let mut seat = Seat::new(hub.as_home());
    while let Some((runnable, ready)) = next {
        ran += 1;
        budget.begin(ready);
        let mut gone = run_once(&mut seat, runnable);
        budget.spend(hub, ready);
        if hand.is_some() {
            // Not by an owner: it is inside the poll of a task that has more to do than to wait for this.
            while let Some(call) = blocking::take() {
                gone |= run_call(hub, &mut seat, call, budget.is_left() && !gone);
                budget.spend(hub, ready);
            }
        }
        next = hub.next_child(gone, budget.is_left(), hand.as_deref_mut());
        budget.taken();
    }
    ran
}

/// Runs a parallel child once. True if it is gone.
#[inline]
fn run_once(seat: &mut Seat, runnable: Runnable) -> bool {
    if !seat.give(&runnable.metadata().task) {
        return false;
    }
    // The child captures its own panics. What is caught here comes from dropping its result.
    if let Err(panic) = catch(|| runnable.run()) {
        frame::report_panic(panic);
    }
    seat.is_finished()
}

/// Runs the call that a child waits for, and if it `may` go on, the child after it. True if that is gone.
#[cold]
fn run_call(hub: &Arc<Hub>, seat: &mut Seat, call: Waiting, may_go_on: bool) -> bool {
    let waker = call.run();
    if may_go_on {
        let woken = next::catch(hub, || frame::wake(waker));
        woken.is_some_and(|woken| run_once(seat, woken))
    } else {
        frame::wake(waker);
        false
    }
}

/// Runs one parallel child, and counts it off if it is gone.
pub(super) fn run_alone(hub: &Arc<Hub>, runnable: Runnable) {
    let gone = run_once(&mut Seat::new(hub.as_home()), runnable);
    let next = hub.next_child(gone, false, None);
    debug_assert!(next.is_none(), "nothing was asked for");
}

/// Starts a helper. It has been counted.
pub(super) fn help(hub: &Arc<Hub>) {
    let Some(pool) = hub.pool() else { return };
    match pool.sim() {
        Some(sim) => sim.offer(hub.as_staged()),
        None => pool.spawn(help_out(Arc::clone(hub))),
    }
}

/// Runs children until none is ready; and what is left to do if the group has lost its owner.
async fn help_out(hub: Arc<Hub>) {
    let mut activity = hub.activity();
    let mut hand = Hand::default();
    let mut first = true;
    loop {
        let ran = run_batch(&hub, &mut hand, mem::take(&mut first));
        match hub.next_errand(&mut activity, ran, &mut hand) {
            Errand::Run => yield_now().await,
            Errand::Finalize(task, finalizer) => {
                see_out(Arc::clone(&hub), task, finalizer).await;
            }
            Errand::None => return,
        }
    }
}

/// Runs a deferred finalizer of a group that has lost its owner, and counts it off.
pub(super) async fn see_out(hub: Arc<Hub>, task: TaskInfo, finalizer: BoxFuture) {
    finalize(&hub, task, finalizer).await;
    hub.turn_away();
}

/// Runs children while there is time. Returns how many, if they are too short to be shared.
fn run_batch(hub: &Arc<Hub>, hand: &mut Hand, first: bool) -> Option<usize> {
    let _watch = pool::watch(Arc::clone(hub) as _);
    let _takes_calls = blocking::Open::new(Arc::clone(hub) as _);
    let mut budget = Budget::of_helper(first);
    let ran = run_ready(hub, &mut budget, Some(hand));
    budget.is_for_one().then_some(ran)
}

/// Runs a deferred finalizer, shielded.
async fn finalize(hub: &Arc<Hub>, task: TaskInfo, finalizer: BoxFuture) {
    let mut finalizer = Box::pin(Finalizing::new(task, finalizer));
    std::future::poll_fn(|cx| finalizer.as_mut().poll_in(hub, cx)).await;
}

/// A deferred finalizer of a group, while it runs.
#[pin_project]
pub(super) struct Finalizing {
    task: TaskInfo,
    #[pin]
    finalizer: Enclosed<BoxFuture>,
}

impl Finalizing {
    pub(super) fn new(task: TaskInfo, finalizer: BoxFuture) -> Self {
        Self {
            task,
            finalizer: Enclosed::new(Role::Shield, finalizer),
        }
    }

    /// Takes the finalizer out, where it stands.
    pub(super) fn into_parts(mut self) -> (TaskInfo, Option<BoxFuture>) {
        let finalizer = Pin::new(&mut self.finalizer).take();
        (self.task.clone(), finalizer)
    }

    /// Polls the finalizer. It is done when it has returned or panicked.
    pub(super) fn poll_in(self: Pin<&mut Self>, hub: &Arc<Hub>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let member = Member::new(hub.as_home(), this.task.clone(), cx);
        let polled = catch(|| this.finalizer.as_mut().poll_member(member, cx).0);
        if let Ok(Poll::Pending) = polled {
            return Poll::Pending;
        }
        let dropped = this.finalizer.as_mut().clear();
        for panic in polled.err().into_iter().chain(dropped.err()) {
            hub.report_panic(this.task.clone(), panic);
        }
        frame::tell_cleanup(Cleanup::Done);
        Poll::Ready(())
    }
}

/// The future of a task, with all that a task is: it is polled under its own frame, its panics are
/// captured, it is dropped when it has been cancelled, and what became of it is reported before it
/// counts as gone.
#[pin_project(PinnedDrop)]
pub(super) struct Child<F, E> {
    /// `None` once it is gone.
    #[pin]
    body: Option<F>,
    /// What few tasks have.
    luggage: Luggage,
    /// Where its group keeps the waker, once it has waited.
    bed: Option<Bed>,
    /// Whether it ever got an [`Aborted`] from a task of its own group.
    saw_aborted: bool,
    error: PhantomData<fn() -> E>,
}

impl<F, E> Child<F, E> {
    pub(super) fn new(body: F) -> Self {
        Self {
            body: Some(body),
            luggage: Luggage::take(),
            bed: None,
            saw_aborted: false,
            error: PhantomData,
        }
    }

    /// A child that borrows: its group's future keeps its waker.
    pub(super) fn new_local(body: F) -> Self {
        let mut child = Self::new(body);
        child.bed = Some(Bed::AT_OWNER);
        child
    }

    /// A child that has a node in the tree already.
    pub(super) fn with_node(body: F, node: Arc<dyn Node>) -> Self {
        let mut child = Self::new(body);
        child.luggage.put_node(Some(node));
        child
    }
}

/// What few tasks have. Boxed, since all tasks pay for the room: a waiting task costs its owner memory,
/// and one that is small costs its allocator less time.
#[derive(Default)]
struct Luggage(Option<Box<Contents>>);

#[derive(Default)]
struct Contents {
    /// The task's place in the tree, once something below it needs one above.
    node: Option<Arc<dyn Node>>,
    /// The task-locals of its spawner.
    locals: Snapshot,
}

impl Luggage {
    /// Packs what the spawner gives along.
    fn take() -> Self {
        let locals = Snapshot::take();
        if locals.is_empty() {
            return Self::default();
        }
        let node = None;
        Self(Some(Box::new(Contents { node, locals })))
    }

    fn node(&self) -> Option<&Arc<dyn Node>> {
        self.0.as_ref()?.node.as_ref()
    }

    fn take_node(&mut self) -> Option<Arc<dyn Node>> {
        self.0.as_mut()?.node.take()
    }

    /// Lends the node to the seat that the task is given.
    fn lend_node(&mut self) {
        if let Some(node) = self.take_node() {
            frame::lend(node);
        }
    }

    fn put_node(&mut self, node: Option<Arc<dyn Node>>) {
        if node.is_some() {
            self.0.get_or_insert_default().node = node;
        }
    }

    /// Makes the task-locals those of the running code, until the guard is dropped.
    fn enter(&self) -> Entered {
        match &self.0 {
            Some(contents) => contents.locals.enter(),
            None => Snapshot::default().enter(),
        }
    }
}

/// How the future of a task ended.
enum Ending<T, E> {
    Value(T),
    Failed(E),
    Panicked(Panic),
    Cut,
}

impl<F, T, E> Future for Child<F, E>
where
    F: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    type Output = Result<Value<T>, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let _entered = this.luggage.enter();
        let is_cut = is_cut(this.luggage.node(), frame::arrive(cx));
        this.luggage.lend_node();
        let ending = if is_cut {
            Ending::Cut
        } else {
            let body = this.body.as_mut().as_pin_mut();
            let Some(body) = body else {
                return Poll::Pending;
            };
            match catch(|| body.poll(cx)) {
                Ok(Poll::Ready(Ok(value))) => Ending::Value(value),
                Ok(Poll::Ready(Err(error))) => Ending::Failed(error),
                Err(panic) => Ending::Panicked(panic),
                Ok(Poll::Pending) => {
                    let departure = frame::depart(this.bed, cx);
                    *this.saw_aborted |= departure.saw_aborted;
                    this.luggage.put_node(departure.node);
                    if let Some(node) = this.luggage.node() {
                        node.state().set_waker(cx.waker());
                    }
                    if !self::is_cut(this.luggage.node(), departure.notice) {
                        frame::tell(Event::Waits);
                        return Poll::Pending;
                    }
                    this.luggage.lend_node();
                    Ending::Cut
                }
            }
        };
        let dropped = match ending {
            Ending::Cut => catch(|| frame::dropping(|| this.body.set(None))),
            _ => catch(|| this.body.set(None)),
        };
        if let Ending::Cut = ending {
            // Before its group forgets it.
            frame::current_member(|member| member.home.note_cut(member.task.id()));
        }
        let (saw_aborted, node) = frame::leave_seat(this.bed.take());
        *this.saw_aborted |= saw_aborted;
        let result = conclude(ending, dropped, *this.saw_aborted);
        if let Some(node) = node {
            frame::abandon_below(&node);
            node.retire();
        }
        frame::tell_gone();
        Poll::Ready(result)
    }
}

/// Whether the running task is to be dropped: it was cancelled, and nothing protected is left in it.
fn is_cut(node: Option<&Arc<dyn Node>>, notice: Notice) -> bool {
    let Some(node) = node else {
        return notice.marked || notice.cancelled;
    };
    if notice.marked && !node.state().is_cancelled_itself() {
        node.cancel(Cause::Requested(None));
    }
    node.state().is_cancelled() && node.state().is_idle()
}

/// Reports what is to be reported of a task whose future is gone.
fn conclude<T, E: Send + 'static>(
    ending: Ending<T, E>,
    dropped: Result<(), Panic>,
    saw_aborted: bool,
) -> Result<Value<T>, Aborted> {
    let fine = dropped.is_ok();
    frame::tell(match (&ending, &dropped) {
        (Ending::Panicked(_), _) | (_, Err(_)) => Event::Panicked,
        (Ending::Value(_), _) => Event::Returned,
        (Ending::Failed(_), _) => Event::Failed,
        (Ending::Cut, _) => Event::Cancelled,
    });
    let result = match ending {
        Ending::Value(value) if fine => Ok(Value(Some(value))),
        Ending::Value(value) => {
            drop(Value(Some(value)));
            Err(Aborted::Failed)
        }
        Ending::Failed(error) => {
            report(|task| RawFailure::error(task, error, saw_aborted));
            Err(Aborted::Failed)
        }
        Ending::Panicked(panic) => {
            report(|task| RawFailure::panic(task, panic));
            Err(Aborted::Failed)
        }
        Ending::Cut if fine => Err(Aborted::Cancelled),
        Ending::Cut => Err(Aborted::Failed),
    };
    if let Err(panic) = dropped {
        report(|task| RawFailure::panic(task, panic));
    }
    result
}

/// Reports a failure of the running task to its group.
fn report(failure: impl FnOnce(TaskInfo) -> RawFailure) {
    if let Some((home, task)) = frame::whose() {
        frame::report(home, failure(task));
    }
}

impl<F, E> Child<F, E> {
    /// Drops a body that was never run to its end. async-task ends the process if that panics.
    pub(super) fn clear(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.body.is_none() {
            return;
        }
        if let Err(panic) = catch(|| frame::dropping(|| this.body.set(None))) {
            frame::report_panic(panic);
        }
        if let Some(node) = this.luggage.take_node() {
            node.retire();
        }
        frame::tell_gone();
    }
}

#[pinned_drop]
impl<F, E> PinnedDrop for Child<F, E> {
    fn drop(self: Pin<&mut Self>) {
        self.clear();
    }
}

/// The value of a task on its way to its handle.
///
/// If there is no handle any more, the value is dropped inside async-task, which ends the process
/// if that panics; so it is dropped with care.
pub(super) struct Value<T>(Option<T>);

impl<T> Value<T> {
    pub(super) fn take(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Value<T> {
    fn drop(&mut self) {
        frame::dispose(self.0.take());
    }
}
