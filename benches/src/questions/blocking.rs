//! W13: what does a call cost that blocks its thread, made by a task? W13a: 10 µs of work, W13b: a wait of 1 ms.
//!
//! Each task makes one, and yields its value.

use std::{hint::black_box, thread, time::Duration};

use headcount::{group, unblock};
use tokio::task::{JoinSet, spawn_blocking};

use crate::{
    hosts::{self, EXECUTOR},
    question::{OURS, Question, RAW},
    work::compute,
};

/// Asks it of short calls.
pub fn short() -> Question {
    let title = "tasks with a blocking call of 10 µs each";
    ask(Question::new("W13a", title, &[10, 1_000, 10_000]), || {
        compute(Duration::from_micros(10))
    })
}

/// Asks it of calls that wait.
pub fn long() -> Question {
    let title = "tasks with a blocking call that waits for 1 ms each";
    ask(Question::new("W13b", title, &[10, 100]), || {
        thread::sleep(Duration::from_millis(1))
    })
}

fn ask(question: Question, call: fn()) -> Question {
    question
        .local(OURS, &hosts::HEADCOUNT, move |n| ours(call, n))
        .local(RAW, &hosts::RAW, move |n| raw(call, n))
        .send("tokio JoinSet", &hosts::TOKIO, move |n| join_set(call, n))
}

async fn ours(call: fn(), n: usize) {
    let joined = group(async |g| {
        for _ in 0..n {
            g.spawn(async move {
                unblock(call).await;
                Ok(black_box(()))
            });
        }
        Ok(())
    });
    joined.await.expect("nothing fails");
}

async fn raw(call: fn(), n: usize) {
    let spawn = |_| EXECUTOR.spawn(async move { smol::unblock(call).await });
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    for task in tasks {
        task.await;
    }
}

async fn join_set(call: fn(), n: usize) {
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(async move { spawn_blocking(call).await.expect("nothing fails") });
    }
    while let Some(joined) = set.join_next().await {
        joined.expect("nothing fails");
    }
}
