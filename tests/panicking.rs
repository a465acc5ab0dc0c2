//! Panics in every place where foreign code runs: each is one failure, and everything else goes on.

mod common;

use std::{
    env,
    future::{Future, pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use common::{
    Census, Gate, Log, everywhere, in_run, keep_quiet_about_purpose, let_others_run, on_threads,
    poll_once,
};
use headcount::{
    Error, ErrorGroup, FailureKind, Policy, Ready, Spawner, StartError, TaskGroup, bracket,
    finally, group, run, shield,
};

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose: {}", self.0);
    }
}

/// What the members of a group panicked with, in alphabetical order.
fn panics_of(failed: &ErrorGroup) -> Vec<String> {
    let mut panics: Vec<_> = failed
        .leaves()
        .filter_map(|failure| match failure.kind() {
            FailureKind::Panic(panic) => panic.message().map(String::from),
            FailureKind::Error(_) => None,
        })
        .collect();
    panics.sort();
    panics
}

#[test]
fn every_destructor_of_a_cancelled_group_may_panic() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let census = Census::default();
        let failed = group(async |g| {
            for _ in 0..3 {
                let (first, counted, second) = (Bomb("parallel"), census.enter(), Bomb("second"));
                g.spawn(async move {
                    let _owned = (counted, first);
                    pending::<Result<(), _>>().await
                });
                drop_later(&g, second);
                let (first, counted) = (Bomb("borrowing"), census.enter());
                g.spawn_local(async move {
                    let _owned = (counted, first);
                    pending::<Result<(), _>>().await
                });
            }
            let _body = Bomb("body");
            let_others_run().await;
            g.cancel();
            pending::<Result<(), Error>>().await
        })
        .await
        .unwrap_err();
        assert_eq!(census.alive(), 0);
        let panics = panics_of(&failed);
        let count = |what: &str| panics.iter().filter(|p| p.ends_with(what)).count();
        assert_eq!(count("parallel"), 3);
        assert_eq!(count("borrowing"), 3);
        assert_eq!(count("second"), 3);
        assert_eq!(count("body"), 1);
    });
}

/// Defers a finalizer that panics when it is dropped, after it is done.
fn drop_later(g: &TaskGroup<'_>, bomb: Bomb) {
    g.defer(async move {
        let _bomb = bomb;
    });
}

#[test]
fn deferred_finalizers_that_panic_let_the_others_run() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let log = Log::default();
        let failed = group(async |g| {
            for index in 0..4 {
                let log = log.clone();
                g.defer(async move {
                    let_others_run().await;
                    log.say(format!("{index}"));
                    assert!(index % 2 == 0, "on purpose: finalizer {index}");
                });
            }
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(log.entries(), ["3", "2", "1", "0"]);
        assert_eq!(
            panics_of(&failed),
            ["on purpose: finalizer 1", "on purpose: finalizer 3"]
        );
    });
}

/// Law 3, of a value that nobody gets because something else failed.
#[test]
fn a_value_that_panics_when_it_is_thrown_away_hides_no_failure() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let outcome = group(async |g| {
            g.spawn(async { Err::<(), _>("it failed".into()) });
            Ok(Bomb("value"))
        })
        .await;
        let failed = outcome.err().unwrap();
        assert_eq!(failed.len(), 2);
        assert_eq!(panics_of(&failed), ["on purpose: value"]);
    });
}

#[test]
fn the_values_of_tasks_that_nobody_awaits_may_panic_when_dropped() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let outcome = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                g.spawn(async { Ok(Bomb("detached before")) });
                g.spawn_local(async { Ok(Bomb("detached before, too")) });
                let (after, local) = (
                    g.spawn(async { Ok(Bomb("detached after")) }),
                    g.spawn_local(async { Ok(Bomb("detached after, too")) }),
                );
                while !(after.is_finished() && local.is_finished()) {
                    let_others_run().await;
                }
                drop((after, local));
                Ok(())
            })
            .await;
        assert_eq!(panics_of(&outcome.unwrap_err()).len(), 4);
    });
}

#[test]
fn a_waker_that_panics_when_it_is_woken_is_one_more_failure() {
    keep_quiet_about_purpose();

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose: waker");
        }
    }

    everywhere(|| async {
        let gate = Gate::default();
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                let (held, second) = (gate.wait(), gate.wait());
                let mut task = g.spawn(async move {
                    held.await;
                    Ok(())
                });
                let mut local = g.spawn_local(async move {
                    second.await;
                    Ok(())
                });
                let waker = Waker::from(Arc::new(Panics));
                let cx = &mut Context::from_waker(&waker);
                assert!(Pin::new(&mut task).poll(cx).is_pending());
                assert!(Pin::new(&mut local).poll(cx).is_pending());
                gate.open();
                while !g.is_empty() {
                    let_others_run().await;
                }
                Ok(())
            })
            .await
            .unwrap_err();
        let panics = panics_of(&failed);
        assert_eq!(panics.len(), 2, "{panics:?}");
    });
}

#[test]
fn a_body_that_panics_while_its_children_and_their_cleanup_do() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = group(async |g| {
            let begun = Gate::default();
            let begins = begun.clone();
            g.spawn(async move {
                let body = async {
                    begins.open();
                    pending::<()>().await;
                };
                finally(body, async { panic!("on purpose: cleanup") }).await;
                Ok(())
            });
            g.spawn_local(async {
                bracket(
                    Bomb("resource"),
                    async |_: &mut Bomb| pending::<()>().await,
                    async |_: Bomb| {},
                )
                .await;
                Ok(())
            });
            begun.wait().await;
            let_others_run().await;
            if true {
                panic!("on purpose: body");
            }
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(
            panics_of(&failed),
            [
                "on purpose: body",
                "on purpose: cleanup",
                "on purpose: resource"
            ]
        );
    });
}

/// A destructor must not turn one panic into the end of the process.
#[test]
fn a_group_is_dropped_while_a_panic_is_under_way() {
    keep_quiet_about_purpose();
    on_threads(|| async {
        let census = Census::default();
        let failed = group(async |_g| {
            let (counted, local) = (census.enter(), census.enter());
            let mut inner = Box::pin(group(async move |inner| {
                inner.spawn(async move {
                    let _owned = (counted, Bomb("child"));
                    pending::<Result<(), _>>().await
                });
                inner.spawn_local(async move {
                    let _owned = (local, Bomb("local"));
                    pending::<Result<(), _>>().await
                });
                let _body = Bomb("inner body");
                pending::<Result<(), Error>>().await
            }));
            poll_fn(|cx| {
                assert!(inner.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            if true {
                panic!("on purpose: outer body");
            }
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(census.alive(), 0);
        assert!(panics_of(&failed).contains(&"on purpose: outer body".into()));
        assert!(panics_of(&failed).contains(&"on purpose: local".into()));
    });
}

#[test]
fn what_is_refused_by_a_closed_group_may_panic_when_dropped() {
    keep_quiet_about_purpose();
    in_run(|| async {
        let mut kept: Option<TaskGroup<'static>> = None;
        let spawner: Spawner = group(async |g| {
            kept = Some(g.clone());
            Ok(g.spawner())
        })
        .await
        .unwrap();
        let g = kept.unwrap();
        let attempts: [&dyn Fn(Bomb); 4] = [
            &|bomb| drop(spawner.spawn(with(bomb))),
            &|bomb| drop(g.spawn_local(with(bomb))),
            &|bomb| g.defer(async { drop(with(bomb).await) }),
            &|bomb| {
                drop(g.start(|_ready: Ready<()>| async {
                    with(bomb).await?;
                    Ok(())
                }));
            },
        ];
        for attempt in attempts {
            let refused = catch_unwind(AssertUnwindSafe(|| attempt(Bomb("refused")))).unwrap_err();
            let message = refused.downcast_ref::<String>().unwrap();
            assert!(message.contains("has returned"), "{message}");
        }
    });
}

/// A future that owns a value.
async fn with(bomb: Bomb) -> Result<(), Error> {
    let _bomb = bomb;
    Ok(())
}

#[test]
fn a_panic_goes_on_though_other_failures_panic_when_dropped() {
    keep_quiet_about_purpose();

    struct Failed(#[expect(dead_code, reason = "for its destructor")] Bomb);

    let outcome = catch_unwind(|| {
        run(TaskGroup::builder()
            .policy(Policy::Collect)
            .resume_panics()
            .errors::<Failed>()
            .run(async |g| {
                g.spawn(async { Err::<(), _>(Failed(Bomb("error"))) });
                g.spawn(async {
                    if true {
                        panic!("on purpose: task")
                    } else {
                        Ok(())
                    }
                });
                Ok(())
            }))
        .is_ok()
    });
    assert_eq!(
        outcome.unwrap_err().downcast_ref::<&str>(),
        Some(&"on purpose: task")
    );
}

/// What stragglers still have to say must not be taken for the panic of `main`.
#[test]
fn the_panic_of_main_goes_on_whatever_stragglers_have_failed_with() {
    keep_quiet_about_purpose();
    let outcome = catch_unwind(|| {
        run(async {
            let gate = Gate::default();
            let held = gate.wait();
            let mut straggling = Box::pin(group(async move |g| {
                g.spawn(async move {
                    shield(held).await;
                    Ok(())
                });
                let_others_run().await;
                Err::<(), _>("the body of a straggler".into())
            }));
            for _ in 0..20 {
                assert!(poll_once(straggling.as_mut()).is_pending());
                let_others_run().await;
            }
            drop(straggling);
            gate.open();
            panic!("on purpose: main");
        })
    });
    let Err(panic) = outcome;
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose: main"));
}

#[test]
fn a_start_whose_task_fails_and_panics_reports_both() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                let started = g
                    .start(|_ready: Ready<()>| async {
                        let _bomb = Bomb("start");
                        Err::<(), _>("not today".into())
                    })
                    .await;
                let told = matches!(&started, Err(StartError::Panicked(_)));
                assert!(told || matches!(&started, Err(StartError::Failed(_))));
                Ok(())
            })
            .await;
        // The destructor runs inside the poll, and its panic takes the place of the result.
        assert!(failed.is_ok() || panics_of(&failed.unwrap_err()).len() == 1);
    });
}

/// The value that a start was about to give is dropped with care.
#[test]
fn a_start_is_dropped_with_its_value_while_a_panic_is_under_way() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = group(async |g| {
            let gate = Gate::default();
            let held = gate.wait();
            let mut start = Box::pin(g.start(|ready: Ready<Bomb>| async {
                held.await;
                ready.send(Bomb("ready"));
                Ok(())
            }));
            poll_fn(|cx| {
                assert!(start.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            gate.open();
            while !g.is_empty() {
                let_others_run().await;
            }
            if true {
                panic!("on purpose: body");
            }
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(
            panics_of(&failed),
            ["on purpose: body", "on purpose: ready"]
        );
    });
}

const VARIABLE: &str = "HEADCOUNT_TEST_OUTSIDE";

/// A pool that cannot be started is a panic where the group is polled, and not the end of the
/// process.
#[test]
fn a_bad_number_of_threads_is_a_panic_outside_of_run_too() {
    if env::var_os(VARIABLE).is_some() {
        let outcome = catch_unwind(|| {
            futures_lite::future::block_on(group(async |g| {
                g.spawn(async { Ok(()) });
                let_others_run().await;
                Ok(())
            }))
        });
        let told = match outcome {
            Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
            Ok(failed) => format!("{:#}", failed.unwrap_err()),
        };
        assert!(told.contains("HEADCOUNT_THREADS"), "{told}");
        return;
    }
    let status = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_bad_number_of_threads_is_a_panic_outside_of_run_too",
        ])
        .env(VARIABLE, "1")
        .env("HEADCOUNT_THREADS", "many")
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}

/// Everything at once, many times, on threads.
#[test]
fn a_storm_of_panics_loses_none() {
    keep_quiet_about_purpose();
    for _ in 0..50 {
        in_run(|| async {
            let polls = Arc::new(AtomicUsize::new(0));
            let failed = TaskGroup::builder()
                .policy(Policy::Collect)
                .run(async |g| {
                    for index in 0..40 {
                        let polls = Arc::clone(&polls);
                        g.spawn(async move {
                            let _bomb = (index % 2 == 0).then(|| Bomb("drop"));
                            polls.fetch_add(1, Ordering::SeqCst);
                            if index % 4 < 2 {
                                let_others_run().await;
                            }
                            if index % 2 == 1 {
                                panic!("on purpose: poll");
                            }
                            Ok(())
                        });
                    }
                    Ok(())
                })
                .await
                .unwrap_err();
            assert_eq!(failed.len(), 40);
        });
    }
}
