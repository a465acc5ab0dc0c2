//! One at a time.

use std::{
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    holder::Holder,
    ledger::{Claim, Held, Ledger},
};

/// A lock that can be held across an `.await`, round the data that it guards.
///
/// Whoever waits for it gets it first come, first served; a task that unlocks and locks again gets
/// in line behind those who wait.
///
/// If it is never held across an `.await`, a [`std::sync::Mutex`] is faster. If tasks only hand
/// data on, a [channel](crate::channel) is clearer.
///
/// The locks of `async-lock` are not re-exported here: there, a newcomer can get ahead of a waiter
/// that has been woken, and a lock is taken also in a scope that was cancelled.
///
/// # Deadlocks
///
/// A task that waits for a lock which it holds itself would wait for ever. In builds with debug
/// assertions, that panics, where it can be known: in a task of this crate, or in the main function
/// of [`run`](crate::run()). Futures that are driven by one task count as that task, unless they
/// have wakers of their own (as those of `FuturesUnordered` and of this crate have). If some that
/// have not, those of a `zip` or `join!`, take turns with a lock, or if a guard is handed to another
/// task, make the lock with [`within_task`](Self::within_task).
///
/// # Examples
///
/// ```
/// use headcount::{group, run, sync::Mutex};
/// use std::sync::Arc;
///
/// let visits = Arc::new(Mutex::new(0));
/// run(group(async |g| {
///     for _ in 0..10 {
///         let visits = Arc::clone(&visits);
///         g.spawn(async move {
///             *visits.lock().await += 1;
///             Ok(())
///         });
///     }
///     Ok(())
/// }))
/// .unwrap();
/// assert_eq!(Arc::into_inner(visits).unwrap().into_inner(), 10);
/// ```
pub struct Mutex<T> {
    /// One unit: the right to the cell.
    ledger: Ledger,
    holder: Holder,
    /// Locked by whoever has the unit, so this lock is never waited for.
    cell: async_lock::Mutex<T>,
}

impl<T> Mutex<T> {
    /// Makes a lock round a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Mutex;
    ///
    /// static VISITS: Mutex<u64> = Mutex::new(0);
    /// assert_eq!(*VISITS.try_lock().unwrap(), 0);
    /// ```
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self::make(value, true)
    }

    /// Makes a lock that futures of one and the same task may take turns with.
    ///
    /// As [`new`](Self::new), without the check that panics if a task waits for itself: for futures
    /// that are driven together by `zip`, `join!` and the like.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::future::{yield_now, zip};
    /// use headcount::{run, sync::Mutex};
    ///
    /// let log = Mutex::within_task(Vec::new());
    /// let write = async |number| {
    ///     let mut log = log.lock().await;
    ///     yield_now().await; // The other one waits for the lock now.
    ///     log.push(number);
    /// };
    /// run(zip(write(1), write(2)));
    /// assert_eq!(log.into_inner(), [1, 2]);
    /// ```
    #[must_use]
    pub const fn within_task(value: T) -> Self {
        Self::make(value, false)
    }

    const fn make(value: T, checked: bool) -> Self {
        Self {
            ledger: Ledger::new(1),
            holder: Holder::new(checked),
            cell: async_lock::Mutex::new(value),
        }
    }

    /// Waits for the lock.
    ///
    /// It is unlocked when the guard is dropped.
    ///
    /// # Panics
    ///
    /// In builds with debug assertions, panics if the running task holds the lock already; see
    /// [Deadlocks](Self#deadlocks).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in line. If it had been granted the lock already, the
    /// next in line gets it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Mutex};
    ///
    /// let pages = Mutex::new(Vec::new());
    /// run(async {
    ///     pages.lock().await.push(7);
    ///     assert_eq!(*pages.lock().await, [7]);
    /// });
    /// ```
    pub fn lock(&self) -> Locked<'_, T> {
        Locked {
            mutex: self,
            claim: Claim::new(1),
        }
    }

    /// Takes the lock if it is free and nobody waits for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Mutex;
    ///
    /// let pages = Mutex::new(Vec::<u8>::new());
    /// let guard = pages.try_lock();
    /// assert!(guard.is_some() && pages.try_lock().is_none());
    /// ```
    #[must_use = "it is unlocked when the guard is dropped"]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.ledger.try_take(1).then(|| self.guard())
    }

    /// Returns the value inside: nobody else can have the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Mutex;
    ///
    /// let mut page = Mutex::new(6);
    /// *page.get_mut() += 1;
    /// assert_eq!(page.into_inner(), 7);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.cell.get_mut()
    }

    /// Returns the value, without the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Mutex;
    ///
    /// assert_eq!(Mutex::new(7).into_inner(), 7);
    /// ```
    #[must_use]
    pub fn into_inner(self) -> T {
        self.cell.into_inner()
    }

    /// The guard of somebody who has the unit.
    fn guard(&self) -> MutexGuard<'_, T> {
        let held = Held::new(&self.ledger, 1);
        let value = self.cell.try_lock();
        MutexGuard {
            value: value.expect("the ledger lets in one at a time"),
            _leaves: Leaves(&self.holder),
            _held: held,
            mutex: self,
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mutex");
        match self.cell.try_lock() {
            Some(value) => debug.field("value", &*value),
            None => debug.field("value", &format_args!("<locked>")),
        };
        debug.finish_non_exhaustive()
    }
}

/// The lock of a [`Mutex`], held. Unlocks it when dropped.
#[must_use = "it is unlocked when the guard is dropped; keep it in a variable"]
pub struct MutexGuard<'a, T> {
    // Dropped in this order: the unit goes back when the cell is free.
    value: async_lock::MutexGuard<'a, T>,
    _leaves: Leaves<'a>,
    _held: Held<'a>,
    mutex: &'a Mutex<T>,
}

impl<'a, T> MutexGuard<'a, T> {
    /// The lock that this is the guard of.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

/// Takes the holder's name off the door.
struct Leaves<'a>(&'a Holder);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The future returned by [`Mutex::lock`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Locked<'a, T> {
    mutex: &'a Mutex<T>,
    claim: Claim,
}

impl<'a, T> Future for Locked<'a, T> {
    type Output = MutexGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { mutex, claim } = &mut *self;
        let polled = claim.poll(&mutex.ledger, cx);
        if claim.is_waiting() {
            mutex.holder.check(cx);
        }
        ready!(polled);
        let guard = mutex.guard();
        mutex.holder.enter(cx);
        Poll::Ready(guard)
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        self.claim.withdraw(&self.mutex.ledger);
    }
}

impl<T> fmt::Debug for Locked<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").finish_non_exhaustive()
    }
}
