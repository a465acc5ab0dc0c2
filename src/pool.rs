//! The threads that parallel children run on.

mod monitor;
mod signal;

use std::{
    cell::{Cell, RefCell},
    env,
    future::Future,
    sync::{Arc, Condvar, OnceLock, PoisonError},
    thread,
};

use async_executor::Executor;
use futures_lite::future;

pub(crate) use self::{
    monitor::{Post, Urgency, Watched, look_after, rouse, watch},
    signal::Signal,
};
use crate::{
    lock::Mutex,
    sim::{self, Sim},
};

/// The variable that says how many worker threads there are by default.
const THREADS_VARIABLE: &str = "HEADCOUNT_THREADS";

/// An executor with its worker threads.
///
/// There is one for each [`run`](crate::run()), which ends with it, and a global one for groups under
/// other executors, which is started when it is first needed and never stops.
///
/// What the executor runs are the helpers of groups, not children: a group is the run queue of its
/// own children.
pub(crate) struct Pool {
    executor: Executor<'static>,
    threads: usize,
    /// The test run that takes the place of the threads.
    sim: Option<Arc<Sim>>,
    stop: Signal,
    /// How many threads stand in for workers that are blocked.
    stand_ins: Mutex<usize>,
    /// Told when one of them has left.
    left: Condvar,
}

thread_local! {
    /// The pool that this thread belongs to: as a worker, or because it called `run`.
    static HERE: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };

    /// How many group owners are running children inside each other on this thread.
    static NESTED: Cell<usize> = const { Cell::new(0) };
}

impl Pool {
    /// Starts a pool and its threads.
    ///
    /// # Panics
    ///
    /// Panics if the system refuses a thread.
    pub(crate) fn start(threads: usize, name: &str) -> (Arc<Self>, Vec<thread::JoinHandle<()>>) {
        let pool = Arc::new(Self {
            executor: Executor::new(),
            threads,
            sim: sim::current(),
            stop: Signal::default(),
            stand_ins: Mutex::default(),
            left: Condvar::new(),
        });
        let start_worker = |index| {
            let pool = Arc::clone(&pool);
            let thread = thread::Builder::new().name(format!("{name}-{index}"));
            thread.spawn(move || pool.work())
        };
        let mut workers = Vec::new();
        for index in 0..threads {
            match start_worker(index) {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    pool.stop(workers);
                    panic!("cannot start worker thread {index}: {error}");
                }
            }
        }
        (pool, workers)
    }

    /// Lets the worker threads end, and waits for them.
    pub(crate) fn stop(&self, workers: Vec<thread::JoinHandle<()>>) {
        self.stop.send();
        for worker in workers {
            // Workers run nothing that could panic: tasks capture their panics.
            worker.join().ok();
        }
        let stand_ins = self.stand_ins.lock();
        let left = self.left.wait_while(stand_ins, |count| *count > 0);
        drop(left.unwrap_or_else(PoisonError::into_inner));
        // A helper that came too late to find anything to do is still there. It keeps its group,
        // which keeps this pool, which keeps the helper.
        while self.executor.try_tick() {}
    }

    /// What a worker thread does.
    fn work(self: Arc<Self>) {
        let _here = Here::enter(&self);
        async_io::block_on(self.executor.run(self.stop.sent()));
    }

    /// Does what a worker thread does, in place of one that is blocked, until that is over.
    pub(crate) fn stand_in(self: Arc<Self>, over: &Signal) {
        {
            let mut stand_ins = self.stand_ins.lock();
            // Looked at under the lock: whoever stops the pool takes that afterwards, to count.
            if self.stop.is_sent() {
                return;
            }
            *stand_ins += 1;
        }
        let here = Here::enter(&self);
        let ended = future::or(self.stop.sent(), over.sent());
        async_io::block_on(self.executor.run(ended));
        drop(here);
        *self.stand_ins.lock() -= 1;
        self.left.notify_all();
    }

    /// The pool for a group that is opened on this thread.
    ///
    /// # Panics
    ///
    /// Panics if the global pool cannot be started, or `HEADCOUNT_THREADS` is not a number above 0.
    #[track_caller]
    pub(crate) fn current() -> Arc<Self> {
        static GLOBAL: OnceLock<Arc<Pool>> = OnceLock::new();

        if let Some(pool) = Self::here().as_ref().or_else(|| GLOBAL.get()) {
            return Arc::clone(pool);
        }
        // Found out here, not below, where a panic would not name the caller.
        let threads = default_threads();
        Arc::clone(GLOBAL.get_or_init(|| Self::start(threads, "headcount-global").0))
    }

    /// The pool that this thread is a worker of, or has called `run` for.
    pub(crate) fn here() -> Option<Arc<Self>> {
        HERE.try_with(|here| here.borrow().clone()).ok().flatten()
    }

    /// Whether this thread is one of the pool's.
    pub(crate) fn is_here(self: &Arc<Self>) -> bool {
        let is_here = |here: &RefCell<Option<Arc<Self>>>| {
            here.borrow()
                .as_ref()
                .is_some_and(|here| Arc::ptr_eq(here, self))
        };
        HERE.try_with(is_here).unwrap_or(false)
    }

    /// How many worker threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// The test run that takes the place of the threads.
    pub(crate) fn sim(&self) -> Option<&Arc<Sim>> {
        sim::held(&self.sim)
    }

    /// Runs a helper of a group.
    pub(crate) fn spawn(&self, helper: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(helper).detach();
    }
}

/// Whether this thread belongs to a pool.
pub(crate) fn is_on_a_thread() -> bool {
    HERE.try_with(|here| here.borrow().is_some())
        .unwrap_or(false)
}

/// How many threads can run at the same time.
pub(crate) fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();

    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// How many worker threads a pool has unless told otherwise.
///
/// # Panics
///
/// Panics if the environment says something that is not a number above 0.
#[track_caller]
pub(crate) fn default_threads() -> usize {
    match env::var(THREADS_VARIABLE) {
        Err(env::VarError::NotPresent) => processors(),
        Ok(text) => match text.parse() {
            Ok(threads) if threads > 0 => threads,
            _ => panic!("{THREADS_VARIABLE} must be a number of threads, at least 1, not {text:?}"),
        },
        Err(env::VarError::NotUnicode(text)) => {
            panic!("{THREADS_VARIABLE} must be a number of threads, at least 1, not {text:?}")
        }
    }
}

/// Makes this thread belong to a pool, or to none, until dropped.
pub(crate) struct Here {
    before: Option<Arc<Pool>>,
}

impl Here {
    pub(crate) fn enter(pool: &Arc<Pool>) -> Self {
        Self::set(Some(Arc::clone(pool)))
    }

    /// Makes this thread belong to none: what runs here is no task.
    pub(crate) fn leave() -> Self {
        Self::set(None)
    }

    fn set(pool: Option<Arc<Pool>>) -> Self {
        Self {
            before: replace_here(pool),
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        drop(replace_here(self.before.take()));
    }
}

fn replace_here(pool: Option<Arc<Pool>>) -> Option<Arc<Pool>> {
    HERE.try_with(|here| here.replace(pool)).ok().flatten()
}

/// How deep owners of groups may run children inside each other on one stack. Deeper groups leave
/// their children to helpers, which begin on a fresh stack.
const DEEPEST: usize = 8;

/// The permission for the owner of a group to run children inside its own poll.
pub(crate) struct Inline(());

impl Inline {
    /// Gives the permission if this thread is one of the pool's, or of any if the pool is not chosen
    /// yet, and there is room on its stack.
    ///
    /// On other people's threads children are not run: what they would find there, another
    /// runtime's context perhaps, would depend on who happens to poll them.
    pub(crate) fn enter(pool: Option<&Arc<Pool>>) -> Option<Self> {
        if sim::current().is_some() {
            return None;
        }
        let nested = NESTED.try_with(Cell::get).ok()?;
        let is_ours = pool.map_or_else(is_on_a_thread, Pool::is_here);
        if nested >= DEEPEST || !is_ours {
            return None;
        }
        NESTED.set(nested + 1);
        Some(Self(()))
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        NESTED.set(NESTED.get() - 1);
    }
}
