//! The first result: `race` and its relatives.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::{
    gather::crew_of,
    report::Panics,
    tuples::{Contenders, Tied},
};
use crate::crew::{Attitude, Boxed, Crew, Ending};

/// Runs a tuple of futures concurrently and returns the output of the first that is done.
///
/// The others, which have lost, are cancelled: each is dropped where it waits, after shields and
/// finalizers inside have ended, and *then* the race returns. The output is an enum with one variant
/// per contender, so that a `match` on it has to deal with all of them. An `Err` wins like any other
/// output; for the first *success* there is [`first_ok`](crate::first_ok).
///
/// A future that has lost may have done half of what it was about, and its output is dropped if it
/// comes to one while it is being cancelled. Where nothing may be lost, race only futures that lose
/// nothing: that is what [`select`](crate::select) makes sure of. Or keep what comes second:
/// [`race_with`].
///
/// Contenders that are ready at once are looked at in their order, and no other is polled any more
/// once there is a winner.
///
/// # Panics
///
/// A panic of a contender ends the race and goes on from here after all are gone. If several panic,
/// each but the first is one more failure of the group that the code runs in.
///
/// # Cancel safety
///
/// If a scope around it is cancelled, so are all contenders, and they are gone before that scope
/// ends. Somebody who drops the returned future drops them where they stand.
///
/// # Examples
///
/// ```
/// use headcount::{OneOf2, race, run, sleep};
/// use std::time::Duration;
///
/// let winner = run(race((sleep(Duration::MAX), async { "done" })));
/// match winner {
///     OneOf2::First(()) => unreachable!("that takes for ever"),
///     OneOf2::Second(text) => assert_eq!(text, "done"),
/// }
/// ```
pub fn race<L: Contenders>(contenders: L) -> Race<L> {
    Race {
        crew: Crew::new(contenders.into_hands(), Attitude::Wholehearted),
        winner: None,
        panics: Panics::default(),
    }
}

/// The future returned by [`race`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Race<L: Contenders> {
    #[pin]
    crew: Crew<L::Hands>,
    winner: Option<L::Winner>,
    panics: Panics,
}

impl<L: Contenders> Race<L> {
    /// Has another contender looked at first than the first of the tuple: `choose` one of so many.
    pub(crate) fn begin_with(self: Pin<&mut Self>, choose: impl FnOnce(usize) -> usize) {
        self.project().crew.begin_with(choose);
    }

    /// Has the contenders looked at in the order of the tuple, each time.
    pub(crate) fn keep_order(self: Pin<&mut Self>) {
        self.project().crew.keep_order();
    }
}

impl<L: Contenders> Future for Race<L> {
    type Output = L::Winner;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        while let Some((_, ending)) = ready!(this.crew.as_mut().poll_ended(cx)) {
            match ending {
                Ending::Value(output) if this.winner.is_none() => *this.winner = Some(output),
                Ending::Value(output) => this.panics.dispose(output),
                Ending::Panicked(panic) => this.panics.note(panic),
                Ending::Cut => continue,
            }
            this.crew.as_mut().cancel();
        }
        match this.panics.resume_instead_of(this.winner.take()) {
            Some(winner) => Poll::Ready(winner),
            None => this.crew.leave_it(),
        }
    }
}

impl<L: Contenders> fmt::Debug for Race<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race")
            .field("left", &self.crew.live())
            .finish_non_exhaustive()
    }
}

/// Runs a tuple of futures concurrently and makes one result of all that is there when the first is
/// done.
///
/// It differs from [`race`] in what happens to a tie. When a contender is done, the others that have
/// been woken by then get their turn too; and one that is cancelled in the middle of a shield may
/// still come out with something. `combine` gets the outputs of all that are done, each in its
/// place, at least one of them `Some`. So no output that was produced is lost.
///
/// # Panics
///
/// As for [`race`]; and a panic of `combine` goes on.
///
/// # Cancel safety
///
/// As for [`race`].
///
/// # Examples
///
/// ```
/// use headcount::{race_with, run};
///
/// // Both are ready in the same poll.
/// let sum = run(race_with((async { 3 }, async { 4 }), |a, b| a.unwrap_or(0) + b.unwrap_or(0)));
/// assert_eq!(sum, 7);
/// ```
pub fn race_with<L, C>(contenders: L, combine: C) -> RaceWith<L, C>
where
    L: Tied<C>,
{
    RaceWith {
        crew: Crew::new(contenders.into_hands(), Attitude::Wholehearted),
        seats: L::Seats::default(),
        is_won: false,
        combine: Some(combine),
        panics: Panics::default(),
    }
}

/// The future returned by [`race_with`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct RaceWith<L: Tied<C>, C> {
    #[pin]
    crew: Crew<L::Hands>,
    /// The outputs so far.
    seats: L::Seats,
    is_won: bool,
    combine: Option<C>,
    panics: Panics,
}

impl<L: Tied<C>, C> Future for RaceWith<L, C> {
    type Output = L::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        while let Some((_, ending)) = ready!(this.crew.as_mut().poll_ended(cx)) {
            let mut next = Some(ending);
            while let Some(ending) = next {
                match ending {
                    Ending::Value(output) => {
                        L::seat(this.seats, output);
                        *this.is_won = true;
                    }
                    Ending::Panicked(panic) => this.panics.note(panic),
                    Ending::Cut => {}
                }
                next = this.crew.as_mut().end_of_round().map(|(_, ending)| ending);
            }
            this.crew.as_mut().cancel();
        }
        let seats = std::mem::take(this.seats);
        let seats = this.panics.resume_instead_of(seats);
        match this.combine.take_if(|_| *this.is_won) {
            Some(combine) => Poll::Ready(L::combine(seats, combine)),
            None => this.crew.leave_it(),
        }
    }
}

impl<L: Tied<C>, C> fmt::Debug for RaceWith<L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaceWith")
            .field("left", &self.crew.live())
            .finish_non_exhaustive()
    }
}

/// Runs futures concurrently and returns the first output, with the position of its future.
///
/// The same as [`race`] for any number of futures of one type. For the first success among futures
/// that may fail there is [`first_ok`](crate::first_ok), for the first few
/// [`quorum`](crate::quorum), for each as it comes [`as_completed`](crate::as_completed).
///
/// # Errors
///
/// Fails with [`NoContenders`] if there are no futures: nobody can win.
///
/// # Panics
///
/// As for [`race`].
///
/// # Cancel safety
///
/// As for [`race`].
///
/// # Examples
///
/// ```
/// use headcount::{race_all, run, sleep};
/// use std::time::Duration;
///
/// let sleepers = [Duration::MAX, Duration::ZERO].map(|time| async move {
///     sleep(time).await;
///     time
/// });
/// assert_eq!(run(race_all(sleepers)), Ok((1, Duration::ZERO)));
/// ```
pub fn race_all<I>(contenders: I) -> RaceAll<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    let crew = crew_of(contenders);
    RaceAll {
        is_empty: crew.live() == 0,
        crew,
        winner: None,
        panics: Panics::default(),
    }
}

/// The future returned by [`race_all`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct RaceAll<F: Future> {
    crew: Crew<Boxed<F>>,
    is_empty: bool,
    winner: Option<(usize, F::Output)>,
    panics: Panics,
}

impl<F: Future> Unpin for RaceAll<F> {}

impl<F: Future> Future for RaceAll<F> {
    type Output = Result<(usize, F::Output), NoContenders>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.is_empty {
            return Poll::Ready(Err(NoContenders));
        }
        while let Some((index, ending)) = ready!(Pin::new(&mut this.crew).poll_ended(cx)) {
            match ending {
                Ending::Value(output) if this.winner.is_none() => {
                    this.winner = Some((index, output));
                }
                Ending::Value(output) => this.panics.dispose(output),
                Ending::Panicked(panic) => this.panics.note(panic),
                Ending::Cut => continue,
            }
            Pin::new(&mut this.crew).cancel();
        }
        match this.panics.resume_instead_of(this.winner.take()) {
            Some(winner) => Poll::Ready(Ok(winner)),
            None => Pin::new(&mut this.crew).leave_it(),
        }
    }
}

impl<F: Future> fmt::Debug for RaceAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaceAll")
            .field("left", &self.crew.live())
            .finish_non_exhaustive()
    }
}

/// What [`race_all`] yields if nobody takes part in the race.
///
/// # Examples
///
/// ```
/// use headcount::{NoContenders, race_all, run};
///
/// let nobody = std::iter::empty::<std::future::Ready<()>>();
/// assert_eq!(run(race_all(nobody)), Err(NoContenders));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoContenders;

impl fmt::Display for NoContenders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a race without contenders has no winner")
    }
}

impl StdError for NoContenders {}
