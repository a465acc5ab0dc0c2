//! Starting a task: the caller goes on when it is ready, and owns it until then.

mod common;

use std::{
    cell::RefCell,
    future::{Future, pending},
    pin::{Pin, pin},
    sync::Arc,
};

use common::{
    Census, Gate, Log, everywhere, for_ever, keep_quiet_about_purpose, leaves_of, let_others_run,
};
use futures_lite::future::{poll_once, zip};
use headcount::{
    Aborted, CancelScope, Error, FailureKind, Policy, Ready, StartError, TaskGroup, finally, group,
};

/// Polls a future a few times, and lets others run in between; it must not be done by then.
async fn stays_pending<F: Future>(mut future: Pin<&mut F>, why: &str) {
    for _ in 0..10 {
        assert!(poll_once(future.as_mut()).await.is_none(), "{why}");
        let_others_run().await;
    }
}

/// Case 22. The caller resumes with the value that was reported, while the task lives on.
#[test]
fn start_returns_what_the_task_reported() {
    everywhere(|| async {
        let (initialised, stop, log) = (Gate::default(), Gate::default(), Log::default());
        group(async |g| {
            let (ready_at, end_at, to) = (initialised.clone(), stop.clone(), log.clone());
            let mut start = pin!(g.start(|ready: Ready<u16>| async move {
                ready_at.wait().await;
                ready.send(80);
                end_at.wait().await;
                to.say("served");
                Ok(())
            }));
            stays_pending(start.as_mut(), "the task is not ready").await;
            initialised.open();
            assert_eq!(start.await.unwrap(), 80);
            assert_eq!(g.len(), 1, "the task lives on");
            assert_eq!(log.entries(), Vec::<String>::new());
            stop.open();
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(log.entries(), ["served"]);
    });
}

/// Case 23. A failure before the task is ready goes to the caller, as it is; the group and the other
/// tasks are unharmed.
#[test]
fn a_failure_before_ready_goes_to_the_caller() {
    everywhere(|| async {
        let census = Census::default();
        group(async |g| {
            let sibling = g.spawn(async {
                let_others_run().await;
                Ok("unharmed")
            });
            let value = census.enter();
            let failed = g
                .start(|ready: Ready<u16>| async move {
                    let _owned = (value, ready);
                    let_others_run().await;
                    Ok("eighty".parse::<u16>().map(drop)?)
                })
                .await;
            assert_eq!(census.alive(), 0, "the task is gone by then");
            match failed.unwrap_err() {
                StartError::Failed(error) => {
                    assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
                }
                other => panic!("{other:?}"),
            }
            assert!(!g.is_cancelled());
            assert_eq!(sibling.await?, "unharmed");
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// Case 23. So does a panic.
#[test]
fn a_panic_before_ready_goes_to_the_caller() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        group(async |g| {
            let failed = g
                .start(|ready: Ready<u16>| async move {
                    let_others_run().await;
                    if true {
                        panic!("on purpose");
                    }
                    ready.send(80);
                    Ok(())
                })
                .await;
            match failed.unwrap_err() {
                StartError::Panicked(panic) => assert_eq!(panic.message(), Some("on purpose")),
                other => panic!("{other:?}"),
            }
            assert!(!g.is_cancelled());
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// Case 23. A task that returns, or drops its `Ready`, without having reported is not ready: the
/// caller hears of that, and the group is unharmed.
#[test]
fn a_task_that_never_reports_is_not_ready() {
    everywhere(|| async {
        let (census, log) = (Census::default(), Log::default());
        group(async |g| {
            let ended = g.start(|_ready: Ready<u16>| async { Ok(()) }).await;
            assert!(matches!(ended, Err(StartError::NotReady)), "{ended:?}");

            let (value, to) = (census.enter(), log.clone());
            let dropped = g
                .start(|ready: Ready<u16>| async move {
                    let _value = value;
                    drop(ready);
                    for_ever().await?;
                    to.say("went on");
                    Ok(())
                })
                .await;
            assert!(matches!(dropped, Err(StartError::NotReady)), "{dropped:?}");
            assert_eq!(
                census.alive(),
                0,
                "nobody waits for it any more, so it is cancelled"
            );
            assert!(!g.is_cancelled());
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(log.entries(), Vec::<String>::new());
    });
}

/// Case 25. A failure after the task is ready is the group's: the start has succeeded.
#[test]
fn a_failure_after_ready_goes_to_the_group() {
    everywhere(|| async {
        let (gate, log) = (Gate::default(), Log::default());
        let failed = group(async |g| {
            let at = gate.clone();
            let port = g.start(|ready: Ready<u16>| async move {
                ready.send(80);
                at.wait().await;
                Err("it fails later".into())
            });
            log.say(format!("{}", port.await?));
            gate.open();
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(log.entries(), ["80"]);
        assert_eq!(leaves_of(&failed), ["it fails later"]);
    });
}

/// Case 25. Also in the same step: what was reported is not thrown away because the task failed
/// right after.
#[test]
fn a_failure_in_the_step_of_ready_goes_to_the_group() {
    everywhere(|| async {
        let log = Log::default();
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                let port = g.start(|ready: Ready<u16>| async move {
                    ready.send(80);
                    Err("it fails at once".into())
                });
                log.say(format!("{}", port.await?));
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(log.entries(), ["80"]);
        assert_eq!(leaves_of(&failed), ["it fails at once"]);
    });
}

/// Case 26. Cancelling the caller cancels the task that is not ready yet, and waits until it is
/// gone; the group is not cancelled.
#[test]
fn cancelling_a_start_cancels_the_task_and_nothing_else() {
    everywhere(|| async {
        let (begun, gate) = (Gate::default(), Gate::default());
        let (census, log) = (Census::default(), Log::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        group(async |g| {
            let sibling = g.spawn(async {
                let_others_run().await;
                Ok("unharmed")
            });
            let (started, at, value, to) =
                (begun.clone(), gate.clone(), census.enter(), log.clone());
            let mut start = pin!(scope.run(g.start(|ready: Ready<u16>| async move {
                let _owned = (value, ready);
                finally(
                    async move {
                        started.open();
                        for_ever().await
                    },
                    async move {
                        at.wait().await;
                        to.say("cleaned up");
                    },
                )
                .await
            })));
            while !begun.is_open() {
                assert!(poll_once(start.as_mut()).await.is_none());
                let_others_run().await;
            }
            handle.cancel();
            stays_pending(start.as_mut(), "the task still cleans up").await;
            assert_eq!(census.alive(), 1);

            gate.open();
            let cut = start.await;
            assert!(cut.is_err(), "{cut:?}");
            assert_eq!(census.alive(), 0);
            assert_eq!(log.entries(), ["cleaned up"]);
            assert!(!g.is_cancelled());
            assert_eq!(sibling.await?, "unharmed");
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// Case 26. A start that was cut is no failure of the body that waited in it: the scope that was
/// cancelled absorbs it, and what comes after the start does not run.
#[test]
fn a_start_that_was_cut_is_not_reported_as_a_failure() {
    everywhere(|| async {
        for cleans_up in [false, true] {
            let log = Log::default();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let cut = scope.run(group(async |g| {
                let handle = handle.clone();
                let outcome = g
                    .start(|ready: Ready<u16>| async move {
                        let _never_sent = ready;
                        handle.cancel();
                        if cleans_up {
                            finally(for_ever(), let_others_run()).await
                        } else {
                            for_ever().await
                        }
                    })
                    .await;
                log.say(format!("after the start: {outcome:?}"));
                outcome?;
                Ok(())
            }));
            let cut = cut.await;
            assert!(cut.is_err(), "cleans up: {cleans_up}: {cut:?}");
            assert_eq!(log.entries(), Vec::<String>::new());
        }
    });
}

/// Case 26. Somebody else's combinator that drops the start leaves the task to the group, cancelled.
#[test]
fn dropping_a_start_leaves_the_cancelled_task_to_the_group() {
    everywhere(|| async {
        let (begun, census, log) = (Gate::default(), Census::default(), Log::default());
        group(async |g| {
            {
                let (started, value, to) = (begun.clone(), census.enter(), log.clone());
                let mut start = pin!(g.start(|ready: Ready<u16>| async move {
                    let _owned = (value, ready);
                    finally(
                        async move {
                            started.open();
                            for_ever().await
                        },
                        async move {
                            let_others_run().await;
                            to.say("cleaned up");
                        },
                    )
                    .await
                }));
                while !begun.is_open() {
                    assert!(poll_once(start.as_mut()).await.is_none());
                    let_others_run().await;
                }
            }
            assert!(!g.is_cancelled());
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

/// Case 28. A group whose body has ended stays open while somebody elsewhere waits in a start on it,
/// and takes the task in when it is ready.
#[test]
fn a_pending_start_keeps_the_group_open() {
    everywhere(|| async {
        let (gate, may_end, log) = (Gate::default(), Gate::default(), Log::default());
        let stash = RefCell::new(None);
        let mut target = pin!(group(async |g| {
            let (at, to) = (gate.clone(), log.clone());
            *stash.borrow_mut() = Some(g.start_task(|ready: Ready<u16>| async move {
                at.wait().await;
                ready.send(80);
                let_others_run().await;
                to.say("served");
                Ok(())
            }));
            // Go on until the caller, who is outside, waits in the start.
            may_end.wait().await;
            Ok("the body ends")
        }));
        assert!(poll_once(target.as_mut()).await.is_none());
        let mut start = pin!(stash.borrow_mut().take().unwrap());
        assert!(poll_once(start.as_mut()).await.is_none());

        may_end.open();
        stays_pending(target.as_mut(), "somebody waits in a start").await;
        gate.open();
        let (ended, started) = zip(target, start).await;
        assert_eq!(ended.unwrap(), "the body ends");
        let (port, task) = started.unwrap();
        assert_eq!(port, 80);
        assert_eq!(task.await, Ok(()));
        assert!(log.has("served"));
    });
}

/// Case 28. If that task fails instead, its caller hears of it, and the group returns unharmed.
#[test]
fn a_group_kept_open_by_a_start_that_fails_is_unharmed() {
    everywhere(|| async {
        let (gate, may_end) = (Gate::default(), Gate::default());
        let stash = RefCell::new(None);
        let mut target = pin!(group(async |g| {
            let at = gate.clone();
            *stash.borrow_mut() = Some(g.start(|ready: Ready<u16>| async move {
                let _never_sent = ready;
                at.wait().await;
                Err("it fails".into())
            }));
            may_end.wait().await;
            Ok("the body ends")
        }));
        assert!(poll_once(target.as_mut()).await.is_none());
        let mut start = pin!(stash.borrow_mut().take().unwrap());
        assert!(poll_once(start.as_mut()).await.is_none());

        may_end.open();
        stays_pending(target.as_mut(), "somebody waits in a start").await;
        gate.open();
        let (ended, started) = zip(target, start).await;
        assert_eq!(ended.unwrap(), "the body ends");
        assert!(matches!(started, Err(StartError::Failed(_))), "{started:?}");
    });
}

/// Case 29. If the group was cancelled while the task was starting, the task is cancelled as it
/// enters it, and so are the tasks that it has below itself and that are asleep already.
#[test]
fn entering_a_cancelled_group_cancels_the_whole_subtree() {
    everywhere(|| async {
        let (asleep, enter, may_end) = (Gate::default(), Gate::default(), Gate::default());
        let (census, log) = (Census::default(), Log::default());
        let stash = RefCell::new(None);
        let mut target = pin!(group(async |g| {
            let (asleep, enter) = (asleep.clone(), enter.clone());
            let (census, to) = (census.clone(), log.clone());
            *stash.borrow_mut() = Some(g.start(|ready: Ready<u16>| async move {
                let nested = group(async |h| {
                    for _ in 0..3 {
                        let value = census.enter();
                        h.spawn(async move {
                            let _value = value;
                            for_ever().await
                        });
                    }
                    let_others_run().await;
                    asleep.open();
                    enter.wait().await;
                    ready.send(80);
                    for_ever().await
                });
                nested.await?;
                to.say("went on");
                Ok(())
            }));
            may_end.wait().await;
            g.cancel();
            for_ever().await
        }));
        assert!(poll_once(target.as_mut()).await.is_none());
        let mut start = pin!(stash.borrow_mut().take().unwrap());
        while !asleep.is_open() {
            assert!(poll_once(start.as_mut()).await.is_none());
            let_others_run().await;
        }
        may_end.open();
        // The group is cancelled now, but the task is not in it yet.
        stays_pending(target.as_mut(), "a task is still being started").await;
        stays_pending(start.as_mut(), "the task is not ready yet").await;
        assert_eq!(census.alive(), 3);

        enter.open();
        let (ended, started) = zip(target, start).await;
        assert!(ended.unwrap_err().is_cancelled());
        assert_eq!(started.unwrap(), 80, "it was ready all the same");
        assert_eq!(census.alive(), 0);
        assert!(!log.has("went on"));
    });
}

/// Case 29. A start into a group that was cancelled before does not run the task at all.
#[test]
fn a_start_into_a_cancelled_group_is_cancelled() {
    everywhere(|| async {
        let log = Log::default();
        let stopped = group(async |g| {
            g.cancel();
            let to = log.clone();
            let start = g.start(|ready: Ready<u16>| async move {
                to.say("ran");
                ready.send(80);
                Ok(())
            });
            // The body is cancelled with its group, so somebody else has to look at the outcome.
            let outcome = headcount::shield(start).await;
            assert!(matches!(outcome, Err(StartError::Cancelled)), "{outcome:?}");
            log.say("start gave up");
            for_ever().await
        })
        .await
        .unwrap_err();
        assert!(stopped.is_cancelled() && stopped.is_empty());
        assert_eq!(log.entries(), ["start gave up"]);
    });
}

/// Case 31. The handle of a started task cancels it; the value that it reported stays readable next
/// to how it ended.
#[test]
fn the_reported_value_outlives_the_task() {
    everywhere(|| async {
        group(async |g| {
            let value = Arc::new(());
            let reported = Arc::clone(&value);
            let (ready, task) = g
                .start_task(|ready: Ready<Arc<()>>| async move {
                    ready.send(reported);
                    for_ever().await
                })
                .await?;
            assert!(!task.is_finished());
            task.cancel();
            assert_eq!(task.await, Err(Aborted::Cancelled));
            assert!(Arc::ptr_eq(&ready, &value));

            let (ready, task) = g
                .start_task(|ready: Ready<u16>| async move {
                    ready.send(80);
                    Ok(())
                })
                .await?;
            assert_eq!((ready, task.await), (80, Ok(())));
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// A task being started is in the scopes of its caller; once it is ready, in those of its group.
#[test]
fn a_started_task_leaves_the_deadlines_of_its_caller() {
    everywhere(|| async {
        let (gate, seen) = (Gate::default(), Log::default());
        group(async |g| {
            let (at, to) = (gate.clone(), seen.clone());
            let start = g.start(|ready: Ready<u16>| async move {
                to.say(format!("{}", headcount::deadline().is_some()));
                ready.send(80);
                at.wait().await;
                to.say(format!("{}", headcount::deadline().is_some()));
                Ok(())
            });
            headcount::timeout(std::time::Duration::from_secs(3600), start).await??;
            gate.open();
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(seen.entries(), ["true", "false"]);
    });
}

/// Cancelling what the caller is in, after the task was ready, does not touch the task.
#[test]
fn a_ready_task_is_not_cancelled_with_its_caller() {
    everywhere(|| async {
        let (gate, log) = (Gate::default(), Log::default());
        group(async |g| {
            let (at, to) = (gate.clone(), log.clone());
            let scope = CancelScope::new();
            let handle = scope.handle();
            let cut = scope
                .run(async {
                    g.start(|ready: Ready<u16>| async move {
                        ready.send(80);
                        at.wait().await;
                        to.say("served");
                        Ok(())
                    })
                    .await
                    .unwrap();
                    handle.cancel();
                    pending::<()>().await
                })
                .await;
            assert!(cut.is_err());
            gate.open();
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(log.entries(), ["served"]);
    });
}

/// An error type of one's own comes out of a start as it is.
#[test]
fn a_start_fails_with_the_error_type_of_the_group() {
    #[derive(Debug, PartialEq)]
    struct PortTaken(u16);

    everywhere(|| async {
        TaskGroup::builder()
            .errors::<PortTaken>()
            .run(async |g| {
                let failed = g
                    .start(|ready: Ready<()>| async {
                        let _never_sent = ready;
                        Err(PortTaken(80))
                    })
                    .await;
                assert!(matches!(failed, Err(StartError::Failed(PortTaken(80)))));
                Ok(())
            })
            .await
            .unwrap();
    });
}

/// The texts of a start that did not succeed, and where each leads.
#[test]
fn start_errors_say_what_happened() {
    use std::error::Error as _;

    let failed: StartError = StartError::Failed("no route".into());
    let text = |error: &StartError| (error.to_string(), error.source().map(|e| e.to_string()));
    let (failed_text, source) = text(&failed);
    assert!(
        failed_text.contains("failed before it was ready"),
        "{failed_text}"
    );
    assert_eq!(source.as_deref(), Some("no route"));
    let (not_ready, source) = text(&StartError::NotReady);
    assert!(
        not_ready.contains("ready") && source.is_none(),
        "{not_ready}"
    );
    let (cancelled, source) = text(&StartError::Cancelled);
    assert!(
        cancelled.contains("cancelled") && source.is_none(),
        "{cancelled}"
    );
}

/// A started task that fails before it is ready is told of once: not in the group's report too.
#[test]
fn a_failed_start_is_reported_once() {
    everywhere(|| async {
        let failed = group(async |g| {
            g.start(|ready: Ready<()>| async {
                let _never_sent = ready;
                Err::<(), Error>("no route".into())
            })
            .await?;
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 1);
        let FailureKind::Error(error) = failed.first().unwrap().kind() else {
            unreachable!()
        };
        assert!(matches!(
            error.downcast_ref(),
            Some(StartError::<Error>::Failed(_))
        ));
    });
}
