//! Many schedules of one program.

use std::{
    fmt,
    future::Future,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    builder::Builder,
    quiet::quietly,
    report::{self, Trouble},
    run::attempt,
    watchdog::Watchdog,
};
use crate::{
    clock,
    lock::Mutex,
    sim::{Choice, Schedule, Sim, Step, Stuck},
};

/// What the main future of a test may return: nothing, or a result, of which an error is a failure.
///
/// # Examples
///
/// ```
/// use headcount::testing::Outcome;
///
/// assert_eq!(().failure(), None);
/// assert_eq!(Ok::<_, &str>(1).failure(), None);
/// assert_eq!(Err::<(), _>("no route").failure().as_deref(), Some("\"no route\""));
/// ```
pub trait Outcome {
    /// Says what failed, if anything did.
    fn failure(&self) -> Option<String>;
}

impl Outcome for () {
    fn failure(&self) -> Option<String> {
        None
    }
}

impl<T, E: fmt::Debug> Outcome for Result<T, E> {
    fn failure(&self) -> Option<String> {
        self.as_ref().err().map(|error| format!("{error:?}"))
    }
}

/// How much was explored.
///
/// # Examples
///
/// ```
/// use headcount::testing;
///
/// let explored = testing::exhaust(2, || async {});
/// assert_eq!(explored.runs(), 1);
/// assert!(explored.is_complete());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    pub(super) runs: u64,
    pub(super) is_complete: bool,
}

impl Explored {
    /// Returns how many runs were made.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing;
    ///
    /// assert_eq!(testing::explore(10, || async {}).runs(), 10);
    /// ```
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Returns whether there is no other run: whether every schedule there is was tried.
    ///
    /// After [`exhaust`] it is false if schedules with more preemptions exist, or if the limit on the
    /// number of runs was reached. After [`explore`] it is true only for a program without any choice.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing;
    ///
    /// assert!(testing::exhaust(0, || async {}).is_complete());
    /// ```
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

/// Runs a program under many schedules, drawn from as many seeds, on all cores.
///
/// `main` is called for each run and makes the future of that run. It should make everything that the
/// program shares, too, so that runs do not see each other.
///
/// Use [`exhaust`] for a program that is small enough, and [`Builder::explore_here`] for one that
/// cannot be shared between threads.
///
/// # Panics
///
/// If a run fails, in any of the ways of [`testing::run`](super::run()), or by returning an error.
/// The message has the seed, what went wrong, and the steps of the smallest schedule that fails
/// likewise: of those that were tried, the one with the fewest departures from first come, first
/// served. With the variable `HEADCOUNT_SEED` set, only that seed is run.
///
/// If the program is not deterministic: if the same seed, tried twice, gives two different runs.
///
/// # Examples
///
/// ```should_panic
/// use headcount::{checkpoint, group, testing};
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering::SeqCst}};
///
/// testing::explore(1_000, || async {
///     let counter = Arc::new(AtomicU32::new(0));
///     group(async |g| {
///         for _ in 0..2 {
///             let counter = Arc::clone(&counter);
///             g.spawn(async move {
///                 let seen = counter.load(SeqCst);
///                 checkpoint().await; // Another task may count here.
///                 counter.store(seen + 1, SeqCst);
///                 Ok(())
///             });
///         }
///         Ok(())
///     })
///     .await
///     .unwrap();
///     assert_eq!(counter.load(SeqCst), 2);
/// });
/// ```
#[track_caller]
pub fn explore<F, S>(runs: u64, main: F) -> Explored
where
    F: Fn() -> S + Sync,
    S: Future,
    S::Output: Outcome,
{
    Builder::new().explore(runs, main)
}

/// Runs a small program under every schedule that departs at most so many times from first come,
/// first served.
///
/// Most bugs need very few departures to show; two or three find nearly all of them. The number of
/// schedules grows fast with it, and with the number of tasks: see [`Builder::most_runs`]. What is
/// returned says whether every schedule there is was tried.
///
/// # Panics
///
/// As [`explore`].
///
/// # Examples
///
/// ```
/// use headcount::{group, testing};
/// use std::sync::{Arc, Mutex};
///
/// let orders = Mutex::new(std::collections::BTreeSet::new());
/// let explored = testing::exhaust(usize::MAX, || async {
///     let order = Arc::new(Mutex::new(Vec::new()));
///     group(async |g| {
///         for name in ["a", "b", "c"] {
///             let order = Arc::clone(&order);
///             g.spawn(async move {
///                 order.lock().unwrap().push(name);
///                 Ok(())
///             });
///         }
///         Ok(())
///     })
///     .await
///     .unwrap();
///     orders.lock().unwrap().insert(order.lock().unwrap().concat());
/// });
/// assert!(explored.is_complete());
/// assert_eq!(orders.into_inner().unwrap().len(), 6);
/// ```
#[track_caller]
pub fn exhaust<F, S>(preemptions: usize, main: F) -> Explored
where
    F: Fn() -> S,
    S: Future,
    S::Output: Outcome,
{
    Builder::new().exhaust(preemptions, main)
}

/// One run, as far as an exploration wants to know it.
struct Ran {
    trouble: Option<Trouble>,
    choices: Vec<Choice>,
    foreign_wakes: usize,
    sim: Arc<Sim>,
}

/// A program to be explored.
struct Program<'a, F> {
    options: &'a Builder,
    location: &'static Location<'static>,
    main: &'a F,
    watchdog: Watchdog,
}

/// What came of looking for a smaller schedule.
enum Shrunk {
    /// The smallest one that was found to fail in the same way.
    To(Ran),
    /// It would take too long to look.
    Not,
    /// The same schedule did not fail again.
    Passes,
}

impl<'a, F, S> Program<'a, F>
where
    F: Fn() -> S,
    S: Future,
    S::Output: Outcome,
{
    /// A program that is run on this thread, and watched from now on.
    fn new(options: &'a Builder, location: &'static Location<'static>, main: &'a F) -> Self {
        Self {
            options,
            location,
            main,
            watchdog: Watchdog::new(options.limit),
        }
    }

    fn run(&self, schedule: Schedule, recording: bool) -> Ran {
        self.watchdog.next_run();
        let sim = self.options.sim(schedule, recording);
        let ended = quietly(|| attempt(&sim, self.location, self.main, |_, _| {}));
        let trouble = match self.options.judge(ended) {
            Err(trouble) => Some(trouble),
            Ok(output) => output.failure().map(Trouble::Failed),
        };
        Ran {
            trouble,
            choices: sim.choices(),
            foreign_wakes: sim.foreign_wakes(),
            sim,
        }
    }

    /// Runs a seed twice, to see whether the runs are the same.
    fn check_first(&self, seed: u64) -> Ran {
        let first = self.run(Schedule::from_seed(seed), true);
        if first.trouble.is_some() {
            return first;
        }
        let again = self.run(Schedule::from_seed(seed), true);
        let difference = difference(&first, &again);
        if let Some(difference) = difference {
            refuse(&difference, &again);
        }
        first
    }

    /// Reports a run that failed. `origin` says how to see it again.
    fn report(&self, origin: &str, failed: &Ran) -> ! {
        let found = self.shrink(failed);
        let (failed, schedule) = match &found {
            Shrunk::To(ran) => {
                let departures = departures(&ran.choices);
                let schedule = format!(
                    "; the smallest schedule that was found to do it departs {departures} times from \
                     first come, first served:"
                );
                (ran, schedule)
            }
            Shrunk::Not => (failed, String::new()),
            Shrunk::Passes => {
                let schedule = "; the same schedule, tried again, did not do it: the program is not \
                                deterministic, or another thread takes part";
                (failed, schedule.to_owned())
            }
        };
        match &failed.trouble {
            Some(trouble) => panic!(
                "{trouble}\n\nfound {origin}{schedule}{}",
                report::ending(&failed.sim.steps())
            ),
            None => unreachable!("what is reported has failed"),
        }
    }

    /// Reports a seed that failed.
    fn report_seed(&self, seed: u64, failed: &Ran) -> ! {
        let origin =
            format!("with seed {seed} (run the test with HEADCOUNT_SEED={seed} to run only that)");
        self.report(&origin, failed)
    }

    /// Looks for a smaller schedule that fails in the same way.
    fn shrink(&self, failed: &Ran) -> Shrunk {
        const TRIES: usize = 400;
        const LONGEST: Duration = Duration::from_secs(20);

        let like = match &failed.trouble {
            None | Some(Trouble::Stuck(Stuck::TooLong, _)) => return Shrunk::Not,
            Some(trouble) => trouble,
        };
        let start = clock::real_time();
        let mut tries = 0;
        let mut attempt = |given: Vec<usize>| {
            tries += 1;
            if tries > TRIES || clock::real_time() - start > LONGEST {
                return None;
            }
            let ran = self.run(Schedule::given(given), true);
            let is_alike = ran.trouble.as_ref().is_some_and(|it| it.is_like(like));
            is_alike.then_some(ran)
        };
        // The same choices again first: if that does not fail, nothing smaller need be tried.
        let same = failed.choices.iter().map(|choice| choice.chosen);
        let Some(mut best) = attempt(same.collect()) else {
            return Shrunk::Passes;
        };
        // Then as short a beginning of them as will do.
        let (mut fails, mut passes) = (best.choices.len(), 0);
        while passes < fails {
            let middle = usize::midpoint(passes, fails);
            let beginning = best.choices[..middle].iter().map(|choice| choice.chosen);
            match attempt(beginning.collect()) {
                Some(ran) => {
                    fails = middle;
                    best = ran;
                    best.choices.truncate(middle);
                }
                None => passes = middle + 1,
            }
        }
        // Then without each of the departures that are left.
        for index in (0..best.choices.len()).rev() {
            let mut given: Vec<_> = best.choices.iter().map(|choice| choice.chosen).collect();
            if std::mem::take(&mut given[index]) == 0 {
                continue;
            }
            if let Some(ran) = attempt(given) {
                best = ran;
            }
            if index >= best.choices.len() {
                break;
            }
        }
        Shrunk::To(best)
    }
}

/// How often a schedule departs from first come, first served.
fn departures(choices: &[Choice]) -> usize {
    choices.iter().filter(|choice| choice.chosen > 0).count()
}

/// Says where two runs that ought to be the same are not.
fn difference(one: &Ran, other: &Ran) -> Option<String> {
    let steps = |ran: &Ran| ran.sim.steps();
    let (ones, others) = (steps(one), steps(other));
    let text = |step: Option<&Step>| step.map(ToString::to_string);
    let is_other = |&index: &usize| text(ones.get(index)) != text(others.get(index));
    let differing = (0..usize::max(ones.len(), others.len())).find(is_other);
    if let Some(index) = differing {
        let describe =
            |steps: &[Step]| text(steps.get(index)).unwrap_or_else(|| "it was over".to_owned());
        let number = ones
            .get(index)
            .or(others.get(index))
            .map_or(0, Step::number);
        let (one, other) = (describe(&ones), describe(&others));
        return Some(format!(
            "step {number} was once\n  {one}\nand once\n  {other}"
        ));
    }
    (one.choices != other.choices).then(|| "there was more to choose from once".to_owned())
}

/// Refuses a program that cannot be explored.
fn refuse(difference: &str, ran: &Ran) -> ! {
    let threads = match ran.foreign_wakes {
        0 => "it looks at the wall clock, at random numbers or at the order of a hash map, perhaps",
        _ => "another thread has woken one of its tasks",
    };
    panic!(
        "the program is not deterministic, and cannot be explored: with the same seed {difference}\n\
         ({threads})"
    );
}

/// The seeds to be run.
#[track_caller]
fn seeds(options: &Builder, runs: u64) -> (u64, u64) {
    match options.seed_to_replay() {
        Some(seed) => (seed, 1),
        None => (options.seed, runs),
    }
}

/// Runs a program under many seeds, all on this thread.
#[track_caller]
pub(super) fn explore_here<F, S>(
    options: &Builder,
    runs: u64,
    location: &'static Location<'static>,
    main: &F,
) -> Explored
where
    F: Fn() -> S,
    S: Future,
    S::Output: Outcome,
{
    let (first, runs) = seeds(options, runs);
    let program = Program::new(options, location, main);
    let mut had_choices = false;
    for run in 0..runs {
        let seed = first.wrapping_add(run);
        let ran = if run == 0 {
            program.check_first(seed)
        } else {
            program.run(Schedule::from_seed(seed), false)
        };
        if ran.trouble.is_some() {
            program.report_seed(seed, &ran);
        }
        had_choices |= !ran.choices.is_empty();
    }
    Explored {
        runs,
        is_complete: runs > 0 && !had_choices,
    }
}

/// Runs a program under many seeds, on all cores.
#[track_caller]
pub(super) fn explore_on_all_cores<F, S>(
    options: &Builder,
    runs: u64,
    location: &'static Location<'static>,
    main: &F,
) -> Explored
where
    F: Fn() -> S + Sync,
    S: Future,
    S::Output: Outcome,
{
    let (first, runs) = seeds(options, runs);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores == 1 || runs < 2 * cores as u64 {
        return explore_here(options, runs, location, main);
    }
    let search = Search {
        next: AtomicU64::new(1),
        failed: Mutex::new(None),
    };
    let work = || {
        let program = Program::new(options, location, main);
        search.go_on(runs, |run| {
            let ran = program.run(Schedule::from_seed(first.wrapping_add(run)), false);
            ran.trouble.is_none()
        });
    };
    let ran = {
        let program = Program::new(options, location, main);
        let ran = program.check_first(first);
        if ran.trouble.is_some() {
            program.report_seed(first, &ran);
        }
        ran
    };
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    if let Some(run) = search.failed.into_inner() {
        let seed = first.wrapping_add(run);
        let program = Program::new(options, location, main);
        let ran = program.run(Schedule::from_seed(seed), true);
        if ran.trouble.is_none() {
            refuse("it failed on one thread and not on another", &ran);
        }
        program.report_seed(seed, &ran);
    }
    Explored {
        runs,
        is_complete: ran.choices.is_empty(),
    }
}

/// What several threads that explore share.
struct Search {
    /// The next run.
    next: AtomicU64,
    /// The first run that failed.
    failed: Mutex<Option<u64>>,
}

impl Search {
    /// Makes runs until there is none left, or one has failed.
    fn go_on(&self, runs: u64, passes: impl Fn(u64) -> bool) {
        loop {
            // Relaxed: only the number counts.
            let run = self.next.fetch_add(1, Ordering::Relaxed);
            let failed = *self.failed.lock();
            if run >= runs || failed.is_some_and(|failed| failed < run) {
                return;
            }
            if !passes(run) {
                let mut failed = self.failed.lock();
                *failed = Some(failed.map_or(run, |failed| failed.min(run)));
            }
        }
    }
}

/// Runs a program under every schedule with so many departures at most: a depth-first search.
pub(super) fn exhaust_within<F, S>(
    options: &Builder,
    preemptions: usize,
    location: &'static Location<'static>,
    main: &F,
) -> Explored
where
    F: Fn() -> S,
    S: Future,
    S::Output: Outcome,
{
    let program = Program::new(options, location, main);
    let mut given: Vec<Choice> = Vec::new();
    let mut is_complete = true;
    let mut runs = 0;
    loop {
        if runs == options.most_runs {
            return Explored {
                runs,
                is_complete: false,
            };
        }
        runs += 1;
        let choices = given.iter().map(|choice| choice.chosen).collect();
        let ran = program.run(Schedule::given(choices), false);
        let is_as_before = |(one, other): (&Choice, &Choice)| one == other;
        if ran.choices.len() < given.len() || !ran.choices.iter().zip(&given).all(is_as_before) {
            refuse("there was something else to choose from", &ran);
        }
        if ran.trouble.is_some() {
            program.report(&format!("in run {runs}"), &ran);
        }
        let Some(next) = next_schedule(ran.choices, preemptions, &mut is_complete) else {
            return Explored { runs, is_complete };
        };
        given = next;
    }
}

/// The schedule that comes after this one.
fn next_schedule(
    mut choices: Vec<Choice>,
    preemptions: usize,
    is_complete: &mut bool,
) -> Option<Vec<Choice>> {
    while let Some(last) = choices.pop() {
        if last.chosen + 1 == last.of {
            continue;
        }
        // Another choice in place of the first one is one more departure.
        if departures(&choices) + 1 > preemptions {
            *is_complete = false;
            continue;
        }
        choices.push(Choice {
            chosen: last.chosen + 1,
            of: last.of,
        });
        return Some(choices);
    }
    None
}
