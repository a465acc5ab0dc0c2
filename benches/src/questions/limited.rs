//! W11: what does a job cost if at most 64 may be alive at a time?
//!
//! The jobs yield once, so that several of them are alive.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_lock::Semaphore;
use futures::stream::{self, StreamExt};
use headcount::TaskGroup;
use tokio::task::JoinSet;

use crate::{
    hosts::{self, EXECUTOR},
    question::{OURS, Question, RAW},
    work::yield_once,
};

const LIMIT: usize = 64;

/// Asks it.
pub fn question() -> Question {
    Question::new("W11", "at most 64 at a time", &[100_000])
        .local(OURS, &hosts::HEADCOUNT, ours)
        .local(RAW, &hosts::RAW, raw)
        .local("async-executor, 64 pullers", &hosts::RAW, pullers)
        .send("tokio JoinSet", &hosts::TOKIO, join_set)
        .send("tokio JoinSet, 1 thread", &hosts::TOKIO_ONE, join_set)
        .local("buffer_unordered", &hosts::PLAIN, buffered)
        .python("limited")
}

async fn ours(n: usize) {
    let joined = TaskGroup::builder().limit(LIMIT).run(async |g| {
        for _ in 0..n {
            g.spawn(async {
                yield_once().await;
                Ok(())
            });
        }
        Ok(())
    });
    joined.await.expect("nothing fails");
}

async fn raw(n: usize) {
    let semaphore = Arc::new(Semaphore::new(LIMIT));
    let mut tasks = Vec::with_capacity(n);
    for _ in 0..n {
        let permit = semaphore.acquire_arc().await;
        tasks.push(EXECUTOR.spawn(async move {
            yield_once().await;
            drop(permit);
        }));
    }
    for task in tasks {
        task.await;
    }
}

async fn pullers(n: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let pull = |_| {
        let next = Arc::clone(&next);
        EXECUTOR.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < n {
                yield_once().await;
            }
        })
    };
    let tasks: Vec<_> = (0..LIMIT).map(pull).collect();
    for task in tasks {
        task.await;
    }
}

async fn join_set(n: usize) {
    let mut set = JoinSet::new();
    for _ in 0..n {
        if set.len() >= LIMIT {
            set.join_next().await;
        }
        set.spawn(yield_once());
    }
    while let Some(joined) = set.join_next().await {
        joined.expect("nothing fails");
    }
}

async fn buffered(n: usize) {
    let jobs = stream::iter((0..n).map(|_| yield_once()));
    jobs.buffer_unordered(LIMIT).for_each(async |()| {}).await;
}
