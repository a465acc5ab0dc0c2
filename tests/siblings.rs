//! What the failure or the cancellation of one task does to the tasks beside it.

mod common;

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
};

use common::{
    Census, Gate, Log, OnDrop, everywhere, for_ever, keep_quiet_about_purpose, leaves_of,
    let_others_run, sorted_leaves_of,
};
use futures_lite::future::poll_once;
use headcount::{Aborted, CancelScope, Cancelled, Error, TaskGroup, finally, group, shield};

/// Case 56. The first failure cancels the siblings; they clean up, and only the failure is reported.
#[test]
fn the_first_failure_cancels_the_siblings() {
    everywhere(|| async {
        let (census, log) = (Census::default(), Log::default());
        let failed = group(async |g| {
            let begun = Arc::new(AtomicUsize::new(0));
            for i in 0..4 {
                let (value, to, begun) = (census.enter(), log.clone(), Arc::clone(&begun));
                let sibling = async move {
                    let _value = value;
                    let busy = async {
                        begun.fetch_add(1, Ordering::SeqCst);
                        for_ever().await
                    };
                    let cleanup = async {
                        let_others_run().await;
                        to.say(format!("sibling {i} cleaned up"));
                    };
                    finally(busy, cleanup).await
                };
                if i % 2 == 0 {
                    g.spawn(sibling)
                } else {
                    g.spawn_local(sibling)
                };
            }
            while begun.load(Ordering::SeqCst) < 4 {
                let_others_run().await;
            }
            g.spawn(async { Err::<(), _>("the failure".into()) });
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(leaves_of(&failed), ["the failure"]);
        assert_eq!(log.entries().len(), 4);
        assert_eq!(census.alive(), 0);
    });
}

/// Case 58. Cancelling a scope that one task has to itself ends that region and nothing else.
#[test]
fn a_private_scope_of_a_task_is_its_own() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = group(async |g| {
            let begun = Gate::default();
            let started = begun.clone();
            let task = g.spawn(async move {
                let busy = async {
                    started.open();
                    pending::<()>().await
                };
                assert!(scope.run(busy).await.is_err());
                headcount::checkpoint().await;
                Ok("went on")
            });
            let sibling = g.spawn(async {
                for _ in 0..5 {
                    let_others_run().await;
                }
                Ok("unharmed")
            });
            begun.wait().await;
            handle.cancel();
            let both = (task.await?, sibling.await?);
            assert!(!g.is_cancelled());
            Ok(both)
        });
        assert_eq!(outcome.await.unwrap(), ("went on", "unharmed"));
    });
}

/// Case 58, for a whole task: cancelling one through its handle touches no other.
#[test]
fn cancelling_one_task_touches_no_other() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let (one, two) = (g.spawn(for_ever()), g.spawn_local(for_ever()));
            let sibling = g.spawn(async {
                for _ in 0..5 {
                    let_others_run().await;
                }
                Ok("unharmed")
            });
            let_others_run().await;
            one.cancel();
            two.cancel();
            assert_eq!(one.await, Err(Aborted::Cancelled));
            assert_eq!(two.await, Err(Aborted::Cancelled));
            assert!(!g.is_cancelled());
            Ok(sibling.await?)
        });
        assert_eq!(outcome.await.unwrap(), "unharmed");
    });
}

/// Case 59. A sibling that fails in its cleanup adds its failure to the first one.
#[test]
fn a_failure_in_cleanup_joins_the_first_one() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let begun = Arc::new(AtomicUsize::new(0));
        let failed = group(async |g| {
            for name in ["one", "two"] {
                let begun = Arc::clone(&begun);
                g.spawn_named(name, async move {
                    let busy = async {
                        begun.fetch_add(1, Ordering::SeqCst);
                        for_ever().await
                    };
                    finally(busy, async { panic!("on purpose: cleanup") }).await
                });
            }
            while begun.load(Ordering::SeqCst) < 2 {
                let_others_run().await;
            }
            Err::<(), _>("the body".into())
        })
        .await
        .unwrap_err();
        let leaves = sorted_leaves_of(&failed);
        assert_eq!(
            leaves,
            [
                "panic: on purpose: cleanup",
                "panic: on purpose: cleanup",
                "the body"
            ]
        );
        assert_eq!(
            failed.first().unwrap().error().unwrap().to_string(),
            "the body"
        );
    });
}

/// Case 59. So does one that returns an error after a shield, instead of waiting to be cut.
#[test]
fn an_error_after_a_shield_joins_the_first_one() {
    everywhere(|| async {
        let begun = Gate::default();
        let failed = group(async |g| {
            let (started, body_gone) = (begun.clone(), Gate::default());
            let at = body_gone.clone();
            g.spawn(async move {
                shield(async {
                    started.open();
                    at.wait().await;
                })
                .await;
                Err::<(), _>("after the shield".into())
            });
            let _opens = OnDrop::new(|| body_gone.open());
            begun.wait().await;
            Err::<(), _>("the body".into())
        })
        .await
        .unwrap_err();
        assert_eq!(sorted_leaves_of(&failed), ["after the shield", "the body"]);
    });
}

/// Case 56, for borrowing tasks that something protects, or has protected: a cancelled group gets to
/// its end.
#[test]
fn cancelling_a_group_reaches_protected_borrowing_tasks() {
    everywhere(|| async {
        let log = Log::default();
        let stopped = group(async |g| {
            let begun = Gate::default();
            let started = begun.clone();
            let busy = async move {
                started.open();
                for_ever().await
            };
            g.spawn_local(finally(busy, async { log.say("cleaned up") }));
            begun.wait().await;
            g.cancel();
            for_ever().await
        });
        assert!(stopped.await.unwrap_err().is_empty());
        assert_eq!(log.entries(), ["cleaned up"]);
    });
    everywhere(|| async {
        let stopped = group(async |g| {
            g.spawn_local(async {
                shield(let_others_run()).await;
                for_ever().await
            });
            for _ in 0..5 {
                let_others_run().await;
            }
            g.cancel();
            for_ever().await
        });
        assert!(stopped.await.unwrap_err().is_empty());
    });
    everywhere(|| async {
        let stopped = group(async |g| {
            g.spawn_local(async {
                let nested = group(async |h| {
                    h.spawn(for_ever());
                    Ok(())
                });
                Ok(nested.await?)
            });
            let_others_run().await;
            g.cancel();
            for_ever().await
        });
        assert!(stopped.await.unwrap_err().is_empty());
    });
}

/// Case 61. Cancelling a group reaches the tasks at every depth at once, and not level by level
/// after each join: the deepest are cut while those above them still clean up.
#[test]
fn cancelling_reaches_every_depth_at_once() {
    const DEPTH: usize = 8;

    type Boxed = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

    /// Nested groups, each of which waits in a cleanup until the deepest one was cut.
    fn level(depth: usize, begun: Gate, cut: Gate, census: Census) -> Boxed {
        Box::pin(async move {
            let _value = census.enter();
            let nested = group(async |g| {
                if depth == 0 {
                    g.spawn(async move {
                        let busy = async {
                            begun.open();
                            for_ever().await
                        };
                        finally(busy, async { cut.open() }).await
                    });
                    return for_ever().await;
                }
                let (below, at) = (cut.clone(), cut.clone());
                g.spawn(level(depth - 1, begun, below, census));
                g.spawn(finally(for_ever(), async move { at.wait().await }));
                finally(for_ever(), cut.wait()).await
            });
            Ok(nested.await?)
        })
    }

    everywhere(|| async {
        let (begun, cut, census) = (Gate::default(), Gate::default(), Census::default());
        let stopped = group(async |g| {
            g.spawn(level(DEPTH, begun.clone(), cut.clone(), census.clone()));
            begun.wait().await;
            let_others_run().await;
            g.cancel();
            for_ever().await
        })
        .await
        .unwrap_err();
        assert!(stopped.is_cancelled() && stopped.is_empty(), "{stopped:#}");
        assert_eq!(census.alive(), 0);
    });
}

/// Case 62. A task that returns some cancellation or timeout as its error has failed: an error is an
/// error, whatever it is about.
#[test]
fn a_task_that_returns_a_cancellation_as_its_error_has_failed() {
    everywhere(|| async {
        let failed = group(async |g| {
            g.spawn_named("cancelled", async {
                let scope = CancelScope::new();
                scope.handle().cancel();
                scope.run(pending::<()>()).await?;
                Ok(())
            });
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 1);
        assert!(failed.find::<Cancelled>().is_some());
        assert!(!failed.is_cancelled());
        assert_eq!(failed.first().unwrap().task().name(), Some("cancelled"));
    });
}

/// Case 62, the other half: a task that *is* cancelled fails nobody, and leaves no trace.
#[test]
fn a_task_that_was_cancelled_fails_nobody() {
    everywhere(|| async {
        let mut outcome = pin!(group(async |g| {
            let task = g.spawn(for_ever());
            let_others_run().await;
            task.cancel();
            drop(task);
            Ok("the value of the body")
        }));
        let early = poll_once(outcome.as_mut()).await;
        let value = match early {
            Some(value) => value,
            None => outcome.await,
        };
        assert_eq!(value.unwrap(), "the value of the body");
    });
}

/// The failure of a task in a nested group cancels nothing outside of that group if it is handled.
#[test]
fn a_handled_failure_of_a_nested_group_cancels_nobody_outside() {
    everywhere(|| async {
        let outcome = TaskGroup::builder().name("outer").run(async |g| {
            let sibling = g.spawn(async {
                for _ in 0..5 {
                    let_others_run().await;
                }
                Ok("unharmed")
            });
            let handles_it = g.spawn(async {
                let nested = group(async |h| {
                    h.spawn(async { Err::<(), _>("handled".into()) });
                    for_ever().await
                });
                Ok(leaves_of(&nested.await.unwrap_err()))
            });
            Ok((handles_it.await?, sibling.await?))
        });
        assert_eq!(
            outcome.await.unwrap(),
            (vec!["handled".to_owned()], "unharmed")
        );
    });
}
