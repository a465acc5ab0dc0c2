//! The runtimes that the peers run on, each with threads of its own, idle while others are measured.

use std::{
    future::Future,
    pin::Pin,
    sync::{LazyLock, Mutex, mpsc},
    thread,
    time::Duration,
};

use async_executor::{Executor, StaticExecutor};

/// A measurement, to be made and run on the thread of a host.
pub type LocalJob = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Duration>>> + Send>;

/// A measurement that may be moved between threads.
pub type SendJob = Pin<Box<dyn Future<Output = Duration> + Send>>;

/// A thread that waits for measurements and runs them inside its runtime, as a `main` would.
///
/// While it waits it blocks its thread, so that the runtime has nothing to do.
pub struct Host<J> {
    ends: Mutex<(mpsc::Sender<J>, mpsc::Receiver<Duration>)>,
}

/// A host's end of the line.
struct Orders<J> {
    jobs: mpsc::Receiver<J>,
    answers: mpsc::Sender<Duration>,
}

impl<J: Send + 'static> Host<J> {
    fn start(serve: impl FnOnce(Orders<J>) + Send + 'static) -> Self {
        let (job_sender, jobs) = mpsc::channel();
        let (answers, answer_receiver) = mpsc::channel();
        thread::spawn(move || serve(Orders { jobs, answers }));
        Self {
            ends: Mutex::new((job_sender, answer_receiver)),
        }
    }

    /// Has a measurement made.
    pub fn ask(&self, job: J) -> Duration {
        let ends = self.ends.lock().expect("no measurement panics");
        ends.0.send(job).expect("hosts do not end");
        ends.1.recv().expect("hosts do not end")
    }
}

impl Orders<LocalJob> {
    async fn serve_here(self) {
        while let Ok(job) = self.jobs.recv() {
            let took = job().await;
            self.answers.send(took).expect("somebody waits for this");
        }
    }
}

impl Orders<SendJob> {
    async fn serve(self) {
        while let Ok(job) = self.jobs.recv() {
            let took = job.await;
            self.answers.send(took).expect("somebody waits for this");
        }
    }
}

/// `async_executor::Executor`, the one behind `smol::spawn`.
pub static EXECUTOR: Executor<'static> = Executor::new();

/// The executor that leaks what is not done at its end.
pub static STATIC_EXECUTOR: StaticExecutor = StaticExecutor::new();

/// This crate's subject: `run` with its default of a worker per core.
pub static HEADCOUNT: LazyLock<Host<LocalJob>> =
    LazyLock::new(|| Host::start(|orders| headcount::run(orders.serve_here())));

/// The same with one worker.
pub static HEADCOUNT_ONE: LazyLock<Host<LocalJob>> = LazyLock::new(|| {
    Host::start(|orders| {
        let runtime = headcount::Runtime::builder().threads(1);
        runtime.run(orders.serve_here());
    })
});

/// The executor with two threads, one of which runs `main` as well.
pub static RAW: LazyLock<Host<LocalJob>> = LazyLock::new(|| {
    Host::start(|orders| {
        thread::spawn(|| async_io::block_on(EXECUTOR.run(std::future::pending::<()>())));
        async_io::block_on(EXECUTOR.run(orders.serve_here()));
    })
});

/// The static executor with two threads, one of which runs `main` as well.
pub static STATIC: LazyLock<Host<LocalJob>> = LazyLock::new(|| {
    Host::start(|orders| {
        thread::spawn(|| async_io::block_on(STATIC_EXECUTOR.run(std::future::pending::<()>())));
        async_io::block_on(STATIC_EXECUTOR.run(orders.serve_here()));
    })
});

/// tokio with two workers, `main` on one of them.
pub static TOKIO: LazyLock<Host<SendJob>> = LazyLock::new(|| {
    Host::start(|orders| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("tokio starts");
        let main = runtime.spawn(orders.serve());
        runtime.block_on(main).expect("no measurement panics");
    })
});

/// tokio on one thread.
pub static TOKIO_ONE: LazyLock<Host<SendJob>> = LazyLock::new(|| {
    Host::start(|orders| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("tokio starts");
        runtime.block_on(orders.serve());
    })
});

/// One task, for what needs no executor.
pub static PLAIN: LazyLock<Host<LocalJob>> =
    LazyLock::new(|| Host::start(|orders| async_io::block_on(orders.serve_here())));

/// rayon's pool with two threads, `main` on one of them.
pub static RAYON: LazyLock<Host<LocalJob>> = LazyLock::new(|| {
    Host::start(|orders| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let pool = pool.expect("rayon starts");
        pool.install(|| futures_lite::future::block_on(orders.serve_here()));
    })
});
