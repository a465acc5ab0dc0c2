//! All results: `gather` and its relatives.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::{
    report::{Panics, Report},
    tuples::Gatherable,
};
use crate::{
    crew::{Attitude, Boxed, Crew, Ending},
    error::{ErrorGroup, catch},
};

/// Runs a tuple of futures concurrently and returns all their values.
///
/// The futures run on the calling task: they may borrow, need not be `Send`, and each is polled only
/// when it was woken itself. For work that computes, open a [`group`](crate::group()) and spawn, which
/// uses all cores; for a number of futures that is known only at run time there is [`gather_all`].
/// Python has this as `asyncio.gather`, JavaScript as `Promise.all`.
///
/// # Errors
///
/// If one future fails or panics, the others are cancelled: dropped where they wait, after shields
/// and finalizers inside have ended. Then all that failed, the cleanup of the others included, comes
/// out in one error group, where [`TaskInfo::index`](crate::TaskInfo::index) says which future it
/// was. The values of those that had succeeded are dropped. To keep them, use [`gather_settled`].
///
/// # Cancel safety
///
/// If a scope around it is cancelled, so are all the futures, and they are gone before that scope
/// ends. Somebody who drops the returned future drops them where they stand.
///
/// # Examples
///
/// ```
/// use headcount::{Error, gather, run};
///
/// async fn fetch(page: &str) -> Result<usize, Error> {
///     Ok(page.len())
/// }
///
/// let title = String::from("headcount");
/// let (length, answer) = run(gather((fetch(&title), async { Ok(42) }))).unwrap();
/// assert_eq!((length, answer), (9, 42));
/// ```
#[doc(alias = "join")]
#[doc(alias = "zip")]
#[track_caller]
pub fn gather<L: Gatherable>(futures: L) -> Gather<L> {
    Gather {
        crew: Crew::new(futures.into_hands(), Attitude::Wholehearted),
        parts: L::Parts::default(),
        report: Report::new("gather", Location::caller()),
    }
}

/// The future returned by [`gather`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Gather<L: Gatherable> {
    #[pin]
    crew: Crew<L::Hands>,
    /// The values so far.
    parts: L::Parts,
    report: Report<L::Error>,
}

impl<L: Gatherable> Future for Gather<L>
where
    L::Error: 'static,
{
    type Output = Result<L::Values, ErrorGroup<L::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        while let Some((index, ending)) = ready!(this.crew.as_mut().poll_ended(cx)) {
            match ending {
                Ending::Value(part) => match L::put(this.parts, part) {
                    Ok(()) => continue,
                    Err(error) => this.report.error(index, error),
                },
                Ending::Panicked(panic) => this.report.panic(index, panic),
                Ending::Cut => continue,
            }
            this.crew.as_mut().cancel();
        }
        let parts = std::mem::take(this.parts);
        if !this.report.is_empty() {
            if let Err(panic) = catch(|| drop(parts)) {
                this.report.panic(0, panic);
            }
            return Poll::Ready(Err(this.report.group()));
        }
        match L::complete(parts) {
            Some(values) => Poll::Ready(Ok(values)),
            None => this.crew.leave_it(),
        }
    }
}

impl<L: Gatherable> fmt::Debug for Gather<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("left", &self.crew.live())
            .finish_non_exhaustive()
    }
}

/// Runs futures concurrently and returns all their values, in the order of the futures.
///
/// The same as [`gather`] for any number of futures of one type. All of them start at once; to run
/// so many at a time, use a [group with a limit](crate::GroupBuilder::limit), or
/// [`map_concurrent`](crate::ConcurrentStreamExt::map_concurrent) on a stream. Without any futures it returns
/// an empty vector.
///
/// # Errors
///
/// As for [`gather`]: the first failure cancels the rest.
///
/// # Cancel safety
///
/// As for [`gather`].
///
/// # Examples
///
/// ```
/// use headcount::{Error, gather_all, run};
///
/// let words = ["one", "two", "three"];
/// let lengths = words.iter().map(async |word| Ok::<_, Error>(word.len()));
/// assert_eq!(run(gather_all(lengths)).unwrap(), [3, 3, 5]);
/// ```
#[doc(alias = "join_all")]
#[doc(alias = "try_join_all")]
#[track_caller]
pub fn gather_all<I, T, E>(futures: I) -> GatherAll<I::Item, T, E>
where
    I: IntoIterator<Item: Future<Output = Result<T, E>>>,
{
    let crew = crew_of(futures);
    GatherAll {
        values: (0..crew.live()).map(|_| None).collect(),
        crew,
        report: Report::new("gather_all", Location::caller()),
    }
}

/// Makes a crew of all the futures that there are.
pub(super) fn crew_of<I: IntoIterator<Item: Future>>(futures: I) -> Crew<Boxed<I::Item>> {
    let mut crew = Crew::new(Vec::new(), Attitude::Wholehearted);
    for future in futures {
        crew.push(future);
    }
    crew
}

/// The future returned by [`gather_all`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct GatherAll<F: Future, T, E> {
    crew: Crew<Boxed<F>>,
    /// The values so far, in the order of the futures.
    values: Vec<Option<T>>,
    report: Report<E>,
}

impl<F: Future, T, E> Unpin for GatherAll<F, T, E> {}

impl<F, T, E> Future for GatherAll<F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: 'static,
{
    type Output = Result<Vec<T>, ErrorGroup<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some((index, ending)) = ready!(Pin::new(&mut this.crew).poll_ended(cx)) {
            match ending {
                Ending::Value(Ok(value)) => {
                    this.values[index] = Some(value);
                    continue;
                }
                Ending::Value(Err(error)) => this.report.error(index, error),
                Ending::Panicked(panic) => this.report.panic(index, panic),
                Ending::Cut => continue,
            }
            Pin::new(&mut this.crew).cancel();
        }
        let values = std::mem::take(&mut this.values);
        if !this.report.is_empty() {
            if let Err(panic) = catch(|| drop(values)) {
                this.report.panic(0, panic);
            }
            return Poll::Ready(Err(this.report.group()));
        }
        if values.iter().any(Option::is_none) {
            this.values = values;
            return Pin::new(&mut this.crew).leave_it();
        }
        Poll::Ready(Ok(values.into_iter().flatten().collect()))
    }
}

impl<F: Future, T, E> fmt::Debug for GatherAll<F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherAll")
            .field("left", &self.crew.live())
            .finish_non_exhaustive()
    }
}

/// Runs futures concurrently to the end of every one, and returns all outcomes in their order.
///
/// For partial success: futures that yield a `Result` fail on their own, and cancel nobody. With
/// failures that should stop the others, use [`gather_all`]. It is Python's
/// `gather(return_exceptions=True)` and JavaScript's `Promise.allSettled`.
///
/// # Panics
///
/// A panic of a future goes on from here after all the others have ended. If several panic, the
/// first one does, and each of the others is one more failure of the group that the code runs in.
///
/// # Cancel safety
///
/// As for [`gather`]. A cancellation from outside cuts what has not ended; no outcomes are returned
/// then, unless all were there.
///
/// # Examples
///
/// ```
/// use headcount::{gather_settled, run};
///
/// let ports = ["80", "x"].map(async |text| text.parse::<u16>());
/// let outcomes = run(gather_settled(ports));
/// assert_eq!(outcomes[0], Ok(80));
/// assert!(outcomes[1].is_err());
/// ```
#[doc(alias = "join_all")]
pub fn gather_settled<I>(futures: I) -> GatherSettled<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    let crew = crew_of(futures);
    GatherSettled {
        outcomes: (0..crew.live()).map(|_| None).collect(),
        crew,
        panics: Panics::default(),
    }
}

/// The future returned by [`gather_settled`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct GatherSettled<F: Future> {
    crew: Crew<Boxed<F>>,
    outcomes: Vec<Option<F::Output>>,
    panics: Panics,
}

impl<F: Future> Unpin for GatherSettled<F> {}

impl<F: Future> Future for GatherSettled<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some((index, ending)) = ready!(Pin::new(&mut this.crew).poll_ended(cx)) {
            match ending {
                Ending::Value(outcome) => this.outcomes[index] = Some(outcome),
                Ending::Panicked(panic) => this.panics.note(panic),
                Ending::Cut => {}
            }
        }
        let outcomes = std::mem::take(&mut this.outcomes);
        let outcomes = this.panics.resume_instead_of(outcomes);
        if outcomes.iter().any(Option::is_none) {
            this.outcomes = outcomes;
            return Pin::new(&mut this.crew).leave_it();
        }
        Poll::Ready(outcomes.into_iter().flatten().collect())
    }
}

impl<F: Future> fmt::Debug for GatherSettled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherSettled")
            .field("left", &self.crew.live())
            .finish_non_exhaustive()
    }
}
