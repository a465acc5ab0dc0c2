//! Law 3, no failure is lost: what an error group is made of, and what can be done with it.

mod common;

use std::{error::Error as StdError, fmt, future::pending, io, num::ParseIntError, sync::Arc};

use common::{
    Census, Gate, everywhere, for_ever, keep_quiet_about_purpose, leaves_of, let_others_run,
    sorted_leaves_of,
};
use headcount::{
    Aborted, CancelScope, Error, ErrorGroup, Failure, FailureKind, Policy, TaskGroup, TimedOut,
    finally, group, run, timeout,
};

fn not_a_number() -> Error {
    "x".parse::<u8>().expect_err("x is not a number").into()
}

fn no_route() -> Error {
    io::Error::other("no route").into()
}

/// The error group that a failure consists of, if it does.
fn nested(failure: &Failure) -> Option<&ErrorGroup> {
    match failure.kind() {
        FailureKind::Error(error) => error.downcast_ref(),
        FailureKind::Panic(_) => None,
    }
}

/// Case 32. A single failure comes in a group all the same, whoever failed and however.
#[test]
fn a_single_failure_is_still_a_group() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let body = group(async |_g| Err::<(), _>("failed".into()))
            .await
            .unwrap_err();
        let child = group(async |g| {
            g.spawn(async { Err::<(), _>("failed".into()) });
            Ok(())
        });
        let local = group(async |g| {
            g.spawn_local(async { Err::<(), _>("failed".into()) });
            Ok(())
        });
        for failed in [body, child.await.unwrap_err(), local.await.unwrap_err()] {
            assert_eq!(leaves_of(&failed), ["failed"]);
            assert_eq!((failed.len(), failed.is_empty()), (1, false));
            assert!(!failed.is_cancelled());
            assert_eq!(failed.source().unwrap().to_string(), "failed");
        }
        let panicked = group(async |g| {
            g.spawn::<(), _>(async { panic!("on purpose") });
            Ok(())
        });
        assert_eq!(
            leaves_of(&panicked.await.unwrap_err()),
            ["panic: on purpose"]
        );
    });
}

/// Case 34. Tasks that were cancelled because another failed are not in the report; nor is the body.
#[test]
fn cancelled_tasks_are_not_in_the_report() {
    everywhere(|| async {
        let failed = group(async |g| {
            for _ in 0..10 {
                g.spawn(for_ever());
                g.spawn_local(for_ever());
            }
            g.spawn(async { Err::<(), _>("the only one".into()) });
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["the only one"]);
        assert!(
            !failed.is_cancelled(),
            "it was cancelled by its own failure"
        );
    });
}

/// Case 34. An `Aborted` of a task of the same group, passed on with `?`, is left out beside the
/// failure that it echoes, however long the chain.
#[test]
fn echoes_of_a_failure_are_left_out() {
    everywhere(|| async {
        let failed = group(async |g| {
            let first = g.spawn(async { Err::<(), _>("the failure".into()) });
            let second = g.spawn_local(async move { Ok(first.await?) });
            let third = g.spawn_local(async move { Ok(second.await?) });
            Ok(third.await?)
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["the failure"]);
    });
}

/// Case 34. It is left out only there: with nothing to echo it is a failure like any other.
#[test]
fn an_aborted_with_nothing_beside_it_is_a_failure() {
    everywhere(|| async {
        let failed = group(async |g| {
            let task = g.spawn(for_ever());
            task.cancel();
            Ok(task.await?)
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), [Aborted::Cancelled.to_string()]);
        assert!(failed.find::<Aborted>().is_some());
    });
}

/// Case 34. An `Aborted` of a task of *another* group is an error like any other, also beside a
/// failure.
#[test]
fn an_aborted_of_another_group_stays() {
    everywhere(|| async {
        let failed = group(async |outer| {
            let foreign = outer.spawn(for_ever());
            foreign.cancel();
            let inner = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
                g.spawn(async { Err::<(), _>("a failure".into()) });
                g.spawn(async move { Ok(foreign.await?) });
                Ok(())
            });
            let failed = inner.await.unwrap_err();
            assert_eq!(
                sorted_leaves_of(&failed),
                ["a failure".to_owned(), Aborted::Cancelled.to_string()],
            );
            Err::<(), _>(failed.into())
        })
        .await
        .unwrap_err();
        assert_eq!(failed.leaves().count(), 2);
    });
}

/// Case 35. At every depth: groups that were only cancelled leave nothing in the report of the
/// groups around them, beside real errors or alone.
#[test]
fn cancelled_groups_vanish_from_the_report_at_every_depth() {
    everywhere(|| async {
        let (begun, fail) = (Gate::default(), Gate::default());
        let failed = group(async |g| {
            let started = begun.clone();
            g.spawn_named("only cancelled", async move {
                let nested = group(async |h| {
                    h.spawn(async {
                        let deeper = group(async |i| {
                            i.spawn(for_ever());
                            for_ever().await
                        });
                        Ok(deeper.await?)
                    });
                    for_ever().await
                });
                started.open();
                Ok(nested.await?)
            });
            let at = fail.clone();
            g.spawn_named("one of two fails", async move {
                let nested = group(async |h| {
                    h.spawn(for_ever());
                    h.spawn(async move {
                        at.wait().await;
                        Err::<(), _>("the failure".into())
                    });
                    Ok(())
                });
                Ok(nested.await?)
            });
            begun.wait().await;
            let_others_run().await;
            fail.open();
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["the failure"]);
        assert_eq!(failed.len(), 1);
        assert_eq!(
            failed.first().unwrap().task().name(),
            Some("one of two fails")
        );
        assert_eq!(nested(failed.first().unwrap()).unwrap().len(), 1);
    });
}

/// Case 35. A group that was cancelled by hand, inside, and whose empty error was passed on is no
/// leaf either: what is found by walking the leaves is failures.
#[test]
fn an_empty_group_passed_on_has_no_leaves() {
    everywhere(|| async {
        let failed = group(async |_g| {
            let stopped = group(async |h| {
                h.cancel_with("enough");
                for_ever().await
            });
            Ok(stopped.await?)
        })
        .await
        .unwrap_err();
        assert_eq!(failed.leaves().count(), 0);
        // It is an error of the body, though: somebody passed it on as one.
        assert_eq!(failed.len(), 1);
        assert_eq!(
            nested(failed.first().unwrap()).unwrap().reason(),
            Some("enough")
        );
    });
}

/// Case 37. Tasks cut by an inner scope, one cut by an outer one, and a real failure: the scopes
/// absorb the cuts, and the failure comes out, in its groups, in spite of the cancellation.
#[test]
fn an_error_outranks_the_cancellation_around_it() {
    everywhere(|| async {
        let (begun, about_to_crash) = (Gate::default(), Gate::default());
        let census = Census::default();
        let outer = CancelScope::new();
        let cancel_outer = outer.handle();
        let outcome = outer
            .run(group(async |g| {
                for _ in 0..3 {
                    let value = census.enter();
                    g.spawn(async move {
                        let _value = value;
                        let scope = CancelScope::new();
                        scope.handle().cancel();
                        // Cut by its own scope, it goes on, and is cut by the outer one.
                        assert!(scope.run(pending::<()>()).await.is_err());
                        for_ever().await
                    });
                }
                let (started, value) = (begun.clone(), census.enter());
                g.spawn_named("cleans up on its way out", async move {
                    let nested = group(async |h| {
                        h.spawn(for_ever());
                        let _value = value;
                        let busy = async {
                            started.open();
                            for_ever().await
                        };
                        finally(busy, let_others_run()).await
                    });
                    Ok(nested.await?)
                });
                let started = about_to_crash.clone();
                g.spawn_named("the crash", async move {
                    let busy = async {
                        started.open();
                        for_ever().await
                    };
                    finally(busy, async { panic!("on purpose: the crash") }).await
                });
                begun.wait().await;
                about_to_crash.wait().await;
                let_others_run().await;
                cancel_outer.cancel();
                for_ever().await
            }))
            .await;
        let failed = outcome
            .expect("errors outrank the cancellation")
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose: the crash"]);
        assert_eq!(failed.first().unwrap().task().name(), Some("the crash"));
        assert_eq!(census.alive(), 0);
    });
}

/// Case 37. The report says that the group was cancelled from further out, and what failed in it.
#[test]
fn a_group_that_failed_while_being_cancelled_says_both() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let begun = Gate::default();
        let outer = CancelScope::new();
        let cancel_outer = outer.handle();
        let outcome = outer.run(group(async |g| {
            let started = begun.clone();
            g.spawn(finally(
                async move {
                    started.open();
                    for_ever().await
                },
                async { panic!("on purpose: the cleanup") },
            ));
            begun.wait().await;
            cancel_outer.cancel();
            for_ever().await
        }));
        let failed = outcome
            .await
            .expect("errors outrank the cancellation")
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose: the cleanup"]);
        assert!(
            failed.is_cancelled(),
            "it was cancelled from further out before that"
        );
    });
}

/// Case 40. Both parts of a split keep nesting, names and places; together they have every failure.
#[test]
fn partition_keeps_the_shape_of_both_parts() {
    everywhere(|| async {
        let inner = || {
            let inner = TaskGroup::builder().name("inner").policy(Policy::Collect);
            inner.run(async |g| {
                g.spawn_named("number", async { Err::<(), _>(not_a_number()) });
                g.spawn_named("route", async { Err::<(), _>(no_route()) });
                Ok(())
            })
        };
        let failed = TaskGroup::builder()
            .name("outer")
            .policy(Policy::Collect)
            .run(async |g| {
                g.spawn_named("both", async move { Ok(inner().await?) });
                g.spawn_named("plain", async { Err::<(), _>(not_a_number()) });
                Ok(())
            })
            .await
            .unwrap_err();
        let place = failed.location();
        let all = failed.leaves().count();
        assert_eq!(all, 3);

        let (numbers, rest) = failed.partition::<ParseIntError>();
        let (numbers, rest) = (numbers.unwrap(), rest.unwrap());
        for (part, count) in [(&numbers, 2), (&rest, 1)] {
            assert_eq!(part.group_name(), Some("outer"));
            assert_eq!(part.location(), place);
            assert_eq!(part.len(), count);
            let both = part
                .iter()
                .find(|f| f.task().name() == Some("both"))
                .unwrap();
            assert_eq!(nested(both).unwrap().group_name(), Some("inner"));
            assert_eq!(nested(both).unwrap().len(), 1);
        }
        assert!(
            numbers
                .leaves()
                .all(|f| f.error().unwrap().downcast_ref::<ParseIntError>().is_some())
        );
        assert_eq!(leaves_of(&rest), ["no route"]);
    });
}

/// Case 40. A part without members is absent; a test that matches everything, or nothing, gives the
/// whole back.
#[test]
fn partition_leaves_an_empty_part_out() {
    everywhere(|| async {
        let failed = || group(async |_g| Ok(group(async |_g| Err::<(), _>(not_a_number())).await?));
        let whole = failed().await.unwrap_err();
        let text = format!("{whole:#}");
        let (all, none) = whole.partition::<ParseIntError>();
        assert!(none.is_none());
        let (none, all) = all.unwrap().partition::<io::Error>();
        assert!(none.is_none());
        assert_eq!(format!("{:#}", all.unwrap()), text);
    });
}

/// Case 40. Panics, and groups that are empty, count as rest.
#[test]
fn partition_counts_panics_and_empty_groups_as_rest() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                g.spawn::<(), _>(async { panic!("on purpose") });
                g.spawn_named("stopped", async {
                    let stopped = group(async |h| {
                        h.cancel();
                        for_ever().await
                    });
                    Ok(stopped.await?)
                });
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(failed.len(), 2);
        let (numbers, rest) = failed.partition::<ParseIntError>();
        assert!(numbers.is_none());
        let rest = rest.unwrap();
        assert_eq!(rest.len(), 2);
        assert_eq!(leaves_of(&rest), ["panic: on purpose"]);
    });
}

/// Case 41. A caller handles one kind, passes part of it on and adds an error of its own: the rest
/// keeps its shape, what was passed on keeps its own, and the new error stands beside them.
#[test]
fn handling_one_kind_leaves_the_rest_as_it_was() {
    everywhere(|| async {
        let inner = || {
            TaskGroup::builder()
                .name("inner")
                .policy(Policy::Collect)
                .run(async |g| {
                    g.spawn(async { Err::<(), _>(not_a_number()) });
                    g.spawn(async { Err::<(), _>(no_route()) });
                    g.spawn(async { Err::<(), _>(fmt::Error.into()) });
                    Ok(())
                })
        };
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                let failed = inner().await.unwrap_err();
                let (numbers, rest) = failed.partition::<ParseIntError>();
                let (routes, rest) = rest.unwrap().partition::<io::Error>();
                // Numbers are handled. Routes are passed on, and there is a new error.
                assert_eq!(numbers.unwrap().leaves().count(), 1);
                let routes = routes.unwrap();
                let passed_on = g.spawn_named("passed on", async { Err::<(), _>(routes.into()) });
                let new = g.spawn_named("new", async { Err::<(), _>("a new error".into()) });
                // The failure of the body, which comes next, would cancel them.
                assert_eq!(
                    (passed_on.await, new.await),
                    (Err(Aborted::Failed), Err(Aborted::Failed))
                );
                Ok(rest.map_or(Ok(()), Err)?)
            })
            .await
            .unwrap_err();
        assert_eq!(failed.len(), 3);
        let leaves = sorted_leaves_of(&failed);
        assert_eq!(
            leaves,
            [
                "a new error".to_owned(),
                fmt::Error.to_string(),
                "no route".to_owned()
            ]
        );
        let groups: Vec<_> = failed.iter().filter_map(nested).collect();
        assert_eq!(groups.len(), 2);
        assert!(
            groups
                .iter()
                .all(|g| g.group_name() == Some("inner") && g.len() == 1)
        );
    });
}

/// Case 43. An error that panics when it is printed does not lose the report, nor the other errors.
#[test]
fn an_error_that_cannot_be_printed_loses_nothing() {
    struct Unprintable;

    impl fmt::Display for Unprintable {
        fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("on purpose: Display")
        }
    }

    impl fmt::Debug for Unprintable {
        fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("on purpose: Debug")
        }
    }

    impl StdError for Unprintable {}

    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                g.spawn_named("unprintable", async { Err::<(), _>(Unprintable.into()) })
                    .await
                    .unwrap_err();
                g.spawn_named("printable", async { Err::<(), _>(no_route()) });
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(failed.len(), 2);
        assert!(failed.find::<Unprintable>().is_some());
        for text in [format!("{failed:#}"), format!("{failed:?}")] {
            assert!(
                text.contains("unprintable") && text.contains("no route"),
                "{text}"
            );
        }
        assert!(!failed.to_string().is_empty());
    });
}

/// Case 43. A failure whose destructor panics does not take the others, or the caller, with it.
#[test]
fn an_error_whose_destructor_panics_does_not_stop_the_group() {
    #[derive(Debug)]
    struct Explosive;

    impl fmt::Display for Explosive {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("explosive")
        }
    }

    impl StdError for Explosive {}

    impl Drop for Explosive {
        fn drop(&mut self) {
            panic!("on purpose: Drop");
        }
    }

    keep_quiet_about_purpose();
    everywhere(|| async {
        let census = Census::default();
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                g.spawn(async { Err::<(), _>(Explosive.into()) });
                let value = census.enter();
                g.spawn(async move {
                    let _value = value;
                    Err::<(), _>(no_route())
                });
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(sorted_leaves_of(&failed), ["explosive", "no route"]);
        assert_eq!(census.alive(), 0);
        // Whoever drops the report meets the destructor: it is that value's own.
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(failed)));
        drop(dropped);
    });
}

/// A failure is in the order of arrival, and carries who it was.
#[test]
fn failures_come_in_the_order_of_arrival() {
    everywhere(|| async {
        let mut ids = Vec::new();
        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                for name in ["first", "second", "third"] {
                    let task = g.spawn_named(name, async move { Err::<(), _>(name.into()) });
                    ids.push(task.id());
                    assert_eq!(task.await, Err(Aborted::Failed));
                }
                Err::<(), _>("the body".into())
            })
            .await
            .unwrap_err();
        assert_eq!(leaves_of(&failed), ["first", "second", "third", "the body"]);
        let told: Vec<_> = failed.iter().map(|f| f.task().id()).collect();
        assert_eq!(told[..3], ids);
        assert!(
            failed
                .iter()
                .all(|f| f.task().location().file().ends_with("errors.rs"))
        );
        let names: Vec<_> = failed
            .into_iter()
            .map(|f| f.task().name().map(str::to_owned))
            .collect();
        assert_eq!(
            names[..3],
            ["first", "second", "third"].map(|n| Some(n.to_owned()))
        );
    });
}

/// Errors of a type of one's own come out as values of that type.
#[test]
fn errors_keep_the_type_of_the_group() {
    #[derive(Debug, PartialEq)]
    enum Refused {
        Password(u8),
        Aborted(Aborted),
    }

    impl From<Aborted> for Refused {
        fn from(aborted: Aborted) -> Self {
            Self::Aborted(aborted)
        }
    }

    everywhere(|| async {
        let failed: ErrorGroup<Refused> = TaskGroup::builder()
            .errors::<Refused>()
            .run(async |g| {
                let task = g.spawn(async { Err::<(), _>(Refused::Password(3)) });
                Ok(task.await?)
            })
            .await
            .unwrap_err();
        let errors: Vec<_> = failed.iter().map(|f| f.error().unwrap()).collect();
        assert_eq!(errors[0], &Refused::Password(3));
        // The body may have seen that the task failed before it was interrupted. An `Aborted` that
        // the program has made something else of is an error like any other.
        let rest = &errors[1..];
        assert!(
            rest.is_empty() || rest == [&Refused::Aborted(Aborted::Failed)],
            "{rest:?}"
        );
        let failed = failed.map_errors(|e| Error::from(format!("{e:?}")));
        assert_eq!(leaves_of(&failed)[0], "Password(3)");
    });
}

/// `resume_panics` lets the first panic go on, with its payload; without one the group comes back.
#[test]
fn resume_panics_goes_on_with_the_first_panic() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = group(async |_g| Err::<(), _>(no_route()))
            .await
            .unwrap_err();
        assert_eq!(leaves_of(&failed.resume_panics()), ["no route"]);

        let failed = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                g.spawn(async { Err::<(), _>(no_route()) })
                    .await
                    .unwrap_err();
                g.spawn::<(), _>(async { std::panic::panic_any(7_u8) })
                    .await
                    .unwrap_err();
                g.spawn::<(), _>(async { panic!("on purpose") })
                    .await
                    .unwrap_err();
                Ok(())
            })
            .await
            .unwrap_err();
        let resumed =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| failed.resume_panics()));
        assert_eq!(
            resumed.map(drop).unwrap_err().downcast_ref::<u8>(),
            Some(&7)
        );
    });
}

/// A timeout's error that a task passes on is a failure: it was that task's own timeout.
#[test]
fn a_timeout_passed_on_is_a_failure() {
    everywhere(|| async {
        let failed = group(async |g| {
            g.spawn(async {
                timeout(std::time::Duration::ZERO, pending::<()>()).await?;
                Ok(())
            });
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 1);
        assert!(failed.find::<TimedOut>().is_some());
    });
}

/// An `ErrorGroup`, its failures and their errors can be sent and shared between threads.
#[test]
fn error_groups_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<ErrorGroup>();
    crosses::<Failure>();
    crosses::<Error>();

    let failed = run(group(async |_g| Err::<(), _>(no_route()))).unwrap_err();
    let shared = Arc::new(failed);
    let there = Arc::clone(&shared);
    let text = std::thread::spawn(move || there.to_string())
        .join()
        .unwrap();
    assert_eq!(text, shared.to_string());
}
