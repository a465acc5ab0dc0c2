//! Shielded code runs to its end, and the cancellation takes effect at the first wait after it.

use std::{
    future::{Future, pending},
    panic::{self, AssertUnwindSafe},
    pin::pin,
    task::Context,
    time::Duration,
};

use futures_lite::future::{yield_now, zip};
use headcount::{
    CancelScope, Error, bracket, checkpoint, deadline, finally, group, is_cancelled, shield, sleep,
    time_left, timeout,
};

use crate::common::{
    Census, CountWakes, Gate, Log, OnDrop, Polls, everywhere, let_others_run, poll_once, until,
};

mod common;

/// Case 80. The outside is cancelled while a task is in a shield: the shield ends, and the wait
/// after it is the last.
#[test]
fn a_shield_runs_to_its_end() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                shield(async {
                    handle.cancel();
                    for step in 0..3 {
                        checkpoint().await;
                        yield_now().await;
                        sleep(Duration::ZERO).await;
                        log.say(format!("step {step}"));
                    }
                })
                .await;
                log.say("after the shield");
                yield_now().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(
            log.entries(),
            ["step 0", "step 1", "step 2", "after the shield"]
        );
    });
}

/// Case 80. A shield that is reached after the cancellation holds as well.
#[test]
fn a_shield_holds_in_a_scope_that_is_cancelled_already() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        scope.handle().cancel();
        let outcome = scope
            .run(async {
                shield(async {
                    yield_now().await;
                    checkpoint().await;
                    log.say("shielded");
                })
                .await;
                yield_now().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["shielded"]);
    });
}

/// Law 5. The same for every kind of cancellation: by hand, by a deadline, of the task, of its
/// group, by a sibling that fails, at any distance.
#[test]
fn a_shield_holds_against_every_kind_of_cancellation() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum By {
        Task,
        Group,
        Deadline,
        Sibling,
        FurtherOut,
    }

    everywhere(|| async {
        for by in [
            By::Task,
            By::Group,
            By::Deadline,
            By::Sibling,
            By::FurtherOut,
        ] {
            let log = Log::default();
            let outer = CancelScope::new();
            let outer_handle = outer.handle();
            let _outcome = outer
                .run(group(async |g| {
                    let (inside, release) = (Gate::default(), Gate::default());
                    let task = g.spawn({
                        let (log, inside, release) = (log.clone(), inside.clone(), release.clone());
                        async move {
                            shield(async {
                                inside.open();
                                release.wait().await;
                                yield_now().await;
                                log.say("shielded");
                            })
                            .await;
                            yield_now().await;
                            log.say("never");
                            Ok(())
                        }
                    });
                    inside.wait().await;
                    match by {
                        By::Task => task.cancel(),
                        By::Group => g.cancel(),
                        By::Deadline => g.scope().set_deadline(Some(headcount::now())),
                        By::Sibling => drop(g.spawn(async { Err::<(), _>("real".into()) })),
                        By::FurtherOut => outer_handle.cancel(),
                    }
                    shield(async {
                        if by != By::Task {
                            until(|| g.is_cancelled()).await;
                        }
                        let_others_run().await;
                        assert!(!task.is_finished(), "{by:?}");
                        release.open();
                        until(|| task.is_finished()).await;
                    })
                    .await;
                    Ok(())
                }))
                .await;
            assert_eq!(log.entries(), ["shielded"], "{by:?}");
        }
    });
}

/// Case 82. Two shields with no wait between them both run, if it was in the first that the
/// cancellation came.
#[test]
fn two_shields_in_a_row_both_run() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                shield(async {
                    handle.cancel();
                    yield_now().await;
                    log.say("first");
                })
                .await;
                shield(async {
                    yield_now().await;
                    log.say("second");
                })
                .await;
                yield_now().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["first", "second"]);
    });
}

/// Case 82. A loop of shields takes a checkpoint to be cancelled.
#[test]
fn a_loop_of_shields_is_cancelled_at_its_checkpoint() {
    everywhere(|| async {
        let rounds = async |with_checkpoint: bool| {
            let log = Log::default();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = scope
                .run(async {
                    for round in 0..5 {
                        shield(async {
                            if round == 1 {
                                handle.cancel();
                            }
                            yield_now().await;
                            log.say("round");
                        })
                        .await;
                        if with_checkpoint {
                            checkpoint().await;
                        }
                    }
                })
                .await;
            (log.entries().len(), outcome.is_ok())
        };
        assert_eq!(rounds(false).await, (5, true));
        assert_eq!(rounds(true).await, (2, false));
    });
}

/// Case 83. A shield opened by the cleanup, after the cut, holds like any other.
#[test]
fn a_shield_in_a_cleanup_holds() {
    everywhere(|| async {
        let log = Log::default();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(inner.run(finally(
                async {
                    inner_handle.cancel();
                    pending::<()>().await;
                },
                async {
                    shield(async {
                        yield_now().await;
                        outer_handle.cancel();
                        yield_now().await;
                        log.say("shielded");
                    })
                    .await;
                    yield_now().await;
                    log.say("the cleanup goes on");
                },
            )))
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["shielded", "the cleanup goes on"]);
    });
}

/// Case 85. The body sits in a shield while the outside is cancelled: the children, which do not,
/// are cancelled at once, before the shield ends.
#[test]
fn a_shielded_body_does_not_hide_its_children() {
    everywhere(|| async {
        for by_group in [true, false] {
            let log = Log::default();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let _outcome = scope
                .run(group(async |g| {
                    let running = Gate::default();
                    g.spawn({
                        let (log, running) = (log.clone(), running.clone());
                        async move {
                            let _gone = OnDrop::new(move || log.say("parallel child gone"));
                            running.open();
                            pending::<Result<(), _>>().await
                        }
                    });
                    g.spawn_local(async {
                        let _gone = OnDrop::new(|| log.say("borrowing child gone"));
                        pending::<Result<(), _>>().await
                    });
                    running.wait().await;
                    let_others_run().await;
                    shield(async {
                        if by_group {
                            g.cancel();
                        } else {
                            handle.cancel();
                        }
                        until(|| log.entries().len() == 2).await;
                        log.say("body goes on");
                    })
                    .await;
                    yield_now().await;
                    log.say("never");
                    Ok(())
                }))
                .await;
            let entries = log.entries();
            assert_eq!(entries.len(), 3, "{entries:?}");
            assert_eq!(entries[2], "body goes on");
        }
    });
}

/// Case 86. A shield round a group protects its children with it.
#[test]
fn a_shield_round_a_group_protects_its_children() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                let sum = shield(group(async |g| {
                    let parallel = g.spawn(async {
                        let_others_run().await;
                        checkpoint().await;
                        Ok(1)
                    });
                    let local = g.spawn_local(async {
                        let_others_run().await;
                        checkpoint().await;
                        Ok(2)
                    });
                    handle.cancel();
                    checkpoint().await;
                    assert!(!g.is_cancelled());
                    Ok(parallel.await? + local.await?)
                }))
                .await;
                log.say(format!("{}", sum.unwrap()));
                yield_now().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["3"]);
    });
}

/// Case 88. Waiting for a shield costs nothing: after the cancellation nobody is woken until the
/// shield has something to do.
#[test]
fn waiting_for_a_shield_wakes_nobody() {
    let (wakes, waker) = CountWakes::new();
    let cx = &mut Context::from_waker(&waker);
    let gate = Gate::default();
    let polls = Polls::default();
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
    let mut running = pin!(outer.run(inner.run(shield(polls.of(gate.wait())))));
    assert!(running.as_mut().poll(cx).is_pending());

    inner_handle.cancel();
    outer_handle.cancel();
    let mut rounds = 0;
    let mut seen = 0;
    while wakes.count() > seen {
        seen = wakes.count();
        assert!(running.as_mut().poll(cx).is_pending());
        rounds += 1;
        assert!(rounds < 10, "woken again and again while the shield holds");
    }
    assert!(polls.count() < 10);

    gate.open();
    assert!(wakes.count() > seen);
    assert!(running.as_mut().poll(cx).is_ready());
}

/// Case 88. The same with the deadline as what cuts.
#[test]
fn waiting_for_a_shield_past_the_deadline_wakes_nobody() {
    let (wakes, waker) = CountWakes::new();
    let cx = &mut Context::from_waker(&waker);
    let gate = Gate::default();
    let mut running = pin!(timeout(Duration::ZERO, shield(gate.wait())));
    let mut rounds = 0;
    let mut seen = usize::MAX;
    while wakes.count() != seen {
        seen = wakes.count();
        assert!(running.as_mut().poll(cx).is_pending());
        rounds += 1;
        assert!(rounds < 10, "woken again and again while the shield holds");
    }
    gate.open();
    assert!(running.as_mut().poll(cx).is_ready());
}

/// Case 88. A cancelled group that waits for a shielded child does not poll it meanwhile, whatever
/// else is going on.
#[test]
fn a_cancelled_group_waits_for_a_shielded_child_at_rest() {
    everywhere(|| async {
        let (polls, release, inside) = (Polls::default(), Gate::default(), Gate::default());
        let handle = std::cell::OnceCell::new();
        let running = group(async |g| {
            g.spawn({
                let (polls, release, inside) = (polls.clone(), release.clone(), inside.clone());
                async move {
                    shield(polls.of(async move {
                        inside.open();
                        release.wait().await;
                    }))
                    .await;
                    Ok(())
                }
            });
            handle.set(g.scope()).unwrap();
            pending::<Result<(), Error>>().await
        });
        let watches = async {
            inside.wait().await;
            handle.get().unwrap().cancel();
            for _ in 0..1000 {
                yield_now().await;
            }
            let polled = polls.count();
            release.open();
            polled
        };
        let (outcome, polled) = zip(running, watches).await;
        assert!(outcome.unwrap_err().is_cancelled());
        assert!(polled < 10, "polled {polled} times for nothing");
    });
}

/// Case 89. Two cancellations and a shield make one cut, when the shield ends.
#[test]
fn two_cancellations_in_a_shield_cut_once() {
    everywhere(|| async {
        let log = Log::default();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(async {
                let _dropped = OnDrop::new(|| log.say("cut"));
                let cut = inner.run(async {
                    let _dropped = OnDrop::new(|| log.say("cut inside"));
                    shield(async {
                        inner_handle.cancel();
                        yield_now().await;
                        outer_handle.cancel();
                        yield_now().await;
                        inner_handle.cancel();
                        yield_now().await;
                        log.say("shield ends");
                    })
                    .await;
                    pending::<()>().await;
                });
                log.say(format!("between: {:?}", cut.await.is_err()));
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["shield ends", "cut inside", "cut"]);
    });
}

/// Shields nest: the end of an inner one does not lift the outer one.
#[test]
fn the_end_of_an_inner_shield_does_not_lift_the_outer() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                shield(async {
                    shield(async {
                        handle.cancel();
                        yield_now().await;
                    })
                    .await;
                    checkpoint().await;
                    log.say("outer shield");
                })
                .await;
                checkpoint().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["outer shield"]);
    });
}

/// A scope inside a shield can be cancelled, although the surroundings are cancelled already, and
/// the shield goes on after it.
#[test]
fn a_scope_inside_a_shield_is_cancelled() {
    everywhere(|| async {
        for surroundings_cancelled in [true, false] {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = scope
                .run(shield(async {
                    if surroundings_cancelled {
                        handle.cancel_with("not this one");
                    }
                    let inner = CancelScope::new();
                    let inner_handle = inner.handle();
                    let cut = inner.run(async {
                        inner_handle.cancel_with("this one");
                        checkpoint().await;
                    });
                    let reason = cut.await.unwrap_err().reason().map(str::to_owned);
                    checkpoint().await;
                    reason
                }))
                .await;
            assert_eq!(outcome.unwrap().as_deref(), Some("this one"));
        }
    });
}

/// Deadlines inside a shield fire, although the surroundings are cancelled already.
#[test]
fn a_deadline_inside_a_shield_fires() {
    everywhere(|| async {
        for limit in [Duration::ZERO, Duration::from_millis(1)] {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = scope
                .run(shield(async {
                    handle.cancel();
                    let late = timeout(limit, pending::<()>()).await;
                    checkpoint().await;
                    late.is_err()
                }))
                .await;
            assert!(outcome.unwrap());
        }
    });
}

/// A group inside a shield can be cancelled, and fails as elsewhere.
#[test]
fn a_group_inside_a_shield_is_cancelled() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(shield(async {
                handle.cancel();
                let stopped = group(async |g| {
                    g.spawn(pending::<Result<(), _>>());
                    g.cancel();
                    checkpoint().await;
                    Ok(())
                })
                .await;
                let failed = group(async |g| {
                    g.spawn(async { Err::<(), _>("real".into()) });
                    pending::<Result<(), Error>>().await
                })
                .await;
                (stopped.unwrap_err().is_empty(), failed.unwrap_err().len())
            }))
            .await;
        assert_eq!(outcome.unwrap(), (true, 1));
    });
}

/// Case 95. What is asked about the surroundings ends at the nearest shield.
#[test]
fn a_shield_hides_what_is_around_it() {
    everywhere(|| async {
        let hour = Duration::from_secs(3600);
        timeout(hour, async {
            assert!(deadline().is_some());
            shield(async {
                assert_eq!((deadline(), time_left()), (None, None));
                timeout(hour, async {
                    assert!(deadline().is_some() && time_left().is_some())
                })
                .await
                .unwrap();
                assert_eq!(deadline(), None);
                yield_now().await;
                assert_eq!(deadline(), None);
            })
            .await;
            assert!(deadline().is_some());
        })
        .await
        .unwrap();

        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.cancel();
                assert!(is_cancelled());
                shield(async {
                    assert!(!is_cancelled());
                    yield_now().await;
                    assert!(!is_cancelled());
                    let inner = CancelScope::new();
                    let inner_handle = inner.handle();
                    let seen = inner.run(async {
                        inner_handle.cancel();
                        is_cancelled()
                    });
                    assert!(seen.await.unwrap());
                    assert!(!is_cancelled());
                })
                .await;
                assert!(is_cancelled());
            })
            .await;
        assert!(outcome.is_ok());
    });
}

/// Beside a shield, in the same scope, other branches of a foreign join are still polled while the
/// shield holds; but this crate's waits do not end there any more.
#[test]
fn beside_a_shield_waits_do_not_end() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let shielded = shield(async {
            handle.cancel();
            let_others_run().await;
        });
        let with_checkpoint = async {
            checkpoint().await;
            log.say("checkpoint");
        };
        let with_sleep = async {
            let_others_run().await;
            sleep(Duration::ZERO).await;
            log.say("sleep");
        };
        let outcome = scope
            .run(zip(shielded, zip(with_checkpoint, with_sleep)))
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// A group beside a shield is cancelled at once, while the shield holds.
#[test]
fn beside_a_shield_a_group_is_cancelled_at_once() {
    everywhere(|| async {
        let (gone, running) = (Gate::default(), Gate::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let shielded = shield(async {
            running.wait().await;
            handle.cancel();
            gone.wait().await;
        });
        let beside = group(async |g| {
            let (gone, running) = (gone.clone(), running.clone());
            g.spawn(async move {
                let _gone = OnDrop::new(|| gone.open());
                running.open();
                pending::<Result<(), _>>().await
            });
            pending::<Result<(), Error>>().await
        });
        assert!(scope.run(zip(shielded, beside)).await.is_err());
    });
}

/// Two shields side by side are both waited for, in whichever order they end.
#[test]
fn all_shields_below_are_waited_for() {
    everywhere(|| async {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let census = Census::default();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let gates = [Gate::default(), Gate::default(), Gate::default()];
            let running = scope.run(async {
                let _unprotected = census.enter();
                let [a, b, c] = &gates;
                let shields = zip(shield(a.wait()), zip(shield(b.wait()), shield(c.wait())));
                zip(shields, pending::<()>()).await;
            });
            let releases = async {
                yield_now().await;
                handle.cancel();
                for gate in order {
                    let_others_run().await;
                    assert_eq!(census.alive(), 1, "gate {gate} is still shut");
                    gates[gate].open();
                }
            };
            let (outcome, ()) = zip(running, releases).await;
            assert!(outcome.is_err());
            assert_eq!(census.alive(), 0);
        }
    });
}

/// A shield that has panicked protects no longer, whether it is dropped or kept.
#[test]
fn a_panicking_shield_protects_no_longer() {
    for (kept, waits) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut running = pin!(scope.run(async {
            let mut panics = Box::pin(shield(async {
                for _ in 0..waits {
                    yield_now().await;
                }
                if true {
                    panic!("in the shield");
                }
            }));
            for _ in 0..waits {
                assert!(poll_once(panics.as_mut()).is_pending());
            }
            let poll = || poll_once(panics.as_mut());
            assert!(panic::catch_unwind(AssertUnwindSafe(poll)).is_err());
            if !kept {
                drop(panics);
                pending::<()>().await;
            } else {
                pending::<()>().await;
                drop(panics);
            }
        }));
        assert!(poll_once(running.as_mut()).is_pending());
        handle.cancel();
        assert!(
            poll_once(running.as_mut()).is_ready(),
            "kept: {kept}, waits: {waits}"
        );
    }
}

/// A shield that has ended protects no longer, even if somebody keeps what is left of it.
#[test]
fn a_shield_that_has_ended_protects_no_longer() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut running = pin!(scope.run(async {
        let mut ended = Box::pin(shield(yield_now()));
        ended.as_mut().await;
        pending::<()>().await;
        drop(ended);
    }));
    assert!(poll_once(running.as_mut()).is_pending());
    assert!(poll_once(running.as_mut()).is_pending());
    handle.cancel();
    assert!(poll_once(running.as_mut()).is_ready());
}

/// A shield that was never polled protects nothing.
#[test]
fn a_shield_that_was_not_reached_protects_nothing() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut running = pin!(scope.run(async {
        let not_reached = shield(pending::<()>());
        pending::<()>().await;
        not_reached.await;
    }));
    assert!(poll_once(running.as_mut()).is_pending());
    handle.cancel();
    assert!(poll_once(running.as_mut()).is_ready());
}

/// The release of a bracket is shielded as well as any cleanup.
#[test]
fn a_release_is_shielded() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                let used = bracket(
                    7,
                    async |n: &mut i32| *n,
                    async |_n: i32| {
                        handle.cancel();
                        assert!(!is_cancelled());
                        checkpoint().await;
                        yield_now().await;
                        log.say("released");
                    },
                )
                .await;
                log.say(format!("used {used}"));
                checkpoint().await;
                log.say("never");
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["released", "used 7"]);
    });
}

/// Its first poll was in another scope.
#[test]
fn a_shield_that_has_moved_holds_the_cut_back() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let gate = Gate::default();
        let at = gate.clone();
        let mut work = Box::pin(shield(async move {
            at.wait().await;
            7
        }));
        let elsewhere = futures_lite::future::poll_once(&mut work);
        assert!(CancelScope::new().run(elsewhere).await.unwrap().is_none());
        let waited = scope.run(async {
            assert!(futures_lite::future::poll_once(&mut work).await.is_none());
            handle.cancel();
            let opens = async {
                let_others_run().await;
                gate.open();
            };
            zip(&mut work, opens).await.0
        });
        assert_eq!(waited.await.unwrap(), 7);
    });
}
