//! W1c: what does the first group cost after a pause, when the other threads are asleep?
//!
//! A figure is the time of a whole group of ready children.

use std::{
    thread,
    time::{Duration, Instant},
};

use futures::stream::{FuturesUnordered, StreamExt};
use headcount::group;
use tokio::task::JoinSet;

use crate::{
    hosts::{self, EXECUTOR, STATIC_EXECUTOR},
    question::{OURS, Question, RAW},
};

/// Asks it.
pub fn question() -> Question {
    Question::new("W1c", "first group after a pause; per group", &[1, 10, 100])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, ours)
        .local(RAW, &hosts::RAW, raw)
        .local("StaticExecutor", &hosts::STATIC, static_executor)
        .send("tokio JoinSet", &hosts::TOKIO, join_set)
        .send("tokio JoinSet, 1 thread", &hosts::TOKIO_ONE, join_set)
        .local("FuturesUnordered", &hosts::PLAIN, unordered)
}

/// Long enough for other threads to fall asleep.
fn pause() {
    thread::sleep(Duration::from_millis(2));
}

async fn ours(n: usize) -> Duration {
    pause();
    let start = Instant::now();
    let joined = group(async |g| {
        for _ in 0..n {
            g.spawn(async { Ok(()) });
        }
        Ok(())
    });
    joined.await.expect("nothing fails");
    start.elapsed()
}

async fn raw(n: usize) -> Duration {
    pause();
    let start = Instant::now();
    let tasks: Vec<_> = (0..n).map(|_| EXECUTOR.spawn(async {})).collect();
    for task in tasks {
        task.await;
    }
    start.elapsed()
}

async fn static_executor(n: usize) -> Duration {
    pause();
    let start = Instant::now();
    let tasks: Vec<_> = (0..n).map(|_| STATIC_EXECUTOR.spawn(async {})).collect();
    for task in tasks {
        task.await;
    }
    start.elapsed()
}

async fn join_set(n: usize) -> Duration {
    pause();
    let start = Instant::now();
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(async {});
    }
    while let Some(joined) = set.join_next().await {
        joined.expect("nothing fails");
    }
    start.elapsed()
}

async fn unordered(n: usize) -> Duration {
    pause();
    let start = Instant::now();
    let mut children: FuturesUnordered<_> = (0..n).map(|_| async {}).collect();
    while children.next().await.is_some() {}
    start.elapsed()
}
