//! Foreign code that is called by the crate calls back into it: from destructors, wakers, texts and
//! hooks. No lock is held meanwhile, and nothing is taken for something else.

mod common;

use std::{
    fmt,
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use common::{Gate, Log, everywhere, in_run, let_others_run, poll_once, watched};
use futures_lite::future::{block_on, or, yield_now};
use headcount::{
    Aborted, CancelScope, Error, ErrorGroup, Ready, Runtime, ScopeHandle, Spawner, StartError,
    Task, TaskGroup, finally, group, is_cancelled, now, run, shield, sleep, timeout, timeout_at,
};

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What a destructor can do with a group, all of it.
fn meddle(g: &TaskGroup<'static>, scope: &ScopeHandle, task: &Mutex<Option<Task<()>>>) {
    g.cancel();
    scope.cancel_with("again");
    scope.set_deadline(None);
    assert!(g.is_cancelled() && is_cancelled());
    let refused = g.spawn(async { Ok(()) });
    assert!(refused.is_finished());
    drop(g.spawn_local(async { Ok(()) }));
    drop(g.spawner().try_spawn(async { Ok(()) }));
    g.defer(async {});
    assert!(!format!("{g:?} {refused:?}").is_empty());
    let task = task.lock().expect("nobody panics").take();
    if let Some(task) = &task {
        task.cancel();
    }
    assert!(!g.is_empty());
}

#[test]
fn the_destructor_of_a_cancelled_child_calls_back_into_its_group() {
    everywhere(|| async {
        let stopped = group(async |g: TaskGroup<'static>| {
            for borrows in [false, true] {
                let (own, scope) = (g.clone(), g.scope());
                let slot = Arc::new(Mutex::new(None));
                let handle = Arc::clone(&slot);
                let child = async move {
                    let _meddler = OnDrop(move || meddle(&own, &scope, &handle));
                    pending::<Result<(), Error>>().await
                };
                let task = if borrows {
                    g.spawn_local(child)
                } else {
                    g.spawn(child)
                };
                *slot.lock().expect("nobody panics") = Some(task);
            }
            let_others_run().await;
            let (own, scope) = (g.clone(), g.scope());
            let _meddler = OnDrop(move || meddle(&own, &scope, &Mutex::new(None)));
            g.cancel();
            pending::<Result<(), Error>>().await
        })
        .await;
        assert!(stopped.is_err_and(|stopped| stopped.is_cancelled() && stopped.is_empty()));
    });
}

#[test]
fn the_destructor_of_a_group_that_is_dropped_opens_another_one() {
    in_run(|| async {
        let log = Log::default();
        let mut dropped = Box::pin(group(async |g| {
            let log = log.clone();
            g.spawn_local(async move {
                let _last = OnDrop(|| {
                    // Nobody should block in a destructor; nothing else must go wrong by it.
                    let joined = block_on(group(async |inner| {
                        Ok(inner.spawn_local(async { Ok(7) }).await)
                    }));
                    log.say(format!("{:?}", joined.is_ok()));
                });
                pending::<Result<(), Error>>().await
            });
            pending::<Result<(), Error>>().await
        }));
        assert!(poll_once(dropped.as_mut()).is_pending());
        drop(dropped);
        assert_eq!(log.entries().len(), 1);
    });
}

/// Case: a task that cancels itself while it is being polled.
#[test]
fn a_task_cancels_itself_and_its_group_while_it_is_polled() {
    everywhere(|| async {
        let log = Log::default();
        let joined = group(async |g| {
            let (send, receive) = mpsc::channel::<Task<()>>();
            let entry = log.clone();
            let task = g.spawn(async move {
                let myself = loop {
                    match receive.try_recv() {
                        Ok(task) => break task,
                        Err(_) => yield_now().await,
                    }
                };
                myself.cancel();
                assert!(is_cancelled());
                entry.say("went on to the next wait");
                pending::<Result<(), _>>().await
            });
            send.send(task).ok();
            while !g.is_empty() {
                yield_now().await;
            }
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
        assert_eq!(log.entries(), ["went on to the next wait"]);
    });
}

/// A waker that spawns, cancels and asks, where it is woken and where it is dropped.
struct Meddling {
    spawner: Spawner,
    scope: ScopeHandle,
}

impl Wake for Meddling {
    fn wake(self: Arc<Self>) {
        drop(self.spawner.try_spawn(async { Ok(()) }));
        assert!(!self.scope.is_cancelled());
    }
}

impl Drop for Meddling {
    fn drop(&mut self) {
        drop(self.spawner.try_spawn(async { Ok(()) }));
        self.scope.set_deadline(None);
    }
}

#[test]
fn a_waker_calls_back_into_the_group_that_wakes_it() {
    everywhere(|| async {
        let gate = Gate::default();
        let joined = group(async |g| {
            let (held, second) = (gate.wait(), gate.wait());
            let mut task = g.spawn(async move {
                held.await;
                Ok(())
            });
            let mut local = g.spawn_local(async move {
                second.await;
                Ok(())
            });
            let held = gate.wait();
            let mut start = pin!(g.start(|ready: Ready<()>| async {
                held.await;
                ready.send(());
                Ok(())
            }));
            for _ in 0..2 {
                // The second one takes the place of the first, which is dropped.
                let waker = Waker::from(Arc::new(Meddling {
                    spawner: g.spawner(),
                    scope: g.scope(),
                }));
                let cx = &mut Context::from_waker(&waker);
                assert!(Pin::new(&mut task).poll(cx).is_pending());
                assert!(Pin::new(&mut local).poll(cx).is_pending());
                assert!(start.as_mut().poll(cx).is_pending());
            }
            gate.open();
            while !(task.is_finished() && local.is_finished()) {
                let_others_run().await;
            }
            start.await?;
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
    });
}

/// An error whose text uses the crate.
#[derive(Debug)]
struct Elaborate(ScopeHandle);

impl fmt::Display for Elaborate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.cancel();
        let inner = block_on(group(async |_g| Err::<(), _>("inner".into())));
        write!(f, "{}", inner.is_err())
    }
}

impl std::error::Error for Elaborate {}

#[test]
fn the_text_of_an_error_uses_the_crate() {
    in_run(|| async {
        let failed = group(async |g| {
            let scope = g.scope();
            g.spawn(async move { Err::<(), _>(Elaborate(scope).into()) });
            Ok(())
        })
        .await
        .unwrap_err();
        assert!(format!("{failed:#}").contains("true"));
        assert!(format!("{failed}").contains("failed"));
    });
}

/// Frames on the stack of the thread are not around what a new run runs.
#[test]
fn a_run_that_is_called_from_cancelled_code_is_not_cancelled() {
    watched("outside of run", || {
        let outcome = block_on(group(async |g| {
            g.cancel();
            let seven = Runtime::builder().threads(1).run(async {
                assert!(!is_cancelled());
                sleep(Duration::from_millis(1)).await;
                let inner = group(async |inner| Ok(inner.spawn(async { Ok(7) }).await?)).await;
                inner.expect("nothing fails")
            });
            assert!(is_cancelled());
            Ok(seven)
        }));
        assert_eq!(outcome.unwrap(), 7);
    });
}

/// Does what `block_on` does, without thread-locals of its own.
fn poll_to_the_end<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return output;
        }
        thread::yield_now();
    }
}

/// A thread that is ending has no thread-locals any more that have destructors.
#[test]
fn a_group_works_while_its_thread_is_ending() {
    struct Last(mpsc::Sender<Result<i32, String>>);

    impl Drop for Last {
        fn drop(&mut self) {
            let outcome = poll_to_the_end(group(async |g| {
                let local = g.spawn_local(async {
                    yield_now().await;
                    Ok(1)
                });
                let parallel = g.spawn(async { Ok(2) });
                g.spawn_local(async { Err::<(), _>("a failure".into()) });
                let sum = local.await? + parallel.await?;
                pending::<()>().await;
                Ok(sum)
            }));
            let outcome = outcome.map_err(|failed| format!("{failed:#}"));
            self.0.send(outcome).ok();
        }
    }

    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }

    let (send, receive) = mpsc::channel();
    watched("while a thread ends", || {
        let thread = thread::spawn(move || {
            LAST.with(|last| *last.borrow_mut() = Some(Last(send)));
            // The thread-locals of the crate come to life after that, and go before.
            block_on(group(async |g| {
                g.spawn_local(async { Ok(()) });
                Ok(())
            }))
            .map_err(|failed| failed.to_string())
        });
        thread.join().expect("no panic").unwrap();
    });
    let told = receive.recv().unwrap().unwrap_err();
    assert!(told.contains("a failure"), "{told}");
}

/// Case 26 and its neighbours: what waits to be dropped may be polled again before that.
#[test]
fn a_start_that_was_cut_does_not_hold_its_scope_up() {
    everywhere(|| async {
        let gate = Gate::default();
        let log = Log::default();
        let joined = group(async |g| {
            let scope = CancelScope::new();
            let stop = scope.handle();
            let beside = async {
                stop.cancel();
                shield(async {
                    gate.wait().await;
                    log.say("shielded");
                })
                .await;
                pending::<()>().await;
            };
            let start = g.start(|ready: Ready<()>| async move {
                let _ready = ready;
                pending().await
            });
            let cut = scope.run(futures_lite::future::zip(start, beside));
            let opens = async {
                let_others_run().await;
                let_others_run().await;
                gate.open();
                pending().await
            };
            Ok(or(async { cut.await.is_err() }, opens).await)
        })
        .await;
        assert!(joined.unwrap());
        assert_eq!(log.entries(), ["shielded"]);
    });
}

#[test]
fn a_start_that_waits_for_its_turn_can_be_cancelled() {
    everywhere(|| async {
        let joined = TaskGroup::builder()
            .limit(1)
            .run(async |g| {
                let first = g.spawn(pending::<Result<(), _>>());
                let start = g.start(|ready: Ready<()>| async {
                    ready.send(());
                    Ok(())
                });
                assert!(timeout(Duration::from_millis(5), start).await.is_err());
                first.cancel();
                assert_eq!(first.await, Err(Aborted::Cancelled));
                let second = g.start(|ready: Ready<()>| async {
                    ready.send(());
                    Ok(())
                });
                second.await?;
                Ok(())
            })
            .await;
        assert!(joined.is_ok());
    });
}

#[test]
fn a_cancelled_start_is_no_failure_of_its_caller() {
    everywhere(|| async {
        let log = Log::default();
        let joined = group(async |g| {
            let gate = Gate::default();
            let held = gate.wait();
            let late = timeout_at(now() + Duration::from_millis(5), async {
                let ready = g.start(|ready: Ready<()>| async move {
                    shield(held).await;
                    // Too late: the caller has been cancelled.
                    ready.send(());
                    pending().await
                });
                let outcome = ready.await;
                log.say(format!("came back: {}", outcome.is_ok()));
            });
            let opens = async {
                sleep(Duration::from_millis(10)).await;
                gate.open();
                pending().await
            };
            assert!(or(late, opens).await.is_err());
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
        assert!(log.entries().is_empty());
    });
}

#[test]
fn a_group_is_polled_again_after_it_was_done() {
    in_run(|| async {
        let mut done = pin!(group(async |_g| Ok::<_, Error>(())));
        assert!(poll_once(done.as_mut()).is_ready());
        let again = std::panic::AssertUnwindSafe(|| poll_once(done.as_mut()).is_ready());
        let panic = std::panic::catch_unwind(again).unwrap_err();
        let message = panic.downcast_ref::<&str>().unwrap();
        assert!(message.contains("polled again after it was done"));
    });
}

/// A reference to a future is dropped by a timeout, and the future goes on.
#[test]
fn a_scope_goes_on_after_a_timeout_round_a_reference_to_it() {
    everywhere(|| async {
        let gate = Gate::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut inner = pin!(scope.run(async {
            shield(let_others_run()).await;
            // The node of the scope is in the tree by now.
            gate.wait().await;
            assert!(!is_cancelled());
            sleep(Duration::from_millis(1)).await;
            7
        }));
        let first = timeout(Duration::from_millis(5), inner.as_mut()).await;
        assert!(first.is_err());
        gate.open();
        assert_eq!(inner.await.unwrap(), 7);
        assert!(!handle.is_cancelled());
    });
}

#[test]
fn finalizers_of_a_task_that_unwinds_into_another_run() {
    let log = Log::default();
    let entry = log.clone();
    let outcome = watched("in run", || {
        run(async {
            let joined: Result<(), ErrorGroup> = group(async |g| {
                let begun = Gate::default();
                let begins = begun.clone();
                g.spawn(async move {
                    finally(
                        async {
                            begins.open();
                            pending::<()>().await;
                        },
                        async move {
                            let refused = thread::spawn(|| run(async { 7 })).join();
                            entry.say(format!("{}", refused.is_ok()));
                        },
                    )
                    .await;
                    Ok(())
                });
                begun.wait().await;
                let_others_run().await;
                Err("stop".into())
            })
            .await;
            joined
        })
    });
    assert!(outcome.is_err());
    assert_eq!(log.entries(), ["true"]);
}

#[test]
fn a_start_error_says_what_it_was() {
    everywhere(|| async {
        let joined = group(async |g| {
            let never = g.start(|ready: Ready<()>| async move {
                drop(ready);
                pending().await
            });
            assert!(matches!(never.await, Err(StartError::NotReady)));
            Ok(())
        })
        .await;
        assert!(joined.is_ok());
    });
}
