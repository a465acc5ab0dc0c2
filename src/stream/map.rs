//! Mapping several items at a time.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_lite::Stream;
use pin_project::pin_project;

use super::at_least_one;
use crate::{
    crew::{Attitude, Boxed, Crew, Ending},
    error::{ErrorGroup, catch},
    frame,
    results::Report,
};

/// Values on their way out: as they come, or in the order of the items they were made of.
#[derive(Debug)]
struct Exit<T> {
    ordered: bool,
    /// Those that are to come out, `None` where one is still to come.
    values: VecDeque<Option<T>>,
    /// How many items have been taken in, and how many values have come out.
    taken: usize,
    yielded: usize,
}

impl<T> Exit<T> {
    /// An item goes to work. Returns its position.
    fn take_in(&mut self) -> usize {
        if self.ordered {
            self.values.push_back(None);
        }
        self.taken += 1;
        self.taken - 1
    }

    /// The value of the item at this position is there.
    fn put(&mut self, position: usize, value: T) {
        if self.ordered {
            self.values[position - self.yielded] = Some(value);
        } else {
            self.values.push_back(Some(value));
        }
    }

    /// Takes the value whose turn it is.
    fn next(&mut self) -> Option<T> {
        self.values.front()?.as_ref()?;
        self.yielded += 1;
        self.values.pop_front().flatten()
    }

    /// How many items have been taken in and are not out yet, if so many are at work.
    fn inside(&self, at_work: usize) -> usize {
        if self.ordered {
            self.values.len()
        } else {
            at_work + self.values.len()
        }
    }
}

/// What makes a future of an item: a closure, or one whose future is spawned.
#[expect(unnameable_types, reason = "implemented here only")]
pub trait Work<I> {
    /// Has the value of the item, in the end.
    type Future: Future;

    /// Starts the work on an item.
    fn start(&mut self, item: I) -> Self::Future;
}

impl<I, F, Fut> Work<I> for F
where
    F: FnMut(I) -> Fut,
    Fut: Future,
{
    type Future = Fut;

    fn start(&mut self, item: I) -> Fut {
        self(item)
    }
}

/// The stream returned by [`map_concurrent`](super::ConcurrentStreamExt::map_concurrent) and
/// [`map_unordered`](super::ConcurrentStreamExt::map_unordered).
#[pin_project]
#[must_use = "streams do nothing unless polled"]
pub struct MapConcurrent<S, F, Fut: Future, T, E> {
    /// `None` once it has ended, or something has failed.
    #[pin]
    upstream: Option<S>,
    work: F,
    limit: usize,
    crew: Crew<Boxed<Fut>>,
    /// The position of the item that the hand with this number is at.
    positions: Vec<usize>,
    exit: Exit<T>,
    report: Report<E>,
    /// Whether a hand was cut from outside.
    is_cut: bool,
}

impl<S, F, Fut: Future, T, E> MapConcurrent<S, F, Fut, T, E> {
    #[track_caller]
    pub(super) fn new(
        upstream: S,
        limit: usize,
        work: F,
        ordered: bool,
        what: &'static str,
        location: &'static Location<'static>,
    ) -> Self {
        at_least_one(limit);
        Self {
            upstream: Some(upstream),
            work,
            limit,
            crew: Crew::new(Vec::new(), Attitude::Reserved),
            positions: Vec::new(),
            exit: Exit {
                ordered,
                values: VecDeque::new(),
                taken: 0,
                yielded: 0,
            },
            report: Report::new(what, location),
            is_cut: false,
        }
    }
}

impl<S, F, Fut, T, E> MapConcurrent<S, F, Fut, T, E>
where
    S: Stream,
    F: Work<S::Item, Future = Fut>,
    Fut: Future<Output = Result<T, E>>,
{
    /// Takes items from upstream while there is room.
    fn take_in(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        // What has been cancelled does not act.
        if this.upstream.is_none() || frame::cancelled() {
            return;
        }
        while this.exit.inside(this.crew.live()) < *this.limit {
            let Some(upstream) = this.upstream.as_mut().as_pin_mut() else {
                return;
            };
            match upstream.poll_next(cx) {
                Poll::Ready(Some(item)) => {
                    let future = this.work.start(item);
                    let number = this.crew.push(future);
                    let numbers = this.positions.len().max(number + 1);
                    this.positions.resize(numbers, 0);
                    this.positions[number] = this.exit.take_in();
                }
                Poll::Ready(None) => this.upstream.set(None),
                Poll::Pending => return,
            }
        }
    }

    /// Takes the end of a future in.
    fn note(self: Pin<&mut Self>, number: usize, ending: Ending<Result<T, E>>) {
        let mut this = self.project();
        let position = this.positions[number];
        match ending {
            Ending::Value(Ok(value)) if this.report.is_empty() => {
                return this.exit.put(position, value);
            }
            Ending::Value(Ok(value)) => match catch(|| drop(value)) {
                Ok(()) => return,
                Err(panic) => this.report.panic(position, panic),
            },
            Ending::Value(Err(error)) => this.report.error(position, error),
            Ending::Panicked(panic) => this.report.panic(position, panic),
            Ending::Cut => {
                *this.is_cut |= this.report.is_empty();
                return;
            }
        }
        Pin::new(this.crew).cancel();
        this.upstream.set(None);
    }
}

impl<S, F, Fut, T, E> Stream for MapConcurrent<S, F, Fut, T, E>
where
    S: Stream,
    F: Work<S::Item, Future = Fut>,
    Fut: Future<Output = Result<T, E>>,
    E: 'static,
{
    type Item = Result<T, ErrorGroup<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            self.as_mut().take_in(cx);
            let this = self.as_mut().project();
            if let Some(value) = this.exit.next() {
                return Poll::Ready(Some(Ok(value)));
            }
            let mut crew = Pin::new(this.crew);
            match crew.as_mut().poll_ended(cx) {
                Poll::Ready(Some(ended)) => {
                    let mut next = Some(ended);
                    while let Some((number, ending)) = next {
                        self.as_mut().note(number, ending);
                        // The others do not have to wait for the consumer to come back.
                        next = Pin::new(self.as_mut().project().crew).end_of_round();
                    }
                }
                Poll::Ready(None) if !this.report.is_empty() => {
                    return Poll::Ready(Some(Err(this.report.group())));
                }
                Poll::Ready(None) if *this.is_cut => return crew.leave_it(),
                Poll::Ready(None) if this.upstream.is_none() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<S, F, Fut: Future, T, E> fmt::Debug for MapConcurrent<S, F, Fut, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapConcurrent")
            .field("limit", &self.limit)
            .field("at_work", &self.crew.live())
            .finish_non_exhaustive()
    }
}

/// How many items are dealt with before others get a turn.
const BUDGET: usize = 128;

/// The future returned by [`for_each_concurrent`].
///
/// [`for_each_concurrent`]: super::ConcurrentStreamExt::for_each_concurrent
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct ForEachConcurrent<S, F, Fut: Future, E> {
    #[pin]
    map: MapConcurrent<S, F, Fut, (), E>,
}

impl<S, F, Fut: Future, E> ForEachConcurrent<S, F, Fut, E> {
    #[track_caller]
    pub(super) fn new(
        upstream: S,
        limit: usize,
        work: F,
        location: &'static Location<'static>,
    ) -> Self {
        let what = "for_each_concurrent";
        let mut map = MapConcurrent::new(upstream, limit, work, false, what, location);
        map.crew = Crew::new(Vec::new(), Attitude::Wholehearted);
        Self { map }
    }
}

impl<S, F, Fut, E> Future for ForEachConcurrent<S, F, Fut, E>
where
    S: Stream,
    F: FnMut(S::Item) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: 'static,
{
    type Output = Result<(), ErrorGroup<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut map = self.project().map;
        for _ in 0..BUDGET {
            match ready!(map.as_mut().poll_next(cx)) {
                Some(Ok(())) => {}
                Some(Err(failed)) => return Poll::Ready(Err(failed)),
                None => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S, F, Fut: Future, E> fmt::Debug for ForEachConcurrent<S, F, Fut, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForEachConcurrent").field(&self.map).finish()
    }
}
