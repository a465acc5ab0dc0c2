//! The scope that was cancelled absorbs it; when several around each other are, the outermost does.

use std::{future::pending, pin::pin, time::Duration};

use futures_lite::future::{yield_now, zip};
use headcount::{
    Aborted, CancelScope, Error, ErrorGroup, ScopeHandle, TaskGroup, checkpoint, finally, group,
    is_cancelled, shield, sleep, timeout,
};

use crate::common::{Census, Gate, Log, OnDrop, everywhere, let_others_run, poll_once, until};

mod common;

/// Law 8. Of nested scopes any number is cancelled, in any order, before the body gets a turn: the
/// outermost of them absorbs it. Code between goes nowhere, code outside of it goes on.
#[test]
fn the_outermost_cancelled_scope_absorbs() {
    const LEVELS: usize = 4;

    everywhere(|| async {
        for cancelled in 1..1_usize << LEVELS {
            for outermost_first in [true, false] {
                let log = Log::default();
                let scopes: Vec<_> = (0..LEVELS).map(|_| CancelScope::new()).collect();
                let handles: Vec<ScopeHandle> = scopes.iter().map(CancelScope::handle).collect();
                let mut nested: std::pin::Pin<Box<dyn Future<Output = ()> + '_>> =
                    Box::pin(pending());
                for (level, scope) in scopes.into_iter().enumerate().rev() {
                    let log = &log;
                    let inside = nested;
                    nested = Box::pin(async move {
                        match scope.run(inside).await {
                            Ok(()) => log.say(format!("{level} goes on")),
                            Err(_) => log.say(format!("{level} absorbs")),
                        }
                    });
                }
                assert!(poll_once(nested.as_mut()).is_pending());
                let mut order: Vec<usize> = (0..LEVELS)
                    .filter(|level| cancelled >> level & 1 == 1)
                    .collect();
                let outermost = order[0];
                if !outermost_first {
                    order.reverse();
                }
                for level in order {
                    handles[level].cancel();
                }

                nested.await;

                let mut expected = vec![format!("{outermost} absorbs")];
                expected.extend((0..outermost).rev().map(|level| format!("{level} goes on")));
                assert_eq!(log.entries(), expected, "cancelled: {cancelled:b}");
            }
        }
    });
}

/// Case 73. While an inner scope winds down, an outer one is cancelled: the code between does not
/// run.
#[test]
fn cancelled_while_an_inner_scope_unwinds_goes_further_out() {
    everywhere(|| async {
        let log = Log::default();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(async {
                let inner = inner.run(finally(
                    async {
                        inner_handle.cancel();
                        pending::<()>().await;
                    },
                    async {
                        log.say("unwinding");
                        outer_handle.cancel_with("meanwhile");
                        yield_now().await;
                        log.say("unwound");
                    },
                ));
                log.say(format!("between: {:?}", inner.await.is_err()));
            })
            .await;
        assert_eq!(outcome.unwrap_err().reason(), Some("meanwhile"));
        assert_eq!(log.entries(), ["unwinding", "unwound"]);
    });
}

/// Case 73. The same when it is the very last step of the unwinding that cancels the outer scope.
#[test]
fn cancelled_in_the_last_step_of_the_unwinding_goes_further_out() {
    everywhere(|| async {
        let log = Log::default();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(async {
                let inner = inner.run(finally(
                    async {
                        inner_handle.cancel();
                        pending::<()>().await;
                    },
                    async { outer_handle.cancel() },
                ));
                log.say(format!("between: {:?}", inner.await.is_err()));
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Case 73. The same when a destructor of what the inner scope drops cancels the outer one.
#[test]
fn cancelled_by_a_destructor_goes_further_out() {
    everywhere(|| async {
        let log = Log::default();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(async {
                let inner = inner.run(async {
                    let _cancels = OnDrop::new(|| outer_handle.cancel());
                    inner_handle.cancel();
                    pending::<()>().await;
                });
                log.say(format!("between: {:?}", inner.await.is_err()));
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Case 73. The same when a deadline is what cuts the inner scope, and when a group is the outer
/// one.
#[test]
fn a_group_cancelled_while_a_timeout_unwinds_absorbs() {
    everywhere(|| async {
        let log = Log::default();
        let outcome = group(async |g| {
            let late = timeout(
                Duration::ZERO,
                finally(pending::<()>(), async {
                    g.cancel_with("meanwhile");
                    yield_now().await;
                    log.say("unwound");
                }),
            );
            log.say(format!("between: {:?}", late.await.is_err()));
            Ok(())
        })
        .await;
        assert_eq!(outcome.unwrap_err().reason(), Some("meanwhile"));
        assert_eq!(log.entries(), ["unwound"]);
    });
}

/// Case 73. The same when it is a group that unwinds, with its tasks.
#[test]
fn cancelled_while_a_group_unwinds_goes_further_out() {
    everywhere(|| async {
        let log = Log::default();
        let outer = CancelScope::new();
        let outer_handle = outer.handle();
        let outcome = outer
            .run(async {
                let inner = group(async |g| {
                    let (log, stop) = (log.clone(), outer_handle.clone());
                    let running = Gate::default();
                    g.spawn({
                        let running = running.clone();
                        async move {
                            let cleanup = async {
                                stop.cancel();
                                yield_now().await;
                                log.say("unwound");
                            };
                            let body = async {
                                running.open();
                                pending::<()>().await;
                            };
                            finally(body, cleanup).await;
                            Ok(())
                        }
                    });
                    running.wait().await;
                    g.cancel();
                    pending::<Result<(), Error>>().await
                });
                log.say(format!("between: {:?}", inner.await.is_err()));
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["unwound"]);
    });
}

/// Case 74. With a shield round the inner scope it is the inner one that absorbs, and the code after
/// it runs up to its first unshielded wait.
#[test]
fn a_shielded_inner_scope_absorbs_its_own() {
    everywhere(|| async {
        let log = Log::default();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(async {
                shield(async {
                    let inner = inner.run(finally(
                        async {
                            inner_handle.cancel();
                            pending::<()>().await;
                        },
                        async {
                            outer_handle.cancel();
                            yield_now().await;
                            log.say("unwound");
                        },
                    ));
                    assert!(inner.await.is_err());
                    yield_now().await;
                    log.say("after the inner scope");
                })
                .await;
                log.say("after the shield");
                yield_now().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(
            log.entries(),
            ["unwound", "after the inner scope", "after the shield"]
        );
    });
}

/// Case 76. A body that fails in the step of the cancellation passes its error on unchanged, and
/// the scope does not claim to have cut anything.
#[test]
fn an_error_passes_through_a_cancelled_scope() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                yield_now().await;
                handle.cancel();
                Err::<(), _>("real")
            })
            .await;
        assert_eq!(outcome.unwrap(), Err("real"));
        assert!(handle.is_cancelled());
    });
}

/// Case 76, Case 133. What fails while a cancelled scope winds down comes out of it as an error.
#[test]
fn a_failure_in_the_unwinding_outranks_the_cancellation() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(group(async |g| {
                g.spawn(async move {
                    shield(async {
                        handle.cancel();
                        yield_now().await;
                        Err::<(), _>(Error::from("real"))
                    })
                    .await
                });
                pending::<Result<(), _>>().await
            }))
            .await;
        let failed: ErrorGroup = outcome.expect("an error is not absorbed").unwrap_err();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed.first().unwrap().error().unwrap().to_string(), "real");
    });
}

/// Case 76, Case 116. Such an error says of its group that it was cancelled, by whomever: that came
/// first, and the first cause stays.
#[test]
fn a_failure_in_the_unwinding_carries_the_cancellation() {
    everywhere(|| async {
        for from_further_out in [true, false] {
            let scope = CancelScope::new();
            let outer = scope.handle();
            let outcome = scope
                .run(group(async |g| {
                    let stop = if from_further_out { outer } else { g.scope() };
                    g.spawn(async move {
                        shield(async {
                            stop.cancel_with("stop");
                            yield_now().await;
                            Err::<(), _>(Error::from("real"))
                        })
                        .await
                    });
                    pending::<Result<(), _>>().await
                }))
                .await;
            let failed = outcome.unwrap().unwrap_err();
            assert_eq!(failed.len(), 1);
            assert!(
                failed.is_cancelled(),
                "from further out: {from_further_out}"
            );
        }
    });
}

/// Case 77. A task and a scope in it are cancelled together: the task is, and nothing after the
/// scope runs.
#[test]
fn a_task_cancelled_along_with_its_scope_does_not_go_on() {
    everywhere(|| async {
        for task_first in [true, false] {
            let log = Log::default();
            let outcome = group(async |g| {
                let scope = CancelScope::new();
                let handle = scope.handle();
                let inside = Gate::default();
                let release = Gate::default();
                let task = g.spawn({
                    let (log, inside, release) = (log.clone(), inside.clone(), release.clone());
                    async move {
                        // The shield makes both cancellations come before either can be acted on.
                        let cut = scope.run(async {
                            shield(async {
                                inside.open();
                                release.wait().await;
                            })
                            .await;
                            pending::<()>().await;
                        });
                        log.say(format!("after the scope: {}", cut.await.is_err()));
                        Ok(())
                    }
                });
                inside.wait().await;
                if task_first {
                    task.cancel();
                    handle.cancel();
                } else {
                    handle.cancel();
                    task.cancel();
                }
                release.open();
                assert_eq!(task.await, Err(Aborted::Cancelled));
                assert!(!g.is_cancelled());
                Ok(())
            });
            outcome.await.unwrap();
            assert_eq!(log.entries(), [""; 0]);
        }
    });
}

/// Case 77. A scope that was cancelled and whose owner drops it as well just goes: what is inside
/// is dropped once.
#[test]
fn a_cancelled_scope_can_be_dropped() {
    let census = Census::default();
    let scope = CancelScope::new();
    let handle = scope.handle();
    let value = census.enter();
    let mut running = Box::pin(scope.run(async move {
        let _value = value;
        shield(pending::<()>()).await;
    }));
    assert!(poll_once(running.as_mut()).is_pending());
    handle.cancel();
    assert!(poll_once(running.as_mut()).is_pending(), "the shield holds");
    drop(running);
    assert_eq!((census.entered(), census.alive()), (1, 0));
    handle.cancel();
}

/// Case 79. The reason and the name of the scope can be read where the cancellation lands.
#[test]
fn the_reason_is_read_where_it_lands() {
    everywhere(|| async {
        let scope = CancelScope::new().name("upload");
        let handle = scope.handle();
        let cancelled = scope
            .run(CancelScope::new().name("not this one").run(async {
                handle.cancel_with("the user pressed stop");
                pending::<()>().await;
            }))
            .await
            .unwrap_err();
        assert_eq!(cancelled.reason(), Some("the user pressed stop"));
        assert_eq!(cancelled.scope_name(), Some("upload"));
        assert!(!cancelled.is_deadline());
        let text = cancelled.to_string();
        assert!(
            text.contains("upload") && text.contains("the user pressed stop"),
            "{text}"
        );
    });
}

/// Case 79. So can those of a group.
#[test]
fn the_reason_of_a_group_is_in_its_error() {
    everywhere(|| async {
        let stopped = TaskGroup::builder()
            .name("fetch")
            .run(async |g| {
                g.cancel_with("enough");
                g.cancel_with("more than enough");
                pending::<Result<(), _>>().await
            })
            .await
            .unwrap_err();
        assert!(stopped.is_empty() && stopped.is_cancelled());
        assert_eq!(
            (stopped.reason(), stopped.group_name()),
            (Some("enough"), Some("fetch"))
        );
    });
}

/// Law 8. A group that is cancelled along with a scope around it leaves the cancellation to that
/// one.
#[test]
fn a_scope_round_a_cancelled_group_absorbs() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                let inner = group(async |g| {
                    g.spawn(pending::<Result<(), _>>());
                    g.cancel();
                    handle.cancel();
                    pending::<Result<(), Error>>().await
                });
                log.say(format!("between: {:?}", inner.await.is_err()));
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Law 8. The code after the scope that absorbed is not cancelled: it waits, spawns and times out
/// like any other.
#[test]
fn code_after_the_absorbing_scope_goes_on() {
    everywhere(|| async {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let inner_handle = inner.handle();
        let after = outer
            .run(async {
                let cut = inner.run(async {
                    inner_handle.cancel();
                    pending::<()>().await;
                });
                assert!(cut.await.is_err());
                assert!(!is_cancelled());
                checkpoint().await;
                sleep(Duration::ZERO).await;
                assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
                group(async |g| Ok(g.spawn(async { Ok(7) }).await?)).await
            })
            .await;
        assert_eq!(after.unwrap().unwrap(), 7);
    });
}

/// Law 8. A child of a group absorbs its own scope's cancellation; the group does not notice.
#[test]
fn a_scope_in_a_child_absorbs_for_itself() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let child = g.spawn(async move { Ok(scope.run(pending::<()>()).await.is_err()) });
            let sibling = g.spawn(async {
                let_others_run().await;
                checkpoint().await;
                Ok(7)
            });
            handle.cancel();
            assert!(child.await?);
            assert!(!g.is_cancelled());
            Ok(sibling.await?)
        });
        assert_eq!(outcome.await.unwrap(), 7);
    });
}

/// Law 8. A scope is cancelled while one inside it waits for a shield, which is what its own
/// cancellation is waiting for too: the outer one absorbs when the shield ends.
#[test]
fn an_outer_scope_overtakes_one_that_waits_for_a_shield() {
    everywhere(|| async {
        let log = Log::default();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let (held, release) = (Gate::default(), Gate::default());
        let running = outer.run(async {
            let inner = inner.run(shield(async {
                held.open();
                release.wait().await;
                log.say("shielded");
            }));
            let inner = zip(inner, pending::<()>()).await;
            log.say(format!("between: {:?}", inner.0.is_err()));
        });
        let cancels = async {
            held.wait().await;
            inner_handle.cancel();
            let_others_run().await;
            outer_handle.cancel();
            let_others_run().await;
            release.open();
        };
        let (outcome, ()) = zip(running, cancels).await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["shielded"]);
    });
}

/// Law 8. A timeout that was cut along with a scope around it drops its body once.
#[test]
fn what_several_scopes_cut_is_dropped_once() {
    let census = Census::default();
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
    let value = census.enter();
    let mut running = pin!(outer.run(inner.run(async move {
        let _value = value;
        pending::<()>().await;
    })));
    assert!(poll_once(running.as_mut()).is_pending());
    inner_handle.cancel();
    outer_handle.cancel();
    assert!(poll_once(running.as_mut()).is_ready());
    assert_eq!((census.entered(), census.alive()), (1, 0));
}

/// Case 58. The inner of two groups is cancelled by hand: the outer one goes on, with its tasks.
#[test]
fn a_nested_group_absorbs_its_own_cancellation() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let sibling = Gate::default();
            let task = g.spawn({
                let sibling = sibling.clone();
                async move {
                    sibling.wait().await;
                    checkpoint().await;
                    Ok(7)
                }
            });
            let inner = group(async |h| {
                h.cancel();
                pending::<Result<(), Error>>().await
            });
            let stopped = inner.await.unwrap_err();
            assert!(stopped.is_empty() && stopped.is_cancelled() && !g.is_cancelled());
            sibling.open();
            until(|| task.is_finished()).await;
            Ok(task.await?)
        });
        assert_eq!(outcome.await.unwrap(), 7);
    });
}
