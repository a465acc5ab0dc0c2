//! Dropping a future after each of its polls.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "not every test file that has this module uses all of it"
)]

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Makes the future again and again, and drops it after no poll, after one, after two, and so on,
/// until it is done before that. Returns how many polls that takes.
///
/// `check` is called after each time.
pub async fn drop_after_every_poll<F: Future>(make: impl Fn() -> F, check: impl Fn()) -> usize {
    for polls in 0.. {
        let done = Polls {
            future: Some(Box::pin(make())),
            left: polls,
        }
        .await;
        check();
        if done {
            return polls;
        }
    }
    unreachable!("there is no end of numbers")
}

struct Polls<F> {
    future: Option<Pin<Box<F>>>,
    left: usize,
}

impl<F: Future> Future for Polls<F> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        let Some(future) = &mut this.future else {
            return Poll::Ready(false);
        };
        if this.left > 0 {
            this.left -= 1;
            if future.as_mut().poll(cx).is_ready() {
                this.future = None;
                return Poll::Ready(true);
            }
        }
        if this.left == 0 {
            this.future = None;
            return Poll::Ready(false);
        }
        Poll::Pending
    }
}
