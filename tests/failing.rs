//! Law 9, the body is a member like any other: failures and panics of bodies, of tasks, and of both.
//! And law 3, no failure is lost, for panics wherever they come from.

mod common;

use std::{
    error::Error as _,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use common::{
    Census, Gate, Log, OnDrop, everywhere, for_ever, keep_quiet_about_purpose, leaves_of,
    let_others_run, panic_text, sorted_leaves_of,
};
use futures_lite::{FutureExt as _, future::zip};
use headcount::{Aborted, Error, ErrorGroup, TaskGroup, finally, group, shield};

/// Case 44. A failing body cancels the tasks and waits for them; its error is in the report.
#[test]
fn a_failing_body_cancels_and_joins_the_tasks() {
    everywhere(|| async {
        let (census, log, begun) = (Census::default(), Log::default(), Gate::default());
        let failed = group(async |g| {
            let (value, to, started) = (census.enter(), log.clone(), begun.clone());
            g.spawn(async move {
                let _value = value;
                let busy = async {
                    started.open();
                    for_ever().await
                };
                let cleanup = async {
                    let_others_run().await;
                    to.say("cleaned up");
                };
                finally(busy, cleanup).await
            });
            let value = census.enter();
            g.spawn_local(async move {
                let _value = value;
                for_ever().await
            });
            begun.wait().await;
            Err::<(), _>("the body fails".into())
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["the body fails"]);
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

/// Case 44. So does a panicking one.
#[test]
fn a_panicking_body_cancels_and_joins_the_tasks() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let census = Census::default();
        let failed = group(async |g| {
            let (one, two) = (census.enter(), census.enter());
            g.spawn(async move {
                let _value = one;
                for_ever().await
            });
            g.spawn_local(async move {
                let _value = two;
                for_ever().await
            });
            let_others_run().await;
            if true { panic!("on purpose") } else { Ok(()) }
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose"]);
        assert_eq!(census.alive(), 0);
    });
}

/// Case 46. A failing task interrupts the body at whatever it waits for.
#[test]
fn a_failing_task_interrupts_the_body() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        for local in [false, true] {
            for panics in [false, true] {
                let (census, log) = (Census::default(), Log::default());
                let failed = group(async |g| {
                    let fails = async move {
                        let_others_run().await;
                        if panics {
                            panic!("on purpose")
                        } else {
                            Err::<(), _>("it fails".into())
                        }
                    };
                    if local {
                        g.spawn_local(fails)
                    } else {
                        g.spawn(fails)
                    };
                    let _value = census.enter();
                    headcount::sleep(std::time::Duration::MAX).await;
                    log.say("after the wait");
                    Ok(())
                })
                .await
                .unwrap_err();
                let expected = if panics {
                    "panic: on purpose"
                } else {
                    "it fails"
                };
                assert_eq!(leaves_of(&failed), [expected]);
                assert_eq!(log.entries(), Vec::<String>::new());
                assert_eq!(census.alive(), 0);
            }
        }
    });
}

/// Case 46, as short as it can be: the only other member is a borrowing task that yields once.
#[test]
fn a_borrowing_task_that_fails_after_a_turn_interrupts_the_body() {
    everywhere(|| async {
        let failed = group(async |g| {
            g.spawn_local(async {
                futures_lite::future::yield_now().await;
                Err::<(), _>("it fails".into())
            });
            for_ever().await
        });
        assert_eq!(leaves_of(&failed.await.unwrap_err()), ["it fails"]);
    });
}

/// Case 46. The body is interrupted at a wait that is not shielded: a shield it is in runs to its
/// end first.
#[test]
fn a_failing_task_does_not_interrupt_a_shield_of_the_body() {
    everywhere(|| async {
        let log = Log::default();
        let failed = group(async |g| {
            let failing = g.spawn(async { Err::<(), _>("it fails".into()) });
            shield(async {
                failing.await.unwrap_err();
                let_others_run().await;
                log.say("shielded");
            })
            .await;
            headcount::checkpoint().await;
            log.say("after the shield");
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["it fails"]);
        assert_eq!(log.entries(), ["shielded"]);
    });
}

/// Case 47. If the body and a task fail independently of each other, the report has both.
#[test]
fn body_and_task_may_both_fail() {
    everywhere(|| async {
        let (task_at, body_at) = (Gate::default(), Gate::default());
        let failed = group(async |g| {
            let (at, opens) = (task_at.clone(), body_at.clone());
            g.spawn(async move {
                // Shielded, so that neither failure keeps the other from happening.
                shield(async {
                    opens.open();
                    at.wait().await;
                })
                .await;
                Err::<(), _>("the task".into())
            });
            shield(async {
                body_at.wait().await;
                task_at.open();
            })
            .await;
            Err::<(), _>("the body".into())
        })
        .await
        .unwrap_err();
        assert_eq!(sorted_leaves_of(&failed), ["the body", "the task"]);
    });
}

/// Case 49. A body that sees a failed task through its handle and returns a value all the same: the
/// group fails, and the value is dropped.
#[test]
fn a_body_cannot_make_up_for_a_failed_task() {
    everywhere(|| async {
        let census = Census::default();
        let failed = group(async |g| {
            let task = g.spawn(async { Err::<u8, _>("it fails".into()) });
            assert_eq!(shield(task).await, Err(Aborted::Failed));
            Ok(census.enter())
        })
        .await
        .map(drop)
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["it fails"]);
        assert_eq!((census.entered(), census.alive()), (1, 0));
    });
}

/// Case 50. A panic is a member of the report beside ordinary errors.
#[test]
fn a_panic_is_a_member_of_the_report() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = group(async |g| {
            let panics = g.spawn::<(), _>(async { panic!("on purpose") });
            shield(panics).await.unwrap_err();
            Err::<(), _>("an error".into())
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose", "an error"]);
    });
}

/// Case 50. With `resume_panics` the panic goes on after everything in the group has ended, with the
/// payload it was raised with.
#[test]
fn a_resumed_panic_goes_on_after_the_join() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let (census, log) = (Census::default(), Log::default());
        let resumed = TaskGroup::builder().resume_panics().run(async |g| {
            let (value, to) = (census.enter(), log.clone());
            let begun = Gate::default();
            let started = begun.clone();
            g.spawn(async move {
                let _value = value;
                let busy = async {
                    started.open();
                    for_ever().await
                };
                finally(busy, async { to.say("cleaned up") }).await
            });
            begun.wait().await;
            g.spawn::<(), _>(async { panic!("on purpose") });
            for_ever().await
        });
        let payload = AssertUnwindSafe(resumed)
            .catch_unwind()
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(panic_text(&*payload), Some("on purpose"));
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

/// Case 50. Without a panic `resume_panics` changes nothing.
#[test]
fn resume_panics_leaves_errors_alone() {
    everywhere(|| async {
        let failed = TaskGroup::builder()
            .resume_panics()
            .run(async |g| {
                g.spawn(async { Err::<(), _>("an error".into()) });
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["an error"]);
    });
}

/// Case 52. A parent fails, its child fails while the parent's group is joining, and the grandchild
/// later still: all three are in the report, each in its place.
#[test]
fn failures_of_three_generations_are_kept_in_their_places() {
    everywhere(|| async {
        let (parent_gone, child_gone) = (Gate::default(), Gate::default());
        let failed = group(async |g| {
            let (begun, above, here) = (Gate::default(), parent_gone.clone(), child_gone.clone());
            let started = begun.clone();
            g.spawn_named("child", async move {
                let nested = group(async |h| {
                    let (below, above_it) = (Gate::default(), here.clone());
                    let deepest = below.clone();
                    h.spawn_named("grandchild", async move {
                        shield(async {
                            deepest.open();
                            above_it.wait().await;
                        })
                        .await;
                        Err::<(), _>("the grandchild".into())
                    });
                    let _opens = OnDrop::new(|| here.open());
                    shield(async {
                        below.wait().await;
                        started.open();
                        above.wait().await;
                    })
                    .await;
                    Err::<(), _>("the child".into())
                });
                Ok(nested.await?)
            });
            let _opens = OnDrop::new(|| parent_gone.open());
            begun.wait().await;
            Err::<(), _>("the parent".into())
        })
        .await
        .unwrap_err();

        assert_eq!(
            sorted_leaves_of(&failed),
            ["the child", "the grandchild", "the parent"]
        );
        assert_eq!(failed.len(), 2);
        let child = failed
            .iter()
            .find(|f| f.task().name() == Some("child"))
            .unwrap();
        let nested = child.error().unwrap().downcast_ref::<ErrorGroup>().unwrap();
        assert_eq!(sorted_leaves_of(nested), ["the child", "the grandchild"]);
        // The chain of sources ends.
        let mut source = failed.source();
        let mut length = 0;
        while let Some(error) = source {
            source = error.source();
            length += 1;
        }
        assert!((1..10).contains(&length), "{length}");
    });
}

/// Case 53. After a failed group nothing of its cancellation is left: the next wait works, the next
/// group runs.
#[test]
fn a_failed_group_leaves_no_cancellation_behind() {
    everywhere(|| async {
        let outer = group(async |g| {
            let inner = group(async |h| {
                h.spawn(async { Err::<(), _>("it fails".into()) });
                for_ever().await
            });
            assert_eq!(leaves_of(&inner.await.unwrap_err()), ["it fails"]);

            assert!(!headcount::is_cancelled());
            assert!(!g.is_cancelled());
            headcount::checkpoint().await;
            headcount::sleep(std::time::Duration::from_millis(1)).await;
            assert_eq!(g.spawn(async { Ok(7) }).await, Ok(7));
            Ok(group(async |h| Ok(h.spawn(async { Ok(8) }).await?)).await?)
        });
        assert_eq!(outer.await.unwrap(), 8);
    });
}

/// Case 55. An inner and an outer group get a failing task at the same time: handling the inner
/// failure does not make the outer one go away.
#[test]
fn handling_an_inner_failure_does_not_hide_the_outer_one() {
    everywhere(|| async {
        let log = Log::default();
        let failed = group(async |g| {
            let both = Gate::default();
            let at = both.clone();
            g.spawn(async move {
                at.wait().await;
                Err::<(), _>("the outer one".into())
            });
            let inner = group(async |h| {
                let (at, begun) = (both.clone(), Gate::default());
                let started = begun.clone();
                h.spawn(async move {
                    // Fails whether or not the outer failure gets there first.
                    shield(async {
                        started.open();
                        at.wait().await;
                    })
                    .await;
                    Err::<(), _>("the inner one".into())
                });
                begun.wait().await;
                both.open();
                for_ever().await
            });
            let handled = inner.await.unwrap_err();
            log.say(leaves_of(&handled).join(", "));
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["the outer one"]);
        assert_eq!(log.entries(), ["the inner one"]);
    });
}

/// Law 9. The body is cut where it waits, by the failure of a task that it knows nothing of.
#[test]
fn the_body_is_cut_by_a_task_of_a_task() {
    everywhere(|| async {
        let census = Census::default();
        let failed = group(async |g| {
            let spawner = g.spawner();
            g.spawn(async move {
                spawner.spawn(async { Err::<(), _>("a sibling of the body's task".into()) });
                Ok(())
            });
            let _value = census.enter();
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["a sibling of the body's task"]);
        assert_eq!(census.alive(), 0);
    });
}

/// Law 3. A panic in a destructor of a task that is being cancelled is a failure of the group; the
/// other tasks are still dropped.
#[test]
fn a_panicking_destructor_is_a_failure_of_the_group() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        for local in [false, true] {
            let census = Census::default();
            let begun = Arc::new(AtomicUsize::new(0));
            let failed = group(async |g| {
                for _ in 0..3 {
                    let (value, begun) = (census.enter(), Arc::clone(&begun));
                    let explodes = async move {
                        let _value = value;
                        let _bomb = OnDrop::new(|| panic!("on purpose: a destructor"));
                        begun.fetch_add(1, Ordering::SeqCst);
                        for_ever().await
                    };
                    if local {
                        g.spawn_local(explodes)
                    } else {
                        g.spawn(explodes)
                    };
                }
                while begun.load(Ordering::SeqCst) < 3 {
                    let_others_run().await;
                }
                g.cancel();
                for_ever().await
            })
            .await
            .unwrap_err();
            assert_eq!(census.alive(), 0, "local: {local}");
            assert_eq!(leaves_of(&failed), ["panic: on purpose: a destructor"; 3]);
        }
    });
}

/// Law 3. The same of the body.
#[test]
fn a_panicking_destructor_of_the_body_is_a_failure() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = group(async |g| {
            let _bomb = OnDrop::new(|| panic!("on purpose: a destructor"));
            g.spawn(async { Err::<(), _>("a task".into()) });
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(
            leaves_of(&failed),
            ["a task", "panic: on purpose: a destructor"]
        );
    });
}

/// Law 3. A value that nobody takes from its handle, and whose destructor panics, does not go
/// without a word, nor does it take anything else with it.
#[test]
fn a_value_nobody_took_may_panic_in_its_destructor() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let census = Census::default();
        let outcome = group(async |g| {
            g.spawn(async { Ok(OnDrop::new(|| panic!("on purpose: a value"))) });
            for _ in 0..3 {
                let value = census.enter();
                g.spawn(async move {
                    let _value = value;
                    let_others_run().await;
                    Ok(())
                });
            }
            Ok(())
        })
        .await;
        assert_eq!(census.alive(), 0);
        assert_eq!(
            leaves_of(&outcome.unwrap_err()),
            ["panic: on purpose: a value"]
        );
    });
}

/// Law 3. Deferred finalizers: a panic of one is a failure, the others still run, the last first.
#[test]
fn a_panicking_finalizer_does_not_stop_the_others() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let log = Log::default();
        let failed = group(async |g| {
            let (one, three) = (log.clone(), log.clone());
            g.defer(async move { one.say("first deferred") });
            g.defer(async { panic!("on purpose: a finalizer") });
            g.defer(async move { three.say("last deferred") });
            Err::<(), Error>("the body".into())
        })
        .await
        .unwrap_err();
        assert_eq!(
            leaves_of(&failed),
            ["the body", "panic: on purpose: a finalizer"]
        );
        assert_eq!(log.entries(), ["last deferred", "first deferred"]);
    });
}

/// Law 3. A panic of somebody else's waker is one more failure of the group in which it was woken;
/// it comes out of no poll, and ends no task.
#[test]
fn a_panicking_waker_harms_nobody() {
    use std::task::{Context, Wake, Waker};

    struct Explosive(mpsc::Sender<()>);

    impl Wake for Explosive {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
            panic!("on purpose: a waker");
        }
    }

    keep_quiet_about_purpose();
    common::watched("by hand", || {
        let (woken, wakes) = mpsc::channel();
        let waker = Waker::from(Arc::new(Explosive(woken)));
        let cx = &mut Context::from_waker(&waker);
        let gate = Gate::default();
        let mut joined = pin!(group(async |g| {
            let at = gate.clone();
            let task = g.spawn(async move {
                at.wait().await;
                Ok(7)
            });
            Ok(task.await?)
        }));
        let begun = catch_unwind(AssertUnwindSafe(|| joined.as_mut().poll(cx).is_pending()));
        assert!(begun.expect("the panic of a waker came out of the first poll"));
        drop(catch_unwind(AssertUnwindSafe(|| gate.open())));
        // Who is polled before it is woken may be done without that.
        wakes.recv().expect("the group has its waker");
        let outcome = loop {
            match catch_unwind(AssertUnwindSafe(|| joined.as_mut().poll(cx))) {
                Ok(std::task::Poll::Ready(outcome)) => break outcome,
                Ok(std::task::Poll::Pending) => std::thread::yield_now(),
                Err(_) => panic!("the panic of a waker came out of a poll of the group"),
            }
        };
        // Each panic is told of once at most, as a failure of the task that woke, or it came out of
        // the opening of the gate; nothing else went wrong.
        let panics = 1 + wakes.try_iter().count();
        match outcome {
            Ok(value) => assert_eq!(value, 7),
            Err(failed) => {
                let told = leaves_of(&failed);
                assert_eq!(told, vec!["panic: on purpose: a waker"; told.len()]);
                assert!((1..=panics).contains(&told.len()), "{told:?} of {panics}");
            }
        }
    });
}

/// Two groups on one task, one of which fails: the other knows nothing of it.
#[test]
fn a_failure_stays_within_its_group() {
    everywhere(|| async {
        let failing = group(async |g| {
            g.spawn(async { Err::<(), _>("it fails".into()) });
            for_ever().await
        });
        let sound = group(async |g| {
            let task = g.spawn(async {
                for _ in 0..5 {
                    let_others_run().await;
                }
                Ok(7)
            });
            Ok(task.await?)
        });
        let (failed, seven) = zip(failing, sound).await;
        assert_eq!(leaves_of(&failed.unwrap_err()), ["it fails"]);
        assert_eq!(seven.unwrap(), 7);
    });
}
