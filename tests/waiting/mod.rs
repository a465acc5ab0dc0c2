//! For tests of things that are waited for: futures that are polled by hand, and dropped anywhere.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "every test file uses a part of this, each another one"
)]

use std::{
    future::Future,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use crate::common::CountWakes;

/// A future that is polled by hand, with a waker that counts.
pub struct Waiting<F> {
    future: Pin<Box<F>>,
    wakes: Arc<CountWakes>,
    waker: Waker,
    /// How often it had been woken when it last began to wait.
    woken_before: Option<usize>,
}

impl<F: Future> Waiting<F> {
    /// A future that has not been polled.
    pub fn new(future: F) -> Self {
        let (wakes, waker) = CountWakes::new();
        Self {
            future: Box::pin(future),
            wakes,
            waker,
            woken_before: None,
        }
    }

    /// A future that has been polled once, and waits.
    #[track_caller]
    pub fn begun(future: F) -> Self {
        let mut waiting = Self::new(future);
        assert!(waiting.poll().is_pending(), "there was nothing to wait for");
        waiting
    }

    pub fn poll(&mut self) -> Poll<F::Output> {
        self.woken_before = Some(self.wakes());
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker))
    }

    /// The output, if it is there. If it had to be waited for, a task would have been woken for it:
    /// without that, nobody would ever come and ask.
    #[track_caller]
    pub fn ready(mut self) -> F::Output {
        if let Some(before) = self.woken_before {
            assert!(self.wakes() > before, "nobody has woken it");
        }
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it still waits"),
        }
    }

    #[track_caller]
    pub fn assert_waits(&mut self) {
        assert!(self.poll().is_pending(), "it does not wait any more");
    }

    /// How often it was woken.
    pub fn wakes(&self) -> usize {
        self.wakes.count()
    }
}

/// The output of a future that does not wait.
#[track_caller]
pub fn now<F: Future>(future: F) -> F::Output {
    Waiting::new(future).ready()
}

/// Polls a future so many times, waiting in between as it does, and then drops it: `None`, unless
/// it was done before that.
pub async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Some(Box::pin(future));
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            future = None;
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().expect("it is there").as_mut().poll(cx);
        if left == 0 && polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled.map(Some)
    })
    .await
}

/// A waker that panics when it is woken, and when it is dropped.
struct Rude;

impl Wake for Rude {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// Polls a future with a waker that panics when woken.
pub fn poll_rudely<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::new(Rude));
    future.poll(&mut Context::from_waker(&waker))
}

/// What a panic said.
#[track_caller]
pub fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    match panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("there was no panic"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => (*payload.downcast::<&'static str>().expect("a text")).to_owned(),
        },
    }
}

/// Runs the same work on several threads at once, each with its number, for as long as it says
/// true, but a second at most.
pub fn stress(threads: usize, work: impl Fn(usize) -> bool + Sync) {
    let end = Instant::now() + Duration::from_secs(1);
    thread::scope(|scope| {
        for number in 0..threads {
            let work = &work;
            scope.spawn(move || while Instant::now() < end && work(number) {});
        }
    });
}

/// A sequence of numbers that looks random.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: usize) -> Self {
        Self(seed as u64 * 2 + 1)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % sides
    }
}
