//! What happens to futures that somebody else drops, forgets, moves between threads, or that panic:
//! nothing is lost, nothing stays protected, nothing escapes.

use std::{
    future::{Future, pending},
    mem,
    panic::{self, AssertUnwindSafe},
    pin::{Pin, pin},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use futures::FutureExt;
use futures_lite::future::{self, yield_now, zip};
use headcount::{
    CancelScope, Error, FailureKind, bracket, checkpoint, deadline, finally, group, is_cancelled,
    now, run, shield, sleep, timeout,
};

use crate::common::{
    Census, Gate, Log, OnDrop, everywhere, in_run, let_others_run, on_threads, poll_once, until,
    watched,
};

mod common;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(1);

/// Combinators of other crates that drop a future halfway.
#[derive(Clone, Copy, Debug)]
enum Foreign {
    Or,
    SelectMacro,
    SelectFunction,
    ByHand,
}

const FOREIGN: [Foreign; 4] = [
    Foreign::Or,
    Foreign::SelectMacro,
    Foreign::SelectFunction,
    Foreign::ByHand,
];

impl Foreign {
    /// Polls a future that never ends until `now` is ready, and drops it then.
    async fn drops<F: Future>(self, doomed: F, now: impl Future<Output = ()>) {
        match self {
            Self::Or => {
                let doomed = async {
                    doomed.await;
                    unreachable!("it ended")
                };
                future::or(doomed, now).await;
            }
            Self::SelectMacro => {
                let (mut doomed, mut now) = (Box::pin(doomed.fuse()), Box::pin(now.fuse()));
                futures::select! {
                    _ = doomed => unreachable!("it ended"),
                    () = now => (),
                }
            }
            Self::SelectFunction => {
                let (doomed, now) = (Box::pin(doomed), Box::pin(now));
                match futures::future::select(doomed, now).await {
                    futures::future::Either::Left(_) => unreachable!("it ended"),
                    futures::future::Either::Right(((), doomed)) => drop(doomed),
                }
            }
            Self::ByHand => {
                let (mut doomed, mut now) = (Box::pin(doomed), pin!(now));
                std::future::poll_fn(|cx| {
                    assert!(doomed.as_mut().poll(cx).is_pending());
                    now.as_mut().poll(cx)
                })
                .await;
                drop(doomed);
            }
        }
    }
}

/// Runs a scenario in a scope, in which a future is dropped by somebody else, and then cancels the
/// scope: nothing of what was dropped may hold it up.
async fn then_nothing_is_protected(dropping: impl Future<Output = ()>) {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut running = pin!(scope.run(async {
        dropping.await;
        handle.cancel();
        pending::<()>().await;
    }));
    let mut polls = 0;
    let outcome = std::future::poll_fn(|cx| {
        if handle.is_cancelled() {
            polls += 1;
            assert!(polls < 20, "something still protects the scope");
            cx.waker().wake_by_ref();
        }
        running.as_mut().poll(cx)
    });
    assert!(outcome.await.is_err());
}

/// A shield that somebody else drops is gone there and then, and protects nothing afterwards.
#[test]
fn a_dropped_shield_is_gone() {
    on_threads(|| async {
        for foreign in FOREIGN {
            let census = Census::default();
            then_nothing_is_protected(async {
                let shielded = shield(async {
                    let _value = census.enter();
                    pending::<()>().await;
                });
                foreign.drops(shielded, let_others_run()).await;
                assert_eq!((census.entered(), census.alive()), (1, 0), "{foreign:?}");
            })
            .await;
        }
    });
}

/// A `finally` that is dropped in its body: body and cleanup are dropped where they stand.
#[test]
fn a_dropped_finally_is_gone() {
    on_threads(|| async {
        for foreign in FOREIGN {
            let (census, log) = (Census::default(), Log::default());
            then_nothing_is_protected(async {
                let (body, cleanup) = (census.enter(), census.enter());
                let finalizer = finally(
                    async {
                        let _value = body;
                        pending::<()>().await;
                    },
                    async {
                        let _value = cleanup;
                        log.say("cleanup");
                    },
                );
                foreign.drops(finalizer, let_others_run()).await;
                assert_eq!(census.alive(), 0, "{foreign:?}");
                let_others_run().await;
                assert_eq!(log.entries(), [""; 0], "{foreign:?}");
            })
            .await;
        }
    });
}

/// A `finally` that is dropped in its cleanup: the rest of it does not run.
#[test]
fn a_finally_dropped_in_its_cleanup_is_gone() {
    on_threads(|| async {
        for foreign in FOREIGN {
            let (census, log) = (Census::default(), Log::default());
            then_nothing_is_protected(async {
                let cleanup = census.enter();
                let finalizer = finally(async {}, async {
                    let _value = cleanup;
                    log.say("cleanup begins");
                    pending::<()>().await;
                });
                foreign.drops(finalizer, let_others_run()).await;
                assert_eq!(census.alive(), 0, "{foreign:?}");
                assert_eq!(log.entries(), ["cleanup begins"], "{foreign:?}");
            })
            .await;
        }
    });
}

/// A bracket that is dropped while its resource is used, or while it is released: the resource is
/// dropped.
#[test]
fn a_dropped_bracket_drops_its_resource() {
    on_threads(|| async {
        for foreign in FOREIGN {
            for releasing in [false, true] {
                let (census, log) = (Census::default(), Log::default());
                then_nothing_is_protected(async {
                    let using = async |_: &mut _| {
                        if !releasing {
                            pending::<()>().await;
                        }
                    };
                    let release = async |_resource| {
                        log.say("release");
                        pending::<()>().await;
                    };
                    let used = bracket(census.enter(), using, release);
                    foreign.drops(used, let_others_run()).await;
                    assert_eq!((census.entered(), census.alive()), (1, 0), "{foreign:?}");
                    assert_eq!(log.has("release"), releasing);
                })
                .await;
            }
        }
    });
}

/// A scope or a timeout that is dropped takes everything inside along, and its handle does nothing
/// any more.
#[test]
fn a_dropped_scope_is_gone() {
    on_threads(|| async {
        for foreign in FOREIGN {
            let census = Census::default();
            then_nothing_is_protected(async {
                let scope = CancelScope::new().timeout(HOUR);
                let handle = scope.handle();
                let inside = scope.run(timeout(HOUR, async {
                    let _value = census.enter();
                    shield(pending::<()>()).await;
                }));
                foreign.drops(inside, let_others_run()).await;
                assert_eq!((census.entered(), census.alive()), (1, 0), "{foreign:?}");
                handle.cancel();
                checkpoint().await;
            })
            .await;
        }
    });
}

/// Law 2. A group that is dropped: its borrowing tasks are gone when the drop returns, its parallel
/// ones are cancelled, and the group around it does not end before they and all finalizers are gone.
#[test]
fn a_dropped_group_is_handed_up() {
    on_threads(|| async {
        for foreign in FOREIGN {
            let (borrowing, owning, log) = (Census::default(), Census::default(), Log::default());
            let outcome = group(async |_outer| {
                let running = Gate::default();
                let doomed = group(async |g| {
                    g.spawn_local(async {
                        let _value = borrowing.enter();
                        pending::<Result<(), _>>().await
                    });
                    let (value, running, log2) = (owning.enter(), running.clone(), log.clone());
                    g.spawn(async move {
                        let _value = value;
                        let body = async {
                            running.open();
                            pending::<()>().await;
                        };
                        finally(body, async {
                            let_others_run().await;
                            log2.say("cleaned up");
                        })
                        .await;
                        Ok(())
                    });
                    let log2 = log.clone();
                    g.defer(async move {
                        let_others_run().await;
                        log2.say("deferred");
                    });
                    pending::<Result<(), Error>>().await
                });
                foreign.drops(doomed, running.wait()).await;
                assert_eq!(
                    (borrowing.entered(), borrowing.alive()),
                    (1, 0),
                    "{foreign:?}"
                );
                Ok(())
            });
            outcome.await.unwrap();
            assert_eq!(owning.alive(), 0, "{foreign:?}");
            assert_eq!(log.entries(), ["cleaned up", "deferred"], "{foreign:?}");
        }
    });
}

/// Law 2. The same in a scope, where the enclosing frame is not a group: the group further out
/// waits, and a failure in the cleanup is reported by it.
#[test]
fn what_is_handed_up_is_reported_up() {
    everywhere(|| async {
        let failed = group(async |_outer| {
            let running = Gate::default();
            let in_scope = timeout(HOUR, async {
                let doomed = group(async |g| {
                    let running = running.clone();
                    g.spawn_named("left behind", async move {
                        let body = async {
                            running.open();
                            pending::<()>().await;
                        };
                        finally(body, async {
                            let_others_run().await;
                            panic!("cannot say goodbye");
                        })
                        .await;
                        Ok(())
                    });
                    pending::<Result<(), Error>>().await
                });
                Foreign::Or.drops(doomed, running.wait()).await;
            });
            in_scope.await?;
            Ok(7)
        })
        .await
        .unwrap_err();
        assert_eq!(failed.leaves().count(), 1);
        let failure = failed.leaves().next().unwrap();
        assert_eq!(failure.task().name(), Some("left behind"));
        assert!(matches!(failure.kind(), FailureKind::Panic(_)));
    });
}

/// Law 2. Groups nested several levels deep, dropped at once: the tasks of all of them are waited
/// for.
#[test]
fn dropped_groups_at_every_level_are_handed_up() {
    on_threads(|| async {
        for foreign in FOREIGN {
            let census = Census::default();
            let outcome = group(async |_outer| {
                let deep = Gate::default();
                let child = |gate: Option<Gate>| {
                    let value = census.enter();
                    async move {
                        let _value = value;
                        let body = async {
                            if let Some(gate) = gate {
                                gate.open();
                            }
                            pending::<()>().await;
                        };
                        finally(body, let_others_run()).await;
                        Ok(())
                    }
                };
                let doomed = group(async |first| {
                    first.spawn(child(None));
                    CancelScope::new()
                        .run(group(async |second| {
                            second.spawn(child(None));
                            second.spawn_local(async {
                                group(async |third| {
                                    third.spawn(child(Some(deep.clone())));
                                    pending::<Result<(), Error>>().await
                                })
                                .await?;
                                Ok(())
                            });
                            pending::<Result<(), Error>>().await
                        }))
                        .await??;
                    Ok(())
                });
                foreign.drops(doomed, deep.wait()).await;
                Ok(())
            });
            outcome.await.unwrap();
            assert_eq!((census.entered(), census.alive()), (3, 0), "{foreign:?}");
        }
    });
}

/// Law 2. Without any group further out, `run` is what waits.
#[test]
fn run_waits_for_what_was_dropped() {
    let (census, log) = (Census::default(), Log::default());
    watched("dropping a group", || {
        run(async {
            let running = Gate::default();
            let doomed = group(async |g| {
                let (value, running, log) = (census.enter(), running.clone(), log.clone());
                g.spawn(async move {
                    let _value = value;
                    shield(async {
                        running.open();
                        sleep(MOMENT).await;
                        log.say("shielded to the end");
                    })
                    .await;
                    Ok(())
                });
                pending::<Result<(), Error>>().await
            });
            Foreign::ByHand.drops(doomed, running.wait()).await;
        });
    });
    assert_eq!(census.alive(), 0);
    assert_eq!(log.entries(), ["shielded to the end"]);
}

/// Law 2. Dropping a group does not block, even if a task of it cannot end before something happens
/// that comes after the drop.
#[test]
fn dropping_a_group_does_not_block() {
    everywhere(|| async {
        let census = Census::default();
        let outcome = group(async |_outer| {
            let (running, release) = (Gate::default(), Gate::default());
            let doomed = group(async |g| {
                let (value, running, release) = (census.enter(), running.clone(), release.clone());
                g.spawn(async move {
                    let _value = value;
                    shield(async {
                        running.open();
                        release.wait().await;
                    })
                    .await;
                    Ok(())
                });
                pending::<Result<(), Error>>().await
            });
            Foreign::ByHand.drops(doomed, running.wait()).await;
            assert_eq!(census.alive(), 1);
            release.open();
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!(census.alive(), 0);
    });
}

/// Law 2. Under tokio, whose timeout drops the group: the same holds.
#[test]
fn a_group_dropped_by_tokio_is_handed_up() {
    watched("under tokio", || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        let (census, log) = (Census::default(), Log::default());
        let outcome = runtime.block_on(group(async |_outer| {
            let doomed = group(async |g| {
                let (value, log2) = (census.enter(), log.clone());
                g.spawn(async move {
                    let _value = value;
                    let body = async {
                        log2.say("running");
                        pending::<()>().await;
                    };
                    finally(body, async {
                        let_others_run().await;
                        log2.say("cleaned up");
                    })
                    .await;
                    Ok(())
                });
                until(|| log.has("running")).await;
                pending::<Result<(), Error>>().await
            });
            let late = tokio::time::timeout(Duration::from_millis(50), doomed).await;
            assert!(late.is_err());

            // A shield, on the other hand, is gone there and then.
            let shielded = shield(async {
                let _value = census.enter();
                pending::<()>().await;
            });
            assert!(tokio::time::timeout(MOMENT, shielded).await.is_err());
            Ok(())
        }));
        outcome.unwrap();
        assert_eq!((census.entered(), census.alive()), (2, 0));
        assert_eq!(log.entries(), ["running", "cleaned up"]);
    });
}

/// Law 2. A group that is dropped because its owner panics is handed up as well.
#[test]
fn a_group_dropped_by_a_panic_is_handed_up() {
    everywhere(|| async {
        let (borrowing, owning) = (Census::default(), Census::default());
        let failed = group(async |_outer| {
            let running = Gate::default();
            let doomed = group(async |g| {
                g.spawn_local(async {
                    let _value = borrowing.enter();
                    pending::<Result<(), _>>().await
                });
                let (value, running) = (owning.enter(), running.clone());
                g.spawn(async move {
                    let _value = value;
                    let body = async {
                        running.open();
                        pending::<()>().await;
                    };
                    finally(body, let_others_run()).await;
                    Ok(())
                });
                pending::<Result<(), Error>>().await
            });
            zip(doomed, async {
                running.wait().await;
                panic!("the owner");
            })
            .await
            .0
            .map_err(Into::into)
        });
        let failed = failed.await.unwrap_err();
        assert_eq!(failed.len(), 1);
        assert_eq!((borrowing.entered(), borrowing.alive()), (1, 0));
        assert_eq!((owning.entered(), owning.alive()), (1, 0));
    });
}

/// Law 2. A group that is forgotten: its parallel tasks are not, and `run` ends when they are gone.
#[test]
#[expect(clippy::mem_forget, reason = "this is what is tested")]
fn a_forgotten_group_does_not_escape() {
    in_run(|| async {
        let census = Census::default();
        let outcome = group(async |_outer| {
            let running = Gate::default();
            let mut forgotten = Box::pin(group({
                let (running, census) = (running.clone(), census.clone());
                async move |g: headcount::TaskGroup<'_>| {
                    let value = census.enter();
                    g.spawn(async move {
                        let _value = value;
                        running.open();
                        pending::<Result<(), _>>().await
                    });
                    pending::<Result<(), Error>>().await
                }
            }));
            assert!(future::poll_once(forgotten.as_mut()).await.is_none());
            running.wait().await;
            mem::forget(forgotten);
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!((census.entered(), census.alive()), (1, 0));
    });
}

/// A borrowing task of a forgotten group is never polled again: what it borrows may be gone.
#[test]
#[expect(clippy::mem_forget, reason = "this is what is tested")]
fn a_forgotten_borrowing_task_is_not_polled() {
    in_run(|| async {
        let polls = common::Polls::default();
        let outcome = group(async |_outer| {
            let gate = Gate::default();
            {
                let borrowed = gate.clone();
                let mut forgotten = Box::pin(group(async |g| {
                    g.spawn_local(polls.of(async {
                        borrowed.wait().await;
                        Ok(())
                    }));
                    pending::<Result<(), Error>>().await
                }));
                assert!(future::poll_once(forgotten.as_mut()).await.is_none());
                mem::forget(forgotten);
            }
            gate.open();
            let_others_run().await;
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!(polls.count(), 1);
    });
}

/// A shield that is forgotten protects its scope for as long as that lasts, but nothing further out.
#[test]
#[expect(clippy::mem_forget, reason = "this is what is tested")]
fn a_forgotten_shield_protects_nothing_further_out() {
    let outer = CancelScope::new();
    let handle = outer.handle();
    let mut running = pin!(outer.run(async {
        let inner = CancelScope::new().run(async {
            let mut forgotten = Box::pin(shield(pending::<()>()));
            assert!(future::poll_once(forgotten.as_mut()).await.is_none());
            mem::forget(forgotten);
            7
        });
        assert_eq!(inner.await.unwrap(), 7);
        pending::<()>().await;
    }));
    assert!(poll_once(running.as_mut()).is_pending());
    handle.cancel();
    assert!(poll_once(running.as_mut()).is_ready());
}

/// A future whose destructor panics, and, if asked to, its first poll as well.
struct Bomb {
    poll_panics: bool,
}

impl Future for Bomb {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        assert!(!self.poll_panics, "poll");
        Poll::Pending
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("drop");
    }
}

/// A body whose poll panics, and whose destructor does too: the process lives, and the panic of the
/// poll comes out of whatever it was in.
#[test]
fn a_body_that_panics_twice_aborts_nothing() {
    type Wrap = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;
    let wraps: [(&str, Wrap); 6] = [
        ("scope", || {
            Box::pin(async {
                CancelScope::new()
                    .run(Bomb { poll_panics: true })
                    .await
                    .unwrap()
            })
        }),
        ("timeout", || {
            Box::pin(async { timeout(HOUR, Bomb { poll_panics: true }).await.unwrap() })
        }),
        ("shield", || Box::pin(shield(Bomb { poll_panics: true }))),
        ("finally", || {
            Box::pin(finally(Bomb { poll_panics: true }, async {}))
        }),
        ("cleanup", || {
            Box::pin(finally(async {}, Bomb { poll_panics: true }))
        }),
        ("all", || {
            Box::pin(async {
                let inner = shield(timeout(HOUR, finally(Bomb { poll_panics: true }, async {})));
                CancelScope::new().run(inner).await.unwrap().unwrap();
            })
        }),
    ];
    everywhere(move || async move {
        for (name, wrap) in &wraps {
            let failed = group(async |_g| {
                wrap().await;
                Ok(())
            })
            .await
            .unwrap_err();
            let messages: Vec<_> = failed
                .leaves()
                .map(|failure| match failure.kind() {
                    FailureKind::Panic(panic) => panic.message().unwrap_or_default(),
                    FailureKind::Error(error) => panic!("{name}: {error}"),
                })
                .collect();
            assert_eq!(
                messages.iter().filter(|m| **m == "poll").count(),
                1,
                "{name}: {messages:?}"
            );
        }
    });
}

/// The same for children of every kind, whose second panic is one more failure.
#[test]
fn a_child_that_panics_twice_has_failed_twice() {
    everywhere(|| async {
        for kind in 0..3 {
            let failed = group(async |g| {
                match kind {
                    0 => drop(g.spawn(Returning(Bomb { poll_panics: true }))),
                    1 => drop(g.spawn_local(Returning(Bomb { poll_panics: true }))),
                    _ => g.defer(Bomb { poll_panics: true }),
                }
                Ok(())
            })
            .await
            .unwrap_err();
            let mut messages: Vec<_> = failed
                .leaves()
                .map(|failure| match failure.kind() {
                    FailureKind::Panic(panic) => panic.message().unwrap_or_default(),
                    FailureKind::Error(error) => panic!("{error}"),
                })
                .collect();
            messages.sort_unstable();
            assert_eq!(messages, ["drop", "poll"], "kind {kind}");
        }
    });
}

/// A task that is nothing but a bomb: a state machine around it would drop it while it unwinds, and
/// no library can help that.
struct Returning(Bomb);

impl Future for Returning {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Ok)
    }
}

/// What is cut has a destructor that panics: whatever else is cut along with it is dropped as well,
/// and the panic is a failure of the group that the code runs in.
#[test]
fn a_destructor_that_panics_when_cut_is_a_failure() {
    everywhere(|| async {
        type Cut = fn(headcount::ScopeHandle) -> Pin<Box<dyn Future<Output = ()> + Send>>;
        let cuts: [(&str, Cut); 3] = [
            ("scope", |_| {
                Box::pin(async {
                    let scope = CancelScope::new();
                    scope.handle().cancel();
                    let _cut = scope.run(Bomb { poll_panics: false }).await;
                })
            }),
            ("timeout", |_| {
                Box::pin(async {
                    let _cut = timeout(Duration::ZERO, Bomb { poll_panics: false }).await;
                })
            }),
            ("finally", |stop| {
                Box::pin(async move {
                    let cleanup = async {};
                    let body = finally(Bomb { poll_panics: false }, cleanup);
                    zip(body, async { stop.cancel() }).await;
                })
            }),
        ];
        for (name, cut) in cuts {
            let census = Census::default();
            let failed = group(async |g| {
                let value = census.enter();
                let stop = g.scope();
                g.spawn(async move {
                    let _value = value;
                    cut(stop).await;
                    Ok(())
                });
                Ok(())
            })
            .await
            .unwrap_err();
            assert_eq!(census.alive(), 0, "{name}");
            let messages: Vec<_> = failed
                .leaves()
                .map(|failure| match failure.kind() {
                    FailureKind::Panic(panic) => panic.message().unwrap_or_default(),
                    FailureKind::Error(error) => panic!("{name}: {error}"),
                })
                .collect();
            assert_eq!(messages, ["drop"], "{name}");
        }
    });
}

/// Many children whose destructors panic as the group is cancelled: each is one failure, and every
/// other one is dropped all the same.
#[test]
fn many_panicking_destructors_are_many_failures() {
    everywhere(|| async {
        let census = Census::default();
        let failed = group(async |g| {
            let started = Census::default();
            for i in 0..20 {
                let child = {
                    let (value, started) = (census.enter(), started.clone());
                    async move {
                        let _value = value;
                        let _started = started.enter();
                        Bomb { poll_panics: false }.await;
                        Ok(())
                    }
                };
                if i % 2 == 0 {
                    g.spawn(child);
                } else {
                    g.spawn_local(child);
                }
            }
            until(|| started.entered() == 20).await;
            g.cancel();
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 20);
        assert_eq!(census.alive(), 0);
    });
}

/// Code that catches a panic inside a scope is still under that scope, and not under the one that
/// panicked.
#[test]
fn a_panic_leaves_the_scopes_as_they_were() {
    everywhere(|| async {
        let at = now() + 2 * HOUR;
        headcount::timeout_at(at, async {
            for waits in [0, 1] {
                let panics = async {
                    let inner = timeout(
                        HOUR,
                        shield(async {
                            for _ in 0..waits {
                                yield_now().await;
                            }
                            timeout(HOUR, async { panic!("inside") }).await
                        }),
                    );
                    inner.await.unwrap().unwrap()
                };
                let caught = AssertUnwindSafe(panics).catch_unwind().await;
                assert!(caught.is_err());
                assert_eq!(deadline(), Some(at));
                assert!(!is_cancelled());
                checkpoint().await;
                assert_eq!(deadline(), Some(at));
            }
        })
        .await
        .unwrap();
    });
}

/// A panic in a destructor, when something is cut, leaves the scopes as they were too.
#[test]
fn a_panic_in_a_destructor_leaves_the_scopes_as_they_were() {
    everywhere(|| async {
        let at = now() + 2 * HOUR;
        headcount::timeout_at(at, async {
            let panics = timeout(Duration::ZERO, async {
                Bomb { poll_panics: false }.await;
            });
            let caught = AssertUnwindSafe(panics).catch_unwind().await;
            assert!(caught.is_err());
            assert_eq!(deadline(), Some(at));
            checkpoint().await;
        })
        .await
        .unwrap();
    });
}

/// A thread that drops or polls a future of another thread is under no scope of it afterwards.
#[test]
fn a_future_polled_here_and_there_leaves_no_scope_behind() {
    let nothing_here = || {
        assert_eq!(deadline(), None);
        assert!(!is_cancelled());
    };
    let scope = CancelScope::new().timeout(HOUR);
    let handle = scope.handle();
    let release = Gate::default();
    let log = Log::default();
    let mut running = Box::pin(scope.run({
        let (release, log) = (release.clone(), log.clone());
        async move {
            let _gone = OnDrop::new({
                let log = log.clone();
                move || log.say(format!("cancelled: {}", is_cancelled()))
            });
            shield(timeout(2 * HOUR, async {
                assert!(deadline().is_some() && !is_cancelled());
                release.wait().await;
                assert!(deadline().is_some() && !is_cancelled());
            }))
            .await
            .unwrap();
            log.say("shield ends");
            pending::<()>().await;
        }
    }));

    let mut running = thread::spawn(move || {
        assert!(poll_once(running.as_mut()).is_pending());
        nothing_here();
        running
    })
    .join()
    .unwrap();
    thread::spawn(move || handle.cancel()).join().unwrap();
    let mut running = thread::spawn(move || {
        assert!(poll_once(running.as_mut()).is_pending(), "the shield holds");
        nothing_here();
        running
    })
    .join()
    .unwrap();
    release.open();
    assert!(poll_once(running.as_mut()).is_ready());
    nothing_here();
    assert_eq!(log.entries(), ["shield ends", "cancelled: true"]);
}

/// A task with scopes that moves from thread to thread between any two waits is always under its
/// own.
#[test]
fn tasks_that_move_between_threads_keep_their_scopes() {
    in_run(|| async {
        let outcome = group(async |g| {
            for i in 1..20_u32 {
                let own = now() + i * HOUR;
                g.spawn(async move {
                    headcount::timeout_at(own, async {
                        for _ in 0..200 {
                            assert_eq!(deadline(), Some(own));
                            yield_now().await;
                            shield(async {
                                assert_eq!(deadline(), None);
                                yield_now().await;
                                assert_eq!(deadline(), None);
                            })
                            .await;
                        }
                    })
                    .await?;
                    assert_eq!(deadline(), None);
                    Ok(())
                });
            }
            Ok(())
        });
        outcome.await.unwrap();
    });
}

/// A scope may be first polled under one scope and later under another, as a future that is kept
/// over several rounds of a loop is. It ends, and neither is disturbed.
#[test]
fn a_future_kept_over_several_scopes_ends() {
    everywhere(|| async {
        let (release, log) = (Gate::default(), Log::default());
        let mut work = pin!(async {
            release.wait().await;
            timeout(HOUR, checkpoint()).await.unwrap();
            sleep(Duration::ZERO).await;
            log.say("done");
            7
        });
        for _ in 0..3 {
            assert!(timeout(Duration::ZERO, work.as_mut()).await.is_err());
        }
        release.open();
        assert_eq!(timeout(HOUR, work).await, Ok(7));
        assert_eq!(log.entries(), ["done"]);
    });
}

/// A destructor of a task that is cut spawns into its group, cancels it, drops its handles: nothing
/// is locked meanwhile, and nothing that it spawned runs.
#[test]
fn a_destructor_calls_back_into_its_group() {
    everywhere(|| async {
        let (log, census) = (Log::default(), Census::default());
        let stopped = group(async |g| {
            let running = Gate::default();
            let (spawner, stop) = (g.spawner(), g.scope());
            g.spawn({
                let (log, census, running) = (log.clone(), census.clone(), running.clone());
                async move {
                    let _callback = OnDrop::new(move || {
                        let (value, polled) = (census.enter(), log.clone());
                        let task = spawner.spawn(async move {
                            let _value = value;
                            polled.say("polled");
                            Ok(())
                        });
                        task.cancel();
                        drop(task);
                        stop.cancel();
                        drop(spawner.clone());
                        log.say("called back");
                    });
                    running.open();
                    pending::<Result<(), _>>().await
                }
            });
            running.wait().await;
            g.cancel();
            pending::<Result<(), Error>>().await
        });
        assert!(stopped.await.unwrap_err().is_empty());
        assert_eq!(log.entries(), ["called back"]);
        assert_eq!((census.entered(), census.alive()), (1, 0));
    });
}

/// A run whose main future panics cleans up first, and leaves its thread as it was.
#[test]
fn a_panicking_run_leaves_its_thread_as_it_was() {
    let census = Census::default();
    let panicked = watched("panicking", || {
        panic::catch_unwind(AssertUnwindSafe(|| {
            run(async {
                let _value = census.enter();
                timeout(HOUR, async {
                    let _value = census.enter();
                    yield_now().await;
                    if true {
                        panic!("main");
                    }
                })
                .await
            })
        }))
    });
    assert!(panicked.is_err());
    assert_eq!((census.entered(), census.alive()), (2, 0));
    assert_eq!(deadline(), None);
    assert_eq!(run(async { 7 }), 7);
}

/// A borrowing task that is cancelled from another thread is dropped on the thread that its group is
/// on.
#[test]
fn a_borrowing_task_is_dropped_on_its_own_thread() {
    in_run(|| async {
        let here = thread::current().id();
        let dropped_on = std::sync::Mutex::new(None);
        let outcome = group(async |g| {
            let task = g.spawn_local(async {
                let _dropped =
                    OnDrop::new(|| *dropped_on.lock().unwrap() = Some(thread::current().id()));
                pending::<Result<(), _>>().await
            });
            let_others_run().await;
            let canceller = thread::spawn(move || {
                task.cancel();
                task
            });
            let task = canceller.join().expect("cancelling does not panic");
            assert!(task.await.is_err());
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!(*dropped_on.lock().unwrap(), Some(here));
    });
}
