//! W1: what does a child cost that is ready at once?

use std::hint::black_box;

use futures::stream::{FuturesUnordered, StreamExt};
use futures_concurrency::prelude::*;
use headcount::group;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    hosts::{self, EXECUTOR, STATIC_EXECUTOR},
    question::{OURS, Question, RAW},
};

/// Asks it.
pub fn question() -> Question {
    Question::new(
        "W1",
        "spawn ready children, wait for all",
        &[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
    )
    .quick(&[1, 10, 1_000, 100_000])
    .local(OURS, &hosts::HEADCOUNT, ours)
    .local(RAW, &hosts::RAW, raw)
    .local("StaticExecutor", &hosts::STATIC, static_executor)
    .send("tokio JoinSet", &hosts::TOKIO, join_set)
    .send("tokio TaskTracker+Token", &hosts::TOKIO, task_tracker)
    .send("tokio JoinSet, 1 thread", &hosts::TOKIO_ONE, join_set)
    .local("FuturesUnordered", &hosts::PLAIN, unordered)
    .local("futures-concurrency", &hosts::PLAIN, concurrency)
    .at_most(10_000)
    .local("moro", &hosts::PLAIN, moro)
    .at_most(100_000)
    .local("rayon::scope", &hosts::RAYON, rayon)
    .python("ready")
}

async fn ours(n: usize) {
    let joined = group(async |g| {
        for i in 0..n {
            g.spawn(async move {
                black_box(i);
                Ok(())
            });
        }
        Ok(())
    });
    joined.await.expect("nothing fails");
}

async fn raw(n: usize) {
    let spawn = |i| {
        EXECUTOR.spawn(async move {
            black_box(i);
        })
    };
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    for task in tasks {
        task.await;
    }
}

async fn static_executor(n: usize) {
    let spawn = |i| {
        STATIC_EXECUTOR.spawn(async move {
            black_box(i);
        })
    };
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    for task in tasks {
        task.await;
    }
}

async fn join_set(n: usize) {
    let mut set = JoinSet::new();
    for i in 0..n {
        set.spawn(async move {
            black_box(i);
        });
    }
    while let Some(joined) = set.join_next().await {
        joined.expect("nothing fails");
    }
}

async fn task_tracker(n: usize) {
    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    for i in 0..n {
        let token = token.clone();
        tracker.spawn(async move {
            token
                .run_until_cancelled(async move {
                    black_box(i);
                })
                .await;
        });
    }
    tracker.close();
    tracker.wait().await;
}

async fn unordered(n: usize) {
    let child = |i| async move {
        black_box(i);
    };
    let mut children: FuturesUnordered<_> = (0..n).map(child).collect();
    while children.next().await.is_some() {}
}

async fn concurrency(n: usize) {
    let child = |i| async move {
        black_box(i);
    };
    let children: Vec<_> = (0..n).map(child).collect();
    children.join().await;
}

async fn moro(n: usize) {
    let scope = moro::async_scope!(|scope| {
        for i in 0..n {
            let _detached = scope.spawn(async move {
                black_box(i);
            });
        }
    });
    scope.await;
}

async fn rayon(n: usize) {
    rayon::scope(|scope| {
        for i in 0..n {
            scope.spawn(move |_| {
                black_box(i);
            });
        }
    });
}
