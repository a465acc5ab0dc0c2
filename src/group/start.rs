//! Starting a task and waiting until it is ready.

use std::{
    any::Any,
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
    error::{Cause, Panic, StartError, TaskInfo, catch, discard},
    frame::{self, Anchor, Node, Role},
    lock::Mutex,
};

/// With this a task that was [started](crate::TaskGroup::start) reports that it is ready.
///
/// Dropping it unsent means that the task will never be ready: the task is cancelled then, and the
/// caller gets [`StartError::NotReady`].
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
    /// With an error, of the type of the group.
    Failed(Box<dyn Any + Send>),
    Panicked(Panic),
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
                given_up: false,
            }),
        })
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
        if let Err(unwanted) = self.advance(is_entering, Stage::Entered(value)) {
            drop(unwanted);
        }
    }

    /// The task will never be ready.
    fn give_up(&self) {
        let is_starting = {
            let mut state = self.state.lock();
            state.given_up = true;
            matches!(state.stage, Stage::Starting)
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

    /// The task has ended before it was ready, and is gone.
    fn end(&self, fate: Fate) {
        let given_up = self.state.lock().given_up;
        let fate = match fate {
            Fate::Cancelled if given_up => Fate::NotReady,
            fate => fate,
        };
        let is_starting = |stage: &Stage<V>| matches!(stage, Stage::Starting);
        if let Err(unwanted) = self.advance(is_starting, Stage::Over(fate)) {
            discard(unwanted);
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
    fn abandon(&self) {
        let (before, was_starting) = {
            let mut state = self.state.lock();
            let was_starting = matches!(state.stage, Stage::Starting);
            let before = mem::replace(&mut state.stage, Stage::Abandoned);
            ((before, state.waker.take()), was_starting)
        };
        drop(before);
        if was_starting {
            if let Some(node) = self.node.get() {
                node.cancel(Cause::Dropped);
            }
        }
    }
}

/// The future of a task that was started.
#[pin_project(PinnedDrop)]
struct Starting<F, V> {
    #[pin]
    body: Option<F>,
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
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panic) => Err(panic),
        };
        // Gone before the caller hears of it.
        let dropped = catch(|| this.body.set(None));
        if this.exchange.is_starting() {
            let fate = match (ended, dropped) {
                (Err(panic), dropped) => {
                    discard(dropped);
                    Fate::Panicked(panic)
                }
                (Ok(result), Err(panic)) => {
                    discard(result);
                    Fate::Panicked(panic)
                }
                (Ok(Err(error)), Ok(())) => Fate::Failed(Box::new(error)),
                (Ok(Ok(())), Ok(())) => Fate::NotReady,
            };
            this.exchange.end(fate);
            return Poll::Ready(Ok(()));
        }
        if let Err(second) = dropped {
            frame::report_panic(second);
        }
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
        let dropped = catch(|| this.body.set(None));
        if this.exchange.is_starting() {
            this.exchange
                .end(dropped.map_or_else(Fate::Panicked, |()| Fate::Cancelled));
        } else if let Err(panic) = dropped {
            frame::report_panic(panic);
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
        if let Some(body) = this.body.take() {
            if frame::cancelled() {
                // What has been cancelled does not begin anything.
                discard(body);
                return this.anchor.leave_it(cx);
            }
            match begin(this.exchange, this.info, this.anchor, body) {
                Some(task) => *this.task = Some(task),
                None => return Poll::Ready(Err(StartError::Cancelled)),
            }
        }
        match this.exchange.poll(cx.waker().clone()) {
            Poll::Pending => {
                this.anchor.protect();
                Poll::Pending
            }
            Poll::Ready(Ok(value)) => {
                this.anchor.leave();
                let task = this.task.take();
                Poll::Ready(Ok((
                    value,
                    task.expect("it was begun, and its value not taken"),
                )))
            }
            Poll::Ready(Err(fate)) => {
                this.anchor.unprotect();
                match into_error(fate) {
                    // The scope that this call is in was cancelled, and absorbs it.
                    StartError::Cancelled if frame::due() => this.anchor.leave_it(cx),
                    error => Poll::Ready(Err(error)),
                }
            }
        }
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
        discard(body);
        return None;
    }
    let node = frame::new_node(Role::Task);
    node.link(anchor.link());
    exchange.node.get_or_init(|| Arc::clone(&node));
    let body = Starting {
        body: Some(body),
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
        Fate::Failed(error) => match error.downcast() {
            Ok(error) => StartError::Failed(*error),
            Err(_) => unreachable!("a task fails with the error type of its group"),
        },
        Fate::Panicked(panic) => StartError::Panicked(panic),
        Fate::NotReady => StartError::NotReady,
        Fate::Cancelled => StartError::Cancelled,
    }
}

#[pinned_drop]
impl<V, F, E> PinnedDrop for StartTask<V, F, E> {
    /// Leaves the task to its group, cancelled if it is not ready yet.
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if this.task.is_some() {
            this.exchange.abandon();
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
