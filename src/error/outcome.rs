//! Outcomes that are not failures of a task: cancelled, timed out, not started.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use super::Panic;

/// Why a scope or group was cancelled. The first cause stays.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    /// Somebody asked for it, perhaps with a reason.
    Requested(Option<Arc<str>>),
    /// The deadline passed.
    Deadline,
    /// A member of the group failed.
    Failure,
    /// A scope or group around it was cancelled.
    Enclosing,
    /// The future that owned the group was dropped or left behind.
    Dropped,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested(None) => f.write_str("on request"),
            Self::Requested(Some(reason)) => f.write_str(reason),
            Self::Deadline => f.write_str("its deadline passed"),
            Self::Failure => f.write_str("a member failed"),
            Self::Enclosing => f.write_str("a scope around it was cancelled"),
            Self::Dropped => f.write_str("its future was dropped"),
        }
    }
}

/// What awaiting a [`Task`](crate::Task) yields when the task has no value to give.
///
/// The failure itself, if there is one, is in the error group of the task's group; the handle only
/// says which of the two happened. Passing it on with `?` from another task of the same group adds
/// nothing to the report: it is left out beside the failure that it echoes.
///
/// # Examples
///
/// ```
/// use headcount::{Aborted, group, run};
///
/// run(group(async |g| {
///     let task = g.spawn(std::future::pending::<Result<(), _>>());
///     task.cancel();
///     assert_eq!(task.await, Err(Aborted::Cancelled));
///     Ok(())
/// }))
/// .unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aborted {
    /// The task was cancelled before it had a value.
    Cancelled,
    /// The task failed or panicked, or it awaited itself.
    Failed,
}

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the awaited task was cancelled",
            Self::Failed => "the awaited task failed; its group reports the failure",
        })
    }
}

impl StdError for Aborted {}

/// What a [`CancelScope`](crate::CancelScope) yields when it was cancelled before its body was done.
///
/// # Examples
///
/// ```
/// use headcount::{CancelScope, run};
///
/// let scope = CancelScope::new();
/// scope.handle().cancel_with("the user pressed stop");
/// let cancelled = run(scope.run(std::future::pending::<()>())).unwrap_err();
/// assert_eq!(cancelled.reason(), Some("the user pressed stop"));
/// assert_eq!(cancelled.to_string(), "cancelled: the user pressed stop");
/// ```
#[derive(Clone, Debug)]
pub struct Cancelled {
    /// The first cause.
    cause: Cause,
    /// The name of the scope, if it has one.
    scope: Option<Arc<str>>,
}

impl Cancelled {
    /// Says that the scope of this name was cancelled.
    pub(crate) fn new(cause: Cause, scope: Option<Arc<str>>) -> Self {
        Self { cause, scope }
    }

    /// Returns the reason given with the first cancellation, if one was given.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    ///
    /// let scope = CancelScope::new();
    /// let handle = scope.handle();
    /// handle.cancel_with("first");
    /// handle.cancel_with("second");
    /// let cancelled = run(scope.run(std::future::pending::<()>())).unwrap_err();
    /// assert_eq!(cancelled.reason(), Some("first"));
    /// ```
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.cause {
            Cause::Requested(reason) => reason.as_deref(),
            _ => None,
        }
    }

    /// Returns the name of the scope that was cancelled, if it has one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    ///
    /// let scope = CancelScope::new().name("upload");
    /// scope.handle().cancel();
    /// let cancelled = run(scope.run(std::future::pending::<()>())).unwrap_err();
    /// assert_eq!(cancelled.scope_name(), Some("upload"));
    /// ```
    #[must_use]
    pub fn scope_name(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Tells whether the scope was cancelled because its deadline passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    /// use std::time::Duration;
    ///
    /// let scope = CancelScope::new().timeout(Duration::ZERO);
    /// let cancelled = run(scope.run(std::future::pending::<()>())).unwrap_err();
    /// assert!(cancelled.is_deadline());
    /// ```
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        matches!(self.cause, Cause::Deadline)
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scope) = &self.scope {
            write!(f, "scope {scope:?} was ")?;
        }
        write!(f, "cancelled")?;
        match &self.cause {
            Cause::Requested(None) => Ok(()),
            cause => write!(f, ": {cause}"),
        }
    }
}

impl StdError for Cancelled {}

/// What [`timeout`](crate::timeout) and [`timeout_at`](crate::timeout_at) yield when the time was up
/// before their body was done.
///
/// It always means *that* timeout: a cancellation from further out is never reported as a
/// `TimedOut`, it is absorbed by the scope it was meant for.
///
/// # Examples
///
/// ```
/// use headcount::{run, timeout};
/// use std::time::Duration;
///
/// let late = run(timeout(Duration::from_millis(1), std::future::pending::<()>()));
/// assert_eq!(late.unwrap_err().to_string(), "timed out after 1ms");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// How long the body was given; `None` if it had a point in time instead.
    limit: Option<Duration>,
}

impl TimedOut {
    /// Says that a body did not make it.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self { limit }
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "timed out after {limit:?}"),
            None => f.write_str("timed out: the deadline passed"),
        }
    }
}

impl StdError for TimedOut {}

/// What [`Spawner::try_spawn`](crate::Spawner::try_spawn) yields when the group has returned.
///
/// It gives back the future that was not spawned.
///
/// # Examples
///
/// ```
/// use headcount::{group, run};
///
/// run(async {
///     let spawner = group(async |g| Ok(g.spawner())).await.unwrap();
///     let closed = spawner.try_spawn(async { Ok(7) }).unwrap_err();
///     assert_eq!(closed.0.await.unwrap(), 7);
/// });
/// ```
pub struct GroupClosed<F>(pub F);

impl<F> fmt::Debug for GroupClosed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupClosed").finish_non_exhaustive()
    }
}

impl<F> fmt::Display for GroupClosed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task group has returned and takes no more tasks")
    }
}

impl<F> StdError for GroupClosed<F> {}

/// Why [`TaskGroup::start`](crate::TaskGroup::start) has no value to give.
///
/// The child that was to be started is gone by then, and its group is unharmed.
///
/// # Examples
///
/// ```
/// use headcount::{Ready, StartError, group, run};
///
/// run(group(async |g| {
///     let failed = g.start(|ready: Ready<u16>| async move {
///         ready.send("eighty".parse()?);
///         Ok(())
///     });
///     match failed.await {
///         Err(StartError::Failed(error)) => assert!(error.is::<std::num::ParseIntError>()),
///         _ => unreachable!(),
///     }
///     Ok(())
/// }))
/// .unwrap();
/// ```
#[derive(Debug)]
pub enum StartError<E = super::Error> {
    /// The child failed before it was ready.
    Failed(E),
    /// The child panicked before it was ready.
    Panicked(Panic),
    /// The child ended, or dropped its [`Ready`](crate::Ready), without reporting that it is ready.
    NotReady,
    /// The child was cancelled before it was ready, or its group had been cancelled before.
    Cancelled,
}

impl<E> StartError<E> {
    /// Views the error inside as a standard error, if it is of a type that is known to be one.
    fn cause(&self) -> Option<&(dyn StdError + 'static)>
    where
        E: 'static,
    {
        match self {
            Self::Failed(error) => super::raw::as_std(error),
            Self::Panicked(panic) => Some(panic),
            Self::NotReady | Self::Cancelled => None,
        }
    }
}

impl<E> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed(_) => "the task failed before it was ready",
            Self::Panicked(_) => "the task panicked before it was ready",
            Self::NotReady => "the task ended without reporting that it is ready",
            Self::Cancelled => "the task was cancelled before it was ready",
        })
    }
}

impl<E: fmt::Debug + 'static> StdError for StartError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause()
    }
}
