//! A cancelled scope stays cancelled: every wait in it is cut, not only the first, and also in code
//! that does nothing but yield.

use std::{
    future::{Future, pending},
    pin::pin,
    time::Duration,
};

use futures_lite::future::{self, yield_now, zip};
use headcount::{
    CancelScope, Error, cancelled, checkpoint, finally, group, interval, is_cancelled, now, shield,
    sleep, sleep_until, timeout, timeout_at,
};

use crate::common::{Gate, Log, OnDrop, everywhere, on_threads, poll_once, until};

mod common;

/// Case 91. In a cancelled scope no wait of this crate ends any more, though the first was survived
/// under a shield; not even one that has nothing to wait for.
#[test]
fn every_later_wait_is_cut() {
    type Wait = fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>;
    let waits: [(&str, Wait); 6] = [
        ("checkpoint", || Box::pin(checkpoint())),
        ("sleep for no time", || Box::pin(sleep(Duration::ZERO))),
        ("sleep until the past", || Box::pin(sleep_until(now()))),
        ("foreign yield", || Box::pin(yield_now())),
        ("wait for ever", || Box::pin(pending())),
        ("tick", || {
            Box::pin(async {
                interval(Duration::from_nanos(1)).tick().await;
            })
        }),
    ];
    everywhere(move || async move {
        for (name, wait) in &waits {
            let log = Log::default();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = scope
                .run(async {
                    shield(async {
                        handle.cancel();
                        checkpoint().await;
                    })
                    .await;
                    shield(checkpoint()).await;
                    wait().await;
                    log.say("never");
                })
                .await;
            assert!(outcome.is_err(), "{name}");
            assert_eq!(log.entries(), [""; 0], "{name}");
        }
    });
}

/// Case 91. A scope entered inside a cancelled one does not get past its first wait either, and
/// reports nothing.
#[test]
fn a_scope_in_a_cancelled_one_is_cut() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.cancel();
                let inner = timeout(Duration::from_secs(3600), async {
                    log.say("first step");
                    yield_now().await;
                    log.say("never");
                });
                log.say(format!("between: {:?}", inner.await.is_err()));
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["first step"]);
    });
}

/// Case 91. A group entered in a cancelled scope gets nowhere, and its tasks are never polled.
#[test]
fn a_group_in_a_cancelled_scope_is_cut() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.cancel();
                let inner = group(async |g| {
                    let (parallel, log2) = (log.clone(), &log);
                    g.spawn(async move {
                        parallel.say("parallel");
                        Ok(())
                    });
                    g.spawn_local(async move {
                        log2.say("local");
                        Ok(())
                    });
                    checkpoint().await;
                    log.say("never");
                    Ok(())
                });
                log.say(format!("between: {:?}", inner.await.is_err()));
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Case 92. A farewell to a peer that does not answer ends at its own time limit; nothing hangs.
#[test]
fn a_farewell_to_a_dead_peer_ends() {
    everywhere(|| async {
        let log = Log::default();
        let late = timeout(
            Duration::ZERO,
            finally(pending::<()>(), async {
                let farewell = timeout(Duration::from_millis(1), pending::<()>()).await;
                log.say(format!("farewell given up: {:?}", farewell.is_err()));
            }),
        )
        .await;
        assert!(late.is_err());
        assert_eq!(log.entries(), ["farewell given up: true"]);
    });
}

/// Case 92. A wait in a destructor's neighbourhood that is not shielded is cut: after a scope was
/// cut, whatever is entered in the cancelled one around it does not hang.
#[test]
fn an_unshielded_cleanup_is_cut() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                // Cleanup by hand, as one would write it without finalizers.
                shield(async { handle.cancel() }).await;
                if is_cancelled() {
                    log.say("cleaning up");
                    pending::<()>().await;
                }
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["cleaning up"]);
    });
}

/// Case 94. A loop that does nothing but yield, in its own way, is cut at its deadline.
#[test]
fn a_loop_that_only_yields_is_cut_at_its_deadline() {
    on_threads(|| async {
        for ours in [true, false] {
            let late = timeout(Duration::from_millis(1), async {
                loop {
                    if ours {
                        checkpoint().await
                    } else {
                        yield_now().await
                    }
                }
            });
            assert!(late.await.is_err());
        }
    });
}

/// Case 94. Also if the deadline is that of a scope further out.
#[test]
fn a_loop_that_only_yields_is_cut_at_a_deadline_further_out() {
    on_threads(|| async {
        let hour = Duration::from_secs(3600);
        let late = timeout(
            Duration::from_millis(1),
            timeout(hour, async {
                CancelScope::new()
                    .run(async {
                        loop {
                            yield_now().await;
                        }
                    })
                    .await
            }),
        );
        assert!(late.await.is_err());
    });
}

/// Yields and does nothing else; for two seconds, so that a test that fails comes to an end.
async fn yields() -> Result<(), Error> {
    let enough = now() + Duration::from_secs(2);
    while now() < enough {
        yield_now().await;
    }
    Ok(())
}

/// Case 94. Also if it is a task, and the deadline that of its group.
#[test]
fn a_task_that_only_yields_is_cut_at_its_groups_deadline() {
    on_threads(|| async {
        for local in [true, false] {
            let stopped = group(async |g| {
                let task = if local {
                    g.spawn_local(yields())
                } else {
                    g.spawn(yields())
                };
                g.scope()
                    .set_deadline(Some(now() + Duration::from_millis(1)));
                Ok(task.await?)
            });
            assert!(stopped.await.unwrap_err().is_cancelled(), "local: {local}");
        }
    });
}

/// Case 94. Also if the deadline is that of a scope round the group.
#[test]
fn a_task_that_only_yields_is_cut_at_a_deadline_further_out() {
    on_threads(|| async {
        let late = timeout(
            Duration::from_millis(1),
            group(async |g| Ok(g.spawn(yields()).await?)),
        );
        assert!(late.await.is_err());
    });
}

/// Case 94. The same for a borrowing task.
#[test]
fn a_borrowing_task_that_only_yields_is_cut_at_a_deadline_further_out() {
    on_threads(|| async {
        let late = timeout(
            Duration::from_millis(1),
            group(async |g| Ok(g.spawn_local(yields()).await?)),
        );
        assert!(late.await.is_err());
    });
}

/// Case 94. A group whose body has returned waits for a task that only yields; the deadline further
/// out ends that too.
#[test]
fn a_join_of_what_only_yields_is_cut_at_a_deadline_further_out() {
    on_threads(|| async {
        for local in [true, false] {
            let ended = Log::default();
            let joined = timeout(
                Duration::from_millis(1),
                group(async |g| {
                    let yields = {
                        let ended = ended.clone();
                        async move {
                            yields().await?;
                            ended.say("ran to its end");
                            Ok(())
                        }
                    };
                    if local {
                        g.spawn_local(yields)
                    } else {
                        g.spawn(yields)
                    };
                    Ok(())
                }),
            );
            drop(joined.await);
            assert_eq!(ended.entries(), [""; 0], "local: {local}");
        }
    });
}

/// Case 94. A loop that is cancelled by hand between two yields does not get a third turn.
#[test]
fn a_loop_that_only_yields_is_cut_when_it_is_cancelled() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let polls = common::Polls::default();
    let mut running = pin!(scope.run(polls.of(async {
        loop {
            yield_now().await;
        }
    })));
    assert!(poll_once(running.as_mut()).is_pending());
    assert!(poll_once(running.as_mut()).is_pending());
    handle.cancel();
    assert!(poll_once(running.as_mut()).is_ready());
    assert_eq!(polls.count(), 2);
}

/// Case 94. Code that computes without waiting can ask, and hears of its deadline too.
#[test]
fn a_computation_hears_of_its_deadline() {
    on_threads(|| async {
        let outcome = timeout_at(now() + Duration::from_millis(1), async {
            while !is_cancelled() {
                std::hint::spin_loop();
            }
            "gave up in time"
        });
        assert_eq!(outcome.await, Ok("gave up in time"));
    });
}

/// Case 94. So can the code of a task.
#[test]
fn a_computing_task_hears_of_the_cancellation() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let (started, heard) = (Gate::default(), Gate::default());
            g.spawn({
                let (started, heard) = (started.clone(), heard.clone());
                async move {
                    started.open();
                    while !is_cancelled() {
                        yield_now().await;
                    }
                    heard.open();
                    Ok(())
                }
            });
            started.wait().await;
            g.cancel();
            shield(async { yield_now().await }).await;
            Ok(())
        });
        // Cut at a yield, or told before it: either way it ends.
        let _ended = outcome.await;
    });
}

/// Case 95. Asked in the course of a cleanup: yes outside of a shield, no inside, yes again after.
#[test]
fn pending_cancellation_is_seen_outside_of_shields_only() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                let ask = |place: &str| log.say(format!("{place}: {}", is_cancelled()));
                let _asks = OnDrop::new(|| ask("destructor"));
                ask("before");
                handle.cancel();
                ask("after");
                finally(async {}, async {
                    ask("cleanup");
                    yield_now().await;
                    ask("cleanup later");
                })
                .await;
                ask("after cleanup");
                pending::<()>().await;
            })
            .await;
        assert!(outcome.is_err());
        assert!(!is_cancelled());
        assert_eq!(
            log.entries(),
            [
                "before: false",
                "after: true",
                "cleanup: false",
                "cleanup later: false",
                "destructor: true"
            ]
        );
    });
}

/// Case 97. A wait that is cut has done nothing: the value of a task that somebody waited for is
/// still there.
#[test]
fn a_wait_for_a_task_that_is_cut_takes_nothing() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let release = Gate::default();
            let mut task = g.spawn({
                let release = release.clone();
                async move {
                    release.wait().await;
                    Ok(7)
                }
            });
            assert!(timeout(Duration::ZERO, &mut task).await.is_err());
            let scope = CancelScope::new();
            let handle = scope.handle();
            let cut = zip(scope.run(&mut task), async { handle.cancel() }).await.0;
            assert!(cut.is_err());
            release.open();
            until(|| task.is_finished()).await;
            assert!(CancelScope::new().run(async {}).await.is_ok());
            Ok(task.await?)
        });
        assert_eq!(outcome.await.unwrap(), 7);
    });
}

/// Case 97. A tick that was waited for in vain is still there.
#[test]
fn a_tick_that_is_cut_is_not_lost() {
    everywhere(|| async {
        let period = Duration::from_millis(2);
        let start = now();
        let mut beat = interval(period);
        assert!(timeout(Duration::ZERO, beat.tick()).await.is_err());
        let first = beat.tick().await;
        assert!(first >= start + period && first <= now());
    });
}

/// A wait that was begun in a cancelled scope, and is taken up again outside of it, ends.
#[test]
fn a_wait_taken_out_of_a_cancelled_scope_ends() {
    everywhere(|| async {
        let mut nap = pin!(sleep(Duration::from_millis(1)));
        assert!(timeout(Duration::ZERO, nap.as_mut()).await.is_err());
        nap.await;

        let mut turn = pin!(checkpoint());
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert!(scope.run(turn.as_mut()).await.is_err());
        turn.await;
    });
}

/// The bell for code that wants to know: it rings when the scope is cancelled, not before, and for
/// scopes out to the nearest shield.
#[test]
fn the_bell_rings_for_those_under_the_scope() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let (heard, deaf) = (Gate::default(), Gate::default());
        let holds = shield(async {
            assert!(future::poll_once(cancelled()).await.is_none());
            let deaf = async {
                cancelled().await;
                deaf.open();
            };
            future::or(deaf, async {
                handle.cancel();
                heard.wait().await;
            })
            .await;
        });
        let listens = async {
            cancelled().await;
            log.say("heard");
            heard.open();
        };
        scope.run(zip(holds, listens)).await.unwrap();
        assert_eq!(log.entries(), ["heard"]);
        assert!(!deaf.is_open());
    });
}

/// The bell rings for a deadline too.
#[test]
fn the_bell_rings_at_a_deadline() {
    everywhere(|| async {
        let heard = Gate::default();
        let rung = timeout(
            Duration::from_millis(1),
            zip(shield(heard.wait()), async {
                cancelled().await;
                heard.open();
            }),
        );
        assert!(rung.await.is_ok());
    });
}

/// Case 91, Law 3. The wait for a task is a wait like any other: in a cancelled scope it is cut, and
/// that the task was cancelled as well is no failure of whoever waited for it.
#[test]
fn a_wait_for_a_cancelled_task_is_cut_too() {
    everywhere(|| async {
        for local in [true, false] {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = scope.run(group(async |g| {
                handle.cancel();
                let work = async { Ok(7) };
                let task = if local {
                    g.spawn_local(work)
                } else {
                    g.spawn(work)
                };
                Ok(task.await?)
            }));
            if let Ok(Err(failed)) = outcome.await {
                panic!("nothing failed, and yet: {failed:#}");
            }

            let stopped = group(async |g| {
                g.cancel();
                let work = async { Ok(7) };
                let task = if local {
                    g.spawn_local(work)
                } else {
                    g.spawn(work)
                };
                Ok(task.await?)
            });
            let stopped = stopped.await.unwrap_err();
            assert!(stopped.is_empty(), "nothing failed, and yet: {stopped:#}");
        }
    });
}
