//! The handle of a task.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

use super::{
    child::{self, Ticket, Value},
    local::Outcome,
};
use crate::{
    error::{Aborted, TaskInfo, discard},
    frame::{self, Home},
};

/// A handle to a task of a group: awaits its value, cancels it, knows who it is.
///
/// Awaiting it yields the value that the task returned, or [`Aborted`] if there is none. The failure
/// of a task is never in its handle: it goes to the error group of its group, also if nobody looks
/// at the handle.
///
/// Dropping the handle does not touch the task. It stays in its group, which waits for it as before.
///
/// # Errors
///
/// Yields [`Aborted::Cancelled`] if the task was cancelled before it had a value, and
/// [`Aborted::Failed`] if it failed or panicked. A task that awaits its own handle, or that of a task
/// whose child it is, would wait for ever; it gets [`Aborted::Failed`] as well.
///
/// # Cancel safety
///
/// Awaiting `&mut task` may be cancelled and taken up again; the value is not lost.
///
/// # Panics
///
/// Awaiting it again after it has yielded its value panics.
///
/// # Examples
///
/// ```
/// use headcount::{group, run};
///
/// let sum = run(group(async |g| {
///     let left = g.spawn(async { Ok(1) });
///     let right = g.spawn(async { Ok(2) });
///     Ok(left.await? + right.await?)
/// }));
/// assert_eq!(sum.unwrap(), 3);
/// ```
pub struct Task<T> {
    link: Link<T>,
    /// Whether the waker of whoever awaits this was left with a borrowing task.
    has_waited: bool,
    /// That the task has ended without a value, if nobody could be told yet.
    aborted: Option<Aborted>,
}

/// What connects a handle with its task.
enum Link<T> {
    /// A parallel one. `None` only while the handle is being dropped.
    Parallel(Option<child::Handle<T>>),
    /// One that borrows.
    Local(Arc<Outcome<T>>),
    /// It was never run, because its group had been cancelled.
    Refused(Ticket),
}

impl<T> Unpin for Task<T> {}

impl<T> Task<T> {
    pub(super) fn parallel(handle: child::Handle<T>) -> Self {
        Self {
            link: Link::Parallel(Some(handle)),
            has_waited: false,
            aborted: None,
        }
    }

    pub(super) fn local(outcome: Arc<Outcome<T>>) -> Self {
        Self {
            link: Link::Local(outcome),
            has_waited: false,
            aborted: None,
        }
    }

    pub(super) fn refused(ticket: Ticket) -> Self {
        Self {
            link: Link::Refused(ticket),
            has_waited: false,
            aborted: None,
        }
    }

    /// Who the task is, and in which group.
    fn ticket(&self) -> &Ticket {
        match &self.link {
            Link::Parallel(handle) => handle
                .as_ref()
                .expect("the handle is there until this is dropped")
                .metadata(),
            Link::Local(outcome) => outcome.ticket(),
            Link::Refused(ticket) => ticket,
        }
    }

    /// Cancels the task and everything below it.
    ///
    /// Returns at once; the task is gone when what it protects has ended, and awaiting the handle
    /// waits for that. Its group and its siblings are not touched: being cancelled is no failure. A
    /// task that has not been polled yet never will be. Cancelling a task that is done has no
    /// effect.
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
    pub fn cancel(&self) {
        if !self.is_finished() {
            let hub = &self.ticket().hub;
            hub.cancel_task(self.id(), || self.is_finished());
            if let Link::Local(outcome) = &self.link {
                outcome.wake_child();
            }
        }
    }

    /// Returns the id of the task, the same that [`TaskInfo::id`] gives in reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(group(async |g| {
    ///     let (a, b) = (g.spawn(async { Ok(()) }), g.spawn(async { Ok(()) }));
    ///     assert_ne!(a.id(), b.id());
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[must_use]
    pub fn id(&self) -> u64 {
        self.info().id()
    }

    /// Returns the name that the task was spawned with.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(group(async |g| {
    ///     assert_eq!(g.spawn_named("fetch", async { Ok(()) }).name(), Some("fetch"));
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.info().name()
    }

    /// Returns who the task is: id, name and the place where it was spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(group(async |g| {
    ///     let task = g.spawn_named("fetch", async { Ok(()) });
    ///     assert!(task.info().to_string().starts_with(r#"task "fetch" ("#));
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[must_use]
    pub fn info(&self) -> &TaskInfo {
        &self.ticket().task
    }

    /// Tells whether the task has ended: awaiting the handle would not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{checkpoint, group, run};
    ///
    /// run(group(async |g| {
    ///     let task = g.spawn(async { Ok(7) });
    ///     while !task.is_finished() {
    ///         checkpoint().await;
    ///     }
    ///     assert_eq!(task.await, Ok(7));
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.link {
            Link::Parallel(handle) => handle.as_ref().is_none_or(|handle| handle.is_finished()),
            Link::Local(outcome) => outcome.is_finished(),
            Link::Refused(_) => true,
        }
    }

    /// Whether the running code is the task itself, or something that the task waits for.
    fn is_awaited_by_itself(&self) -> bool {
        let Some((mut home, mut member)) = frame::enclosing_home() else {
            return false;
        };
        let depth = self.ticket().hub.depth();
        loop {
            if member == self.id() {
                return true;
            }
            // A member of a group as far out as the task's cannot be below the task.
            if home.depth() <= depth {
                return false;
            }
            let (Some(above), Some(opener)) = (home.home_above(), home.opened_by()) else {
                return false;
            };
            (home, member) = (above, opener);
        }
    }

    /// Asks the task for its result.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Aborted>> {
        match &mut self.link {
            Link::Refused(_) => Poll::Ready(Err(Aborted::Cancelled)),
            Link::Local(outcome) => {
                let polled = outcome.poll(cx.waker());
                self.has_waited |= polled.is_pending();
                polled
            }
            Link::Parallel(None) => Poll::Pending,
            Link::Parallel(Some(handle)) => {
                // async-task ends the process if a waker panics.
                let polled = if frame::trusts(cx.waker()) {
                    Pin::new(handle).poll(cx)
                } else {
                    let guarded = Waker::from(Arc::new(Guarded(Some(cx.waker().clone()))));
                    Pin::new(handle).poll(&mut Context::from_waker(&guarded))
                };
                polled.map(|result| match result.map(Value::take) {
                    Ok(value) => Ok(value.expect("the value is taken only here")),
                    Err(aborted) => Err(aborted),
                })
            }
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Aborted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match self.aborted {
            Some(aborted) => Poll::Ready(Err(aborted)),
            None => self.poll_link(cx),
        };
        if result.is_pending() && self.is_awaited_by_itself() {
            return Poll::Ready(Err(Aborted::Failed));
        }
        let result = ready!(result);
        if let Err(aborted) = result {
            let was_refused = matches!(self.link, Link::Refused(_));
            if !was_refused && frame::cancelled() {
                // Whoever is cancelled is not told that others are, too: it waits to be dropped.
                self.aborted = Some(aborted);
                return Poll::Pending;
            }
            frame::note_aborted(&self.ticket().hub.as_home());
        }
        Poll::Ready(result)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        match &mut self.link {
            Link::Parallel(handle) => {
                if let Some(handle) = handle.take() {
                    handle.detach();
                }
            }
            Link::Local(outcome) if self.has_waited => outcome.let_go(),
            Link::Local(_) | Link::Refused(_) => {}
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("info", self.info())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

/// Somebody else's waker, made safe to be woken inside async-task.
struct Guarded(Option<Waker>);

impl Wake for Guarded {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = &self.0 {
            if let Err(panic) = crate::error::catch(|| waker.wake_by_ref()) {
                frame::report_panic(panic);
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}
