//! Where models of structured concurrency disagree: what this crate chose, one test per choice.

use std::{
    future::{Future, pending},
    panic,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_lite::future::{self, yield_now};
use headcount::{
    Aborted, CancelScope, Cancelled, Error, ErrorGroup, FailureKind, TaskGroup, TimedOut, bracket,
    finally, group, now, run, shield, timeout, timeout_at,
};

use crate::common::{
    Census, CountWakes, Log, everywhere, let_others_run, on_threads, poll_once, until,
};

mod common;

/// A task spawned into a cancelled group is not polled once: it is dropped. (Case 14, Case 15.)
#[test]
fn a_task_spawned_into_a_cancelled_group_is_not_polled() {
    everywhere(|| async {
        let (census, log) = (Census::default(), Log::default());
        let outcome = group(async |g| {
            g.cancel();
            let mut handles = Vec::new();
            for kind in 0..3 {
                let (value, log) = (census.enter(), log.clone());
                let child = async move {
                    let _value = value;
                    log.say("polled");
                    Ok(())
                };
                handles.push(match kind {
                    0 => g.spawn(child),
                    1 => g.spawn_local(child),
                    _ => g.spawner().spawn(child),
                });
            }
            shield(async {
                for handle in handles {
                    assert_eq!(handle.await, Err(Aborted::Cancelled));
                }
            })
            .await;
            assert_eq!(census.alive(), 0);
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Spawning from a cleanup while the group is cancelled is accepted, and comes to nothing.
#[test]
fn spawning_from_a_cleanup_is_accepted_and_dropped() {
    everywhere(|| async {
        let log = Log::default();
        let stopped = group(async |g| {
            g.cancel();
            finally(async {}, async {
                let task = g.spawn({
                    let log = log.clone();
                    async move {
                        log.say("polled");
                        Ok(())
                    }
                });
                log.say(format!("{:?}", task.await));
            })
            .await;
            Ok(())
        });
        assert!(stopped.await.is_err());
        assert_eq!(log.entries(), ["Err(Cancelled)"]);
    });
}

/// A panic is a member of the error group, that of the body included.
#[test]
fn a_panic_is_a_member_of_the_error_group() {
    everywhere(|| async {
        let failed = group(async |g| {
            g.spawn(async { if true { panic!("child") } else { Ok(()) } });
            if true { panic!("body") } else { Ok(()) }
        })
        .await
        .unwrap_err();
        assert!(
            (1..=2).contains(&failed.len()),
            "the child may be cancelled before its first poll"
        );
        let bodies = failed.iter().filter(|failure| {
            matches!(failure.kind(), FailureKind::Panic(p) if p.message() == Some("body"))
        });
        assert_eq!(bodies.count(), 1);
    });
}

/// With `resume_panics` the panic goes on, after the join.
#[test]
fn a_resumed_panic_comes_after_the_join() {
    let census = Census::default();
    let payload = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let resuming = TaskGroup::builder().resume_panics().run(async |g| {
            let value = census.enter();
            g.spawn(async move {
                let _value = value;
                finally(pending::<()>(), let_others_run()).await;
                Ok(())
            });
            let_others_run().await;
            if true { panic!("body") } else { Ok(()) }
        });
        common::watched("resuming", || run(resuming))
    }))
    .unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"body"));
    assert_eq!((census.entered(), census.alive()), (1, 0));
}

/// A child that returns a `Cancelled` or `TimedOut` of its own scope as its error has failed.
/// (Case 62.)
#[test]
fn an_error_is_an_error_whatever_its_type() {
    everywhere(|| async {
        let failed = group(async |g| {
            g.spawn(async {
                timeout(Duration::ZERO, pending::<()>()).await?;
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap_err();
        assert!(failed.find::<TimedOut>().is_some() && failed.len() == 1);

        let failed = group(async |g| {
            g.spawn(async {
                let scope = CancelScope::new();
                scope.handle().cancel();
                scope.run(pending::<()>()).await?;
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap_err();
        assert!(failed.find::<Cancelled>().is_some() && failed.len() == 1);
        assert!(!failed.is_cancelled());
    });
}

/// The `Aborted` of a task of the same group is left out beside the failure that it repeats.
#[test]
fn an_echo_is_left_out_beside_its_failure() {
    everywhere(|| async {
        let failed = group(async |g| {
            let fails = g.spawn(async { Err::<(), _>("real".into()) });
            shield(async { until(|| fails.is_finished()).await }).await;
            fails.await?;
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed.first().unwrap().error().unwrap().to_string(), "real");
    });
}

/// Alone, an `Aborted` is an error like any other, and so is one of a task of another group.
#[test]
fn an_aborted_without_its_failure_is_reported() {
    everywhere(|| async {
        let failed = group(async |g| {
            let task = g.spawn(pending::<Result<(), Error>>());
            task.cancel();
            task.await?;
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed.find::<Aborted>(), Some(&Aborted::Cancelled));

        let failed = group(async |outer| {
            let task = outer.spawn(pending::<Result<(), Error>>());
            task.cancel();
            group(async |inner| {
                inner.spawn(async {
                    task.await?;
                    Ok(())
                });
                Ok(())
            })
            .await?;
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(failed.find::<Aborted>(), Some(&Aborted::Cancelled));
    });
}

/// The outer scope is cancelled while the inner one unwinds: the outer absorbs.
#[test]
fn the_outer_scope_takes_over_while_the_inner_unwinds() {
    everywhere(|| async {
        let log = Log::default();
        let outer = CancelScope::new();
        let handle = outer.handle();
        let outcome = outer
            .run(async {
                let cut = timeout(
                    Duration::ZERO,
                    finally(pending::<()>(), async { handle.cancel() }),
                );
                log.say(format!("between: {:?}", cut.await.is_err()));
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Two deadlines are past when the task gets its turn: the outermost takes everything.
#[test]
fn the_outermost_of_two_past_deadlines_takes_everything() {
    everywhere(|| async {
        let log = Log::default();
        let past = now();
        let outcome = timeout_at(past, async {
            let inner = timeout_at(past, pending::<()>()).await;
            log.say(format!("between: {:?}", inner.is_err()));
        });
        assert!(outcome.await.is_err());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// With no time at all, the body is polled once.
#[test]
fn no_time_is_one_poll() {
    everywhere(|| async {
        let polls = common::Polls::default();
        assert_eq!(
            timeout(Duration::ZERO, polls.of(future::ready(7))).await,
            Ok(7)
        );
        assert_eq!(polls.count(), 1);
        let polls = common::Polls::default();
        assert!(
            timeout(Duration::ZERO, polls.of(yield_now()))
                .await
                .is_err()
        );
        assert_eq!(polls.count(), 1);
    });
}

/// Of two shields one after the other, with the cancellation in the first, both run.
#[test]
fn shields_in_a_row_both_run() {
    everywhere(|| async {
        let log = Log::default();
        let stopped = group(async |g| {
            shield(async {
                g.cancel();
                yield_now().await;
                log.say("first");
            })
            .await;
            shield(async {
                yield_now().await;
                log.say("second");
            })
            .await;
            yield_now().await;
            log.say("never");
            Ok(())
        });
        assert!(stopped.await.is_err());
        assert_eq!(log.entries(), ["first", "second"]);
    });
}

/// A finalizer or a bracket that is reached while cancelled runs its cleanup, and not its body.
#[test]
fn a_finalizer_reached_while_cancelled_runs_its_cleanup() {
    everywhere(|| async {
        let log = Log::default();
        let stopped = group(async |g| {
            g.cancel();
            let inner = bracket(
                (),
                async |()| log.say("used"),
                async |()| log.say("released"),
            );
            finally(async { log.say("body") }, async {
                inner.await;
                log.say("cleanup");
            })
            .await;
            log.say("never");
            Ok(())
        });
        assert!(stopped.await.is_err());
        // The cleanup is shielded, so what it holds is not under the cancellation any more.
        assert_eq!(log.entries(), ["used", "released", "cleanup"]);
    });
}

/// An empty group resolves in its first poll, and wakes nobody. (Case 2.)
#[test]
fn an_empty_group_resolves_in_its_first_poll() {
    let (wakes, waker) = CountWakes::new();
    let mut empty = pin!(group(async |_g| Ok(7)));
    let Poll::Ready(Ok(7)) = empty.as_mut().poll(&mut Context::from_waker(&waker)) else {
        panic!("the group is not ready");
    };
    assert_eq!(wakes.count(), 0);
    drop(waker);
    assert_eq!(std::sync::Arc::strong_count(&wakes), 1);
}

/// Somebody else's combinator drops a finalizer: body and cleanup go there and then.
#[test]
fn a_foreign_drop_takes_body_and_cleanup() {
    on_threads(|| async {
        let (census, log) = (Census::default(), Log::default());
        let (body, cleanup) = (census.enter(), census.enter());
        let finalizer = finally(
            async {
                let _value = body;
                pending::<()>().await;
            },
            async {
                let _value = cleanup;
                log.say("cleanup");
            },
        );
        future::or(finalizer, let_others_run()).await;
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Somebody else's combinator drops a group: what was deferred runs all the same, before the group
/// around it ends.
#[test]
fn a_foreign_drop_does_not_take_what_was_deferred() {
    everywhere(|| async {
        let log = Log::default();
        let outcome = group(async |_outer| {
            let doomed = group(async |g| {
                let deferred = log.clone();
                g.defer(async move {
                    yield_now().await;
                    deferred.say("deferred");
                });
                pending::<Result<(), Error>>().await
            });
            let ended = future::or(async { drop(doomed.await) }, let_others_run());
            ended.await;
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!(log.entries(), ["deferred"]);
    });
}

/// Ready in the step of the cancellation wins; but a body is not polled again once its scope is
/// cancelled.
#[test]
fn ready_in_the_step_of_the_cancellation_wins() {
    let gate = common::Gate::default();
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut running = pin!(scope.run(async {
        gate.wait().await;
        handle.cancel();
        7
    }));
    assert!(poll_once(running.as_mut()).is_pending());
    gate.open();
    assert!(matches!(poll_once(running.as_mut()), Poll::Ready(Ok(7))));

    let gate = common::Gate::default();
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut running = pin!(scope.run(async {
        gate.wait().await;
        7
    }));
    assert!(poll_once(running.as_mut()).is_pending());
    handle.cancel();
    gate.open();
    assert!(matches!(poll_once(running.as_mut()), Poll::Ready(Err(_))));
}

/// A run inside a run is refused, and the message says what to do instead. (Case 240.)
#[test]
fn a_run_inside_a_run_is_refused() {
    let refused = common::watched("a run inside a run", || {
        run(async { panic::catch_unwind(|| run(async {})) })
    });
    let payload = refused.unwrap_err();
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap();
    assert!(message.contains("await"), "{message}");
}

/// A failure that nobody reads through the handle is reported all the same. (Case 146.)
#[test]
fn a_failure_nobody_asked_for_is_reported() {
    everywhere(|| async {
        let failed = group(async |g| {
            drop(g.spawn(async { Err::<(), _>("unread".into()) }));
            Ok(())
        });
        assert_eq!(failed.await.unwrap_err().len(), 1);
    });
}

/// One single failure is an error group like many. (Case 32.)
#[test]
fn one_failure_is_a_group() {
    everywhere(|| async {
        let failed: ErrorGroup = group(async |_g| Err::<(), _>("only".into()))
            .await
            .unwrap_err();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed.first().unwrap().error().unwrap().to_string(), "only");
    });
}

/// A group that is cancelled by hand and has no failure fails with an empty error group, unless its
/// body had returned its value.
#[test]
fn a_group_cancelled_by_hand_fails_with_an_empty_group() {
    everywhere(|| async {
        let stopped = group(async |g| {
            g.cancel();
            pending::<Result<(), Error>>().await
        });
        let stopped = stopped.await.unwrap_err();
        assert!(stopped.is_empty() && stopped.is_cancelled() && stopped.first().is_none());

        let kept = group(async |g| {
            g.spawn(pending::<Result<(), _>>());
            g.cancel();
            Ok(7)
        });
        assert_eq!(kept.await.unwrap(), 7);
    });
}
