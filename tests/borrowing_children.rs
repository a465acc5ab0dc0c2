//! Children that borrow are children like any other: what is true of parallel ones is true of them.

mod common;

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use common::{Census, Gate, Log, everywhere, in_run, let_others_run};
use futures_lite::future::{yield_now, zip};
use headcount::{
    Aborted, CancelScope, Error, ErrorGroup, TaskGroup, cancelled, deadline, finally, group,
    is_cancelled, now, shield, sleep, timeout,
};

/// Law 4: what is below a group is below it also if a borrowing child is between.
#[test]
fn what_is_nested_in_a_borrowing_child_is_cancelled_with_its_group() {
    everywhere(|| async {
        let census = Census::default();
        let log = Log::default();
        let stopped = group(async |g| {
            g.spawn_local(async {
                // Has the child a place in the tree of its own.
                shield(let_others_run()).await;
                pending::<Result<(), Error>>().await
            });
            g.spawn_local(async {
                let counted = census.enter();
                group(async |inner| {
                    inner.spawn(async move {
                        let _counted = counted;
                        pending::<Result<(), _>>().await
                    });
                    pending::<Result<(), _>>().await
                })
                .await?;
                Ok(())
            });
            g.spawn_local(async {
                finally(pending::<()>(), async { log.say("cleaned up") }).await;
                Ok(())
            });
            g.spawn_local(async {
                CancelScope::new().run(cancelled()).await.ok();
                log.say("woken");
                Ok(())
            });
            let_others_run().await;
            let_others_run().await;
            g.cancel();
            pending::<Result<(), Error>>().await
        })
        .await;
        assert!(stopped.is_err_and(|stopped| stopped.is_cancelled()));
        assert_eq!(census.alive(), 0);
        assert!(log.has("cleaned up"));
    });
}

#[test]
fn a_borrowing_child_is_told_of_its_group() {
    everywhere(|| async {
        let heard = AtomicBool::new(false);
        let before = now();
        let stopped = group(async |g| {
            g.scope()
                .set_deadline(Some(now() + Duration::from_secs(60)));
            let group = g.clone();
            let heard = &heard;
            g.spawn_local(async move {
                assert!(deadline().is_some_and(|deadline| deadline > before));
                assert!(!is_cancelled());
                group.cancel();
                assert!(is_cancelled());
                heard.store(true, Ordering::SeqCst);
                Ok(())
            });
            pending::<Result<(), Error>>().await
        })
        .await;
        assert!(stopped.is_err_and(|stopped| stopped.is_cancelled() && stopped.is_empty()));
        assert!(heard.load(Ordering::SeqCst));
    });
}

#[test]
fn a_borrowing_child_has_the_deadlines_around_its_group() {
    everywhere(|| async {
        let late = timeout(
            Duration::from_millis(5),
            group(async |g| {
                g.spawn_local(async {
                    assert!(deadline().is_some());
                    shield(async { assert!(deadline().is_none()) }).await;
                    shield(sleep(Duration::from_millis(10))).await;
                    assert!(is_cancelled());
                    pending::<Result<(), Error>>().await
                });
                pending::<Result<(), Error>>().await
            }),
        )
        .await;
        assert!(late.is_err());
    });
}

/// A waker may be kept and woken long after its task is gone.
#[test]
fn the_waker_of_a_child_that_is_gone_starts_nobody_out_of_turn() {
    in_run(|| async {
        let waker = Mutex::new(None::<Waker>);
        let early = AtomicBool::new(false);
        let gate = Gate::default();
        let joined: Result<(), ErrorGroup> = TaskGroup::builder()
            .limit(1)
            .run(async |g| {
                let first = g.spawn_local(async {
                    poll_fn(|cx| {
                        *waker.lock().expect("nobody panics") = Some(cx.waker().clone());
                        Poll::Ready(())
                    })
                    .await;
                    Ok(())
                });
                first.await?;
                let passed = gate.wait();
                g.spawn(async move {
                    passed.await;
                    Ok(())
                });
                let queued = g.spawn_local(async {
                    early.store(true, Ordering::SeqCst);
                    Ok(())
                });
                let_others_run().await;
                let kept = waker.lock().expect("nobody panics").take();
                kept.into_iter().for_each(Waker::wake);
                let_others_run().await;
                assert!(!early.load(Ordering::SeqCst), "beyond the limit");
                gate.open();
                Ok(queued.await?)
            })
            .await;
        assert!(joined.is_ok());
    });
}

/// Law 1: at the join, not when the future of the group is dropped.
#[test]
fn what_children_owned_is_destroyed_when_the_group_returns() {
    everywhere(|| async {
        let census = Census::default();
        let mut joined = pin!(group(async |g| {
            // Unlike an async block, these keep what they own until they are dropped.
            let (local, parallel) = (census.enter(), census.enter());
            g.spawn_local(poll_fn(move |_| {
                let _local = &local;
                Poll::Ready(Ok(()))
            }));
            g.spawn(poll_fn(move |_| {
                let _parallel = &parallel;
                Poll::Ready(Ok(()))
            }));
            for waits in [false, true] {
                let (local, parallel) = (census.enter(), census.enter());
                g.spawn_local(async move {
                    let _local = local;
                    if waits {
                        let_others_run().await;
                    }
                    Ok(())
                });
                g.spawn(async move {
                    let _parallel = parallel;
                    if waits {
                        let_others_run().await;
                    }
                    Ok(())
                });
            }
            Ok(())
        }));
        assert!(joined.as_mut().await.is_ok());
        assert_eq!((census.entered(), census.alive()), (6, 0));
    });
}

/// Their owner runs all that are ready, but not at one go: its neighbours are on the same thread.
#[test]
fn many_children_that_are_ready_let_the_neighbours_run() {
    in_run(|| async {
        let gone = AtomicUsize::new(0);
        let seen = Log::default();
        let busy = group(async |g| {
            for _ in 0..1_000 {
                g.spawn_local(async {
                    thread::sleep(Duration::from_micros(10));
                    gone.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
            }
            Ok(())
        });
        let neighbour = async {
            loop {
                let gone = gone.load(Ordering::Relaxed);
                if gone == 1_000 {
                    break;
                }
                if gone > 0 {
                    seen.say("between two of them");
                }
                yield_now().await;
            }
        };
        let (joined, ()) = zip(busy, neighbour).await;
        assert!(joined.is_ok());
        assert!(seen.has("between two of them"));
    });
}

/// A handle reaches its child wherever that is: not polled yet, waiting, waiting with no sibling awake.
#[test]
fn a_child_is_cancelled_through_its_handle_whatever_it_does() {
    everywhere(|| async {
        for waits in [false, true] {
            let census = Census::default();
            let joined = group(async |g| {
                let tasks: Vec<_> = (0..3)
                    .map(|_| {
                        let counted = census.enter();
                        g.spawn_local(async move {
                            let _counted = counted;
                            pending::<Result<(), Error>>().await
                        })
                    })
                    .collect();
                let others = g.spawn_local(pending::<Result<(), Error>>());
                if waits {
                    let_others_run().await;
                }
                for task in tasks {
                    task.cancel();
                    assert_eq!(task.await, Err(Aborted::Cancelled));
                }
                assert_eq!((census.alive(), g.len()), (0, 1));
                drop(others);
                g.cancel();
                Ok(())
            });
            assert!(joined.await.is_ok());
        }
    });
}

/// Who counts is the group, as for any child.
#[test]
fn a_group_knows_how_many_of_its_children_are_not_gone() {
    in_run(|| async {
        let joined = group(async |g| {
            assert!(g.is_empty());
            let gate = Gate::default();
            for _ in 0..5 {
                g.spawn_local(async { Ok(()) });
                let opened = gate.wait();
                g.spawn_local(async move {
                    opened.await;
                    Ok(())
                });
            }
            assert_eq!(g.len(), 10);
            let_others_run().await;
            assert_eq!(g.len(), 5);
            gate.open();
            let_others_run().await;
            assert!(g.is_empty());
            g.spawn_local(async { Ok(()) }).await?;
            Ok(())
        });
        assert!(joined.await.is_ok());
    });
}

/// What has come in and may not start yet takes its turn with the others, whatever they are.
#[test]
fn borrowing_and_parallel_children_share_a_limit() {
    everywhere(|| async {
        let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let joined: Result<(), ErrorGroup> = TaskGroup::builder()
            .limit(3)
            .run(async |g| {
                for index in 0..40 {
                    let (alive, most) = (Arc::clone(&alive), Arc::clone(&most));
                    let child = async move {
                        let now = alive.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        yield_now().await;
                        alive.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    };
                    if index % 2 == 0 {
                        g.spawn(child);
                    } else {
                        g.spawn_local(child);
                    }
                }
                assert!(g.len() <= 40);
                Ok(())
            })
            .await;
        assert!(joined.is_ok());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    });
}
