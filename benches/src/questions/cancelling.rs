//! W3: what does it cost to cancel children that wait for ever, until all of them are gone?
//!
//! Each child owns something that counts its own destruction. Where the peer does not know when its
//! children are gone, that count is waited for.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::stream::{FuturesUnordered, StreamExt};
use headcount::group;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    gone::{Alive, One},
    hosts::{self, EXECUTOR, STATIC_EXECUTOR},
    question::{OURS, Question, RAW},
    work::begun,
};

/// Asks it.
pub fn question() -> Question {
    Question::new(
        "W3",
        "cancel children that wait, until all are gone",
        &[10, 1_000, 10_000, 100_000, 1_000_000],
    )
    .quick(&[10, 1_000, 100_000])
    .local(OURS, &hosts::HEADCOUNT, ours)
    .local(RAW, &hosts::RAW, raw)
    .local("StaticExecutor", &hosts::STATIC, static_executor)
    .send("tokio JoinSet", &hosts::TOKIO, join_set)
    .send("tokio TaskTracker+Token", &hosts::TOKIO, task_tracker)
    .send("tokio JoinSet, 1 thread", &hosts::TOKIO_ONE, join_set)
    .local("FuturesUnordered", &hosts::PLAIN, unordered)
    .local("moro", &hosts::PLAIN, moro)
    .python("cancelling")
}

/// What the children of all peers do.
async fn wait(count: Arc<AtomicUsize>, _one: One) {
    count.fetch_add(1, Ordering::Release);
    pending().await
}

async fn ours(n: usize) -> Duration {
    let (count, alive) = <(Arc<AtomicUsize>, Arc<Alive>)>::default();
    let mut start = None;
    let joined = group(async |g| {
        for _ in 0..n {
            let child = wait(Arc::clone(&count), alive.one());
            g.spawn(async {
                child.await;
                Ok(())
            });
        }
        begun(&count, n).await;
        start = Some(Instant::now());
        g.cancel();
        Ok(())
    });
    joined.await.expect("being cancelled is no failure");
    let took = start.expect("the body ran").elapsed();
    assert!(alive.is_none());
    took
}

async fn raw(n: usize) -> Duration {
    let (count, alive) = <(Arc<AtomicUsize>, Arc<Alive>)>::default();
    let spawn = |_| EXECUTOR.spawn(wait(Arc::clone(&count), alive.one()));
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    begun(&count, n).await;
    let start = Instant::now();
    drop(tasks);
    alive.none().await;
    start.elapsed()
}

async fn static_executor(n: usize) -> Duration {
    let (count, alive) = <(Arc<AtomicUsize>, Arc<Alive>)>::default();
    let spawn = |_| STATIC_EXECUTOR.spawn(wait(Arc::clone(&count), alive.one()));
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    begun(&count, n).await;
    let start = Instant::now();
    drop(tasks);
    alive.none().await;
    start.elapsed()
}

async fn join_set(n: usize) -> Duration {
    let (count, alive) = <(Arc<AtomicUsize>, Arc<Alive>)>::default();
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(wait(Arc::clone(&count), alive.one()));
    }
    begun(&count, n).await;
    let start = Instant::now();
    set.shutdown().await;
    let took = start.elapsed();
    assert!(alive.is_none());
    took
}

async fn task_tracker(n: usize) -> Duration {
    let (count, alive) = <(Arc<AtomicUsize>, Arc<Alive>)>::default();
    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    for _ in 0..n {
        let child = wait(Arc::clone(&count), alive.one());
        let token = token.clone();
        tracker.spawn(async move {
            token.run_until_cancelled(child).await;
        });
    }
    begun(&count, n).await;
    let start = Instant::now();
    token.cancel();
    tracker.close();
    tracker.wait().await;
    let took = start.elapsed();
    assert!(alive.is_none());
    took
}

async fn unordered(n: usize) -> Duration {
    let (count, alive) = <(Arc<AtomicUsize>, Arc<Alive>)>::default();
    let child = |_| wait(Arc::clone(&count), alive.one());
    let mut children: FuturesUnordered<_> = (0..n).map(child).collect();
    while count.load(Ordering::Acquire) < n {
        futures_lite::future::poll_once(children.next()).await;
    }
    let start = Instant::now();
    drop(children);
    start.elapsed()
}

async fn moro(n: usize) -> Duration {
    let (count, alive) = <(Arc<AtomicUsize>, Arc<Alive>)>::default();
    let scope = moro::async_scope!(|scope| -> Instant {
        for _ in 0..n {
            let _detached = scope.spawn(wait(Arc::clone(&count), alive.one()));
        }
        begun(&count, n).await;
        scope.terminate(Instant::now()).await
    });
    let took = scope.await.elapsed();
    assert!(alive.is_none());
    took
}
