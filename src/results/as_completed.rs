//! Each result as it comes.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    iter,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_lite::Stream;
use pin_project::{pin_project, pinned_drop};

use super::report::Panics;
use crate::{
    crew::{Attitude, Boxed, Crew, Ending},
    error::{Aborted, TaskInfo},
    group::{Task, TaskGroup},
};

/// Runs futures concurrently and yields their outputs in the order in which they are done.
///
/// A stream of pairs: the position of the future, and its output. The futures run on the calling
/// task, and only while the stream is polled. Failures are outputs like any other and cancel nobody.
/// For tasks of a group, which run on by themselves, there is
/// [`TaskGroup::as_completed`](crate::TaskGroup::as_completed).
///
/// To leave early, call [`cancel`](AsCompleted::cancel), which waits until the rest is gone.
///
/// # Panics
///
/// A panic of a future goes on from the poll that it happens in.
///
/// # Cancel safety
///
/// Dropping the stream drops the rest of the futures where they stand. Waiting for the next output
/// may be given up and taken up again, also when a [`timeout`](crate::timeout) gives it up; but
/// what such a timeout finds protected inside the futures, it waits for, and groups and finalizers
/// in there it cancels.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
/// use headcount::{as_completed, run, sleep};
/// use std::time::Duration;
///
/// run(async {
///     let sleepers = [20, 0].map(|millis| async move {
///         sleep(Duration::from_millis(millis)).await;
///         millis
///     });
///     let mut outputs = as_completed(sleepers);
///     assert_eq!(outputs.next().await, Some((1, 0)));
///     assert_eq!(outputs.next().await, Some((0, 20)));
///     assert_eq!(outputs.next().await, None);
/// });
/// ```
pub fn as_completed<I>(futures: I) -> AsCompleted<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    let mut crew = Crew::new(Vec::new(), Attitude::Reserved);
    for future in futures {
        crew.push(future);
    }
    AsCompleted {
        crew,
        done: VecDeque::new(),
    }
}

/// The stream returned by [`as_completed`].
#[must_use = "streams do nothing unless polled"]
pub struct AsCompleted<F: Future> {
    crew: Crew<Boxed<F>>,
    /// Outputs that came in the same turn as one that was yielded.
    done: VecDeque<(usize, Ending<F::Output>)>,
}

impl<F: Future> Unpin for AsCompleted<F> {}

impl<F: Future> AsCompleted<F> {
    /// Cancels the futures that are left, and waits until they are gone, shields and finalizers
    /// included.
    ///
    /// Outputs that they still come to are dropped.
    ///
    /// # Panics
    ///
    /// A panic of one of them goes on from here, after all are gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops what is left where it stands.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use headcount::{as_completed, finally, run};
    /// use std::{cell::Cell, future::pending};
    ///
    /// let closed = Cell::new(0);
    /// run(async {
    ///     let connections = [0, 1].map(|n| finally(
    ///         async move { if n == 0 { pending().await } },
    ///         async { closed.set(closed.get() + 1) },
    ///     ));
    ///     let mut first = as_completed(connections);
    ///     assert_eq!(first.next().await, Some((1, ())));
    ///     first.cancel().await;
    /// });
    /// assert_eq!(closed.get(), 2);
    /// ```
    pub async fn cancel(mut self) {
        let mut panics = Panics::default();
        panics.dispose(std::mem::take(&mut self.done));
        Pin::new(&mut self.crew).cancel();
        let gone = std::future::poll_fn(|cx| {
            while let Some((_, ending)) = ready!(Pin::new(&mut self.crew).poll_ended(cx)) {
                match ending {
                    Ending::Value(output) => panics.dispose(output),
                    Ending::Panicked(panic) => panics.note(panic),
                    Ending::Cut => {}
                }
            }
            Poll::Ready(())
        });
        gone.await;
        panics.resume_instead_of(());
    }

    /// Returns how many outputs are still to come.
    ///
    /// # Examples
    ///
    /// ```
    /// let outputs = headcount::as_completed([std::future::ready(1), std::future::ready(2)]);
    /// assert_eq!(outputs.len(), 2);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.crew.live() + self.done.len()
    }

    /// Tells whether all outputs have been yielded.
    ///
    /// # Examples
    ///
    /// ```
    /// let nobody = std::iter::empty::<std::future::Ready<()>>();
    /// assert!(headcount::as_completed(nobody).is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<F: Future> Stream for AsCompleted<F> {
    type Item = (usize, F::Output);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done.is_empty() {
            let mut crew = Pin::new(&mut this.crew);
            this.done.extend(ready!(crew.as_mut().poll_ended(cx)));
            // The others do not have to wait for the consumer to come back.
            this.done
                .extend(iter::from_fn(|| crew.as_mut().end_of_round()));
        }
        Poll::Ready(match this.done.pop_front() {
            Some((index, Ending::Value(output))) => Some((index, output)),
            Some((_, Ending::Panicked(panic))) => panic.resume(),
            // None was cut: that happens only in `cancel`.
            Some((_, Ending::Cut)) | None => None,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<F: Future> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.len())
            .finish_non_exhaustive()
    }
}

impl<E: Send + 'static> TaskGroup<'_, E> {
    /// Yields the outcomes of tasks in the order in which they are done.
    ///
    /// A stream of pairs: which task it was, and what its handle yields. A failure is in the error
    /// group of the tasks' group as always. Dropping the stream cancels those of the tasks that are
    /// not done; their group waits for them as ever.
    ///
    /// # Cancel safety
    ///
    /// Waiting for the next outcome may be given up and taken up again; nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use headcount::{group, run, sleep};
    /// use std::time::Duration;
    ///
    /// run(group(async |g| {
    ///     let tasks = [Duration::MAX, Duration::ZERO].map(|time| {
    ///         g.spawn(async move {
    ///             sleep(time).await;
    ///             Ok(time)
    ///         })
    ///     });
    ///     let mut outcomes = g.as_completed(tasks);
    ///     let (_task, first) = outcomes.next().await.unwrap();
    ///     assert_eq!(first, Ok(Duration::ZERO));
    ///     drop(outcomes); // Cancels the other one, or the group would never return.
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    pub fn as_completed<T>(&self, tasks: impl IntoIterator<Item = Task<T>>) -> TasksCompleted<T> {
        TasksCompleted {
            outcomes: as_completed(tasks.into_iter().map(Waiting::new)),
        }
    }
}

/// The stream returned by [`TaskGroup::as_completed`](crate::TaskGroup::as_completed).
#[derive(Debug)]
#[must_use = "streams do nothing unless polled; dropping this one cancels its tasks"]
pub struct TasksCompleted<T> {
    outcomes: AsCompleted<Waiting<T>>,
}

impl<T> TasksCompleted<T> {
    /// Cancels the tasks that are left, and waits until they are gone.
    ///
    /// # Cancel safety
    ///
    /// Once this was called the tasks are cancelled, and their group waits for them if nobody else
    /// does.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// run(group(async |g| {
    ///     let task = g.spawn(std::future::pending::<Result<(), _>>());
    ///     g.as_completed([task]).cancel().await;
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    pub async fn cancel(mut self) {
        for slot in self.outcomes.crew.hands() {
            slot.task.cancel();
        }
        while futures_lite::StreamExt::next(&mut self.outcomes)
            .await
            .is_some()
        {}
    }
}

impl<T> Stream for TasksCompleted<T> {
    type Item = (TaskInfo, Result<T, Aborted>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.outcomes).poll_next(cx));
        Poll::Ready(next.map(|(_, outcome)| outcome))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.outcomes.size_hint()
    }
}

/// A task that is cancelled when nobody waits for it any more.
#[pin_project(PinnedDrop)]
pub(crate) struct Waiting<T> {
    task: Task<T>,
}

impl<T> Waiting<T> {
    pub(crate) fn new(task: Task<T>) -> Self {
        Self { task }
    }
}

impl<T> Future for Waiting<T> {
    type Output = (TaskInfo, Result<T, Aborted>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.project().task;
        let outcome = ready!(Pin::new(&mut *task).poll(cx));
        Poll::Ready((task.info().clone(), outcome))
    }
}

#[pinned_drop]
impl<T> PinnedDrop for Waiting<T> {
    fn drop(self: Pin<&mut Self>) {
        self.task.cancel();
    }
}
