//! Task-locals: who finds which value.

mod common;

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    task::Poll,
    thread,
};

#[cfg(feature = "testing")]
use common::under_seeds;
use common::{Census, Gate, Log, everywhere, let_others_run, on_threads, poll_once};
use headcount::{
    CancelScope, Error, TaskGroup, bracket, checkpoint, finally, gather, group, local, run,
};

local! {
    /// Who is asking.
    static NAME: &'static str;
    static NUMBER: u32;
    static SHARED: Arc<common::Counted>;
}

/// Says who it was dropped by.
struct Says(Log);

impl Drop for Says {
    fn drop(&mut self) {
        self.0.say(format!("{:?}", NAME.get()));
    }
}

#[test]
fn a_region_has_its_value_and_nobody_else_has() {
    everywhere(|| async {
        assert_eq!(NAME.get(), None);
        let inside = NAME.bind("outer", async {
            assert_eq!(NAME.get(), Some("outer"));
            checkpoint().await;
            NAME.bind("inner", async {
                checkpoint().await;
                assert_eq!(NAME.get(), Some("inner"));
                assert_eq!(NUMBER.get(), None);
            })
            .await;
            assert_eq!(NAME.get(), Some("outer"));
            NUMBER
                .bind(7, async {
                    checkpoint().await;
                    assert_eq!((NAME.get(), NUMBER.get()), (Some("outer"), Some(7)));
                })
                .await;
        });
        let outside = async {
            for _ in 0..5 {
                assert_eq!(NAME.get(), None);
                checkpoint().await;
            }
            Ok::<_, Error>(())
        };
        let inside = async {
            inside.await;
            Ok(())
        };
        gather((inside, outside)).await.unwrap();
        assert_eq!(NAME.get(), None);
    });
}

/// Case 245.
#[test]
fn a_task_has_the_values_of_the_time_it_was_spawned() {
    everywhere(|| async {
        let gate = Gate::default();
        NAME.bind("then", async {
            group(async |g| {
                let wait = gate.wait();
                let parallel = g.spawn(async move {
                    wait.await;
                    Ok(NAME.get())
                });
                let local = g.spawn_local(async {
                    gate.wait().await;
                    Ok(NAME.get())
                });
                let later = NAME.bind("later", async {
                    gate.open();
                    (
                        parallel.await,
                        local.await,
                        g.spawn(async { Ok(NAME.get()) }).await,
                    )
                });
                let then = Ok(Some("then"));
                assert_eq!(later.await, (then, then, Ok(Some("later"))));
                Ok(())
            })
            .await
            .unwrap();
        })
        .await;
    });
}

/// Case 247.
#[test]
#[expect(
    clippy::async_yields_async,
    reason = "a task's handle, to be awaited elsewhere"
)]
fn a_task_spawned_into_another_group_has_the_values_of_its_spawner() {
    everywhere(|| async {
        group(async |g| {
            let spawner = g.spawner();
            let named = NAME.bind("spawner", async move {
                checkpoint().await;
                spawner.spawn(async {
                    checkpoint().await;
                    Ok(NAME.get())
                })
            });
            let from_outside = g.spawn(async { Ok(NAME.get()) });
            assert_eq!(named.await.await, Ok(Some("spawner")));
            assert_eq!(from_outside.await, Ok(None));
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn the_values_of_a_group_are_not_those_of_a_task_from_elsewhere() {
    everywhere(|| async {
        group(async |outer| {
            let spawner = outer.spawner();
            NAME.bind("inner", async {
                group(async |g| {
                    // Run by whoever has time, the owner of the inner group for one.
                    let mine = g.spawn(async { Ok(NAME.get()) });
                    assert_eq!(mine.await, Ok(Some("inner")));
                    Ok(())
                })
                .await
            })
            .await?;
            let other = spawner.spawn(async { Ok(NAME.get()) });
            NAME.bind("awaits", async { assert_eq!(other.await, Ok(None)) })
                .await;
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn what_a_task_binds_reaches_no_sibling() {
    everywhere(|| async {
        group(async |g| {
            let (bound, seen) = (Gate::default(), Gate::default());
            let (open, wait) = (bound.clone(), seen.wait());
            g.spawn(NAME.bind("mine", async move {
                open.open();
                wait.await;
                assert_eq!(NAME.get(), Some("mine"));
                Ok(())
            }));
            bound.wait().await;
            let sibling = g.spawn(async { Ok(NAME.get()) });
            assert_eq!(sibling.await, Ok(None));
            assert_eq!(NAME.get(), None);
            seen.open();
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn finalizers_have_the_values_of_their_place() {
    everywhere(|| async {
        let log = Log::default();
        let say = |log: &Log| log.say(format!("{:?}", NAME.get()));
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cut = scope.run(NAME.bind("finally", async {
            finally(
                async {
                    handle.cancel();
                    pending::<()>().await;
                },
                async {
                    checkpoint().await;
                    let_others_run().await;
                    say(&log);
                },
            )
            .await;
        }));
        assert!(cut.await.is_err());
        let used = bracket((), async |()| say(&log), async |()| say(&log));
        NAME.bind("bracket", used).await;
        let deferring = log.clone();
        group(async |g| {
            NAME.bind("deferred", async {
                g.defer(async move {
                    let_others_run().await;
                    say(&deferring);
                });
            })
            .await;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(
            log.entries(),
            [
                r#"Some("finally")"#,
                r#"Some("bracket")"#,
                r#"Some("bracket")"#,
                r#"Some("deferred")"#
            ]
        );
    });
}

#[test]
fn destructors_find_the_values_of_what_they_are_in() {
    everywhere(|| async {
        let log = Log::default();
        // A region that is done, one that is dropped half way, one that never began.
        NAME.bind("done", async { drop(Says(log.clone())) }).await;
        let says = Says(log.clone());
        let mut half = Box::pin(NAME.bind("half", async move {
            let _says = says;
            pending::<()>().await
        }));
        assert!(poll_once(half.as_mut()).is_pending());
        drop(half);
        let says = Says(log.clone());
        drop(NAME.bind("never begun", async move { drop(says) }));
        assert_eq!(
            log.entries(),
            [
                r#"Some("done")"#,
                r#"Some("half")"#,
                r#"Some("never begun")"#
            ]
        );
    });
}

#[test]
fn destructors_of_cancelled_tasks_find_their_values() {
    everywhere(|| async {
        let log = Log::default();
        let cancelled = NAME.bind(
            "spawner",
            group(async |g| {
                let started = Gate::default();
                for _ in 0..2 {
                    let (says, open) = (Says(log.clone()), started.clone());
                    g.spawn(async move {
                        let _says = says;
                        open.open();
                        pending::<Result<(), _>>().await
                    });
                }
                let says = Says(log.clone());
                g.spawn_local(async move {
                    let _says = says;
                    pending::<Result<(), _>>().await
                });
                started.wait().await;
                g.cancel();
                let says = Says(log.clone());
                g.spawn(async move {
                    drop(says);
                    Ok(())
                });
                pending::<Result<(), _>>().await
            }),
        );
        assert!(cancelled.await.is_err());
        assert_eq!(log.entries(), [r#"Some("spawner")"#; 4]);
    });
}

/// Case 250.
#[test]
#[expect(
    clippy::async_yields_async,
    reason = "a task's handle, to be awaited elsewhere"
)]
fn values_are_freed_with_the_last_that_has_them() {
    everywhere(|| async {
        let census = Census::default();
        let gate = Gate::default();
        group(async |g| {
            let wait = gate.wait();
            let shared = Arc::new(census.enter());
            let task = SHARED.bind(shared, async {
                g.spawn(async move {
                    wait.await;
                    Ok(SHARED.with(|value| value.is_some()))
                })
            });
            let task = task.await;
            assert_eq!(census.alive(), 1);
            gate.open();
            assert_eq!(task.await, Ok(true));
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(census.alive(), 0);
    });
}

/// A task that spawns the next one, so many times. When one begins, so many values may be there at most.
fn link(
    left: usize,
    most: usize,
    census: Census,
    spawner: headcount::Spawner,
) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
    Box::pin(async move {
        assert!(census.alive() <= most);
        let shared = Arc::new(census.enter());
        SHARED
            .bind(shared, async move {
                if left > 0 {
                    let again = link(left - 1, most, census, spawner.clone());
                    spawner.spawn(again);
                }
            })
            .await;
        Ok(())
    })
}

async fn keeps_at_most(most: usize) {
    let census = Census::default();
    group(async |g| {
        g.spawn(link(100, most, census.clone(), g.spawner()));
        Ok(())
    })
    .await
    .expect("the chain comes to its end");
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_long_chain_of_tasks_keeps_no_values_of_its_ancestors() {
    // On threads a task may begin while those before it are still on their way out, one on each thread.
    let threads = thread::available_parallelism().map_or(4, |threads| threads.get().max(4));
    on_threads(|| keeps_at_most(threads));
    #[cfg(feature = "testing")]
    under_seeds(|| keeps_at_most(2));
}

#[test]
fn a_panic_puts_the_values_back() {
    everywhere(|| async {
        let failed = TaskGroup::builder().run(async |g| {
            g.spawn_local::<(), _>(NAME.bind("panics", async {
                checkpoint().await;
                panic!("boom")
            }));
            pending::<Result<(), _>>().await
        });
        assert_eq!(failed.await.unwrap_err().len(), 1);
        assert_eq!(NAME.get(), None);
    });
}

#[test]
fn a_region_may_be_polled_in_different_places() {
    let mut region = Box::pin(NAME.bind("mine", async {
        let mut seen = vec![NAME.get()];
        futures_lite::future::yield_now().await;
        seen.push(NAME.get());
        seen
    }));
    NAME.bind_sync("first", || assert!(poll_once(region.as_mut()).is_pending()));
    NAME.bind_sync("second", || {
        assert_eq!(
            poll_once(region.as_mut()),
            Poll::Ready(vec![Some("mine"); 2])
        );
        assert_eq!(NAME.get(), Some("second"));
    });
    assert_eq!(run(async { NAME.get() }), None);
}

#[test]
fn a_started_task_has_the_values_of_its_starter() {
    everywhere(|| async {
        group(async |g| {
            let started = NAME.bind("starter", async {
                g.start(|ready: headcount::Ready<Option<&str>>| async move {
                    ready.send(NAME.get());
                    Ok(())
                })
                .await
            });
            assert_eq!(started.await.unwrap(), Some("starter"));
            Ok(())
        })
        .await
        .unwrap();
    });
}
