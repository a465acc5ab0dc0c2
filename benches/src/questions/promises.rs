//! P: what is promised without a ratio. Pa: two children that compute for 100 ms each are done
//! together, in about 100 ms on two cores. Pb: a ready child behind one that computes for 10 ms runs
//! soon, while another core is idle. Pc: the same as Pa, with a body that computes as well.

use std::time::{Duration, Instant};

use headcount::group;
use tokio::task::JoinSet;

use crate::{
    hosts::{self, EXECUTOR},
    question::{OURS, Question, RAW},
    work::compute,
};

/// Asks how long two computations of so many milliseconds take.
pub fn two() -> Question {
    let title = "two children that compute for n ms; all of it";
    Question::new("Pa", title, &[1, 10, 100])
        .quick(&[10])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, async |n| {
            let joined = group(async |g| {
                for _ in 0..2 {
                    g.spawn(async move { Ok(compute(millis(n))) });
                }
                Ok(())
            });
            joined.await.expect("nothing fails");
        })
        .local(RAW, &hosts::RAW, async |n| {
            let tasks = [0, 1].map(|_| EXECUTOR.spawn(async move { compute(millis(n)) }));
            for task in tasks {
                task.await;
            }
        })
        .send("tokio JoinSet", &hosts::TOKIO, async |n| {
            let mut set = JoinSet::new();
            for _ in 0..2 {
                set.spawn(async move { compute(millis(n)) });
            }
            while set.join_next().await.is_some() {}
        })
        .local("rayon::scope", &hosts::RAYON, async |n| {
            rayon::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(move |_| compute(millis(n)));
                }
            });
        })
}

/// Asks how long a ready child waits behind one that computes for so many milliseconds.
pub fn behind() -> Question {
    let title = "a ready child behind one that computes for n ms; until it runs";
    Question::new("Pb", title, &[10])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, async |n| {
            let joined = group(async |g| {
                let start = Instant::now();
                g.spawn(async move { Ok(compute(millis(n))) });
                let task = g.spawn(async move { Ok(start.elapsed()) });
                Ok(task.await?)
            });
            joined.await.expect("nothing fails")
        })
        .local(RAW, &hosts::RAW, async |n| {
            let start = Instant::now();
            let busy = EXECUTOR.spawn(async move { compute(millis(n)) });
            let waited = EXECUTOR.spawn(async move { start.elapsed() }).await;
            busy.await;
            waited
        })
        .send("tokio JoinSet", &hosts::TOKIO, async |n| {
            let start = Instant::now();
            let mut set = JoinSet::new();
            set.spawn(async move {
                compute(millis(n));
                Duration::MAX
            });
            set.spawn(async move { start.elapsed() });
            let mut waited = Duration::MAX;
            while let Some(joined) = set.join_next().await {
                waited = waited.min(joined.expect("nothing fails"));
            }
            waited
        })
}

/// Asks how long a child waits for a body that computes for so many milliseconds.
pub fn body() -> Question {
    let title = "one child that computes for n ms, and a body that does; all of it";
    Question::new("Pc", title, &[10])
        .per(|_| 1)
        .local(OURS, &hosts::HEADCOUNT, async |n| {
            let joined = group(async |g| {
                g.spawn(async move { Ok(compute(millis(n))) });
                compute(millis(n));
                Ok(())
            });
            joined.await.expect("nothing fails");
        })
        .local(RAW, &hosts::RAW, async |n| {
            let task = EXECUTOR.spawn(async move { compute(millis(n)) });
            compute(millis(n));
            task.await;
        })
        .send("tokio JoinSet", &hosts::TOKIO, async |n| {
            let mut set = JoinSet::new();
            set.spawn(async move { compute(millis(n)) });
            compute(millis(n));
            while set.join_next().await.is_some() {}
        })
}

fn millis(n: usize) -> Duration {
    Duration::from_millis(n.try_into().expect("few"))
}
