//! Each result as it comes: what `as_completed` promises.

mod common;
#[path = "common/every_poll.rs"]
mod every_poll;

use std::{
    cell::Cell,
    future::{Future, pending},
    pin::pin,
    time::Duration,
};

use common::{Census, Gate, Log, everywhere, let_others_run, on_threads, poll_once};
use every_poll::drop_after_every_poll;
use futures_lite::{Stream, StreamExt};
use headcount::{
    Aborted, CancelScope, Error, Policy, TaskGroup, as_completed, checkpoint, finally, group,
    shield, sleep, timeout,
};

async fn after<T>(turns: usize, output: T) -> T {
    for _ in 0..turns {
        checkpoint().await;
    }
    output
}

#[test]
fn outputs_come_in_the_order_in_which_they_are_done() {
    everywhere(|| async {
        let outputs = as_completed([3, 1, 2].map(|n| after(n, n)));
        assert_eq!(outputs.size_hint(), (3, Some(3)));
        let outputs: Vec<_> = outputs.collect().await;
        assert_eq!(outputs, [(1, 1), (2, 2), (0, 3)]);
    });
}

/// Case 151.
#[test]
fn leaving_early_cancels_the_rest_and_waits_for_it() {
    everywhere(|| async {
        let (log, census) = (Log::default(), Census::default());
        let mut outputs = as_completed((0..3).map(|n| {
            let (log, counted) = (&log, census.enter());
            async move {
                let _counted = counted;
                if n != 1 {
                    finally(pending::<()>(), async {
                        let_others_run().await;
                        log.say("cleaned up");
                    })
                    .await;
                }
                n
            }
        }));
        assert_eq!(outputs.next().await, Some((1, 1)));
        outputs.cancel().await;
        assert_eq!(log.entries(), ["cleaned up", "cleaned up"]);
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn dropping_the_stream_drops_the_rest_there_and_then() {
    everywhere(|| async {
        let census = Census::default();
        let mut outputs = as_completed((0..3).map(|n| {
            let counted = census.enter();
            async move {
                let _counted = counted;
                shield(after(5 * n, ())).await;
            }
        }));
        assert_eq!(outputs.next().await, Some((0, ())));
        assert_eq!(census.alive(), 2);
        drop(outputs);
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn a_timeout_round_the_wait_for_one_output_loses_nothing() {
    everywhere(|| async {
        let gate = Gate::default();
        let mut outputs = as_completed([async {
            gate.wait().await;
            checkpoint().await;
            7
        }]);
        for _ in 0..3 {
            assert!(timeout(Duration::ZERO, outputs.next()).await.is_err());
        }
        gate.open();
        assert_eq!(outputs.next().await, Some((0, 7)));
        assert_eq!(outputs.next().await, None);
    });
}

#[test]
fn a_timeout_round_the_wait_for_one_output_waits_for_a_shield_and_loses_nothing() {
    everywhere(|| async {
        let log = Log::default();
        let mut outputs = as_completed([async {
            shield(async {
                sleep(Duration::from_millis(2)).await;
                log.say("shield ended");
            })
            .await;
            checkpoint().await;
            7
        }]);
        assert!(timeout(Duration::ZERO, outputs.next()).await.is_err());
        assert_eq!(log.entries(), ["shield ended"]);
        assert_eq!(outputs.next().await, Some((0, 7)));
    });
}

#[test]
fn a_cancellation_waits_for_what_is_protected_in_the_futures() {
    everywhere(|| async {
        let log = Log::default();
        let late = timeout(Duration::from_millis(1), async {
            let mut outputs = as_completed((0..2).map(|_| {
                finally(pending::<()>(), async {
                    let_others_run().await;
                    log.say("cleaned up");
                })
            }));
            outputs.next().await
        });
        assert!(late.await.is_err());
        assert_eq!(log.entries(), ["cleaned up", "cleaned up"]);
    });
}

#[test]
fn a_consumer_that_waits_for_something_else_can_be_cancelled() {
    everywhere(|| async {
        let census = Census::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cut = scope.run(async {
            let mut outputs = as_completed((0..2).map(|n| {
                let counted = census.enter();
                async move {
                    let _counted = counted;
                    if n == 1 {
                        shield(pending::<()>()).await;
                    }
                }
            }));
            assert_eq!(outputs.next().await, Some((0, ())));
            handle.cancel();
            // Nobody polls the shield any more. It must not hold up the scope for ever.
            pending::<()>().await;
        });
        assert!(cut.await.is_err());
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn futures_may_start_and_end_between_two_polls_of_different_tasks() {
    everywhere(|| async {
        let mut outputs = as_completed([3, 1, 2].map(|n| after(n, n)));
        assert!(poll_once(pin!(outputs.next())).is_pending());
        let rest = group(async |g| {
            let task = g.spawn(async move {
                let mut rest = Vec::new();
                while let Some((_, n)) = outputs.next().await {
                    rest.push(n);
                }
                Ok(rest)
            });
            Ok(task.await?)
        });
        assert_eq!(rest.await.unwrap(), [1, 2, 3]);
    });
}

#[test]
fn dropped_after_any_poll_the_stream_leaves_nothing_behind() {
    // Finalizers are dropped on purpose, which a test run takes for a mistake.
    on_threads(|| async {
        let census = Census::default();
        let made = || async {
            let mut outputs = as_completed([2, 0, 1].map(|n| {
                let counted = census.enter();
                async move {
                    let _counted = counted;
                    finally(shield(after(n, ())), after(n, ())).await;
                }
            }));
            outputs.next().await;
            outputs.next().await;
            outputs.cancel().await;
        };
        let polls = drop_after_every_poll(made, || assert_eq!(census.alive(), 0)).await;
        assert!(polls > 2);
    });
}

#[test]
fn outcomes_of_tasks_come_in_the_order_in_which_they_are_done() {
    everywhere(|| async {
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                let gates: Vec<_> = (0..3).map(|_| Gate::default()).collect();
                let tasks: Vec<_> = gates
                    .iter()
                    .enumerate()
                    .map(|(n, gate)| {
                        let wait = gate.wait();
                        g.spawn_named(n.to_string(), async move {
                            wait.await;
                            if n == 1 {
                                Err("no route".into())
                            } else {
                                Ok(n)
                            }
                        })
                    })
                    .collect();
                let mut outcomes = g.as_completed(tasks);
                for n in [2, 1, 0] {
                    gates[n].open();
                    let (task, outcome) = outcomes.next().await.unwrap();
                    assert_eq!(task.name(), Some(n.to_string().as_str()));
                    let expected = if n == 1 { Err(Aborted::Failed) } else { Ok(n) };
                    assert_eq!(outcome, expected);
                }
                assert!(outcomes.next().await.is_none());
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(failed.len(), 1);
    });
}

#[test]
fn leaving_the_outcomes_of_tasks_cancels_the_tasks() {
    everywhere(|| async {
        let census = Census::default();
        group(async |g| {
            let spawn = |_| {
                let counted = census.enter();
                g.spawn(async move {
                    let _counted = counted;
                    finally(pending::<()>(), let_others_run()).await;
                    Ok(())
                })
            };
            let dropped = g.as_completed((0..2).map(spawn));
            drop(dropped);
            let cancelled = g.as_completed((0..2).map(spawn));
            cancelled.cancel().await;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn waiting_for_the_outcome_of_tasks_can_be_given_up() {
    everywhere(|| async {
        let gate = Gate::default();
        group(async |g| {
            let wait = gate.wait();
            let task = g.spawn(async move {
                wait.await;
                Ok::<_, Error>(7)
            });
            let mut outcomes = g.as_completed([task]);
            assert!(timeout(Duration::ZERO, outcomes.next()).await.is_err());
            gate.open();
            assert_eq!(outcomes.next().await.unwrap().1, Ok(7));
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn the_stream_is_send_if_its_futures_are() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    drop(is_send(as_completed([async {}])));
    let cell = Cell::new(0);
    let future = as_completed([async { cell.set(1) }]).cancel();
    fn is_future(_: impl Future) {}
    is_future(future);
}
