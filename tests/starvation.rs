//! Nobody who is always ready keeps others from running, and nobody who waits burns the processor.

mod common;

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use common::{Census, Gate, in_run, leaves_of, let_others_run, on_threads, watched};
use futures_lite::future::{block_on, yield_now, zip};
use headcount::{
    CancelScope, Error, Policy, Runtime, TaskGroup, finally, group, shield, sleep, timeout,
};

const MOMENT: Duration = Duration::from_millis(10);

/// Yields for ever, without asking anybody.
async fn for_ever<T>() -> T {
    loop {
        yield_now().await;
    }
}

#[test]
fn a_timeout_ends_a_body_that_only_yields() {
    on_threads(|| async {
        let late = timeout(
            MOMENT,
            group(async |_g| for_ever::<Result<(), Error>>().await),
        );
        assert!(late.await.is_err());
    });
}

#[test]
fn a_timeout_ends_children_that_only_yield() {
    on_threads(|| async {
        let late = timeout(
            MOMENT,
            group(async |g| {
                g.spawn(for_ever::<Result<(), _>>());
                g.spawn_local(for_ever::<Result<(), _>>());
                pending::<Result<(), Error>>().await
            }),
        );
        assert!(late.await.is_err());
    });
}

#[test]
fn a_child_that_only_yields_leaves_the_body_its_timer() {
    for _ in 0..20 {
        in_run(|| async {
            let stop = Arc::new(AtomicBool::new(false));
            let joined = group(async |g| {
                let stopped = Arc::clone(&stop);
                g.spawn(async move {
                    while !stopped.load(Ordering::SeqCst) {
                        yield_now().await;
                    }
                    Ok(())
                });
                sleep(Duration::from_millis(1)).await;
                stop.store(true, Ordering::SeqCst);
                Ok(())
            });
            assert!(joined.await.is_ok());
        });
    }
}

#[test]
fn groups_that_only_yield_leave_other_groups_their_turns() {
    on_threads(|| async {
        let busy = group(async |g| {
            for _ in 0..8 {
                g.spawn(for_ever::<Result<(), _>>());
            }
            for_ever::<Result<(), Error>>().await
        });
        let modest = group(async |g| {
            for _ in 0..100 {
                g.spawn(async {
                    yield_now().await;
                    Ok(())
                });
                yield_now().await;
            }
            Ok(())
        });
        let scope = CancelScope::new();
        let stop = scope.handle();
        let (stopped, joined) = zip(scope.run(busy), async {
            let joined = modest.await;
            stop.cancel();
            joined
        })
        .await;
        assert!(stopped.is_err() && joined.is_ok());
    });
}

/// Who keeps itself ready.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Body,
    Child,
    Borrower,
}

/// Naps, several times.
async fn naps(awake: &AtomicUsize) {
    for _ in 0..5 {
        sleep(Duration::from_millis(1)).await;
    }
    awake.fetch_add(1, Ordering::SeqCst);
}

/// Yields until two members of its own group have napped, and three of another one.
async fn yields_until_all(awake: &AtomicUsize) {
    while awake.load(Ordering::SeqCst) < 5 {
        yield_now().await;
    }
}

/// Whoever it is that is always ready: the timers of the other members of its group wake, and so do
/// those of another group on the same worker.
#[test]
fn whoever_is_always_ready_leaves_everybody_else_their_timers() {
    for who in [Who::Body, Who::Child, Who::Borrower] {
        on_threads(|| async {
            let awake = Arc::new(AtomicUsize::new(0));
            let own = group(async |g| {
                let counted = Arc::clone(&awake);
                g.spawn(async move {
                    match who {
                        Who::Child => yields_until_all(&counted).await,
                        _ => naps(&counted).await,
                    }
                    Ok(())
                });
                g.spawn_local(async {
                    match who {
                        Who::Borrower => yields_until_all(&awake).await,
                        _ => naps(&awake).await,
                    }
                    Ok(())
                });
                match who {
                    Who::Body => yields_until_all(&awake).await,
                    _ => naps(&awake).await,
                }
                Ok::<_, Error>(())
            });
            let other = group(async |g| {
                let counted = Arc::clone(&awake);
                g.spawn(async move {
                    naps(&counted).await;
                    Ok(())
                });
                g.spawn_local(async {
                    naps(&awake).await;
                    Ok(())
                });
                naps(&awake).await;
                Ok::<_, Error>(())
            });
            let (own, other) = zip(own, other).await;
            assert!(own.is_ok() && other.is_ok());
        });
    }
}

/// The same with as many groups as there are workers, so that all of these are busy.
#[test]
fn busy_workers_leave_a_group_its_timers() {
    on_threads(|| async {
        let stop = Arc::new(AtomicBool::new(false));
        let joined = group(async |g| {
            for _ in 0..8 {
                let stopped = Arc::clone(&stop);
                g.spawn(async move {
                    let inner = group(async |g| {
                        let also = Arc::clone(&stopped);
                        g.spawn(async move {
                            yields_until(&also).await;
                            Ok(())
                        });
                        yields_until(&stopped).await;
                        Ok::<_, Error>(())
                    });
                    Ok(inner.await?)
                });
            }
            let awake = Arc::new(AtomicUsize::new(0));
            let modest = group(async |g| {
                let counted = Arc::clone(&awake);
                g.spawn(async move {
                    naps(&counted).await;
                    Ok(())
                });
                naps(&awake).await;
                Ok::<_, Error>(())
            });
            modest.await?;
            stop.store(true, Ordering::SeqCst);
            Ok(())
        });
        assert!(joined.await.is_ok());
    });
}

async fn yields_until(stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        yield_now().await;
    }
}

/// Children that wait are left alone, whatever goes on beside them.
#[test]
fn ten_thousand_idle_children_are_polled_once_each() {
    const IDLE: usize = 10_000;
    on_threads(|| async {
        let (polls, own_polls) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let whole = group(async |g| {
            for _ in 0..IDLE {
                let polls = Arc::clone(&polls);
                g.spawn(async move {
                    counting(&polls, pending::<()>()).await;
                    Ok(())
                });
            }
            while polls.load(Ordering::SeqCst) < IDLE {
                yield_now().await;
            }
            let before = own_polls.load(Ordering::SeqCst);
            for _ in 0..10 {
                g.spawn(async {
                    sleep(Duration::from_millis(1)).await;
                    Ok(())
                });
                sleep(Duration::from_millis(2)).await;
            }
            // A wake-up for each of the timers, and some more in which nothing was to be done.
            let own = own_polls.load(Ordering::SeqCst) - before;
            g.cancel();
            Ok((polls.load(Ordering::SeqCst), own))
        });
        let (children, own) = counting(&own_polls, whole).await.expect("nothing fails");
        assert_eq!(children, IDLE);
        assert!(own < 100, "the group was polled {own} times");
    });
}

/// Counts how often a future is polled.
async fn counting<F: Future>(polls: &AtomicUsize, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        polls.fetch_add(1, Ordering::SeqCst);
        future.as_mut().poll(cx)
    })
    .await
}

/// Law 5: waiting for a shield burns no processor time.
#[test]
fn what_waits_for_something_protected_is_not_polled_meanwhile() {
    on_threads(|| async {
        let polls = Arc::new(AtomicUsize::new(0));
        let gate = Gate::default();
        let scope = CancelScope::new();
        let stop = scope.handle();
        let outcome = scope.run(group(async |g| {
            let (passed, counted) = (gate.wait(), Arc::clone(&polls));
            g.spawn(counting_child(counted, passed));
            g.spawn_local(async {
                counting(&polls, shield(gate.wait())).await;
                Ok(())
            });
            counting(&polls, finally(pending::<()>(), gate.wait())).await;
            Ok::<_, Error>(())
        }));
        let (outcome, (before, after)) = zip(outcome, async {
            let_others_run().await;
            stop.cancel();
            sleep(MOMENT).await;
            // Each of them holds its cancellation off now.
            let before = polls.load(Ordering::SeqCst);
            sleep(3 * MOMENT).await;
            let after = polls.load(Ordering::SeqCst);
            gate.open();
            (before, after)
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!(before, after);
        assert!(polls.load(Ordering::SeqCst) < 50);
    });
}

async fn counting_child(
    polls: Arc<AtomicUsize>,
    passed: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    counting(&polls, shield(passed)).await;
    Ok(())
}

/// The body is done, and a waker of it is still about.
#[test]
fn a_group_whose_body_woke_itself_as_it_returned_only_waits() {
    on_threads(|| async {
        let polls = AtomicUsize::new(0);
        let gate = Gate::default();
        let waiting = counting(
            &polls,
            group(|g| {
                g.spawn_local(async {
                    gate.wait().await;
                    Ok(())
                });
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Ready(Ok::<(), Error>(()))
                })
            }),
        );
        let (joined, ()) = zip(waiting, async {
            sleep(MOMENT).await;
            gate.open();
        })
        .await;
        assert!(joined.is_ok());
        assert!(polls.load(Ordering::SeqCst) < 20);
    });
}

/// A body that computes for long holds up nobody but itself.
#[test]
fn children_run_while_the_body_blocks_its_thread() {
    watched("with one thread", || {
        Runtime::builder().threads(1).run(async {
            let (tell, told) = mpsc::channel();
            let joined = group(async |g| {
                let task = g.spawn(async move { Ok(tell.send(7)?) });
                assert_eq!(told.recv()?, 7);
                Ok(task.await?)
            });
            assert!(joined.await.is_ok());
        });
    });
}

/// Nobody should, but people do.
#[test]
fn a_child_that_blocks_its_thread_for_its_sibling_does_not_stop_the_group() {
    for _ in 0..20 {
        watched("with one thread", || {
            Runtime::builder().threads(1).run(async {
                let joined = group(async |g| {
                    let spawner = g.spawner();
                    let outer = g.spawn(async move {
                        // By then the owner of the group waits.
                        thread::sleep(Duration::from_millis(1));
                        let inner = spawner.spawn(async { Ok(7) });
                        Ok(block_on(inner)?)
                    });
                    // The owner must not be the one that runs it: it leaves that to the worker.
                    thread::sleep(Duration::from_millis(2));
                    assert_eq!(outer.await?, 7);
                    Ok(())
                });
                assert!(joined.await.is_ok());
            });
        });
    }
}

/// A helper takes a few neighbours at a time, if they are long; they must not be stuck with it.
#[test]
fn a_child_that_blocks_its_thread_for_the_next_one_in_line_does_not_stop_the_group() {
    const COUNT: usize = 60;

    for blocks in (10..50).step_by(4) {
        in_run(|| async move {
            let (tell, told) = mpsc::channel();
            let mut told = Some(told);
            let joined = group(async |g| {
                for index in 0..COUNT {
                    let told = (index == blocks).then(|| told.take()).flatten();
                    let tell = tell.clone();
                    g.spawn(async move {
                        compute(Duration::from_micros(50));
                        if let Some(told) = told {
                            told.recv()?;
                        }
                        if index == blocks + 1 {
                            tell.send(())?;
                        }
                        Ok(())
                    });
                }
                Ok(())
            });
            joined.await.unwrap();
        });
    }
}

/// What has begun goes before what has not, if the children are long; but not for ever.
#[test]
fn long_children_that_yield_do_not_keep_those_from_starting_that_wait_behind_the_limit() {
    const COUNT: usize = 100;

    for busy in [1, 5] {
        in_run(|| async move {
            let ended = Arc::new(AtomicUsize::new(0));
            let joined = TaskGroup::builder().limit(busy + 1).run(async |g| {
                for _ in 0..busy {
                    let ended = Arc::clone(&ended);
                    g.spawn(async move {
                        while ended.load(Ordering::SeqCst) < COUNT {
                            compute(Duration::from_micros(50));
                            yield_now().await;
                        }
                        Ok(())
                    });
                }
                for _ in 0..COUNT {
                    let ended = Arc::clone(&ended);
                    g.spawn(async move {
                        compute(Duration::from_micros(50));
                        ended.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    });
                }
                Ok(())
            });
            joined.await.unwrap();
        });
    }
}

/// Nor while all who have begun wait for just that.
#[test]
fn who_waits_behind_the_limit_starts_while_those_before_it_wait_for_that() {
    const COUNT: usize = 100;

    in_run(|| async {
        let gates: Arc<[Gate; COUNT]> = Arc::new(std::array::from_fn(|_| Gate::default()));
        let joined = TaskGroup::builder().limit(2).run(async |g| {
            for index in 0..COUNT {
                let gates = Arc::clone(&gates);
                g.spawn(async move {
                    compute(Duration::from_micros(50));
                    gates[index].open();
                    if index % 2 == 0 {
                        gates[index + 1].wait().await;
                    }
                    Ok(())
                });
            }
            Ok(())
        });
        joined.await.unwrap();
        assert!(gates.iter().all(Gate::is_open));
    });
}

#[test]
fn a_million_wake_ups_of_one_child_do_not_stop_its_siblings() {
    on_threads(|| async {
        let joined = TaskGroup::builder()
            .policy(Policy::Collect)
            .run(async |g| {
                let busy = g.spawn(for_ever::<Result<(), _>>());
                let last = g.spawn(async {
                    let_others_run().await;
                    Ok(7)
                });
                assert_eq!(last.await?, 7);
                busy.cancel();
                Ok(())
            })
            .await;
        assert!(joined.is_ok());
    });
}

/// Keeps the thread busy for this long.
fn compute(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Longer than a group's future goes on in one poll. It comes back to those whose turn it was, and must
/// not take them for all there are.
const TOO_LONG: Duration = Duration::from_millis(2);
const MANY: usize = 100;

#[test]
fn who_comes_in_while_a_groups_turn_is_cut_short_gets_a_turn() {
    on_threads(|| async {
        let ran = AtomicUsize::new(0);
        let joined = group(async |g| {
            let ran = &ran;
            for _ in 0..MANY {
                let inside = g.clone();
                g.spawn_local(async move {
                    compute(TOO_LONG / 100);
                    inside.spawn_local(async {
                        ran.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    });
                    Ok(())
                });
            }
            Ok(())
        });
        joined.await.unwrap();
        assert_eq!(ran.into_inner(), MANY);
    });
}

#[test]
fn a_failure_while_a_groups_turn_is_cut_short_cancels_all_who_wait() {
    on_threads(|| async {
        let census = Census::default();
        let joined = group(async |g| {
            for index in 0..MANY {
                let alive = census.enter();
                g.spawn_local(async move {
                    let _alive = alive;
                    yield_now().await;
                    if index == MANY / 3 {
                        compute(TOO_LONG);
                        return Err("a failure".into());
                    }
                    pending::<Result<(), Error>>().await
                });
            }
            pending::<Result<(), Error>>().await
        })
        .await;
        assert_eq!(leaves_of(&joined.unwrap_err()), ["a failure"]);
        assert_eq!((census.entered(), census.alive()), (MANY, 0));
    });
}
