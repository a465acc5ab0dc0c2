//! The first of several waits: what `select` promises.

mod common;
#[path = "common/every_poll.rs"]
mod every_poll;

use std::{cell::Cell, future::pending, pin::pin, time::Duration};

use common::{Census, Gate, Log, everywhere, let_others_run, on_threads, poll_once};
use every_poll::drop_after_every_poll;
use futures_lite::{StreamExt, stream};
use headcount::{
    CancelScope, Error, MayLoseExt, OneOf2, OneOf3, channel, checkpoint, finally, group, interval,
    local, produce, select, sleep, sync, timeout,
};

#[test]
fn what_comes_first_is_returned() {
    everywhere(|| async {
        let gate = Gate::default();
        group(async |g| {
            let wait = gate.wait();
            let task = g.spawn(async move {
                wait.await;
                Ok(7)
            });
            let mut items = stream::pending::<()>();
            gate.open();
            let first = select((items.next(), sleep(Duration::MAX), task)).await;
            assert!(matches!(first, OneOf3::Third(Ok(7))));
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn what_does_not_come_first_is_not_lost() {
    everywhere(|| async {
        let gate = Gate::default();
        group(async |g| {
            let wait = gate.wait();
            let mut task = g.spawn(async move {
                wait.await;
                Ok(7)
            });
            let mut ticks = interval(Duration::from_millis(1));
            let mut items = produce(1, async |tx| {
                for n in 0..3 {
                    checkpoint().await;
                    tx.send(n).await?;
                }
                pending::<Result<(), Error>>().await
            });
            let (mut received, mut ticked) = (Vec::new(), 0);
            let value = loop {
                match select((items.next(), ticks.tick(), &mut task)).await {
                    OneOf3::First(item) => received.push(item.unwrap().unwrap()),
                    OneOf3::Second(_) => ticked += 1,
                    OneOf3::Third(value) => break value,
                }
                if received.len() == 3 && ticked > 2 {
                    gate.open();
                }
            };
            assert_eq!((value, received), (Ok(7), vec![0, 1, 2]));
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn receiving_and_waiting_for_permits_loses_nothing() {
    everywhere(|| async {
        group(async |g| {
            let (tx, rx) = channel::bounded(1);
            let permits = sync::Semaphore::new(1);
            let sender = g.spawn(async move {
                for n in 0..20 {
                    tx.send(n).await?;
                    for _ in 0..n % 3 {
                        checkpoint().await;
                    }
                }
                Ok(())
            });
            let mut received = Vec::new();
            loop {
                match select((rx.recv(), permits.acquire(), checkpoint())).await {
                    OneOf3::First(Ok(n)) => received.push(n),
                    OneOf3::First(Err(_closed)) => break,
                    OneOf3::Second(permit) => {
                        drop(permit);
                        checkpoint().await; // A permit is always there: the others have to run.
                    }
                    OneOf3::Third(()) => {}
                }
            }
            sender.await?;
            assert_eq!(received, (0..20).collect::<Vec<_>>());
            assert!(permits.try_acquire().is_some());
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn one_that_is_always_ready_does_not_starve_the_others() {
    // In a test run the schedule decides.
    on_threads(|| async {
        let mut wins = [0; 3];
        for _ in 0..30 {
            let ready = || async {}.may_lose();
            wins[select((ready(), ready(), ready())).await.index()] += 1;
        }
        assert_eq!(wins, [10, 10, 10]);
    });
}

#[test]
fn with_a_bias_it_is_the_order_of_the_tuple() {
    everywhere(|| async {
        for _ in 0..10 {
            let ready = |n| async move { n }.may_lose();
            assert_eq!(
                select((ready(1), ready(2))).biased().await,
                OneOf2::First(1)
            );
        }
        // Also among those that become ready together later on.
        let gates = [Gate::default(), Gate::default()];
        let mut both =
            pin!(select((gates[0].wait().may_lose(), gates[1].wait().may_lose())).biased());
        assert!(poll_once(both.as_mut()).is_pending());
        gates[1].open();
        gates[0].open();
        assert_eq!(both.await, OneOf2::First(()));
    });
}

#[test]
fn what_may_lose_is_cancelled_with_its_cleanup() {
    everywhere(|| async {
        let (log, census) = (Log::default(), Census::default());
        let first = select((
            async {
                let _counted = census.enter();
                finally(pending::<()>(), async {
                    let_others_run().await;
                    log.say("cleaned up");
                })
                .await;
            }
            .may_lose(),
            sleep(Duration::from_millis(1)),
        ));
        assert_eq!(first.await, OneOf2::Second(()));
        assert_eq!(log.entries(), ["cleaned up"]);
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn selects_and_timeouts_and_bindings_of_such_are_accepted() {
    local! {
        static NAME: &'static str;
    }
    everywhere(|| async {
        let inner = select((pending::<()>(), timeout(Duration::MAX, pending::<()>())));
        let scoped = CancelScope::new().run(sleep(Duration::MAX));
        let boxed = Box::pin(sleep(Duration::MAX));
        let mut pinned = pin!(async {
            pending::<()>().await;
        });
        let first = select((
            inner,
            scoped,
            boxed,
            pinned.as_mut(),
            NAME.bind("mine", sleep(Duration::ZERO)),
        ));
        assert_eq!(first.await.index(), 4);
    });
}

#[test]
fn a_borrowed_future_goes_on_where_it_was() {
    everywhere(|| async {
        let steps = Cell::new(0);
        let mut work = pin!(async {
            for _ in 0..5 {
                steps.set(steps.get() + 1);
                checkpoint().await;
            }
            "done"
        });
        let done = loop {
            match select((work.as_mut(), checkpoint())).await {
                OneOf2::First(done) => break done,
                OneOf2::Second(()) => {}
            }
        };
        assert_eq!((done, steps.get()), ("done", 5));
    });
}

#[test]
fn a_cancellation_ends_it() {
    everywhere(|| async {
        let never = select((sleep(Duration::MAX), pending::<()>()));
        assert!(timeout(Duration::from_millis(1), never).await.is_err());
    });
}

#[test]
fn dropped_after_any_poll_it_loses_nothing() {
    everywhere(|| async {
        let census = Census::default();
        let made = || async {
            let mut items = produce(1, async |tx| {
                for _ in 0..3 {
                    checkpoint().await;
                    tx.send(census.enter()).await?;
                }
                Ok::<_, Error>(())
            });
            while !matches!(
                select((items.next(), checkpoint())).await,
                OneOf2::First(None)
            ) {}
        };
        drop_after_every_poll(made, || assert_eq!(census.alive(), 0)).await;
    });
}
