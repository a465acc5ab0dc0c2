//! P: what is promised without a ratio. Pa: two children that compute for 100 ms each are done
//! together, in about 100 ms on two cores. Pb: a ready child behind one that computes for 10 ms runs
//! soon, while another core is idle, and Pb99: nearly always. Pc: the same as Pa, with a body that
//! computes as well. Pd: a timer wakes in time beside children that are always ready. Pe: children
//! that wait cost no processor time.
//!
//! That a cancellation takes time in proportion to the children is asked by W3.

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_io::Timer;
use cpu_time::ProcessTime;
use futures_lite::future::yield_now;
use headcount::group;
use tokio::task::JoinSet;

use crate::{
    hosts::{self, EXECUTOR},
    question::{OURS, Question, RAW},
    work::{begun, compute},
};

/// Asks how long two computations of so many milliseconds take.
pub fn two() -> Question {
    let title = "two children that compute for n ms; all of it";
    Question::new("Pa", title, &[1, 10, 100])
        .quick(&[10])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, async |n| {
            let joined = group(async |g| {
                for _ in 0..2 {
                    g.spawn(async move {
                        compute(millis(n));
                        Ok(())
                    });
                }
                Ok(())
            });
            joined.await.expect("nothing fails");
        })
        .local(RAW, &hosts::RAW, async |n| {
            let tasks = [0, 1].map(|_| EXECUTOR.spawn(async move { compute(millis(n)) }));
            for task in tasks {
                task.await;
            }
        })
        .send("tokio JoinSet", &hosts::TOKIO, async |n| {
            let mut set = JoinSet::new();
            for _ in 0..2 {
                set.spawn(async move { compute(millis(n)) });
            }
            while set.join_next().await.is_some() {}
        })
        .local("rayon::scope", &hosts::RAYON, async |n| {
            rayon::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(move |_| compute(millis(n)));
                }
            });
        })
}

/// Asks how long a ready child waits behind one that computes for so many milliseconds.
pub fn behind() -> Question {
    let title = "a ready child behind one that computes for n ms; until it runs";
    Question::new("Pb", title, &[10])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, wait_in_ours)
        .local(RAW, &hosts::RAW, wait_in_raw)
        .send("tokio JoinSet", &hosts::TOKIO, wait_in_join_set)
}

/// Asks how long it waits at worst, but for one time in a hundred.
pub fn behind_at_worst() -> Question {
    let title = "the same, the longest but one of a hundred times";
    Question::new("Pb99", title, &[10])
        .quick(&[])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, |n| {
            last_but_one(move || wait_in_ours(n))
        })
        .local(RAW, &hosts::RAW, |n| last_but_one(move || wait_in_raw(n)))
        .send("tokio JoinSet", &hosts::TOKIO, |n| {
            last_but_one(move || wait_in_join_set(n))
        })
}

async fn last_but_one<Fut: Future<Output = Duration>>(wait: impl Fn() -> Fut) -> Duration {
    let mut waits = Vec::new();
    for _ in 0..100 {
        waits.push(wait().await);
    }
    waits.sort_unstable();
    waits[98]
}

async fn wait_in_ours(n: usize) -> Duration {
    let joined = group(async |g| {
        let start = Instant::now();
        g.spawn(async move {
            compute(millis(n));
            Ok(())
        });
        let task = g.spawn(async move { Ok(start.elapsed()) });
        Ok(task.await?)
    });
    joined.await.expect("nothing fails")
}

async fn wait_in_raw(n: usize) -> Duration {
    let start = Instant::now();
    let busy = EXECUTOR.spawn(async move { compute(millis(n)) });
    let waited = EXECUTOR.spawn(async move { start.elapsed() }).await;
    busy.await;
    waited
}

async fn wait_in_join_set(n: usize) -> Duration {
    let start = Instant::now();
    let mut set = JoinSet::new();
    set.spawn(async move {
        compute(millis(n));
        Duration::MAX
    });
    set.spawn(async move { start.elapsed() });
    let mut waited = Duration::MAX;
    while let Some(joined) = set.join_next().await {
        waited = waited.min(joined.expect("nothing fails"));
    }
    waited
}

/// Asks how long a child waits for a body that computes for so many milliseconds.
pub fn body() -> Question {
    let title = "one child that computes for n ms, and a body that does; all of it";
    Question::new("Pc", title, &[10])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, async |n| {
            let joined = group(async |g| {
                g.spawn(async move {
                    compute(millis(n));
                    Ok(())
                });
                compute(millis(n));
                Ok(())
            });
            joined.await.expect("nothing fails");
        })
        .local(RAW, &hosts::RAW, async |n| {
            let task = EXECUTOR.spawn(async move { compute(millis(n)) });
            compute(millis(n));
            task.await;
        })
        .send("tokio JoinSet", &hosts::TOKIO, async |n| {
            let mut set = JoinSet::new();
            set.spawn(async move { compute(millis(n)) });
            compute(millis(n));
            while set.join_next().await.is_some() {}
        })
}

/// How many children keep themselves ready.
const BUSY: usize = 8;

/// Asks how late a timer of so many milliseconds is beside children that are always ready.
pub fn beside() -> Question {
    let title = "a sleep of n ms beside 8 children that are always ready; how late it wakes";
    Question::new("Pd", title, &[1])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, async |n| {
            let stop = Arc::<AtomicBool>::default();
            let joined = group(async |g| {
                for _ in 0..BUSY {
                    let busy = yield_until(Arc::clone(&stop));
                    g.spawn(async {
                        busy.await;
                        Ok(())
                    });
                }
                let start = Instant::now();
                headcount::sleep(millis(n)).await;
                let late = start.elapsed() - millis(n);
                stop.store(true, Ordering::Relaxed);
                Ok(late)
            });
            joined.await.expect("nothing fails")
        })
        .local(RAW, &hosts::RAW, async |n| {
            let stop = Arc::<AtomicBool>::default();
            let spawn = |_| EXECUTOR.spawn(yield_until(Arc::clone(&stop)));
            let tasks: Vec<_> = (0..BUSY).map(spawn).collect();
            let start = Instant::now();
            Timer::after(millis(n)).await;
            let late = start.elapsed() - millis(n);
            stop.store(true, Ordering::Relaxed);
            for task in tasks {
                task.await;
            }
            late
        })
        .send("tokio JoinSet", &hosts::TOKIO, async |n| {
            let stop = Arc::<AtomicBool>::default();
            let mut set = JoinSet::new();
            for _ in 0..BUSY {
                set.spawn(yield_until(Arc::clone(&stop)));
            }
            let start = Instant::now();
            tokio::time::sleep(millis(n)).await;
            let late = start.elapsed() - millis(n);
            stop.store(true, Ordering::Relaxed);
            while set.join_next().await.is_some() {}
            late
        })
}

async fn yield_until(stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        yield_now().await;
    }
}

/// Asks how much of the processors' time so many children take while they wait for a second.
pub fn idle() -> Question {
    const WAIT: Duration = Duration::from_secs(1);

    let title = "n children that wait; processor time that a second of it takes";
    Question::new("Pe", title, &[1_000_000])
        .quick(&[])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, async |n| {
            let count = Arc::<AtomicUsize>::default();
            let joined = group(async |g| {
                for _ in 0..n {
                    let child = wait(Arc::clone(&count));
                    g.spawn(async {
                        child.await;
                        Ok(())
                    });
                }
                begun(&count, n).await;
                headcount::sleep(WAIT / 10).await;
                let start = ProcessTime::now();
                headcount::sleep(WAIT).await;
                let took = start.elapsed();
                g.cancel();
                Ok(took)
            });
            joined.await.expect("being cancelled is no failure")
        })
        .local(RAW, &hosts::RAW, async |n| {
            let count = Arc::<AtomicUsize>::default();
            let spawn = |_| EXECUTOR.spawn(wait(Arc::clone(&count)));
            let tasks: Vec<_> = (0..n).map(spawn).collect();
            begun(&count, n).await;
            Timer::after(WAIT / 10).await;
            let start = ProcessTime::now();
            Timer::after(WAIT).await;
            let took = start.elapsed();
            drop(tasks);
            took
        })
        .send("tokio JoinSet", &hosts::TOKIO, async |n| {
            let count = Arc::<AtomicUsize>::default();
            let mut set = JoinSet::new();
            for _ in 0..n {
                set.spawn(wait(Arc::clone(&count)));
            }
            begun(&count, n).await;
            tokio::time::sleep(WAIT / 10).await;
            let start = ProcessTime::now();
            tokio::time::sleep(WAIT).await;
            let took = start.elapsed();
            set.shutdown().await;
            took
        })
}

async fn wait(count: Arc<AtomicUsize>) {
    count.fetch_add(1, Ordering::Release);
    pending().await
}

fn millis(n: usize) -> Duration {
    Duration::from_millis(n.try_into().expect("few"))
}
