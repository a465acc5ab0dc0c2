//! One test run.

use std::{
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{builder::Builder, report::Trouble};
use crate::{
    error::{RawFailure, catch},
    pool::{self, Pool},
    runtime,
    sim::{self, Finding, Next, Sim},
};

/// Runs a future, and every task under it, on the calling thread, with virtual time.
///
/// Which task goes next is drawn from a seed: 0, unless the environment variable `HEADCOUNT_SEED`
/// says otherwise, or [`Builder::seed`] does. The same seed gives the same run.
///
/// This is [`run`](crate::run()) for tests: `main` need be neither `Send` nor `'static`, and nothing
/// outlives the call. For many schedules use [`explore`](super::explore); for a run with other
/// options the [`Builder`].
///
/// # Panics
///
/// - If `main` panics. The seed and how to replay it are written to standard error.
/// - If everything waits and no timer is set, with the tree of the tasks that wait.
/// - If it takes more than a minute of real time (see [`Builder::limit`]).
/// - If something is left at the end; see [the module](super).
/// - If `HEADCOUNT_SEED` is not a number.
/// - Inside [`run`](crate::run()) or another test run.
///
/// # Examples
///
/// ```
/// use headcount::{group, sleep, testing, timeout};
/// use std::time::Duration;
///
/// testing::run(async {
///     let hour = Duration::from_secs(3600);
///     let slow = group(async |g| {
///         g.spawn(async move { Ok(sleep(2 * hour).await) }).await?;
///         Ok(())
///     });
///     assert!(timeout(hour, slow).await.is_err());
/// });
/// ```
#[track_caller]
pub fn run<F: Future>(main: F) -> F::Output {
    Builder::new().run(main)
}

/// Runs `main` once on this thread, as `sim` decides.
///
/// `meddle` is called before each step with the number of steps made so far.
pub(super) fn attempt<F: Future>(
    sim: &Arc<Sim>,
    location: &'static Location<'static>,
    main: impl FnOnce() -> F,
    mut meddle: impl FnMut(&Arc<Sim>, usize),
) -> Ended<F::Output> {
    let result = {
        let _sim = sim::here(sim);
        let (pool, _no_threads) = Pool::start(0, "headcount-test");
        let _here = pool::Here::enter(&pool);
        let made = catch(main);
        made.map_err(Trouble::Panicked).and_then(|main| {
            let mut main = Box::pin(runtime::to_the_end(main, location));
            let ended = drive(sim, main.as_mut(), &mut meddle);
            let dropped = catch(|| drop(main));
            let ended = ended.and_then(|ended| ended.map_err(panic_of));
            if ended.is_err() {
                see_off(sim);
            }
            ended.and_then(|value| dropped.map(|()| value).map_err(Trouble::Panicked))
        })
    };
    let findings = sim.findings();
    sim.clear();
    Ended { result, findings }
}

/// How a run ended.
pub(super) struct Ended<T> {
    pub(super) result: Result<T, Trouble>,
    /// What it has left behind.
    pub(super) findings: Vec<Finding>,
}

/// The panic of `main`.
fn panic_of(failure: RawFailure) -> Trouble {
    match failure.into_panic() {
        Ok(panic) => Trouble::Panicked(panic),
        Err(_) => unreachable!("`main` has no error type"),
    }
}

/// Does step after step until `main` is done.
fn drive<F: Future>(
    sim: &Arc<Sim>,
    mut main: Pin<&mut F>,
    meddle: &mut impl FnMut(&Arc<Sim>, usize),
) -> Result<F::Output, Trouble> {
    let waker = sim.main_waker();
    waker.wake_by_ref();
    let mut steps = 0;
    loop {
        meddle(sim, steps);
        match sim.next() {
            Next::Main => {
                if let Poll::Ready(ended) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(ended);
                }
            }
            Next::Stuck(why) => return Err(Trouble::Stuck(why, sim.living())),
            next => take_turn(sim, next),
        }
        steps += 1;
    }
}

/// Does one step that is not `main`'s.
fn take_turn(sim: &Arc<Sim>, next: Next) {
    match next {
        Next::Turn(group, rank) => group.take_turn(rank),
        Next::Call(call) => call(),
        Next::Job(id, mut job) => {
            let waker = sim.job_waker(id);
            let polled = job.as_mut().poll(&mut Context::from_waker(&waker));
            sim.put_back(id, polled.is_pending().then_some(job));
        }
        Next::Main | Next::Stuck(_) => {}
    }
}

/// Lets what is left of a run that has failed drop what it owns, as far as it will.
fn see_off(sim: &Arc<Sim>) {
    const PATIENCE: usize = 10_000;

    for _ in 0..PATIENCE {
        match sim.next() {
            Next::Stuck(_) => return,
            next => take_turn(sim, next),
        }
    }
}
