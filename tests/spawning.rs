//! Spawning: from the body, from tasks, from elsewhere; into groups that are open, cancelled, closed.

mod common;

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use common::{
    Census, Gate, Log, OnDrop, everywhere, for_ever, let_others_run, on_threads, sorted_leaves_of,
};
use futures_lite::future::poll_once;
use headcount::{Aborted, CancelScope, Error, Policy, TaskGroup, finally, group};

/// Case 13. A group that has returned takes no more work: the future comes back unrun, in one piece.
#[test]
fn a_closed_group_gives_the_future_back() {
    everywhere(|| async {
        let census = Census::default();
        let spawner = group(async |g| Ok(g.spawner())).await.unwrap();
        let (value, ran) = (census.enter(), Arc::new(AtomicBool::new(false)));
        let rejected = {
            let ran = Arc::clone(&ran);
            spawner.try_spawn(async move {
                let _value = value;
                ran.store(true, Ordering::SeqCst);
                Ok(7)
            })
        };
        let future = rejected.unwrap_err().0;
        assert_eq!(census.alive(), 1);
        assert!(!ran.load(Ordering::SeqCst));

        // It is the caller's now, who may run it, or not.
        assert_eq!(future.await.unwrap(), 7);
        assert_eq!(census.alive(), 0);
        assert!(ran.load(Ordering::SeqCst));
    });
}

/// Case 13. Also after a group that failed, was cancelled, or was dropped and is gone.
#[test]
fn every_group_that_is_over_is_closed() {
    everywhere(|| async {
        let spawners = Mutex::new(Vec::new());
        let keep = |g: &TaskGroup<'_>| spawners.lock().unwrap().push(g.spawner());

        let failed = group(async |g| {
            keep(&g);
            Err::<(), _>("it fails".into())
        });
        assert_eq!(failed.await.unwrap_err().len(), 1);
        let cancelled = group(async |g| {
            keep(&g);
            g.cancel();
            for_ever().await
        });
        assert!(cancelled.await.unwrap_err().is_cancelled());
        {
            let mut dropped = pin!(group(async |g| {
                keep(&g);
                for_ever().await
            }));
            assert!(poll_once(dropped.as_mut()).await.is_none());
        }
        let spawners = std::mem::take(&mut *spawners.lock().unwrap());
        assert_eq!(spawners.len(), 3);
        for (i, spawner) in spawners.iter().enumerate() {
            assert!(spawner.try_spawn(async { Ok(()) }).is_err(), "group {i}");
        }
    });
}

/// Case 14. A task spawned into a cancelled group is dropped unpolled; its handle says cancelled.
/// What it captured is destroyed before the group returns.
#[test]
fn a_cancelled_group_drops_new_tasks_unpolled() {
    everywhere(|| async {
        let (census, log) = (Census::default(), Log::default());
        let stopped = group(async |g| {
            g.cancel();
            let (value, to) = (census.enter(), log.clone());
            let parallel = g.spawn(async move {
                let _value = value;
                to.say("parallel");
                Ok(())
            });
            let (value, to) = (census.enter(), log.clone());
            let local = g.spawn_local(async move {
                let _value = value;
                to.say("borrowing");
                Ok(())
            });
            let (value, to) = (census.enter(), log.clone());
            let through_spawner = g.spawner().try_spawn(async move {
                let _value = value;
                to.say("through a spawner");
                Ok(())
            });
            // Everything here is ready at once, so the cancelled body gets as far as its end.
            assert_eq!(parallel.await, Err(Aborted::Cancelled));
            assert_eq!(local.await, Err(Aborted::Cancelled));
            assert_eq!(through_spawner.unwrap().await, Err(Aborted::Cancelled));
            Ok("the value of the body")
        })
        .await;
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), Vec::<String>::new());
        assert_eq!(stopped.unwrap(), "the value of the body");
    });
}

/// Case 14. A group inside a scope that is cancelled already does not run its tasks either.
#[test]
fn a_group_in_a_cancelled_scope_drops_new_tasks_unpolled() {
    everywhere(|| async {
        let (census, log) = (Census::default(), Log::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.cancel();
                group(async |g| {
                    let (value, to) = (census.enter(), log.clone());
                    g.spawn(async move {
                        let _value = value;
                        to.say("parallel");
                        Ok(())
                    });
                    g.spawn_local(async {
                        log.say("borrowing");
                        Ok(())
                    });
                    for_ever().await
                })
                .await
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), Vec::<String>::new());
    });
}

/// Case 15. A task that is cancelled before its first turn never runs. It counts as cancelled, can
/// be waited for, releases what it captured, and fails nobody.
#[test]
fn a_task_cancelled_before_its_turn_never_runs() {
    everywhere(|| async {
        let (census, log, gate) = (Census::default(), Log::default(), Gate::default());
        TaskGroup::builder()
            .limit(1)
            .run(async |g| {
                let at = gate.clone();
                let ahead = g.spawn(async move {
                    at.wait().await;
                    Ok(())
                });
                let (value, to) = (census.enter(), log.clone());
                let queued = g.spawn(async move {
                    let _value = value;
                    to.say("parallel");
                    Ok(())
                });
                let (value, to) = (census.enter(), log.clone());
                let queued_local = g.spawn_local(async move {
                    let _value = value;
                    to.say("borrowing");
                    Ok(())
                });
                queued.cancel();
                queued_local.cancel();
                // Neither waits for its turn in order to be cancelled.
                assert_eq!(queued.await, Err(Aborted::Cancelled));
                assert_eq!(queued_local.await, Err(Aborted::Cancelled));
                assert_eq!(census.alive(), 0);

                gate.open();
                assert_eq!(ahead.await, Ok(()));
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(log.entries(), Vec::<String>::new());
    });
}

/// Case 15. A borrowing task gets its first turn when the body waits; until then it can be cancelled
/// without having run.
#[test]
fn a_borrowing_task_cancelled_at_once_never_runs() {
    everywhere(|| async {
        let mut ran = false;
        group(async |g| {
            let task = g.spawn_local(async {
                ran = true;
                Ok(())
            });
            task.cancel();
            assert_eq!(task.await, Err(Aborted::Cancelled));
            Ok(())
        })
        .await
        .unwrap();
        assert!(!ran);
    });
}

/// Case 16, the intent: what is handed to a task that never gets a turn is not lost with it. There
/// is no spawn with a guaranteed first poll; the value's destructor runs, or a deferred finalizer.
#[test]
fn what_was_handed_to_an_unpolled_task_is_disposed_of() {
    everywhere(|| async {
        let log = Log::default();
        let stopped = group(async |g| {
            let (to, too) = (log.clone(), log.clone());
            g.defer(async move { too.say("finalizer") });
            g.cancel();
            let handed_over = OnDrop::new(move || to.say("destructor"));
            g.spawn(async move {
                let _mine = handed_over;
                Ok(())
            });
            for_ever().await
        })
        .await;
        assert!(stopped.unwrap_err().is_cancelled());
        assert_eq!(log.entries(), ["destructor", "finalizer"]);
    });
}

/// Case 17. Work spawned from the cleanup of a task that is being cancelled is taken and dropped
/// unpolled; nothing hangs.
#[test]
fn a_spawn_from_cleanup_is_dropped_unpolled() {
    everywhere(|| async {
        let (log, begun) = (Log::default(), Gate::default());
        let failed = group(async |g| {
            let (to, started, spawner) = (log.clone(), begun.clone(), g.spawner());
            g.spawn(finally(
                async move {
                    started.open();
                    for_ever().await
                },
                async move {
                    let more = spawner.spawn({
                        let to = to.clone();
                        async move {
                            to.say("more work");
                            Ok(())
                        }
                    });
                    to.say(more.await.unwrap_err().to_string());
                },
            ));
            begun.wait().await;
            Err::<(), _>("a sibling fails".into())
        })
        .await
        .unwrap_err();
        assert_eq!(sorted_leaves_of(&failed), ["a sibling fails"]);
        assert_eq!(log.entries(), [Aborted::Cancelled.to_string()]);
    });
}

/// Case 17. The same from a destructor, which runs while the task is being dropped.
#[test]
fn a_spawn_from_a_destructor_is_dropped_unpolled() {
    everywhere(|| async {
        let (census, log, begun) = (Census::default(), Log::default(), Gate::default());
        let stopped = group(async |g| {
            let (spawner, value, to) = (g.spawner(), census.enter(), log.clone());
            let started = begun.clone();
            g.spawn(async move {
                let _spawns = OnDrop::new(move || {
                    spawner.spawn(async move {
                        let _value = value;
                        to.say("more work");
                        Ok(())
                    });
                });
                started.open();
                for_ever().await
            });
            begun.wait().await;
            g.cancel();
            for_ever().await
        })
        .await;
        assert!(stopped.unwrap_err().is_cancelled());
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), Vec::<String>::new());
    });
}

/// Cases 19 and 20, step by step: a sibling spawned as the very last act of the last task is waited
/// for, and its failure is the group's. (`races.rs` has the same on real threads.)
#[test]
fn the_last_task_may_spawn_a_sibling_as_its_last_act() {
    everywhere(|| async {
        let log = Log::default();
        let failed = group(async |g| {
            let (spawner, log) = (g.spawner(), log.clone());
            g.spawn(async move {
                let next = spawner.clone();
                spawner.spawn(async move {
                    let_others_run().await;
                    next.spawn(async move {
                        let_others_run().await;
                        log.say("the third");
                        Err::<(), _>("the third failed".into())
                    });
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(log.entries(), ["the third"]);
        assert_eq!(sorted_leaves_of(&failed), ["the third failed"]);
    });
}

/// Case 20, from a destructor: while a task's future is being destroyed the task is not gone, so a
/// spawn from there is still in time.
#[test]
fn a_destructor_of_the_last_task_may_still_spawn() {
    everywhere(|| async {
        let log = Log::default();
        group(async |g| {
            let (spawner, to) = (g.spawner(), log.clone());
            g.spawn(async move {
                let _last = OnDrop::new(move || {
                    spawner.spawn(async move {
                        let_others_run().await;
                        to.say("spawned by a destructor");
                        Ok(())
                    });
                });
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(log.entries(), ["spawned by a destructor"]);
    });
}

/// A foreign thread may spawn while the group is open, and is told when it is not any more.
#[test]
fn a_foreign_thread_spawns_through_a_spawner() {
    on_threads(|| async {
        let count = Arc::new(AtomicUsize::new(0));
        let thread = group(async |g| {
            let (gate, spawner, count) = (Gate::default(), g.spawner(), Arc::clone(&count));
            let opens = gate.clone();
            let thread = thread::spawn(move || {
                for _ in 0..100 {
                    let count = Arc::clone(&count);
                    spawner.spawn(async move {
                        count.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    });
                }
                opens.open();
                spawner
            });
            gate.wait().await;
            Ok(thread)
        })
        .await
        .unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 100);
        let spawner = thread.join().unwrap();
        assert!(spawner.try_spawn(async { Ok(()) }).is_err());
    });
}

/// The limit holds, and turns come in the order of the spawns, whatever the kind of task.
#[test]
fn tasks_beyond_the_limit_wait_for_their_turn_in_order() {
    everywhere(|| async {
        for limit in [1, 3] {
            let (alive, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let log = Log::default();
            TaskGroup::builder()
                .limit(limit)
                .run(async |g| {
                    for i in 0..30 {
                        let (alive, ended) = (Arc::clone(&alive), Arc::clone(&ended));
                        let log = log.clone();
                        let work = async move {
                            log.say(i.to_string());
                            let now = alive.fetch_add(1, Ordering::SeqCst) + 1;
                            assert!(now <= limit, "{now} alive, limit {limit}");
                            let gone = ended.load(Ordering::SeqCst);
                            // Turns come in order: all but a few of those before it have ended.
                            assert!(gone + limit > i, "{i} runs after {gone} have ended");
                            let_others_run().await;
                            alive.fetch_sub(1, Ordering::SeqCst);
                            ended.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        };
                        if i % 3 == 0 {
                            g.spawn_local(work)
                        } else {
                            g.spawn(work)
                        };
                    }
                    Ok(())
                })
                .await
                .unwrap();
            let order: Vec<usize> = log.entries().iter().map(|i| i.parse().unwrap()).collect();
            assert_eq!(order.len(), 30);
            if limit == 1 {
                assert!(order.is_sorted(), "{order:?}");
            }
        }
    });
}

/// Cancelling a group drops what waits behind its limit, unpolled.
#[test]
fn cancelling_drops_what_is_queued_behind_the_limit() {
    everywhere(|| async {
        let (census, log, begun) = (Census::default(), Log::default(), Gate::default());
        let stopped = TaskGroup::builder()
            .limit(1)
            .run(async |g| {
                let started = begun.clone();
                g.spawn(async move {
                    started.open();
                    for_ever().await
                });
                let queued: Vec<_> = (0..20)
                    .map(|_| {
                        let (value, log) = (census.enter(), log.clone());
                        g.spawn(async move {
                            let _value = value;
                            log.say("ran");
                            Ok(())
                        })
                    })
                    .collect();
                begun.wait().await;
                assert_eq!(g.len(), 21, "those that wait count too");
                g.cancel();
                for task in queued {
                    assert_eq!(task.await, Err(Aborted::Cancelled));
                }
                for_ever().await
            })
            .await;
        assert!(stopped.unwrap_err().is_empty());
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), Vec::<String>::new());
    });
}

/// A failure behind a limit of one, under either policy, reaches those that are queued behind it as
/// the policy says.
#[test]
fn a_failure_cancels_what_is_queued_unless_collected() {
    everywhere(|| async {
        for (policy, expected) in [(Policy::FailFast, 0), (Policy::Collect, 4)] {
            let ran = Arc::new(AtomicUsize::new(0));
            let failed = TaskGroup::builder()
                .limit(1)
                .policy(policy)
                .run(async |g| {
                    g.spawn(async { Err::<(), Error>("the first fails".into()) });
                    for _ in 0..4 {
                        let ran = Arc::clone(&ran);
                        g.spawn(async move {
                            ran.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        });
                    }
                    Ok(())
                })
                .await
                .unwrap_err();
            assert_eq!(sorted_leaves_of(&failed), ["the first fails"]);
            assert_eq!(ran.load(Ordering::SeqCst), expected, "{policy:?}");
        }
    });
}

/// A task spawned by a task that has a timeout of its own has the deadlines of the group, not those
/// of its spawner.
#[test]
fn a_spawned_task_is_under_the_scopes_of_its_group() {
    everywhere(|| async {
        group(async |g| {
            let spawner = g.spawner();
            let task = headcount::timeout(std::time::Duration::from_secs(3600), async {
                assert!(headcount::deadline().is_some());
                let task = spawner.spawn(async { Ok(headcount::deadline()) });
                task.await
            })
            .await?;
            assert_eq!(task, Ok(None));

            let scope = CancelScope::new();
            let handle = scope.handle();
            let mut task = None;
            let cut = scope
                .run(async {
                    task = Some(spawner.spawn(async {
                        let_others_run().await;
                        Ok(7)
                    }));
                    handle.cancel();
                    pending::<()>().await
                })
                .await;
            assert!(cut.is_err());
            assert_eq!(task.unwrap().await, Ok(7));
            Ok(())
        })
        .await
        .unwrap();
    });
}
