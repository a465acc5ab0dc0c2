//! Broadcast channels: everybody gets everything, or is told what they missed.

mod common;
mod waiting;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
};

use common::{Census, everywhere, watched};
use futures_lite::{StreamExt, future::block_on};
use headcount::{
    CancelScope,
    channel::{self, BroadcastRecvError, BroadcastTryRecvError},
    group,
};
use waiting::{Waiting, dropped_after, now, panic_of, poll_rudely};

#[test]
fn every_receiver_gets_every_item() {
    everywhere(|| async {
        group(async |g| {
            let (tx, rx) = channel::broadcast(100);
            let mut tasks = Vec::new();
            for mut rx in [rx.clone(), rx.clone(), rx] {
                tasks.push(g.spawn(async move {
                    let mut received = Vec::new();
                    while let Ok(number) = rx.recv().await {
                        received.push(number);
                    }
                    Ok(received)
                }));
            }
            for number in 0..50 {
                tx.send(number)?;
            }
            drop(tx);
            for task in tasks {
                assert_eq!(task.await?, (0..50).collect::<Vec<_>>());
            }
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_receiver_that_lags_is_told_how_many_it_missed() {
    let (tx, mut slow) = channel::broadcast(2);
    let mut quick = slow.clone();
    for number in 0..5 {
        assert_eq!(tx.send(number), Ok(2));
        assert_eq!(quick.try_recv(), Ok(number));
    }
    assert_eq!((slow.len(), quick.len(), tx.len()), (2, 0, 2));
    assert_eq!(now(slow.recv()), Err(BroadcastRecvError::Lagged(3)));
    assert_eq!([now(slow.recv()), now(slow.recv())], [Ok(3), Ok(4)]);
    assert_eq!(slow.try_recv(), Err(BroadcastTryRecvError::Empty));
    assert_eq!((tx.len(), tx.peak()), (0, 2));
}

#[test]
fn a_late_receiver_gets_what_is_sent_from_then_on() {
    let (tx, mut early) = channel::broadcast(4);
    tx.send(1).unwrap();
    let mut late = tx.subscribe();
    tx.send(2).unwrap();
    assert_eq!(late.try_recv(), Ok(2));
    assert_eq!(late.try_recv(), Err(BroadcastTryRecvError::Empty));
    // A clone is where the original is.
    let mut clone = early.clone();
    for rx in [&mut early, &mut clone] {
        assert_eq!([rx.try_recv(), rx.try_recv()], [Ok(1), Ok(2)]);
    }
    assert!(tx.is_empty());
}

#[test]
fn items_that_all_have_received_are_gone() {
    let census = Census::default();
    let (tx, mut rx) = channel::broadcast(4);
    let mut slow = rx.clone();
    for _ in 0..3 {
        tx.send(std::sync::Arc::new(census.enter())).unwrap();
    }
    for _ in 0..3 {
        drop(rx.try_recv().unwrap());
    }
    assert_eq!(census.alive(), 3);
    drop(slow.try_recv().unwrap());
    assert_eq!((census.alive(), tx.len()), (2, 2));
    drop(slow);
    assert_eq!((census.alive(), tx.len()), (0, 0));
    assert_eq!(tx.receiver_count(), 1);
}

#[test]
fn an_item_is_not_cloned_for_the_last_receiver() {
    /// Counts its clones.
    struct Item(std::sync::Arc<()>);

    impl Clone for Item {
        fn clone(&self) -> Self {
            Self(std::sync::Arc::clone(&self.0))
        }
    }

    let (tx, mut one) = channel::broadcast(4);
    let mut other = one.clone();
    let marker = std::sync::Arc::new(());
    tx.send(Item(std::sync::Arc::clone(&marker))).ok().unwrap();
    let items = (one.try_recv().ok(), other.try_recv().ok());
    assert_eq!(std::sync::Arc::strong_count(&marker), 3);
    drop(items);
}

#[test]
fn without_receivers_the_item_comes_back() {
    let (tx, rx) = channel::broadcast(4);
    drop(rx);
    assert_eq!(tx.send(1).unwrap_err().into_item(), 1);
    // It is not closed: somebody may come.
    let mut rx = tx.subscribe();
    assert_eq!(tx.send(2), Ok(1));
    assert_eq!(rx.try_recv(), Ok(2));
    assert!(tx.close() && !tx.close() && tx.is_closed());
    assert_eq!(tx.send(3).unwrap_err().into_item(), 3);
    assert_eq!(rx.try_recv(), Err(BroadcastTryRecvError::Closed));
}

#[test]
fn what_was_sent_before_the_end_can_be_received() {
    let (tx, mut rx) = channel::broadcast(4);
    tx.send(1).unwrap();
    let other = tx.clone();
    drop(tx);
    assert_eq!(now(rx.recv()), Ok(1));
    let waits = Waiting::begun(rx.recv());
    drop(other);
    assert_eq!(waits.ready(), Err(BroadcastRecvError::Closed));
}

#[test]
fn the_end_wakes_receivers_that_wait() {
    let (tx, mut one) = channel::broadcast::<u8>(1);
    let mut other = one.clone();
    let (first, second) = (Waiting::begun(one.recv()), Waiting::begun(other.recv()));
    drop(tx);
    assert_eq!(first.ready(), Err(BroadcastRecvError::Closed));
    assert_eq!(second.ready(), Err(BroadcastRecvError::Closed));
}

#[test]
fn a_sender_dropped_by_a_panic_breaks_the_channel() {
    let (tx, mut rx) = channel::broadcast(4);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let tx = tx;
        tx.send(1).unwrap();
        panic!("in the middle of it");
    }));
    assert!(panicked.is_err());
    let stream = rx.clone();
    assert_eq!(now(rx.recv()), Ok(1));
    assert_eq!(now(rx.recv()), Err(BroadcastRecvError::Broken));
    assert_eq!(rx.try_recv(), Err(BroadcastTryRecvError::Broken));
    let seen: Vec<_> = block_on(stream.collect());
    assert_eq!(seen, [Ok(1), Err(BroadcastRecvError::Broken)]);
}

/// Case 123. Case 97.
#[test]
fn a_receive_that_is_dropped_or_cancelled_takes_nothing() {
    let (tx, mut rx) = channel::broadcast(4);
    let waits = Waiting::begun(rx.recv());
    tx.send(1).unwrap();
    assert_eq!(waits.wakes(), 1);
    drop(waits);
    assert_eq!(now(rx.recv()), Ok(1));

    everywhere(|| async {
        let (tx, mut rx) = channel::broadcast(4);
        tx.send(1).unwrap();
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert!(scope.run(rx.recv()).await.is_err());
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert!(scope.run(rx.next()).await.is_err());
        assert_eq!(rx.recv().await, Ok(1));
    });
}

#[test]
fn dropping_a_receive_after_any_poll_loses_nothing() {
    for polls in 0..4 {
        everywhere(|| async move {
            let (tx, mut rx) = channel::broadcast(100);
            group(async |g| {
                let receiver = g.spawn(async move {
                    let mut received = Vec::new();
                    loop {
                        match dropped_after(polls, rx.recv()).await {
                            Some(Ok(number)) => received.push(number),
                            Some(Err(_closed)) => return Ok(received),
                            None => match dropped_after(polls + 1, rx.recv()).await {
                                Some(Ok(number)) => received.push(number),
                                Some(Err(_closed)) => return Ok(received),
                                None => headcount::checkpoint().await,
                            },
                        }
                    }
                });
                for number in 0..20 {
                    tx.send(number)?;
                    headcount::checkpoint().await;
                }
                drop(tx);
                assert_eq!(receiver.await?, (0..20).collect::<Vec<_>>());
                Ok(())
            })
            .await
            .unwrap();
        });
    }
}

#[test]
fn a_waker_that_panics_does_not_keep_it_from_the_others() {
    let (tx, mut rude) = channel::broadcast(4);
    let mut polite = rude.clone();
    let mut rude = pin!(rude.recv());
    assert!(poll_rudely(rude.as_mut()).is_pending());
    let polite = Waiting::begun(polite.recv());
    assert_eq!(tx.send(1), Ok(2));
    assert_eq!(polite.ready(), Ok(1));
}

#[test]
fn threads_that_keep_up_or_lag_account_for_every_item() {
    watched("with threads", || {
        const ITEMS: u64 = 2_000;
        let (tx, rx) = channel::broadcast(16);
        std::thread::scope(|scope| {
            for mut rx in [rx.clone(), rx.clone(), rx] {
                scope.spawn(move || {
                    let (mut seen, mut missed, mut next) = (0, 0, 0);
                    loop {
                        match block_on(rx.recv()) {
                            Ok(number) => {
                                assert_eq!(number, next);
                                (seen, next) = (seen + 1, next + 1);
                            }
                            Err(BroadcastRecvError::Lagged(count)) => {
                                (missed, next) = (missed + count, next + count);
                            }
                            Err(_closed) => break,
                        }
                    }
                    assert_eq!(seen + missed, ITEMS);
                });
            }
            for number in 0..ITEMS {
                tx.send(number).expect("all are there");
            }
            drop(tx);
        });
    });
}

#[test]
fn a_broadcast_of_nothing_is_refused() {
    assert_eq!(
        panic_of(|| channel::broadcast::<u8>(0)),
        "a broadcast channel needs a capacity of at least 1, or every receiver misses everything"
    );
}

#[test]
fn errors_say_what_happened_and_what_to_do() {
    assert_eq!(
        BroadcastRecvError::Lagged(3).to_string(),
        "the receiver was too slow and missed 3 items; receive again to go on"
    );
    assert_eq!(
        BroadcastTryRecvError::Closed.to_string(),
        "the channel is closed, and everything has been received"
    );
    assert_eq!(
        BroadcastTryRecvError::Empty.to_string(),
        "the channel is empty; wait with `recv`, or try again later"
    );
}
