//! Law 2, nothing escapes: what becomes of a group whose future is dropped, forgotten, or left
//! behind by somebody else's combinator.

mod common;

use std::{
    cell::Cell,
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use common::{
    Census, Gate, Log, OnDrop, everywhere, for_ever, in_run, keep_quiet_about_purpose, leaves_of,
    let_others_run, on_threads, watched,
};
use futures::FutureExt as _;
use futures_lite::future::{or, poll_once, zip};
use headcount::{
    CancelScope, Error, FailureKind, Task, TaskGroup, finally, group, on_unclaimed, run, shield,
    sleep, timeout,
};

/// A parallel task that has begun, and that takes its time to clean up when it is cancelled.
fn cleans_up(
    begun: &Gate,
    census: &Census,
    log: &Log,
) -> impl Future<Output = Result<(), Error>> + use<> {
    let (begun, value, log) = (begun.clone(), census.enter(), log.clone());
    async move {
        let _value = value;
        let busy = async {
            begun.open();
            for_ever().await
        };
        let cleanup = async {
            let_others_run().await;
            log.say("cleaned up");
        };
        finally(busy, cleanup).await
    }
}

/// Polls a future until a gate is open, and drops it then.
async fn drop_half_way<F: Future>(future: F, begun: &Gate) {
    let mut future = pin!(future);
    while !begun.is_open() {
        assert!(poll_once(future.as_mut()).await.is_none());
        let_others_run().await;
    }
}

/// Law 2. Borrowing tasks are gone when the drop returns; parallel ones are cancelled, and the group
/// around waits for them, cleanup included.
#[test]
fn a_dropped_group_hands_its_tasks_up() {
    everywhere(|| async {
        let (census, local, log) = (Census::default(), Census::default(), Log::default());
        group(async |_outer| {
            let begun = Gate::default();
            let dropped = group(async |g| {
                let value = local.enter();
                g.spawn_local(async move {
                    let _value = value;
                    for_ever().await
                });
                g.spawn(cleans_up(&begun, &census, &log));
                for_ever().await
            });
            drop_half_way(dropped, &begun).await;
            assert_eq!(
                local.alive(),
                0,
                "borrowing tasks are gone when the drop returns"
            );
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

/// Law 2. What a dropped group leaves behind does not keep the *dropping* code waiting, nor is it
/// seen by it: the next lines run while it cleans up.
#[test]
fn dropping_a_group_blocks_nobody() {
    everywhere(|| async {
        let (gate, log) = (Gate::default(), Log::default());
        group(async |_outer| {
            let begun = Gate::default();
            let dropped = group(async |g| {
                let (started, at, to) = (begun.clone(), gate.clone(), log.clone());
                g.spawn(async move {
                    let busy = async {
                        started.open();
                        for_ever().await
                    };
                    let cleanup = async {
                        at.wait().await;
                        to.say("cleaned up");
                    };
                    finally(busy, cleanup).await
                });
                for_ever().await
            });
            drop_half_way(dropped, &begun).await;
            // The cleanup waits for what only this code does.
            log.say("after the drop");
            gate.open();
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(log.entries(), ["after the drop", "cleaned up"]);
    });
}

/// Law 2, several levels deep: the tasks of groups nested in the dropped one are handed up as well.
#[test]
fn a_dropped_tree_of_groups_is_handed_up_as_a_whole() {
    everywhere(|| async {
        let (census, log) = (Census::default(), Log::default());
        group(async |_outer| {
            let begun = [Gate::default(), Gate::default(), Gate::default()];
            let dropped = group(async |g| {
                g.spawn(cleans_up(&begun[0], &census, &log));
                g.spawn_local(async {
                    let nested = group(async |h| {
                        h.spawn(cleans_up(&begun[1], &census, &log));
                        let (deepest, census, log) =
                            (begun[2].clone(), census.clone(), log.clone());
                        h.spawn(async move {
                            let deeper = group(async |i| {
                                i.spawn(cleans_up(&deepest, &census, &log));
                                for_ever().await
                            });
                            Ok(deeper.await?)
                        });
                        for_ever().await
                    });
                    Ok(nested.await?)
                });
                for_ever().await
            });
            let all = Gate::default();
            zip(
                async {
                    for gate in &begun {
                        gate.wait().await;
                    }
                    all.open();
                },
                drop_half_way(dropped, &all),
            )
            .await;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"; 3]);
    });
}

/// Law 2. Combinators of other crates drop what loses: `or` of futures-lite, `select!` of futures,
/// the timeout of tokio.
#[test]
fn foreign_combinators_let_nothing_escape() {
    everywhere(|| async {
        for combinator in ["or", "select"] {
            let (census, log) = (Census::default(), Log::default());
            group(async |_outer| {
                let begun = Gate::default();
                let loses = group(async |g| {
                    g.spawn(cleans_up(&begun, &census, &log));
                    for_ever().await
                });
                let wins = begun.wait();
                if combinator == "or" {
                    or(async { drop(loses.await) }, wins).await;
                } else {
                    futures::select! {
                        outcome = pin!(loses.fuse()) => drop(outcome),
                        () = pin!(wins.fuse()) => {}
                    }
                }
                Ok(())
            })
            .await
            .unwrap();
            assert_eq!(census.alive(), 0, "{combinator}");
            assert_eq!(log.entries(), ["cleaned up"], "{combinator}");
        }
    });
    watched("under tokio", || {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (census, log) = (Census::default(), Log::default());
        tokio.block_on(async {
            let joined = group(async |_outer| {
                let begun = Gate::default();
                let loses = group(async |g| {
                    g.spawn(cleans_up(&begun, &census, &log));
                    begun.wait().await;
                    for_ever().await
                });
                let late = async { tokio::time::timeout(Duration::from_millis(20), loses).await };
                assert!(late.await.is_err());
                Ok(())
            });
            joined.await.unwrap();
        });
        assert_eq!(census.alive(), 0);
        // The task may not have begun by then; if it had, its cleanup has run.
        assert!(log.entries().len() <= 1);
    });
}

/// Law 2. A group that is dropped because of a panic is handed up like any other.
#[test]
fn a_group_dropped_by_a_panic_is_handed_up() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let (census, log) = (Census::default(), Log::default());
        let failed = group(async |_outer| {
            let begun = Gate::default();
            let mut dropped = pin!(group(async |g| {
                let value = census.enter();
                g.spawn_local(async move {
                    let _value = value;
                    for_ever().await
                });
                g.spawn(cleans_up(&begun, &census, &log));
                for_ever().await
            }));
            while !begun.is_open() {
                assert!(poll_once(dropped.as_mut()).await.is_none());
                let_others_run().await;
            }
            if true { panic!("on purpose") } else { Ok(()) }
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose"]);
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

/// Hazard: destructors that panic while a panic is unwinding. Every piece is dropped under a catch of
/// its own, so the process lives, and the other pieces are dropped too.
#[test]
fn destructors_may_panic_while_a_panic_unwinds() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let census = Census::default();
        let failed = group(async |_outer| {
            let mut dropped = pin!(group(async |g| {
                for _ in 0..3 {
                    let value = census.enter();
                    g.spawn_local(async move {
                        let _value = value;
                        let _bomb = OnDrop::new(|| panic!("on purpose: a destructor"));
                        for_ever().await
                    });
                }
                let _bomb = OnDrop::new(|| panic!("on purpose: the destructor of the body"));
                for_ever().await
            }));
            for _ in 0..5 {
                assert!(poll_once(dropped.as_mut()).await.is_none());
                let_others_run().await;
            }
            if true {
                panic!("on purpose: the first")
            } else {
                Ok(())
            }
        })
        .await
        .unwrap_err();
        assert_eq!(census.alive(), 0);
        let told = leaves_of(&failed);
        assert!(
            told.contains(&"panic: on purpose: the first".to_owned()),
            "{told:?}"
        );
        assert_eq!(told.len(), 5, "the others are told of as well: {told:?}");
    });
}

/// Hazard: a future is forgotten, so that its destructor never runs. The group around counts its
/// parallel tasks all the same, and cancels them when it ends.
#[test]
fn a_forgotten_group_does_not_let_its_tasks_escape() {
    in_run(|| async {
        let (census, log) = (Census::default(), Log::default());
        group(async |g| {
            let (census, log) = (census.clone(), log.clone());
            let forgets = g.spawn(async move {
                let begun = Gate::default();
                let started = begun.clone();
                let mut forgotten = Box::pin(group(async move |h| {
                    h.spawn(cleans_up(&started, &census, &log));
                    for_ever().await
                }));
                while !begun.is_open() {
                    assert!(poll_once(forgotten.as_mut()).await.is_none());
                    let_others_run().await;
                }
                #[expect(clippy::mem_forget, reason = "it is what the test is about")]
                std::mem::forget(forgotten);
                Ok(())
            });
            forgets.await?;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

/// The same with nothing but the run around it.
#[test]
fn a_run_waits_for_the_tasks_of_a_forgotten_group() {
    watched("in a run", || {
        let (census, log) = (Census::default(), Log::default());
        run(async {
            let begun = Gate::default();
            let (started, counted, to) = (begun.clone(), census.clone(), log.clone());
            let mut forgotten = Box::pin(group(async move |h| {
                h.spawn(cleans_up(&started, &counted, &to));
                for_ever().await
            }));
            while !begun.is_open() {
                assert!(poll_once(forgotten.as_mut()).await.is_none());
                let_others_run().await;
            }
            #[expect(clippy::mem_forget, reason = "it is what the test is about")]
            std::mem::forget(forgotten);
        });
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

/// Deferred finalizers survive a foreign drop: the group around waits for them, and they run in
/// their order after the tasks are gone.
#[test]
fn deferred_finalizers_survive_a_foreign_drop() {
    everywhere(|| async {
        let (census, log) = (Census::default(), Log::default());
        group(async |_outer| {
            let begun = Gate::default();
            let dropped = group(async |g| {
                for name in ["first deferred", "last deferred"] {
                    let to = log.clone();
                    g.defer(async move {
                        let_others_run().await;
                        sleep(Duration::from_millis(1)).await;
                        to.say(name);
                    });
                }
                g.spawn(cleans_up(&begun, &census, &log));
                for_ever().await
            });
            drop_half_way(dropped, &begun).await;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(
            log.entries(),
            ["cleaned up", "last deferred", "first deferred"]
        );
        assert_eq!(census.alive(), 0);
    });
}

/// A shield, a `finally` and a group inside a dropped future cannot stop the drop. The first two are
/// dropped there and then, cleanup unpolled; the group's tasks are handed up.
/// (Not under seeds: a test run holds it against a program that a cleanup is not run to its end.)
#[test]
fn a_foreign_drop_goes_through_shields_and_finalizers() {
    on_threads(|| async {
        let (census, tasks, log) = (Census::default(), Census::default(), Log::default());
        group(async |_outer| {
            let begun = Gate::default();
            let dropped = shield(async {
                let _value = census.enter();
                let cleanup = async { log.say("never polled") };
                let joined = group(async |g| {
                    g.spawn(cleans_up(&begun, &tasks, &log));
                    for_ever().await
                });
                finally(joined, cleanup).await
            });
            drop_half_way(dropped, &begun).await;
            assert_eq!(census.alive(), 0);
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(tasks.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

/// Law 3. What a handed-up task fails with is told by the group around, once.
#[test]
fn failures_after_a_drop_are_told_by_the_group_around() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = group(async |_outer| {
            let begun = Gate::default();
            let dropped = group(async |g| {
                let started = begun.clone();
                g.spawn_named("fails while going", async move {
                    let busy = async {
                        started.open();
                        for_ever().await
                    };
                    finally(busy, async { panic!("on purpose: cleanup") }).await
                });
                for_ever().await
            });
            drop_half_way(dropped, &begun).await;
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose: cleanup"]);
        let named = failed
            .leaves()
            .any(|f| f.task().name() == Some("fails while going"));
        assert!(named, "{failed:#}");
    });
}

/// Law 3. What failed *before* the drop is not lost either.
#[test]
fn failures_before_a_drop_are_told_by_the_group_around() {
    everywhere(|| async {
        let failed = group(async |_outer| {
            let mut dropped = Box::pin(
                TaskGroup::builder()
                    .policy(headcount::Policy::Collect)
                    .run(async |g| {
                        let fails = g.spawn(async { Err::<(), _>("before the drop".into()) });
                        shield(fails).await.unwrap_err();
                        for_ever().await
                    }),
            );
            for _ in 0..20 {
                assert!(poll_once(dropped.as_mut()).await.is_none());
                let_others_run().await;
            }
            drop(dropped);
            Ok(())
        })
        .await;
        // In twenty rounds the task may not have had a turn on a busy machine; if it had, it is told.
        if let Err(failed) = failed {
            assert_eq!(leaves_of(&failed), ["before the drop"]);
        }
    });
}

/// The failures that nobody was there to be told of, by task name.
fn unclaimed() -> &'static Mutex<Vec<(String, String)>> {
    static TOLD: OnceLock<Mutex<Vec<(String, String)>>> = OnceLock::new();

    TOLD.get_or_init(|| {
        on_unclaimed(|failure| {
            let text = match failure.kind() {
                FailureKind::Error(error) => error.to_string(),
                FailureKind::Panic(panic) => panic.message().unwrap_or("").to_owned(),
            };
            let name = failure.task().name().unwrap_or("").to_owned();
            unclaimed()
                .lock()
                .expect("nothing panics while it holds it")
                .push((name, text));
        });
        Mutex::default()
    })
}

/// Case 242, law 3. With no group around, a failure of what main left behind goes to the hook for
/// unclaimed failures, before the run returns, once.
#[test]
fn failures_of_stragglers_of_a_run_go_to_the_hook() {
    keep_quiet_about_purpose();
    drop(unclaimed().lock().unwrap());
    for (threads, name) in [(1, "straggler of one"), (4, "straggler of four")] {
        watched("in a run", || {
            headcount::Runtime::builder().threads(threads).run(async {
                let begun = Gate::default();
                let dropped = group(async |g| {
                    let started = begun.clone();
                    g.spawn_named(name, async move {
                        let busy = async {
                            started.open();
                            for_ever().await
                        };
                        finally(busy, async { panic!("on purpose: straggler") }).await
                    });
                    for_ever().await
                });
                drop_half_way(dropped, &begun).await;
            });
        });
        let told: Vec<_> = unclaimed()
            .lock()
            .unwrap()
            .iter()
            .filter(|(of, _)| of == name)
            .cloned()
            .collect();
        assert_eq!(
            told,
            [(name.to_owned(), "on purpose: straggler".to_owned())]
        );
    }
}

/// Hazard: a task cancels itself while it is being polled. It is dropped after that poll, not in it.
#[test]
fn a_task_that_cancels_itself_is_dropped_after_its_poll() {
    everywhere(|| async {
        for local in [false, true] {
            let (census, log) = (Census::default(), Log::default());
            let handle: Arc<Mutex<Option<Task<()>>>> = Arc::default();
            let gate = Gate::default();
            group(async |g| {
                let (mine, at, value, to) = (
                    Arc::clone(&handle),
                    gate.clone(),
                    census.enter(),
                    log.clone(),
                );
                let cancels_itself = async move {
                    let _value = value;
                    at.wait().await;
                    mine.lock().unwrap().as_ref().unwrap().cancel();
                    to.say("goes on to its next wait");
                    pending::<()>().await;
                    to.say("not reached");
                    Ok(())
                };
                let task = if local {
                    g.spawn_local(cancels_itself)
                } else {
                    g.spawn(cancels_itself)
                };
                *handle.lock().unwrap() = Some(task);
                gate.open();
                Ok(())
            })
            .await
            .unwrap();
            assert_eq!(log.entries(), ["goes on to its next wait"]);
            assert_eq!(census.alive(), 0);
        }
    });
}

/// Hazard: a task or a body that cancels its whole group while it is being polled.
#[test]
fn a_group_cancelled_from_within_is_dropped_after_the_poll() {
    everywhere(|| async {
        let log = Log::default();
        let stopped = group(async |g| {
            let (again, to) = (g.clone(), &log);
            g.spawn_local(async move {
                let _owned = OnDrop::new(|| to.say("task dropped"));
                again.cancel();
                to.say("task goes on to its next wait");
                for_ever().await
            });
            let _owned = OnDrop::new(|| log.say("body dropped"));
            for_ever().await
        })
        .await
        .unwrap_err();
        assert!(stopped.is_empty() && stopped.is_cancelled());
        let told = log.entries();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], "task goes on to its next wait");
    });
}

/// Hazard: the destructor of a cancelled body, or task, calls back into its own group. Nothing is
/// locked while anything is dropped.
#[test]
fn destructors_may_call_back_into_their_group() {
    everywhere(|| async {
        for in_body in [true, false] {
            let (census, log) = (Census::default(), Log::default());
            let stopped = group(async |g| {
                let (again, value, to) = (g.clone(), census.enter(), log.clone());
                let calls_back = OnDrop::new(move || {
                    let task = again.spawn(async move {
                        let _value = value;
                        Ok(())
                    });
                    task.cancel();
                    let too = to.clone();
                    again.defer(async move { too.say("deferred") });
                    again.cancel_with("again");
                    again.scope().set_deadline(Some(headcount::now()));
                    to.say(format!("cancelled: {}", again.is_cancelled()));
                    drop((task, again.spawner(), again.len()));
                });
                if in_body {
                    let _calls_back = calls_back;
                    let_others_run().await;
                    g.cancel_with("first");
                    return for_ever().await;
                }
                g.spawn_local(async move {
                    let _calls_back = calls_back;
                    for_ever().await
                });
                let_others_run().await;
                g.cancel_with("first");
                for_ever().await
            })
            .await
            .unwrap_err();
            assert_eq!(stopped.reason(), Some("first"));
            assert_eq!(
                log.entries(),
                ["cancelled: true", "deferred"],
                "in the body: {in_body}"
            );
            assert_eq!(census.alive(), 0);
        }
    });
}

/// Hazard: a body that is not `Send` is cancelled from another thread. It is dropped on its own.
#[test]
fn a_body_cancelled_from_another_thread_is_dropped_on_its_own() {
    on_threads(|| async {
        let home = thread::current().id();
        let dropped_on = Rc::new(Cell::new(None));
        let stopped = group(async |g| {
            let told = Rc::clone(&dropped_on);
            let _owned = OnDrop::new(move || told.set(Some(thread::current().id())));
            let scope = g.scope();
            let elsewhere = thread::spawn(move || scope.cancel());
            for_ever().await?;
            elsewhere.join().expect("it does not panic");
            Ok(())
        })
        .await
        .unwrap_err();
        assert!(stopped.is_cancelled());
        assert_eq!(dropped_on.get(), Some(home));
    });
}

/// Hazard: a group's future is polled on different threads between its waits. The running code is
/// under its own scopes on each, and no thread is left under them.
#[test]
fn a_group_may_move_between_threads() {
    /// Polls on a thread of its own, under a waker that does nothing.
    fn poll_elsewhere<F: Future + Send>(future: Pin<&mut F>) -> Option<F::Output>
    where
        F::Output: Send,
    {
        thread::scope(|s| {
            let polled = s.spawn(move || {
                assert!(headcount::deadline().is_none());
                let polled = future.poll(&mut Context::from_waker(Waker::noop()));
                assert!(
                    headcount::deadline().is_none(),
                    "the thread is not under its scopes"
                );
                match polled {
                    Poll::Ready(output) => Some(output),
                    Poll::Pending => None,
                }
            });
            polled.join().expect("it does not panic")
        })
    }

    watched("by hand", || {
        let seen = Mutex::new(Vec::new());
        let mut moved = pin!(timeout(
            Duration::from_secs(3600),
            group(async |g| {
                g.spawn_local(async {
                    for _ in 0..3 {
                        assert!(headcount::deadline().is_some());
                        seen.lock().unwrap().push(thread::current().id());
                        wait_for_one_poll().await;
                    }
                    Ok(())
                });
                Ok(())
            }),
        ));
        let outcome = loop {
            if let Some(outcome) = poll_elsewhere(moved.as_mut()) {
                break outcome;
            }
        };
        outcome.unwrap().unwrap();
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen.len(), 3);
    });
}

/// Pending once, without waking itself at once: the next poll comes from whoever polls anyway.
async fn wait_for_one_poll() {
    let mut polled = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        // Woken from elsewhere, a little later, so that no loop inside one poll picks it up.
        let waker = cx.waker().clone();
        thread::spawn(move || waker.wake());
        Poll::Pending
    })
    .await;
}

/// The same when a poll panics: the thread is left as it was.
#[test]
fn a_panic_leaves_no_scope_behind_on_the_thread() {
    keep_quiet_about_purpose();
    watched("by hand", || {
        let mut panics = Box::pin(timeout(Duration::from_secs(3600), async {
            assert!(headcount::deadline().is_some());
            if true {
                panic!("on purpose");
            }
        }));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(cx).is_ready())).is_err());
        assert!(headcount::deadline().is_none());
        drop(panics);

        let scope = CancelScope::new();
        scope.handle().cancel();
        let mut panics = Box::pin(scope.run(async {
            let _bomb = OnDrop::new(|| panic!("on purpose"));
            pending::<()>().await;
        }));
        drop(catch_unwind(AssertUnwindSafe(|| {
            panics.as_mut().poll(cx).is_ready()
        })));
        drop(catch_unwind(AssertUnwindSafe(|| drop(panics))));
        assert!(!headcount::is_cancelled());
    });
}

/// A group that was never polled is nothing at all: its body does not run, and nobody waits for it.
#[test]
fn a_group_that_is_never_polled_does_nothing() {
    everywhere(|| async {
        let log = Log::default();
        drop(group(async |g| {
            log.say("ran");
            g.spawn(for_ever());
            for_ever().await
        }));
        assert_eq!(log.entries(), Vec::<String>::new());
    });
}
