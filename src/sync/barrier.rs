//! All are here.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    frame,
    lock::Mutex,
    waiters::{Aftermath, Left, Place, Waiters, poll_locked},
};

/// Holds tasks back until so many of them have arrived; again and again.
///
/// A task that is cancelled before the others have come has not arrived: they wait for somebody else
/// in its place. If they are tasks of one group and one of them fails, they are cancelled with it
/// and do not wait for ever.
///
/// # Examples
///
/// ```
/// use headcount::{group, run, sync::Barrier};
/// use std::sync::Arc;
///
/// let barrier = Arc::new(Barrier::new(3));
/// run(group(async |g| {
///     for _ in 0..3 {
///         let barrier = Arc::clone(&barrier);
///         g.spawn(async move {
///             // Everybody prepares, and then all go on at the same time.
///             if barrier.wait().await.is_last() {
///                 println!("all are here");
///             }
///             Ok(())
///         });
///     }
///     Ok(())
/// }))
/// .unwrap();
/// ```
pub struct Barrier {
    size: usize,
    waiters: Mutex<Waiters>,
}

impl Barrier {
    /// Makes a barrier for this many tasks.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0: there would be nobody to wait for, and nobody to wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Barrier};
    ///
    /// assert!(run(Barrier::new(1).wait()).is_last());
    /// ```
    #[track_caller]
    #[must_use]
    pub const fn new(size: usize) -> Self {
        assert!(
            size > 0,
            "a barrier needs at least 1 task to wait for; count those that will arrive"
        );
        Self {
            size,
            waiters: Mutex::new(Waiters::new()),
        }
    }

    /// Arrives, and waits for the others.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the last one has arrived, this one has not arrived. Once the
    /// last one has, everybody goes on, whoever is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::future::zip;
    /// use headcount::{run, sync::Barrier};
    ///
    /// let barrier = Barrier::new(2);
    /// let (one, other) = run(zip(barrier.wait(), barrier.wait()));
    /// assert!(!one.is_last() && other.is_last());
    /// ```
    pub fn wait(&self) -> Arrived<'_> {
        Arrived {
            barrier: self,
            place: Place::default(),
        }
    }

    /// Returns how many have arrived and wait for the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Barrier;
    ///
    /// assert_eq!(Barrier::new(2).waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.lock().waiting()
    }

    /// Returns how many have to arrive.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Barrier;
    ///
    /// assert_eq!(Barrier::new(2).size(), 2);
    /// ```
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("size", &self.size)
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

/// What [`Barrier::wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    last: bool,
}

impl Arrival {
    /// Tells whether this was the last one to arrive. It is so for one task each time; for what
    /// needs to be done once.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Barrier};
    ///
    /// assert!(run(Barrier::new(1).wait()).is_last());
    /// ```
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.last
    }
}

/// The future returned by [`Barrier::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Arrived<'a> {
    barrier: &'a Barrier,
    place: Place,
}

impl Arrived<'_> {
    /// Has not arrived after all.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let mut after = Aftermath::default();
            let mut waiters = self.barrier.waiters.lock();
            // If all had arrived, the others go on anyway.
            let (Left::Nothing | Left::Place | Left::Grant) =
                waiters.leave(&mut self.place, &mut after);
            drop(waiters);
            after.run();
        }
    }
}

impl Future for Arrived<'_> {
    type Output = Arrival;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arrival> {
        if frame::cancelled() {
            self.withdraw();
            return Poll::Pending;
        }
        let Self { barrier, place } = &mut *self;
        poll_locked(&barrier.waiters, cx, |waiters, caller, after| {
            if waiters.collect(place) {
                return Poll::Ready(Arrival { last: false });
            }
            if !place.is_taken() && waiters.waiting() + 1 == barrier.size {
                waiters.grant_all(after);
                return Poll::Ready(Arrival { last: true });
            }
            waiters.park(place, caller, ());
            Poll::Pending
        })
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}
