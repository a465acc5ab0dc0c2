//! Races between cancellations, deadlines, shields and ends, on real threads: thousands of rounds,
//! a few seconds in all. What is asserted holds whoever wins.

use std::{
    future::pending,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_lite::future::{block_on, or, yield_now};
use headcount::{
    Aborted, CancelScope, Error, Ready, ScopeHandle, checkpoint, finally, group, now, on_unclaimed,
    shield, sleep, timeout,
};

use crate::common::{
    Census, Gate, Log, in_run, keep_quiet_about_purpose, let_others_run, on_threads, watched,
};

mod common;

const HOUR: Duration = Duration::from_secs(3600);

/// Wastes a time that differs from round to round, too short to be slept.
fn dither(round: u32) {
    for _ in 0..(round * 7) % 600 {
        std::hint::spin_loop();
    }
}

/// Runs many rounds of a scenario, on one thread of its own, while another thread does something to
/// it at about the same time.
fn rounds<T: Send + Sync>(
    count: u32,
    prepare: impl Fn() -> T,
    here: impl Fn(u32, &T) + Sync,
    there: impl Fn(u32, &T) + Sync,
) {
    let start = Barrier::new(2);
    let slots: Vec<T> = (0..count).map(|_| prepare()).collect();
    watched("racing", || {
        thread::scope(|s| {
            s.spawn(|| {
                for (round, slot) in (0..).zip(&slots) {
                    start.wait();
                    dither(round);
                    there(round, slot);
                }
            });
            for (round, slot) in (0..).zip(&slots) {
                start.wait();
                here(round, slot);
            }
        });
    });
}

/// A scope that is left while another thread cancels it: the value comes out, or the cancellation,
/// and what was inside is dropped once.
#[test]
fn a_scope_ends_as_it_is_cancelled() {
    rounds(
        3000,
        || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            (std::sync::Mutex::new(Some(scope)), handle)
        },
        |round, (scope, handle)| {
            let scope = scope.lock().unwrap().take().unwrap();
            let census = Census::default();
            let outcome = block_on(scope.run(async {
                let value = census.enter();
                for _ in 0..round % 5 {
                    yield_now().await;
                }
                value
            }));
            assert_eq!(census.alive(), usize::from(outcome.is_ok()));
            if outcome.is_err() {
                assert!(handle.is_cancelled());
            }
        },
        |_, (_, handle)| handle.cancel(),
    );
}

/// A scope that waits and is cancelled by another thread is always woken: no cancellation is lost
/// between the look at the flag and the sleep.
#[test]
fn no_cancellation_is_lost() {
    rounds(
        3000,
        || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            (std::sync::Mutex::new(Some(scope)), handle)
        },
        |round, (scope, _)| {
            let scope = scope.lock().unwrap().take().unwrap();
            let outcome = match round % 4 {
                0 => block_on(scope.run(pending::<()>())),
                1 => block_on(scope.run(async { finally(pending::<()>(), yield_now()).await })),
                2 => block_on(scope.run(async {
                    shield(yield_now()).await;
                    sleep(HOUR).await;
                })),
                _ => block_on(scope.run(async {
                    timeout(HOUR, pending::<()>()).await.unwrap();
                })),
            };
            assert!(outcome.is_err());
        },
        |_, (_, handle)| handle.cancel(),
    );
}

/// A shield ends while another thread cancels the scope round it: the shield runs to its end, and
/// the next wait is cut.
#[test]
fn a_shield_ends_as_its_scope_is_cancelled() {
    rounds(
        3000,
        || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            (std::sync::Mutex::new(Some(scope)), handle)
        },
        |round, (scope, _)| {
            let scope = scope.lock().unwrap().take().unwrap();
            let log = Log::default();
            let outcome = block_on(scope.run(async {
                // Once it has begun, the first shield cannot be cut; nor can the second, since
                // there is no wait between them.
                shield(async {
                    for _ in 0..round % 5 {
                        yield_now().await;
                    }
                    log.say("first");
                })
                .await;
                shield(async {
                    yield_now().await;
                    log.say("second");
                })
                .await;
                pending::<()>().await;
            }));
            assert!(outcome.is_err());
            assert_eq!(log.entries(), ["first", "second"]);
        },
        |_, (_, handle)| handle.cancel(),
    );
}

/// Deadlines are moved to and fro by one thread while they pass on another: the scope ends, and only
/// by its deadline.
#[test]
fn a_deadline_is_moved_as_it_passes() {
    rounds(
        1500,
        || {
            let scope = CancelScope::new().timeout(Duration::from_micros(50));
            let handle = scope.handle();
            (std::sync::Mutex::new(Some(scope)), handle)
        },
        |_, (scope, _)| {
            let scope = scope.lock().unwrap().take().unwrap();
            let cancelled = block_on(scope.run(pending::<()>())).unwrap_err();
            assert!(cancelled.is_deadline());
        },
        |round, (_, handle): &(_, ScopeHandle)| {
            handle.set_deadline(Some(now() + HOUR));
            dither(round);
            handle.set_deadline(None);
            dither(round + 50);
            handle.set_deadline(Some(now() + Duration::from_micros(20)));
        },
    );
}

/// An inner and an outer scope are cancelled by two threads at once: if the outer one is cut, the
/// code between them has run at most because the inner cut was complete before.
#[test]
fn an_inner_and_an_outer_scope_race() {
    rounds(
        3000,
        || {
            let (outer, inner) = (CancelScope::new(), CancelScope::new());
            let handles = (outer.handle(), inner.handle());
            (std::sync::Mutex::new(Some((outer, inner))), handles)
        },
        |_, (scopes, (outer_handle, inner_handle))| {
            let (outer, inner) = scopes.lock().unwrap().take().unwrap();
            let log = Log::default();
            let outcome = block_on(outer.run(async {
                inner_handle.cancel();
                let cut = inner.run(pending::<()>()).await;
                log.say("between");
                assert!(cut.is_err());
                // The first wait after it is cut if the outer one is cancelled.
                pending::<()>().await;
                log.say("never");
            }));
            assert!(outcome.is_err() && outer_handle.is_cancelled());
            assert!(!log.has("never"));
        },
        |_, (_, (outer_handle, _))| outer_handle.cancel(),
    );
}

/// A group is cancelled from outside while its children end: everything is counted off once, and no
/// cancellation is taken for a failure.
#[test]
fn children_end_as_their_group_is_cancelled() {
    on_threads(|| async {
        for round in 0..500_u32 {
            let census = Census::default();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let started = Gate::default();
            let canceller = thread::spawn({
                let started = started.clone();
                move || {
                    block_on(started.wait());
                    dither(round);
                    handle.cancel();
                }
            });
            let outcome = scope
                .run(group(async |g| {
                    let tasks: Vec<_> = (0..4)
                        .map(|i| {
                            let value = census.enter();
                            g.spawn(async move {
                                let _value = value;
                                for _ in 0..(i + round) % 6 {
                                    yield_now().await;
                                }
                                finally(yield_now(), yield_now()).await;
                                Ok(())
                            })
                        })
                        .collect();
                    started.open();
                    for task in tasks {
                        task.await?;
                    }
                    Ok(())
                }))
                .await;
            assert_eq!((census.entered(), census.alive()), (4, 0));
            if let Ok(Err(failed)) = outcome {
                panic!("nothing failed, and yet: {failed:#}");
            }
            canceller.join().unwrap();
        }
    });
}

/// The same with a deadline, which children and body notice on different threads.
#[test]
fn children_end_as_their_groups_deadline_passes() {
    on_threads(|| async {
        for round in 0..500_u32 {
            let census = Census::default();
            let limit = Duration::from_micros(u64::from(round % 100));
            let outcome = timeout(
                limit,
                group(async |g| {
                    let tasks: Vec<_> = (0..4)
                        .map(|i| {
                            let value = census.enter();
                            g.spawn(async move {
                                let _value = value;
                                for _ in 0..(i + round) % 6 {
                                    checkpoint().await;
                                }
                                Ok(())
                            })
                        })
                        .collect();
                    for task in tasks {
                        task.await?;
                    }
                    Ok(())
                }),
            )
            .await;
            assert_eq!((census.entered(), census.alive()), (4, 0));
            if let Ok(Err(failed)) = outcome {
                panic!("nothing failed, and yet: {failed:#}");
            }
        }
    });
}

/// A start is cancelled, from further out, as its child reports ready: the child is gone in the end,
/// and no cancellation is taken for a failure.
#[test]
fn a_start_is_cancelled_as_it_gets_ready() {
    on_threads(|| async {
        for round in 0..500_u32 {
            let census = Census::default();
            let limit = Duration::from_micros(u64::from(round % 60));
            let outcome = timeout(
                limit,
                group(async |g| {
                    let value = census.enter();
                    let ready = g.start(|ready: Ready<u32>| async move {
                        let _value = value;
                        for _ in 0..round % 4 {
                            yield_now().await;
                        }
                        ready.send(round);
                        for _ in 0..round % 3 {
                            yield_now().await;
                        }
                        Ok(())
                    });
                    Ok(ready.await?)
                }),
            )
            .await;
            assert_eq!(census.alive(), 0);
            match outcome {
                Ok(Err(failed)) => panic!("nothing failed, and yet: {failed:#}"),
                Ok(Ok(ready)) => assert_eq!(ready, round),
                Err(_) => {}
            }
        }
    });
}

/// A group is dropped by its owner as its children end on other threads: the group around it waits
/// for every one, once.
#[test]
fn children_end_as_their_group_is_dropped() {
    on_threads(|| async {
        for round in 0..500_u32 {
            let census = Census::default();
            let cleaned = Arc::new(AtomicUsize::new(0));
            let entered = Arc::new(AtomicUsize::new(0));
            let outcome = group(async |_outer| {
                let doomed = group(async |g| {
                    for i in 0..4 {
                        let value = census.enter();
                        let (cleaned, entered) = (Arc::clone(&cleaned), Arc::clone(&entered));
                        g.spawn(async move {
                            let _value = value;
                            entered.fetch_add(1, Ordering::SeqCst);
                            finally(
                                async {
                                    for _ in 0..(i + round) % 5 {
                                        yield_now().await;
                                    }
                                },
                                async {
                                    yield_now().await;
                                    cleaned.fetch_add(1, Ordering::SeqCst);
                                },
                            )
                            .await;
                            Ok(())
                        });
                    }
                    pending::<Result<(), Error>>().await
                });
                let mut doomed = Box::pin(doomed);
                for _ in 0..round % 4 {
                    assert!(
                        futures_lite::future::poll_once(doomed.as_mut())
                            .await
                            .is_none()
                    );
                    dither(round);
                }
                drop(doomed);
                Ok(())
            });
            outcome.await.unwrap();
            assert_eq!(census.alive(), 0);
            assert_eq!(
                cleaned.load(Ordering::SeqCst),
                entered.load(Ordering::SeqCst)
            );
        }
    });
}

/// A group is dropped as a task of it panics in its cleanup, on another thread, with nobody further
/// out to report that to: the drop does not panic.
#[test]
fn dropping_a_group_does_not_panic() {
    keep_quiet_about_purpose();
    on_unclaimed(|_failure| ()); // Nobody is there to be told.
    on_threads(|| async {
        for _ in 0..300 {
            let running = Gate::default();
            let mut doomed = Box::pin(group(async |g| {
                let running = running.clone();
                g.spawn(async move {
                    let body = async {
                        running.open();
                        pending::<()>().await;
                    };
                    finally(body, async {
                        let_others_run().await;
                        panic!("on purpose");
                    })
                    .await;
                    Ok(())
                });
                pending::<Result<(), Error>>().await
            }));
            let ended = async {
                doomed.as_mut().await.expect_err("its body never returns");
            };
            or(ended, running.wait()).await;
            let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(doomed)));
            assert!(dropped.is_ok(), "the panic of a task comes out of a drop");
        }
    });
}

/// A task is cancelled through its handle, by its group and by its deadline at once: it is cut once,
/// and cleaned up once.
#[test]
fn cancellations_of_every_kind_at_once_cut_once() {
    in_run(|| async {
        for round in 0..300_u32 {
            let (census, log) = (Census::default(), Log::default());
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = scope
                .run(group(async |g| {
                    let running = Gate::default();
                    let task = g.spawn({
                        let (value, running, log) = (census.enter(), running.clone(), log.clone());
                        async move {
                            let _value = value;
                            let body = async {
                                running.open();
                                pending::<()>().await;
                            };
                            finally(body, async {
                                yield_now().await;
                                log.say("cleaned");
                            })
                            .await;
                            Ok(())
                        }
                    });
                    running.wait().await;
                    let barrier = Arc::new(Barrier::new(3));
                    let (own, above) = (g.scope(), handle.clone());
                    let threads = [
                        thread::spawn({
                            let barrier = Arc::clone(&barrier);
                            move || {
                                barrier.wait();
                                own.cancel();
                            }
                        }),
                        thread::spawn({
                            let barrier = Arc::clone(&barrier);
                            move || {
                                barrier.wait();
                                dither(round);
                                above.set_deadline(Some(now()));
                            }
                        }),
                    ];
                    barrier.wait();
                    task.cancel();
                    for thread in threads {
                        thread.join().expect("cancelling does not panic");
                    }
                    shield(async { assert_eq!(task.await, Err(Aborted::Cancelled)) }).await;
                    pending::<Result<(), Error>>().await
                }))
                .await;
            match outcome {
                Ok(Ok(())) => panic!("the body never returns"),
                Ok(Err(failed)) => assert!(failed.is_empty() && failed.is_cancelled()),
                Err(cancelled) => assert!(cancelled.is_deadline()),
            }
            assert_eq!((census.entered(), census.alive()), (1, 0));
            assert_eq!(log.entries(), ["cleaned"]);
        }
    });
}

/// Scopes of many tasks are cancelled by one of them while they end by themselves: nobody hangs, and
/// those that were not meant are not hit.
#[test]
fn many_scopes_are_cancelled_by_each_other() {
    in_run(|| async {
        let begun = Instant::now();
        for round in 0..50_u32 {
            let outcome = group(async |g| {
                let scopes: Vec<_> = (0..16).map(|_| CancelScope::new()).collect();
                let handles: Arc<Vec<_>> =
                    Arc::new(scopes.iter().map(CancelScope::handle).collect());
                let tasks: Vec<_> = scopes
                    .into_iter()
                    .enumerate()
                    .map(|(i, scope)| {
                        let handles = Arc::clone(&handles);
                        g.spawn(async move {
                            let cut = scope
                                .run(async {
                                    // Even ones cancel their odd neighbour.
                                    if i % 2 == 0 {
                                        handles[i + 1].cancel();
                                        for _ in 0..round % 3 {
                                            checkpoint().await;
                                        }
                                    } else {
                                        pending::<()>().await;
                                    }
                                })
                                .await
                                .is_err();
                            Ok(cut)
                        })
                    })
                    .collect();
                for (i, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await?, i % 2 == 1);
                }
                Ok(())
            });
            outcome.await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    });
}
