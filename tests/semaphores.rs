//! Semaphores and limiters: first come, first served, and no permit is lost.

mod common;
mod waiting;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{Gate, Log, everywhere, let_others_run, watched};
use futures_lite::future::{block_on, zip};
use headcount::{
    CancelScope, group, shield,
    sync::{Limiter, Semaphore},
};
use waiting::{Dice, Waiting, dropped_after, now, panic_of, poll_rudely, stress};

#[test]
fn never_more_inside_than_permits() {
    everywhere(|| async {
        let semaphore = Arc::new(Semaphore::new(3));
        let inside = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        group(async |g| {
            for _ in 0..20 {
                let (semaphore, inside, most) = (
                    Arc::clone(&semaphore),
                    Arc::clone(&inside),
                    Arc::clone(&most),
                );
                g.spawn(async move {
                    let _permit = semaphore.acquire().await;
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let_others_run().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(semaphore.available(), 3);
    });
}

#[test]
fn permits_go_to_those_who_waited_longest() {
    let semaphore = Semaphore::new(1);
    let held = now(semaphore.acquire());
    let mut first = Waiting::begun(semaphore.acquire());
    let mut second = Waiting::begun(semaphore.acquire());
    drop(held);
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    second.assert_waits();
    let held = first.poll();
    assert!(held.is_ready());
    drop(held);
    assert_eq!(second.wakes(), 1);
    assert_eq!(second.ready().permits(), 1);
}

/// Case 123. Case 178.
#[test]
fn a_permit_granted_to_a_dropped_waiter_goes_to_the_next() {
    let semaphore = Semaphore::new(1);
    let held = now(semaphore.acquire());
    let first = Waiting::begun(semaphore.acquire());
    let second = Waiting::begun(semaphore.acquire());
    drop(held);
    assert_eq!(first.wakes(), 1);
    drop(first);
    assert_eq!(second.wakes(), 1);
    drop(second.ready());
    assert_eq!(semaphore.available(), 1);
}

/// Case 123, with a waiter that is cancelled instead of dropped by hand.
#[test]
fn a_permit_granted_to_a_cancelled_waiter_goes_to_the_next() {
    everywhere(|| async {
        let semaphore = Arc::new(Semaphore::new(1));
        let held = semaphore.acquire_arc().await;
        group(async |g| {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let log = Log::default();
            let (queued, entry, to_log) = (Gate::default(), Arc::clone(&semaphore), log.clone());
            let is_queued = queued.clone();
            let cut = g.spawn(async move {
                let waits = async {
                    is_queued.open();
                    entry.acquire().await.permits()
                };
                Ok(scope.run(waits).await.is_err())
            });
            queued.wait().await;
            let_others_run().await;
            let entry = Arc::clone(&semaphore);
            let next = g.spawn(async move {
                let _permit = entry.acquire().await;
                to_log.say("next");
                Ok(())
            });
            let_others_run().await;
            // Whether it was granted first or cancelled first, it does not get in.
            handle.cancel();
            drop(held);
            assert!(cut.await?);
            next.await?;
            assert_eq!(log.entries(), ["next"]);
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(semaphore.available(), 1);
    });
}

/// A future that stays alive in a cancelled scope, because of a shield beside it, does not keep what
/// it was granted.
#[test]
fn a_waiter_held_up_by_a_shield_lets_its_permit_go() {
    everywhere(|| async {
        let semaphore = Semaphore::new(1);
        let held = semaphore.acquire().await;
        let scope = CancelScope::new();
        let handle = scope.handle();
        let gate = Gate::default();
        let waits = scope.run(zip(semaphore.acquire(), shield(gate.wait())));
        let other = async {
            let_others_run().await;
            drop(held);
            handle.cancel();
            drop(semaphore.acquire().await);
            gate.open();
        };
        let (waited, ()) = zip(waits, other).await;
        assert!(waited.is_err());
    });
}

#[test]
fn nothing_is_acquired_in_a_cancelled_scope() {
    everywhere(|| async {
        let semaphore = Semaphore::new(1);
        let scope = CancelScope::new();
        scope.handle().cancel();
        let cut = scope.run(async { drop(semaphore.acquire().await) }).await;
        assert!(cut.is_err());
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn a_future_that_leaves_a_cancelled_scope_starts_again() {
    everywhere(|| async {
        let semaphore = Semaphore::new(1);
        let mut acquired = pin!(semaphore.acquire());
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert!(scope.run(acquired.as_mut()).await.is_err());
        assert_eq!(acquired.await.permits(), 1);
    });
}

/// Case 179.
#[test]
fn a_drop_and_a_release_in_one_step_let_exactly_one_in() {
    let semaphore = Semaphore::new(1);
    let held = now(semaphore.acquire());
    let first = Waiting::begun(semaphore.acquire());
    let second = Waiting::begun(semaphore.acquire());
    let mut third = Waiting::begun(semaphore.acquire());
    drop(first);
    drop(held);
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    let second = second.ready();
    third.assert_waits();
    drop(second);
    assert_eq!(third.wakes(), 1);
}

/// Case 181.
#[test]
fn a_newcomer_does_not_get_ahead_of_a_woken_waiter() {
    let semaphore = Semaphore::new(1);
    let held = now(semaphore.acquire());
    let first = Waiting::begun(semaphore.acquire());
    drop(held);
    assert!(semaphore.try_acquire().is_none());
    assert_eq!(semaphore.available(), 0);
    let mut newcomer = Waiting::begun(semaphore.acquire());
    drop(first.ready());
    assert!(newcomer.poll().is_ready());
}

/// Case 182.
#[test]
fn tasks_that_acquire_again_and_again_take_strict_turns() {
    everywhere(|| async {
        let semaphore = Arc::new(Semaphore::new(1));
        let log = Log::default();
        let held = semaphore.acquire_arc().await;
        group(async |g| {
            for name in ["a", "b", "c"] {
                let (semaphore, log) = (Arc::clone(&semaphore), log.clone());
                g.spawn_local(async move {
                    for _ in 0..4 {
                        let _permit = semaphore.acquire().await;
                        log.say(name);
                        let_others_run().await;
                    }
                    Ok(())
                });
            }
            while semaphore.waiting() < 3 {
                let_others_run().await;
            }
            drop(held);
            Ok(())
        })
        .await
        .unwrap();
        let entries = log.entries();
        assert_eq!(entries.len(), 12);
        for turn in entries.windows(4) {
            assert_eq!(turn[0], turn[3], "{entries:?}");
        }
    });
}

/// Case 184.
#[test]
fn a_dropped_waiter_leaves_no_entry_behind() {
    let limiter = Limiter::new(1);
    let _held = now(limiter.acquire());
    for _ in 0..100 {
        let waiting = Waiting::begun(limiter.acquire());
        assert_eq!(limiter.waiting(), 1);
        drop(waiting);
        assert_eq!(limiter.waiting(), 0);
    }
}

#[test]
fn a_large_request_is_not_overtaken_by_small_ones() {
    let semaphore = Semaphore::new(3);
    let one = now(semaphore.acquire());
    let mut all = Waiting::begun(semaphore.acquire_many(3));
    let mut small = Waiting::begun(semaphore.acquire());
    assert!(semaphore.try_acquire().is_none());
    small.assert_waits();
    drop(one);
    let Some(all) = Some(all.poll()).filter(|polled| polled.is_ready()) else {
        panic!("it has waited longest")
    };
    small.assert_waits();
    drop(all);
    assert!(small.poll().is_ready());
}

#[test]
fn those_behind_a_large_request_go_on_when_it_leaves() {
    let semaphore = Semaphore::new(3);
    let _one = now(semaphore.acquire());
    let large = Waiting::begun(semaphore.acquire_many(3));
    let small = Waiting::begun(semaphore.acquire());
    let other = Waiting::begun(semaphore.acquire());
    drop(large);
    assert_eq!((small.wakes(), other.wakes()), (1, 1));
    assert_eq!(small.ready().permits() + other.ready().permits(), 2);
}

#[test]
fn added_permits_go_to_those_who_wait() {
    let semaphore = Semaphore::new(1);
    let _held = now(semaphore.acquire());
    let first = Waiting::begun(semaphore.acquire());
    let second = Waiting::begun(semaphore.acquire());
    semaphore.add_permits(1);
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    semaphore.add_permits(3);
    assert_eq!(semaphore.available(), 2);
    assert_eq!(second.ready().permits(), 1);
    drop(first);
}

#[test]
fn a_raised_limit_lets_in_those_who_wait() {
    let limiter = Limiter::new(2);
    let _both = now(limiter.acquire_weight(2));
    let first = Waiting::begun(limiter.acquire_weight(2));
    let mut second = Waiting::begun(limiter.acquire());
    limiter.set_limit(4);
    let first = first.ready();
    second.assert_waits();
    assert_eq!((first.weight(), limiter.in_use()), (2, 4));
}

#[test]
fn a_limit_lowered_below_what_is_in_use_takes_nothing_away() {
    let limiter = Limiter::new(3);
    let mut permits = vec![
        now(limiter.acquire()),
        now(limiter.acquire()),
        now(limiter.acquire()),
    ];
    let mut waits = Waiting::begun(limiter.acquire());
    limiter.set_limit(1);
    assert_eq!((limiter.in_use(), limiter.available()), (3, 0));
    for _ in 0..2 {
        permits.pop();
        waits.assert_waits();
        assert!(limiter.try_acquire().is_none());
    }
    permits.pop();
    assert_eq!(waits.ready().weight(), 1);
}

#[test]
fn a_weight_above_a_lowered_limit_gets_in_alone() {
    let limiter = Limiter::new(5);
    let one = now(limiter.acquire());
    let heavy = Waiting::begun(limiter.acquire_weight(5));
    let mut light = Waiting::begun(limiter.acquire());
    limiter.set_limit(2);
    assert_eq!(heavy.wakes(), 0);
    drop(one);
    let heavy = heavy.ready();
    assert_eq!(limiter.in_use(), 5);
    light.assert_waits();
    drop(heavy);
    assert!(light.poll().is_ready());
}

#[test]
fn a_permit_given_back_by_a_panic_is_not_lost() {
    let semaphore = Semaphore::new(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _permit = semaphore.try_acquire().unwrap();
        panic!("while holding a permit");
    }));
    assert!(panicked.is_err());
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn a_waker_that_panics_does_not_take_the_permit_along() {
    let semaphore = Semaphore::new(2);
    let both = now(semaphore.acquire_many(2));
    let mut rude = Box::pin(semaphore.acquire());
    assert!(poll_rudely(rude.as_mut()).is_pending());
    let polite = Waiting::begun(semaphore.acquire());
    drop(both);
    assert_eq!(polite.wakes(), 1);
    drop(rude);
    drop(polite);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn dropping_an_acquire_after_any_poll_loses_no_permit() {
    for polls in 0..6 {
        everywhere(|| async move {
            let semaphore = Arc::new(Semaphore::new(1));
            group(async |g| {
                for polls in [polls, usize::MAX, polls, usize::MAX] {
                    let semaphore = Arc::clone(&semaphore);
                    g.spawn(async move {
                        let permit = dropped_after(polls, semaphore.acquire()).await;
                        let_others_run().await;
                        drop(permit);
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
            .unwrap();
            assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
        });
    }
}

#[test]
fn threads_that_acquire_and_give_up_lose_no_permit() {
    watched("with threads", || {
        let limiter = Limiter::new(5);
        let inside = AtomicUsize::new(0);
        stress(4, |number| {
            let mut dice = Dice::new(number);
            for _ in 0..200 {
                let weight = dice.roll(3) + 1;
                let polls = [1, 2, usize::MAX][dice.roll(3)];
                let permit = block_on(dropped_after(polls, limiter.acquire_weight(weight)));
                if let Some(permit) = permit {
                    assert!(inside.fetch_add(weight, Ordering::SeqCst) + weight <= 5);
                    std::thread::yield_now();
                    inside.fetch_sub(weight, Ordering::SeqCst);
                    drop(permit);
                }
            }
            true
        });
        assert_eq!((limiter.in_use(), limiter.waiting()), (0, 0));
    });
}

#[test]
fn what_cannot_be_granted_is_refused_at_once() {
    assert_eq!(
        panic_of(|| Semaphore::new(0)),
        "a semaphore needs at least 1 permit, or nobody ever gets in; to hold tasks back until \
         something has happened, use an `Event`"
    );
    let semaphore = Semaphore::new(2);
    assert_eq!(
        panic_of(|| drop(semaphore.acquire_many(0))),
        "0 permits let nobody in; acquire at least 1, or none at all"
    );
    assert_eq!(
        panic_of(|| drop(semaphore.acquire_many(3))),
        "3 permits were asked for, and this semaphore has 2: the wait would never end; ask for \
         less, or add permits first"
    );
    assert!(panic_of(|| drop(semaphore.try_acquire_many(usize::MAX))).contains("has 2"));
    assert!(panic_of(|| semaphore.add_permits(usize::MAX)).contains("too many"));
    assert_eq!(semaphore.available(), 2);

    assert_eq!(
        panic_of(|| Limiter::new(0)),
        "a limit of 0 lets nobody in; to hold work back for a while, acquire all of the limit"
    );
    let limiter = Limiter::new(2);
    assert!(panic_of(|| limiter.set_limit(0)).starts_with("a limit of 0"));
    assert!(panic_of(|| drop(limiter.acquire_weight(0))).starts_with("a weight of 0"));
    assert_eq!(
        panic_of(|| drop(limiter.acquire_weight(3))),
        "a weight of 3 does not fit under a limit of 2; split the work, or raise the limit first"
    );
    assert!(panic_of(|| drop(limiter.try_acquire_weight(3))).contains("does not fit"));
}

#[test]
fn several_permits_that_are_owned_are_had_at_once_and_in_turn() {
    let semaphore = Arc::new(Semaphore::new(3));
    let one = semaphore.try_acquire_arc().unwrap();
    let mut three = Waiting::begun(semaphore.acquire_many_arc(3));
    // Two are free, and spoken for.
    assert!(semaphore.try_acquire_many_arc(2).is_none());
    let two = Waiting::begun(semaphore.acquire_many_arc(2));
    drop(one);
    assert_eq!((three.wakes(), two.wakes()), (1, 0));
    // Granted, and dropped before it ran.
    drop(three);
    let held = two.ready();
    assert_eq!((held.permits(), semaphore.available()), (2, 1));
    three = Waiting::begun(semaphore.acquire_many_arc(3));
    drop(held);
    assert_eq!(three.ready().permits(), 3);
    assert_eq!(semaphore.available(), 3);
    assert!(panic_of(|| drop(semaphore.acquire_many_arc(4))).contains("never end"));
    assert!(panic_of(|| drop(semaphore.try_acquire_many_arc(0))).contains("nobody in"));
}

#[test]
fn an_acquire_can_be_sent_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let semaphore = Arc::new(Semaphore::new(1));
    drop(is_send(semaphore.acquire()));
    drop(is_send(semaphore.acquire_arc()));
    drop(is_send(now(semaphore.acquire_arc())));
    drop(is_send(Limiter::new(1).acquire()));
}
