//! W4: what does a node cost in a tree of tasks where every node is a group?

use std::pin::Pin;

use futures::stream::{FuturesUnordered, StreamExt};
use futures_concurrency::prelude::*;
use headcount::{Error, group};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    hosts::{self, EXECUTOR, STATIC_EXECUTOR},
    question::{OURS, Question, RAW},
};

/// How many children a node has.
const FAN_OUT: usize = 10;

/// Asks it.
pub fn question() -> Question {
    Question::new(
        "W4",
        "tree with a fan-out of ten, every node a group",
        &[1_111, 111_111],
    )
    .local(OURS, &hosts::HEADCOUNT, async |n| {
        ours(depth(n)).await.expect("nothing fails");
    })
    .local(RAW, &hosts::RAW, |n| raw(depth(n)))
    .local("StaticExecutor", &hosts::STATIC, |n| {
        static_executor(depth(n))
    })
    .send("tokio JoinSet", &hosts::TOKIO, |n| join_set(depth(n)))
    .send("tokio TaskTracker+Token", &hosts::TOKIO, |n| {
        task_tracker(CancellationToken::new(), depth(n))
    })
    .send("tokio JoinSet, 1 thread", &hosts::TOKIO_ONE, |n| {
        join_set(depth(n))
    })
    .local("FuturesUnordered", &hosts::PLAIN, |n| unordered(depth(n)))
    .local("futures-concurrency", &hosts::PLAIN, |n| {
        concurrency(depth(n))
    })
    .local("moro", &hosts::PLAIN, |n| moro(depth(n)))
    .local("rayon::scope", &hosts::RAYON, async |n| rayon(depth(n)))
    .python("tree")
}

/// How deep a tree of so many nodes is.
fn depth(nodes: usize) -> usize {
    nodes.ilog10().try_into().expect("a small number")
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

fn ours(depth: usize) -> Boxed<Result<(), Error>> {
    Box::pin(async move {
        let joined = group(async |g| {
            if depth > 0 {
                for _ in 0..FAN_OUT {
                    g.spawn(ours(depth - 1));
                }
            }
            Ok(())
        });
        Ok(joined.await?)
    })
}

fn raw(depth: usize) -> Boxed<()> {
    Box::pin(async move {
        if depth > 0 {
            let spawn = |_| EXECUTOR.spawn(raw(depth - 1));
            let tasks: Vec<_> = (0..FAN_OUT).map(spawn).collect();
            for task in tasks {
                task.await;
            }
        }
    })
}

fn static_executor(depth: usize) -> Boxed<()> {
    Box::pin(async move {
        if depth > 0 {
            let spawn = |_| STATIC_EXECUTOR.spawn(static_executor(depth - 1));
            let tasks: Vec<_> = (0..FAN_OUT).map(spawn).collect();
            for task in tasks {
                task.await;
            }
        }
    })
}

fn join_set(depth: usize) -> Boxed<()> {
    Box::pin(async move {
        let mut set = JoinSet::new();
        if depth > 0 {
            for _ in 0..FAN_OUT {
                set.spawn(join_set(depth - 1));
            }
        }
        while let Some(joined) = set.join_next().await {
            joined.expect("nothing fails");
        }
    })
}

fn task_tracker(token: CancellationToken, depth: usize) -> Boxed<()> {
    Box::pin(async move {
        let tracker = TaskTracker::new();
        if depth > 0 {
            for _ in 0..FAN_OUT {
                let token = token.child_token();
                tracker.spawn(async move {
                    let child = task_tracker(token.clone(), depth - 1);
                    token.run_until_cancelled(child).await;
                });
            }
        }
        tracker.close();
        tracker.wait().await;
    })
}

fn unordered(depth: usize) -> Boxed<()> {
    Box::pin(async move {
        let mut children = FuturesUnordered::new();
        if depth > 0 {
            children.extend((0..FAN_OUT).map(|_| unordered(depth - 1)));
        }
        while children.next().await.is_some() {}
    })
}

fn concurrency(depth: usize) -> Boxed<()> {
    Box::pin(async move {
        if depth > 0 {
            let children: Vec<_> = (0..FAN_OUT).map(|_| concurrency(depth - 1)).collect();
            children.join().await;
        }
    })
}

fn moro(depth: usize) -> Boxed<()> {
    Box::pin(async move {
        let scope = moro::async_scope!(|scope| {
            if depth > 0 {
                for _ in 0..FAN_OUT {
                    let _detached = scope.spawn(moro(depth - 1));
                }
            }
        });
        scope.await;
    })
}

fn rayon(depth: usize) {
    rayon::scope(|scope| {
        if depth > 0 {
            for _ in 0..FAN_OUT {
                scope.spawn(move |_| rayon(depth - 1));
            }
        }
    });
}
