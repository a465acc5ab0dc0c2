//! Task groups.

mod budget;
mod builder;
mod child;
mod hub;
mod limit;
mod local;
mod next;
mod owner;
mod policy;
mod queue;
mod ready;
mod spawner;
mod start;
mod task;

use std::{fmt, future::Future, marker::PhantomData, panic::Location, sync::Arc};

use self::local::{Entrance, Refusal};
pub use self::{
    builder::{Group, GroupBuilder},
    policy::Policy,
    spawner::Spawner,
    start::{Ready, Start, StartTask},
    task::Task,
};
pub(crate) use self::{hub::Hub, owner::Owner};
use crate::{
    blocking::unblock,
    error::{Cause, Error, Label, TaskInfo, TaskRole, discard},
    frame, locals,
    scope::ScopeHandle,
    sim::Cleanup,
};

/// Opens a task group and runs its body.
///
/// The body gets the group and spawns tasks into it. The group's future completes when the body
/// *and all tasks* are gone: finished or dropped, everything they owned destroyed, every finalizer
/// run. So no task outlives the block of code that it was started in, and whoever calls a function
/// that uses a group inside does not have to know. Trio calls this a nursery.
///
/// ```text
/// group(async |g| {        ┌ body ─────────────┐
///     g.spawn(fetch());    │  ├ fetch ───────────────────┐
///     g.spawn(parse());    │  ├ parse ──────┐            │
///     Ok(())               └───────┘        │            │
/// })                                        ┘            ┘
/// .await                                                   ← here
/// ```
///
/// If a task fails or panics, its siblings and the body are cancelled (see [`Policy`] for another
/// way), and when all are gone every failure comes out in one [`ErrorGroup`](crate::ErrorGroup). If
/// the body fails, the tasks are cancelled. If the body returns its value first, the tasks go on,
/// and the group waits for them.
///
/// A value that the body has returned is kept if the group is cancelled by hand afterwards: that is how
/// a body says that it has what it wants. If a scope further out cuts a task short, though, the group
/// has not been done: a timeout around it reports that it timed out.
///
/// Tasks run in parallel on the threads of [`run`](crate::run()), or, outside of it, on a global pool of
/// threads that is started then. [`TaskGroup::spawn_local`] spawns tasks that borrow from the
/// surroundings of the group.
///
/// To wait for two or three futures and nothing more, a `zip` or `try_zip` is enough. For options,
/// an error type of one's own among them, there is [`TaskGroup::builder`].
///
/// # Errors
///
/// Fails with an error group of everything that failed; the value of the body is dropped then. The
/// error group is empty if the group was cancelled by hand before its body returned a value, and
/// nothing failed. If a scope *around* the group was cancelled before that, and nothing failed, nothing
/// is returned at all: that scope absorbs the cancellation.
///
/// # Panics
///
/// Polling it panics if it is awaited from inside itself, or again after it was done. Panics of body
/// and tasks are failures of the group; see [`GroupBuilder::resume_panics`].
///
/// # Cancel safety
///
/// When the future is dropped before it is done, borrowing tasks are dropped there and then. The
/// other tasks are cancelled and go to the group around this one (or to `run`), which does not end
/// before they are gone, their finalizers included. Nothing escapes, and nobody blocks.
///
/// A group that was begun and is kept without being polled, as after a `select!` over `&mut group`,
/// holds up a scope around it that is cancelled: drop it, or poll it to its end.
///
/// # Examples
///
/// ```
/// use headcount::{group, run};
///
/// let page = String::from("one two three");
/// let counts = run(group(async |g| {
///     let words = g.spawn_local(async { Ok(page.split(' ').count()) }); // Borrows `page`.
///     let answer = g.spawn(async { Ok(6 * 7) }); // Runs in parallel.
///     Ok((words.await?, answer.await?))
/// }));
/// assert_eq!(counts.unwrap(), (3, 42));
/// ```
#[doc(alias = "nursery")]
#[doc(alias = "join_all")]
#[track_caller]
pub fn group<'env, R, F, Fut>(body: F) -> Group<'env, Error, Fut>
where
    F: FnOnce(TaskGroup<'env>) -> Fut,
    Fut: Future<Output = Result<R, Error>>,
{
    TaskGroup::builder().run(body)
}

/// A task group, as its body and its tasks see it.
///
/// It is what the body of [`group`](crate::group()) gets: cheap to clone, and to be handed on to
/// borrowing tasks. `'env` is what those may borrow from: everything that outlives the group's
/// future. Parallel tasks, which borrow nothing, use a [`Spawner`].
///
/// # What does not compile
///
/// A borrowing task cannot borrow from the body itself, which may be gone before it is:
///
/// ```compile_fail,E0373
/// # use headcount::{group, run};
/// run(group(async |g| {
///     let local = String::from("dropped with the body");
///     g.spawn_local(async { Ok(local.len()) });
///     Ok(())
/// }));
/// ```
///
/// Nor can a parallel task borrow at all, or hold what is not `Send`:
///
/// ```compile_fail
/// # use headcount::{group, run};
/// # use std::rc::Rc;
/// run(group(async |g| {
///     let shared = Rc::new(7);
///     g.spawn(async move {
///         headcount::checkpoint().await;
///         Ok(*shared)
///     });
///     Ok(())
/// }));
/// ```
#[must_use = "a group that nothing is spawned into does nothing"]
pub struct TaskGroup<'env, E = Error> {
    hub: Arc<Hub>,
    entrance: Arc<Entrance<'env>>,
    error: PhantomData<fn() -> E>,
}

impl TaskGroup<'_, Error> {
    /// Opens a group with options.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{TaskGroup, run};
    ///
    /// let group = TaskGroup::builder().name("fetch").limit(10).run(async |g| {
    ///     let task = g.spawn(async { Ok(7) });
    ///     Ok(task.await?)
    /// });
    /// assert_eq!(run(group).unwrap(), 7);
    /// ```
    pub fn builder() -> GroupBuilder<Error> {
        GroupBuilder::new()
    }
}

impl<'env, E> TaskGroup<'env, E> {
    fn new(hub: Arc<Hub>, entrance: Arc<Entrance<'env>>) -> Self {
        Self {
            hub,
            entrance,
            error: PhantomData,
        }
    }
}

impl<'env, E: Send + 'static> TaskGroup<'env, E> {
    /// Spawns a task that runs in parallel, on the threads of the runtime.
    ///
    /// Spawning does not wait and does not poll the task: it runs when the body first waits, or earlier
    /// on another thread. The handle yields its value; dropping the handle leaves the task in the
    /// group.
    ///
    /// The task has the cancel scopes and deadlines of the *group*, whoever spawns it. It may be
    /// spawned while the body or any task of the group lives. In a group that was cancelled the
    /// future is dropped unpolled, and the handle yields [`Aborted::Cancelled`].
    ///
    /// For a task that borrows from its surroundings there is [`spawn_local`](Self::spawn_local), for
    /// spawning from inside a task [`spawner`](Self::spawner), and for a service that others depend on
    /// [`start`](Self::start).
    ///
    /// [`Aborted::Cancelled`]: crate::Aborted::Cancelled
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let answer = run(group(async |g| {
    ///     let task = g.spawn(async { Ok(6 * 7) });
    ///     Ok(task.await?)
    /// }));
    /// assert_eq!(answer.unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn<T, F>(&self, future: F) -> Task<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        spawner::spawn(&self.hub, None, Location::caller(), future)
    }

    /// Spawns a parallel task with a name, for errors and the task tree.
    ///
    /// Names need not be unique. Everything said of [`spawn`](Self::spawn) holds here too.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |g| {
    ///     g.spawn_named("fetch", async { Err::<(), _>("no route".into()) });
    ///     Ok(())
    /// }));
    /// assert_eq!(failed.unwrap_err().first().unwrap().task().name(), Some("fetch"));
    /// ```
    #[track_caller]
    pub fn spawn_named<T, F>(&self, name: impl Into<String>, future: F) -> Task<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let name = Label::named(name);
        spawner::spawn(&self.hub, Some(name), Location::caller(), future)
    }

    /// Spawns a task that is a call which blocks its thread: it runs on a thread made for that.
    ///
    /// The same as [`spawn`](Self::spawn) with an [`unblock`](crate::unblock()), which has all there is to know: a
    /// call that has begun is waited for, whatever is cancelled meanwhile; one that has not never begins.
    /// A [limit](GroupBuilder::limit) of the group is one of how many calls run at a time.
    ///
    /// For a blocking call with a name there is `spawn_named(name, unblock(call))`.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let size = run(group(async |g| {
    ///     let task = g.spawn_blocking(|| Ok(std::fs::metadata("Cargo.toml")?.len()));
    ///     Ok(task.await?)
    /// }));
    /// assert!(size.unwrap() > 0);
    /// ```
    #[track_caller]
    pub fn spawn_blocking<T, F>(&self, call: F) -> Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, E> + Send + 'static,
    {
        self.spawn(unblock(call))
    }

    /// Spawns a task that may borrow what outlives the group, mutably too.
    ///
    /// It runs concurrently with the body and the other tasks, on the task that the group is in:
    /// borrowing tasks never run at the same time as each other, so one that computes for long holds
    /// the others up. What should use another processor is for [`spawn`](Self::spawn).
    ///
    /// It may borrow what was there before the group, not what belongs to the body. It has to be
    /// `Send`, because the group itself may be inside a parallel task. In a group that was cancelled it
    /// is dropped unpolled.
    ///
    /// When somebody drops the group's future, the task is dropped there and then, with the shields and
    /// finalizers in it.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let mut hits = 0;
    /// run(group(async |g| {
    ///     g.spawn_local(async {
    ///         hits += 1;
    ///         Ok(())
    ///     });
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// assert_eq!(hits, 1);
    /// ```
    #[track_caller]
    pub fn spawn_local<T, F>(&self, future: F) -> Task<T>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        self.spawn_borrowing(None, Location::caller(), future)
    }

    /// Spawns a borrowing task with a name, for errors and the task tree.
    ///
    /// Everything said of [`spawn_local`](Self::spawn_local) holds here too.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let page = String::from("one two");
    /// run(group(async |g| {
    ///     let task = g.spawn_local_named("count", async { Ok(page.len()) });
    ///     assert_eq!(task.name(), Some("count"));
    ///     assert_eq!(task.await?, 7);
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_local_named<T, F>(&self, name: impl Into<String>, future: F) -> Task<T>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        let name = Label::named(name);
        self.spawn_borrowing(Some(name), Location::caller(), future)
    }

    #[track_caller]
    fn spawn_borrowing<T, F>(
        &self,
        name: Option<Arc<Label>>,
        location: &'static Location<'static>,
        future: F,
    ) -> Task<T>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        let hub = &self.hub;
        let future = match self.enter_local(name, location, future) {
            Ok(task) => return task,
            Err(future) => future,
        };
        discard(future);
        spawner::refuse(hub)
    }

    /// Spawns a borrowing task, or gives its future back if the group has returned.
    fn enter_local<T, F>(
        &self,
        name: Option<Arc<Label>>,
        location: &'static Location<'static>,
        future: F,
    ) -> Result<Task<T>, F>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        let hub = &self.hub;
        if hub.is_closed() {
            return Err(future);
        }
        let task = TaskInfo::new(TaskRole::Child, name, location);
        if hub.is_cancelled() {
            return spawner::turn_away(hub, task, future);
        }
        hub.find_place();
        hub.tell_entered(&task);
        match self.entrance.enter::<T, E, F>(hub, task, future) {
            Ok(outcome) => Ok(Task::local(outcome)),
            Err(Refusal::Closed(future)) => Err(future),
            Err(Refusal::Shut(task, future)) => spawner::turn_away(hub, task, future),
        }
    }

    /// Returns a handle that spawns parallel tasks into this group from anywhere.
    ///
    /// A task that spawns siblings needs one, since it cannot hold the group itself; so does a thread
    /// or a callback. It does not keep the group open.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(group(async |g| {
    ///     let spawner = g.spawner();
    ///     g.spawn(async move {
    ///         spawner.spawn(async { Ok(()) }); // A sibling.
    ///         Ok(())
    ///     });
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    pub fn spawner(&self) -> Spawner<E> {
        Spawner::new(Arc::clone(&self.hub))
    }

    /// Starts a parallel task and waits until it reports that it is ready.
    ///
    /// For services that others depend on: a server is started when it listens, and the caller gets
    /// the port. Until the task calls [`Ready::send`] it belongs to the *caller*: it is in the
    /// caller's scopes, its failure is returned here and not reported to the group, and cancelling
    /// the caller cancels it. From then on it belongs to the group like any task. Trio has this as
    /// `nursery.start`.
    ///
    /// The group stays open while a task is being started in it. [`start_task`](Self::start_task)
    /// returns the task's handle as well.
    ///
    /// # Errors
    ///
    /// Fails with [`StartError`](crate::StartError) if the task was not ready before it ended; the
    /// task is gone by then, and the group is unharmed. `Failed` and `Panicked` say how it ended,
    /// `NotReady` that it ended or dropped its [`Ready`] without having reported. `Cancelled` means
    /// that the group was cancelled; if a scope around the *caller* was, nothing is returned.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the task is ready cancels the task and leaves it to the group,
    /// which waits for it and reports what it still has to report.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{Ready, group, run};
    /// use std::net::TcpListener;
    ///
    /// run(group(async |g| {
    ///     let port = g
    ///         .start(|ready: Ready<u16>| async move {
    ///             let listener = TcpListener::bind("127.0.0.1:0")?;
    ///             ready.send(listener.local_addr()?.port());
    ///             // … and serve.
    ///             Ok(())
    ///         })
    ///         .await?;
    ///     assert_ne!(port, 0);
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn start<V, F, Fut>(&self, task: F) -> Start<V, Fut, E>
    where
        V: Send + 'static,
        F: FnOnce(Ready<V>) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        Start::new(self.start_task(task))
    }

    /// Starts a parallel task, waits until it is ready, and returns its handle as well.
    ///
    /// Everything said of [`start`](Self::start) holds here too.
    ///
    /// # Errors
    ///
    /// Fails with [`StartError`](crate::StartError) if the task ended before it was ready.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Cancel safety
    ///
    /// As for [`start`](Self::start).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{Ready, group, run};
    ///
    /// run(group(async |g| {
    ///     let server = g.start_task(|ready: Ready<u16>| async move {
    ///         ready.send(80);
    ///         std::future::pending().await
    ///     });
    ///     let (port, server) = server.await?;
    ///     assert_eq!(port, 80);
    ///     server.cancel();
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn start_task<V, F, Fut>(&self, task: F) -> StartTask<V, Fut, E>
    where
        V: Send + 'static,
        F: FnOnce(Ready<V>) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        if self.hub.is_closed() {
            discard(task);
            spawner::refuse(&self.hub);
        }
        let info = TaskInfo::new(TaskRole::Child, None, Location::caller());
        StartTask::new(&self.hub, info, task)
    }

    /// Cancels the group: its body and everything in it.
    ///
    /// Returns at once. The group returns when all is gone: with the value of the body if that was
    /// there already, else with an empty error group, unless something failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run, sleep};
    /// use std::time::Duration;
    ///
    /// let stopped = run(group(async |g| {
    ///     g.cancel();
    ///     sleep(Duration::MAX).await;
    ///     Ok(())
    /// }));
    /// assert!(stopped.unwrap_err().is_cancelled());
    /// ```
    pub fn cancel(&self) {
        self.hub.cancel(Cause::Requested(None));
    }

    /// Cancels the group and says why. Of several reasons the first one stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run, sleep};
    /// use std::time::Duration;
    ///
    /// let stopped = run(group(async |g| {
    ///     g.cancel_with("enough");
    ///     sleep(Duration::MAX).await;
    ///     Ok(())
    /// }));
    /// assert_eq!(stopped.unwrap_err().reason(), Some("enough"));
    /// ```
    pub fn cancel_with(&self, reason: impl Into<String>) {
        let reason = reason.into().into();
        self.hub.cancel(Cause::Requested(Some(reason)));
    }

    /// Tells whether the group was cancelled: by hand, by a failure, or from further out.
    ///
    /// It asks about this group. Running code that wants to know about itself, shields included, asks
    /// [`is_cancelled`](crate::is_cancelled()).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(group(async |g| {
    ///     assert!(!g.is_cancelled());
    ///     g.cancel();
    ///     assert!(g.is_cancelled());
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.hub.is_cancelled()
    }

    /// Returns how many tasks of the group are not gone yet, waiting and queued ones included.
    ///
    /// What tasks leave behind when somebody drops a group inside them counts as one task, until it
    /// is gone too.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(group(async |g| {
    ///     let task = g.spawn(async { Ok(()) });
    ///     task.await?;
    ///     while g.len() > 0 {
    ///         headcount::checkpoint().await;
    ///     }
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.hub.len_with(self.entrance.len())
    }

    /// Tells whether no task of the group is alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(group(async |g| {
    ///     assert!(g.is_empty());
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a handle to the scope that the group is.
    ///
    /// With it a group is cancelled from anywhere, and given a deadline. A group whose deadline passes
    /// ends as if it had been cancelled by hand. To learn of the deadline as a
    /// [`TimedOut`](crate::TimedOut), put a [`timeout`](crate::timeout) around the group instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, now, run, sleep};
    /// use std::time::Duration;
    ///
    /// let late = run(group(async |g| {
    ///     g.scope().set_deadline(Some(now()));
    ///     sleep(Duration::MAX).await;
    ///     Ok(())
    /// }));
    /// assert!(late.unwrap_err().is_cancelled());
    /// ```
    #[must_use]
    pub fn scope(&self) -> ScopeHandle {
        ScopeHandle::new(self.hub.as_node())
    }

    /// Defers a finalizer to the end of the group.
    ///
    /// When the body and all tasks are gone, whatever became of them, the deferred finalizers run
    /// one after the other, the last one first. They are shielded; a [`timeout`](crate::timeout)
    /// inside works. A panic of one is one more failure of the group, and the others still run.
    ///
    /// It is a method of the group, and not of the code that calls it: `defer` in a task of a
    /// long-lived group runs when that group ends, not when the task does.
    ///
    /// Since it owns what it needs, a deferred finalizer runs even if somebody drops the group's
    /// future: the group further out does not end before it is done. For cleanup that borrows there
    /// are [`finally`](crate::finally()) and [`bracket`](crate::bracket()).
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    /// use std::sync::mpsc;
    ///
    /// let (log, entries) = mpsc::channel();
    /// run(group(async |g| {
    ///     let (first, second) = (log.clone(), log.clone());
    ///     g.defer(async move { first.send("close the connection").unwrap() });
    ///     g.defer(async move { second.send("log out").unwrap() });
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// drop(log);
    /// assert_eq!(entries.iter().collect::<Vec<_>>(), ["log out", "close the connection"]);
    /// ```
    #[track_caller]
    pub fn defer(&self, finalizer: impl Future<Output = ()> + Send + 'static) {
        let info = TaskInfo::new(TaskRole::Finalizer, None, Location::caller());
        if let Err(finalizer) = self.hub.defer(info, Box::pin(locals::carry(finalizer))) {
            discard(finalizer);
            spawner::refuse(&self.hub);
        }
        frame::tell_cleanup(Cleanup::Owed);
    }
}

impl<E> Clone for TaskGroup<'_, E> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.hub), Arc::clone(&self.entrance))
    }
}

impl<E> fmt::Debug for TaskGroup<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("name", &self.hub.name())
            .field("location", &format_args!("{}", self.hub.location))
            .field("is_cancelled", &self.hub.is_cancelled())
            .finish_non_exhaustive()
    }
}
