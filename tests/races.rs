//! Races on real threads, many rounds of each. The threads meet at a barrier that spins, so that
//! they come as close to the same moment as they can.

mod common;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use common::{Census, Gate, for_ever, keep_quiet_about_purpose, sorted_leaves_of, watched};
use futures_lite::future::{block_on, poll_once};
use headcount::{Aborted, CancelScope, Error, Policy, Runtime, Spawner, TaskGroup, group, run};

/// As many rounds as are over in about a second.
const ROUNDS: usize = 3_000;

/// Lets threads go on together.
struct Start(AtomicUsize);

impl Start {
    fn of(threads: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(threads)))
    }

    fn wait(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
        let mut turns = 0_u32;
        while self.0.load(Ordering::Acquire) > 0 {
            turns += 1;
            // On a machine with few cores the other one may not be running.
            if turns % 64 == 0 {
                thread::yield_now()
            } else {
                std::hint::spin_loop()
            }
        }
    }
}

/// A thread that does one thing after the other, so that a round need not start one.
struct Other {
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    thread: thread::JoinHandle<()>,
}

impl Other {
    fn new() -> Self {
        let (jobs, todo) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let thread = thread::spawn(move || todo.into_iter().for_each(|job| job()));
        Self { jobs, thread }
    }

    fn call(&self, job: impl FnOnce() + Send + 'static) {
        self.jobs
            .send(Box::new(job))
            .expect("the thread takes jobs until it is joined");
    }

    fn join(self) {
        drop(self.jobs);
        self.thread.join().expect("no job panics");
    }
}

/// Case 8. A task fails on one thread while the group joins on another: the group always learns of
/// it.
#[test]
fn a_join_never_misses_a_failure() {
    watched("many rounds", || {
        Runtime::builder().threads(2).run(async {
            for round in 0..ROUNDS {
                let start = Start::of(2);
                let outcome = group(async |g| {
                    let there = Arc::clone(&start);
                    g.spawn(async move {
                        there.wait();
                        Err::<(), _>("it fails".into())
                    });
                    // The task is on another thread, since this one waits for it, blocking.
                    start.wait();
                    Ok(())
                })
                .await;
                let failed = outcome.expect_err("a join has missed a failure");
                assert_eq!(sorted_leaves_of(&failed), ["it fails"], "round {round}");
            }
        });
    });
}

/// Case 8. The same through a handle: whoever awaits it has its answer when the group has its
/// failure.
#[test]
fn a_handle_never_misses_a_failure() {
    watched("many rounds", || {
        Runtime::builder().threads(2).run(async {
            for _ in 0..ROUNDS {
                let collecting = TaskGroup::builder().policy(Policy::Collect);
                let failed = collecting
                    .run(async |g| {
                        let start = Start::of(2);
                        let there = Arc::clone(&start);
                        let task = g.spawn(async move {
                            there.wait();
                            Err::<(), _>("it fails".into())
                        });
                        start.wait();
                        assert_eq!(task.await, Err(Aborted::Failed));
                        Ok(())
                    })
                    .await
                    .expect_err("a join has missed a failure");
                assert_eq!(failed.len(), 1);
            }
        });
    });
}

/// Case 19. A task is spawned on one thread while its group is cancelled on another. Either it never
/// ran, or what it fails with is told by the group, and nowhere else.
#[test]
fn a_spawn_that_races_with_a_cancellation_runs_or_does_not() {
    watched("many rounds", || {
        let other = Other::new();
        let (mut ran, mut dropped) = (0, 0);
        Runtime::builder().threads(1).run(async {
            for round in 0..ROUNDS {
                let (start, census) = (Start::of(2), Census::default());
                let (tell, told) = mpsc::channel();
                let polled = Arc::new(AtomicBool::new(false));
                let outcome = group(async |g| {
                    let (there, spawner, value) = (Arc::clone(&start), g.spawner(), census.enter());
                    let polled = Arc::clone(&polled);
                    other.call(move || {
                        there.wait();
                        let task = spawner.try_spawn(async move {
                            let _value = value;
                            polled.store(true, Ordering::SeqCst);
                            Err::<(), _>("it ran".into())
                        });
                        drop(tell.send(task.map_err(drop)));
                    });
                    start.wait();
                    g.cancel();
                    for_ever().await
                })
                .await;
                let failed = outcome.expect_err("it was cancelled");
                let task = told.recv().expect("the other thread tells");
                assert_eq!(census.alive(), 0, "round {round}");
                if polled.load(Ordering::SeqCst) {
                    ran += 1;
                    assert_eq!(sorted_leaves_of(&failed), ["it ran"]);
                    let task = task.expect("it ran, so it was taken");
                    assert_eq!(task.await, Err(Aborted::Failed));
                } else {
                    dropped += 1;
                    assert!(failed.is_empty(), "{failed:#}");
                    // Taken and dropped, or refused because the group had returned.
                    if let Ok(task) = task {
                        assert_eq!(task.await, Err(Aborted::Cancelled));
                    }
                }
            }
        });
        other.join();
        assert_eq!(ran + dropped, ROUNDS);
    });
}

/// Case 20. A task is spawned just as the last task of the group ends. Either it is waited for, or
/// it is refused; it never runs after the group.
#[test]
fn a_spawn_that_races_with_the_last_end_is_joined_or_refused() {
    watched("many rounds", || {
        let other = Other::new();
        for round in 0..ROUNDS {
            let (start, census) = (Start::of(2), Census::default());
            let (tell, told) = mpsc::channel();
            let polled = Arc::new(AtomicBool::new(false));
            let outcome = block_on(group(async |g| {
                let (there, spawner, value) = (Arc::clone(&start), g.spawner(), census.enter());
                let polled = Arc::clone(&polled);
                other.call(move || {
                    there.wait();
                    let work = async move {
                        let _value = value;
                        polled.store(true, Ordering::SeqCst);
                        Ok(())
                    };
                    let taken = spawner.try_spawn(work).map(drop).is_ok();
                    tell.send(taken).expect("this thread is told");
                });
                let last = Arc::clone(&start);
                g.spawn_local(async move {
                    last.wait();
                    Ok(())
                });
                Ok(())
            }));
            let alive_then = polled.load(Ordering::SeqCst);
            outcome.expect("nothing fails");
            let taken = told.recv().expect("the other thread tells");
            assert_eq!(census.alive(), 0, "round {round}");
            assert_eq!(
                polled.load(Ordering::SeqCst),
                taken,
                "taken and run, or neither"
            );
            assert_eq!(
                alive_then, taken,
                "it ran before the group returned, or not at all"
            );
        }
        other.join();
    });
}

/// Case 20. The same with the body as the last of the group, and many spawners.
#[test]
fn spawns_that_race_with_the_end_of_the_body_are_joined_or_refused() {
    /// Spawns until the group takes no more; returns how often it was taken.
    fn spawns_until_closed(spawner: &Spawner, ran: &Arc<AtomicUsize>) -> usize {
        let mut taken = 0;
        loop {
            let ran = Arc::clone(ran);
            let work = async move {
                ran.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            match spawner.try_spawn(work) {
                Ok(_task) => taken += 1,
                Err(_closed) => return taken,
            }
            if taken > 20 {
                thread::yield_now();
            }
            if taken == 100 {
                return taken;
            }
        }
    }

    watched("many rounds", || {
        let others = [Other::new(), Other::new()];
        Runtime::builder().threads(1).run(async {
            for _ in 0..ROUNDS / 10 {
                let (start, ran) = (Start::of(3), Arc::new(AtomicUsize::new(0)));
                let (tell, told) = mpsc::channel();
                group(async |g| {
                    for other in &others {
                        let (there, spawner, ran, tell) = (
                            Arc::clone(&start),
                            g.spawner(),
                            Arc::clone(&ran),
                            tell.clone(),
                        );
                        other.call(move || {
                            there.wait();
                            let taken = spawns_until_closed(&spawner, &ran);
                            tell.send(taken).expect("this thread is told");
                        });
                    }
                    start.wait();
                    Ok(())
                })
                .await
                .expect("nothing fails");
                let then = ran.load(Ordering::SeqCst);
                let taken: usize = told.iter().take(2).sum();
                assert_eq!((then, ran.load(Ordering::SeqCst)), (taken, taken));
            }
        });
        for other in others {
            other.join();
        }
    });
}

/// Case 38. Many tasks fail at once, on all threads: every error is told exactly once.
#[test]
fn simultaneous_failures_are_all_told_once() {
    const TASKS: usize = 8;

    keep_quiet_about_purpose();
    watched("many rounds", || {
        Runtime::builder().threads(4).run(async {
            for round in 0..ROUNDS / 3 {
                let policy = if round % 2 == 0 {
                    Policy::Collect
                } else {
                    Policy::FailFast
                };
                let failed = TaskGroup::builder()
                    .policy(policy)
                    .run(async |g| {
                        let (begun, go) = (Arc::new(AtomicUsize::new(0)), Gate::default());
                        for i in 0..TASKS {
                            let (begun, go) = (Arc::clone(&begun), go.clone());
                            g.spawn(async move {
                                // Shielded, so that no failure keeps another from happening.
                                headcount::shield(async {
                                    begun.fetch_add(1, Ordering::SeqCst);
                                    go.wait().await;
                                })
                                .await;
                                if i % 4 == 3 {
                                    panic!("on purpose {i}")
                                }
                                Err::<(), Error>(format!("error {i}").into())
                            });
                        }
                        while begun.load(Ordering::SeqCst) < TASKS {
                            futures_lite::future::yield_now().await;
                        }
                        go.open();
                        Ok(())
                    })
                    .await
                    .expect_err("everything fails");
                let expected: Vec<_> = (0..TASKS)
                    .map(|i| match i % 4 {
                        3 => format!("panic: on purpose {i}"),
                        _ => format!("error {i}"),
                    })
                    .collect();
                let mut expected = expected;
                expected.sort();
                assert_eq!(sorted_leaves_of(&failed), expected, "round {round}");
            }
        });
    });
}

/// Case 10 as a race: a task is cancelled through its handle on one thread while it ends on another.
/// Its value comes out, or it was cancelled; nothing that it owned is left either way.
#[test]
fn a_cancellation_that_races_with_the_end_loses_nothing() {
    watched("many rounds", || {
        let other = Other::new();
        run(async {
            for round in 0..ROUNDS {
                let census = Census::default();
                group(async |g| {
                    let (start, value) = (Start::of(2), census.enter());
                    let (there, gate) = (Arc::clone(&start), Gate::default());
                    let at = gate.clone();
                    let task = g.spawn(async move {
                        at.wait().await;
                        Ok(value)
                    });
                    other.call(move || {
                        there.wait();
                        gate.open();
                    });
                    start.wait();
                    task.cancel();
                    match task.await {
                        Ok(value) => drop(value),
                        Err(aborted) => assert_eq!(aborted, Aborted::Cancelled),
                    }
                    Ok(())
                })
                .await
                .expect("being cancelled is no failure");
                assert_eq!(census.alive(), 0, "round {round}");
            }
        });
        other.join();
    });
}

/// Law 4 as a race: a scope is cancelled from another thread while tasks are spawned in it, at two
/// depths. Everything in it ends; nothing hangs.
#[test]
fn a_cancellation_from_another_thread_reaches_everything() {
    watched("many rounds", || {
        let other = Other::new();
        Runtime::builder().threads(2).run(async {
            for round in 0..ROUNDS / 3 {
                let (start, census) = (Start::of(2), Census::default());
                let scope = CancelScope::new();
                let (there, handle) = (Arc::clone(&start), scope.handle());
                other.call(move || {
                    there.wait();
                    handle.cancel();
                });
                let outcome = scope.run(group(async |g| {
                    start.wait();
                    for _ in 0..4 {
                        let counted = census.clone();
                        g.spawn(async move {
                            let _value = counted.enter();
                            let nested = group(async |h| {
                                for _ in 0..2 {
                                    let value = counted.enter();
                                    h.spawn(async move {
                                        let _value = value;
                                        for_ever().await
                                    });
                                }
                                for_ever().await
                            });
                            Ok(nested.await?)
                        });
                        futures_lite::future::yield_now().await;
                    }
                    for_ever().await
                }));
                assert!(outcome.await.is_err());
                assert_eq!(census.alive(), 0, "round {round}");
            }
        });
        other.join();
    });
}

/// Case 26 as a race: a start is cancelled on one thread just as the task reports on another. The
/// task is in the group or gone, the value is with the caller or dropped.
#[test]
fn a_start_that_races_with_its_cancellation_is_settled() {
    watched("many rounds", || {
        let other = Other::new();
        Runtime::builder().threads(1).run(async {
            for round in 0..ROUNDS {
                let census = Census::default();
                group(async |g| {
                    let (start, value, owned) = (Start::of(2), census.enter(), census.enter());
                    let scope = CancelScope::new();
                    let (there, handle) = (Arc::clone(&start), scope.handle());
                    other.call(move || {
                        there.wait();
                        handle.cancel();
                    });
                    let start = g.start_task(move |ready: headcount::Ready<_>| async move {
                        let _owned = owned;
                        start.wait();
                        ready.send(value);
                        for_ever().await
                    });
                    match scope.run(start).await {
                        Ok(Ok((_value, task))) => {
                            assert!(!task.is_finished());
                            task.cancel();
                            assert_eq!(task.await, Err(Aborted::Cancelled));
                        }
                        Ok(Err(failed)) => panic!("round {round}: {failed}"),
                        // A task that had got into the group stays there.
                        Err(_cancelled) => g.cancel(),
                    }
                    Ok(())
                })
                .await
                .expect("nothing fails");
                assert_eq!(census.alive(), 0, "round {round}");
            }
        });
        other.join();
    });
}

/// Law 2 as a race: the future of a group is dropped on one thread while its tasks end, fail and
/// spawn on others. The group around has them all.
#[test]
fn a_drop_that_races_with_the_tasks_lets_none_escape() {
    watched("many rounds", || {
        Runtime::builder().threads(4).run(async {
            for round in 0..ROUNDS / 3 {
                let census = Census::default();
                let outcome = group(async |_around| {
                    let mut dropped = pin!(group(async |g| {
                        for i in 0..4 {
                            let (spawner, counted) = (g.spawner(), census.clone());
                            g.spawn(async move {
                                let value = counted.enter();
                                futures_lite::future::yield_now().await;
                                spawner.spawn(async move {
                                    let _value = value;
                                    for_ever().await
                                });
                                if i == round % 8 {
                                    Err("it fails".into())
                                } else {
                                    Ok(())
                                }
                            });
                        }
                        for_ever().await
                    }));
                    for _ in 0..round % 5 {
                        if poll_once(dropped.as_mut()).await.is_some() {
                            break;
                        }
                    }
                    Ok(())
                })
                .await;
                if let Err(failed) = outcome {
                    assert_eq!(sorted_leaves_of(&failed), ["it fails"], "round {round}");
                }
                assert_eq!(census.alive(), 0, "round {round}");
            }
        });
    });
}
