//! The virtual clock, as a test sees it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
    time::{Duration, Instant},
};

use pin_project::pin_project;

use crate::{
    clock::{self, Alarm},
    sim::{self, Sim},
};

/// The test run that this thread is in.
///
/// # Panics
///
/// Panics if there is none.
#[track_caller]
fn this_run(what: &str) -> Arc<Sim> {
    sim::current().unwrap_or_else(|| {
        panic!("`testing::{what}` was called outside of a test run; call it under `testing::run`")
    })
}

/// Lets virtual time pass, and then everything that is due by then happen.
///
/// The clock also moves by itself, whenever nothing is ready; this is for tests that want to look at
/// a certain moment. Timers on the way fire in the order of their deadlines, each at its own time.
/// When this returns, everything else waits for something later.
///
/// # Cancel safety
///
/// It may be dropped; the time that has passed has passed.
///
/// # Panics
///
/// Panics outside of a test run.
///
/// # Examples
///
/// ```
/// use headcount::{group, sleep, testing};
/// use std::{sync::atomic::{AtomicU32, Ordering::SeqCst}, time::Duration};
///
/// testing::run(async {
///     let beats = AtomicU32::new(0);
///     group(async |g| {
///         g.spawn_local(async {
///             while beats.fetch_add(1, SeqCst) < 100 {
///                 sleep(Duration::from_secs(10)).await;
///             }
///             Ok(())
///         });
///         testing::advance(Duration::from_secs(35)).await;
///         assert_eq!(beats.load(SeqCst), 4); // At 0, 10, 20 and 30 seconds.
///         g.cancel();
///         Ok(())
///     })
///     .await
///     .unwrap();
/// });
/// ```
#[track_caller]
pub fn advance(duration: Duration) -> Advance {
    drop(this_run("advance"));
    Advance {
        until: clock::after(duration),
        alarm: Alarm::default(),
        settle: settle(),
        is_due: false,
    }
}

/// The future of [`advance`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Advance {
    /// When it is over; never, if that is too far away to be told.
    until: Option<Instant>,
    alarm: Alarm,
    settle: Settle,
    is_due: bool,
}

impl Future for Advance {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else {
            return Poll::Pending;
        };
        if !self.is_due {
            ready!(self.alarm.poll(until, cx));
            self.is_due = true;
        }
        Pin::new(&mut self.settle).poll(cx)
    }
}

impl fmt::Debug for Advance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advance").finish_non_exhaustive()
    }
}

/// Waits until everything else is blocked, without letting time pass.
///
/// # Cancel safety
///
/// It may be dropped.
///
/// # Panics
///
/// Panics outside of a test run.
///
/// # Examples
///
/// ```
/// use headcount::{group, testing};
///
/// testing::run(async {
///     group(async |g| {
///         let task = g.spawn(async { Ok(()) });
///         assert!(!task.is_finished());
///         testing::settle().await;
///         assert!(task.is_finished());
///         Ok(())
///     })
///     .await
///     .unwrap();
/// });
/// ```
#[track_caller]
pub fn settle() -> Settle {
    drop(this_run("settle"));
    Settle { settled: None }
}

/// The future of [`settle`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Settle {
    settled: Option<Arc<Settled>>,
}

/// Woken once everything else is blocked.
struct Settled {
    is_so: AtomicBool,
    waker: Waker,
}

impl Wake for Settled {
    fn wake(self: Arc<Self>) {
        // SeqCst for want of a reason to be cleverer.
        self.is_so.store(true, Ordering::SeqCst);
        self.waker.wake_by_ref();
    }
}

impl Future for Settle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let is_settled = |settled: &Arc<Settled>| settled.is_so.load(Ordering::SeqCst);
        if self.settled.as_ref().is_some_and(is_settled) {
            return Poll::Ready(());
        }
        let settled = Arc::new(Settled {
            is_so: AtomicBool::new(false),
            waker: cx.waker().clone(),
        });
        this_run("settle").when_settled(Waker::from(Arc::clone(&settled)));
        self.settled = Some(settled);
        Poll::Pending
    }
}

impl fmt::Debug for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle").finish_non_exhaustive()
    }
}

/// Keeps the virtual clock still while `body` waits for something real.
///
/// A test run cannot know that somebody waits for a socket, a thread or another crate's timer. What
/// is wrapped in this is waited for in real time, up to the [limit](super::Builder::limit) of the
/// run. Other tasks go on meanwhile.
///
/// # Cancel safety
///
/// That of `body`.
///
/// # Panics
///
/// Panics outside of a test run when it is first polled.
///
/// # Examples
///
/// ```
/// use headcount::{now, testing};
/// use std::time::Duration;
///
/// testing::run(async {
///     let start = now();
///     let real = async_io::Timer::after(Duration::from_millis(5));
///     testing::real(real).await;
///     assert_eq!(now(), start);
/// });
/// ```
pub fn real<F: Future>(body: F) -> Real<F> {
    Real { body, hold: None }
}

/// The future of [`real`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Real<F> {
    #[pin]
    body: F,
    hold: Option<Hold>,
}

/// Stops the clock, until dropped.
struct Hold(Arc<Sim>);

impl Hold {
    fn new() -> Self {
        let sim = this_run("real");
        sim.hold();
        Self(sim)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl<F: Future> Future for Real<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.hold.get_or_insert_with(Hold::new);
        let output = ready!(this.body.poll(cx));
        *this.hold = None;
        Poll::Ready(output)
    }
}

impl<F> fmt::Debug for Real<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Real").finish_non_exhaustive()
    }
}
