//! The collecting policy: failures cancel nobody, and all are told at the end.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use common::{
    Census, Gate, Log, everywhere, for_ever, keep_quiet_about_purpose, leaves_of, let_others_run,
    sorted_leaves_of,
};
use headcount::{
    Aborted, Error, GroupBuilder, Policy, Ready, StartError, TaskGroup, group, shield,
};

fn collecting() -> GroupBuilder<Error> {
    TaskGroup::builder().policy(Policy::Collect)
}

/// Case 142. Every failure of a collecting group is told exactly once, and nobody is cancelled.
#[test]
fn every_failure_is_collected_once() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let done = Arc::new(AtomicUsize::new(0));
        let failed = collecting()
            .run(async |g| {
                for i in 0..20 {
                    let done = Arc::clone(&done);
                    let work = async move {
                        let_others_run().await;
                        match i % 4 {
                            0 => Err(format!("error {i}").into()),
                            1 => panic!("on purpose {i}"),
                            _ => {
                                let_others_run().await;
                                done.fetch_add(1, Ordering::SeqCst);
                                Ok(())
                            }
                        }
                    };
                    if i % 3 == 0 {
                        g.spawn_local(work)
                    } else {
                        g.spawn(work)
                    };
                }
                let_others_run().await;
                assert!(!g.is_cancelled());
                Ok("dropped, because tasks failed")
            })
            .await
            .unwrap_err();
        assert_eq!(done.load(Ordering::SeqCst), 10);
        let mut expected: Vec<_> = (0..20)
            .filter_map(|i| match i % 4 {
                0 => Some(format!("error {i}")),
                1 => Some(format!("panic: on purpose {i}")),
                _ => None,
            })
            .collect();
        expected.sort();
        assert_eq!(sorted_leaves_of(&failed), expected);
        assert!(!failed.is_cancelled());
    });
}

/// Case 143. The body of a collecting group is no task: its failure cancels and joins them.
#[test]
fn the_failure_of_a_collecting_body_cancels_the_tasks() {
    everywhere(|| async {
        let census = Census::default();
        let failed = collecting()
            .run(async |g| {
                for _ in 0..3 {
                    let (one, two) = (census.enter(), census.enter());
                    g.spawn(async move {
                        let _value = one;
                        for_ever().await
                    });
                    g.spawn_local(async move {
                        let _value = two;
                        for_ever().await
                    });
                }
                let_others_run().await;
                Err::<(), _>("the body".into())
            })
            .await
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["the body"]);
        assert_eq!(census.alive(), 0);
    });
}

/// Case 143. So does its panic.
#[test]
fn the_panic_of_a_collecting_body_cancels_the_tasks() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let census = Census::default();
        let failed = collecting()
            .run(async |g| {
                let value = census.enter();
                g.spawn(async move {
                    let _value = value;
                    for_ever().await
                });
                if true { panic!("on purpose") } else { Ok(()) }
            })
            .await
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose"]);
        assert_eq!(census.alive(), 0);
    });
}

/// Case 145. Every kind of task fails in turn: in a failing-fast group each cancels the body, in a
/// collecting one none does, and a failed start goes to its caller under both.
#[test]
fn every_kind_of_task_follows_the_policy() {
    everywhere(|| async {
        for policy in [Policy::FailFast, Policy::Collect] {
            for kind in ["spawn", "spawn_local", "spawner", "started", "nested group"] {
                let log = Log::default();
                let failed = TaskGroup::builder()
                    .policy(policy)
                    .run(async |g| {
                        let fails = async { Err::<(), Error>("it fails".into()) };
                        let task = match kind {
                            "spawn" => g.spawn(fails),
                            "spawn_local" => g.spawn_local(fails),
                            "spawner" => g.spawner().spawn(fails),
                            "started" => {
                                let started = g.start_task(|ready: Ready<()>| async move {
                                    ready.send(());
                                    let_others_run().await;
                                    Err("it fails".into())
                                });
                                started.await?.1
                            }
                            _ => g.spawn(async move {
                                Ok(group(async |h| Ok(h.spawn(fails).await?)).await?)
                            }),
                        };
                        shield(task).await.unwrap_err();
                        headcount::checkpoint().await;
                        log.say("the body goes on");
                        Ok(())
                    })
                    .await
                    .unwrap_err();
                assert_eq!(leaves_of(&failed), ["it fails"], "{kind}, {policy:?}");
                assert_eq!(
                    log.has("the body goes on"),
                    policy == Policy::Collect,
                    "{kind}"
                );
            }
            let unharmed = TaskGroup::builder().policy(policy).run(async |g| {
                let failed = g
                    .start(|ready: Ready<()>| async {
                        let _never_sent = ready;
                        Err("it fails".into())
                    })
                    .await;
                assert!(matches!(failed, Err(StartError::Failed(_))));
                headcount::checkpoint().await;
                Ok("unharmed")
            });
            assert_eq!(unharmed.await.unwrap(), "unharmed");
        }
    });
}

/// Case 146. A task with a value that nobody asks for fails: the report has it.
#[test]
fn a_failure_that_nobody_asks_for_is_reported() {
    everywhere(|| async {
        let failed = collecting()
            .run(async |g| {
                drop(g.spawn(async { Err::<u8, _>("nobody asked".into()) }));
                drop(g.spawn_local(async { Err::<u8, _>("nor here".into()) }));
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(sorted_leaves_of(&failed), ["nobody asked", "nor here"]);
    });
}

/// A collecting group that is cancelled by hand is cancelled: what failed before is still told.
#[test]
fn a_cancelled_collecting_group_tells_what_failed_before() {
    everywhere(|| async {
        let census = Census::default();
        let failed = collecting()
            .run(async |g| {
                let failing = g.spawn(async { Err::<(), _>("it failed before".into()) });
                assert_eq!(failing.await, Err(Aborted::Failed));
                let (value, begun) = (census.enter(), Gate::default());
                let started = begun.clone();
                g.spawn(async move {
                    let _value = value;
                    started.open();
                    for_ever().await
                });
                begun.wait().await;
                g.cancel_with("enough");
                for_ever().await
            })
            .await
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["it failed before"]);
        assert!(failed.is_cancelled());
        assert_eq!(failed.reason(), Some("enough"));
        assert_eq!(census.alive(), 0);
    });
}

/// The policy of a group is its own: a failing-fast group in a task of a collecting one fails as a
/// whole, and its neighbours go on.
#[test]
fn the_policy_is_not_inherited() {
    everywhere(|| async {
        let log = Log::default();
        let failed = collecting()
            .run(async |g| {
                let to = log.clone();
                g.spawn_named("fails fast", async move {
                    let nested = group(async |h| {
                        h.spawn(async { Err::<(), _>("it fails".into()) });
                        for_ever().await?;
                        to.say("not reached");
                        Ok(())
                    });
                    Ok(nested.await?)
                });
                let to = log.clone();
                g.spawn_named("neighbour", async move {
                    for _ in 0..5 {
                        let_others_run().await;
                    }
                    to.say("went on");
                    Ok(())
                });
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["it fails"]);
        assert_eq!(log.entries(), ["went on"]);
    });
}
