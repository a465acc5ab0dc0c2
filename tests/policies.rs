//! Join policies: groups whose result is made of what their children come out with.

mod common;
#[path = "common/every_poll.rs"]
mod every_poll;

use std::{future::pending, ops::ControlFlow, time::Duration};

use common::{Census, Gate, Log, everywhere, let_others_run};
use every_poll::drop_after_every_poll;
use headcount::{
    ChildEnd, Closing, EndedBy, Error, ErrorGroup, FailureKind, JoinPolicy, Policy, TaskGroup,
    checkpoint, finally, now, policies, shield, timeout,
};

/// Writes down what it is told, and has enough after so many ends.
struct Witness {
    told: Log,
    enough: usize,
    count: usize,
}

impl Witness {
    fn new(enough: usize) -> Self {
        Self {
            told: Log::default(),
            enough,
            count: 0,
        }
    }
}

impl<T: std::fmt::Debug> JoinPolicy<T> for Witness {
    type Output = (Vec<String>, EndedBy);

    fn child_ended(&mut self, index: usize, end: ChildEnd<T>) -> ControlFlow<()> {
        self.told.say(match end {
            ChildEnd::Value(value) => format!("{index}: {value:?}"),
            ChildEnd::Failed(failure) => match failure.kind() {
                FailureKind::Error(error) => format!("{index}: failed, {error}"),
                FailureKind::Panic(_) => format!("{index}: panicked"),
            },
            ChildEnd::Cancelled => format!("{index}: cancelled"),
        });
        self.count += 1;
        if self.count < self.enough {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn joined(self, closing: &mut Closing) -> Result<Self::Output, ErrorGroup> {
        Ok((self.told.entries(), closing.ended_by()))
    }
}

#[test]
fn a_policy_is_told_of_every_end() {
    everywhere(|| async {
        let gates: Vec<_> = (0..4).map(|_| Gate::default()).collect();
        let group = TaskGroup::builder()
            .join(Witness::new(usize::MAX))
            .run(async |g| {
                let wait = gates[0].wait();
                let value = g.spawn(async move {
                    wait.await;
                    Ok(7)
                });
                let wait = gates[1].wait();
                let fails = g.spawn(async move {
                    wait.await;
                    Err("no route".into())
                });
                let wait = gates[2].wait();
                let panics = g.spawn_local(async move {
                    wait.await;
                    panic!("boom")
                });
                let cancelled = g.spawn_local(async {
                    gates[3].open();
                    pending().await
                });
                gates[3].wait().await;
                cancelled.cancel();
                cancelled.await.unwrap_err();
                gates[2].open();
                panics.await?;
                gates[1].open();
                fails.await?;
                gates[0].open();
                value.await?;
                Ok(())
            });
        let (told, ended_by) = group.await.unwrap();
        assert_eq!(
            told,
            ["3: cancelled", "2: panicked", "1: failed, no route", "0: 7"]
        );
        assert_eq!(ended_by, EndedBy::Children);
    });
}

#[test]
fn a_policy_that_has_enough_ends_the_group_and_hears_of_the_rest() {
    everywhere(|| async {
        let census = Census::default();
        let (log, started) = (Log::default(), Gate::default());
        let group = TaskGroup::builder().join(Witness::new(1)).run(async |g| {
            let (log, open, counted) = (log.clone(), started.clone(), census.enter());
            g.spawn(async move {
                let _counted = counted;
                finally(
                    async {
                        open.open();
                        pending::<()>().await;
                    },
                    async {
                        let_others_run().await;
                        log.say("cleaned up");
                    },
                )
                .await;
                Ok(1)
            });
            let wait = started.wait();
            g.spawn(async move {
                wait.await;
                Ok(2)
            });
            pending().await
        });
        let (told, ended_by) = group.await.unwrap();
        assert_eq!(told, ["1: 2", "0: cancelled"]);
        assert_eq!(ended_by, EndedBy::Policy);
        assert_eq!(log.entries(), ["cleaned up"]);
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn values_come_in_the_order_of_the_spawns() {
    everywhere(|| async {
        for policy in [Policy::FailFast, Policy::Collect] {
            let gates: Vec<_> = (0..3).map(|_| Gate::default()).collect();
            let group = TaskGroup::builder()
                .join(policies::values(policy))
                .run(async |g| {
                    let tasks: Vec<_> = gates
                        .iter()
                        .enumerate()
                        .map(|(n, gate)| {
                            let wait = gate.wait();
                            g.spawn(async move {
                                wait.await;
                                Ok(n)
                            })
                        })
                        .collect();
                    for (gate, task) in gates.iter().zip(tasks).rev() {
                        gate.open();
                        task.await?;
                    }
                    Ok(())
                });
            assert_eq!(group.await.unwrap(), [0, 1, 2]);
        }
    });
}

#[test]
fn values_fail_fast_or_collect_as_groups_do() {
    everywhere(|| async {
        let fast = TaskGroup::builder()
            .join(policies::values(Policy::FailFast))
            .run(async |g| {
                g.spawn(async { Err("no".into()) });
                g.spawn(pending::<Result<(), _>>());
                Ok(())
            });
        assert_eq!(fast.await.unwrap_err().len(), 1);
        let collected = TaskGroup::builder()
            .name("jobs")
            .join(policies::values(Policy::Collect))
            .run(async |g| {
                g.spawn(async { Err("no".into()) });
                g.spawn_named("second", async {
                    let_others_run().await;
                    Err("never".into())
                });
                g.spawn(async { Ok(()) });
                Ok(())
            });
        let failed = collected.await.unwrap_err();
        assert_eq!((failed.len(), failed.group_name()), (2, Some("jobs")));
        assert!(
            failed
                .iter()
                .any(|failure| failure.task().name() == Some("second"))
        );
    });
}

#[test]
fn the_first_success_ends_the_group() {
    everywhere(|| async {
        let group = TaskGroup::builder()
            .join(policies::first_ok())
            .run(async |g| {
                g.spawn(async { Err("down".into()) });
                g.spawn(async { Ok(7) });
                g.spawn(pending());
                pending().await
            });
        assert_eq!(group.await.unwrap(), 7);
        let group = TaskGroup::builder()
            .join(policies::first_ok::<(), _>())
            .run(async |g| {
                g.spawn(async { Err("down".into()) });
                g.spawn(async { Err("gone".into()) });
                Ok(())
            });
        assert_eq!(group.await.unwrap_err().len(), 2);
        let nobody = TaskGroup::builder()
            .join(policies::first_ok::<(), _>())
            .run(async |_g| Ok(()));
        assert!(nobody.await.unwrap_err().is_empty());
    });
}

#[test]
fn a_quorum_ends_the_group() {
    everywhere(|| async {
        let group = TaskGroup::builder()
            .join(policies::quorum(2))
            .run(async |g| {
                g.spawn(pending());
                for _ in 0..3 {
                    g.spawn(async { Ok(7) });
                }
                Ok(())
            });
        assert_eq!(group.await.unwrap(), [7, 7]);
        let missed = TaskGroup::builder()
            .join(policies::quorum(2))
            .run(async |g| {
                g.spawn(async { Ok(7) });
                g.spawn(async { Err("down".into()) });
                Ok(())
            });
        assert_eq!(missed.await.unwrap_err().len(), 1);
    });
}

#[test]
#[should_panic(expected = "a quorum of 0 is reached by nobody")]
fn a_quorum_of_nobody_is_refused() {
    drop(policies::quorum::<(), Error>(0));
}

#[test]
fn what_is_there_at_the_deadline_is_yielded() {
    everywhere(|| async {
        let census = Census::default();
        let group = TaskGroup::builder()
            .join(policies::partial())
            .timeout(Duration::from_millis(5))
            .run(async |g| {
                g.spawn(async { Ok(7) });
                let counted = census.enter();
                g.spawn(async move {
                    let _counted = counted;
                    shield(let_others_run()).await;
                    pending().await
                });
                Ok(())
            });
        let partial = group.await.unwrap();
        assert_eq!(partial.values, [(0, 7)]);
        assert_eq!(
            (partial.ended_by, partial.is_complete),
            (EndedBy::Deadline, false)
        );
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn the_earlier_of_deadline_and_timeout_counts_and_the_longest_means_never() {
    everywhere(|| async {
        let group = TaskGroup::builder()
            .join(policies::partial::<(), _>())
            .timeout(Duration::MAX)
            .deadline(now())
            .run(async |g| {
                g.spawn(pending());
                pending().await
            });
        assert_eq!(group.await.unwrap().ended_by, EndedBy::Deadline);
        let group = TaskGroup::builder()
            .join(policies::partial())
            .timeout(Duration::MAX)
            .run(async |g| {
                g.spawn(async { Ok(()) });
                Ok(())
            });
        assert_eq!(group.await.unwrap().ended_by, EndedBy::Children);
    });
}

#[test]
fn a_failure_of_the_body_is_never_lost() {
    everywhere(|| async {
        let group = TaskGroup::builder()
            .join(policies::partial())
            .run(async |g| {
                g.spawn(async { Ok(7) });
                Err("the body".into())
            });
        let failed = group.await.unwrap_err();
        assert_eq!(failed.len(), 1);
        let group = TaskGroup::builder()
            .join(policies::values(Policy::Collect))
            .run(async |g| {
                g.spawn(async { Err::<(), _>("a child".into()) }).await?;
                panic!("the body")
            });
        let failed = group.await.unwrap_err();
        assert_eq!(failed.len(), 2);
    });
}

#[test]
fn a_policy_that_panics_is_a_failure_of_the_group() {
    struct Explodes;
    impl JoinPolicy<()> for Explodes {
        type Output = ();
        fn child_ended(&mut self, _index: usize, _end: ChildEnd<()>) -> ControlFlow<()> {
            panic!("cannot count to one")
        }
        fn joined(self, _closing: &mut Closing) -> Result<(), ErrorGroup> {
            Ok(())
        }
    }
    everywhere(|| async {
        let group = TaskGroup::builder().join(Explodes).run(async |g| {
            g.spawn(async { Ok(()) });
            g.spawn(pending());
            Ok(())
        });
        let failed = group.await.unwrap_err();
        assert!(matches!(
            failed.first().unwrap().kind(),
            FailureKind::Panic(_)
        ));
    });
}

#[test]
fn a_scope_around_absorbs_its_own_cancellation() {
    everywhere(|| async {
        let group = TaskGroup::builder()
            .join(policies::partial())
            .run(async |g| {
                g.spawn(pending::<Result<(), _>>());
                Ok(())
            });
        assert!(timeout(Duration::from_millis(2), group).await.is_err());
    });
}

#[test]
fn a_limit_holds_with_a_policy_too() {
    everywhere(|| async {
        let alive = Census::default();
        let group = TaskGroup::builder()
            .limit(2)
            .join(policies::values(Policy::FailFast))
            .run(async |g| {
                for _ in 0..6 {
                    let alive = alive.clone();
                    g.spawn(async move {
                        let _counted = alive.enter();
                        assert!(alive.alive() <= 2);
                        checkpoint().await;
                        Ok(())
                    });
                }
                Ok(())
            });
        assert_eq!(group.await.unwrap().len(), 6);
    });
}

#[test]
fn dropped_after_any_poll_it_leaves_nothing_behind() {
    everywhere(|| async {
        let census = Census::default();
        let made = || {
            TaskGroup::builder()
                .join(policies::partial::<(), Error>())
                .run(async |g| {
                    for n in 0..3 {
                        let counted = census.enter();
                        g.spawn_local(async move {
                            let _counted = counted;
                            for _ in 0..n {
                                checkpoint().await;
                            }
                            Ok(())
                        });
                    }
                    Ok(())
                })
        };
        drop_after_every_poll(made, || assert_eq!(census.alive(), 0)).await;
    });
}
