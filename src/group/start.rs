//! Starting a task and waiting until it is ready.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
};

use pin_project::{pin_project, pinned_drop};

use super::{
    child::{self, Child},
    hub::Hub,
    limit::Queued,
    task::Task,
};
use crate::{
    error::{Cause, FailureKind, RawFailure, StartError, TaskInfo, catch},
    frame::{self, Anchor, Node, Role},
    lock::Mutex,
};

/// With this a task that was [started](crate::TaskGroup::start) reports that it is ready.
///
/// Dropping it unsent means that the task will never be ready: the task is cancelled then, and the
/// caller gets [`StartError::NotReady`]. So move it into the future, with `async move`; a closure that
/// leaves it behind drops it before the task has begun. Such a task runs all the same: the caller gets
/// its failure, or hears at its end that it was never ready.
///
/// # Examples
///
/// ```
/// use headcount::{Ready, StartError, group, run};
///
/// run(group(async |g| {
///     let silent = g.start(|ready: Ready<u16>| async move {
///         drop(ready);
///         Ok(())
///     });
///     assert!(matches!(silent.await, Err(StartError::NotReady)));
///     Ok(())
/// }))
/// .unwrap();
/// ```
#[must_use = "without `send` the caller waits in vain, and the task is cancelled"]
pub struct Ready<V> {
    exchange: Arc<Exchange<V>>,
}

impl<V> Ready<V> {
    /// Reports that the task is ready, and gives the caller a value: a port number, an address, a
    /// handle.
    ///
    /// From here on the task belongs to its group, and lives and fails with it. If the caller has
    /// been cancelled meanwhile, the value is dropped, and the task is cancelled at its next wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{Ready, group, run};
    ///
    /// run(group(async |g| {
    ///     let port = g.start(|ready: Ready<u16>| async move {
    ///         ready.send(80);
    ///         Ok(())
    ///     });
    ///     assert_eq!(port.await.unwrap(), 80);
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    pub fn send(self, value: V) {
        self.exchange.enter(value);
    }
}

impl<V> Drop for Ready<V> {
    fn drop(&mut self) {
        self.exchange.give_up();
    }
}

impl<V> fmt::Debug for Ready<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

/// What passes between a task that is starting and the one that waits for it.
struct Exchange<V> {
    hub: Arc<Hub>,
    /// The task's place in the tree: below the caller, until it has entered the group.
    node: OnceLock<Arc<dyn Node>>,
    state: Mutex<State<V>>,
}

struct State<V> {
    stage: Stage<V>,
    /// Wakes the caller.
    waker: Option<Waker>,
    /// Whether [`Ready`] was sent, in time or not.
    sent: bool,
    /// Whether [`Ready`] was dropped without having been sent.
    given_up: bool,
}

/// How far a task that was started has got.
enum Stage<V> {
    /// It belongs to the caller.
    Starting,
    /// It is just being moved to its group.
    Entering,
    /// It belongs to its group; the value waits for the caller.
    Entered(V),
    /// It has ended before it was ready.
    Over(Fate),
    /// Nobody waits for it any more, and what it still has to report goes to its group.
    Abandoned,
}

/// How a task ended that was not ready yet.
enum Fate {
    /// With an error, of the type of the group, or a panic.
    Failed(RawFailure),
    NotReady,
    Cancelled,
}

impl<V> Exchange<V> {
    fn new(hub: Arc<Hub>) -> Arc<Self> {
        Arc::new(Self {
            hub,
            node: OnceLock::new(),
            state: Mutex::new(State {
                stage: Stage::Starting,
                waker: None,
                sent: false,
                given_up: false,
            }),
        })
    }

    /// Whether [`Ready`] was sent, in time or not.
    fn was_sent(&self) -> bool {
        self.state.lock().sent
    }

    /// Whether [`Ready`] was dropped, perhaps before the task had a place in the tree.
    fn is_given_up(&self) -> bool {
        self.state.lock().given_up
    }

    /// Goes from one stage to another if the present one is the right one for it.
    fn advance(&self, from: impl FnOnce(&Stage<V>) -> bool, to: Stage<V>) -> Result<(), Stage<V>> {
        let (before, waker) = {
            let mut state = self.state.lock();
            if !from(&state.stage) {
                return Err(to);
            }
            (mem::replace(&mut state.stage, to), state.waker.take())
        };
        drop(before);
        frame::wake(waker);
        Ok(())
    }

    /// The task is ready: moves it from the caller to its group.
    fn enter(&self, value: V) {
        self.state.lock().sent = true;
        let node = self.node.get();
        if node.is_some_and(|node| node.state().is_cancelled()) {
            return;
        }
        let is_starting = |stage: &Stage<V>| matches!(stage, Stage::Starting);
        if self.advance(is_starting, Stage::Entering).is_err() {
            return;
        }
        // Before the caller hears of it: once it has, what is cancelled there must not reach the
        // task. If the group has been cancelled, the task and all below it are now.
        if let Some(node) = node {
            node.link(&self.hub.as_node());
        }
        let is_entering = |stage: &Stage<V>| matches!(stage, Stage::Entering);
        let is_cut = node.is_some_and(|node| node.state().is_cancelled());
        if is_cut && !self.hub.is_cancelled() {
            // The caller was cancelled in the last moment. That is final: the task ends as one that
            // was never ready.
            drop(self.advance(is_entering, Stage::Starting));
            return;
        }
        if let Err(unwanted) = self.advance(is_entering, Stage::Entered(value)) {
            drop(unwanted);
        }
    }

    /// The task will never be ready.
    fn give_up(&self) {
        let is_starting = {
            let mut state = self.state.lock();
            state.given_up = !state.sent;
            state.given_up && matches!(state.stage, Stage::Starting)
        };
        if is_starting {
            if let Some(node) = self.node.get() {
                node.cancel(Cause::Requested(None));
            }
        }
    }

    /// Whether the caller is still the one to be told how the task ends.
    fn is_starting(&self) -> bool {
        matches!(self.state.lock().stage, Stage::Starting)
    }

    /// The task has ended before it was ready, and is gone. If the caller has left in this very
    /// moment, its failure is one of the group.
    fn end(&self, fate: Fate) {
        let is_starting = |stage: &Stage<V>| matches!(stage, Stage::Starting);
        if let Err(Stage::Over(unclaimed)) = self.advance(is_starting, Stage::Over(fate)) {
            self.report(unclaimed);
        }
    }

    /// Reports a failure that the caller does not take.
    fn report(&self, fate: Fate) {
        if let Fate::Failed(failure) = fate {
            frame::report(self.hub.as_home(), failure);
        }
    }

    /// Takes what the caller waits for, or leaves its waker.
    fn poll(&self, waker: Waker) -> Poll<Result<V, Fate>> {
        let (polled, _waker) = {
            let mut state = self.state.lock();
            match mem::replace(&mut state.stage, Stage::Abandoned) {
                Stage::Entered(value) => (Poll::Ready(Ok(value)), Some(waker)),
                Stage::Over(fate) => (Poll::Ready(Err(fate)), Some(waker)),
                stage => {
                    state.stage = stage;
                    (Poll::Pending, state.waker.replace(waker))
                }
            }
        };
        polled
    }

    /// The caller does not wait any more.
    fn abandon(&self, task: &Task<()>) {
        let (before, waker) = {
            let mut state = self.state.lock();
            let before = mem::replace(&mut state.stage, Stage::Abandoned);
            (before, state.waker.take())
        };
        match before {
            Stage::Starting => {
                if let Some(node) = self.node.get() {
                    node.cancel(Cause::Dropped);
                }
                // It may still be waiting for its turn.
                task.cancel();
            }
            Stage::Over(fate) => self.report(fate),
            Stage::Entered(value) => catch(|| drop(value)).unwrap_or_else(frame::rethrow),
            Stage::Entering | Stage::Abandoned => {}
        }
        catch(|| drop(waker)).unwrap_or_else(frame::rethrow);
    }
}

/// The future of a task that was started.
#[pin_project(PinnedDrop)]
struct Starting<F, V> {
    #[pin]
    body: Option<F>,
    info: TaskInfo,
    exchange: Arc<Exchange<V>>,
}

impl<F, V, E> Future for Starting<F, V>
where
    F: Future<Output = Result<(), E>>,
    E: Send + 'static,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let body = this.body.as_mut().as_pin_mut();
        let Some(body) = body else {
            return Poll::Pending;
        };
        let ended = match catch(|| body.poll(cx)) {
            Ok(Poll::Pending) => {
                // Dropped before the first poll, when there was nothing to be cancelled. How the
                // task ends by itself says more, so it was polled once.
                if this.exchange.is_given_up() {
                    this.exchange.give_up();
                }
                return Poll::Pending;
            }
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panic) => Err(panic),
        };
        // Gone before the caller hears of it.
        let dropped = catch(|| this.body.set(None));
        if this.exchange.is_starting() {
            let info = this.info.clone();
            // The caller can be told of one failure; a second one is the group's.
            let fate = match (ended, dropped) {
                // What it reported came too late: its caller had been cancelled.
                (Ok(Ok(())), Ok(())) if this.exchange.was_sent() => Fate::Cancelled,
                (Ok(Ok(())), Ok(())) => Fate::NotReady,
                (Ok(Ok(())), Err(panic)) => Fate::Failed(RawFailure::panic(info, panic)),
                (ended, dropped) => {
                    dropped.unwrap_or_else(frame::report_panic);
                    Fate::Failed(match ended {
                        Ok(Ok(())) => unreachable!("told apart above"),
                        Ok(Err(error)) => RawFailure::error(info, error, false),
                        Err(panic) => RawFailure::panic(info, panic),
                    })
                }
            };
            this.exchange.end(fate);
            return Poll::Ready(Ok(()));
        }
        dropped.unwrap_or_else(frame::report_panic);
        match ended {
            Ok(result) => Poll::Ready(result),
            Err(panic) => panic.resume(),
        }
    }
}

#[pinned_drop]
impl<F, V> PinnedDrop for Starting<F, V> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.body.is_none() {
            return;
        }
        // Looked at before: `Ready` may be dropped with the body.
        let gone = if this.exchange.is_given_up() {
            Fate::NotReady
        } else {
            Fate::Cancelled
        };
        let dropped = catch(|| this.body.set(None));
        if this.exchange.is_starting() {
            let failed = |panic| Fate::Failed(RawFailure::panic(this.info.clone(), panic));
            this.exchange.end(dropped.map_or_else(failed, |()| gone));
        } else {
            dropped.unwrap_or_else(frame::report_panic);
        }
    }
}

/// The future returned by [`TaskGroup::start`](crate::TaskGroup::start).
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Start<V, F, E> {
    #[pin]
    started: StartTask<V, F, E>,
}

impl<V, F, E> Start<V, F, E> {
    pub(super) fn new(started: StartTask<V, F, E>) -> Self {
        Self { started }
    }
}

impl<V, F, E> Future for Start<V, F, E>
where
    V: Send + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    type Output = Result<V, StartError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let started = self.project().started.poll(cx);
        started.map(|started| started.map(|(value, _task)| value))
    }
}

impl<V, F, E> fmt::Debug for Start<V, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}

/// The future returned by [`TaskGroup::start_task`](crate::TaskGroup::start_task).
///
/// It is a frame around the task, which is below it until it is ready.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct StartTask<V, F, E> {
    exchange: Arc<Exchange<V>>,
    info: TaskInfo,
    /// What is to be run, until it is.
    body: Option<F>,
    task: Option<Task<()>>,
    /// Set once there is nothing to return any more.
    is_left: bool,
    anchor: Anchor,
    error: PhantomData<fn() -> E>,
}

impl<V, F, E> StartTask<V, F, E>
where
    V: Send + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    pub(super) fn new(hub: &Arc<Hub>, info: TaskInfo, make: impl FnOnce(Ready<V>) -> F) -> Self {
        let exchange = Exchange::new(Arc::clone(hub));
        let ready = Ready {
            exchange: Arc::clone(&exchange),
        };
        Self {
            exchange,
            info,
            body: Some(make(ready)),
            task: None,
            is_left: false,
            anchor: Anchor::new(Role::Finalizer),
            error: PhantomData,
        }
    }
}

impl<V, F, E> Future for StartTask<V, F, E>
where
    V: Send + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    type Output = Result<(V, Task<()>), StartError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.anchor.settle();
        if *this.is_left {
            return leave(this.anchor, cx);
        }
        if let Some(body) = this.body.take() {
            if frame::cancelled() {
                // What has been cancelled does not begin anything.
                *this.is_left = true;
                frame::dispose(body);
                return leave(this.anchor, cx);
            }
            match begin(this.exchange, this.info, this.anchor, body) {
                Some(task) => *this.task = Some(task),
                None => return Poll::Ready(Err(StartError::Cancelled)),
            }
        }
        match this.exchange.poll(cx.waker().clone()) {
            Poll::Pending => {
                this.anchor.protect();
                this.anchor.watch(cx.waker());
                if let (true, Some(task)) = (this.anchor.is_enclosed(), &this.task) {
                    // It may still be waiting for its turn.
                    if this.exchange.is_starting() {
                        task.cancel();
                    }
                }
                Poll::Pending
            }
            Poll::Ready(Ok(value)) => {
                this.anchor.leave();
                *this.is_left = true;
                let task = this.task.take();
                Poll::Ready(Ok((
                    value,
                    task.expect("it was begun, and its value not taken"),
                )))
            }
            Poll::Ready(Err(fate)) => {
                this.anchor.unprotect();
                *this.is_left = true;
                *this.task = None;
                match into_error(fate) {
                    StartError::Cancelled => leave(this.anchor, cx),
                    error => Poll::Ready(Err(error)),
                }
            }
        }
    }
}

/// The end of a start that was cancelled: the scope around it that was cancelled absorbs it, if
/// there is one.
fn leave<T, E>(anchor: &mut Anchor, cx: &mut Context<'_>) -> Poll<Result<T, StartError<E>>> {
    if frame::due() {
        anchor.leave_it(cx)
    } else {
        Poll::Ready(Err(StartError::Cancelled))
    }
}

/// Runs a task, in the group's queue but below the caller in the tree.
///
/// `None` if the group has been cancelled, or has returned.
fn begin<V, F, E>(
    exchange: &Arc<Exchange<V>>,
    info: &TaskInfo,
    anchor: &mut Anchor,
    body: F,
) -> Option<Task<()>>
where
    V: Send + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    let hub = &exchange.hub;
    if hub.is_cancelled() || !hub.admit() {
        frame::dispose(body);
        return None;
    }
    let node = frame::new_node(Role::Task);
    node.link(anchor.link());
    exchange.node.get_or_init(|| Arc::clone(&node));
    let body = Starting {
        body: Some(body),
        info: info.clone(),
        exchange: Arc::clone(exchange),
    };
    let child = Child::<_, E>::with_node(body, node);
    hub.tell_entered(info);
    let (runnable, handle) = child::make(hub, info.clone(), child);
    hub.enter(Queued::Parallel(runnable));
    Some(Task::parallel(handle))
}

fn into_error<E: 'static>(fate: Fate) -> StartError<E> {
    match fate {
        Fate::Failed(failure) => match failure.downcast() {
            Ok(FailureKind::Error(error)) => StartError::Failed(error),
            Ok(FailureKind::Panic(panic)) => StartError::Panicked(panic),
            Err(_) => unreachable!("a task fails with the error type of its group"),
        },
        Fate::NotReady => StartError::NotReady,
        Fate::Cancelled => StartError::Cancelled,
    }
}

#[pinned_drop]
impl<V, F, E> PinnedDrop for StartTask<V, F, E> {
    /// Leaves the task to its group, cancelled if it is not ready yet.
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(task) = this.task {
            this.exchange.abandon(task);
        }
    }
}

impl<V, F, E> fmt::Debug for StartTask<V, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartTask")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
