//! What is forgotten, or taken away from the task it was in, is lost to nobody: its tasks are
//! cancelled and counted, and nobody waits for ever.

mod common;

use std::{
    future::{Future, pending, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    task::Poll,
    time::Duration,
};

use common::{Census, Gate, Log, in_run, let_others_run, on_threads, poll_once};
use headcount::{
    Aborted, CancelScope, Error, ErrorGroup, Ready, Task, bracket, cancelled, checkpoint, finally,
    group, interval, shield, sleep, timeout,
};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Polls a future once where it is called, and then forgets it.
async fn forget_after_one_poll(future: impl Future) {
    let mut future = Box::pin(future);
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    let_others_run().await;
    forget(future);
}

#[expect(clippy::mem_forget, reason = "it is what is tested")]
fn forget<T>(value: T) {
    std::mem::forget(value);
}

/// A group with a child of each kind that waits for ever.
fn waiting_group(census: &Census) -> impl Future<Output = Result<(), ErrorGroup>> + Send + use<> {
    let census = census.clone();
    group(async move |g| {
        let counted = census.enter();
        g.spawn(async move {
            let _counted = counted;
            pending::<Result<(), _>>().await
        });
        g.spawn_local(pending::<Result<(), _>>());
        pending::<Result<(), Error>>().await
    })
}

/// Law 2, of a future whose destructor never runs.
#[test]
fn a_group_forgotten_in_main_is_cancelled_and_joined_by_run() {
    let census = Census::default();
    in_run(|| forget_after_one_poll(waiting_group(&census)));
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_group_forgotten_in_a_body_is_cancelled_and_joined_by_the_group_around_it() {
    on_threads(|| async {
        let census = Census::default();
        let joined = group(async |_g| {
            forget_after_one_poll(waiting_group(&census)).await;
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn a_group_forgotten_in_a_child_is_cancelled_and_joined_by_the_group_around_it() {
    on_threads(|| async {
        let census = Census::default();
        let log = Log::default();
        let joined = group(async |g| {
            for borrows in [false, true] {
                let (census, log) = (census.clone(), log.clone());
                let child = async move {
                    forget_after_one_poll(group(async move |inner| {
                        inner.defer(async move { log.say("finalizer") });
                        waiting_group(&census).await?;
                        Ok(())
                    }))
                    .await;
                    Ok(())
                };
                if borrows {
                    g.spawn_local(child);
                } else {
                    g.spawn(child);
                }
            }
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["finalizer", "finalizer"]);
    });
}

#[test]
fn a_start_that_is_forgotten_is_cancelled_with_its_caller() {
    on_threads(|| async {
        let census = Census::default();
        let joined = group(async |g| {
            let counted = census.enter();
            let start = g.start(|ready: Ready<()>| async {
                let _owned = (ready, counted);
                pending().await
            });
            forget_after_one_poll(start).await;
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn no_forgotten_future_keeps_anybody_waiting() {
    on_threads(|| async {
        let joined = group(async |g| {
            g.spawn(async {
                forget_after_one_poll(timeout(Duration::MAX, pending::<()>())).await;
                forget_after_one_poll(CancelScope::new().run(pending::<()>())).await;
                forget_after_one_poll(shield(pending::<()>())).await;
                forget_after_one_poll(finally(pending::<()>(), async {})).await;
                forget_after_one_poll(bracket(
                    (),
                    async |_: &mut ()| pending::<()>().await,
                    async |()| {},
                ))
                .await;
                forget_after_one_poll(sleep(Duration::MAX)).await;
                forget_after_one_poll(cancelled()).await;
                forget_after_one_poll(checkpoint()).await;
                forget_after_one_poll(interval(Duration::MAX).tick()).await;
                Ok(())
            });
            forget(g.spawn(async { Ok(String::from("nobody takes it")) }));
            forget(g.spawn_local(async { Ok(String::from("nobody takes it")) }));
            let task = g.spawn(async { Ok(()) });
            forget_after_one_poll(async {
                task.await.ok();
                pending::<()>().await;
            })
            .await;
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
    });
}

/// A future can also leave its task alive: that is no reason to count it twice.
#[test]
fn a_group_that_is_moved_out_of_its_task_and_dropped_later_is_counted_once() {
    on_threads(|| async {
        let gate = Gate::default();
        let (send, receive) = mpsc::channel::<Boxed<Result<(), ErrorGroup>>>();
        let joined = group(async |g| {
            let held = gate.wait();
            let first = g.spawn(async move {
                let mut inner: Boxed<_> = Box::pin(group(async move |inner| {
                    inner.spawn(async move {
                        shield(held).await;
                        Ok(())
                    });
                    inner.spawn_local(pending::<Result<(), _>>());
                    Ok(())
                }));
                poll_fn(|cx| {
                    assert!(inner.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                let_others_run().await;
                send.send(inner).ok();
                Ok(())
            });
            first.await?;
            drop(receive.recv()?);
            gate.open();
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
    });
}

#[test]
fn a_group_that_is_moved_out_of_its_task_and_polled_later_says_that_it_was_cancelled() {
    on_threads(|| async {
        let (send, receive) = mpsc::channel::<Boxed<Result<(), ErrorGroup>>>();
        let census = Census::default();
        let joined = group(async |g| {
            let mut inner: Boxed<_> = Box::pin(waiting_group(&census));
            let first = g.spawn(async move {
                poll_fn(|cx| {
                    assert!(inner.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                send.send(inner).ok();
                Ok(())
            });
            first.await?;
            let inner = receive.recv()?.await;
            assert!(inner.is_err_and(|inner| inner.is_cancelled()));
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
        assert_eq!(census.alive(), 0);
    });
}

/// A handle outlives the group, and must not wait for what will never come.
#[test]
fn the_handle_of_a_child_whose_group_was_dropped_says_that_it_was_cancelled() {
    on_threads(|| async {
        let kept = Arc::new(Mutex::new(Vec::<Task<()>>::new()));
        let keep = Arc::clone(&kept);
        let mut dropped = Box::pin(group(async move |g| {
            let local = g.spawn_local(pending::<Result<(), Error>>());
            let parallel = g.spawn(pending::<Result<(), Error>>());
            keep.lock()
                .expect("nobody panics")
                .extend([local, parallel]);
            pending::<Result<(), Error>>().await
        }));
        assert!(poll_once(dropped.as_mut()).is_pending());
        drop(dropped);
        let tasks = std::mem::take(&mut *kept.lock().expect("nobody panics"));
        for task in tasks {
            assert_eq!(task.await, Err(Aborted::Cancelled));
        }
    });
}
