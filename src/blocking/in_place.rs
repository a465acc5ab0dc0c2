//! Calls that a worker thread runs itself.
//!
//! Handing a short call over costs more than the call: a thread is woken here, a task there, and what was
//! read into the caches of one processor is used on another. So if calls are short, a worker that has just
//! polled a task runs the call of that task itself, right after the poll. The task waits meanwhile as it would
//! anyway, and may be polled by other threads.
//!
//! Whether the call was short is known only afterwards. If it was not, the [monitor](crate::pool) finds out, and has
//! another thread stand in for the worker until the call has ended. Kotlin's `Dispatchers.IO` and Go's
//! scheduler do much the same.

use std::{
    cell::{Cell, OnceCell},
    mem,
    sync::Arc,
    task::Waker,
};

use super::{call::Job, lengths, threads};
use crate::{
    lock::Mutex,
    pool::{self, Here, Pool, Post, Signal, Urgency, Watched},
};

/// Whoever runs tasks on a thread that runs their calls in between.
pub(crate) trait Host: Send + Sync {
    /// The threads that it is among.
    fn pool(&self) -> Option<Arc<Pool>>;

    /// The thread is blocked: somebody else has to see to what it left.
    fn step_aside(self: Arc<Self>);

    /// The thread is back.
    fn step_back(self: Arc<Self>);
}

thread_local! {
    /// This thread's bench, made when it is needed.
    static BENCH: OnceCell<(Arc<Bench>, Post)> = const { OnceCell::new() };

    /// Whether there may be a call on it: most tasks have none.
    static IS_TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// Where a call waits that the thread is to run itself: one at a time.
#[derive(Default)]
struct Bench {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who runs tasks here; there while calls are taken.
    host: Option<Arc<dyn Host>>,
    stage: Stage,
    /// How often a call has come or begun.
    changes: usize,
    /// `changes` as the monitor last saw it.
    seen: usize,
}

/// What the call is doing.
#[derive(Default)]
enum Stage {
    /// There is none.
    #[default]
    Empty,
    Waiting(Arc<dyn Job>),
    Running,
    /// It runs, it takes long, and somebody stands in for the thread until this is sent.
    Replaced(Arc<Signal>),
}

/// Has this thread take calls until dropped, for a host that [runs](Waiting::run) them.
pub(crate) struct Open {
    /// Not if somebody else has: a call may begin a [`run`](crate::run()), and that runs what is left of its
    /// helpers on the thread of the call.
    is_host: bool,
}

impl Open {
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        let is_host = with_bench(|bench| {
            let mut state = bench.state.lock();
            let is_host = state.host.is_none();
            if is_host {
                state.host = Some(host);
            }
            is_host
        });
        Self {
            is_host: is_host.unwrap_or(false),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.is_host {
            return;
        }
        let left = with_bench(|bench| {
            let mut state = bench.state.lock();
            let host = state.host.take();
            match mem::take(&mut state.stage) {
                // Offered after the last poll, by a waker that polls.
                Stage::Waiting(job) => (host, Some(job)),
                stage => {
                    state.stage = stage;
                    (host, None)
                }
            }
        });
        if let Some(job) = left.and_then(|(_host, job)| job) {
            threads::submit(job);
        }
    }
}

/// Has this thread run a call after the poll that it is in. Gives the call back if calls are long, if that is
/// not what the thread does, or if it has another one already.
pub(super) fn offer(job: Arc<dyn Job>) -> Result<(), Arc<dyn Job>> {
    if lengths::are_long() {
        return Err(job);
    }
    let mut job = Some(job);
    with_bench(|bench| {
        let mut state = bench.state.lock();
        if let (Some(_), Stage::Empty) = (&state.host, &state.stage) {
            state.stage = job.take().map_or(Stage::Empty, Stage::Waiting);
            state.changes += 1;
        }
    });
    match job {
        Some(job) => Err(job),
        None => {
            IS_TAKEN.set(true);
            // The poll may take long, or the call.
            pool::rouse(Urgency::Later);
            Ok(())
        }
    }
}

/// Takes the call that this thread is to run.
#[inline]
pub(crate) fn take() -> Option<Waiting> {
    if IS_TAKEN.get() { take_call() } else { None }
}

#[cold]
fn take_call() -> Option<Waiting> {
    IS_TAKEN.set(false);
    let waiting = with_bench(|bench| {
        let mut state = bench.state.lock();
        match mem::replace(&mut state.stage, Stage::Running) {
            Stage::Waiting(job) => {
                state.changes += 1;
                Some(Waiting(job))
            }
            stage => {
                state.stage = stage;
                None
            }
        }
    });
    waiting.flatten()
}

/// A call that this thread is to run.
#[must_use = "nobody else runs the call"]
pub(crate) struct Waiting(Arc<dyn Job>);

impl Waiting {
    /// Runs the call. Returns what wakes the task that waits for it.
    pub(crate) fn run(self) -> Option<Waker> {
        let mut waker = None;
        {
            // What runs now is no task, and may do what blocks.
            let _nowhere = Here::leave();
            lengths::measure(self.0, &mut |wakes| waker = Some(wakes));
        }
        let replaced = with_bench(|bench| {
            let mut state = bench.state.lock();
            match mem::take(&mut state.stage) {
                Stage::Replaced(over) => Some((over, state.host.clone())),
                _ => None,
            }
        });
        if let Some((over, host)) = replaced.flatten() {
            if let Some(host) = host {
                host.step_back();
            }
            over.send();
        }
        waker
    }
}

fn with_bench<T>(look: impl FnOnce(&Bench) -> T) -> Option<T> {
    let look = |cell: &OnceCell<(Arc<Bench>, Post)>| look(&cell.get_or_init(Bench::make).0);
    BENCH.try_with(look).ok()
}

impl Bench {
    fn make() -> (Arc<Self>, Post) {
        let bench = Arc::<Self>::default();
        let post = pool::look_after(Arc::clone(&bench) as _);
        (bench, post)
    }
}

/// What the monitor has found to take long.
enum Found {
    /// The poll before the call.
    Poll(Arc<dyn Job>),
    /// The call.
    Call(Arc<Signal>, Arc<dyn Host>),
}

impl State {
    /// Finds out what has been there since the last look.
    fn find(&mut self) -> Result<Found, Option<Urgency>> {
        let is_new = mem::replace(&mut self.seen, self.changes) != self.changes;
        match mem::take(&mut self.stage) {
            Stage::Empty => Err(None),
            Stage::Waiting(job) if !is_new => Ok(Found::Poll(job)),
            Stage::Running if !is_new => {
                let over = Arc::<Signal>::default();
                self.stage = Stage::Replaced(Arc::clone(&over));
                let host = self.host.clone();
                host.map(|host| Found::Call(over, host)).ok_or(None)
            }
            Stage::Replaced(over) => {
                self.stage = Stage::Replaced(over);
                Err(None)
            }
            stage => {
                self.stage = stage;
                Err(Some(Urgency::Later))
            }
        }
    }
}

impl Watched for Bench {
    fn look_after(self: Arc<Self>) -> Option<Urgency> {
        let found = self.state.lock().find();
        match found {
            Err(urgency) => return urgency,
            Ok(Found::Poll(job)) => threads::submit(job),
            Ok(Found::Call(over, host)) => {
                lengths::doubt();
                if let Some(pool) = host.pool() {
                    threads::stand_in(pool, over);
                }
                host.step_aside();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{super::call::Nothing, *};

    impl Host for Nothing {
        fn pool(&self) -> Option<Arc<Pool>> {
            None
        }

        fn step_aside(self: Arc<Self>) {}

        fn step_back(self: Arc<Self>) {}
    }

    fn with(stage: Stage) -> State {
        State {
            host: Some(Arc::new(Nothing)),
            stage,
            changes: 1,
            seen: 0,
        }
    }

    #[test]
    fn a_call_is_found_at_the_second_look() {
        let mut state = with(Stage::Waiting(Arc::new(Nothing)));
        assert!(matches!(state.find(), Err(Some(Urgency::Later))));
        assert!(matches!(state.find(), Ok(Found::Poll(_))));
        assert!(
            matches!(state.find(), Err(None)),
            "it is not there any more"
        );

        let mut state = with(Stage::Running);
        assert!(matches!(state.find(), Err(Some(Urgency::Later))));
        assert!(matches!(state.find(), Ok(Found::Call(..))));
        assert!(matches!(state.find(), Err(None)), "once is enough");
    }

    #[test]
    fn another_call_is_another_matter() {
        let mut state = with(Stage::Running);
        for _ in 0..10 {
            assert!(matches!(state.find(), Err(Some(Urgency::Later))));
            state.changes += 1;
        }
    }
}
