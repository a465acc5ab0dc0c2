//! Mutexes, read-write locks and once cells: strict turns, and no lock is lost with a waiter.

mod common;
mod waiting;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use common::{everywhere, let_others_run, watched};
use futures_lite::future::{block_on, yield_now, zip};
use headcount::{
    CancelScope, FailureKind, group, run,
    sync::{Mutex, OnceCell, RwLock},
};
use waiting::{Dice, Waiting, dropped_after, now, panic_of, stress};

#[test]
fn one_at_a_time() {
    everywhere(|| async {
        let count = Arc::new(Mutex::new(0));
        group(async |g| {
            for _ in 0..20 {
                let count = Arc::clone(&count);
                g.spawn(async move {
                    let mut count = count.lock().await;
                    let before = *count;
                    let_others_run().await;
                    *count = before + 1;
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(*count.lock().await, 20);
    });
}

/// Case 178. Case 123.
#[test]
fn a_lock_granted_to_a_dropped_waiter_goes_to_the_next() {
    let lock = Mutex::new(());
    let held = now(lock.lock());
    let first = Waiting::begun(lock.lock());
    let second = Waiting::begun(lock.lock());
    drop(held);
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(first);
    assert_eq!(second.wakes(), 1);
    drop(second.ready());
    assert!(lock.try_lock().is_some());
}

/// Case 179.
#[test]
fn a_drop_and_an_unlock_in_one_step_let_exactly_one_in() {
    let lock = Mutex::new(());
    let held = now(lock.lock());
    let first = Waiting::begun(lock.lock());
    let second = Waiting::begun(lock.lock());
    let third = Waiting::begun(lock.lock());
    drop((first, held));
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    let guard = second.ready();
    assert!(lock.try_lock().is_none());
    drop(guard);
    assert_eq!(third.wakes(), 1);
}

/// Case 181.
#[test]
fn a_newcomer_does_not_get_ahead_of_a_woken_waiter() {
    let lock = Mutex::new(());
    let held = now(lock.lock());
    let first = Waiting::begun(lock.lock());
    drop(held);
    assert!(lock.try_lock().is_none());
    let mut newcomer = Waiting::begun(lock.lock());
    drop(first.ready());
    assert!(newcomer.poll().is_ready());
}

/// Case 182.
#[test]
fn tasks_that_lock_again_and_again_take_strict_turns() {
    everywhere(|| async {
        let lock = Arc::new(Mutex::new(Vec::new()));
        group(async |g| {
            for name in ["a", "b", "c"] {
                let lock = Arc::clone(&lock);
                g.spawn_local(async move {
                    for _ in 0..4 {
                        let mut log = lock.lock().await;
                        log.push(name);
                        let_others_run().await;
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        let log = lock.lock().await;
        assert_eq!(log.len(), 12);
        for turn in log.windows(4) {
            assert_eq!(turn[0], turn[3], "{log:?}");
        }
    });
}

/// Case 185. A guard that is dropped unlocks, whatever its holder died of.
#[test]
fn a_holder_that_panics_or_is_cancelled_unlocks() {
    everywhere(|| async {
        let lock = Mutex::new(1);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cut = scope.run(async {
            let mut guard = lock.lock().await;
            *guard = 2;
            handle.cancel();
            std::future::pending::<()>().await;
        });
        assert!(cut.await.is_err());
        assert_eq!(*lock.lock().await, 2);

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = lock.try_lock().expect("it is free");
            *guard = 3;
            panic!("while holding the lock");
        }));
        assert!(panicked.is_err());
        assert_eq!(*lock.lock().await, 3);
    });
}

#[test]
fn nothing_is_locked_in_a_cancelled_scope() {
    everywhere(|| async {
        let (lock, rw_lock, cell) = (Mutex::new(()), RwLock::new(()), OnceCell::new());
        let scope = || {
            let scope = CancelScope::new();
            scope.handle().cancel();
            scope
        };
        assert!(
            scope()
                .run(async { drop(lock.lock().await) })
                .await
                .is_err()
        );
        assert!(
            scope()
                .run(async { drop(rw_lock.read().await) })
                .await
                .is_err()
        );
        assert!(
            scope()
                .run(async { drop(rw_lock.write().await) })
                .await
                .is_err()
        );
        assert!(scope().run(cell.get_or_init(async || 1)).await.is_err());
        assert!(lock.try_lock().is_some() && rw_lock.try_write().is_some());
        assert_eq!(cell.get(), None);
    });
}

/// Case 190.
#[test]
fn exclusion_holds_with_waiters_that_give_up() {
    watched("with threads", || {
        let lock = Mutex::new(0_usize);
        let (inside, entered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        stress(4, |number| {
            let mut dice = Dice::new(number);
            for _ in 0..200 {
                let polls = [1, 2, 3, usize::MAX][dice.roll(4)];
                if let Some(mut guard) = block_on(dropped_after(polls, lock.lock())) {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    *guard += 1;
                    entered.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            }
            true
        });
        assert_eq!(lock.into_inner(), entered.into_inner());
    });
}

/// Case 190, with tasks that are cancelled and started again.
#[test]
fn everyone_makes_progress_while_tasks_are_cancelled() {
    everywhere(|| async {
        let lock = Arc::new(Mutex::new(0));
        group(async |g| {
            for _ in 0..4 {
                let lock = Arc::clone(&lock);
                g.spawn(async move {
                    for round in 0..50 {
                        let scope = CancelScope::new();
                        let handle = scope.handle();
                        let work = async {
                            let mut guard = lock.lock().await;
                            *guard += 1;
                            yield_now().await;
                        };
                        let cut = async {
                            for _ in 0..round % 4 {
                                yield_now().await;
                            }
                            handle.cancel();
                        };
                        zip(scope.run(work), cut).await.0.ok();
                    }
                    *lock.lock().await += 1;
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        assert!(*lock.lock().await >= 4);
    });
}

#[test]
fn dropping_a_lock_after_any_poll_locks_nobody_out() {
    for polls in 0..6 {
        everywhere(|| async move {
            let lock = Arc::new(RwLock::new(0));
            group(async |g| {
                for polls in [polls, usize::MAX, polls, usize::MAX] {
                    let lock = Arc::clone(&lock);
                    g.spawn(async move {
                        let writer = dropped_after(polls, lock.write()).await;
                        let_others_run().await;
                        drop(writer);
                        let reader = dropped_after(polls, lock.read()).await;
                        let_others_run().await;
                        drop(reader);
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
            .unwrap();
            assert!(lock.try_write().is_some());
        });
    }
}

#[test]
fn a_task_that_waits_for_its_own_lock_is_told() {
    let failed = run(group(async |g| {
        let lock = Arc::new(Mutex::new(()));
        g.spawn(async move {
            let _guard = lock.lock().await;
            yield_now().await;
            drop(lock.lock().await);
            Ok(())
        });
        Ok(())
    }))
    .unwrap_err();
    let FailureKind::Panic(panic) = failed.first().unwrap().kind() else {
        panic!("it did not panic");
    };
    assert_eq!(
        panic.message(),
        Some(
            "this task waits for a lock that it holds already, and would wait for ever; drop the \
             first guard before, or pass it on (if it drives several futures that take turns with \
             the lock, by `zip` or `join!`, make the lock with `Mutex::within_task`)"
        )
    );
}

#[test]
fn tasks_that_wait_for_each_other_are_not_taken_for_one() {
    everywhere(|| async {
        let lock = Mutex::new(());
        // In the body and a borrowing child of a group, and in futures with wakers of their own.
        group(async |g| {
            let guard = lock.lock().await;
            let other = g.spawn_local(async {
                drop(lock.lock().await);
                Ok(())
            });
            let_others_run().await;
            drop(guard);
            other.await?;
            Ok(())
        })
        .await
        .unwrap();
        let mut turns = futures::stream::FuturesUnordered::new();
        for _ in 0..3 {
            turns.push(async {
                let _guard = lock.lock().await;
                let_others_run().await;
            });
        }
        while let Some(()) = futures_lite::StreamExt::next(&mut turns).await {}
        // In futures that say so.
        let lock = Mutex::within_task(());
        let turn = || async {
            let _guard = lock.lock().await;
            let_others_run().await;
        };
        zip(turn(), turn()).await;
    });
}

#[test]
fn readers_share_and_writers_do_not() {
    let lock = RwLock::new(7);
    let readers = (now(lock.read()), now(lock.read()));
    assert_eq!(*readers.0 + *readers.1, 14);
    let mut writer = Waiting::begun(lock.write());
    drop(readers.0);
    writer.assert_waits();
    drop(readers.1);
    let mut guard = writer.ready();
    *guard = 8;
    assert!(lock.try_read().is_none());
    let readers = (Waiting::begun(lock.read()), Waiting::begun(lock.read()));
    drop(guard);
    assert_eq!((*readers.0.ready(), *readers.1.ready()), (8, 8));
}

#[test]
fn a_reader_does_not_get_ahead_of_a_writer_that_waits() {
    let lock = RwLock::new(());
    let reader = now(lock.read());
    let writer = Waiting::begun(lock.write());
    assert!(lock.try_read().is_none());
    let late = Waiting::begun(lock.read());
    drop(reader);
    assert_eq!((writer.wakes(), late.wakes()), (1, 0));
    // And if the writer leaves, the readers behind it go on.
    drop(writer);
    assert_eq!(late.wakes(), 1);
    drop(late.ready());
}

#[test]
fn a_value_is_made_once() {
    everywhere(|| async {
        let cell = Arc::new(OnceCell::new());
        let made = Arc::new(AtomicUsize::new(0));
        group(async |g| {
            for _ in 0..10 {
                let (cell, made) = (Arc::clone(&cell), Arc::clone(&made));
                g.spawn(async move {
                    let value = cell.get_or_init(async || {
                        let_others_run().await;
                        made.fetch_add(1, Ordering::SeqCst)
                    });
                    assert_eq!(value.await, &0);
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(made.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn the_next_in_line_makes_a_value_that_was_not_made() {
    let cell = OnceCell::new();
    let never = || std::future::pending::<u8>();
    let first = Waiting::begun(cell.get_or_init(never));
    let mut second = Waiting::begun(cell.get_or_try_init(async || Err::<u8, _>("failed")));
    let mut third = Waiting::begun(cell.get_or_init(async || panic!("it panics")));
    let fourth = Waiting::begun(cell.get_or_init(async || 4));
    let mut fifth = Waiting::begun(cell.get_or_init(async || 5));
    drop(first);
    assert_eq!(second.poll(), Poll::Ready(Err("failed")));
    assert_eq!(panic_of(|| third.poll()), "it panics");
    drop(third);
    assert_eq!(fourth.ready(), &4);
    assert_eq!(fifth.wakes(), 1);
    assert_eq!(fifth.poll(), Poll::Ready(&4));
    assert_eq!(cell.set(6), Err(6));
}

#[test]
fn a_value_that_is_set_lets_everybody_go_on() {
    let cell = OnceCell::new();
    let slow = Cell::new(true);
    let mut making = Waiting::begun(cell.get_or_init(async || {
        while slow.get() {
            yield_now().await;
        }
        1
    }));
    let waits = (
        Waiting::begun(cell.get_or_init(async || 2)),
        Waiting::begun(cell.get_or_init(async || 3)),
    );
    assert_eq!(cell.set(4), Ok(()));
    assert_eq!((waits.0.wakes(), waits.1.wakes()), (1, 1));
    assert_eq!((waits.0.ready(), waits.1.ready()), (&4, &4));
    slow.set(false);
    assert_eq!(making.poll(), Poll::Ready(&4));
}

#[test]
fn making_a_value_out_of_itself_is_told() {
    let cell: OnceCell<u8> = OnceCell::new();
    let message = panic_of(|| {
        now(cell.get_or_init(async || *Box::pin(cell.get_or_init(async || 1)).await + 1))
    });
    assert_eq!(
        message,
        "the future that makes the value of this cell waits for the value, and would wait for \
         ever; make it without looking into the cell"
    );
    // Two that are driven together are something else.
    assert_eq!(
        block_on(zip(
            cell.get_or_init(async || {
                yield_now().await;
                1
            }),
            cell.get_or_init(async || 2),
        )),
        (&1, &1)
    );
}

#[test]
fn locks_are_shown_without_waiting() {
    let lock = Mutex::new(7);
    assert_eq!(format!("{lock:?}"), "Mutex { value: 7, .. }");
    let guard = now(lock.lock());
    assert_eq!(
        format!("{lock:?} {guard:?} {guard}"),
        "Mutex { value: <locked>, .. } 7 7"
    );
    let lock = RwLock::new(7);
    let guard = now(lock.write());
    assert_eq!(
        format!("{lock:?} {guard:?}"),
        "RwLock { value: <locked>, .. } 7"
    );
}

#[test]
fn locks_and_guards_can_be_sent_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    fn is_sync<T: Sync>(value: T) -> T {
        value
    }
    let lock = is_sync(is_send(Mutex::new(Cell::new(1))));
    drop(is_send(lock.lock()));
    drop(is_send(now(lock.lock())));
    let lock = is_sync(is_send(RwLock::new(1)));
    drop(is_send(lock.read()));
    drop(is_send(now(lock.read())));
    drop(is_send(now(lock.write())));
    let cell = is_sync(is_send(OnceCell::new()));
    drop(is_send(cell.get_or_init(async || 1)));
}
