//! Knowing when the children of a peer are gone that does not tell by itself.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use futures::task::AtomicWaker;

/// Counts children that are alive; what `WaitGroup` is elsewhere.
#[derive(Debug, Default)]
pub struct Alive {
    count: AtomicUsize,
    waker: AtomicWaker,
}

/// One that is counted, until dropped.
#[derive(Debug)]
pub struct One(Arc<Alive>);

impl Alive {
    /// Counts one more.
    pub fn one(self: &Arc<Self>) -> One {
        self.count.fetch_add(1, Ordering::Relaxed);
        One(Arc::clone(self))
    }

    /// Whether none is left.
    pub fn is_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Waits until none is left.
    pub async fn none(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.is_none() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl One {
    /// Counts one more.
    pub fn another(&self) -> One {
        self.0.one()
    }
}

impl Drop for One {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.waker.wake();
        }
    }
}
