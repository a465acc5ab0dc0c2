//! Finalizers run exactly once, innermost first, shielded, whatever became of the body.

use std::{
    future::pending,
    panic::{self, AssertUnwindSafe},
    pin::pin,
    time::Duration,
};

use futures_lite::future::{yield_now, zip};
use headcount::{
    Aborted, CancelScope, Error, FailureKind, TaskGroup, TimedOut, bracket, checkpoint, deadline,
    finally, group, is_cancelled, now, shield, sleep, timeout,
};

use crate::common::{Census, Gate, Log, OnDrop, everywhere, let_others_run, poll_once, until};

mod common;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Finally,
    Bracket,
    Defer,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Body {
    Returns,
    Panics,
    IsCancelled,
    IsPastItsDeadline,
    WasCancelledBefore,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cleanup {
    AtOnce,
    Waits,
    Panics,
    PanicsLater,
}

/// Law 6. Every kind of finalizer, whatever the body does and when, and whatever the cleanup does:
/// the cleanup runs once, after the body is gone, and each failure is reported once.
#[test]
fn a_cleanup_runs_once_whatever_happens() {
    everywhere(|| async {
        for kind in [Kind::Finally, Kind::Bracket, Kind::Defer] {
            for body in [
                Body::Returns,
                Body::Panics,
                Body::IsCancelled,
                Body::IsPastItsDeadline,
                Body::WasCancelledBefore,
            ] {
                for waits in [false, true] {
                    for cleanup in [
                        Cleanup::AtOnce,
                        Cleanup::Waits,
                        Cleanup::Panics,
                        Cleanup::PanicsLater,
                    ] {
                        if kind == Kind::Defer && body == Body::WasCancelledBefore {
                            continue; // There is no body then that would defer something.
                        }
                        one_life(kind, body, waits, cleanup).await;
                    }
                }
            }
        }
    });
}

async fn one_life(kind: Kind, body: Body, waits: bool, cleanup: Cleanup) {
    let what = format!("{kind:?}, {body:?}, waits: {waits}, {cleanup:?}");
    let (bodies, others, log) = (Census::default(), Census::default(), Log::default());
    let outcome = group(async |_g| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        if body == Body::WasCancelledBefore {
            handle.cancel();
        }
        let captured = bodies.enter();
        let using = async {
            let _values = (captured, bodies.enter());
            log.say("body");
            if waits {
                yield_now().await;
            }
            match body {
                Body::Returns => return 7,
                Body::Panics => panic!("body"),
                Body::IsPastItsDeadline => handle.set_deadline(Some(now())),
                Body::IsCancelled | Body::WasCancelledBefore => handle.cancel(),
            }
            pending().await
        };
        let cleaning = {
            let (bodies, log) = (bodies.clone(), log.clone());
            let captured = others.enter();
            let others = others.clone();
            async move {
                let _values = (captured, others.enter());
                log.say("cleanup");
                assert_eq!(bodies.alive(), 0, "the body is gone before the cleanup");
                assert!(!is_cancelled());
                if matches!(cleanup, Cleanup::Waits | Cleanup::PanicsLater) {
                    let_others_run().await;
                    checkpoint().await;
                }
                if matches!(cleanup, Cleanup::Panics | Cleanup::PanicsLater) {
                    panic!("cleanup");
                }
                log.say("clean");
            }
        };
        Ok(match kind {
            Kind::Finally => scope.run(finally(using, cleaning)).await,
            Kind::Bracket => {
                let using = async |_: &mut _| using.await;
                let release = async |_| cleaning.await;
                scope.run(bracket(others.enter(), using, release)).await
            }
            Kind::Defer => {
                let inner = scope.run(group(async |h| {
                    h.defer(cleaning);
                    Ok(using.await)
                }));
                match inner.await {
                    Ok(value) => Ok(value?),
                    Err(cancelled) => Err(cancelled),
                }
            }
        })
    })
    .await;

    let ran = log
        .entries()
        .iter()
        .filter(|entry| *entry == "cleanup")
        .count();
    assert_eq!(ran, 1, "{what}");
    let cleanup_panics = matches!(cleanup, Cleanup::Panics | Cleanup::PanicsLater);
    assert_eq!(log.has("clean"), !cleanup_panics, "{what}");
    assert_eq!(log.has("body"), body != Body::WasCancelledBefore, "{what}");
    assert_eq!((bodies.alive(), others.alive()), (0, 0), "{what}");

    let mut expected = Vec::new();
    if body == Body::Panics {
        expected.push("body");
    }
    if cleanup_panics {
        expected.push("cleanup");
    }
    match outcome {
        Ok(value) => {
            assert_eq!(expected, [""; 0], "{what}");
            match body {
                Body::Returns => assert_eq!(value.expect("a value"), 7, "{what}"),
                _ => {
                    let cancelled = value.expect_err("no value");
                    let by_deadline = body == Body::IsPastItsDeadline;
                    assert_eq!(cancelled.is_deadline(), by_deadline, "{what}");
                }
            }
        }
        Err(failed) => {
            let mut reported: Vec<_> = failed
                .leaves()
                .map(|failure| match failure.kind() {
                    FailureKind::Panic(panic) => panic.message().unwrap_or("no message"),
                    FailureKind::Error(error) => panic!("{what}: {error}"),
                })
                .collect();
            reported.sort_unstable();
            assert_eq!(reported, expected, "{what}");
        }
    }
}

/// Case 130. A cleanup that overruns its own time limit is cut there, and the first cancellation
/// goes on its way.
#[test]
fn a_cleanup_is_cut_at_its_own_limit() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(finally(
                async {
                    handle.cancel_with("the first");
                    pending::<()>().await;
                },
                async {
                    let overran = timeout(MOMENT, pending::<()>()).await.is_err();
                    checkpoint().await;
                    log.say(format!("overran: {overran}"));
                },
            ))
            .await;
        assert_eq!(outcome.unwrap_err().reason(), Some("the first"));
        assert_eq!(log.entries(), ["overran: true"]);
    });
}

/// Case 131. A timeout in a cleanup that a timeout started: the cleanup sees its own, the outside
/// sees the outer one.
#[test]
fn a_timeout_in_a_cleanup_is_the_cleanups() {
    everywhere(|| async {
        let log = Log::default();
        let outcome: Result<(), TimedOut> = timeout(
            MOMENT,
            finally(pending(), async {
                assert_eq!(deadline(), None);
                let inner = timeout(2 * MOMENT, pending::<()>()).await.unwrap_err();
                assert!(inner.to_string().contains("2ms"));
                let in_time = timeout(HOUR, yield_now()).await;
                log.say(format!("in time: {}", in_time.is_ok()));
            }),
        )
        .await;
        assert!(outcome.unwrap_err().to_string().contains("1ms"));
        assert_eq!(log.entries(), ["in time: true"]);
    });
}

/// Case 133. During an outer cancellation the cleanup in an inner group fails: the errors come out
/// nested, and outrank the cancellation.
#[test]
fn failing_cleanups_come_out_nested() {
    everywhere(|| async {
        let running = Gate::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(TaskGroup::builder().name("outer").run(async |g| {
                g.spawn_local_named("child", async {
                    TaskGroup::builder()
                        .name("inner")
                        .run(async |h| {
                            let running = running.clone();
                            h.spawn_named("grandchild", async move {
                                let body = async {
                                    running.open();
                                    pending::<()>().await;
                                };
                                finally(body, async { panic!("goodbye") }).await;
                                Ok(())
                            });
                            pending::<Result<(), Error>>().await
                        })
                        .await?;
                    Ok(())
                });
                running.wait().await;
                handle.cancel();
                pending::<Result<(), Error>>().await
            }))
            .await;
        let failed = outcome.expect("a failure is not absorbed").unwrap_err();
        assert_eq!((failed.group_name(), failed.len()), (Some("outer"), 1));
        assert_eq!(failed.first().unwrap().task().name(), Some("child"));
        let leaves: Vec<_> = failed.leaves().collect();
        assert_eq!(leaves.len(), 1);
        assert_eq!(leaves[0].task().name(), Some("grandchild"));
        let FailureKind::Panic(panic) = leaves[0].kind() else {
            panic!("no panic");
        };
        assert_eq!(panic.message(), Some("goodbye"));
    });
}

/// Case 134. A task panics, and then each of its nested cleanups does: all are reported, each once.
#[test]
fn every_failure_of_nested_cleanups_is_reported() {
    everywhere(|| async {
        for waits in [false, true] {
            let failed = group(async |g| {
                let task = g.spawn_named("task", async move {
                    let pause = async move || {
                        if waits {
                            yield_now().await;
                        }
                    };
                    let body = async {
                        pause().await;
                        if true {
                            panic!("body");
                        }
                    };
                    let inner = finally(body, async {
                        pause().await;
                        panic!("first cleanup");
                    });
                    let middle = finally(inner, async {
                        pause().await;
                        panic!("second cleanup");
                    });
                    finally(middle, async {
                        pause().await;
                        panic!("third cleanup");
                    })
                    .await;
                    Ok(())
                });
                drop(task);
                Ok(())
            })
            .await
            .unwrap_err();
            let mut messages: Vec<_> = failed
                .iter()
                .map(|failure| match failure.kind() {
                    FailureKind::Panic(panic) => panic.message().unwrap(),
                    FailureKind::Error(error) => panic!("{error}"),
                })
                .collect();
            messages.sort_unstable();
            assert_eq!(
                messages,
                ["body", "first cleanup", "second cleanup", "third cleanup"]
            );
        }
    });
}

/// Case 136. Finalizers run innermost first, whatever ends the body.
#[test]
fn the_innermost_cleanup_runs_first() {
    everywhere(|| async {
        for cancelled in [true, false] {
            let log = Log::default();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let slow = async |name: &str| {
                log.say(format!("{name} begins"));
                let_others_run().await;
                log.say(format!("{name} ends"));
            };
            let outcome = scope
                .run(finally(
                    bracket(
                        (),
                        async |()| {
                            let deferred = log.clone();
                            let inner = group(async |g| {
                                g.defer(async move {
                                    let_others_run().await;
                                    deferred.say("deferred");
                                });
                                finally(
                                    async {
                                        if cancelled {
                                            handle.cancel();
                                            pending::<()>().await;
                                        }
                                    },
                                    slow("innermost"),
                                )
                                .await;
                                Ok(())
                            });
                            inner.await.unwrap();
                        },
                        async |()| slow("release").await,
                    ),
                    slow("outermost"),
                ))
                .await;
            assert_eq!(outcome.is_err(), cancelled);
            assert_eq!(
                log.entries(),
                [
                    "innermost begins",
                    "innermost ends",
                    "deferred",
                    "release begins",
                    "release ends",
                    "outermost begins",
                    "outermost ends"
                ]
            );
        }
    });
}

/// Case 136. Finalizers side by side, in a foreign join, all run before the one around them.
#[test]
fn cleanups_side_by_side_run_before_the_one_around_them() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let slow = async |name: &str, steps: usize| {
            for _ in 0..steps {
                yield_now().await;
            }
            log.say(name);
        };
        let outcome = scope
            .run(finally(
                zip(
                    zip(
                        finally(pending::<()>(), slow("slow", 20)),
                        finally(pending::<()>(), slow("quick", 1)),
                    ),
                    async { handle.cancel() },
                ),
                slow("outer", 0),
            ))
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["quick", "slow", "outer"]);
    });
}

/// Case 136. What was deferred runs newest first, when all children are gone, and one at a time.
#[test]
fn the_newest_deferred_runs_first() {
    everywhere(|| async {
        let log = Log::default();
        let outcome = group(async |g| {
            for name in ["first", "second", "third"] {
                let log = log.clone();
                g.defer(async move {
                    log.say(format!("{name} begins"));
                    let_others_run().await;
                    log.say(format!("{name} ends"));
                });
            }
            let child = log.clone();
            g.spawn(async move {
                let _gone = OnDrop::new(|| child.say("child gone"));
                let_others_run().await;
                Ok(())
            });
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!(
            log.entries(),
            [
                "child gone",
                "third begins",
                "third ends",
                "second begins",
                "second ends",
                "first begins",
                "first ends"
            ]
        );
    });
}

/// Law 6. One deferred finalizer panics: the others run all the same.
#[test]
fn a_deferred_panic_stops_no_other() {
    everywhere(|| async {
        let log = Log::default();
        let failed = group(async |g| {
            for name in ["first", "second", "third", "fourth"] {
                let log = log.clone();
                g.defer(async move {
                    log.say(name);
                    if name != "first" {
                        panic!("{name}");
                    }
                });
            }
            Ok(())
        });
        assert_eq!(failed.await.unwrap_err().len(), 3);
        assert_eq!(log.entries(), ["fourth", "third", "second", "first"]);
    });
}

/// Law 6. What is deferred by a child runs too, and what is deferred after the group was cancelled.
#[test]
fn what_is_deferred_late_runs_too() {
    everywhere(|| async {
        let log = Log::default();
        let outcome = group(async |g| {
            let h = g.clone();
            let by_child = log.clone();
            let child = g.spawn_local(async move {
                h.defer(async move { by_child.say("by a child") });
                Ok(())
            });
            child.await?;
            g.cancel();
            let late = log.clone();
            g.defer(async move {
                checkpoint().await;
                late.say("after the cancel");
            });
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!(log.entries(), ["after the cancel", "by a child"]);
    });
}

/// Case 137. The cleanup of what was cancelled ends normally: the outcome stays cancelled.
#[test]
fn a_cleanup_does_not_undo_the_cancellation() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let running = Gate::default();
            let task = g.spawn({
                let running = running.clone();
                async move {
                    let body = async {
                        running.open();
                        pending::<()>().await;
                    };
                    finally(body, async { yield_now().await }).await;
                    Ok(7)
                }
            });
            running.wait().await;
            task.cancel();
            assert_eq!(task.await, Err(Aborted::Cancelled));
            Ok(())
        });
        outcome.await.unwrap();
    });
}

/// Case 139. A polite farewell that is cut gives up, and the resource is released all the same.
#[test]
fn a_farewell_that_is_cut_releases_the_resource() {
    everywhere(|| async {
        let census = Census::default();
        let log = Log::default();
        let late = timeout(
            Duration::ZERO,
            bracket(
                census.enter(),
                async |_peer: &mut _| pending::<()>().await,
                async |peer| {
                    let farewell = timeout(MOMENT, async {
                        let _peer = &peer;
                        pending::<()>().await;
                    });
                    log.say(format!("farewell given up: {:?}", farewell.await.is_err()));
                    drop(peer);
                },
            ),
        );
        assert!(late.await.is_err());
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["farewell given up: true"]);
    });
}

/// Law 6. A body that has returned keeps its value when the cancellation comes during its cleanup.
#[test]
fn a_cancellation_during_the_cleanup_does_not_take_the_value() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                let value = finally(async { 7 }, async {
                    handle.cancel();
                    checkpoint().await;
                    log.say("clean");
                })
                .await;
                log.say(format!("value {value}"));
                checkpoint().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["clean", "value 7"]);
    });
}

/// Law 6. A scope inside the body is cut by itself: the finalizer around it is not concerned.
#[test]
fn a_cut_inside_the_body_is_not_the_finalizers() {
    everywhere(|| async {
        let log = Log::default();
        let value = finally(
            async {
                let late = timeout(Duration::ZERO, pending::<()>()).await;
                assert!(late.is_err());
                checkpoint().await;
                log.say("body goes on");
                7
            },
            async { log.say("cleanup") },
        );
        assert_eq!(value.await, 7);
        assert_eq!(log.entries(), ["body goes on", "cleanup"]);
    });
}

/// Law 6. A panic of the body goes on after the cleanup, and not before.
#[test]
fn a_panic_goes_on_after_the_cleanup() {
    let log = Log::default();
    let gate = Gate::default();
    let mut running = pin!(finally(
        async {
            if true {
                panic!("body");
            }
        },
        async {
            gate.wait().await;
            log.say("cleanup");
        },
    ));
    assert!(poll_once(running.as_mut()).is_pending());
    gate.open();
    let poll = || poll_once(running.as_mut());
    let payload = panic::catch_unwind(AssertUnwindSafe(poll)).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"body"));
    assert_eq!(log.entries(), ["cleanup"]);
}

/// Law 6. A finalizer that was never polled does nothing, neither its body nor its cleanup.
#[test]
fn a_finalizer_that_was_not_reached_does_nothing() {
    let (log, census) = (Log::default(), Census::default());
    let value = census.enter();
    drop(finally(async { log.say("body") }, async {
        let _value = &value;
        log.say("cleanup");
    }));
    let not_reached = bracket(
        census.enter(),
        async |_: &mut _| (),
        async |_| log.say("release"),
    );
    drop(not_reached);
    drop(value);
    assert_eq!(census.alive(), 0);
    assert_eq!(log.entries(), [""; 0]);
}

/// Law 6. Cleanup that is reached in a scope that was cancelled long ago: the body is not polled,
/// the cleanup runs, and a bracket releases what it did not use.
#[test]
fn reached_while_cancelled_only_the_cleanup_runs() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        scope.handle().cancel();
        let outcome = scope
            .run(async {
                finally(async { log.say("body") }, async { log.say("cleanup") }).await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());

        let census = Census::default();
        let scope = CancelScope::new();
        scope.handle().cancel();
        let outcome = scope
            .run(async {
                let using = async |_: &mut _| log.say("used");
                bracket(census.enter(), using, async |_| {
                    yield_now().await;
                    log.say("released");
                })
                .await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["cleanup", "released"]);
        assert_eq!(census.alive(), 0);
    });
}

/// Law 6. Spawning from a cleanup while the group is cancelled: accepted, dropped unpolled, and the
/// handle says so; nothing hangs.
#[test]
fn a_cleanup_spawns_into_its_cancelled_group() {
    everywhere(|| async {
        let (log, census) = (Log::default(), Census::default());
        let stopped = group(async |g| {
            let body = async {
                g.cancel();
                pending::<()>().await;
            };
            finally(body, async {
                let (parallel, local) = (log.clone(), log.clone());
                let values = (census.enter(), census.enter());
                let task = g.spawn(async move {
                    let _value = values.0;
                    parallel.say("polled");
                    Ok(())
                });
                let borrowing = g.spawn_local(async move {
                    let _value = values.1;
                    local.say("polled");
                    Ok(())
                });
                assert_eq!(task.await, Err(Aborted::Cancelled));
                assert_eq!(borrowing.await, Err(Aborted::Cancelled));
                log.say("clean");
            })
            .await;
            Ok(())
        });
        assert!(stopped.await.unwrap_err().is_empty());
        assert_eq!(log.entries(), ["clean"]);
        assert_eq!(census.alive(), 0);
    });
}

/// Law 6. A cleanup may open a group of its own, which works although all around is cancelled.
#[test]
fn a_cleanup_runs_a_group_of_its_own() {
    everywhere(|| async {
        let log = Log::default();
        let late = timeout(
            Duration::ZERO,
            finally(pending::<()>(), async {
                let sum = group(async |g| {
                    let parallel = g.spawn(async {
                        sleep(Duration::ZERO).await;
                        Ok(1)
                    });
                    let local = g.spawn_local(async {
                        checkpoint().await;
                        Ok(2)
                    });
                    Ok(parallel.await? + local.await?)
                });
                log.say(format!("{}", sum.await.unwrap()));
            }),
        );
        assert!(late.await.is_err());
        assert_eq!(log.entries(), ["3"]);
    });
}

/// Law 6. While a cleanup runs, a second cancellation, of any kind, changes nothing.
#[test]
fn a_second_cancellation_does_not_disturb_the_cleanup() {
    everywhere(|| async {
        let log = Log::default();
        let census = Census::default();
        let stopped = group(async |g| {
            let (running, cleaning, release) = (Gate::default(), Gate::default(), Gate::default());
            let task = g.spawn({
                let (running, cleaning, release) =
                    (running.clone(), cleaning.clone(), release.clone());
                let (log, value) = (log.clone(), census.enter());
                async move {
                    let _value = value;
                    let body = async {
                        running.open();
                        pending::<()>().await;
                    };
                    finally(body, async {
                        log.say("cleanup begins");
                        cleaning.open();
                        release.wait().await;
                        log.say("cleanup ends");
                    })
                    .await;
                    Ok(())
                }
            });
            running.wait().await;
            task.cancel();
            cleaning.wait().await;
            task.cancel();
            g.cancel();
            g.scope().set_deadline(Some(now()));
            shield(async {
                let_others_run().await;
                assert!(!task.is_finished());
                release.open();
                until(|| task.is_finished()).await;
            })
            .await;
            pending::<Result<(), Error>>().await
        });
        assert!(stopped.await.unwrap_err().is_empty());
        assert_eq!(log.entries(), ["cleanup begins", "cleanup ends"]);
        assert_eq!(census.alive(), 0);
    });
}

/// Law 6. A bracket hands the resource over as its use left it, also when that was cut halfway.
#[test]
fn the_release_gets_what_the_use_left() {
    everywhere(|| async {
        let log = Log::default();
        let late = timeout(
            Duration::ZERO,
            bracket(
                Vec::new(),
                async |steps: &mut Vec<u32>| {
                    for step in 0.. {
                        steps.push(step);
                        yield_now().await;
                    }
                },
                async |steps: Vec<u32>| log.say(format!("{steps:?}")),
            ),
        );
        assert!(late.await.is_err());
        assert_eq!(log.entries(), ["[0]"]);
    });
}
