//! W5: one of n fails; how long until its siblings are gone and the group has returned?
//!
//! All of it counts, the spawning too. A figure is the time of a whole group.

use std::{
    future::{pending, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use futures::{
    stream::{FuturesUnordered, StreamExt},
    task::AtomicWaker,
};
use headcount::group;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    gone::{Alive, One},
    hosts::{self, EXECUTOR, STATIC_EXECUTOR},
    question::{OURS, Question, RAW},
};

/// Asks it.
pub fn question() -> Question {
    Question::new(
        "W5",
        "one fails, until the group has returned; per group",
        &[10, 1_000, 100_000],
    )
    .quick(&[10, 1_000])
    .per(|_| 1)
    .local(OURS, &hosts::HEADCOUNT, ours)
    .local(RAW, &hosts::RAW, raw)
    .local("StaticExecutor", &hosts::STATIC, static_executor)
    .send("tokio JoinSet", &hosts::TOKIO, join_set)
    .send("tokio TaskTracker+Token", &hosts::TOKIO, task_tracker)
    .send("tokio JoinSet, 1 thread", &hosts::TOKIO_ONE, join_set)
    .local("FuturesUnordered", &hosts::PLAIN, unordered)
    .local("moro", &hosts::PLAIN, moro)
    .python("failing")
}

/// A failure that somebody waits for, for peers that have no such thing.
#[derive(Default)]
struct Failure {
    failed: AtomicBool,
    waker: AtomicWaker,
}

impl Failure {
    fn note(&self) {
        self.failed.store(true, Ordering::Release);
        self.waker.wake();
    }

    async fn noted(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.failed.load(Ordering::Acquire) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

async fn ours(n: usize) {
    let joined = group(async |g| {
        for i in 1..=n {
            g.spawn(async move {
                if i == n {
                    return Err::<(), _>("no route".into());
                }
                pending().await
            });
        }
        pending::<Result<(), _>>().await
    });
    joined.await.expect_err("one fails");
}

async fn raw(n: usize) {
    let (failure, alive) = <(Arc<Failure>, Arc<Alive>)>::default();
    let child = |i| {
        let (failure, one): (_, One) = (Arc::clone(&failure), alive.one());
        EXECUTOR.spawn(async move {
            let _one = one;
            if i < n {
                pending::<()>().await;
            }
            failure.note();
        })
    };
    let tasks: Vec<_> = (1..=n).map(child).collect();
    failure.noted().await;
    drop(tasks);
    alive.none().await;
}

async fn static_executor(n: usize) {
    let (failure, alive) = <(Arc<Failure>, Arc<Alive>)>::default();
    let child = |i| {
        let (failure, one): (_, One) = (Arc::clone(&failure), alive.one());
        STATIC_EXECUTOR.spawn(async move {
            let _one = one;
            if i < n {
                pending::<()>().await;
            }
            failure.note();
        })
    };
    let tasks: Vec<_> = (1..=n).map(child).collect();
    failure.noted().await;
    drop(tasks);
    alive.none().await;
}

async fn join_set(n: usize) {
    let mut set = JoinSet::new();
    for i in 1..=n {
        set.spawn(async move {
            if i < n {
                pending::<()>().await;
            }
            Err::<(), _>("no route")
        });
    }
    while let Some(joined) = set.join_next().await {
        if joined.expect("nothing panics").is_err() {
            set.shutdown().await;
        }
    }
}

async fn task_tracker(n: usize) {
    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    for i in 1..=n {
        let (all, own) = (token.clone(), token.clone());
        tracker.spawn(async move {
            let child = async {
                if i < n {
                    pending::<()>().await;
                }
                all.cancel();
            };
            own.run_until_cancelled(child).await;
        });
    }
    tracker.close();
    tracker.wait().await;
}

async fn unordered(n: usize) {
    let child = |i| async move {
        if i < n {
            pending::<()>().await;
        }
        Err::<(), _>("no route")
    };
    let mut children: FuturesUnordered<_> = (1..=n).map(child).collect();
    while let Some(result) = children.next().await {
        if result.is_err() {
            break;
        }
    }
}

async fn moro(n: usize) {
    let scope = moro::scope_fn(|scope: &moro::Scope<'_, '_, Result<(), &str>>| {
        Box::pin(async move {
            for i in 1..=n {
                let _detached = scope.spawn(async move {
                    if i < n {
                        pending::<()>().await;
                    }
                    scope.terminate::<()>(Err("no route")).await;
                });
            }
            pending().await
        })
    });
    scope.await.expect_err("one fails");
}
