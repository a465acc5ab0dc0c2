//! Groups whose result is made of what their children come out with: join policies.

mod outcomes;
pub mod policies;

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use pin_project::pin_project;

use self::outcomes::{Outcomes, Reported};
use crate::{
    blocking::unblock,
    clock,
    error::{Error, ErrorGroup, Failure},
    frame,
    group::{Group, GroupBuilder, Policy, Task, TaskGroup},
    lock::Mutex,
};

/// What a group makes of the ends of its children, and when that is enough.
///
/// [`Policy`] says what a failure does to the rest of a group. A join policy goes further: it is
/// told how each child of a [joining group](GroupBuilder::join) ended, decides each time whether the
/// group goes on, and makes the result when all are gone. The [`policies`] that come with this crate
/// are written with it: all values, the first success, a quorum, whatever is there in time. So are
/// hedged requests, in twenty lines of one's own. Java has it as the `Joiner` of a
/// `StructuredTaskScope`.
///
/// A policy is a plain value. It is used on the task that the group is awaited in, never from two
/// threads at once, and sees the ends in the order in which they come.
///
/// # Examples
///
/// ```
/// use headcount::{ChildEnd, Closing, ErrorGroup, JoinPolicy, TaskGroup, run};
/// use std::ops::ControlFlow;
///
/// /// The sum of the values, as soon as it is large enough.
/// struct Enough {
///     wanted: u32,
///     sum: u32,
/// }
///
/// impl<E> JoinPolicy<u32, E> for Enough {
///     type Output = u32;
///
///     fn child_ended(&mut self, _index: usize, end: ChildEnd<u32, E>) -> ControlFlow<()> {
///         if let ChildEnd::Value(value) = end {
///             self.sum += value;
///         }
///         if self.sum < self.wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
///     }
///
///     fn joined(self, _closing: &mut Closing<E>) -> Result<u32, ErrorGroup<E>> {
///         Ok(self.sum)
///     }
/// }
///
/// let group = TaskGroup::builder().join(Enough { wanted: 5, sum: 0 }).run(async |g| {
///     g.spawn(async { Ok(2) });
///     g.spawn(async { Ok(3) });
///     g.spawn(std::future::pending()); // Is cancelled when the others are enough.
///     Ok(())
/// });
/// assert_eq!(run(group).unwrap(), 5);
/// ```
pub trait JoinPolicy<T, E = Error> {
    /// What the group yields.
    type Output;

    /// Takes in how a child ended, and says whether the group goes on.
    ///
    /// `index` counts the children in the order in which they were spawned, from 0. With
    /// [`ControlFlow::Break`] the body and the children that are left are cancelled. Their ends
    /// come here too; what is returned for them makes no difference.
    ///
    /// A panic in here is a failure of the group.
    fn child_ended(&mut self, index: usize, end: ChildEnd<T, E>) -> ControlFlow<()>;

    /// Makes the result, when everything in the group is gone.
    ///
    /// # Errors
    ///
    /// Fails with what [`Closing::fail`] makes of the failures, if the policy has nothing better.
    fn joined(self, closing: &mut Closing<E>) -> Result<Self::Output, ErrorGroup<E>>;
}

/// How a child of a [joining group](GroupBuilder::join) ended. It is gone by then.
#[derive(Debug)]
pub enum ChildEnd<T, E = Error> {
    /// It returned a value.
    Value(T),
    /// It failed or panicked. The failure is in no report unless the policy puts it there.
    Failed(Failure<E>),
    /// It was cancelled.
    Cancelled,
}

/// What brought a [joining group](GroupBuilder::join) to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndedBy {
    /// Its body has returned, and all children have ended.
    Children,
    /// The policy had enough.
    Policy,
    /// The time was up.
    Deadline,
    /// It was cancelled by hand.
    Request,
    /// Its body failed, or something that is no child.
    Failure,
}

/// The end of a [joining group](GroupBuilder::join), as its policy sees it.
#[derive(Debug)]
pub struct Closing<E = Error> {
    ended_by: EndedBy,
    /// The group's own error: what failed beside the children.
    failed: ErrorGroup<E>,
}

impl<E> Closing<E> {
    /// Returns what brought the group to its end.
    ///
    /// # Examples
    ///
    /// See [`policies::partial`], which asks for it.
    #[must_use]
    pub fn ended_by(&self) -> EndedBy {
        self.ended_by
    }

    /// Makes the group's error of failures that the policy has kept.
    ///
    /// What failed beside the children, the body for one, is in it as well. If the policy returns a
    /// result in spite of such a failure, the result is dropped: no failure is lost.
    ///
    /// # Examples
    ///
    /// See [`JoinPolicy`] and the sources of [`policies`].
    #[must_use]
    pub fn fail(&mut self, failures: Vec<Failure<E>>) -> ErrorGroup<E>
    where
        E: 'static,
    {
        self.failed.split_off_before(failures)
    }
}

impl<E: Send + 'static> GroupBuilder<E> {
    /// Makes the group join its children with a policy of its own.
    ///
    /// All that is spawned then has the same type of value, and what becomes of it goes to the
    /// policy instead of handles and report. The result of the group is that of the policy. What
    /// [`policy`](Self::policy) says makes no difference any more; limits and names do.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{TaskGroup, policies, run};
    ///
    /// let group = TaskGroup::builder().join(policies::first_ok()).run(async |g| {
    ///     for mirror in ["http", "80", "443"] {
    ///         g.spawn(async { Ok(mirror.parse::<u16>()?) });
    ///     }
    ///     Ok(())
    /// });
    /// assert!([80, 443].contains(&run(group).unwrap()));
    /// ```
    pub fn join<T, P: JoinPolicy<T, E>>(self, policy: P) -> JoinBuilder<T, E, P> {
        JoinBuilder {
            group: self.policy(Policy::Collect),
            policy,
            at: None,
            after: None,
            value: PhantomData,
        }
    }
}

/// Options of a group with a join policy, from [`GroupBuilder::join`].
///
/// # Examples
///
/// See [`GroupBuilder::join`].
#[must_use = "options do nothing until a group is run with them"]
pub struct JoinBuilder<T, E, P> {
    group: GroupBuilder<E>,
    policy: P,
    at: Option<Instant>,
    after: Option<Duration>,
    value: PhantomData<fn() -> T>,
}

impl<T, E, P> JoinBuilder<T, E, P>
where
    E: Send + 'static,
    P: JoinPolicy<T, E>,
{
    /// Cancels everything in the group this long after it was first polled.
    ///
    /// Then the policy makes the result of what is there, which a [`timeout`](crate::timeout) round
    /// the group would throw away. A duration that is too long to be added to the time,
    /// [`Duration::MAX`] for one, means never.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{TaskGroup, policies, run};
    /// use std::{future::pending, time::Duration};
    ///
    /// let group = TaskGroup::builder()
    ///     .join(policies::partial())
    ///     .timeout(Duration::from_millis(5))
    ///     .run(async |g| {
    ///         g.spawn(async { Ok(7) });
    ///         g.spawn(pending());
    ///         Ok(())
    ///     });
    /// let partial = run(group).unwrap();
    /// assert_eq!((partial.values, partial.is_complete), (vec![(0, 7)], false));
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.after = Some(limit);
        self
    }

    /// Cancels everything in the group at this time, and has the policy make the result of what is
    /// there. Of a deadline and a timeout the earlier one counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{TaskGroup, now, policies, run};
    ///
    /// let group = TaskGroup::builder().join(policies::partial()).deadline(now()).run(async |g| {
    ///     g.spawn(std::future::pending::<Result<(), _>>());
    ///     Ok(())
    /// });
    /// assert!(!run(group).unwrap().is_complete);
    /// ```
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.at = Some(deadline);
        self
    }

    /// Runs the group: the body, and everything that is spawned in it.
    ///
    /// # Errors
    ///
    /// The returned future fails with what the policy makes of the failures, and with a failure of
    /// the body in any case.
    ///
    /// # Panics
    ///
    /// Panics of the body and of children are failures.
    ///
    /// # Cancel safety
    ///
    /// As for [`group`](crate::group()). If a scope around it is cancelled, the policy is not asked
    /// for any result.
    ///
    /// # Examples
    ///
    /// See [`GroupBuilder::join`].
    #[track_caller]
    pub fn run<'env, F, Fut>(self, body: F) -> Joined<'env, T, E, P, Fut>
    where
        F: FnOnce(JoinGroup<'env, T, E>) -> Fut,
        Fut: Future<Output = Result<(), E>>,
    {
        let outcomes = Arc::new(Outcomes::default());
        let policy = Arc::new(Mutex::new(Some(self.policy)));
        let (at, after) = (self.at, self.after);
        let usher = |group: TaskGroup<'env, E>| Ushered {
            body: body(JoinGroup {
                group: group.clone(),
                outcomes: Arc::clone(&outcomes),
            }),
            is_body_done: false,
            limit: Some((at, after)),
            group,
            outcomes: Arc::clone(&outcomes),
            policy: Arc::clone(&policy),
        };
        Joined {
            group: self.group.run(usher),
            outcomes,
            policy,
            ended: None,
        }
    }
}

impl<T, E, P> fmt::Debug for JoinBuilder<T, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinBuilder")
            .field("deadline", &self.at)
            .field("timeout", &self.after)
            .finish_non_exhaustive()
    }
}

/// A group with a join policy, as its body sees it; see [`GroupBuilder::join`].
///
/// # Examples
///
/// ```
/// use headcount::{Policy, TaskGroup, policies, run};
///
/// let words = String::from("one two three");
/// let group = TaskGroup::builder().join(policies::values(Policy::FailFast)).run(async |g| {
///     for word in words.split(' ') {
///         g.spawn_local(async move { Ok(word.len()) });
///     }
///     Ok(())
/// });
/// assert_eq!(run(group).unwrap(), [3, 3, 5]);
/// ```
#[must_use = "a group that nothing is spawned into does nothing"]
pub struct JoinGroup<'env, T, E = Error> {
    group: TaskGroup<'env, E>,
    outcomes: Arc<Outcomes<T, E>>,
}

impl<'env, T, E: Send + 'static> JoinGroup<'env, T, E> {
    /// Spawns a task that runs in parallel, and whose end goes to the policy.
    ///
    /// Awaiting the handle waits for that end and yields `Ok(())` however it was, unless the task
    /// was cancelled. See [`TaskGroup::spawn`] for the rest.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// See [`GroupBuilder::join`].
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<()>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.group.spawn(Reported::new(&self.outcomes, future))
    }

    /// Spawns a parallel task with a name, for errors and the task tree.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{TaskGroup, policies, run};
    ///
    /// let group = TaskGroup::builder().join(policies::first_ok()).run(async |g| {
    ///     g.spawn_named("mirror", async { Err::<(), _>("down".into()) });
    ///     Ok(())
    /// });
    /// assert_eq!(run(group).unwrap_err().first().unwrap().task().name(), Some("mirror"));
    /// ```
    #[track_caller]
    pub fn spawn_named<F>(&self, name: impl Into<String>, future: F) -> Task<()>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let future = Reported::new(&self.outcomes, future);
        self.group.spawn_named(name, future)
    }

    /// Spawns a task that is a call which blocks its thread, and whose end goes to the policy.
    ///
    /// See [`TaskGroup::spawn_blocking`] for the rest.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{Policy, TaskGroup, policies, run};
    ///
    /// let group = TaskGroup::builder().join(policies::values(Policy::FailFast)).run(async |g| {
    ///     for file in ["Cargo.toml", "README.md"] {
    ///         g.spawn_blocking(move || Ok(std::fs::exists(file)?));
    ///     }
    ///     Ok(())
    /// });
    /// assert_eq!(run(group).unwrap(), [true, true]);
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F>(&self, call: F) -> Task<()>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, E> + Send + 'static,
    {
        self.spawn(unblock(call))
    }

    /// Spawns a task that may borrow what outlives the group, and whose end goes to the policy.
    ///
    /// # Panics
    ///
    /// Panics if the group has returned.
    ///
    /// # Examples
    ///
    /// See [`JoinGroup`].
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> Task<()>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        self.group
            .spawn_local(Reported::new(&self.outcomes, future))
    }

    /// Returns the task group inside: for everything that is no business of the policy.
    ///
    /// What is spawned there has a value of any type, and the policy is not told of it. A failure
    /// of it is a failure of the group, and ends nothing else.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{EndedBy, TaskGroup, policies, run};
    ///
    /// let group = TaskGroup::builder().join(policies::partial::<(), _>()).run(async |g| {
    ///     g.group().cancel();
    ///     Ok(std::future::pending().await)
    /// });
    /// assert_eq!(run(group).unwrap().ended_by, EndedBy::Request);
    /// ```
    pub fn group(&self) -> &TaskGroup<'env, E> {
        &self.group
    }
}

impl<T, E> Clone for JoinGroup<'_, T, E> {
    fn clone(&self) -> Self {
        Self {
            group: self.group.clone(),
            outcomes: Arc::clone(&self.outcomes),
        }
    }
}

impl<T, E> fmt::Debug for JoinGroup<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinGroup").field(&self.group).finish()
    }
}

/// The body of a group with a join policy, and beside it the one who takes the children's ends to
/// the policy. It is done when the body is and no child is left.
#[pin_project]
pub(super) struct Ushered<'env, T, E, P, Fut> {
    #[pin]
    body: Fut,
    is_body_done: bool,
    /// The deadline and the timeout; `None` once the group knows them.
    limit: Option<(Option<Instant>, Option<Duration>)>,
    group: TaskGroup<'env, E>,
    outcomes: Arc<Outcomes<T, E>>,
    policy: Slot<P>,
}

/// Where the policy is while it is not at work.
type Slot<P> = Arc<Mutex<Option<P>>>;

impl<T, E, P, Fut> Future for Ushered<'_, T, E, P, Fut>
where
    E: Send + 'static,
    P: JoinPolicy<T, E>,
    Fut: Future<Output = Result<(), E>>,
{
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some((at, after)) = this.limit.take() {
            let after = after.and_then(clock::after);
            if let Some(deadline) = at.into_iter().chain(after).min() {
                this.group.scope().set_deadline(Some(deadline));
            }
        }
        if !*this.is_body_done {
            if let Poll::Ready(returned) = this.body.poll(cx) {
                returned?;
                *this.is_body_done = true;
            }
        }
        loop {
            if tell(this.policy, this.outcomes).is_break() {
                this.outcomes.stop();
                this.group.cancel();
                return Poll::Pending;
            }
            if ready!(this.outcomes.poll_next(*this.is_body_done, cx)) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Tells the policy of the ends that have come, until it has enough.
fn tell<T, E, P: JoinPolicy<T, E>>(policy: &Slot<P>, outcomes: &Outcomes<T, E>) -> ControlFlow<()> {
    while let Some((index, end)) = outcomes.take() {
        // Not under the lock: it is foreign code.
        let Some(mut asked) = policy.lock().take() else {
            continue;
        };
        let answer = asked.child_ended(index, end);
        *policy.lock() = Some(asked);
        answer?;
    }
    ControlFlow::Continue(())
}

/// The future of a group with a join policy, returned by [`JoinBuilder::run`].
#[pin_project]
#[must_use = "a group does nothing unless you `.await` or poll it"]
pub struct Joined<'env, T, E, P, Fut>
where
    E: Send + 'static,
    P: JoinPolicy<T, E>,
    Fut: Future<Output = Result<(), E>>,
{
    #[pin]
    group: Group<'env, E, Ushered<'env, T, E, P, Fut>>,
    outcomes: Arc<Outcomes<T, E>>,
    policy: Slot<P>,
    /// How the group ended, while a scope further out is to drop this.
    ended: Option<Result<(), ErrorGroup<E>>>,
}

impl<T, E, P, Fut> Future for Joined<'_, T, E, P, Fut>
where
    E: Send + 'static,
    P: JoinPolicy<T, E>,
    Fut: Future<Output = Result<(), E>>,
{
    type Output = Result<P::Output, ErrorGroup<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let origin = this.group.origin();
        let ended = match this.ended.take() {
            Some(ended) => ended,
            None => ready!(this.group.poll(cx)),
        };
        let nothing_failed = ended.as_ref().err().is_none_or(ErrorGroup::is_empty);
        if nothing_failed && this.outcomes.is_cut() && frame::due() {
            // Children were cut by a scope further out, so the work has not been done. That scope
            // drops this, unless its deadline is moved meanwhile.
            *this.ended = Some(ended);
            if !frame::due() {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let ended_by = match &ended {
            _ if this.outcomes.is_stopped() => EndedBy::Policy,
            Ok(()) => EndedBy::Children,
            Err(failed) if !failed.is_empty() => EndedBy::Failure,
            Err(failed) if failed.is_deadline() => EndedBy::Deadline,
            Err(_) => EndedBy::Request,
        };
        // Those that ended after the body was gone.
        while tell(this.policy, this.outcomes).is_break() {}
        let mut closing = Closing {
            ended_by,
            failed: ended
                .err()
                .unwrap_or_else(|| ErrorGroup::new(Vec::new(), origin)),
        };
        let Some(policy) = this.policy.lock().take() else {
            // It has panicked.
            return Poll::Ready(Err(closing.failed));
        };
        let result = policy.joined(&mut closing);
        Poll::Ready(match result {
            Ok(_) if !closing.failed.is_empty() => Err(closing.failed),
            result => result,
        })
    }
}

impl<T, E, P, Fut> fmt::Debug for Joined<'_, T, E, P, Fut>
where
    E: Send + 'static,
    P: JoinPolicy<T, E>,
    Fut: Future<Output = Result<(), E>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Joined").field(&self.group).finish()
    }
}
