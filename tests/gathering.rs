//! All results: what `gather` and its relatives promise.

mod common;
#[path = "common/every_poll.rs"]
mod every_poll;

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn, ready},
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use common::{Census, CountWakes, Gate, Log, everywhere, let_others_run, on_threads, poll_once};
use every_poll::drop_after_every_poll;
use headcount::{
    CancelScope, Error, FailureKind, checkpoint, finally, gather, gather_all, gather_settled,
    group, is_cancelled, run, shield, sleep, timeout,
};

fn fails(text: &'static str) -> impl Future<Output = Result<(), Error>> {
    ready(Err(text.into()))
}

#[test]
fn values_come_in_the_order_of_the_futures() {
    everywhere(|| async {
        let gate = Gate::default();
        let late = async {
            gate.wait().await;
            Ok::<_, Error>(1)
        };
        let early = async {
            gate.open();
            Ok("two")
        };
        assert_eq!(gather((late, early)).await.unwrap(), (1, "two"));

        let gates: Vec<_> = (0..3).map(|_| Gate::default()).collect();
        let in_reverse = gates.iter().enumerate().map(|(n, gate)| {
            let next = n.checked_sub(1).map(|n| &gates[n]);
            async move {
                if n < 2 {
                    gate.wait().await;
                }
                next.inspect(|next| next.open());
                Ok::<_, Error>(n)
            }
        });
        assert_eq!(gather_all(in_reverse).await.unwrap(), [0, 1, 2]);
    });
}

#[test]
fn twelve_futures_are_gathered() {
    everywhere(|| async {
        let n = |n: usize| ready(Ok::<_, Error>(n));
        let (a, .., l) = gather((
            n(1),
            n(2),
            n(3),
            n(4),
            n(5),
            n(6),
            n(7),
            n(8),
            n(9),
            n(10),
            n(11),
            n(12),
        ))
        .await
        .unwrap();
        assert_eq!((a, l), (1, 12));
        assert_eq!(gather((n(1),)).await.unwrap(), (1,));
    });
}

#[test]
fn futures_borrow_and_mutate_and_need_not_be_send() {
    everywhere(|| async {
        let shared = Rc::new(Cell::new(0));
        let mut hits = 0;
        let (a, b) = gather((
            async {
                hits += 1;
                checkpoint().await;
                shared.set(shared.get() + 1);
                Ok::<_, Error>(())
            },
            async {
                shared.set(shared.get() + 1);
                Ok(7)
            },
        ))
        .await
        .unwrap();
        assert_eq!((a, b, hits, shared.get()), ((), 7, 1, 2));
    });
}

#[test]
fn gathering_is_send_if_its_futures_are() {
    everywhere(|| async {
        let sum = group(async |g| {
            let task = g.spawn(async {
                let (a, b) = gather((ready(Ok::<_, Error>(1)), ready(Ok(2)))).await?;
                let more = gather_all([ready(Ok::<_, Error>(3))]).await?;
                let settled = gather_settled([ready(4)]).await;
                Ok(a + b + more[0] + settled[0])
            });
            Ok(task.await?)
        });
        assert_eq!(sum.await.unwrap(), 10);
    });
}

#[test]
fn nothing_to_gather_is_gathered_at_once() {
    everywhere(|| async {
        let nobody = std::iter::empty::<std::future::Ready<Result<(), Error>>>;
        assert!(matches!(
            poll_once(pin!(gather_all(nobody()))),
            Poll::Ready(Ok(values)) if values.is_empty()
        ));
        assert_eq!(gather_settled(nobody()).await.len(), 0);
    });
}

#[test]
fn a_future_is_polled_only_when_it_was_woken() {
    const MANY: usize = 1_000;
    let gates: Vec<_> = (0..MANY).map(|_| Gate::default()).collect();
    let polls = Cell::new(0);
    let waiting = gates.iter().map(|gate| {
        let mut wait = Box::pin(gate.wait());
        let polls = &polls;
        poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            wait.as_mut().poll(cx).map(Ok::<_, Error>)
        })
    });
    let mut gathered = pin!(gather_all(waiting));
    assert!(poll_once(gathered.as_mut()).is_pending());
    assert_eq!(polls.get(), MANY);

    gates[500].open();
    assert!(poll_once(gathered.as_mut()).is_pending());
    assert_eq!(polls.get(), MANY + 1);

    // Polled without any reason: nobody was woken.
    assert!(poll_once(gathered.as_mut()).is_pending());
    assert_eq!(polls.get(), MANY + 1);
}

#[test]
fn many_wake_ups_wake_the_task_once() {
    let (wakes, waker) = CountWakes::new();
    let gates = [Gate::default(), Gate::default()];
    let mut gathered = pin!(gather_settled(gates.iter().map(Gate::wait)));
    let cx = &mut Context::from_waker(&waker);
    assert!(gathered.as_mut().poll(cx).is_pending());
    assert_eq!(wakes.count(), 0);
    gates[0].open();
    gates[1].open();
    assert_eq!(wakes.count(), 1);
    assert!(gathered.as_mut().poll(cx).is_ready());
}

#[test]
fn a_future_that_wakes_itself_lets_the_task_go_on() {
    let (wakes, waker) = CountWakes::new();
    let gate = Gate::default();
    let mut gathered = pin!(gather_settled([0, 1].map(|n| {
        let gate = &gate;
        async move {
            if n == 0 {
                checkpoint().await;
                gate.open();
            } else {
                gate.wait().await;
            }
        }
    })));
    let cx = &mut Context::from_waker(&waker);
    assert!(gathered.as_mut().poll(cx).is_pending());
    assert_eq!(wakes.count(), 1);
    assert!(!gate.is_open());
    assert!(gathered.as_mut().poll(cx).is_ready());
}

/// Case 148.
#[test]
fn the_first_failure_cancels_the_rest_and_waits_for_it() {
    everywhere(|| async {
        let (log, census) = (Log::default(), Census::default());
        let failed = gather((
            async {
                let _counted = census.enter();
                finally(pending::<()>(), async {
                    let_others_run().await;
                    log.say("cleaned up");
                })
                .await;
                Ok::<_, Error>(1)
            },
            async {
                let _counted = census.enter();
                shield(async {
                    let_others_run().await;
                    log.say("shielded");
                })
                .await;
                checkpoint().await;
                log.say("never");
                Ok(2)
            },
            async {
                checkpoint().await;
                Err::<(), _>("no route".into())
            },
        ))
        .await
        .unwrap_err();
        assert_eq!(census.alive(), 0);
        let mut entries = log.entries();
        entries.sort();
        assert_eq!(entries, ["cleaned up", "shielded"]);
        assert_eq!(failed.len(), 1);
        let failure = failed.first().unwrap();
        assert_eq!(failure.task().index(), Some(2));
        assert_eq!(failure.error().unwrap().to_string(), "no route");
        assert!(!failed.is_cancelled());
    });
}

#[test]
fn nothing_is_polled_once_one_has_failed() {
    everywhere(|| async {
        let polled = Cell::new(false);
        let witness = async {
            polled.set(true);
            Ok(())
        };
        assert_eq!(gather((fails("no"), witness)).await.unwrap_err().len(), 1);
        assert!(!polled.get());
    });
}

#[test]
fn what_fails_in_cleanup_is_in_the_report() {
    everywhere(|| async {
        let failed = gather((
            async {
                finally(pending::<()>(), async { panic!("cannot say goodbye") }).await;
                Ok::<_, Error>(())
            },
            async {
                checkpoint().await;
                Err::<(), _>("no route".into())
            },
        ))
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 2);
        let kinds: Vec<_> = failed
            .iter()
            .map(|f| (f.task().index(), f.error().is_some()))
            .collect();
        assert_eq!(kinds, [(Some(1), true), (Some(0), false)]);
    });
}

#[test]
fn a_panic_is_a_failure_like_any_other() {
    everywhere(|| async {
        let census = Census::default();
        let failed = gather_all((0..3).map(|n| {
            let census = &census;
            async move {
                let _counted = census.enter();
                checkpoint().await;
                if n == 1 {
                    panic!("boom")
                }
                pending::<Result<(), Error>>().await
            }
        }))
        .await
        .unwrap_err();
        assert_eq!(census.alive(), 0);
        assert_eq!(failed.len(), 1);
        let failure = failed.first().unwrap();
        assert_eq!(failure.task().index(), Some(1));
        assert!(matches!(failure.kind(), FailureKind::Panic(p) if p.message() == Some("boom")));
    });
}

#[test]
fn a_report_says_which_future_it_was_and_where() {
    let failed = run(gather((fails("no"), fails("not reached")))).unwrap_err();
    let line = line!() - 1;
    assert_eq!(
        failed.to_string(),
        format!(
            "task group \"gather\" (tests/gathering.rs:{line}) failed: \
             future 0 (tests/gathering.rs:{line}) failed"
        )
    );
}

#[test]
fn values_of_those_that_succeeded_are_dropped_with_a_failure() {
    everywhere(|| async {
        let census = Census::default();
        let good = async { Ok::<_, Error>(census.enter()) };
        assert!(gather((good, fails("no"))).await.is_err());
        assert_eq!((census.entered(), census.alive()), (1, 0));
    });
}

/// Case 149.
#[test]
fn settled_outcomes_come_in_order_and_no_failure_cancels_another() {
    everywhere(|| async {
        let outcomes = gather_settled((0..4).map(async |n| {
            for _ in 0..n {
                checkpoint().await;
            }
            if n % 2 == 0 { Err(n) } else { Ok(n) }
        }))
        .await;
        assert_eq!(outcomes, [Err(0), Ok(1), Err(2), Ok(3)]);
    });
}

#[test]
fn a_panic_among_settled_ones_goes_on_after_the_others_have_ended() {
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let panicked = std::panic::catch_unwind(move || {
        run(gather_settled((0..3).map(|n| {
            let done = Arc::clone(&count);
            async move {
                assert_ne!(n, 0, "boom");
                checkpoint().await;
                done.fetch_add(1, Ordering::SeqCst);
            }
        })))
    });
    assert!(panicked.is_err());
    assert_eq!(done.load(Ordering::SeqCst), 2);
}

#[test]
fn a_cancellation_from_outside_reaches_all_at_once_and_waits_for_what_is_protected() {
    everywhere(|| async {
        let (log, gate) = (Log::default(), Gate::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        struct Says<'a>(&'a Log);
        impl Drop for Says<'_> {
            fn drop(&mut self) {
                self.0.say("idle one dropped");
            }
        }
        let cut = scope
            .run(gather((
                async {
                    let _says = Says(&log);
                    pending::<Result<(), Error>>().await
                },
                async {
                    shield(async {
                        gate.wait().await;
                        log.say("shield ended");
                    })
                    .await;
                    pending::<Result<(), Error>>().await
                },
                async {
                    finally(pending::<()>(), async { log.say("cleaned up") }).await;
                    Ok(())
                },
                shield(async {
                    handle.cancel();
                    while !(log.has("cleaned up") && log.has("idle one dropped")) {
                        checkpoint().await;
                    }
                    gate.open();
                    Ok(())
                }),
            )))
            .await;
        assert!(cut.is_err());
        assert_eq!(log.entries().last().unwrap(), "shield ended");
        assert_eq!(log.entries().len(), 3);
    });
}

#[test]
fn values_that_are_all_there_beat_a_cancellation() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let kept = scope.run(gather((
            shield(async {
                checkpoint().await;
                Ok::<_, Error>(1)
            }),
            shield(async {
                handle.cancel();
                checkpoint().await;
                Ok(2)
            }),
        )));
        assert_eq!(kept.await.unwrap().unwrap(), (1, 2));
    });
}

#[test]
fn a_failure_outranks_a_cancellation_from_outside() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let failed = scope.run(gather((
            pending::<Result<(), Error>>(),
            shield(async {
                handle.cancel();
                checkpoint().await;
                Err::<(), _>("no route".into())
            }),
        )));
        let failed = failed.await.unwrap().unwrap_err();
        assert_eq!(failed.len(), 1);
    });
}

#[test]
fn nothing_starts_in_a_scope_that_was_cancelled() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let polled = Cell::new(false);
        let cut = scope
            .run(async {
                handle.cancel();
                gather((
                    async {
                        polled.set(true);
                        Ok::<_, Error>(())
                    },
                    pending(),
                ) as (_, std::future::Pending<Result<(), Error>>))
                .await
            })
            .await;
        assert!(cut.is_err());
        assert!(!polled.get());
    });
}

#[test]
fn a_timeout_is_reported_after_the_finalizers_inside() {
    everywhere(|| async {
        let log = Log::default();
        let late = timeout(
            Duration::from_millis(1),
            gather_all((0..3).map(|n| {
                let log = &log;
                async move {
                    finally(sleep(Duration::MAX), async move {
                        let_others_run().await;
                        assert!(!is_cancelled());
                        log.say(n.to_string());
                    })
                    .await;
                    Ok::<_, Error>(())
                }
            })),
        )
        .await;
        assert!(late.is_err());
        assert_eq!(log.entries().len(), 3);
    });
}

#[test]
fn gathers_nest() {
    everywhere(|| async {
        let log = RefCell::new(Vec::new());
        let failed = gather((
            async {
                gather((
                    async {
                        finally(pending::<()>(), async { log.borrow_mut().push("inner") }).await;
                        Ok::<_, Error>(())
                    },
                    pending::<Result<(), Error>>(),
                ))
                .await?;
                Ok::<_, Error>(())
            },
            async {
                checkpoint().await;
                Err::<(), _>("outer".into())
            },
        ));
        assert_eq!(failed.await.unwrap_err().leaves().count(), 1);
        assert_eq!(*log.borrow(), ["inner"]);
    });
}

#[test]
fn a_group_inside_is_joined_before_the_failure_comes_out() {
    everywhere(|| async {
        let census = Census::default();
        let counted = census.enter();
        let failed = gather((
            async {
                group(async |g| {
                    g.spawn(async move {
                        let _counted = counted;
                        finally(pending::<()>(), let_others_run()).await;
                        Ok(())
                    });
                    pending::<Result<(), Error>>().await
                })
                .await?;
                Ok::<_, Error>(())
            },
            async {
                checkpoint().await;
                Err::<(), _>("no".into())
            },
        ));
        assert_eq!(failed.await.unwrap_err().len(), 1);
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn dropped_after_any_poll_it_leaves_nothing_behind() {
    // Finalizers are dropped on purpose, which a test run takes for a mistake.
    on_threads(|| async {
        let census = Census::default();
        let part = |n: usize, census: &Census| {
            let counted = census.enter();
            async move {
                let _counted = counted;
                for _ in 0..n {
                    shield(checkpoint()).await;
                    checkpoint().await;
                }
                finally(checkpoint(), checkpoint()).await;
                Ok::<_, Error>(n)
            }
        };
        let made = || gather((part(0, &census), part(1, &census), part(3, &census)));
        let polls = drop_after_every_poll(made, || assert_eq!(census.alive(), 0)).await;
        assert!(polls > 3);
        let made = || gather_all((0..4).map(|n| part(n, &census)));
        drop_after_every_poll(made, || assert_eq!(census.alive(), 0)).await;
        let made = || gather_settled((0..4).map(|n| part(n, &census)));
        drop_after_every_poll(made, || assert_eq!(census.alive(), 0)).await;
    });
}

#[test]
fn a_panicking_destructor_does_not_keep_the_others_from_being_dropped() {
    struct Explodes;
    impl Drop for Explodes {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let census = Census::default();
    let dropped = {
        let census = census.clone();
        std::panic::catch_unwind(move || {
            run(async {
                let mut gathered = Box::pin(gather_all((0..3).map(|n| {
                    let counted = census.enter();
                    async move {
                        let (_counted, _explodes) = (counted, (n == 0).then_some(Explodes));
                        pending::<Result<(), Error>>().await
                    }
                })));
                assert!(poll_once(gathered.as_mut()).is_pending());
                drop(gathered);
            });
        })
    };
    assert!(dropped.is_err());
    assert_eq!(census.alive(), 0);
}
