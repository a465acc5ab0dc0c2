//! A number of permits.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::ledger::{Claim, Ledger};

/// A number of permits, each of which lets one task go on.
///
/// For bounding how many do something at the same time. If the bound changes while the program
/// runs, or tasks count for more than one, a [`Limiter`](super::Limiter) is made for that. If all
/// that is bounded are the children of one group, [`limit`](crate::GroupBuilder::limit) on the
/// group is shorter.
///
/// Permits are given out first come, first served, also to those who want several at once: a large
/// request at the head of the line is not overtaken by small ones.
///
/// # Examples
///
/// ```
/// use headcount::{group, run, sync::Semaphore};
/// use std::sync::Arc;
///
/// let connections = Arc::new(Semaphore::new(2));
/// run(group(async |g| {
///     for page in 0..10 {
///         let connections = Arc::clone(&connections);
///         g.spawn(async move {
///             let _permit = connections.acquire().await;
///             // At most two are here at any time.
///             Ok(page)
///         });
///     }
///     Ok(())
/// }))
/// .unwrap();
/// assert_eq!(connections.available(), 2);
/// ```
#[derive(Debug)]
pub struct Semaphore {
    ledger: Ledger,
}

impl Semaphore {
    /// Makes a semaphore with this many permits.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0: nobody would ever get in. To hold tasks back until something has
    /// happened, there is [`Event`](super::Event).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    ///
    /// assert_eq!(Semaphore::new(3).available(), 3);
    /// ```
    #[track_caller]
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        assert!(
            permits > 0,
            "a semaphore needs at least 1 permit, or nobody ever gets in; to hold tasks back until \
             something has happened, use an `Event`"
        );
        Self {
            ledger: Ledger::new(permits),
        }
    }

    /// Waits for a permit.
    ///
    /// The permit is given back when it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in line. If it had been granted a permit already, the
    /// next in line gets it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Semaphore};
    ///
    /// let semaphore = Semaphore::new(1);
    /// run(async {
    ///     let permit = semaphore.acquire().await;
    ///     assert!(semaphore.try_acquire().is_none());
    ///     drop(permit);
    ///     assert!(semaphore.try_acquire().is_some());
    /// });
    /// ```
    pub fn acquire(&self) -> Acquired<'_> {
        Acquired {
            semaphore: self,
            claim: Claim::new(1),
        }
    }

    /// Waits for several permits, to be had at the same time.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0, or larger than the number of permits that there are.
    ///
    /// # Cancel safety
    ///
    /// As of [`acquire`](Self::acquire): all of them are granted, or none.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Semaphore};
    ///
    /// let semaphore = Semaphore::new(3);
    /// run(async {
    ///     let _two = semaphore.acquire_many(2).await;
    ///     assert_eq!(semaphore.available(), 1);
    /// });
    /// ```
    #[track_caller]
    pub fn acquire_many(&self, permits: usize) -> Acquired<'_> {
        self.check(permits);
        Acquired {
            semaphore: self,
            claim: Claim::new(permits),
        }
    }

    /// Takes a permit if one is free and nobody waits for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// let permit = semaphore.try_acquire();
    /// assert!(permit.is_some() && semaphore.try_acquire().is_none());
    /// ```
    #[must_use = "the permit is given back when it is dropped"]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.try_take(1)
    }

    /// Takes several permits if they are free and nobody waits.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0, or larger than the number of permits that there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(3);
    /// let two = semaphore.try_acquire_many(2);
    /// assert!(two.is_some() && semaphore.try_acquire_many(2).is_none());
    /// ```
    #[track_caller]
    #[must_use = "the permits are given back when they are dropped"]
    pub fn try_acquire_many(&self, permits: usize) -> Option<SemaphorePermit<'_>> {
        self.check(permits);
        self.try_take(permits)
    }

    /// Waits for a permit that can be kept for longer than the semaphore is borrowed.
    ///
    /// For a permit that is acquired before a task is spawned, and moves into the task.
    ///
    /// # Cancel safety
    ///
    /// As of [`acquire`](Self::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run, sync::Semaphore};
    /// use std::sync::Arc;
    ///
    /// let semaphore = Arc::new(Semaphore::new(2));
    /// run(group(async |g| {
    ///     for page in 0..10 {
    ///         let permit = semaphore.acquire_arc().await; // No task before its time has come.
    ///         g.spawn(async move {
    ///             drop(permit);
    ///             Ok(page)
    ///         });
    ///     }
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// ```
    pub fn acquire_arc(self: &Arc<Self>) -> AcquiredArc {
        AcquiredArc {
            semaphore: Arc::clone(self),
            claim: Claim::new(1),
        }
    }

    /// Waits for several permits that can be kept for longer than the semaphore is borrowed.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0, or larger than the number of permits that there are.
    ///
    /// # Cancel safety
    ///
    /// As of [`acquire_many`](Self::acquire_many).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Semaphore};
    /// use std::sync::Arc;
    ///
    /// let semaphore = Arc::new(Semaphore::new(3));
    /// let two = run(semaphore.acquire_many_arc(2));
    /// assert_eq!((two.permits(), semaphore.available()), (2, 1));
    /// ```
    #[track_caller]
    pub fn acquire_many_arc(self: &Arc<Self>, permits: usize) -> AcquiredArc {
        self.check(permits);
        AcquiredArc {
            semaphore: Arc::clone(self),
            claim: Claim::new(permits),
        }
    }

    /// Takes a permit that can be kept for longer than the semaphore is borrowed, if one is free
    /// and nobody waits for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// let semaphore = Arc::new(Semaphore::new(1));
    /// let permit = semaphore.try_acquire_arc();
    /// assert!(permit.is_some() && semaphore.try_acquire_arc().is_none());
    /// ```
    #[must_use = "the permit is given back when it is dropped"]
    pub fn try_acquire_arc(self: &Arc<Self>) -> Option<SemaphorePermitArc> {
        self.try_take_arc(1)
    }

    /// Takes several permits that can be kept for longer than the semaphore is borrowed, if they are
    /// free and nobody waits.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0, or larger than the number of permits that there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// let semaphore = Arc::new(Semaphore::new(3));
    /// let two = semaphore.try_acquire_many_arc(2);
    /// assert!(two.is_some() && semaphore.try_acquire_many_arc(2).is_none());
    /// ```
    #[track_caller]
    #[must_use = "the permits are given back when they are dropped"]
    pub fn try_acquire_many_arc(self: &Arc<Self>, permits: usize) -> Option<SemaphorePermitArc> {
        self.check(permits);
        self.try_take_arc(permits)
    }

    /// Adds permits. Those who wait get them first.
    ///
    /// # Panics
    ///
    /// Panics if the number of permits would be larger than a `usize` can say.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// semaphore.add_permits(2);
    /// assert_eq!(semaphore.available(), 3);
    /// ```
    #[track_caller]
    pub fn add_permits(&self, permits: usize) {
        assert!(
            self.ledger.raise_limit(permits),
            "a semaphore cannot have more than {} permits; {permits} more would be too many",
            usize::MAX
        );
    }

    /// Returns how many permits a newcomer could take now: none while others wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(2);
    /// let _permit = semaphore.try_acquire();
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    #[must_use]
    pub fn available(&self) -> usize {
        self.ledger.available()
    }

    /// Returns how many tasks wait for permits.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    ///
    /// assert_eq!(Semaphore::new(2).waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ledger.waiting()
    }

    /// Refuses what could never be granted.
    #[track_caller]
    fn check(&self, permits: usize) {
        assert!(
            permits > 0,
            "0 permits let nobody in; acquire at least 1, or none at all"
        );
        let limit = self.ledger.limit();
        assert!(
            permits <= limit,
            "{permits} permits were asked for, and this semaphore has {limit}: the wait would never \
             end; ask for less, or add permits first"
        );
    }

    fn try_take(&self, permits: usize) -> Option<SemaphorePermit<'_>> {
        // Not `then_some`: a permit that is not handed out would be given back all the same.
        let taken = self.ledger.try_take(permits);
        taken.then(|| SemaphorePermit {
            semaphore: self,
            permits,
        })
    }

    fn try_take_arc(self: &Arc<Self>, permits: usize) -> Option<SemaphorePermitArc> {
        let taken = self.ledger.try_take(permits);
        taken.then(|| SemaphorePermitArc {
            semaphore: Arc::clone(self),
            permits,
        })
    }
}

/// A permit, or several, of a [`Semaphore`]. Given back when dropped.
#[derive(Debug)]
#[must_use = "the permit is given back when it is dropped; keep it in a variable"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

impl SemaphorePermit<'_> {
    /// Returns how many permits this stands for.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(3);
    /// assert_eq!(semaphore.try_acquire_many(2).unwrap().permits(), 2);
    /// ```
    #[must_use]
    pub fn permits(&self) -> usize {
        self.permits
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        self.semaphore.ledger.give_back(self.permits);
    }
}

/// A permit, or several, of a [`Semaphore`] that this keeps alive. Given back when dropped.
#[derive(Debug)]
#[must_use = "the permit is given back when it is dropped; keep it in a variable"]
pub struct SemaphorePermitArc {
    semaphore: Arc<Semaphore>,
    permits: usize,
}

impl SemaphorePermitArc {
    /// Returns how many permits this stands for.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// let semaphore = Arc::new(Semaphore::new(3));
    /// assert_eq!(semaphore.try_acquire_arc().unwrap().permits(), 1);
    /// ```
    #[must_use]
    pub fn permits(&self) -> usize {
        self.permits
    }
}

impl Drop for SemaphorePermitArc {
    fn drop(&mut self) {
        self.semaphore.ledger.give_back(self.permits);
    }
}

/// The future returned by [`Semaphore::acquire`] and [`Semaphore::acquire_many`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Acquired<'a> {
    semaphore: &'a Semaphore,
    claim: Claim,
}

impl<'a> Future for Acquired<'a> {
    type Output = SemaphorePermit<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { semaphore, claim } = &mut *self;
        ready!(claim.poll(&semaphore.ledger, cx));
        Poll::Ready(SemaphorePermit {
            semaphore,
            permits: claim.units(),
        })
    }
}

impl Drop for Acquired<'_> {
    fn drop(&mut self) {
        self.claim.withdraw(&self.semaphore.ledger);
    }
}

/// The future returned by [`Semaphore::acquire_arc`] and [`Semaphore::acquire_many_arc`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct AcquiredArc {
    semaphore: Arc<Semaphore>,
    claim: Claim,
}

impl Future for AcquiredArc {
    type Output = SemaphorePermitArc;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { semaphore, claim } = &mut *self;
        ready!(claim.poll(&semaphore.ledger, cx));
        Poll::Ready(SemaphorePermitArc {
            semaphore: Arc::clone(semaphore),
            permits: claim.units(),
        })
    }
}

impl Drop for AcquiredArc {
    fn drop(&mut self) {
        self.claim.withdraw(&self.semaphore.ledger);
    }
}
