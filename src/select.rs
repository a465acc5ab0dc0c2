//! The first of several waits, without losing anything.

mod loses_nothing;

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

pub use self::loses_nothing::{LosesNothing, MayLose, MayLoseExt, Selectable};
use crate::{
    results::{Contenders, Race, race},
    sim,
};

/// Waits for several things at once and returns what came first.
///
/// The output is an enum with one variant per future, so that a `match` on it has to deal with all of
/// them. In a loop, select again: the futures that did not come first are dropped, and for that
/// reason only those are accepted that *lose nothing* when they are: see [`LosesNothing`]. A future
/// that may stop halfway with something in its hands, a read that has half a line, does not compile;
/// keep it outside the loop and pass `&mut` to it, or say with
/// [`may_lose`](MayLoseExt::may_lose) that it does not matter. To let whole pieces of work compete
/// there is [`race`](crate::race).
///
/// When several are ready, which of them is looked at first changes from call to call, so that a busy
/// one does not starve the others. With [`biased`](Select::biased) it is always the order of the
/// tuple.
///
/// # Panics
///
/// A panic of one of the futures goes on from here.
///
/// # Cancel safety
///
/// A `select` loses nothing if it is dropped, so it can be part of another one.
///
/// # Examples
///
/// ```
/// use headcount::{OneOf2, group, run, select, sleep};
/// use std::time::Duration;
///
/// run(group(async |g| {
///     let mut task = g.spawn(async { Ok(7) });
///     loop {
///         match select((&mut task, sleep(Duration::from_millis(10)))).await {
///             OneOf2::First(value) => break assert_eq!(value?, 7),
///             OneOf2::Second(()) => println!("still waiting"),
///         }
///     }
///     Ok(())
/// }))
/// .unwrap();
/// ```
///
/// # What does not compile
///
/// The classic bug: a future with several waits in a loop, which begins from scratch each time that
/// something else comes first, and loses what it has got by then.
///
/// ```compile_fail,E0277
/// use futures_lite::{AsyncBufReadExt, io::BufReader};
/// use headcount::{OneOf2, run, select, sleep};
/// use std::time::Duration;
///
/// run(async {
///     let mut reader = BufReader::new(&b"a line\n"[..]);
///     loop {
///         let mut line = String::new();
///         match select((reader.read_line(&mut line), sleep(Duration::from_millis(1)))).await {
///             OneOf2::First(_read) => break,
///             OneOf2::Second(()) => {} // Half a line may be lost here, if this compiled.
///         }
///     }
/// });
/// ```
///
/// An `async` block is not accepted either, since nobody can tell what it has done at its first wait:
///
/// ```compile_fail,E0277
/// use headcount::{run, select, sleep};
/// use std::time::Duration;
///
/// run(select((
///     async {
///         sleep(Duration::from_millis(1)).await;
///         println!("one");
///     },
///     sleep(Duration::from_millis(1)),
/// )));
/// ```
///
/// The right code keeps the future, and lets each select borrow it:
///
/// ```
/// use futures_lite::{AsyncBufReadExt, io::BufReader};
/// use headcount::{OneOf2, run, select, sleep};
/// use std::{pin::pin, time::Duration};
///
/// run(async {
///     let mut reader = BufReader::new(&b"a line\n"[..]);
///     let mut line = String::new();
///     let mut read = pin!(reader.read_line(&mut line));
///     while let OneOf2::Second(()) =
///         select((read.as_mut(), sleep(Duration::from_millis(1)))).await
///     {}
///     assert_eq!(line, "a line\n");
/// });
/// ```
pub fn select<L: Selectable>(futures: L) -> Select<L> {
    Select {
        race: race(futures),
        order: Order::Fair,
    }
}

/// The future returned by [`select`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Select<L: Contenders> {
    #[pin]
    race: Race<L>,
    order: Order,
}

/// Who is looked at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Another one each time.
    Fair,
    /// Always the first in the tuple.
    Biased,
    /// It has been seen to.
    Settled,
}

impl<L: Contenders> Select<L> {
    /// Looks at the futures in the order of the tuple, each time.
    ///
    /// For when one of them matters more: a request to stop before more work. One that is always
    /// ready starves all behind it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{MayLoseExt, OneOf2, run, select};
    ///
    /// run(async {
    ///     for _ in 0..10 {
    ///         let first = async { 1 }.may_lose();
    ///         let second = async { 2 }.may_lose();
    ///         assert_eq!(select((first, second)).biased().await, OneOf2::First(1));
    ///     }
    /// });
    /// ```
    pub fn biased(mut self) -> Self {
        self.order = Order::Biased;
        self
    }
}

impl<L: Contenders> Future for Select<L> {
    type Output = L::Winner;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.order {
            Order::Fair => {
                this.race.as_mut().begin_with(choose);
                *this.order = Order::Settled;
            }
            Order::Biased => {
                this.race.as_mut().keep_order();
                *this.order = Order::Settled;
            }
            Order::Settled => {}
        }
        this.race.poll(cx)
    }
}

impl<L: Contenders> fmt::Debug for Select<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

/// Chooses who of so many is looked at first: each in turn, or as a test run wants it.
fn choose(among: usize) -> usize {
    thread_local! {
        static CALLS: Cell<usize> = const { Cell::new(0) };
    }

    if let Some(sim) = sim::held(&sim::current()) {
        return sim.choose(among);
    }
    let next = |calls: &Cell<usize>| calls.replace(calls.get().wrapping_add(1));
    CALLS.try_with(next).unwrap_or(0) % among
}
