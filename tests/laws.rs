//! The ten laws of this crate, each with the simplest test that could break it. What follows from
//! them case by case is in the other files.

use std::{
    future::{Future, pending},
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_lite::future::{self, yield_now};
use headcount::{
    CancelScope, Error, FailureKind, Policy, TaskGroup, bracket, finally, group, now, run, shield,
    sleep, timeout, timeout_at,
};

use crate::common::{
    Census, CountWakes, Gate, Log, everywhere, let_others_run, poll_once, watched,
};

mod common;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(1);

/// Law 1. A group resolves only when all its tasks are gone: what they owned is destroyed, and their
/// finalizers have run.
#[test]
fn a_group_returns_when_everybody_is_gone() {
    everywhere(|| async {
        for cancelled in [true, false] {
            let (census, log) = (Census::default(), Log::default());
            let outcome = group(async |g| {
                for i in 0..4 {
                    let (value, log) = (census.enter(), log.clone());
                    let child = async move {
                        let _value = value;
                        log.say("entered");
                        finally(yield_now(), async {
                            let_others_run().await;
                            log.say("cleaned");
                        })
                        .await;
                        Ok(())
                    };
                    if i % 2 == 0 {
                        g.spawn(child);
                    } else {
                        g.spawn_local(child);
                    }
                }
                let log = log.clone();
                g.defer(async move {
                    let_others_run().await;
                    log.say("deferred");
                });
                yield_now().await;
                if cancelled {
                    g.cancel();
                }
                Ok(())
            });
            outcome.await.unwrap();
            let count = |what: &str| log.entries().iter().filter(|e| *e == what).count();
            assert_eq!((census.entered(), census.alive()), (4, 0));
            assert_eq!(count("cleaned"), count("entered"));
            assert_eq!(log.entries().last().map(String::as_str), Some("deferred"));
        }
    });
}

/// Law 2. A group whose future is dropped loses its borrowing tasks there and then; its other tasks
/// go up, and nothing outlives what is further out.
#[test]
fn nothing_escapes_a_dropped_group() {
    everywhere(|| async {
        let (borrowing, owning) = (Census::default(), Census::default());
        let outcome = group(async |_outer| {
            let running = Gate::default();
            let doomed = group(async |g| {
                g.spawn_local(async {
                    let _value = borrowing.enter();
                    pending::<Result<(), _>>().await
                });
                let (value, running) = (owning.enter(), running.clone());
                g.spawn(async move {
                    let _value = value;
                    shield(async {
                        running.open();
                        let_others_run().await;
                    })
                    .await;
                    Ok(())
                });
                pending::<Result<(), Error>>().await
            });
            future::or(async { drop(doomed.await) }, running.wait()).await;
            assert_eq!((borrowing.entered(), borrowing.alive()), (1, 0));
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!((owning.entered(), owning.alive()), (1, 0));
    });
}

/// Law 2. Nor does anything outlive `run`.
#[test]
fn nothing_outlives_a_run() {
    let census = Census::default();
    watched("a run", || {
        run(async {
            let running = Gate::default();
            let doomed = group(async |g| {
                let (value, running) = (census.enter(), running.clone());
                g.spawn(async move {
                    let _value = value;
                    shield(async {
                        running.open();
                        sleep(MOMENT).await;
                    })
                    .await;
                    Ok(())
                });
                pending::<Result<(), Error>>().await
            });
            future::or(async { drop(doomed.await) }, running.wait()).await;
        });
    });
    assert_eq!((census.entered(), census.alive()), (1, 0));
}

/// Law 3. Every failure, of whatever kind, is in the error group exactly once.
#[test]
fn every_failure_is_reported_once() {
    everywhere(|| async {
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                g.spawn(async { Err::<(), _>("parallel error".into()) });
                g.spawn(async {
                    if true {
                        panic!("parallel panic")
                    } else {
                        Ok(())
                    }
                });
                g.spawn_local(async { Err::<(), _>("borrowing error".into()) });
                g.spawn_local(async {
                    if true {
                        panic!("borrowing panic")
                    } else {
                        Ok(())
                    }
                });
                g.spawn(async {
                    finally(async {}, async { panic!("cleanup panic") }).await;
                    Ok(())
                });
                g.defer(async { panic!("deferred panic") });
                let asked = g.spawn(async { Err::<(), _>("asked for".into()) });
                assert!(asked.await.is_err());
                while !g.is_empty() {
                    yield_now().await;
                }
                Err::<(), _>("body error".into())
            })
            .await
            .unwrap_err();
        let mut reported: Vec<String> = failed
            .leaves()
            .map(|failure| match failure.kind() {
                FailureKind::Error(error) => error.to_string(),
                FailureKind::Panic(panic) => panic.message().unwrap().to_owned(),
            })
            .collect();
        reported.sort();
        assert_eq!(
            reported,
            [
                "asked for",
                "body error",
                "borrowing error",
                "borrowing panic",
                "cleanup panic",
                "deferred panic",
                "parallel error",
                "parallel panic",
            ]
        );
    });
}

/// Law 3. A cancellation is an outcome, and never a member of an error group.
#[test]
fn a_cancellation_is_no_failure() {
    everywhere(|| async {
        let failed = group(async |g| {
            for _ in 0..3 {
                g.spawn(pending::<Result<(), _>>());
                g.spawn_local(pending::<Result<(), _>>());
            }
            let_others_run().await;
            g.spawn(async { Err::<(), _>("real".into()) });
            pending::<Result<(), Error>>().await
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed.first().unwrap().error().unwrap().to_string(), "real");

        let stopped = group(async |g| {
            g.spawn(pending::<Result<(), _>>());
            let_others_run().await;
            g.cancel();
            pending::<Result<(), Error>>().await
        });
        assert!(stopped.await.unwrap_err().is_empty());
    });
}

/// Law 4. A cancellation reaches everything below its scope, at once, whatever the depth.
#[test]
fn a_cancellation_reaches_every_depth_at_once() {
    everywhere(|| async {
        let (census, ready) = (Census::default(), Gate::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let below = group(async |a| {
            let (census, ready) = (census.clone(), ready.clone());
            a.spawn(async move {
                // Each level shields its own wait until the one below it is gone. Were the
                // cancellation handed down level by level, nobody would ever be reached.
                let gone = Gate::default();
                let nested = group(async |b| {
                    let (census, gone2, ready) = (census.clone(), gone.clone(), ready.clone());
                    b.spawn(async move {
                        let _value = census.enter();
                        let _gone = common::OnDrop::new(move || gone2.open());
                        ready.open();
                        pending::<Result<(), _>>().await
                    });
                    shield(gone.wait()).await;
                    pending::<Result<(), Error>>().await
                });
                nested.await?;
                Ok(())
            });
            pending::<Result<(), Error>>().await
        });
        let (outcome, ()) = future::zip(scope.run(below), async {
            ready.wait().await;
            handle.cancel();
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!((census.entered(), census.alive()), (1, 0));
    });
}

/// Law 4. It reaches nothing else, stays, and keeps its first cause.
#[test]
fn a_cancellation_reaches_nothing_else() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let sibling = g.spawn(async {
                let_others_run().await;
                Ok(7)
            });
            let cut = scope.run(async {
                handle.cancel_with("first");
                handle.cancel_with("second");
                shield(yield_now()).await;
                yield_now().await;
            });
            assert_eq!(cut.await.unwrap_err().reason(), Some("first"));
            assert!(handle.is_cancelled() && !g.is_cancelled());
            Ok(sibling.await?)
        });
        assert_eq!(outcome.await.unwrap(), 7);
    });
}

/// Law 5. Shielded code runs to its end, and the first unshielded wait after it is cut.
#[test]
fn a_shield_holds() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                shield(async {
                    handle.cancel();
                    yield_now().await;
                    log.say("shielded");
                })
                .await;
                log.say("no wait yet");
                yield_now().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["shielded", "no wait yet"]);
    });
}

/// Law 5. Waiting for a shield burns no processor time.
#[test]
fn waiting_for_a_shield_is_rest() {
    let (wakes, waker) = CountWakes::new();
    let cx = &mut Context::from_waker(&waker);
    let gate = Gate::default();
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut running = pin!(scope.run(shield(gate.wait())));
    assert!(running.as_mut().poll(cx).is_pending());
    handle.cancel();
    assert!(running.as_mut().poll(cx).is_pending());
    let before = wakes.count();
    assert!(running.as_mut().poll(cx).is_pending());
    assert_eq!(wakes.count(), before, "it wakes itself");
    gate.open();
    assert!(running.as_mut().poll(cx).is_ready());
}

/// Law 6. Finalizers run once, innermost first, shielded, and timeouts inside them fire.
#[test]
fn finalizers_run_once_innermost_first() {
    everywhere(|| async {
        let log = Log::default();
        let clean = async |name: &str| {
            yield_now().await;
            assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
            log.say(name);
        };
        for ending in ["returned", "panicked", "cancelled"] {
            let _outcome = group(async |g| {
                let body = async {
                    yield_now().await;
                    match ending {
                        "returned" => {}
                        "panicked" => panic!("as it should"),
                        _ => {
                            g.cancel();
                            pending::<()>().await;
                        }
                    }
                };
                let inner = finally(body, clean("inner"));
                let release = async |()| clean("release").await;
                finally(bracket((), async |()| inner.await, release), clean("outer")).await;
                Ok(())
            })
            .await;
            log.say(ending);
        }
        let once = ["inner", "release", "outer"];
        let expected: Vec<_> = ["returned", "panicked", "cancelled"]
            .into_iter()
            .flat_map(|ending| once.into_iter().chain([ending]))
            .collect();
        assert_eq!(log.entries(), expected);
    });
}

/// Law 7. A result beats a deadline that has passed by the time somebody looks.
#[test]
fn a_result_beats_a_late_cancellation() {
    let gate = Gate::default();
    let deadline = now() + 50 * MOMENT;
    let mut running = pin!(timeout_at(deadline, async {
        gate.wait().await;
        7
    }));
    assert!(poll_once(running.as_mut()).is_pending());
    while now() <= deadline {
        std::thread::sleep(MOMENT);
    }
    gate.open();
    assert!(matches!(poll_once(running.as_mut()), Poll::Ready(Ok(7))));
}

/// Law 8. The scope that was cancelled absorbs it, and the code after that goes on; of several the
/// outermost does.
#[test]
fn the_cancelled_scope_absorbs() {
    everywhere(|| async {
        let log = Log::default();
        let (outer, middle, inner) = (CancelScope::new(), CancelScope::new(), CancelScope::new());
        let (middle_handle, inner_handle) = (middle.handle(), inner.handle());
        let outcome = outer
            .run(async {
                let cut = middle.run(async {
                    let cut = inner.run(async {
                        inner_handle.cancel();
                        middle_handle.cancel();
                        pending::<()>().await;
                    });
                    log.say(format!("inner: {}", cut.await.is_err()));
                });
                log.say(format!("middle: {}", cut.await.is_err()));
                yield_now().await;
                log.say("goes on");
            })
            .await;
        assert!(outcome.is_ok());
        assert_eq!(log.entries(), ["middle: true", "goes on"]);
    });
}

/// Law 8. A timeout cannot be mistaken for somebody else's cancellation.
#[test]
fn a_timeout_is_its_own() {
    everywhere(|| async {
        let log = Log::default();
        let outer = timeout(Duration::ZERO, async {
            let inner = timeout(HOUR, pending::<()>()).await;
            log.say(format!("inner: {}", inner.is_err()));
        });
        assert!(outer.await.is_err());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Law 9. A failing child interrupts the body at its current wait.
#[test]
fn a_failing_child_interrupts_the_body() {
    everywhere(|| async {
        let log = Log::default();
        let failed = group(async |g| {
            g.spawn(async { Err::<(), _>("child".into()) });
            log.say("waiting");
            pending::<()>().await;
            log.say("never");
            Ok(())
        });
        assert_eq!(failed.await.unwrap_err().len(), 1);
        assert_eq!(log.entries(), ["waiting"]);
    });
}

/// Law 9. A failing body cancels the children, and both policies agree on that.
#[test]
fn a_failing_body_cancels_the_children() {
    everywhere(|| async {
        for policy in [Policy::FailFast, Policy::Collect] {
            let census = Census::default();
            let failed = TaskGroup::builder().policy(policy).run(async |g| {
                let value = census.enter();
                g.spawn(async move {
                    let _value = value;
                    pending::<Result<(), _>>().await
                });
                let_others_run().await;
                Err::<(), _>("body".into())
            });
            assert_eq!(failed.await.unwrap_err().len(), 1);
            assert_eq!((census.entered(), census.alive()), (1, 0));
        }
    });
}

/// Law 10. A wait that is dropped has taken nothing: the value of the task is still there.
#[test]
fn a_dropped_wait_has_taken_nothing() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let mut task = g.spawn(async {
                let_others_run().await;
                Ok(7)
            });
            for _ in 0..3 {
                // The value may be there, and then it is taken; otherwise nothing happens.
                if let Some(value) = future::poll_once(&mut task).await {
                    return Ok(value?);
                }
            }
            Ok(task.await?)
        });
        assert_eq!(outcome.await.unwrap(), 7);
    });
}
