//! The first result: what races, quorums and staggered starts promise.

mod common;
#[path = "common/every_poll.rs"]
mod every_poll;

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use common::{Census, Gate, Log, everywhere, let_others_run, on_threads};
use every_poll::drop_after_every_poll;
use headcount::{
    CancelScope, Error, NoContenders, OneOf2, OneOf3, checkpoint, finally, first_ok, group, now,
    quorum, race, race_all, race_with, run, shield, sleep, staggered, timeout,
};

/// Waits for so many turns and then comes out with something.
async fn after<T>(turns: usize, output: T) -> T {
    for _ in 0..turns {
        checkpoint().await;
    }
    output
}

/// What is thrown by a piece of code that panics.
fn message(code: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(code)).expect_err("it panics");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload
            .downcast::<&str>()
            .map_or_else(|_| String::new(), |text| (*text).to_owned()),
    }
}

#[test]
fn the_first_to_be_done_wins() {
    everywhere(|| async {
        let winner = race((after(3, 'a'), after(1, "b"), after(2, 3))).await;
        assert_eq!(winner, OneOf3::Second("b"));
        assert_eq!(winner.index(), 1);
        let winner = race_all([3, 1, 2].map(|n| after(n, n))).await;
        assert_eq!(winner, Ok((1, 1)));
        assert_eq!(race((after(1, 1), after(2, 2))).await.into_output(), 1);
    });
}

#[test]
fn losers_are_gone_before_a_race_returns() {
    everywhere(|| async {
        let (log, census) = (Log::default(), Census::default());
        let winner = race((
            async {
                let _counted = census.enter();
                finally(pending::<()>(), async {
                    let_others_run().await;
                    log.say("cleaned up");
                })
                .await;
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
            },
            after(1, 7),
        ))
        .await;
        assert_eq!(winner, OneOf3::Third(7));
        assert_eq!(census.alive(), 0);
        let mut entries = log.entries();
        entries.sort();
        assert_eq!(entries, ["cleaned up", "shielded"]);
    });
}

#[test]
fn tasks_of_a_loser_are_gone_too() {
    everywhere(|| async {
        let census = Census::default();
        let counted = census.enter();
        let winner = race((
            group(async |g| {
                g.spawn(async move {
                    let _counted = counted;
                    finally(pending::<()>(), let_others_run()).await;
                    Ok(())
                });
                pending::<Result<(), Error>>().await
            }),
            after(2, 7),
        ))
        .await;
        assert!(matches!(winner, OneOf2::Second(7)));
        assert_eq!(census.alive(), 0);
    });
}

/// Case 154.
#[test]
fn two_that_are_done_in_the_same_turn_make_one_winner() {
    everywhere(|| async {
        let census = Census::default();
        let polled = Cell::new(0);
        let contender = async |n: usize| {
            checkpoint().await;
            polled.set(polled.get() + 1);
            (n, census.enter())
        };
        let winner = race_all([0, 1].map(contender)).await.unwrap();
        assert_eq!((winner.0, winner.1.0), (0, 0));
        // The other one is not asked for a value that nobody wants.
        assert_eq!(polled.get(), 1);
        assert_eq!(census.alive(), 1);
        drop(winner);
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn what_a_loser_comes_to_while_it_is_cancelled_is_disposed_of() {
    everywhere(|| async {
        let census = Census::default();
        let winner = race((
            shield(async {
                after(5, ()).await;
                census.enter()
            }),
            after(1, 7),
        ))
        .await;
        assert!(matches!(winner, OneOf2::Second(7)));
        assert_eq!((census.entered(), census.alive()), (1, 0));
    });
}

/// Case 152.
#[test]
fn race_with_gets_all_that_are_done_in_the_same_turn() {
    everywhere(|| async {
        let both = race_with((after(1, 3), after(1, 4), pending::<()>()), |a, b, c| {
            assert!(c.is_none());
            (a, b)
        });
        assert_eq!(both.await, (Some(3), Some(4)));
        let one = race_with((after(1, 3), after(9, 4)), |a, b| (a, b)).await;
        assert_eq!(one, (Some(3), None));
    });
}

#[test]
fn race_with_gets_what_a_loser_comes_to_while_it_is_cancelled() {
    everywhere(|| async {
        let both = race_with((shield(after(5, "committed")), after(1, 7)), |a, b| (a, b));
        assert_eq!(both.await, (Some("committed"), Some(7)));
    });
}

#[test]
fn a_panic_of_a_contender_goes_on_after_all_are_gone() {
    let census = Census::default();
    let counted = census.enter();
    let panicked = message(move || {
        let _winner: OneOf2<_, ()> = run(race((
            async move {
                let _counted = counted;
                finally(pending::<()>(), let_others_run()).await;
            },
            async {
                checkpoint().await;
                panic!("boom")
            },
        )));
    });
    assert_eq!(panicked, "boom");
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_panic_in_the_cleanup_of_a_loser_is_not_lost() {
    everywhere(|| async {
        let failed = group(async |_g| {
            race((
                async {
                    finally(pending::<()>(), async { panic!("first") }).await;
                },
                async {
                    finally(pending::<()>(), async { panic!("second") }).await;
                },
                after(1, ()),
            ))
            .await;
            Ok(())
        });
        let failed = failed.await.unwrap_err();
        let mut messages: Vec<_> = failed
            .iter()
            .map(|failure| match failure.kind() {
                headcount::FailureKind::Panic(panic) => panic.message().unwrap(),
                headcount::FailureKind::Error(_) => "an error",
            })
            .collect();
        messages.sort_unstable();
        assert_eq!(messages, ["first", "second"]);
    });
}

#[test]
fn a_winner_beats_a_cancellation_that_came_too_late() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let winner = scope.run(race((
            async {
                finally(pending::<()>(), async { handle.cancel() }).await;
            },
            after(1, 7),
        )));
        assert_eq!(winner.await.unwrap(), OneOf2::Second(7));
    });
}

#[test]
fn a_cancellation_from_outside_ends_a_race_without_a_winner() {
    everywhere(|| async {
        let log = Log::default();
        let late = timeout(
            Duration::from_millis(1),
            race((
                pending::<()>(),
                finally(pending::<()>(), async { log.say("cleaned up") }),
            )),
        );
        assert!(late.await.is_err());
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

#[test]
fn a_race_of_nobody_is_an_error() {
    everywhere(|| async {
        let nobody = std::iter::empty::<std::future::Ready<()>>();
        assert_eq!(race_all(nobody).await, Err(NoContenders));
        let nobody = std::iter::empty::<std::future::Ready<Result<(), Error>>>;
        assert!(first_ok(nobody()).await.unwrap_err().is_empty());
        let started = staggered(Duration::MAX, nobody()).await;
        assert!(started.unwrap_err().is_empty());
    });
}

#[test]
fn races_nest_and_run_in_tasks() {
    everywhere(|| async {
        let answer = group(async |g| {
            let task = g.spawn(async {
                let inner = race((after(1, 1), after(2, 2)));
                Ok(race((inner, pending::<()>())).await)
            });
            Ok(task.await?)
        });
        assert_eq!(answer.await.unwrap(), OneOf2::First(OneOf2::First(1)));
    });
}

#[test]
fn dropped_after_any_poll_a_race_leaves_nothing_behind() {
    // Finalizers are dropped on purpose, which a test run takes for a mistake.
    on_threads(|| async {
        let census = Census::default();
        let contender = |n: usize| {
            let counted = census.enter();
            async move {
                shield(after(n, ())).await;
                finally(after(n, ()), after(n, ())).await;
                Ok::<_, Error>(counted)
            }
        };
        let check = || assert_eq!(census.alive(), 0);
        let made = || async {
            drop(race((contender(3), contender(1), contender(2))).await);
        };
        assert!(drop_after_every_poll(made, check).await > 3);
        let made = || async { drop(race_all([3, 1, 2].map(contender)).await) };
        drop_after_every_poll(made, check).await;
        let made = || async { drop(first_ok([3, 1, 2].map(contender)).await) };
        drop_after_every_poll(made, check).await;
        let made = || async { drop(quorum(2, [3, 1, 2].map(contender)).await) };
        drop_after_every_poll(made, check).await;
        let made = || async {
            drop(staggered(Duration::ZERO, [3, 1, 2].map(contender)).await);
        };
        drop_after_every_poll(made, check).await;
    });
}

async fn answers(turns: usize, answer: Result<u32, &'static str>) -> Result<u32, &'static str> {
    after(turns, answer).await
}

#[test]
fn the_first_success_wins_and_cancels_the_rest() {
    everywhere(|| async {
        let log = Log::default();
        let value = first_ok(
            [(2, Ok(1)), (1, Err("down")), (3, Ok(3))].map(|(turns, answer)| {
                let log = &log;
                finally(
                    answers(turns, answer),
                    async move { log.say(turns.to_string()) },
                )
            }),
        )
        .await;
        assert_eq!(value.unwrap(), 1);
        assert_eq!(log.entries(), ["1", "2", "3"]);
    });
}

/// Case 155.
#[test]
fn if_nobody_succeeds_all_failures_come_out_by_index() {
    everywhere(|| async {
        let failed = first_ok(
            [(2, Err("a")), (1, Err("b")), (3, Err("c"))]
                .map(|(turns, answer)| answers(turns, answer)),
        )
        .await
        .unwrap_err();
        let failures: Vec<_> = failed
            .iter()
            .map(|f| (f.task().index().unwrap(), *f.error().unwrap()))
            .collect();
        assert_eq!(failures, [(1, "b"), (0, "a"), (2, "c")]);
    });
}

#[test]
fn a_panic_is_not_hidden_behind_a_success() {
    let panicked = message(|| {
        let fellow = async |n: usize| {
            after(n, ()).await;
            assert_ne!(n, 0, "boom");
            Ok::<_, Error>(n)
        };
        run(first_ok([0, 1].map(fellow))).ok();
    });
    assert!(panicked.contains("boom"));
}

#[test]
fn a_quorum_is_reached_by_so_many_in_the_order_in_which_they_succeed() {
    everywhere(|| async {
        let census = Census::default();
        let replica = async |(turns, answer)| {
            let _counted = census.enter();
            answers(turns, answer).await
        };
        let replicas = [(3, Ok(3)), (1, Ok(1)), (2, Err("down")), (9, Ok(9))];
        assert_eq!(quorum(2, replicas.map(replica)).await.unwrap(), [1, 3]);
        assert_eq!(census.alive(), 0);
        assert_eq!(quorum(3, replicas.map(replica)).await.unwrap(), [1, 3, 9]);
    });
}

#[test]
fn a_quorum_that_cannot_be_reached_any_more_is_given_up_at_once() {
    everywhere(|| async {
        let replica = async |n: usize| match n {
            0 | 1 => Err(after(n, n).await),
            _ => pending::<Result<(), usize>>().await,
        };
        let failed = quorum(2, [0, 1, 2].map(replica)).await.unwrap_err();
        assert_eq!(failed.len(), 2);
    });
}

#[test]
fn a_quorum_of_nobody_or_of_more_than_there_are_is_refused_at_the_caller() {
    let replicas = || [(); 3].map(|()| ready(Ok::<_, Error>(())));
    let refused = message(|| drop(quorum(5, replicas())));
    assert_eq!(
        refused,
        "a quorum of 5 cannot be reached by 3; ask for at most as many as there are"
    );
    let refused = message(|| drop(quorum(0, replicas())));
    assert_eq!(
        refused,
        "a quorum of 0 is reached by nobody; ask for at least 1"
    );
}

#[test]
fn an_early_failure_starts_the_next_at_once() {
    everywhere(|| async {
        let started = RefCell::new(Vec::new());
        let answer = staggered(
            Duration::MAX,
            [Err("a"), Err("b"), Ok(7), Ok(8)]
                .into_iter()
                .enumerate()
                .map(|(n, answer)| {
                    started.borrow_mut().push(n);
                    answers(1, answer)
                }),
        )
        .await;
        assert_eq!(answer.unwrap(), 7);
        // Nothing is started after the win.
        assert_eq!(*started.borrow(), [0, 1, 2]);
    });
}

/// In virtual time only: the clock of a machine under load does not say what it was that started
/// the next.
#[cfg(feature = "testing")]
#[test]
fn after_an_early_failure_the_delay_begins_again() {
    common::under_seeds(|| async {
        let delay = Duration::from_millis(10);
        let starts = RefCell::new(Vec::new());
        let answer = staggered(
            delay,
            (0..3).map(|n| {
                starts.borrow_mut().push(now());
                async move {
                    match n {
                        0 => {
                            sleep(delay / 2).await;
                            Err("early")
                        }
                        1 => pending().await,
                        _ => Ok(7),
                    }
                }
            }),
        )
        .await;
        assert_eq!(answer.unwrap(), 7);
        let starts = starts.into_inner();
        assert!(starts[1] - starts[0] < delay);
        assert!(starts[2] - starts[1] >= delay);
    });
}

#[test]
fn the_next_starts_after_the_delay_while_those_before_go_on() {
    everywhere(|| async {
        let delay = Duration::from_millis(5);
        let start = now();
        let gate = Gate::default();
        let answer = staggered(
            delay,
            (0..3).map(|n| {
                let gate = gate.clone();
                async move {
                    if n == 2 {
                        gate.open();
                        pending::<()>().await;
                    }
                    gate.wait().await;
                    Ok::<_, Error>(n)
                }
            }),
        )
        .await;
        assert_eq!(answer.unwrap(), 0);
        assert!(now() - start >= 2 * delay);
    });
}

#[test]
fn nothing_that_is_due_starts_after_the_win() {
    everywhere(|| async {
        let started = Cell::new(0);
        let winner = |n| {
            let started = &started;
            async move {
                started.set(started.get() + 1);
                Ok::<_, Error>(n)
            }
        };
        // The next one is due at once, and the first is done at once.
        assert_eq!(
            staggered(Duration::ZERO, (0..5).map(winner)).await.unwrap(),
            0
        );
        assert_eq!(started.get(), 1);
    });
}

#[test]
fn staggered_losers_are_gone_before_it_returns() {
    everywhere(|| async {
        let log = Log::default();
        let answer = staggered(
            Duration::ZERO,
            (0..3).map(|n| {
                let log = &log;
                async move {
                    if n < 2 {
                        finally(sleep(Duration::MAX), async {
                            let_others_run().await;
                            log.say("cleaned up");
                        })
                        .await;
                    }
                    Ok::<_, Error>(n)
                }
            }),
        )
        .await;
        assert_eq!(answer.unwrap(), 2);
        assert_eq!(log.entries(), ["cleaned up", "cleaned up"]);
    });
}

#[test]
fn staggered_failures_come_out_by_index() {
    everywhere(|| async {
        let failed = staggered(
            Duration::MAX,
            ["a", "b"].map(|error| answers(1, Err(error))),
        )
        .await
        .unwrap_err();
        let failures: Vec<_> = failed
            .iter()
            .map(|f| (f.task().index().unwrap(), *f.error().unwrap()))
            .collect();
        assert_eq!(failures, [(0, "a"), (1, "b")]);
    });
}

#[test]
fn a_race_may_be_forgotten_half_way() {
    let census = Census::default();
    let counted = census.enter();
    let race = race((async move { drop(counted) }, pending::<()>()));
    drop(race);
    assert_eq!(census.alive(), 0);
    fn is_send(_: impl Future + Send) {}
    is_send(headcount::race((ready(()), ready(()))));
}
