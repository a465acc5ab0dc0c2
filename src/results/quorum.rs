//! The first success, or the first few.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    gather::crew_of,
    report::{Panics, Report},
};
use crate::{
    crew::{Boxed, Crew, Ending},
    error::ErrorGroup,
};

/// Runs futures concurrently and returns the value of the first that succeeds.
///
/// For asking several mirrors the same question. The others are cancelled as soon as there is a
/// value, and are gone, shields and finalizers included, before it is returned. What had failed by
/// then is dropped: one success is all that was asked for. To ask the next one only after a while,
/// use [`staggered`](crate::staggered); for more than one success there is [`quorum`]. JavaScript
/// has this as `Promise.any`.
///
/// # Errors
///
/// Fails with the failures of all of them if none succeeds; and with an empty error group if there
/// are no futures.
///
/// # Panics
///
/// A panic of a future is a failure like an error; it is in the error group if nobody succeeds. If
/// one does, the panic goes on from here, after the others are gone: it is not hidden behind a
/// success.
///
/// # Cancel safety
///
/// If a scope around it is cancelled, so are all the futures, and they are gone before that scope
/// ends. Somebody who drops the returned future drops them where they stand.
///
/// # Examples
///
/// ```
/// use headcount::{first_ok, run};
///
/// let ports = ["http", "80", "443"].map(async |text| text.parse::<u16>());
/// assert_eq!(run(first_ok(ports)).unwrap(), 80);
/// ```
#[doc(alias = "select_ok")]
#[doc(alias = "any")]
#[track_caller]
pub fn first_ok<I, T, E>(futures: I) -> FirstOk<I::Item, T, E>
where
    I: IntoIterator<Item: Future<Output = Result<T, E>>>,
{
    FirstOk {
        count: Count::new(futures, 1, Report::new("first_ok", Location::caller())),
    }
}

/// Runs futures concurrently and returns the values of the first `n` that succeed, in the order in
/// which they did.
///
/// For a majority of replicas. When there are so many values, or when there cannot be so many any
/// more, the rest is cancelled and gone before this returns.
///
/// # Errors
///
/// Fails with all the failures there were, if so many have failed that fewer than `n` are left.
///
/// # Panics
///
/// Panics at once if `n` is 0, or more than there are futures: that is no quorum. A panic of a
/// future is treated as in [`first_ok`].
///
/// # Cancel safety
///
/// As for [`first_ok`].
///
/// # Examples
///
/// ```
/// use headcount::{quorum, run};
///
/// let replicas = ["7", "down", "7"].map(async |text| text.parse::<u8>());
/// assert_eq!(run(quorum(2, replicas)).unwrap(), [7, 7]);
/// ```
#[track_caller]
pub fn quorum<I, T, E>(n: usize, futures: I) -> Quorum<I::Item, T, E>
where
    I: IntoIterator<Item: Future<Output = Result<T, E>>>,
{
    assert!(
        n > 0,
        "a quorum of 0 is reached by nobody; ask for at least 1"
    );
    let count = Count::new(futures, n, Report::new("quorum", Location::caller()));
    let members = count.crew.live();
    assert!(
        n <= members,
        "a quorum of {n} cannot be reached by {members}; ask for at most as many as there are"
    );
    Quorum { count }
}

/// The future returned by [`first_ok`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct FirstOk<F: Future, T, E> {
    count: Count<F, T, E>,
}

/// The future returned by [`quorum`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Quorum<F: Future, T, E> {
    count: Count<F, T, E>,
}

impl<F: Future, T, E> Unpin for FirstOk<F, T, E> {}
impl<F: Future, T, E> Unpin for Quorum<F, T, E> {}

impl<F, T, E> Future for FirstOk<F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: 'static,
{
    type Output = Result<T, ErrorGroup<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let first = |mut values: Vec<T>| values.swap_remove(0);
        self.count.poll(cx).map(|counted| counted.map(first))
    }
}

impl<F, T, E> Future for Quorum<F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: 'static,
{
    type Output = Result<Vec<T>, ErrorGroup<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.count.poll(cx)
    }
}

impl<F: Future, T, E> fmt::Debug for FirstOk<F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstOk")
            .field("left", &self.count.crew.live())
            .finish_non_exhaustive()
    }
}

impl<F: Future, T, E> fmt::Debug for Quorum<F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quorum")
            .field("left", &self.count.crew.live())
            .finish_non_exhaustive()
    }
}

/// Counts successes until there are enough, or there cannot be.
struct Count<F: Future, T, E> {
    crew: Crew<Boxed<F>>,
    wanted: usize,
    tally: Tally<T, E>,
}

impl<F, T, E> Count<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    fn new<I>(futures: I, wanted: usize, report: Report<E>) -> Self
    where
        I: IntoIterator<Item = F>,
    {
        Self {
            crew: crew_of(futures),
            wanted,
            tally: Tally::new(report),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<T>, ErrorGroup<E>>>
    where
        E: 'static,
    {
        while let Some((index, ending)) = ready!(Pin::new(&mut self.crew).poll_ended(cx)) {
            self.tally.take(index, ending, self.wanted);
            let reachable = self.tally.values.len() + self.crew.live() >= self.wanted;
            if self.tally.values.len() == self.wanted || !reachable {
                Pin::new(&mut self.crew).cancel();
            }
        }
        match self.tally.close(self.wanted) {
            Some(result) => Poll::Ready(result),
            None => Pin::new(&mut self.crew).leave_it(),
        }
    }
}

/// What became of futures of which so many are to succeed.
pub(super) struct Tally<T, E> {
    pub(super) values: Vec<T>,
    report: Report<E>,
    panics: Panics,
    /// Whether a future was cancelled before there was any reason of this tally's to cancel it.
    cut: bool,
    is_closed: bool,
}

impl<T, E> Tally<T, E> {
    pub(super) fn new(report: Report<E>) -> Self {
        Self {
            values: Vec::new(),
            report,
            panics: Panics::default(),
            cut: false,
            is_closed: false,
        }
    }

    /// Takes the end of a future in. Values beyond those that are wanted are dropped.
    pub(super) fn take(&mut self, index: usize, ending: Ending<Result<T, E>>, wanted: usize) {
        let enough = self.values.len() >= wanted;
        match ending {
            Ending::Value(Ok(value)) if enough => self.panics.dispose(value),
            Ending::Value(Ok(value)) => self.values.push(value),
            Ending::Value(Err(error)) => self.report.error(index, error),
            Ending::Panicked(panic) => self.report.panic(index, panic),
            Ending::Cut => self.cut |= !enough,
        }
    }

    /// How many have failed.
    pub(super) fn failed(&self) -> usize {
        self.report.len()
    }

    /// All futures are gone: the values, or the failures. `None` if it was cancelled from outside
    /// and nothing is to be said.
    pub(super) fn close(&mut self, wanted: usize) -> Option<Result<Vec<T>, ErrorGroup<E>>>
    where
        E: 'static,
    {
        if self.is_closed || (self.report.is_empty() && self.cut) {
            return None;
        }
        self.is_closed = true;
        let mut failed = self.report.group();
        if self.values.len() >= wanted {
            failed = failed.resume_panics();
        }
        let result = if self.values.len() >= wanted {
            Ok(std::mem::take(&mut self.values))
        } else {
            Err(failed)
        };
        Some(self.panics.resume_instead_of(result))
    }
}
