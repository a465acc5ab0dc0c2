//! Conditions and events: nobody misses a notification, and none is lost with a waiter.

mod common;
mod waiting;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use common::{Gate, everywhere, let_others_run, watched};
use futures_lite::future::{block_on, zip};
use headcount::{
    CancelScope, finally, group, shield,
    sync::{Condition, Event, Mutex},
};
use waiting::{Dice, Waiting, dropped_after, now};

#[test]
fn a_wait_gives_up_the_lock_and_has_it_again() {
    let (lock, condition) = (Mutex::new(0), Condition::new());
    let mut waits = Waiting::begun(condition.wait(now(lock.lock())));
    *lock.try_lock().unwrap() = 7;
    condition.notify_one();
    assert_eq!(waits.wakes(), 1);
    let held = lock.try_lock().unwrap();
    waits.assert_waits();
    drop(held);
    assert_eq!(waits.wakes(), 2);
    let guard = waits.ready();
    assert_eq!(*guard, 7);
    assert!(lock.try_lock().is_none());
}

#[test]
fn notifications_go_to_those_who_waited_longest() {
    let (lock, condition) = (Mutex::new(()), Condition::new());
    let mut waits: Vec<_> = (0..4)
        .map(|_| Waiting::begun(condition.wait(now(lock.lock()))))
        .collect();
    condition.notify_one();
    assert_eq!(
        waits.iter().map(Waiting::wakes).collect::<Vec<_>>(),
        [1, 0, 0, 0]
    );
    condition.notify_all();
    assert_eq!(
        waits.iter().map(Waiting::wakes).collect::<Vec<_>>(),
        [1, 1, 1, 1]
    );
    for waits in waits.drain(..) {
        drop(waits.ready());
    }
    assert_eq!(condition.waiting(), 0);
}

#[test]
fn a_notification_without_a_waiter_is_not_kept() {
    let (lock, condition) = (Mutex::new(()), Condition::new());
    condition.notify_one();
    condition.notify_all();
    let mut waits = Waiting::begun(condition.wait(now(lock.lock())));
    waits.assert_waits();
}

/// Case 123. In line for the condition, and in line for the lock.
#[test]
fn a_notification_of_a_dropped_waiter_goes_to_the_next() {
    let (lock, condition) = (Mutex::new(()), Condition::new());
    let first = Waiting::begun(condition.wait(now(lock.lock())));
    let mut second = Waiting::begun(condition.wait(now(lock.lock())));
    let third = Waiting::begun(condition.wait(now(lock.lock())));
    condition.notify_one();
    drop(first);
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    let held = lock.try_lock().unwrap();
    second.assert_waits();
    drop(held);
    drop(second);
    assert_eq!(third.wakes(), 1);
    drop(third.ready());
    assert!(lock.try_lock().is_some());
}

#[test]
fn a_waiter_held_up_by_a_shield_lets_its_notification_go() {
    everywhere(|| async {
        let (lock, condition) = (Mutex::new(()), Condition::new());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let gate = Gate::default();
        let wait = async || drop(condition.wait(lock.lock().await).await);
        let held_up = scope.run(zip(wait(), shield(gate.wait())));
        let next = async {
            wait().await;
            gate.open();
        };
        let notifies = async {
            let_others_run().await;
            condition.notify_one();
            handle.cancel();
        };
        assert!(zip(held_up, zip(next, notifies)).await.0.is_err());
    });
}

#[test]
fn what_everybody_was_told_is_not_passed_on() {
    let (lock, condition) = (Mutex::new(()), Condition::new());
    let first = Waiting::begun(condition.wait(now(lock.lock())));
    condition.notify_all();
    let mut late = Waiting::begun(condition.wait(now(lock.lock())));
    drop(first);
    late.assert_waits();
    assert_eq!(late.wakes(), 0);
}

/// Case 188. A wait that is dropped does not lock again; cleanup that needs the lock takes it.
#[test]
fn a_cancelled_wait_leaves_the_lock_free_for_the_cleanup() {
    everywhere(|| async {
        let (lock, condition) = (Mutex::new(0), Condition::new());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let waits = scope.run(finally(
            async {
                let guard = condition.wait(lock.lock().await).await;
                unreachable!("nobody notifies, and {guard} is not locked again");
            },
            async { *lock.lock().await += 1 },
        ));
        let cancels = async {
            while condition.waiting() == 0 {
                let_others_run().await;
            }
            handle.cancel();
        };
        let (cut, ()) = zip(waits, cancels).await;
        assert!(cut.is_err());
        assert_eq!(*lock.lock().await, 1);
        assert_eq!(condition.waiting(), 0);
    });
}

#[test]
fn waiting_until_looks_first_and_after_every_notification() {
    let (lock, condition) = (Mutex::new(0), Condition::new());
    assert_eq!(*now(condition.wait_until(now(lock.lock()), |n| *n == 0)), 0);
    let mut waits = Waiting::begun(condition.wait_until(now(lock.lock()), |n| *n == 2));
    *lock.try_lock().unwrap() = 1;
    condition.notify_one();
    assert_eq!(waits.wakes(), 1);
    waits.assert_waits();
    *lock.try_lock().unwrap() = 2;
    waits.assert_waits();
    condition.notify_one();
    assert_eq!(*waits.ready(), 2);
}

#[test]
fn a_queue_with_a_condition_loses_nothing() {
    watched("with threads", || {
        let queue = Mutex::new((VecDeque::new(), false));
        let changed = Condition::new();
        let received = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in 0..2 {
                let (queue, changed, received) = (&queue, &changed, &received);
                scope.spawn(move || {
                    let mut dice = Dice::new(number);
                    block_on(async {
                        loop {
                            let guard = queue.lock().await;
                            let polls = [1, 2, 3, usize::MAX][dice.roll(4)];
                            let filled = changed
                                .wait_until(guard, |(items, over)| *over || !items.is_empty());
                            // A wait that is given up passes its notification on.
                            let Some(mut guard) = dropped_after(polls, filled).await else {
                                continue;
                            };
                            match guard.0.pop_front() {
                                Some(()) => received.fetch_add(1, Ordering::SeqCst),
                                None => break,
                            };
                        }
                    });
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    block_on(async {
                        for _ in 0..500 {
                            queue.lock().await.0.push_back(());
                            changed.notify_one();
                        }
                    });
                });
            }
            while received.load(Ordering::SeqCst) < 1_000 {
                thread::yield_now();
            }
            block_on(async { queue.lock().await.1 = true });
            changed.notify_all();
        });
        assert_eq!(received.into_inner(), 1_000);
    });
}

/// Case 187.
#[test]
fn an_event_wakes_everybody_but_those_who_left() {
    let event = Event::new();
    let first = Waiting::begun(event.wait());
    let second = Waiting::begun(event.wait());
    let third = Waiting::begun(event.wait());
    drop(second);
    assert!(event.set());
    assert_eq!((first.wakes(), third.wakes()), (1, 1));
    first.ready();
    third.ready();
    now(event.wait());
    assert!(event.is_set() && !event.set());
}

/// Case 124. Whichever came first, a wait in a cancelled scope does not go on.
#[test]
fn a_waiter_that_is_cancelled_with_the_event_is_cut() {
    for cancel_first in [false, true] {
        everywhere(|| async move {
            let event = Event::new();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let (begun, went_on) = (Gate::default(), AtomicBool::new(false));
            group(async |g| {
                let cut = g.spawn_local(async {
                    let waits = scope.run(async {
                        begun.open();
                        event.wait().await;
                        went_on.store(true, Ordering::SeqCst);
                    });
                    Ok(waits.await.is_err())
                });
                begun.wait().await;
                if cancel_first {
                    handle.cancel();
                    event.set();
                } else {
                    event.set();
                    handle.cancel();
                }
                assert!(cut.await?);
                Ok(())
            })
            .await
            .unwrap();
            assert!(!went_on.into_inner());
        });
    }
}

#[test]
fn an_event_is_heard_in_a_shield() {
    everywhere(|| async {
        let event = Arc::new(Event::new());
        let scope = CancelScope::new();
        scope.handle().cancel();
        let heard = AtomicBool::new(false);
        let sets = Arc::clone(&event);
        group(async |g| {
            g.spawn(async move {
                let_others_run().await;
                sets.set();
                Ok(())
            });
            let cut = scope.run(async {
                shield(event.wait()).await;
                heard.store(true, Ordering::SeqCst);
                event.wait().await;
            });
            assert!(cut.await.is_err());
            Ok(())
        })
        .await
        .unwrap();
        assert!(heard.into_inner());
    });
}

#[test]
fn waits_can_be_sent_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (lock, condition, event) = (Mutex::new(1), Condition::new(), Event::new());
    drop(is_send(condition.wait(now(lock.lock()))));
    drop(is_send(condition.wait_until(now(lock.lock()), |_| true)));
    drop(is_send(event.wait()));
}
