//! W8, timeouts: what does a timeout cost round a future that is ready, or that yields once?

use std::{hint::black_box, time::Duration};

use futures_lite::FutureExt;

use crate::{
    hosts,
    question::{OURS, Question, RAW},
    work::yield_once,
};

/// Longer than any run.
const LIMIT: Duration = Duration::from_secs(3_600);

/// Asks it of ready futures.
pub fn ready() -> Question {
    Question::new("W8a", "timeout round a ready future", &[1_000_000])
        .quick(&[100_000])
        .local(OURS, &hosts::HEADCOUNT, async |n| {
            for i in 0..n {
                headcount::timeout(LIMIT, async move { black_box(i) })
                    .await
                    .expect("an hour is long");
            }
        })
        .local("no timeout", &hosts::HEADCOUNT, async |n| {
            for i in 0..n {
                async move { black_box(i) }.await;
            }
        })
        .send("tokio", &hosts::TOKIO, async |n| {
            for i in 0..n {
                tokio::time::timeout(LIMIT, async move { black_box(i) })
                    .await
                    .expect("an hour is long");
            }
        })
        .local(RAW, &hosts::RAW, async |n| {
            for i in 0..n {
                async move { black_box(i) }
                    .or(async {
                        async_io::Timer::after(LIMIT).await;
                        0
                    })
                    .await;
            }
        })
        .python("timeout_ready")
}

/// Asks it of futures that yield once.
pub fn yielding() -> Question {
    Question::new(
        "W8b",
        "timeout round a future that yields once",
        &[1_000_000],
    )
    .quick(&[100_000])
    .local(OURS, &hosts::HEADCOUNT, async |n| {
        for _ in 0..n {
            headcount::timeout(LIMIT, yield_once())
                .await
                .expect("an hour is long");
        }
    })
    .local("no timeout", &hosts::HEADCOUNT, async |n| {
        for _ in 0..n {
            yield_once().await;
        }
    })
    .send("tokio", &hosts::TOKIO, async |n| {
        for _ in 0..n {
            tokio::time::timeout(LIMIT, yield_once())
                .await
                .expect("an hour is long");
        }
    })
    .local(RAW, &hosts::RAW, async |n| {
        for _ in 0..n {
            yield_once()
                .or(async {
                    async_io::Timer::after(LIMIT).await;
                })
                .await;
        }
    })
    .python("timeout_yielding")
}
