//! Running: the threads, and the outermost group.

use std::{
    any::TypeId,
    future::{self, Future},
    panic::Location,
    pin::pin,
    sync::Arc,
};

use crate::{
    error::{Error, RawFailure},
    frame,
    group::{Hub, Owner, Policy},
    pool::{self, Here, Pool},
};

/// Runs a future to its end, with the threads that its tasks need.
///
/// Starts the worker threads, runs `main` on the calling thread (it need be neither `Send` nor
/// `'static`), and returns its output. Before that it cancels and waits for every straggler: tasks
/// of groups whose future was dropped. Nothing outlives `run`. What stragglers fail with nobody is
/// there to return; it goes to the hook of [`on_unclaimed`](crate::on_unclaimed).
///
/// It is the counterpart of Python's `asyncio.run`. Groups also work without it, under
/// `smol::block_on`, tokio or any other executor; parallel tasks then run on threads of their own.
/// For the number of threads and their names there is [`Runtime::builder`].
///
/// # Panics
///
/// Panics if it is called inside another `run`, or by a task: it would block a thread that others
/// wait for. Await the future instead. Panics if the environment variable `HEADCOUNT_THREADS` is set
/// to something that is not a number above 0, or a thread cannot be started.
///
/// A panic of `main` goes on from here, after everything else has ended.
///
/// # Examples
///
/// ```
/// use headcount::{group, run};
///
/// let answer = run(group(async |g| {
///     let task = g.spawn(async { Ok(6 * 7) });
///     Ok(task.await?)
/// }));
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[doc(alias = "block_on")]
#[track_caller]
pub fn run<F: Future>(main: F) -> F::Output {
    Runtime::builder().run(main)
}

/// The threads that tasks run on; made with [`Runtime::builder`].
///
/// # Examples
///
/// ```
/// use headcount::Runtime;
///
/// let seven = Runtime::builder().threads(1).run(async { 7 });
/// assert_eq!(seven, 7);
/// ```
#[derive(Debug)]
pub struct Runtime(());

impl Runtime {
    /// Returns a builder for a [`run`] with options.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::Runtime;
    ///
    /// Runtime::builder().threads(2).thread_name("worker").run(async {});
    /// ```
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            threads: None,
            thread_name: None,
        }
    }
}

/// Options of a [`run`], from [`Runtime::builder`].
///
/// # Examples
///
/// ```
/// use headcount::Runtime;
///
/// let seven = Runtime::builder().threads(1).thread_name("worker").run(async { 7 });
/// assert_eq!(seven, 7);
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something is run with them"]
pub struct RuntimeBuilder {
    threads: Option<usize>,
    thread_name: Option<String>,
}

impl RuntimeBuilder {
    /// Sets the number of worker threads, besides the calling one.
    ///
    /// Without this it is what the environment variable `HEADCOUNT_THREADS` says, or else what
    /// [`available_parallelism`](std::thread::available_parallelism) says.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0: somebody has to run the tasks while `main` is busy.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::Runtime;
    ///
    /// assert_eq!(Runtime::builder().threads(4).run(async { 7 }), 7);
    /// ```
    #[track_caller]
    pub fn threads(mut self, threads: usize) -> Self {
        assert!(
            threads > 0,
            "a runtime needs at least 1 worker thread: somebody has to run the tasks while `main` \
             is busy"
        );
        self.threads = Some(threads);
        self
    }

    /// Sets the name of the worker threads; each gets a number at its end.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::Runtime;
    ///
    /// Runtime::builder().thread_name("worker").run(async {});
    /// ```
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = Some(name.into());
        self
    }

    /// Runs a future to its end; see [`run`].
    ///
    /// # Panics
    ///
    /// As [`run`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::Runtime;
    ///
    /// assert_eq!(Runtime::builder().threads(1).run(async { 7 }), 7);
    /// ```
    #[track_caller]
    pub fn run<F: Future>(self, main: F) -> F::Output {
        assert!(
            !pool::is_on_a_thread(),
            "`run` was called inside another `run`, or by one of its tasks, and would block a thread \
             that others wait for; `.await` the future instead, in a group if it is to be joined"
        );
        // Not in a closure: a panic has to name the caller.
        let threads = match self.threads {
            Some(threads) => threads,
            None => pool::default_threads(),
        };
        let name = self.thread_name.as_deref().unwrap_or("headcount");
        let (pool, workers) = Pool::start(threads, name);
        // What is polling or dropping the code that called this has no part in what runs here.
        let _outside = frame::set_aside();
        let here = Here::enter(&pool);
        let ended = async_io::block_on(to_the_end(main, Location::caller()));
        drop(here);
        pool.stop(workers);
        ended.unwrap_or_else(|failure| match failure.into_panic() {
            Ok(panic) => panic.resume(),
            Err(_) => unreachable!("`main` has no error type"),
        })
    }
}

/// Runs `main` as the body of the outermost group. Fails if it panics.
pub(crate) async fn to_the_end<F: Future>(
    main: F,
    location: &'static Location<'static>,
) -> Result<F::Output, RawFailure> {
    let hub = Hub::new(
        None,
        location,
        Policy::Collect,
        usize::MAX,
        TypeId::of::<Error>(),
    );
    let main = async { Ok::<_, Error>(main.await) };
    let mut root = pin!(Owner::new(hub, Arc::default(), main));
    let verdict = future::poll_fn(|cx| root.as_mut().poll(cx)).await;
    let mut panicked = None;
    for failure in verdict.failures {
        let is_of_main = failure.task.id() == root.info().id();
        if verdict.value.is_none() && panicked.is_none() && is_of_main {
            panicked = Some(failure);
        } else {
            // Of a straggler, whose own group nobody waited for; or of something that `main` left behind.
            failure.unclaimed();
        }
    }
    match (verdict.value, panicked) {
        (Some(value), _) => Ok(value),
        (None, Some(panicked)) => Err(panicked),
        (None, None) => unreachable!("the outermost group is never cancelled from outside"),
    }
}
