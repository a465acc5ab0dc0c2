//! Timers that were set and are not needed any more take no memory.
//!
//! One test in a file of its own, because it counts what the whole process has allocated.

mod common;
mod counting;

use std::{
    future::Future as _,
    pin::pin,
    sync::atomic::Ordering,
    task::{Context, Waker},
    time::Duration,
};

use common::watched;
use counting::ALLOCATED;
use futures_lite::future::{block_on, yield_now};
use headcount::{sleep, timeout};

const HOUR: Duration = Duration::from_secs(3600);

/// Sets this many, and drops them in an order of its own.
fn set_and_drop(count: usize) {
    let mut set: Vec<_> = (0..count).map(|_| Box::pin(sleep(HOUR))).collect();
    for sleep in &mut set {
        let polled = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    let mut index = 0;
    while !set.is_empty() {
        index = (index + 7919) % set.len();
        drop(set.swap_remove(index));
    }
}

#[test]
fn alarms_that_were_dropped_leave_nothing() {
    watched("setting and dropping", || {
        // Threads, thread-locals and queues get to their size.
        set_and_drop(100);
        block_on(sleep(Duration::from_millis(1)));
        let before = ALLOCATED.load(Ordering::SeqCst);
        let most = |most: isize, what: &str| {
            let grown = ALLOCATED.load(Ordering::SeqCst) - before;
            assert!(grown < most, "{what}: {grown} bytes stay");
        };

        // A big queue gives its memory back when it is empty.
        set_and_drop(100_000);
        most(1_000, "100,000 at a time");

        let mut kept = pin!(sleep(2 * HOUR));
        let polled = kept.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        for _ in 0..500_000 {
            block_on(timeout(HOUR, yield_now())).unwrap();
        }
        most(1_000, "one by one");
        for _ in 0..1_000 {
            set_and_drop(500);
        }
        most(100_000, "500 at a time");
    });
}
