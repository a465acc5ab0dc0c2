//! Oneshot channels: one value, or a reason why there is none.

mod common;
mod waiting;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use common::{Census, everywhere, watched};
use futures_lite::future::block_on;
use headcount::{
    CancelScope,
    channel::{self, RecvError, TryRecvError},
    group, timeout,
};
use waiting::{Waiting, dropped_after, now, panic_of};

#[test]
fn the_value_arrives() {
    everywhere(|| async {
        group(async |g| {
            let (tx, rx) = channel::oneshot();
            g.spawn(async move { Ok(tx.send(7)?) });
            assert_eq!(rx.await?, 7);
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn the_receiver_is_woken_once() {
    let (tx, rx) = channel::oneshot();
    let mut waits = Waiting::begun(rx);
    waits.assert_waits();
    tx.send(7).unwrap();
    assert_eq!(waits.wakes(), 1);
    assert_eq!(waits.ready(), Ok(7));
}

#[test]
fn a_sender_that_leaves_says_so() {
    let (tx, rx) = channel::oneshot::<u8>();
    let waits = Waiting::begun(rx);
    drop(tx);
    assert_eq!(waits.ready(), Err(RecvError::Closed));
}

#[test]
fn a_sender_dropped_by_a_panic_breaks_the_channel() {
    let (tx, mut rx) = channel::oneshot::<u8>();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _tx = tx;
        panic!("before it could answer");
    }));
    assert!(panicked.is_err());
    assert_eq!(rx.try_recv(), Err(TryRecvError::Broken));
    assert_eq!(now(rx), Err(RecvError::Broken));
}

#[test]
fn without_a_receiver_the_value_comes_back() {
    let (tx, rx) = channel::oneshot();
    let mut closed = Waiting::begun(async {
        tx.closed().await;
        tx
    });
    drop(rx);
    assert_eq!(closed.wakes(), 1);
    let std::task::Poll::Ready(tx) = closed.poll() else {
        panic!("it is closed");
    };
    assert!(tx.is_closed());
    assert_eq!(tx.send(7).unwrap_err().into_item(), 7);
}

#[test]
fn closing_wakes_a_sender_that_waits_for_it() {
    let (tx, mut rx) = channel::oneshot::<u8>();
    let waits = Waiting::begun(tx.closed());
    rx.close();
    waits.ready();
}

#[test]
fn closing_keeps_what_was_sent() {
    let (tx, mut rx) = channel::oneshot();
    tx.send(7).unwrap();
    rx.close();
    assert_eq!(now(&mut rx), Ok(7));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));

    let (tx, mut rx) = channel::oneshot();
    let mut waits = Waiting::begun(tx.closed());
    rx.close();
    assert!(waits.poll().is_ready());
    drop(waits);
    assert!(tx.send(8).is_err());
    assert_eq!(now(rx), Err(RecvError::Closed));
}

/// Case 97. Case 123.
#[test]
fn a_receive_that_is_cancelled_takes_nothing() {
    everywhere(|| async {
        let (tx, mut rx) = channel::oneshot();
        assert!(timeout(Duration::ZERO, &mut rx).await.is_err());
        tx.send(7).unwrap();
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert!(scope.run(&mut rx).await.is_err());
        assert_eq!(rx.await, Ok(7));
    });
}

#[test]
fn dropping_a_receive_after_any_poll_keeps_the_value() {
    for polls in 0..4 {
        everywhere(|| async move {
            group(async |g| {
                let (tx, mut rx) = channel::oneshot();
                let receiver = g.spawn(async move {
                    match dropped_after(polls, &mut rx).await {
                        Some(received) => Ok(received?),
                        None => Ok(rx.await?),
                    }
                });
                headcount::checkpoint().await;
                tx.send(7)?;
                assert_eq!(receiver.await?, 7);
                Ok(())
            })
            .await
            .unwrap();
        });
    }
}

/// Case 170.
#[test]
fn a_value_that_is_not_received_is_dropped_with_the_receiver() {
    let census = Census::default();
    let (tx, rx) = channel::oneshot();
    tx.send(census.enter()).ok().unwrap();
    drop(rx);
    assert_eq!(census.alive(), 0);

    /// Panics when dropped.
    struct Rude;

    impl Drop for Rude {
        fn drop(&mut self) {
            panic!("a disposal that panics");
        }
    }

    let (tx, rx) = channel::oneshot();
    tx.send(Rude).ok().unwrap();
    assert_eq!(panic_of(|| drop(rx)), "a disposal that panics");
}

#[test]
fn threads_hand_over_every_value() {
    watched("with threads", || {
        for number in 0..500 {
            let (tx, rx) = channel::oneshot();
            std::thread::scope(|scope| {
                scope.spawn(move || tx.send(number).expect("somebody listens"));
                assert_eq!(block_on(rx), Ok(number));
            });
        }
    });
}
