//! One after the other, and the first success.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::{quorum::Tally, report::Report};
use crate::{
    crew::{Attitude, Boxed, Crew},
    error::ErrorGroup,
    time::{Sleep, sleep},
};

/// Starts futures one after the other, `delay` apart, and returns the value of the first that
/// succeeds.
///
/// For connecting to one of several addresses ("happy eyeballs"): each gets a head start before the
/// next, and those before it go on. When one fails early the next starts at once, and the delay
/// counts from there. When one succeeds the others are cancelled, and are gone before the value is
/// returned; nothing is started any more, so the iterator is not asked for what is left.
///
/// With a delay of zero all start in the same poll, as in [`first_ok`](crate::first_ok). A delay
/// that is too long to be added to the time, [`Duration::MAX`] for one, means that only a failure
/// starts the next.
///
/// # Errors
///
/// Fails with the failures of all of them if none succeeds; and with an empty error group if there
/// are no futures.
///
/// # Panics
///
/// A panic of a future is treated as in [`first_ok`](crate::first_ok).
///
/// # Cancel safety
///
/// If a scope around it is cancelled, so are all the futures that were started, and they are gone
/// before that scope ends. Somebody who drops the returned future drops them where they stand.
///
/// # Examples
///
/// ```
/// use headcount::{run, staggered};
/// use std::time::Duration;
///
/// let addresses = ["nowhere", "127.0.0.1:80"].map(async |text| {
///     text.parse::<std::net::SocketAddr>()
/// });
/// let address = run(staggered(Duration::from_secs(5), addresses)); // Does not take 5 s.
/// assert_eq!(address.unwrap().port(), 80);
/// ```
#[doc(alias = "happy_eyeballs")]
#[track_caller]
pub fn staggered<I, T, E>(delay: Duration, futures: I) -> Staggered<I::IntoIter, T, E>
where
    I: IntoIterator<Item: Future<Output = Result<T, E>>>,
{
    Staggered {
        crew: Crew::new(Vec::new(), Attitude::Wholehearted),
        upcoming: Some(futures.into_iter()),
        delay,
        pause: None,
        started: 0,
        numbers: Vec::new(),
        tally: Tally::new(Report::new("staggered", Location::caller())),
    }
}

/// The future returned by [`staggered`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Staggered<I: Iterator<Item: Future>, T, E> {
    crew: Crew<Boxed<I::Item>>,
    /// Those that have not been started; `None` once nothing is to be started any more.
    upcoming: Option<I>,
    delay: Duration,
    /// Until the next start.
    pause: Option<Sleep>,
    started: usize,
    /// Which future it is that has this number in the crew.
    numbers: Vec<usize>,
    tally: Tally<T, E>,
}

impl<I: Iterator<Item: Future>, T, E> Unpin for Staggered<I, T, E> {}

impl<I, T, E> Staggered<I, T, E>
where
    I: Iterator<Item: Future<Output = Result<T, E>>>,
{
    /// Starts the next future, if there is one.
    fn start_next(&mut self) {
        self.pause = None;
        let Some(upcoming) = &mut self.upcoming else {
            return;
        };
        let Some(future) = upcoming.next() else {
            self.upcoming = None;
            return;
        };
        let number = self.crew.push(future);
        self.numbers.resize(self.numbers.len().max(number + 1), 0);
        self.numbers[number] = self.started;
        self.started += 1;
        self.pause = Some(sleep(self.delay));
    }

    /// Whether it is time to start the next future.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.pause {
            _ if self.upcoming.is_none() => false,
            Some(pause) => Pin::new(pause).poll(cx).is_ready(),
            None => true,
        }
    }
}

impl<I, T, E> Future for Staggered<I, T, E>
where
    I: Iterator<Item: Future<Output = Result<T, E>>>,
    E: 'static,
{
    type Output = Result<T, ErrorGroup<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.started == 0 {
            this.start_next();
        }
        loop {
            match Pin::new(&mut this.crew).poll_ended(cx) {
                Poll::Ready(Some((number, ending))) => {
                    let failed = this.tally.failed();
                    this.tally.take(this.numbers[number], ending, 1);
                    if !this.tally.values.is_empty() {
                        this.upcoming = None;
                        Pin::new(&mut this.crew).cancel();
                    } else if this.tally.failed() > failed {
                        this.start_next();
                    }
                }
                Poll::Ready(None) => break,
                // What is ready goes first: nothing is started after a win.
                Poll::Pending if this.poll_due(cx) => this.start_next(),
                Poll::Pending => return Poll::Pending,
            }
        }
        match this.tally.close(1) {
            Some(result) => Poll::Ready(result.map(|mut values| values.swap_remove(0))),
            None => Pin::new(&mut this.crew).leave_it(),
        }
    }
}

impl<I: Iterator<Item: Future>, T, E> fmt::Debug for Staggered<I, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staggered")
            .field("delay", &self.delay)
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}
