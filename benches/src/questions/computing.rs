//! W12: do children that compute use all cores at once? W12a: 1 µs of work each, W12b: 10 µs.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use headcount::group;
use tokio::task::JoinSet;

use crate::{
    hosts::{self, EXECUTOR, STATIC_EXECUTOR},
    question::{OURS, Question, RAW},
    work::compute,
};

/// Asks it of short computations.
pub fn short() -> Question {
    const WORK: Duration = Duration::from_micros(1);
    let title = "children with 1 µs of work, from one body";
    ask(Question::new("W12a", title, &[10, 1_000, 10_000]), WORK)
}

/// Asks it of longer computations.
pub fn long() -> Question {
    const WORK: Duration = Duration::from_micros(10);
    let title = "children with 10 µs of work, from one body";
    ask(Question::new("W12b", title, &[10, 1_000, 10_000]), WORK)
}

fn ask(question: Question, work: Duration) -> Question {
    question
        .local(OURS, &hosts::HEADCOUNT, move |n| ours(work, n))
        .local(RAW, &hosts::RAW, move |n| raw(work, n))
        .local("StaticExecutor", &hosts::STATIC, move |n| {
            static_executor(work, n)
        })
        .send("tokio JoinSet", &hosts::TOKIO, move |n| join_set(work, n))
        .local("FuturesUnordered", &hosts::PLAIN, move |n| {
            unordered(work, n)
        })
        .local("rayon::scope", &hosts::RAYON, move |n| rayon(work, n))
}

async fn ours(work: Duration, n: usize) {
    let joined = group(async |g| {
        for _ in 0..n {
            g.spawn(async move {
                compute(work);
                Ok(())
            });
        }
        Ok(())
    });
    joined.await.expect("nothing fails");
}

async fn raw(work: Duration, n: usize) {
    let spawn = |_| EXECUTOR.spawn(async move { compute(work) });
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    for task in tasks {
        task.await;
    }
}

async fn static_executor(work: Duration, n: usize) {
    let spawn = |_| STATIC_EXECUTOR.spawn(async move { compute(work) });
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    for task in tasks {
        task.await;
    }
}

async fn join_set(work: Duration, n: usize) {
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(async move { compute(work) });
    }
    while let Some(joined) = set.join_next().await {
        joined.expect("nothing fails");
    }
}

async fn unordered(work: Duration, n: usize) {
    let child = |_| async move { compute(work) };
    let mut children: FuturesUnordered<_> = (0..n).map(child).collect();
    while children.next().await.is_some() {}
}

async fn rayon(work: Duration, n: usize) {
    rayon::scope(|scope| {
        for _ in 0..n {
            scope.spawn(move |_| compute(work));
        }
    });
}
