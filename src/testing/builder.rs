//! The options of test runs.

use std::{env, future::Future, panic::Location, sync::Arc, time::Duration};

use super::{
    cancel::{self, Injection},
    explore::{self, Explored, Outcome},
    report::{self, Recording, Trouble},
    run::{Ended, attempt},
    watchdog::Watchdog,
};
use crate::{
    pool,
    sim::{self, Finding, Schedule, Sim},
};

/// The variable that says which seed to run, instead of all others.
const SEED_VARIABLE: &str = "HEADCOUNT_SEED";

/// How long one run may take, in real time, unless told otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// The options of a test run.
///
/// # Examples
///
/// ```
/// use headcount::testing::Builder;
///
/// let answer = Builder::new().seed(42).run(async { 6 * 7 });
/// assert_eq!(answer, 42);
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something is run with them"]
pub struct Builder {
    pub(super) seed: u64,
    pub(super) seeds: Option<u64>,
    pub(super) limit: Duration,
    pub(super) patience: Duration,
    pub(super) most_runs: u64,
    pub(super) panics_are_fine: bool,
    pub(super) dropped_cleanups_are_fine: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            seed: 0,
            seeds: None,
            limit: LIMIT,
            patience: Duration::ZERO,
            most_runs: 100_000,
            panics_are_fine: false,
            dropped_cleanups_are_fine: false,
        }
    }
}

impl Builder {
    /// Returns the defaults: seed 0, a limit of one minute, no patience.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::Builder;
    ///
    /// Builder::new().run(async {});
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the seed that the schedule is drawn from; for [`explore`](Self::explore) the first one.
    ///
    /// The environment variable `HEADCOUNT_SEED` goes before it, so that a failure can be replayed
    /// without a change to the test.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::Builder;
    ///
    /// Builder::new().seed(42).run(async {});
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Has [`cancel_everywhere`](Self::cancel_everywhere) go through so many schedules, drawn from
    /// the seed and those after it, instead of only first come, first served. If `HEADCOUNT_SEED` is
    /// set, that seed is the only one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{sleep, testing::Builder};
    /// use std::time::Duration;
    ///
    /// Builder::new().seeds(10).cancel_everywhere(|| sleep(Duration::from_secs(1)));
    /// ```
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = Some(seeds);
        self
    }

    /// Sets how long one run may take, in real time. One minute unless told otherwise; a limit too long
    /// for an [`Instant`](std::time::Instant) to hold is none.
    ///
    /// The limit is looked at between steps. A single poll that does not return ends the process a
    /// while after it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{checkpoint, testing::Builder};
    /// use std::{panic::catch_unwind, time::Duration};
    ///
    /// let busy = async {
    ///     loop {
    ///         checkpoint().await;
    ///     }
    /// };
    /// let limit = Duration::from_millis(10);
    /// let given_up = catch_unwind(std::panic::AssertUnwindSafe(|| {
    ///     Builder::new().limit(limit).run::<std::pin::Pin<Box<dyn Future<Output = ()>>>>(Box::pin(busy));
    /// }));
    /// assert!(given_up.is_err());
    /// ```
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how long the run waits, in real time, for other threads to wake something before it moves
    /// the clock, or decides that nothing will ever happen. Zero unless told otherwise.
    ///
    /// For programs that wait for sockets or threads in places that cannot be wrapped in
    /// [`real`](super::real). Their runs depend on real time, and are not the same each time.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::Builder;
    /// use std::time::Duration;
    ///
    /// // A timer of another crate: the run cannot know of it.
    /// let foreign = async_io::Timer::after(Duration::from_millis(5));
    /// Builder::new().patience(Duration::from_secs(10)).run(foreign);
    /// ```
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how many runs [`exhaust`](Self::exhaust) makes at most. 100,000 unless told otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, testing::Builder};
    ///
    /// let explored = Builder::new().most_runs(3).exhaust(usize::MAX, || {
    ///     group(async |g| {
    ///         for _ in 0..5 {
    ///             g.spawn(async { Ok(()) });
    ///         }
    ///         Ok(())
    ///     })
    /// });
    /// assert_eq!(explored.runs(), 3);
    /// assert!(!explored.is_complete());
    /// ```
    pub fn most_runs(mut self, runs: u64) -> Self {
        self.most_runs = runs;
        self
    }

    /// Has [`cancel_everywhere`](Self::cancel_everywhere) take no notice of tasks that panic: for
    /// programs in which they are meant to.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{checkpoint, group, testing::Builder};
    ///
    /// Builder::new().panics_are_fine().cancel_everywhere(|| async {
    ///     let failed = group(async |g| {
    ///         g.spawn(async {
    ///             checkpoint().await;
    ///             assert!(false, "on purpose");
    ///             Ok(())
    ///         });
    ///         Ok(())
    ///     });
    ///     assert!(failed.await.is_err());
    /// });
    /// ```
    pub fn panics_are_fine(mut self) -> Self {
        self.panics_are_fine = true;
        self
    }

    /// Takes no notice of a `finally` or `bracket` that is dropped before its cleanup was run: for
    /// programs in which another crate's combinator, or the program itself, is meant to do that.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::future::or;
    /// use headcount::{finally, sleep, testing::Builder};
    /// use std::time::Duration;
    ///
    /// Builder::new().dropped_cleanups_are_fine().run(async {
    ///     let work = finally(sleep(Duration::MAX), async {});
    ///     or(work, sleep(Duration::from_secs(1))).await; // Drops the work, and its cleanup.
    /// });
    /// ```
    pub fn dropped_cleanups_are_fine(mut self) -> Self {
        self.dropped_cleanups_are_fine = true;
        self
    }

    /// Runs a future. See [`testing::run`](super::run()).
    ///
    /// # Panics
    ///
    /// As [`testing::run`](super::run()).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{sleep, testing::Builder};
    /// use std::time::Duration;
    ///
    /// Builder::new().seed(3).run(sleep(Duration::from_secs(3600)));
    /// ```
    #[track_caller]
    pub fn run<F: Future>(self, main: F) -> F::Output {
        self.record(main).0
    }

    /// Runs a future, and returns the steps besides its output.
    ///
    /// # Panics
    ///
    /// As [`testing::run`](super::run()).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{sleep, testing::Builder};
    /// use std::time::Duration;
    ///
    /// let (_, steps) = Builder::new().record(sleep(Duration::from_secs(3600)));
    /// assert!(steps.to_string().contains("3600s: the clock moves"));
    /// ```
    #[track_caller]
    pub fn record<F: Future>(self, main: F) -> (F::Output, Recording) {
        refuse_nesting();
        let seed = self.seed_to_replay().unwrap_or(self.seed);
        let sim = self.sim(Schedule::from_seed(seed), true);
        let _watchdog = Watchdog::new(self.limit);
        let ended = attempt(&sim, Location::caller(), || main, |_, _| {});
        match self.judge(ended) {
            Ok(value) => (value, Recording::new(sim.steps())),
            Err(trouble) => fail(seed, trouble, &sim),
        }
    }

    /// Runs a program under so many schedules. See [`testing::explore`](super::explore()).
    ///
    /// # Panics
    ///
    /// As [`testing::explore`](super::explore()).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::Builder;
    ///
    /// assert_eq!(Builder::new().seed(1_000).explore(20, || async {}).runs(), 20);
    /// ```
    #[track_caller]
    pub fn explore<F, S>(self, runs: u64, main: F) -> Explored
    where
        F: Fn() -> S + Sync,
        S: Future,
        S::Output: Outcome,
    {
        refuse_nesting();
        explore::explore_on_all_cores(&self, runs, Location::caller(), &main)
    }

    /// Runs a program under so many schedules, all on this thread: for programs that cannot be shared
    /// between threads, and for tests that run side by side already.
    ///
    /// # Panics
    ///
    /// As [`testing::explore`](super::explore()).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::Builder;
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// let runs = Rc::new(Cell::new(0));
    /// Builder::new().explore_here(20, || {
    ///     runs.set(runs.get() + 1);
    ///     async {}
    /// });
    /// // The first seed is run twice, to see whether the program is deterministic.
    /// assert_eq!(runs.get(), 21);
    /// ```
    #[track_caller]
    pub fn explore_here<F, S>(self, runs: u64, main: F) -> Explored
    where
        F: Fn() -> S,
        S: Future,
        S::Output: Outcome,
    {
        refuse_nesting();
        explore::explore_here(&self, runs, Location::caller(), &main)
    }

    /// Runs a program under every schedule that departs so many times at most from first come, first
    /// served. See [`testing::exhaust`](super::exhaust()).
    ///
    /// # Panics
    ///
    /// As [`testing::exhaust`](super::exhaust()).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::Builder;
    ///
    /// assert!(Builder::new().exhaust(2, || async {}).is_complete());
    /// ```
    #[track_caller]
    pub fn exhaust<F, S>(self, preemptions: usize, main: F) -> Explored
    where
        F: Fn() -> S,
        S: Future,
        S::Output: Outcome,
    {
        refuse_nesting();
        explore::exhaust_within(&self, preemptions, Location::caller(), &main)
    }

    /// Cancels a program at every point where it waits. See
    /// [`testing::cancel_everywhere`](super::cancel_everywhere()).
    ///
    /// # Panics
    ///
    /// As [`testing::cancel_everywhere`](super::cancel_everywhere()).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{sleep, testing::Builder};
    /// use std::time::Duration;
    ///
    /// Builder::new().cancel_everywhere(|| sleep(Duration::from_secs(1)));
    /// ```
    #[track_caller]
    pub fn cancel_everywhere<F, S>(self, main: F) -> Explored
    where
        F: Fn() -> S,
        S: Future,
    {
        self.cancel_everywhere_with(|| (main(), |_: Injection| {}))
    }

    /// Cancels a program at every point where it waits, and has a check of its own made after each
    /// run. See [`testing::cancel_everywhere_with`](super::cancel_everywhere_with()).
    ///
    /// # Panics
    ///
    /// As [`testing::cancel_everywhere`](super::cancel_everywhere()).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{sleep, testing::{Builder, Injection}};
    /// use std::time::Duration;
    ///
    /// Builder::new().cancel_everywhere_with(|| {
    ///     let main = sleep(Duration::from_secs(1));
    ///     (main, |how: Injection| println!("{how}"))
    /// });
    /// ```
    #[track_caller]
    pub fn cancel_everywhere_with<F, S, C>(self, main: F) -> Explored
    where
        F: Fn() -> (S, C),
        S: Future,
        C: FnOnce(Injection),
    {
        refuse_nesting();
        cancel::cancel_at_every_point(&self, Location::caller(), &main)
    }

    /// The world of one run.
    pub(super) fn sim(&self, schedule: Schedule, recording: bool) -> Arc<Sim> {
        Sim::new(schedule, self.limit, self.patience, recording)
    }

    /// Takes no notice of what is fine.
    pub(super) fn judge<T>(&self, ended: Ended<T>) -> Result<T, Trouble> {
        match ended {
            Ended {
                result: Ok(value),
                findings,
            } => {
                let is_fine = |finding: &Finding| {
                    self.dropped_cleanups_are_fine
                        && matches!(finding, Finding::Cleanups(n) if *n > 0)
                };
                let findings: Vec<_> = findings.into_iter().filter(|it| !is_fine(it)).collect();
                if findings.is_empty() {
                    Ok(value)
                } else {
                    Err(Trouble::Leftovers(findings))
                }
            }
            Ended {
                result: Err(trouble),
                ..
            } => Err(trouble),
        }
    }

    /// The seed that the environment asks for.
    ///
    /// # Panics
    ///
    /// Panics if it is not a number.
    #[track_caller]
    pub(super) fn seed_to_replay(&self) -> Option<u64> {
        let text = env::var_os(SEED_VARIABLE)?;
        let seed = text.to_str().and_then(|text| text.parse().ok());
        match seed {
            Some(seed) => Some(seed),
            None => panic!("{SEED_VARIABLE} must be a number from 0 to 2^64 - 1, not {text:?}"),
        }
    }
}

/// Refuses a run inside another one.
#[track_caller]
fn refuse_nesting() {
    assert!(
        !pool::is_on_a_thread() && sim::current().is_none(),
        "a test run was begun inside `run` or inside another test run, and would block a thread that \
         others wait for; `.await` the future instead"
    );
}

/// Ends a run that went wrong, with all that is needed to see it again.
#[track_caller]
fn fail(seed: u64, trouble: Trouble, sim: &Sim) -> ! {
    let replay = format!(
        "headcount: the test run with seed {seed} failed; to see it again, run the test with \
         {SEED_VARIABLE}={seed}. Its last steps:{}",
        report::ending(&sim.steps())
    );
    report::say(&replay);
    match trouble {
        Trouble::Panicked(panic) => panic.resume(),
        trouble => panic!("{trouble}"),
    }
}
