//! L: what does a child cost that borrows, and so stays on the task of its group? La: ready at once,
//! Lb: yields once.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::{FuturesUnordered, StreamExt};
use futures_concurrency::prelude::*;
use headcount::group;

use crate::{
    hosts,
    question::{OURS, Question},
    work::yield_once,
};

/// Asks it of ready children.
pub fn ready() -> Question {
    Question::new(
        "La",
        "borrowing children, ready",
        &[10, 100, 1_000, 10_000, 100_000],
    )
    .quick(&[10, 1_000, 100_000])
    .local(OURS, &hosts::HEADCOUNT, |n| ours(n, false))
    .local("FuturesUnordered", &hosts::PLAIN, |n| unordered(n, false))
    .local("futures-concurrency", &hosts::PLAIN, |n| {
        concurrency(n, false)
    })
    .at_most(10_000)
    .local("moro", &hosts::PLAIN, |n| moro(n, false))
}

/// Asks it of children that yield once.
pub fn yielding() -> Question {
    Question::new(
        "Lb",
        "borrowing children that yield once",
        &[10, 100, 1_000, 10_000, 100_000],
    )
    .quick(&[10, 1_000, 100_000])
    .local(OURS, &hosts::HEADCOUNT, |n| ours(n, true))
    .local("FuturesUnordered", &hosts::PLAIN, |n| unordered(n, true))
    .local("futures-concurrency", &hosts::PLAIN, |n| {
        concurrency(n, true)
    })
    .at_most(10_000)
    .local("moro", &hosts::PLAIN, |n| moro(n, true))
}

/// What the children do: they count themselves, in a number that they borrow.
async fn child(hits: &AtomicUsize, yields: bool) {
    if yields {
        yield_once().await;
    }
    let seen = hits.load(Ordering::Relaxed);
    hits.store(seen + 1, Ordering::Relaxed);
}

async fn ours(n: usize, yields: bool) {
    let hits = Default::default();
    let joined = group(async |g| {
        for _ in 0..n {
            g.spawn_local(async {
                child(&hits, yields).await;
                Ok(())
            });
        }
        Ok(())
    });
    joined.await.expect("nothing fails");
    assert_eq!(hits.into_inner(), n);
}

async fn unordered(n: usize, yields: bool) {
    let hits = Default::default();
    let children = (0..n).map(|_| child(&hits, yields));
    let mut children: FuturesUnordered<_> = children.collect();
    while children.next().await.is_some() {}
    drop(children);
    assert_eq!(hits.into_inner(), n);
}

async fn concurrency(n: usize, yields: bool) {
    let hits = Default::default();
    let children: Vec<_> = (0..n).map(|_| child(&hits, yields)).collect();
    children.join().await;
    assert_eq!(hits.into_inner(), n);
}

async fn moro(n: usize, yields: bool) {
    let hits = Default::default();
    let scope = moro::async_scope!(|scope| {
        for _ in 0..n {
            let _detached = scope.spawn(child(&hits, yields));
        }
    });
    scope.await;
    assert_eq!(hits.into_inner(), n);
}
