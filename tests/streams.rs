//! Streams with concurrent work in them.

mod common;
#[path = "common/every_poll.rs"]
mod every_poll;

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use common::{Census, CountWakes, Gate, Log, everywhere, let_others_run, on_threads, poll_once};
use every_poll::drop_after_every_poll;
use futures_lite::{Stream, StreamExt, future::zip, stream};
use headcount::{
    Aborted, CancelScope, ConcurrentStreamExt, Error, FailureKind, checkpoint, finally, gather,
    group, interval, now, produce, run, shield, sleep, timeout,
};

async fn after<T>(turns: usize, output: T) -> T {
    for _ in 0..turns {
        checkpoint().await;
    }
    output
}

/// Collects the values, and what came in place of more.
async fn split<T, X>(stream: impl Stream<Item = Result<T, X>>) -> (Vec<T>, Vec<X>) {
    let (mut values, mut rest) = (Vec::new(), Vec::new());
    let mut stream = pin!(stream);
    while let Some(item) = stream.next().await {
        match item {
            Ok(value) => values.push(value),
            Err(error) => rest.push(error),
        }
    }
    (values, rest)
}

#[test]
fn values_keep_the_order_of_the_items() {
    everywhere(|| async {
        let mapped = stream::iter([3, 1, 2, 0])
            .map_concurrent(3, async |n| Ok::<_, Error>(after(n, n).await));
        let (values, rest) = split(mapped).await;
        assert_eq!(values, [3, 1, 2, 0]);
        assert!(rest.is_empty());
    });
}

#[test]
fn unordered_values_come_as_they_are_done() {
    everywhere(|| async {
        let mapped =
            stream::iter([3, 1, 2]).map_unordered(3, async |n| Ok::<_, Error>(after(n, n).await));
        assert_eq!(split(mapped).await.0, [1, 2, 3]);
    });
}

#[test]
fn no_more_are_at_work_or_taken_ahead_than_was_said() {
    everywhere(|| async {
        for ordered in [true, false] {
            let (pulled, alive, yielded) = (Cell::new(0), Census::default(), Cell::new(0));
            let source = stream::iter(0..20).inspect(|_| {
                pulled.set(pulled.get() + 1);
                assert!(pulled.get() - yielded.get() <= 3);
            });
            let work = async |n: usize| {
                let _counted = alive.enter();
                assert!(alive.alive() <= 3);
                Ok::<_, Error>(after(n % 4, n).await)
            };
            let count = |_| yielded.set(yielded.get() + 1);
            if ordered {
                source
                    .map_concurrent(3, work)
                    .map(Result::unwrap)
                    .for_each(count)
                    .await;
            } else {
                source
                    .map_unordered(3, work)
                    .map(Result::unwrap)
                    .for_each(count)
                    .await;
            }
            assert_eq!(yielded.get(), 20);
        }
    });
}

#[test]
fn a_failure_cancels_the_others_and_upstream_and_comes_after_the_values_before_it() {
    everywhere(|| async {
        let (log, census) = (Log::default(), Census::default());
        let upstream = census.enter();
        let source = stream::iter(0..).inspect(move |_| {
            let _upstream = &upstream;
        });
        let mapped = source.map_concurrent(3, async |n| {
            let _counted = census.enter();
            match n {
                0 => Ok(n),
                1 => {
                    finally(pending::<()>(), async {
                        let_others_run().await;
                        log.say("cleaned up");
                    })
                    .await;
                    Ok(n)
                }
                2 => after(3, Err("no route")).await,
                _ => pending().await,
            }
        });
        let mut mapped = pin!(mapped);
        assert_eq!(mapped.next().await.unwrap().unwrap(), 0);
        let failed = mapped.next().await.unwrap().unwrap_err();
        assert_eq!(log.entries(), ["cleaned up"]);
        assert_eq!(census.alive(), 0);
        assert_eq!(failed.len(), 1);
        assert_eq!(failed.first().unwrap().task().index(), Some(2));
        assert!(mapped.next().await.is_none());
    });
}

#[test]
fn a_panic_is_a_failure_of_the_stream() {
    everywhere(|| async {
        let mapped = stream::iter(0..3).map_unordered(2, async |n| {
            assert_ne!(n, 1, "boom");
            Ok::<_, Error>(n)
        });
        let (values, rest) = split(mapped).await;
        assert_eq!(values, [0]);
        assert!(matches!(
            rest[0].first().unwrap().kind(),
            FailureKind::Panic(_)
        ));
    });
}

#[test]
fn each_item_is_worked_on_to_the_end() {
    everywhere(|| async {
        let sum = Cell::new(0);
        stream::iter(0..1_000)
            .for_each_concurrent(7, async |n| {
                after(n % 3, ()).await;
                sum.set(sum.get() + n);
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
        assert_eq!(sum.get(), 499_500);
    });
}

#[test]
fn work_that_never_waits_lets_others_run() {
    let endless = stream::iter(0..).for_each_concurrent(4, async |_| Ok::<_, Error>(()));
    assert!(poll_once(pin!(endless)).is_pending());
}

#[test]
fn the_first_failure_ends_the_work_on_all_items() {
    everywhere(|| async {
        let census = Census::default();
        let failed = stream::iter(0..).for_each_concurrent(4, async |n| {
            let _counted = census.enter();
            shield(checkpoint()).await;
            if n == 5 {
                Err(Error::from("no"))
            } else {
                after(n, Ok(())).await
            }
        });
        assert_eq!(failed.await.unwrap_err().len(), 1);
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn a_timeout_around_the_work_waits_for_the_finalizers_in_it() {
    everywhere(|| async {
        let log = Log::default();
        let work = stream::iter(0..).for_each_concurrent(3, async |_| {
            finally(pending::<()>(), async {
                let_others_run().await;
                log.say("cleaned up");
            })
            .await;
            Ok::<_, Error>(())
        });
        assert!(timeout(Duration::from_millis(1), work).await.is_err());
        assert_eq!(log.entries().len(), 3);
    });
}

#[test]
fn a_timeout_round_the_wait_for_one_item_loses_none() {
    everywhere(|| async {
        let gates: Vec<_> = (0..4).map(|_| Gate::default()).collect();
        let mapped = stream::iter(0..4).map_concurrent(2, async |n: usize| {
            gates[n].wait().await;
            checkpoint().await;
            Ok::<_, Error>(n)
        });
        let mut mapped = pin!(mapped);
        for (n, gate) in gates.iter().enumerate() {
            assert!(timeout(Duration::ZERO, mapped.next()).await.is_err());
            gate.open();
            assert_eq!(mapped.next().await.unwrap().unwrap(), n);
        }
        assert!(mapped.next().await.is_none());
    });
}

#[test]
fn work_that_was_ready_while_the_wait_was_given_up_goes_on_with_the_next() {
    everywhere(|| async {
        let (cleaned, ready, last) = (Gate::default(), Gate::default(), Gate::default());
        let mapped = stream::iter(0..2).map_unordered(2, async |n| {
            if n == 0 {
                shield(cleaned.wait()).await;
                last.wait().await;
            } else {
                ready.wait().await;
            }
            Ok::<_, Error>(n)
        });
        let mut mapped = pin!(mapped);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let wait = async { Ok::<_, Error>(scope.run(mapped.next()).await) };
        let give_up = async {
            let_others_run().await;
            handle.cancel();
            let_others_run().await;
            // The shield keeps the wait from ending. What is not protected is not polled meanwhile.
            ready.open();
            let_others_run().await;
            cleaned.open();
            Ok(())
        };
        let (given_up, ()) = gather((wait, give_up)).await.unwrap();
        assert!(given_up.is_err());
        assert_eq!(mapped.next().await.unwrap().unwrap(), 1);
        last.open();
        assert_eq!(mapped.next().await.unwrap().unwrap(), 0);
        assert!(mapped.next().await.is_none());
    });
}

#[test]
fn work_that_was_ready_with_the_last_item_of_a_cancelled_wait_goes_on_with_the_next() {
    everywhere(|| async {
        let (protected, ready) = (Gate::default(), Gate::default());
        let mapped = stream::iter(0..2).map_unordered(2, async |n| {
            if n == 0 {
                shield(protected.wait()).await;
            } else {
                ready.wait().await;
            }
            Ok::<_, Error>(n)
        });
        let mut mapped = pin!(mapped);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let wait = async { Ok::<_, Error>(scope.run(mapped.next()).await) };
        let give_up = async {
            let_others_run().await;
            handle.cancel();
            protected.open();
            ready.open();
            Ok(())
        };
        let (item, ()) = gather((wait, give_up)).await.unwrap();
        // It was there in the step of the cancellation.
        assert_eq!(item.unwrap().unwrap().unwrap(), 0);
        assert_eq!(mapped.next().await.unwrap().unwrap(), 1);
        assert!(mapped.next().await.is_none());
    });
}

#[test]
fn a_slow_consumer_can_be_cancelled_whatever_is_in_the_stream() {
    everywhere(|| async {
        let census = Census::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cut = scope.run(async {
            let mapped = stream::iter(0..2).map_unordered(2, async |n| {
                let _counted = census.enter();
                if n == 1 {
                    shield(pending::<()>()).await;
                }
                Ok::<_, Error>(n)
            });
            let mut mapped = pin!(mapped);
            assert_eq!(mapped.next().await.unwrap().unwrap(), 0);
            handle.cancel();
            pending::<()>().await;
        });
        assert!(cut.await.is_err());
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn dropped_after_any_poll_a_stream_leaves_nothing_behind() {
    // Finalizers are dropped on purpose, which a test run takes for a mistake.
    on_threads(|| async {
        let census = Census::default();
        let check = || assert_eq!(census.alive(), 0);
        let work = async |n: usize| {
            let counted = census.enter();
            shield(after(n % 3, ())).await;
            finally(after(n % 2, ()), checkpoint()).await;
            Ok::<_, Error>(counted)
        };
        let made = || stream::iter(0..5).map_concurrent(2, work).count();
        assert!(drop_after_every_poll(made, check).await > 2);
        let made = || stream::iter(0..5).map_unordered(3, work).count();
        drop_after_every_poll(made, check).await;
        let made = || async {
            let numbers = produce(2, async |tx| {
                let counted = census.enter();
                for _ in 0..5 {
                    tx.send(census.enter()).await?;
                    finally(checkpoint(), checkpoint()).await;
                }
                drop(counted);
                Ok::<_, Error>(())
            });
            numbers.count().await
        };
        drop_after_every_poll(made, check).await;
    });
}

#[test]
fn tasks_of_a_parallel_map_belong_to_the_group_of_the_spawner() {
    everywhere(|| async {
        let values = group(async |g| {
            let ordered = stream::iter([3, 1, 2])
                .map_parallel(2, g.spawner(), |n| async move { Ok(after(n, n).await) });
            let (values, rest) = split(ordered).await;
            assert!(rest.is_empty());
            let unordered = stream::iter([3, 1, 2]).map_parallel_unordered(
                2,
                g.spawner(),
                |n| async move { Ok(n) },
            );
            let (mut more, _) = split(unordered).await;
            more.sort_unstable();
            Ok((values, more))
        });
        assert_eq!(values.await.unwrap(), (vec![3, 1, 2], vec![1, 2, 3]));
    });
}

#[test]
fn a_failure_of_a_parallel_map_is_one_of_the_group() {
    everywhere(|| async {
        let gate = Gate::default();
        let failed = headcount::TaskGroup::builder()
            .policy(headcount::Policy::Collect)
            .run(async |g| {
                let mapped = stream::iter(0..).map_parallel(3, g.spawner(), |n| {
                    let wait = gate.wait();
                    async move {
                        match n {
                            0 => Ok(n),
                            1 => {
                                wait.await;
                                Err("no route".into())
                            }
                            _ => pending().await,
                        }
                    }
                });
                let mut mapped = pin!(mapped);
                assert_eq!(mapped.next().await, Some(Ok(0)));
                gate.open();
                assert_eq!(mapped.next().await, Some(Err(Aborted::Failed)));
                assert_eq!(mapped.next().await, None);
                Ok(())
            });
        assert_eq!(failed.await.unwrap_err().len(), 1);
    });
}

#[test]
fn leaving_a_parallel_map_cancels_its_tasks() {
    everywhere(|| async {
        let alive = Census::default();
        group(async |g| {
            let counting = alive.clone();
            let mapped = stream::iter(0..).map_parallel_unordered(3, g.spawner(), move |n| {
                let counted = counting.enter();
                async move {
                    let _counted = counted;
                    if n > 0 {
                        finally(pending::<()>(), let_others_run()).await;
                    }
                    Ok(n)
                }
            });
            let mut mapped = pin!(mapped);
            assert_eq!(mapped.next().await, Some(Ok(0)));
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(alive.alive(), 0);
    });
}

#[test]
fn merged_streams_take_turns_and_end_together() {
    everywhere(|| async {
        let merged = stream::iter([1, 3, 5, 7]).merge(stream::iter([2, 4]));
        assert_eq!(merged.collect::<Vec<_>>().await, [1, 2, 3, 4, 5, 7]);
        let endless = stream::repeat(1).merge(stream::repeat(2));
        assert_eq!(endless.take(5).collect::<Vec<_>>().await, [1, 2, 1, 2, 1]);
        let silent = stream::pending().merge(stream::iter([1, 2]));
        assert_eq!(silent.take(2).collect::<Vec<_>>().await, [1, 2]);
    });
}

#[test]
fn chunks_are_as_large_as_was_said_or_as_was_there_in_time() {
    everywhere(|| async {
        let full = stream::iter(0..5).chunks_within(2, Duration::MAX);
        assert_eq!(
            full.collect::<Vec<_>>().await,
            [vec![0, 1], vec![2, 3], vec![4]]
        );
        let nothing = stream::empty::<()>().chunks_within(2, Duration::ZERO);
        assert_eq!(nothing.count().await, 0);
        let late = stream::iter([1, 2]).chain(stream::pending());
        let mut late = pin!(late.chunks_within(9, Duration::from_millis(2)));
        assert_eq!(late.next().await, Some(vec![1, 2]));
        let last = Box::pin(stream::once_future(async {
            sleep(Duration::from_millis(3)).await;
            3
        }));
        let mut early = pin!(
            stream::iter([1, 2])
                .chain(last)
                .chunks_within(9, Duration::ZERO)
        );
        assert_eq!(early.next().await, Some(vec![1, 2]));
        assert_eq!(early.next().await, Some(vec![3]));
        assert_eq!(early.next().await, None);
    });
}

#[test]
fn throttled_items_keep_their_distance_and_none_is_lost() {
    everywhere(|| async {
        let start = now();
        let period = Duration::from_millis(3);
        let slowed = stream::iter(0..3).throttle(period);
        assert_eq!(slowed.collect::<Vec<_>>().await, [0, 1, 2]);
        assert!(now() - start >= 2 * period);
        let mut once = pin!(stream::iter(0..3).throttle(Duration::MAX));
        assert_eq!(once.next().await, Some(0));
        assert!(poll_once(pin!(once.next())).is_pending());
        assert_eq!(stream::iter(0..3).throttle(Duration::ZERO).count().await, 3);
    });
}

#[test]
fn an_interval_is_a_stream_of_ticks() {
    everywhere(|| async {
        let start = now();
        let period = Duration::from_millis(2);
        let mut beat = interval(period);
        let first = beat.next().await.unwrap();
        let second = beat.tick().await;
        let third = beat.next().await.unwrap();
        assert!(first >= start + period && second >= first + period && third >= second + period);
        assert!(poll_once(pin!(interval(Duration::MAX).next())).is_pending());
    });
}

#[test]
fn a_produced_stream_ends_when_its_producer_does() {
    everywhere(|| async {
        let numbers = produce(1, async |tx| {
            for n in 0..5 {
                tx.send(n).await?;
                after(n, ()).await;
            }
            Ok::<_, Error>(())
        });
        assert_eq!(split(numbers).await.0, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn the_error_of_a_producer_comes_after_what_was_sent_before() {
    everywhere(|| async {
        let numbers = produce(9, async |tx| {
            for n in 0..3 {
                tx.send(n).await?;
            }
            Err(Error::from("no more"))
        });
        let mut numbers = pin!(numbers);
        for n in 0..3 {
            assert_eq!(numbers.next().await.unwrap().unwrap(), n);
        }
        assert_eq!(
            numbers.next().await.unwrap().unwrap_err().to_string(),
            "no more"
        );
        assert!(numbers.next().await.is_none());
        assert!(numbers.next().await.is_none());
    });
}

#[test]
fn a_panic_of_a_producer_comes_after_what_was_sent_before() {
    let seen = RefCell::new(Vec::new());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        run(async {
            let mut numbers = produce(9, async |tx| {
                tx.send(1).await?;
                if true {
                    panic!("boom");
                }
                Ok::<_, Error>(())
            });
            while let Some(number) = numbers.next().await {
                seen.borrow_mut().push(number.unwrap());
            }
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(*seen.borrow(), [1]);
}

#[test]
fn a_producer_waits_while_its_belt_is_full() {
    everywhere(|| async {
        let sent = Cell::new(0);
        let mut numbers = produce(2, async |tx| {
            for n in 0..9 {
                tx.send(n).await?;
                sent.set(n + 1);
            }
            Ok::<_, Error>(())
        });
        assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
        assert_eq!(sent.get(), 2);
        assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
        assert_eq!(sent.get(), 3);
    });
}

/// Case 175.
#[test]
fn a_consumer_that_leaves_cancels_the_producer_and_waits_for_its_cleanup() {
    everywhere(|| async {
        let (log, census) = (Log::default(), Census::default());
        let mut numbers = produce(1, async |tx| {
            finally(
                async {
                    while census.entered() < usize::MAX {
                        tx.send(census.enter()).await?;
                    }
                    Ok::<_, Error>(())
                },
                async {
                    let_others_run().await;
                    log.say("cleaned up");
                },
            )
            .await
        });
        drop(numbers.next().await);
        numbers.cancel().await;
        assert_eq!(log.entries(), ["cleaned up"]);
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn a_producer_that_is_cancelled_with_its_surroundings_cleans_up() {
    everywhere(|| async {
        let log = Log::default();
        let late = timeout(Duration::from_millis(1), async {
            let mut numbers = produce(1, async |tx| {
                finally(pending::<()>(), async { log.say("cleaned up") }).await;
                tx.send(1).await?;
                Ok::<_, Error>(())
            });
            numbers.next().await
        });
        assert!(late.await.is_err());
        assert_eq!(log.entries(), ["cleaned up"]);
    });
}

#[test]
fn waiting_for_a_produced_item_can_be_given_up() {
    everywhere(|| async {
        let gate = Gate::default();
        let mut numbers = produce(1, async |tx| {
            for n in 0..3 {
                gate.wait().await;
                sleep(Duration::from_millis(1)).await;
                tx.send(n).await?;
            }
            Ok::<_, Error>(())
        });
        assert!(timeout(Duration::ZERO, numbers.next()).await.is_err());
        gate.open();
        assert!(timeout(Duration::ZERO, numbers.next()).await.is_err());
        assert_eq!(split(numbers).await.0, [0, 1, 2]);
    });
}

#[test]
fn several_may_send_and_get_their_places_in_order() {
    everywhere(|| async {
        let numbers = produce(1, async |tx| {
            group(async |g| {
                for n in 0..3 {
                    let tx = tx.clone();
                    g.spawn(async move {
                        for _ in 0..10 {
                            tx.send(n).await?;
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
        });
        let (mut numbers, rest) = split(numbers).await;
        assert!(rest.is_empty());
        numbers.sort_unstable();
        assert_eq!(numbers.len(), 30);
        assert_eq!(numbers.iter().filter(|n| **n == 1).count(), 10);
    });
}

#[test]
fn a_send_to_a_stream_that_is_gone_gives_the_item_back() {
    everywhere(|| async {
        let escaped = RefCell::new(None);
        let mut numbers = produce(1, async |tx| {
            tx.send(1).await?;
            *escaped.borrow_mut() = Some(tx);
            Ok::<_, Error>(())
        });
        assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
        drop(numbers);
        let escaped = escaped.into_inner().unwrap();
        assert_eq!(escaped.send(7).await.unwrap_err().0, 7);
    });
}

#[test]
fn a_send_that_is_given_up_was_not_sent_and_gives_its_place_on() {
    everywhere(|| async {
        let mut numbers = produce(1, async |tx| {
            tx.send(0).await?;
            let mut given_up = Box::pin(tx.send(1));
            let mut next = Box::pin(tx.send(2));
            assert!(poll_once(given_up.as_mut()).is_pending());
            assert!(poll_once(next.as_mut()).is_pending());
            drop(given_up);
            next.await?;
            Ok::<_, Error>(())
        });
        assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
        assert_eq!(numbers.next().await.unwrap().unwrap(), 2);
        assert!(numbers.next().await.is_none());
    });
}

#[test]
fn a_send_held_up_by_a_shield_lets_its_place_go() {
    everywhere(|| async {
        let mut numbers = produce(1, async |tx| {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let gate = Gate::default();
            tx.send(0).await?;
            let held_up = scope.run(zip(tx.send(1), shield(gate.wait())));
            let other = async {
                handle.cancel();
                tx.send(2).await.unwrap();
                gate.open();
            };
            assert!(zip(held_up, other).await.0.is_err());
            Ok::<_, Error>(())
        });
        assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
        assert_eq!(numbers.next().await.unwrap().unwrap(), 2);
        assert!(numbers.next().await.is_none());
    });
}

#[test]
fn the_place_of_a_send_that_is_given_up_goes_to_another_task() {
    // With wakers of its own, which stand for tasks.
    on_threads(|| async {
        let escaped = RefCell::new(None);
        let mut numbers = produce(1, async |tx| {
            *escaped.borrow_mut() = Some(tx);
            pending::<Result<(), Error>>().await
        });
        assert!(poll_once(pin!(numbers.next())).is_pending());
        let tx = escaped.take().unwrap();
        tx.send(0).await.unwrap();
        let mut given_up = Box::pin(tx.send(1));
        assert!(poll_once(given_up.as_mut()).is_pending());
        let (wakes, waker) = CountWakes::new();
        let mut next = pin!(tx.send(2));
        let mut cx = Context::from_waker(&waker);
        assert!(next.as_mut().poll(&mut cx).is_pending());

        assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
        assert_eq!(wakes.count(), 0);
        drop(given_up);
        assert_eq!(wakes.count(), 1);
        assert!(next.as_mut().poll(&mut cx).is_ready());
        assert_eq!(numbers.next().await.unwrap().unwrap(), 2);
    });
}

#[test]
fn bad_numbers_are_refused_at_the_caller() {
    fn refused(code: impl FnOnce()) {
        assert!(catch_unwind(AssertUnwindSafe(code)).is_err());
    }
    let fine = |()| ready(Ok::<_, Error>(()));
    refused(|| drop(stream::iter([()]).map_concurrent(0, fine)));
    refused(|| drop(stream::iter([()]).map_unordered(0, fine)));
    refused(|| drop(stream::iter([()]).for_each_concurrent(0, fine)));
    refused(|| drop(stream::iter([()]).chunks_within(0, Duration::ZERO)));
    refused(|| {
        drop(produce(0, |tx: headcount::Producer<()>| async move {
            tx.send(()).await?;
            Ok::<_, Error>(())
        }));
    });
}

#[test]
fn a_parallel_map_runs_on_several_threads() {
    let threads = Arc::new(AtomicUsize::new(0));
    let meet = Arc::new(std::sync::Barrier::new(2));
    headcount::Runtime::builder()
        .threads(2)
        .run(group(async |g| {
            let (threads, meet) = (Arc::clone(&threads), Arc::clone(&meet));
            let mapped = stream::iter(0..2).map_parallel(2, g.spawner(), move |_| {
                let (threads, meet) = (Arc::clone(&threads), Arc::clone(&meet));
                async move {
                    // Passed only if both are being polled at the same time.
                    meet.wait();
                    threads.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                }
            });
            assert_eq!(mapped.count().await, 2);
            Ok(())
        }))
        .unwrap();
    assert_eq!(threads.load(Ordering::SeqCst), 2);
    fn is_send(_: impl Future + Send) {}
    is_send(
        stream::iter([1])
            .map_concurrent(1, |_| ready(Ok::<_, Error>(())))
            .count(),
    );
}
