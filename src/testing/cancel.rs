//! Cancellation at every point where a program waits.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::{
    builder::Builder,
    explore::Explored,
    quiet::quietly,
    report::{self, Trouble},
    run::{Ended, attempt},
    watchdog::Watchdog,
};
use crate::{
    group::group,
    lock::Mutex,
    scope::CancelScope,
    sim::{Schedule, Sim},
};

/// The ways in which a program is cancelled.
///
/// # Examples
///
/// ```
/// use headcount::testing::Injection;
///
/// assert_eq!(Injection::DeadlinePassed.to_string(), "its deadline passes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Injection {
    /// Nothing: the program runs to its end.
    Nothing,
    /// Its future is dropped, as another crate's combinator would.
    Dropped,
    /// A scope round it is cancelled.
    ScopeCancelled,
    /// The deadline of a scope round it passes.
    DeadlinePassed,
    /// A sibling in a group round it fails.
    SiblingFailed,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

impl Injection {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Dropped,
        Self::ScopeCancelled,
        Self::DeadlinePassed,
        Self::SiblingFailed,
    ];

    fn describe(self) -> &'static str {
        match self {
            Self::Nothing => "nothing was done to it",
            Self::Dropped => "its future is dropped",
            Self::ScopeCancelled => "its scope is cancelled",
            Self::DeadlinePassed => "its deadline passes",
            Self::SiblingFailed => "its sibling fails",
        }
    }
}

/// Runs a program again and again, and cancels it each time at another of the points where it waits.
///
/// `main` is called for each run and makes the future of that run. First it runs to its end. Then,
/// for each [way](Injection) of being cancelled and each step of the program, it runs up to that step
/// and is cancelled there. After each run
///
/// - no task may be alive, and no timer set;
/// - every finalizer must have been run exactly once. Only when the future is dropped from outside
///   may a `finally` or `bracket` in it be dropped with it, since nothing can be done then;
/// - every [`Tracked`](super::Tracked) value must have been dropped;
/// - no task may have panicked, unless [that is fine](Builder::panics_are_fine).
///
/// What else must hold, the program can check in its own destructors, or a closure given to
/// [`cancel_everywhere_with`].
///
/// The schedule is first come, first served; [`Builder::seeds`] has it go through others as well.
///
/// # Panics
///
/// If any of that does not hold, or the program waits for ever. The message names the way, the point
/// (the last step before it) and what was wrong.
///
/// # Examples
///
/// ```
/// use headcount::{finally, sleep, testing::{self, Tracked}};
/// use std::time::Duration;
///
/// testing::cancel_everywhere(|| async {
///     let connection = Tracked::new("a connection");
///     finally(sleep(Duration::from_secs(1)), async {
///         sleep(Duration::from_secs(1)).await; // Say goodbye.
///     })
///     .await;
///     drop(connection);
/// });
/// ```
#[track_caller]
pub fn cancel_everywhere<F, S>(main: F) -> Explored
where
    F: Fn() -> S,
    S: Future,
{
    Builder::new().cancel_everywhere(main)
}

/// [`cancel_everywhere`], with a check after each run.
///
/// `main` makes the future of a run, and a closure that is called after it, with what was done to it.
///
/// # Panics
///
/// As [`cancel_everywhere`], and if the check panics.
///
/// # Examples
///
/// A transfer that loses money if it is cancelled between its two steps:
///
/// ```should_panic
/// use headcount::{checkpoint, testing};
/// use std::{cell::Cell, rc::Rc};
///
/// testing::cancel_everywhere_with(|| {
///     let accounts = Rc::new((Cell::new(100), Cell::new(0)));
///     let after = Rc::clone(&accounts);
///     let transfer = async move {
///         accounts.0.set(accounts.0.get() - 30);
///         checkpoint().await; // `shield` the two steps together.
///         accounts.1.set(accounts.1.get() + 30);
///     };
///     (transfer, move |_how| assert_eq!(after.0.get() + after.1.get(), 100))
/// });
/// ```
#[track_caller]
pub fn cancel_everywhere_with<F, S, C>(main: F) -> Explored
where
    F: Fn() -> (S, C),
    S: Future,
    C: FnOnce(Injection),
{
    Builder::new().cancel_everywhere_with(main)
}

/// Cancels a program at every point, in every way, under every schedule that was asked for.
pub(super) fn cancel_at_every_point<F, S, C>(
    options: &Builder,
    location: &'static Location<'static>,
    main: &F,
) -> Explored
where
    F: Fn() -> (S, C),
    S: Future,
    C: FnOnce(Injection),
{
    let watchdog = Watchdog::new(options.limit);
    let mut runs = 0;
    for seed in seeds(options) {
        for how in Injection::ALL {
            let mut point = 0;
            loop {
                runs += 1;
                watchdog.next_run();
                let case = Case {
                    options,
                    seed,
                    how,
                    point,
                    location,
                };
                if !case.run(main) {
                    break;
                }
                point += 1;
            }
        }
    }
    Explored {
        runs,
        is_complete: false,
    }
}

/// The schedules to go through: first come, first served, or those drawn from seeds.
#[track_caller]
fn seeds(options: &Builder) -> impl Iterator<Item = Option<u64>> + use<> {
    let (first, count, is_drawn) = match (options.seed_to_replay(), options.seeds) {
        (_, None) => (0, 1, false),
        (Some(seed), Some(_)) => (seed, 1, true),
        (None, Some(seeds)) => (options.seed, seeds, true),
    };
    (0..count).map(move |run| is_drawn.then(|| first.wrapping_add(run)))
}

/// One run, and what is done to it.
struct Case<'a> {
    options: &'a Builder,
    seed: Option<u64>,
    how: Injection,
    /// Before which step.
    point: usize,
    location: &'static Location<'static>,
}

impl Case<'_> {
    /// Runs it. False if the program was over before that point.
    fn run<F, S, C>(&self, main: &F) -> bool
    where
        F: Fn() -> (S, C),
        S: Future,
        C: FnOnce(Injection),
    {
        let schedule = match self.seed {
            Some(seed) => Schedule::from_seed(seed),
            None => Schedule::default(),
        };
        let sim = self.options.sim(schedule, true);
        let mut was_reached = false;
        let mut place = None;
        let scope = CancelScope::new();
        let handle = scope.handle();
        let switch = Switch::default();
        let mut check = None;
        let prepare = || {
            let (main, after) = main();
            check = Some(after);
            surround(self.how, main, scope, switch.clone())
        };
        let meddle = |sim: &Arc<Sim>, step: usize| {
            if step != self.point || self.how == Injection::Nothing {
                return;
            }
            was_reached = true;
            place = sim.last_step();
            sim.remark(self.how.describe());
            match self.how {
                Injection::Nothing => {}
                Injection::ScopeCancelled => handle.cancel(),
                Injection::DeadlinePassed => handle.set_deadline(Some(sim.now())),
                Injection::SiblingFailed => switch.turn_on(),
                Injection::Dropped => {
                    sim.main_goes_next();
                    switch.turn_on();
                }
            }
        };
        let ended = quietly(|| attempt(&sim, self.location, prepare, meddle));
        let trouble = self.trouble(ended, &sim).or_else(|| {
            let check = check.map(|check| quietly(|| crate::error::catch(|| check(self.how))));
            check?.err().map(Trouble::Panicked)
        });
        if let Some(trouble) = trouble {
            let place = place.map_or_else(|| "before it began".to_owned(), |step| step.to_string());
            let seed = self.seed.map(|seed| {
                format!(
                    ", with seed {seed} (run the test with HEADCOUNT_SEED={seed} to run only that)"
                )
            });
            panic!(
                "{trouble}\n\nwhen {} at this point: {place}{}; the steps:{}",
                self.how,
                seed.unwrap_or_default(),
                report::ending(&sim.steps())
            );
        }
        was_reached
    }

    /// What is wrong after a run.
    fn trouble(&self, ended: Ended<()>, sim: &Sim) -> Option<Trouble> {
        let mut options = self.options.clone();
        options.dropped_cleanups_are_fine |= self.how == Injection::Dropped;
        if let Err(trouble) = options.judge(ended) {
            return Some(trouble);
        }
        let panics = sim.panics();
        (panics > 0 && !self.options.panics_are_fine)
            .then(|| Trouble::Failed(format!("{panics} tasks or bodies have panicked")))
    }
}

/// Puts round a program what is needed to cancel it.
async fn surround<S: Future>(how: Injection, main: S, scope: CancelScope, switch: Switch) {
    match how {
        Injection::Dropped => droppable(main, switch).await,
        Injection::SiblingFailed => beside_sibling(main, switch).await,
        _ => drop(scope.run(async { drop(main.await) }).await),
    }
}

/// Runs a program, and drops it where it stands when the switch is turned on.
async fn droppable<S: Future>(main: S, switch: Switch) {
    let mut main = Some(Box::pin(main));
    poll_fn(|cx| {
        let is_done = switch.poll(cx).is_ready()
            || main
                .as_mut()
                .is_none_or(|main| main.as_mut().poll(cx).is_ready());
        if !is_done {
            return Poll::Pending;
        }
        main = None;
        Poll::Ready(())
    })
    .await;
}

/// Runs a program in a group, next to a task that fails when the switch is turned on.
async fn beside_sibling<S: Future>(main: S, switch: Switch) {
    let fails = async move {
        poll_fn(|cx| switch.poll(cx)).await;
        Err::<(), _>("the sibling fails".into())
    };
    let both = group(async |g| {
        g.spawn_local_named("the sibling", fails);
        drop(main.await);
        g.cancel();
        Ok(())
    });
    drop(both.await);
}

/// Turned on once, from outside; whoever waits for it goes on then.
#[derive(Clone, Default)]
struct Switch(Arc<State>);

#[derive(Default)]
struct State {
    is_on: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Switch {
    fn turn_on(&self) {
        self.0.is_on.store(true, Ordering::SeqCst);
        let waker = self.0.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.is_on.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        let before = self.0.waker.lock().replace(cx.waker().clone());
        drop(before);
        Poll::Pending
    }
}
