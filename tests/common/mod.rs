//! What the tests share: where scenarios are run, and how they are watched.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::print_stderr,
    reason = "every test file uses a part of this, each another one"
)]

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use headcount::{Error, ErrorGroup, FailureKind, Runtime};

/// Why the locks of this module are never poisoned.
const UNPOISONED: &str = "nothing panics while it holds a lock";

/// Runs a scenario in every way that a program may run it: with one worker thread, with several, and
/// outside of `run`, where parallel tasks go to the global pool; and with the feature `testing` under
/// many seeded schedules, as many as `HEADCOUNT_SEEDS` says. What is promised must hold in all.
///
/// A scenario asserts what it expects. It must not block its thread, must not depend on the wall
/// clock, and must take all of its time from the crate.
pub fn everywhere<F, S>(scenario: F)
where
    F: Fn() -> S,
    S: Future<Output = ()>,
{
    on_threads(&scenario);
    #[cfg(feature = "testing")]
    under_seeds(&scenario);
}

/// Runs a scenario that takes long in every way, and under a twentieth of the schedules.
pub fn everywhere_at_length<F, S>(scenario: F)
where
    F: Fn() -> S,
    S: Future<Output = ()>,
{
    on_threads(&scenario);
    #[cfg(feature = "testing")]
    under_part_of_the_seeds(20, &scenario);
}

/// Runs a scenario in every way in which threads are real: one that a test run cannot have under
/// control, because it uses threads, wakers or timers of its own.
pub fn on_threads<F, S>(scenario: F)
where
    F: Fn() -> S,
    S: Future<Output = ()>,
{
    in_run(&scenario);
    watched("outside of run", || {
        futures_lite::future::block_on(scenario())
    });
}

/// Runs a scenario inside `run` only, with one worker thread and with several.
pub fn in_run<F, S>(scenario: F)
where
    F: Fn() -> S,
    S: Future<Output = ()>,
{
    watched("with one thread", || {
        Runtime::builder().threads(1).run(scenario())
    });
    watched("with four threads", || {
        Runtime::builder().threads(4).run(scenario())
    });
}

/// Runs a scenario under many seeded schedules, in virtual time, and nowhere else.
#[cfg(feature = "testing")]
pub fn under_seeds<F, S>(scenario: F)
where
    F: Fn() -> S,
    S: Future<Output = ()>,
{
    under_part_of_the_seeds(1, scenario);
}

#[cfg(feature = "testing")]
fn under_part_of_the_seeds<F, S>(part: u64, scenario: F)
where
    F: Fn() -> S,
    S: Future<Output = ()>,
{
    const SEEDS: u64 = 1_000;

    let seeds = std::env::var("HEADCOUNT_SEEDS").map_or(SEEDS, |seeds| {
        seeds.parse().expect("HEADCOUNT_SEEDS must be a number")
    });
    headcount::testing::Builder::new()
        .dropped_cleanups_are_fine()
        .explore_here(seeds.div_ceil(part), scenario);
}

/// Ends the process if something hangs: a hang is a failure, and says which test it was.
pub fn watched<T>(what: &'static str, f: impl FnOnce() -> T) -> T {
    const LIMIT: Duration = Duration::from_secs(120);

    let test = thread::current().name().unwrap_or("a test").to_owned();
    let done = Arc::new(AtomicBool::new(false));
    let watchdog = {
        let done = Arc::clone(&done);
        thread::spawn(move || {
            thread::park_timeout(LIMIT);
            if !done.load(Ordering::SeqCst) {
                eprintln!("{test} hangs, {what}");
                std::process::abort();
            }
        })
    };
    let result = catch_unwind(AssertUnwindSafe(f));
    done.store(true, Ordering::SeqCst);
    watchdog.thread().unpark();
    match result {
        Ok(result) => result,
        Err(panic) => {
            eprintln!("it failed {what}");
            std::panic::resume_unwind(panic)
        }
    }
}

/// Counts values in and out: each must be dropped exactly once.
#[derive(Clone, Default)]
pub struct Census {
    counts: Arc<(AtomicUsize, AtomicUsize)>,
}

/// One value that is counted.
pub struct Counted {
    counts: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Census {
    /// Makes a value that counts.
    pub fn enter(&self) -> Counted {
        self.counts.0.fetch_add(1, Ordering::SeqCst);
        Counted {
            counts: Arc::clone(&self.counts),
        }
    }

    /// How many values have been made.
    pub fn entered(&self) -> usize {
        self.counts.0.load(Ordering::SeqCst)
    }

    /// How many of them have not been dropped.
    pub fn alive(&self) -> usize {
        self.entered() - self.counts.1.load(Ordering::SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// Calls a function when it is dropped.
pub struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub fn new(f: F) -> Self {
        Self(Some(f))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// What went wrong in a group and in those nested in it, in order: errors by their text, panics as
/// `panic: ` and their message, nested groups as what went wrong in them.
pub fn leaves_of(group: &ErrorGroup) -> Vec<String> {
    let text = |kind: &FailureKind<Error>| match kind {
        FailureKind::Error(error) => error.to_string(),
        FailureKind::Panic(panic) => format!("panic: {}", panic.message().unwrap_or("no message")),
    };
    group.leaves().map(|failure| text(failure.kind())).collect()
}

/// The same in alphabetical order, for failures that come from several threads.
pub fn sorted_leaves_of(group: &ErrorGroup) -> Vec<String> {
    let mut leaves = leaves_of(group);
    leaves.sort();
    leaves
}

/// The message of a caught panic.
pub fn panic_text(payload: &dyn Any) -> Option<&str> {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// The message of the panic that this ends with.
pub fn message_of<T>(f: impl FnOnce() -> T) -> String {
    let ended = catch_unwind(AssertUnwindSafe(|| drop(f())));
    let panic = ended.expect_err("it was to panic");
    panic_text(&*panic).expect("a text").to_owned()
}

/// Keeps panics whose message starts with "on purpose" out of the output of the tests.
pub fn keep_quiet_about_purpose() {
    static ONCE: Once = Once::new();

    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let purpose =
                panic_text(info.payload()).is_some_and(|text| text.starts_with("on purpose"));
            if !purpose {
                usual(info);
            }
        }));
    });
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Log {
    entries: Arc<Mutex<Vec<String>>>,
}

impl Log {
    pub fn say(&self, entry: impl Into<String>) {
        self.entries.lock().expect(UNPOISONED).push(entry.into());
    }

    pub fn entries(&self) -> Vec<String> {
        self.entries.lock().expect(UNPOISONED).clone()
    }

    pub fn has(&self, entry: &str) -> bool {
        self.entries().iter().any(|known| known == entry)
    }
}

/// Opened once, from anywhere; whoever waits at it goes on then. For making tasks wait for each
/// other without sleeping.
#[derive(Clone, Default)]
pub struct Gate {
    state: Arc<Mutex<(bool, Vec<Waker>)>>,
}

impl Gate {
    pub fn open(&self) {
        let wakers = {
            let mut state = self.state.lock().expect(UNPOISONED);
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    pub fn is_open(&self) -> bool {
        self.state.lock().expect(UNPOISONED).0
    }

    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let gate = self.clone();
        std::future::poll_fn(move |cx| {
            let waker = cx.waker().clone();
            let mut state = gate.state.lock().expect(UNPOISONED);
            if state.0 {
                return Poll::Ready(());
            }
            if !state.1.iter().any(|known| known.will_wake(&waker)) {
                state.1.push(waker);
            }
            Poll::Pending
        })
    }
}

/// A waker that counts how often it was woken.
#[derive(Default)]
pub struct CountWakes(AtomicUsize);

impl CountWakes {
    pub fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future once, with a waker that does nothing.
pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets others run, a few times, without being a place where the caller can be cancelled.
pub async fn let_others_run() {
    for _ in 0..10 {
        futures_lite::future::yield_now().await;
    }
}

/// A task or a body that never ends of its own accord.
pub async fn for_ever() -> Result<(), Error> {
    std::future::pending().await
}

/// Counts how often what it wraps is polled.
#[derive(Clone, Default)]
pub struct Polls(Arc<AtomicUsize>);

impl Polls {
    /// Wraps a future whose polls count here.
    pub fn of<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let polls = Arc::clone(&self.0);
        let mut future = Box::pin(future);
        std::future::poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::SeqCst);
            future.as_mut().poll(cx)
        })
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Waits until something is the case that other tasks bring about.
pub async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        futures_lite::future::yield_now().await;
    }
}
