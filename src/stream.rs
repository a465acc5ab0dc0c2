//! Streams with concurrent work in them.

mod chunks;
mod map;
mod merge;
mod parallel;
mod produce;
mod throttle;

use std::{future::Future, panic::Location, time::Duration};

use futures_lite::Stream;

pub use self::{
    chunks::ChunksWithin,
    map::{ForEachConcurrent, MapConcurrent},
    merge::Merge,
    parallel::MapParallel,
    produce::{ConsumerGone, Produce, Producer, Sending, produce},
    throttle::Throttle,
};

#[cfg(doc)]
use crate::error::Aborted;
use crate::group::Spawner;

/// Concurrency for any [`Stream`].
///
/// What `futures_lite::StreamExt` and its like do one item after the other, this does for several at
/// a time, as structured as the rest of this crate:
///
/// - The futures that are at work belong to the stream. They run only while it is polled, and
///   dropping it drops them where they stand: nothing is left behind. (The parallel twins spawn tasks
///   into a group; these are cancelled when the stream is dropped, and their group waits for them.)
/// - When one fails, the others are cancelled, shields and finalizers held, upstream is dropped, and
///   what failed comes out as one [`ErrorGroup`](crate::ErrorGroup) after the values that came before
///   it. Then the stream ends.
/// - No more than `n` items are taken from upstream ahead of those that have come out, so a slow
///   consumer slows the source down.
/// - Waiting for an item may be given up and taken up again, by a [`timeout`](crate::timeout) too:
///   no item is lost. What such a timeout finds protected inside the futures, it waits for, and
///   groups and finalizers in there it cancels.
///
/// # Examples
///
/// ```
/// use futures_lite::{StreamExt, stream};
/// use headcount::{ConcurrentStreamExt, Error, run};
///
/// let lengths = run(async {
///     let words = stream::iter(["one", "two", "three"]);
///     words.map_concurrent(2, async |word| Ok::<_, Error>(word.len())).try_collect().await
/// });
/// let lengths: Vec<usize> = lengths.unwrap();
/// assert_eq!(lengths, [3, 3, 5]);
/// ```
pub trait ConcurrentStreamExt: Stream {
    /// Maps items with a future each, `n` at a time, and keeps their order.
    ///
    /// An item that takes long holds up those behind it; if their order does not matter, use
    /// [`map_unordered`](Self::map_unordered). The futures run on the calling task; for work that
    /// computes there is [`map_parallel`](Self::map_parallel). Other crates have this as
    /// `map(f).buffered(n)`.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0: nothing would ever start. A panic of a future is a failure like an error.
    ///
    /// # Cancel safety
    ///
    /// See [`ConcurrentStreamExt`].
    ///
    /// # Examples
    ///
    /// See [`ConcurrentStreamExt`].
    #[track_caller]
    fn map_concurrent<F, Fut, T, E>(self, n: usize, f: F) -> MapConcurrent<Self, F, Fut, T, E>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        MapConcurrent::new(self, n, f, true, "map_concurrent", Location::caller())
    }

    /// Maps items with a future each, `n` at a time, and yields the values as they come.
    ///
    /// # Panics
    ///
    /// As for [`map_concurrent`](Self::map_concurrent).
    ///
    /// # Cancel safety
    ///
    /// See [`ConcurrentStreamExt`].
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{StreamExt, stream};
    /// use headcount::{ConcurrentStreamExt, Error, run, sleep};
    /// use std::time::Duration;
    ///
    /// let values = run(async {
    ///     let times = stream::iter([20, 0]);
    ///     let slept = times.map_unordered(2, async |millis| {
    ///         sleep(Duration::from_millis(millis)).await;
    ///         Ok::<_, Error>(millis)
    ///     });
    ///     slept.try_collect::<_, _, Vec<_>>().await
    /// });
    /// assert_eq!(values.unwrap(), [0, 20]);
    /// ```
    #[track_caller]
    fn map_unordered<F, Fut, T, E>(self, n: usize, f: F) -> MapConcurrent<Self, F, Fut, T, E>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        MapConcurrent::new(self, n, f, false, "map_unordered", Location::caller())
    }

    /// Runs a future for each item, `n` at a time, until the stream has ended and all are done.
    ///
    /// # Errors
    ///
    /// If one fails or panics, the others are cancelled and upstream is dropped; then all failures
    /// come out in one error group.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0: nothing would ever start.
    ///
    /// # Cancel safety
    ///
    /// If a scope around it is cancelled, so are the futures, and they are gone before that scope
    /// ends. Somebody who drops the returned future drops them where they stand.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::stream;
    /// use headcount::{ConcurrentStreamExt, Error, run};
    /// use std::cell::Cell;
    ///
    /// let sum = Cell::new(0);
    /// run(stream::iter(1..=4).for_each_concurrent(2, async |n| {
    ///     sum.set(sum.get() + n);
    ///     Ok::<_, Error>(())
    /// }))
    /// .unwrap();
    /// assert_eq!(sum.get(), 10);
    /// ```
    #[track_caller]
    fn for_each_concurrent<F, Fut, E>(self, n: usize, f: F) -> ForEachConcurrent<Self, F, Fut, E>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> Fut,
        Fut: Future<Output = Result<(), E>>,
    {
        ForEachConcurrent::new(self, n, f, Location::caller())
    }

    /// Maps items with a task of a group each, `n` at a time on all cores, and keeps their order.
    ///
    /// The parallel twin of [`map_concurrent`](Self::map_concurrent). The tasks are spawned with
    /// `spawner`, so they belong to *its* group and go on between two polls of the stream. A failure
    /// is one of that group: by default it cancels the whole of it, body included. The stream yields
    /// [`Aborted`] for it after the values before it, cancels the other tasks of its own, and ends.
    /// Dropping the stream cancels its tasks, and their group waits for them, finalizers and all.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0: nothing would ever start; and, when it is polled, if the group of the
    /// spawner has returned.
    ///
    /// # Cancel safety
    ///
    /// Waiting for an item may be given up and taken up again; no item is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{StreamExt, stream};
    /// use headcount::{ConcurrentStreamExt, group, run};
    ///
    /// let squares = run(group(async |g| {
    ///     let numbers = stream::iter(1..=4_u64);
    ///     let squares = numbers.map_parallel(2, g.spawner(), |n| async move { Ok(n * n) });
    ///     Ok(squares.try_collect::<_, _, Vec<_>>().await?)
    /// }));
    /// assert_eq!(squares.unwrap(), [1, 4, 9, 16]);
    /// ```
    #[track_caller]
    fn map_parallel<F, Fut, T, E>(
        self,
        n: usize,
        spawner: Spawner<E>,
        f: F,
    ) -> MapParallel<Self, F, T, E>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        MapParallel::new(self, n, spawner, f, true, Location::caller())
    }

    /// Maps items with a task of a group each, `n` at a time on all cores, and yields the values as
    /// they come.
    ///
    /// See [`map_parallel`](Self::map_parallel) and [`map_unordered`](Self::map_unordered).
    ///
    /// # Panics
    ///
    /// As for [`map_parallel`](Self::map_parallel).
    ///
    /// # Cancel safety
    ///
    /// As for [`map_parallel`](Self::map_parallel).
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{StreamExt, stream};
    /// use headcount::{ConcurrentStreamExt, group, run};
    ///
    /// let sum = run(group(async |g| {
    ///     let squares = stream::iter(1..=4_u64)
    ///         .map_parallel_unordered(2, g.spawner(), |n| async move { Ok(n * n) });
    ///     Ok(squares.try_collect::<_, _, Vec<_>>().await?.into_iter().sum::<u64>())
    /// }));
    /// assert_eq!(sum.unwrap(), 30);
    /// ```
    #[track_caller]
    fn map_parallel_unordered<F, Fut, T, E>(
        self,
        n: usize,
        spawner: Spawner<E>,
        f: F,
    ) -> MapParallel<Self, F, T, E>
    where
        Self: Sized,
        F: FnMut(Self::Item) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        MapParallel::new(self, n, spawner, f, false, Location::caller())
    }

    /// Yields the items of two streams as they come, until both have ended.
    ///
    /// Neither starves the other: when both have items, they take turns.
    ///
    /// # Cancel safety
    ///
    /// Waiting for an item may be given up and taken up again.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{StreamExt, stream};
    /// use headcount::{ConcurrentStreamExt, run};
    ///
    /// let merged = stream::iter([1, 3, 5]).merge(stream::iter([2, 4]));
    /// assert_eq!(run(merged.collect::<Vec<_>>()), [1, 2, 3, 4, 5]);
    /// ```
    fn merge<S>(self, other: S) -> Merge<Self, S>
    where
        Self: Sized,
        S: Stream<Item = Self::Item>,
    {
        Merge::new(self, other)
    }

    /// Yields items in vectors: `n` at a time, or as many as have come `within` the time since the
    /// first of them.
    ///
    /// For writing in batches without making anybody wait for long. No vector is empty. What is left
    /// when the stream ends comes as the last one. A duration that is too long to be added to the
    /// time, [`Duration::MAX`] for one, means that only the number counts.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0: no vector would ever be full.
    ///
    /// # Cancel safety
    ///
    /// Waiting for a vector may be given up and taken up again; items that are waiting to be yielded
    /// are dropped with the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{StreamExt, stream};
    /// use headcount::{ConcurrentStreamExt, run};
    /// use std::time::Duration;
    ///
    /// let batches = stream::iter(1..=5).chunks_within(2, Duration::from_secs(60));
    /// let batches: Vec<_> = run(batches.collect());
    /// assert_eq!(batches, [vec![1, 2], vec![3, 4], vec![5]]);
    /// ```
    #[track_caller]
    fn chunks_within(self, n: usize, within: Duration) -> ChunksWithin<Self>
    where
        Self: Sized,
    {
        ChunksWithin::new(self, n, within)
    }

    /// Yields items no faster than one per `period`.
    ///
    /// The first comes at once, and each of the others at the earliest one period after the one
    /// before. Nothing is left out: what comes faster waits in upstream. A period that is too long to
    /// be added to the time, [`Duration::MAX`] for one, lets one item through.
    ///
    /// # Cancel safety
    ///
    /// Waiting for an item may be given up and taken up again.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{StreamExt, stream};
    /// use headcount::{ConcurrentStreamExt, now, run};
    /// use std::time::Duration;
    ///
    /// run(async {
    ///     let start = now();
    ///     let slowed = stream::iter(0..3).throttle(Duration::from_millis(2));
    ///     assert_eq!(slowed.count().await, 3);
    ///     assert!(now() - start >= Duration::from_millis(4));
    /// });
    /// ```
    fn throttle(self, period: Duration) -> Throttle<Self>
    where
        Self: Sized,
    {
        Throttle::new(self, period)
    }
}

impl<S: Stream + ?Sized> ConcurrentStreamExt for S {}

/// Refuses to run 0 futures at a time.
#[track_caller]
fn at_least_one(n: usize) {
    assert!(
        n > 0,
        "0 at a time would never start; let at least 1 run at a time"
    );
}
