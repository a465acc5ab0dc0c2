//! Channels: nothing is lost, doubled or overtaken, and the end is told.

mod common;
mod waiting;

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
};

use common::{Census, Counted, Gate, everywhere, let_others_run, watched};
use futures_lite::{
    StreamExt,
    future::{block_on, zip},
};
use headcount::{
    CancelScope, FailureKind,
    channel::{
        self, Receiver, RecvError, ReserveError, Sender, TryRecvError, TryReserveError,
        TrySendError,
    },
    group, shield,
};
use waiting::{Dice, Waiting, dropped_after, now, panic_of, poll_rudely, stress};

#[test]
fn items_come_in_the_order_in_which_they_were_sent() {
    for capacity in [1, 2, 100] {
        everywhere(|| async move {
            group(async |g| {
                let (tx, rx) = channel::bounded(capacity);
                g.spawn(async move {
                    for number in 0..100 {
                        tx.send(number).await?;
                    }
                    Ok(())
                });
                for number in 0..100 {
                    assert_eq!(rx.recv().await?, number);
                }
                assert_eq!(rx.recv().await, Err(RecvError::Closed));
                Ok(())
            })
            .await
            .unwrap();
        });
    }
}

#[test]
fn a_full_channel_makes_senders_wait() {
    let (tx, rx) = channel::bounded(1);
    now(tx.send(1)).unwrap();
    let mut second = Waiting::begun(tx.send(2));
    let mut third = Waiting::begun(tx.send(3));
    assert_eq!(now(rx.recv()), Ok(1));
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    third.assert_waits();
    assert_eq!(second.poll(), Poll::Ready(Ok(())));
    assert_eq!(now(rx.recv()), Ok(2));
    assert_eq!(third.poll(), Poll::Ready(Ok(())));
}

#[test]
fn those_who_wait_are_not_overtaken() {
    let (tx, rx) = channel::bounded(1);
    tx.try_send(1).unwrap();
    let waits = Waiting::begun(tx.send(2));
    assert_eq!(rx.try_recv(), Ok(1));
    // There is room, but it is spoken for.
    assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
    assert_eq!(tx.try_reserve().unwrap_err(), TryReserveError::Full);
    assert!(tx.is_full());
    let mut newcomer = Waiting::begun(tx.send(3));
    waits.ready().unwrap();
    assert_eq!(rx.try_recv(), Ok(2));
    assert_eq!(newcomer.poll(), Poll::Ready(Ok(())));
    assert_eq!(rx.try_recv(), Ok(3));

    let first = Waiting::begun(rx.recv());
    let second = Waiting::begun(rx.recv());
    tx.try_send(4).unwrap();
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let third = Waiting::begun(rx.recv());
    assert_eq!(first.ready(), Ok(4));
    tx.try_send(5).unwrap();
    assert_eq!(second.ready(), Ok(5));
    tx.try_send(6).unwrap();
    assert_eq!(third.ready(), Ok(6));
}

#[test]
fn a_reserved_place_is_kept() {
    let (tx, rx) = channel::bounded(1);
    let permit = now(tx.reserve()).unwrap();
    assert_eq!(tx.len(), 0);
    assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
    permit.send(1);
    assert_eq!(rx.try_recv(), Ok(1));
}

#[test]
fn a_permit_that_is_dropped_lets_the_next_one_send() {
    let (tx, rx) = channel::bounded(1);
    let permit = now(tx.reserve()).unwrap();
    let waits = Waiting::begun(tx.send(1));
    drop(permit);
    waits.ready().unwrap();
    assert_eq!(rx.try_recv(), Ok(1));
}

#[test]
fn a_dropped_send_has_sent_nothing() {
    let (tx, rx) = channel::bounded(1);
    tx.try_send(1).unwrap();
    let census = Census::default();
    let waits = Waiting::begun(tx.send(2));
    drop(waits);
    assert_eq!(rx.try_recv(), Ok(1));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));

    // Also if there was room for it already, and it did not run.
    tx.try_send(3).unwrap();
    let granted = Waiting::begun(tx.send(4));
    assert_eq!(rx.try_recv(), Ok(3));
    assert_eq!(granted.wakes(), 1);
    drop(granted);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(tx.try_send(5), Ok(()));
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_send_that_gives_up_returns_its_item() {
    let (tx, _rx) = channel::bounded(1);
    let mut sent = tx.send(1);
    assert_eq!(now(&mut sent), Ok(()));
    assert_eq!(sent.into_item(), None);
    let mut waits = Box::pin(tx.send(2));
    assert!(common::poll_once(waits.as_mut()).is_pending());
    assert_eq!((*std::pin::Pin::into_inner(waits)).into_item(), Some(2));
}

/// Case 97. An operation in a scope that was cancelled does not happen, ready or not.
#[test]
fn nothing_is_sent_or_received_in_a_cancelled_scope() {
    everywhere(|| async {
        let (tx, mut rx) = channel::bounded(2);
        tx.try_send(1).unwrap();
        let scope = || {
            let scope = CancelScope::new();
            scope.handle().cancel();
            scope
        };
        assert!(scope().run(tx.send(2)).await.is_err());
        assert!(scope().run(tx.reserve()).await.is_err());
        assert!(scope().run(rx.recv()).await.is_err());
        assert!(scope().run(rx.next()).await.is_err());
        assert_eq!(rx.try_recv(), Ok(1));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        tx.close();
        assert!(scope().run(rx.recv()).await.is_err());
        assert!(scope().run(tx.closed()).await.is_err());
    });
}

/// Case 124. A receiver is woken for an item, and cancelled before it runs; or the other way round.
#[test]
fn a_cancelled_receiver_takes_nothing_whichever_came_first() {
    for cancel_first in [false, true] {
        everywhere(|| async move {
            let (tx, rx) = channel::bounded(1);
            let (scope, begun) = (CancelScope::new(), Gate::default());
            let handle = scope.handle();
            group(async |g| {
                let (mine, begins) = (rx.clone(), begun.clone());
                let cut = g.spawn_local(async move {
                    let outcome = scope.run(async {
                        begins.open();
                        mine.recv().await
                    });
                    Ok(outcome.await.is_err())
                });
                begun.wait().await;
                if cancel_first {
                    handle.cancel();
                    tx.try_send(1).unwrap();
                } else {
                    tx.try_send(1).unwrap();
                    handle.cancel();
                }
                assert!(cut.await?);
                assert_eq!(rx.try_recv(), Ok(1));
                Ok(())
            })
            .await
            .unwrap();
        });
    }
}

/// A future that stays alive in a cancelled scope, because of a shield beside it, does not keep what
/// it was granted.
#[test]
fn a_receiver_held_up_by_a_shield_lets_its_item_go() {
    everywhere(|| async {
        let (tx, rx) = channel::bounded(1);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let (gate, other) = (Gate::default(), rx.clone());
        group(async |g| {
            let opened = gate.clone();
            let cut = g.spawn_local(async move {
                let waits = scope.run(zip(rx.recv(), shield(gate.wait())));
                Ok(waits.await.is_err())
            });
            let_others_run().await;
            tx.try_send(1).unwrap();
            handle.cancel();
            assert_eq!(other.recv().await?, 1);
            opened.open();
            assert!(cut.await?);
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_sender_held_up_by_a_shield_lets_its_room_go() {
    everywhere(|| async {
        let (tx, rx) = channel::bounded(1);
        for reserves in [false, true] {
            tx.try_send(0).unwrap();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let gate = Gate::default();
            let wait = async {
                if reserves {
                    drop(tx.reserve().await);
                } else {
                    tx.send(1).await.unwrap();
                }
            };
            let waits = scope.run(zip(wait, shield(gate.wait())));
            let other = async {
                let_others_run().await;
                assert_eq!(rx.try_recv(), Ok(0));
                handle.cancel();
                tx.send(2).await.unwrap();
                gate.open();
            };
            assert!(zip(waits, other).await.0.is_err());
            assert_eq!(rx.try_recv(), Ok(2));
        }
    });
}

/// Case 163.
#[test]
fn the_last_receiver_leaving_fails_a_send_that_waits() {
    let (tx, rx) = channel::bounded(1);
    let other = rx.clone();
    tx.try_send(1).unwrap();
    let mut waits = Waiting::begun(tx.send(2));
    drop(rx);
    waits.assert_waits();
    drop(other);
    assert_eq!(waits.wakes(), 1);
    assert_eq!(waits.ready().unwrap_err().into_item(), 2);
    assert_eq!(now(tx.send(3)).unwrap_err().into_item(), 3);
    assert_eq!(tx.try_send(4), Err(TrySendError::Closed(4)));
    assert_eq!(now(tx.reserve()).unwrap_err(), ReserveError);
    assert_eq!(tx.try_reserve().unwrap_err(), TryReserveError::Closed);
    now(tx.closed());
}

/// Case 164. A handle is given up by dropping it, which nobody can do while somebody waits on it;
/// dropping another one does not concern them.
#[test]
fn dropping_one_of_two_handles_does_not_wake_the_other() {
    let (tx, rx) = channel::bounded::<u8>(1);
    let (other_tx, other_rx) = (tx.clone(), rx.clone());
    let mut waits = Waiting::begun(rx.recv());
    drop((other_tx, other_rx));
    assert_eq!(waits.wakes(), 0);
    waits.assert_waits();
    drop(tx);
    assert_eq!(waits.ready(), Err(RecvError::Closed));
}

/// Case 166.
#[test]
fn a_dropped_receive_leaves_the_line() {
    let (tx, rx) = channel::rendezvous();
    let waits = Waiting::begun(rx.recv());
    assert!(!tx.is_full());
    drop(waits);
    assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
}

/// Case 167. Case 123.
#[test]
fn an_item_granted_to_a_dropped_receiver_goes_to_the_next() {
    for (tx, rx) in [
        channel::bounded(1),
        channel::rendezvous(),
        channel::unbounded(),
    ] {
        let first = Waiting::begun(rx.recv());
        let second = Waiting::begun(rx.recv());
        tx.try_send(1).unwrap();
        assert_eq!((first.wakes(), second.wakes()), (1, 0));
        drop(first);
        assert_eq!(second.wakes(), 1);
        drop(second);
        // And if there is no next, to whoever comes.
        assert_eq!(rx.len(), 1);
        assert_eq!(rx.try_recv(), Ok(1));
    }
}

#[test]
fn items_of_dropped_receivers_keep_their_order() {
    let (tx, rx) = channel::bounded(3);
    let first = Waiting::begun(rx.recv());
    let second = Waiting::begun(rx.recv());
    for number in [1, 2, 3] {
        tx.try_send(number).unwrap();
    }
    drop(first);
    assert_eq!(second.ready(), Ok(1));
    assert_eq!([rx.try_recv(), rx.try_recv()], [Ok(2), Ok(3)]);
}

/// Case 172.
#[test]
fn a_dropped_sender_in_the_middle_keeps_the_others_in_order() {
    for dropped in 0..3 {
        let (tx, rx) = channel::bounded(1);
        tx.try_send(0).unwrap();
        let mut waits: Vec<_> = [1, 2, 3].map(|n| Some(Waiting::begun(tx.send(n)))).into();
        waits[dropped] = None;
        let mut received = vec![rx.try_recv().unwrap()];
        for waits in waits.into_iter().flatten() {
            waits.ready().unwrap();
            received.push(rx.try_recv().unwrap());
        }
        let mut expected = vec![0, 1, 2, 3];
        expected.remove(dropped + 1);
        assert_eq!(received, expected);
    }
}

/// Case 172, where the one in the middle has been granted room.
#[test]
fn room_granted_to_a_dropped_sender_goes_to_the_next() {
    let (tx, rx) = channel::bounded(1);
    tx.try_send(0).unwrap();
    let first = Waiting::begun(tx.send(1));
    let second = Waiting::begun(tx.reserve());
    let third = Waiting::begun(tx.send(3));
    assert_eq!(rx.try_recv(), Ok(0));
    assert_eq!((first.wakes(), second.wakes(), third.wakes()), (1, 0, 0));
    drop(first);
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    drop(second);
    assert_eq!(third.wakes(), 1);
    third.ready().unwrap();
    assert_eq!(rx.try_recv(), Ok(3));
}

/// Case 173. The send that waits fails and gives its item back.
#[test]
fn closing_fails_sends_that_wait() {
    let (tx, rx) = channel::bounded(2);
    tx.try_send(1).unwrap();
    tx.try_send(2).unwrap();
    let waits = Waiting::begun(tx.send(3));
    let granted = {
        let granted = Waiting::begun(tx.reserve());
        assert_eq!(rx.try_recv(), Ok(1));
        granted
    };
    assert!(rx.close());
    assert!(!tx.close());
    assert_eq!(waits.ready().unwrap_err().into_item(), 3);
    assert_eq!(granted.ready().unwrap_err(), ReserveError);
    assert_eq!(rx.try_recv(), Ok(2));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn the_end_wakes_whoever_waits_for_an_item() {
    let (tx, mut rx) = channel::bounded::<u8>(1);
    let other = rx.clone();
    let stream = Waiting::begun(rx.next());
    let (first, second) = (Waiting::begun(other.recv()), Waiting::begun(other.recv()));
    drop(tx);
    assert_eq!(stream.ready(), None);
    assert_eq!(first.ready(), Err(RecvError::Closed));
    assert_eq!(second.ready(), Err(RecvError::Closed));
}

#[test]
fn receivers_wait_for_permits_that_are_out() {
    let (tx, rx) = channel::bounded(2);
    let (one, other) = (tx.try_reserve().unwrap(), tx.try_reserve().unwrap());
    let first = Waiting::begun(rx.recv());
    let mut second = Waiting::begun(rx.recv());
    tx.close();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    one.send(1);
    assert_eq!(first.ready(), Ok(1));
    second.assert_waits();
    drop(other);
    assert_eq!(second.ready(), Err(RecvError::Closed));
}

#[test]
fn an_owned_permit_is_a_sender_until_it_is_used() {
    let (tx, rx) = channel::bounded(1);
    let permit = now(tx.reserve_owned()).unwrap();
    assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
    assert_eq!(tx.try_reserve_owned().unwrap_err(), TryReserveError::Full);
    drop(tx);
    assert_eq!((rx.sender_count(), rx.is_closed()), (1, false));
    permit.send(1);
    assert!(rx.is_closed());
    assert_eq!(now(rx.recv()), Ok(1));
    assert_eq!(now(rx.recv()), Err(RecvError::Closed));
}

#[test]
fn an_owned_permit_that_is_dropped_lets_the_next_one_send() {
    let (tx, rx) = channel::bounded(1);
    let permit = tx.try_reserve_owned().unwrap();
    let mut second = Waiting::begun(tx.reserve_owned());
    let third = Waiting::begun(tx.reserve_owned());
    drop(permit);
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    // Granted room, and dropped before it ran.
    drop(second);
    third.ready().unwrap().send(3);
    assert_eq!(rx.try_recv(), Ok(3));
    assert_eq!(tx.sender_count(), 1);

    let kept = tx.try_reserve_owned().unwrap();
    second = Waiting::begun(tx.reserve_owned());
    tx.close();
    assert_eq!(second.ready().unwrap_err(), ReserveError);
    assert_eq!(tx.try_reserve_owned().unwrap_err(), TryReserveError::Closed);
    kept.send(4);
    assert_eq!(now(rx.recv()), Ok(4));
    assert_eq!(now(rx.recv()), Err(RecvError::Closed));
}

#[test]
fn an_owned_permit_dropped_by_a_panic_breaks_the_channel() {
    let (tx, rx) = channel::bounded::<u8>(1);
    let permit = tx.try_reserve_owned().unwrap();
    drop(tx);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _permit = permit;
        panic!("before it is sent");
    }));
    assert!(panicked.is_err());
    assert_eq!(now(rx.recv()), Err(RecvError::Broken));
}

#[test]
fn an_owned_permit_outlives_the_receiver() {
    let disposed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&disposed);
    let (tx, rx) = channel::Options::new()
        .on_undelivered(move |item| counter.store(item, Ordering::SeqCst))
        .bounded(1);
    let permit = tx.try_reserve_owned().unwrap();
    drop((tx, rx));
    permit.send(7);
    assert_eq!(disposed.load(Ordering::SeqCst), 7);
}

/// Case 175.
#[test]
fn a_consumer_that_leaves_early_cuts_the_producer() {
    everywhere(|| async {
        group(async |g| {
            let (tx, rx) = channel::bounded(1);
            let producer = g.spawn(async move {
                let mut sent = 0;
                while tx.send(sent).await.is_ok() {
                    sent += 1;
                }
                Ok(sent)
            });
            assert_eq!(rx.recv().await?, 0);
            drop(rx);
            assert!(producer.await? >= 1);
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_producer_can_wait_for_nobody_to_listen() {
    let (tx, rx) = channel::bounded::<u8>(1);
    let mut closed = Waiting::begun(tx.closed());
    let dropped = Waiting::begun(tx.closed());
    drop(dropped);
    closed.assert_waits();
    drop(rx);
    assert_eq!(closed.wakes(), 1);
    closed.ready();
}

/// Case 176, gently.
#[test]
fn what_is_queued_at_the_close_can_still_be_received() {
    let (tx, mut rx) = channel::bounded(3);
    for number in [1, 2, 3] {
        tx.try_send(number).unwrap();
    }
    rx.close();
    assert_eq!(now(rx.recv()), Ok(1));
    assert_eq!(rx.try_recv(), Ok(2));
    assert_eq!(now(rx.next()), Some(3));
    assert_eq!(now(rx.next()), None);
    assert_eq!(now(rx.recv()), Err(RecvError::Closed));
}

/// Case 176, at once.
#[test]
fn discarding_throws_away_what_is_queued() {
    let census = Census::default();
    let (tx, rx) = channel::bounded(3);
    tx.try_send(census.enter()).unwrap();
    tx.try_send(census.enter()).unwrap();
    let waits = Waiting::begun({
        tx.try_send(census.enter()).unwrap();
        tx.send(census.enter())
    });
    assert_eq!(rx.discard(), 3);
    assert_eq!(census.alive(), 1);
    drop(waits.ready());
    assert_eq!(census.alive(), 0);
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Closed)));
}

#[test]
fn discarding_ends_those_who_wait_with_a_turn() {
    let (tx, rx) = channel::bounded(3);
    let permit = tx.try_reserve().unwrap();
    let mut woken = Waiting::begun(rx.recv());
    tx.try_send(1).unwrap();
    assert_eq!(rx.discard(), 1);
    woken.assert_waits();
    permit.send(2);
    assert_eq!(woken.ready(), Ok(2));
    assert_eq!(now(rx.recv()), Err(RecvError::Closed));
}

/// Case 170.
#[test]
fn a_disposal_that_panics_does_not_lose_the_rest() {
    let census = Census::default();
    let make = |panics| Disposed {
        panics,
        _counted: census.enter(),
    };
    // By the call that discards.
    let (tx, rx) = channel::bounded(3);
    for panics in [true, false, true] {
        tx.try_send(make(panics)).unwrap();
    }
    assert_eq!(panic_of(|| rx.discard()), "a disposal that panics");
    assert_eq!(census.alive(), 0);
    assert!(rx.is_closed());

    // By the last receiver.
    let (tx, rx) = channel::bounded(3);
    for panics in [false, true, false] {
        tx.try_send(make(panics)).unwrap();
    }
    assert_eq!(panic_of(|| drop(rx)), "a disposal that panics");
    assert_eq!(census.alive(), 0);
    assert!(tx.is_closed());
}

/// An item whose destructor may panic.
struct Disposed {
    panics: bool,
    _counted: Counted,
}

impl Drop for Disposed {
    fn drop(&mut self) {
        if self.panics {
            panic!("a disposal that panics");
        }
    }
}

#[test]
fn several_disposals_that_panic_are_all_reported() {
    let failed = headcount::run(group(async |_g| {
        let census = Census::default();
        let (tx, rx) = channel::bounded(3);
        for panics in [true, true, true] {
            let counted = census.enter();
            let item = Disposed {
                panics,
                _counted: counted,
            };
            tx.try_send(item).map_err(|_| "full")?;
        }
        rx.discard();
        Ok(())
    }))
    .unwrap_err();
    assert_eq!(failed.len(), 3);
    assert!(
        failed
            .iter()
            .all(|failure| matches!(failure.kind(), FailureKind::Panic(_)))
    );
}

#[test]
fn the_hook_gets_what_is_not_delivered() {
    let undelivered = Arc::new(Mutex::new(Vec::new()));
    let seen = || undelivered.lock().unwrap().drain(..).collect::<Vec<_>>();
    let make = || {
        let undelivered = Arc::clone(&undelivered);
        channel::Options::new()
            .on_undelivered(move |item| undelivered.lock().unwrap().push(item))
            .bounded(2)
    };

    let (tx, rx) = make();
    tx.try_send(1).unwrap();
    assert_eq!(rx.try_recv(), Ok(1));
    tx.try_send(2).unwrap();
    let permit = tx.try_reserve().unwrap();
    let waits = Waiting::begun(tx.send(3));
    drop(waits);
    assert_eq!(seen(), [3], "a send that was dropped");
    drop(tx.send(4));
    assert_eq!(seen(), [4], "a send that never ran");
    drop(rx);
    assert_eq!(seen(), [2], "what was queued");
    permit.send(5);
    assert_eq!(seen(), [5], "sent with a permit, to nobody");
    assert_eq!(tx.try_send(6).unwrap_err().into_item(), 6);
    assert_eq!(seen(), [], "what comes back is not undelivered");

    let (tx, rx) = make();
    tx.try_send(7).unwrap();
    drop(tx);
    assert_eq!(rx.discard(), 1);
    assert_eq!(seen(), [7], "discarded");
}

/// A sender that panics, and its neighbour that does not.
#[test]
fn a_sender_dropped_by_a_panic_breaks_the_channel() {
    let (tx, rx) = channel::bounded(3);
    let other = tx.clone();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let tx = tx;
        tx.try_send(1).unwrap();
        panic!("in the middle of it");
    }));
    assert!(panicked.is_err());
    assert!(rx.is_broken());
    // What the others send is not lost.
    other.try_send(2).unwrap();
    assert_eq!([now(rx.recv()), now(rx.recv())], [Ok(1), Ok(2)]);
    let waits = Waiting::begun(rx.recv());
    drop(other);
    assert_eq!(waits.ready(), Err(RecvError::Broken));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Broken));
}

#[test]
fn a_panicking_task_breaks_its_channel() {
    everywhere(|| async {
        let (tx, rx) = channel::bounded::<u8>(3);
        let failed = headcount::TaskGroup::builder()
            .policy(headcount::Policy::Collect)
            .run(async |g| {
                g.spawn(async move {
                    tx.send(1).await?;
                    if !tx.is_closed() {
                        panic!("in the middle of it");
                    }
                    Ok(())
                });
                assert_eq!(rx.recv().await?, 1);
                assert_eq!(rx.recv().await, Err(RecvError::Broken));
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(failed.len(), 1);
    });
}

#[test]
fn a_receiver_ends_when_all_senders_are_in_a_cancelled_group() {
    everywhere(|| async {
        let (tx, rx) = channel::bounded::<u8>(3);
        let gone = AtomicBool::new(false);
        group(async |g| {
            g.spawn_local(async {
                let cancelled = group(async |inner| {
                    for _ in 0..3 {
                        let tx = tx.clone();
                        inner.spawn(async move {
                            tx.closed().await;
                            Ok(())
                        });
                    }
                    drop(tx);
                    let_others_run().await;
                    inner.cancel();
                    std::future::pending::<Result<(), _>>().await
                });
                assert!(cancelled.await.unwrap_err().is_cancelled());
                gone.store(true, Ordering::SeqCst);
                Ok(())
            });
            assert_eq!(rx.recv().await, Err(RecvError::Closed));
            Ok(())
        })
        .await
        .unwrap();
        assert!(gone.into_inner());
    });
}

#[test]
fn a_rendezvous_send_is_done_when_a_receiver_is_there() {
    let (tx, rx) = channel::rendezvous();
    let mut sent = Waiting::begun(tx.send(1));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let received = Waiting::begun(rx.recv());
    assert_eq!(sent.wakes(), 1);
    assert_eq!(sent.poll(), Poll::Ready(Ok(())));
    assert_eq!(received.wakes(), 1);
    assert_eq!(received.ready(), Ok(1));
}

#[test]
fn a_rendezvous_send_waits_on_if_the_receiver_has_gone() {
    let (tx, rx) = channel::rendezvous();
    let mut first = Waiting::begun(tx.send(1));
    let mut second = Waiting::begun(tx.send(2));
    let received = Waiting::begun(rx.recv());
    assert_eq!(first.wakes(), 1);
    drop(received);
    first.assert_waits();
    assert_eq!(rx.len(), 0);

    // The next receiver is for the same one again.
    let received = Waiting::begun(rx.recv());
    second.assert_waits();
    assert_eq!(first.poll(), Poll::Ready(Ok(())));
    assert_eq!(received.ready(), Ok(1));
    second.assert_waits();
}

#[test]
fn a_receiver_that_leaves_a_rendezvous_leaves_the_last_sender_waiting() {
    let (tx, rx) = channel::rendezvous();
    let mut first = Waiting::begun(tx.send(1));
    let mut second = Waiting::begun(tx.send(2));
    let received = Waiting::begun(rx.recv());
    let leaves = Waiting::begun(rx.recv());
    assert_eq!((first.wakes(), second.wakes()), (1, 1));
    drop(leaves);
    second.assert_waits();
    assert_eq!(first.poll(), Poll::Ready(Ok(())));
    assert_eq!(received.ready(), Ok(1));
    second.assert_waits();
    let received = Waiting::begun(rx.recv());
    assert_eq!(second.wakes(), 2);
    second.ready().unwrap();
    assert_eq!(received.ready(), Ok(2));
}

#[test]
fn a_rendezvous_permit_needs_a_receiver() {
    let (tx, rx) = channel::rendezvous();
    assert_eq!(tx.try_reserve().unwrap_err(), TryReserveError::Full);
    let received = Waiting::begun(rx.recv());
    let permit = tx.try_reserve().unwrap();
    assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    permit.send(1);
    assert_eq!(received.ready(), Ok(1));
}

#[test]
fn a_rendezvous_channel_can_be_read_as_a_stream() {
    everywhere(|| async {
        group(async |g| {
            let (tx, rx) = channel::rendezvous();
            g.spawn(async move {
                for number in 0..20 {
                    tx.send(number).await?;
                }
                Ok(())
            });
            let received: Vec<_> = rx.collect().await;
            assert_eq!(received, (0..20).collect::<Vec<_>>());
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_stream_that_is_not_polled_any_more_keeps_nothing_from_others() {
    let (tx, mut rx) = channel::bounded(1);
    let other = rx.clone();
    assert!(common::poll_once(std::pin::pin!(rx.next())).is_pending());
    let waits = Waiting::begun(other.recv());
    tx.try_send(1).unwrap();
    assert_eq!(waits.ready(), Ok(1));

    // And the other way round: what a dropped receive leaves, the stream is told of.
    let mut stream = Waiting::begun(async { rx.next().await });
    let waits = Waiting::begun(other.recv());
    tx.try_send(2).unwrap();
    assert_eq!(stream.wakes(), 0);
    drop(waits);
    assert_eq!(stream.wakes(), 1);
    assert_eq!(stream.poll(), Poll::Ready(Some(2)));
}

#[test]
fn all_streams_are_told_of_an_item_since_some_may_not_be_polled_any_more() {
    let (tx, mut rx) = channel::bounded(1);
    let mut other = rx.clone();
    let _left_alone = Waiting::begun(rx.next());
    let waits = Waiting::begun(other.next());
    tx.try_send(1).unwrap();
    assert_eq!(waits.ready(), Some(1));
}

#[test]
fn an_unbounded_channel_never_makes_anybody_wait() {
    let (tx, rx) = channel::unbounded();
    for number in 0..10_000 {
        now(tx.send(number)).unwrap();
    }
    assert_eq!((tx.len(), tx.peak(), tx.capacity()), (10_000, 10_000, None));
    assert!(!tx.is_full());
    assert_eq!(now(rx.recv()), Ok(0));
}

#[test]
fn counts_are_those_of_now_and_of_the_peak() {
    let (tx, rx) = channel::bounded(4);
    let (tx2, rx2) = (tx.clone(), rx.clone());
    assert_eq!((tx.sender_count(), rx.receiver_count()), (2, 2));
    drop((tx2, rx2));
    assert_eq!((rx.sender_count(), tx.receiver_count()), (1, 1));
    for round in 1..=3 {
        for number in 0..round {
            tx.try_send(number).unwrap();
        }
        assert_eq!((rx.len(), rx.peak()), (round, round));
        for _ in 0..round {
            rx.try_recv().unwrap();
        }
    }
    assert_eq!((tx.len(), tx.peak(), tx.capacity()), (0, 3, Some(4)));
    assert!(tx.is_empty() && rx.is_empty() && !tx.is_full());
}

#[test]
fn a_waker_that_panics_does_not_take_the_item_along() {
    let (tx, rx) = channel::bounded(1);
    let mut rude = Box::pin(rx.recv());
    assert!(poll_rudely(rude.as_mut()).is_pending());
    tx.try_send(1).unwrap();
    drop(rude);
    assert_eq!(rx.try_recv(), Ok(1));

    let mut rude = Box::pin(tx.send(2));
    tx.try_send(3).unwrap();
    assert!(poll_rudely(rude.as_mut()).is_pending());
    let polite = Waiting::begun(tx.send(4));
    assert_eq!(rx.try_recv(), Ok(3));
    drop(rude);
    polite.ready().unwrap();
    assert_eq!(rx.try_recv(), Ok(4));
}

#[test]
fn a_waker_may_use_the_channel_when_it_is_woken_or_dropped() {
    /// Uses the channel whenever something happens to it.
    struct Busy(Receiver<u8>);

    impl std::task::Wake for Busy {
        fn wake(self: Arc<Self>) {
            assert!(self.0.len() < 2);
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            assert!(self.0.len() < 2);
        }
    }

    watched("with a waker that comes back", || {
        let (tx, rx) = channel::bounded(1);
        let waker = std::task::Waker::from(Arc::new(Busy(rx.clone())));
        let mut waits = Box::pin(rx.recv());
        let cx = &mut std::task::Context::from_waker(&waker);
        assert!(waits.as_mut().poll(cx).is_pending());
        drop(waker);
        tx.try_send(1).unwrap();
        drop(waits);
        assert_eq!(rx.try_recv(), Ok(1));
    });
}

#[test]
fn an_item_may_use_the_channel_when_it_is_dropped() {
    /// Uses the channel in its destructor.
    struct Busy(Option<Sender<Busy>>);

    impl Drop for Busy {
        fn drop(&mut self) {
            if let Some(tx) = &self.0 {
                assert!(tx.try_send(Busy(None)).is_err());
            }
        }
    }

    watched("with an item that comes back", || {
        let (tx, rx) = channel::bounded(2);
        tx.try_send(Busy(Some(tx.clone()))).ok().unwrap();
        tx.try_send(Busy(Some(tx.clone()))).ok().unwrap();
        drop(rx);
        assert_eq!(tx.sender_count(), 1);
    });
}

#[test]
fn dropping_a_send_or_receive_after_any_poll_loses_and_doubles_nothing() {
    for capacity in [0, 1, 2] {
        for (sends, receives) in [(0, 1), (1, 0), (1, 1), (2, 1), (1, 2), (2, 3), (3, 2)] {
            everywhere(|| async move {
                let (tx, rx) = match capacity {
                    0 => channel::rendezvous(),
                    _ => channel::bounded(capacity),
                };
                let (sent, received) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let (sent, received) = (&sent, &received);
                group(async |g| {
                    for polls in [sends, usize::MAX, sends, usize::MAX] {
                        let tx = tx.clone();
                        g.spawn_local(async move {
                            let done = dropped_after(polls, tx.send(1)).await;
                            sent.fetch_add(usize::from(done.is_some()), Ordering::SeqCst);
                            Ok(())
                        });
                    }
                    for polls in [receives, receives, usize::MAX, usize::MAX] {
                        let rx = rx.clone();
                        g.spawn_local(async move {
                            // Who is not dropped receives until the end.
                            while let Some(Ok(1)) = dropped_after(polls, rx.recv()).await {
                                received.fetch_add(1, Ordering::SeqCst);
                                if polls < usize::MAX {
                                    break;
                                }
                            }
                            Ok(())
                        });
                    }
                    drop(tx);
                    Ok(())
                })
                .await
                .unwrap();
                let left = rx.len();
                assert_eq!(
                    sent.load(Ordering::SeqCst),
                    received.load(Ordering::SeqCst) + left,
                    "capacity {capacity}, {sends} and {receives} polls"
                );
            });
        }
    }
}

/// Case 169.
#[test]
fn senders_receivers_and_a_discard_on_threads_lose_and_double_nothing() {
    watched("with threads", || {
        let rounds = AtomicUsize::new(0);
        stress(1, |_| {
            let round = rounds.fetch_add(1, Ordering::Relaxed);
            let census = Census::default();
            let disposed = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&disposed);
            let options = channel::Options::new().on_undelivered(move |item: Counted| {
                counter.fetch_add(1, Ordering::SeqCst);
                drop(item);
            });
            let (tx, rx) = match round % 3 {
                0 => options.rendezvous(),
                1 => options.bounded(1),
                _ => options.bounded(8),
            };
            let (received, returned) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                for number in 0..3 {
                    let (tx, census, returned) = (tx.clone(), &census, &returned);
                    scope.spawn(move || {
                        let mut dice = Dice::new(round * 8 + number);
                        for _ in 0..20 {
                            let polls = [1, 2, usize::MAX, usize::MAX][dice.roll(4)];
                            let send = dropped_after(polls, tx.send(census.enter()));
                            if let Some(Err(refused)) = block_on(send) {
                                returned.fetch_add(1, Ordering::SeqCst);
                                drop(refused.into_item());
                            }
                        }
                    });
                }
                for number in 4..6 {
                    let (rx, received) = (rx.clone(), &received);
                    scope.spawn(move || {
                        let mut dice = Dice::new(round * 8 + number);
                        for step in 0.. {
                            let polls = [1, 2, usize::MAX][dice.roll(3)];
                            match block_on(dropped_after(polls, rx.recv())) {
                                Some(Ok(_item)) => received.fetch_add(1, Ordering::SeqCst),
                                Some(Err(_closed)) => break,
                                None => 0,
                            };
                            if step == 25 && round % 2 == 0 {
                                rx.discard();
                            }
                        }
                    });
                }
                drop((tx, rx));
            });
            assert_eq!(census.alive(), 0);
            let accounted = [&received, &returned, &disposed].map(|n| n.load(Ordering::SeqCst));
            assert_eq!(
                accounted.iter().sum::<usize>(),
                census.entered(),
                "{accounted:?}"
            );
            true
        });
    });
}

#[test]
fn every_item_from_many_threads_arrives_once_and_in_order() {
    watched("with threads", || {
        for make in [
            || channel::bounded(1),
            || channel::bounded(16),
            channel::rendezvous,
        ] {
            let (tx, rx) = make();
            thread::scope(|scope| {
                for sender in 0..4 {
                    let tx = tx.clone();
                    scope.spawn(move || {
                        for number in 0..500 {
                            block_on(tx.send((sender, number))).expect("somebody receives");
                        }
                    });
                }
                drop(tx);
                let (results, all) = mpsc::channel();
                for _ in 0..2 {
                    let (rx, results) = (rx.clone(), results.clone());
                    scope.spawn(move || {
                        let mut last = [-1; 4];
                        while let Ok((sender, number)) = block_on(rx.recv()) {
                            let last: &mut i32 = &mut last[sender];
                            assert!(*last < number, "each receiver sees each sender in order");
                            *last = number;
                            results.send((sender, number)).expect("they are collected");
                        }
                    });
                }
                drop(results);
                let mut all: Vec<_> = all.iter().collect();
                all.sort_unstable();
                all.dedup();
                assert_eq!(all.len(), 4 * 500);
            });
        }
    });
}

#[test]
fn a_bounded_channel_of_nothing_is_refused() {
    assert_eq!(
        panic_of(|| channel::bounded::<u8>(0)),
        "a bounded channel needs a capacity of at least 1; a channel that holds nothing is made \
         by `rendezvous`"
    );
    // A capacity is a limit, and nothing that is set aside.
    assert_eq!(
        channel::bounded::<u8>(usize::MAX).0.capacity(),
        Some(usize::MAX)
    );
}

#[test]
fn errors_say_what_happened_and_what_to_do() {
    let closed = "the channel is closed; the item was not sent and is in this error";
    let (tx, rx) = channel::bounded(1);
    tx.try_send(1).unwrap();
    let full = tx.try_send(2).unwrap_err();
    assert_eq!(
        full.to_string(),
        "the channel is full; the item was not sent and is in this error"
    );
    assert_eq!(format!("{full:?}"), "Full(..)");
    assert_eq!(
        tx.try_reserve().unwrap_err().to_string(),
        "the channel is full; wait with `reserve`, or try again later"
    );
    rx.try_recv().unwrap();
    assert_eq!(
        rx.try_recv().unwrap_err().to_string(),
        "the channel is empty; wait with `recv`, or try again later"
    );
    drop(rx);
    assert_eq!(tx.try_send(2).unwrap_err().to_string(), closed);
    let refused = now(tx.send(2)).unwrap_err();
    assert_eq!(
        (refused.to_string(), format!("{refused:?}")),
        (closed.into(), "SendError { .. }".into())
    );
    assert_eq!(
        now(tx.reserve()).unwrap_err().to_string(),
        "the channel is closed; nothing can be sent any more"
    );
    assert_eq!(
        tx.try_reserve().unwrap_err().to_string(),
        "the channel is closed; nothing can be sent any more"
    );
    assert_eq!(
        RecvError::Closed.to_string(),
        "the channel is closed, and everything has been received"
    );
    assert_eq!(
        TryRecvError::Broken.to_string(),
        "the channel is broken: a sender was dropped by a panic, and what it would have sent is \
         missing"
    );
}

#[test]
fn both_ends_and_their_futures_can_be_sent_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    fn is_sync<T: Sync>(value: T) -> T {
        value
    }
    // An item that is `Send` and no more than that.
    type Item = std::cell::Cell<u8>;
    let (tx, rx) = is_sync(is_send(channel::bounded::<Item>(2)));
    drop(is_send(tx.send(Item::new(1))));
    drop(is_send(tx.reserve()));
    drop(is_send(tx.try_reserve()));
    drop(is_send(tx.reserve_owned()));
    drop(is_send(tx.try_reserve_owned()));
    drop(is_send(tx.closed()));
    drop(is_send(rx.recv()));
}
