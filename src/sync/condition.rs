//! It may be true now.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::mutex::{Locked, Mutex, MutexGuard};
use crate::{
    frame, lock,
    waiters::{Aftermath, Left, Place, Waiters, poll_locked},
};

/// Lets tasks wait until something that a [`Mutex`] guards has become true.
///
/// Whoever waits gives up the lock and is woken when somebody who changed the data says so; it then
/// has the lock again. For "the queue is not empty", with a queue of one's own. What fits one of the
/// [channels](crate::channel), an [`Event`](super::Event) or a [`Semaphore`](super::Semaphore) is
/// shorter with those.
///
/// # Examples
///
/// ```
/// use headcount::{group, run, sync::{Condition, Mutex}};
/// use std::sync::Arc;
///
/// let shelf = Arc::new((Mutex::new(Vec::new()), Condition::new()));
/// run(group(async |g| {
///     let to_fill = Arc::clone(&shelf);
///     let reader = g.spawn(async move {
///         let (pages, filled) = &*shelf;
///         let mut pages = filled.wait_until(pages.lock().await, |pages| !pages.is_empty()).await;
///         Ok(pages.pop())
///     });
///     let (pages, filled) = &*to_fill;
///     pages.lock().await.push(7);
///     filled.notify_one();
///     assert_eq!(reader.await?, Some(7));
///     Ok(())
/// }))
/// .unwrap();
/// ```
#[derive(Default)]
pub struct Condition {
    state: lock::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiters: Waiters,
    /// How often everybody was notified.
    rounds: u64,
}

impl Condition {
    /// Makes a condition.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Condition;
    ///
    /// static FILLED: Condition = Condition::new();
    /// FILLED.notify_all(); // Nobody waits, so this does nothing.
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: lock::Mutex::new(State {
                waiters: Waiters::new(),
                rounds: 0,
            }),
        }
    }

    /// Unlocks, waits for a notification, and locks again.
    ///
    /// The lock is given up when the future is first polled, and no notification that comes after
    /// that is missed. What was waited for may have changed again by the time the lock is back, so
    /// look; [`wait_until`](Self::wait_until) does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the lock again: code that runs after that, a finalizer
    /// around it for one, does not have it. If this had been notified already, the next one in line
    /// is.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::future::zip;
    /// use headcount::{run, sync::{Condition, Mutex}};
    ///
    /// let (page, changed) = (Mutex::within_task(0), Condition::new());
    /// let reader = async {
    ///     let page = page.lock().await;
    ///     *changed.wait(page).await
    /// };
    /// let writer = async {
    ///     *page.lock().await = 7;
    ///     changed.notify_one();
    /// };
    /// assert_eq!(run(zip(reader, writer)).0, 7);
    /// ```
    pub fn wait<'a, T>(&'a self, guard: MutexGuard<'a, T>) -> Notified<'a, T> {
        Notified {
            condition: self,
            mutex: guard.mutex(),
            place: Place::default(),
            round: 0,
            stage: Stage::Holding(guard),
        }
    }

    /// Waits until `is_true` says so of the data. Does not wait if it is so already.
    ///
    /// `is_true` is called with the lock held, after every notification.
    ///
    /// # Cancel safety
    ///
    /// As of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::{Condition, Mutex}};
    ///
    /// let (page, changed) = (Mutex::new(7), Condition::new());
    /// run(async {
    ///     let page = changed.wait_until(page.lock().await, |page| *page > 5).await;
    ///     assert_eq!(*page, 7);
    /// });
    /// ```
    pub fn wait_until<'a, T, F>(
        &'a self,
        guard: MutexGuard<'a, T>,
        is_true: F,
    ) -> NotifiedUntil<'a, T, F>
    where
        F: FnMut(&mut T) -> bool,
    {
        NotifiedUntil {
            condition: self,
            stage: UntilStage::Looking(guard),
            is_true,
        }
    }

    /// Notifies the one that has waited longest, if anybody waits.
    ///
    /// Change the data first, with the lock; whether it is held during this call makes no
    /// difference.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Condition;
    ///
    /// Condition::new().notify_one(); // Nobody waits: nobody will be told later either.
    /// ```
    pub fn notify_one(&self) {
        let mut after = Aftermath::default();
        self.state.lock().waiters.grant_first(&mut after);
        after.run();
    }

    /// Notifies everybody who waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Condition;
    ///
    /// Condition::new().notify_all(); // Nobody waits: nobody will be told later either.
    /// ```
    pub fn notify_all(&self) {
        let mut after = Aftermath::default();
        {
            let mut state = self.state.lock();
            state.rounds += 1;
            state.waiters.grant_all(&mut after);
        }
        after.run();
    }

    /// Returns how many wait to be notified.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Condition;
    ///
    /// assert_eq!(Condition::new().waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().waiters.waiting()
    }

    /// Passes a notification on to the next in line, unless all that waited at the time were
    /// notified.
    fn pass_on(&self, round: u64) {
        let mut after = Aftermath::default();
        {
            let mut state = self.state.lock();
            if state.rounds == round {
                state.waiters.grant_first(&mut after);
            }
        }
        after.run();
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

/// The future returned by [`Condition::wait`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Notified<'a, T> {
    condition: &'a Condition,
    mutex: &'a Mutex<T>,
    place: Place,
    /// How often everybody had been notified when this got in line.
    round: u64,
    stage: Stage<'a, T>,
}

/// How far a [`Notified`] has got.
enum Stage<'a, T> {
    /// Has not begun to wait.
    Holding(MutexGuard<'a, T>),
    /// In line, or about to get there.
    Waiting,
    /// Has been notified.
    Locking(Locked<'a, T>),
}

impl<T> Notified<'_, T> {
    /// Gets in line, and then out of it once notified.
    fn poll_notified(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Self { place, round, .. } = self;
        poll_locked(&self.condition.state, cx, |state, caller, _| {
            if state.waiters.collect(place) {
                return Poll::Ready(());
            }
            if !place.is_taken() {
                *round = state.rounds;
            }
            state.waiters.park(place, caller, ());
            Poll::Pending
        })
    }

    /// Stops waiting. A notification goes to the next in line.
    fn withdraw(&mut self) {
        let mut left = Left::Nothing;
        if self.place.is_taken() {
            let mut after = Aftermath::default();
            let mut state = self.condition.state.lock();
            left = state.waiters.leave(&mut self.place, &mut after);
            drop(state);
            after.run();
        }
        if matches!(self.stage, Stage::Locking(_)) {
            self.stage = Stage::Waiting;
            left = Left::Grant;
        }
        if left == Left::Grant {
            self.condition.pass_on(self.round);
        }
    }
}

impl<'a, T> Future for Notified<'a, T> {
    type Output = MutexGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if frame::cancelled() {
            this.withdraw();
            return Poll::Pending;
        }
        loop {
            match &mut this.stage {
                Stage::Holding(_) => {
                    // In line first, unlocked second: whoever changes the data after that finds
                    // this one in line.
                    let parked = this.poll_notified(cx);
                    debug_assert!(parked.is_pending(), "nobody knew of it");
                    if let Stage::Holding(guard) = mem::replace(&mut this.stage, Stage::Waiting) {
                        drop(guard);
                    }
                    return Poll::Pending;
                }
                Stage::Waiting => {
                    if this.poll_notified(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.stage = Stage::Locking(this.mutex.lock());
                }
                Stage::Locking(locked) => {
                    let polled = Pin::new(locked).poll(cx);
                    if polled.is_ready() {
                        this.stage = Stage::Waiting;
                    }
                    return polled;
                }
            }
        }
    }
}

impl<T> Drop for Notified<'_, T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<T> fmt::Debug for Notified<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified").finish_non_exhaustive()
    }
}

/// The future returned by [`Condition::wait_until`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct NotifiedUntil<'a, T, F> {
    condition: &'a Condition,
    stage: UntilStage<'a, T>,
    is_true: F,
}

/// How far a [`NotifiedUntil`] has got.
enum UntilStage<'a, T> {
    /// Has the lock, and is about to look at the data.
    Looking(MutexGuard<'a, T>),
    Waiting(Notified<'a, T>),
    Done,
}

// The closure is called and never pinned.
impl<T, F> Unpin for NotifiedUntil<'_, T, F> {}

impl<'a, T, F> Future for NotifiedUntil<'a, T, F>
where
    F: FnMut(&mut T) -> bool,
{
    type Output = MutexGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Only before the first look: once notified, it looks, or the notification would be lost.
        if matches!(this.stage, UntilStage::Looking(_)) && frame::cancelled() {
            return Poll::Pending;
        }
        loop {
            if let UntilStage::Waiting(notified) = &mut this.stage {
                let guard = ready!(Pin::new(notified).poll(cx));
                this.stage = UntilStage::Looking(guard);
            }
            match mem::replace(&mut this.stage, UntilStage::Done) {
                UntilStage::Looking(mut guard) => {
                    if (this.is_true)(&mut guard) {
                        return Poll::Ready(guard);
                    }
                    this.stage = UntilStage::Waiting(this.condition.wait(guard));
                }
                _ => panic!("a future was polled after it was done"),
            }
        }
    }
}

impl<T, F> fmt::Debug for NotifiedUntil<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifiedUntil").finish_non_exhaustive()
    }
}
