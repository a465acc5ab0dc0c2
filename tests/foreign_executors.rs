//! Everything holds under other people's executors and inside other people's combinators.

mod common;

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Census, Gate, Log, in_run, let_others_run, watched};
use futures::{FutureExt as _, StreamExt as _, future::join_all, select, stream::FuturesUnordered};
use futures_lite::future::{block_on, or, zip};
use headcount::{
    CancelScope, Error, ErrorGroup, TaskGroup, bracket, cancelled, finally, group, run, shield,
    sleep, timeout,
};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

const MOMENT: Duration = Duration::from_millis(5);

/// Runs a scenario under every executor there is at hand.
fn under_all<S>(scenario: impl Fn() -> S + Sync)
where
    S: Future<Output = ()> + Send + 'static,
{
    watched("under smol", || smol::block_on(scenario()));
    watched("under smol, spawned", || {
        smol::block_on(smol::spawn(scenario()));
    });
    watched("under futures", || {
        futures::executor::block_on(scenario());
    });
    watched("under tokio", || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(scenario());
        runtime.block_on(async { tokio::spawn(scenario()).await.expect("no panic") });
    });
    watched("in a local pool", || {
        let mut pool = futures::executor::LocalPool::new();
        pool.run_until(scenario());
    });
    watched("in run, inside tokio", || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async { run(scenario()) });
    });
}

#[test]
fn groups_join_fail_and_are_cancelled_under_any_executor() {
    under_all(|| async {
        let census = Census::default();
        let counted: Vec<_> = (0..20).map(|_| census.enter()).collect();
        let sum = group(async |g| {
            let tasks: Vec<_> = counted
                .into_iter()
                .enumerate()
                .map(|(index, counted)| {
                    g.spawn(async move {
                        let _counted = counted;
                        sleep(Duration::from_micros(index as u64)).await;
                        Ok(index)
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await?;
            }
            Ok(sum)
        })
        .await;
        assert_eq!(sum.expect("nothing fails"), 190);

        let failed = group(async |g| {
            g.spawn_local(pending::<Result<(), _>>());
            g.spawn(pending::<Result<(), _>>());
            g.spawn(async { Err::<(), _>("it failed".into()) });
            pending::<Result<(), Error>>().await
        })
        .await;
        assert_eq!(failed.expect_err("it failed").len(), 1);

        let log = Log::default();
        let cleaning = log.clone();
        let late = timeout(
            MOMENT,
            group(async move |g| {
                let counted = census.enter();
                g.spawn(async move {
                    let _counted = counted;
                    finally(pending::<()>(), async move {
                        sleep(MOMENT).await;
                        cleaning.say("cleaned up");
                    })
                    .await;
                    Ok(())
                });
                pending::<Result<(), Error>>().await
            }),
        )
        .await;
        assert!(late.is_err());
        assert!(log.has("cleaned up"));
    });
}

/// A group with a straggler, which opens the gate when it begins, and takes a while to clean up.
fn straggling(census: &Census, log: &Log, begun: &Gate) -> Boxed<Result<(), ErrorGroup>> {
    let (counted, local, log) = (census.enter(), census.enter(), log.clone());
    let (begun, begins) = (begun.clone(), begun.clone());
    Box::pin(group(async move |g| {
        g.spawn_local(async move {
            let _counted = local;
            pending::<Result<(), _>>().await
        });
        g.spawn(async move {
            let _counted = counted;
            let body = async {
                begins.open();
                pending::<()>().await;
            };
            finally(body, async move {
                let_others_run().await;
                log.say("cleaned up");
            })
            .await;
            Ok(())
        });
        begun.wait().await;
        pending::<Result<(), Error>>().await
    }))
}

/// Law 2, by the combinators that people use.
#[test]
fn what_foreign_combinators_drop_is_gone_before_the_group_around_it() {
    under_all(|| async {
        for way in 0..5 {
            let (census, log) = (Census::default(), Log::default());
            let (inner_census, inner_log) = (census.clone(), log.clone());
            let joined = group(async move |_g| {
                let begun = Gate::default();
                let inner = straggling(&inner_census, &inner_log, &begun);
                let a_moment: Boxed<()> = Box::pin(async move { begun.wait().await });
                match way {
                    0 => or(async { drop(inner.await) }, a_moment).await,
                    1 => {
                        let mut inner = inner.fuse();
                        select! {
                            _ = inner => {}
                            () = a_moment.fuse() => {}
                        }
                    }
                    2 => drop(futures::future::select(inner, pin!(a_moment)).await),
                    3 => {
                        let mut set = FuturesUnordered::new();
                        set.push(inner);
                        let next = async { drop(set.next().await) };
                        or(next, a_moment).await;
                    }
                    _ => or(async { drop(join_all([inner]).await) }, a_moment).await,
                }
                // What borrows is gone when the drop has returned.
                assert!(inner_census.alive() <= 1);
                Ok(())
            })
            .await;
            assert!(joined.is_ok());
            assert_eq!(census.alive(), 0);
            assert_eq!(log.entries(), ["cleaned up"]);
        }
    });
}

#[test]
fn the_timeout_and_the_abort_of_tokio_hand_a_group_up() {
    watched("under tokio", || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            for _ in 0..20 {
                let (census, log) = (Census::default(), Log::default());
                let joined = group(async |_g| {
                    let inner = straggling(&census, &log, &Gate::default());
                    assert!(tokio::time::timeout(MOMENT, inner).await.is_err());
                    Ok(())
                });
                assert!(joined.await.is_ok());
                assert_eq!((census.alive(), log.entries().len()), (0, 1));

                let aborted = tokio::spawn(straggling(&census, &log, &Gate::default()));
                tokio::time::sleep(Duration::from_millis(1)).await;
                aborted.abort();
                assert!(aborted.await.is_err());
                // Nobody is around it; it is seen out all the same.
                while census.alive() > 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    });
}

/// Frames find their places again, wherever they are polled from.
#[test]
fn frames_inside_sets_of_futures_are_cancelled_where_they_wait() {
    in_run(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let stop = scope.handle();
        let outcome = scope
            .run(async {
                let mut set: FuturesUnordered<Pin<Box<dyn Future<Output = ()>>>> =
                    FuturesUnordered::new();
                for index in 0..50 {
                    let log = &log;
                    set.push(match index % 5 {
                        0 => Box::pin(finally(pending(), async { log.say("finally") })),
                        1 => Box::pin(bracket(
                            (),
                            async |_: &mut ()| pending().await,
                            async |()| log.say("bracket"),
                        )),
                        2 => Box::pin(async {
                            shield(sleep(MOMENT)).await;
                            log.say("shield");
                        }),
                        3 => Box::pin(async {
                            cancelled().await;
                            log.say("cancelled");
                        }),
                        _ => Box::pin(async {
                            let inner = group(async |g| {
                                g.spawn(pending::<Result<(), _>>());
                                pending::<Result<(), Error>>().await
                            });
                            inner.await.ok();
                        }),
                    });
                }
                let (mut done, stopping) = (0, async {
                    let_others_run().await;
                    stop.cancel();
                });
                let all = async {
                    while set.next().await.is_some() {
                        done += 1;
                    }
                };
                zip(all, stopping).await;
            })
            .await;
        assert!(outcome.is_err());
        let entries = log.entries();
        let count = |what: &str| entries.iter().filter(|entry| *entry == what).count();
        assert_eq!(
            (count("finally"), count("bracket"), count("shield")),
            (10, 10, 10)
        );
    });
}

/// A future may be polled on another thread each time.
#[test]
fn a_group_goes_from_thread_to_thread_between_its_polls() {
    watched("over threads", || {
        let done = Arc::new(AtomicUsize::new(0));
        let (gate, counter) = (Gate::default(), Arc::clone(&done));
        let opener = gate.clone();
        let scope = CancelScope::new();
        let stop = scope.handle();
        let mut whole: Boxed<_> = Box::pin(scope.run(async move {
            let joined = group(async |g: TaskGroup<'_>| {
                for _ in 0..10 {
                    let (held, counter) = (gate.wait(), Arc::clone(&counter));
                    g.spawn_local(async move {
                        shield(held).await;
                        counter.fetch_add(1, Ordering::SeqCst);
                        sleep(Duration::MAX).await;
                        Ok(())
                    });
                    g.spawn(async { Ok(()) });
                }
                Ok(())
            });
            joined.await.ok();
            timeout(Duration::MAX, pending::<()>()).await.ok();
        }));
        for round in 0..20 {
            if round == 10 {
                opener.open();
            }
            whole = thread::spawn(move || {
                let mut whole = whole;
                let polled = block_on(or(async { Some(whole.as_mut().await) }, async {
                    let_others_run().await;
                    None
                }));
                assert!(polled.is_none());
                whole
            })
            .join()
            .expect("no panic");
        }
        assert_eq!(done.load(Ordering::SeqCst), 10);
        stop.cancel();
        assert!(block_on(whole).is_err());
    });
}

/// A reference is all that a foreign combinator gets, and the group survives it.
#[test]
fn a_group_is_taken_from_scope_to_scope_by_reference() {
    in_run(|| async {
        let (census, log) = (Census::default(), Log::default());
        let mut inner = straggling(&census, &log, &Gate::default());
        for _ in 0..50 {
            let scope = CancelScope::new();
            let _handle = scope.handle();
            let outcome = scope.run(or(async { drop(inner.as_mut().await) }, let_others_run()));
            assert!(outcome.await.is_ok());
        }
        assert_eq!(census.alive(), 2);
        let scope = CancelScope::new();
        let stop = scope.handle();
        let stopping = async {
            let_others_run().await;
            stop.cancel();
            pending().await
        };
        let outcome = scope.run(or(async { drop(inner.as_mut().await) }, stopping));
        assert!(outcome.await.is_err());
        assert_eq!(census.alive(), 0);
        assert_eq!(log.entries(), ["cleaned up"]);
        assert!(inner.await.is_err_and(|inner| inner.is_cancelled()));
    });
}
