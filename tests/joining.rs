//! Law 1, ownership. A group joins: it returns when its body and every task in it are gone, and not
//! before.

mod common;

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use common::{
    Census, CountWakes, Gate, Log, OnDrop, everywhere, for_ever, let_others_run, on_threads,
    watched,
};
use futures_lite::future::poll_once;
use headcount::{Aborted, CancelScope, TaskGroup, finally, group, shield};

/// Polls a future a few times, and lets others run in between; it must not be done by then.
async fn stays_pending<F: Future>(mut future: Pin<&mut F>, why: &str) {
    for _ in 0..10 {
        assert!(poll_once(future.as_mut()).await.is_none(), "{why}");
        let_others_run().await;
    }
}

/// Case 1. A body that returns early neither ends the group nor cancels what runs in it.
#[test]
fn an_early_return_of_the_body_waits_for_the_tasks() {
    everywhere(|| async {
        let (gate, log) = (Gate::default(), Log::default());
        let mut joined = pin!(group(async |g| {
            let (at, to) = (gate.clone(), log.clone());
            g.spawn(async move {
                at.wait().await;
                to.say("parallel");
                Ok(())
            });
            g.spawn_local(async {
                gate.wait().await;
                log.say("borrowing");
                Ok(())
            });
            Ok("the value of the body")
        }));
        stays_pending(joined.as_mut(), "two tasks still wait").await;
        assert_eq!(log.entries(), Vec::<String>::new());

        gate.open();
        assert_eq!(joined.await.unwrap(), "the value of the body");
        assert!(log.has("parallel") && log.has("borrowing"));
    });
}

/// Case 1. What is not started yet when the body returns is run all the same.
#[test]
fn a_task_that_was_queued_behind_a_limit_is_waited_for() {
    everywhere(|| async {
        let log = Log::default();
        TaskGroup::builder()
            .limit(1)
            .run(async |g| {
                for i in 0..5 {
                    let log = log.clone();
                    g.spawn(async move {
                        let_others_run().await;
                        log.say(i.to_string());
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(log.entries(), ["0", "1", "2", "3", "4"]);
    });
}

/// Case 2. A group in which nobody waits is over in its first poll: leaving it forces nobody to
/// wait a turn. (Other libraries promise a turn for the others here; ours is said in the design.)
#[test]
fn an_empty_group_returns_in_its_first_poll() {
    let ready = common::poll_once(pin!(group(async |_g| Ok(7))).as_mut());
    assert!(matches!(ready, Poll::Ready(Ok(7))));

    let nested = pin!(group(async |_g| Ok(group(async |_g| Ok(7)).await?)));
    assert!(matches!(common::poll_once(nested), Poll::Ready(Ok(7))));
}

/// Case 2. So is one whose borrowing tasks do not wait.
#[test]
fn a_group_of_borrowing_tasks_that_never_wait_returns_in_its_first_poll() {
    let words = ["one", "two"];
    let count = pin!(group(async |g| {
        let first = g.spawn_local(async { Ok(words[0].len()) });
        let second = g.spawn_local(async { Ok(words[1].len()) });
        Ok(first.await? + second.await?)
    }));
    assert!(matches!(common::poll_once(count), Poll::Ready(Ok(6))));
}

/// Case 4. A cancellation that comes while nothing but the join is left goes to the tasks. The join
/// itself is not cancelled: it goes on until they are gone. One of them was cut, so what the group was
/// to do is not done, and what comes after it does not run.
#[test]
fn a_cancelled_join_waits_for_what_the_tasks_still_have_to_do() {
    everywhere(|| async {
        let (begun, gate, log) = (Gate::default(), Gate::default(), Log::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut outcome = pin!(scope.run(async {
            let joined = group(async |g| {
                let (begun, gate, log) = (begun.clone(), gate.clone(), log.clone());
                g.spawn(async move {
                    let cleanup = async move {
                        gate.wait().await;
                        log.say("cleaned up");
                    };
                    finally(
                        async {
                            begun.open();
                            for_ever().await
                        },
                        cleanup,
                    )
                    .await
                });
                Ok("the body is long gone")
            });
            log.say(joined.await.unwrap());
            headcount::checkpoint().await;
            log.say("after the next wait");
        }));
        while !begun.is_open() {
            assert!(poll_once(outcome.as_mut()).await.is_none());
            let_others_run().await;
        }
        handle.cancel();
        stays_pending(outcome.as_mut(), "the cleanup of a task still waits").await;
        assert_eq!(log.entries(), Vec::<String>::new());

        gate.open();
        assert!(outcome.await.is_err());
        assert_eq!(
            log.entries(),
            ["cleaned up"],
            "what comes after the join does not run"
        );
    });
}

/// Case 5. Cancelling again while the join waits for a shield neither ends it nor is forgotten.
#[test]
fn a_second_cancellation_does_not_end_the_join() {
    everywhere(|| async {
        let (begun, gate, log) = (Gate::default(), Gate::default(), Log::default());
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (cancel_outer, cancel_inner) = (outer.handle(), inner.handle());
        let mut outcome = pin!(outer.run(async {
            let inner = inner.run(group(async |g| {
                let (begun, gate, log) = (begun.clone(), gate.clone(), log.clone());
                g.spawn(async move {
                    shield(async {
                        begun.open();
                        gate.wait().await;
                        log.say("shielded");
                    })
                    .await;
                    headcount::checkpoint().await;
                    log.say("after the shield");
                    Ok(())
                });
                for_ever().await
            }));
            drop(inner.await);
            log.say("between the scopes");
        }));
        while !begun.is_open() {
            assert!(poll_once(outcome.as_mut()).await.is_none());
            let_others_run().await;
        }
        cancel_inner.cancel_with("first");
        cancel_inner.cancel_with("again");
        stays_pending(outcome.as_mut(), "the shield still holds").await;
        cancel_outer.cancel_with("second");
        stays_pending(outcome.as_mut(), "the shield still holds").await;

        gate.open();
        assert_eq!(outcome.await.unwrap_err().reason(), Some("second"));
        assert_eq!(log.entries(), ["shielded"]);
    });
}

/// Case 5. Of several cancellations of one group the first reason stays.
#[test]
fn a_repeated_cancellation_keeps_the_first_reason() {
    everywhere(|| async {
        let gate = Gate::default();
        let mut joined = pin!(group(async |g| {
            g.cancel_with("first");
            g.spawn_local(async { Ok(()) });
            shield(gate.wait()).await;
            g.cancel_with("second");
            for_ever().await
        }));
        stays_pending(joined.as_mut(), "the shield still holds").await;
        gate.open();
        let stopped = joined.await.unwrap_err();
        assert!(stopped.is_cancelled() && stopped.is_empty());
        assert_eq!(stopped.reason(), Some("first"));
    });
}

/// Case 7. A group that is open for long forgets every task that has ended, and what it owned.
#[test]
fn a_long_lived_group_forgets_tasks_that_have_ended() {
    const ROUNDS: usize = 2_000;

    on_threads(|| async {
        let census = Census::default();
        group(async |g| {
            let (mut longest, mut most) = (0, 0);
            for _ in 0..ROUNDS {
                let (one, two) = (census.enter(), census.enter());
                let parallel = g.spawn(async move {
                    drop(one);
                    Ok(())
                });
                let local = g.spawn_local(async move {
                    drop(two);
                    Ok(())
                });
                parallel.await?;
                local.await?;
                longest = longest.max(g.len());
                most = most.max(census.alive());
            }
            assert!(longest < 50, "{longest} of {ROUNDS} are still counted");
            assert!(most < 50, "{most} of {ROUNDS} values are still alive");
            while !g.is_empty() {
                headcount::checkpoint().await;
            }
            assert_eq!(census.alive(), 0);
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(census.entered(), 2 * ROUNDS);
    });
}

/// Case 10. When the group has returned, everything that its cancelled tasks owned is destroyed:
/// those that had begun, those that had not, and what they had put into tasks of their own.
#[test]
fn values_of_cancelled_tasks_are_gone_with_the_group() {
    everywhere(|| async {
        let census = Census::default();
        let stopped = group(async |g| {
            for i in 0..100 {
                let value = census.enter();
                let census = census.clone();
                if i % 2 == 0 {
                    g.spawn(async move {
                        let _value = value;
                        let nested = group(async |h| {
                            let value = census.enter();
                            h.spawn(async move {
                                let _value = value;
                                for_ever().await
                            });
                            for_ever().await
                        });
                        Ok(nested.await?)
                    });
                } else {
                    g.spawn_local(async move {
                        let _value = value;
                        for_ever().await
                    });
                }
            }
            let _mine = census.enter();
            let_others_run().await;
            g.cancel();
            for_ever().await
        })
        .await;
        assert_eq!(census.alive(), 0);
        assert!(stopped.unwrap_err().is_cancelled());
        assert!(census.entered() >= 101);
    });
}

/// Case 10. A destructor that takes its time on another thread is waited for.
#[test]
fn the_group_waits_for_a_destructor_on_another_thread() {
    everywhere(|| async {
        let (begun, log) = (Gate::default(), Log::default());
        let stopped = group(async |g| {
            let (started, log) = (begun.clone(), log.clone());
            g.spawn(async move {
                let _slow = OnDrop::new(move || {
                    for _ in 0..1_000 {
                        thread::yield_now();
                    }
                    log.say("destroyed");
                });
                started.open();
                for_ever().await
            });
            begun.wait().await;
            g.cancel();
            for_ever().await
        })
        .await;
        assert_eq!(log.entries(), ["destroyed"]);
        assert!(stopped.unwrap_err().is_empty());
    });
}

/// Case 11. Nothing holds itself alive: tasks with each other's handles and with handles of their
/// group are all released once the group has failed, and so is its error.
#[test]
fn a_failed_group_leaves_no_cycle_behind() {
    everywhere(|| async {
        let value = Arc::new(());
        let handles = Arc::new(Mutex::new(Vec::new()));
        let failed = group(async |g| {
            for _ in 0..3 {
                let all = (Arc::clone(&value), Arc::clone(&handles), g.spawner());
                let task = g.spawn(async move {
                    let _all = all;
                    headcount::sleep(Duration::MAX).await;
                    Ok(())
                });
                handles.lock().unwrap().push(task);
            }
            let all = (Arc::clone(&value), Arc::clone(&handles), g.clone());
            g.spawn_local(async move {
                let _all = all;
                headcount::timeout(Duration::from_secs(3600), pending::<()>()).await?;
                Ok(())
            });
            let_others_run().await;
            Err::<(), _>("it fails".into())
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 1);
        assert_eq!(
            Arc::strong_count(&value),
            1,
            "tasks are gone with the group"
        );
        assert_eq!(Arc::strong_count(&handles), 1);

        // The handles are those of tasks that are gone; they hold nothing up either.
        let tasks = std::mem::take(&mut *handles.lock().unwrap());
        for task in tasks {
            assert_eq!(task.await, Err(Aborted::Cancelled));
        }
    });
}

/// Case 11. The waker that a group was last polled with is let go of. (No timers here: the reactor
/// lets go of a timer's waker when it next looks at its timers, not at once.)
#[test]
fn a_group_that_is_over_keeps_no_waker() {
    watched("by hand", || {
        let (counter, waker) = CountWakes::new();
        let cx = &mut Context::from_waker(&waker);
        let mut joined = Box::pin(group(async |g| {
            g.spawn(for_ever());
            g.spawn_local(for_ever());
            let_others_run().await;
            g.cancel();
            for_ever().await
        }));
        while joined.as_mut().poll(cx).is_pending() {
            thread::yield_now();
        }
        drop(joined);
        drop(waker);
        // Threads that helped may still be on their way out.
        while Arc::strong_count(&counter) > 1 {
            thread::yield_now();
        }
    });
}

/// Cases 4 and 109. A deadline that passes while a group waits for its tasks cuts them, and is
/// reported as what it is, although the body of the group has returned: what it was to do is not done.
#[test]
fn a_group_whose_tasks_were_cut_by_a_scope_around_it_has_not_been_done() {
    everywhere(|| async {
        let log = Log::default();
        let limit = Duration::from_millis(1);
        let timed_out = headcount::timeout(limit, async {
            let joined = group(async |g| {
                g.spawn(for_ever());
                Ok(())
            });
            joined.await.unwrap();
            log.say("after the group");
        });
        assert!(timed_out.await.is_err());
        assert_eq!(log.entries(), Vec::<String>::new());
    });
}

/// Cases 4 and 127. If all tasks came to their end in spite of it, nothing was cut, and the value of
/// the group stands.
#[test]
fn a_group_whose_tasks_all_came_to_their_end_keeps_its_value() {
    everywhere(|| async {
        let (begun, gate) = (Gate::default(), Gate::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut outcome = pin!(scope.run(group(async |g| {
            let (begun, gate) = (begun.clone(), gate.clone());
            g.spawn(async move {
                shield(async {
                    begun.open();
                    gate.wait().await;
                })
                .await;
                Ok(())
            });
            Ok("done")
        })));
        while !begun.is_open() {
            assert!(poll_once(outcome.as_mut()).await.is_none());
            let_others_run().await;
        }
        handle.cancel();
        gate.open();
        assert_eq!(outcome.await.unwrap().unwrap(), "done");
    });
}
