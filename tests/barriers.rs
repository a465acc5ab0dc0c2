//! Barriers: all go on together, and nobody is counted who has left.

mod common;
mod waiting;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use common::{Gate, everywhere, let_others_run, watched};
use futures_lite::future::{block_on, zip};
use headcount::{CancelScope, group, shield, sync::Barrier};
use waiting::{Waiting, now, panic_of};

#[test]
fn all_go_on_when_the_last_one_arrives() {
    let barrier = Barrier::new(3);
    let first = Waiting::begun(barrier.wait());
    let second = Waiting::begun(barrier.wait());
    assert_eq!(barrier.waiting(), 2);
    assert!(now(barrier.wait()).is_last());
    assert_eq!((first.wakes(), second.wakes()), (1, 1));
    assert!(!first.ready().is_last());
    assert!(!second.ready().is_last());
    assert_eq!(barrier.waiting(), 0);
}

#[test]
fn it_works_again_and_again() {
    everywhere(|| async {
        let barrier = Arc::new(Barrier::new(3));
        let (arrived, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        group(async |g| {
            for _ in 0..3 {
                let (barrier, arrived, last) = (
                    Arc::clone(&barrier),
                    Arc::clone(&arrived),
                    Arc::clone(&last),
                );
                g.spawn(async move {
                    for round in 1..=20 {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        let arrival = barrier.wait().await;
                        assert!(arrived.load(Ordering::SeqCst) >= 3 * round);
                        last.fetch_add(usize::from(arrival.is_last()), Ordering::SeqCst);
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(last.load(Ordering::SeqCst), 20);
    });
}

/// Those of the next round do not count for this one, although the first have not run yet.
#[test]
fn a_late_runner_does_not_count_twice() {
    let barrier = Barrier::new(2);
    let slow = Waiting::begun(barrier.wait());
    assert!(now(barrier.wait()).is_last());
    let mut next = Waiting::begun(barrier.wait());
    assert!(!slow.ready().is_last());
    next.assert_waits();
    assert!(now(barrier.wait()).is_last());
    assert!(!next.ready().is_last());
}

#[test]
fn whoever_is_dropped_has_not_arrived() {
    let barrier = Barrier::new(2);
    let dropped = Waiting::begun(barrier.wait());
    drop(dropped);
    let waits = Waiting::begun(barrier.wait());
    assert_eq!(barrier.waiting(), 1);
    assert!(now(barrier.wait()).is_last());
    waits.ready();
}

/// Case 123. Once all have arrived, they have.
#[test]
fn a_drop_after_the_last_arrival_holds_nobody_back() {
    let barrier = Barrier::new(3);
    let dropped = Waiting::begun(barrier.wait());
    let waits = Waiting::begun(barrier.wait());
    assert!(now(barrier.wait()).is_last());
    drop(dropped);
    waits.ready();
    assert_eq!(barrier.waiting(), 0);
}

#[test]
fn a_cancelled_task_does_not_arrive() {
    everywhere(|| async {
        let barrier = Barrier::new(2);
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert!(scope.run(barrier.wait()).await.is_err());
        assert_eq!(barrier.waiting(), 0);

        let scope = CancelScope::new();
        let handle = scope.handle();
        let (cut, ()) = zip(scope.run(barrier.wait()), async {
            let_others_run().await;
            assert_eq!(barrier.waiting(), 1);
            handle.cancel();
        })
        .await;
        assert!(cut.is_err());
        assert_eq!(barrier.waiting(), 0);
    });
}

#[test]
fn a_waiter_held_up_by_a_shield_has_not_arrived() {
    everywhere(|| async {
        let barrier = Barrier::new(2);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let gate = Gate::default();
        let waits = scope.run(zip(barrier.wait(), shield(gate.wait())));
        let other = async {
            let_others_run().await;
            assert_eq!(barrier.waiting(), 1);
            handle.cancel();
            let_others_run().await;
            assert_eq!(barrier.waiting(), 0);
            gate.open();
        };
        assert!(zip(waits, other).await.0.is_err());
    });
}

#[test]
fn threads_meet() {
    watched("with threads", || {
        let barrier = Barrier::new(4);
        let arrived = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 1..=100 {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        block_on(barrier.wait());
                        assert!(arrived.load(Ordering::SeqCst) >= 4 * round);
                    }
                });
            }
        });
    });
}

#[test]
fn a_barrier_for_nobody_is_refused() {
    assert_eq!(
        panic_of(|| Barrier::new(0)),
        "a barrier needs at least 1 task to wait for; count those that will arrive"
    );
    assert_eq!(Barrier::new(3).size(), 3);
}
