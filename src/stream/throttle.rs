//! Items at intervals.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_lite::Stream;
use pin_project::pin_project;

use crate::{
    clock,
    time::{Sleep, sleep, sleep_until},
};

/// The stream returned by [`throttle`](super::ConcurrentStreamExt::throttle).
#[pin_project]
#[must_use = "streams do nothing unless polled"]
pub struct Throttle<S> {
    #[pin]
    upstream: S,
    period: Duration,
    /// Until the next item may come.
    pause: Option<Sleep>,
}

impl<S> Throttle<S> {
    pub(super) fn new(upstream: S, period: Duration) -> Self {
        Self {
            upstream,
            period,
            pause: None,
        }
    }
}

impl<S: Stream> Stream for Throttle<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if let Some(pause) = this.pause {
            ready!(Pin::new(pause).poll(cx));
            *this.pause = None;
        }
        let item = ready!(this.upstream.poll_next(cx));
        // From now on, and not from when the next item is asked for.
        *this.pause = item.is_some().then(|| match clock::after(*this.period) {
            Some(time) => sleep_until(time),
            None => sleep(Duration::MAX),
        });
        Poll::Ready(item)
    }
}

impl<S> fmt::Debug for Throttle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}
