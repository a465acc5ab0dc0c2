//! Mapping several items at a time, on all cores.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_lite::Stream;
use pin_project::pin_project;

use super::map::{MapConcurrent, Work};
use crate::{
    error::{Aborted, Failure, FailureKind},
    group::Spawner,
    results::Waiting,
};

/// The stream returned by [`map_parallel`](super::ConcurrentStreamExt::map_parallel) and
/// [`map_parallel_unordered`](super::ConcurrentStreamExt::map_parallel_unordered).
#[pin_project]
#[must_use = "streams do nothing unless polled"]
pub struct MapParallel<S, F, T, E> {
    #[pin]
    map: MapConcurrent<S, Spawning<F, E>, Value<T>, T, Aborted>,
}

impl<S, F, T, E> MapParallel<S, F, T, E> {
    #[track_caller]
    pub(super) fn new(
        upstream: S,
        limit: usize,
        spawner: Spawner<E>,
        f: F,
        ordered: bool,
        location: &'static Location<'static>,
    ) -> Self {
        let work = Spawning { spawner, f };
        let what = "map_parallel";
        Self {
            map: MapConcurrent::new(upstream, limit, work, ordered, what, location),
        }
    }
}

impl<S, F, Fut, T, E> Stream for MapParallel<S, F, T, E>
where
    S: Stream,
    F: FnMut(S::Item) -> Fut,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    type Item = Result<T, Aborted>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.project().map.poll_next(cx));
        Poll::Ready(item.map(|value| {
            value.map_err(|failed| {
                let first = failed.into_iter().next();
                match first.map(Failure::into_kind) {
                    Some(FailureKind::Error(aborted)) => aborted,
                    Some(FailureKind::Panic(panic)) => panic.resume(),
                    None => Aborted::Cancelled,
                }
            })
        }))
    }
}

impl<S, F, T, E> fmt::Debug for MapParallel<S, F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MapParallel").field(&self.map).finish()
    }
}

/// Makes a task of an item.
struct Spawning<F, E> {
    spawner: Spawner<E>,
    f: F,
}

impl<I, F, Fut, T, E> Work<I> for Spawning<F, E>
where
    F: FnMut(I) -> Fut,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    type Future = Value<T>;

    fn start(&mut self, item: I) -> Value<T> {
        let future = (self.f)(item);
        Value(Waiting::new(self.spawner.spawn(future)))
    }
}

/// Waits for the value of a task; cancels the task when it is dropped.
struct Value<T>(Waiting<T>);

impl<T> Future for Value<T> {
    type Output = Result<T, Aborted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|(_, outcome)| outcome)
    }
}
