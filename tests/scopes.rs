//! A cancel scope is a region that is cancelled on its own: it, everything below it, nothing else.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use futures::stream::{FuturesUnordered, StreamExt};
use futures_lite::future::{self, yield_now, zip};
use headcount::{CancelScope, checkpoint, group, is_cancelled, shield, sleep};

use crate::common::{
    Census, CountWakes, Gate, Log, OnDrop, Polls, everywhere, on_threads, poll_once, until,
};

mod common;

/// Case 64. Whoever enters a scope that was cancelled before gets as far as its first wait.
#[test]
fn cancelled_before_it_is_entered_cuts_the_first_wait() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        scope.handle().cancel();

        let outcome = scope
            .run(async {
                log.say("before the wait");
                yield_now().await;
                log.say("after the wait");
            })
            .await;

        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["before the wait"]);
    });
}

/// Case 64. What never waits is not cut, since there is nowhere to cut it.
#[test]
fn cancelled_before_it_is_entered_spares_what_never_waits() {
    everywhere(|| async {
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert_eq!(scope.run(async { 7 }).await.unwrap(), 7);
    });
}

/// Case 65. A scope that was left can be cancelled; that is remembered, and touches nothing.
#[test]
fn cancelled_after_it_was_left_touches_nothing() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope.run(async { 7 }).await;

        handle.cancel();

        assert_eq!(outcome.unwrap(), 7);
        assert!(handle.is_cancelled());
        assert!(!is_cancelled());
        checkpoint().await;
        sleep(std::time::Duration::ZERO).await;
    });
}

/// Case 67. The first reason stays, and a later cancellation adds none.
#[test]
fn the_first_reason_stays() {
    everywhere(|| async {
        let reason = async |first: Option<&str>, second: Option<&str>| {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = scope.run(async {
                for reason in [first, second] {
                    match reason {
                        Some(reason) => handle.cancel_with(reason),
                        None => handle.cancel(),
                    }
                }
                pending::<()>().await;
            });
            outcome.await.unwrap_err().reason().map(str::to_owned)
        };
        assert_eq!(
            reason(Some("first"), Some("second")).await.as_deref(),
            Some("first")
        );
        assert_eq!(reason(Some("first"), None).await.as_deref(), Some("first"));
        assert_eq!(reason(None, Some("second")).await, None);
    });
}

/// Case 67. Cancelling again, while the scope winds down, does not disturb what winds down.
#[test]
fn cancelling_again_has_no_effect() {
    everywhere(|| async {
        let census = Census::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                let _value = census.enter();
                shield(async {
                    for _ in 0..3 {
                        handle.cancel();
                        yield_now().await;
                    }
                })
                .await;
                handle.cancel();
                pending::<()>().await;
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!((census.entered(), census.alive()), (1, 0));
    });
}

/// Case 70. A task is woken out of its wait when another one cancels the scope that it waits in.
#[test]
fn another_task_cancels_it() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let (scope, inside) = (CancelScope::new(), Gate::default());
            let handle = scope.handle();
            let waiting = g.spawn({
                let inside = inside.clone();
                async move {
                    let outcome = scope.run(async {
                        inside.open();
                        pending::<()>().await;
                    });
                    Ok(outcome.await.is_err())
                }
            });
            g.spawn(async move {
                inside.wait().await;
                handle.cancel();
                Ok(())
            });
            Ok(waiting.await?)
        });
        assert!(outcome.await.unwrap());
    });
}

/// Case 70. So does a thread that knows nothing of tasks.
#[test]
fn another_thread_cancels_it() {
    on_threads(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let foreign = thread::spawn(move || handle.cancel_with("from a thread"));
        let cancelled = scope.run(pending::<()>()).await.unwrap_err();
        assert_eq!(cancelled.reason(), Some("from a thread"));
        foreign.join().unwrap();
    });
}

/// Case 71. A handle that outlives its scope wakes nobody, and keeps nothing alive.
#[test]
fn a_handle_outlives_its_scope_at_no_cost() {
    let (wakes, waker) = CountWakes::new();
    let census = Census::default();
    let scope = CancelScope::new();
    let handle = scope.handle();
    {
        let value = census.enter();
        let mut running = pin!(scope.run(async move {
            yield_now().await;
            drop(value);
        }));
        let cx = &mut Context::from_waker(&waker);
        assert!(running.as_mut().poll(cx).is_pending());
        assert!(running.as_mut().poll(cx).is_ready());
    }
    drop(waker);
    let before = wakes.count();

    for _ in 0..1000 {
        handle.cancel();
        handle.set_deadline(Some(headcount::now()));
    }

    assert_eq!(wakes.count(), before);
    assert_eq!(census.alive(), 0);
    assert_eq!(Arc::strong_count(&wakes), 1, "somebody keeps the waker");
}

/// Case 71. The same if the scope was dropped halfway.
#[test]
fn a_handle_outlives_a_scope_that_was_dropped() {
    let (wakes, waker) = CountWakes::new();
    let scope = CancelScope::new();
    let handle = scope.handle();
    {
        let mut running = Box::pin(scope.run(pending::<()>()));
        assert!(
            running
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    drop(waker);
    handle.cancel();
    assert_eq!(wakes.count(), 0);
    assert_eq!(Arc::strong_count(&wakes), 1, "somebody keeps the waker");
}

/// Law 4. A cancellation reaches everything below the scope, whatever the depth and the kind, at
/// once: the innermost is gone before anything further out is resumed.
#[test]
fn everything_below_is_reached() {
    everywhere(|| async {
        let census = Census::default();
        let deepest = Gate::default();
        let scope = CancelScope::new();
        let handle = scope.handle();

        let body = async {
            let _value = census.enter();
            CancelScope::new()
                .run(group(async |g| {
                    let (census, deepest) = (census.clone(), deepest.clone());
                    g.spawn(async move {
                        let _value = census.enter();
                        group(async |h| {
                            h.spawn(async move {
                                let _value = census.enter();
                                CancelScope::new()
                                    .run(async {
                                        deepest.open();
                                        pending::<()>().await;
                                    })
                                    .await?;
                                Ok(())
                            });
                            pending::<Result<(), _>>().await
                        })
                        .await?;
                        Ok(())
                    });
                    pending::<Result<(), _>>().await
                }))
                .await
        };
        let (outcome, ()) = zip(scope.run(body), async {
            deepest.wait().await;
            handle.cancel();
        })
        .await;

        assert!(outcome.is_err());
        assert_eq!((census.entered(), census.alive()), (3, 0));
    });
}

/// Law 4. Nothing else is reached: neither what is around the scope, nor what is beside it.
#[test]
fn nothing_else_is_reached() {
    everywhere(|| async {
        let outer = CancelScope::new();
        let outer_handle = outer.handle();
        let outcome = outer
            .run(async {
                let (left, right) = (CancelScope::new(), CancelScope::new());
                let (left_handle, right_handle) = (left.handle(), right.handle());
                let gate = Gate::default();
                let (left, right) = zip(left.run(pending::<()>()), async {
                    right
                        .run(async {
                            left_handle.cancel();
                            gate.wait().await;
                            assert!(!is_cancelled());
                            checkpoint().await;
                            7
                        })
                        .await
                })
                .race_with(&gate)
                .await;
                assert!(left.is_err());
                assert!(!right_handle.is_cancelled() && !outer_handle.is_cancelled());
                assert!(!is_cancelled());
                right.unwrap()
            })
            .await;
        assert_eq!(outcome.unwrap(), 7);
    });
}

trait RaceWith: Future + Sized {
    /// Opens the gate from beside the future, a while later.
    async fn race_with(self, gate: &Gate) -> Self::Output {
        let opened = async {
            common::let_others_run().await;
            gate.open();
        };
        zip(self, opened).await.0
    }
}

impl<F: Future> RaceWith for F {}

/// Law 4. A scope that is below a cancelled one says so, from its very first step.
#[test]
fn a_handle_tells_of_scopes_around_it() {
    everywhere(|| async {
        for waits in [0, 1] {
            let (outer, inner) = (CancelScope::new(), CancelScope::new());
            let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
            let outcome = outer.run(inner.run(async {
                for _ in 0..waits {
                    yield_now().await;
                }
                assert!(!inner_handle.is_cancelled());
                outer_handle.cancel();
                assert!(outer_handle.is_cancelled());
                assert!(inner_handle.is_cancelled(), "after {waits} waits");
            }));
            outcome.await.unwrap().unwrap();
        }
    });
}

/// Law 4. A scope that is around a cancelled one is not cancelled.
#[test]
fn a_handle_does_not_tell_of_scopes_inside_it() {
    everywhere(|| async {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer.run(inner.run(async {
            inner_handle.cancel();
            assert!(inner_handle.is_cancelled() && !outer_handle.is_cancelled());
        }));
        outcome.await.unwrap().unwrap();
    });
}

/// The code after the scope goes on as if nothing had been, and can be cancelled anew.
#[test]
fn scopes_one_after_the_other_are_independent() {
    everywhere(|| async {
        for round in 0..3 {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let cut = scope.run(async {
                handle.cancel_with(format!("round {round}"));
                checkpoint().await;
            });
            assert_eq!(
                cut.await.unwrap_err().reason(),
                Some(&*format!("round {round}"))
            );
            assert!(!is_cancelled());
            checkpoint().await;
        }
    });
}

/// A scope in somebody else's `FuturesUnordered` wakes that, and only it is cut.
#[test]
fn a_scope_in_a_foreign_collection_is_woken() {
    everywhere(|| async {
        let mut handles = Vec::new();
        let mut running: FuturesUnordered<_> = (0..10)
            .map(|i| {
                let scope = CancelScope::new();
                handles.push(scope.handle());
                async move { (i, scope.run(pending::<()>()).await.is_err()) }
            })
            .collect();
        for i in [7, 0, 9] {
            assert!(future::poll_once(running.next()).await.is_none());
            handles[i].cancel();
            assert_eq!(running.next().await, Some((i, true)));
        }
        assert_eq!(running.len(), 7);
    });
}

/// A cancellation wakes whoever polled the scope last, not who polled it once.
#[test]
fn the_waker_of_the_last_poll_is_woken() {
    let ((old, old_waker), (new, new_waker)) = (CountWakes::new(), CountWakes::new());
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut running = pin!(scope.run(pending::<()>()));
    assert!(
        running
            .as_mut()
            .poll(&mut Context::from_waker(&old_waker))
            .is_pending()
    );
    assert!(
        running
            .as_mut()
            .poll(&mut Context::from_waker(&new_waker))
            .is_pending()
    );

    handle.cancel();

    assert_eq!((old.count(), new.count()), (0, 1));
    assert!(matches!(poll_once(running.as_mut()), Poll::Ready(Err(_))));
}

/// Once a scope is cancelled, a body that nothing protects is not polled again: it is dropped.
#[test]
fn a_cancelled_body_is_not_polled_again() {
    let (polls, census) = (Polls::default(), Census::default());
    let scope = CancelScope::new();
    let handle = scope.handle();
    let value = census.enter();
    let mut running = pin!(scope.run(polls.of(async move {
        let _value = value;
        pending::<()>().await;
    })));
    assert!(poll_once(running.as_mut()).is_pending());
    assert!(poll_once(running.as_mut()).is_pending());

    handle.cancel();
    assert_eq!(census.alive(), 1, "cancelling drops nothing by itself");

    assert!(poll_once(running.as_mut()).is_ready());
    assert_eq!((polls.count(), census.alive()), (2, 0));
}

/// A body that cancels itself is dropped after the poll in which it does, not in the middle of it.
#[test]
fn a_body_that_cancels_itself_ends_its_step() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                let _dropped = OnDrop::new(|| log.say("dropped"));
                handle.cancel();
                log.say("still running");
                yield_now().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["still running", "dropped"]);
    });
}

/// The same for a child that cancels its own group, and for one that cancels its own task.
#[test]
fn a_child_that_cancels_itself_ends_its_step() {
    everywhere(|| async {
        for by_group in [true, false] {
            let log = Log::default();
            let (own, hand_over) = (Gate::default(), Arc::new(std::sync::Mutex::new(None)));
            let _outcome = group(async |g| {
                let stop = g.scope();
                let child = g.spawn({
                    let (log, own, hand_over) = (log.clone(), own.clone(), hand_over.clone());
                    async move {
                        let _dropped = OnDrop::new({
                            let log = log.clone();
                            move || log.say("dropped")
                        });
                        own.wait().await;
                        if by_group {
                            stop.cancel();
                        } else {
                            let task: headcount::Task<()> =
                                hand_over.lock().unwrap().take().unwrap();
                            task.cancel();
                        }
                        log.say("still running");
                        yield_now().await;
                        log.say("never");
                        Ok(())
                    }
                });
                *hand_over.lock().unwrap() = Some(child);
                own.open();
                until(|| log.has("dropped")).await;
                Ok(())
            })
            .await;
            assert_eq!(log.entries(), ["still running", "dropped"]);
        }
    });
}

/// The destructor of what is cut may use the scope: nothing is locked meanwhile.
#[test]
fn a_destructor_calls_back_into_its_scope() {
    everywhere(|| async {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let seen = Log::default();
        let outcome = outer
            .run(async {
                let cut = inner.run(async {
                    let _callback = OnDrop::new(|| {
                        assert!(
                            is_cancelled(),
                            "a destructor is under the scope that it is in"
                        );
                        inner_handle.cancel_with("again");
                        inner_handle.set_deadline(Some(headcount::now()));
                        assert!(inner_handle.is_cancelled() && !outer_handle.is_cancelled());
                        drop(inner_handle.clone());
                        let mut scope = Box::pin(CancelScope::new().run(async { 7 }));
                        assert!(poll_once(scope.as_mut()).is_ready());
                        seen.say("dropped");
                    });
                    inner_handle.cancel();
                    pending::<()>().await;
                });
                cut.await.unwrap_err().reason().map(str::to_owned)
            })
            .await;
        assert_eq!(outcome.unwrap(), None);
        assert_eq!(seen.entries(), ["dropped"]);
    });
}

/// A waker may use the scope that wakes it: nothing is locked meanwhile.
#[test]
fn a_waker_calls_back_into_its_scope() {
    struct Callback(headcount::ScopeHandle);

    impl std::task::Wake for Callback {
        fn wake(self: Arc<Self>) {
            assert!(self.0.is_cancelled());
            self.0.cancel_with("again");
            self.0.set_deadline(None);
        }
    }

    common::watched("with a waker that calls back", || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let waker = Arc::new(Callback(handle.clone())).into();
        let mut running = pin!(scope.run(pending::<()>()));
        assert!(
            running
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        handle.cancel_with("once");
        let Poll::Ready(Err(cancelled)) = poll_once(running.as_mut()) else {
            panic!("the scope goes on");
        };
        assert_eq!(cancelled.reason(), Some("once"));
    });
}

/// Outside of any scope nothing is ever cancelled.
#[test]
fn outside_of_any_scope_nothing_is_cancelled() {
    common::watched("outside of any scope", || {
        assert!(!is_cancelled());
        assert_eq!(headcount::deadline(), None);
        assert_eq!(headcount::time_left(), None);
        future::block_on(async {
            checkpoint().await;
            assert!(future::poll_once(headcount::cancelled()).await.is_none());
        });
    });
}
