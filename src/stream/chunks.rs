//! Items in batches.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_lite::Stream;
use pin_project::pin_project;

use crate::time::{Sleep, sleep};

/// The stream returned by [`chunks_within`](super::ConcurrentStreamExt::chunks_within).
#[pin_project]
#[must_use = "streams do nothing unless polled"]
pub struct ChunksWithin<S: Stream> {
    /// `None` once it has ended.
    #[pin]
    upstream: Option<S>,
    size: usize,
    within: Duration,
    chunk: Vec<S::Item>,
    /// Until the chunk is due; there from its first item on.
    due: Option<Sleep>,
}

impl<S: Stream> ChunksWithin<S> {
    #[track_caller]
    pub(super) fn new(upstream: S, size: usize, within: Duration) -> Self {
        assert!(
            size > 0,
            "a chunk of 0 items would never be full; let it have at least 1"
        );
        Self {
            upstream: Some(upstream),
            size,
            within,
            chunk: Vec::new(),
            due: None,
        }
    }
}

impl<S: Stream> Stream for ChunksWithin<S> {
    type Item = Vec<S::Item>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        while this.chunk.len() < *this.size {
            let Some(upstream) = this.upstream.as_mut().as_pin_mut() else {
                break;
            };
            match upstream.poll_next(cx) {
                Poll::Ready(Some(item)) => {
                    this.chunk.push(item);
                    this.due.get_or_insert_with(|| sleep(*this.within));
                }
                Poll::Ready(None) => this.upstream.set(None),
                Poll::Pending => {
                    let due = this.due.as_mut();
                    if due.is_some_and(|due| Pin::new(due).poll(cx).is_ready()) {
                        break;
                    }
                    return Poll::Pending;
                }
            }
        }
        *this.due = None;
        let chunk = mem::take(this.chunk);
        Poll::Ready(if chunk.is_empty() { None } else { Some(chunk) })
    }
}

impl<S: Stream> fmt::Debug for ChunksWithin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunksWithin")
            .field("size", &self.size)
            .field("within", &self.within)
            .field("waiting", &self.chunk.len())
            .finish_non_exhaustive()
    }
}
