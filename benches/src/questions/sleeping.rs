//! W8, sleeps: n children of a group sleep for 10 to 50 ms. How long does that take, and how much of
//! the processors' time?

use std::time::{Duration, Instant};

use async_io::Timer;
use cpu_time::ProcessTime;
use futures::stream::{FuturesUnordered, StreamExt};
use headcount::group;
use tokio::task::JoinSet;

use crate::{
    hosts::{self, EXECUTOR, STATIC_EXECUTOR},
    question::{OURS, Question, RAW},
};

/// What is measured.
#[derive(Clone, Copy)]
enum Clock {
    Wall,
    Processor,
}

/// When it began, on that clock.
enum Start {
    Wall(Instant),
    Processor(ProcessTime),
}

impl Clock {
    fn start(self) -> Start {
        match self {
            Self::Wall => Start::Wall(Instant::now()),
            Self::Processor => Start::Processor(ProcessTime::now()),
        }
    }
}

impl Start {
    fn elapsed(self) -> Duration {
        match self {
            Self::Wall(start) => start.elapsed(),
            Self::Processor(start) => start.elapsed(),
        }
    }
}

/// Asks how long it takes.
pub fn wall() -> Question {
    let title = "sleeps of 10 to 50 ms in a group; wall time of all";
    ask(Question::new("W8c", title, &[1_000, 100_000]), Clock::Wall).per(|_| 1)
}

/// Asks what it costs.
pub fn processor() -> Question {
    let title = "sleeps of 10 to 50 ms in a group; processor time per sleep";
    ask(
        Question::new("W8d", title, &[1_000, 100_000]),
        Clock::Processor,
    )
}

fn ask(question: Question, clock: Clock) -> Question {
    question
        .local(OURS, &hosts::HEADCOUNT, move |n| ours(clock, n))
        .local(RAW, &hosts::RAW, move |n| raw(clock, n))
        .local("StaticExecutor", &hosts::STATIC, move |n| {
            static_executor(clock, n)
        })
        .send("tokio JoinSet", &hosts::TOKIO, move |n| join_set(clock, n))
        .send("tokio JoinSet, 1 thread", &hosts::TOKIO_ONE, move |n| {
            join_set(clock, n)
        })
        .local("FuturesUnordered", &hosts::PLAIN, move |n| {
            unordered(clock, n)
        })
}

/// How long one of n sleeps.
fn nap(i: usize, n: usize) -> Duration {
    Duration::from_millis(10)
        + Duration::from_millis(40) * u32::try_from(i).expect("few")
            / u32::try_from(n).expect("few")
}

async fn ours(clock: Clock, n: usize) -> Duration {
    let start = clock.start();
    let joined = group(async |g| {
        for i in 0..n {
            g.spawn(async move {
                headcount::sleep(nap(i, n)).await;
                Ok(())
            });
        }
        Ok(())
    });
    joined.await.expect("nothing fails");
    start.elapsed()
}

async fn raw(clock: Clock, n: usize) -> Duration {
    let start = clock.start();
    let spawn = |i| {
        EXECUTOR.spawn(async move {
            Timer::after(nap(i, n)).await;
        })
    };
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    for task in tasks {
        task.await;
    }
    start.elapsed()
}

async fn static_executor(clock: Clock, n: usize) -> Duration {
    let start = clock.start();
    let spawn = |i| {
        STATIC_EXECUTOR.spawn(async move {
            Timer::after(nap(i, n)).await;
        })
    };
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    for task in tasks {
        task.await;
    }
    start.elapsed()
}

async fn join_set(clock: Clock, n: usize) -> Duration {
    let start = clock.start();
    let mut set = JoinSet::new();
    for i in 0..n {
        set.spawn(tokio::time::sleep(nap(i, n)));
    }
    while let Some(joined) = set.join_next().await {
        joined.expect("nothing fails");
    }
    start.elapsed()
}

async fn unordered(clock: Clock, n: usize) -> Duration {
    let start = clock.start();
    let mut children: FuturesUnordered<_> = (0..n).map(|i| Timer::after(nap(i, n))).collect();
    while children.next().await.is_some() {}
    start.elapsed()
}
