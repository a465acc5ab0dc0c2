//! What the handle of a task can do, and what it cannot.

mod common;

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use common::{
    Census, CountWakes, Gate, everywhere, for_ever, leaves_of, let_others_run, on_threads, watched,
};
use futures_lite::future::poll_once;
use headcount::{Aborted, CancelScope, Error, Policy, Task, TaskGroup, group};

/// Case 157. Whoever waits for a task that somebody else cancels is told that the *task* was
/// cancelled, and goes on: it is not cancelled itself.
#[test]
fn waiting_for_a_cancelled_task_is_not_being_cancelled() {
    everywhere(|| async {
        group(async |g| {
            let task = Arc::new(Mutex::new(Some(g.spawn(for_ever()))));
            let begun = Gate::default();
            let started = begun.clone();
            let taken = task.lock().unwrap().take().unwrap();
            let (tell, told) = (Gate::default(), Gate::default());
            let (cancelled_by, at) = (tell.clone(), told.clone());
            let spawner = g.spawner();
            let waiter = g.spawn(async move {
                let mut taken = taken;
                assert!(poll_once(&mut taken).await.is_none());
                started.open();
                at.wait().await;
                taken.cancel();
                cancelled_by.open();
                let outcome = taken.await;
                assert!(!headcount::is_cancelled());
                headcount::checkpoint().await;
                drop(spawner);
                Ok(outcome)
            });
            begun.wait().await;
            told.open();
            tell.wait().await;
            assert_eq!(waiter.await?, Err(Aborted::Cancelled));
            assert!(!g.is_cancelled());
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// Case 157. The two are also apart in the other direction: a waiter that is cancelled leaves the
/// task alone.
#[test]
fn a_cancelled_waiter_leaves_the_task_alone() {
    everywhere(|| async {
        let gate = Gate::default();
        group(async |g| {
            let at = gate.clone();
            let mut task = g.spawn(async move {
                at.wait().await;
                Ok(7)
            });
            let scope = CancelScope::new();
            scope.handle().cancel();
            assert!(scope.run(&mut task).await.is_err());
            assert!(!task.is_finished());
            gate.open();
            assert_eq!(task.await, Ok(7));
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// Case 158. The handle says that the task failed; the failure itself is in the report, once.
#[test]
fn a_failure_seen_through_a_handle_counts_once() {
    everywhere(|| async {
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                let parallel = g.spawn(async { Err::<u8, _>("parallel".into()) });
                assert_eq!(parallel.await, Err(Aborted::Failed));
                let local = g.spawn_local(async { Err::<u8, _>("borrowing".into()) });
                assert_eq!(local.await, Err(Aborted::Failed));
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["parallel", "borrowing"]);
    });
}

/// Case 158. Also when whoever saw it passes it on.
#[test]
fn a_failure_passed_on_through_handles_counts_once() {
    everywhere(|| async {
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                let first = g.spawn(async { Err::<u8, _>("the failure".into()) });
                let second = g.spawn(async move { Ok(first.await?) });
                Ok(second.await?)
            })
            .await
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["the failure"]);
    });
}

/// Case 160. A task that awaits its own handle is told that this cannot be.
#[test]
fn a_task_that_awaits_itself_gets_an_error() {
    everywhere(|| async {
        for local in [false, true] {
            let handle: Arc<Mutex<Option<Task<()>>>> = Arc::default();
            let gate = Gate::default();
            let failed = group(async |g| {
                let (mine, at) = (Arc::clone(&handle), gate.clone());
                let awaits_itself = async move {
                    at.wait().await;
                    let me = mine.lock().unwrap().take().unwrap();
                    Ok(me.await?)
                };
                let task = if local {
                    g.spawn_local(awaits_itself)
                } else {
                    g.spawn(awaits_itself)
                };
                *handle.lock().unwrap() = Some(task);
                gate.open();
                Ok(())
            })
            .await
            .unwrap_err();
            assert_eq!(
                leaves_of(&failed),
                [Aborted::Failed.to_string()],
                "local: {local}"
            );
        }
    });
}

/// Case 160. So is one that awaits the task that it is below, in a nested group: that one cannot end
/// before its own groups do.
#[test]
fn a_task_that_awaits_its_parent_gets_an_error() {
    everywhere(|| async {
        let handle: Arc<Mutex<Option<Task<()>>>> = Arc::default();
        let gate = Gate::default();
        let failed = group(async |g| {
            let (mine, at) = (Arc::clone(&handle), gate.clone());
            let parent = g.spawn(async move {
                let nested = group(async |h| {
                    h.spawn(async move {
                        at.wait().await;
                        let parent = mine.lock().unwrap().take().unwrap();
                        Ok(parent.await?)
                    });
                    Ok(())
                });
                Ok(nested.await?)
            });
            *handle.lock().unwrap() = Some(parent);
            gate.open();
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), [Aborted::Failed.to_string()]);
    });
}

/// Case 161. Waiting for one task, and giving that up, a great many times leaves nothing behind.
#[test]
fn abandoned_waits_leave_nothing_behind() {
    const ROUNDS: usize = 1_000;

    watched("by hand", || {
        let gate = Gate::default();
        let mut joined = pin!(group(async |g| {
            let at = gate.clone();
            let task = g.spawn(async move {
                at.wait().await;
                Ok(7)
            });
            let local = g.spawn_local(async {
                gate.wait().await;
                Ok(7)
            });
            let_others_run().await;
            for mut task in [task, local] {
                let counters: Vec<_> = (0..ROUNDS)
                    .map(|_| {
                        let (counter, waker) = CountWakes::new();
                        let cx = &mut Context::from_waker(&waker);
                        assert!(Pin::new(&mut task).poll(cx).is_pending());
                        counter
                    })
                    .collect();
                let held = counters
                    .iter()
                    .filter(|counter| Arc::strong_count(counter) > 1)
                    .count();
                assert!(held <= 1, "{held} wakers of abandoned waits are still held");
            }
            Ok(())
        }));
        while !gate.is_open() {
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            match joined.as_mut().poll(cx) {
                Poll::Ready(outcome) => panic!("{outcome:?}"),
                Poll::Pending => gate.open(),
            }
        }
        futures_lite::future::block_on(joined).unwrap();
    });
}

/// Case 161, through scopes, as a program would do it.
#[test]
fn cancelled_waits_do_not_lose_the_value() {
    on_threads(|| async {
        let gate = Gate::default();
        group(async |g| {
            let (at, value) = (gate.clone(), Arc::new(()));
            let returned = Arc::clone(&value);
            let mut task = g.spawn(async move {
                at.wait().await;
                Ok(returned)
            });
            for _ in 0..1_000 {
                let scope = CancelScope::new();
                scope.handle().cancel();
                assert!(scope.run(&mut task).await.is_err());
            }
            assert_eq!(Arc::strong_count(&value), 2);
            gate.open();
            assert!(Arc::ptr_eq(&task.await?, &value));
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// Dropping a handle lets go of the handle, not of the task.
#[test]
fn dropping_a_handle_does_not_touch_the_task() {
    everywhere(|| async {
        let gate = Gate::default();
        let census = Census::default();
        let mut joined = pin!(group(async |g| {
            let (at, value) = (gate.clone(), census.enter());
            drop(g.spawn(async move {
                let _value = value;
                at.wait().await;
                Ok(())
            }));
            Ok(())
        }));
        for _ in 0..5 {
            assert!(poll_once(joined.as_mut()).await.is_none());
            let_others_run().await;
        }
        assert_eq!(census.alive(), 1);
        gate.open();
        joined.await.unwrap();
        assert_eq!(census.alive(), 0);
    });
}

/// A handle may be taken out of the group, and read when the group is long gone.
#[test]
fn a_handle_outlives_its_group() {
    everywhere(|| async {
        let handles = group(async |g| {
            let cancelled = g.spawn(for_ever());
            cancelled.cancel();
            Ok((
                g.spawn(async { Ok(7) }),
                cancelled,
                g.spawn_local(async { Ok(8) }),
            ))
        });
        let (seven, cancelled, eight) = handles.await.unwrap();
        assert!(seven.is_finished() && cancelled.is_finished() && eight.is_finished());
        seven.cancel();
        assert_eq!(seven.await, Ok(7), "cancelling what is done has no effect");
        assert_eq!(cancelled.await, Err(Aborted::Cancelled));
        assert_eq!(eight.await, Ok(8));
    });
}

/// The value of a task whose handle was dropped is dropped, with the group at the latest.
#[test]
fn a_value_that_nobody_takes_is_dropped_with_the_group() {
    everywhere(|| async {
        let census = Census::default();
        group(async |g| {
            for _ in 0..10 {
                let (one, two) = (census.enter(), census.enter());
                drop(g.spawn(async move { Ok(one) }));
                drop(g.spawn_local(async move { Ok(two) }));
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(census.alive(), 0);
    });
}

/// Ids are those of the report, names are those given.
#[test]
fn a_handle_knows_who_the_task_is() {
    everywhere(|| async {
        let mut seen = Vec::new();
        let failed = group(async |g| {
            let task = g.spawn_named("fetch", async { Err::<(), Error>("no route".into()) });
            assert_eq!(task.name(), Some("fetch"));
            seen.push(task.id());
            let other = g.spawn_local(async { Ok(()) });
            assert_eq!(other.name(), None);
            assert_ne!(other.id(), task.id());
            for_ever().await
        })
        .await
        .unwrap_err();
        let failure = failed.first().unwrap();
        assert_eq!(
            (failure.task().id(), failure.task().name()),
            (seen[0], Some("fetch"))
        );
    });
}
