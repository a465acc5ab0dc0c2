//! Children that borrow are children like any other: what is true of parallel ones is true of them.

mod common;

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use common::{Census, Gate, Log, everywhere, in_run, let_others_run};
use headcount::{
    CancelScope, Error, ErrorGroup, TaskGroup, cancelled, deadline, finally, group, is_cancelled,
    now, shield, sleep, timeout,
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
