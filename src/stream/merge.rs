//! Two streams as one.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_lite::Stream;
use pin_project::pin_project;

/// The stream returned by [`merge`](super::ConcurrentStreamExt::merge).
#[derive(Debug)]
#[pin_project]
#[must_use = "streams do nothing unless polled"]
pub struct Merge<A, B> {
    /// `None` once it has ended.
    #[pin]
    a: Option<A>,
    #[pin]
    b: Option<B>,
    /// Whether `b` is looked at first: it was `a` that had the last item.
    b_first: bool,
}

impl<A, B> Merge<A, B> {
    pub(super) fn new(a: A, b: B) -> Self {
        Self {
            a: Some(a),
            b: Some(b),
            b_first: false,
        }
    }
}

impl<A, B> Stream for Merge<A, B>
where
    A: Stream,
    B: Stream<Item = A::Item>,
{
    type Item = A::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<A::Item>> {
        let mut this = self.project();
        for is_b in [*this.b_first, !*this.b_first] {
            let item = if is_b {
                poll_open(this.b.as_mut(), cx)
            } else {
                poll_open(this.a.as_mut(), cx)
            };
            if item.is_some() {
                *this.b_first = !is_b;
                return Poll::Ready(item);
            }
        }
        if this.a.is_none() && this.b.is_none() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

/// Takes an item from a stream, if there is one now. Drops the stream when it has ended.
fn poll_open<S: Stream>(mut stream: Pin<&mut Option<S>>, cx: &mut Context<'_>) -> Option<S::Item> {
    match stream.as_mut().as_pin_mut()?.poll_next(cx) {
        Poll::Ready(Some(item)) => Some(item),
        Poll::Ready(None) => {
            stream.set(None);
            None
        }
        Poll::Pending => None,
    }
}
