//! Opening a group: the options, and the group's future.

use std::{
    any::TypeId,
    fmt,
    future::Future,
    marker::PhantomData,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::{TaskGroup, hub::Hub, local::Entrance, owner::Owner, policy::Policy};
use crate::error::{Error, ErrorGroup, Failure, Label, Origin, RawFailure, catch};

/// Options of a group, from [`TaskGroup::builder`].
///
/// Without any, the group is the same as one from [`group`](crate::group()): it has no name, the first
/// failure cancels everything, and any number of tasks may be alive at a time.
///
/// # Examples
///
/// ```
/// use headcount::{Policy, TaskGroup, run};
///
/// let group = TaskGroup::builder()
///     .name("fetch")
///     .policy(Policy::Collect)
///     .limit(10)
///     .run(async |g| {
///         for page in 0..100 {
///             g.spawn(async move { Ok(page) });
///         }
///         Ok(())
///     });
/// run(group).unwrap();
/// ```
#[must_use = "options do nothing until a group is run with them"]
pub struct GroupBuilder<E> {
    name: Option<Arc<Label>>,
    policy: Policy,
    limit: usize,
    resume_panics: bool,
    error: PhantomData<fn() -> E>,
}

impl GroupBuilder<Error> {
    pub(super) fn new() -> Self {
        Self {
            name: None,
            policy: Policy::default(),
            limit: usize::MAX,
            resume_panics: false,
            error: PhantomData,
        }
    }
}

impl<E: Send + 'static> GroupBuilder<E> {
    /// Names the group, for its error and for the task tree.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{TaskGroup, run};
    ///
    /// let group = TaskGroup::builder().name("fetch").run(async |_g| Err::<(), _>("no route".into()));
    /// assert_eq!(run(group).unwrap_err().group_name(), Some("fetch"));
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(Label::named(name));
        self
    }

    /// Sets what the failure of one task does to the others; [`Policy::FailFast`] unless set.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{Policy, TaskGroup, run};
    ///
    /// let group = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
    ///     g.spawn(async { Err::<(), _>("no route".into()) });
    ///     let other = g.spawn(async { Ok(7) });
    ///     assert_eq!(other.await, Ok(7));
    ///     Ok(())
    /// });
    /// assert_eq!(run(group).unwrap_err().len(), 1);
    /// ```
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Lets at most so many tasks of the group be alive at a time; any number unless set.
    ///
    /// Spawning never waits: what is beyond the limit is queued, and its turn comes in the order of
    /// the spawns, when a task before it is gone. While tasks that compute for long are ready, those
    /// that have begun go first. If the group is cancelled, what is queued is dropped unpolled. The
    /// body does not count.
    ///
    /// A task that waits for one that is queued behind it waits for ever, so do not make tasks of a
    /// limited group wait for each other.
    ///
    /// # Panics
    ///
    /// Panics if the limit is 0: no task would ever run.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{TaskGroup, run};
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static ALIVE: AtomicUsize = AtomicUsize::new(0);
    ///
    /// let group = TaskGroup::builder().limit(2).run(async |g| {
    ///     for _ in 0..10 {
    ///         g.spawn(async {
    ///             assert!(ALIVE.fetch_add(1, Ordering::SeqCst) < 2);
    ///             headcount::checkpoint().await;
    ///             ALIVE.fetch_sub(1, Ordering::SeqCst);
    ///             Ok(())
    ///         });
    ///     }
    ///     Ok(())
    /// });
    /// run(group).unwrap();
    /// ```
    #[track_caller]
    pub fn limit(mut self, limit: usize) -> Self {
        assert!(
            limit > 0,
            "a task group with a limit of 0 would never run a task; give it a limit of at least 1"
        );
        self.limit = limit;
        self
    }

    /// Lets a panic of a task go on from the group, after everything in it has ended.
    ///
    /// Without this, panics are members of the group's error like all failures. With it the first panic
    /// is resumed where the group is awaited, and the other failures are lost.
    ///
    /// # Examples
    ///
    /// ```should_panic
    /// use headcount::{TaskGroup, run};
    ///
    /// let group = TaskGroup::builder().resume_panics().run(async |g| {
    ///     g.spawn(async { if true { panic!("boom") } else { Ok(()) } });
    ///     Ok(())
    /// });
    /// run(group).unwrap_or_else(|_| unreachable!("the panic has gone on"));
    /// ```
    pub fn resume_panics(mut self) -> Self {
        self.resume_panics = true;
        self
    }

    /// Sets the type of the errors that body and tasks return, in place of [`Error`].
    ///
    /// For callers that match on what failed. If `?` is to work on the handles of tasks, the type needs
    /// a `From<Aborted>`.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{ErrorGroup, TaskGroup, run};
    ///
    /// #[derive(Debug, PartialEq)]
    /// enum Refused {
    ///     Password,
    ///     Aborted(headcount::Aborted),
    /// }
    ///
    /// impl From<headcount::Aborted> for Refused {
    ///     fn from(aborted: headcount::Aborted) -> Self {
    ///         Refused::Aborted(aborted)
    ///     }
    /// }
    ///
    /// let group = TaskGroup::builder().errors::<Refused>().run(async |g| {
    ///     let login = g.spawn(async { Err::<(), _>(Refused::Password) });
    ///     Ok(login.await?)
    /// });
    /// let failed: ErrorGroup<Refused> = run(group).unwrap_err();
    /// assert_eq!(failed.first().unwrap().error(), Some(&Refused::Password));
    /// ```
    pub fn errors<X: Send + 'static>(self) -> GroupBuilder<X> {
        GroupBuilder {
            name: self.name,
            policy: self.policy,
            limit: self.limit,
            resume_panics: self.resume_panics,
            error: PhantomData,
        }
    }

    /// Runs a group: the body, and everything that is spawned in it.
    ///
    /// What the future does, how it fails and what dropping it does is said at
    /// [`group`](crate::group()).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{TaskGroup, run};
    ///
    /// let seven = run(TaskGroup::builder().name("seven").run(async |g| {
    ///     let seven = g.spawn(async { Ok(7) });
    ///     Ok(seven.await?)
    /// }));
    /// assert_eq!(seven.unwrap(), 7);
    /// ```
    #[track_caller]
    pub fn run<'env, R, F, Fut>(self, body: F) -> Group<'env, E, Fut>
    where
        F: FnOnce(TaskGroup<'env, E>) -> Fut,
        Fut: Future<Output = Result<R, E>>,
    {
        let hub = Hub::new(
            self.name,
            Location::caller(),
            self.policy,
            self.limit,
            TypeId::of::<E>(),
        );
        let entrance = Arc::<Entrance<'_>>::default();
        let group = TaskGroup::new(Arc::clone(&hub), Arc::clone(&entrance));
        Group {
            owner: Owner::new(hub, entrance, body(group)),
            resume_panics: self.resume_panics,
            error: PhantomData,
        }
    }
}

impl<E> fmt::Debug for GroupBuilder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupBuilder")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .field("limit", &self.limit)
            .field("resume_panics", &self.resume_panics)
            .finish()
    }
}

/// The future of a task group, returned by [`group`](crate::group()) and [`GroupBuilder::run`].
#[pin_project]
#[must_use = "a group does nothing unless you `.await` or poll it"]
pub struct Group<'env, E, Fut: Future> {
    #[pin]
    owner: Owner<'env, Fut>,
    resume_panics: bool,
    error: PhantomData<fn() -> E>,
}

impl<E, Fut: Future> Group<'_, E, Fut> {
    /// Which group it is, in an error group.
    pub(crate) fn origin(&self) -> Origin {
        let hub = self.owner.hub();
        Origin {
            label: hub.label.clone(),
            location: hub.location,
            cancelled: None,
        }
    }
}

impl<E, R, Fut> Future for Group<'_, E, Fut>
where
    E: Send + 'static,
    Fut: Future<Output = Result<R, E>>,
{
    type Output = Result<R, ErrorGroup<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let verdict = ready!(this.owner.as_mut().poll(cx));
        let mut failures = verdict.failures;
        match verdict.value {
            Some(value) if failures.is_empty() => return Poll::Ready(Ok(value)),
            unwanted => {
                if let Err(panic) = catch(|| drop(unwanted)) {
                    failures.push(RawFailure::panic(this.owner.info().clone(), panic));
                }
            }
        }
        let failures = failures.into_iter().map(typed).collect();
        let failed = ErrorGroup::new(failures, verdict.origin);
        Poll::Ready(Err(if *this.resume_panics {
            failed.resume_panics()
        } else {
            failed
        }))
    }
}

/// Gives a failure the error type of the group that reports it.
fn typed<E: 'static>(failure: RawFailure) -> Failure<E> {
    let task = failure.task.clone();
    match failure.downcast() {
        Ok(kind) => Failure::new(task, kind),
        Err(_) => unreachable!("a group takes no failures in that it cannot report"),
    }
}

impl<E, Fut: Future> fmt::Debug for Group<'_, E, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hub = self.owner.hub();
        f.debug_struct("Group")
            .field("name", &hub.name())
            .field("location", &format_args!("{}", hub.location))
            .finish_non_exhaustive()
    }
}
