//! Channels and coordination, cancelled at every point where a program waits, and under many
//! schedules: nothing is lost, doubled or overtaken, and nobody is left waiting.
#![cfg(feature = "testing")]

mod common;
mod waiting;

use std::sync::{
    Arc, Mutex as StdMutex,
    atomic::{AtomicUsize, Ordering},
};

use common::Census;
use headcount::{
    Error, TaskGroup, channel, checkpoint, group,
    sync::{Barrier, Condition, Event, Limiter, Mutex, OnceCell, RwLock, Semaphore},
    testing,
};
use waiting::now;

/// Counts what has been done, from any task.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn add(&self, number: usize) {
        self.0.fetch_add(number, Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

type Ends<T> = (channel::Sender<T>, channel::Receiver<T>);

/// Two tasks that send two items each, in all ways, and two that receive until the end.
fn traffic<T, M>(
    (tx, rx): Ends<T>,
    make: M,
    sent: Count,
    received: Count,
) -> impl Future<Output = ()> + use<T, M>
where
    T: Send + 'static,
    M: Fn() -> T + Clone + Send + 'static,
{
    let program = group(async move |g: TaskGroup<'_, Error>| {
        for owned in [false, true] {
            let (tx, sent, make) = (tx.clone(), sent.clone(), make.clone());
            g.spawn(async move {
                if tx.send(make()).await.is_ok() {
                    sent.add(1);
                }
                if owned {
                    if let Ok(permit) = tx.reserve_owned().await {
                        permit.send(make());
                        sent.add(1);
                    }
                } else if let Ok(permit) = tx.reserve().await {
                    permit.send(make());
                    sent.add(1);
                }
                Ok(())
            });
            let (rx, received) = (rx.clone(), received.clone());
            g.spawn(async move {
                while let Ok(item) = rx.recv().await {
                    received.add(1);
                    drop(item);
                }
                Ok(())
            });
        }
        drop((tx, rx));
        Ok(())
    });
    async move { drop(program.await) }
}

/// Case 97. Case 123. Case 167. Case 169. Case 172.
#[test]
fn a_channel_cancelled_anywhere_loses_and_doubles_no_item() {
    for make in [
        channel::rendezvous,
        || channel::bounded(1),
        || channel::bounded(2),
        channel::unbounded,
    ] {
        testing::cancel_everywhere_with(|| {
            let (tx, rx) = make();
            let (probe, sent, received) = (rx.clone(), Count::default(), Count::default());
            let program = traffic((tx, rx), || (), sent.clone(), received.clone());
            let check = move |how| {
                assert_eq!(sent.get(), received.get() + probe.len(), "{how}");
                assert_eq!(probe.receiver_count(), 1);
                assert_eq!(probe.sender_count(), 0);
            };
            (program, check)
        });
    }
}

/// Case 169. Every item is received, or disposed of by the hook, or dropped by its maker.
#[test]
fn every_item_of_a_cancelled_channel_is_accounted_for() {
    testing::cancel_everywhere_with(|| {
        let (census, disposed, received) = (Census::default(), Count::default(), Count::default());
        let counter = disposed.clone();
        let ends = channel::Options::new()
            .on_undelivered(move |item| {
                counter.add(1);
                drop(item);
            })
            .bounded(1);
        let maker = census.clone();
        let program = traffic(
            ends,
            move || maker.enter(),
            Count::default(),
            received.clone(),
        );
        let check = move |how| {
            assert_eq!(census.alive(), 0, "{how}");
            assert_eq!(census.entered(), received.get() + disposed.get(), "{how}");
        };
        (program, check)
    });
}

#[test]
fn a_channel_delivers_everything_under_every_schedule() {
    testing::explore(500, || async {
        let (sent, received) = (Count::default(), Count::default());
        traffic(channel::bounded(1), || (), sent.clone(), received.clone()).await;
        assert_eq!((sent.get(), received.get()), (4, 4));
        let (sent, received) = (Count::default(), Count::default());
        traffic(channel::rendezvous(), || (), sent.clone(), received.clone()).await;
        assert_eq!((sent.get(), received.get()), (4, 4));
    });
}

/// Those who got in line, and those who were served, in order.
#[derive(Clone, Default)]
struct Line(Arc<StdMutex<(Vec<usize>, Vec<usize>)>>);

impl Line {
    fn joins(&self, number: usize) {
        self.0.lock().expect("no panic").0.push(number);
    }

    fn is_served(&self, number: usize) {
        self.0.lock().expect("no panic").1.push(number);
    }

    fn assert_in_order(&self) {
        let line = self.0.lock().expect("no panic");
        assert_eq!(line.0, line.1, "first come, first served");
    }
}

/// Case 182. Whoever waits is served in the order in which they came, under every schedule.
#[test]
fn nobody_is_overtaken_under_any_schedule() {
    testing::explore(500, || async {
        let (lock, limiter) = (Arc::new(Mutex::new(())), Limiter::new(3));
        let (tx, rx) = channel::bounded(1);
        let lines: [Line; 3] = Default::default();
        group(async |g| {
            for number in 0..4 {
                let (lock, limiter, tx) = (Arc::clone(&lock), limiter.clone(), tx.clone());
                let [at_lock, at_limiter, at_channel] = lines.clone();
                g.spawn(async move {
                    at_lock.joins(number);
                    let guard = lock.lock().await;
                    at_lock.is_served(number);
                    checkpoint().await;
                    drop(guard);

                    at_limiter.joins(number);
                    let permit = limiter.acquire_weight(number % 3 + 1).await;
                    at_limiter.is_served(number);
                    checkpoint().await;
                    drop(permit);

                    at_channel.joins(number);
                    Ok(tx.send(number).await?)
                });
            }
            drop(tx);
            while let Ok(number) = rx.recv().await {
                lines[2].is_served(number);
                checkpoint().await;
            }
            Ok(())
        })
        .await
        .unwrap();
        // Permits may be granted to several at once, who then run in any order; the last to be let
        // in with others is checked by hand in tests/semaphores.rs.
        lines[0].assert_in_order();
        lines[2].assert_in_order();
    });
}

/// Case 123. Case 178. Case 179. Case 184.
#[test]
fn permits_and_locks_survive_a_cancellation_anywhere() {
    testing::cancel_everywhere_with(|| {
        let semaphore = Arc::new(Semaphore::new(2));
        let limiter = Limiter::new(3);
        let lock = Arc::new(Mutex::new(()));
        let rw_lock = Arc::new(RwLock::new(()));
        let all = (
            Arc::clone(&semaphore),
            limiter.clone(),
            Arc::clone(&lock),
            Arc::clone(&rw_lock),
        );
        let program = async move {
            let group = group(async |g| {
                for number in 0..3 {
                    let (semaphore, limiter, lock, rw_lock) = all.clone();
                    g.spawn(async move {
                        let permit = semaphore.acquire_many(number % 2 + 1).await;
                        checkpoint().await;
                        drop(permit);
                        let permit = limiter.acquire_weight(number + 1).await;
                        checkpoint().await;
                        drop(permit);
                        let guard = lock.lock().await;
                        checkpoint().await;
                        drop(guard);
                        let reader = rw_lock.read().await;
                        checkpoint().await;
                        drop(reader);
                        let writer = rw_lock.write().await;
                        checkpoint().await;
                        drop(writer);
                        Ok(())
                    });
                }
                Ok(())
            });
            drop(group.await);
        };
        let check = move |how| {
            assert_eq!(
                (semaphore.available(), semaphore.waiting()),
                (2, 0),
                "{how}"
            );
            assert_eq!((limiter.in_use(), limiter.waiting()), (0, 0), "{how}");
            assert!(lock.try_lock().is_some(), "{how}");
            assert!(rw_lock.try_write().is_some(), "{how}");
        };
        (program, check)
    });
}

/// Case 187. Case 188.
#[test]
fn events_conditions_barriers_and_cells_survive_a_cancellation_anywhere() {
    testing::cancel_everywhere_with(|| {
        let event = Arc::new(Event::new());
        let shelf = Arc::new((Mutex::new(0), Condition::new()));
        let barrier = Arc::new(Barrier::new(3));
        let cell = Arc::new(OnceCell::new());
        let all = (
            Arc::clone(&event),
            Arc::clone(&shelf),
            Arc::clone(&barrier),
            Arc::clone(&cell),
        );
        let program = async move {
            let group = group(async |g| {
                for number in 0..3 {
                    let (event, shelf, barrier, cell) = all.clone();
                    g.spawn(async move {
                        barrier.wait().await;
                        let made = cell.get_or_init(async || {
                            checkpoint().await;
                            7
                        });
                        assert_eq!(made.await, &7);
                        let (pages, filled) = &*shelf;
                        if number == 0 {
                            event.set();
                            for _ in 0..2 {
                                *pages.lock().await += 1;
                                filled.notify_one();
                                checkpoint().await;
                            }
                        } else {
                            event.wait().await;
                            let guard = pages.lock().await;
                            *filled.wait_until(guard, |pages| *pages > 0).await -= 1;
                        }
                        Ok(())
                    });
                }
                Ok(())
            });
            drop(group.await);
        };
        let check = move |how| {
            assert_eq!((shelf.1.waiting(), barrier.waiting()), (0, 0), "{how}");
            assert!(shelf.0.try_lock().is_some(), "{how}");
            assert_eq!(now(cell.get_or_init(async || 7)), &7, "{how}");
        };
        (program, check)
    });
}

#[test]
fn the_other_channels_survive_a_cancellation_anywhere() {
    testing::cancel_everywhere_with(|| {
        let (census, received) = (Census::default(), Count::default());
        let (maker, counter) = (census.clone(), received.clone());
        let program = async move {
            let (once, answer) = channel::oneshot();
            let (many, mut copies) = channel::broadcast(2);
            let (latest, mut view) = channel::watch(0);
            let group = group(async |g| {
                g.spawn(async move {
                    checkpoint().await;
                    once.send(maker.enter()).ok();
                    for number in 1..=3 {
                        many.send(Arc::new(maker.enter())).ok();
                        latest.send(number).ok();
                        checkpoint().await;
                    }
                    Ok(())
                });
                g.spawn(async move {
                    drop(answer.await?);
                    counter.add(1);
                    while copies.recv().await.is_ok() {}
                    Ok(())
                });
                g.spawn(async move {
                    let mut last = 0;
                    while let Ok(number) = view.changed().await {
                        assert!(*number > last);
                        last = *number;
                    }
                    assert_eq!(last, 3);
                    Ok(())
                });
                Ok(())
            });
            group.await.is_ok()
        };
        let check = move |how| {
            assert_eq!(census.alive(), 0, "{how}");
            assert!(received.get() <= 1);
        };
        (program, check)
    });
}
