//! One that writes, or many that read.

use std::{
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::ledger::{Claim, Held, Ledger};

/// What a writer takes; a reader takes one of them.
const ALL: usize = usize::MAX >> 1;

/// A lock that many can hold to read, or one to write, also across an `.await`.
///
/// First come, first served: a reader that comes while a writer waits gets in line behind it, so
/// that neither readers nor writers can shut the others out. For the same reason, a task that reads
/// must not wait for the lock again while it does, to read or to write: a writer may be waiting in
/// between. That deadlock is not detected, as there is no telling which of the readers waits.
///
/// For data that is replaced as a whole, [`watch`](crate::channel::watch()) lets readers keep what
/// they have and never makes them wait.
///
/// # Examples
///
/// ```
/// use headcount::{run, sync::RwLock};
///
/// let page = RwLock::new(7);
/// run(async {
///     {
///         let (one, other) = (page.read().await, page.read().await);
///         assert_eq!(*one + *other, 14);
///     }
///     *page.write().await = 8;
///     assert_eq!(*page.read().await, 8);
/// });
/// ```
pub struct RwLock<T> {
    ledger: Ledger,
    /// Locked by whoever has the units, so this lock is never waited for.
    cell: async_lock::RwLock<T>,
}

impl<T> RwLock<T> {
    /// Makes a lock round a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::RwLock;
    ///
    /// static PAGE: RwLock<u64> = RwLock::new(7);
    /// assert_eq!(*PAGE.try_read().unwrap(), 7);
    /// ```
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            ledger: Ledger::new(ALL),
            cell: async_lock::RwLock::new(value),
        }
    }

    /// Waits until it may be read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in line. If it had been let in already, those next in
    /// line are.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::RwLock};
    ///
    /// let page = RwLock::new(7);
    /// run(async { assert_eq!(*page.read().await, 7) });
    /// ```
    pub fn read(&self) -> ReadLocked<'_, T> {
        ReadLocked {
            lock: self,
            claim: Claim::new(1),
        }
    }

    /// Waits until it may be written.
    ///
    /// # Cancel safety
    ///
    /// As of [`read`](Self::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::RwLock};
    ///
    /// let page = RwLock::new(7);
    /// run(async { *page.write().await += 1 });
    /// assert_eq!(page.into_inner(), 8);
    /// ```
    pub fn write(&self) -> WriteLocked<'_, T> {
        WriteLocked {
            lock: self,
            claim: Claim::new(ALL),
        }
    }

    /// Takes the lock to read if nobody writes and nobody waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::RwLock;
    ///
    /// let page = RwLock::new(7);
    /// let reader = page.try_read();
    /// assert!(reader.is_some() && page.try_read().is_some() && page.try_write().is_none());
    /// ```
    #[must_use = "it is unlocked when the guard is dropped"]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.ledger.try_take(1).then(|| self.read_guard())
    }

    /// Takes the lock to write if it is free and nobody waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::RwLock;
    ///
    /// let page = RwLock::new(7);
    /// let writer = page.try_write();
    /// assert!(writer.is_some() && page.try_read().is_none());
    /// ```
    #[must_use = "it is unlocked when the guard is dropped"]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        self.ledger.try_take(ALL).then(|| self.write_guard())
    }

    /// Returns the value inside: nobody else can have the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::RwLock;
    ///
    /// let mut page = RwLock::new(6);
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
    /// use headcount::sync::RwLock;
    ///
    /// assert_eq!(RwLock::new(7).into_inner(), 7);
    /// ```
    #[must_use]
    pub fn into_inner(self) -> T {
        self.cell.into_inner()
    }

    fn read_guard(&self) -> RwLockReadGuard<'_, T> {
        let held = Held::new(&self.ledger, 1);
        let value = self.cell.try_read();
        RwLockReadGuard {
            value: value.expect("the ledger keeps readers and writers apart"),
            _held: held,
        }
    }

    fn write_guard(&self) -> RwLockWriteGuard<'_, T> {
        let held = Held::new(&self.ledger, ALL);
        let value = self.cell.try_write();
        RwLockWriteGuard {
            value: value.expect("the ledger keeps readers and writers apart"),
            _held: held,
        }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RwLock");
        match self.cell.try_read() {
            Some(value) => debug.field("value", &*value),
            None => debug.field("value", &format_args!("<locked>")),
        };
        debug.finish_non_exhaustive()
    }
}

/// The lock of a [`RwLock`], held to read. Unlocks it when dropped.
#[must_use = "it is unlocked when the guard is dropped; keep it in a variable"]
pub struct RwLockReadGuard<'a, T> {
    // Dropped in this order: the unit goes back when the cell is free.
    value: async_lock::RwLockReadGuard<'a, T>,
    _held: Held<'a>,
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The lock of a [`RwLock`], held to write. Unlocks it when dropped.
#[must_use = "it is unlocked when the guard is dropped; keep it in a variable"]
pub struct RwLockWriteGuard<'a, T> {
    // Dropped in this order: the units go back when the cell is free.
    value: async_lock::RwLockWriteGuard<'a, T>,
    _held: Held<'a>,
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The future returned by [`RwLock::read`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct ReadLocked<'a, T> {
    lock: &'a RwLock<T>,
    claim: Claim,
}

impl<'a, T> Future for ReadLocked<'a, T> {
    type Output = RwLockReadGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { lock, claim } = &mut *self;
        ready!(claim.poll(&lock.ledger, cx));
        Poll::Ready(lock.read_guard())
    }
}

impl<T> Drop for ReadLocked<'_, T> {
    fn drop(&mut self) {
        self.claim.withdraw(&self.lock.ledger);
    }
}

impl<T> fmt::Debug for ReadLocked<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadLocked").finish_non_exhaustive()
    }
}

/// The future returned by [`RwLock::write`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct WriteLocked<'a, T> {
    lock: &'a RwLock<T>,
    claim: Claim,
}

impl<'a, T> Future for WriteLocked<'a, T> {
    type Output = RwLockWriteGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { lock, claim } = &mut *self;
        ready!(claim.poll(&lock.ledger, cx));
        Poll::Ready(lock.write_guard())
    }
}

impl<T> Drop for WriteLocked<'_, T> {
    fn drop(&mut self) {
        self.claim.withdraw(&self.lock.ledger);
    }
}

impl<T> fmt::Debug for WriteLocked<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteLocked").finish_non_exhaustive()
    }
}
