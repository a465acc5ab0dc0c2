//! Each part of the crate in a small program, which is cancelled at every point where it waits, in
//! every way, under twenty schedules; and is run under every schedule with two departures from first
//! come, first served.
//!
//! What must hold each time is what a test run asks of itself: no task alive, no timer set, every
//! finalizer run once, every tracked value dropped, nobody left waiting. Some programs ask for more.
#![cfg(feature = "testing")]
#![expect(
    clippy::unit_arg,
    reason = "a task that does one thing, and returns nothing, takes one line"
)]

use std::{
    sync::{
        Arc, Mutex as StdMutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_lite::StreamExt;
use headcount::{
    CancelScope, ConcurrentStreamExt, ConsumerGone, Error, Group, OneOf2, Policy, TaskGroup,
    as_completed, bracket, cancelled, channel, checkpoint, deadline, finally, first_ok, gather,
    gather_all, gather_settled, group, interval, local, policies, produce, quorum, race, select,
    shield, sleep, staggered,
    sync::{Barrier, Condition, Event, Limiter, Mutex, OnceCell, RwLock, Semaphore},
    testing::{self, Builder, Injection, Tracked},
    timeout,
};

const TICK: Duration = Duration::from_millis(10);

/// So many schedules are tried at most: the larger programs have more than there is time for.
const MOST_RUNS: u64 = 2_000;

/// Puts a program through everything.
fn through_everything<F, S>(program: F)
where
    F: Fn() -> S,
    S: Future<Output = ()>,
{
    // Failures of groups that were dropped from outside are told to nobody here.
    headcount::on_unclaimed(|_failure| {});
    let cancelled = Builder::new().seeds(20).cancel_everywhere(&program);
    assert!(cancelled.runs() > 100, "{cancelled:?}: it hardly waits");
    let exhausted = Builder::new().most_runs(MOST_RUNS).exhaust(2, &program);
    assert!(exhausted.runs() > 0);
}

/// Waits twice: once for its turn, once for the clock; with a value that has to be dropped.
async fn work(ticks: u32) {
    let value = Tracked::new(());
    checkpoint().await;
    sleep(ticks * TICK).await;
    drop(value);
}

/// Fails after a while.
async fn fails(ticks: u32) -> Result<(), Error> {
    work(ticks).await;
    Err("it fails".into())
}

async fn ends<F: Future<Output = Result<(), Error>>>(program: Group<'_, Error, F>) {
    drop(program.await);
}

#[test]
fn parallel_tasks() {
    through_everything(|| {
        ends(group(async |g| {
            for ticks in [0, 1, 1] {
                g.spawn(async move { Ok(work(ticks).await) });
            }
            Ok(work(1).await)
        }))
    });
}

#[test]
fn tasks_that_borrow() {
    through_everything(|| async {
        let kept = StdMutex::new(Vec::new());
        let kept = &kept;
        let both = group(async move |g| {
            for ticks in [0, 1] {
                g.spawn_local(async move {
                    work(ticks).await;
                    kept.lock().expect("no panic").push(Tracked::new(ticks));
                    Ok(())
                });
            }
            Ok(())
        });
        if both.await.is_ok() {
            assert_eq!(kept.lock().expect("no panic").len(), 2);
        }
    });
}

/// A group that is opened where everything has been cancelled already, and whose body does not wait:
/// its tasks are turned away, so what it returns does not count.
#[test]
fn a_value_does_not_count_if_the_tasks_were_turned_away() {
    for local in [false, true] {
        testing::run(async {
            let scope = CancelScope::new();
            scope.handle().cancel();
            let both = scope.run(async {
                let inner = group(async |g| {
                    match local {
                        true => g.spawn_local(async { Ok(()) }),
                        false => g.spawn(async { Ok(()) }),
                    };
                    Ok(())
                });
                let ended = inner.await;
                unreachable!("its tasks have not been run, and it returned {ended:?}");
            });
            assert!(both.await.is_err());
        });
    }
}

#[test]
fn a_failure_among_siblings() {
    through_everything(|| {
        ends(group(async |g| {
            g.spawn(async { Ok(work(2).await) });
            g.spawn_local(async { Ok(cancelled().await) });
            g.spawn(fails(1));
            Ok(work(3).await)
        }))
    });
}

#[test]
fn a_group_with_a_limit() {
    through_everything(|| {
        let limited = TaskGroup::builder().limit(1);
        ends(limited.run(async |g| {
            for ticks in [1, 0] {
                g.spawn(async move { Ok(work(ticks).await) });
                g.spawn_local(async move { Ok(work(ticks).await) });
            }
            Ok(())
        }))
    });
}

#[test]
fn a_group_that_collects() {
    through_everything(|| {
        let collecting = TaskGroup::builder().policy(Policy::Collect);
        ends(collecting.run(async |g| {
            g.spawn(fails(0));
            let task = g.spawn(async { Ok(work(1).await) });
            task.await?;
            Ok(())
        }))
    });
}

#[test]
fn groups_in_groups() {
    through_everything(|| {
        ends(group(async |g| {
            g.spawn(async {
                let inner = group(async |g| {
                    g.spawn(async { Ok(work(1).await) });
                    Ok(())
                });
                Ok(inner.await?)
            });
            let inner = group(async |g| {
                g.spawn_local(async { Ok(work(1).await) });
                Ok(work(0).await)
            });
            Ok(inner.await?)
        }))
    });
}

#[test]
fn a_task_that_is_cancelled_by_its_handle() {
    through_everything(|| {
        ends(group(async |g| {
            let task = g.spawn(async { Ok(work(5).await) });
            checkpoint().await;
            task.cancel();
            let _ended = task.await;
            Ok(())
        }))
    });
}

#[test]
fn a_service_that_is_started() {
    through_everything(|| {
        ends(group(async |g| {
            let port = g.start(async |ready| {
                let value = Tracked::new(());
                work(1).await;
                ready.send(80);
                work(1).await;
                drop(value);
                Ok(())
            });
            assert_eq!(port.await?, 80);
            let (name, task) = g
                .start_task(async |ready| {
                    ready.send("a name");
                    Ok(work(1).await)
                })
                .await?;
            assert_eq!(name, "a name");
            let _ended = task.await;
            Ok(())
        }))
    });
}

#[test]
fn deferred_finalizers() {
    // One that is owed runs whatever becomes of the group, a drop from outside included.
    let program = || {
        let (owed, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&owed), Arc::clone(&done));
        let main = ends(group(async move |g| {
            for ticks in [0, 1] {
                let done = Arc::clone(&done);
                g.defer(async move {
                    work(ticks).await;
                    done.fetch_add(1, SeqCst);
                });
                owed.fetch_add(1, SeqCst);
            }
            g.spawn(async { Ok(work(1).await) });
            Ok(work(1).await)
        }));
        let check = move |how: Injection| {
            assert_eq!(counts.0.load(SeqCst), counts.1.load(SeqCst), "{how}");
        };
        (main, check)
    };
    Builder::new().seeds(20).cancel_everywhere_with(program);
    testing::exhaust(2, || program().0);
}

#[test]
fn scopes_in_scopes() {
    through_everything(|| async {
        let outer = CancelScope::new().timeout(3 * TICK);
        let handle = outer.handle();
        let both = outer.run(async {
            let inner = CancelScope::new().timeout(TICK).run(work(5)).await;
            assert!(inner.is_err());
            checkpoint().await;
            handle.cancel();
            work(1).await;
            unreachable!("the scope was cancelled");
        });
        drop(both.await);
    });
}

#[test]
fn timeouts() {
    through_everything(|| async {
        let late = timeout(TICK, work(2)).await;
        assert!(late.is_err());
        let tie = timeout(TICK, sleep(TICK)).await;
        assert!(tie.is_ok(), "a result beats a deadline in the same moment");
        let in_time = timeout(2 * TICK, async {
            assert!(deadline().is_some());
            work(1).await;
        });
        assert!(in_time.await.is_ok());
    });
}

#[test]
fn shields() {
    // The two steps are done both or neither, unless somebody drops the future itself.
    let program = || {
        let steps = Arc::new(AtomicUsize::new(0));
        let after = Arc::clone(&steps);
        let main = async move {
            work(1).await;
            shield(async {
                steps.fetch_add(1, SeqCst);
                work(1).await;
                steps.fetch_add(1, SeqCst);
            })
            .await;
            work(1).await;
        };
        let check = move |how| {
            let is_whole = after.load(SeqCst) % 2 == 0;
            assert!(is_whole || how == Injection::Dropped, "{how}");
        };
        (main, check)
    };
    Builder::new().seeds(20).cancel_everywhere_with(program);
    testing::exhaust(2, || program().0);
}

#[test]
fn shields_in_tasks_of_a_group() {
    // A task outlives whoever drops its group: here nothing makes an exception.
    let program = || {
        let steps = Arc::new(AtomicUsize::new(0));
        let after = Arc::clone(&steps);
        let main = ends(group(async move |g| {
            for _ in 0..2 {
                let steps = Arc::clone(&steps);
                g.spawn(async move {
                    let both = async {
                        steps.fetch_add(1, SeqCst);
                        work(1).await;
                        steps.fetch_add(1, SeqCst);
                    };
                    Ok(shield(both).await)
                });
            }
            Ok(work(0).await)
        }));
        (main, move |how: Injection| {
            assert_eq!(after.load(SeqCst) % 2, 0, "{how}");
        })
    };
    Builder::new().seeds(20).cancel_everywhere_with(program);
    testing::exhaust(2, || program().0);
}

#[test]
fn groups_in_shields() {
    // A shield protects what is opened in it, too: the tasks are not told of the cancellation.
    let program = || {
        let steps = Arc::new(AtomicUsize::new(0));
        let after = Arc::clone(&steps);
        let main = async move {
            work(0).await;
            let both = group(async move |g| {
                for _ in 0..2 {
                    let steps = Arc::clone(&steps);
                    g.spawn(async move {
                        work(1).await;
                        steps.fetch_add(1, SeqCst);
                        Ok(())
                    });
                }
                steps.fetch_add(1, SeqCst);
                Ok(checkpoint().await)
            });
            let inner = timeout(9 * TICK, ends(both));
            assert!(shield(inner).await.is_ok(), "nothing reaches it");
        };
        let check = move |how| {
            let steps = after.load(SeqCst);
            let is_whole = steps == 0 || steps == 3;
            assert!(is_whole || how == Injection::Dropped, "{steps}, {how}");
        };
        (main, check)
    };
    Builder::new().seeds(20).cancel_everywhere_with(program);
    testing::exhaust(2, || program().0);
}

/// A shield that was begun and is not polled any more holds up the scope that it was begun in, until
/// somebody drops it, whoever that is.
#[test]
fn a_shield_that_is_dropped_by_another_task_lets_go_of_its_scope() {
    // Not to be cancelled from outside: who is to drop the shield would be gone, and everybody else
    // wait for it.
    testing::explore(50, || {
        group(async |g| {
            let taken = Arc::new(StdMutex::new(None));
            let kept = Arc::clone(&taken);
            g.spawn(async move {
                let waits = timeout(TICK, async move {
                    let mut begun = Box::pin(shield(work(9)));
                    futures_lite::future::poll_once(begun.as_mut()).await;
                    kept.lock().expect("no panic").replace(begun);
                    // Nothing but the end of the shield wakes this task from now on.
                    std::future::pending::<()>().await;
                });
                assert!(waits.await.is_err());
                Ok(())
            });
            sleep(2 * TICK).await;
            let begun = taken.lock().expect("no panic").take();
            drop(begun);
            Ok(())
        })
    });
}

#[test]
fn the_outermost_scope_absorbs() {
    through_everything(|| async {
        let outer = CancelScope::new().timeout(2 * TICK);
        let both = outer.run(async {
            let inner = CancelScope::new().timeout(TICK);
            // The inner one is cancelled first, and held up until the outer one is, too.
            let shielded_first = async {
                shield(work(3)).await;
                work(0).await;
            };
            drop(inner.run(shielded_first).await);
            unreachable!("the scope that was cancelled further out goes first");
        });
        assert!(both.await.is_err());
        work(1).await;
    });
}

#[test]
fn finalizers_in_finalizers() {
    through_everything(|| async {
        let log = Tracked::new(StdMutex::new(Vec::new()));
        let say = |what| log.lock().expect("no panic").push(what);
        let inner = finally(work(1), async {
            work(1).await;
            say("inner");
        });
        finally(inner, async {
            work(0).await;
            say("outer");
        })
        .await;
        assert_eq!(*log.lock().expect("no panic"), ["inner", "outer"]);
    });
}

#[test]
fn brackets() {
    // Each resource that was acquired is released, unless somebody drops the bracket itself.
    let program = || {
        let open = Arc::new(AtomicUsize::new(0));
        let after = Arc::clone(&open);
        let main = async move {
            open.fetch_add(1, SeqCst);
            let resource = Tracked::new(());
            let release = async |resource| {
                work(1).await;
                open.fetch_sub(1, SeqCst);
                drop(resource);
            };
            bracket(resource, async |_resource| work(1).await, release).await;
        };
        let check = move |how| {
            assert!(
                after.load(SeqCst) == 0 || how == Injection::Dropped,
                "{how}"
            );
        };
        (main, check)
    };
    Builder::new().seeds(20).cancel_everywhere_with(program);
    testing::exhaust(2, || program().0);
}

#[test]
fn finalizers_of_tasks() {
    through_everything(|| {
        ends(group(async |g| {
            g.spawn(async { Ok(finally(work(1), work(1)).await) });
            g.spawn_local(async { Ok(finally(work(1), work(1)).await) });
            g.spawn(fails(1));
            Ok(())
        }))
    });
}

#[test]
fn intervals() {
    through_everything(|| async {
        let mut ticks = interval(TICK);
        for _ in 0..3 {
            ticks.tick().await;
            checkpoint().await;
        }
    });
}

#[test]
fn gathers() {
    through_everything(|| async {
        let two = gather((async { Ok::<_, Error>(work(1).await) }, fails(2)));
        assert!(two.await.is_err());
        let all = gather_all((0..2).map(async |ticks| Ok::<_, Error>(work(ticks).await)));
        assert!(all.await.is_ok());
        let settled = gather_settled([fails(1), fails(0)]).await;
        assert_eq!(settled.len(), 2);
    });
}

#[test]
fn races() {
    through_everything(|| async {
        let slow = finally(work(5), work(1));
        match race((work(1), slow)).await {
            OneOf2::First(()) => {}
            OneOf2::Second(()) => unreachable!("it takes longer"),
        }
        let first = first_ok([fails(0), fails(1)]).await;
        assert!(first.is_err());
    });
}

#[test]
fn quorums() {
    through_everything(|| async {
        let some = quorum(
            2,
            (0..3).map(async |n| Ok::<_, Error>((work(n).await, n).1)),
        );
        assert_eq!(some.await.map(|values| values.len()).ok(), Some(2));
    });
}

#[test]
fn staggered_starts() {
    through_everything(|| async {
        let tries = (0..3).map(async |n| {
            work(2).await;
            if n == 0 { Err("no route") } else { Ok(n) }
        });
        assert!(staggered(TICK, tries).await.is_ok());
    });
}

#[test]
fn as_they_are_completed() {
    through_everything(|| async {
        let mut outputs = as_completed((0..3).map(work));
        assert!(outputs.next().await.is_some());
        outputs.cancel().await;
        let tasks = group(async |g| {
            let tasks: Vec<_> = (0..2)
                .map(|n| g.spawn(async move { Ok(work(n).await) }))
                .collect();
            let mut ends = g.as_completed(tasks);
            while let Some(end) = ends.next().await {
                drop(end);
            }
            Ok(())
        });
        ends(tasks).await;
    });
}

#[test]
fn join_policies() {
    through_everything(|| async {
        let first = TaskGroup::builder().join(policies::first_ok::<u32, Error>());
        let first = first.run(async |g| {
            for n in 0..2 {
                g.spawn(async move {
                    work(n).await;
                    Ok(n)
                });
            }
            Ok(())
        });
        drop(first.await);
        let values = TaskGroup::builder().join(policies::values::<u32, Error>(Policy::FailFast));
        let values = values.timeout(2 * TICK).run(async |g| {
            for n in [0, 5] {
                g.spawn_local(async move {
                    work(n).await;
                    Ok(n)
                });
            }
            Ok(())
        });
        drop(values.await);
    });
}

#[test]
fn streams() {
    through_everything(|| async {
        let numbers = produce(1, async |items| {
            for number in 0..3 {
                checkpoint().await;
                items.send(Tracked::new(number)).await?;
            }
            Ok::<(), ConsumerGone<_>>(())
        });
        let numbers = numbers.map(|item| item.expect("the producer does not fail"));
        let mut mapped = std::pin::pin!(numbers.map_concurrent(2, async |item| {
            work(1).await;
            Ok::<_, Error>(*item)
        }));
        let mut next = 0;
        while let Some(number) = mapped.next().await {
            assert_eq!(number.ok(), Some(next));
            next += 1;
        }
        assert_eq!(next, 3);
    });
}

#[test]
fn selections() {
    through_everything(|| {
        ends(group(async |g| {
            let (tx, rx) = channel::bounded(1);
            g.spawn(async move {
                for number in 0..2 {
                    tx.send(Tracked::new(number)).await?;
                    sleep(TICK).await;
                }
                Ok(())
            });
            for _ in 0..4 {
                match select((rx.recv(), sleep(TICK))).await {
                    OneOf2::First(Err(_)) => break,
                    OneOf2::First(Ok(item)) => drop(item),
                    OneOf2::Second(()) => checkpoint().await,
                }
            }
            Ok(())
        }))
    });
}

#[test]
fn channels() {
    through_everything(|| {
        ends(group(async |g| {
            let (tx, rx) = channel::bounded(1);
            let (last, mut end) = channel::oneshot();
            g.spawn(async move {
                for number in 0..3 {
                    tx.send(Tracked::new(number)).await?;
                }
                Ok(())
            });
            g.spawn(async move {
                let mut sum = 0;
                while let Ok(item) = rx.recv().await {
                    sum += *item;
                }
                last.send(sum)?;
                Ok(())
            });
            assert_eq!((&mut end).await?, 3);
            Ok(())
        }))
    });
}

#[test]
fn locks_and_permits() {
    through_everything(|| async {
        let lock = Arc::new(Mutex::new(0));
        let permits = Arc::new(Semaphore::new(1));
        let limiter = Limiter::new(1);
        let both = group(async |g| {
            for _ in 0..2 {
                let (lock, permits, limiter) =
                    (Arc::clone(&lock), Arc::clone(&permits), limiter.clone());
                g.spawn(async move {
                    let _permit = permits.acquire().await;
                    let _weight = limiter.acquire().await;
                    let mut number = lock.lock().await;
                    let seen = *number;
                    checkpoint().await;
                    *number = seen + 1;
                    Ok(())
                });
            }
            Ok(())
        });
        ends(both).await;
        // Whatever has become of the tasks: nobody holds anything any more.
        assert!(lock.try_lock().is_some());
        assert_eq!((permits.available(), limiter.available()), (1, 1));
    });
}

#[test]
fn a_permit_on_its_way_to_a_task_that_is_cancelled_goes_to_the_next() {
    through_everything(|| {
        ends(group(async |g| {
            let permits = Arc::new(Semaphore::new(1));
            let holds = |ticks: u32| {
                let permits = Arc::clone(&permits);
                async move {
                    let _permit = permits.acquire().await;
                    Ok(sleep(ticks * TICK).await)
                }
            };
            let first = g.spawn(holds(1));
            let second = g.spawn(holds(0));
            let third = g.spawn(holds(0));
            // The moment in which the first gives it back.
            sleep(TICK).await;
            second.cancel();
            let _ended = (first.await, second.await);
            // Waits for ever if nobody has got it.
            third.await?;
            assert_eq!(permits.available(), 1);
            Ok(())
        }))
    });
}

#[test]
fn a_notification_on_its_way_to_a_task_that_is_cancelled_goes_to_the_next() {
    through_everything(|| {
        ends(group(async |g| {
            let (lock, changed) = (Arc::new(Mutex::new(0)), Arc::new(Condition::new()));
            let waits = || {
                let (lock, changed) = (Arc::clone(&lock), Arc::clone(&changed));
                async move {
                    let mut news = lock.lock().await;
                    while *news == 0 {
                        news = changed.wait(news).await;
                    }
                    *news -= 1;
                    Ok(())
                }
            };
            let (one, other) = (g.spawn(waits()), g.spawn(waits()));
            sleep(TICK).await;
            *lock.lock().await += 1;
            changed.notify_one();
            checkpoint().await;
            if !one.is_finished() && !other.is_finished() {
                one.cancel();
                let _ended = one.await;
                // Waits for ever if the notification went with the one that was cancelled.
                other.await?;
            } else {
                g.cancel();
            }
            Ok(())
        }))
    });
}

#[test]
fn events_conditions_and_barriers() {
    through_everything(|| async {
        let event = Arc::new(Event::new());
        let (lock, changed) = (Arc::new(Mutex::new(0)), Arc::new(Condition::new()));
        let barrier = Arc::new(Barrier::new(2));
        let all = group(async |g| {
            for _ in 0..2 {
                let (event, barrier) = (Arc::clone(&event), Arc::clone(&barrier));
                let (lock, changed) = (Arc::clone(&lock), Arc::clone(&changed));
                g.spawn(async move {
                    event.wait().await;
                    barrier.wait().await;
                    *lock.lock().await += 1;
                    changed.notify_one();
                    Ok(())
                });
            }
            checkpoint().await;
            event.set();
            let mut number = lock.lock().await;
            while *number < 2 {
                number = changed.wait(number).await;
            }
            Ok(())
        });
        ends(all).await;
        assert_eq!((barrier.waiting(), changed.waiting()), (0, 0));
    });
}

#[test]
fn cells_and_shared_locks() {
    through_everything(|| async {
        let cell = Arc::new(OnceCell::new());
        let shared = Arc::new(RwLock::new(0));
        let all = group(async |g| {
            for number in 0..2 {
                let (cell, shared) = (Arc::clone(&cell), Arc::clone(&shared));
                g.spawn(async move {
                    let init = async { (work(1).await, Tracked::new(number)).1 };
                    let value = **cell.get_or_init(async || init.await).await;
                    assert!(value < 2);
                    let seen = *shared.read().await;
                    *shared.write().await += 1;
                    assert!(seen < 2);
                    Ok(())
                });
            }
            Ok(())
        });
        ends(all).await;
        assert!(shared.try_write().is_some());
    });
}

local! {
    static REQUEST: u32;
}

#[test]
fn task_locals() {
    through_everything(|| {
        REQUEST.bind(
            7,
            ends(group(async |g| {
                g.spawn(async {
                    work(1).await;
                    assert_eq!(REQUEST.get(), Some(7));
                    Ok(())
                });
                let inner = REQUEST.bind(8, async {
                    work(1).await;
                    assert_eq!(REQUEST.get(), Some(8));
                });
                finally(inner, async {
                    work(0).await;
                    assert_eq!(REQUEST.get(), Some(7));
                })
                .await;
                Ok(())
            })),
        )
    });
}

#[test]
fn a_group_dropped_by_the_combinator_of_another_crate() {
    through_everything(|| {
        ends(group(async |_g| {
            let inner = group(async |g| {
                g.defer(work(1));
                g.spawn(async { Ok(finally(work(3), work(1)).await) });
                Ok(work(5).await)
            });
            futures_lite::future::or(ends(inner), work(1)).await;
            Ok(())
        }))
    });
}

#[test]
fn a_cancelled_group_waits_for_what_is_dropped_in_it() {
    through_everything(|| async {
        let cleaned_up = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(AtomicUsize::new(0));
        let counts = (Arc::clone(&begun), Arc::clone(&cleaned_up));
        let cancelled = group(async move |g| {
            let inner = group(async move |g| {
                g.spawn(async move {
                    begun.fetch_add(1, SeqCst);
                    let cleanup = async move {
                        work(1).await;
                        cleaned_up.fetch_add(1, SeqCst);
                    };
                    Ok(finally(work(9), cleanup).await)
                });
                Ok(work(9).await)
            });
            sleep(TICK).await;
            let inner = ends(inner);
            // The race drops the inner group, in this one, which is cancelled by then.
            futures_lite::future::or(inner, async {
                sleep(TICK).await;
                g.cancel();
            })
            .await;
            Ok(())
        });
        ends(cancelled).await;
        let (begun, cleaned_up) = (counts.0.load(SeqCst), counts.1.load(SeqCst));
        assert_eq!(begun, cleaned_up, "the group has returned too early");
    });
}

#[test]
fn a_value_that_is_there_beats_a_cancellation_that_comes_later() {
    testing::explore(50, || async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let value = scope.run(async move {
            let both = group(async |g| {
                let task = g.spawn(async { Ok(work(1).await) });
                task.await?;
                handle.cancel();
                Ok(7)
            });
            both.await
        });
        let value = value.await.ok().and_then(Result::ok);
        assert_eq!(value, Some(7));
    });
}

#[test]
fn a_spawner_that_outlives_the_body() {
    through_everything(|| {
        ends(group(async |g| {
            let spawner = g.spawner();
            g.spawn(async move {
                work(1).await;
                // The body may have ended, but the group has not: this task is in it.
                spawner.spawn(async { Ok(work(1).await) });
                Ok(())
            });
            Ok(())
        }))
    });
}
