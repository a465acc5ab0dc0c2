//! W10: what does a child cost that is spawned by another child, into the same group?
//!
//! Each child spawns two more until there are enough. W10w is the same with a microsecond of work.

use std::{pin::Pin, sync::Arc, time::Duration};

use headcount::{Error, Spawner, group};

use crate::{
    gone::{Alive, One},
    hosts::{self, EXECUTOR, STATIC_EXECUTOR},
    question::{OURS, Question, RAW},
    work::compute,
};

/// What a child does itself.
#[derive(Clone, Copy)]
enum Work {
    Nothing,
    Microsecond,
}

impl Work {
    fn run(self) {
        if let Self::Microsecond = self {
            compute(Duration::from_micros(1));
        }
    }
}

/// Asks it of children that do nothing.
pub fn idle() -> Question {
    ask(
        Question::new("W10", "children spawn children", &[1_000, 100_000]),
        Work::Nothing,
    )
    .python("nested")
}

/// Asks it of children that work.
pub fn busy() -> Question {
    ask(
        Question::new(
            "W10w",
            "children spawn children, 1 µs of work each",
            &[1_000, 100_000],
        ),
        Work::Microsecond,
    )
}

fn ask(question: Question, work: Work) -> Question {
    question
        .local(OURS, &hosts::HEADCOUNT, move |n| ours(work, n))
        .local(RAW, &hosts::RAW, move |n| raw(work, n))
        .local("StaticExecutor", &hosts::STATIC, move |n| {
            static_executor(work, n)
        })
        .send("tokio spawn", &hosts::TOKIO, move |n| tokio(work, n))
        .local("moro", &hosts::PLAIN, move |n| moro(work, n))
        .local("rayon::scope", &hosts::RAYON, move |n| rayon(work, n))
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How many there are below each of the two children of one that has so many below it.
fn halves(n: usize) -> (usize, usize) {
    ((n - 1) / 2, n - 1 - (n - 1) / 2)
}

async fn ours(work: Work, n: usize) {
    fn child(spawner: Spawner, work: Work, n: usize) -> Boxed<Result<(), Error>> {
        Box::pin(async move {
            let (left, right) = halves(n);
            if left > 0 {
                spawner.spawn(child(spawner.clone(), work, left));
            }
            if right > 0 {
                spawner.spawn(child(spawner.clone(), work, right));
            }
            work.run();
            Ok(())
        })
    }

    let joined = group(async |g| {
        g.spawn(child(g.spawner(), work, n));
        Ok(())
    });
    joined.await.expect("nothing fails");
}

async fn raw(work: Work, n: usize) {
    fn child(one: One, work: Work, n: usize) -> Boxed<()> {
        Box::pin(async move {
            let (left, right) = halves(n);
            if left > 0 {
                EXECUTOR.spawn(child(one.another(), work, left)).detach();
            }
            if right > 0 {
                EXECUTOR.spawn(child(one.another(), work, right)).detach();
            }
            work.run();
        })
    }

    let alive = Arc::<Alive>::default();
    EXECUTOR.spawn(child(alive.one(), work, n)).detach();
    alive.none().await;
}

async fn static_executor(work: Work, n: usize) {
    fn child(one: One, work: Work, n: usize) -> Boxed<()> {
        Box::pin(async move {
            let (left, right) = halves(n);
            if left > 0 {
                STATIC_EXECUTOR
                    .spawn(child(one.another(), work, left))
                    .detach();
            }
            if right > 0 {
                STATIC_EXECUTOR
                    .spawn(child(one.another(), work, right))
                    .detach();
            }
            work.run();
        })
    }

    let alive = Arc::<Alive>::default();
    STATIC_EXECUTOR.spawn(child(alive.one(), work, n)).detach();
    alive.none().await;
}

/// A `JoinSet` cannot be spawned into from inside, so this is bare tokio with a count.
async fn tokio(work: Work, n: usize) {
    fn child(one: One, work: Work, n: usize) -> Boxed<()> {
        Box::pin(async move {
            let (left, right) = halves(n);
            if left > 0 {
                tokio::spawn(child(one.another(), work, left));
            }
            if right > 0 {
                tokio::spawn(child(one.another(), work, right));
            }
            work.run();
        })
    }

    let alive = Arc::<Alive>::default();
    tokio::spawn(child(alive.one(), work, n));
    alive.none().await;
}

async fn moro(work: Work, n: usize) {
    fn child<'scope, 'env>(
        scope: &'scope moro::Scope<'scope, 'env, ()>,
        work: Work,
        n: usize,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'scope>> {
        Box::pin(async move {
            let (left, right) = halves(n);
            if left > 0 {
                let _detached = scope.spawn(child(scope, work, left));
            }
            if right > 0 {
                let _detached = scope.spawn(child(scope, work, right));
            }
            work.run();
        })
    }

    let scope = moro::async_scope!(|scope| -> () {
        let _detached = scope.spawn(child(scope, work, n));
    });
    scope.await;
}

async fn rayon(work: Work, n: usize) {
    rayon::scope(|scope| rayon_child(scope, work, n));
}

fn rayon_child<'scope>(scope: &rayon::Scope<'scope>, work: Work, n: usize) {
    let (left, right) = halves(n);
    if left > 0 {
        scope.spawn(move |scope| rayon_child(scope, work, left));
    }
    if right > 0 {
        scope.spawn(move |scope| rayon_child(scope, work, right));
    }
    work.run();
}
