//! Cancel scopes: regions that can be cancelled, held off from it, or cleaned up after.

mod bounded;
mod finalizer;
mod query;
mod shield;
mod timeout;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use pin_project::pin_project;

use self::bounded::{Bounded, Limit};
use crate::{
    error::{Cancelled, Cause},
    frame::Node,
};

pub use self::{
    finalizer::{Finally, bracket, finally},
    query::{Cancellation, Checkpoint, cancelled, checkpoint, deadline, is_cancelled, time_left},
    shield::{Shield, shield},
    timeout::{Timeout, timeout, timeout_at},
};

/// A region of code that can be cancelled on its own.
///
/// [`run`](Self::run) runs a future inside the scope. When the scope is cancelled, through a
/// [handle](Self::handle) or because its deadline has passed, the future is dropped at the point
/// where it waits, after what is protected inside has ended: shields, finalizers, groups with their
/// tasks. Then `run` returns [`Cancelled`], and the code after it goes on. That is how Trio's
/// `CancelScope` works too.
///
/// A cancellation reaches everything inside at once, however deep, and nothing else. It cannot be
/// taken back. When several scopes around each other are cancelled, the outermost one absorbs it:
/// the code between them does not run.
///
/// | cancelled | then |
/// | --- | --- |
/// | before it is run | the future runs up to its first wait, and is cut there |
/// | while the future waits | it is cut there |
/// | while it is shielded | it is cut at its first wait after the shield |
/// | in the poll in which the future is done | its value is returned |
/// | after that | nothing happens |
///
/// For nothing but a time limit, [`timeout`] is shorter. For several tasks that are cancelled
/// together, a [group](crate::group()) is a scope already; see [`TaskGroup::scope`].
///
/// [`TaskGroup::scope`]: crate::TaskGroup::scope
///
/// # Examples
///
/// ```
/// use headcount::{CancelScope, group, run, sleep};
/// use std::time::Duration;
///
/// run(group(async |g| {
///     let upload = CancelScope::new().name("upload");
///     let stop = upload.handle();
///
///     let uploaded = g.spawn(async move {
///         Ok(upload.run(async { sleep(Duration::MAX).await }).await.is_ok())
///     });
///     stop.cancel_with("the user pressed stop");
///
///     assert!(!uploaded.await?);
///     Ok(())
/// }))
/// .unwrap();
/// ```
#[derive(Default)]
#[must_use = "a scope does nothing until a future is run in it"]
pub struct CancelScope {
    /// Made with the first handle.
    node: OnceLock<Arc<dyn Node>>,
    limit: Limit,
    name: Option<Arc<str>>,
}

impl CancelScope {
    /// Makes a scope without a deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    ///
    /// assert_eq!(run(CancelScope::new().run(async { 7 })).unwrap(), 7);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the scope at this time.
    ///
    /// Of a deadline and a [timeout](Self::timeout) the earlier one counts.
    /// [`ScopeHandle::set_deadline`] moves it later on. A deadline that has passed already lets the
    /// body run up to its first wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, now, run};
    ///
    /// let scope = CancelScope::new().deadline(now());
    /// assert!(run(scope.run(std::future::pending::<()>())).unwrap_err().is_deadline());
    /// ```
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.limit.at = Some(deadline);
        self
    }

    /// Cancels the scope this long after its body was first polled.
    ///
    /// A duration that is too long to be added to the time, [`Duration::MAX`] for one, means never.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    /// use std::time::Duration;
    ///
    /// let scope = CancelScope::new().timeout(Duration::from_millis(1));
    /// assert!(run(scope.run(std::future::pending::<()>())).unwrap_err().is_deadline());
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limit.after = Some(timeout);
        self
    }

    /// Names the scope, for the message of [`Cancelled`].
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    ///
    /// let scope = CancelScope::new().name("upload");
    /// scope.handle().cancel();
    /// let cancelled = run(scope.run(std::future::pending::<()>())).unwrap_err();
    /// assert_eq!(cancelled.to_string(), r#"scope "upload" was cancelled"#);
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into());
        self
    }

    /// Returns a handle that cancels the scope, from any thread, before, while or after it runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    ///
    /// let scope = CancelScope::new();
    /// let handle = scope.handle();
    /// std::thread::spawn(move || handle.cancel());
    /// assert!(run(scope.run(std::future::pending::<()>())).is_err());
    /// ```
    #[must_use]
    pub fn handle(&self) -> ScopeHandle {
        ScopeHandle::new(Arc::clone(self.node.get_or_init(bounded::node)))
    }

    /// Runs a future in the scope.
    ///
    /// # Errors
    ///
    /// Fails with [`Cancelled`] if the scope was cancelled before the future was done, or its
    /// deadline passed. A future that is done in the very poll in which the scope is cancelled
    /// counts as done: its value is returned. If a scope further out was cancelled too, nothing is
    /// returned, and that scope absorbs the cancellation.
    ///
    /// # Panics
    ///
    /// A panic of the future goes on from here, as does one of its destructor when it is cancelled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future drops the one inside at once, shields and all.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run, shield};
    ///
    /// let scope = CancelScope::new();
    /// let handle = scope.handle();
    /// let mut log = Vec::new();
    ///
    /// let outcome = run(scope.run(async {
    ///     handle.cancel();
    ///     shield(async { log.push("protected") }).await;
    ///     std::future::pending::<()>().await; // The first wait that is not shielded.
    ///     log.push("never");
    /// }));
    ///
    /// assert!(outcome.is_err());
    /// assert_eq!(log, ["protected"]);
    /// ```
    pub fn run<F: Future>(self, body: F) -> Scoped<F> {
        Scoped {
            bounded: Bounded::new(self.node.into_inner(), self.name, self.limit, body),
        }
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelScope")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The future returned by [`CancelScope::run`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Scoped<F> {
    #[pin]
    bounded: Bounded<F>,
}

impl<F: Future> Future for Scoped<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut bounded = self.project().bounded;
        let outcome = ready!(bounded.as_mut().poll(cx));
        Poll::Ready(outcome.map_err(|cause| Cancelled::new(cause, bounded.name().cloned())))
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped")
            .field("name", &self.bounded.name())
            .finish_non_exhaustive()
    }
}

/// A handle to a [`CancelScope`] or to the scope of a [`TaskGroup`](crate::TaskGroup).
///
/// It works from any thread and outlives its scope: cancelling a scope that has ended does nothing.
///
/// # Examples
///
/// ```
/// use headcount::{CancelScope, run};
///
/// let scope = CancelScope::new();
/// let handle = scope.handle();
/// run(async {
///     scope.run(async {}).await.unwrap();
///     handle.cancel(); // Too late: it has been left.
/// });
/// ```
#[derive(Clone)]
pub struct ScopeHandle {
    node: Arc<dyn Node>,
}

impl ScopeHandle {
    /// Makes a handle to a frame.
    pub(crate) fn new(node: Arc<dyn Node>) -> Self {
        Self { node }
    }

    /// Cancels the scope and everything in it.
    ///
    /// Returns at once; the scope ends when what it protects has ended. Cancelling it again has no
    /// effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    ///
    /// let scope = CancelScope::new();
    /// scope.handle().cancel();
    /// assert!(run(scope.run(std::future::pending::<()>())).is_err());
    /// ```
    pub fn cancel(&self) {
        self.node.cancel(Cause::Requested(None));
    }

    /// Cancels the scope and says why. Of several reasons the first one stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    ///
    /// let scope = CancelScope::new();
    /// scope.handle().cancel_with("shutting down");
    /// let cancelled = run(scope.run(std::future::pending::<()>())).unwrap_err();
    /// assert_eq!(cancelled.reason(), Some("shutting down"));
    /// ```
    pub fn cancel_with(&self, reason: impl Into<String>) {
        let reason = reason.into().into();
        self.node.cancel(Cause::Requested(Some(reason)));
    }

    /// Moves the deadline of the scope, or takes it away with `None`.
    ///
    /// Works before and while the scope runs, from any thread, and takes the place of both the deadline
    /// and the timeout that the scope was made with. A time that has passed cancels the scope at its
    /// next wait. A scope that was cancelled already does not come back to life.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{CancelScope, run};
    /// use std::time::Duration;
    ///
    /// let scope = CancelScope::new().timeout(Duration::from_millis(1));
    /// let handle = scope.handle();
    /// run(scope.run(async {
    ///     handle.set_deadline(None);
    ///     headcount::sleep(Duration::from_millis(5)).await;
    /// }))
    /// .unwrap();
    /// ```
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.node.move_deadline(deadline);
    }

    /// Tells whether the scope was cancelled, or one around it.
    ///
    /// It says so also of a scope that was left before the cancellation came. A deadline counts
    /// once the scope has noticed that it passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::CancelScope;
    ///
    /// let scope = CancelScope::new();
    /// let handle = scope.handle();
    /// assert!(!handle.is_cancelled());
    /// handle.cancel();
    /// assert!(handle.is_cancelled());
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.node.state().is_cancelled()
    }
}

impl fmt::Debug for ScopeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeHandle")
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
