//! Spawning from anywhere.

use std::{fmt, future::Future, marker::PhantomData, panic::Location, sync::Arc};

use super::{
    child::{self, Child, Ticket},
    hub::Hub,
    task::Task,
};
use crate::{
    blocking::unblock,
    error::{Error, GroupClosed, Label, TaskInfo, TaskRole, catch, discard},
    frame::Home,
};

/// Spawns parallel tasks into a group, from anywhere: from its tasks, from other threads.
///
/// It borrows nothing, so it can go where a [`TaskGroup`](crate::TaskGroup) cannot. It does not keep
/// the group open: that is what tasks do. As long as any task of the group or its body lives, more
/// can be spawned.
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
#[must_use = "a spawner does nothing until a task is spawned with it"]
pub struct Spawner<E = Error> {
    hub: Arc<Hub>,
    error: PhantomData<fn() -> E>,
}

impl<E> Spawner<E> {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            error: PhantomData,
        }
    }
}

impl<E: Send + 'static> Spawner<E> {
    /// Spawns a task into the group, to run in parallel.
    ///
    /// Everything said of [`TaskGroup::spawn`](crate::TaskGroup::spawn) holds here too.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned. Where that can happen, use [`try_spawn`](Self::try_spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(group(async |g| {
    ///     let spawner = g.spawner();
    ///     let seven = g.spawn(async move { Ok(spawner.spawn(async { Ok(7) }).await?) });
    ///     assert_eq!(seven.await?, 7);
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn spawn<T, F>(&self, future: F) -> Task<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        spawn(&self.hub, None, Location::caller(), future)
    }

    /// Spawns a task with a name, for errors and the task tree.
    ///
    /// Everything said of [`TaskGroup::spawn`](crate::TaskGroup::spawn) holds here too.
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
    /// run(group(async |g| {
    ///     let task = g.spawner().spawn_named("seven", async { Ok(7) });
    ///     assert_eq!(task.name(), Some("seven"));
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_named<T, F>(&self, name: impl Into<String>, future: F) -> Task<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let name = Label::named(name);
        spawn(&self.hub, Some(name), Location::caller(), future)
    }

    /// Spawns a task that is a call which blocks its thread: it runs on a thread made for that.
    ///
    /// Everything said of [`TaskGroup::spawn_blocking`](crate::TaskGroup::spawn_blocking) holds here too.
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
    /// run(group(async |g| {
    ///     let task = g.spawner().spawn_blocking(|| Ok(std::fs::exists("Cargo.toml")?));
    ///     assert!(task.await?);
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_blocking<T, F>(&self, call: F) -> Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, E> + Send + 'static,
    {
        self.spawn(unblock(call))
    }

    /// Spawns a task into the group, if the group still takes any.
    ///
    /// For threads and callbacks that do not know how long the group lives. Whoever knows that it does
    /// uses [`spawn`](Self::spawn).
    ///
    /// # Errors
    ///
    /// Fails with [`GroupClosed`], which gives the future back, if the group has returned. A group
    /// that was cancelled and has not returned yet takes the future and drops it unpolled; its
    /// handle yields [`Aborted::Cancelled`](crate::Aborted::Cancelled).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(async {
    ///     let spawner = group(async |g| Ok(g.spawner())).await.unwrap();
    ///     assert!(spawner.try_spawn(async { Ok(()) }).is_err());
    /// });
    /// ```
    #[track_caller]
    pub fn try_spawn<T, F>(&self, future: F) -> Result<Task<T>, GroupClosed<F>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        try_spawn(&self.hub, None, Location::caller(), future).map_err(GroupClosed)
    }
}

impl<E> Clone for Spawner<E> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.hub))
    }
}

impl<E> fmt::Debug for Spawner<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner")
            .field("group", &self.hub.name())
            .field("is_closed", &self.hub.is_closed())
            .finish_non_exhaustive()
    }
}

/// Spawns a parallel task.
#[track_caller]
pub(super) fn spawn<T, E, F>(
    hub: &Arc<Hub>,
    name: Option<Arc<Label>>,
    location: &'static Location<'static>,
    future: F,
) -> Task<T>
where
    T: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    match try_spawn(hub, name, location, future) {
        Ok(task) => task,
        Err(future) => {
            discard(future);
            refuse(hub)
        }
    }
}

/// Spawns a parallel task, or gives its future back if the group has returned.
fn try_spawn<T, E, F>(
    hub: &Arc<Hub>,
    name: Option<Arc<Label>>,
    location: &'static Location<'static>,
    future: F,
) -> Result<Task<T>, F>
where
    T: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    if hub.is_closed() {
        return Err(future);
    }
    let task = TaskInfo::new(TaskRole::Child, name, location);
    if hub.is_cancelled() {
        return turn_away(hub, task, future);
    }
    hub.tell_entered(&task);
    let mut future = Some(future);
    let entered = hub.enter_new(|| {
        let body = future.take().expect("nobody has taken it yet");
        child::make(hub, task, Child::<F, E>::new(body))
    });
    match (entered, future) {
        (Some(handle), _) => Ok(Task::parallel(handle)),
        (None, Some(future)) => Err(future),
        (None, None) => unreachable!("a child is made only to enter"),
    }
}

/// Drops the future of a task that comes too late to be run: the group has been cancelled. Gives it
/// back if the group has returned.
pub(super) fn turn_away<T, F>(hub: &Arc<Hub>, task: TaskInfo, future: F) -> Result<Task<T>, F> {
    if !hub.admit() {
        return Err(future);
    }
    // What was spawned has not been done, as if the task had been cut at its first wait.
    hub.note_cut(task.id());
    if let Err(panic) = catch(|| drop(future)) {
        hub.report_panic(task.clone(), panic);
    }
    let ticket = Ticket {
        hub: Arc::clone(hub),
        task,
    };
    hub.turn_away();
    Ok(Task::refused(ticket))
}

/// Panics because a group has returned.
#[track_caller]
pub(super) fn refuse(hub: &Hub) -> ! {
    let name = hub.name().unwrap_or("without a name");
    panic!(
        "the task group ({name}, opened at {}) has returned and takes no more tasks; spawn before \
         its body ends, or use `Spawner::try_spawn`",
        hub.location
    )
}
