//! Watch channels: everybody sees the newest value, and nobody waits for what is there.

mod common;
mod waiting;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use common::{everywhere, watched};
use futures_lite::{StreamExt, future::block_on};
use headcount::{
    CancelScope,
    channel::{self, RecvError},
    group,
};
use waiting::{Waiting, dropped_after, now};

#[test]
fn a_change_wakes_everybody_who_waits() {
    let (tx, mut one) = channel::watch(0);
    let mut other = one.clone();
    let first = Waiting::begun(one.changed());
    let second = Waiting::begun(other.changed());
    tx.send(1).unwrap();
    assert_eq!((first.wakes(), second.wakes()), (1, 1));
    assert_eq!((*first.ready().unwrap(), *second.ready().unwrap()), (1, 1));
    Waiting::begun(one.changed());
}

#[test]
fn only_the_newest_value_is_seen() {
    let (tx, mut rx) = channel::watch(0);
    for number in 1..=3 {
        tx.send(number).unwrap();
    }
    assert!(rx.has_changed());
    assert_eq!(*now(rx.changed()).unwrap(), 3);
    assert!(!rx.has_changed());
    Waiting::begun(rx.changed());
}

#[test]
fn looking_does_not_count_as_having_seen() {
    let (tx, mut rx) = channel::watch(0);
    tx.send(1).unwrap();
    assert_eq!(*rx.current(), 1);
    assert_eq!(*now(rx.changed()).unwrap(), 1);
}

#[test]
fn a_value_that_is_kept_holds_nobody_up() {
    let (tx, rx) = channel::watch(0);
    let kept = rx.current();
    tx.send(1).unwrap();
    assert_eq!((*kept, *rx.current()), (0, 1));
}

#[test]
fn the_last_value_is_seen_before_the_end() {
    let (tx, mut rx) = channel::watch(0);
    let other = tx.clone();
    tx.send(1).unwrap();
    drop(tx);
    assert_eq!(*now(rx.changed()).unwrap(), 1);
    let waits = Waiting::begun(rx.changed());
    drop(other);
    assert_eq!(waits.ready(), Err(RecvError::Closed));
    assert_eq!(*rx.current(), 1);
}

#[test]
fn a_sender_dropped_by_a_panic_breaks_the_channel() {
    let (tx, mut rx) = channel::watch(0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let tx = tx;
        tx.send(1).unwrap();
        panic!("in the middle of it");
    }));
    assert!(panicked.is_err());
    assert_eq!(*now(rx.changed()).unwrap(), 1);
    assert_eq!(now(rx.changed()), Err(RecvError::Broken));
    assert!(rx.is_broken());
}

#[test]
fn without_receivers_the_value_comes_back() {
    let (tx, rx) = channel::watch(0);
    drop(rx);
    assert_eq!(tx.send(1).unwrap_err().into_item(), 1);
    assert_eq!(*tx.current(), 0);
    assert_eq!(*tx.replace(2), 0);
    let rx = tx.subscribe();
    assert_eq!((*rx.current(), tx.receiver_count()), (2, 1));
    assert!(!rx.has_changed());
}

#[test]
fn waiting_until_looks_at_what_is_there_first() {
    let (tx, mut rx) = channel::watch(7);
    assert_eq!(*now(rx.wait_until(|value| *value == 7)).unwrap(), 7);
    let mut waits = Waiting::begun(rx.wait_until(|value| *value > 8));
    tx.send(8).unwrap();
    waits.assert_waits();
    tx.send(9).unwrap();
    assert_eq!(*waits.ready().unwrap(), 9);
    let waits = Waiting::begun(rx.wait_until(|value| *value > 9));
    drop(tx);
    assert_eq!(waits.ready(), Err(RecvError::Closed));
}

#[test]
fn updates_of_several_threads_are_all_there() {
    watched("with threads", || {
        let (tx, rx) = channel::watch(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let tx = tx.clone();
                scope.spawn(move || {
                    for _ in 0..500 {
                        tx.update(|value| value + 1);
                    }
                });
            }
            let mut rx = rx.clone();
            scope.spawn(move || {
                let mut last = 0;
                let end = block_on(rx.wait_until(|value| {
                    assert!(*value >= last);
                    last = *value;
                    *value == 2_000
                }));
                assert_eq!(end.map(|end| *end), Ok(2_000));
            });
        });
        assert_eq!(*rx.current(), 2_000);
    });
}

#[test]
fn an_update_may_look_at_the_channel() {
    watched("with an update that comes back", || {
        let (tx, rx) = channel::watch(1);
        let updated = tx.update(|value| value + *rx.current() + *tx.current());
        assert_eq!(*updated, 3);
    });
}

/// Case 97. Case 123.
#[test]
fn a_wait_that_is_dropped_or_cancelled_has_seen_nothing() {
    let (tx, mut rx) = channel::watch(0);
    let waits = Waiting::begun(rx.changed());
    tx.send(1).unwrap();
    drop(waits);
    assert_eq!(*now(rx.changed()).unwrap(), 1);

    everywhere(|| async {
        let (tx, mut rx) = channel::watch(0);
        tx.send(1).unwrap();
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert!(scope.run(rx.changed()).await.is_err());
        assert!(rx.has_changed());
        assert_eq!(rx.next().await.as_deref(), Some(&1));
        drop(tx);
        assert_eq!(rx.next().await, None);
    });
}

#[test]
fn dropping_a_wait_after_any_poll_misses_no_change() {
    for polls in 0..4 {
        everywhere(|| async move {
            group(async |g| {
                let (tx, mut rx) = channel::watch(0);
                let follower = g.spawn(async move {
                    loop {
                        let changed = dropped_after(polls, rx.changed()).await;
                        if changed.is_none() {
                            headcount::checkpoint().await;
                        }
                        if *rx.current() == 20 {
                            return Ok(());
                        }
                    }
                });
                for number in 1..=20 {
                    tx.send(number)?;
                    headcount::checkpoint().await;
                }
                follower.await?;
                Ok(())
            })
            .await
            .unwrap();
        });
    }
}

#[test]
fn both_ends_can_be_sent_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (tx, mut rx) = is_send(channel::watch(Arc::new(1)));
    drop(is_send(tx));
    drop(is_send(rx.changed()));
    drop(is_send(rx.wait_until(|_| true)));
}
