//! W6: what does it cost to collect the results of children in order?

use std::hint::black_box;

use futures::stream::{FuturesOrdered, StreamExt};
use futures_concurrency::prelude::*;
use headcount::group;

use crate::{
    hosts::{self, EXECUTOR, STATIC_EXECUTOR},
    question::{OURS, Question, RAW},
};

/// Asks it.
pub fn question() -> Question {
    Question::new(
        "W6",
        "results in order",
        &[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
    )
    .quick(&[1, 10, 1_000, 100_000])
    .local(OURS, &hosts::HEADCOUNT, ours)
    .local(RAW, &hosts::RAW, raw)
    .local("StaticExecutor", &hosts::STATIC, static_executor)
    .send("tokio JoinSet", &hosts::TOKIO, join_set)
    .send("tokio JoinSet, 1 thread", &hosts::TOKIO_ONE, join_set)
    .local("FuturesOrdered", &hosts::PLAIN, ordered)
    .local("futures-concurrency", &hosts::PLAIN, concurrency)
    .at_most(10_000)
    .local("moro", &hosts::PLAIN, moro)
    .at_most(100_000)
    .python("results")
}

async fn ours(n: usize) {
    let joined = group(async |g| {
        let tasks: Vec<_> = (0..n).map(|i| g.spawn(async move { Ok(i) })).collect();
        let mut results = Vec::with_capacity(n);
        for task in tasks {
            results.push(task.await?);
        }
        Ok(results)
    });
    black_box(joined.await.expect("nothing fails"));
}

async fn raw(n: usize) {
    let spawn = |i| EXECUTOR.spawn(async move { i });
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    let mut results = Vec::with_capacity(n);
    for task in tasks {
        results.push(task.await);
    }
    black_box(results);
}

async fn static_executor(n: usize) {
    let spawn = |i| STATIC_EXECUTOR.spawn(async move { i });
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    let mut results = Vec::with_capacity(n);
    for task in tasks {
        results.push(task.await);
    }
    black_box(results);
}

/// A set has no order; as many do who need one, the child says which it is.
async fn join_set(n: usize) {
    let mut set = tokio::task::JoinSet::new();
    for i in 0..n {
        set.spawn(async move { (i, i) });
    }
    let mut results = vec![0; n];
    while let Some(joined) = set.join_next().await {
        let (index, result) = joined.expect("nothing fails");
        results[index] = result;
    }
    black_box(results);
}

async fn ordered(n: usize) {
    let children: FuturesOrdered<_> = (0..n).map(|i| async move { i }).collect();
    black_box(children.collect::<Vec<_>>().await);
}

async fn concurrency(n: usize) {
    let children: Vec<_> = (0..n).map(|i| async move { i }).collect();
    black_box(children.join().await);
}

async fn moro(n: usize) {
    let scope = moro::async_scope!(|scope| {
        let children: Vec<_> = (0..n).map(|i| scope.spawn(async move { i })).collect();
        let mut results = Vec::with_capacity(n);
        for child in children {
            results.push(child.await);
        }
        results
    });
    black_box(scope.await);
}
